"""Decodes pairs of images, and says in words what a run makes of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gan_cli.config.train_config import Config
from gan_cli.data.dataset import Dataset
from gan_cli.data.decoding.conversion import ImageOutcome, TargetFormat, deep_value_range, target_for_set
from gan_cli.data.decoding.crop_and_pad import STRETCH
from gan_cli.data.decoding.decode import Content, decode_all
from gan_cli.data.decoding.value_ranges import ValueRange
from gan_cli.data.image_store import ImageStore, refuse_too_many
from gan_cli.data.mapped_file import CacheEntry
from gan_cli.data.selection import Selection
from gan_cli.data.source_description import MOST_RECORDED, conversion_record, source_line
from gan_cli.errors import UsageError, count_noun, one_line
from gan_cli.image_files.listing import ImageSource, ListedFile, Listing
from gan_cli.image_labels.attributes import LabelOptions
from gan_cli.image_labels.find_pairs import KNOWN_LAYOUTS, PairOptions, Pairs, why_no_pairs
from gan_cli.image_labels.image_paths import open_images

RECORD = "pairs"  # key of `Dataset.changes`

Check = Callable[[Sequence[ListedFile], Sequence[ImageOutcome]], None]
ByPath = dict[tuple[str, ...], tuple[ListedFile, ImageOutcome]]


class _Decoded(NamedTuple):
    """The pairs that were decoded: their numbers, files and outcomes, the sources first, and the unusable files."""

    kept: list[int]
    files: list[ListedFile]
    outcomes: list[ImageOutcome]
    unusable: ByPath
    target: TargetFormat
    chosen: int  # pairs selected


def decode_pairs(
    reader: ImageSource,
    pairs: Pairs,
    entry: CacheEntry | None,
    target: TargetFormat,
    selection: Selection,
    read: Callable[[ListedFile], Content],
    check: Check,
    *,
    skip: bool,
) -> Dataset:
    """Decodes the selected pairs, and writes them to the cache file `entry`, if given.

    A pair is left out if either image is unusable, or if both would be cropped or padded to different parts. Both
    images of a pair are fitted and scaled alike. `check` gets the files and their outcomes, and raises UsageError if
    too many are unusable; so do pairs of the second kind unless `skip` is true.
    """
    target = replace(target, keep_sides=True)
    chosen = selection.indices(pairs.layout.labels, pairs.layout.classes, len(pairs.sources)).tolist()
    kept, used, unusable = chosen, target, ByPath()
    with refuse_too_many(2 * len(chosen), target.shape):
        while True:
            sides = _sides_of(pairs, kept)
            files = [file for each, _ in sides for file in each]
            with contextlib.closing(ImageStore(entry, 2 * len(kept), target.shape)) as store:
                found = [decode_all(each, read, replace(used, half=half), store.add) for each, half in sides]
                _refuse_other_proportions(reader.listing.shown, [each for each, _ in sides], found, used.fit, skip=skip)
                outcomes = [*found[0], *found[1]]
                better = target_for_set(used, outcomes)
                good = [pair for pair, one, other in zip(kept, *found, strict=True) if one.bad is None is other.bad]
                if better is None and len(good) == len(kept):
                    decoded = _Decoded(kept, files, outcomes, unusable, used, len(chosen))
                    dataset = _dataset(store.samples(), pairs, decoded, reader.listing, target.value_range)
                    return store.finalize(selection.apply(dataset))
            if better is None:
                unusable |= _unusable(files, outcomes, check)
                if not good:
                    file, outcome = next(iter(unusable.values()))
                    raise UsageError(
                        f"dataset.path={reader.listing.shown}: no pair has two usable images: {file.name}"
                        f" ({outcome.bad}); repair or remove them"
                    )
                kept = good
            used = better or used


def _sides_of(pairs: Pairs, kept: Sequence[int]) -> list[tuple[list[ListedFile], str]]:
    """Returns the files of the sources and of the generated images, each with the half of the file that is used."""
    halves = pairs.names if pairs.side_by_side else ("", "")
    return [
        ([files[index] for index in kept], half)
        for files, half in zip((pairs.sources, pairs.layout.files), halves, strict=True)
    ]


def _refuse_other_proportions(
    shown: str, files: Sequence[list[ListedFile]], found: Sequence[list[ImageOutcome]], fit: str, *, skip: bool
) -> None:
    """Makes the generated images of other proportions than their sources unusable; raises UsageError without `skip`.

    Cropping or padding these two would show different parts. Stretching shows both as a whole.
    """
    numbers = [number for number, pair in enumerate(zip(*found, strict=True)) if _differ(*pair)]
    if not numbers or fit == STRETCH:
        return
    if not skip:
        first = [
            (file[numbers[0]].name, *(outcome[numbers[0]].sides or ()))
            for file, outcome in zip(files, found, strict=True)
        ]
        named = " and ".join(f"{one_line(name, 60)} of {width} x {height}" for name, width, height in first)
        raise UsageError(
            f"dataset.path={shown}: {len(numbers):,} of {count_noun(len(found[0]), 'pair')} have images of different"
            f" proportions, as {named}, of which dataset.fit={fit} takes different parts: give both the same, or set"
            " dataset.fit=stretch, dataset.on_bad=skip to leave them out, or dataset.pairs=none if they are no pairs"
        )
    for number in numbers:
        source = one_line(files[0][number].name, 60)
        found[1][number] = ImageOutcome(bad=f"of other proportions than {source}")


def _differ(one: ImageOutcome, other: ImageOutcome) -> bool:
    """Returns whether the images of a pair differ in proportions by more than a pixel of the smaller one."""
    if one.sides is None or other.sides is None:
        return False
    (width, height), (other_width, other_height) = one.sides, other.sides
    return abs(width * other_height - other_width * height) > max(sum(one.sides), sum(other.sides))


def _unusable(files: Sequence[ListedFile], outcomes: Sequence[ImageOutcome], check: Check) -> ByPath:
    """Returns the unusable files, each once. Raises UsageError if `check` does."""
    by_path: ByPath = {}
    for file, outcome in zip(files, outcomes, strict=True):
        if file.parts not in by_path or outcome.bad is not None:
            by_path[file.parts] = file, outcome
    check([file for file, _ in by_path.values()], [outcome for _, outcome in by_path.values()])
    return {path: (file, outcome) for path, (file, outcome) in by_path.items() if outcome.bad is not None}


def _dataset(images: Tensor, pairs: Pairs, decoded: _Decoded, listing: Listing, configured: ValueRange) -> Dataset:
    """Returns the data set of `images`, the sources first, with its line and its record."""
    labels, count = pairs.layout.labels, len(decoded.kept)
    chosen_labels = None if labels is None else torch.tensor(labels)[decoded.kept]
    files = [*decoded.files, *(file for file, _ in decoded.unusable.values())]
    outcomes = [*decoded.outcomes, *(outcome for _, outcome in decoded.unusable.values())]
    named = "side by side" if pairs.side_by_side else f"of {pairs.names[0]} and {pairs.names[1]}"
    remarks = [pairs.describe_alone(), *pairs.layout.remarks]
    if decoded.chosen < len(pairs.sources):
        remarks.append(f"{decoded.chosen:,} of {len(pairs.sources):,} pairs selected")
    if dropped := decoded.chosen - count:
        remarks.append(f"{count_noun(dropped, 'pair')} with an unusable image left out")
    layout = pairs.layout._replace(files=files, remarks=tuple(filter(None, remarks)))
    text = f"{count_noun(count, 'pair')} {named}"
    line = source_line(layout, listing, files, outcomes, chosen_labels, decoded.target, configured, counted=text)
    record = conversion_record(listing, files, outcomes, decoded.target, configured)
    record[RECORD] = {
        "used": count,
        "sources": pairs.names[0],
        "samples": pairs.names[1],
        "side_by_side": pairs.side_by_side,
        "without_partner": [file.name for file in pairs.alone[:MOST_RECORDED]],
    }
    value_range = deep_value_range(decoded.target, decoded.outcomes)
    return Dataset(
        images[count:], line, chosen_labels, layout.classes, images[:count], changes=record, value_range=value_range
    )


def with_use_of_pairs(config: Config, dataset: Dataset) -> Dataset:
    """Returns the data set of a run. If it has pairs of a folder, its line says what the task makes of them."""
    found: Any = dataset.changes.get(RECORD)
    if not found:
        return dataset
    sources, samples, joined = found["sources"], found["samples"], found["side_by_side"]
    if getattr(config.task, "source", None) == "data":
        text = f"the images of {samples} are generated from those of {sources}"
        if joined:
            text = f"the {samples} half is generated from the {sources} half"
    else:
        used, instead = f"images of {samples}", f"{sources} and {samples} as classes"
        if joined:
            used, instead = f"{samples} halves", "each file as one image"
        text = f"task={config.task.name} trains on the {used} alone; dataset.pairs=none takes {instead}"
    return replace(dataset, source=f"{dataset.source}; {text}")


def explain_missing_pairs(section: Any) -> str:
    """Returns why the folder, zip or tar of a section of the config has no pairs, and which layouts are known.

    Returns an empty text if it has pairs.
    """
    keys = ("labels", "labels_file_column", "labels_columns", "labels_bins", "labels_version")
    how = LabelOptions(*(getattr(section, key) for key in keys))
    with open_images(section.path, follow_links=section.follow_links) as reader:
        reason = why_no_pairs(reader, how, PairOptions(section.pairs, section.direction))
        return reason and f"dataset.path={one_line(reader.listing.shown, 100)}: {reason}; {KNOWN_LAYOUTS}"
