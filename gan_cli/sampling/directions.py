"""Samples along directions of latent space: those of seeds or given latents, moved by several strengths."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gan_cli.config.commands import SampleConfig
from gan_cli.data.labels import RequestedCondition
from gan_cli.errors import UsageError, count_noun, one_line
from gan_cli.images.grid import MAX_COLUMNS
from gan_cli.models.styles import StyleGenerator
from gan_cli.sampling.array_file import SINGLE, read_array_file, to_float_rows
from gan_cli.sampling.given_latents import ORIGIN, GivenLatents, layers_of, other_origin, require_one_meaning
from gan_cli.sampling.load_generator import LoadedGenerator
from gan_cli.sampling.planned_samples import PlannedSamples, plan_latents, plan_seeds
from gan_cli.sampling.requested_samples import MAX_IN_GRID, ends_and_steps, expand_seeds, file_name_part

Z_DIRECTIONS, W_DIRECTIONS, NAMES = "z_directions", "w_directions", "names"  # arrays of a file
DEFAULT_STRENGTH = "-3:3:7"
DEFAULT_SEEDS = 4  # of one direction; one seed shows several directions


class Directions(NamedTuple):
    """Directions `[K, D]` in z, or `[K, L or 1, D]` in the styles w, one standard deviation long; and their names."""

    values: Tensor
    names: Sequence[str]
    sha256: str = ""

    @property
    def of_styles(self) -> bool:
        return self.values.ndim == 3


class MovedSamples(NamedTuple):
    """The samples, the seeds that were moved, if any, and the fields of the JSON file."""

    planned: PlannedSamples
    latents: GivenLatents  # those of the samples: for each sample that is moved and direction, all strengths in order
    seeds: Sequence[int]
    sidecar_fields: dict[str, Any]


def read_directions(generator: LoadedGenerator, path: str) -> Directions:
    """Returns the directions in a file of `gan-direction`. UsageError if they are of a generator of another size.

    Prints a warning if they are of another checkpoint, or not of the same of its two generators.
    """
    typed = f"direction={one_line(path, 100)}"
    arrays, sha256 = read_array_file("direction", path, (Z_DIRECTIONS, W_DIRECTIONS, NAMES), ORIGIN)
    other, network = other_origin(generator, arrays), generator.network
    if W_DIRECTIONS in arrays:
        if not isinstance(network, StyleGenerator):
            raise UsageError(f"{typed}: is in the space of styles w, and this generator has none")
        values = to_float_rows(typed, W_DIRECTIONS, arrays[W_DIRECTIONS])
        values = values[:, None] if values.ndim == 2 else values
        fits = values.shape[1] in (1, len(network.sides)) and values.shape[2:] == network.mean_style.shape[-1:]
        expected = f"[K, {layers_of(network)}]"
    elif arrays.keys() - {NAMES}:
        name = next(name for name in arrays if name != NAMES)
        if name == SINGLE:
            meanings = f"{Z_DIRECTIONS} or {W_DIRECTIONS}"
            require_one_meaning(generator, arrays[name], typed, meanings, meanings)
        values = to_float_rows(typed, name, arrays[name])
        values = values[None] if values.ndim == 1 else values
        fits, expected = values.shape[1:] == (generator.latent.dim,), f"[K, {generator.latent.dim}]"
    else:
        raise UsageError(f"{typed}: holds no directions, gan-direction writes such files")
    if not fits:
        raise UsageError(f"{typed}: is {list(values.shape)}, expected {expected}; is it of another generator?")
    if not values.flatten(1).any(1).all():
        raise UsageError(f"{typed}: a direction is 0 everywhere, so that no strength moves a sample")
    names = [str(name) for name in arrays[NAMES].ravel()] if NAMES in arrays else [*map(str, range(len(values)))]
    if len(names) != len(values):
        raise UsageError(f"{typed}: {len(values)} directions and {len(names)} names, expected one for each")
    if other is not None:
        may = "and may change something else in samples of this one; gan-direction finds one for it"
        print(f"warning: {typed}: was found with {other}, {may}", file=sys.stderr)
    return Directions(values, names, sha256)


def strengths_of(text: str | None, format: str = "") -> list[float]:
    """Returns the strengths of the option `strength`: -3:3:7 are seven from -3 to 3.

    UsageError for a single one, and for more than a row of a grid holds.
    """
    first, last, count = ends_and_steps(text or DEFAULT_STRENGTH)
    if format == "grid" and count > MAX_COLUMNS:
        raise UsageError(
            f"strength={text}: a row of a grid has up to {MAX_COLUMNS} steps; give fewer, or see all {count} by"
            " format=interpolate, images or npz"
        )
    return torch.linspace(first, last, count, dtype=torch.float64).tolist()


def move_samples(
    config: SampleConfig,
    generator: LoadedGenerator,
    rows: Sequence[RequestedCondition],
    given: GivenLatents | None,
) -> MovedSamples:
    """Plans each sample, of the given latents or of seeds, moved along each direction by each strength.

    A row of the grid has all strengths. The samples of a conditional generator keep their class.
    """
    assert config.direction is not None
    directions, strengths = read_directions(generator, config.direction), strengths_of(config.strength, config.format)
    named = config.label is not None or config.label_index is not None
    seeds: Sequence[int] = ()
    if given is None:
        seeds = expand_seeds(config, 1 if len(directions.values) > 1 else DEFAULT_SEEDS)
        requested = [rows[number % len(rows)] for number in range(len(seeds))] if rows else []
        base = plan_seeds(config, generator, requested, seeds)
        if base.truncation is not None and not directions.of_styles:
            raise UsageError(
                f"truncation={base.truncation:g}: is of styles w, and this direction is in z, leave it out"
            )
    else:
        base = plan_latents(generator, given, rows, named=named)
    lines = base.total * len(directions.values)
    if lines * len(strengths) > MAX_IN_GRID:
        many = count_noun(lines * len(strengths), "sample")
        raise UsageError(f"direction={config.direction}: {many}, at most {MAX_IN_GRID:,}; give fewer seeds or steps")
    values, labels = _latents_of(generator, base, directions), base.labels(slice(0, base.total))
    steps = torch.tensor(strengths).view(-1, *[1] * (values.ndim - 1))
    moved = torch.cat([start + steps * step for start in values for step in directions.values])
    known = (
        None if labels is None or moved.ndim == 3 else labels.repeat_interleave(lines // base.total * len(strengths), 0)
    )
    latents = GivenLatents(moved, known)

    def name(number: int) -> str:
        line, step = divmod(number, len(strengths))
        sample, which = divmod(line, len(directions.names))
        named_direction = file_name_part(directions.names[which])
        return f"{base.name(sample)}_{which:03d}_{named_direction}_strength_{step:03d}_{strengths[step]:+.2f}"

    planned = plan_latents(generator, latents, (), named=False)
    planned = planned._replace(name=name, rows=[len(strengths)] * lines, square=False, requested=base.requested)
    fields = {"direction": config.direction, "direction_sha256": directions.sha256, "strengths": strengths}
    fields |= {"directions": list(directions.names)} | ({} if given is None else given.describe())
    return MovedSamples(planned, latents, seeds, fields)


def _latents_of(generator: LoadedGenerator, base: PlannedSamples, directions: Directions) -> Tensor:
    """Returns all latents of the samples, in the space of the directions."""
    latents = base.latents(slice(0, base.total))
    if directions.of_styles == (latents.ndim == 3):
        return latents
    if latents.ndim == 3:
        raise UsageError("direction: is in the space of latents z, and the given latents are styles w")
    return torch.cat(list(base.styles(generator, 256)))
