"""`dataset.fit` and `dataset.bands`: what of an image is kept, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_cli.cli.explain import load_explanations
from gan_cli.cli.keys import list_keys
from gan_cli.config import train_config
from gan_cli.config.compose import compose_command
from gan_cli.config.options.published_datasets import PUBLISHED
from gan_cli.data.decoding.crop_and_pad import compute_fit, min_decode_size
from gan_cli.data.load_dataset import build_dataset
from gan_cli.data.source_description import describe_fit
from gan_cli.image_labels.count_samples import count_in_folder
from support.image_folders import folder_error, load_folder, load_single_file, pixel
from support.images import BLUE, GREEN, RED, encode_image, noise_image, png_bytes, write_image, zip_folder
from support.paths import ROOT


def wide(folder: Path, count: int = 2) -> Path:
    """Images of 96 x 24: a quarter red, a half green, a quarter blue."""
    for index in range(count):
        path = write_image(folder / "cat" / f"{index}.png", GREEN, (96, 24))
        image = Image.open(path)
        image.paste(RED, (0, 0, 24, 24))
        image.paste(BLUE, (72, 0, 96, 24))
        image.save(path)
    return folder


def test_what_is_cut_is_said_in_folders_classes_and_zips(tmp_path: Path) -> None:
    folder = wide(tmp_path / "wide")
    data = load_folder(folder)
    assert data.source == f"2 images in 1 class (cat 2) from {folder}; 2 cropped to 1:1, up to 75 % removed"
    assert load_folder(zip_folder(folder, tmp_path / "a.zip")).source.endswith("; 2 cropped to 1:1, up to 75 % removed")
    assert data.samples[0].flatten(1).T.unique(dim=0).tolist() == [list(GREEN)]
    assert (data.changes["fit"], data.changes["fitted"], data.changes["largest_share_fitted"]) == ("crop", 2, 0.75)
    assert "cropped to 4:3" in load_folder(folder, size=(12, 16)).source
    assert "cut to" not in load_folder(folder, size=(4, 16)).source


def test_a_sliver_is_said_too(tmp_path: Path) -> None:
    assert load_single_file(tmp_path, encode_image(noise_image(200, 201), "PNG")).source.endswith(
        "; 1 cropped to 1:1, under 1 % removed"
    )


def test_padding_keeps_all_and_says_its_colour(tmp_path: Path) -> None:
    data = load_folder(wide(tmp_path), fit="pad", size=(24, 24), background="#8090ff")
    assert data.source.endswith("; 2 padded to 1:1 with #8090ff, up to 75 % of the result")
    sample = data.samples[0]
    assert sample[:, :9].flatten(1).T.unique(dim=0).tolist() == [[0x80, 0x90, 0xFF]]
    assert torch.equal(sample[:, :9], sample[:, 15:])
    assert sample[:, 9:15, 0].T.unique(dim=0).tolist() == [list(RED)]
    assert sample[:, 9:15, -1].T.unique(dim=0).tolist() == [list(BLUE)]
    high = load_folder(wide(tmp_path), fit="pad", size=(96, 24))
    assert high.samples[0, :, :45].min() == 255
    assert high.samples[0, :, 45:51, 12].T.unique(dim=0).tolist() == [list(GREEN)]


def test_padding_of_grey_and_of_opacity(tmp_path: Path) -> None:
    folder = wide(tmp_path)
    assert load_folder(folder, fit="pad", channels=1, background="#ff0000").samples[0, 0, 0, 0] == 76
    data = load_folder(folder, fit="pad", channels=4, background="black")
    assert pixel(data) == (0, 0, 0, 0)
    assert "padded to 1:1 with transparent, " in data.source


def test_stretching_keeps_all(tmp_path: Path) -> None:
    data = load_folder(wide(tmp_path), fit="stretch", size=(24, 24))
    assert data.source.endswith(["; 2 stretched to 1:1, by up to 75 %", "aller than 24 x 24, enlarged"][0])
    assert data.samples[0, :, :, 2].T.unique(dim=0).tolist() == [list(RED)]
    assert data.samples[0, :, :, 12].T.unique(dim=0).tolist() == [list(GREEN)]
    assert data.samples[0, :, :, 21].T.unique(dim=0).tolist() == [list(BLUE)]


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_a_picture_of_the_proportions_is_the_same_by_any_fit(tmp_path: Path, fit: str) -> None:
    content = encode_image(noise_image(40, 40), "PNG")
    data = load_single_file(tmp_path, content, fit=fit)
    assert torch.equal(data.samples, load_single_file(tmp_path, content).samples)
    assert data.source == f"1 image from {tmp_path / 'one'}"


@pytest.mark.parametrize("fit", ["pad", "stretch"])
@pytest.mark.parametrize(("width", "height", "turned"), [(900, 300, 1), (300, 1200, 6)])
def test_a_large_jpeg_is_not_decoded_too_small(tmp_path: Path, fit: str, width: int, height: int, turned: int) -> None:
    image = noise_image(width // 10, height // 10).resize((width, height), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = turned
    jpeg, lossless = (
        load_single_file(
            tmp_path, encode_image(image, kind, exif=exif, **options), fit=fit, size=(24, 36)
        ).samples.float()
        for kind, options in (("JPEG", {"quality": 97, "subsampling": 0}), ("PNG", {}))
    )
    assert (jpeg - lossless).abs().mean() < 3


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize(("width", "height"), [(1, 3000), (3000, 1), (1, 1), (7, 5)])
def test_every_fit_of_every_proportion(tmp_path: Path, fit: str, width: int, height: int) -> None:
    found = compute_fit(width, height, (8, 12), fit)
    assert min(found.box[2:]) >= 1
    assert min(found.inner[2:]) >= 1
    assert 0 <= found.share < 1
    assert min(min_decode_size(width, height, (8, 12), fit)) >= 1
    assert load_single_file(
        tmp_path, encode_image(Image.new("RGB", (width, height), BLUE), "PNG"), size=(8, 12), fit=fit
    ).samples.shape


# --- bands -------------------------------------------------------------------------------------------------------


def test_four_bands_that_are_no_opacity(tmp_path: Path) -> None:
    content = encode_image(Image.new("RGBA", (8, 8), (10, 20, 130, 0)), "PNG")
    lost = load_single_file(tmp_path, content, channels=4)
    assert lost.source.endswith("; 1 fully transparent (if that band is not opacity, use dataset.bands=data)")
    assert lost.changes["wholly_transparent"] == 1
    assert pixel(load_single_file(tmp_path, content, channels=4, bands="data")) == (10, 20, 130, 0)
    assert load_single_file(tmp_path, content, background="black").source.endswith(
        "; 1 with transparency put on black; 1 fully transparent; values 0 to 0 of 255: nearly black"
    )
    assert "a.png (has 4 bands, not dataset.image_channels=3)" in folder_error(tmp_path / "one", bands="data")


def test_bands_are_resized_each_for_itself(tmp_path: Path) -> None:
    image = noise_image(64, 48, "RGBA")
    data = load_single_file(tmp_path, encode_image(image, "PNG"), channels=4, bands="data", fit="stretch")
    for band, seen in zip(image.split(), data.samples[0], strict=True):
        assert np.array_equal(np.asarray(band.resize((8, 8), Image.Resampling.LANCZOS)), seen)


@pytest.mark.parametrize("bands", [2, 5, 13])
def test_arrays_of_any_number_of_bands(tmp_path: Path, bands: int) -> None:
    values = np.random.default_rng(0).integers(0, 256, (32, 32, bands), dtype=np.uint8)
    np.save(tmp_path / "a.npy", values)
    data = load_folder(tmp_path, channels=bands, bands="data", size=(32, 32), fit="pad")
    assert np.array_equal(data.samples[0].permute(1, 2, 0), values)
    if bands > 4:
        assert (
            f"has {bands} bands, which dataset.bands=data keeps, with dataset.image_channels={bands}"
            in folder_error(tmp_path)
        )


def test_16_bit_bands_are_scaled_by_one_range(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 4096, (16, 16, 6)).astype(np.uint16)
    np.save(tmp_path / "a.npy", values)
    data = load_folder(tmp_path, channels=6, bands="data", value_range="auto", size=(16, 16))
    assert np.array_equal(data.samples[0].permute(1, 2, 0), np.rint(values * (255 / 4095)))


def test_recipes_count_what_is_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.zeros((30, 8, 8, 3), np.uint8), labels=np.zeros((30, 1)))
    np.save(tmp_path / "b.npy", np.zeros((12, 8, 8), np.uint8))
    (tmp_path / "picture").write_bytes(png_bytes(1, 1, 8, 2, bytes(RED)))
    write_image(tmp_path / "c.tif")
    assert (
        count_in_folder(str(tmp_path), "train", None, None, False, ("none", "AtoB")) == len(load_folder(tmp_path)) == 44
    )


def test_the_choices_are_told_with_an_example_each() -> None:
    told = list_keys("train")
    for key, example in (("fit", "fit=pad"), ("value_range", "[0,4095]")):
        assert example in told[f"dataset.{key}"][0].description
        for text in ((ROOT / "docs" / "own-images.md").read_text(), load_explanations()["dataset/folder"]["what"]):
            assert f"dataset.{key}" in text
            assert example in text


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (28, ""),
        ([28, 28], ""),
        (16, ""),
        (32, "; each enlarged to 32 x 32"),
        ([28, 14], "; each cropped to 1:2, 50 % removed"),
        ([32, 64], "; each cropped to 2:1, 50 % removed; each enlarged to 32 x 64"),
    ],
)
def test_named_data_sets_say_the_same(size: int | list[int], said: str) -> None:
    sides = ",".join(map(str, size)) if isinstance(size, list) else None
    arguments = ["dataset.download=false", f"image_size={size if sides is None else f'[{sides}]'}"]
    config = train_config.parse_unvalidated(
        compose_command("train", [*arguments, "architecture=mlp", "dataset.limit=20"]).data
    )
    plain = build_dataset(config.dataset, 28)
    data = build_dataset(config.dataset, config.image_size)
    assert data.source == plain.source + said


def test_faces_are_cut_from_their_height() -> None:
    assert describe_fit(PUBLISHED["celeba"]["size"], (64, 64)) == "; each cropped to 1:1, 18 % removed"
