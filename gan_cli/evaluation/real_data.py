"""Selects the real samples that fakes are compared with.

If the data set has a test split, fakes are compared by default with real samples of this split (held-out samples). For
each metric, the floor is the value of other real samples in place of the fakes: that of a perfect generator. With a
test split, the floor uses training samples. A data set without a test split is divided into two halves, always the same
ones; fakes are compared with the first, and the second gives the floor. A `Protocol` selects other real samples: papers
usually compare with all training images.
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
from gan_cli.data.load_dataset import build_dataset, build_held_out, held_out_split
from gan_cli.data.selection import Selection
from gan_cli.errors import GanCliError, first_few, one_line
from gan_cli.evaluation.metrics.duplicates import describe_duplicates
from gan_cli.evaluation.metrics.feature_extractors import SampleSubset
from gan_cli.randomness import generator_for

MIN_SAMPLES = 10
MAX_MISSING_SHARE = 0.05  # largest share of training images whose class the test split may lack


@dataclass(frozen=True)
class Protocol:
    """Selects `n` real samples to compare with: of held_out, train or all (training and held-out samples together).

    If `n` is None, held_out takes as many real samples as there are fakes, and train and all take every sample.
    """

    reals: str = "held_out"
    n: int | None = None


DEFAULT_PROTOCOL = Protocol()


@dataclass(frozen=True)
class RealData:
    """The real data of a run.

    `train` is the data set of the training. `train_unlimited` is the same data set without `dataset.limit`. `held_out`
    is the test split, or None if there is none; then `why` gives the reason. `modes` holds the modes of the
    distribution for some data sets of points, else None. `stacked` is true if each channel of an image is a digit.
    `notes` are lines that tell the user about the held-out samples, for example which of them are left out.
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
        """The fingerprint of the training data, and that of the held-out data ("" if there are none)."""
        return [self.train_unlimited.fingerprint, "" if self.held_out is None else self.held_out.fingerprint]

    @property
    def max_per_side(self) -> int:
        """The largest number of real samples that the comparison and the floor can each have by default."""
        count = len(self.train_unlimited)
        return count // 2 if self.held_out is None else min(count, len(self.held_out))

    def available(self, protocol: Protocol) -> int:
        """Returns the number of real samples that this protocol has for the comparison."""
        held_out = 0 if self.held_out is None else len(self.held_out)
        if protocol.reals == "held_out":
            return held_out or len(self.train_unlimited) // 2
        return len(self.train_unlimited) + (held_out if protocol.reals == "all" else 0)

    def select(self, n: int, protocol: Protocol = DEFAULT_PROTOCOL) -> tuple[SampleSubset, SampleSubset | None]:
        """Returns the real samples to compare `n` fakes with, and at most `n` others, or None if too few are left."""
        available = self.available(protocol)
        count = min(available, protocol.n or (n if protocol.reals == "held_out" else available))
        train = _shuffled("reference", self.train_unlimited)
        if self.held_out is None and protocol.reals == "held_out":
            return train.narrow(0, count), train.narrow(len(train) // 2, n)
        if self.held_out is None or protocol.reals == "all":
            whole = train if self.held_out is None else _shuffled("all", self.train_unlimited, self.held_out)
            others = whole.narrow(count, n)
            return whole.narrow(0, count), others if len(others) >= MIN_SAMPLES else None
        held_out = _shuffled("held out", self.held_out)
        compared, other = (held_out, train) if protocol.reals == "held_out" else (train, held_out)
        return compared.narrow(0, count), other.narrow(0, n)

    def held_out_images(self, count: int) -> tuple[Tensor, Tensor | None]:
        """Returns `count` held-out images, uint8 `[count, C, H, W]`, and None.

        Without a test split, returns training images and their positions in `train`, `[count]`.
        """
        if self.held_out is not None:
            return self.select(count)[0][:], None
        own = torch.randperm(len(self.train), generator=generator_for(0, "own"))[:count]
        return self.train.samples[own], own

    @property
    def max_inputs(self) -> int:
        """The largest number of inputs that a task can be evaluated on: all held-out images, or half of the data."""
        return len(self.train_unlimited) // 2 if self.held_out is None else len(self.held_out)

    def select_inputs(self, n: int) -> tuple[tuple[Dataset, Tensor], tuple[Dataset, Tensor]]:
        """Returns `n` samples whose images are inputs of a task, and training samples that are not among them.

        Each is a data set and the positions in it. The inputs are the first ones that `select` compares fakes with.
        """
        if self.held_out is not None:
            training = self.train, _shuffled("reference", self.train).index
            return (self.held_out, _shuffled("held out", self.held_out).index[:n]), training
        order = _shuffled("reference", self.train_unlimited).index
        return (self.train_unlimited, order[:n]), (self.train_unlimited, order[len(order) // 2 :])

    def describe(self, n: int, protocol: Protocol = DEFAULT_PROTOCOL) -> str:
        """Returns one line that says which real samples the `n` fakes are compared with."""
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
        """Lines about duplicates within the training images, and about held-out images that are training images too."""
        return describe_duplicates(
            self.train_unlimited.samples, None if self.held_out is None else self.held_out.samples
        )


def _shuffled(purpose: str, *parts: Dataset) -> SampleSubset:
    order = torch.randperm(sum(map(len, parts)), generator=generator_for(0, purpose))
    return SampleSubset(tuple(part.samples for part in parts), order)


def find_real_data(section: Any, image_size: int | tuple[int, ...] | None, dataset: Dataset) -> RealData:
    """Returns the real data for `dataset`, which was built from this section of the run's config."""
    whole = dataset
    if section.limit is not None:
        offline = {} if dataset.complete else {"download": False}  # a download failed, and would fail again
        whole = build_dataset(dataclasses.replace(section, limit=None, **offline), image_size)
    held_out, why = None, "they have no test split"
    if held_out_split(section, dataset) is not None:
        try:
            held_out = build_held_out(section, image_size, dataset, limit=None)
        except GanCliError as error:
            why = f"no test split: {one_line(error, 120)}"
        if held_out is not None and (held_out.sources is None) != (dataset.sources is None):
            in_pairs = held_out.sources is not None
            why = "only their test split is in pairs" if in_pairs else "their test split is not in pairs"
            held_out = None
    notes: list[str] = []
    if held_out is not None:
        if clipped := held_out.changes.get("values_cut_off", 0):
            notes.append(
                f"{clipped:,} held-out images have values outside the range of the training data; clipped to it"
            )
        held_out, why = _of_the_same_classes(held_out, whole, notes)
    if held_out is not None and (held_out.samples.shape[1:] != whole.samples.shape[1:] or len(held_out) < MIN_SAMPLES):
        held_out, why = None, "their test split is too small or of another shape"
    stacked = section.name == "stacked_mnist" and section.classes is None
    return RealData(dataset, whole, held_out, why, known_modes(section), stacked, tuple(notes))


def _of_the_same_classes(held_out: Dataset, whole: Dataset, notes: list[str]) -> tuple[Dataset | None, str]:
    """Returns the held-out samples whose classes the training data also have, and ""; or None and the reason.

    All are returned if one side has no classes or has several attributes. Adds lines for the user to `notes`.
    """
    labels, others = whole.labels, held_out.labels
    foreign = [name for name in held_out.classes if name not in whole.classes]
    if labels is None or others is None:
        if labels is not None:
            notes.append(
                "the held-out images have no classes: it is not known whether they have those of the training data"
            )
        return held_out, ""
    if labels.ndim > 1 or others.ndim > 1:
        if foreign:
            notes.append(f"the held-out images have {list_names(foreign)}, which the training data do not have")
        return held_out, ""
    if foreign:
        is_known = torch.tensor([name in whole.classes for name in held_out.classes])
        in_known_classes = (is_known[others] & (others >= 0)).nonzero().squeeze(1)
        notes.append(
            f"{len(others) - len(in_known_classes):,} of {len(others):,} held-out images are left out:"
            f" {list_names(foreign)} {'is no class' if len(foreign) == 1 else 'are no classes'} of the training data"
        )
        if not len(in_known_classes):
            return None, "their test split has none of their classes"
        held_out = Selection(tuple(name for name in held_out.classes if name not in foreign)).apply(held_out)
    return _unless_missing(held_out, whole, notes)


def _unless_missing(held_out: Dataset, whole: Dataset, notes: list[str]) -> tuple[Dataset | None, str]:
    """Returns `held_out` and "". If it lacks the classes of many training samples, returns None and the reason.

    Otherwise fakes of these classes would be compared with real samples of other classes.
    """
    assert whole.labels is not None
    assert held_out.labels is not None
    counts = whole.labels[whole.labels >= 0].bincount(minlength=len(whole.classes))
    found = {held_out.classes[label] for label in held_out.labels.unique().tolist() if label >= 0}
    by_class = zip(whole.classes, counts.tolist(), strict=True)
    missing = {name: count for name, count in by_class if count and name not in found}
    if not missing:
        return held_out, ""
    share = sum(missing.values()) / int(counts.sum())
    if share > MAX_MISSING_SHARE:
        return None, f"their test split has no {list_names([*missing])}"
    notes.append(f"the held-out images have no {list_names([*missing])}, {share:.1%} of the training images")
    return held_out, ""


def list_names(classes: list[str]) -> str:
    """Returns the first few names of classes for a message. The names come from the user."""
    return first_few([one_line(name, 40) for name in classes], 5)
