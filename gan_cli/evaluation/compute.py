"""Computes metrics that compare generated samples with real ones, and an interval and a floor for each metric.

The floor is the metric of other real samples in place of the generated ones: the value of a perfect generator.

real = find_real_data(config.dataset, config.image_size, dataset)
reference = build_reference(real, build_extractor("auto", real), n=2000)
metrics = evaluate_samples(reference, samples, ["frechet", "precision_recall"], resamples=0).metrics
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gan_cli.errors import UsageError
from gan_cli.evaluation.callbacks import ProgressCallback, ignore
from gan_cli.evaluation.metrics.distances import frechet_distances, kernel_distances
from gan_cli.evaluation.metrics.feature_extractors import Features
from gan_cli.evaluation.metrics.inception_score import inception_scores
from gan_cli.evaluation.metrics.memorization import COPY_QUANTILE, Memorization, detect_memorization
from gan_cli.evaluation.metrics.mode_coverage import count_labels, count_modes
from gan_cli.evaluation.metrics.nearest_neighbours import neighbour_metrics
from gan_cli.evaluation.metrics.resampling import confidence_interval, half_masks, wilson_interval
from gan_cli.evaluation.reference import MAX_PAIRWISE_SAMPLES, Reference
from gan_cli.storage.evaluation_file import MetricResult

TOO_FEW_SAMPLES = "too few samples"
FEW = 100  # with fewer samples than this, the error of a share is more than some hundredths
WIDE, WIDE_RESAMPLES = 512, 20  # more features than this get fewer resamples, as eigenvalues of a covariance are slow
MEMORIZATION_SAMPLES = 1000  # samples that are compared with all training images
PIXELS = "pixels"  # the features of memorization, whatever the extractor


class RawMetric(NamedTuple):
    """A metric before its interval and floor are known.

    `values` `[1 + resamples]` holds the value for all samples, then the value for each random half of them. `better` is
    "lower", "higher" or "". `minimum` and `maximum` bound the possible values.
    """

    name: str
    values: Tensor
    better: str
    minimum: float = -math.inf
    maximum: float = math.inf


def _frechet(reference: Reference, fake: Features, masks: Tensor) -> list[RawMetric]:
    if fake.features.shape[1] > WIDE:
        masks = masks[: 1 + WIDE_RESAMPLES]
    return [RawMetric("frechet", frechet_distances(reference.gaussian, fake.features, masks), "lower", 0)]


def _kernel(reference: Reference, fake: Features, masks: Tensor) -> list[RawMetric]:
    real = reference.real.features[:MAX_PAIRWISE_SAMPLES]
    return [RawMetric("kernel", kernel_distances(real, fake.features, masks), "lower")]


def _neighbours(reference: Reference, fake: Features, masks: Tensor) -> list[RawMetric]:
    real = reference.real.features[:MAX_PAIRWISE_SAMPLES].float()
    found = neighbour_metrics(real, reference.neighbour_radii, fake.features.float(), masks)
    return [
        RawMetric(name, values, "higher", 0, math.inf if name == "density" else 1)
        for name, values in found._asdict().items()
    ]


def _inception_score(reference: Reference, fake: Features, masks: Tensor) -> list[RawMetric]:
    assert fake.probabilities is not None
    classes = fake.probabilities.shape[1]
    return [RawMetric("inception_score", inception_scores(fake.probabilities, masks), "higher", 1, classes)]


def _modes(reference: Reference, fake: Features, masks: Tensor) -> list[RawMetric]:
    """Returns the metrics of the covered modes: known modes of points, or classes that a classifier predicts."""
    modes = reference.data.modes
    if modes is not None:
        counts = [count_modes(fake.features[row], modes.centres, modes.std) for row in masks]
    else:
        assert fake.probabilities is not None
        labels, possible = fake.probabilities.argmax(1), fake.probabilities.shape[1]
        counts = [count_labels(labels[row], possible) for row in masks]
    possible = counts[0].possible
    covered, share, reverse_kl = torch.tensor(
        [(count.covered, count.share, count.reverse_kl) for count in counts], dtype=torch.float64
    ).T
    found = [
        RawMetric("modes/covered", covered, "higher", 0, possible),
        RawMetric("modes/reverse_kl", reverse_kl, "lower", 0, math.log(possible)),
    ]
    return [*found, RawMetric("modes/share", share, "higher", 0, 1)] if modes is not None else found


class MetricFamily(NamedTuple):
    """Metrics that are computed together, from at most `max_samples` samples.

    `names` maps each name that `metrics=` accepts to the names of its values. `compares`: real samples are used.
    """

    compute: Callable[[Reference, Features, Tensor], list[RawMetric]]
    max_samples: int
    names: dict[str, tuple[str, ...]]
    compares: bool = True


METRIC_FAMILIES = (
    MetricFamily(_frechet, 10**9, {"frechet": ("frechet",)}),
    MetricFamily(_kernel, MAX_PAIRWISE_SAMPLES, {"kernel": ("kernel",)}),
    MetricFamily(
        _neighbours,
        MAX_PAIRWISE_SAMPLES,
        {"precision_recall": ("precision", "recall"), "density_coverage": ("density", "coverage")},
    ),
    MetricFamily(_inception_score, 10**9, {"inception_score": ("inception_score",)}, compares=False),
    MetricFamily(_modes, 10**9, {"modes": ("modes/covered", "modes/share", "modes/reverse_kl")}, compares=False),
)


def available_metrics(reference: Reference) -> tuple[str, ...]:
    """Returns the names, as `metrics=` accepts them, of the metrics that these data and this extractor allow."""
    names = ["frechet", "kernel", "precision_recall", "density_coverage"]
    is_points = reference.data.train_unlimited.samples.ndim == 2
    has_probabilities = reference.real.probabilities is not None
    if has_probabilities:
        names.append("inception_score")
    has_modes = reference.data.modes is not None and len(reference.data.modes.centres) > 0
    if has_modes or (has_probabilities and reference.extractor.name == "classifier"):
        names.append("modes")
    return tuple(names if is_points else [*names, "memorization"])


REQUIREMENTS = {
    "inception_score": "needs images of one class each with extractor=classifier, or extractor=inception",
    "modes": "needs points whose modes are known, or images of one class each with extractor=classifier",
    "memorization": "needs images, these data are points",
}


def check_metrics(reference: Reference, names: Sequence[str]) -> None:
    """Raises UsageError if `names` has a metric that these data or this extractor do not allow."""
    for name in names:
        if name not in available_metrics(reference):
            why = reference.extractor.why
            raise UsageError(f"metrics=[{name}]: {REQUIREMENTS[name]}" + (f"; {why}" if why else ""))


class SampleEvaluation(NamedTuple):
    metrics: list[MetricResult]
    memorization: Memorization | None


def evaluate_samples(
    reference: Reference,
    samples: Tensor,
    names: Sequence[str],
    *,
    resamples: int = 200,
    progress: ProgressCallback = ignore,
) -> SampleEvaluation:
    """Computes the metrics in `names` for uint8 images `[N, C, H, W]` or points `[N, 2]`, and returns them.

    The results have the order of METRIC_FAMILIES; memorization, which always uses pixels, is last. The name of a result
    ends with that of the extractor, as `frechet-classifier`; the modes of points need none. Intervals come from
    `resamples` random halves of the samples, at least 2. Floors use at most `reference.n` samples, so N should be
    `reference.n`. Raises UsageError for a name that these data do not allow.
    """
    check_metrics(reference, names)
    families = [family for family in METRIC_FAMILIES if set(family.names) & set(names)]
    results: list[MetricResult] = []
    if families:
        fake = reference.extractor.extract(samples, lambda done, count: progress("features", done, count))
    for number, family in enumerate(families):
        progress("metrics", number, len(families))
        results += _compute_family(family, reference, fake, names, resamples)
    if "memorization" not in names:
        return SampleEvaluation(results, None)
    started = time.perf_counter()
    found = find_copies(reference, samples, progress)
    results += memorization_metrics(found, time.perf_counter() - started, resamples, len(reference.data.train))
    return SampleEvaluation(results, found)


def _compute_family(
    family: MetricFamily, reference: Reference, fake: Features, names: Sequence[str], resamples: int
) -> list[MetricResult]:
    """Returns the metrics of this family that `names` requests. Also computes the floors that are not known yet."""
    started, count = time.perf_counter(), min(len(fake.features), family.max_samples)
    found = family.compute(reference, _first(fake, count), half_masks(count, resamples))
    full_names = {_full_name(raw.name, reference) for raw in found}
    if reference.other is not None and not full_names <= reference.floors.keys():
        others = min(len(reference.other.features), family.max_samples)
        for raw in family.compute(reference, _first(reference.other, others), half_masks(others, 0)):
            reference.floors[_full_name(raw.name, reference)] = raw.values[0].item()
        reference.save_to_cache()
    requested = {name for metric in names for name in family.names.get(metric, ())}
    seconds = (time.perf_counter() - started) / len(found)
    reals = min(len(reference.real.features), family.max_samples) if family.compares else 0
    results = []
    for raw in found:
        if raw.name in requested:
            name, note = _full_name(raw.name, reference), _note(raw, min(count, reals or count), fake.features.shape[1])
            results.append(_result(raw, name, count, reference.floors.get(name), seconds, note, reals))
    return results


def _first(features: Features, count: int) -> Features:
    probabilities = features.probabilities
    return Features(features.features[:count], None if probabilities is None else probabilities[:count])


def _full_name(name: str, reference: Reference) -> str:
    """Returns `name` followed by the extractor's name. The known modes of points need no extractor."""
    needs_no_extractor = name.startswith("modes/") and reference.data.modes is not None
    return name if needs_no_extractor else f"{name}-{reference.extractor.name}"


def _result(
    raw: RawMetric, name: str, count: int, floor: float | None, seconds: float, note: str = "", reals: int = 0
) -> MetricResult:
    interval = confidence_interval(raw.values, raw.minimum, raw.maximum)
    return MetricResult(name, raw.values[0].item(), count, raw.better, interval, floor, round(seconds, 3), note, reals)


def _note(raw: RawMetric, count: int, features: int) -> str:
    """Returns a warning if there are too few samples; for `modes/covered`, "of" and the number of modes; else ""."""
    if raw.name == "frechet" and count < 2 * features:
        return f"{TOO_FEW_SAMPLES}: a covariance of {features:,} features needs at least {2 * features:,}"
    if count < FEW:
        return f"{TOO_FEW_SAMPLES}: at least {FEW}"
    return f"of {raw.maximum:,.0f}" if raw.name == "modes/covered" else ""


# --- memorization ------------------------------------------------------------------------------------------------


def find_copies(reference: Reference, samples: Tensor, progress: ProgressCallback = ignore) -> Memorization:
    """Returns which of the first MEMORIZATION_SAMPLES uint8 images `[N, C, H, W]` copy training images or repeat."""
    data = reference.data
    count = min(MEMORIZATION_SAMPLES, len(samples), len(data.train if data.held_out is None else data.held_out))
    held_out, self_index = data.held_out_images(count)
    return detect_memorization(
        samples[:count],
        data.train.samples,
        held_out,
        self_index,
        lambda done, among: progress("comparing with training images", done, among),
    )


def memorization_metrics(
    found: Memorization, seconds: float, resamples: int = 200, among: int = 0
) -> list[MetricResult]:
    """Returns three metrics: the shares of samples that copy training images and that repeat each other, and `nearest`.

    That is the median distance from a sample to its nearest training image, divided by the same median for held-out
    images. `among` is the number of training images. `seconds` is the time that all three metrics took.
    """
    count = len(found.copies)
    masks = half_masks(count, resamples)
    repeats = (masks.double() @ found.repeats.double()) / masks.sum(1)
    usual = found.held_out_distance.median().clamp_min(1e-12)
    ratios = torch.stack([found.distance[row].median() for row in masks]) / usual
    note = f"{TOO_FEW_SAMPLES}: at least {FEW}" if count < FEW else ""
    each, share = seconds / 3, found.copies.double().mean().item()
    interval = wilson_interval(share, count) if resamples > 1 else None
    repeated, nearest = RawMetric("repeated", repeats, "lower", 0, 1), RawMetric("nearest", ratios, "", 0)
    memorized = f"memorized-{PIXELS}"
    return [
        MetricResult(memorized, share, count, "lower", interval, COPY_QUANTILE, round(each, 3), note, among),
        _result(repeated, f"repeated-{PIXELS}", count, COPY_QUANTILE, each, note),
        _result(nearest, f"nearest-{PIXELS}", count, 1.0, each, note, among),
    ]
