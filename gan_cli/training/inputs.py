"""The inputs that a run shows: held-out samples, and what the task gives the generator of them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gan_cli.config.train_config import Config
from gan_cli.data.dataset import Dataset, to_signed_unit
from gan_cli.data.labels import encode_labels
from gan_cli.data.load_dataset import held_out_samples
from gan_cli.randomness import generator_for
from gan_cli.tasks.condition import Condition
from gan_cli.tasks.tasks import task_of

SHOWN = 8


class ShownInputs(NamedTuple):
    """The condition of some images, and these images, float32 `[N, C, H, W]` in [-1, 1]."""

    condition: Condition
    truth: Tensor
    held_out: bool  # False: training images, as the data have no test split


def shown_inputs(config: Config, dataset: Dataset, count: int = SHOWN) -> ShownInputs | None:
    """Returns `count` inputs, the same ones in every run on these data. None for a task without images."""
    make_condition = task_of(config.task).make_condition
    if make_condition is None:
        return None
    held_out = held_out_samples(config, dataset, count)
    used = dataset if held_out is None else held_out
    chosen = torch.randperm(len(used), generator=generator_for(0, "shown"))[:count]
    samples = to_signed_unit(used.samples[chosen])
    labels = None
    if config.classes and used.labels is not None:
        labels = encode_labels(used.labels[chosen], len(config.classes))
    image = None if used.sources is None else to_signed_unit(used.sources[chosen])
    random = generator_for(0, "task")
    condition = make_condition(samples, Condition(labels, image), settings=config.task, random=random)
    return ShownInputs(condition, samples, held_out is not None)
