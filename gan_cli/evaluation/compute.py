"""Computes metrics that compare generated samples with real ones, and an interval and a floor for each metric.

The floor is the metric of other real samples in place of the generated ones: the value of a perfect generator.

real = find_real_data(config.dataset, config.image_size, dataset)
reference = build_reference(real, build_extractor("auto", real), n=2000)
metrics, _ = evaluate_samples(reference, samples, ["frechet", "precision_recall"], resamples=0)
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from gan_cli.config.metric_names import better_direction, metric_limits, metric_option
from gan_cli.config.options.loop import PAIRED_METRICS, REQUIREMENTS
from gan_cli.config.options.tasks import NEEDS_TRUE_IMAGE
from gan_cli.errors import UsageError
from gan_cli.evaluation import class_accuracy
from gan_cli.evaluation.callbacks import ProgressCallback, ignore
from gan_cli.evaluation.metrics.distances import frechet_distances, kernel_distances
from gan_cli.evaluation.metrics.feature_extractors import Features
from gan_cli.evaluation.metrics.inception_score import inception_scores
from gan_cli.evaluation.metrics.memorization import COPY_QUANTILE, Memorization, detect_memorization
from gan_cli.evaluation.metrics.mode_coverage import count_labels, count_modes
from gan_cli.evaluation.metrics.nearest_neighbours import neighbour_metrics
from gan_cli.evaluation.metrics.resampling import confidence_interval, half_masks, wilson_interval
from gan_cli.evaluation.paired_metrics import available_paired_metrics, paired_results
from gan_cli.evaluation.reference import MAX_PAIRWISE_SAMPLES, Reference
from gan_cli.storage.evaluation_file import MetricResult

TOO_FEW_SAMPLES = "too few samples"
FEW = 100  # with fewer samples than this, the error of a share is more than some hundredths
WIDE, WIDE_RESAMPLES = 512, 20  # more features than this get fewer resamples, as eigenvalues of a covariance are slow
MEMORIZATION_SAMPLES = 1000  # samples that are compared with all training images

# Metrics by name, each `[1 + resamples]`: the value for all samples, then the value for each random half of them.
Values = dict[str, Tensor]


def _frechet(reference: Reference, fake: Features, masks: Tensor) -> Values:
    if fake.features.shape[1] > WIDE:
        masks = masks[: 1 + WIDE_RESAMPLES]
    return {"frechet": frechet_distances(reference.gaussian, fake.features, masks)}


def _kernel(reference: Reference, fake: Features, masks: Tensor) -> Values:
    real = reference.real.features[:MAX_PAIRWISE_SAMPLES]
    return {"kernel": kernel_distances(real, fake.features, masks)}


def _neighbours(reference: Reference, fake: Features, masks: Tensor) -> Values:
    real = reference.real.features[:MAX_PAIRWISE_SAMPLES].float()
    return neighbour_metrics(real, reference.neighbour_radii, fake.features.float(), masks)._asdict()


def _inception_score(reference: Reference, fake: Features, masks: Tensor) -> Values:
    assert fake.probabilities is not None
    return {"inception_score": inception_scores(fake.probabilities, masks)}


def _modes(reference: Reference, fake: Features, masks: Tensor) -> Values:
    """Returns the metrics of the covered modes: known modes of points, or classes that a classifier predicts."""
    modes = reference.data.modes
    if modes is not None:
        counts = [count_modes(fake.features[row], modes.centres, modes.std) for row in masks]
    else:
        assert fake.probabilities is not None
        labels, possible = fake.probabilities.argmax(1), fake.probabilities.shape[1]
        counts = [count_labels(labels[row], possible) for row in masks]
    covered, _, share, reverse_kl = torch.tensor(counts, dtype=torch.float64).T
    found = {"modes/covered": covered, "modes/reverse_kl": reverse_kl}
    return found if modes is None else found | {"modes/share": share}


class MetricFamily(NamedTuple):
    """Metrics that are computed together, from at most `max_samples` samples.

    `options` are the names that `metrics=` accepts for them. `compares` is true if real samples are used.
    """

    compute: Callable[[Reference, Features, Tensor], Values]
    options: tuple[str, ...]
    max_samples: int = 10**9
    compares: bool = True


METRIC_FAMILIES = (
    MetricFamily(_frechet, ("frechet",)),
    MetricFamily(_kernel, ("kernel",), MAX_PAIRWISE_SAMPLES),
    MetricFamily(_neighbours, ("precision_recall", "density_coverage"), MAX_PAIRWISE_SAMPLES),
    MetricFamily(_inception_score, ("inception_score",), compares=False),
    MetricFamily(_modes, ("modes",), compares=False),
)


def available_metrics(reference: Reference) -> tuple[str, ...]:
    """Returns the names, as `metrics=` accepts them, of the metrics that these data and this extractor allow."""
    names = ["frechet", "kernel", "precision_recall", "density_coverage"]
    modes, has_probabilities = reference.data.modes, reference.real.probabilities is not None
    if has_probabilities:
        names.append("inception_score")
    if (modes is not None and len(modes.centres)) or (has_probabilities and reference.extractor.name == "classifier"):
        names.append("modes")
    if reference.requested and reference.extractor.class_logits is not None:
        names.append(class_accuracy.NAME)
    if reference.data.train_unlimited.samples.ndim > 2:
        names.append("memorization")
    return (*available_paired_metrics(reference), *names)


def check_metrics(reference: Reference, names: Sequence[str]) -> None:
    """Raises UsageError if `names` has a metric that these data or this extractor do not allow."""
    for name in names:
        if name not in available_metrics(reference):
            why = reference.extractor.why
            needed = NEEDS_TRUE_IMAGE if name in PAIRED_METRICS and reference.inputs is None else REQUIREMENTS[name]
            raise UsageError(f"metrics=[{name}]: {needed}" + (f"; {why}" if why else ""))


def evaluate_samples(
    reference: Reference,
    samples: Tensor,
    names: Sequence[str],
    *,
    resamples: int = 200,
    progress: ProgressCallback = ignore,
    repeats: Tensor | None = None,
    labels: Tensor | None = None,
    features: Features | None = None,
) -> tuple[list[MetricResult], Memorization | None]:
    """Returns the metrics in `names` of uint8 images `[N, C, H, W]` or points `[N, 2]`, and which images are copies.

    The second is None without the metric memorization. For a task, the samples are those of the first N inputs of the
    reference, and `repeats` are as in `paired_results`. `labels` `[N, K]` are the requested ones. `features` are those
    of the samples, if they are known. The results have the order of METRIC_FAMILIES after those of pairs;
    memorization, which always uses pixels, is last. The name of a result ends with that of the extractor, as
    `frechet-classifier`; the modes of points and metrics of pixels need none.
    Intervals come from `resamples` random halves of the samples, at least 2. Floors use at most `reference.n` samples,
    so N should be `reference.n`. Raises UsageError for a name that these data do not allow.
    """
    check_metrics(reference, names)
    families = [family for family in METRIC_FAMILIES if set(family.options) & set(names)]
    results: list[MetricResult] = []
    fake = features
    if fake is None and (families or {"paired", "class_kept", class_accuracy.NAME} & {*names}):
        fake = reference.extractor.extract(samples, partial(progress, "features"))
    if {*PAIRED_METRICS} & {*names}:
        results += paired_results(reference, samples, fake, repeats, names, resamples)
    for number, family in enumerate(families):
        progress("metrics", number, len(families))
        assert fake is not None
        results += _compute_family(family, reference, fake, names, resamples)
    if class_accuracy.NAME in names and labels is not None:
        assert fake is not None
        results += class_accuracy.class_accuracy_results(reference, fake.features, labels, resamples)
    if "memorization" not in names:
        return results, None
    started = time.perf_counter()
    found = find_copies(reference, samples, progress)
    results += _memorization_metrics(found, time.perf_counter() - started, resamples, len(reference.data.train))
    return results, found


def _compute_family(
    family: MetricFamily, reference: Reference, fake: Features, names: Sequence[str], resamples: int
) -> list[MetricResult]:
    """Returns the metrics of this family that `names` requests. Also computes the floors that are not known yet."""
    started, count = time.perf_counter(), min(len(fake.features), family.max_samples)
    found = family.compute(reference, _first(fake, count), half_masks(count, resamples))
    full_names = {name: _full_name(name, reference) for name in found}
    if reference.other is not None and not {*full_names.values()} <= reference.floors.keys():
        others = min(len(reference.other.features), family.max_samples)
        floors = family.compute(reference, _first(reference.other, others), half_masks(others, 0))
        reference.floors.update({full_names[name]: values[0].item() for name, values in floors.items()})
        reference.save_to_cache()
    seconds = round((time.perf_counter() - started) / len(found), 3)
    reals = min(len(reference.real.features), family.max_samples) if family.compares else 0
    results = []
    for name, values in found.items():
        if (metric_option(name) or "modes") in names:  # no option of training computes the modes
            least, most = _limits(name, reference)
            interval, floor = confidence_interval(values, least, most), reference.floors.get(full_names[name])
            note = _note(name, min(count, reals or count), fake.features.shape[1], most)
            value, better = values[0].item(), better_direction(name)
            results.append(MetricResult(full_names[name], value, count, better, interval, floor, seconds, note, reals))
    return results


def _first(features: Features, count: int) -> Features:
    return Features._make(part if part is None else part[:count] for part in features)


def _full_name(name: str, reference: Reference) -> str:
    """Returns `name` followed by the extractor's name. The known modes of points need no extractor."""
    needs_no_extractor = name.startswith("modes/") and reference.data.modes is not None
    return name if needs_no_extractor else f"{name}-{reference.extractor.name}"


def _limits(name: str, reference: Reference) -> tuple[float, float]:
    """Returns the least and the most that a metric can be. For some, the most depends on the number of modes."""
    modes, probabilities = reference.data.modes, reference.real.probabilities
    least, most = metric_limits(name)
    if name in ("inception_score", "modes/covered", "modes/reverse_kl"):
        possible = len(modes.centres) if modes is not None else 0 if probabilities is None else probabilities.shape[1]
        most = math.log(possible) if name == "modes/reverse_kl" else possible
    return least, most


def _note(name: str, count: int, features: int, most: float) -> str:
    """Returns a warning if there are too few samples; for `modes/covered`, "of" and the number of modes; else ""."""
    if name == "frechet" and count < 2 * features:
        return f"{TOO_FEW_SAMPLES}: a covariance of {features:,} features needs at least {2 * features:,}"
    if count < FEW:
        return f"{TOO_FEW_SAMPLES}: at least {FEW}"
    return f"of {most:,.0f}" if name == "modes/covered" else ""


# --- memorization ------------------------------------------------------------------------------------------------


def find_copies(reference: Reference, samples: Tensor, progress: ProgressCallback = ignore) -> Memorization:
    """Returns which of the first MEMORIZATION_SAMPLES uint8 images `[N, C, H, W]` copy training images or repeat."""
    data = reference.data
    count = min(MEMORIZATION_SAMPLES, len(samples), len(data.train if data.held_out is None else data.held_out))
    held_out, self_index = data.held_out_images(count)
    report = partial(progress, "comparing with training images")
    return detect_memorization(samples[:count], data.train.samples, held_out, self_index, report)


def _memorization_metrics(found: Memorization, seconds: float, resamples: int, among: int) -> list[MetricResult]:
    """Returns three metrics: the shares of samples that copy training images and that repeat each other, and `nearest`.

    That is the median distance from a sample to its nearest training image, divided by the same median for held-out
    images. `among` is the number of training images. `seconds` is the time that all three metrics took.
    """
    count = len(found.copies)
    masks = half_masks(count, resamples)
    repeats = (masks.double() @ found.repeats.double()) / masks.sum(1)
    usual = found.held_out_distance.median().clamp_min(1e-12)
    ratios = torch.stack([found.nearest.distance[row].median() for row in masks]) / usual
    share, repeated, nearest = found.copies.double().mean().item(), repeats[0].item(), ratios[0].item()
    of_share = wilson_interval(share, count) if resamples > 1 else None
    of_repeated, of_nearest = confidence_interval(repeats, 0, 1), confidence_interval(ratios, 0)
    each, note = round(seconds / 3, 3), f"{TOO_FEW_SAMPLES}: at least {FEW}" if count < FEW else ""
    return [
        MetricResult("memorized-pixels", share, count, "lower", of_share, COPY_QUANTILE, each, note, among),
        MetricResult("repeated-pixels", repeated, count, "lower", of_repeated, COPY_QUANTILE, each, note),
        MetricResult("nearest-pixels", nearest, count, "", of_nearest, 1.0, each, note, among),
    ]
