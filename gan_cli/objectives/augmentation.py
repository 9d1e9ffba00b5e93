"""Differentiable augmentation of the images that D sees, drawn for each sample separately.

Images are `[N, C, H, W]` in [-1, 1]. The result has the same shape and, as in the papers, is not clamped. All random
numbers are drawn on the CPU, so that they are the same on every device, and as many for images of any shape. If images
have 4 channels, the 4th one is opacity. The policies of colours do not change the opacity; the others treat it like the
other channels.

`color`, `translation` and `cutout` are those of DiffAugment (2006.10738); the others are in `ada_transforms.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gan_cli.device import to_device
from gan_cli.distributed.batch_share import own, whole
from gan_cli.objectives.ada_transforms import (
    brightness,
    contrast,
    flip,
    hue,
    noise,
    rotate_quarters,
    rotation,
    saturation,
    scale,
    scale_and_rotation,
    select_samples,
    split_opacity,
)

Policy = Callable[[Tensor, torch.Generator, float | Tensor], Tensor]


def color(images: Tensor, random: torch.Generator, probability: float | Tensor = 1.0) -> Tensor:
    """Returns images with random brightness, then saturation, then contrast (DiffAugment, 2006.10738).

    Brightness adds a number of U(-0.5, 0.5). Saturation multiplies the distance of each channel from the mean of the
    channels at the pixel by a number of U(0, 2), so it does not change images of one channel. Contrast multiplies the
    distance of each value from the mean of the image by a number of U(0.5, 1.5).
    """
    # With b, s, c the three numbers, g the mean at each pixel and m that of the image, the three steps together are
    # c (s (x - g) + g + b - (m + b)) + m + b = c s x + c (1 - s) g + (1 - c) m + b: one pass over the image.
    numbers = own(torch.rand(3, whole(len(images)), 1, 1, 1, generator=random), dim=1)
    drawn = to_device(numbers, images.device).to(images.dtype)
    selected = select_samples(images, random, probability)[:, None, None, None]
    brightness = torch.where(selected, drawn[0] - 0.5, 0)
    saturation = torch.where(selected, drawn[1] * 2, 1)
    contrast = torch.where(selected, drawn[2] + 0.5, 1)
    colors, opacity = split_opacity(images)
    grey = colors.mean(1, keepdim=True)
    offset = contrast * (1 - saturation) * grey + ((1 - contrast) * grey.mean((2, 3), keepdim=True) + brightness)
    changed = torch.addcmul(offset, colors, contrast * saturation)
    return changed if opacity is None else torch.cat((changed, opacity), dim=1)


def translation(images: Tensor, random: torch.Generator, probability: float | Tensor = 1.0) -> Tensor:
    """Returns images shifted by up to 1/8 of each side, rounded half up (DiffAugment, 2006.10738).

    All whole numbers of pixels are equally likely. Pixels from outside the image are 0, the middle of [-1, 1].
    """
    selected = select_samples(images, random, probability)[:, None]
    rows, columns = (torch.where(selected, source, here) for here, source in _shifted_positions(images, random))
    height, width = images.shape[2:]
    within_rows, within_columns = (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
    moved = _gather_pixels(images, rows.clamp(0, height - 1), columns.clamp(0, width - 1))
    return moved.masked_fill(~_rectangle(within_rows, within_columns), 0)


def cutout(images: Tensor, random: torch.Generator, probability: float | Tensor = 1.0) -> Tensor:
    """Returns images in which one random rectangle is set to 0 (DiffAugment, 2006.10738).

    Each of its sides is half the side of the image, rounded half up. Its centre may be at any position of the image, so
    a part of it may be outside, as in the authors' code.
    """
    selected = select_samples(images, random, probability)[:, None]
    rows, columns = (_random_span(side, images, random) for side in images.shape[2:])
    return images.masked_fill(_rectangle(rows & selected, columns), 0)


POLICIES: dict[str, Policy] = {
    "flip": flip,
    "color": color,
    "translation": translation,
    "scale": scale,
    "rotation": rotation,
    "brightness": brightness,
    "contrast": contrast,
    "hue": hue,
    "saturation": saturation,
    "noise": noise,
    "cutout": cutout,
    "turn": rotate_quarters,
}
PRESETS = {  # ADA's transforms of pixels, geometry and colour, without those of frequencies, noise and cutout
    "ada": ("flip", "turn", "translation", "scale", "rotation", "brightness", "contrast", "hue", "saturation")
}
OF_COLOURS = ("color", "brightness", "contrast", "hue", "saturation", "noise")


def augment(
    images: Tensor,
    policies: Sequence[str],
    random: torch.Generator,
    probability: float | Tensor = 1.0,
    *,
    masks: bool = False,
) -> Tensor:
    """Applies the named policies, or those of presets, to images, in the order of POLICIES.

    Each policy changes each sample with the given probability (a number or a tensor `[]`), as in ADA (2006.06676). A
    sample that no policy changes is returned bit for bit. With `masks`, colours stay, and the rest changes as it does
    for images with an equal `random`; its values are rounded to 0 or 1. Raises ValueError if a policy is unknown.
    """
    names = {each for name in policies for each in PRESETS.get(name, (name,))}
    chosen = {name: POLICIES[name] for name in sorted(names, key=list(POLICIES).index)}
    if {"scale", "rotation"} <= names:  # resampling once blurs less than twice
        chosen["scale"] = scale_and_rotation
        del chosen["rotation"]
    for name, policy in chosen.items():
        changed = policy(images, random, probability)
        if not masks:
            images = changed
        elif name not in OF_COLOURS:
            images = changed.round()
    return images


def flip_and_shift(images: Tensor, random: torch.Generator) -> Tensor:
    """Returns randomly mirrored and shifted images: T(x) of consistency regularization (2002.04724).

    Half of them are mirrored left to right. All are shifted by up to 1/8 of each side (4 of 32 pixels), rounded half
    up. Pixels from outside the image are those of its reflection at the border, as in StudioGAN's bCR.
    """
    flipped = to_device(own(torch.rand(whole(len(images)), 1, generator=random)) < 0.5, images.device)
    rows, columns = (  # reflected at the outermost pixels
        len(here) - 1 - (len(here) - 1 - source.abs()).abs() for here, source in _shifted_positions(images, random)
    )
    return _gather_pixels(images, rows, torch.where(flipped, images.shape[3] - 1 - columns, columns))


@torch.no_grad()
def next_ada_probability(
    p: float | Tensor, real_sign_mean: float | Tensor, *, target: float, batch: int, interval: int, ramp_images: float
) -> Tensor:
    """Returns ADA's next augmentation probability p as a tensor `[]` in [0, 1] (2006.06676).

    The next p is p + sign(r - target) * batch * interval / ramp_images, clamped to [0, 1]. r is `real_sign_mean`, the
    mean of sign(D(x)) over the real samples x of the last `interval` batches. It is near 1 if D overfits. p can rise
    from 0 to 1 in `ramp_images` real images. The paper uses target 0.6, interval 4 and 500,000 images.
    """
    direction = torch.sign(torch.as_tensor(real_sign_mean) - target)
    return (p + direction * (batch * interval / ramp_images)).clamp(0, 1)


def _shifted_positions(images: Tensor, random: torch.Generator) -> list[tuple[Tensor, Tensor]]:
    """Draws one shift for each image and side. Returns a pair for rows and a pair for columns.

    Each pair holds the positions of the pixels `[side]`, and the positions `[N, side]` from which the shifted images
    take these pixels, which may be outside the image.
    """
    pairs = []
    for side in images.shape[2:]:
        limit = (side + 4) // 8
        drawn = own(torch.randint(-limit, limit + 1, (whole(len(images)), 1), generator=random))
        shift = to_device(drawn, images.device)
        position = torch.arange(side, device=images.device)
        pairs.append((position, position - shift))
    return pairs


def _random_span(side: int, images: Tensor, random: torch.Generator) -> Tensor:
    """Returns bool `[N, side]`. For each image, True in a span of half the side with a random centre."""
    length = (side + 1) // 2
    # The middle of an even length lies between two pixels, so there is one more position for it.
    drawn = own(torch.randint(0, side + 1 - length % 2, (whole(len(images)), 1), generator=random))
    middle = to_device(drawn, images.device)
    offset = torch.arange(side, device=images.device) - (middle - length // 2)
    return (offset >= 0) & (offset < length)


def _rectangle(rows: Tensor, columns: Tensor) -> Tensor:
    """Returns bool `[N, 1, H, W]`, True where `rows` `[N, H]` and `columns` `[N, W]` are both True."""
    return rows[:, None, :, None] & columns[:, None, None, :]


def _gather_pixels(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Returns images whose pixels are taken from the given `rows` `[N, H]` and `columns` `[N, W]` of each image."""
    positions = (rows[:, :, None] * images.shape[3] + columns[:, None, :]).flatten(1)
    return images.flatten(2).gather(2, positions[:, None].expand(-1, images.shape[1], -1)).view_as(images)
