"""The table of style mixing: images that take some layers' styles from one seed and the others from another.

It is figure 3 of Karras et al., 1812.04948. Each row is a seed, whose image is in the first column; each column is a
seed, whose image is in the first row. The image between has the styles of the row, but for the chosen layers, whose
styles are those of the column.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from gan_cli.config.commands import SampleConfig
from gan_cli.data.dataset import to_uint8
from gan_cli.data.labels import RequestedCondition, distribute_evenly
from gan_cli.errors import UsageError, count_noun
from gan_cli.images import grid
from gan_cli.models.generate import run_in_batches
from gan_cli.models.styles import StyleGenerator
from gan_cli.sampling.given_latents import Synthesis
from gan_cli.sampling.load_generator import LoadedGenerator, require_finite
from gan_cli.sampling.planned_samples import plan_seeds
from gan_cli.sampling.requested_samples import MAX_IN_GRID, listed_seeds

DEFAULT_ROWS, DEFAULT_COLUMNS = "0-3", "4-9"
PARTS = ("coarse", "middle", "fine")


class MixedSamples(NamedTuple):
    """The table, the seeds of rows and columns with their classes, and the fields of the JSON file."""

    image: Image.Image
    seeds: Sequence[int]
    requested: Sequence[RequestedCondition]
    sidecar_fields: dict[str, Any]


def mix_styles(
    config: SampleConfig, generator: LoadedGenerator, requested: Sequence[RequestedCondition]
) -> MixedSamples:
    """Draws the table. Raises UsageError for a generator without styles, and if there are no such layers."""
    if not isinstance(generator.network, StyleGenerator):
        raise UsageError(
            "format=mix: this generator has no styles to mix; format=interpolate shows the way from seed to seed"
        )
    rows = listed_seeds("rows", config.rows or DEFAULT_ROWS)
    columns = listed_seeds("columns", config.columns or DEFAULT_COLUMNS)
    if len(columns) >= grid.MAX_COLUMNS:
        many = count_noun(len(columns), "column")
        raise UsageError(f"columns={config.columns}: {many}, at most {grid.MAX_COLUMNS - 1} are allowed")
    if (len(rows) + 1) * (len(columns) + 1) > MAX_IN_GRID:
        most = MAX_IN_GRID // (len(columns) + 1) - 1
        raise UsageError(f"rows={config.rows}: {count_noun(len(rows), 'row')}, at most {most:,} with so many columns")
    chosen = layers_between(generator.network.sides, config.layers)
    seeds = [*rows, *columns]
    classes = [*distribute_evenly(requested, len(rows)), *distribute_evenly(requested, len(columns))]
    planned = plan_seeds(config, generator, classes, seeds)
    styles = torch.cat(list(planned.styles(generator, config.batch_size)))
    of_rows, of_columns = styles.split([len(rows), len(columns)])
    table = torch.cat([styles, mixed_styles(of_rows, of_columns, chosen).flatten(0, 1)])
    batches = run_in_batches(Synthesis(generator.network), table, None, config.batch_size)
    samples = torch.cat([to_uint8(require_finite(generator, samples)) for samples in batches])
    row_images, column_images, mixed = samples.split([len(rows), len(columns), len(rows) * len(columns)])
    tiles = [torch.zeros_like(samples[:1]), column_images]
    for image, line in zip(row_images, mixed.split(len(columns)), strict=True):
        tiles += [image[None], line]
    drawn = grid.draw_grid(torch.cat(tiles), [len(columns) + 1] * (len(rows) + 1), square=False)
    sides = sorted({generator.network.sides[layer] for layer in chosen})
    fields = {"rows": rows, "columns": columns, "layers": chosen, "sides": sides}
    return MixedSamples(drawn, seeds, classes, fields)


def mixed_styles(of_rows: Tensor, of_columns: Tensor, layers: Sequence[int]) -> Tensor:
    """Returns styles `[R, C, L, D]`: those of rows `[R, L, D]`, in `layers` those of columns `[C, L, D]`."""
    mixed = of_rows[:, None].repeat(1, len(of_columns), 1, 1)
    mixed[:, :, list(layers)] = of_columns[None][:, :, list(layers)]
    return mixed


def layers_between(sides: Sequence[int], text: str | None) -> list[int]:
    """Returns the numbers of the layers that the option `layers` names, for layers whose maps have these sides.

    With the nine sides from 4 to 1,024, coarse are 4 and 8, middle are 16 and 32, and fine are the others, as in
    1812.04948. With fewer than six sides, coarse is the first and middle the second. `4-8` names sides. Raises
    UsageError if no layer is named.
    """
    levels, text = sorted(set(sides)), text or "coarse"
    if text in PARTS:
        count = min(2, max(1, len(levels) // 3))
        borders = {"coarse": (0, count), "middle": (count, 2 * count), "fine": (2 * count, len(levels))}[text]
        chosen = levels[slice(*borders)]
    else:
        first, _, last = text.partition("-")
        chosen = [side for side in levels if int(first) <= side <= int(last or first)]
    if not chosen:
        raise UsageError(f"layers={text}: no layer has such maps, whose sides are {', '.join(map(str, levels))}")
    return [number for number, side in enumerate(sides) if side in chosen]
