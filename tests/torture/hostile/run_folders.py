"""A run folder in which one file was replaced by something else."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random

NAMES = (
    "config.json", "metrics.jsonl", "budget.jsonl", "train.log", ".lock", ".due.json", "report.html", "progress.webp",
    "checkpoints", "samples", "checkpoints/last.safetensors", "checkpoints/best.safetensors",
    "checkpoints/step_00000002.safetensors", "checkpoints/step_00000009.safetensors", "checkpoints/.gan-cli-abcd1234",
    "samples/step_00000000.png", "samples/real.png", "samples/.gan-cli-abcd1234", "evaluations/x.json", "generated",
    f"samples/step_{'9' * 200}.png", f"checkpoints/step_{'9' * 200}.safetensors", "outcome.json",
)  # fmt: skip


def bomb_png(side: int = 30_000) -> bytes:
    """Returns a PNG of few bytes that decodes to side x side pixels."""
    row, packer = bytes(1 + (side + 7) // 8), zlib.compressobj(9)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(map(_chunk, (b"IHDR", b"IDAT", b"IEND"), (header, data, b"")))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 2 << 30)


def _socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # its whole path is too long for a socket
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name[:90])
    finally:
        os.chdir(here)


def _victim(path: Path) -> Path:
    """Returns the file outside the run that must not change."""
    return next(parent / "victim" for parent in path.parents if (parent / "victim").exists())


KINDS: dict[str, Callable[[Path], object]] = {
    "a FIFO": os.mkfifo,
    "a folder": lambda path: path.mkdir(),
    "a link to a file elsewhere": lambda path: path.symlink_to(_victim(path)),
    "a hard link to a file elsewhere": lambda path: path.hardlink_to(_victim(path)),
    "a link to /dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a socket": _socket,
    "a sparse file of 2 GiB": _sparse,
    "deep JSON": lambda path: path.write_text('{"x":' + "[" * 200_000),
    "60 MB of JSON": lambda path: path.write_text('{"step": 1, "x": [' + "1," * 30_000_000 + "1]}"),
    "2 million lines": lambda path: path.write_text('{"step": 1, "loss/generator": 1.0}\n' * 2_000_000),
    "a PNG of 900 million pixels": lambda path: path.write_bytes(bomb_png()),
    "zero bytes": lambda path: path.write_bytes(b""),
    "NUL bytes": lambda path: path.write_bytes(bytes(4096)),
    "terminal escapes": lambda path: path.write_text('{"step": 1, "\\u001b]0;x\\u0007": "\\u001b[31m"}\x1b]0;x\x07\n'),
    "NaN and huge numbers": lambda path: path.write_text('{"step": NaN, "ended": {"step": 1e999}, "a": -Infinity}\n'),
    "a number of 100,000 digits": lambda path: path.write_text('{"step": ' + "9" * 100_000 + "}\n"),
    "nothing readable": lambda path: path.write_bytes(b"\xff\xfe\x00{\x80"),
}


def make(here: Path, random: Random) -> str:
    """Replaces a file of `here`/run. Returns what was made."""
    path, kind = here / "run" / random.choice(NAMES), random.choice([*KINDS])
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    KINDS[kind](path)
    return f"{str(path.relative_to(here))[:60]} is {kind}"
