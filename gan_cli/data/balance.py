"""`dataset.balance`: batches in which each class comes equally often, however many samples it has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gan_cli.errors import UsageError, one_line
from gan_cli.randomness import generator_for

UNEQUAL = 10  # times as many samples as the rarest class has, from where on it is said


@dataclass(frozen=True)
class Groups:
    """The samples of each class that has some, in their order; those whose class is not known are one of them."""

    members: tuple[Tensor, ...]
    _orders: dict[str, tuple[int, int, Tensor]] = field(default_factory=dict, compare=False, repr=False)  # the latest

    @property
    def per_epoch(self) -> int:
        """Draws in which each sample comes at least once: as many of each class as the largest has."""
        return len(self.members) * max(map(len, self.members))

    def indices(self, seed: int, batch_size: int, update: int, offset: int = 0) -> Tensor:
        """Which samples the discriminator sees in its update number `update`: `[batch_size]`.

        Draws follow each other in rounds in which each class comes once, in an order of its own; a class's samples
        come in permutations of theirs, one after the other. A function of its arguments alone; `offset` is how many
        more samples were seen before than batches of this size have.
        """
        first, count, found = max(0, update * batch_size + offset), len(self.members), []
        for place in range(first, first + batch_size):
            turn, position = divmod(place, count)
            group = int(self._order(seed, "balance", turn, count)[position])
            members = self.members[group]
            epoch, chosen = divmod(turn, len(members))
            found.append(members[self._order(seed, f"balance/{group}", epoch, len(members))[chosen]])
        return torch.stack(found)

    def _order(self, seed: int, purpose: str, turn: int, count: int) -> Tensor:
        """A permutation that is a function of the arguments; the last one for each purpose is kept."""
        kept = self._orders.get(purpose)
        if kept is None or kept[:2] != (seed, turn):
            kept = (seed, turn, torch.randperm(count, generator=generator_for(seed, purpose, turn)))
            self._orders[purpose] = kept
        return kept[2]

    def drawn(self, random: torch.Generator, count: int) -> Tensor:
        """So many samples, each of a class drawn evenly."""
        groups = torch.randint(len(self.members), (count,), generator=random)
        places = torch.rand(count, generator=random)
        members = [self.members[int(group)] for group in groups]
        return torch.stack([each[int(place * len(each))] for each, place in zip(members, places, strict=True)])


def groups_of(labels: Tensor | None, classes: Sequence[str]) -> Groups:
    """The samples of each class; UsageError for data without classes, or with several attributes."""
    if labels is None or not classes:
        raise UsageError("dataset.balance=true: these data have no classes to draw equally often, leave it out")
    if labels.ndim > 1:
        raise UsageError(
            "dataset.balance=true: these pictures have several attributes; choose one by dataset.labels_columns=[...]"
        )
    found = [(labels == number).nonzero().flatten() for number in range(-1, len(classes))]
    return Groups(tuple(members for members in found if len(members)))


def note_on_counts(labels: Tensor | None, classes: Sequence[str], balance: bool, conditional: bool) -> str | None:
    """What is said of classes of very unequal size, to a run that is asked for them or draws them equally often."""
    if labels is None or labels.ndim > 1 or len(classes) < 2:
        return None
    counts = labels[labels >= 0].bincount(minlength=len(classes))
    if not counts.any():
        return None
    few, many = int(counts.masked_fill(counts == 0, len(labels) + 1).argmin()), int(counts.argmax())
    rare, common = f"{one_line(classes[few], 40)} {counts[few]:,}", f"{one_line(classes[many], 40)} {counts[many]:,}"
    times = int(counts[many]) / int(counts[few])
    if balance:
        seen = f"a sample of the rarest {times:.3g} times as often as one of the largest"
        return f"balance: each class is drawn equally often, {seen} ({rare}, {common})"
    if conditional and times >= UNEQUAL:
        return (
            f"warning: classes are very unequal ({rare}, {common}): the rare ones are seldom seen;"
            " dataset.balance=true draws each equally often"
        )
    return None
