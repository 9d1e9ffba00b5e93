"""The command `gan-sample`: writes samples of a checkpoint as a grid, single images, arrays or an animation."""

from __future__ import annotations

import re
import sys
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gan_cli.config.commands import ANIMATION_FORMATS, SampleConfig
from gan_cli.config.options.tasks import RESULTS_SHOWN
from gan_cli.data.dataset import to_uint8
from gan_cli.data.labels import (
    RequestedCondition,
    all_classes_requested,
    distribute_evenly,
    encode_requested,
    parse_label_indices,
    parse_labels,
)
from gan_cli.device import build_device, limit_threads
from gan_cli.errors import UsageError
from gan_cli.images import grid
from gan_cli.images.animation import describe_unreadable, write_animation
from gan_cli.models.generate import MAX_CLASSES_SHOWN, SAMPLES_PER_CLASS
from gan_cli.sampling import input_samples, interpolation
from gan_cli.sampling.load_generator import LoadedGenerator, default_folder, load_generator, sample_in_batches
from gan_cli.sampling.read_inputs import GivenImage
from gan_cli.storage.output_file import check_overwrite, claim_unused, keep_as, output_file, output_folder
from gan_cli.storage.run_folder import write_json

SUFFIXES = {"grid": ".png", "images": "", "npz": ".npz"}
ANIMATION = "an animation, of format=interpolate, walk or progress"
SUFFIX_MEANINGS = {
    ".png": "of format=grid", ".npz": "of format=npz", ".webp": ANIMATION, ".gif": ANIMATION, ".mp4": ANIMATION,
}  # fmt: skip
MAX_SEEDS = 1_000_000
MAX_IN_GRID = 10_000
DEFAULT_SAMPLES = 64


def sample(config: SampleConfig) -> int:
    """Writes samples, and a JSON file next to them that says how to generate them again. Returns the exit code 0.

    Raises UsageError if options contradict each other or do not fit the checkpoint.
    """
    assert config.ckpt is not None  # `check_named_files` has seen to it
    ckpt, config = config.ckpt, interpolation.resolve_frames_format(config)
    seeds = expand_seeds(config, DEFAULT_SAMPLES)
    suffix = SUFFIXES[config.format] if config.format in SUFFIXES else interpolation.animation_suffix(config)
    interpolation.check_animation_options(config)
    named = output_file(config.out, suffix, f"format={config.format}", SUFFIX_MEANINGS)
    check_overwrite(named, [] if named is None else [named.with_suffix(".json")], config.overwrite)
    device = build_device(config.device)
    limit_threads()
    generator = load_generator(ckpt, ema=config.ema, device=device)
    rows = _requested_rows(config, generator)
    if config.format == "images" and len(generator.sample_shape) == 1:
        raise UsageError("format=images: this checkpoint makes points, use grid or npz")
    animation, sidecar_fields, requested, given = None, dict[str, Any](), rows, list[GivenImage]()
    input_samples.check_options(config, generator)
    if config.format in ANIMATION_FORMATS:
        listed = () if config.seeds is None else seeds
        animation, seeds, sidecar_fields = interpolation.plan_animation(config, generator, rows, listed)
    elif generator.has_image_input:
        given = input_samples.given_images(config, generator)
        seeds = _seeds_of_inputs(config, generator, rows)
        sidecar_fields = {"input": config.input, "mask": config.mask, "inputs": input_samples.describe(given)}
    else:
        seeds = expand_seeds(config, SAMPLES_PER_CLASS * len(rows) if len(rows) > 1 else DEFAULT_SAMPLES)
        requested = distribute_evenly(rows, len(seeds))
    folder, stem = _default_name(config, generator, seeds) if named is None else (named.parent, "")
    with output_folder(folder) as temporary:
        part, sidecar = temporary / f"part{suffix}", temporary / "sidecar.json"
        if animation is not None:
            write_animation(animation, part)
            if left_out := describe_unreadable(animation):
                print(f"warning: {left_out}", file=sys.stderr)
        elif given:
            input_samples.write(config, generator, given, rows, seeds, part)
        else:
            _write(config, generator, requested, seeds, part)
        _write_sidecar(config, generator, requested, seeds, sidecar_fields, sidecar)
        if named is None:
            target = claim_unused(part, folder, stem, suffix, sidecar)
        else:
            target = named
            keep_as(part, named, (sidecar, named.with_suffix(".json")), overwrite=config.overwrite)
    print(target)
    return 0


def _seeds_of_inputs(
    config: SampleConfig, generator: LoadedGenerator, rows: Sequence[RequestedCondition]
) -> Sequence[int]:
    """Returns the seeds of the results of each input: as many as rows, if the user requested classes."""
    classes = 0 if config.label is None and config.label_index is None else len(rows)
    return input_samples.seeds_of_each(config, generator, expand_seeds(config, max(RESULTS_SHOWN, classes)), classes)


def _default_name(config: SampleConfig, generator: LoadedGenerator, seeds: Sequence[int]) -> tuple[Path, str]:
    """Returns the folder and the name without suffix of the file to write, if `out` does not name a file."""
    folder = Path(config.out) if config.out else default_folder(generator.path, "generated")
    if config.format == "progress":
        return folder, f"{generator.path.stem}_progress"
    parts = [generator.path.stem]
    if config.format in ANIMATION_FORMATS:
        parts.append(config.format)
    if config.input is not None:
        parts.append(_file_name_part(Path(config.input).stem))
    if config.label is not None:
        parts.append(_file_name_part(config.label))
    elif config.label_index is not None:
        parts.append(",".join(map(str, config.label_index))[:60])
    consecutive = list(seeds) == list(range(seeds[0], seeds[0] + len(seeds)))
    parts.append(f"seeds_{seeds[0]}-{seeds[-1]}" if consecutive else f"seeds_{seeds[0]}-and-{len(seeds) - 1}-more")
    if config.truncation is not None:
        parts.append(f"truncation_{config.truncation:g}")
    return folder, "_".join(parts)


def _requested_rows(config: SampleConfig, generator: LoadedGenerator) -> list[RequestedCondition]:
    """Returns the classes to generate, one for each row of a grid; empty for an unconditional generator.

    Without `label` and `label_index`, these are all classes, but at most MAX_CLASSES_SHOWN for a grid or an animation.
    """
    classes = generator.classes
    if config.label is not None and config.label_index is not None:
        raise UsageError("label and label_index: each names a class, give one")
    if config.label is None and config.label_index is None:
        shown = config.format in ("grid", *ANIMATION_FORMATS)
        return all_classes_requested(classes, MAX_CLASSES_SHOWN if shown else None)
    if not classes:
        option = "label_index" if config.label is None else f"label={config.label}"
        raise UsageError(
            f"{option}: this checkpoint is unconditional and takes no class; train one with conditioning=projection,"
            " or leave it out"
        )
    if config.label is not None:
        return parse_labels(classes, config.label)
    return parse_label_indices(classes, config.label_index or ())


def expand_seeds(config: SampleConfig, count: int) -> Sequence[int]:
    """Returns the seeds listed in the option `seeds`, for example 0-7,12.

    If `seeds` is not set, returns `n` seeds starting at `seed`; if `n` is not set either, returns `count` seeds. Raises
    UsageError if `seeds` and `n` are both set, if a range goes backwards, or if there are too many seeds.
    """
    if config.seeds is not None and config.n is not None:
        raise UsageError(f"n={config.n} and seeds={config.seeds}: each says how many samples, give one")
    seeds: Sequence[int] = range(config.seed, config.seed + (config.n or count))
    if config.seeds is not None:
        seeds = _listed_seeds(config.seeds)
    if config.format == "grid" and len(seeds) > MAX_IN_GRID:
        raise UsageError(f"n={len(seeds)}: a grid holds up to {MAX_IN_GRID}, use format=images or npz")
    return seeds


def _listed_seeds(listed: str) -> list[int]:
    seeds: list[int] = []
    for part in listed.split(","):
        first, _, last = part.partition("-")
        span = range(int(first), int(last or first) + 1)
        if not span:
            raise UsageError(f"seeds={listed}: {part} goes backwards")
        if len(seeds) + len(span) > MAX_SEEDS:
            raise UsageError(f"seeds={listed}: expected at most {MAX_SEEDS:,} seeds")
        seeds += span
    return seeds


def _write(
    config: SampleConfig,
    generator: LoadedGenerator,
    requested: Sequence[RequestedCondition],
    seeds: Sequence[int],
    target: Path,
) -> None:
    """Writes the samples of `seeds` to `target`. `requested` has one class for each seed, or is empty."""
    parts = [slice(start, start + config.batch_size) for start in range(0, len(seeds), config.batch_size)]
    batches = (
        to_uint8(samples)
        for part in parts
        for samples in sample_in_batches(generator, seeds[part], requested[part], config.truncation, config.batch_size)
    )
    if config.format == "images":
        labels = [f"_{_file_name_part(row.name)}" for row in requested] or [""] * len(seeds)
        names = (f"seed_{seed:06d}{label}.png" for seed, label in zip(seeds, labels, strict=True))
        grid.save_images(batches, names, target)
    elif config.format == "npz":
        arrays: dict[str, Iterable[np.ndarray]] = {
            "images" if len(generator.sample_shape) == 3 else "points": map(_channels_last, batches)
        }
        if requested:
            encoded = (
                encode_requested(generator.classes, requested[part], seeds[part], generator.card.frequencies)
                for part in parts
            )
            arrays["conditions"] = (part.to(torch.uint8).numpy() for part in encoded)
        _write_arrays(arrays, len(seeds), target)
    else:
        drawn, rows = torch.cat(list(batches)), list(Counter(requested).values())
        single = len(drawn) == 1 and drawn.ndim == 4  # one image keeps its size and gets no border
        image = grid.draw_image(drawn[0]) if single else grid.draw_grid_or_scatter(drawn, generator.modes, rows)
        grid.save_png(image, target)


def _write_sidecar(
    config: SampleConfig,
    generator: LoadedGenerator,
    requested: Sequence[RequestedCondition],
    seeds: Sequence[int],
    more: dict[str, Any],
    path: Path,
) -> None:
    """Writes the JSON file `path` that describes the samples. `more` holds the fields of an animation."""
    sidecar = {
        "checkpoint": str(generator.path.absolute()),
        "sha256": generator.sha256,
        "step": generator.step,
        "seeds": (config.seeds or f"{seeds[0]}-{seeds[-1]}") if seeds else None,
        "n": len(seeds),
        "labels": [row.name for row in dict.fromkeys(requested)] or None,
        "classes": list(generator.classes) or None,
        "truncation": config.truncation,
        "ema": generator.ema,
        "format": config.format,
        "gan_cli": generator.card.gan_cli,
        **more,
    }
    write_json(path, sidecar)


def _channels_last(samples: Tensor) -> np.ndarray:
    """Returns images `[N, C, H, W]` as `[N, H, W, C]`, and points unchanged."""
    return (samples.permute(0, 2, 3, 1) if samples.ndim == 4 else samples).numpy()


def _write_arrays(arrays: dict[str, Iterable[np.ndarray]], count: int, path: Path) -> None:
    """Writes arrays of `count` rows each to an npz file, part by part, so that no complete array is in memory.

    They are not compressed: compressing a sample takes longer than generating it with a small network.
    """
    with zipfile.ZipFile(path, "w", allowZip64=True) as archive:
        for name, parts in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                for number, part in enumerate(parts):
                    if number == 0:
                        header = {"descr": part.dtype.str, "fortran_order": False, "shape": (count, *part.shape[1:])}
                        np.lib.format.write_array_header_1_0(member, header)
                    member.write(np.ascontiguousarray(part).data)


def _file_name_part(name: str) -> str:
    """Returns `name` with characters unsuitable for file names replaced by hyphens, cut to 60 characters."""
    return re.sub(r"[^\w=,.-]+", "-", name)[:60]
