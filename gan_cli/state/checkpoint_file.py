"""Reads a `.safetensors` file from any source: checks its size, its checksum and the layout of its tensors."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from torch import Tensor

from gan_cli.errors import CheckpointError, one_line
from gan_cli.state.train_state import Layout
from gan_cli.storage.checksummed_file import (
    MAX_HEADER_BYTES,
    ChecksummedFileError,
    decode_checksummed,
    parse_metadata,
)
from gan_cli.storage.run_files import open_to_read

MOST_BYTES = 16 << 30
READ_AT_ONCE = 64 << 20  # bytes; of a larger file the size is checked before it is read


def read_checkpoint_file(
    path: Path, layout_of: Callable[[dict[str, Any]], Layout]
) -> tuple[dict[str, Tensor], dict[str, Any], str]:
    """Reads and verifies a `.safetensors` file. Returns its tensors, its metadata and its sha256.

    `layout_of` takes metadata that are not verified and returns the layout of the tensors. A large file must have their
    size, which is checked first: a sparse file takes no room on a disk, but would fill the memory. Raises
    CheckpointError for another suffix, or if the file is unreadable, damaged or too large.
    """
    if path.suffix != ".safetensors" and path.exists():
        raise CheckpointError(f"{path}: expected a .safetensors file written by gan-train; .pt and .pkl can run code")
    try:
        if not path.is_file():
            raise CheckpointError(f"{path}: " + ("not a regular file" if path.exists() else "no such checkpoint"))
        with open_to_read(path, follow=True) as file:
            _check_size(path, file, layout_of)
            return decode_checksummed(file.read())
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    except ChecksummedFileError as error:
        raise CheckpointError(f"{path}: {one_line(error, 200)}") from error


def _check_size(path: Path, file: IO[bytes], layout_of: Callable[[dict[str, Any]], Layout]) -> None:
    """Raises CheckpointError if a large file has more bytes than its tensors need. Leaves `file` at its start."""
    size = os.fstat(file.fileno()).st_size
    if size > MOST_BYTES:
        raise CheckpointError(f"{path}: larger than {MOST_BYTES >> 30} GiB, not one that gan-train wrote")
    if size > READ_AT_ONCE:
        start = file.read(8 + MAX_HEADER_BYTES)
        needed = sum(math.prod(shape) * dtype.itemsize for shape, dtype in layout_of(parse_metadata(start)).values())
        if size > needed + len(start):
            raise CheckpointError(f"{path}: has {size:,} bytes, its config describes {needed:,} bytes of tensors")
        file.seek(0)


def check_layout(path: Path, tensors: dict[str, Tensor], layout: Layout) -> None:
    """Raises CheckpointError unless names, shapes and dtypes are those of the layout, and all values are finite."""
    if tensors.keys() != layout.keys():
        odd = sorted(tensors.keys() ^ layout.keys())
        raise CheckpointError(
            f"{path}: does not fit its config; {len(odd)} tensors too many or missing, such as {one_line(odd[0], 100)}"
        )
    for name, (shape, dtype) in layout.items():
        found = tensors[name]
        if tuple(found.shape) != shape or found.dtype != dtype:
            raise CheckpointError(
                f"{path}: {name} is {found.dtype} {tuple(found.shape)}, by its config it would be {dtype} {shape}"
            )
        if found.is_floating_point() and not found.isfinite().all():
            raise CheckpointError(f"{path}: {name} holds values that are not finite")
