"""The table of style mixing: each image has the styles of its row, but in the chosen layers those of its column."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_cli.cli.main import run_command
from gan_cli.errors import UsageError
from gan_cli.sampling.load_generator import load_generator
from gan_cli.sampling.style_mixing import layers_between
from support.commands import error_line
from support.configs import TINY_IMAGES
from support.styles import SIDES, ToyStyles, train_toy

SIDES_1024 = [4, *(side for side in (8, 16, 32, 64, 128, 256, 512, 1024) for _ in range(2))]


@pytest.mark.parametrize(
    ("sides", "text", "chosen"),
    [
        (SIDES_1024, "coarse", {4, 8}),
        (SIDES_1024, "middle", {16, 32}),
        (SIDES_1024, "fine", {64, 128, 256, 512, 1024}),
        ([4, 8, 16, 32], None, {4}),
        ([4, 8, 16, 32], "middle", {8}),
        ([4, 8, 16, 32], "fine", {16, 32}),
        ([4, 8, 16, 32], "4-8", {4, 8}),
        ([4, 8, 16, 32], "16", {16}),
    ],
)
def test_parts_are_those_of_the_paper(sides: list[int], text: str | None, chosen: set[int]) -> None:
    layers = layers_between(sides, text)
    assert {sides[layer] for layer in layers} == chosen
    assert len(layers) == sum(side in chosen for side in sides)


def test_no_layer_is_an_error() -> None:
    with pytest.raises(UsageError, match="layers=64-128: no layer has such maps, whose sides are 4, 8"):
        layers_between([4, 4, 8], "64-128")


def tile(image: np.ndarray, row: int, column: int) -> np.ndarray:
    """The pixels of an image of 16 x 16 in a grid that enlarges each pixel to 3 x 3, with gaps of 2 pixels."""
    top, left = 2 + 50 * row, 2 + 50 * column
    return image[top : top + 48 : 3, left : left + 48 : 3]


@pytest.mark.parametrize("layers", ["coarse", "fine"])
def test_table(
    train: Callable[..., Path],
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    layers: str,
) -> None:
    run = train_toy(train, here, monkeypatch)
    arguments = [str(run), "format=mix", "rows=0-1", "columns=4-5,9", f"layers={layers}", "out=mix.png"]
    assert run_command("sample", arguments) == 0, capsys.readouterr().err
    with Image.open("mix.png") as opened:
        image = np.asarray(opened)
    assert image.shape == (3 * 50 + 2, 4 * 50 + 2)
    network = load_generator(run).network
    assert isinstance(network, ToyStyles)
    assert run_command("sample", [str(run), "seeds=0-1,4-5,9", "format=npz", "out=a.npz"]) == 0
    arrays = np.load("a.npz")
    styles, images = torch.tensor(arrays["w"]), arrays["images"][..., 0]
    assert (tile(image, 0, 0) == 0).all()
    for row in (0, 1):
        assert (tile(image, row + 1, 0) == images[row]).all()
        for column in (0, 1, 2):
            assert (tile(image, 0, column + 1) == images[2 + column]).all()
            expected = styles[row].clone()
            for number, side in enumerate(SIDES):
                if (side == 4) == (layers == "coarse") and side != 8:
                    expected[number] = styles[2 + column][number]
            pixels = (network.synthesize(expected[None])[0, 0] + 1) * 127.5
            difference = tile(image, row + 1, column + 1) - pixels.detach().numpy()
            assert np.abs(difference).max() < 0.51
    record = json.loads(Path("mix.json").read_text())
    assert (record["rows"], record["columns"], record["seeds"]) == ([0, 1], [4, 5, 9], "0,1,4,5,9")
    assert record["sides"] == ([4] if layers == "coarse" else [16])


def test_a_generator_without_styles_is_refused(
    trained: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained(*TINY_IMAGES, "steps=3", "name=run")
    line = error_line(capsys, "sample", str(run), "format=mix", "rows=0-3", "columns=4-9", "layers=coarse")
    assert "format=mix: this generator has no styles to mix; format=interpolate shows" in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rows=0-100000"], "rows=0-100000: 100,001 rows, at most 1,427 with so many columns"),
        (["columns=0-40"], "columns=0-40: 41 columns, at most 31 are allowed"),
        (["rows=0-99999999999999999999"], "rows=0-99999999999999999999: expected seeds from 0 to 2**62"),
        (["layers=4096-99999999999"], "layers=4096-99999999999: no layer has such maps, whose sides are 4, 8, 16"),
    ],
)
def test_a_table_out_of_range_is_one_line(
    train: Callable[..., Path],
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    assert words in error_line(capsys, "sample", str(train_toy(train, here, monkeypatch)), "format=mix", *arguments)


def test_the_record_names_the_classes_of_the_table(
    train: Callable[..., Path], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train_toy(train, here, monkeypatch, "conditioning=concat")
    kinds = "label_index=[0,1,2,3]"
    for seeds, written in ((("rows=5-6,9", "columns=1"), "5,6,9,1"), (("rows=5", "columns=6-7"), "5-7")):
        arguments = [str(run), "format=mix", *seeds, kinds, "out=mix.png", "overwrite=true"]
        assert run_command("sample", arguments) == 0
        record = json.loads(Path("mix.json").read_text())
        numbers = [0, 1, 2] if len(written) > 3 else [0, 2]
        assert (record["seeds"], record["labels"]) == (written, [load_generator(run).classes[i] for i in numbers])
