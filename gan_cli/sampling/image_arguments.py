"""Checks the arguments `images` and `masks` of `gan_cli.api.sample`, which describes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from gan_cli.errors import UsageError, one_line

Images = Tensor | np.ndarray


def image_tensors(images: Images, masks: Images | None, count: int, channels: int) -> tuple[Tensor, Tensor | None]:
    """Returns float32 images `[count, channels, H, W]` and masks `[count, 1, H, W]`, which may be None.

    Raises UsageError if a shape or a value is wrong.
    """
    image, mask = _as_tensor("images", images), None if masks is None else _as_tensor("masks", masks)
    for key, tensor, expected in (("images", image, channels), ("masks", mask, 1)):
        if tensor is not None and (tensor.ndim != 4 or len(tensor) not in (1, count) or tensor.shape[1] != expected):
            shape = f"[{count}, {expected}, H, W], or one for all seeds"
            raise UsageError(f"{key}: expected a tensor {shape}, not {list(tensor.shape)}")
    if mask is not None and mask.shape[2:] != image.shape[2:]:
        raise UsageError(f"masks: expected the sides of images, {list(image.shape[2:])}, not {list(mask.shape[2:])}")
    if not image.is_floating_point() or not bool((image.abs() <= 1).all()):
        raise UsageError("images: expected float values in [-1, 1], without NaN")
    if mask is not None and (not bool(((mask == 0) | (mask == 1)).all()) or not bool(mask.any())):
        raise UsageError("masks: expected zeros and ones, with a 1 where the generator paints")
    image = image.float().expand(count, -1, -1, -1)
    return image, None if mask is None else mask.float().expand(count, -1, -1, -1)


def _as_tensor(key: str, values: Any) -> Tensor:
    """Returns a tensor, or a copy of a NumPy array or of nested lists as one. `key` is the argument.

    Raises UsageError for anything else.
    """
    if isinstance(values, Tensor):
        return values
    try:
        return torch.from_numpy(np.array(values))
    except (TypeError, ValueError, RuntimeError) as error:
        kind, reason = type(values).__name__, one_line(error, 80)
        raise UsageError(f"{key}: expected a tensor or an array of numbers, not {kind} ({reason})") from None
