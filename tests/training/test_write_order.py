"""What a run depends on when it is resumed after a power cut is on the disk in time."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.configs import TINY_IMAGES, without

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no /proc to find the name of a descriptor")


def test_metrics_are_synced_before_a_checkpoint_and_each_file_before_it_has_its_name(
    train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: dict[int, int] = {}  # by file, the bytes that are on the disk
    unsynced: list[str] = []  # files that got their name before
    late: list[str] = []  # checkpoints before whose name a line of metrics was not on the disk
    fsync, moves = os.fsync, {name: getattr(os, name) for name in ("replace", "link")}

    def note_sync(descriptor: int) -> None:
        fsync(descriptor)
        status = os.fstat(descriptor)
        synced[status.st_ino] = status.st_size

    def is_synced(path: Path) -> bool:
        return synced.get(path.stat().st_ino) == path.stat().st_size

    def moving(name: str, source: Any, target: Any, **settings: Any) -> None:
        path, target = Path(source), Path(target)
        if "outputs" in target.parts and path.is_file() and not is_synced(path):
            unsynced.append(target.name)
        if target.name.startswith("step_") and target.parent.name == "checkpoints":
            metrics = target.parents[1] / "metrics.jsonl"
            late.extend([target.name] if metrics.stat().st_size and not is_synced(metrics) else [])
        moves[name](source, target, **settings)

    monkeypatch.setattr(os, "fsync", note_sync)
    for name in moves:
        monkeypatch.setattr(os, name, lambda *paths, _name=name, **settings: moving(_name, *paths, **settings))
    options = without(TINY_IMAGES, "training.checkpoint_every", "training.sample_every")
    run = train(*options, "steps=3", "training.checkpoint_every=1", "training.sample_every=1")
    assert (unsynced, late) == ([], [])
    assert (run / "metrics.jsonl").stat().st_ino in synced
