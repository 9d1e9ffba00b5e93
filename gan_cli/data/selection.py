"""Selects samples of a data set: those of some classes, or a random subset."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gan_cli.data.dataset import Dataset
from gan_cli.image_labels.folder_classes import class_indices
from gan_cli.randomness import generator_for

SEED = 0  # seed of the random subset; it does not depend on the seed of a run


@dataclass(frozen=True)
class Selection:
    """Says which samples of a data set are used."""

    classes: tuple[str, ...] | None = None  # names of the selected classes, in the order of the new numbers; None: all
    limit: int | None = None  # number of samples that are drawn at random; None: all

    def indices(self, labels: Sequence[Any] | Tensor | None, names: Sequence[str], count: int) -> Tensor:
        """Returns the sorted indices of the selected samples. Raises UsageError if a class is not in `names`."""
        selected = torch.arange(count)
        if self.classes is not None:
            wanted = torch.tensor(class_indices(self.classes, labels, names))
            selected = selected[torch.isin(torch.as_tensor(labels), wanted)]
        if self.limit is not None and self.limit < len(selected):
            order = torch.randperm(len(selected), generator=generator_for(SEED, "limit"))[: self.limit]
            selected = selected[order.sort().values]
        return selected

    def apply(self, dataset: Dataset) -> Dataset:
        """Returns the data set of the selected samples, with classes numbered as in `classes`. Is idempotent."""
        selected = self.indices(dataset.labels, dataset.classes, len(dataset))
        if len(selected) == len(dataset) and self.classes in (None, dataset.classes):
            return dataset
        samples, labels, classes, source = dataset.samples, dataset.labels, dataset.classes, dataset.source
        sources = dataset.sources
        if len(selected) < len(dataset):  # a copy, else samples stay mapped from a file that may exceed the memory
            samples, labels = samples[selected], None if labels is None else labels[selected]
            sources = None if sources is None else sources[selected]
            source += f"; {len(selected):,} of {len(dataset):,} kept"
        if self.classes is not None and labels is not None:
            renumbered = torch.full((len(classes),), -1)
            renumbered[class_indices(self.classes, labels, classes)] = torch.arange(len(self.classes))
            labels, classes = renumbered[labels], self.classes
        return dataclasses.replace(
            dataset, samples=samples, sources=sources, labels=labels, classes=classes, source=source, digest=None
        )
