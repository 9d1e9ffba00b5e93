"""The transforms of ADA (2006.06676, appendix B) that `augmentation.py` offers by name.

Each changes a sample with the given probability. With a probability below 1, a transform does not leak into the
generated samples: the distribution of the images can be recovered from that of the changed ones, since the unchanged
images remain the most likely ones. Images between pixels are bilinear here, where the paper has a wavelet filter.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gan_cli.device import to_device
from gan_cli.distributed.batch_share import own, whole

SCALE_STD = 0.2  # of the logarithm to base 2, as for contrast and saturation
BRIGHTNESS_STD, CONTRAST_STD, SATURATION_STD = 0.2, 0.5, 1.0
NOISE_STD = 0.1  # of the half-normal distribution of the standard deviation


def select_samples(images: Tensor, random: torch.Generator, probability: float | Tensor) -> Tensor:
    """Returns which samples to change, bool `[N]`. Compares in float32, because half precision could round up to 1."""
    return to_device(own(torch.rand(whole(len(images)), generator=random)), images.device) < probability


def split_opacity(images: Tensor) -> tuple[Tensor, Tensor | None]:
    """Returns the colours of images, and the opacity if they have 4 channels."""
    if images.shape[1] != 4:
        return images, None
    colours, opacity = images.split((3, 1), dim=1)
    return colours, opacity


# --- geometry ----------------------------------------------------------------------------------------------------


def flip(images: Tensor, random: torch.Generator, probability: float | Tensor = 1.0) -> Tensor:
    """Returns images of which half are mirrored left to right."""
    mirrored = to_device(own(torch.rand(whole(len(images)), generator=random)) < 0.5, images.device)
    mirrored = mirrored & select_samples(images, random, probability)
    return torch.where(mirrored[:, None, None, None], images.flip(3), images)


def rotate_quarters(images: Tensor, random: torch.Generator, probability: float | Tensor = 1.0) -> Tensor:
    """Returns images rotated by 0, 90, 180 or 270 degrees, all equally likely.

    Images that are not square are rotated by 0 or 180 degrees, which keeps their shape.
    """
    selected = select_samples(images, random, probability)
    quarters = to_device(own(torch.randint(4, (whole(len(images)),), generator=random)), images.device)
    square = images.shape[2] == images.shape[3]
    quarters = torch.where(selected, quarters if square else quarters // 2 * 2, 0)[:, None, None, None]
    if square:
        images = torch.where(quarters % 2 == 1, images.mT, images)
    images = torch.where((quarters == 1) | (quarters == 2), images.flip(2), images)
    return torch.where(quarters >= 2, images.flip(3), images)


def scale(images: Tensor, random: torch.Generator, probability: float | Tensor = 1.0) -> Tensor:
    """Returns images enlarged about their centre by 2^s, s of N(0, 0.2^2). Outside, they are reflected."""
    return _resample(images, _scale_matrices(images, random, probability))


def rotation(images: Tensor, random: torch.Generator, probability: float | Tensor = 1.0) -> Tensor:
    """Returns images rotated about their centre by any angle, all equally likely. Outside, they are reflected."""
    return _resample(images, _rotation_matrices(images, random, probability))


def scale_and_rotation(images: Tensor, random: torch.Generator, probability: float | Tensor = 1.0) -> Tensor:
    """Returns images that are scaled and rotated, each with the probability, and resampled once."""
    scaled = _scale_matrices(images, random, probability)
    return _resample(images, scaled @ _rotation_matrices(images, random, probability))


def _scale_matrices(images: Tensor, random: torch.Generator, probability: float | Tensor) -> Tensor:
    """Draws matrices `[N, 2, 2]` that map the positions of pixels, from the centre, to those they are taken from."""
    shrunk = torch.exp2(-SCALE_STD * own(torch.randn(whole(len(images)), 1, 1, generator=random)))
    return _where_selected(shrunk * torch.eye(2), images, random, probability)


def _rotation_matrices(images: Tensor, random: torch.Generator, probability: float | Tensor) -> Tensor:
    """Draws matrices like those of `_scale_matrices`."""
    angle = _angles(images, random)
    cosine, sine = angle.cos(), angle.sin()
    matrices = torch.stack((cosine, -sine, sine, cosine), 1).view(-1, 2, 2)
    return _where_selected(matrices, images, random, probability)


def _angles(images: Tensor, random: torch.Generator) -> Tensor:
    return (2 * own(torch.rand(whole(len(images)), generator=random)) - 1) * math.pi


def _where_selected(matrices: Tensor, images: Tensor, random: torch.Generator, probability: float | Tensor) -> Tensor:
    """Returns the matrices `[N, d, d]` on the device of the images; the identity for samples that do not change."""
    selected = select_samples(images, random, probability)[:, None, None]
    identity = torch.eye(matrices.shape[1], device=images.device)
    return torch.where(selected, to_device(matrices, images.device), identity)


def _differ_from_identity(matrices: Tensor) -> Tensor:
    """Returns which of the matrices `[N, d, d]` are not the identity, bool `[N, 1, 1, 1]`."""
    identity = torch.eye(matrices.shape[1], device=matrices.device)
    return (matrices != identity).flatten(1).any(1)[:, None, None, None]


def _resample(images: Tensor, matrices: Tensor) -> Tensor:
    """Returns images `[N, C, H, W]` whose pixels are taken from positions `matrices` `[N, 2, 2]` times their own.

    Positions (row, column) are relative to the centre. Values between pixels are bilinear. Images with the identity are
    returned bit for bit.
    """
    height, width = images.shape[2:]
    rows, columns = (
        torch.arange(side, device=images.device, dtype=torch.float32) - (side - 1) / 2 for side in (height, width)
    )
    positions = torch.stack(torch.meshgrid(rows, columns, indexing="ij")).flatten(1)  # [2, H * W]
    sources = (matrices @ positions).unbind(1)
    (top, bottom, down), (left, right, across) = (
        _neighbours(source, side) for source, side in zip(sources, (height, width), strict=True)
    )
    pixels = images.flatten(2)

    def pixels_at(rows: Tensor, columns: Tensor) -> Tensor:
        return pixels.gather(2, (rows * width + columns)[:, None].expand(-1, images.shape[1], -1))

    down, across = down[:, None].to(images.dtype), across[:, None].to(images.dtype)
    above = torch.lerp(pixels_at(top, left), pixels_at(top, right), across)
    below = torch.lerp(pixels_at(bottom, left), pixels_at(bottom, right), across)
    changed = torch.lerp(above, below, down).view_as(images)
    return torch.where(_differ_from_identity(matrices), changed, images)


def _neighbours(source: Tensor, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the pixels before and after each position, and how far it is between them, 0 to 1.

    `source` are positions from the centre. Those outside the image are reflected at its edges.
    """
    position = (source + side / 2).remainder(2 * side)
    position = (torch.where(position > side, 2 * side - position, position) - 0.5).clamp(0, side - 1)
    before = position.floor()
    after = (before + 1).clamp(max=side - 1)
    return before.long(), after.long(), position - before


# --- colour ------------------------------------------------------------------------------------------------------


def brightness(images: Tensor, random: torch.Generator, probability: float | Tensor = 1.0) -> Tensor:
    """Returns images to whose colours a number of N(0, 0.2^2) is added."""
    return _change_colours(images, random, probability, lambda colours, drawn: colours + BRIGHTNESS_STD * drawn)


def contrast(images: Tensor, random: torch.Generator, probability: float | Tensor = 1.0) -> Tensor:
    """Returns images whose colours are multiplied by 2^c, c of N(0, 0.5^2)."""
    return _change_colours(images, random, probability, lambda colours, drawn: colours * (CONTRAST_STD * drawn).exp2())


def saturation(images: Tensor, random: torch.Generator, probability: float | Tensor = 1.0) -> Tensor:
    """Returns images whose colours' distance from the mean of the channels is multiplied by 2^s, s of N(0, 1).

    This does not change images of one channel.
    """

    def change(colours: Tensor, drawn: Tensor) -> Tensor:
        grey = colours.mean(1, keepdim=True)
        return grey + (colours - grey) * (SATURATION_STD * drawn).exp2()

    return _change_colours(images, random, probability, change)


def _change_colours(
    images: Tensor,
    random: torch.Generator,
    probability: float | Tensor,
    change: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """Returns `change(colours, drawn)`, with one number of N(0, 1) for each sample, and the same opacity."""
    numbers = own(torch.randn(whole(len(images)), 1, 1, 1, generator=random))
    drawn = to_device(numbers, images.device).to(images.dtype)
    selected = select_samples(images, random, probability)[:, None, None, None]
    colours, opacity = split_opacity(images)
    changed = torch.where(selected, change(colours, drawn), colours)
    return changed if opacity is None else torch.cat((changed, opacity), dim=1)


def hue(images: Tensor, random: torch.Generator, probability: float | Tensor = 1.0) -> Tensor:
    """Returns images whose colours are rotated about the grey axis by any angle, all equally likely.

    This changes only images of three colours.
    """
    angle = _angles(images, random)[:, None, None]
    grey = torch.full((3, 3), 1 / 3)  # projection to the axis (1, 1, 1)
    across = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / math.sqrt(3)  # the cross product
    rotated = grey + angle.cos() * (torch.eye(3) - grey) + angle.sin() * across
    matrices = _where_selected(rotated, images, random, probability)
    colours, opacity = split_opacity(images)
    if colours.shape[1] != 3:
        return images
    changed = (matrices.to(images.dtype) @ colours.flatten(2)).view_as(colours)
    changed = torch.where(_differ_from_identity(matrices), changed, colours)
    return changed if opacity is None else torch.cat((changed, opacity), dim=1)


def noise(images: Tensor, random: torch.Generator, probability: float | Tensor = 1.0) -> Tensor:
    """Returns images with Gaussian noise, whose standard deviation is |s|, s of N(0, 0.1^2), for each sample."""
    strength = NOISE_STD * own(torch.randn(whole(len(images)), 1, 1, 1, generator=random)).abs()
    seed = int(torch.randint(2**62, (), generator=random))  # `random` itself draws no images
    colours, opacity = split_opacity(images)
    numbers = own(torch.randn(whole(len(colours)), *colours.shape[1:], generator=torch.Generator().manual_seed(seed)))
    drawn = to_device(strength * numbers, images.device).to(images.dtype)
    selected = select_samples(images, random, probability)[:, None, None, None]
    changed = torch.where(selected, colours + drawn, colours)
    return changed if opacity is None else torch.cat((changed, opacity), dim=1)
