"""Samples as one image: grids of images and scatter plots of points."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from gan_cli.data.datasets.points import Modes
from gan_cli.images.animation import remove_opacity
from gan_cli.storage.atomic_write import replacing

GAP = 2  # pixels between the images of a grid
MAX_COLUMNS = 32
MIN_TILE_SIDE = 56  # pixels; smaller images are enlarged by whole factors
PLOT_SIDE = 512
TITLE_HEIGHT = 24  # pixels above a block of pairs
REAL_COLOUR, FAKE_COLOUR = (209, 73, 91), (24, 90, 157)


def save_images(batches: Iterable[Tensor], names: Iterable[str], folder: Path) -> None:
    """Creates the folder and writes each image of batches uint8 `[N, C, H, W]` to a file in it, as they come."""
    folder.mkdir()
    for image, name in zip(itertools.chain.from_iterable(batches), names, strict=True):
        draw_image(image).save(folder / name)


def draw_grid_or_scatter(samples: Tensor, modes: Modes | None, rows: Sequence[int] = ()) -> Image.Image:
    """Draws uint8 images `[N, C, H, W]` as by `draw_grid`, or points `[N, 2]`, with their real modes if known."""
    if samples.ndim > 2:
        return draw_grid(samples, rows)
    return draw_scatter(samples, modes or Modes(torch.empty(0, 2), 0.0, samples.abs().max().item()))


def draw_grid(images: Tensor, rows: Sequence[int] = (), *, square: bool = True) -> Image.Image:
    """Draws uint8 images `[N, C, H, W]` as a grid, row by row.

    `rows` is the number of images in each row; a row of more than `MAX_COLUMNS` continues in the next line. With fewer
    than two rows the grid is as square as possible, unless `square` is False.
    """
    count, _, height, width = images.shape
    in_rows = len(rows) > 1 or not square
    columns = min(max(rows), MAX_COLUMNS) if in_rows else math.ceil(math.sqrt(count))
    positions = _tile_positions(rows if in_rows else [count], columns)
    factor = max(1, MIN_TILE_SIDE // max(height, width))
    pixels = _displayable(images).repeat_interleave(factor, 1).repeat_interleave(factor, 2)
    tile_height, tile_width = height * factor + GAP, width * factor + GAP
    sheet = torch.zeros(
        (positions[-1][0] + 1) * tile_height + GAP, columns * tile_width + GAP, pixels.shape[-1], dtype=torch.uint8
    )
    for (line, column), image in zip(positions, pixels, strict=True):
        top, left = GAP + line * tile_height, GAP + column * tile_width
        sheet[top : top + height * factor, left : left + width * factor] = image
    return Image.fromarray(sheet.squeeze(-1).numpy())


def draw_pairs(blocks: Sequence[tuple[str, Tensor, Tensor]], columns: int = 16) -> Image.Image:
    """Draws blocks `(title, above, below)` of uint8 `[N, C, H, W]`: each image of `above` over its pair in `below`."""
    grids = []
    for _, above, below in blocks:
        rows = [part for pair in zip(above.split(columns), below.split(columns), strict=True) for part in pair]
        grids.append(remove_opacity(draw_grid(torch.cat(rows), list(map(len, rows)))))
    width = max(480, *(grid.width for grid in grids))
    page = Image.new("RGB", (width, sum(grid.height + TITLE_HEIGHT for grid in grids)), "white")
    draw, top = ImageDraw.Draw(page), 0
    for (title, _, _), grid in zip(blocks, grids, strict=True):
        draw.text((4, top + 4), title, fill="black", font_size=13)
        page.paste(grid, (0, top + TITLE_HEIGHT))
        top += TITLE_HEIGHT + grid.height
    return page


def _tile_positions(rows: Sequence[int], columns: int) -> list[tuple[int, int]]:
    """Returns `(line, column)` of each image; every row begins a new line."""
    positions, line = [], 0
    for length in rows:
        positions += [(line + index // columns, index % columns) for index in range(length)]
        line += math.ceil(length / columns)
    return positions


def draw_image(image: Tensor) -> Image.Image:
    """Returns one uint8 image `[C, H, W]` as a PIL image of the same size."""
    return Image.fromarray(_displayable(image.unsqueeze(0))[0].squeeze(-1).numpy())


def _displayable(images: Tensor) -> Tensor:
    """Converts `[N, C, H, W]` to `[N, H, W, 1, 3 or 4]`: 2 channels become red and green, 5 or more the first 3."""
    channels = images.shape[1]
    if channels == 2:
        images = torch.cat([images, torch.zeros_like(images[:, :1])], 1)
    return images[:, : 3 if channels > 4 else 4].permute(0, 2, 3, 1).contiguous()


def draw_scatter(points: Tensor, modes: Modes) -> Image.Image:
    """Draws points `[N, 2]` in blue, and a red circle of three standard deviations around each real mode."""
    extent = 1.3 * modes.extent
    side = 2 * PLOT_SIDE  # drawn twice as large and shrunk, for soft edges
    image = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(image, "RGBA")

    def circle(x: float, y: float, radius: float, **style: object) -> None:
        column, row = (0.5 + 0.5 * x / extent) * side, (0.5 - 0.5 * y / extent) * side
        draw.ellipse((column - radius, row - radius, column + radius, row + radius), **style)  # type: ignore[arg-type]

    for x, y in modes.centres.tolist():
        circle(x, y, max(14.0, 3 * modes.std * 0.5 * side / extent), outline=REAL_COLOUR, width=3)
    for x, y in points.clamp(-extent, extent).tolist():
        circle(x, y, 4, fill=(*FAKE_COLOUR, 90))
    return image.resize((PLOT_SIDE, PLOT_SIDE), Image.Resampling.LANCZOS)


def save_png(image: Image.Image, path: Path) -> None:
    """Writes a PNG, so that readers never see an incomplete file."""
    with replacing(path) as temporary:
        image.save(temporary, format="PNG", optimize=False)
