"""Encoded pictures opened by the decoders that are named here, and nothing else that Pillow can read."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from gan_cli.data.decoding.fitting import reduction
from gan_cli.image_files.formats import is_dicom
from gan_cli.image_files.problems import BadPicture

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF")
MOST_PIXELS = 178_956_970  # of one picture; from here on Pillow takes a file for a decompression bomb
OWN_MAGIC = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"BM", b"GIF8", b"II*\0", b"MM\0*")
FOREIGN_MAGIC = {
    (0, b"8BPS"): "psd",
    (0, b"%PDF"): "pdf",
    (4, b"ftypavif"): "avif",
    (4, b"ftypheic"): "heic",
    (4, b"ftypmif1"): "heif",
    (4, b"jP  \r\n"): "jp2",
}
TURNS = {  # an EXIF orientation and what undoes it
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = tuple(TURNS[orientation] for orientation in (5, 6, 7, 8))
# Pillow keeps one byte of two in each of these; which one, is what the other order of bytes changes.
OTHER_BYTE = {";16B": ";16L", ";16L": ";16B", ";16N": ";16B"}
WIDE_MODES = ("RGB", "RGBA")


def open_picture(data: bytes) -> ImageFile.ImageFile:
    """A picture of one frame, not yet decoded; BadPicture for what cannot be used."""
    if not data:
        raise BadPicture("empty")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        frames = getattr(image, "n_frames", 1)
    except Image.DecompressionBombError:
        raise BadPicture(f"more than {MOST_PIXELS:,} pixels") from None
    except UnidentifiedImageError:
        raise BadPicture(_what_else(data)) from None
    except Exception as error:  # a damaged file makes Pillow's readers raise almost anything
        raise BadPicture(reason_of(error)) from None
    if image.width * image.height > MOST_PIXELS:
        raise BadPicture(f"more than {MOST_PIXELS:,} pixels")
    if frames > 1 and image.format != "MPO":  # a camera's JPEG with a preview in it is no animation
        raise BadPicture(f"has {frames} pages" if image.format == "TIFF" else f"is animated, {frames} frames")
    return image


def load(image: ImageFile.ImageFile) -> None:
    """Decodes the pixels; `info` then gives a transparent colour in their depth, where Pillow leaves the file's."""
    raw = image.tile[0].args if image.format == "PNG" and image.tile else None
    try:
        image.load()
    except Exception as error:  # as above
        raise BadPicture(reason_of(error)) from None
    key = image.info.get("transparency")
    if isinstance(key, int) and raw in ("L;2", "L;4"):
        image.info["transparency"] = key * (85 if raw == "L;2" else 17)
    elif isinstance(key, tuple) and raw == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in key)


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """What undoes the orientation in the EXIF data."""
    try:
        return TURNS.get(image.getexif().get(0x0112, 1))
    except Exception:  # damaged EXIF data say nothing about the picture itself
        return None


def is_sideways(image: Image.Image) -> bool:
    """Whether EXIF data swap height and width; a PNG is not decoded for those behind its pixels."""
    return (image.format != "PNG" or "exif" in image.info) and turn_of(image) in SIDEWAYS


def draft(image: ImageFile.ImageFile, mode: str, size: tuple[int, int], fit: str) -> None:
    """Has a large JPEG decoded at a half, a quarter or an eighth, where what is kept has twice the result's size."""
    height, width = size[::-1] if turn_of(image) in SIDEWAYS else size
    image.draft(mode, reduction(image.width, image.height, (height, width), fit))


def is_wide(image: ImageFile.ImageFile) -> bool:
    """Whether a picture that is not yet decoded has 16 bits a channel, of which Pillow keeps the high ones."""
    if image.mode not in WIDE_MODES or not image.tile or image.format not in ("PNG", "TIFF"):
        return False
    raw = _raw_mode(image)
    return raw[-4:] in OTHER_BYTE and raw[:-4] in (*WIDE_MODES, "RGBX")


def _raw_mode(image: ImageFile.ImageFile) -> str:
    args = image.tile[0].args or ""
    return str(args if isinstance(args, str) else args[0])


def other_byte(data: bytes, image: ImageFile.ImageFile) -> Image.Image:
    """The low bytes of a picture with 16 bits a channel, of which `image` gives the high ones; not yet decoded."""
    low = Image.open(io.BytesIO(data), formats=FORMATS)
    raw = _raw_mode(image)
    swapped = raw[:-4] + OTHER_BYTE[raw[-4:]]
    tiles = []
    for tile in low.tile:
        rest = () if isinstance(tile.args, str) else (tile.args or ())[1:]
        tiles.append(tile._replace(args=(swapped, *rest) if rest else swapped))
    low.tile = tiles
    return low


def both_bytes(image: Image.Image, low: Image.Image) -> np.ndarray:
    """uint16 `[H, W, C]`, of the high bytes and the low ones."""
    try:
        low.load()
    except Exception as error:
        raise BadPicture(reason_of(error)) from None
    return (np.asarray(image).astype(np.uint16) << 8) | np.asarray(low)


def _what_else(data: bytes) -> str:
    if data.startswith(OWN_MAGIC):
        return "damaged"
    if is_dicom(data):
        return "is a DICOM file, whatever its name says: convert it to 16-bit png or npy"
    for (start, magic), kind in FOREIGN_MAGIC.items():
        if data[start:].startswith(magic):
            return f"is a {kind}, whatever its name says: convert it to png"
    return "not a picture, whatever its name says"


def reason_of(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "needs more memory than there is"
    return "truncated" if "truncated" in str(error).lower() else "damaged"
