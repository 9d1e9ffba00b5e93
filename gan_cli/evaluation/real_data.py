"""Which real samples fakes are compared with, and what is left out of them.

Unless asked otherwise, fakes are compared with real samples that were held out, where the data have a test split; the
floor is what as many training samples score against the same. Data without one are cut into two halves, always alike:
fakes are compared with the one, and the other makes the floor. `Protocol` asks otherwise: figures of papers are of all
training images.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from gan_cli.data.dataset import Dataset
from gan_cli.data.load_dataset import Modes, build_dataset, known_modes
from gan_cli.data.selection import Selection
from gan_cli.errors import GanCliError, few, one_line
from gan_cli.evaluation.metrics.doubles import describe_doubles
from gan_cli.evaluation.metrics.extractors import Picked
from gan_cli.randomness import generator_for

FEWEST = 10
MOST = 10**9  # real samples
MOST_MISSING = 0.05  # of the training pictures may be of classes that a test split lacks
HELD_OUT = {"train": "test", "valid": "test", "extra": "test", "unlabeled": "test"}


@dataclass(frozen=True)
class Protocol:
    """Which real samples fakes are compared with: `held_out`, `train` (all of them) or `all` (both together).

    `n` is how many of them; None: of held-out ones as many as there are fakes, else all.
    """

    reals: str = "held_out"
    n: int | None = None


USUAL = Protocol()


@dataclass(frozen=True)
class Real:
    """The data of a run: what it was trained on, that without `dataset.limit`, and a test split if there is one.

    `modes` is known of points. `stacked`: each channel of a picture is a digit. `why` says why nothing is held out.
    `notes` are lines to be said of what was left out.
    """

    train: Dataset
    whole: Dataset
    held_out: Dataset | None = None
    why: str = ""
    modes: Modes | None = None
    stacked: bool = False
    notes: tuple[str, ...] = ()

    @property
    def most(self) -> int:
        """How many real samples there are on each side."""
        return len(self.whole) // 2 if self.held_out is None else min(len(self.whole), len(self.held_out))

    def available(self, protocol: Protocol) -> int:
        """How many real samples there are to compare with."""
        held_out = 0 if self.held_out is None else len(self.held_out)
        if protocol.reals == "held_out":
            return held_out or len(self.whole) // 2
        return len(self.whole) + (held_out if protocol.reals == "all" else 0)

    def sides(self, n: int, protocol: Protocol = USUAL) -> tuple[Picked, Picked | None]:
        """The samples that `n` fakes are compared with, and at most `n` others for the floor if any are left."""
        count = min(self.available(protocol), protocol.n or (n if protocol.reals == "held_out" else MOST))
        trained = torch.randperm(len(self.whole), generator=generator_for(0, "reference"))
        whole = (self.whole.samples,)
        if self.held_out is None:
            if protocol.reals != "held_out":
                return Picked(whole, trained[:count]), _unless_few(Picked(whole, trained[count : count + n]))
            half = len(trained) // 2
            return Picked(whole, trained[:count]), Picked(whole, trained[half : half + n])
        held_out = (self.held_out.samples,)
        unseen = torch.randperm(len(self.held_out), generator=generator_for(0, "held out"))
        if protocol.reals == "held_out":
            return Picked(held_out, unseen[:count]), Picked(whole, trained[:n])
        if protocol.reals == "train":
            return Picked(whole, trained[:count]), Picked(held_out, unseen[:n])
        both = torch.randperm(len(trained) + len(unseen), generator=generator_for(0, "all"))
        sources = (*whole, *held_out)
        return Picked(sources, both[:count]), _unless_few(Picked(sources, both[count : count + n]))

    def unseen(self, count: int) -> tuple[Tensor, Tensor | None]:
        """So many pictures that G has not seen; or of those it has, with their places in `train`."""
        if self.held_out is not None:
            return self.sides(count)[0][:], None
        own = torch.randperm(len(self.train), generator=generator_for(0, "own"))[:count]
        return self.train.samples[own], own

    def describe(self, n: int, protocol: Protocol = USUAL) -> str:
        noun = "images" if self.train.samples.ndim > 2 else "points"
        if protocol != USUAL:
            return self._describe_sides(n, protocol, noun)
        if self.held_out is None:
            return f"{n:,} {noun} of the data; floor: {n:,} others ({self.why})"
        return f"{n:,} of {len(self.held_out):,} held-out {noun}; floor: {n:,} training {noun} against these"

    def _describe_sides(self, n: int, protocol: Protocol, noun: str) -> str:
        compared, other = self.sides(n, protocol)
        halved = self.held_out is None and protocol.reals == "held_out"
        kind = "" if self.held_out is None else {"held_out": "held-out ", "train": "training "}.get(protocol.reals, "")
        all_of = "all " if len(compared) == self.available(protocol) and not halved else ""
        said = f"{all_of}{len(compared):,} {kind}{noun}{'' if kind else ' of the data'}; floor: "
        if other is None:
            return f"{said}none, as no others are left"
        others = {"held-out ": f"training {noun}", "training ": f"held-out {noun}"}.get(kind, "others")
        return f"{said}{len(other):,} {others} against these"

    @cached_property
    def doubles(self) -> list[str]:
        """Lines about pictures that are there more than once, in the training data or also among the held-out ones."""
        return describe_doubles(self.whole.samples, None if self.held_out is None else self.held_out.samples)


def _unless_few(picked: Picked) -> Picked | None:
    return picked if len(picked) >= FEWEST else None


def find_real(section: Any, image_size: int | tuple[int, ...] | None, dataset: Dataset) -> Real:
    """The real samples beside `dataset`, which was built from this section of a run's config."""
    whole = dataset
    if section.limit is not None:
        whole = build_dataset(dataclasses.replace(section, limit=None), image_size)
    split, held_out, why = HELD_OUT.get(getattr(section, "split", "")), None, "they have no test split"
    if split is not None and dataset.complete:  # else the files are not to be had, which has taken long enough
        try:
            held_out = build_dataset(dataclasses.replace(section, limit=None, split=split), image_size)
        except GanCliError as error:
            why = f"no test split: {one_line(error, 120)}"
    notes: list[str] = []
    cut_off = held_out.changes.get("values_cut_off", 0) if held_out is not None else 0
    if cut_off:
        notes.append(f"{cut_off:,} held-out pictures have values beyond the range of the training data, cut off there")
    if held_out is not None:
        held_out, why = _of_the_same_classes(held_out, whole, notes)
    if held_out is not None and (held_out.samples.shape[1:] != whole.samples.shape[1:] or len(held_out) < FEWEST):
        held_out, why = None, "their test split is too small or of another shape"
    stacked = section.name == "stacked_mnist" and section.classes is None
    return Real(dataset, whole, held_out, why, known_modes(section), stacked, tuple(notes))


def _of_the_same_classes(held_out: Dataset, whole: Dataset, notes: list[str]) -> tuple[Dataset | None, str]:
    """The held-out samples of the classes that the data have, and none of them, with the reason, if too many lack.

    Of several attributes, and where either side has no classes, all are kept, and what is known of them is told.
    """
    labels, others = whole.labels, held_out.labels
    foreign = [name for name in held_out.classes if name not in whole.classes]
    if labels is None or others is None:
        if labels is not None:
            notes.append(
                "the held-out pictures have no classes: whether they are of those of the training data is open"
            )
        return held_out, ""
    if labels.ndim > 1 or others.ndim > 1:
        if foreign:
            notes.append(f"the held-out pictures have {_named(foreign)}, which the training data have not")
        return held_out, ""
    if foreign:
        known = torch.tensor([name in whole.classes for name in held_out.classes])
        kept = (known[others] & (others >= 0)).nonzero().squeeze(1)
        notes.append(
            f"{len(others) - len(kept):,} of {len(others):,} held-out pictures are not compared with: {_named(foreign)}"
            f" {'is no class' if len(foreign) == 1 else 'are no classes'} of the training data"
        )
        if not len(kept):
            return None, "their test split has none of their classes"
        held_out = Selection(tuple(name for name in held_out.classes if name not in foreign)).apply(held_out)
    return _unless_missing(held_out, whole, notes)


def _unless_missing(held_out: Dataset, whole: Dataset, notes: list[str]) -> tuple[Dataset | None, str]:
    """None if the held-out samples lack classes of many training samples: fakes of these would meet others."""
    assert whole.labels is not None
    assert held_out.labels is not None
    counts = whole.labels[whole.labels >= 0].bincount(minlength=len(whole.classes))
    known = held_out.labels[held_out.labels >= 0]
    there = known.bincount(minlength=len(held_out.classes)) if len(held_out) else torch.zeros(0)
    found = {name for name, count in zip(held_out.classes, there.tolist(), strict=True) if count}
    missing = [name for number, name in enumerate(whole.classes) if name not in found and counts[number] > 0]
    if not missing:
        return held_out, ""
    share = sum(int(counts[whole.classes.index(name)]) for name in missing) / max(int(counts.sum()), 1)
    if share > MOST_MISSING:
        return None, f"their test split has no {_named(missing)}"
    notes.append(f"the held-out pictures have no {_named(missing)}, {share:.1%} of the training pictures")
    return held_out, ""


def _named(classes: list[str]) -> str:
    return few([one_line(name, 40) for name in classes], 5)
