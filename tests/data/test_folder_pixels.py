"""Pixels of every kind in a person's own images."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_cli.data.decoding import conversion, decode
from support.image_folders import load_folder, load_single_file, pixel
from support.images import (
    BLUE,
    GREEN,
    RED,
    encode_image,
    noise_image,
    png_bytes,
    png_chunk,
)

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
    """Each orientation, and how the image [[0, 50], [100, 150], [200, 250]] is to be seen under it."""
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
