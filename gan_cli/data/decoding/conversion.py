"""Converts one decoded image to the target: grey, RGB, RGBA or raw bands, uint8, one size."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageColor

from gan_cli.config.options.datasets import AUTO, COLOUR, CROP, DATA, FULL, IGNORE, MAX_PIXELS_BEFORE
from gan_cli.data.decoding import colour_profiles, value_ranges
from gan_cli.data.decoding.crop_and_pad import compute_fit, crop_and_resize, pad_to_size
from gan_cli.data.decoding.open_image import combine_bytes
from gan_cli.data.decoding.value_ranges import EIGHT_BITS, SIXTEEN_BITS, ValueExtent, ValueRange
from gan_cli.errors import count_noun
from gan_cli.image_files.formats import BadImageError

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
MODE_OF_BANDS = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
READ_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB")
GREY_MODES = ("1", "L", "LA")
SIXTEEN_BIT_MODES = ("I;16", "I;16B", "I;16L", "I;16N")
DEEP_MODES = (*SIXTEEN_BIT_MODES, "I", "F")


@dataclass(frozen=True)
class TargetFormat:
    """The format that every image is converted to. Its text is a part of the names of cache files.

    With `bands=colour`, images of 1, 3 or 4 `channels` are grey, RGB or RGBA. With `bands=data`, each band is a
    channel.
    """

    size: tuple[int, int]  # (height, width)
    channels: int
    background: str  # a colour name
    fit: str = CROP
    value_range: ValueRange = FULL
    bands: str = COLOUR
    profiles: str = IGNORE
    deep_only: bool = False  # the value range does not apply to 8-bit images
    max_pixels: int = field(default=MAX_PIXELS_BEFORE, repr=False)  # larger images are not decoded
    half: str = field(default="", repr=False)  # `left` or `right` if a file holds two images side by side
    keep_sides: bool = field(default=False, repr=False)  # whether outcomes have the sides of images, to compare them

    @property
    def colour(self) -> tuple[int, int, int]:
        red, green, blue = ImageColor.getrgb(self.background)[:3]
        return red, green, blue

    @property
    def padding(self) -> tuple[int, ...]:
        """The value of each channel in the padding around an image."""
        if self.channels == 4 and self.bands == COLOUR:
            return (*self.colour, 0)
        if self.channels == 3:
            return self.colour
        grey = Image.new("RGB", (1, 1), self.colour).convert("L")
        return (int(np.asarray(grey)[0, 0]),) * self.channels

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.channels, *self.size)

    def range_of(self, kind: str) -> ValueRange:
        """Returns the value range for values of `kind`. For `auto`, it is full until the whole set was read."""
        if self.value_range == AUTO or (
            kind == EIGHT_BITS and (self.deep_only or not value_ranges.fits_eight_bits(self.value_range))
        ):
            return FULL
        return self.value_range


class ImageOutcome(NamedTuple):
    """The result for one image: why it cannot be used, or what was done to it."""

    bad: str | None = None  # why it cannot be used
    reoriented: bool = False  # rotated by its EXIF orientation
    flattened: bool = False  # put on the background, because it had transparency
    enlarged: bool = False  # it was smaller than the target
    recoloured: str | None = None  # `grey` or `colour` if it was converted to that
    profile: bool = False  # converted to sRGB from another colour profile
    transparent: bool = False  # it is fully transparent
    share: int = 0  # thousandths cropped, padded or stretched
    values: ValueExtent | None = None  # extent of its values, for a deep, scaled or nearly black image
    cut_off: bool = False  # some of these values were clipped
    sides: tuple[int, int] | None = None  # width and height before fitting, if the target says to keep them


def target_for_set(target: TargetFormat, outcomes: Sequence[ImageOutcome]) -> TargetFormat | None:
    """Returns the target for a second pass over the whole set, or None if no second pass is needed.

    If the value range is `auto`, the new target has the range of the deep images (more than 8 bits). If the set has
    both deep and 8-bit images, the new target applies a given range to the deep images alone.
    """
    good = [outcome for outcome in outcomes if outcome.bad is None]
    common = value_ranges.infer_range([outcome.values for outcome in good if outcome.values is not None])
    if common is None or target.value_range == FULL or target.deep_only:
        return None
    if target.value_range == AUTO:
        return None if common == FULL else replace(target, value_range=common, deep_only=True)
    eight = any(outcome.values is None or outcome.values.kind == EIGHT_BITS for outcome in good)
    return replace(target, deep_only=True) if eight else None


def deep_value_range(target: TargetFormat, outcomes: Sequence[ImageOutcome]) -> ValueRange | None:
    """Returns the range that deep images (more than 8 bits) were scaled by, or None if there are none."""
    deep = any(outcome.values is not None and outcome.values.kind != EIGHT_BITS for outcome in outcomes)
    return (FULL if target.value_range == AUTO else target.value_range) if deep else None


class ConvertedImage(NamedTuple):
    """An 8-bit image: one PIL image in the mode of the target, or one for each band, and what was done so far."""

    images: tuple[Image.Image, ...]
    outcome: ImageOutcome = ImageOutcome()


def convert_array(values: np.ndarray, target: TargetFormat) -> ConvertedImage:
    """Converts an array `[H, W]` or `[H, W, C]` of numbers."""
    if values.dtype == bool:
        values = values.astype(np.uint8) * 255
    return _of_values(values, value_ranges.value_kind(values.dtype), target)


def convert_image(image: Image.Image, low: Image.Image | None, wide: bool, target: TargetFormat) -> ConvertedImage:
    """Converts a decoded PIL image. `wide`: the file has 16 bits per channel. `low` holds the low bytes, if read."""
    profile = image.info.get("icc_profile")
    if image.mode in DEEP_MODES:
        values = np.asarray(image)
        kind = SIXTEEN_BITS if image.mode in SIXTEEN_BIT_MODES else value_ranges.value_kind(values.dtype)
        return _of_values(values, kind, target, image.info.get("transparency"), profile)
    if image.mode not in READ_MODES:
        raise BadImageError(f"pixels of the kind {image.mode} are not read")
    if low is not None:
        return _of_values(combine_bytes(image, low), SIXTEEN_BITS, target, low.info.get("transparency"), profile)
    converted = (_in_bands if target.bands == DATA else _in_colour)(image, target)
    if not wide:
        return converted
    least, most = _extremes(image, 3)  # of the high bytes, the only ones that Pillow keeps
    return _with_values(converted, ValueExtent(SIXTEEN_BITS, float(least << 8), float(most << 8 | 255)), target)


def fit_to_target(
    converted: ConvertedImage, target: TargetFormat, *, reoriented: bool
) -> tuple[np.ndarray, ImageOutcome]:
    """Crops, pads or stretches the image to the target size. Returns uint8 `[C, H, W]` and the outcome."""
    images = [_half(image, target.half) for image in converted.images] if target.half else converted.images
    fit = compute_fit(images[0].width, images[0].height, target.size, target.fit)
    pixels = np.dstack([crop_and_resize(image, fit) for image in images])
    outcome = converted.outcome
    if target.channels == 4 and target.bands == COLOUR:
        pixels[pixels[..., 3] == 0, :3] = target.colour
    if outcome.values is None:
        colours = pixels[..., :3] if target.bands == COLOUR else pixels
        extent = ValueExtent(EIGHT_BITS, float(colours.min()), float(colours.max()))
        outcome = outcome._replace(values=extent if extent.high <= value_ranges.NEARLY_BLACK else None)
    pixels = pad_to_size(pixels, fit, target.size, target.padding)
    share = max(1, round(1000 * fit.share)) if fit.share > 0 else 0
    sides = images[0].size if target.keep_sides else None
    outcome = outcome._replace(reoriented=reoriented, enlarged=fit.enlarged, share=share, sides=sides)
    return pixels.transpose(2, 0, 1), outcome


def _half(image: Image.Image, half: str) -> Image.Image:
    """Returns the left or right half of an image. Raises BadImageError if its width is odd."""
    if image.width % 2:
        raise BadImageError(f"of odd width, {image.width} pixels, so it does not hold two images side by side")
    start = 0 if half == "left" else image.width // 2
    return image.crop((start, 0, start + image.width // 2, image.height))


def _of_values(
    values: np.ndarray, kind: str, target: TargetFormat, key: object = None, profile: bytes | None = None
) -> ConvertedImage:
    """Scales values of any depth to 8 bits. `key` is the value or colour that means transparent, if there is one."""
    values = values[..., None] if values.ndim == 2 else values
    bands = values.shape[2]
    opaque = bands - 1 if target.bands == COLOUR and bands in (2, 4) else bands
    colours = values[..., :opaque]
    if kind == value_ranges.FLOATS and not np.isfinite([values.min(), values.max()]).all():
        raise BadImageError("has values that are not finite")
    extent = ValueExtent(kind, float(colours.min()), float(colours.max()))
    if kind == value_ranges.OVER_SIXTEEN_BITS and extent.low >= 0 and extent.high <= 65535:
        kind, extent = SIXTEEN_BITS, extent._replace(kind=SIXTEEN_BITS)
    if kind == value_ranges.OVER_SIXTEEN_BITS and target.value_range == FULL:
        raise BadImageError("has values beyond 16 bits; dataset.value_range=auto takes the range that they have")
    eight = value_ranges.scale_to_uint8(colours, kind, target.range_of(kind))
    if opaque < bands:
        eight = np.dstack([eight, value_ranges.scale_to_uint8(values[..., opaque:], kind, FULL)])
    elif target.bands == COLOUR and isinstance(key, int | tuple):
        eight = np.dstack([eight, np.where((values == key).all(2), 0, 255).astype(np.uint8)])
    converted = _of_eight(eight, target, profile)
    unscaled = kind == EIGHT_BITS and target.range_of(kind) == FULL
    return converted if unscaled else _with_values(converted, extent, target)


def _of_eight(eight: np.ndarray, target: TargetFormat, profile: bytes | None) -> ConvertedImage:
    """Converts uint8 `[H, W, C]` to the bands or the mode of the target."""
    bands = eight.shape[2]
    if target.bands == DATA:
        _check_bands(bands, target)
        return ConvertedImage(tuple(Image.fromarray(np.ascontiguousarray(eight[..., band])) for band in range(bands)))
    if bands not in MODE_OF_BANDS:
        raise BadImageError(f"has {bands} bands, which dataset.bands=data keeps, with dataset.image_channels={bands}")
    image = Image.fromarray(np.ascontiguousarray(eight if bands > 1 else eight[..., 0]))
    if profile is not None:
        image.info["icc_profile"] = profile
    return _in_colour(image, target, scale=False)


def _with_values(converted: ConvertedImage, extent: ValueExtent | None, target: TargetFormat) -> ConvertedImage:
    """Returns the image with `extent`, if given, recorded in its outcome, and whether some values were clipped."""
    if extent is None:
        return converted
    wanted = target.range_of(extent.kind)
    low, high = value_ranges.FULL_RANGES[extent.kind] if isinstance(wanted, str) else wanted
    cut_off = target.value_range != AUTO and (extent.low < low or extent.high > high)
    return converted._replace(outcome=converted.outcome._replace(values=extent, cut_off=cut_off))


def _check_bands(bands: int, target: TargetFormat) -> None:
    if bands != target.channels:
        raise BadImageError(f"has {count_noun(bands, 'band')}, not dataset.image_channels={target.channels}")


def _in_bands(image: Image.Image, target: TargetFormat) -> ConvertedImage:
    """Returns an 8-bit image with each band as a channel. Palettes and the like are expanded first."""
    image = _plain(image)
    _check_bands(len(image.getbands()), target)
    image, extent = _spread(image, target, len(image.getbands()))
    return _with_values(ConvertedImage(tuple(image.split())), extent, target)


def _in_colour(image: Image.Image, target: TargetFormat, *, scale: bool = True) -> ConvertedImage:
    """Converts an 8-bit image to the mode of the target. `scale` is False if the value range was applied before."""
    mode = MODES[target.channels]
    grey = image.mode in GREY_MODES
    recoloured = "colour" if grey and target.channels > 1 else "grey" if not grey and target.channels == 1 else None
    profile, extent = foreign_profile(image, target), None
    converted = None if profile is None else colour_profiles.to_srgb(image, profile)
    image = image if converted is None else converted
    if scale and target.range_of(EIGHT_BITS) != FULL:
        image = _plain(image)
        image, extent = _spread(image, target, 1 if image.mode in GREY_MODES else 3)
    outcome = ImageOutcome(recoloured=recoloured, profile=converted is not None)
    if image.has_transparency_data:
        image = _in_mode(image, "RGBA")
        alpha = image.getchannel("A")
        extremes = alpha.getextrema()
        outcome = outcome._replace(transparent=extremes == (0, 0))
        if target.channels != 4 and extremes != (255, 255):
            canvas = Image.new("RGB", image.size, target.colour)
            canvas.paste(image, mask=alpha)
            image, outcome = canvas, outcome._replace(flattened=True)
    return _with_values(ConvertedImage((_in_mode(image, mode),), outcome), extent, target)


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    """Returns the image in a mode: itself if it has that mode, because Pillow would copy it."""
    return image if image.mode == mode else image.convert(mode)


def foreign_profile(image: Image.Image, target: TargetFormat) -> bytes | None:
    """Returns the colour profile to convert from, or None if the image is sRGB or if profiles are ignored."""
    return None if target.profiles == IGNORE or target.bands == DATA else colour_profiles.find_other_profile(image)


def _plain(image: Image.Image) -> Image.Image:
    """Returns the image in a mode with 8 bits for each band."""
    if image.mode == "1":
        return image.convert("L")
    if image.mode in ("L", "LA", "RGB", "RGBA", "CMYK") and "transparency" not in image.info:
        return image
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _spread(image: Image.Image, target: TargetFormat, bands: int) -> tuple[Image.Image, ValueExtent | None]:
    """Scales the first `bands` bands to the value range. Returns the image, and the extent of the values before."""
    wanted = target.range_of(EIGHT_BITS)
    if isinstance(wanted, str):
        return image, None
    if image.mode == "CMYK" and target.bands == COLOUR:
        image = image.convert("RGB")
    low, high = _extremes(image, bands)
    scaled = value_ranges.scale_to_uint8(np.arange(256), EIGHT_BITS, wanted).tolist()
    tables = [scaled if band < bands else range(256) for band in range(len(image.getbands()))]
    return image.point([*itertools.chain(*tables)]), ValueExtent(EIGHT_BITS, float(low), float(high))


def _extremes(image: Image.Image, bands: int) -> tuple[int, int]:
    """Returns the lowest and the highest value of the first `bands` bands of an 8-bit image."""
    channels = range(min(bands, len(image.getbands())))
    values = np.array([image.getchannel(channel).getextrema() for channel in channels])
    return int(values.min()), int(values.max())
