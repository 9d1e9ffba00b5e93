"""A person's own pictures: layouts, pixels of every kind, bad files, zips."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import struct
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_cli.data import folder, image_store
from gan_cli.data.decoding import conversion, decode
from gan_cli.data.selection import Selection
from gan_cli.errors import StorageError, UsageError
from gan_cli.image_files import formats
from support.image_folders import folder_error, load_folder, load_single_file, pixel
from support.images import (
    BLUE,
    GREEN,
    RED,
    count_bad_images,
    damaged_copies,
    encode_image,
    noise_image,
    png_bytes,
    png_chunk,
    write_class_folders,
    write_image,
    write_mixed_folder,
    zip_folder,
)

# --- layouts -----------------------------------------------------------------------------------------------------


def test_loose_pictures_have_no_labels(tmp_path: Path) -> None:
    for name, colour in (("b.png", GREEN), ("a.png", RED), ("c.bmp", BLUE)):
        write_image(tmp_path / name, colour)
    dataset = load_folder(tmp_path)
    assert dataset.samples.dtype == torch.uint8
    assert dataset.samples.shape == (3, 3, 8, 8)
    assert dataset.samples[:, :, 4, 4].tolist() == [list(RED), list(GREEN), list(BLUE)]
    assert dataset.labels is None
    assert dataset.classes == ()
    assert dataset.source == f"3 pictures from {tmp_path}"


def test_sub_folders_are_classes_and_what_is_deeper_belongs_to_them(tmp_path: Path) -> None:
    write_class_folders(tmp_path, dog=2, bird=1)
    write_image(tmp_path / "cat" / "indoors" / "old" / "x.png")
    write_image(tmp_path / "cat" / "y.png")
    dataset = load_folder(tmp_path)
    assert dataset.classes == ("bird", "cat", "dog")
    assert dataset.labels is not None
    assert dataset.labels.dtype == torch.int64
    assert dataset.labels.tolist() == [0, 1, 1, 2, 2]
    assert dataset.source == f"5 pictures in 3 classes (bird 1, cat 2, dog 2) from {tmp_path}"


def test_a_single_sub_folder_is_one_class(tmp_path: Path) -> None:
    write_class_folders(tmp_path, cat=2)
    dataset = load_folder(tmp_path)
    assert dataset.classes == ("cat",)
    assert "2 pictures in 1 class (cat 2)" in dataset.source


def test_loose_pictures_beside_sub_folders_make_no_classes(tmp_path: Path) -> None:
    write_image(write_class_folders(tmp_path, cat=1, dog=1) / "loose.png")
    dataset = load_folder(tmp_path)
    assert len(dataset) == 3
    assert dataset.labels is None
    assert "pictures both loose and in sub-folders: no classes" in dataset.source


def test_a_stray_picture_of_a_foreign_format_does_not_undo_the_classes(tmp_path: Path) -> None:
    (write_class_folders(tmp_path, cat=1, dog=1) / "x.heic").touch()
    dataset = load_folder(tmp_path, on_bad="skip")
    assert dataset.classes == ("cat", "dog")
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [0, 1]
    assert dataset.source.endswith("; 1 left out: x.heic (heic is not read, convert it to png)")
    assert len(load_folder(tmp_path, selection=Selection(classes=("cat",)))) == 1  # x.heic is of no class


def test_one_wrapping_folder_is_taken_off(tmp_path: Path) -> None:
    write_class_folders(tmp_path / "pets", cat=1, dog=2)
    (tmp_path / "README.txt").write_text("pets")
    dataset = load_folder(tmp_path)
    assert dataset.classes == ("cat", "dog")
    assert dataset.source == f"3 pictures in 2 classes (cat 1, dog 2) from {tmp_path}/pets; 1 other file"


def test_what_is_no_picture_is_counted_and_rubbish_is_not(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    for name in ("notes.csv", "note.txt", "Thumbs.db", "desktop.ini", ".DS_Store", "._a.png", ".git/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("?")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "a.png").write_text("?")
    assert load_folder(tmp_path).source == f"1 picture from {tmp_path}; 2 other files"


def test_suffixes_of_any_case_and_formats_by_their_content(tmp_path: Path) -> None:
    for name in ("a.PNG", "b.Jpg", "c.JPEG", "d.webp", "e.BMP"):
        write_image(tmp_path / name)
    (tmp_path / "f.jpg").write_bytes((tmp_path / "a.PNG").read_bytes())
    dataset = load_folder(tmp_path)
    assert len(dataset) == 6
    assert (dataset.samples.int() - torch.tensor(RED).view(1, 3, 1, 1)).abs().max() <= 2


def test_the_home_folder_may_be_written_as_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_image(tmp_path / "pictures" / "a.png")
    assert len(load_folder("~/pictures")) == 1


def test_the_order_is_that_of_the_paths_and_does_not_change(tmp_path: Path) -> None:
    write_mixed_folder(tmp_path)
    first, second = (load_folder(tmp_path, on_bad="skip") for _ in range(2))
    assert torch.equal(first.samples, second.samples)
    assert first.labels is not None
    assert first.labels.tolist() == [0] * 99 + [1] * 99 + [2] * 99
    write_class_folders(tmp_path / "pets", b=300)
    order = sorted(range(300), key=lambda index: f"{index}.png")
    assert load_folder(tmp_path / "pets").samples[:, 0, 0, 0].tolist() == [index % 256 for index in order]


# --- splits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("test_name", ["test", "TEST", "val", "Valid", "validation"])
def test_splits_are_sub_folders(tmp_path: Path, test_name: str) -> None:
    write_class_folders(tmp_path / "Train", cat=3, dog=2)
    write_class_folders(tmp_path / test_name, cat=1, dog=1)
    train, test = load_folder(tmp_path), load_folder(tmp_path, split="test")
    assert (len(train), len(test)) == (5, 2)
    assert train.classes == test.classes == ("cat", "dog")
    assert train.source.endswith(f"from {tmp_path}/Train")
    assert test.source.endswith(f"from {tmp_path}/{test_name}")


def test_test_is_preferred_to_val(tmp_path: Path) -> None:
    for count, name in enumerate(("train", "val", "test"), start=1):
        write_class_folders(tmp_path / "data" / name, cat=count)
    assert len(load_folder(tmp_path, split="test")) == 3


def test_a_split_that_is_missing_is_refused(tmp_path: Path) -> None:
    write_class_folders(tmp_path / "a", cat=1, dog=1)
    write_class_folders(tmp_path / "b" / "train", cat=1, dog=1)
    for name in ("a", "b"):
        assert f"dataset.split=test: {tmp_path / name} has no sub-folder test" in folder_error(
            tmp_path / name, split="test"
        )


def test_an_empty_split_is_refused(tmp_path: Path) -> None:
    write_class_folders(tmp_path / "test", cat=1)
    (tmp_path / "train").mkdir()
    assert f"dataset.path={tmp_path}/train: no pictures in it" in folder_error(tmp_path)


@pytest.mark.parametrize("names", [("test", "tube"), ("train", "car", "plane"), ("val", "valid")])
def test_classes_that_are_called_like_splits(tmp_path: Path, names: tuple[str, ...]) -> None:
    write_class_folders(tmp_path, **dict.fromkeys(names, 1))
    assert load_folder(tmp_path).classes == tuple(sorted(names))


def test_two_folders_of_one_split_are_refused(tmp_path: Path) -> None:
    write_class_folders(tmp_path, train=1, Train=1)
    if len(list(tmp_path.iterdir())) == 1:
        pytest.skip("this file system does not tell upper from lower case")
    assert "has both Train and train" in folder_error(tmp_path)


# --- pixels ------------------------------------------------------------------------------------------------------

HALF_RED = encode_image(Image.new("RGBA", (8, 8), (255, 0, 0, 128)), "PNG")
PALETTE = png_chunk(b"PLTE", bytes([*RED, *GREEN]))


@pytest.mark.parametrize(
    ("background", "expected"),
    [("white", (255, 127, 127)), ("black", (128, 0, 0)), ("#0000ff", (128, 0, 127)), ("#8090FF", (192, 72, 127))],
)
def test_half_transparent_red_on_a_background(tmp_path: Path, background: str, expected: tuple[int, int, int]) -> None:
    dataset = load_single_file(tmp_path, HALF_RED, background=background)
    assert pixel(dataset) == expected
    assert f"; 1 with transparency put on {background}" in dataset.source
    webp = encode_image(Image.new("RGBA", (8, 8), (255, 0, 0, 128)), "WEBP", lossless=True)
    assert pixel(load_single_file(tmp_path, webp, background=background)) == expected


GREY_KEY = png_chunk(b"tRNS", struct.pack(">H", 5))
KINDS = {
    # name: (content, RGB on white, grey on white, whether some of it is transparent)
    "RGB": (png_bytes(1, 1, 8, 2, bytes(RED)), RED, 76, False),
    "opaque RGBA": (encode_image(Image.new("RGBA", (1, 1), (*RED, 255)), "PNG"), RED, 76, False),
    "clear RGBA": (encode_image(Image.new("RGBA", (1, 1), (*RED, 0)), "PNG"), (255, 255, 255), 255, True),
    "RGB with a key": (
        png_bytes(1, 1, 8, 2, bytes(RED), png_chunk(b"tRNS", struct.pack(">HHH", *RED))),
        (255,) * 3,
        255,
        True,
    ),
    "RGB without its key": (png_bytes(1, 1, 8, 2, bytes(RED), png_chunk(b"tRNS", bytes(6))), RED, 76, False),
    "16-bit RGB": (png_bytes(1, 1, 16, 2, struct.pack(">HHH", 0xFFFF, 0x80FF, 0)), (255, 128, 0), 151, False),
    "16-bit RGB with a key": (
        png_bytes(
            1,
            1,
            16,
            2,
            struct.pack(">HHH", 0x1234, 0x5678, 9),
            png_chunk(b"tRNS", struct.pack(">HHH", 0x1234, 0x5678, 9)),
        ),
        (255, 255, 255),
        255,
        True,
    ),
    "L": (png_bytes(1, 1, 8, 0, bytes([5])), (5, 5, 5), 5, False),
    "L with a key": (png_bytes(1, 1, 8, 0, bytes([5]), GREY_KEY), (255,) * 3, 255, True),
    "L without its key": (png_bytes(1, 1, 8, 0, bytes([6]), GREY_KEY), (6,) * 3, 6, False),
    "4-bit grey": (png_bytes(1, 1, 4, 0, bytes([0x50])), (85,) * 3, 85, False),
    "4-bit grey with a key": (png_bytes(1, 1, 4, 0, bytes([0x50]), GREY_KEY), (255,) * 3, 255, True),
    "2-bit grey with a key": (png_bytes(1, 1, 2, 0, bytes([0x40]), png_chunk(b"tRNS", b"\0\1")), (255,) * 3, 255, True),
    "1 bit": (png_bytes(1, 1, 1, 0, bytes([0x80])), (255,) * 3, 255, False),
    "1 bit with a key": (png_bytes(1, 1, 1, 0, bytes([0]), png_chunk(b"tRNS", b"\0\0")), (255,) * 3, 255, True),
    "LA": (encode_image(Image.new("LA", (1, 1), (0, 128)), "PNG"), (127,) * 3, 127, True),
    "palette": (png_bytes(1, 1, 8, 3, bytes([1]), PALETTE), GREEN, 150, False),
    "palette with opacity": (
        png_bytes(1, 1, 8, 3, bytes([0]), PALETTE, png_chunk(b"tRNS", b"\x80")),
        (255, 127, 127),
        165,
        True,
    ),
    "palette with a clear colour": (
        png_bytes(1, 1, 4, 3, bytes([0]), PALETTE, png_chunk(b"tRNS", b"\0")),
        (255,) * 3,
        255,
        True,
    ),
    "16-bit grey": (png_bytes(1, 1, 16, 0, struct.pack(">H", 0x8080)), (128,) * 3, 128, False),
    "16-bit grey with a key": (png_bytes(1, 1, 16, 0, b"\0\5", GREY_KEY), (255,) * 3, 255, True),
    "16-bit grey without its key": (png_bytes(1, 1, 16, 0, b"\0\6", GREY_KEY), (0,) * 3, 0, False),
    "bmp": (encode_image(Image.new("RGB", (1, 1), RED), "BMP"), RED, 76, False),
    "1-bit bmp": (encode_image(Image.new("1", (1, 1), 1), "BMP"), (255,) * 3, 255, False),
    "palette bmp": (encode_image(Image.new("P", (1, 1), 0), "BMP"), (0,) * 3, 0, False),
    "webp": (encode_image(Image.new("RGB", (1, 1), RED), "WEBP", lossless=True), RED, 76, False),
    "opaque RGBA webp": (encode_image(Image.new("RGBA", (1, 1), (*RED, 255)), "WEBP", lossless=True), RED, 76, False),
}


@pytest.mark.parametrize(("content", "rgb", "grey", "transparent"), KINDS.values(), ids=KINDS.keys())
def test_every_kind_of_pixel(
    tmp_path: Path, content: bytes, rgb: tuple[int, int, int], grey: int, transparent: bool
) -> None:
    coloured = load_single_file(tmp_path, content, channels=3, size=(1, 1))
    assert pixel(coloured) == rgb
    assert ("transparency put on white" in coloured.source) == transparent
    assert pixel(load_single_file(tmp_path, content, channels=1, size=(1, 1))) == (grey,)
    opacity = pixel(load_single_file(tmp_path, content, channels=4, size=(1, 1)))[3]
    assert (opacity < 255) == transparent


@pytest.mark.parametrize("mode", ["CMYK", "L", "RGB"])
def test_jpegs_of_every_mode(tmp_path: Path, mode: str) -> None:
    content = encode_image(Image.new("RGB", (16, 16), (200, 200, 40)).convert(mode), "JPEG", quality=95)
    expected = (182, 182, 182) if mode == "L" else (200, 200, 40)
    for found, wanted in zip(pixel(load_single_file(tmp_path, content, "a.jpg")), expected, strict=True):
        assert abs(found - wanted) <= 3
    assert abs(pixel(load_single_file(tmp_path, content, "a.jpg", channels=1))[0] - 182) <= 3


def test_a_16_bit_ramp_keeps_its_256_shades(tmp_path: Path) -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    (tmp_path / "one").mkdir()
    Image.fromarray(values).save(tmp_path / "one" / "a.png")
    dataset = load_folder(tmp_path / "one", size=(256, 256), channels=1)
    expected = np.round(values / 257).astype(np.uint8)
    assert torch.equal(dataset.samples[0, 0], torch.from_numpy(expected))
    assert dataset.samples.unique().numel() == 256


@pytest.mark.parametrize("values", [[[-1, 0]], [[0, 65536]]])
def test_values_beyond_16_bits_are_bad(values: list[list[int]]) -> None:
    image = Image.fromarray(np.array(values, np.int32))
    target = decode.TargetFormat((1, 2), 1, "white")
    with pytest.raises(decode.BadImageError, match="values beyond 16 bits"):
        conversion.convert_image(image, None, False, target)


def test_opacity_is_kept_and_hidden_colours_are_not(tmp_path: Path) -> None:
    image = Image.new("RGBA", (2, 1))
    image.putpixel((0, 0), (10, 20, 30, 128))
    image.putpixel((1, 0), (1, 2, 3, 0))
    dataset = load_single_file(tmp_path, encode_image(image, "PNG"), size=(1, 2), channels=4, background="#405060")
    assert pixel(dataset, x=0) == (10, 20, 30, 128)
    assert pixel(dataset, x=1) == (0x40, 0x50, 0x60, 0)
    assert "transparency put on" not in dataset.source
    assert pixel(load_single_file(tmp_path, png_bytes(1, 1, 8, 2, bytes(RED)), channels=4)) == (255, 0, 0, 255)


@pytest.mark.parametrize("channels", [3, 4])
def test_hidden_colours_do_not_bleed_when_resized(tmp_path: Path, channels: int) -> None:
    """Black that is opaque on the left, green that is clear on the right: no green may be seen."""
    image = Image.new("RGBA", (64, 64), (0, 255, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 31, 64))
    samples = load_single_file(tmp_path, encode_image(image, "PNG"), channels=channels, background="black").samples
    assert samples[0, :3].max() == 0


def orientations() -> list[tuple[int, list[list[int]]]]:
    """Each orientation, and how the picture [[0, 50], [100, 150], [200, 250]] is to be seen under it."""
    stored = np.array([[0, 50], [100, 150], [200, 250]])
    seen = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.T,
        6: np.rot90(stored, -1),
        7: stored[::-1, ::-1].T,
        8: np.rot90(stored),
    }
    return [(orientation, array.tolist()) for orientation, array in seen.items()]


@pytest.mark.parametrize(("orientation", "expected"), orientations())
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_pictures_are_turned_as_their_exif_says(
    tmp_path: Path, orientation: int, expected: list[list[int]], kind: str
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.array([[0, 50], [100, 150], [200, 250]], np.uint8)).convert("RGB")
    content = encode_image(image, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    dataset = load_single_file(tmp_path, content, size=(len(expected), len(expected[0])))
    assert dataset.samples[0, 0].tolist() == expected
    assert ("; 1 reoriented by EXIF" in dataset.source) == (orientation > 1)


def test_a_large_jpeg_is_turned_and_cut_like_a_small_one(tmp_path: Path) -> None:
    """The decoder's own reduction must change neither the part that is cut nor its direction."""
    ramp = np.linspace(0, 255, 1200).astype(np.uint8)
    image = Image.fromarray(np.stack([np.broadcast_to(ramp, (640, 1200)), *[np.zeros((640, 1200), np.uint8)] * 2], 2))
    exif = Image.Exif()
    exif[0x0112] = 6
    dataset = load_single_file(tmp_path, encode_image(image, "JPEG", exif=exif, quality=95), "a.jpg", size=(32, 16))
    # Turned it is 640 wide and 1200 high, growing downwards; all of its width and 1200 of 1280 would be kept.
    column = dataset.samples[0, 0, :, 8].float()
    expected = torch.from_numpy(ramp.astype(np.float32)).view(1, 1, -1)
    expected = torch.nn.functional.interpolate(expected, 32, mode="linear", antialias=False).flatten()
    assert (column - expected).abs().max() < 5
    assert dataset.samples[0, 0].float().std(dim=1).max() < 2


@pytest.mark.parametrize(
    ("width", "height", "size", "turned"),
    [(640, 480, (32, 32), 1), (200, 1600, (64, 8), 6), (1600, 200, (64, 8), 6), (900, 100, (30, 30), 1)],
)
def test_a_large_jpeg_is_not_decoded_too_small(
    tmp_path: Path, width: int, height: int, size: tuple[int, int], turned: int
) -> None:
    image = noise_image(width // 10, height // 10).resize((width, height), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = turned
    jpeg, png = (
        load_single_file(tmp_path, encode_image(image, kind, exif=exif, **options), size=size).samples.float()
        for kind, options in (("JPEG", {"quality": 97, "subsampling": 0}), ("PNG", {}))
    )
    assert png.std() > 20
    assert (jpeg - png).abs().mean() < 2


def test_damaged_exif_does_not_matter(tmp_path: Path) -> None:
    content = encode_image(Image.new("RGB", (8, 8), RED), "PNG", exif=b"Exif\0\0MM\0\x2a\xff\xff\xff\xff")
    assert pixel(load_single_file(tmp_path, content)) == RED


@pytest.mark.parametrize(
    ("width", "height", "size", "left", "right", "top", "bottom"),
    [(48, 36, (24, 36), 0, 48, 2, 34), (100, 24, (24, 36), 32, 68, 0, 24), (36, 100, (24, 36), 0, 36, 38, 62)],
)
def test_the_middle_is_cut_out(
    tmp_path: Path, width: int, height: int, size: tuple[int, int], left: int, right: int, top: int, bottom: int
) -> None:
    """Red surrounds what is kept: none is seen, save what scaling blends into the outermost pixels."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (left, top, right, bottom))
    dataset = load_single_file(tmp_path, encode_image(image, "PNG"), size=size)
    assert dataset.samples.shape == (1, 3, *size)
    inner = dataset.samples[0, :, 2:-2] if (bottom - top) != size[0] else dataset.samples[0]
    assert inner.flatten(1).T.unique(dim=0).tolist() == [list(BLUE)]
    assert dataset.samples[0, 0].float().mean() < 10


def test_a_picture_of_the_right_size_is_unchanged(tmp_path: Path) -> None:
    image = noise_image(36, 24)
    dataset = load_single_file(tmp_path, encode_image(image, "PNG"), size=(24, 36))
    assert torch.equal(dataset.samples[0], torch.from_numpy(np.array(image)).permute(2, 0, 1))


def test_resizing_is_anti_aliased_and_enlarging_is_told(tmp_path: Path) -> None:
    board = Image.fromarray(((np.indices((64, 64)).sum(0) % 2) * 255).astype(np.uint8))
    assert load_single_file(tmp_path, encode_image(board, "PNG"), channels=1).samples.float().sub(127.5).abs().max() < 3
    dataset = load_single_file(tmp_path, png_bytes(1, 1, 8, 2, bytes(RED)), size=(24, 36))
    assert dataset.samples[0].flatten(1).T.unique(dim=0).tolist() == [list(RED)]
    assert dataset.source.endswith("; 1 smaller than 24 x 36, enlarged")


def test_a_line_one_pixel_wide(tmp_path: Path) -> None:
    for width, height in ((1, 3000), (3000, 1)):
        for kind in ("PNG", "JPEG"):
            content = encode_image(Image.new("RGB", (width, height), BLUE), kind)
            assert pixel(load_single_file(tmp_path, content))[2] >= 253


def test_a_camera_jpeg_with_a_preview_is_no_animation(tmp_path: Path) -> None:
    content = encode_image(
        Image.new("RGB", (640, 480), RED), "MPO", save_all=True, append_images=[Image.new("RGB", (16, 16))]
    )
    assert pixel(load_single_file(tmp_path, content, "a.jpg"))[0] >= 250


# --- bad pictures ------------------------------------------------------------------------------------------------

FRAMES = [noise_image(16, 16, seed=seed) for seed in (1, 2, 3)]
JPEG = encode_image(noise_image(40, 40), "JPEG")
PNG = encode_image(noise_image(40, 40), "PNG")
WEBP = encode_image(noise_image(40, 40), "WEBP")
BMP = encode_image(noise_image(40, 40), "BMP")
BAD = {
    "text.png": (b"This is no picture.", "not a picture despite its name"),
    "page.jpg": (b"<!DOCTYPE html><html>not found</html>", "not a picture despite its name"),
    "empty.png": (b"", "empty"),
    "zero.png": (bytes(1000), "not a picture despite its name"),
    "cut.jpg": (JPEG[: len(JPEG) // 2], "truncated"),
    "cut.png": (PNG[: len(PNG) // 2], "truncated"),
    "cut.bmp": (BMP[: len(BMP) // 2], "truncated"),
    "cut.webp": (WEBP[: len(WEBP) // 2], "damaged"),
    "header.jpg": (JPEG[:15], "truncated"),
    "header.png": (PNG[:20], "truncated"),
    "moving.webp": (encode_image(FRAMES[0], "WEBP", save_all=True, append_images=FRAMES[1:]), "is animated, 3 frames"),
    "moving.png": (encode_image(FRAMES[0], "PNG", save_all=True, append_images=FRAMES[1:]), "is animated, 3 frames"),
    "moving.gif": (encode_image(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:]), "is animated, 3 frames"),
    "scan.TIFF": (encode_image(FRAMES[0], "TIFF", save_all=True, append_images=FRAMES[1:]), "has 3 pages"),
    "phone.HEIC": (b"", "heic is not read, convert it to png"),
    "phone.jpg": (b"\0\0\0\x18ftypheic" + bytes(99), "is a heic despite its name: convert it to png"),
    "scan.dcm": (b"", "dcm is not read, convert it to 16-bit png or npy"),
    "scan": (bytes(128) + b"DICM" + bytes(99), "is a DICOM file: convert it to 16-bit png or npy"),
    "bomb.png": (png_bytes(60_000, 60_000, 1, 0, b""), "more than 178,956,970 pixels"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_pictures_are_named_with_a_reason(tmp_path: Path, name: str) -> None:
    content, reason = BAD[name]
    write_image(tmp_path / "good.png")
    (tmp_path / name).write_bytes(content)
    assert folder_error(tmp_path) == (
        f"dataset.path={tmp_path}: 1 of 2 pictures cannot be used: {name} ({reason});"
        " mend or remove them, or set dataset.on_bad=skip"
    )
    dataset = load_folder(tmp_path, on_bad="skip")
    assert len(dataset) == 1
    assert pixel(dataset) == RED
    assert dataset.source == f"1 picture from {tmp_path}; 1 left out: {name} ({reason})"


def test_a_hundred_million_pixels_are_no_bomb(tmp_path: Path) -> None:
    dataset = load_single_file(tmp_path, png_bytes(10_000, 10_000, 1, 0, bytes(1250)), channels=1)
    assert dataset.samples.unique().tolist() == [0]


def test_all_bad_pictures_are_counted_and_some_are_named(tmp_path: Path) -> None:
    write_image(tmp_path / "good.png")
    for index in range(17):
        (tmp_path / f"{index:02d}.png").write_text("?")
    why = "(not a picture despite its name)"
    message = folder_error(tmp_path)
    assert f"17 of 18 pictures cannot be used: 00.png {why}, 01.png {why}, 02.png {why} and 14 more; mend" in message
    source = load_folder(tmp_path, on_bad="skip").source
    assert source.endswith(
        f"; 17 left out: 00.png {why}, 01.png {why}, 02.png {why}, 03.png {why}, 04.png {why} and 12 more"
    )


@pytest.mark.parametrize("on_bad", ["error", "skip"])
def test_nothing_but_bad_pictures_is_refused(tmp_path: Path, on_bad: str) -> None:
    for name in ("a.heic", "b.heic"):
        (tmp_path / name).touch()
    message = folder_error(tmp_path, on_bad=on_bad)
    assert "2 of 2 pictures cannot be used: a.heic (heic is not read, convert it to png)" in message
    assert ("dataset.on_bad=skip" in message) == (on_bad == "error")


def test_every_cut_of_a_picture_is_bad_or_good_but_never_a_traceback() -> None:
    target = decode.TargetFormat((8, 8), 3, "white")
    contents = [JPEG, PNG, WEBP, BMP, HALF_RED, KINDS["palette"][0], encode_image(noise_image(9, 9, "L"), "JPEG")]
    assert count_bad_images(damaged_copies(contents, cuts=40, times=30), target) >= 280  # at the least all that are cut


def test_a_mixed_folder(tmp_path: Path) -> None:
    bad = write_mixed_folder(tmp_path)
    assert sum(path.is_file() for path in tmp_path.rglob("*")) == 300
    dataset = load_folder(tmp_path, size=(16, 24), on_bad="skip")
    assert dataset.samples.shape == (297, 3, 16, 24)
    assert dataset.source.startswith(f"297 pictures in 3 classes (bird 99, cat 99, dog 99) from {tmp_path}; ")
    reasons = ("truncated", "not a picture despite its name", "is animated, 2 frames")
    named = ", ".join(f"{name} ({reason})" for name, reason in zip(bad, reasons, strict=True))
    assert dataset.source.endswith(f"; 3 left out: {named}")
    assert f"3 of 300 pictures cannot be used: {named};" in folder_error(tmp_path)
    assert zip_folder(tmp_path, tmp_path.parent / "mixed.zip").is_file()
    packed = load_folder(tmp_path.parent / "mixed.zip", size=(16, 24), on_bad="skip")
    assert packed.fingerprint == dataset.fingerprint
    assert packed.source == dataset.source.replace(str(tmp_path), f"{tmp_path.parent}/mixed.zip")


# --- what is no regular file -------------------------------------------------------------------------------------


def test_pipes_devices_and_sockets_are_bad_and_do_not_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(tmp_path / "good.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket.png")
        started = time.monotonic()
        source = load_folder(tmp_path, on_bad="skip").source
    assert time.monotonic() - started < 5
    for name in ("pipe.png", "device.png", "socket.png"):
        assert f"{name} (not a regular file)" in source


def test_a_pipe_as_the_path_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.zip")
    assert "neither a folder nor a file" in folder_error(tmp_path / "pipe.zip")


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "root", cat=1)
    write_class_folders(tmp_path / "elsewhere", x=2)
    (root / "dog").symlink_to(tmp_path / "elsewhere")
    (root / "cat" / "up").symlink_to(root)
    (root / "cat" / "self").symlink_to(root / "cat")
    (root / "cat" / "linked.png").symlink_to(tmp_path / "elsewhere" / "x" / "0.png")
    (root / "a").symlink_to(root / "cat")  # sorts before the real one, which yet names the class
    dataset = load_folder(root)
    assert dataset.classes == ("cat", "dog")
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [0, 0, 1, 1]


def test_links_that_lead_nowhere_are_bad(tmp_path: Path) -> None:
    write_image(tmp_path / "good.png")
    (tmp_path / "broken.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "circle.png").symlink_to(tmp_path / "circle.png")
    message = folder_error(tmp_path)
    assert "broken.png (a link that leads nowhere), circle.png (a link that leads nowhere);" in message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read(tmp_path: Path) -> None:
    write_image(tmp_path / "good.png")
    write_image(tmp_path / "mine.png").chmod(0)
    assert "mine.png (cannot be read: Permission denied)" in folder_error(tmp_path)
    tmp_path.chmod(0)
    try:
        assert "cannot be read (Permission denied)" in folder_error(tmp_path)
    finally:
        tmp_path.chmod(0o700)


def test_a_file_that_may_not_be_read_is_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(tmp_path / "good.png")
    refuse_to_open(monkeypatch, write_image(tmp_path / "mine.png"), PermissionError(13, "Permission denied"))
    assert "mine.png (cannot be read: Permission denied);" in folder_error(tmp_path)


def test_a_disk_that_fails_is_not_a_bad_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(tmp_path / "good.png")
    refuse_to_open(monkeypatch, write_image(tmp_path / "mine.png"), OSError(5, "Input/output error"))
    with pytest.raises(StorageError, match=r"mine\.png: cannot be read \(Input/output error\)"):
        load_folder(tmp_path, on_bad="skip")


def refuse_to_open(monkeypatch: pytest.MonkeyPatch, refused: Path, error: OSError) -> None:
    real = os.open

    def opening(path, *rest, **options):
        if path == str(refused):
            raise error
        return real(path, *rest, **options)

    monkeypatch.setattr(os, "open", opening)


# --- paths that hold nothing -------------------------------------------------------------------------------------


def test_a_path_that_is_missing(tmp_path: Path) -> None:
    wanted = "not found, expected a folder, zip or tar of pictures"
    for path in (tmp_path / "nowhere", tmp_path / "a\0b", write_image(tmp_path / "a.png") / "b"):
        assert wanted in folder_error(path)


EXTRACT_FRAMES = "mp4 is not read, take its pictures out, as by `ffmpeg -i film.mp4 frames/%06d.png`"


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("pets.zip", "is a damaged zip, expected a folder, zip or tar of pictures"),
        ("pets.npz", "is a damaged npz, expected a folder, zip or tar of pictures"),
        ("pets.tar.gz", "is a damaged tar, expected a folder, zip or tar of pictures"),
        ("pets.txt", "neither a folder, a zip, a tar nor a picture, expected a folder, zip or tar of pictures"),
        ("pets.h5", "h5 is not read, write its pictures out as files or as an npy"),
        ("pets.mp4", EXTRACT_FRAMES),
    ],
)
def test_a_file_that_is_not_read(tmp_path: Path, name: str, what: str) -> None:
    (tmp_path / name).write_text("?")
    assert folder_error(tmp_path / name) == f"dataset.path={tmp_path / name}: {what}"


def test_a_folder_without_pictures(tmp_path: Path) -> None:
    assert folder_error(tmp_path).startswith(
        f"dataset.path={tmp_path}: no pictures in it; png, jpg, webp, bmp, gif, tif,"
    )
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "note.txt").touch()
    (tmp_path / "notes.csv").touch()
    assert "no pictures in it, only 2 other files; png, jpg," in folder_error(tmp_path)


def test_names_are_made_one_line(tmp_path: Path) -> None:
    write_image(tmp_path / "a\nb" / "c\x1b[31m.png")
    write_image(tmp_path / "a\nb" / os.fsdecode(b"\xff.png"))
    (tmp_path / "a\nb" / "bad\r\n.png").touch()
    dataset = load_folder(tmp_path, on_bad="skip")
    assert dataset.classes == ("a b",)
    assert len(dataset) == 2
    assert dataset.source.isprintable()
    assert dataset.source.endswith("; 1 left out: a b/bad .png (empty)")
    assert "a b/bad .png (empty)" in folder_error(tmp_path)
    write_image(tmp_path / "a b" / "c.png")
    assert "several sub-folders would be the class 'a b'" in folder_error(tmp_path, on_bad="skip")


def test_a_class_is_named_alike_by_every_system(tmp_path: Path) -> None:
    write_class_folders(tmp_path, **{"cafe\u0301": 1, "bar": 1})
    assert load_folder(tmp_path).classes == ("bar", "caf\u00e9")


# --- choosing ----------------------------------------------------------------------------------------------------


def test_only_what_is_chosen_by_class_is_read(tmp_path: Path) -> None:
    write_class_folders(tmp_path, bird=2, cat=3, dog=1)
    (tmp_path / "dog" / "bad.png").touch()
    (tmp_path / "dog" / "bad.heic").touch()
    selection = Selection(classes=("cat", "bird"))
    dataset = load_folder(tmp_path, selection=selection)
    assert dataset.classes == ("cat", "bird")
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [1, 1, 0, 0, 0]
    assert dataset.source == f"5 pictures in 2 classes (bird 2, cat 3) from {tmp_path}; 5 of 8 selected"
    assert selection.apply(dataset) is dataset
    assert "3 pictures in 1 class (cat 3) from" in load_folder(tmp_path, selection=Selection(classes=("cat",))).source
    assert "2 of 3 pictures cannot be used" in folder_error(tmp_path, selection=Selection(classes=("dog",)))
    assert "'cow' is no class of these data" in folder_error(tmp_path, selection=Selection(classes=("cow",)))


def test_only_what_is_chosen_by_number_is_read(tmp_path: Path) -> None:
    write_class_folders(tmp_path, cat=20, dog=20)
    chosen = Selection(limit=10).indices(None, (), 40).tolist()
    files = sorted(tmp_path.rglob("*.png"))
    for index, file in enumerate(files):
        if index not in chosen:
            file.write_text("?")
    dataset = load_folder(tmp_path, selection=Selection(limit=10))
    assert len(dataset) == 10
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [index // 20 for index in chosen]
    assert Selection(limit=10).apply(dataset) is dataset


def test_labels_stay_with_their_pictures_when_bad_ones_are_left_out(tmp_path: Path) -> None:
    for index in range(100):
        path = write_image(tmp_path / f"{index // 10}" / f"{index:02d}.png", (index, 0, 0))
        if index % 3 == 0:
            path.write_text("?")
    dataset = load_folder(tmp_path, on_bad="skip")
    kept = [index for index in range(100) if index % 3]
    assert dataset.samples[:, 0, 0, 0].tolist() == kept
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [index // 10 for index in kept]


def test_a_class_of_nothing_but_bad_pictures_is_seen_in_the_counts(tmp_path: Path) -> None:
    write_class_folders(tmp_path, cat=2, dog=1)
    (tmp_path / "dog" / "0.png").write_text("?")
    assert "2 pictures in 2 classes (cat 2, dog 0)" in load_folder(tmp_path, on_bad="skip").source


def test_many_classes_are_not_all_named(tmp_path: Path) -> None:
    write_class_folders(tmp_path, **{f"c{index:02d}": 1 for index in range(13)})
    assert "in 13 classes (c00 1, c01 1, " in load_folder(tmp_path).source
    assert "c09 1 and 3 more) from" in load_folder(tmp_path).source


def test_more_than_the_memory_holds_is_refused_before_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_class_folders(tmp_path, cat=3)
    monkeypatch.setattr(image_store, "MOST_BYTES", 2 * 3 * 8 * 8)
    monkeypatch.setattr(folder, "decode_all", lambda *_: pytest.fail("has read"))
    message = folder_error(tmp_path)
    assert "3 pictures of 3 channels, 8 x 8" in message
    assert "set dataset.limit or a smaller image_size" in message
    monkeypatch.undo()
    monkeypatch.setattr(image_store, "MOST_BYTES", 2 * 3 * 8 * 8)
    assert len(load_folder(tmp_path, selection=Selection(limit=2))) == 2


# --- zips --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "pets/", "./", "./pets/", "/", "../"])
def test_a_zip_is_as_the_folder(tmp_path: Path, prefix: str) -> None:
    root = write_class_folders(tmp_path / "root", cat=3, dog=2)
    packed = load_folder(zip_folder(root, tmp_path / "pets.zip", prefix))
    assert packed.classes == ("cat", "dog")
    assert packed.fingerprint == load_folder(root).fingerprint


def test_a_zip_with_splits_in_a_wrapping_folder(tmp_path: Path) -> None:
    write_class_folders(tmp_path / "root" / "train", cat=2, dog=1)
    write_class_folders(tmp_path / "root" / "val", cat=1, dog=0)
    path = zip_folder(tmp_path / "root", tmp_path / "pets.ZIP", "pets/")
    dataset = load_folder(path)
    assert len(dataset) == 3
    assert dataset.source.endswith(f"from {path}/pets/train")
    assert len(load_folder(path, split="test")) == 1


def test_a_zip_whose_only_folder_holds_pictures_is_flat(tmp_path: Path) -> None:
    write_image(tmp_path / "root" / "pets" / "a.png")
    dataset = load_folder(zip_folder(tmp_path / "root", tmp_path / "pets.zip"))
    assert dataset.labels is None
    assert dataset.source == f"1 picture from {tmp_path}/pets.zip/pets"


def test_backslashes_of_a_windows_zip(tmp_path: Path) -> None:
    content = write_image(tmp_path / "a.png").read_bytes()
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as archive:
        for name in ("cat\\1.png", "dog\\1.png", "__MACOSX\\._1.png", "Thumbs.db"):
            archive.writestr(name, content)
    assert load_folder(tmp_path / "pets.zip").classes == ("cat", "dog")


def damage(path: Path, old: bytes, new: bytes, times: int = 1) -> None:
    content = path.read_bytes()
    assert content.count(old) >= 1
    path.write_bytes(content.replace(old, new, times))


def test_bad_members_of_a_zip(tmp_path: Path) -> None:
    content = encode_image(noise_image(8, 8), "BMP")
    path = tmp_path / "pets.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("good.bmp", content)
        archive.writestr("crc.bmp", content.replace(content[60:64], b"\1\2\3\4"))
        archive.writestr("packed.bmp", content, compress_type=zipfile.ZIP_BZIP2)
        archive.writestr("secret.bmp", content)
        archive.writestr("text.bmp", b"?")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("good.bmp", content)
        archive.getinfo("secret.bmp").flag_bits |= 1
    damage(path, b"\1\2\3\4", b"\4\3\2\1")
    dataset = load_folder(path, on_bad="skip")
    assert len(dataset) == 1
    reasons = {
        "crc.bmp": "damaged in the zip",
        "good.bmp": "twice in the zip",
        "packed.bmp": "packed in an unusual way, zip it anew",
        "secret.bmp": "encrypted",
        "text.bmp": "not a picture despite its name",
    }
    assert dataset.source.endswith("5 left out: " + ", ".join(f"{name} ({why})" for name, why in reasons.items()))


def test_a_member_that_is_too_large_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "MOST_FILE_BYTES", 2**20)
    write_image(tmp_path / "root" / "good" / "a.png")
    (tmp_path / "root" / "large").mkdir()
    (tmp_path / "root" / "large" / "a.png").write_bytes(bytes(2**20 + 1))
    path = zip_folder(tmp_path / "root", tmp_path / "pets.zip")
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_, **__: pytest.fail("has unpacked it"))
    large = Selection(classes=("large",))
    for root in (path, tmp_path / "root"):
        assert "large/a.png (larger than 1 MiB)" in folder_error(root, selection=large)


def test_damaged_zips_are_refused_and_never_a_traceback(tmp_path: Path) -> None:
    path = zip_folder(write_class_folders(tmp_path / "root", cat=2, dog=2), tmp_path / "pets.zip")
    content = path.read_bytes()
    random = np.random.default_rng(0)
    for cut in range(0, len(content), 23):
        path.write_bytes(content[:cut])
        assert "is a damaged zip" in folder_error(path)
    for _ in range(300):
        damaged = bytearray(content)
        for _ in range(3):
            damaged[random.integers(0, len(content))] = random.integers(0, 256)
        path.write_bytes(damaged)
        with contextlib.suppress(UsageError):
            assert load_folder(path, on_bad="skip").source.isprintable()


def test_an_empty_zip_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "pets.zip", "w"):
        pass
    assert "no pictures in it" in folder_error(tmp_path / "pets.zip")


def test_nothing_is_written_beside_a_zip(tmp_path: Path) -> None:
    path = zip_folder(write_class_folders(tmp_path / "root", cat=1), tmp_path / "pets.zip")
    shutil.rmtree(tmp_path / "root")
    load_folder(path)
    assert [item.name for item in tmp_path.iterdir()] == ["pets.zip"]


# --- labels.csv --------------------------------------------------------------------------------------------------


def coloured(folder: Path, names: tuple[str, ...] = ("a.png", "b.png", "c.png")) -> Path:
    for name in names:
        write_image(folder / name)
    return folder


TABLE = "file,colour,size\nb.png,red,small\na.png,blue,large\nc.png,red,\n"


def test_a_table_gives_attributes(tmp_path: Path) -> None:
    pictures = coloured(tmp_path / "pictures")
    (pictures / "labels.csv").write_text(TABLE)
    data = load_folder(pictures)
    assert data.classes == ("colour=blue", "colour=red", "size=large", "size=small")
    assert data.labels is not None
    assert data.labels.tolist() == [[0, 2], [1, 3], [1, -1]]  # of c the size is not known
    assert "colour (blue 1, red 2); size (large 1, small 1)" in data.source
    assert "other file" not in data.source


@pytest.mark.parametrize(
    "table",
    [
        "\ufeff" + TABLE,
        TABLE.replace(",", ";"),
        TABLE.replace(",", "\t").replace("\n", "\r\n"),
        TABLE.replace("b.png", "./b.png").replace("a.png", "deep\\a.png".removeprefix("deep\\")),
        TABLE + "elsewhere.png,red,small\n\n",
    ],
)
def test_tables_of_many_makers(tmp_path: Path, table: str) -> None:
    pictures = coloured(tmp_path / "pictures")
    (pictures / "labels.csv").write_text(table, encoding="utf-8")
    labels = load_folder(pictures).labels
    assert labels is not None
    assert labels.tolist() == [[0, 2], [1, 3], [1, -1]]


def test_one_attribute_makes_plain_classes(tmp_path: Path) -> None:
    pictures = coloured(tmp_path / "pictures")
    (pictures / "labels.csv").write_text("picture,grade\na.png,10\nb.png,9\nc.png,10\n")
    data = load_folder(pictures)
    assert data.classes == ("9", "10")
    assert data.labels is not None
    assert data.labels.tolist() == [1, 0, 1]
    assert load_folder(pictures, selection=Selection(classes=("9",))).samples.shape[0] == 1


def test_where_a_table_is_looked_for(tmp_path: Path) -> None:
    pictures = coloured(tmp_path / "pictures", ("cats/a.png", "dogs/b.png"))
    assert load_folder(pictures).classes == ("cats", "dogs")
    (tmp_path / "labels.csv").write_text("file,colour\nother.png,red\n")
    assert load_folder(pictures).classes == ("cats", "dogs")  # it is about other pictures
    (tmp_path / "labels.csv").write_text("file,colour\na.png,red\ncats/b.png,blue\nb.png,green\n")
    assert load_folder(pictures).classes == ("green", "red")
    (pictures / "labels.csv").write_text("file,colour\ncats/a.png,black\ndogs/b.png,white\n")
    assert load_folder(pictures).classes == ("black", "white")
    (tmp_path / "mine.csv").write_text("file,colour\na.png,one\nb.png,two\n")
    assert load_folder(pictures, labels=tmp_path / "mine.csv").classes == ("one", "two")


def test_a_table_in_a_zip(tmp_path: Path) -> None:
    pictures = coloured(tmp_path / "pictures")
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
        for path in pictures.iterdir():
            archive.write(path, f"top/{path.name}")
        archive.writestr("top/labels.csv", TABLE)
    labels = load_folder(tmp_path / "pictures.zip").labels
    assert labels is not None
    assert labels.tolist() == [[0, 2], [1, 3], [1, -1]]


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("", "expected a header"),
        ("file\na.png\n", "expected a header"),
        ("file,colour,colour\na.png,1,2\n", "letters that differ"),
        ("file,col=our\na.png,1\n", "no '='"),
        ("file,colour\na.png,red\n", "no row for 2 of 3 pictures, as b.png"),
        ("file,colour\na.png,red\na.png,blue\n", "line 3 is about a.png again"),
        ("file,colour\na.png,red,large\n", "line 2 has 3 cells, its header 2"),
        ("file,colour\na.png,\nb.png,\nc.png,\n", "'colour' is empty"),
        ("file,colour\na.png,x=1\nb.png,y\nc.png,z\n", "without '='"),
        ('file,colour\n"a.png', "line 2 has 1 cells"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, table: str, says: str) -> None:
    pictures = coloured(tmp_path / "pictures")
    (pictures / "labels.csv").write_text(table)
    message = folder_error(pictures)
    assert says in message
    assert "labels.csv" in message


def test_a_table_that_is_no_text_or_not_there(tmp_path: Path) -> None:
    pictures = coloured(tmp_path / "pictures")
    (tmp_path / "noise.csv").write_bytes(b"\xff\xfe\x00\x81")
    assert "UTF-8" in folder_error(pictures, labels=tmp_path / "noise.csv")
    assert "not found" in folder_error(pictures, labels=tmp_path / "none.csv")
    assert "not found" in folder_error(pictures, labels=tmp_path)


def test_attributes_are_no_classes_to_keep(tmp_path: Path) -> None:
    pictures = coloured(tmp_path / "pictures")
    (pictures / "labels.csv").write_text(TABLE)
    assert "several attributes" in folder_error(pictures, selection=Selection(classes=("red",)))
    limited = load_folder(pictures, selection=Selection(limit=2))
    assert limited.labels is not None
    assert limited.labels.shape == (2, 2)


def test_a_table_speaks_for_its_own_folder_alone(tmp_path: Path) -> None:
    """Two tables, each of pictures of the same names: neither is about the whole, so sub-folders are the classes."""
    pictures = coloured(tmp_path / "pictures", ("x/a.png", "y/a.png"))
    for name in ("x", "y"):
        (pictures / name / "labels.csv").write_text(f"file,colour\na.png,{name}\n")
    assert load_folder(pictures).classes == ("x", "y")
    (pictures / "labels.csv").write_text("file,colour\na.png,red\n")
    assert "2 pictures are called a.png" in folder_error(pictures)
    (pictures / "labels.csv").write_text("file,colour\nx/a.png,red\ny/a.png,blue\nz/a.png,green\n")
    data = load_folder(pictures)
    assert data.labels is not None
    assert data.labels.tolist() == [1, 0]
    assert "not its 2 sub-folders" in data.source
    assert "1 of its rows are about other pictures" in data.source


@pytest.mark.parametrize("value", ["²", "①", "9" * 5000])
def test_cells_that_look_like_numbers(tmp_path: Path, value: str) -> None:
    pictures = coloured(tmp_path / "pictures")
    (pictures / "labels.csv").write_text(f"file,colour\na.png,{value}\nb.png,10\nc.png,9\n")
    if len(value) > 100:
        assert "1 to 100 letters" in folder_error(pictures) or "100 letters" in folder_error(pictures)
    else:
        assert load_folder(pictures).classes == ("9", "10", value)


def test_a_table_beside_that_is_about_something_else(tmp_path: Path) -> None:
    pictures = coloured(tmp_path / "pictures")
    for content in ("id;price\n1;2;3\n", "file\n", "\x00\x01"):
        (tmp_path / "labels.csv").write_text(content)
        assert load_folder(pictures).labels is None
    (pictures / "labels.csv").write_text("boxes\n1\n")
    assert "dataset.labels=none" in folder_error(pictures)
    assert load_folder(pictures, labels="none").labels is None


def test_names_in_a_header_are_printable(tmp_path: Path) -> None:
    pictures = coloured(tmp_path / "pictures")
    for name in ("col\x1b[31mour", "c" * 200):
        (pictures / "labels.csv").write_text(f"file,{name},size\na.png,1,2\nb.png,1,2\nc.png,1,2\n")
        assert "in its header" in folder_error(pictures)
