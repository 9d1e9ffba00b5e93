"""Draws each class equally often, however many samples it has (option `dataset.balance`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gan_cli.errors import UsageError, format_number, one_line
from gan_cli.randomness import generator_for

UNEQUAL = 10  # a warning is printed if the largest class has at least this many times the samples of the rarest


@dataclass(frozen=True)
class ClassGroups:
    """Sample indices by class: an int64 tensor for each class with samples. Samples of unknown class form one, too."""

    members: tuple[Tensor, ...]
    # By purpose: seed, round number and permutation.
    _orders: dict[str, tuple[int, int, Tensor]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def per_epoch(self) -> int:
        """The number of draws after which every sample was drawn: classes times the size of the largest class."""
        return len(self.members) * max(map(len, self.members))

    def indices(self, seed: int, batch_size: int, update: int, offset: int = 0) -> Tensor:
        """Returns the sample indices of discriminator update `update`, int64 `[batch_size]`, by these arguments alone.

        A round draws each class once, in a random order. All samples of a class are drawn, in a random order, before
        one is drawn again. `offset` is as for `batch_indices`.
        """
        first, count, found = max(0, update * batch_size + offset), len(self.members), []
        for draw in range(first, first + batch_size):
            round_number, position = divmod(draw, count)
            group = int(self._order(seed, "balance", round_number, count)[position])
            members = self.members[group]
            epoch, index = divmod(round_number, len(members))
            found.append(members[self._order(seed, f"balance/{group}", epoch, len(members))[index]])
        return torch.stack(found)

    def _order(self, seed: int, purpose: str, round_number: int, count: int) -> Tensor:
        """Returns a permutation of 0 to `count` - 1 by these arguments alone. Caches the latest of each `purpose`."""
        cached = self._orders.get(purpose)
        if cached is None or cached[:2] != (seed, round_number):
            cached = (seed, round_number, torch.randperm(count, generator=generator_for(seed, purpose, round_number)))
            self._orders[purpose] = cached
        return cached[2]

    def drawn(self, random: torch.Generator, count: int) -> Tensor:
        """Draws `count` sample indices, int64 `[count]`. Each class is equally likely."""
        groups = torch.randint(len(self.members), (count,), generator=random)
        positions = torch.rand(count, generator=random)
        members = [self.members[int(group)] for group in groups]
        return torch.stack([each[int(position * len(each))] for each, position in zip(members, positions, strict=True)])


def group_by_class(labels: Tensor | None, classes: Sequence[str]) -> ClassGroups:
    """Groups the sample indices by class. Raises UsageError if there are no classes or several attributes."""
    if labels is None or not classes:
        raise UsageError("dataset.balance=true: these data have no classes to draw equally often, leave it out")
    if labels.ndim > 1:
        advice = "choose one by dataset.labels_columns=[...]"
        raise UsageError(f"dataset.balance=true: these images have several attributes; {advice}")
    found = [(labels == number).nonzero().flatten() for number in range(-1, len(classes))]
    return ClassGroups(tuple(filter(len, found)))


def class_balance_note(labels: Tensor | None, classes: Sequence[str], balance: bool, conditional: bool) -> str | None:
    """Returns a note about the class sizes; None for several attributes or fewer than two classes.

    With `balance`, it says how much more often a sample of the rarest class is drawn than one of the largest. Else, if
    `conditional`, it warns if the largest class has at least `UNEQUAL` times as many samples as the rarest.
    """
    if labels is None or labels.ndim > 1 or len(classes) < 2:
        return None
    counts = labels[labels >= 0].bincount(minlength=len(classes))
    if not counts.any():
        return None
    rarest, largest = int(counts.masked_fill(counts == 0, len(labels) + 1).argmin()), int(counts.argmax())
    sizes = ", ".join(f"{one_line(classes[number], 40)} {counts[number]:,}" for number in (rarest, largest))
    times = int(counts[largest]) / int(counts[rarest])
    if balance:
        frequency = f"a sample of the rarest {format_number(times, 3)} times as often as one of the largest"
        return f"balance: each class is drawn equally often, {frequency} ({sizes})"
    if conditional and times >= UNEQUAL:
        advice = "dataset.balance=true draws each equally often"
        return f"warning: classes are very unequal ({sizes}): the rare ones are seldom seen; {advice}"
    return None
