"""Synthetic images of simple shapes, drawn from signed distances. The modes are known; no download is needed."""

from __future__ import annotations

import torch
from torch import Tensor

from gan_cli.data.dataset import SEEDS, Dataset
from gan_cli.randomness import generator_for

KINDS = ("circle", "square", "triangle", "cross")
STYLES = ("filled", "outlined")
COLOURS = ("red", "green", "blue")
CHUNK = 1000


def build_shapes(*, size: int, image_channels: int, image_size: tuple[int, int], split: str) -> Dataset:
    """Returns uint8 images `[size, image_channels, *image_size]` of shapes, white or coloured on black.

    A label is the index of a mode, a combination of kind, style and (with three channels) colour; all are about equally
    frequent. With other channels, the first holds the shape and all others hold its mirror image.
    """
    colours = COLOURS if image_channels == 3 else ("",)
    classes = tuple(
        " ".join(filter(None, (colour, style, kind))) for kind in KINDS for style in STYLES for colour in colours
    )
    labels = torch.arange(size) % len(classes)
    random = torch.rand(size, 3, generator=generator_for(SEEDS[split], "shapes"))
    chunks = zip(labels.split(CHUNK), random.split(CHUNK), strict=True)
    samples = torch.cat([_draw(part, values, image_channels, image_size) for part, values in chunks])
    return Dataset(samples=samples, labels=labels, classes=classes, source="drawn by gan-cli")


def _draw(labels: Tensor, random: Tensor, channels: int, image_size: tuple[int, int]) -> Tensor:
    """Draws classes, uint8 `[N, channels, *image_size]`. `random` in [0, 1), `[N, 3]`, sets radius, x and y."""
    colours = len(COLOURS) if channels == 3 else 1
    kind, style, colour = labels // (colours * 2), labels // colours % 2, labels % colours
    radius = (0.35 + 0.25 * random[:, 0]).view(-1, 1, 1)  # the shorter side of the image spans -1 to 1
    side = min(image_size)
    vertical, horizontal = ((torch.arange(pixels) - pixels / 2 + 0.5) * (2 / side) for pixels in image_size)
    y, x = torch.meshgrid(vertical, horizontal, indexing="ij")
    x = x - 0.3 * (2 * random[:, 1] - 1).view(-1, 1, 1)
    y = y - 0.3 * (2 * random[:, 2] - 1).view(-1, 1, 1)
    distance = torch.stack([draw(x, y, radius) for draw in (_circle, _square, _triangle, _cross)])
    distance = distance[kind, torch.arange(len(labels))]
    outline = (style == 1).view(-1, 1, 1)
    distance = torch.where(outline, distance.abs() - 0.08, distance)
    ink = (0.5 - distance * side / 2).clamp(0, 1)  # one pixel of soft edge
    image = torch.zeros(len(labels), channels, *image_size)
    if channels == 3:
        image[torch.arange(len(labels)), colour] = ink
    else:
        image[:, 0] = ink
        image[:, 1:] = ink.flip(-1).unsqueeze(1)
    return image.mul(255).round().to(torch.uint8)


def _circle(x: Tensor, y: Tensor, radius: Tensor) -> Tensor:
    return (x.square() + y.square()).sqrt() - radius


def _square(x: Tensor, y: Tensor, radius: Tensor) -> Tensor:
    return torch.maximum(x.abs(), y.abs()) - 0.85 * radius


def _triangle(x: Tensor, y: Tensor, radius: Tensor) -> Tensor:
    """Returns the signed distance to a triangle that points up. `y` grows downwards."""
    return torch.maximum(0.866 * x.abs() - 0.5 * y - 0.5 * radius, y - 0.6 * radius)


def _cross(x: Tensor, y: Tensor, radius: Tensor) -> Tensor:
    arm = 0.35 * radius
    upright = torch.maximum(x.abs() - arm, y.abs() - radius)
    across = torch.maximum(x.abs() - radius, y.abs() - arm)
    return torch.minimum(upright, across)
