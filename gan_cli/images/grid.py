"""Samples as pictures: grids of images, scatter plots of points."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from gan_cli.data.load_dataset import Modes
from gan_cli.images.animation import flat
from gan_cli.storage.links import without_link

GAP = 2  # pixels between the images of a grid
MOST_COLUMNS = 32
SMALLEST_TILE = 56  # smaller images are enlarged by whole factors
PLOT_SIDE = 512
TITLE = 24  # pixels above a block of pairs
REAL_COLOUR, FAKE_COLOUR = (209, 73, 91), (24, 90, 157)


def draw_samples(samples: Tensor, modes: Modes | None, rows: Sequence[int] = ()) -> Image.Image:
    """Images `[N, C, H, W]`, uint8, as a grid; points `[N, 2]`, of which `modes` may be known, as a scatter plot.

    A grid has `rows` of so many images each, or is as square as can be.
    """
    if samples.ndim > 2:
        return draw_grid(samples, rows)
    return draw_scatter(samples, modes or Modes(torch.empty(0, 2), 0.0, samples.abs().max().item()))


def draw_grid(images: Tensor, rows: Sequence[int] = ()) -> Image.Image:
    """uint8 `[N, C, H, W]` row by row, in rows of so many, the longest folded, or in a grid as square as can be."""
    count, _, height, width = images.shape
    columns = min(max(rows), MOST_COLUMNS) if len(rows) > 1 else math.ceil(math.sqrt(count))
    places = _places(rows if len(rows) > 1 else [count], columns)
    factor = max(1, SMALLEST_TILE // max(height, width))
    pixels = _displayable(images).repeat_interleave(factor, 1).repeat_interleave(factor, 2)
    tile_height, tile_width = height * factor + GAP, width * factor + GAP
    sheet = torch.zeros(
        (places[-1][0] + 1) * tile_height + GAP, columns * tile_width + GAP, pixels.shape[-1], dtype=torch.uint8
    )
    for (line, column), image in zip(places, pixels, strict=True):
        top, left = GAP + line * tile_height, GAP + column * tile_width
        sheet[top : top + height * factor, left : left + width * factor] = image
    return image_of(sheet)


def draw_pairs(blocks: Sequence[tuple[str, Tensor, Tensor]], columns: int = 16) -> Image.Image:
    """Of each block its title, and uint8 images `[N, C, H, W]` with a partner below each, `columns` in a line."""
    sheets = []
    for _, above, below in blocks:
        lines = zip(above.split(columns), below.split(columns), strict=True)
        rows = [(part, len(part)) for pair in lines for part in pair]
        sheets.append(flat(draw_grid(torch.cat([part for part, _ in rows]), [length for _, length in rows])))
    width = max(sheet.width for sheet in sheets)
    page = Image.new("RGB", (max(width, 480), sum(sheet.height + TITLE for sheet in sheets)), "white")
    draw, top = ImageDraw.Draw(page), 0
    for (title, _, _), sheet in zip(blocks, sheets, strict=True):
        draw.text((4, top + 4), title, fill="black", font_size=13)
        page.paste(sheet, (0, top + TITLE))
        top += TITLE + sheet.height
    return page


def _places(rows: Sequence[int], columns: int) -> list[tuple[int, int]]:
    """Line and column of each image; a row begins a line of its own."""
    places, line = [], 0
    for length in rows:
        places += [(line + index // columns, index % columns) for index in range(length)]
        line += math.ceil(length / columns)
    return places


def image_of(pixels: Tensor) -> Image.Image:
    """uint8 `[H, W, C]` with 1, 3 or 4 channels."""
    return Image.fromarray(pixels.squeeze(-1).numpy())


def draw_image(image: Tensor) -> Image.Image:
    """One uint8 image `[C, H, W]` at its own size."""
    return image_of(_displayable(image.unsqueeze(0))[0])


def _displayable(images: Tensor) -> Tensor:
    """`[N, C, H, W]` as `[N, H, W, 1, 3 or 4]`: two channels become red and green, of five or more three are shown."""
    channels = images.shape[1]
    if channels == 2:
        images = torch.cat([images, torch.zeros_like(images[:, :1])], 1)
    return images[:, : 3 if channels > 4 else 4].permute(0, 2, 3, 1).contiguous()


def draw_scatter(points: Tensor, modes: Modes) -> Image.Image:
    """Points in blue; a red circle of three standard deviations around each real mode."""
    reach = 1.3 * modes.reach
    side = 2 * PLOT_SIDE  # drawn twice as large and shrunk, for soft edges
    image = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(image, "RGBA")

    def circle(x: float, y: float, radius: float, **style: object) -> None:
        column, row = (0.5 + 0.5 * x / reach) * side, (0.5 - 0.5 * y / reach) * side
        draw.ellipse((column - radius, row - radius, column + radius, row + radius), **style)  # type: ignore[arg-type]

    for x, y in modes.centres.tolist():
        circle(x, y, max(14.0, 3 * modes.std * 0.5 * side / reach), outline=REAL_COLOUR, width=3)
    for x, y in points.clamp(-reach, reach).tolist():
        circle(x, y, 4, fill=(*FAKE_COLOUR, 90))
    return image.resize((PLOT_SIDE, PLOT_SIDE), Image.Resampling.LANCZOS)


def save_picture(image: Image.Image, path: Path) -> None:
    """PNG by a temporary name, so that nobody meets half a picture."""
    temporary = path.with_name(f".{path.name}.tmp")
    image.save(without_link(temporary), format="PNG", optimize=False)
    os.replace(temporary, path)
