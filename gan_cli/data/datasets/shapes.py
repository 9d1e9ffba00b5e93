"""Pictures of shapes, drawn from signed distances: images whose modes are known, and no bytes to fetch."""

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
    """`size` uint8 images `[image_channels, *image_size]`, white or coloured on black.

    Labels number the modes: kind, style and, with three channels, colour. Modes are equally frequent up to one image.
    Two channels draw the shape in the first and its mirror image in the second.
    """
    colours = COLOURS if image_channels == 3 else ("",)
    classes = tuple(
        " ".join(filter(None, (colour, style, kind))) for kind in KINDS for style in STYLES for colour in colours
    )
    labels = torch.arange(size) % len(classes)
    place = torch.rand(size, 3, generator=generator_for(SEEDS[split], "shapes"))
    chunks = [
        _draw(part, spots, image_channels, image_size)
        for part, spots in zip(labels.split(CHUNK), place.split(CHUNK), strict=True)
    ]
    return Dataset(samples=torch.cat(chunks), labels=labels, classes=classes, source="drawn by gan-cli")


def _draw(labels: Tensor, place: Tensor, channels: int, image_size: tuple[int, int]) -> Tensor:
    colours = len(COLOURS) if channels == 3 else 1
    kind, style, colour = labels // (colours * 2), labels // colours % 2, labels % colours
    radius = (0.35 + 0.25 * place[:, 0]).view(-1, 1, 1)  # the shorter side spans -1 to 1
    side = min(image_size)
    vertical, horizontal = ((torch.arange(pixels) - pixels / 2 + 0.5) * (2 / side) for pixels in image_size)
    y, x = torch.meshgrid(vertical, horizontal, indexing="ij")
    x = x - 0.3 * (2 * place[:, 1] - 1).view(-1, 1, 1)
    y = y - 0.3 * (2 * place[:, 2] - 1).view(-1, 1, 1)
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
    """Pointing up; `y` grows downwards."""
    return torch.maximum(0.866 * x.abs() - 0.5 * y - 0.5 * radius, y - 0.6 * radius)


def _cross(x: Tensor, y: Tensor, radius: Tensor) -> Tensor:
    arm = 0.35 * radius
    upright = torch.maximum(x.abs() - arm, y.abs() - radius)
    across = torch.maximum(x.abs() - radius, y.abs() - arm)
    return torch.minimum(upright, across)
