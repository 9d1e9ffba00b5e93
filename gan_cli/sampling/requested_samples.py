"""Reads the options of `gan-sample` that say which samples: seeds, classes, and names of files for them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from gan_cli.config.commands import ANIMATION_FORMATS, SampleConfig
from gan_cli.data.labels import RequestedCondition, all_classes_requested, parse_label_indices, parse_labels
from gan_cli.errors import UsageError, count_noun
from gan_cli.image_labels.shown_classes import MAX_CLASSES_SHOWN, describe_shown
from gan_cli.sampling.load_generator import MAX_SEED, LoadedGenerator

MAX_SEEDS = 1_000_000
MAX_IN_GRID = 10_000
MAX_STEPS, MAX_STRENGTH = 999, 1000  # of a direction
DEFAULT_SAMPLES = 64
DEFAULT_STEPS = 7


def check_combination(config: SampleConfig) -> None:
    """Raises UsageError if options exclude each other, whatever the checkpoint is."""
    seeded = {"seeds": config.seeds, "n": config.n, "seed": config.seed or None}
    if config.latents is not None:
        for name, value in seeded.items():
            if value is not None:
                raise UsageError(f"{name}={value} and latents={config.latents}: each says which samples, give one")
        if config.truncation is not None:
            raise UsageError(
                f"truncation={config.truncation:g}: given latents are used as they are; scale them in the file instead"
            )
    if config.strength is not None and config.direction is None:
        raise UsageError(f"strength={config.strength}: says how far along a direction, give direction=FILE too")
    if config.strength is not None:
        ends_and_steps(config.strength)
    if config.direction is not None and config.tiles is not None:
        raise UsageError(f"tiles={config.tiles}: an animation of direction= shows all its rows, leave it out")
    if config.direction is not None and config.through_labels:
        raise UsageError("through_labels=true: samples keep their class along direction=, leave it out")
    of_mix = {"rows": config.rows, "columns": config.columns, "layers": config.layers}
    if config.format != "mix":
        for name, value in of_mix.items():
            if value is not None:
                raise UsageError(f"{name}={value}: is for format=mix, leave it out")
        return
    for name, value in (seeded | {"latents": config.latents, "direction": config.direction}).items():
        if value is not None:
            raise UsageError(f"{name}={value}: format=mix takes its seeds from rows and columns, leave it out")


def requested_rows(config: SampleConfig, generator: LoadedGenerator) -> list[RequestedCondition]:
    """Returns the classes to generate, one for each row of a grid; empty for an unconditional generator.

    Without `label` and `label_index`, these are all classes, but at most MAX_CLASSES_SHOWN for a grid or an animation.
    """
    classes = generator.classes
    if config.label is not None and config.label_index is not None:
        raise UsageError("label and label_index: each names a class, give one")
    if config.label is None and config.label_index is None:
        shown = config.format in ("grid", *ANIMATION_FORMATS)
        in_rows = shown and config.direction is None and (config.latents is None or config.through_labels)
        fewer = config.seeds is not None or (config.n or MAX_CLASSES_SHOWN) < MAX_CLASSES_SHOWN  # samples than rows
        if in_rows and not fewer and (note := describe_shown(classes)):
            print(f"rows: {note}, by the list labels in the JSON file; label=NAME shows others, format=images all")
        return all_classes_requested(classes, MAX_CLASSES_SHOWN if shown else None)
    if not classes:
        numbers = ",".join(map(str, config.label_index or ()))
        option = f"label_index={numbers}" if config.label is None else f"label={config.label}"
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
        seeds = listed_seeds("seeds", config.seeds)
    if config.format == "grid" and len(seeds) > MAX_IN_GRID:
        raise UsageError(f"n={len(seeds)}: a grid holds up to {MAX_IN_GRID}, use format=images or npz")
    return seeds


def listed_seeds(key: str, listed: str) -> list[int]:
    """Returns the seeds of a list such as 0-7,12, the value of the option `key`."""
    seeds: list[int] = []
    for part in listed.split(","):
        first, _, last = part.partition("-")
        span = range(int(first), int(last or first) + 1)
        if max(int(first), int(last or first)) > MAX_SEED:
            raise UsageError(f"{key}={listed}: expected seeds from 0 to 2**62")
        if not span:
            raise UsageError(f"{key}={listed}: {part} goes backwards")
        if len(seeds) + len(span) > MAX_SEEDS:
            raise UsageError(f"{key}={listed}: expected at most {MAX_SEEDS:,} seeds")
        seeds += span
    return seeds


def ends_and_steps(strength: str) -> tuple[float, float, int]:
    """Returns the ends and the number of steps of the option `strength`: -3:3:7 are seven steps from -3 to 3.

    Raises UsageError if the ends are equal or too far away, or for a single step or too many.
    """
    first, last, *steps = strength.split(":")
    ends, count = (float(first), float(last)), int(steps[0]) if steps else DEFAULT_STEPS
    if count < 2 or ends[0] == ends[1]:
        raise UsageError(f"strength={strength}: expected two ends and at least 2 steps, as -3:3 or -3:3:7")
    if count > MAX_STEPS:
        raise UsageError(f"strength={strength}: {count_noun(count, 'step')}, at most {MAX_STEPS} are allowed")
    if max(map(abs, ends)) > MAX_STRENGTH:
        raise UsageError(f"strength={strength}: expected ends from {-MAX_STRENGTH} to {MAX_STRENGTH}")
    return *ends, count


def distinct_names(names: Sequence[str]) -> list[str]:
    """Returns names of files. If two are equal, all get their numbers, which is said.

    Names that differ in case alone are equal, as some file systems have them.
    """
    if len({unicodedata.normalize("NFC", name).casefold() for name in names}) == len(names):
        return list(names)
    print("names: several samples have the same seed and class, so that the files are numbered", flush=True)
    return [f"{number:06d}_{name}" for number, name in enumerate(names)]


def file_name_part(name: str) -> str:
    """Returns `name` with characters unsuitable for file names replaced by hyphens, cut to 60 characters."""
    return re.sub(r"[^\w=,.-]+", "-", name)[:60]
