"""A generator of pets is trained by the command line, and asked for a breed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from gan_cli.cli.main import run_command
from support.commands import error_line
from support.configs import TINY_IMAGES, without
from support.published import PublishedFiles
from support.published.checksums import use_small_copies
from support.runs import last_checkpoint


def test_a_breed_is_asked_for_by_its_name(
    train: Callable[..., Path],
    here: Path,
    published: PublishedFiles,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    use_small_copies(monkeypatch, published.md5("oxford_pets"))
    root = published.copy("oxford_pets", here / "data")
    tiny = without(TINY_IMAGES, "dataset")
    run = train("dataset=oxford_pets", "conditioning=projection", f"dataset.root={root}", "steps=2", *tiny)
    record = json.loads((run / "config.json").read_text())
    assert record["data"]["samples"] == 37
    assert "Oxford-IIIT Pet" in record["data"]["source"]
    classes = last_checkpoint(run).config.classes
    assert len(classes) == 37
    assert {"beagle", "english cocker spaniel", "russian blue"} < set(classes)
    assert run_command("sample", [f"ckpt={run}", "label=beagle", "n=2", "out=beagles"]) == 0
    assert list((here / "beagles").glob("*.png"))
    assert "did you mean 'beagle'" in error_line(capsys, "sample", f"ckpt={run}", "label=beegle", "n=2", "out=other")
