"""What a classifier of the data makes of samples: are they of the class asked for, and how many modes are there."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gan_cli.config import Config
from gan_cli.data.dataset import Dataset, to_bytes
from gan_cli.data.stacked import DIGITS, places, unstacked
from gan_cli.errors import UsageError, one_line
from gan_cli.generation import generate
from gan_cli.labels import Attribute, attributes_of, condition_of, evenly
from gan_cli.metrics.classifier import CLASSIFIERS, Classifier, cached_classifier, describe_training
from gan_cli.metrics.modes import count_labels
from gan_cli.models.conditioning import classification_accuracy
from gan_cli.models.standing import has_statistics
from gan_cli.quality import check_metrics, compute_figures
from gan_cli.reference import Reference, Say, build_extractor, build_reference, find_real
from gan_cli.run import Run
from gan_cli.samples import FIRST_SEED, draw_samples, with_own_statistics
from gan_cli.state import latent_of

CLASS_SEEDS = range(20_000, 21_000)  # apart from those of the pictures
STACK_SEEDS = range(20_000, 46_000)  # as many samples as the published counts of 1000 modes are of
AT_ONCE = 500
NEIGHBOURS = 10_000  # real points that samples are compared with


def evaluate(run: Run) -> dict[str, float]:
    """`accuracy/class` of a conditional run, `modes/*` of stacked digits, and the figures of `evaluation.metrics`.

    Whatever goes wrong here is told: it is no reason to end a run.
    """
    try:
        return _class_accuracy(run) | _stacked_modes(run) | _figures(run)
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
    say(f"evaluation: {', '.join(asked.metrics)} beside {real.describe(reference.n)}")
    return reference


def _figures(run: Run) -> dict[str, float]:
    """Those of `evaluation.metrics`, of the generator that makes the run's pictures."""
    if run.reference is None:
        return {}
    generator = run.state.sampler
    if has_statistics(generator):
        generator = with_own_statistics(generator, run.config, run.batches.dataset)
    seeds = range(FIRST_SEED, FIRST_SEED + run.reference.n)
    samples = draw_samples(generator, run.config, run.batches.dataset, seeds, AT_ONCE)
    found = compute_figures(run.reference, samples, run.config.evaluation.metrics, resamples=0)
    return {figure.name: figure.value for figure in found}


def _class_accuracy(run: Run) -> dict[str, float]:
    """The share of samples judged to be what was asked for: points as the nearest real one, images by a classifier."""
    classes = run.config.classes
    if not classes:
        return {}
    attributes = attributes_of(classes)
    conditions = evenly(classes, CLASS_SEEDS)
    assert conditions is not None
    dataset = run.batches.dataset
    assert dataset.labels is not None
    if dataset.samples.ndim == 2:
        reals, given = dataset.samples[:NEIGHBOURS], condition_of(dataset.labels[:NEIGHBOURS], len(classes))
        logits = _judged(run, CLASS_SEEDS, conditions, lambda points: given[torch.cdist(points, reals).argmin(1)])
    else:
        classifier = _classifier(run, dataset.samples, dataset.labels, attributes)
        logits = _judged(run, CLASS_SEEDS, conditions, classifier.logits)
    return {"accuracy/class": classification_accuracy(logits, conditions, attributes)}


def _stacked_modes(run: Run) -> dict[str, float]:
    """Of stacked digits, the numbers that samples spell (1611.02163, section 3.3.1), evenly drawn if conditional."""
    dataset = run.batches.dataset
    if run.config.dataset.name != "stacked_mnist" or run.config.dataset.classes is not None:
        return {}
    digits, labels = unstacked(dataset)
    stacked = dataset.samples.shape[1]
    classifier = _classifier(run, digits, labels, [Attribute("", 0, DIGITS)])
    possible = DIGITS**stacked
    seeds = STACK_SEEDS[: 26 * possible]

    def spell(samples: Tensor) -> Tensor:
        return classifier.logits(samples.flatten(0, 1).unsqueeze(1)).argmax(1).view(-1, stacked)

    spelt = _judged(run, seeds, evenly(run.config.classes, seeds), spell)
    counted = count_labels(spelt @ places(stacked), possible)
    return {
        "modes/covered": counted.covered,
        "modes/possible": possible,
        "modes/reverse_kl": round(counted.reverse_kl, 6),
    }


def _classifier(run: Run, images: Tensor, labels: Tensor, attributes: list[Attribute]) -> Classifier:
    def told(seconds: float) -> None:
        run.log.say(describe_training(seconds))

    folder = CLASSIFIERS.expanduser()
    found = cached_classifier(run.batches.dataset.fingerprint, images, labels, attributes, folder, told)
    if not run.evaluated:
        run.log.say(f"classifier: right about {found.accuracy:.1%} of the tenth of the data that it has not seen")
    return found


def _judged(run: Run, seeds: range, conditions: Tensor | None, judge: Callable[[Tensor], Tensor]) -> Tensor:
    """What `judge` makes of samples, uint8 `[N, C, H, W]` or points, some at a time."""
    made = generate(run.state.sampler, latent_of(run.config), seeds, AT_ONCE, conditions=conditions)
    return torch.cat([judge(to_bytes(samples)) for samples in made])
