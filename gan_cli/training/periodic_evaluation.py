"""Evaluates samples during training: `evaluation.metrics`, and classes and modes found by a classifier."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gan_cli.config.options.networks.pretrained import warning_of_extractor
from gan_cli.config.train_config import Config
from gan_cli.data.dataset import Dataset, to_uint8
from gan_cli.data.datasets.stacked_mnist import DIGITS, powers_of_ten, unstack_digits
from gan_cli.data.labels import Attribute, attributes_of, encode_labels, evenly
from gan_cli.errors import LostProcessError, UsageError, one_line
from gan_cli.evaluation.callbacks import LogCallback
from gan_cli.evaluation.compute import check_metrics, evaluate_samples
from gan_cli.evaluation.generated_samples import (
    FIRST_EVALUATION_SEED,
    SampleSource,
    generate_evaluated,
    recompute_batch_norm_statistics,
)
from gan_cli.evaluation.metrics.chance_level import majority_class_accuracy
from gan_cli.evaluation.metrics.classifier import Classifier, LabelledImages
from gan_cli.evaluation.metrics.mode_coverage import count_labels
from gan_cli.evaluation.paired_inputs import paired_inputs
from gan_cli.evaluation.real_data import find_real_data
from gan_cli.evaluation.reference import Reference, build_extractor, build_reference, check_metrics_of_data
from gan_cli.evaluation.shared_generation import generate_together
from gan_cli.models.conditioning import classification_accuracy
from gan_cli.models.generate import generate
from gan_cli.models.standing_statistics import has_running_statistics
from gan_cli.tasks.condition import Condition
from gan_cli.training.run import Run

CLASS_SEEDS = range(20_000, 21_000)  # other seeds than those of the sample grids
STACK_SEEDS = range(20_000, 46_000)  # as many samples as in published counts of 1000 modes
AT_ONCE = 500  # samples per batch
TIMED = 100  # samples from which the time of an evaluation is estimated
NEIGHBOURS = 10_000  # real points among which the nearest one is searched


def evaluate(run: Run) -> dict[str, float]:
    """Returns `accuracy/class` (conditional runs), `modes/*` (stacked digits) and the metrics of `evaluation.metrics`.

    All processes of the run make the samples. If an evaluation fails, logs the error and returns an empty dict, so that
    the run continues. Raises LostProcessError if another process ended or does not answer.
    """
    try:
        found: dict[str, float] = {}
        for wanted in _classifications(run):
            found |= wanted.metrics(_classified(run, wanted, len(wanted.seeds), AT_ONCE))
        if run.reference is not None:
            found |= _compared(run, evaluated_generator(run), run.reference.n, AT_ONCE)
        return found
    except LostProcessError:
        raise
    except Exception as error:
        run.log.info(f"warning: samples were not evaluated ({one_line(error, 200)})")
        return {}


def reference_for(config: Config, dataset: Dataset, device: torch.device, log: LogCallback) -> Reference | None:
    """Returns what samples will be compared with, if anything. Raises UsageError if a metric does not suit the data."""
    evaluation = config.evaluation
    if not evaluation.metrics:
        return None
    real = find_real_data(config.dataset, config.image_size, dataset)
    check_metrics_of_data(evaluation.metrics, evaluation.extractor, real, "evaluation.")
    extractor = build_extractor(evaluation.extractor, real, log, metrics=evaluation.metrics, device=device)
    reference = build_reference(real, extractor, evaluation.n)
    reference.inputs = paired_inputs(config, real, reference.n, "evaluation.n")
    check_config_metrics(config, reference)
    warning = warning_of_extractor(config, evaluation.extractor)
    for line in [*describe_comparison(reference, evaluation.metrics), *([warning] if warning else [])]:
        log(line)
    return reference


def check_config_metrics(config: Config, reference: Reference) -> None:
    """Raises UsageError if a metric of `evaluation.metrics` does not suit the data or their features."""
    try:
        check_metrics(reference, config.evaluation.metrics)
    except UsageError as error:
        raise UsageError(f"evaluation.{error}") from None


def describe_comparison(reference: Reference | None, metrics: Sequence[str]) -> list[str]:
    """Returns lines about the data that samples are compared with, for the log."""
    if reference is None:
        return []
    why = reference.extractor.why
    lines = [f"{', '.join(metrics)} compared with {reference.describe()}", *reference.data.notes]
    lines += [] if reference.inputs is None else [f"inputs are {reference.inputs.source}"]
    return [f"evaluation: {line}" for line in [*lines, *([f"in random features: {why}"] if why else [])]]


def measured_on(run: Run) -> dict[str, Any]:
    """Returns the data and settings that this run's metrics are measured with, in the form of `comparability.py`."""
    dataset = run.batches.dataset
    found: dict[str, Any] = {}
    shape = {"shape": list(dataset.samples.shape[1:]), "classes": len(dataset.classes)}
    if run.reference is not None:
        found["samples"] = run.reference.basis
    if run.config.classes:
        found["classes"] = {"data": dataset.fingerprint[:16], **shape}
    modes = run.modes
    if modes is not None:
        positions_digest = hashlib.sha256(modes.centres.contiguous().numpy().tobytes() + str(modes.std).encode())
        found["modes"] = {"data": positions_digest.hexdigest()[:16], "modes": len(modes.centres)}
    elif run.config.dataset.name == "stacked_mnist":
        found["modes"] = {"data": dataset.fingerprint[:16], **shape}
    return found


def expected_seconds(run: Run) -> float:
    """Estimates the seconds of an evaluation from a part of its samples. Trains the classifier if one is needed.

    Each process makes TIMED samples. The other processes must have the state.
    """
    try:
        few, seconds = TIMED * run.group.count, 0.0
        for wanted in _classifications(run):
            started = time.perf_counter()
            _classified(run, wanted, few, TIMED)
            seconds += (time.perf_counter() - started) * _times_as_many(len(wanted.seeds), run.group.count)
        if run.reference is not None:
            started = time.perf_counter()
            generator = evaluated_generator(run)
            prepared = time.perf_counter()
            _compared(run, generator, min(few, run.reference.n), TIMED)
            factor = _times_as_many(run.reference.n, run.group.count)
            seconds += prepared - started + (time.perf_counter() - prepared) * factor
        return seconds
    except LostProcessError:
        raise
    except Exception as error:
        run.log.info(f"warning: the time of an evaluation is not known ({one_line(error, 200)})")
        return 0.0


def _times_as_many(n: int, processes: int) -> float:
    """Returns how many times as many of `n` samples process 0 makes as of the few from which the time is estimated."""
    batches = math.ceil(n / AT_ONCE)
    return min(n, math.ceil(batches / processes) * AT_ONCE) / min(n, TIMED)


def evaluated_generator(run: Run) -> nn.Module:
    """Returns the generator that samples are drawn from, with recomputed statistics if it has batch normalization."""
    generator = run.state.sampler
    if has_running_statistics(generator):
        return recompute_batch_norm_statistics(generator, run.config, run.batches.dataset)
    return generator


def _compared(run: Run, generator: nn.Module, n: int, batch_size: int) -> dict[str, float]:
    """Returns the metrics of `evaluation.metrics`, computed on `n` samples and the reference."""
    assert run.reference is not None
    names, dataset = run.config.evaluation.metrics, run.batches.dataset
    source = SampleSource(generator, run.config, dataset, FIRST_EVALUATION_SEED, batch_size, run.group)
    samples, repeats, _, features = generate_evaluated(run.reference, source, n, names)
    found, _ = evaluate_samples(run.reference, samples, names, resamples=0, repeats=repeats, features=features)
    return {metric.name: metric.value for metric in found}


class _Classification(NamedTuple):
    """The seeds and labels of samples, how to classify them (uint8 `[N, C, H, W]`, or points), and the metrics."""

    seeds: range
    labels: Tensor | None
    classify: Callable[[Tensor], Tensor]
    metrics: Callable[[Tensor], dict[str, float]]  # of what `classify` returns, for all samples


def _classifications(run: Run) -> list[_Classification]:
    if not run.config.evaluation.classify:
        return []
    return [wanted for wanted in (_classes_to_find(run), _stacks_to_find(run)) if wanted is not None]


def _classes_to_find(run: Run) -> _Classification | None:
    """Returns how to find the share of samples that are classified as the requested class.

    None without classes or a classifier better than chance. A point gets the class of the nearest real point.
    """
    if not run.config.classes or run.inputs is not None:
        return None
    attributes = attributes_of(run.config.classes)
    labels = evenly(run.config.classes, CLASS_SEEDS, frequencies=run.config.frequencies)
    assert labels is not None
    dataset = run.batches.dataset
    assert dataset.labels is not None

    def metrics(found: Tensor) -> dict[str, float]:
        return {"accuracy/class": classification_accuracy(found, labels, attributes)}

    if dataset.samples.ndim == 2:
        reals = dataset.samples[:NEIGHBOURS]
        given = encode_labels(dataset.labels[:NEIGHBOURS], len(run.config.classes))
        return _Classification(CLASS_SEEDS, labels, lambda points: given[torch.cdist(points, reals).argmin(1)], metrics)
    classifier = _classifier(run, dataset.samples, dataset.labels, attributes)
    return None if classifier is None else _Classification(CLASS_SEEDS, labels, classifier.logits, metrics)


def _stacks_to_find(run: Run) -> _Classification | None:
    """Returns how to find how many numbers the samples of stacked digits show (arXiv:1611.02163, section 3.3.1).

    Each digit of a number is classified by itself. None for other data.
    """
    dataset = run.batches.dataset
    if run.config.dataset.name != "stacked_mnist" or run.config.dataset.classes is not None:
        return None
    digits, digit_labels = unstack_digits(dataset)
    stacked = dataset.samples.shape[1]
    classifier = _classifier(run, digits, digit_labels, [Attribute("", 0, DIGITS)])
    if classifier is None:
        return None
    seeds = STACK_SEEDS[: 26 * DIGITS**stacked]

    def read(samples: Tensor) -> Tensor:
        return classifier.logits(samples.flatten(0, 1).unsqueeze(1)).argmax(1).view(-1, stacked)

    def metrics(digits: Tensor) -> dict[str, float]:
        counted = count_labels(digits @ powers_of_ten(stacked), DIGITS**stacked)
        reverse_kl = round(counted.reverse_kl, 6)
        return {"modes/covered": counted.covered, "modes/possible": DIGITS**stacked, "modes/reverse_kl": reverse_kl}

    labels = evenly(run.config.classes, seeds, frequencies=run.config.frequencies)
    return _Classification(seeds, labels, read, metrics)


def _classifier(run: Run, images: Tensor, labels: Tensor, attributes: list[Attribute]) -> Classifier | None:
    """Returns a classifier, trained or loaded once per run, or None if there is one class.

    Also returns None, which is logged, for a classifier at chance level and for few images.
    """
    if majority_class_accuracy(labels, attributes) == 1:
        return None
    key = (images.shape[1], len(attributes), sum(attribute.size for attribute in attributes))
    if key not in run.classifiers:
        data = LabelledImages(images, labels, attributes, run.batches.dataset.fingerprint)
        run.classifiers[key], _ = run.load_classifier(data, run.log.info, "it does not classify samples")
    return run.classifiers[key]


def _classified(run: Run, wanted: _Classification, n: int, batch_size: int) -> Tensor:
    """Generates the first `n` samples in batches, by all processes, and returns their classification."""
    condition = None if wanted.labels is None else Condition(wanted.labels[:n])
    generator, latent, seeds = run.state.sampler, run.objective.latent, wanted.seeds[:n]
    if run.group.count > 1:
        together = generate_together(run.group, generator, latent, seeds, batch_size, condition)
        return torch.cat([wanted.classify(samples) for (samples,) in together])
    batches = generate(generator, latent, seeds, batch_size, condition=condition)
    return torch.cat([wanted.classify(to_uint8(samples)) for samples in batches])
