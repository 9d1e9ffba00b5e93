"""What is said of a folder's pictures and recorded in a run: how many, of what, and all that was done to them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from gan_cli.config.options.datasets import COLOUR, CROP
from gan_cli.data.decoding import ranges
from gan_cli.data.decoding.conversion import Outcome, Target
from gan_cli.data.decoding.fitting import PAD, fit_of
from gan_cli.data.decoding.ranges import ValueRange, Values
from gan_cli.errors import counted, few, one_line
from gan_cli.image_files import own_outputs
from gan_cli.image_files.listing import File, Listing
from gan_cli.image_labels.layout import Layout

SOME = 9  # classes of one picture each, from where on it is said
MOST_RECORDED = 10_000  # names of pictures that were left out


def source_line(
    layout: Layout,
    listing: Listing,
    files: Sequence[File],
    outcomes: Sequence[Outcome],
    labels: Tensor | None,
    target: Target,
    asked: ValueRange,
) -> str:
    """One line: how many pictures of which classes, from where, and what was done to them or left out."""
    good = [outcome for outcome in outcomes if outcome.bad is None]
    text = counted(len(good), "picture")
    if layout.said:
        text += f" with {layout.said}"
    elif labels is not None:
        text += f" in {_class_counts(layout.classes, labels)}"
    parts = [f"{text} from {one_line('/'.join((listing.shown, *layout.base)))}"]
    if listing.arrays:
        parts.append(few(listing.arrays, 2))
    if len(files) < len(layout.files):
        parts.append(f"{len(files):,} of {len(layout.files):,} chosen")
    if labels is not None and not layout.said and len(layout.classes) == len(labels) > SOME:
        parts.append("each picture is its own class")
    parts += layout.remarks
    if layout.mixed:
        parts.append("pictures both loose and in sub-folders: no classes")
    parts += _done(good, target)
    parts += ranges.describe(_values_of(good), asked, target.value_range, _of_eight_bits(good))
    if any(outcome.cut_off for outcome in good):
        parts.append(f"{sum(outcome.cut_off for outcome in good):,} with values beyond that, cut off there")
    others = listing.describe_others(less=layout.inside in listing.candidates)
    if others:
        parts.append(others)
    if listing.own:
        parts.append(own_outputs.told(listing.own))
    if len(good) < len(files):
        parts.append(f"{len(files) - len(good):,} left out: {named(files, outcomes, 5)}")
    return "; ".join(parts)


def _done(good: Sequence[Outcome], target: Target) -> list[str]:
    """What was done to how many pictures."""
    height, width = target.size
    clear = "wholly transparent"
    if target.channels == 4:
        clear += " (is that band no opacity, dataset.bands=data keeps it and the others)"
    counts = (
        (sum(outcome.turned for outcome in good), "turned as their EXIF says"),
        (sum(outcome.profile for outcome in good), "of another colour profile brought to sRGB"),
        (sum(outcome.recoloured == "grey" for outcome in good), "in colour made grey"),
        (sum(outcome.recoloured == "colour" for outcome in good), "in grey made colour"),
        (sum(outcome.flattened for outcome in good), f"with transparency put on {target.background}"),
        (sum(outcome.clear for outcome in good), clear),
        (sum(outcome.share > 0 for outcome in good), _fit_said(good, target)),
        (sum(outcome.enlarged for outcome in good), f"smaller than {height} x {width}, enlarged"),
    )
    return [f"{count:,} {said}" for count, said in counts if count]


def fit_line(native: tuple[int, int], size: tuple[int, int]) -> str:
    """What is done to pictures that are all of one (height, width), each part with a semicolon in front."""
    fit = fit_of(native[1], native[0], size, CROP)
    cut = f"; each cut to {_proportions(size)}, {_percent(fit.share)} left out" if fit.share > 0 else ""
    enlarged = f"; each enlarged to {size[0]} x {size[1]}" if fit.enlarged else ""
    return cut + enlarged


def _proportions(size: tuple[int, int]) -> str:
    """Width to height."""
    divisor = math.gcd(*size)
    return f"{size[1] // divisor}:{size[0] // divisor}"


def _percent(share: float) -> str:
    return "under 1 %" if share < 0.01 else f"{min(share, 0.99):.0%}".replace("%", " %")


def _fit_said(good: Sequence[Outcome], target: Target) -> str:
    proportions = _proportions(target.size)
    most = max((outcome.share for outcome in good), default=0)
    share = ("" if most < 10 else "up to ") + _percent(most / 1000)
    if target.fit == CROP:
        return f"cut to {proportions}, {share} left out"
    if target.fit == PAD:
        ground = "transparent" if target.channels == 4 and target.bands == COLOUR else target.background
        return f"padded to {proportions} with {ground}, {share} of the result"
    return f"stretched to {proportions}, by {share}"


def _values_of(good: Sequence[Outcome]) -> list[Values]:
    return [outcome.values for outcome in good if outcome.values is not None]


def _of_eight_bits(good: Sequence[Outcome]) -> int:
    return sum(outcome.values is None or outcome.values.kind == ranges.EIGHT for outcome in good)


def named(files: Sequence[File], outcomes: Sequence[Outcome], most: int) -> str:
    """The pictures that cannot be used, each with the reason."""
    bad = [f"{file.name} ({outcome.bad})" for file, outcome in zip(files, outcomes, strict=True) if outcome.bad]
    return few(bad, most)


def _class_counts(classes: Sequence[str], labels: Tensor) -> str:
    counts = labels[labels >= 0].bincount(minlength=len(classes)).tolist()
    named = [f"{name} {count:,}" for name, count in zip(classes, counts, strict=True)]
    return f"{counted(len(classes), 'class', 'classes')} ({few(named, 10)})"


# --- what is recorded --------------------------------------------------------------------------------------------


def record_of(
    listing: Listing, files: Sequence[File], outcomes: Sequence[Outcome], target: Target, asked: ValueRange
) -> dict[str, Any]:
    """All that was done to the pictures, for the run's record."""
    good = [outcome for outcome in outcomes if outcome.bad is None]
    values = _values_of(good)
    by_kind = {kind: [seen for seen in values if seen.kind == kind] for kind in ranges.FULL_RANGES}
    return {
        "used": len(good),
        "turned_by_exif": sum(outcome.turned for outcome in good),
        "brought_to_srgb": sum(outcome.profile for outcome in good),
        "made_grey": sum(outcome.recoloured == "grey" for outcome in good),
        "made_colour": sum(outcome.recoloured == "colour" for outcome in good),
        "put_on_background": sum(outcome.flattened for outcome in good),
        "wholly_transparent": sum(outcome.clear for outcome in good),
        "fit": target.fit,
        "fitted": sum(outcome.share > 0 for outcome in good),
        "largest_share_fitted": max((outcome.share for outcome in good), default=0) / 1000,
        "enlarged": sum(outcome.enlarged for outcome in good),
        "value_range_asked": ranges.typed(asked),
        "value_range": ranges.typed(target.value_range),
        "values": {kind: _extent(seen) for kind, seen in by_kind.items() if seen},
        "values_cut_off": sum(outcome.cut_off for outcome in good),
        "arrays": listing.arrays[:MOST_RECORDED],
        "other_files": listing.others,
        "arrays_not_used": listing.unused[:MOST_RECORDED],
        "own_outputs_left_out": ["/".join(each.parts) for each in listing.own][:MOST_RECORDED],
        "left_out": [
            f"{file.name} ({outcome.bad})" for file, outcome in zip(files, outcomes, strict=True) if outcome.bad
        ][:MOST_RECORDED],
    }


def _extent(seen: Sequence[Values]) -> dict[str, float]:
    return {"pictures": len(seen), "low": min(each.low for each in seen), "high": max(each.high for each in seen)}
