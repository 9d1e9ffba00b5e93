"""Masks for inpainting: 1 where the generator paints, 0 where the image is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gan_cli.distributed.batch_share import own, whole

Draw = Callable[[int, int, int, torch.Generator], Tensor]  # (count, height, width, random) to bool `[count, H, W]`

BOX_SHARE = (0.25, 0.6)  # the sides of a random box, as shares of the image's sides
STROKES, STROKE_POINTS = 4, 6  # at most so many strokes of so many points
STROKE_WIDTH = (0.06, 0.16)  # as shares of the shorter side


def draw_masks(kinds: Sequence[str], count: int, height: int, width: int, random: torch.Generator) -> Tensor:
    """Returns masks float32 `[count, 1, height, width]`. Each is of one of the `kinds`, drawn at random."""
    total = whole(count)
    drawn = torch.stack([MASKS[kind](total, height, width, random) for kind in kinds])
    chosen = torch.randint(len(kinds), (total,), generator=random)
    return own(drawn[chosen, torch.arange(total)]).unsqueeze(1).float()


def _centre(count: int, height: int, width: int, random: torch.Generator) -> Tensor:
    mask = torch.zeros(count, height, width, dtype=torch.bool)
    mask[:, height // 4 : height - height // 4, width // 4 : width - width // 4] = True
    return mask


def _box(count: int, height: int, width: int, random: torch.Generator) -> Tensor:
    smallest, largest = BOX_SHARE
    spans = []
    for side in (height, width):
        share, offset = torch.rand(2, count, 1, generator=random)
        length = ((smallest + (largest - smallest) * share) * side).round().clamp_min(1)
        first = (offset * (side - length + 1)).floor()
        position = torch.arange(side)
        spans.append((position >= first) & (position < first + length))
    return spans[0][:, :, None] & spans[1][:, None, :]


def _half(count: int, height: int, width: int, random: torch.Generator) -> Tensor:
    """Returns the left, right, upper or lower half."""
    edge = torch.randint(4, (count, 1, 1), generator=random)
    rows, columns = torch.arange(height)[:, None] < height // 2, torch.arange(width)[None, :] < width // 2
    half = torch.where(edge < 2, columns, rows)
    return torch.where(edge % 2 == 0, half, ~half)


def _brush(count: int, height: int, width: int, random: torch.Generator) -> Tensor:
    """Returns strokes: lines between random points, as wide as a brush, with round ends (in the way of 1806.03589)."""
    points = torch.rand(count, STROKES, STROKE_POINTS, 2, generator=random)
    points = points[:, :, :1] + 0.25 * (points - points[:, :, :1]).cumsum(2)  # a walk from the first point
    strokes = torch.randint(1, STROKES + 1, (count, 1), generator=random)
    smallest, largest = STROKE_WIDTH
    radius = 0.5 * (smallest + (largest - smallest) * torch.rand(count, STROKES, generator=random)) * min(height, width)
    pixels = torch.stack(torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij"), 2)
    mask = torch.zeros(count, height, width, dtype=torch.bool)
    scale = torch.tensor([height, width])
    for stroke in range(STROKES):
        for number in range(STROKE_POINTS - 1):
            start, end = (points[:, stroke, each] * scale for each in (number, number + 1))
            near = _distance(pixels, start, end) < radius[:, stroke, None, None]
            mask |= near & (stroke < strokes)[:, :, None]
    return mask


def _distance(pixels: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Returns the distance `[N, H, W]` of pixels `[H, W, 2]` to the line from `start` to `end`, each `[N, 2]`."""
    along = (end - start)[:, None, None]
    offset = pixels - start[:, None, None]
    share = (offset * along).sum(3) / along.square().sum(3).clamp_min(1e-6)
    return (offset - share.clamp(0, 1).unsqueeze(3) * along).norm(dim=3)


MASKS: dict[str, Draw] = {"centre": _centre, "box": _box, "brush": _brush, "half": _half}
