"""Compares the samples of a task with their true images, and these metrics with those of answers without a network."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gan_cli.config.metric_names import better_direction, metric_limits, ranking_value
from gan_cli.data.dataset import to_signed_unit, to_uint8
from gan_cli.evaluation.callbacks import LogCallback, ignore
from gan_cli.evaluation.metrics import paired
from gan_cli.evaluation.metrics.distances import frechet_distances
from gan_cli.evaluation.metrics.feature_extractors import Features
from gan_cli.evaluation.metrics.resampling import confidence_interval, half_masks
from gan_cli.evaluation.paired_inputs import PairedInputs
from gan_cli.evaluation.reference import REFERENCE_CACHE, Reference
from gan_cli.evaluation.without_network import NEAREST, RIDGE, answers_without_network, count_examples
from gan_cli.storage.checksummed_file import load_cached, save_cached
from gan_cli.storage.evaluation_file import MetricResult

VERSION = 2  # version of the cached metrics of answers without a network
MOST_BYTES = 1 << 20
VALUES_AT_ONCE = 1 << 20  # pixel values of the images that are compared at a time
FRECHET = "frechet"
GRADIENTS = ("gradient", "true gradient")  # whose quotient is the sharpness

Values = dict[str, Tensor]


class _Pairs(NamedTuple):
    """Some samples and their true images, in [-1, 1], and where samples were painted, `[N, 1, H, W]`, or None."""

    fake: Tensor
    truth: Tensor
    hole: Tensor | None


# For each option of `metrics=`, the values of each pair.
OF_PIXELS: dict[str, Callable[[_Pairs], Values]] = {
    "psnr": lambda pairs: _also_in_hole("psnr", paired.psnr_of_each, pairs),
    "ssim": lambda pairs: {"ssim": paired.ssim_of_each(pairs.fake, pairs.truth)},
    "l1": lambda pairs: _also_in_hole("l1", paired.l1_of_each, pairs),
    "sharpness": lambda pairs: dict(zip(GRADIENTS, map(paired.gradient_of_each, pairs[:2]), strict=True)),
}


def _also_in_hole(name: str, metric: Callable[..., Tensor], pairs: _Pairs) -> Values:
    whole = {name: metric(pairs.fake, pairs.truth)}
    return whole if pairs.hole is None else whole | {f"{name}/hole": metric(*pairs)}


def available_paired_metrics(reference: Reference) -> list[str]:
    """Returns the names, as `metrics=` accepts them, of the metrics that compare samples with their true images."""
    if reference.inputs is None:
        return []
    names = [*OF_PIXELS, "paired"]
    if reference.extractor.name == "classifier" and reference.real.probabilities is not None:
        names.append("class_kept")
    return names + ["diversity"] * reference.inputs.has_latent


def paired_results(
    reference: Reference,
    samples: Tensor,
    fake: Features | None,
    repeats: Tensor | None,
    names: Sequence[str],
    resamples: int,
) -> list[MetricResult]:
    """Returns the metrics in `names` of uint8 samples `[N, C, H, W]` of the first N inputs of the reference.

    `fake` are features of the samples, for the metrics paired and class_kept. `repeats` `[S, M, C, H, W]` are samples
    of the first M inputs from S seeds, for the metric diversity. Intervals come from `resamples` halves.
    """
    started = time.perf_counter()
    assert reference.inputs is not None
    inputs, masks = reference.inputs.first(len(samples)), half_masks(len(samples), resamples)
    found = _values(reference, inputs, samples, fake, names, masks)
    counts = dict.fromkeys(found, len(samples))
    if "diversity" in names:
        assert repeats is not None
        parts = repeats.split(_at_once(repeats[0]), 1)
        spread = torch.cat([paired.spread_of_each(to_signed_unit(part)) for part in parts])
        found["diversity"] = paired.mean_of(spread, half_masks(len(spread), resamples))
        counts["diversity"] = len(spread)
    seconds = round((time.perf_counter() - started) / max(len(found), 1), 3)
    results = []
    for name, values in found.items():
        count, limits = counts[name], (0.0, 1.0) if name == "diversity" else metric_limits(name)
        interval, note = confidence_interval(values, *limits), _note(name, inputs)
        reals = 0 if name == "diversity" else count
        value, better = values[0].item(), better_direction(name)
        results.append(MetricResult(name, value, count, better, interval, None, seconds, note, reals))
    return results


def _at_once(images: Tensor) -> int:
    """Returns how many images of this shape are compared at a time."""
    return max(1, VALUES_AT_ONCE // images[0].numel())


def _note(name: str, inputs: PairedInputs) -> str:
    side = paired.ssim_window(*inputs.truth.shape[2:])
    if name == "ssim" and side < paired.SSIM_WINDOW:
        return f"the window has {side} x {side} pixels, as the images are smaller than {paired.SSIM_WINDOW}"
    return ""


def _values(
    reference: Reference,
    inputs: PairedInputs,
    samples: Tensor,
    fake: Features | None,
    names: Sequence[str],
    masks: Tensor,
) -> Values:
    """Returns the metrics of all samples and of each subset that a row of `masks` selects, `[R]` each."""
    wanted = [OF_PIXELS[name] for name in OF_PIXELS if name in names]
    parts = []
    step = _at_once(samples)
    for start in range(0, len(samples), step):
        part = slice(start, start + step)
        hole = None if inputs.condition.mask is None else inputs.condition.mask[part]
        pairs = _Pairs(to_signed_unit(samples[part]), to_signed_unit(inputs.truth[part]), hole)
        parts.append({name: values for family in wanted for name, values in family(pairs).items()})
    each = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    found = {name: paired.mean_of(values, masks) for name, values in each.items() if name not in GRADIENTS}
    if "sharpness" in names:
        found["sharpness"] = paired.quotient_of_sums(each[GRADIENTS[0]], each[GRADIENTS[1]], masks)
    if fake is not None and {"paired", "class_kept"} & {*names}:
        found |= _of_features(reference, fake, names, masks)
    return found


def _of_features(reference: Reference, fake: Features, names: Sequence[str], masks: Tensor) -> Values:
    extractor, true, found = reference.extractor.name, reference.truth_features, {}
    if "paired" in names:
        distance = paired.feature_distance_of_each(fake.features, true.features[: len(fake.features)])
        found[f"paired-{extractor}"] = paired.mean_of(distance, masks)
    if "class_kept" in names:
        assert fake.probabilities is not None
        assert true.probabilities is not None
        kept = paired.same_class_of_each(fake.probabilities, true.probabilities[: len(fake.features)])
        found[f"class_kept-{extractor}"] = paired.mean_of(kept, masks)
    return found


# --- without a network -------------------------------------------------------------------------------------------


def compare_without_network(
    results: Sequence[MetricResult], reference: Reference, log: LogCallback = ignore
) -> list[MetricResult]:
    """Returns the results, with the best value that is reached without a network, and by what.

    Those are values of paired metrics and the Frechet distance. Logs what these methods learned from. Their metrics are
    read from the cache, or computed and cached.
    """
    inputs = reference.inputs
    if inputs is None or not any(_has_value_without_network(metric.name) for metric in results):
        return list(results)
    count, available = count_examples(inputs), len(inputs.example_index)
    known = metrics_without_network(reference, inputs, log)
    left_out = "" if RIDGE in known else f"; {RIDGE} is left out, as it needs the same mask for all images"
    log(f"without G: {', '.join(known)}; learned from {count:,} of {available:,} training images{left_out}")
    compared = []
    for metric in results:
        values = {method: found[metric.name] for method, found in known.items() if metric.name in found}
        if values:
            method = min(values, key=lambda each: ranking_value(metric.name, values[each]))
            metric = dataclasses.replace(metric, without_network=values[method], method=method)
        compared.append(metric)
    return compared


def _has_value_without_network(name: str) -> bool:
    return name.partition("-")[0].partition("/")[0] in (*OF_PIXELS, "paired", "class_kept", FRECHET)


def metrics_without_network(
    reference: Reference, inputs: PairedInputs, log: LogCallback = ignore
) -> dict[str, dict[str, float]]:
    """Returns {method: {metric: value}} of the answers without a network: paired metrics and the Frechet distance.

    The nearest neighbour has no Frechet distance: its answers are real images, whatever the input.
    """
    key = _key(reference, inputs)
    path = REFERENCE_CACHE.expanduser() / f"without-network-{key}.safetensors"
    _, metadata = load_cached(path, MOST_BYTES) or ({}, {})
    found: Any = metadata.get("methods")
    if metadata.get("reference") == key and _are_values(found):
        return found
    log("without G: computing what simple methods reach on these inputs; later evaluations read it from the cache")
    names, masks = available_paired_metrics(reference), half_masks(len(inputs), 0)
    methods: dict[str, dict[str, float]] = {}
    for method, answers in answers_without_network(inputs):
        samples = to_uint8(answers)
        features = reference.extractor.extract(samples)
        values = _values(reference, inputs, samples, features, names, masks)
        if method != NEAREST:
            distance = frechet_distances(reference.gaussian, features.features, masks)
            values[f"{FRECHET}-{reference.extractor.name}"] = distance
        methods[method] = {name: value.item() for name, value in values.items()}
    save_cached({"n": torch.tensor([len(inputs)])}, {"reference": key, "methods": methods}, path)
    return methods


def _key(reference: Reference, inputs: PairedInputs) -> str:
    examples = inputs.examples.fingerprint, count_examples(inputs), inputs.held_out
    depends_on = VERSION, inputs.digest, repr(inputs.settings), examples, reference.extractor.key, reference.basis
    return hashlib.sha256(repr(depends_on).encode()).hexdigest()


def _are_values(methods: object) -> bool:
    if not isinstance(methods, dict) or not methods:
        return False
    found = [value for values in methods.values() if isinstance(values, dict) for value in values.values()]
    return bool(found) and all(isinstance(value, float) and math.isfinite(value) for value in found)
