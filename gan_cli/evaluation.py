"""What a classifier of the data makes of samples: are they of the class asked for, and how many modes are there."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gan_cli.build import latent_of
from gan_cli.config import Config
from gan_cli.data import known_modes
from gan_cli.data.dataset import Dataset, to_bytes
from gan_cli.data.stacked import DIGITS, places, unstacked
from gan_cli.errors import UsageError, one_line
from gan_cli.generation import generate
from gan_cli.labels import Attribute, attributes_of, condition_of, evenly
from gan_cli.metrics.chance import guessing, trust
from gan_cli.metrics.classifier import CLASSIFIERS, Classifier, cached_classifier, describe_training
from gan_cli.metrics.modes import count_labels
from gan_cli.models.conditioning import classification_accuracy
from gan_cli.models.standing import has_statistics
from gan_cli.quality import check_metrics, compute_figures
from gan_cli.realdata import find_real
from gan_cli.reference import Reference, Say, build_extractor, build_reference
from gan_cli.run import Run
from gan_cli.samples import FIRST_SEED, draw_samples, with_own_statistics

CLASS_SEEDS = range(20_000, 21_000)  # apart from those of the pictures
STACK_SEEDS = range(20_000, 46_000)  # as many samples as the published counts of 1000 modes are of
AT_ONCE = 500
TIMED = 100  # samples, of which the time of an evaluation is estimated
NEIGHBOURS = 10_000  # real points that samples are compared with


def evaluate(run: Run) -> dict[str, float]:
    """`accuracy/class` of a conditional run, `modes/*` of stacked digits, and the figures of `evaluation.metrics`.

    Whatever goes wrong here is told: it is no reason to end a run.
    """
    try:
        found = _class_accuracy(run) | _stacked_modes(run)
        return found if run.reference is None else found | _figures(run, _judged_generator(run), run.reference.n)
    except Exception as error:
        run.log.say(f"warning: samples were not evaluated ({one_line(error, 200)})")
        return {}


def reference_for(config: Config, dataset: Dataset, say: Say) -> Reference | None:
    """What the run's samples will be compared with, if that was asked for; UsageError for what these data lack."""
    asked = config.evaluation
    if not asked.metrics:
        return None
    real = find_real(config.dataset, config.image_size, dataset)
    reference = build_reference(real, build_extractor(asked.extractor, real, say), asked.n)
    try:
        check_metrics(reference, asked.metrics)
    except UsageError as error:
        raise UsageError(f"evaluation.{error}") from None
    for line in describe_comparison(reference, asked.metrics):
        say(line)
    return reference


def describe_comparison(reference: Reference, metrics: Sequence[str]) -> list[str]:
    """What samples are compared with, and what is left out of it."""
    why = reference.extractor.why
    lines = [f"{', '.join(metrics)} beside {reference.describe()}", *reference.data.notes]
    return [f"evaluation: {line}" for line in [*lines, *([f"in random features: {why}"] if why else [])]]


def measured_on(run: Run) -> dict[str, Any]:
    """What this run's figures of samples, of classes and of modes are measured on, as `basis.py` compares it."""
    dataset, found = run.batches.dataset, {}
    shape = {"shape": list(dataset.samples.shape[1:]), "classes": len(dataset.classes)}
    if run.reference is not None:
        found["samples"] = run.reference.basis
    if run.config.classes:
        found["classes"] = {"data": dataset.fingerprint[:16], **shape}
    modes = known_modes(run.config.dataset)
    if modes is not None:
        places = hashlib.sha256(modes.centres.contiguous().numpy().tobytes() + str(modes.std).encode())
        found["modes"] = {"data": places.hexdigest()[:16], "modes": len(modes.centres)}
    elif run.config.dataset.name == "stacked_mnist":
        found["modes"] = {"data": dataset.fingerprint[:16], **shape}
    return found


def expected_seconds(run: Run) -> float:
    """About how long an evaluation takes, from some of its samples; trains the classifier that it needs, if any."""
    try:
        return (
            _judging_seconds(run, _class_judging(run))
            + _judging_seconds(run, _stack_judging(run))
            + _figures_seconds(run)
        )
    except Exception as error:
        run.log.say(f"warning: the time of an evaluation is not known ({one_line(error, 200)})")
        return 0.0


def _judging_seconds(run: Run, judging: _Judging | None) -> float:
    if judging is None:
        return 0.0
    few = min(len(judging.seeds), TIMED)
    return _timed(lambda: _judged(run, judging, few)) * len(judging.seeds) / few


def _figures_seconds(run: Run) -> float:
    if run.reference is None:
        return 0.0
    n = run.reference.n
    few = min(n, TIMED)
    generator: list[nn.Module] = []
    preparing = _timed(lambda: generator.append(_judged_generator(run)))
    return preparing + _timed(lambda: _figures(run, generator[0], few)) * n / few


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _judged_generator(run: Run) -> nn.Module:
    """The generator that makes the run's pictures, with statistics of its own if it has any."""
    generator = run.state.sampler
    if has_statistics(generator):
        return with_own_statistics(generator, run.config, run.batches.dataset)
    return generator


def _figures(run: Run, generator: nn.Module, n: int) -> dict[str, float]:
    """Those of `evaluation.metrics`, of so many samples."""
    assert run.reference is not None
    seeds = range(FIRST_SEED, FIRST_SEED + n)
    samples = draw_samples(generator, run.config, run.batches.dataset, seeds, AT_ONCE)
    found = compute_figures(run.reference, samples, run.config.evaluation.metrics, resamples=0)
    return {figure.name: figure.value for figure in found}


class _Judging(NamedTuple):
    """What `judge` is to make of the samples of `seeds`, uint8 `[N, C, H, W]` or points."""

    seeds: range
    conditions: Tensor | None
    judge: Callable[[Tensor], Tensor]


def _class_judging(run: Run) -> _Judging | None:
    """What was made for each class: points are judged to be as the nearest real one, images by a classifier.

    None if there are no classes, or if the classifier does not know them.
    """
    classes = run.config.classes
    if not classes:
        return None
    conditions = evenly(classes, CLASS_SEEDS)
    assert conditions is not None
    dataset = run.batches.dataset
    assert dataset.labels is not None
    if dataset.samples.ndim == 2:
        reals, given = dataset.samples[:NEIGHBOURS], condition_of(dataset.labels[:NEIGHBOURS], len(classes))
        return _Judging(CLASS_SEEDS, conditions, lambda points: given[torch.cdist(points, reals).argmin(1)])
    classifier = _classifier(run, dataset.samples, dataset.labels, attributes_of(classes))
    if classifier is None:
        return None
    return _Judging(CLASS_SEEDS, conditions, classifier.logits)


def _class_accuracy(run: Run) -> dict[str, float]:
    """The share of samples judged to be what was asked for."""
    judging = _class_judging(run)
    if judging is None:
        return {}
    assert judging.conditions is not None
    attributes = attributes_of(run.config.classes)
    return {"accuracy/class": classification_accuracy(_judged(run, judging), judging.conditions, attributes)}


def _stack_judging(run: Run) -> _Judging | None:
    """The numbers that samples of stacked digits spell, evenly drawn if conditional."""
    dataset = run.batches.dataset
    if run.config.dataset.name != "stacked_mnist" or run.config.dataset.classes is not None:
        return None
    digits, labels = unstacked(dataset)
    stacked = dataset.samples.shape[1]
    classifier = _classifier(run, digits, labels, [Attribute("", 0, DIGITS)])
    if classifier is None:
        return None
    seeds = STACK_SEEDS[: 26 * DIGITS**stacked]

    def spell(samples: Tensor) -> Tensor:
        return classifier.logits(samples.flatten(0, 1).unsqueeze(1)).argmax(1).view(-1, stacked)

    return _Judging(seeds, evenly(run.config.classes, seeds), spell)


def _stacked_modes(run: Run) -> dict[str, float]:
    """Of stacked digits, the numbers that samples spell (1611.02163, section 3.3.1)."""
    judging = _stack_judging(run)
    if judging is None:
        return {}
    spelt = _judged(run, judging)
    stacked = spelt.shape[1]
    counted = count_labels(spelt @ places(stacked), DIGITS**stacked)
    return {
        "modes/covered": counted.covered,
        "modes/possible": DIGITS**stacked,
        "modes/reverse_kl": round(counted.reverse_kl, 6),
    }


def _classifier(run: Run, images: Tensor, labels: Tensor, attributes: list[Attribute]) -> Classifier | None:
    """Trained once; None if it is no better than guessing, which is said once, or has one class alone."""

    def told(seconds: float) -> None:
        run.log.say(describe_training(seconds))

    if guessing(labels, attributes) == 1:
        return None  # all are of one class
    key = (images.shape[1], len(attributes), sum(attribute.size for attribute in attributes))
    if key not in run.classifiers:
        folder = CLASSIFIERS.expanduser()
        found = cached_classifier(run.batches.dataset.fingerprint, images, labels, attributes, folder, told)
        known = trust(found.accuracy, labels, attributes)
        run.log.say(known.said + (": it does not judge the classes of samples" if known.at_chance else ""))
        run.classifiers[key] = None if known.at_chance else found
    return run.classifiers[key]


def _judged(run: Run, judging: _Judging, n: int | None = None) -> Tensor:
    """What is made of the samples, some at a time; of the first `n` alone if given."""
    conditions = None if judging.conditions is None else judging.conditions[:n]
    made = generate(run.state.sampler, latent_of(run.config), judging.seeds[:n], AT_ONCE, conditions=conditions)
    return torch.cat([judging.judge(to_bytes(samples)) for samples in made])
