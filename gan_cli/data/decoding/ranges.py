"""Which values of pictures become 0 and 255: one range for all pictures of a set, by `dataset.value_range`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from gan_cli.config.options.datasets import AUTO, FULL

ValueRange = str | tuple[float, float]  # auto, full, or from and to
EIGHT, SIXTEEN, MORE, FLOAT = "8 bits", "16 bits", "more than 16 bits", "floats"
FULL_RANGES = {EIGHT: (0.0, 255.0), SIXTEEN: (0.0, 65535.0), MORE: (0.0, 65535.0), FLOAT: (0.0, 1.0)}
NEARLY_BLACK = 31  # of 255


class Values(NamedTuple):
    """The kind of a picture's values, and the least and the highest; of 8 bits they are kept if nearly black."""

    kind: str
    low: float
    high: float


def kind_of(dtype: np.dtype) -> str:
    """The kind of an array's values."""
    if dtype.kind == "f":
        return FLOAT
    if dtype.itemsize == 1 and dtype.kind != "i":
        return EIGHT
    return SIXTEEN if dtype == np.uint16 else MORE


def scaled(values: np.ndarray, kind: str, wanted: ValueRange) -> np.ndarray:
    """The values as uint8: those of the range spread over 0 to 255, those beyond it cut off."""
    if kind == SIXTEEN and isinstance(wanted, str):
        return ((values.astype(np.int32) + 128) // 257).astype(np.uint8)
    if kind == EIGHT and isinstance(wanted, str):
        return values if values.dtype == np.uint8 else values.astype(np.uint8)
    low, high = FULL_RANGES[kind] if isinstance(wanted, str) else wanted
    spread = (values.astype(np.float64) - low) * (255 / (high - low))
    return np.clip(np.rint(spread), 0, 255).astype(np.uint8)


def table(wanted: tuple[float, float]) -> list[int]:
    """What each of 256 values becomes."""
    return scaled(np.arange(256), EIGHT, wanted).tolist()


def of_eight_bits(wanted: ValueRange) -> bool:
    """Whether a range can be about pictures of 8 bits, which have no values above 255."""
    return isinstance(wanted, str) or wanted[1] <= 255


def beyond(values: Values, wanted: ValueRange) -> bool:
    """Whether some of a picture's values are cut off."""
    low, high = FULL_RANGES[values.kind] if isinstance(wanted, str) else wanted
    return values.low < low or values.high > high


def found(seen: Iterable[Values]) -> ValueRange | None:
    """The range of a set with these deep pictures; None if there are none.

    It is the full one if they use half of it or are of several kinds. Values from about 0 get a range from 0 to all
    that so many bits hold, so that 12-bit data have 0 to 4095 whichever of their pictures are read.
    """
    deep = [values for values in seen if values.kind != EIGHT]
    if not deep:
        return None
    floats = {values.kind == FLOAT for values in deep}
    low, high = min(values.low for values in deep), max(values.high for values in deep)
    if len(floats) > 1:
        return FULL
    return _of_floats(low, high) if floats == {True} else _of_whole_numbers(low, high)


def _of_whole_numbers(low: float, high: float) -> ValueRange:
    if low >= 0 and high <= 65535 and (high - low >= 32768 or high == low):
        return FULL
    if low >= 0 and 0 < high <= NEARLY_BLACK:  # numbers of labels
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


# --- what is said ------------------------------------------------------------------------------------------------


def shown(number: float) -> str:
    return f"{number:,.0f}" if float(number).is_integer() else f"{number:.4g}"


def typed(wanted: ValueRange) -> str:
    """As it is written on the command line."""
    if isinstance(wanted, str):
        return wanted
    return "[" + ",".join(f"{value:.0f}" if value.is_integer() else f"{value:g}" for value in wanted) + "]"


def describe(seen: list[Values], asked: ValueRange, used: ValueRange, eight: int) -> list[str]:
    """What is to be said of a set's values: its depths, what became 0 and 255, whether it is nearly black.

    `eight` pictures are of 8 bits; of those only nearly black ones are among `seen`.
    """
    deep = [values for values in seen if values.kind != EIGHT]
    dark = [values for values in seen if values.kind == EIGHT]
    lines = []
    if deep:
        counts = Counter(values.kind for values in deep)
        depths = " and ".join(f"{counts[kind]:,} of {kind}" for kind in (SIXTEEN, MORE, FLOAT) if counts[kind])
        beside = f" beside {eight:,} of 8 bits" if eight else ""
        lines.append(f"{depths}{beside}, {_spread(deep, asked, used)}")
    elif not of_eight_bits(used):
        lines.append(f"all of 8 bits, which dataset.value_range={typed(used)} is not about: left as they are")
    elif not isinstance(used, str):
        lines.append(f"{shown(used[0])} to {shown(used[1])} made 0 to 255")
    elif dark and len(dark) == eight:
        low, high = min(values.low for values in dark), max(values.high for values in dark)
        way = f"; dataset.value_range=[{low:.0f},{high:.0f}] spreads them" if high > low else ""
        lines.append(f"values {shown(low)} to {shown(high)} of 255: nearly black{way}")
    return lines


def _spread(deep: list[Values], asked: ValueRange, used: ValueRange) -> str:
    """How they became 8 bits."""
    low, high = min(values.low for values in deep), max(values.high for values in deep)
    top = f" of {shown(FULL_RANGES[deep[0].kind][1])}" if {values.kind for values in deep} == {SIXTEEN} else ""
    has = f"values {shown(low)} to {shown(high)}{top}"
    if not isinstance(used, str):
        way = " (dataset.value_range=full leaves them as they are)" if asked == AUTO else ""
        return f"{has}: {shown(used[0])} to {shown(used[1])} made 0 to 255{way}"
    better = found(deep)
    if better is None or isinstance(better, str):
        return "scaled to 8"
    return f"scaled to 8: {has}, few shades are left; dataset.value_range={typed(better)} keeps more"
