"""Images of every mode, depth, orientation, format and profile beside what Pillow makes of them directly."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from gan_cli.data.decoding import colour_profiles, conversion, value_ranges
from support.image_folders import folder_error, load_folder, load_single_file, pixel
from support.images import count_bad_images, damaged_copies, encode_image, noise_image, png_bytes

SIZE = (16, 24)
BACKGROUND = (0x80, 0x90, 0xFF)
DARK_RED = (100, 0, 0)


def other_profile() -> bytes:
    """A profile of a colour space whose red is the green of sRGB, and the other way round."""
    content = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    content = bytearray(bytes(content).replace("sRGB".encode("utf-16-be"), "Mine".encode("utf-16-be")))
    tags = range(132, 132 + 12 * struct.unpack(">I", content[128:132])[0], 12)
    entries = {bytes(content[at : at + 4]): at for at in tags}
    red, green = entries[b"rXYZ"], entries[b"gXYZ"]
    content[red : red + 4], content[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(content)


PROFILE = other_profile()


def tiff(values: np.ndarray, order: str, *, packed: bool = False) -> bytes:
    """A TIFF of uint16 `[H, W, C]`, its bytes in the order `<` or `>`."""
    height, width, bands = values.shape
    pixels = values.astype(f"{order}u2").tobytes()
    pixels = zlib.compress(pixels) if packed else pixels
    after = 8 + len(pixels) + len(pixels) % 2
    entries = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, bands, after), (259, 3, 1, 8 if packed else 1),
        (262, 3, 1, 2), (273, 4, 1, 8), (277, 3, 1, bands), (278, 4, 1, height), (279, 4, 1, len(pixels)),
        *([(338, 3, 1, 2)] if bands == 4 else []),
    ]  # fmt: skip
    directory = after + 2 * bands
    content = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", directory) + pixels
    content += bytes(after - len(content)) + struct.pack(f"{order}{bands}H", *[16] * bands)
    content += struct.pack(f"{order}H", len(entries))
    for tag, kind, count, value in entries:
        packing = "HHIHxx" if kind == 3 and count == 1 else "HHII"
        content += struct.pack(order + packing, tag, kind, count, value)
    return content + bytes(4)


# --- 300 of them -------------------------------------------------------------------------------------------------

MODES = ("RGB", "L", "RGBA", "LA", "P", "P with opacity", "1", "CMYK", "I;16", "RGB;16", "F")
ENDINGS = {
    "RGB": ("png", "jpg", "webp", "bmp", "tif", "ppm", "jp2", "jfif", "gif", "avif", "npy"),
    "L": ("png", "jpe", "bmp", "tif", "pgm", "gif", "jp2", "npy"),
    "RGBA": ("png", "webp", "tif", "jp2", "npy"),
    "LA": ("png", "tif"),
    "P": ("png", "gif", "bmp", "tif"),
    "P with opacity": ("png", "gif"),
    "1": ("png", "bmp", "pbm", "tif"),
    "CMYK": ("jpg", "tif"),
    "I;16": ("png", "tif", "pgm", "npy"),
    "RGB;16": ("png", "tif"),
    "F": ("tif", "npy"),
}
KINDS = {
    "jpg": "JPEG", "jpe": "JPEG", "jfif": "JPEG", "tif": "TIFF", "ppm": "PPM", "pgm": "PPM", "pbm": "PPM",
    "jp2": "JPEG2000",
}  # fmt: skip
OPTIONS: dict[str, dict[str, object]] = {
    "webp": {"lossless": True, "exact": True},
    "jpg": {"quality": 95, "subsampling": 0},
    "tif": {"compression": "tiff_lzw"},
}  # fmt: skip


ARRAYS = ("F", "I;16", "RGB;16")
TURNED = ("png", "jpg", "jpe", "jfif", "webp", "tif")


def turn_of(index: int) -> int:
    """The EXIF orientation of an image that can have one."""
    return 1 + index % 8


def drawn(index: int, mode: str) -> tuple[Image.Image | np.ndarray, str]:
    """An image of smooth noise whose proportions are cut to 3:2 in whole pixels, and its ending."""
    random = np.random.default_rng(index)
    step, extra = int(random.integers(4, 16)), 2 * int(random.integers(0, 8))
    width, height = (3 * step + extra, 2 * step) if index % 2 else (3 * step, 2 * step + extra)
    ending = ENDINGS[mode][index // len(MODES) % len(ENDINGS[mode])]
    if turn_of(index) > 4 and ending in TURNED and mode not in ARRAYS:  # upright it has them, not as it is stored
        width, height = height, width
    small = Image.fromarray(random.integers(0, 256, (5, 5, 4), dtype=np.uint8))
    smooth = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))
    if mode == "F":
        return smooth[..., 0].astype(np.float32) / 255, ending
    if mode in ARRAYS:
        deep = smooth[..., :3].astype(np.uint16) * 257
        return deep if mode == "RGB;16" else deep[..., 0], ending
    if mode == "P with opacity":
        image = Image.fromarray(smooth[..., :3]).quantize(16)
        image.info["transparency"] = 3
        return image, ending
    image = Image.fromarray(smooth) if mode in ("RGBA", "LA") else Image.fromarray(smooth[..., :3])
    return image.convert(mode), ending


def written(index: int, mode: str, folder: Path) -> tuple[Path, Image.Image]:
    """An image's file, and the image as Pillow itself reads it, in 8 bits and upright."""
    content, ending = drawn(index, mode)
    name = f"{index:03d}.{ending}" if index % 10 or ending == "npy" else f"picture{index:03d}"
    path = folder / name
    profile = PROFILE if index % 3 == 0 and mode in ("RGB", "RGBA", "P") else None
    if isinstance(content, np.ndarray) or ending == "npy":
        return path, _write_array(path, np.asarray(content), ending)
    options = dict(OPTIONS.get(ending, {}))
    if ending in TURNED:
        exif = Image.Exif()
        exif[0x0112] = turn_of(index)
        options["exif"] = exif
        if profile is not None:
            options["icc_profile"] = profile
    if mode == "P with opacity":
        options["transparency"] = 3
    if mode == "1" and ending == "tif":
        options["compression"] = "group4"
    content.save(path, KINDS.get(ending, ending.upper()), **options)
    image = Image.open(io.BytesIO(path.read_bytes()))
    image.load()
    kept = image.info.get("icc_profile")
    upright = _in_srgb(ImageOps.exif_transpose(image), kept)
    if image.format == "JPEG" and mode == "RGB" and kept is None:  # its own grey, without a detour by colours
        grey = Image.open(io.BytesIO(path.read_bytes()))
        grey.draft("L", None)
        upright.info["grey"] = ImageOps.exif_transpose(grey)
    return path, upright


def _write_array(path: Path, values: np.ndarray, ending: str) -> Image.Image:
    if ending == "npy":
        np.save(path, values)
    elif ending == "pgm":
        path.write_bytes(f"P5 {values.shape[1]} {values.shape[0]} 65535\n".encode() + values.astype(">u2").tobytes())
    elif values.ndim == 3 and ending == "tif":
        path.write_bytes(tiff(values, "<", packed=True))
    elif values.ndim == 3:
        path.write_bytes(_png16(values))
    else:
        Image.fromarray(values).save(path, "TIFF" if ending == "tif" else "PNG")
    scale = 255 if values.dtype == np.float32 else 1 / 257 if values.dtype == np.uint16 else 1
    return Image.fromarray(np.rint(values * scale).astype(np.uint8))


def _png16(values: np.ndarray) -> bytes:
    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    whole = png_bytes(width, height, 16, 2, b"")
    old = zlib.compress(b"\0" * height)
    start = whole.index(b"IDAT") - 4
    packed = b"IDAT" + zlib.compress(rows)
    chunk = struct.pack(">I", len(packed) - 4) + packed + struct.pack(">I", zlib.crc32(packed))
    return whole[:start] + chunk + whole[start + 12 + len(old) :]


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if profile is None:
        return image
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    srgb = ImageCms.createProfile("sRGB")
    done = ImageCms.profileToProfile(image.convert("RGB"), io.BytesIO(profile), srgb, outputMode="RGB")
    assert done is not None
    if alpha is not None:
        done.putalpha(alpha)
    return done


def reference(image: Image.Image, channels: int) -> np.ndarray:
    """What Pillow makes of an image, step by step."""
    if image.has_transparency_data and channels < 4:
        ground = Image.new("RGBA", image.size, (*BACKGROUND, 255))
        image = Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")
    image = image.info.get("grey", image) if channels == 1 else image
    image = image.convert({1: "L", 3: "RGB", 4: "RGBA"}[channels])
    fitted = np.asarray(ImageOps.fit(image, SIZE[::-1], Image.Resampling.LANCZOS)).astype(int)
    return fitted.reshape(*SIZE, channels)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Image.Image]]:
    """A folder of 300 images, and each as Pillow reads it, in their order."""
    folder = tmp_path_factory.mktemp("many")
    found = [written(index, MODES[index % len(MODES)], folder) for index in range(300)]
    return folder, [image for _, image in sorted(found, key=lambda pair: pair[0].name)]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_300_pictures_of_every_kind_are_within_a_level_of_what_pillow_makes_of_them(
    many: tuple[Path, list[Image.Image]], channels: int
) -> None:
    folder, images = many
    data = load_folder(folder, size=SIZE, channels=channels, background="#8090ff", value_range="auto", profiles="auto")
    assert len(data) == len(images) == 300
    seen = data.samples.permute(0, 2, 3, 1).numpy().astype(int)
    wanted = np.stack([reference(image, channels) for image in images])
    if channels == 4:  # of what is clear there is no colour
        opaque = (wanted[..., 3:] > 1) & (seen[..., 3:] > 1)
        seen[..., :3], wanted[..., :3] = seen[..., :3] * opaque, wanted[..., :3] * opaque
    off = np.abs(seen - wanted).max((1, 2, 3))
    names = sorted(path.name for path in folder.iterdir())
    assert [(name, int(most)) for name, most in zip(names, off, strict=True) if most > 1] == []
    assert seen.std() > 30


# --- what is said ------------------------------------------------------------------------------------------------


def test_each_change_is_counted_in_the_line_and_in_the_record(many: tuple[Path, list[Image.Image]]) -> None:
    folder, images = many
    data = load_folder(folder, size=SIZE, background="#8090ff", value_range="auto", profiles="auto")
    grey = sum(image.mode in ("L", "LA", "1") for image in images)
    assert f"; {data.changes['turned_by_exif']} reoriented by EXIF; " in data.source
    assert data.changes["turned_by_exif"] == pytest.approx(130, abs=15)
    assert f"; {grey} converted from grey to colour; " in data.source
    assert f"; {data.changes['brought_to_srgb']} converted to sRGB from another colour profile; " in data.source
    assert data.changes["brought_to_srgb"] >= 10
    assert " cropped to 3:2, up to " in data.source
    assert data.source.endswith("; 54 of 16 bits and 27 of floats besides 219 of 8 bits, scaled to 8")
    assert data.value_range == "full"
    assert data.changes["used"] == 300
    coloured = load_folder(folder, size=SIZE, channels=1, value_range="auto").changes
    assert coloured["made_grey"] == 300 - grey
    assert coloured["brought_to_srgb"] == 0  # as in runs that are older than the key


def test_a_profile_is_converted_unless_it_is_srgb_or_to_be_ignored(tmp_path: Path) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for kind in ("PNG", "JPEG", "WEBP", "TIFF"):
        content = encode_image(Image.new("RGB", (8, 8), DARK_RED), kind, icc_profile=PROFILE)
        red, green, _ = pixel(load_single_file(tmp_path, content, profiles="auto"))
        assert (red < 20, green > 80) == (True, True), kind
        assert pixel(load_single_file(tmp_path, content, profiles="ignore"))[0] > 90
        plain = load_single_file(
            tmp_path, encode_image(Image.new("RGB", (8, 8), DARK_RED), kind, icc_profile=srgb), profiles="convert"
        )
        assert pixel(plain)[0] > 90
        assert "colour profile" not in plain.source


@pytest.mark.parametrize(
    "profile", [b"", b"x" * 127, b"x" * 500, PROFILE[:300], bytes(1000)], ids=["none", "short", "x", "cut", "zeros"]
)
def test_a_damaged_profile_does_not_matter(profile: bytes) -> None:
    image = Image.new("RGB", (1, 1), DARK_RED)
    image.info["icc_profile"] = profile
    found = colour_profiles.find_other_profile(image)
    assert found is None or colour_profiles.to_srgb(image, found) is None


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("bands", [3, 4])
def test_16_bits_a_channel_keep_their_shades_in_a_range(tmp_path: Path, order: str, packed: bool, bands: int) -> None:
    values = np.random.default_rng(0).integers(0, 4096, (8, 8, bands), dtype=np.uint16)
    values[..., 3:] = 65535
    data = load_single_file(
        tmp_path, tiff(values, order, packed=packed), "a.tif", channels=bands, value_range=(0.0, 4095.0)
    )
    wanted = np.rint(values[..., :3] * (255 / 4095)).transpose(2, 0, 1)
    assert np.abs(data.samples[0, :3].numpy() - wanted).max() <= 1
    assert bands == 3 or data.samples[0, 3].unique().tolist() == [255]
    full = load_single_file(tmp_path, tiff(values, order, packed=packed), "a.tif", channels=bands, value_range="full")
    assert full.samples[0, :3].max() == 15


def test_a_profile_counts_for_16_bits_too(tmp_path: Path) -> None:
    values = np.zeros((8, 8, 3), np.uint16)
    values[..., 0] = 1600
    content = _png16(values)
    name = b"other\0\0" + zlib.compress(PROFILE)
    chunk = struct.pack(">I", len(name)) + b"iCCP" + name + struct.pack(">I", zlib.crc32(b"iCCP" + name))
    content = content[:33] + chunk + content[33:]
    red, green, _ = pixel(load_single_file(tmp_path, content, value_range=(0.0, 4095.0), profiles="auto"))
    assert (red < 20, green > 80) == (True, True)
    assert pixel(load_single_file(tmp_path, content, value_range=(0.0, 4095.0)))[:2] == (100, 0)


def test_a_picture_goes_by_its_content_where_its_ending_is_none_or_unknown(tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 8), DARK_RED)
    for kind in ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF"):
        (tmp_path / f"of_{kind}").write_bytes(encode_image(image, kind))
    for name in ("1.2.840.113", "a.jpg_large", "b.png!d", "note.txt"):
        (tmp_path / name).write_bytes(encode_image(image, "PNG"))
    (tmp_path / "LICENSE").write_text("P for all")
    data = load_folder(tmp_path)
    assert len(data) == 12
    assert data.source.endswith("; 2 other files")
    assert (data.samples[:, 0].int() - 100).abs().max() < 5


def test_kinds_that_are_not_read_are_refused_by_name_with_a_way(tmp_path: Path) -> None:
    for name in ("a.heic", "b.cr2", "c.svg", "d.dcm", "e.exr"):
        (tmp_path / name).write_bytes(b"?")
    message = folder_error(tmp_path)
    assert "a.heic (heic is not read, convert it to png), b.cr2 (cr2 is not read, develop it to tif or png)" in message


@pytest.mark.parametrize("value_range", ["auto", (0.0, 100.0)], ids=["auto", "asked for"])
def test_damaged_pictures_of_every_format_are_bad_or_good_but_never_a_traceback(
    value_range: value_ranges.ValueRange,
) -> None:
    target = conversion.TargetFormat((8, 8), 3, "white", value_range=value_range, profiles="auto")
    random = np.random.default_rng(0)
    image = noise_image(24, 20)
    contents = [encode_image(image, kind) for kind in ("GIF", "TIFF", "PPM", "JPEG2000", "AVIF")]
    contents.append(encode_image(image, "TIFF", compression="tiff_lzw", icc_profile=PROFILE))
    contents.append(tiff(random.integers(0, 65536, (9, 9, 3)).astype(np.uint16), "<", packed=True))
    contents.append(encode_image(Image.fromarray(np.ones((9, 9), np.float32)), "TIFF"))
    assert count_bad_images(damaged_copies(contents, cuts=10, times=12), target) >= 60
