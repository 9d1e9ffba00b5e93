"""The inputs on which a task is evaluated, with their true images, and the training images for comparison."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from gan_cli.config.train_config import Config
from gan_cli.data.dataset import Dataset, to_signed_unit
from gan_cli.data.labels import encode_labels
from gan_cli.errors import UsageError
from gan_cli.evaluation.real_data import RealData
from gan_cli.randomness import generator_for
from gan_cli.tasks.condition import Condition
from gan_cli.tasks.tasks import task_of


@dataclass(frozen=True)
class PairedInputs:
    """The conditions of N inputs, and their true images, uint8 `[N, C, H, W]`.

    `settings` are the section `task` of the config. `examples` are training samples, at the positions `example_index`,
    whose images are not among the inputs. `source` says in words where the inputs come from. `has_latent` says whether
    the samples of an input depend on a seed.
    """

    settings: Any
    condition: Condition
    truth: Tensor
    examples: Dataset
    example_index: Tensor
    source: str
    held_out: bool
    has_latent: bool

    def __len__(self) -> int:
        return len(self.truth)

    @cached_property
    def digest(self) -> str:
        """The sha256, in hex digits, of the conditions without labels, and of the true images."""
        digest = hashlib.sha256()
        for part in (*self.condition._replace(labels=None), self.truth):
            if part is not None:
                digest.update(str(tuple(part.shape)).encode())
                digest.update(part.contiguous().numpy().data)
        return digest.hexdigest()

    def first(self, count: int) -> PairedInputs:
        """Returns the first `count` inputs."""
        return dataclasses.replace(self, condition=self.condition.rows(slice(count)), truth=self.truth[:count])

    def example_condition(self, count: int) -> tuple[Condition, Tensor]:
        """Returns the conditions of the first `count` examples, without labels, and their images in [-1, 1]."""
        return _condition_of(self.settings, self.examples, self.example_index[:count])


def paired_inputs(config: Config, real: RealData, n: int, key: str = "n") -> PairedInputs | None:
    """Returns `n` held-out inputs of the config's task, the same ones for every run on these data and this task.

    If the data have no test split, these are images of one half of the data, and the examples are those of the other.
    Masks are drawn as in training, from a fixed seed. Returns None for a task without images. Raises UsageError, which
    names the option `key`, if there are fewer than `n`.
    """
    if task_of(config.task).make_condition is None:
        return None
    if n > real.max_inputs:
        kind = "images, half of the data," if real.held_out is None else "held-out images"
        raise UsageError(f"{key}={n}: there are {real.max_inputs:,} {kind} as inputs, use at most that many")
    (used, index), (examples, example_index) = real.select_inputs(n)
    condition, _ = _condition_of(config.task, used, index)
    truth, held_out = used.samples[index], real.held_out is not None
    source = f"{n:,} held-out images" if held_out else f"{n:,} training images ({real.why})"
    if config.classes:
        labels = _labels(config, used, index)
        if labels is None:
            labels, source = _drawn_labels(config, real.train, n), f"{source}, with labels of random training images"
        condition = condition._replace(labels=labels)
    has_latent = bool(config.architecture.generator.latent_dim)
    return PairedInputs(config.task, condition, truth, examples, example_index, source, held_out, has_latent)


def _condition_of(settings: Any, dataset: Dataset, index: Tensor) -> tuple[Condition, Tensor]:
    samples = to_signed_unit(dataset.samples[index])
    image = None if dataset.sources is None else to_signed_unit(dataset.sources[index])
    make_condition, random = task_of(settings).make_condition, generator_for(0, "task")
    assert make_condition is not None
    return make_condition(samples, Condition(image=image), settings=settings, random=random), samples


def _labels(config: Config, used: Dataset, index: Tensor) -> Tensor | None:
    """Returns the labels of the inputs, `[N, K]` in the order of the run's classes; None if they have other classes."""
    labels, classes = used.labels, config.classes
    if labels is None or not {*used.classes} <= {*classes} or (labels.ndim > 1 and used.classes != classes):
        return None
    columns = torch.tensor([*map(classes.index, used.classes), -1])  # the last one is that of unknown labels
    return encode_labels(columns[labels[index]], len(classes))


def _drawn_labels(config: Config, train: Dataset, n: int) -> Tensor:
    """Returns the labels of `n` random training images, `[n, K]`."""
    assert train.labels is not None
    drawn = torch.randint(len(train), (n,), generator=generator_for(0, "labels"))
    return encode_labels(train.labels[drawn], len(config.classes))
