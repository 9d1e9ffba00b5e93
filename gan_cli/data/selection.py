"""Which samples of a data set are kept: some classes, or fewer samples."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gan_cli.data.dataset import Dataset
from gan_cli.image_labels.layout import class_numbers
from gan_cli.randomness import generator_for

SEED = 0  # of the choice, which must not change with a run's seed


@dataclass(frozen=True)
class Selection:
    """`classes` by name, in the order that their labels get; None keeps all. `limit` samples are chosen at random."""

    classes: tuple[str, ...] | None = None
    limit: int | None = None

    def indices(self, labels: Sequence[Any] | Tensor | None, names: Sequence[str], count: int) -> Tensor:
        """Which of `count` samples are kept, in their order; UsageError for a class that is not among `names`."""
        kept = torch.arange(count)
        if self.classes is not None:
            wanted = torch.tensor(self._numbers(labels, names))
            kept = kept[torch.isin(torch.as_tensor(labels), wanted)]
        if self.limit is not None and self.limit < len(kept):
            chosen = torch.randperm(len(kept), generator=generator_for(SEED, "limit"))[: self.limit]
            kept = kept[chosen.sort().values]
        return kept

    def apply(self, dataset: Dataset) -> Dataset:
        """What is kept of `dataset`, its labels counted anew; done twice it is as done once."""
        kept = self.indices(dataset.labels, dataset.classes, len(dataset))
        if len(kept) == len(dataset) and self.classes in (None, dataset.classes):
            return dataset
        labels, classes = dataset.labels, dataset.classes
        # Samples may be mapped from a file larger than the memory: they are not copied without need.
        samples = dataset.samples if len(kept) == len(dataset) else dataset.samples[kept]
        if labels is not None:
            labels = labels[kept]
        if self.classes is not None and labels is not None:
            renumbered = torch.full((len(classes),), -1)
            renumbered[self._numbers(labels, classes)] = torch.arange(len(self.classes))
            labels, classes = renumbered[labels], self.classes
        source = dataset.source
        if len(kept) < len(dataset):
            source += f"; {len(kept):,} of {len(dataset):,} kept"
        return dataclasses.replace(dataset, samples=samples, labels=labels, classes=classes, source=source, digest=None)

    def _numbers(self, labels: Sequence[Any] | Tensor | None, names: Sequence[str]) -> list[int]:
        assert self.classes is not None
        return class_numbers(self.classes, labels, names)
