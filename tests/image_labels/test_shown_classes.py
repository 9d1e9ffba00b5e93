"""The classes that have a row in a grid: every attribute has some, and what is left out is said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from gan_cli.cli.main import run_command
from gan_cli.data.labels import all_classes_requested, evenly
from gan_cli.image_labels.shown_classes import MAX_CLASSES_SHOWN, describe_shown, shown_columns
from support.configs import TINY_IMAGES
from support.images import write_class_folders

TAGS = [f"{name}={value}" for name, size in (("hair", 90), ("hat", 2), ("eyes", 60)) for value in range(size)]
PLAIN = [f"kind {number:02d}" for number in range(40)]


def test_each_attribute_has_rows() -> None:
    shown = [TAGS[column] for column in shown_columns(TAGS)]
    assert len(shown) == MAX_CLASSES_SHOWN == 32
    assert shown == sorted(shown, key=TAGS.index)
    assert Counter(name.partition("=")[0] for name in shown) == {"hair": 15, "hat": 2, "eyes": 15}
    assert {"hair=0", "hair=14", "hat=1", "eyes=0", "eyes=14"} <= {*shown}
    assert [row.name for row in all_classes_requested(TAGS, 32)] == shown
    labels = evenly(TAGS, range(64), 32)
    assert labels is not None
    assert all(labels[2 * row, column] == 1 for row, column in enumerate(shown_columns(TAGS)))
    assert describe_shown(TAGS) == "32 of 152 classes, the first values of each attribute"


@pytest.mark.parametrize("most", [1, 2, 3, 5, 151, 152, 1000])
def test_no_attribute_has_none_while_another_has_two(most: int) -> None:
    shown = [TAGS[column].partition("=")[0] for column in shown_columns(TAGS, most)]
    assert len(shown) == min(most, len(TAGS))
    if most > 2:
        assert {*shown} == {"hair", "hat", "eyes"}
    assert Counter(shown).most_common(1)[0][1] == 1 or len({*shown}) == 3


def test_plain_classes_are_the_first_and_few_are_all() -> None:
    assert shown_columns(PLAIN) == [*range(32)]
    assert describe_shown(PLAIN) == "32 of 40 classes, the first ones"
    assert shown_columns(TAGS, None) == [*range(152)]
    assert shown_columns(PLAIN[:32]) == [*range(32)]
    assert describe_shown(PLAIN[:32]) == describe_shown([]) == ""


def test_a_run_a_grid_and_a_report_say_what_is_shown(
    train: Callable[..., Path], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_class_folders(here / "kinds", **dict.fromkeys(PLAIN, 2))
    overrides = [each for each in TINY_IMAGES if not each.startswith("dataset")]
    run = train(*overrides, "dataset=folder", "dataset.path=kinds", "conditioning=concat", "steps=1")
    log = (run / "train.log").read_text()
    assert "rows of sample grids: 32 of 40 classes, the first ones; gan-sample label=NAME" in log
    capsys.readouterr()
    assert run_command("sample", [str(run), "out=all.png"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("rows: 32 of 40 classes, the first ones, by the list labels in the JSON file; label=NAME")
    assert "kind 31" in Path("all.json").read_text()
    assert run_command("sample", [str(run), "label=kind 39", "out=one.png"]) == 0
    assert "rows:" not in capsys.readouterr().out
    with Image.open("all.png") as grid, Image.open(run / "samples" / "step_00000001.png") as own:
        assert grid.size == own.size
    assert "One class per row, from the top (32 of 40 classes, the first ones): kind 00, " in (
        (run / "report.html").read_text()
    )
