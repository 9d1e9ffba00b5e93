"""Checks a file of tensors before its content is used: its name and size, and the layout and values of its tensors."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from gan_cli.errors import CheckpointError, one_line

MOST_BYTES = 16 << 30


def read_checkpoint_bytes(path: Path) -> bytes:
    """Reads a `.safetensors` file. Raises CheckpointError for another suffix, or if it is unreadable or too large."""
    if path.suffix != ".safetensors" and path.exists():
        raise CheckpointError(f"{path}: expected a .safetensors file written by gan-train; .pt and .pkl can run code")
    try:
        if not path.is_file():
            raise CheckpointError(f"{path}: " + ("not a regular file" if path.exists() else "no such checkpoint"))
        if path.stat().st_size > MOST_BYTES:
            raise CheckpointError(f"{path}: larger than {MOST_BYTES >> 30} GiB, not one that gan-train wrote")
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error


def check_layout(
    path: Path, tensors: dict[str, Tensor], layout: dict[str, tuple[tuple[int, ...], torch.dtype]]
) -> None:
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
