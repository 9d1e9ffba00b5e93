"""Reads `.npz` and `.npy` files that a user gives. Python objects in them are never loaded."""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor

from gan_cli.errors import UsageError, describe_reason, first_few, one_line
from gan_cli.storage.run_files import open_to_read

MOST_BYTES = 1 << 30  # of one array
MOST_ROWS = 1_000_000
SINGLE = "array"  # the name of the array of an npy file
# Arrays of files that gan-cli writes: none of them is taken for another one.
OWN_NAMES = frozenset(["z", "w", "images", "points", "conditions", "psnr", "z_directions", "w_directions", "names"])
READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


class ArrayFile(NamedTuple):
    """Arrays by name, and the sha256 of the bytes of all of them."""

    arrays: dict[str, np.ndarray]
    sha256: str


def read_array_file(key: str, path: str, names: Collection[str], about: Collection[str] = ()) -> ArrayFile:
    """Returns the arrays called `names`, and those called `about`, in the file that the option `key` names.

    An array of an npy file is called SINGLE, and so is the only array of an npz file unless its name means something
    else. Raises UsageError if the file cannot be read, holds none of `names`, or holds Python objects.
    """
    typed = f"{key}={one_line(path, 100)}"
    try:
        with open_to_read(Path(path), follow=True) as file:
            in_archive = zipfile.is_zipfile(file)
            contents = _read_npz(typed, file, names, about) if in_archive else {SINGLE: _whole(typed, file)}
    except OSError as error:
        raise UsageError(f"{typed}: {describe_reason(error, Path(path))}") from error
    digest = hashlib.sha256(b"".join(contents[name] for name in sorted(contents)))
    return ArrayFile({name: _parse(typed, content) for name, content in contents.items()}, digest.hexdigest())


def _read_npz(typed: str, file: IO[bytes], names: Collection[str], about: Collection[str]) -> dict[str, bytes]:
    with _readable(typed), zipfile.ZipFile(file) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        chosen = {name: info for name, info in members.items() if name in names}
        others = [name for name in members if name not in about]
        if not chosen and len(others) == 1 and others[0] not in OWN_NAMES:
            chosen = {SINGLE: members[others[0]]}
        if not chosen:
            expected = f"expected an array called {' or '.join(names)}"
            raise UsageError(f"{typed}: {expected}, it has {first_few([*members], 6) or 'none'}")
        chosen |= {name: info for name, info in members.items() if name in about}
        for name, info in chosen.items():
            if info.file_size > MOST_BYTES:
                raise UsageError(f"{typed}: {name} has more than {MOST_BYTES >> 30} GiB")
        return {name: archive.read(info) for name, info in chosen.items()}


def _whole(typed: str, file: IO[bytes]) -> bytes:
    file.seek(0)
    content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise UsageError(f"{typed}: has more than {MOST_BYTES >> 30} GiB")
    return content


def _parse(typed: str, content: bytes) -> np.ndarray:
    """Returns the array of an npy file. Its header is checked before memory is taken for what it promises."""
    stream = io.BytesIO(content)
    with _readable(typed):
        shape, fortran, dtype = READERS[npy.read_magic(stream)](stream)
        if dtype.hasobject:
            raise UsageError(f"{typed}: holds Python objects, which are not loaded; save it as numbers")
        count = math.prod(shape)
        if min(shape, default=0) < 0 or stream.tell() + count * dtype.itemsize > len(content):
            raise UsageError(f"{typed}: is truncated")
        array = np.frombuffer(content, dtype, count, stream.tell())
        return array.reshape(shape, order="F" if fortran else "C")


@contextlib.contextmanager
def _readable(typed: str) -> Iterator[None]:
    """Turns an error of the block into UsageError: zipfile and numpy raise almost anything for a damaged file."""
    try:
        yield
    except (UsageError, MemoryError):
        raise
    except Exception as error:
        raise UsageError(f"{typed}: is no npz or npy file that can be read ({one_line(error, 100)})") from error


def to_float_rows(typed: str, name: str, array: np.ndarray) -> Tensor:
    """Returns numbers as float32 `[N, ...]`. UsageError if they are none, are none at all, or are not finite."""
    if array.dtype.kind not in "fiu" or array.ndim < 1 or 0 in array.shape or len(array) > MOST_ROWS:
        what = f"{array.dtype} {list(array.shape)}"
        raise UsageError(f"{typed}: {name} is {what}, expected numbers, of at most {MOST_ROWS:,} samples")
    with np.errstate(over="ignore"):
        rows = torch.from_numpy(array.astype(np.float32, order="C"))
    if not rows.isfinite().all():
        raise UsageError(f"{typed}: {name} has values that are NaN or infinite, or too large for float32")
    return rows
