"""`dataset.value_range`: which values of a set become 0 and 255, and what is said of it."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_cli.api_arguments import parse_evaluation_options
from gan_cli.config import train_config
from gan_cli.config.compose import compose_command
from gan_cli.data.dataset import Dataset
from gan_cli.data.decoding import value_ranges
from gan_cli.data.load_dataset import with_value_range
from gan_cli.errors import UsageError
from gan_cli.evaluation.image_folders import read_folders
from gan_cli.evaluation.real_data import find_real_data
from support.image_folders import folder_error, load_folder
from support.images import write_image


def grey(folder: Path, low: int, high: int, count: int = 4, kind: type = np.uint16, first: int = 0) -> Path:
    """Images of 8 x 8 pixels with values from low to high, both of which the first one has."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(first, first + count):
        values = np.random.default_rng(index).integers(low, high + 1, (8, 8)).astype(kind)
        values[0, :2] = low, high
        Image.fromarray(values).save(folder / f"{index}.png")
    return folder


def auto(folder: Path, **options: object) -> Dataset:
    return load_folder(folder, channels=1, value_range="auto", **options)


def test_12_bits_in_16_keep_256_shades_by_one_range_for_all(tmp_path: Path) -> None:
    folder = grey(tmp_path / "a", 0, 4090)
    grey(folder, 0, 300, first=4)  # darker, and to stay so
    data = auto(folder)
    assert data.source == (
        f"8 images from {folder}; 8 of 16 bits, values 0 to 4,090 of 65,535: 0 to 4,095 scaled to 0..255"
        " (dataset.value_range=full scales the full range)"
    )
    for index, sample in enumerate(data.samples):
        values = np.asarray(Image.open(folder / f"{index}.png")).astype(float)
        assert np.array_equal(sample[0], np.rint(values * 255 / 4095))
    assert data.value_range == (0.0, 4095.0)
    assert data.changes["values"]["16 bits"] == {"pictures": 8, "low": 0.0, "high": 4090.0}


def test_full_darkens_them_as_before_and_says_so(tmp_path: Path) -> None:
    folder = grey(tmp_path / "a", 0, 4095)
    data = load_folder(folder, channels=1)
    assert data.samples.max() == 16
    assert data.source.endswith(
        "; 4 of 16 bits, scaled to 8: values 0 to 4,095 of 65,535, few shades are left;"
        " dataset.value_range=[0,4095] keeps more"
    )


def test_a_window_with_an_offset(tmp_path: Path) -> None:
    data = auto(grey(tmp_path / "ct", 31768, 33768))
    assert "31,768 to 33,768 scaled to 0..255" in data.source
    assert data.samples.unique().numel() > 100


def test_16_bits_that_use_their_range_are_as_they_were(tmp_path: Path) -> None:
    folder = grey(tmp_path / "a", 100, 40000)
    data = auto(folder)
    assert data.source.endswith("; 4 of 16 bits, scaled to 8")
    assert data.fingerprint == load_folder(folder, channels=1).fingerprint
    assert data.value_range == "full"


def test_one_that_is_asked_for_cuts_off_what_is_beyond(tmp_path: Path) -> None:
    folder = grey(tmp_path / "a", 0, 4095)
    data = load_folder(folder, channels=1, value_range=(1000.0, 2000.0))
    assert data.source.endswith("1,000 to 2,000 scaled to 0..255; 4 with values outside that range, clipped")
    assert (data.samples.min(), data.samples.max()) == (0, 255)
    assert data.changes["values_cut_off"] == 4


@pytest.mark.parametrize("mode", ["L", "P", "RGB"])
def test_masks_of_8_bits_are_told_and_spread_where_that_is_asked_for(tmp_path: Path, mode: str) -> None:
    folder = grey(tmp_path / "a", 0, 1, kind=np.uint8)
    for path in folder.iterdir():
        Image.open(path).convert(mode).save(path)
    data = auto(folder)
    assert data.samples.max() == 1
    assert data.source.endswith("values 0 to 1 of 255: nearly black; dataset.value_range=[0,1] scales them to 0..255")
    spread = load_folder(folder, channels=1, value_range=(0.0, 1.0))
    assert spread.samples.unique().tolist() == [0, 255]
    assert torch.equal(spread.samples, data.samples * 255)
    assert spread.source.endswith("; 0 to 1 scaled to 0..255")


def test_a_set_with_one_bright_picture_is_not_nearly_black(tmp_path: Path) -> None:
    folder = grey(tmp_path / "a", 0, 1, kind=np.uint8)
    grey(folder, 0, 200, count=1, kind=np.uint8, first=9)
    assert auto(folder).source == f"5 images from {folder}"


@pytest.mark.parametrize("asked", ["auto", (0.0, 4095.0)])
def test_pictures_of_8_bits_among_deep_ones_stay_as_they_are(tmp_path: Path, asked: value_ranges.ValueRange) -> None:
    folder = grey(tmp_path / "a", 0, 4095)
    write_image(folder / "x.png", 200, mode="L")
    data = load_folder(folder, channels=1, value_range=asked)
    assert data.samples[-1].unique().tolist() == [200]
    assert data.samples[0].max() == 255
    assert "; 4 of 16 bits besides 1 of 8 bits, values" in data.source
    again = load_folder(folder, channels=1, value_range=data.value_range)  # as a run that goes on has it recorded
    assert again.fingerprint == data.fingerprint


def test_48_bit_colour(tmp_path: Path) -> None:
    from support.images import png_bytes

    tmp_path.joinpath("a").mkdir()
    rows = np.random.default_rng(0).integers(0, 4096, (4, 8, 3))
    for index, row in enumerate(rows):
        content = png_bytes(8, 8, 16, 2, struct.pack(">24H", *row.flatten().tolist()))
        (tmp_path / "a" / f"{index}.png").write_bytes(content)
    data = load_folder(tmp_path / "a", value_range="auto")
    assert data.value_range == (0.0, 4095.0)
    wanted = np.rint(rows * 255 / 4095).transpose(0, 2, 1)
    assert np.abs(data.samples[:, :, 0].numpy() - wanted).max() == 0


def test_values_that_are_no_16_bits(tmp_path: Path) -> None:
    """Hounsfield units, which are signed, in a TIFF."""
    folder = tmp_path / "a"
    folder.mkdir()
    values = np.linspace(-1000, 1000, 64).reshape(8, 8).astype(np.int32)
    Image.fromarray(values).save(folder / "a.tif")
    data = auto(folder)
    assert data.value_range == (-1000.0, 1000.0)
    assert np.array_equal(data.samples[0, 0], np.rint((values + 1000) * 255 / 2000))
    assert "has values beyond 16 bits; dataset.value_range=auto takes" in folder_error(folder, channels=1)


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [(0.1, 0.9, "full"), (-1, 1, (-1, 1)), (0, 255, (0, 255)), (0, 0.01, (0, 0.01)), (-300, 900, (-300, 900))],
)
def test_floats(tmp_path: Path, low: float, high: float, wanted: value_ranges.ValueRange) -> None:
    values = np.linspace(low, high, 64).reshape(8, 8).astype(np.float32)
    np.save(tmp_path / "a.npy", values)
    data = auto(tmp_path)
    assert data.value_range == pytest.approx(wanted) if wanted != "full" else data.value_range == "full"
    low, high = (0, 1) if wanted == "full" else wanted
    assert np.abs(data.samples[0, 0].numpy() - (values - low) * 255 / (high - low)).max() <= 0.51
    values[3, 3] = np.nan
    np.save(tmp_path / "a.npy", values)
    assert "a.npy (has values that are not finite)" in folder_error(tmp_path)


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [(0, 1, (0, 1)), (2, 20, (0, 20)), (0, 32, (0, 255)), (0, 255, (0, 255)),
     (3, 1000, (0, 1023)), (9, 16383, (0, 16383)), (0, 32768, "full"),
     (500, 900, (500, 900)), (7, 7, "full"), (70000, 70000, (70000, 70001)), (-5, 3, (-5, 3))],
)  # fmt: skip
def test_the_range_of_a_set(low: float, high: float, wanted: value_ranges.ValueRange) -> None:
    kind = value_ranges.SIXTEEN_BITS if low >= 0 and high <= 65535 else value_ranges.OVER_SIXTEEN_BITS
    assert value_ranges.infer_range([value_ranges.ValueExtent(kind, low, high)]) == wanted


# --- in a run ----------------------------------------------------------------------------------------------------


def config_of(path: Path, *more: str) -> train_config.Config:
    arguments = ["dataset=folder", f"dataset.path={path}", "dataset.image_channels=1", "image_size=8", *more]
    return train_config.parse_unvalidated(compose_command("train", arguments).data)


def test_a_run_records_the_range_and_takes_the_same_for_other_pictures(tmp_path: Path) -> None:
    data = auto(grey(tmp_path / "a", 0, 4095))
    config = config_of(tmp_path / "a")
    assert config.dataset.value_range == "auto"
    settled = with_value_range(config, data)
    assert settled.dataset.value_range == (0.0, 4095.0)
    assert train_config.parse_unvalidated(train_config.to_dict(settled)) == settled
    assert with_value_range(settled, data) == settled
    darker = load_folder(grey(tmp_path / "b", 0, 200), channels=1, value_range=settled.dataset.value_range)
    assert darker.samples.max() == 12


def test_held_out_pictures_beyond_the_range_of_training_are_told(tmp_path: Path) -> None:
    grey(tmp_path / "a" / "train", 0, 4095)
    grey(tmp_path / "a" / "test", 0, 9000)
    config = with_value_range(config_of(tmp_path / "a"), data := auto(tmp_path / "a"))
    real = find_real_data(config.dataset, 8, data)
    assert real.notes == ("4 held-out images have values outside the range of the training data; clipped to it",)
    grey(tmp_path / "b" / "train", 0, 4095)
    grey(tmp_path / "b" / "test", 0, 4000)
    config = with_value_range(config_of(tmp_path / "b"), data := auto(tmp_path / "b"))
    assert find_real_data(config.dataset, 8, data).notes == ()


def test_a_run_of_before_goes_on_as_it_was_and_is_found_by_the_same_command(tmp_path: Path) -> None:
    config = config_of(grey(tmp_path / "a", 0, 4095))
    old = train_config.to_dict(config)
    for key in ("fit", "value_range", "bands", "profiles"):
        del old["dataset"][key]
    saved = train_config.parse_unvalidated(old)
    section = saved.dataset
    assert (section.fit, section.value_range, section.bands, section.profiles) == ("crop", "full", "colour", "ignore")
    assert train_config.differing_keys(config, saved) == {}
    assert train_config.adopt_data_settings(config, saved).dataset == section
    asked = config_of(tmp_path / "a", "dataset.value_range=[0,4095]")
    assert train_config.differing_keys(asked, saved) == {
        "dataset.value_range": "dataset.value_range=[0.0,4095.0] (was full)"
    }


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("[4095,0]", "expected the lower value first"),
        ("[1]", "one of auto, full or a list of 2 numbers"),
        ("wide", "auto, full"),
    ],
)
def test_ranges_that_are_refused(tmp_path: Path, value: str, says: str) -> None:
    with pytest.raises(UsageError, match=r"dataset\.value_range=") as caught:
        config_of(tmp_path, f"dataset.value_range={value}").sample_shape  # noqa: B018
    assert says in str(caught.value)


def test_two_folders_are_compared_by_one_range(tmp_path: Path) -> None:
    real, fake = grey(tmp_path / "real", 0, 4095, count=20), grey(tmp_path / "fake", 0, 500, count=20)
    known, made, *_ = read_folders(parse_evaluation_options(real=real, fake=fake, image_size=8), 20)
    assert known.train.samples.max() == 255
    assert made.samples.max() == 31  # 500 of 4095, not of a range of its own


def test_a_range_of_deep_pictures_leaves_those_of_8_bits_alone(tmp_path: Path) -> None:
    folder = grey(tmp_path / "a", 0, 255, kind=np.uint8)
    data = load_folder(folder, channels=1, value_range=(0.0, 4095.0))
    assert data.fingerprint == load_folder(folder, channels=1).fingerprint
    assert data.source.endswith("; all of 8 bits, to which dataset.value_range=[0,4095] does not apply: unchanged")
