"""Generates samples for an evaluation. Their seeds are used for nothing else. Classes are drawn from the data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gan_cli.config.options.loop import WITHOUT_FEATURES
from gan_cli.config.train_config import Config
from gan_cli.data.dataset import Dataset, to_signed_unit, to_uint8
from gan_cli.data.labels import encode_labels
from gan_cli.distributed.process_group import ALONE, ProcessGroup
from gan_cli.errors import DivergedError
from gan_cli.evaluation.callbacks import ProgressCallback, ignore
from gan_cli.evaluation.metrics.feature_extractors import Extractor, Features
from gan_cli.evaluation.reference import Reference
from gan_cli.evaluation.shared_generation import generate_together
from gan_cli.models.build_networks import latent_of
from gan_cli.models.generate import generate, latents_from_seeds
from gan_cli.models.standing_statistics import standing_statistics
from gan_cli.randomness import generator_for
from gan_cli.tasks.condition import Condition
from gan_cli.tasks.tasks import task_of

DIVERSITY_INPUTS, DIVERSITY_SEEDS = 200, 4  # inputs, and samples of each, whose differences are the diversity
FIRST_EVALUATION_SEED = 1_000_000  # these seeds are used neither for sample grids nor for metrics during training
STANDING_SEED, STANDING_BATCHES, STANDING_BATCH = 3_000_000, 100, 64


def generate_samples(
    generator: nn.Module,
    config: Config,
    dataset: Dataset,
    seeds: range,
    batch_size: int,
    progress: ProgressCallback = ignore,
) -> Tensor:
    """Generates a sample for each seed. Returns uint8 images `[N, C, H, W]` or float32 points `[N, 2]`.

    Raises DivergedError if a sample is not finite.
    """
    return _generate(generator, config, _condition(config, dataset, seeds), seeds, batch_size, progress)


class SampleSource(NamedTuple):
    """A generator whose samples are evaluated, with the config and data of its run; the first seed; the batch size.

    `group` are the processes that make the samples.
    """

    generator: nn.Module
    config: Config
    dataset: Dataset
    first_seed: int
    batch_size: int
    group: ProcessGroup = ALONE


class EvaluatedSamples(NamedTuple):
    """Samples, uint8 `[N, C, H, W]` or points, and those of the first M inputs of a task, `[DIVERSITY_SEEDS, M, ...]`.

    The latter are None unless the metric diversity is requested. `labels` are the requested ones, float32 `[N, K]`.
    `features` are those of the samples, if several processes have computed them.
    """

    samples: Tensor
    repeats: Tensor | None = None
    labels: Tensor | None = None
    features: Features | None = None


def generate_evaluated(
    reference: Reference, source: SampleSource, n: int, names: Sequence[str], progress: ProgressCallback = ignore
) -> EvaluatedSamples:
    """Generates the `n` samples that the metrics in `names` need, from `n` seeds, or for `n` inputs from one seed.

    Raises DivergedError if a sample is not finite.
    """
    extractor = None if {*WITHOUT_FEATURES} >= {*names} else reference.extractor
    first = source.first_seed
    if reference.inputs is None:
        seeds = range(first, first + n)
        condition = _condition(source.config, source.dataset, seeds)
        samples, features = _generate_by_all(source, condition, seeds, progress, extractor)
        return EvaluatedSamples(samples, None, None if condition is None else condition.labels, features)
    inputs = reference.inputs.first(n)
    samples, features = _generate_by_all(source, inputs.condition, [first] * n, progress, extractor)
    if "diversity" not in names:
        return EvaluatedSamples(samples, None, inputs.condition.labels, features)
    few = inputs.first(DIVERSITY_INPUTS).condition
    count = len(samples[:DIVERSITY_INPUTS])
    others = [[seed] * count for seed in range(first + 1, first + DIVERSITY_SEEDS)]
    repeats = [samples[:count], *(_generate_by_all(source, few, seeds, progress)[0] for seeds in others)]
    return EvaluatedSamples(samples, torch.stack(repeats), inputs.condition.labels, features)


def _generate_by_all(
    source: SampleSource,
    condition: Condition | None,
    seeds: Sequence[int],
    progress: ProgressCallback,
    extractor: Extractor | None = None,
) -> tuple[Tensor, Features | None]:
    """Returns samples, made by all processes of the source, and their features if several have computed these."""
    generator, config, _, _, batch_size, group = source
    if group.count == 1:
        return _generate(generator, config, condition, seeds, batch_size, progress), None
    batches = generate_together(group, generator, latent_of(config), seeds, batch_size, condition, extractor)
    samples, *found = (torch.cat(parts) for parts in zip(*batches, strict=True))
    return samples, Features(*found) if found else None


def _generate(
    generator: nn.Module,
    config: Config,
    condition: Condition | None,
    seeds: Sequence[int],
    batch_size: int,
    progress: ProgressCallback,
) -> Tensor:
    fakes: list[Tensor] = []
    for batch in generate(generator, latent_of(config), seeds, batch_size, condition=condition):
        if not batch.isfinite().all():
            raise DivergedError("its generator makes samples that are not finite")
        fakes.append(to_uint8(batch))
        progress("samples", sum(map(len, fakes)), len(seeds))
    return torch.cat(fakes)


def recompute_batch_norm_statistics(generator: nn.Module, config: Config, dataset: Dataset) -> nn.Module:
    """Returns a copy of the generator with batch norm statistics recomputed from its own samples.

    These are called standing statistics. An averaged (EMA) generator needs them because its stored statistics were
    measured with other weights than the averaged ones.
    """
    seeds = range(STANDING_SEED, STANDING_SEED + STANDING_BATCHES * STANDING_BATCH)
    condition = _condition(config, dataset, seeds)
    batches = (
        (latents_from_seeds(seeds[part], latent_of(config)), None if condition is None else condition.rows(part))
        for part in (slice(start, start + STANDING_BATCH) for start in range(0, len(seeds), STANDING_BATCH))
    )
    return standing_statistics(generator, batches)


def _condition(config: Config, dataset: Dataset, seeds: range) -> Condition | None:
    """Returns a condition for each seed: that of a randomly drawn sample of the data; None if it has no parts."""
    make_condition = task_of(config.task).make_condition
    labelled = bool(config.classes) and dataset.labels is not None
    if make_condition is None and not labelled:
        return None
    drawn = torch.randint(len(dataset), (len(seeds),), generator=generator_for(seeds[0], "labels"))
    labels = None
    if labelled and dataset.labels is not None:
        labels = encode_labels(dataset.labels[drawn], len(config.classes))
    if make_condition is None:
        return Condition(labels)
    image = None if dataset.sources is None else to_signed_unit(dataset.sources[drawn])
    samples, random = to_signed_unit(dataset.samples[drawn]), generator_for(seeds[0], "task")
    return make_condition(samples, Condition(labels, image), settings=config.task, random=random)
