"""Describes the images of a folder, in one line and as a record: their number, their classes and their conversion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from gan_cli.config.options.datasets import COLOUR, CROP
from gan_cli.data.decoding import value_ranges
from gan_cli.data.decoding.conversion import ImageOutcome, TargetFormat
from gan_cli.data.decoding.crop_and_pad import PAD, compute_fit
from gan_cli.data.decoding.value_ranges import ValueExtent, ValueRange
from gan_cli.errors import count_noun, first_few, one_line
from gan_cli.image_files import own_outputs
from gan_cli.image_files.listing import LINK, TOO_DEEP, ListedFile, Listing
from gan_cli.image_labels.folder_classes import Layout

MOST_SINGLE_CLASSES = 9  # if each image is its own class, more classes than this are reported
MOST_RECORDED = 10_000  # the most names in one list of the record
SKIPPED_KEYS = {LINK: "links_not_followed", TOO_DEEP: "paths_too_deep"}  # keys of the record


def source_line(
    layout: Layout,
    listing: Listing,
    files: Sequence[ListedFile],
    outcomes: Sequence[ImageOutcome],
    labels: Tensor | None,
    target: TargetFormat,
    configured: ValueRange,
    chosen: Sequence[str] | None = None,
    counted: str = "",
) -> str:
    """Returns one line that gives the number of images, the classes, the path, the conversion, and what was left out.

    `target` holds the value range that was used, `configured` is the one in the config. `chosen` are the classes that
    `dataset.classes` names; None means all classes. `counted` replaces the number of images.
    """
    good = [outcome for outcome in outcomes if outcome.bad is None]
    text = counted or count_noun(len(good), "image")
    if layout.summary:
        text += f" with {layout.summary}"
    elif labels is not None:
        text += f" in {_class_counts(layout.classes, labels, chosen)}"
    parts = [f"{text} from {one_line('/'.join((listing.shown, *layout.base)))}", *listing.describe_skipped()]
    parts.append(first_few(listing.arrays, 2))
    if len(files) < len(layout.files):
        parts.append(f"{len(files):,} of {len(layout.files):,} selected")
    if labels is not None and not layout.summary:
        if len(layout.classes) == len(labels) > MOST_SINGLE_CLASSES:
            parts.append("each image is its own class")
        if labels.ndim == 1 and len(files) == len(layout.files):
            parts += _classes_without_images(layout, listing, labels)
    parts += layout.remarks
    if layout.mixed:
        parts.append("images both loose and in sub-folders: no classes")
    parts += describe_changes(good, target)
    parts += _scaling(good, target, configured)
    parts.append(listing.describe_others(less=layout.inside in listing.possible_tables))
    parts.append(own_outputs.describe_outputs(listing.own))
    if len(good) < len(files):
        parts.append(f"{len(files) - len(good):,} left out: {describe_unusable(files, outcomes, 5)}")
    return "; ".join(filter(None, parts))


def _classes_without_images(layout: Layout, listing: Listing, labels: Tensor) -> list[str]:
    """Returns a text that names the sub-folders in which no image can be used, if there are any."""
    depth = len(layout.base) + 1
    empty = {folder[-1] for folder in listing.folders if len(folder) == depth and folder[:-1] == layout.base}
    empty -= {own.parts[depth - 1] for own in listing.own if len(own.parts) >= depth}
    filled = {layout.classes[label] for label in labels.unique().tolist() if label >= 0}
    names = sorted(one_line(name) for name in (empty | {*layout.classes}) - filled)
    return [f"no usable image in {first_few(names)}"] if names else []


def describe_changes(good: Sequence[ImageOutcome], target: TargetFormat) -> list[str]:
    """Returns a description of each change that was made to at least one image, with the number of these images."""
    height, width = target.size
    clear = "fully transparent"
    if target.channels == 4:
        clear += " (if that band is not opacity, use dataset.bands=data)"
    texts = {
        "turned_by_exif": "reoriented by EXIF",
        "brought_to_srgb": "converted to sRGB from another colour profile",
        "made_grey": "converted from colour to grey",
        "made_colour": "converted from grey to colour",
        "put_on_background": f"with transparency put on {target.background}",
        "wholly_transparent": clear,
        "fitted": _describe_fit(good, target),
        "enlarged": f"smaller than {height} x {width}, enlarged",
    }
    return [f"{count:,} {texts[change]}" for change, count in _count_changes(good).items() if count]


def _scaling(good: Sequence[ImageOutcome], target: TargetFormat, configured: ValueRange) -> list[str]:
    """Describes how values were scaled to 8 bits, and how many images have values outside of that range."""
    values = [outcome.values for outcome in good if outcome.values is not None]
    eight = len(good) - sum(each.kind != value_ranges.EIGHT_BITS for each in values)
    clipped = sum(outcome.cut_off for outcome in good)
    texts = value_ranges.describe_values(values, configured, target.value_range, eight)
    return [*texts, f"{clipped:,} with values outside that range, clipped"] if clipped else texts


def _count_changes(good: Sequence[ImageOutcome]) -> dict[str, int]:
    """Returns for each kind of change, by its key in the record, to how many images it was made."""
    return {
        "turned_by_exif": sum(outcome.reoriented for outcome in good),
        "brought_to_srgb": sum(outcome.profile for outcome in good),
        "made_grey": sum(outcome.recoloured == "grey" for outcome in good),
        "made_colour": sum(outcome.recoloured == "colour" for outcome in good),
        "put_on_background": sum(outcome.flattened for outcome in good),
        "wholly_transparent": sum(outcome.transparent for outcome in good),
        "fitted": sum(outcome.share > 0 for outcome in good),
        "enlarged": sum(outcome.enlarged for outcome in good),
    }


def describe_fit(native: tuple[int, int], size: tuple[int, int]) -> str:
    """Returns how images of size `native`, (height, width), are fitted to `size`, each part after a semicolon."""
    fit = compute_fit(native[1], native[0], size, CROP)
    cut = f"; each cropped to {_proportions(size)}, {_percent(fit.share)} removed" if fit.share > 0 else ""
    return cut + (f"; each enlarged to {size[0]} x {size[1]}" if fit.enlarged else "")


def _proportions(size: tuple[int, int]) -> str:
    """Returns the ratio of width to height, such as `4:3`."""
    divisor = math.gcd(*size)
    return f"{size[1] // divisor}:{size[0] // divisor}"


def _percent(share: float) -> str:
    """Formats a share from 0 to 1 as a percentage, such as `18 %`."""
    return "under 1 %" if share < 0.01 else f"{min(share, 0.99):.0%}".replace("%", " %")


def _describe_fit(good: Sequence[ImageOutcome], target: TargetFormat) -> str:
    """Describes how images were fitted to the target size. Gives the largest share cropped, padded or stretched."""
    proportions = _proportions(target.size)
    most = max((outcome.share for outcome in good), default=0)
    share = ("" if most < 10 else "up to ") + _percent(most / 1000)
    if target.fit == CROP:
        return f"cropped to {proportions}, {share} removed"
    if target.fit == PAD:
        ground = "transparent" if target.channels == 4 and target.bands == COLOUR else target.background
        return f"padded to {proportions} with {ground}, {share} of the result"
    return f"stretched to {proportions}, by {share}"


def describe_unusable(files: Sequence[ListedFile], outcomes: Sequence[ImageOutcome], most: int) -> str:
    """Returns the names of the first `most` unusable images, each with the reason."""
    return first_few(_unusable(files, outcomes), most)


def _unusable(files: Sequence[ListedFile], outcomes: Sequence[ImageOutcome]) -> list[str]:
    return [f"{file.name} ({outcome.bad})" for file, outcome in zip(files, outcomes, strict=True) if outcome.bad]


def _class_counts(classes: Sequence[str], labels: Tensor, chosen: Sequence[str] | None) -> str:
    """Returns the classes, or the `chosen` ones, with their numbers of images: `2 classes (cat 3, dog 2)`."""
    counts = labels[labels >= 0].bincount(minlength=len(classes)).tolist()
    pairs = zip(classes, counts, strict=True)
    texts = [f"{name} {count:,}" for name, count in pairs if chosen is None or name in chosen]
    return f"{count_noun(len(texts), 'class', 'classes')} ({first_few(texts, 10)})"


def conversion_record(
    listing: Listing,
    files: Sequence[ListedFile],
    outcomes: Sequence[ImageOutcome],
    target: TargetFormat,
    configured: ValueRange,
) -> dict[str, Any]:
    """Returns a dict of everything that was done to the images, for the record of a run."""
    good = [outcome for outcome in outcomes if outcome.bad is None]
    values = [outcome.values for outcome in good if outcome.values is not None]
    by_kind = {kind: [each for each in values if each.kind == kind] for kind in value_ranges.FULL_RANGES}
    return {
        "used": len(good),
        **_count_changes(good),
        "fit": target.fit,
        "largest_share_fitted": max((outcome.share for outcome in good), default=0) / 1000,
        "value_range_asked": value_ranges.format_override(configured),
        "value_range": value_ranges.format_override(target.value_range),
        "values": {kind: _extent(extents) for kind, extents in by_kind.items() if extents},
        "values_cut_off": sum(outcome.cut_off for outcome in good),
        "arrays": listing.arrays[:MOST_RECORDED],
        "other_files": listing.others,
        "arrays_not_used": listing.unused_arrays[:MOST_RECORDED],
        "own_outputs_left_out": ["/".join(each.parts) for each in listing.own[:MOST_RECORDED]],
        **{key: listing.skipped[why][:MOST_RECORDED] for why, key in SKIPPED_KEYS.items() if why in listing.skipped},
        "left_out": _unusable(files, outcomes)[:MOST_RECORDED],
    }


def _extent(extents: Sequence[ValueExtent]) -> dict[str, float]:
    """Returns the number of images, their lowest value and their highest value."""
    low, high = min(each.low for each in extents), max(each.high for each in extents)
    return {"pictures": len(extents), "low": low, "high": high}
