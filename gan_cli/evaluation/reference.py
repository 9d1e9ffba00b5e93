"""Computes the features of the real samples that fakes are compared with, and caches these features on disk."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gan_cli.config.metric_names import OF_IMAGENET, check_metric_names
from gan_cli.config.options.loop import WITHOUT_FEATURES
from gan_cli.data.datasets.stacked_mnist import DIGITS, unstack_digits
from gan_cli.data.labels import Attribute, attributes_of
from gan_cli.errors import UsageError, count_noun
from gan_cli.evaluation.callbacks import LogCallback, ProgressCallback, ignore
from gan_cli.evaluation.metrics import feature_extractors
from gan_cli.evaluation.metrics.classifier import ClassifierLoader, LabelledImages, load_assessed_classifier
from gan_cli.evaluation.metrics.distances import Gaussian, fit_gaussian
from gan_cli.evaluation.metrics.feature_extractors import CPU, Extractor, Features
from gan_cli.evaluation.metrics.nearest_neighbours import neighbour_radii
from gan_cli.evaluation.paired_inputs import PairedInputs
from gan_cli.evaluation.real_data import DEFAULT_PROTOCOL, MIN_SAMPLES, Protocol, RealData
from gan_cli.storage.checksummed_file import load_cached, save_cached

VERSION = 1  # version of the cached files; a file of another version is not used
REFERENCE_CACHE = Path("~/.cache/gan-cli/reference")
MOST_BYTES = 1 << 30  # a larger cache file is not read
# What the networks for ImageNet see of an image, by number of channels.
IMAGENET_SEES = {2: "the first of 2 channels alone", 4: "red, green and blue alone, not the opacity"}
UNTRAINED_HERE = ("random", "inception", "efficientnet")  # extractors that need no data of the run
MAX_PAIRWISE_SAMPLES = 10_000  # for metrics whose cost grows with the square of the number of samples


def build_extractor(
    name: str,
    real: RealData,
    log: LogCallback = ignore,
    load: ClassifierLoader = load_assessed_classifier,
    metrics: Sequence[str] = (),
    device: torch.device = CPU,
) -> Extractor:
    """Builds and returns the feature extractor called `name`: auto or another of the option `extractor`.

    `auto` selects the classifier if the data have classes, and `random` if not, or if no metric of `metrics` uses
    features. `random` is also used instead of a classifier that is no better than guessing or has too few images to
    learn from. For points, the features are the coordinates. `log` is called with lines for the user. `load` gives the
    classifier. Networks compute on `device` if it is a CUDA one, else on the CPU. Raises UsageError if the data do not
    allow this extractor.
    """
    samples, classes = real.train_unlimited.samples, real.train_unlimited.classes
    labelled = real.train_unlimited.labels is not None and len(classes) > 1
    if samples.ndim == 2:
        if name != "auto":
            raise UsageError(f"extractor={name}: points are compared by their coordinates, leave it out")
        return feature_extractors.build_point_extractor()
    if name == "classifier" and not labelled:
        raise UsageError(
            "extractor=classifier: these data have no classes, use random, pixels, inception or efficientnet"
        )
    if name == "pixels":
        return feature_extractors.build_pixel_extractor()
    device = device if device.type == "cuda" else CPU
    if name in OF_IMAGENET:
        if samples.shape[1] in IMAGENET_SEES:
            log(f"{name}: sees {IMAGENET_SEES[samples.shape[1]]}")
        return build_untrained_extractor(name, samples.shape[1], device)
    unused = name == "auto" and metrics and {*WITHOUT_FEATURES} >= {*metrics}
    if name == "random" or unused or not labelled:
        return build_untrained_extractor("random", samples.shape[1], device)
    return _classifier(real, log, load, device)


def build_untrained_extractor(name: str, channels: int, device: torch.device) -> Extractor:
    """Builds an extractor of UNTRAINED_HERE for images with these channels. Raises UsageError without its weights."""
    if name == "random":
        found = feature_extractors.build_random_extractor(channels)
    elif name == "efficientnet":
        found = feature_extractors.build_efficientnet_extractor()
    else:
        from gan_cli.evaluation.metrics.inception_features import build_inception_extractor

        found = build_inception_extractor()
    return dataclasses.replace(found, device=device)


def check_metrics_of_data(metrics: Sequence[str], extractor: str, real: RealData, section: str = "") -> None:
    """Raises UsageError if a metric needs classes that these data do not have, before features are computed."""
    whole = real.train_unlimited
    labelled = whole.labels is not None and len(whole.classes) > 1
    one_each = labelled and (real.stacked or len(attributes_of(whole.classes)) == 1)
    refused_anyway = extractor == "classifier" and not labelled
    points, known = whole.samples.ndim == 2, one_each or refused_anyway
    check_metric_names(metrics, extractor, points=points, paired=True, has_classes=known, section=section)


def labelled_images(real: RealData) -> LabelledImages:
    """Returns the images that a classifier of these data learns from. They must have labels."""
    whole = real.train_unlimited
    assert whole.labels is not None
    images, labels, attributes = whole.samples, whole.labels, attributes_of(whole.classes)
    if real.stacked:
        images, labels = unstack_digits(whole)
        attributes = [Attribute("", 0, DIGITS)]
    return LabelledImages(images, labels, attributes, whole.fingerprint)


def _classifier(real: RealData, log: LogCallback, load: ClassifierLoader, device: torch.device) -> Extractor:
    data = labelled_images(real)
    found, summary = load(data, log, "images are compared in random features")
    if found is None:
        extractor = build_untrained_extractor("random", real.train_unlimited.samples.shape[1], device)
        return dataclasses.replace(extractor, why=summary)
    one_of = len(data.attributes) == 1
    return feature_extractors.build_classifier_extractor(found, one_of=one_of, stacked=real.stacked, device=device)


@dataclass
class Reference:
    """The features of real samples that fakes are compared with.

    `real` holds the features of these real samples. `other` holds the features of further real samples, or None if none
    are left. The metrics of `other` compared with `real` are called floors: they show the values that a perfect
    generator would get. `floors` holds the floors that were computed so far, by metric name. `n` is the number of fakes
    to compare; with the default protocol, `real` and `other` have `n` samples too. `key` is the name of the cache file,
    empty if nothing is cached. `inputs` are those of a task, `n` images from each of which a fake is made. `requested`
    says whether the fakes are made for requested classes.
    """

    extractor: Extractor
    n: int
    data: RealData
    protocol: Protocol
    key: str
    real: Features
    other: Features | None
    floors: dict[str, float]
    inputs: PairedInputs | None = None
    requested: bool = False

    @cached_property
    def truth_features(self) -> Features:
        """The features of the true images of the inputs. By default, these are the real samples, in the same order."""
        assert self.inputs is not None
        return self.real if self.protocol == DEFAULT_PROTOCOL else self.extractor.extract(self.inputs.truth)

    @cached_property
    def gaussian(self) -> Gaussian:
        return fit_gaussian(self.real.features)

    @cached_property
    def neighbour_radii(self) -> Tensor:
        return neighbour_radii(self.real.features[:MAX_PAIRWISE_SAMPLES].float())

    @property
    def basis(self) -> dict[str, Any]:
        """Returns the settings that metric values depend on: data, image shape, extractor and numbers of samples.

        Two metric values can be compared with each other only if these settings are equal for both.
        """
        data = self.data
        return {
            "data": hashlib.sha256(repr(data.fingerprints).encode()).hexdigest()[:16],
            "shape": list(data.train_unlimited.samples.shape[1:]),
            "classes": len(data.train_unlimited.classes),
            "extractor": self.extractor.name,
            "features": hashlib.sha256(self.extractor.key.encode()).hexdigest()[:16],
            "n": self.n,
            "reals": self.protocol.reals,
            "n_real": len(self.real.features),
            **({} if self.inputs is None else {"inputs": self.inputs.digest[:16]}),
        }

    def describe(self) -> str:
        return self.data.describe(self.n, self.protocol)

    def save_to_cache(self) -> None:
        """Writes the cache file. If the file cannot be written, nothing happens and nothing is raised."""
        if not self.key:
            return
        sides = {"real": self.real._asdict(), "other": {} if self.other is None else self.other._asdict()}
        tensors = {
            f"{side}.{name}": value.contiguous()
            for side, features in sides.items()
            for name, value in features.items()
            if value is not None
        }
        save_cached(tensors, {"reference": self.key, "floors": self.floors}, _cache_file(self.key))


def _cache_file(key: str) -> Path:
    return REFERENCE_CACHE.expanduser() / f"{key}.safetensors"


def build_reference(
    real: RealData,
    extractor: Extractor,
    n: int,
    progress: ProgressCallback = ignore,
    protocol: Protocol = DEFAULT_PROTOCOL,
    *,
    cached: bool = True,
) -> Reference:
    """Returns the reference: features of `n` real samples, and of other real samples for the floors.

    If there are fewer than `n` real samples, all of them are used. The features are read from the cache file if it is
    valid; otherwise they are computed and the cache file is replaced. Without `cached`, the cache is not used. With
    another `protocol` than the default, the number of real samples can differ from `n`. Raises UsageError for fewer
    than MIN_SAMPLES samples.
    """
    n = min(n, real.max_per_side) if protocol == DEFAULT_PROTOCOL else n
    if min(n, real.available(protocol)) < MIN_SAMPLES:
        have = count_noun(len(real.train_unlimited), "sample")
        raise UsageError(f"these data have {have}, too few to compare with: at least {2 * MIN_SAMPLES}")
    shape = tuple(real.train_unlimited.samples.shape[1:])
    selection = () if protocol == DEFAULT_PROTOCOL else (protocol.reals, protocol.n)
    key = hashlib.sha256(repr((VERSION, *real.fingerprints, extractor.key, shape, n, *selection)).encode()).hexdigest()
    compared, others = real.select(n, protocol)
    count, other_count = len(compared), 0 if others is None else len(others)
    found = _load(key, count, other_count) if cached else None
    if found is not None:
        return Reference(extractor, n, real, protocol, key, *found)

    def log_progress(done: int, _: int, before: int = 0) -> None:
        progress("real samples", before + done, count + other_count)

    features = extractor.extract(compared, log_progress)
    other = None if others is None else extractor.extract(others, partial(log_progress, before=count))
    reference = Reference(extractor, n, real, protocol, key if cached else "", features, other, {})
    reference.save_to_cache()
    return reference


def _load(key: str, count: int, other_count: int) -> tuple[Features, Features | None, dict[str, float]] | None:
    """Returns (real features, other features, floors) from a cache file, or None if the file is missing or not valid.

    A valid file has this `key`, `count` real samples and `other_count` other samples.
    """
    tensors, metadata = load_cached(_cache_file(key), MOST_BYTES) or ({}, {})
    floors = metadata.get("floors")
    if metadata.get("reference") != key or not isinstance(floors, dict):
        return None
    if not all(isinstance(value, float) and math.isfinite(value) for value in floors.values()):
        return None
    real, other = _features("real", tensors, count), _features("other", tensors, other_count)
    return None if real is None or (other is None and other_count) else (real, other, floors)


def _features(name: str, tensors: dict[str, Tensor], n: int) -> Features | None:
    features, probabilities = tensors.get(f"{name}.features"), tensors.get(f"{name}.probabilities")
    for value in (features, probabilities):
        if value is not None and not (
            value.ndim == 2 and len(value) == n and value.dtype == torch.float32 and value.isfinite().all()
        ):
            return None
    return None if features is None else Features(features, probabilities)
