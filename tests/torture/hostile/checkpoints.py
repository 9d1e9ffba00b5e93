"""Checkpoints with a right checksum and forged metadata or tensors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

VALUES = (
    None, True, -1, 0, 1, 10**9, 10**400, 1e308, float("nan"), "", "x", "os.system", "../../victim", "/etc/passwd",
    "${oc.env:HOME}", "\x1b]0;x\x07", "a" * 100_000, [], [1], ["wandb"], {}, {"_target_": "os.system", "command": "id"},
)  # fmt: skip


def make(here: Path, random: Random) -> str:
    """Sets one random value of the metadata of all checkpoints of `here`/run, or changes a tensor. Returns a note."""
    note = ""
    state = random.getstate()
    for path in {path.resolve(): path for path in (here / "run" / "checkpoints").glob("*.safetensors")}.values():
        random.setstate(state)
        note = change_file(path, random)
    return f"checkpoint: {note}"


def change_file(path: Path, random: Random) -> str:
    """Sets one random value of the metadata of a checksummed file, or changes a tensor. Returns a note."""
    import numpy as np

    from gan_cli.storage.checksummed_file import decode_checksummed, encode_checksummed

    tensors, metadata, _ = decode_checksummed(path.read_bytes())
    del metadata["sha256"]
    if random.random() < 0.2:
        name = random.choice(sorted(tensors))
        value = random.choice((float("nan"), float("inf"), 3e38))
        np.asarray(tensors[name])[...] = value if tensors[name].is_floating_point() else 0
        note = f"tensor {name} is {value}"
    else:
        note = f"metadata {change_value(metadata, random)}"
    path.unlink()
    path.write_bytes(encode_checksummed(tensors, metadata))
    return note


def change_value(content: dict[str, Any], random: Random) -> str:
    """Sets or removes one random value of a dict or of the dicts in it. Returns a note."""
    holder, value = _random_place(content, random), random.choice(VALUES)
    key = random.choice([*sorted(holder), "foreign"])
    if random.random() < 0.15:
        holder.pop(key, None)
        return f"without {key}"
    holder[key] = value
    return f"{key}={str(value)[:40]!a}"


def _random_place(metadata: dict[str, Any], random: Random) -> dict[str, Any]:
    """Returns the metadata or one of the dicts in it."""
    found: list[dict[str, Any]] = []
    collect: Callable[[Any], None]

    def collect(value: Any) -> None:
        if isinstance(value, dict):
            found.append(value)
            for key in sorted(value):
                collect(value[key])

    collect(metadata)
    return random.choice(found)
