"""Runs that began when 10 came before 2 keep their classes: on resume, when sampled, judged, exported or built upon."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from gan_cli.cli.main import run_command
from gan_cli.evaluation.checkpoint_evaluation import data_of_checkpoint
from gan_cli.evaluation.metrics import classifier
from gan_cli.sampling.load_generator import load_generator
from gan_cli.state import checkpoint
from gan_cli.storage.checksummed_file import decode_checksummed, encode_checksummed
from support.configs import TINY_IMAGES, without
from support.images import write_class_folders, write_image

NEWER = (
    "balance", "labels_file_column", "labels_columns", "labels_bins", "labels_version", "follow_links", "max_pixels",
    "pairs", "direction",
)  # fmt: skip
OLD_ORDER = ("0", "1", "10", "2", "3", "4", "5", "6", "7", "8", "9")
COMMAND = [
    *without(TINY_IMAGES, "dataset"),
    "dataset=folder",
    "dataset.cache=none",
    "dataset.path=num",
    "conditioning=projection",
    "training.lr_schedule=constant",
]


@pytest.fixture
def old(
    train: Callable[..., Path], here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A run as it was recorded before there were these keys."""
    monkeypatch.setattr(classifier.LabelledImages, "design", classifier.ClassifierDesign(steps=1))
    write_class_folders(here / "num", **dict.fromkeys(OLD_ORDER, 2))
    (here / "num" / "0" / "link.png").symlink_to(write_image(here / "elsewhere.png"))
    run = train(*COMMAND, "steps=2", "name=old", "dataset.labels_version=1", "dataset.follow_links=true")
    (path,) = (run / "checkpoints").glob("step_*2.safetensors")
    tensors, metadata, _ = decode_checksummed(path.read_bytes())
    del metadata["sha256"]
    for key in NEWER:
        del metadata["config"]["dataset"][key]
    path.write_bytes(encode_checksummed(tensors, metadata))
    last = run / "checkpoints" / "last.safetensors"
    last.unlink()
    last.hardlink_to(path)
    record = json.loads((run / "config.json").read_text())
    for key in NEWER:
        del record["config"]["dataset"][key]
    (run / "config.json").write_text(json.dumps(record))
    capsys.readouterr()
    return run


def test_an_old_run_keeps_its_classes(
    old: Path, train: Callable[..., Path], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert load_generator(old).classes == OLD_ORDER
    assert run_command("sample", [f"ckpt={old}", "label_index=2", "n=1", "format=images", "out=made"]) == 0
    assert [path.name for path in (here / "made").glob("*/*.png")] == ["seed_000000_10.png"]
    found, _ = checkpoint.load_newest(old / "checkpoints")
    data, _ = data_of_checkpoint(found, None)
    assert data.classes == OLD_ORDER
    assert "classes as when the run began (dataset.labels_version=1): 0, 1, 10, 2 and " in data.source
    train(*COMMAND, "steps=3", "name=old", "resume=auto")
    said = capsys.readouterr().out
    assert f"resuming {old.relative_to(here)} at step 2" in said
    assert "classes as when the run began" in said
    assert "23 images in 11 classes" in said  # as when the run began, with the link
