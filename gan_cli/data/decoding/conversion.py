"""One decoded picture made grey, RGB, RGB and opacity, or a number of bands, in 8 bits and of one size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageColor

from gan_cli.config.options.datasets import AUTO, COLOUR, CROP, DATA, FULL, IGNORE
from gan_cli.data.decoding import profiles, ranges
from gan_cli.data.decoding.fitting import fit_of, placed, resized
from gan_cli.data.decoding.opening import both_bytes
from gan_cli.data.decoding.ranges import EIGHT, MORE, NEARLY_BLACK, SIXTEEN, ValueRange, Values
from gan_cli.image_files.problems import BadPicture

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
OF_BANDS = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
READ_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB")
GREY_MODES = ("1", "L", "LA")
SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N")
DEEP_MODES = (*SIXTEEN_BITS, "I", "F")


@dataclass(frozen=True)
class Target:
    """What every picture becomes: `size` is (height, width), `background` a colour's name.

    `bands=colour` makes 1, 3 or 4 `channels` grey, RGB or RGB and opacity; `data` takes each band for itself.
    With `deep_only` the range of values is not about pictures of 8 bits.
    """

    size: tuple[int, int]
    channels: int
    background: str
    fit: str = CROP
    value_range: ValueRange = FULL
    bands: str = COLOUR
    profiles: str = IGNORE
    deep_only: bool = False

    @property
    def colour(self) -> tuple[int, int, int]:
        red, green, blue = ImageColor.getrgb(self.background)[:3]
        return red, green, blue

    @property
    def padding(self) -> tuple[int, ...]:
        """What is beside a picture that does not fill the size."""
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
        """The range for values of a kind; `auto` is the full one, until the whole set has been seen."""
        if self.value_range == AUTO or (
            kind == EIGHT and (self.deep_only or not ranges.of_eight_bits(self.value_range))
        ):
            return FULL
        return self.value_range


class Outcome(NamedTuple):
    """What became of one picture: why it is not used, or what was done to it.

    `recoloured` is what it was made, grey or colour; `profile`: brought to sRGB from another; `clear`: wholly
    transparent; `share`, in thousandths, was cut, padded or stretched; `values` are those of deep or dark pictures,
    of which some were `cut_off`.
    """

    bad: str | None = None
    turned: bool = False
    flattened: bool = False
    enlarged: bool = False
    recoloured: str | None = None
    profile: bool = False
    clear: bool = False
    share: int = 0
    values: Values | None = None
    cut_off: bool = False


def better_target(target: Target, outcomes: Sequence[Outcome]) -> Target | None:
    """What the pictures of a set are to become, now that all are known; None if that is what they have become.

    Without a range that was asked for it is theirs; one that was asked for is about deep pictures, if there are some.
    """
    good = [outcome for outcome in outcomes if outcome.bad is None]
    found = ranges.found([outcome.values for outcome in good if outcome.values is not None])
    if found is None or target.value_range == FULL or target.deep_only:
        return None
    if target.value_range == AUTO:
        return None if found == FULL else replace(target, value_range=found, deep_only=True)
    eight = any(outcome.values is None or outcome.values.kind == EIGHT for outcome in good)
    return replace(target, deep_only=True) if eight else None


def range_used(target: Target, outcomes: Sequence[Outcome]) -> ValueRange | None:
    """The range that deep pictures were scaled by; None if there are none."""
    deep = any(outcome.values is not None and outcome.values.kind != EIGHT for outcome in outcomes)
    return (FULL if target.value_range == AUTO else target.value_range) if deep else None


class Picture(NamedTuple):
    """A picture in 8 bits: one image in the target's mode, or one for each band; and what was done to it so far."""

    images: tuple[Image.Image, ...]
    outcome: Outcome = Outcome()

    def turned(self, turn: Image.Transpose) -> Picture:
        return self._replace(images=tuple(image.transpose(turn) for image in self.images))


def of_array(values: np.ndarray, target: Target) -> Picture:
    """`[H, W]` or `[H, W, C]` of numbers."""
    if values.dtype == bool:
        values = values.astype(np.uint8) * 255
    return _of_values(values, ranges.kind_of(values.dtype), target)


def of_image(image: Image.Image, low: Image.Image | None, wide: bool, target: Target) -> Picture:
    """A picture that Pillow has decoded; `wide` if it had 16 bits a channel, of which `low` are the low ones."""
    profile = image.info.get("icc_profile")
    if image.mode in DEEP_MODES:
        values = np.asarray(image)
        kind = SIXTEEN if image.mode in SIXTEEN_BITS else ranges.kind_of(values.dtype)
        return _of_values(values, kind, target, image.info.get("transparency"), profile)
    if image.mode not in READ_MODES:
        raise BadPicture(f"pixels of the kind {image.mode} are not read")
    if low is not None:
        return _of_values(both_bytes(image, low), SIXTEEN, target, low.info.get("transparency"), profile)
    picture = (_in_bands if target.bands == DATA else _in_colour)(image, target)
    return _with_values(picture, _values_of_high_bytes(image), target) if wide else picture


def finished(picture: Picture, target: Target, *, turned: bool) -> tuple[np.ndarray, Outcome]:
    """uint8 `[C, H, W]` of the target's size, and all that had to be done."""
    fit = fit_of(picture.images[0].width, picture.images[0].height, target.size, target.fit)
    pixels = np.dstack([resized(image, fit) for image in picture.images])
    outcome = picture.outcome
    if target.channels == 4 and target.bands == COLOUR:
        pixels[pixels[..., 3] == 0, :3] = target.colour
    if outcome.values is None:
        seen = pixels[..., :3] if target.bands == COLOUR else pixels
        low, high = int(seen.min()), int(seen.max())
        if high <= NEARLY_BLACK:
            outcome = outcome._replace(values=Values(EIGHT, float(low), float(high)))
    pixels = placed(pixels, fit, target.size, target.padding)
    share = max(1, round(1000 * fit.share)) if fit.share > 0 else 0
    return pixels.transpose(2, 0, 1), outcome._replace(turned=turned, enlarged=fit.enlarged, share=share)


# --- numbers -----------------------------------------------------------------------------------------------------


def _of_values(
    values: np.ndarray, kind: str, target: Target, key: object = None, profile: bytes | None = None
) -> Picture:
    """Numbers of any depth; `key` is the value or colour that stands for transparent."""
    values = values[..., None] if values.ndim == 2 else values
    bands = values.shape[2]
    opaque = bands - 1 if target.bands == COLOUR and bands in (2, 4) else bands
    colours = values[..., :opaque]
    if kind == ranges.FLOAT and not np.isfinite(values).all():
        raise BadPicture("has values that are not finite")
    seen = Values(kind, float(colours.min()), float(colours.max()))
    if kind == MORE and seen.low >= 0 and seen.high <= 65535:
        kind, seen = SIXTEEN, seen._replace(kind=SIXTEEN)
    if kind == MORE and target.value_range == FULL:
        raise BadPicture("has values beyond 16 bits; dataset.value_range=auto takes the range that they have")
    eight = ranges.scaled(colours, kind, target.range_of(kind))
    if opaque < bands:
        eight = np.dstack([eight, ranges.scaled(values[..., opaque:], kind, FULL)])
    elif target.bands == COLOUR and isinstance(key, int | tuple):
        eight = np.dstack([eight, np.where((values == key).all(2), 0, 255).astype(np.uint8)])
    return _with_values(
        _of_eight(eight, target, profile), None if kind == EIGHT and target.range_of(kind) == FULL else seen, target
    )


def _of_eight(eight: np.ndarray, target: Target, profile: bytes | None) -> Picture:
    """uint8 `[H, W, C]`."""
    bands = eight.shape[2]
    if target.bands == DATA:
        _check_bands(bands, target)
        return Picture(tuple(Image.fromarray(np.ascontiguousarray(eight[..., band])) for band in range(bands)))
    if bands not in OF_BANDS:
        raise BadPicture(f"has {bands} bands, which dataset.bands=data keeps, with dataset.image_channels={bands}")
    image = Image.fromarray(np.ascontiguousarray(eight if bands > 1 else eight[..., 0]))
    if profile is not None:
        image.info["icc_profile"] = profile
    return _in_colour(image, target, scale=False)


def _values_of_high_bytes(image: Image.Image) -> Values:
    """About the values of a picture with 16 bits a channel, by the bytes that Pillow keeps."""
    low, high = _extremes(image, 3)
    return Values(SIXTEEN, float(low << 8), float(high << 8 | 255))


def _with_values(picture: Picture, seen: Values | None, target: Target) -> Picture:
    if seen is None:
        return picture
    cut_off = target.value_range != AUTO and ranges.beyond(seen, target.range_of(seen.kind))
    return picture._replace(outcome=picture.outcome._replace(values=seen, cut_off=cut_off))


# --- images ------------------------------------------------------------------------------------------------------


def _check_bands(bands: int, target: Target) -> None:
    if bands != target.channels:
        raise BadPicture(f"has {bands} band{'' if bands == 1 else 's'}, not dataset.image_channels={target.channels}")


def _in_bands(image: Image.Image, target: Target) -> Picture:
    """Each band of an 8-bit image for itself; a palette's and such become colours first."""
    image = _plain(image)
    _check_bands(len(image.getbands()), target)
    image, seen = _spread(image, target, len(image.getbands()))
    return _with_values(Picture(tuple(image.split())), seen, target)


def _in_colour(image: Image.Image, target: Target, *, scale: bool = True) -> Picture:
    """An 8-bit image in the target's mode; `scale` unless its values were brought to the range before."""
    mode = MODES[target.channels]
    grey = image.mode in GREY_MODES
    recoloured = "colour" if grey and target.channels > 1 else "grey" if not grey and target.channels == 1 else None
    converted, seen = _converted_profile(image, target), None
    profile = converted is not None
    image = image if converted is None else converted
    if scale and target.range_of(EIGHT) != FULL:
        image = _plain(image)
        image, seen = _spread(image, target, 1 if image.mode in GREY_MODES else 3)
    outcome = Outcome(recoloured=recoloured, profile=profile)
    if not image.has_transparency_data:
        done = image if image.mode == mode else image.convert(mode)
        return _with_values(Picture((done,), outcome), seen, target)
    image = image.convert("RGBA")
    alpha = image.getchannel("A")
    extremes = alpha.getextrema()
    outcome = outcome._replace(clear=extremes == (0, 0))
    if target.channels != 4 and extremes == (255, 255):
        image = image.convert(mode)
    elif target.channels != 4:
        canvas = Image.new("RGB", image.size, target.colour)
        canvas.paste(image, mask=alpha)
        image, outcome = canvas.convert(mode), outcome._replace(flattened=True)
    return _with_values(Picture((image,), outcome), seen, target)


def _converted_profile(image: Image.Image, target: Target) -> Image.Image | None:
    profile = foreign_profile(image, target)
    return None if profile is None else profiles.to_srgb(image, profile)


def foreign_profile(image: Image.Image, target: Target) -> bytes | None:
    """The profile that an image is to be converted by; None if it is sRGB or is left alone."""
    return None if target.profiles == IGNORE or target.bands == DATA else profiles.foreign(image)


def _plain(image: Image.Image) -> Image.Image:
    """The image in a mode whose every band has 8 bits of its own."""
    if image.mode == "1":
        return image.convert("L")
    if image.mode in ("L", "LA", "RGB", "RGBA", "CMYK") and "transparency" not in image.info:
        return image
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _spread(image: Image.Image, target: Target, bands: int) -> tuple[Image.Image, Values | None]:
    """The first `bands` bands brought to the range of values, and what they were; the others are as they were."""
    wanted = target.range_of(EIGHT)
    if isinstance(wanted, str):
        return image, None
    if image.mode == "CMYK" and target.bands == COLOUR:
        image = image.convert("RGB")
    low, high = _extremes(image, bands)
    others = len(image.getbands()) - min(bands, len(image.getbands()))
    lookup = ranges.table(wanted) * (len(image.getbands()) - others) + list(range(256)) * others
    return image.point(lookup), Values(EIGHT, float(low), float(high))


def _extremes(image: Image.Image, bands: int) -> tuple[int, int]:
    """The least and the highest value of the first `bands` bands of an 8-bit image."""
    values = np.atleast_3d(np.asarray(image))[..., :bands]
    return int(values.min()), int(values.max())
