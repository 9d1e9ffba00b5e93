"""Pictures in arrays, `.npy` and `.npz`: how many an array holds, and each of them. No Python object is loaded."""

from __future__ import annotations

import io
import math
import threading
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from gan_cli.image_files.problems import BadPicture

if TYPE_CHECKING:
    import numpy as np

BEGINNING = 12_000  # bytes that a header lies in
MOST_BYTES = 8 << 30  # of an array that is held in memory, since it cannot be read in place
FEW = 4  # channels, up to which an axis is taken for them
KINDS = "buif"  # of numbers: booleans, whole ones, floats


class Array(NamedTuple):
    """What a header says: the shape, and which axis is what: N pictures, H, W, C channels."""

    shape: tuple[int, ...]
    axes: str

    @property
    def pictures(self) -> int:
        return self.shape[self.axes.index("N")] if "N" in self.axes else 1

    def __str__(self) -> str:
        return f"{self.axes} [{','.join(map(str, self.shape))}]"


class ArrayPlace(NamedTuple):
    """One picture of an array: the file or member that holds it, and its number if it holds several."""

    holder: Any
    array: Array
    number: int | None


def described(start: bytes, size: int) -> Array | None:
    """The array of a file of `size` bytes that begins so; None if it holds no pictures.

    BadPicture for one that is damaged or holds objects.
    """
    from numpy.lib import format as npy

    stream = io.BytesIO(start)
    try:
        version = npy.read_magic(stream)
        readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
        if version not in readers:
            raise ValueError("version")
        shape, _, dtype = readers[version](stream)
    except Exception as error:  # a hostile header makes its parser raise almost anything
        raise BadPicture("damaged array") from error
    if any(length < 0 for length in shape):
        raise BadPicture("damaged array")
    if dtype.hasobject:
        raise BadPicture("holds Python objects, which are not loaded: save it as numbers")
    if size < stream.tell() + math.prod(shape) * dtype.itemsize:
        raise BadPicture("truncated")
    axes = _axes(shape)
    return None if axes is None or dtype.kind not in KINDS or 0 in shape else Array(shape, axes)


def _axes(shape: tuple[int, ...]) -> str | None:
    """What the axes are; None if these are no pictures. Channels are few; where either may be, they come last."""
    if len(shape) == 2:
        return "HW" if min(shape) > 1 else None
    if len(shape) == 3:
        if shape[2] <= FEW or 2 * shape[2] <= min(shape[:2]) <= max(shape[:2]) < 2 * min(shape[:2]):
            return "HWC"
        return "CHW" if shape[0] in (3, 4) else "NHW"
    if len(shape) == 4:
        return "NHWC" if shape[3] <= FEW or shape[3] < shape[1] else "NCHW"
    return None


def pixels_of(whole: np.ndarray, place: ArrayPlace) -> np.ndarray:
    """The picture, `[H, W]` or `[H, W, C]`, copied out of its array."""
    axes = place.array.axes
    picture = whole if place.number is None else whole[place.number]
    picture = picture.transpose(1, 2, 0) if axes.endswith("CHW") else picture
    return picture.copy()


def mapped(path: str) -> np.ndarray:
    """The array of a file, which is read where it is."""
    import numpy as np

    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError):
        raise BadPicture("damaged array") from None


class Held:
    """The array that was asked for last, in memory: its pictures are asked for one after the other."""

    def __init__(self) -> None:
        self._key: Any = None
        self._array: np.ndarray | None = None
        self._lock = threading.Lock()

    def get(self, key: Any, size: int, opened: Callable[[], IO[bytes]]) -> np.ndarray:
        import numpy as np

        if size > MOST_BYTES:
            raise BadPicture(f"larger than {MOST_BYTES >> 30} GiB, unpack it: an npy of its own is read in place")
        with self._lock:
            if self._array is None or self._key != key:
                self._array = None
                with opened() as stream:
                    try:
                        self._array = np.lib.format.read_array(stream, allow_pickle=False)
                    except (ValueError, EOFError):
                        raise BadPicture("damaged array") from None
                self._key = key
            return self._array
