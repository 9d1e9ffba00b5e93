"""Images in `.npy` and `.npz` arrays: their number and each image. Python objects are never loaded."""

from __future__ import annotations

import io
import math
import threading
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from gan_cli.image_files.formats import BadImageError

if TYPE_CHECKING:
    import numpy as np

HEADER_BYTES = 12_000  # bytes that hold the header
MOST_BYTES = 8 << 30  # of an array that cannot be mapped and is held in memory
MOST_CHANNELS = 4  # a longer axis is not taken for channels
KINDS = "buif"  # numpy kinds: bool, unsigned, integer, float


class Array(NamedTuple):
    """The shape of an array of images. `axes` names each axis: `NHWC` is N images, height, width and channels."""

    shape: tuple[int, ...]
    axes: str

    @property
    def image_count(self) -> int:
        return self.shape[self.axes.index("N")] if "N" in self.axes else 1

    def __str__(self) -> str:
        return f"{self.axes} [{','.join(map(str, self.shape))}]"


class ArrayLocation(NamedTuple):
    """One image of an array."""

    container: Any  # the file or archive member that holds the array
    array: Array
    number: int | None  # the index of the image, or None if the array is a single image


def parse_array_header(start: bytes, size: int) -> Array | None:
    """Returns the shape of an npy of `size` bytes that begins with `start`; None: no images. Raises BadImageError."""
    from numpy.lib import format as npy

    stream = io.BytesIO(start)
    try:
        readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
        shape, _, dtype = readers[npy.read_magic(stream)](stream)
    except Exception as error:  # the parser may raise almost anything on a hostile header
        raise BadImageError("damaged array") from error
    if min(shape, default=0) < 0:
        raise BadImageError("damaged array")
    if dtype.hasobject:
        raise BadImageError("holds Python objects, which are not loaded: save it as numbers")
    if size < stream.tell() + math.prod(shape) * dtype.itemsize:
        raise BadImageError("truncated")
    axes = _axes(shape)
    return None if axes is None or dtype.kind not in KINDS or 0 in shape else Array(shape, axes)


def _axes(shape: tuple[int, ...]) -> str | None:
    """Guesses the axes, preferring channels last to channels first. Returns None if the array cannot be images."""
    if len(shape) == 2:
        return "HW" if min(shape) > 1 else None
    if len(shape) == 3:
        if shape[2] <= MOST_CHANNELS or 2 * shape[2] <= min(shape[:2]) <= max(shape[:2]) < 2 * min(shape[:2]):
            return "HWC"
        return "CHW" if shape[0] in (3, 4) else "NHW"
    if len(shape) == 4:
        return "NHWC" if shape[3] <= MOST_CHANNELS or shape[3] < shape[1] else "NCHW"
    return None


def _image_in(whole: np.ndarray, location: ArrayLocation) -> np.ndarray:
    """Returns a copy of one image, `[H, W]` or `[H, W, C]`, of the array `whole`."""
    image = whole if location.number is None else whole[location.number]
    return (image.transpose(1, 2, 0) if location.array.axes.endswith("CHW") else image).copy()


def image_in_file(path: str, location: ArrayLocation) -> np.ndarray:
    """Returns one image of an npy file, as `_image_in`. Raises BadImageError if the file is damaged."""
    import numpy as np

    try:
        whole = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError):
        raise BadImageError("damaged array") from None
    return _image_in(whole, location)


class ArrayCache:
    """Keeps the latest array in memory, because the images of an array are read one after the other."""

    def __init__(self) -> None:
        self._container: Any = None
        self._array: np.ndarray | None = None
        self._lock = threading.Lock()

    def image(self, location: ArrayLocation, size: int, opened: Callable[[], IO[bytes]]) -> np.ndarray:
        """Returns an image of the array that is cached, or else read from `opened()`. Raises BadImageError."""
        import numpy as np

        if size > MOST_BYTES:
            raise BadImageError(f"larger than {MOST_BYTES >> 30} GiB, unpack it: a separate npy file is memory-mapped")
        with self._lock:
            if self._array is None or self._container != location.container:
                self._array = None
                with opened() as stream:
                    try:
                        self._array = np.lib.format.read_array(stream, allow_pickle=False)
                    except (ValueError, EOFError):
                        raise BadImageError("damaged array") from None
                self._container = location.container
            array = self._array
        return _image_in(array, location)
