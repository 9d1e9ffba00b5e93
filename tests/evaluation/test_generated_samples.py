"""The samples that a generator is judged by: labels as in the data, statistics of its own, the same each time."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from gan_cli.data.load_dataset import build_dataset, with_classes
from gan_cli.errors import DivergedError
from gan_cli.evaluation.generated_samples import _condition, generate_samples, recompute_batch_norm_statistics
from gan_cli.models.build_networks import latent_of
from gan_cli.models.generate import generate
from gan_cli.tasks.condition import Condition, labels_of
from support.configs import TINY_IMAGES, compose
from support.training import train_in_memory

SEEDS = range(50, 80)
CONDITIONAL = compose(*TINY_IMAGES, "conditioning=projection", "dataset.limit=30", "steps=2")


def test_labels_are_as_frequent_as_in_the_data() -> None:
    dataset = build_dataset(CONDITIONAL.dataset, CONDITIONAL.image_size)
    uneven = dataclasses.replace(dataset, labels=torch.tensor([0] * 24 + [3] * 6))
    labels = labels_of(_condition(with_classes(CONDITIONAL, dataset), uneven, range(4000)))
    assert labels.sum(1).eq(1).all()
    assert labels.mean(0).tolist() == pytest.approx([0.8, 0, 0, 0.2, 0, 0, 0, 0], abs=0.03)
    assert _condition(compose(*TINY_IMAGES), dataset, SEEDS) is None


def test_samples_are_those_of_their_seeds_and_labels_in_batches_of_any_size() -> None:
    dataset = build_dataset(CONDITIONAL.dataset, CONDITIONAL.image_size)
    config, generator = with_classes(CONDITIONAL, dataset), train_in_memory(CONDITIONAL).sampler
    told: list[int] = []
    made = generate_samples(generator, config, dataset, SEEDS, 7, lambda what, done, count: told.append(done))
    assert (made.dtype, made.shape) == (torch.uint8, (30, 1, 16, 16))
    assert told == [7, 14, 21, 28, 30]
    whole = generate_samples(generator, config, dataset, SEEDS, 30)
    assert (made.int() - whole.int()).abs().max() <= 1
    condition = _condition(config, dataset, SEEDS)
    (expected,) = generate(generator, latent_of(config), SEEDS, 30, condition=condition)
    assert torch.equal(whole, expected.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8))
    other = Condition(labels_of(condition).roll(1, 1))
    assert not torch.equal(expected, next(generate(generator, latent_of(config), SEEDS, 30, condition=other)))


def test_statistics_are_those_of_its_own_samples() -> None:
    dataset = build_dataset(CONDITIONAL.dataset, CONDITIONAL.image_size)
    config, generator = with_classes(CONDITIONAL, dataset), train_in_memory(CONDITIONAL).sampler
    own = recompute_batch_norm_statistics(generator, config, dataset)
    before, after = dict(generator.named_buffers()), dict(own.named_buffers())
    means = [name for name in after if name.endswith("running_mean")]
    assert means
    assert not any(torch.equal(before[name], after[name]) for name in means)
    again = dict(recompute_batch_norm_statistics(generator, config, dataset).named_buffers())
    assert all(torch.equal(after[name], again[name]) for name in means)


def test_samples_that_are_not_finite_are_no_samples() -> None:
    dataset = build_dataset(CONDITIONAL.dataset, CONDITIONAL.image_size)
    generator = train_in_memory(CONDITIONAL).sampler
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.fill_(torch.nan)
    with pytest.raises(DivergedError, match="samples that are not finite"):
        generate_samples(generator, with_classes(CONDITIONAL, dataset), dataset, SEEDS, 30)
