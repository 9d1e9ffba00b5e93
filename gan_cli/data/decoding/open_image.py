"""Opens encoded images of the formats in `FORMATS`. Other formats that Pillow reads are refused."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from gan_cli.data.decoding.crop_and_pad import min_decode_size
from gan_cli.data.decoding.value_ranges import row_blocks
from gan_cli.image_files.formats import BadImageError, is_dicom

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF")
SCAN, END = b"\xff\xda", b"\xff\xd9"  # markers in a JPEG: start of a scan, and end of the image
TOO_MUCH_TEXT = ("Decompressed data too large", "Too much memory used in text chunks")  # Pillow's words for a PNG
COUNTED_BYTES = 1 << 20  # frames of a larger file are not counted, because that may take minutes
OWN_MAGIC = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"BM", b"GIF8", b"II*\0", b"MM\0*")
FOREIGN_MAGIC = {
    (0, b"8BPS"): "psd",
    (0, b"%PDF"): "pdf",
    (4, b"ftypavif"): "avif",
    (4, b"ftypheic"): "heic",
    (4, b"ftypmif1"): "heif",
    (4, b"jP  \r\n"): "jp2",
}
EXIF_TRANSPOSES = {  # the transpose that corrects each EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = tuple(EXIF_TRANSPOSES[orientation] for orientation in (5, 6, 7, 8))
# In these raw modes Pillow keeps one of two bytes. With the other byte order, Pillow keeps the other byte.
OTHER_BYTE = {";16B": ";16L", ";16L": ";16B", ";16N": ";16B"}
WIDE_MODES = ("RGB", "RGBA")


@contextmanager
def limit_of_pillow_lifted() -> Iterator[None]:
    """While entered, Pillow opens images of any size; `require_pixels` checks it before pixels are decoded."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def open_image(data: bytes) -> ImageFile.ImageFile:
    """Opens an image of one frame without decoding its pixels. Raises BadImageError if it cannot be used."""
    if not data:
        raise BadImageError("empty")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        animated = getattr(image, "is_animated", False)
        frames = getattr(image, "n_frames", 1) if animated and len(data) <= COUNTED_BYTES else 0
    except Image.DecompressionBombError as error:
        raise BadImageError(str(error)) from None
    except UnidentifiedImageError:
        raise BadImageError(_what_else(data)) from None
    except Exception as error:  # Pillow may raise almost anything on a damaged file
        raise BadImageError(describe_decode_error(error)) from None
    if animated and image.format != "MPO":  # MPO: a camera's JPEG with a preview image
        many = f"{frames:,}" if frames else "many"
        raise BadImageError(f"has {many} pages" if image.format == "TIFF" else f"is animated, {many} frames")
    return image


def require_pixels(image: ImageFile.ImageFile, data: bytes, most: int) -> int:
    """Returns the number of pixels that are in memory while `image` is decoded, after `draft`.

    Raises BadImageError if they are more than `most`. A JPEG of several scans is held at its full size.
    """
    pixels = image.width * image.height
    reduced = getattr(image, "decoderconfig", None)
    if reduced and not _has_one_scan(image, data):
        pixels *= reduced[0] ** 2
    if pixels > most:
        raise BadImageError(f"{pixels:,} pixels, more than dataset.max_pixels={most} allows")
    return pixels


def _has_one_scan(image: ImageFile.ImageFile, data: bytes) -> bool:
    """Returns whether a JPEG, opened but not decoded, is neither progressive nor of several scans."""
    if image.format != "JPEG" or image.info.get("progressive"):
        return False
    start = image.fp.tell() if image.fp else 0  # of the first scan's data
    return data.find(SCAN, start, data.find(END, start)) < 0


def decode_pixels(image: ImageFile.ImageFile) -> None:
    """Decodes the pixels, or raises BadImageError. Rescales a transparent colour to 8 bits, as Pillow does not."""
    raw = image.tile[0].args if image.format == "PNG" and image.tile else None
    _load(image)
    key = image.info.get("transparency")
    if isinstance(key, int) and raw in ("L;2", "L;4"):
        image.info["transparency"] = key * (85 if raw == "L;2" else 17)
    elif isinstance(key, tuple) and raw == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in key)


def _load(image: Image.Image) -> None:
    try:
        image.load()
    except Exception as error:  # Pillow may raise almost anything on a damaged file
        raise BadImageError(describe_decode_error(error)) from None


def exif_transpose(image: Image.Image) -> Image.Transpose | None:
    """Returns the transpose that corrects the EXIF orientation, or None if no correction is needed."""
    try:
        return EXIF_TRANSPOSES.get(image.getexif().get(0x0112, 1))
    except Exception:  # damaged EXIF data do not make the image unusable
        return None


def is_sideways(image: Image.Image) -> bool:
    """Returns whether the EXIF orientation swaps height and width. EXIF data after a PNG's pixels are not read."""
    return (image.format != "PNG" or "exif" in image.info) and exif_transpose(image) in SIDEWAYS


def draft(image: ImageFile.ImageFile, mode: str, size: tuple[int, int], fit: str) -> None:
    """Lets the decoder reduce a large JPEG by 2, 4 or 8. Its used part keeps at least twice its final size."""
    height, width = size[::-1] if exif_transpose(image) in SIDEWAYS else size
    image.draft(mode, min_decode_size(image.width, image.height, (height, width), fit))


def has_16_bit_channels(image: ImageFile.ImageFile) -> bool:
    """Returns whether an image, not decoded yet, has 16-bit channels, of which Pillow keeps only the high bytes."""
    if image.mode not in WIDE_MODES or not image.tile or image.format not in ("PNG", "TIFF"):
        return False
    raw = _raw_mode(image)
    return raw[-4:] in OTHER_BYTE and raw[:-4] in (*WIDE_MODES, "RGBX")


def _raw_mode(image: ImageFile.ImageFile) -> str:
    """Returns the raw mode that the decoder unpacks, such as `RGB;16B`."""
    args = image.tile[0].args or ""
    return str(args if isinstance(args, str) else args[0])


def open_low_bytes(data: bytes, image: ImageFile.ImageFile) -> Image.Image:
    """Opens the low bytes of a 16-bit image as an image, without decoding it. `image` holds the high bytes."""
    low = Image.open(io.BytesIO(data), formats=FORMATS)
    raw = _raw_mode(image)
    swapped = raw[:-4] + OTHER_BYTE[raw[-4:]]
    for number, tile in enumerate(low.tile):
        rest = () if isinstance(tile.args, str) else (tile.args or ())[1:]
        low.tile[number] = tile._replace(args=(swapped, *rest) if rest else swapped)
    return low


def combine_bytes(image: Image.Image, low: Image.Image) -> np.ndarray:
    """Combines high and low bytes to uint16 `[H, W, C]`. Raises BadImageError if the low bytes cannot be decoded."""
    _load(low)
    combined = np.empty((image.height, image.width, len(image.getbands())), np.uint16)
    for rows in row_blocks(combined.shape):
        box = (0, rows.start, image.width, rows.stop)
        combined[rows] = (np.asarray(image.crop(box)).astype(np.uint16) << 8) | np.asarray(low.crop(box))
    return combined


def _what_else(data: bytes) -> str:
    """Returns why Pillow cannot open the data, judged by their first bytes."""
    if data.startswith(OWN_MAGIC):
        return "damaged"
    if is_dicom(data):
        return "is a DICOM file despite its name: convert it to 16-bit png or npy"
    for (start, magic), kind in FOREIGN_MAGIC.items():
        if data[start:].startswith(magic):
            return f"is a {kind} despite its name: convert it to png"
    return "not an image despite its name"


def describe_decode_error(error: Exception) -> str:
    """Returns why decoding failed, in a few words."""
    if isinstance(error, MemoryError):
        return "needs more memory than there is"
    if any(words in str(error) for words in TOO_MUCH_TEXT):
        return "its metadata are too large, save it without them"
    return "truncated" if "truncated" in str(error).lower() else "damaged"
