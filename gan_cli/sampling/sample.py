"""The command `gan-sample`: writes samples of a checkpoint as a grid, single images, arrays or an animation."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from gan_cli.config.commands import ANIMATION_FORMATS, SampleConfig
from gan_cli.config.options.tasks import RESULTS_SHOWN
from gan_cli.data.labels import RequestedCondition, distribute_evenly
from gan_cli.device import build_device, limit_threads
from gan_cli.errors import UsageError, count_noun
from gan_cli.images import grid
from gan_cli.images.animation import Animation, describe_unreadable, write_animation
from gan_cli.models.generate import SAMPLES_PER_CLASS
from gan_cli.sampling import input_samples, interpolation
from gan_cli.sampling.directions import move_samples
from gan_cli.sampling.given_latents import GivenLatents, read_latents
from gan_cli.sampling.load_generator import LoadedGenerator, default_folder, load_generator
from gan_cli.sampling.planned_samples import plan_latents, plan_seeds, write_samples
from gan_cli.sampling.requested_samples import (
    DEFAULT_SAMPLES,
    MAX_IN_GRID,
    check_combination,
    expand_seeds,
    file_name_part,
    requested_rows,
)
from gan_cli.sampling.style_mixing import mix_styles
from gan_cli.storage.output_file import check_overwrite, claim_unused, keep_as, output_file, output_folder
from gan_cli.storage.run_folder import write_json

SUFFIXES = {"grid": ".png", "images": "", "npz": ".npz", "mix": ".png"}
ANIMATION = "an animation, of format=interpolate, walk or progress"
SUFFIX_MEANINGS = {
    ".png": "of format=grid", ".npz": "of format=npz", ".webp": ANIMATION, ".gif": ANIMATION, ".mp4": ANIMATION,
}  # fmt: skip


class _Output(NamedTuple):
    """What is written, and its description in the JSON file."""

    write: Callable[[Path], None]
    total: int
    seeds: Sequence[int] = ()
    requested: Sequence[RequestedCondition] = ()
    sidecar_fields: dict[str, Any] = {}  # noqa: RUF012


def sample(config: SampleConfig) -> int:
    """Writes samples, and a JSON file next to them that says how to generate them again. Returns the exit code 0.

    Raises UsageError if options contradict each other or do not fit the checkpoint.
    """
    assert config.ckpt is not None  # `check_named_files` has seen to it
    ckpt, config = config.ckpt, interpolation.resolve_frames_format(config)
    check_combination(config)
    expand_seeds(config, DEFAULT_SAMPLES)
    suffix = SUFFIXES[config.format] if config.format in SUFFIXES else interpolation.animation_suffix(config)
    interpolation.check_animation_options(config)
    named = output_file(config.out, suffix, f"format={config.format}", SUFFIX_MEANINGS)
    check_overwrite(named, [] if named is None else [named.with_suffix(".json")], config.overwrite)
    device = build_device(config.device)
    limit_threads()
    generator = load_generator(ckpt, ema=config.ema, device=device)
    output = _plan(config, generator)
    folder, stem = _default_name(config, generator, output.seeds) if named is None else (named.parent, "")
    with output_folder(folder) as temporary:
        part, sidecar = temporary / f"part{suffix}", temporary / "sidecar.json"
        output.write(part)
        _write_sidecar(config, generator, output, sidecar)
        if named is None:
            target = claim_unused(part, folder, stem, suffix, sidecar)
        else:
            target = named
            keep_as(part, named, (sidecar, named.with_suffix(".json")), overwrite=config.overwrite)
    print(target)
    return 0


def _plan(config: SampleConfig, generator: LoadedGenerator) -> _Output:
    """Plans what is written. Raises UsageError if the options do not fit the generator."""
    rows = requested_rows(config, generator)
    if config.format == "images" and len(generator.sample_shape) == 1:
        raise UsageError("format=images: this checkpoint makes points, use grid or npz")
    input_samples.check_options(config, generator)
    if config.format == "mix":
        image, seeds, requested, fields = mix_styles(config, generator, rows)
        return _Output(partial(grid.save_png, image), len(seeds), seeds, requested, fields)
    given = None if config.latents is None else read_latents(generator, config.latents)
    if config.direction is not None:
        return _plan_direction(config, generator, rows, given)
    if config.format in ANIMATION_FORMATS:
        return _plan_animation(config, generator, rows, given)
    if given is not None:
        if config.format == "grid" and len(given.values) > MAX_IN_GRID:
            many = count_noun(len(given.values), "latent")
            raise UsageError(
                f"latents={config.latents}: {many}, a grid holds up to {MAX_IN_GRID:,}; use format=images or npz"
            )
        named = config.label is not None or config.label_index is not None
        planned = plan_latents(generator, given, rows, named=named)
        write = partial(write_samples, config, generator, planned)
        return _Output(write, planned.total, requested=planned.requested, sidecar_fields=given.describe())
    if generator.has_image_input:
        return _plan_inputs(config, generator, rows)
    seeds = expand_seeds(config, SAMPLES_PER_CLASS * len(rows) if len(rows) > 1 else DEFAULT_SAMPLES)
    requested = distribute_evenly(rows, len(seeds))
    planned = plan_seeds(config, generator, requested, seeds)
    return _Output(partial(write_samples, config, generator, planned), len(seeds), seeds, requested)


def _plan_animation(
    config: SampleConfig, generator: LoadedGenerator, rows: Sequence[RequestedCondition], given: GivenLatents | None
) -> _Output:
    listed = () if config.seeds is None else expand_seeds(config, DEFAULT_SAMPLES)
    animation, seeds, shown, fields = interpolation.plan_animation(config, generator, rows, listed, given)
    fields |= {} if given is None else given.describe()
    count = len(seeds) if given is None else len(given.values)
    return _Output(partial(_write_animation, animation), count, seeds, shown, fields)


def _write_animation(animation: Animation, part: Path) -> None:
    write_animation(animation, part)
    if left_out := describe_unreadable(animation):
        print(f"warning: {left_out}", file=sys.stderr)


def _plan_direction(
    config: SampleConfig, generator: LoadedGenerator, rows: Sequence[RequestedCondition], given: GivenLatents | None
) -> _Output:
    """Plans samples along the directions; an animation shows all of them side by side, from strength to strength."""
    moved = move_samples(config, generator, rows, given)
    write, fields = partial(write_samples, config, generator, moved.planned), moved.sidecar_fields
    if config.format in ANIMATION_FORMATS:
        tiles = len(moved.planned.rows)
        animation, _, _, more = interpolation.plan_animation(config, generator, (), (), moved.latents, tiles)
        write, fields = partial(_write_animation, animation), fields | more
    return _Output(write, moved.planned.total, moved.seeds, moved.planned.requested, fields)


def _plan_inputs(config: SampleConfig, generator: LoadedGenerator, rows: Sequence[RequestedCondition]) -> _Output:
    """Plans the results of each input: as many as rows, if the user requested classes."""
    given = input_samples.given_images(config, generator)
    classes = 0 if config.label is None and config.label_index is None else len(rows)
    expanded = expand_seeds(config, max(RESULTS_SHOWN, classes))
    seeds = input_samples.seeds_of_each(config, generator, expanded, classes)
    fields = {"input": config.input, "mask": config.mask, "inputs": input_samples.describe(given)}
    write = partial(input_samples.write, config, generator, given, rows, seeds)
    own_classes = given[0].condition.labels is not None  # those of the data
    return _Output(write, len(seeds), seeds, () if own_classes else rows[: len(seeds)], fields)


def _default_name(config: SampleConfig, generator: LoadedGenerator, seeds: Sequence[int]) -> tuple[Path, str]:
    """Returns the folder and the name without suffix of the file to write, if `out` does not name a file."""
    folder = Path(config.out) if config.out else default_folder(generator.path, "generated")
    if config.format == "progress":
        return folder, f"{generator.path.stem}_progress"
    parts = [generator.path.stem]
    if config.format in (*ANIMATION_FORMATS, "mix"):
        parts.append(config.format)
    parts += [file_name_part(Path(path).stem) for path in (config.input, config.latents, config.direction) if path]
    if config.label is not None:
        parts.append(file_name_part(config.label))
    elif config.label_index is not None:
        parts.append(",".join(map(str, config.label_index))[:60])
    if seeds:
        parts.append(_name_of_seeds(seeds))
    if config.truncation is not None:
        parts.append(f"truncation_{config.truncation:g}")
    return folder, "_".join(parts)


def _name_of_seeds(seeds: Sequence[int]) -> str:
    """Returns `seed_7`, `seeds_0-7` or `seeds_0-and-7-more`."""
    if len(seeds) == 1:
        return f"seed_{seeds[0]}"
    return f"seeds_{_range_of(seeds) or f'{seeds[0]}-and-{len(seeds) - 1}-more'}"


def _range_of(seeds: Sequence[int]) -> str | None:
    """Returns `0-7`; None if the seeds are not consecutive."""
    consecutive = list(seeds) == list(range(seeds[0], seeds[0] + len(seeds)))
    return f"{seeds[0]}-{seeds[-1]}" if consecutive else None


def _write_sidecar(config: SampleConfig, generator: LoadedGenerator, output: _Output, path: Path) -> None:
    """Writes the JSON file `path` that describes the samples."""
    seeds = output.seeds
    sidecar = {
        "checkpoint": str(generator.path.absolute()),
        "sha256": generator.sha256,
        "step": generator.step,
        "seeds": (config.seeds or _range_of(seeds) or ",".join(map(str, seeds))) if seeds else None,
        "n": output.total,
        "labels": [row.name for row in dict.fromkeys(output.requested)] or None,
        "classes": list(generator.classes) or None,
        "truncation": config.truncation,
        "ema": generator.ema,
        "format": config.format,
        "gan_cli": generator.card.gan_cli,
        **output.sidecar_fields,
    }
    write_json(path, sidecar)
