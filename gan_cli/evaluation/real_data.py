"""Selects the real samples that fakes are compared with.

By default fakes are compared with held-out real samples, if the data set has a test split. The floor is the score of
as many training samples against the same held-out samples. A data set without a test split is cut into two halves,
always the same: fakes are compared with one half, and the other half gives the floor. `Protocol` selects otherwise;
metrics in papers are usually against all training images.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from gan_cli.data.dataset import Dataset
from gan_cli.data.datasets.points import Modes, known_modes
from gan_cli.data.load_dataset import build_dataset
from gan_cli.data.selection import Selection
from gan_cli.errors import GanCliError, first_few, one_line
from gan_cli.evaluation.metrics.duplicates import describe_duplicates
from gan_cli.evaluation.metrics.extractors import SampleSubset
from gan_cli.randomness import generator_for

MIN_SAMPLES = 10
NO_LIMIT = 10**9  # real samples
MAX_MISSING_SHARE = 0.05  # of the training images may be of classes that the test split lacks
HELD_OUT_SPLIT = {"train": "test", "valid": "test", "extra": "test", "unlabeled": "test"}  # by the training split


@dataclass(frozen=True)
class Protocol:
    """Which real samples fakes are compared with: `held_out`, `train` or `all` (both together), and how many.

    `n` None means as many as there are fakes for `held_out`, else all.
    """

    reals: str = "held_out"
    n: int | None = None


DEFAULT_PROTOCOL = Protocol()


@dataclass(frozen=True)
class RealData:
    """The real data of a run.

    `train` is what it was trained on, `train_unlimited` the same without `dataset.limit`, `held_out` the test split if
    there is one; `why` says why not. `modes` are known for some data sets of points. `stacked`: each channel of an
    image is a digit. `notes` are lines for the user about samples that are left out.
    """

    train: Dataset
    train_unlimited: Dataset
    held_out: Dataset | None = None
    why: str = ""
    modes: Modes | None = None
    stacked: bool = False
    notes: tuple[str, ...] = ()

    @property
    def fingerprints(self) -> list[str]:
        """The fingerprints of the training data and of the held-out data, empty if there are none."""
        return [self.train_unlimited.fingerprint, "" if self.held_out is None else self.held_out.fingerprint]

    @property
    def max_per_side(self) -> int:
        """How many real samples there are at most for the comparison and for the floor each."""
        return (
            len(self.train_unlimited) // 2
            if self.held_out is None
            else min(len(self.train_unlimited), len(self.held_out))
        )

    def available(self, protocol: Protocol) -> int:
        """How many real samples there are for the comparison."""
        held_out = 0 if self.held_out is None else len(self.held_out)
        if protocol.reals == "held_out":
            return held_out or len(self.train_unlimited) // 2
        return len(self.train_unlimited) + (held_out if protocol.reals == "all" else 0)

    def select(self, n: int, protocol: Protocol = DEFAULT_PROTOCOL) -> tuple[SampleSubset, SampleSubset | None]:
        """The real samples that `n` fakes are compared with, and at most `n` others for the floor, if any are left."""
        count = min(self.available(protocol), protocol.n or (n if protocol.reals == "held_out" else NO_LIMIT))
        trained = torch.randperm(len(self.train_unlimited), generator=generator_for(0, "reference"))
        whole = (self.train_unlimited.samples,)
        if self.held_out is None:
            if protocol.reals != "held_out":
                return SampleSubset(whole, trained[:count]), _unless_few(
                    SampleSubset(whole, trained[count : count + n])
                )
            half = len(trained) // 2
            return SampleSubset(whole, trained[:count]), SampleSubset(whole, trained[half : half + n])
        held_out = (self.held_out.samples,)
        unseen = torch.randperm(len(self.held_out), generator=generator_for(0, "held out"))
        if protocol.reals == "held_out":
            return SampleSubset(held_out, unseen[:count]), SampleSubset(whole, trained[:n])
        if protocol.reals == "train":
            return SampleSubset(whole, trained[:count]), SampleSubset(held_out, unseen[:n])
        both = torch.randperm(len(trained) + len(unseen), generator=generator_for(0, "all"))
        tensors = (*whole, *held_out)
        return SampleSubset(tensors, both[:count]), _unless_few(SampleSubset(tensors, both[count : count + n]))

    def held_out_images(self, count: int) -> tuple[Tensor, Tensor | None]:
        """`count` images that were not trained on, and None; without a test split, training images and their indices.

        Images are uint8 `[count, C, H, W]`; the indices `[count]` are those in `train`.
        """
        if self.held_out is not None:
            return self.select(count)[0][:], None
        own = torch.randperm(len(self.train), generator=generator_for(0, "own"))[:count]
        return self.train.samples[own], own

    def describe(self, n: int, protocol: Protocol = DEFAULT_PROTOCOL) -> str:
        """Which real samples `n` fakes are compared with, in one line."""
        noun = "images" if self.train.samples.ndim > 2 else "points"
        if protocol != DEFAULT_PROTOCOL:
            return self._describe_sides(n, protocol, noun)
        if self.held_out is None:
            return f"{n:,} {noun} of the data; floor: {n:,} others ({self.why})"
        return f"{n:,} of {len(self.held_out):,} held-out {noun}; floor: {n:,} training {noun} against these"

    def _describe_sides(self, n: int, protocol: Protocol, noun: str) -> str:
        compared, other = self.select(n, protocol)
        halved = self.held_out is None and protocol.reals == "held_out"
        kind = "" if self.held_out is None else {"held_out": "held-out ", "train": "training "}.get(protocol.reals, "")
        all_of = "all " if len(compared) == self.available(protocol) and not halved else ""
        text = f"{all_of}{len(compared):,} {kind}{noun}{'' if kind else ' of the data'}; floor: "
        if other is None:
            return f"{text}none, as no others are left"
        others = {"held-out ": f"training {noun}", "training ": f"held-out {noun}"}.get(kind, "others")
        return f"{text}{len(other):,} {others} against these"

    @cached_property
    def duplicates(self) -> list[str]:
        """Lines of text about duplicate images within the training data, and between training and held-out data."""
        return describe_duplicates(
            self.train_unlimited.samples, None if self.held_out is None else self.held_out.samples
        )


def _unless_few(subset: SampleSubset) -> SampleSubset | None:
    return subset if len(subset) >= MIN_SAMPLES else None


def find_real_data(section: Any, image_size: int | tuple[int, ...] | None, dataset: Dataset) -> RealData:
    """Finds the real data for `dataset`, which was built from this section of a run's config."""
    whole = dataset
    if section.limit is not None:
        whole = build_dataset(dataclasses.replace(section, limit=None), image_size)
    split, held_out, why = HELD_OUT_SPLIT.get(getattr(section, "split", "")), None, "they have no test split"
    if split is not None and dataset.complete:  # else a download has failed already, and would again
        try:
            held_out = build_dataset(dataclasses.replace(section, limit=None, split=split), image_size)
        except GanCliError as error:
            why = f"no test split: {one_line(error, 120)}"
    notes: list[str] = []
    clipped = held_out.changes.get("values_cut_off", 0) if held_out is not None else 0
    if clipped:
        notes.append(f"{clipped:,} held-out pictures have values outside the range of the training data; clipped to it")
    if held_out is not None:
        held_out, why = _of_the_same_classes(held_out, whole, notes)
    if held_out is not None and (held_out.samples.shape[1:] != whole.samples.shape[1:] or len(held_out) < MIN_SAMPLES):
        held_out, why = None, "their test split is too small or of another shape"
    stacked = section.name == "stacked_mnist" and section.classes is None
    return RealData(dataset, whole, held_out, why, known_modes(section), stacked, tuple(notes))


def _of_the_same_classes(held_out: Dataset, whole: Dataset, notes: list[str]) -> tuple[Dataset | None, str]:
    """Keeps the held-out samples whose classes the training data have too. Returns also why nothing is left, if so.

    With several attributes, or if either side has no classes, all are kept. Adds to `notes` what the user should know.
    """
    labels, others = whole.labels, held_out.labels
    foreign = [name for name in held_out.classes if name not in whole.classes]
    if labels is None or others is None:
        if labels is not None:
            notes.append(
                "the held-out pictures have no classes: it is not known whether they have those of the training data"
            )
        return held_out, ""
    if labels.ndim > 1 or others.ndim > 1:
        if foreign:
            notes.append(f"the held-out pictures have {_list_names(foreign)}, which the training data do not have")
        return held_out, ""
    if foreign:
        is_known = torch.tensor([name in whole.classes for name in held_out.classes])
        in_known_classes = (is_known[others] & (others >= 0)).nonzero().squeeze(1)
        notes.append(
            f"{len(others) - len(in_known_classes):,} of {len(others):,} held-out pictures are left out:"
            f" {_list_names(foreign)} {'is no class' if len(foreign) == 1 else 'are no classes'} of the training data"
        )
        if not len(in_known_classes):
            return None, "their test split has none of their classes"
        held_out = Selection(tuple(name for name in held_out.classes if name not in foreign)).apply(held_out)
    return _unless_missing(held_out, whole, notes)


def _unless_missing(held_out: Dataset, whole: Dataset, notes: list[str]) -> tuple[Dataset | None, str]:
    """None, with the reason, if the held-out samples lack the classes of many training samples.

    Fakes of those classes would be compared with real samples of other classes.
    """
    assert whole.labels is not None
    assert held_out.labels is not None
    counts = whole.labels[whole.labels >= 0].bincount(minlength=len(whole.classes))
    known = held_out.labels[held_out.labels >= 0]
    found_counts = known.bincount(minlength=len(held_out.classes)) if len(held_out) else torch.zeros(0)
    found = {name for name, count in zip(held_out.classes, found_counts.tolist(), strict=True) if count}
    missing = [name for number, name in enumerate(whole.classes) if name not in found and counts[number] > 0]
    if not missing:
        return held_out, ""
    share = sum(int(counts[whole.classes.index(name)]) for name in missing) / max(int(counts.sum()), 1)
    if share > MAX_MISSING_SHARE:
        return None, f"their test split has no {_list_names(missing)}"
    notes.append(f"the held-out pictures have no {_list_names(missing)}, {share:.1%} of the training pictures")
    return held_out, ""


def _list_names(classes: list[str]) -> str:
    return first_few([one_line(name, 40) for name in classes], 5)
