"""Two folders of pictures compared with no checkpoint at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_evaluate import names, refused
from test_folder import write, zipped

from gan_cli.appraisal import evaluate_folders
from gan_cli.cli import run_command


def noise(folder: Path, count: int, *, seed: int = 0, size: tuple[int, int] = (16, 12), mode: str = "RGB") -> Path:
    """So many pictures, (width, height) of random pixels."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    shape = (count, size[1], size[0]) if mode == "L" else (count, size[1], size[0], 3)
    for index, pixels in enumerate(random.integers(0, 256, shape, dtype=np.uint8)):
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return folder


@pytest.fixture
def compared(here: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[dict[str, Any], str, Path]]:
    def compare(*overrides: str) -> tuple[dict[str, Any], str, Path]:
        capsys.readouterr()
        assert run_command("eval", [*overrides, "resamples=3"]) == 0, capsys.readouterr().err
        printed = capsys.readouterr().out
        path = Path(printed.splitlines()[-1])
        return json.loads(path.read_text()), printed, path

    return compare


def value(data: dict[str, Any], name: str) -> dict[str, Any]:
    return next(figure for figure in data["figures"] if figure["name"] == name)


def test_of_the_same_kind_and_of_another(here: Path, compared: Callable[..., Any]) -> None:
    noise(here / "real", 60)
    noise(here / "alike", 30, seed=1)
    other = noise(here / "other", 30, seed=2)
    for path in other.iterdir():
        Image.new("RGB", (16, 12), (0, 90, 0)).save(path)
    good, printed, path = compared("real=real", "fake=alike")
    assert path == Path("alike_random_n30.json")
    assert "real: 60 pictures from real" in printed
    assert "fake: 30 pictures from alike" in printed
    assert good["about"]["shape"] == [3, 12, 16]
    assert value(good, "coverage-random")["value"] > 0.8
    assert value(good, "memorized-pixels")["value"] < 0.1
    bad = compared("real=real", "fake=other")[0]
    assert value(bad, "frechet-random")["value"] > 2 * value(good, "frechet-random")["value"]
    assert value(bad, "repeated-pixels")["value"] == 1
    copied = compared("real=real", "fake=real")[0]
    assert value(copied, "memorized-pixels")["value"] == 1


def test_zips_sizes_and_colour(here: Path, compared: Callable[..., Any]) -> None:
    zipped(noise(here / "a", 40, mode="L", size=(20, 20)), here / "a.zip")
    noise(here / "b", 25, seed=1, size=(40, 40))
    assert compared("real=a.zip", "fake=b", "metrics=[kernel]")[0]["about"]["shape"] == [1, 20, 20]
    sized = compared("real=a.zip", "fake=b", "metrics=[kernel]", "image_size=8")[0]
    assert sized["about"]["shape"] == [1, 8, 8]
    assert compared("real=b", "fake=a", "metrics=[kernel]", "image_size=[8,6]")[0]["about"]["shape"] == [3, 8, 6]


def test_large_pictures_are_brought_to_128(here: Path, compared: Callable[..., Any]) -> None:
    noise(here / "a", 24, size=(300, 150))
    assert compared("real=a", "fake=a", "metrics=[kernel]")[0]["about"]["shape"] == [3, 64, 128]


def test_classes_of_the_real_ones_make_a_classifier(here: Path, compared: Callable[..., Any]) -> None:
    noise(here / "real" / "train" / "cat", 30)
    noise(here / "real" / "train" / "dog", 30, seed=1)
    noise(here / "real" / "test" / "cat", 20, seed=2)
    noise(here / "real" / "test" / "dog", 20, seed=3)
    noise(here / "fake", 30, seed=4)
    data, printed, _ = compared("real=real", "fake=fake", "metrics=[kernel,modes]")
    assert names(data) == ["kernel-classifier", "modes/covered-classifier", "modes/reverse_kl-classifier"]
    assert "compared with: 30 of 40 held-out images" in printed


def test_mistakes_name_the_folder(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise(here / "real", 40)
    (here / "empty").mkdir()
    assert "real=empty: no pictures in it" in refused(capsys, "real=empty", "fake=real")
    assert "fake=empty: no pictures in it" in refused(capsys, "real=real", "fake=empty")
    assert "real=nowhere" in refused(capsys, "real=nowhere", "fake=real")
    assert "fake=nowhere" in refused(capsys, "real=real", "fake=nowhere")
    noise(here / "few", 12, seed=1)
    assert "n=13: fake=few has 12 pictures, use at most that many" in refused(capsys, "real=real", "fake=few", "n=13")
    assert "n=21: there are 20 real samples on each side, half of 40" in refused(
        capsys, "real=real", "fake=real", "n=21"
    )
    assert "these data have 12 samples, too few" in refused(capsys, "real=few", "fake=real")


def test_fakes_are_drawn_from_all_of_their_files(here: Path) -> None:
    """Files of a class stand together; the first of them alone would be another distribution."""
    for folder, count in (("real", 40), ("fake", 40)):
        for index in range(count):
            dark, bright = (index % 10, 0, 0), (255 - index % 10, 255, 255)
            write(here / folder / "a" / f"{index}.png", dark, (8, 8))
            write(here / folder / "b" / f"{index}.png", bright, (8, 8))
    found = evaluate_folders("real", "fake", metrics=["frechet"], extractor="pixels", resamples=0)
    assert found.about["n"] == 40  # of 80, as half of the reals make the floor
    figure = found.figures[0]
    assert figure.floor is not None
    assert figure.value < 5 * figure.floor + 5


def test_too_few_fakes_are_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for index in range(30):
        write(here / "real" / f"{index}.png", (index, 0, 0), (8, 8))
    write(here / "fake" / "0.png", (0, 0, 0), (8, 8))
    assert run_command("eval", ["real=real", "fake=fake"]) == 2
    assert "fake=fake: 1 pictures are too few to judge" in capsys.readouterr().err
