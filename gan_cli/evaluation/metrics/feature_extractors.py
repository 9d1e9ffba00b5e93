"""Feature extractors: samples to features, and to class probabilities if the extractor is a classifier."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import conv2d, relu

from gan_cli.data.streamed_images import is_streamed
from gan_cli.device import to_device, without_tf32
from gan_cli.errors import StorageError
from gan_cli.evaluation.callbacks import CountCallback, ignore
from gan_cli.evaluation.metrics.classifier import CLASSIFIER_CACHE, CLASSIFIER_VERSION, Classifier, resized_inputs
from gan_cli.models.imagenet import load_efficientnet_classifier
from gan_cli.models.networks.efficientnet import TRAINED_SIDE
from gan_cli.randomness import generator_for
from gan_cli.storage.imagenet_weights import SHA256

CPU = torch.device("cpu")
BATCH_SIZE = 500
GPU_VALUES = 1 << 25  # of the images that a GPU gets at a time: 128 MiB in float32
RANDOM_SIDE, RANDOM_FEATURES = 32, 128
RANDOM_CHANNELS = (32, 64, 128)  # of layers with stride 2
EFFICIENTNET_BATCH = 32  # images at a time
MOST_VALUES = 256  # pixel features of an image; a covariance has the square of that


class Features(NamedTuple):
    """Features, float32 `[N, F]`, and class probabilities `[N, K]` or None."""

    features: Tensor
    probabilities: Tensor | None = None


@dataclass(frozen=True)
class SampleSubset:
    """Samples chosen by `index` from one or two tensors, which may be larger than the memory.

    `index` counts through the tensors as if they were concatenated. A slice reads its samples as one tensor.
    """

    tensors: tuple[Tensor, ...]
    index: Tensor

    def __len__(self) -> int:
        return len(self.index)

    def narrow(self, start: int, count: int) -> SampleSubset:
        """Returns the samples from `start` on, at most `count`."""
        return SampleSubset(self.tensors, self.index[start : start + count])

    def reading_order(self) -> Tensor | None:
        """Returns the positions `[N]` in the order in which the samples should be read; None for any order.

        Samples in shards are read in the order of these. Else those by address would be downloaded again and again.
        """
        return self.index.argsort() if any(map(is_streamed, self.tensors)) else None

    def __getitem__(self, part: slice | Tensor) -> Tensor:
        index = self.index[part]
        if len(self.tensors) == 1:
            return self.tensors[0][index]
        first, second = self.tensors
        of_first = index < len(first)
        some = first[index[of_first]]
        samples = some.new_empty((len(index), *some.shape[1:]))
        samples[of_first], samples[~of_first] = some, second[index[~of_first] - len(first)]
        return samples


@dataclass(frozen=True)
class Extractor:
    """Computes features. `extract_batch` takes uint8 images `[N, C, H, W]` or points `[N, D]`.

    All but that of Inception take images in [-1, 1] too, and their features have gradients with respect to these.
    Extractors with the same `key` give the same features, up to rounding on another `device`, to which `extract` moves
    each batch. `accuracy` is the accuracy of the classifier, or None for
    other extractors. If this extractor replaces the requested one, `why` gives the reason. `class_logits` computes the
    logits `[N, K]` of all classes from features `[N, F]`, and is None for other extractors and for stacked digits.
    """

    name: str
    key: str
    extract_batch: Callable[[Tensor], Features]
    accuracy: float | None = None
    why: str = ""
    class_logits: Callable[[Tensor], Tensor] | None = None
    device: torch.device = CPU

    @torch.no_grad()
    def extract(self, samples: Tensor | SampleSubset, progress: CountCallback = ignore) -> Features:
        """Returns the features of all samples on the CPU, computed in batches. StorageError if one is NaN or infinite.

        On a GPU they are computed without TF32.
        """
        batches, size = [], BATCH_SIZE
        order = samples.reading_order() if isinstance(samples, SampleSubset) else None
        if self.device.type == "cuda":  # which holds the state of a run too
            size = max(1, min(BATCH_SIZE, GPU_VALUES // max(1, samples[:1].numel())))
        with without_tf32(self.device):
            for start in range(0, len(samples), size):
                part = slice(start, start + size) if order is None else order[start : start + size]
                found = self.extract_batch(to_device(samples[part], self.device))
                batches.append(Features._make(values if values is None else values.cpu() for values in found))
                progress(min(start + size, len(samples)), len(samples))
        probabilities = [part.probabilities for part in batches if part.probabilities is not None]
        features = torch.cat([part.features for part in batches])
        if not features.isfinite().all():  # finite weights that training never reaches, in a file of the cache
            where = f"; remove {CLASSIFIER_CACHE}, and classifiers are trained again" if self.accuracy else ""
            raise StorageError(f"extractor={self.name}: its features are not finite{where}")
        whole = Features(features, torch.cat(probabilities) if probabilities else None)
        if order is None:
            return whole
        back = order.argsort()
        return Features._make(values if values is None else values[back] for values in whole)


def build_point_extractor() -> Extractor:
    """Builds the extractor of points: the features are their coordinates."""
    return Extractor("points", "points", lambda samples: Features(samples.float()))


def build_pixel_extractor() -> Extractor:
    """Builds the extractor of pixel values in [-1, 1]; images of more than MOST_VALUES values are downscaled."""
    return Extractor("pixels", f"pixels-{MOST_VALUES}", lambda images: Features(downscale(images, MOST_VALUES)))


def downscale(images: Tensor, most: int) -> Tensor:
    """Flattens uint8 images `[N, C, H, W]` to `[N, values]` in [-1, 1], resized first if they have more than `most`.

    The aspect ratio is kept as nearly as possible.
    """
    channels, height, width = images.shape[1:]
    factor = min(1.0, math.sqrt(most / (channels * height * width)))
    size = (max(1, int(height * factor)), max(1, int(width * factor)))
    return resized_inputs(images, size).flatten(1)


def build_random_extractor(channels: int) -> Extractor:
    """Builds a convolutional network with fixed random weights, which no data were used for (2002.09797, section 4.1).

    Images are resized to RANDOM_SIDE pixels. Three convolutions with stride 2, then a projection to RANDOM_FEATURES.
    """
    weights, inputs = [], channels
    for number, outputs in enumerate((*RANDOM_CHANNELS, RANDOM_FEATURES)):
        side = 3 if number < len(RANDOM_CHANNELS) else RANDOM_SIDE >> len(RANDOM_CHANNELS)  # the last covers all
        drawn = torch.randn(outputs, inputs, side, side, generator=generator_for(0, "random features", number))
        weights.append(drawn * math.sqrt(2 / drawn[0].numel()))  # He initialization
        inputs = outputs

    def extract_batch(images: Tensor) -> Features:
        values = resized_inputs(images, (RANDOM_SIDE, RANDOM_SIDE))
        *halving, last = (weight.to(values.device) for weight in weights)
        for weight in halving:
            values = relu(conv2d(values, weight, stride=2, padding=1))
        return Features(conv2d(values, last).flatten(1))

    return Extractor("random", f"random-1-{channels}", extract_batch)


def build_efficientnet_extractor() -> Extractor:
    """Builds EfficientNet-Lite0 (1905.11946) with ImageNet weights; the features are the inputs of its last layer.

    It sees the only channel, or the first 3, of images that are resized to squares of TRAINED_SIDE pixels. UsageError
    without the extra `projected`.
    """
    network = load_efficientnet_classifier("extractor=efficientnet")

    def extract_batch(images: Tensor) -> Features:
        seen = images[:, :3] if images.shape[1] > 2 else images[:, :1]
        network.to(images.device)
        found = [
            network.classify(resized_inputs(part, (TRAINED_SIDE, TRAINED_SIDE)))
            for part in seen.split(EFFICIENTNET_BATCH)
        ]
        features, logits = (torch.cat(parts) for parts in zip(*found, strict=True))
        return Features(features, logits.softmax(1))

    return Extractor("efficientnet", f"efficientnet-1-{SHA256}", extract_batch)


def build_classifier_extractor(
    classifier: Classifier, *, one_of: bool, stacked: bool = False, device: torch.device = CPU
) -> Extractor:
    """Builds an extractor of a classifier's features (inputs of its last layer) and class probabilities.

    `one_of` is true if an image has one class; if it has several attributes, there are no probabilities. If `stacked`
    is true, each channel is classified as one digit. The features of the digits are concatenated, and the class is the
    number that the digits form.
    """

    used = classifier.on(device)

    def extract_batch(images: Tensor) -> Features:
        count, layers = images.shape[:2]
        features = used.features(images.flatten(0, 1).unsqueeze(1) if stacked else images)
        probabilities = used.network[-1](features).softmax(1)
        if not stacked:
            return Features(features, probabilities if one_of else None)
        digits = probabilities.view(count, layers, -1).unbind(1)
        joint = reduce(lambda some, digit: (some.unsqueeze(2) * digit.unsqueeze(1)).flatten(1), digits)
        return Features(features.view(count, -1), joint)

    weights = classifier.network.state_dict().values()
    digest = hashlib.sha256(b"".join(weight.numpy().tobytes() for weight in weights))
    key = f"classifier-v{CLASSIFIER_VERSION}-{one_of}-{stacked}-{digest.hexdigest()}"
    class_logits = None if stacked else torch.no_grad()(classifier.network[-1].forward)
    return Extractor("classifier", key, extract_batch, classifier.accuracy, class_logits=class_logits, device=device)
