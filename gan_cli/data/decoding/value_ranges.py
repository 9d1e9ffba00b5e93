"""`dataset.value_range`: the range of values that is scaled to 0..255, one range for all images of a set."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from gan_cli.config.options.datasets import AUTO, FULL
from gan_cli.errors import format_number

ValueRange = str | tuple[float, float]  # auto, full, or (low, high)
EIGHT_BITS, SIXTEEN_BITS, OVER_SIXTEEN_BITS, FLOATS = "8 bits", "16 bits", "more than 16 bits", "floats"
FULL_RANGES = {
    EIGHT_BITS: (0.0, 255.0),
    SIXTEEN_BITS: (0.0, 65535.0),
    OVER_SIXTEEN_BITS: (0.0, 65535.0),
    FLOATS: (0.0, 1.0),
}
NEARLY_BLACK = 31  # an 8-bit image with no higher value is nearly black


class ValueExtent(NamedTuple):
    """The kind, lowest and highest value of an image: a deep (more than 8 bits), scaled or nearly black one."""

    kind: str
    low: float
    high: float


def value_kind(dtype: np.dtype) -> str:
    """Returns the kind of the values of an array."""
    if dtype.kind == "f":
        return FLOATS
    if dtype.itemsize == 1 and dtype.kind != "i":
        return EIGHT_BITS
    return SIXTEEN_BITS if dtype == np.uint16 else OVER_SIXTEEN_BITS


def scale_to_uint8(values: np.ndarray, kind: str, wanted: ValueRange) -> np.ndarray:
    """Scales the range `wanted` to 0..255, with other values clipped. A text means the full range of `kind`."""
    if kind == EIGHT_BITS and isinstance(wanted, str):
        return values if values.dtype == np.uint8 else values.astype(np.uint8)
    scaled = np.empty(values.shape, np.uint8)
    for rows in row_blocks(values.shape):
        scaled[rows] = _scaled(values[rows], kind, wanted)
    return scaled


def row_blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Yields slices of rows of at most 2^20 values, so that a large image is converted with little more memory."""
    rows = max(1, 2**20 // max(1, math.prod(shape[1:])))
    return (slice(top, min(top + rows, shape[0])) for top in range(0, shape[0], rows))


def _scaled(values: np.ndarray, kind: str, wanted: ValueRange) -> np.ndarray:
    if kind == SIXTEEN_BITS and isinstance(wanted, str):
        return ((values.astype(np.int32) + 128) // 257).astype(np.uint8)
    low, high = FULL_RANGES[kind] if isinstance(wanted, str) else wanted
    spread = (values.astype(np.float64) - low) * (255 / (high - low))
    return np.clip(np.rint(spread), 0, 255).astype(np.uint8)


def fits_eight_bits(wanted: ValueRange) -> bool:
    """Returns whether a range can apply to 8-bit images, which have no values above 255."""
    return isinstance(wanted, str) or wanted[1] <= 255


def infer_range(extents: Iterable[ValueExtent]) -> ValueRange | None:
    """Returns the range of a set, inferred from the values of its deep images (more than 8 bits); None without any.

    Returns `full` if the values span half of the full range, or if some images hold floats and others integers.
    Integers that begin near 0 get the range of the smallest bit depth that holds them, so that every subset of 12-bit
    data gets 0 to 4095.
    """
    deep = [values for values in extents if values.kind != EIGHT_BITS]
    if not deep:
        return None
    low, high = _union(deep)
    are_floats = {values.kind == FLOATS for values in deep}
    if len(are_floats) > 1:
        return FULL
    return _of_floats(low, high) if are_floats == {True} else _of_whole_numbers(low, high)


def _of_whole_numbers(low: float, high: float) -> ValueRange:
    if low >= 0 and high <= 65535 and (high - low >= 32768 or high == low):
        return FULL
    if low >= 0 and 0 < high <= NEARLY_BLACK:  # probably label numbers, as in a mask
        return 0.0, high
    if 0 <= low <= high / 8:
        return 0.0, float(2 ** max(8, math.ceil(math.log2(high + 1))) - 1)
    return (low, high) if high > low else (low, low + 1)


def _of_floats(low: float, high: float) -> ValueRange:
    if low >= 0 and high <= 1 and (high - low >= 0.5 or high == low):
        return FULL
    if -1 <= low < 0 and high <= 1:
        return -1.0, 1.0
    if 0 <= low <= high / 8:
        return 0.0, 255.0 if 128 <= high <= 255 else high
    return (low, high) if high > low else (low, low + 1)


def format_override(wanted: ValueRange) -> str:
    """Returns the range as it is written on the command line."""
    if isinstance(wanted, str):
        return wanted
    return "[" + ",".join(f"{value:.0f}" if value.is_integer() else f"{value:g}" for value in wanted) + "]"


def describe_values(extents: list[ValueExtent], configured: ValueRange, used: ValueRange, eight: int) -> list[str]:
    """Describes the values of a set with `eight` images of 8 bits: depths, range scaled to 0..255, near black."""
    deep = [values for values in extents if values.kind != EIGHT_BITS]
    if deep:
        counts = Counter(values.kind for values in deep)
        depths = " and ".join(f"{counts[kind]:,} of {kind}" for kind in FULL_RANGES if counts[kind])
        others = f" besides {eight:,} of 8 bits" if eight else ""
        return [f"{depths}{others}, {_describe_scaling(deep, configured, used)}"]
    if not fits_eight_bits(used):
        return [f"all of 8 bits, to which dataset.value_range={format_override(used)} does not apply: unchanged"]
    if not isinstance(used, str):
        return [f"{_span(*used)} scaled to 0..255"]
    if not extents or len(extents) < eight:
        return []
    low, high = _union(extents)
    advice = f"; dataset.value_range=[{low:.0f},{high:.0f}] scales them to 0..255" if high > low else ""
    return [f"values {_span(low, high)} of 255: nearly black{advice}"]


def _describe_scaling(deep: list[ValueExtent], configured: ValueRange, used: ValueRange) -> str:
    """Describes how deep images (more than 8 bits) were scaled to 8 bits."""
    top = " of 65,535" if all(values.kind == SIXTEEN_BITS for values in deep) else ""
    has = f"values {_span(*_union(deep))}{top}"
    if not isinstance(used, str):
        advice = " (dataset.value_range=full scales the full range)" if configured == AUTO else ""
        return f"{has}: {_span(*used)} scaled to 0..255{advice}"
    better = infer_range(deep)
    if better is None or isinstance(better, str):
        return "scaled to 8"
    return f"scaled to 8: {has}, few shades are left; dataset.value_range={format_override(better)} keeps more"


def _union(extents: list[ValueExtent]) -> tuple[float, float]:
    return min(values.low for values in extents), max(values.high for values in extents)


def _span(low: float, high: float) -> str:
    return f"{format_number(low)} to {format_number(high)}"
