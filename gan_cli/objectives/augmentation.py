"""What D sees of an image: random changes that a gradient passes through, each sample with its own.

Images are `[N, C, H, W]` in [-1, 1]; what comes out has the same shape and, as in the papers, is not clamped. Every
random number is drawn on the CPU, so that every device sees the same ones. A 4th channel is opacity: `color` leaves it
alone, the others treat it like the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Policy = Callable[[Tensor, torch.Generator, float | Tensor], Tensor]


def color(images: Tensor, random: torch.Generator, probability: float | Tensor = 1.0) -> Tensor:
    """DiffAugment's brightness, then saturation, then contrast (2006.10738) of images `[N, C, H, W]` in [-1, 1].

    Brightness is added, U(-0.5, 0.5); saturation U(0, 2) scales about the mean of the channels at each place, and so
    does nothing to one channel; contrast U(0.5, 1.5) scales about the mean of the image. The result may leave [-1, 1].
    """
    # With b, s, c the three numbers, g the mean at each place and m that of the image, the three steps together are
    # c (s (x - g) + g + b - (m + b)) + m + b = c s x + c (1 - s) g + (1 - c) m + b: one pass over the image.
    drawn = torch.rand(3, len(images), 1, 1, 1, generator=random).to(images)
    chosen = _chosen(images, random, probability)[:, None, None, None]
    brightness = torch.where(chosen, drawn[0] - 0.5, 0)
    saturation = torch.where(chosen, drawn[1] * 2, 1)
    contrast = torch.where(chosen, drawn[2] + 0.5, 1)
    colors, opacity = images.split((3, 1), dim=1) if images.shape[1] == 4 else (images, None)
    grey = colors.mean(1, keepdim=True)
    offset = contrast * (1 - saturation) * grey + ((1 - contrast) * grey.mean((2, 3), keepdim=True) + brightness)
    changed = torch.addcmul(offset, colors, contrast * saturation)
    return changed if opacity is None else torch.cat((changed, opacity), dim=1)


def translation(images: Tensor, random: torch.Generator, probability: float | Tensor = 1.0) -> Tensor:
    """DiffAugment's shift (2006.10738) of images `[N, C, H, W]` by up to 1/8 of each side, rounded half up.

    Every whole number of pixels is equally likely. What comes in at the border is 0, the middle of [-1, 1].
    """
    chosen = _chosen(images, random, probability)[:, None]
    rows, columns = (torch.where(chosen, places, place) for place, places in _shifted_places(images, random))
    height, width = images.shape[2:]
    within_rows, within_columns = (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
    moved = _pick(images, rows.clamp(0, height - 1), columns.clamp(0, width - 1))
    return moved.masked_fill(~_rectangle(within_rows, within_columns), 0)


def cutout(images: Tensor, random: torch.Generator, probability: float | Tensor = 1.0) -> Tensor:
    """DiffAugment's hole (2006.10738) in images `[N, C, H, W]`: half of each side, rounded half up, set to 0.

    Its middle is anywhere in the image, so that, as in the authors' code, the border may cut off up to half of it.
    """
    chosen = _chosen(images, random, probability)[:, None]
    rows, columns = (_span(side, images, random) for side in images.shape[2:])
    return images.masked_fill(_rectangle(rows & chosen, columns), 0)


def turn(images: Tensor, random: torch.Generator, probability: float | Tensor = 1.0) -> Tensor:
    """Images `[N, C, H, W]` turned by 0, 1, 2 or 3 quarters, each as likely (ADA's rotation by 90 degrees, 2006.06676).

    Those that are not square are turned by none or by half, which keeps their shape.
    """
    chosen = _chosen(images, random, probability)
    quarters = torch.randint(4, (len(images),), generator=random).to(images.device)
    square = images.shape[2] == images.shape[3]
    quarters = torch.where(chosen, quarters if square else quarters // 2 * 2, 0)[:, None, None, None]
    if square:
        images = torch.where(quarters % 2 == 1, images.mT, images)
    images = torch.where((quarters == 1) | (quarters == 2), images.flip(2), images)
    return torch.where(quarters >= 2, images.flip(3), images)


POLICIES: dict[str, Policy] = {"color": color, "translation": translation, "cutout": cutout, "turn": turn}


def augment(
    images: Tensor, policies: Sequence[str], random: torch.Generator, probability: float | Tensor = 1.0
) -> Tensor:
    """Images `[N, C, H, W]` in [-1, 1] after the named POLICIES, in the table's order whatever theirs (2006.10738).

    Each sample meets each policy with the given probability (a number or a tensor `[]`), as ADA wants it (2006.06676);
    samples that a policy passes by come out of it bit for bit. A ValueError names a policy that there is not.
    """
    for name in sorted(set(policies), key=list(POLICIES).index):
        images = POLICIES[name](images, random, probability)
    return images


def flip_and_shift(images: Tensor, random: torch.Generator) -> Tensor:
    """The T(x) of balanced consistency regularization (2002.04724) for images `[N, C, H, W]`.

    Each is mirrored left to right with probability 1/2, then shifted by up to 1/8 of each side (4 pixels of 32),
    rounded half up. What comes in is the image reflected at its border, as in StudioGAN's bCR.
    """
    flipped = (torch.rand(len(images), 1, generator=random) < 0.5).to(images.device)
    rows, columns = (_reflect(places, len(place)) for place, places in _shifted_places(images, random))
    return _pick(images, rows, torch.where(flipped, images.shape[3] - 1 - columns, columns))


@torch.no_grad()
def adapted_probability(
    p: float | Tensor, real_sign_mean: float | Tensor, *, target: float, batch: int, interval: int, ramp_images: float
) -> Tensor:
    """ADA's next p, `[]` in [0, 1]: p + sign(r - target) batch interval / ramp_images, clamped (2006.06676).

    r = `real_sign_mean` is E[sign(D(x))] over the real x of the last `interval` batches, in [-1, 1]: near 1 where D
    overfits. `ramp_images` real images take p from 0 to 1. The authors: target 0.6, interval 4, 500,000 images.
    """
    direction = torch.sign(torch.as_tensor(real_sign_mean) - target)
    return (p + direction * (batch * interval / ramp_images)).clamp(0, 1)


def _chosen(images: Tensor, random: torch.Generator, probability: float | Tensor) -> Tensor:
    """bool `[N]`. Compared in float32: in half precision a draw could round up to 1."""
    return torch.rand(len(images), generator=random).to(images.device) < probability


def _shifted_places(images: Tensor, random: torch.Generator) -> list[tuple[Tensor, Tensor]]:
    """For rows and for columns, `[side]` and `[N, side]`: each pixel's place and, beyond the border too, its source."""
    pairs = []
    for side in images.shape[2:]:
        most = (side + 4) // 8
        shift = torch.randint(-most, most + 1, (len(images), 1), generator=random).to(images.device)
        place = torch.arange(side, device=images.device)
        pairs.append((place, place - shift))
    return pairs


def _span(side: int, images: Tensor, random: torch.Generator) -> Tensor:
    """bool `[N, side]`, true in a stretch of half the side around a random middle."""
    length = (side + 1) // 2
    # An even length has its middle between two pixels: one place more.
    middle = torch.randint(0, side + 1 - length % 2, (len(images), 1), generator=random).to(images.device)
    offset = torch.arange(side, device=images.device) - (middle - length // 2)
    return (offset >= 0) & (offset < length)


def _rectangle(rows: Tensor, columns: Tensor) -> Tensor:
    """bool `[N, 1, H, W]` of `[N, H]` and `[N, W]`."""
    return rows[:, None, :, None] & columns[:, None, None, :]


def _reflect(places: Tensor, side: int) -> Tensor:
    """Places less than a side beyond the border, mirrored at the outermost pixel."""
    last = side - 1
    return last - (last - places.abs()).abs()


def _pick(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Of each sample the pixels at its own `rows` `[N, H]` and `columns` `[N, W]`."""
    places = (rows[:, :, None] * images.shape[3] + columns[:, None, :]).flatten(1)
    return images.flatten(2).gather(2, places[:, None].expand(-1, images.shape[1], -1)).view_as(images)
