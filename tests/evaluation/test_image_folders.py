"""Two folders of images compared with no checkpoint at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from gan_cli.api_arguments import parse_evaluation_options
from gan_cli.cli.main import run_command
from gan_cli.errors import UsageError
from gan_cli.evaluation import image_folders
from gan_cli.evaluation.checkpoint_evaluation import evaluate_folders
from gan_cli.evaluation.image_folders import Folders, read_folders
from gan_cli.evaluation.metrics import classifier, feature_extractors
from gan_cli.evaluation.metrics.classifier import Classifier
from support.commands import error_line
from support.evaluations import frechet_distance, metric_names
from support.images import write_image, zip_folder

FOLDERS = {"real": "real", "fake": "fake"}


def noise(folder: Path, count: int, *, seed: int = 0, size: tuple[int, int] = (16, 12), mode: str = "RGB") -> Path:
    """So many images, (width, height) of random pixels."""
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


def read(n: int, real: str = "real", fake: str = "fake", **options: Any) -> Folders:
    return read_folders(parse_evaluation_options(real=real, fake=fake, **options), n)


def value(data: dict[str, Any], name: str) -> dict[str, Any]:
    return next(figure for figure in data["figures"] if figure["name"] == name)


def test_links_and_large_images_have_keys_of_their_own(here: Path) -> None:
    noise(here / "real", 2)
    (here / "fake").mkdir()
    for number in range(2):
        (here / "fake" / f"{number}.png").symlink_to(here / "real" / f"{number}.png")
    with pytest.raises(UsageError, match=r"^fake=fake: no images in it; .*: follow_links=true follows them; "):
        read(2)
    assert len(read(2, follow_links=True).fake) == 2
    with pytest.raises(UsageError, match=r"more than max_pixels=100 allows\); repair or remove them$"):
        read(2, fake="real", max_pixels=100)


def test_of_the_same_kind_and_of_another(here: Path, compared: Callable[..., Any]) -> None:
    noise(here / "real", 60)
    noise(here / "alike", 30, seed=1)
    other = noise(here / "other", 30, seed=2)
    for path in other.iterdir():
        Image.new("RGB", (16, 12), (0, 90, 0)).save(path)
    good, printed, path = compared("real=real", "fake=alike")
    assert path == Path("alike_random_n30.json")
    assert "real: 60 images from real" in printed
    assert "fake: 30 images from alike" in printed
    assert good["about"]["shape"] == [3, 12, 16]
    assert value(good, "coverage-random")["value"] > 0.8
    assert value(good, "memorized-pixels")["value"] < 0.1
    bad = compared("real=real", "fake=other")[0]
    assert value(bad, "frechet-random")["value"] > 2 * value(good, "frechet-random")["value"]
    assert value(bad, "repeated-pixels")["value"] == 1
    copied = compared("real=real", "fake=real")[0]
    assert value(copied, "memorized-pixels")["value"] == 1


def test_zips_sizes_and_colour(here: Path, compared: Callable[..., Any]) -> None:
    zip_folder(noise(here / "a", 40, mode="L", size=(20, 20)), here / "a.zip")
    noise(here / "b", 25, seed=1, size=(40, 40))
    assert compared("real=a.zip", "fake=b", "metrics=[kernel]")[0]["about"]["shape"] == [1, 20, 20]
    sized = compared("real=a.zip", "fake=b", "metrics=[kernel]", "image_size=8")[0]
    assert sized["about"]["shape"] == [1, 8, 8]
    assert compared("real=b", "fake=a", "metrics=[kernel]", "image_size=[8,6]")[0]["about"]["shape"] == [3, 8, 6]


def test_large_pictures_are_brought_to_128(here: Path, compared: Callable[..., Any]) -> None:
    noise(here / "a", 24, size=(300, 150))
    assert compared("real=a", "fake=a", "metrics=[kernel]")[0]["about"]["shape"] == [3, 64, 128]


def shades(folder: Path, count: int, shade: int, *, seed: int = 0) -> Path:
    """Images of about one grey each, which tell a class."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for index, pixels in enumerate(random.integers(shade, shade + 60, (count, 12, 16, 3), dtype=np.uint8)):
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return folder


def test_classes_of_the_real_ones_make_a_classifier(here: Path, compared: Callable[..., Any]) -> None:
    shades(here / "real" / "train" / "cat", 30, 0)
    shades(here / "real" / "train" / "dog", 30, 190, seed=1)
    shades(here / "real" / "test" / "cat", 20, 0, seed=2)
    shades(here / "real" / "test" / "dog", 20, 190, seed=3)
    shades(here / "fake" / "cat", 30, 0, seed=4)
    shades(here / "fake" / "bird", 3, 0, seed=5)
    data, printed, _ = compared("real=real", "fake=fake", "metrics=[kernel,modes]")
    assert metric_names(data) == ["kernel-classifier", "modes/covered-classifier", "modes/reverse_kl-classifier"]
    assert "compared with: 33 of 40 held-out images" in printed
    assert "warning: fake has bird, which real does not have" in printed
    assert "warning: real has dog, which fake does not have" in printed


def test_a_classifier_at_chance_is_not_used(
    here: Path, compared: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    guesses = Classifier(nn.Sequential(), 0.5)
    monkeypatch.setattr(classifier, "load_or_train_classifier", lambda *data: guesses)
    noise(here / "real" / "cat", 30)
    noise(here / "real" / "dog", 30, seed=1)
    noise(here / "fake", 30, seed=4)
    data, printed, path = compared("real=real", "fake=fake", "metrics=[kernel]")
    assert metric_names(data) == ["kernel-random"]
    assert "no better than guessing (50.0%): images are compared in random features" in printed
    assert data["about"]["why"] in printed
    assert path.name == "fake_random_n30.json"


# --- at which size -----------------------------------------------------------------------------------------------


def striped(folder: Path, count: int, size: tuple[int, int], *, seed: int = 0) -> Path:
    """A disc at a random place of the middle square of wide images, and stripes at both sides; (width, height)."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    width, height = size
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    for index in range(count):
        pixels = np.full((height, width, 3), 40, dtype=np.uint8)
        sides = (columns < (width - height) / 2) | (columns >= (width + height) / 2)
        pixels[sides & (rows // 4 % 2 == 0)] = (250, 20, 20)
        x, y, radius = *random.uniform(-height / 6, height / 6, 2).tolist(), height / random.uniform(4, 6)
        disc = (columns - width / 2 - x) ** 2 + (rows - height / 2 - y) ** 2 < radius**2
        pixels[disc] = (40, int(random.integers(120, 250)), 90)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return folder


def test_wide_pictures_are_compared_in_the_proportions_of_the_fakes(here: Path, compared: Callable[..., Any]) -> None:
    """What a run makes of photos is square; brought to their proportions it would be cut and enlarged."""
    striped(here / "real", 80, (96, 48))
    striped(here / "whole", 40, (96, 48), seed=1)
    (here / "fake").mkdir()
    for path in (here / "whole").iterdir():
        Image.open(path).resize((24, 24), Image.Resampling.LANCZOS, box=(24, 0, 72, 48)).save(here / "fake" / path.name)
    usual, printed, _ = compared("real=real", "fake=fake", "metrics=[frechet]", "extractor=pixels")
    assert usual["about"]["shape"] == [3, 24, 24]
    figure = value(usual, "frechet-pixels")
    assert figure["value"] < 3 * figure["floor"]
    assert "size: compared at 24 x 24 (height x width), that of the fakes\n" in printed
    assert "size: real: 80 of 48 x 96; 80 cut to these proportions (50% of each lost), 80 shrunk\n" in printed
    assert "size: fake" not in printed
    wide, printed, _ = compared("real=real", "fake=fake", "metrics=[frechet]", "extractor=pixels", "image_size=[48,96]")
    assert value(wide, "frechet-pixels")["value"] > 5 * figure["value"]
    assert "size: compared at 48 x 96 (height x width), as image_size says\n" in printed
    assert "size: fake: 40 of 24 x 24; 40 cut to these proportions (50% of each lost), 40 enlarged\n" in printed


@pytest.mark.parametrize(
    ("fit", "real", "fake"),
    [
        (
            "pad",
            "padded to these proportions (50% of each is padding), 20 shrunk",
            "(29% of each is padding), 20 shrunk",
        ),
        ("stretch", "stretched to these proportions (by 50%), 20 shrunk", "(by 30%), 20 shrunk"),
    ],
)
def test_pictures_of_other_proportions_fit_as_asked(
    here: Path, compared: Callable[..., Any], fit: str, real: str, fake: str
) -> None:
    striped(here / "real", 20, (96, 48))
    striped(here / "fake", 20, (40, 28), seed=1)
    data, printed, _ = compared("real=real", "fake=fake", "metrics=[kernel]", "image_size=24", f"fit={fit}")
    assert data["about"]["fit"] == fit
    assert f"size: real: 20 of 48 x 96; 20 {real}\n" in printed
    assert fake in printed
    fakes = read(20, image_size=24, fit=fit).fake
    assert ((fakes.samples[:, :, 0] == 255).all() and (fakes.samples[:, :, -1] == 255).all()) == (fit == "pad")


def test_fit_is_of_two_folders(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "fit=pad: is for two folders" in error_line(capsys, "eval", "ckpt=a", "fit=pad")
    assert "expected one of crop, pad, stretch" in error_line(capsys, "eval", "real=a", "fake=b", "fit=fill")


@pytest.mark.parametrize(
    ("real", "fake", "expected", "why"),
    [
        ((16, 12), (16, 12), (12, 16), "that of the fakes"),
        ((64, 48), (16, 12), (12, 16), "that of the fakes"),
        ((16, 12), (64, 48), (12, 16), "that of the real images, in the fakes' proportions"),
        ((16, 32), (20, 20), (16, 16), "that of the real images, in the fakes' proportions"),
        ((300, 300), (128, 100), (100, 128), "that of the fakes"),
        ((300, 300), (300, 3), (4, 128), "as sides are at most 128 pixels unless image_size= says more"),
        ((300, 300), (300, 200), (85, 128), "as sides are at most 128 pixels unless image_size= says more"),
    ],
)
def test_the_smaller_of_both_sizes(
    here: Path, real: tuple[int, int], fake: tuple[int, int], expected: tuple[int, int], why: str
) -> None:
    noise(here / "real", 2, size=real)
    noise(here / "fake", 2, size=fake)
    summaries = [image_folders._summarize(name, name, follow_links=False) for name in ("real", "fake")]
    assert image_folders._common_size(*summaries, None, 128) == (expected, why)


def test_inception_sees_pictures_at_their_own_size(here: Path) -> None:
    noise(here / "a", 20, size=(150, 140))
    found = read(20, "a", "a", extractor="inception")
    assert found.fake.samples.shape[1:] == (3, 140, 150)
    assert read(20, "a", "a").fake.samples.shape[1:] == (3, 119, 128)


def test_turned_pictures_count_as_they_are_seen(here: Path) -> None:
    for index in range(3):
        exif = Image.Exif()
        exif[0x0112] = 6
        (here / "a").mkdir(exist_ok=True)
        Image.new("RGB", (40, 20)).save(here / "a" / f"{index}.jpg", exif=exif)
    assert image_folders._summarize("real", "a", follow_links=False).usual == (40, 20)


def test_sizes_that_differ_among_them_are_told(here: Path, compared: Callable[..., Any]) -> None:
    noise(here / "real", 24, size=(32, 32))
    for index, pixels in enumerate(np.random.default_rng(1).integers(0, 256, (4, 20, 30, 3), dtype=np.uint8)):
        Image.fromarray(pixels).save(here / "real" / f"wide{index}.png")
    noise(here / "fake", 14, seed=2, size=(24, 24))
    data, printed, _ = compared("real=real", "fake=fake", "metrics=[kernel]")
    line = (
        "size: real: 24 of 32 x 32, 4 of 20 x 30; 4 cut to these proportions (33% of each lost), 24 shrunk, 4 enlarged"
    )
    assert line in printed
    assert line in data["about"]["told"]


# --- what is the same, and what is not used ----------------------------------------------------------------------


def test_a_folder_with_itself_and_shared_pictures(here: Path, compared: Callable[..., Any]) -> None:
    noise(here / "real", 40)
    noise(here / "fake", 20, seed=1)
    (here / "fake" / "copy.png").write_bytes((here / "real" / "3.png").read_bytes())
    (here / "link").symlink_to("real")
    same = compared("real=real", "fake=link", "metrics=[kernel]")[1]
    assert "warning: real and fake are the same folder, link: the metrics are of real images" in same
    assert "warning: 1 of 21 fakes are real images, the same in each pixel at 12 x 16" in compared(
        "real=real", "fake=fake", "metrics=[kernel]"
    )[1]  # fmt: skip
    (here / "fake" / "copy.png").unlink()
    assert "are real images" not in compared("real=real", "fake=fake", "metrics=[kernel]")[1]


def test_grey_beside_colours(here: Path) -> None:
    noise(here / "grey", 12, mode="L")
    noise(here / "coloured", 12, seed=1)
    turned = "warning: 12 fakes have colours and are turned grey, as the real images are"
    assert turned in read(12, "grey", "coloured").lines
    assert "warning: the fakes are grey, the real images are not" in read(12, "coloured", "grey").lines
    assert not any("warning: the fakes" in line for line in read(12, "grey", "grey").lines)


def test_fakes_that_are_not_used_are_told_and_all_can_be(here: Path, compared: Callable[..., Any]) -> None:
    """As papers have it: all fakes against all real images."""
    noise(here / "real", 30)
    noise(here / "fake", 50, seed=1)
    data, printed, _ = compared("real=real", "fake=fake", "metrics=[frechet]")
    assert "fakes: 35 of 50 are not used; reals=train compares all with all real ones" in printed
    assert (data["about"]["n"], data["about"]["n_real"], data["about"]["unused"]) == (15, 15, 35)
    data, printed, path = compared("real=real", "fake=fake", "metrics=[frechet]", "reals=train")
    assert "compared with: all 30 images of the data; floor: none, as no others are left" in printed
    assert "not used" not in printed
    figure = value(data, "frechet-random")
    assert (figure["n"], figure["reals"], figure["floor"]) == (50, 30, None)
    assert path.name == "fake_random_n50_train.json"
    data = compared("real=real", "fake=fake", "metrics=[frechet]", "reals=train", "n=40", "n_real=20")[0]
    figure = value(data, "frechet-random")
    assert (figure["n"], figure["reals"]) == (40, 20)
    assert figure["floor"] is not None
    assert data["about"]["unused"] == 10


def test_figures_against_all_are_those_of_all(here: Path) -> None:
    noise(here / "real", 30)
    noise(here / "fake", 50, seed=1)
    found, _ = evaluate_folders(
        parse_evaluation_options(**FOLDERS, metrics=["frechet"], extractor="pixels", resamples=0, reals="train"),
        torch.device("cpu"),
    )
    both = read(50)
    real, fake = (
        feature_extractors.build_pixel_extractor().extract(samples).features
        for samples in (both.real.train_unlimited.samples, both.fake.samples)
    )
    assert found.figures[0].value == pytest.approx(frechet_distance(real, fake), rel=1e-6)


def test_mistakes_name_the_folder(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise(here / "real", 40)
    (here / "empty").mkdir()
    assert "real=empty: no images in it" in error_line(capsys, "eval", "real=empty", "fake=real")
    assert "fake=empty: no images in it" in error_line(capsys, "eval", "real=real", "fake=empty")
    assert "real=nowhere" in error_line(capsys, "eval", "real=nowhere", "fake=real")
    assert "fake=nowhere" in error_line(capsys, "eval", "real=real", "fake=nowhere")
    noise(here / "few", 12, seed=1)
    assert "n=13: fake=few has 12 images, use at most that many" in error_line(
        capsys, "eval", "real=real", "fake=few", "n=13"
    )
    assert "n=21: there are 20 real samples on each side, half of 40" in error_line(
        capsys, "eval", "real=real", "fake=real", "n=21"
    )
    assert "these data have 12 samples, too few" in error_line(capsys, "eval", "real=few", "fake=real")
    assert "reals=train to compare with all 40 training samples" in error_line(
        capsys, "eval", "real=real", "fake=real", "n=21"
    )
    assert "n_real=41: reals=train are 40 samples, use at most that many" in error_line(
        capsys, "eval", "real=real", "fake=real", "reals=train", "n_real=41"
    )


def test_fakes_are_drawn_from_all_of_their_files(here: Path) -> None:
    """Files of a class stand together; the first of them alone would be another distribution."""
    for folder, count in (("real", 40), ("fake", 40)):
        for index in range(count):
            dark, bright = (index % 10, 0, 0), (255 - index % 10, 255, 255)
            write_image(here / folder / "a" / f"{index}.png", dark, (8, 8))
            write_image(here / folder / "b" / f"{index}.png", bright, (8, 8))
    options = parse_evaluation_options(**FOLDERS, metrics=["frechet"], extractor="pixels", resamples=0)
    found, _ = evaluate_folders(options, torch.device("cpu"))
    assert found.about["n"] == 40  # of 80, as half of the reals make the floor
    figure = found.figures[0]
    assert figure.floor is not None
    assert figure.value < 5 * figure.floor + 5


def test_too_few_fakes_are_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for index in range(30):
        write_image(here / "real" / f"{index}.png", (index, 0, 0), (8, 8))
    write_image(here / "fake" / "0.png", (0, 0, 0), (8, 8))
    assert run_command("eval", ["real=real", "fake=fake"]) == 2
    assert "fake=fake: 1 image, at least" in capsys.readouterr().err
