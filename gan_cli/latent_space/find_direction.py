"""The command `gan-direction`: writes directions in the latent space of a generator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gan_cli.config.commands import DirectionConfig
from gan_cli.data.labels import all_classes_requested, distribute_evenly
from gan_cli.device import build_device, limit_threads
from gan_cli.errors import UsageError, count_noun, one_line
from gan_cli.latent_space.label_direction import TESTED, find_class, mean_difference, measure_success
from gan_cli.latent_space.latent_variables import W_PLUS, LatentSpace, Z, find_space
from gan_cli.latent_space.projection import draw_samples
from gan_cli.latent_space.sefa import weight_directions
from gan_cli.models.styles import StyleGenerator
from gan_cli.sampling.directions import NAMES, W_DIRECTIONS, Z_DIRECTIONS
from gan_cli.sampling.given_latents import origin_arrays
from gan_cli.sampling.load_generator import LoadedGenerator, default_folder, load_generator
from gan_cli.sampling.requested_samples import file_name_part
from gan_cli.sampling.style_mixing import layers_between
from gan_cli.storage.output_file import check_overwrite, claim_unused, keep_as, output_file, output_folder
from gan_cli.storage.run_folder import write_json

SEFA, LABEL = "sefa", "label:"
DEFAULT_DIRECTIONS = 10


class _Found(NamedTuple):
    """Directions `[K, D]`, or `[K, L, D]` in styles of some layers, their names, and the fields of the JSON file.

    They are one standard deviation of the latents long.
    """

    values: Tensor
    names: list[str]
    sidecar_fields: dict[str, Any]


def find_direction(config: DirectionConfig) -> int:
    """Writes an npz file with directions, and a JSON file next to it. Returns the exit code 0.

    Raises UsageError if an option is wrong or does not fit the checkpoint.
    """
    assert config.ckpt is not None  # `check_named_files` has seen to it
    by = config.by
    if by is None:
        raise UsageError("by is missing: by=sefa, or by=label:NAME with a class of the run's data")
    if by != SEFA and config.n is not None:
        raise UsageError(f"n={config.n}: is the number of directions of by=sefa, by=label finds one; leave it out")
    named = output_file(config.out, ".npz", "gan-direction")
    check_overwrite(named, [] if named is None else [named.with_suffix(".json")], config.overwrite)
    device = build_device(config.device)
    limit_threads()
    generator = load_generator(config.ckpt, ema=config.ema, device=device)
    if generator.has_image_input:
        raise UsageError("this generator makes images from images, not from latents alone")
    space = find_space(generator, "auto")
    layers = _layers(config, generator)
    folder = named.parent if named else Path(config.out) if config.out else default_folder(generator.path, "directions")
    with output_folder(folder) as temporary:
        if by == SEFA:
            found = _by_weights(config, space, layers)
        else:
            found = _by_label(config, space, layers, by.removeprefix(LABEL))
        part, sidecar = temporary / "part.npz", temporary / "sidecar.json"
        name = Z_DIRECTIONS if space.name == Z else W_DIRECTIONS
        arrays: dict[str, Any] = {name: found.values.numpy(), NAMES: np.array(found.names)}
        np.savez(part, **arrays | origin_arrays(generator))
        write_json(sidecar, _describe(config, space, layers, found))
        if named is None:
            stem = f"{generator.path.stem}_{file_name_part(by.replace(':', '_'))}"
            target = claim_unused(part, folder, stem, ".npz", sidecar)
        else:
            target = named
            keep_as(part, named, (sidecar, named.with_suffix(".json")), overwrite=config.overwrite)
    print(target)
    return 0


def _layers(config: DirectionConfig, generator: LoadedGenerator) -> list[int] | None:
    """Returns the numbers of the layers whose styles are moved, None for all. UsageError if they do not exist."""
    if config.layers is None:
        return None
    if not isinstance(generator.network, StyleGenerator):
        raise UsageError(f"layers={config.layers}: are of generators with styles, this one has none; leave it out")
    return layers_between(generator.network.sides, config.layers)


def _by_weights(config: DirectionConfig, space: LatentSpace, layers: Sequence[int] | None) -> _Found:
    """Finds directions by the weights; each is one standard deviation of the latents along it long."""
    count = config.n or min(DEFAULT_DIRECTIONS, space.mean().shape[-1])
    units = weight_directions(space.generator, count, layers)
    latents = None if space.name == Z else _latents(config, space, None)
    directions = _in_layers(space, _scaled(space, units, latents), layers)
    return _Found(directions, [f"sefa_{number}" for number in range(count)], {})


def _in_layers(space: LatentSpace, directions: Tensor, layers: Sequence[int] | None) -> Tensor:
    """Returns directions `[K, D]`, or `[K, L, D]` that are 0 in all but these layers."""
    if layers is None:
        return directions
    spread = torch.zeros(len(directions), *find_space(space.generator, W_PLUS).mean().shape)
    spread[:, list(layers)] = directions[:, None]
    return spread


def _by_label(config: DirectionConfig, space: LatentSpace, layers: Sequence[int] | None, name: str) -> _Found:
    """Finds the direction of a class, and prints how often it leads there."""
    generator = space.generator
    if generator.classes and space.name == Z:
        raise UsageError(
            f"by=label:{one_line(name, 60)}: this generator is given the class, and its latents are independent of it;"
            f" use gan-sample label={one_line(name, 60)}, or by=sefa"
        )
    found = find_class(generator, name)
    labels = _labels(config, generator, range(config.seed, config.seed + config.samples))
    latents = _latents(config, space, labels)
    has_class = found.applies(found.predictions(draw_samples(space, latents, labels, config.batch_size)))
    print(f"{found.name}: {int(has_class.sum()):,} of {count_noun(config.samples, 'sample')}", flush=True)
    unit = mean_difference(latents.flatten(1), has_class, found.name)
    tested = space if layers is None else find_space(generator, W_PLUS)
    direction = _in_layers(space, _scaled(space, unit[None], latents), layers)
    others = range(config.seed + config.samples, config.seed + config.samples + TESTED)
    results = measure_success(
        tested, found, direction[0], others, _labels(config, generator, others), config.batch_size
    )
    for result in results:
        print(result.describe(found.name), flush=True)
    fields = {
        "accuracy": found.classifier.accuracy,
        "with_class": int(has_class.sum()),
        "success": [result._asdict() for result in results],
        "tested": TESTED,
    }
    return _Found(direction, [found.name], fields)


def _labels(config: DirectionConfig, generator: LoadedGenerator, seeds: range) -> Tensor | None:
    """Returns labels of all classes, evenly, for a conditional generator."""
    rows = distribute_evenly(all_classes_requested(generator.classes), len(seeds))
    return generator.encode(rows, seeds) if rows else None


def _latents(config: DirectionConfig, space: LatentSpace, labels: Tensor | None) -> Tensor:
    """Returns the latents of the samples from which directions are found."""
    seeds = range(config.seed, config.seed + config.samples)
    if labels is None:
        labels = _labels(config, space.generator, seeds)
    return space.of_seeds(seeds, labels, config.batch_size)


def _scaled(space: LatentSpace, units: Tensor, latents: Tensor | None) -> Tensor:
    """Returns unit vectors `[K, D]` times the standard deviation of latents along each.

    It is that of the distribution of z, or that of styles `[N, 1, D]`.
    """
    if space.name == Z or latents is None:
        return units * space.deviation(torch.empty(0))
    return units * (latents.flatten(1) @ units.T).std(0).unsqueeze(1)


def _describe(
    config: DirectionConfig, space: LatentSpace, layers: Sequence[int] | None, found: _Found
) -> dict[str, Any]:
    generator = space.generator
    return {
        "checkpoint": str(generator.path.absolute()),
        "sha256": generator.sha256,
        "step": generator.step,
        "ema": generator.ema,
        "gan_cli": generator.card.gan_cli,
        "by": config.by,
        "space": space.name,
        "layers": layers,
        "names": found.names,
        "samples": config.samples,
        "seed": config.seed,
        **found.sidecar_fields,
    }
