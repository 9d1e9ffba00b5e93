"""Differentiable augmentation of the images that D sees, drawn for each sample separately.

Images are `[N, C, H, W]` in [-1, 1]. The result has the same shape and, as in the papers, is not clamped. All random
numbers are drawn on the CPU, so that they are the same on every device. A 4th channel is opacity: `color` does not
change it, the other policies treat it like the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Policy = Callable[[Tensor, torch.Generator, float | Tensor], Tensor]


def color(images: Tensor, random: torch.Generator, probability: float | Tensor = 1.0) -> Tensor:
    """DiffAugment's brightness, then saturation, then contrast (2006.10738) of images `[N, C, H, W]` in [-1, 1].

    Brightness U(-0.5, 0.5) is added. Saturation U(0, 2) scales about the mean of the channels at each pixel, so it does
    not change images of one channel. Contrast U(0.5, 1.5) scales about the mean of the image. The result may leave
    [-1, 1].
    """
    # With b, s, c the three numbers, g the mean at each pixel and m that of the image, the three steps together are
    # c (s (x - g) + g + b - (m + b)) + m + b = c s x + c (1 - s) g + (1 - c) m + b: one pass over the image.
    drawn = torch.rand(3, len(images), 1, 1, 1, generator=random).to(images)
    selected = _select(images, random, probability)[:, None, None, None]
    brightness = torch.where(selected, drawn[0] - 0.5, 0)
    saturation = torch.where(selected, drawn[1] * 2, 1)
    contrast = torch.where(selected, drawn[2] + 0.5, 1)
    colors, opacity = images.split((3, 1), dim=1) if images.shape[1] == 4 else (images, None)
    grey = colors.mean(1, keepdim=True)
    offset = contrast * (1 - saturation) * grey + ((1 - contrast) * grey.mean((2, 3), keepdim=True) + brightness)
    changed = torch.addcmul(offset, colors, contrast * saturation)
    return changed if opacity is None else torch.cat((changed, opacity), dim=1)


def translation(images: Tensor, random: torch.Generator, probability: float | Tensor = 1.0) -> Tensor:
    """DiffAugment's shift (2006.10738) of images `[N, C, H, W]` by up to 1/8 of each side, rounded half up.

    Every whole number of pixels is equally likely. The pixels that enter at the border are 0, the middle of [-1, 1].
    """
    selected = _select(images, random, probability)[:, None]
    rows, columns = (torch.where(selected, source, here) for here, source in _shifted_positions(images, random))
    height, width = images.shape[2:]
    within_rows, within_columns = (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
    moved = _gather_pixels(images, rows.clamp(0, height - 1), columns.clamp(0, width - 1))
    return moved.masked_fill(~_rectangle(within_rows, within_columns), 0)


def cutout(images: Tensor, random: torch.Generator, probability: float | Tensor = 1.0) -> Tensor:
    """DiffAugment's cutout (2006.10738) of images `[N, C, H, W]`: a rectangle of half of each side is set to 0.

    The sides of the rectangle are rounded half up. Its middle is anywhere in the image; as in the authors' code, up to
    half of it may lie outside.
    """
    selected = _select(images, random, probability)[:, None]
    rows, columns = (_random_span(side, images, random) for side in images.shape[2:])
    return images.masked_fill(_rectangle(rows & selected, columns), 0)


def rotation(images: Tensor, random: torch.Generator, probability: float | Tensor = 1.0) -> Tensor:
    """ADA's rotation (2006.06676) of images `[N, C, H, W]` by 0, 90, 180 or 270 degrees, all equally likely.

    Images that are not square are rotated by 0 or 180 degrees, which keeps their shape.
    """
    selected = _select(images, random, probability)
    quarters = torch.randint(4, (len(images),), generator=random).to(images.device)
    square = images.shape[2] == images.shape[3]
    quarters = torch.where(selected, quarters if square else quarters // 2 * 2, 0)[:, None, None, None]
    if square:
        images = torch.where(quarters % 2 == 1, images.mT, images)
    images = torch.where((quarters == 1) | (quarters == 2), images.flip(2), images)
    return torch.where(quarters >= 2, images.flip(3), images)


POLICIES: dict[str, Policy] = {"color": color, "translation": translation, "cutout": cutout, "turn": rotation}


def augment(
    images: Tensor, policies: Sequence[str], random: torch.Generator, probability: float | Tensor = 1.0
) -> Tensor:
    """Applies the named POLICIES to images `[N, C, H, W]` in [-1, 1], always in the table's order (2006.10738).

    Each policy changes each sample with the given probability (a number or a tensor `[]`), as in ADA (2006.06676);
    samples that it does not change are returned bit for bit. ValueError for an unknown policy.
    """
    for name in sorted(set(policies), key=list(POLICIES).index):
        images = POLICIES[name](images, random, probability)
    return images


def flip_and_shift(images: Tensor, random: torch.Generator) -> Tensor:
    """The transformation T(x) of balanced consistency regularization (2002.04724) for images `[N, C, H, W]`.

    Each image is mirrored left to right with probability 1/2, then shifted by up to 1/8 of each side (4 pixels of 32),
    rounded half up. The pixels that enter are the image reflected at its border, as in StudioGAN's bCR.
    """
    flipped = (torch.rand(len(images), 1, generator=random) < 0.5).to(images.device)
    rows, columns = (_reflect(source, len(here)) for here, source in _shifted_positions(images, random))
    return _gather_pixels(images, rows, torch.where(flipped, images.shape[3] - 1 - columns, columns))


@torch.no_grad()
def next_ada_probability(
    p: float | Tensor, real_sign_mean: float | Tensor, *, target: float, batch: int, interval: int, ramp_images: float
) -> Tensor:
    """Returns ADA's next p, `[]` in [0, 1]: p + sign(r - target) batch interval / ramp_images, clamped (2006.06676).

    r = `real_sign_mean` is E[sign(D(x))] over the real x of the last `interval` batches, in [-1, 1]; it is near 1 if D
    overfits. `ramp_images` is the number of real images in which p can go from 0 to 1. The paper uses target 0.6,
    interval 4 and 500,000 images.
    """
    direction = torch.sign(torch.as_tensor(real_sign_mean) - target)
    return (p + direction * (batch * interval / ramp_images)).clamp(0, 1)


def _select(images: Tensor, random: torch.Generator, probability: float | Tensor) -> Tensor:
    """Returns which samples to change, bool `[N]`. Compares in float32: in half precision a draw could round to 1."""
    return torch.rand(len(images), generator=random).to(images.device) < probability


def _shifted_positions(images: Tensor, random: torch.Generator) -> list[tuple[Tensor, Tensor]]:
    """Draws shifts; returns, for rows and for columns, each pixel's position `[side]` and its source `[N, side]`.

    A source may lie outside of the image.
    """
    pairs = []
    for side in images.shape[2:]:
        limit = (side + 4) // 8
        shift = torch.randint(-limit, limit + 1, (len(images), 1), generator=random).to(images.device)
        position = torch.arange(side, device=images.device)
        pairs.append((position, position - shift))
    return pairs


def _random_span(side: int, images: Tensor, random: torch.Generator) -> Tensor:
    """Returns bool `[N, side]`, True within a span of half the side around a random middle."""
    length = (side + 1) // 2
    # The middle of an even length lies between two pixels, so there is one more position for it.
    middle = torch.randint(0, side + 1 - length % 2, (len(images), 1), generator=random).to(images.device)
    offset = torch.arange(side, device=images.device) - (middle - length // 2)
    return (offset >= 0) & (offset < length)


def _rectangle(rows: Tensor, columns: Tensor) -> Tensor:
    """Returns bool `[N, 1, H, W]`, True where both `rows` `[N, H]` and `columns` `[N, W]` are."""
    return rows[:, None, :, None] & columns[:, None, None, :]


def _reflect(positions: Tensor, side: int) -> Tensor:
    """Reflects positions outside of the image at the outermost pixel; they must be less than a side away."""
    last = side - 1
    return last - (last - positions.abs()).abs()


def _gather_pixels(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Returns, of each image, the pixels at its own `rows` `[N, H]` and `columns` `[N, W]`."""
    positions = (rows[:, :, None] * images.shape[3] + columns[:, None, :]).flatten(1)
    return images.flatten(2).gather(2, positions[:, None].expand(-1, images.shape[1], -1)).view_as(images)
