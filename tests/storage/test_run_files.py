"""The files of a run may be of any kind: no command waits for one, or follows it to another place.

The commands run in this process, and an alarm ends one that waits.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from gan_cli.cli.main import run_command
from gan_cli.errors import StorageError
from gan_cli.images import animation
from gan_cli.runs import log
from gan_cli.runs.log import read_metrics, truncate_metrics
from gan_cli.storage import run_files
from gan_cli.storage.json_files import load_json
from gan_cli.storage.run_files import UnsafeFileError, open_to_append, open_to_read, read_bytes, read_lines
from gan_cli.storage.run_folder import create_dated_folder, create_run_folder, lock
from support.commands import error_line
from support.configs import TINY_IMAGES
from support.runs import last_checkpoint

SECRET = "a file of the user's\n"
READ = ("config.json", ".due.json", "evaluations/old.json", "samples/step_00000000.png", "report.html", "progress.webp")
WRITTEN = (".lock", "train.log", "metrics.jsonl", "budget.jsonl")


@pytest.fixture(autouse=True)
def alarm() -> Iterator[None]:
    """Fails a test that waits for a file."""

    def fail(*_: object) -> None:
        raise AssertionError("waits")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def run(trained: Callable[..., Path]) -> Path:
    return trained(*TINY_IMAGES, "steps=1")


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text(SECRET)
    return path


def make_socket(path: Path, secret: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)
    os.chdir(here)


def make_huge(path: Path, secret: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(5 << 30)


def make_deep(path: Path, secret: Path) -> None:
    path.write_text("[" * 100_000)


KINDS: dict[str, Callable[[Path, Path], object]] = {
    "fifo": lambda path, secret: os.mkfifo(path),
    "folder": lambda path, secret: path.mkdir(),
    "socket": make_socket,
    "link": lambda path, secret: path.symlink_to(secret),
    "broken link": lambda path, secret: path.symlink_to("nowhere"),
    "link to a device": lambda path, secret: path.symlink_to("/dev/zero"),
    "hard link": lambda path, secret: os.link(secret, path),
    "huge": make_huge,
    "deep": make_deep,
}
UNSAFE = ("fifo", "socket", "link", "link to a device", "hard link")


def replace(path: Path, kind: str, secret: Path) -> None:
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    KINDS[kind](path, secret)


@pytest.mark.parametrize("kind", KINDS)
def test_files_that_are_read_may_be_of_any_kind(
    run: Path, secret: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    other = shutil.copytree(run, run.with_name("other"))
    for name in READ:
        replace(run / name, kind, secret)
    assert run_command("compare", [str(run), str(other)]) == 0
    assert run_command("report", [str(run)]) == 0
    assert run_command("sample", [f"ckpt={run}", "format=progress"]) == 0
    resumed = run_command("train", [f"resume={run}", "extra_steps=1"])
    assert resumed == (5 if kind == "folder" else 0)  # a folder named config.json cannot be replaced
    assert "Traceback" not in capsys.readouterr().err
    assert secret.read_text() == SECRET
    assert last_checkpoint(run).counters.step == (1 if kind == "folder" else 2)


@pytest.mark.parametrize("kind", UNSAFE)
@pytest.mark.parametrize("name", WRITTEN)
def test_nothing_is_appended_to_a_file_that_is_not_the_runs_own(
    run: Path, secret: Path, name: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    replace(run / name, kind, secret)
    error = error_line(capsys, "train", f"resume={run}", "extra_steps=1", code=5)
    assert str(run / name) in error
    assert secret.read_text() == SECRET
    if name == "metrics.jsonl":
        assert run_command("report", [str(run)]) == 0


def test_the_checkpoints_may_be_of_any_kind(run: Path, secret: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("last", "best", "step_00000000", "step_00000001"):
        replace(run / "checkpoints" / f"{name}.safetensors", "fifo", secret)
    assert "not a regular file" in error_line(capsys, "sample", f"ckpt={run}", "n=1", code=3)
    assert "not a regular file" in error_line(capsys, "train", f"resume={run}", "extra_steps=1", code=3)


# --- sample grids --------------------------------------------------------------------------------------------------


def write_bomb(path: Path, side: int) -> None:
    """Writes a PNG file of a few hundred bytes, whose header says that it has side x side pixels."""
    chunks = {b"IHDR": struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0), b"IDAT": zlib.compress(bytes(10**5))}
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks.items()
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def test_an_image_that_cannot_be_read_is_left_out_of_the_animation(
    run: Path, secret: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = run / "samples"
    write_bomb(samples / "step_00000002.png", 60_000)  # more pixels than Pillow opens
    write_bomb(samples / "step_00000003.png", 11_000)  # more pixels than a grid has
    (samples / "step_00000004.png").write_bytes((samples / "step_00000001.png").read_bytes()[:200])
    os.mkfifo(samples / "step_00000005.png")
    assert run_command("sample", [f"ckpt={run}", "format=progress"]) == 0
    assert "4 grids cannot be read and left out: " in capsys.readouterr().err
    assert run_command("report", [str(run)]) == 0
    assert run_command("train", [f"resume={run}", "extra_steps=5"]) == 0
    assert "progress.webp: 3 grids cannot be read and left out: " in capsys.readouterr().out
    with Image.open(run / "progress.webp") as film:
        assert film.n_frames >= 1


def test_an_animation_keeps_its_length(tmp_path: Path) -> None:
    grids = [tmp_path / f"{number}.png" for number in range(4)]
    for path, colour in zip(grids, ("red", "green", "blue", "white"), strict=True):
        Image.new("RGB", (8, 8), colour).save(path)
    grids[0].write_bytes(b"\x89PNG")
    grids[2].unlink()
    made = animation.animation_of_grids(grids)
    assert [image.getpixel((0, 0)) for image in made.frames] == [(0, 128, 0)] + [(255, 255, 255)] * 3
    with pytest.raises(StorageError, match="none of its sample grids can be read"):
        list(animation.animation_of_grids(grids[2:3]).frames)


# --- functions -----------------------------------------------------------------------------------------------------


def test_a_file_that_is_cut_off_while_it_is_read_is_no_shorter_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = tmp_path / "config.json", run_files.open_to_read
    path.write_text("[1, 2]")

    @contextlib.contextmanager
    def opened_and_cut(*arguments: Any, **settings: Any) -> Iterator[Any]:
        with real(*arguments, **settings) as file:
            size = os.fstat(file.fileno())
            monkeypatch.setattr(os, "fstat", lambda descriptor: size)
            os.truncate(path, 0)
            yield file

    monkeypatch.setattr(run_files, "open_to_read", opened_and_cut)
    with pytest.raises(OSError, match="was cut off while it was read"):
        read_bytes(path, 100)


def test_the_size_that_is_read_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config.json"
    path.write_text("[1]")
    assert load_json(path, 3) == [1]
    assert load_json(path, 2) is None
    with pytest.raises(OSError, match="larger than 0 MiB"):
        read_bytes(path, 2)
    path.write_bytes(b"one\ntwo\nthree")
    assert list(read_lines(path)) == [b"one\n", b"two\n", b"three"]
    assert list(read_lines(path, 13)) == [b"one\n", b"two\n", b"three"]
    assert list(read_lines(path, 9)) == [b"two\n", b"three"]
    assert list(read_lines(path, 8)) == [b"three"]
    monkeypatch.setattr(run_files, "LONGEST_LINE", 4)
    assert list(read_lines(path)) == [b"one\n", b"two\n"]


def test_of_a_long_log_the_newest_lines_are_read_and_all_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [json.dumps({"step": step, "loss/generator": 0.5}) + "\n" for step in range(10)]
    (tmp_path / "metrics.jsonl").write_text("".join(lines))
    monkeypatch.setattr(log._read_lines, "__defaults__", (3 * len(lines[0]),))
    assert [line["step"] for line in read_metrics(tmp_path)] == [7, 8, 9]
    truncate_metrics(tmp_path, 8)
    assert (tmp_path / "metrics.jsonl").read_text() == "".join(lines[:9])


def test_a_link_is_only_followed_where_that_is_wanted(tmp_path: Path, secret: Path) -> None:
    (tmp_path / "link").symlink_to(secret)
    assert read_bytes(tmp_path / "link", 100, follow=True) == SECRET.encode()
    with pytest.raises(OSError, match="is no regular file"):
        open_to_read(tmp_path / "link")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link to a fifo").symlink_to(tmp_path / "fifo")
    with pytest.raises(OSError, match="is no regular file"):
        open_to_read(tmp_path / "link to a fifo", follow=True)


def test_a_file_that_is_swapped_while_it_is_opened(
    tmp_path: Path, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check of the path passes, and what is opened is another file."""
    (tmp_path / "plain").write_text("")
    os.mkfifo(tmp_path / "fifo")
    plain = os.stat(tmp_path / "plain")
    monkeypatch.setattr(os, "stat", lambda *_, **__: plain)
    monkeypatch.setattr(os, "lstat", lambda *_: plain)
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else None
    with pytest.raises(OSError, match="is no regular file"):
        open_to_read(tmp_path / "fifo")
    with pytest.raises(UnsafeFileError, match="is no regular file"):
        open_to_append(tmp_path / "fifo")
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) == before


def test_a_run_stays_locked_if_its_lock_file_is_removed(tmp_path: Path) -> None:
    with lock(tmp_path):
        (tmp_path / ".lock").unlink()
        with pytest.raises(StorageError, match="in use by another process"):
            lock(tmp_path)
    lock(tmp_path).close()


def test_a_run_folder_that_cannot_be_made_is_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = Path.mkdir

    def fail_late(path: Path, *arguments: Any, **options: Any) -> None:
        if path.name == "samples":
            raise OSError(errno.ENOSPC, "No space left on device")
        make(path, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", fail_late)
    with pytest.raises(StorageError, match="No space left"):
        create_run_folder(create_dated_folder(tmp_path / "outputs" / "r"))
    assert not (tmp_path / "outputs").exists()


def test_a_lock_holds_without_the_name_of_its_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int, size: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "ftruncate", fail)
    with lock(tmp_path), pytest.raises(StorageError, match="in use by another process"):
        lock(tmp_path)


@pytest.mark.parametrize("read", [lambda path: read_bytes(path, 100), lambda path: list(read_lines(path))])
def test_an_error_of_a_read_names_the_file(
    read: Callable[[Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: int) -> bytes:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))  # without a file name, as the errors of reads are

    @contextlib.contextmanager
    def unreadable(path: Path, **how: bool) -> Iterator[Any]:
        with opened(path, **how) as file:
            yield SimpleNamespace(fileno=file.fileno, read=fail, readline=fail)

    opened, path = run_files.open_to_read, tmp_path / "metrics.jsonl"
    path.write_bytes(b"{}\n")
    monkeypatch.setattr(run_files, "open_to_read", unreadable)
    with pytest.raises(OSError, match="Stale file handle") as raised:
        read(path)
    assert raised.value.filename == str(path)
