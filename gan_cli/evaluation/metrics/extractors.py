"""What samples are compared by: features of them, and a classifier's probabilities where there is one."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate, relu

from gan_cli.data.dataset import to_unit
from gan_cli.evaluation.metrics.classifier import VERSION, Classifier
from gan_cli.randomness import generator_for

AT_ONCE = 500
RANDOM_SIDE, RANDOM_FEATURES = 32, 128
RANDOM_CHANNELS = (32, 64, 128)  # of layers that halve the side
MOST_VALUES = 256  # of a picture compared by its pixels: a covariance has the square of that

Told = Callable[[int, int], None]  # of so many samples, so many are done


class Seen(NamedTuple):
    """float32 `[N, F]`, and `[N, K]` probabilities of classes or None."""

    features: Tensor
    probabilities: Tensor | None = None


def _untold(done: int, count: int) -> None:
    pass


@dataclass(frozen=True)
class Picked:
    """Some samples of data that may be larger than the memory: `index` counts through the `sources` one after another.

    A slice of it is a tensor.
    """

    sources: tuple[Tensor, ...]
    index: Tensor

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, some: slice) -> Tensor:
        if len(self.sources) == 1:
            return self.sources[0][self.index[some]]
        first, second = self.sources
        border = len(first)
        return torch.stack([first[at] if at < border else second[at - border] for at in self.index[some].tolist()])


@dataclass(frozen=True)
class Extractor:
    """`look` makes features of some samples: uint8 `[N, C, H, W]` or points `[N, D]`.

    `key` differs for whatever would see the same sample otherwise. `accuracy` is that of the classifier behind it.
    `why` says why it is not the one that was asked for.
    """

    name: str
    key: str
    look: Callable[[Tensor], Seen]
    accuracy: float | None = None
    why: str = ""

    @torch.no_grad()
    def see(self, samples: Tensor | Picked, told: Told = _untold) -> Seen:
        """All of them, some at a time."""
        seen = [self.look(part) for part in _told_of(samples, told)]
        probabilities = [part.probabilities for part in seen if part.probabilities is not None]
        features = torch.cat([part.features for part in seen])
        return Seen(features, torch.cat(probabilities) if probabilities else None)


def _told_of(samples: Tensor | Picked, told: Told) -> Iterator[Tensor]:
    for start in range(0, len(samples), AT_ONCE):
        yield samples[start : start + AT_ONCE]
        told(min(start + AT_ONCE, len(samples)), len(samples))


# --- points and pixels -------------------------------------------------------------------------------------------


def points() -> Extractor:
    """The coordinates themselves."""
    return Extractor("points", "points", lambda samples: Seen(samples.float()))


def pixels() -> Extractor:
    """Values in [-1, 1] of pictures of at most MOST_VALUES, to which larger ones are shrunk."""
    return Extractor("pixels", f"pixels-{MOST_VALUES}", lambda images: Seen(shrunk(images, MOST_VALUES)))


def shrunk(images: Tensor, most: int) -> Tensor:
    """uint8 `[N, C, H, W]` as `[N, values]` in [-1, 1], of a smaller size if else there were more than `most` values.

    The proportions are kept as nearly as can be.
    """
    channels, height, width = images.shape[1:]
    factor = min(1.0, math.sqrt(most / (channels * height * width)))
    size = (max(1, int(height * factor)), max(1, int(width * factor)))
    inputs = to_unit(images)
    if size != (height, width):
        inputs = interpolate(inputs, size=size, mode="bilinear", antialias=True)
    return inputs.flatten(1)


# --- networks ----------------------------------------------------------------------------------------------------


def random(channels: int) -> Extractor:
    """Convolutions with fixed random weights, which no data have shaped (2002.09797, section 4.1, has such).

    Three that halve the side of pictures brought to RANDOM_SIDE pixels, then a projection to RANDOM_FEATURES values.
    """
    weights, inputs = [], channels
    for number, outputs in enumerate((*RANDOM_CHANNELS, RANDOM_FEATURES)):
        side = 3 if number < len(RANDOM_CHANNELS) else RANDOM_SIDE >> len(RANDOM_CHANNELS)  # the last sees all
        drawn = torch.randn(outputs, inputs, side, side, generator=generator_for(0, "random features", number))
        weights.append(drawn * math.sqrt(2 / drawn[0].numel()))  # He's: as large out as in
        inputs = outputs

    def look(images: Tensor) -> Seen:
        values = to_unit(images)
        if values.shape[-2:] != (RANDOM_SIDE, RANDOM_SIDE):
            values = interpolate(values, size=(RANDOM_SIDE, RANDOM_SIDE), mode="bilinear", antialias=True)
        for weight in weights[:-1]:
            values = relu(conv2d(values, weight, stride=2, padding=1))
        return Seen(conv2d(values, weights[-1]).flatten(1))

    return Extractor("random", f"random-1-{channels}", look)


def classifying(classifier: Classifier, *, one_of: bool, stacked: bool = False) -> Extractor:
    """The features by which a classifier of the data tells classes apart, and the classes' probabilities.

    `one_of`: a picture has one class; of several attributes there are no probabilities. `stacked`: each channel is a
    picture to the classifier, whose features stand beside each other, and a picture's class is the number spelt.
    """
    network = classifier.network
    assert isinstance(network, nn.Sequential)

    def look(images: Tensor) -> Seen:
        count, layers = images.shape[:2]
        features = classifier.features(images.flatten(0, 1).unsqueeze(1) if stacked else images)
        probabilities = network[-1](features).softmax(1)
        if not stacked:
            return Seen(features, probabilities if one_of else None)
        digits = probabilities.view(count, layers, -1).unbind(1)
        spelt = digits[0]
        for digit in digits[1:]:
            spelt = (spelt.unsqueeze(2) * digit.unsqueeze(1)).flatten(1)
        return Seen(features.view(count, -1), spelt)

    digest = hashlib.sha256(b"".join(value.numpy().tobytes() for value in network.state_dict().values()))
    key = f"classifier-v{VERSION}-{one_of}-{stacked}-{digest.hexdigest()}"
    return Extractor("classifier", key, look, classifier.accuracy)
