"""A small classifier, trained on the data set: checks whether samples are of the requested class; gives features.

One that is not better than chance must not be used to evaluate samples.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, grid_sample, interpolate

from gan_cli.data.dataset import batch_indices, to_signed_unit
from gan_cli.data.labels import Attribute, encode_labels
from gan_cli.data.streamed_images import is_streamed
from gan_cli.errors import UsageError, count_noun
from gan_cli.evaluation.callbacks import LogCallback, ignore
from gan_cli.evaluation.metrics.chance_level import assess_classifier
from gan_cli.models.conditioning import classification_accuracy, classification_loss
from gan_cli.randomness import derive_seed, generator_for
from gan_cli.storage.checksummed_file import load_cached, save_cached

CLASSIFIER_CACHE = Path("~/.cache/gan-cli/classifiers")
CLASSIFIER_VERSION = 3  # of the network and its training; cached classifiers of other versions are not used
FEATURES = 128
LARGEST_SIDE, MOST_STEPS = 64, 2500  # of the classifier of several attributes
BATCH_SIZE = 100
LEARNING_RATE = 8e-3
PREDICTED_AT_ONCE = 500
TIMED_STEPS = 10  # steps after which the training time is estimated
MOST_BYTES = 16 << 20
# Of images that are decoded when they are read: the bytes of those that are trained on, and the number of those tested.
MOST_HELD, MOST_TESTED = 1 << 29, 10_000
FEWEST_IMAGES = 100  # labelled images, from which a classifier is trained; fewer leave under ten to test it on


class ClassifierDesign(NamedTuple):
    """The size of a classifier and of its training, and the largest random changes of its training images.

    The defaults are for images of one class each, and are the same for every data set, so training takes as long.
    """

    side: int = 28  # images are resized to it
    width: int = 16  # channels of the first of three convolutions
    steps: int = 500
    rotation: float = 0.2  # radians
    scale: float = 0.1  # a share
    shift: int = 2  # pixels
    channels_last: bool = False  # the memory layout of its weights in training


class LabelledImages(NamedTuple):
    """Images uint8 `[N, C, H, W]`, and labels `[N]` or `[N, attributes]` as those of a `Dataset`, with its fingerprint.

    A classifier predicts the class of each of the `attributes`.
    """

    images: Tensor
    labels: Tensor
    attributes: Sequence[Attribute]
    fingerprint: str = ""

    @property
    def classes(self) -> int:
        """The number of classes of all attributes together."""
        return sum(attribute.size for attribute in self.attributes)

    @property
    def design(self) -> ClassifierDesign:
        """Several attributes may differ in details of some pixels: they need all pixels, and longer training.

        On 10,000 drawn faces of 32 px with 9 attributes, 93 % of the predictions are right, 74 % with the defaults.
        """
        if len(self.attributes) == 1:
            return ClassifierDesign()
        side = min(-(-max(self.images.shape[2:]) // 8) * 8, LARGEST_SIDE)
        steps = min(max(len(self.images) // 4, ClassifierDesign().steps), MOST_STEPS)  # 25 passes or more
        return ClassifierDesign(side, 32, steps, 0.03, 0.02, 1, channels_last=True)


@dataclass(frozen=True)
class Classifier:
    """A trained network, and its accuracy on the tenth of the data that it was not trained on."""

    network: nn.Sequential
    accuracy: float
    side: int = ClassifierDesign().side  # that images are resized to

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next((weight.device for weight in self.network.parameters()), torch.device("cpu"))

    def on(self, device: torch.device) -> Classifier:
        """Returns this classifier if it is on the device, else a copy that is."""
        if self.device == device:
            return self
        return replace(self, network=copy.deepcopy(self.network).to(device))

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """Class logits `[N, K]` of uint8 images `[N, C, H, W]`."""
        return self._apply(self.network, images)

    def features(self, images: Tensor) -> Tensor:
        """Inputs of the last layer, `[N, FEATURES]`, at least 0, for images `[N, C, H, W]`, uint8 or in [-1, 1]."""
        return self._apply(self.network[:-1], images)

    def _apply(self, layers: nn.Module, images: Tensor) -> Tensor:
        size, device = (self.side, self.side), self.device
        return torch.cat([layers(resized_inputs(part.to(device), size)) for part in images.split(PREDICTED_AT_ONCE)])


# --- training ----------------------------------------------------------------------------------------------------


@torch.inference_mode(False)  # the caller may be in inference mode
def train_classifier(data: LabelledImages, steps: int | None = None, log: LogCallback = ignore) -> Classifier:
    """Trains on nine tenths of the images. `steps` defaults to the design's. Logs the time after TIMED_STEPS steps.

    Of images that are decoded when they are read, those that are used are read once, see `_load_used_images`. The
    result depends on the arguments alone; the caller's random state does not change. Raises UsageError for
    fewer than 2 images.
    """
    (images, labels, attributes, _), design = data, data.design
    if len(images) < 2:
        raise UsageError(f"a classifier needs at least 2 labelled images, the data set has {len(images)}")
    steps = steps or design.steps
    test_index, train_index = split_of_classifier(len(images))
    if is_streamed(images):
        data, test_index, train_index = _load_used_images(data, test_index, train_index, steps, log)
        images, labels = data.images, data.labels
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(0, "classifier"))  # of the CPU alone
        network = _build_network(images.shape[1], data.classes, design)
        if design.channels_last:
            network = network.to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(network.parameters())
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
        inputs_at, started = _input_function(images, train_index, steps, design.side), time.perf_counter()
        for step in range(steps):
            if step == TIMED_STEPS:
                seconds = max(1, (time.perf_counter() - started) * steps / step)
                log(f"classifier: training one for this data set, about {seconds:.0f} s; it is cached for later runs")
            batch = batch_indices(0, len(train_index), BATCH_SIZE, step)
            optimizer.zero_grad()
            target = encode_labels(labels[train_index[batch]], data.classes)
            classification_loss(network(_augment(inputs_at(batch), design)), target, attributes).backward()
            optimizer.step()
            schedule.step()
    network = network.to(memory_format=torch.contiguous_format)  # safetensors writes no other
    untested = Classifier(network.eval(), 0.0, design.side)
    parts = test_index.split(PREDICTED_AT_ONCE)  # all images may not fit in memory together
    logits = torch.cat([untested.logits(images[part]) for part in parts])
    accuracy = classification_accuracy(logits, encode_labels(labels[test_index], data.classes), attributes)
    return Classifier(network, accuracy, design.side)


def split_of_classifier(count: int) -> tuple[Tensor, Tensor]:
    """Returns the positions of the tenth of `count` images that a classifier is tested on, and those it learns from."""
    order = torch.randperm(count, generator=generator_for(0, "classifier's split"))
    test_index, train_index = order.tensor_split([max(1, count // 10)])
    return test_index, train_index


def _load_used_images(
    data: LabelledImages, test_index: Tensor, train_index: Tensor, steps: int, log: LogCallback
) -> tuple[LabelledImages, Tensor, Tensor]:
    """Returns the inputs that are used, in memory, and the positions of those tested and of those learned from in them.

    They are read once, in the order of their shards; in the order of training, shards by address would be downloaded
    again and again. At most MOST_TESTED are tested on, and at most MOST_HELD bytes are learned from; up to these, a
    classifier equals one of the same images in memory. Positions of images that `steps` do not reach are -1.
    """
    images, side = data.images, data.design.side
    shape = (images.shape[1], side, side)
    test_index, train_index = test_index[:MOST_TESTED], train_index[: max(1, MOST_HELD // (4 * math.prod(shape)))]
    drawn = batch_indices(0, len(train_index), min(len(train_index), steps * BATCH_SIZE), 0)
    rows = torch.cat([test_index, train_index[drawn]]).sort().values
    log(f"classifier: reads {count_noun(len(rows), 'image')} once, in the order of the shards")
    inputs = torch.empty(len(rows), *shape)
    for part in torch.arange(len(rows)).split(PREDICTED_AT_ONCE):
        inputs[part] = resized_inputs(images[rows[part]], (side, side))
    positions = torch.full((len(images),), -1)
    positions[rows] = torch.arange(len(rows))
    return data._replace(images=inputs, labels=data.labels[rows]), positions[test_index], positions[train_index]


def _build_network(channels: int, classes: int, design: ClassifierDesign) -> nn.Sequential:
    def halved(inputs: int, outputs: int) -> list[nn.Module]:
        convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        return [convolution, nn.MaxPool2d(2), nn.BatchNorm2d(outputs), nn.ReLU()]

    width = design.width
    return nn.Sequential(
        *halved(channels, width), *halved(width, 2 * width), *halved(2 * width, 4 * width),
        nn.Flatten(), nn.Dropout(0.3), nn.Linear(4 * width * (design.side // 8) ** 2, FEATURES), nn.ReLU(),
        nn.Linear(FEATURES, classes),
    )  # fmt: skip


def resized_inputs(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Returns uint8 images `[N, C, H, W]` as values in [-1, 1], resized to `size` (height, width)."""
    inputs = to_signed_unit(images)
    return inputs if inputs.shape[-2:] == size else interpolate(inputs, size=size, mode="bilinear", antialias=True)


def _input_function(samples: Tensor, train_index: Tensor, steps: int, side: int) -> Callable[[Tensor], Tensor]:
    """Returns a function from positions in `train_index` to the network's inputs.

    Images of another size are resized once, unless there are so many that training uses each less than twice.
    """
    size = (side, side)
    if samples.shape[-2:] == size or 2 * len(train_index) > steps * BATCH_SIZE:
        return lambda positions: resized_inputs(samples[train_index[positions]], size)
    resized = torch.cat([resized_inputs(samples[part], size) for part in train_index.split(PREDICTED_AT_ONCE)])
    return lambda positions: resized[positions]


def _augment(inputs: Tensor, design: ClassifierDesign) -> Tensor:
    """Rotates, scales and shifts each image by a small random amount."""
    rotation, scale, right, down = torch.rand(4, len(inputs)) * 2 - 1
    scale = 1 + design.scale * scale
    cos, sin = scale * (design.rotation * rotation).cos(), scale * (design.rotation * rotation).sin()
    right, down = right * design.shift * 2 / design.side, down * design.shift * 2 / design.side
    matrix = torch.stack([cos, -sin, right, sin, cos, down], dim=1).view(-1, 2, 3)
    grid = affine_grid(matrix, list(inputs.shape), align_corners=False)
    return grid_sample(inputs, grid, padding_mode="border", align_corners=False)


# --- cache -------------------------------------------------------------------------------------------------------


def load_or_train_classifier(
    data: LabelledImages, folder: Path, log: LogCallback = ignore, steps: int | None = None
) -> Classifier:
    """Loads the classifier of this data set from the cache `folder`, or trains one and saves it there.

    A file that is damaged, or is not a classifier of this data set, is replaced. If the folder cannot be written, the
    classifier is returned and not saved. If several processes train at once, the file that is written last stays.
    """
    shape = f"{data.images.shape[1]}x{data.classes}"  # stacks and single digits of the same data set differ in it
    if len(data.attributes) > 1:
        shape += f"-{data.design.side}px"
    if steps is not None:
        shape += f"-{steps}"
    path = folder / f"classifier-v{CLASSIFIER_VERSION}-{shape}-{data.fingerprint}.safetensors"
    found = _load(path, data)
    if found is not None:
        return found
    classifier = train_classifier(data, steps, log)
    metadata = {"data": data.fingerprint, "accuracy": classifier.accuracy}
    save_cached(classifier.network.state_dict(), metadata, path)
    return classifier


def _load(path: Path, data: LabelledImages) -> Classifier | None:
    """Returns the classifier in the file, or None if the file is missing, damaged or of other data."""
    tensors, metadata = load_cached(path, MOST_BYTES) or ({}, {})
    with torch.device("meta"):  # names and shapes without weights: takes nothing from the random state
        network = _build_network(data.images.shape[1], data.classes, data.design)
    accuracy = metadata.get("accuracy")
    if metadata.get("data") != data.fingerprint or not isinstance(accuracy, float) or not 0 <= accuracy <= 1:
        return None
    finite = all(value.isfinite().all() for value in tensors.values())
    if not finite or _layout(tensors) != _layout(network.state_dict()):
        return None
    network.load_state_dict(tensors, assign=True)
    return Classifier(network.eval(), accuracy, data.design.side)


def _layout(tensors: dict[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}


# --- chance level -------------------------------------------------------------------------------------------------


# As `load_assessed_classifier`.
ClassifierLoader = Callable[[LabelledImages, LogCallback, str], tuple[Classifier | None, str]]


def load_assessed_classifier(data: LabelledImages, log: LogCallback, otherwise: str) -> tuple[Classifier | None, str]:
    """Loads the classifier of this data set from the user's cache, or trains one, and logs its accuracy.

    Returns it with this line of text. Returns None in its place if it is at chance level, or if the data set has fewer
    than FEWEST_IMAGES labelled images; then the logged line ends with `otherwise`, which says what is done without it.
    """
    summary = describe_too_few(data.labels)
    if summary:
        log(f"{summary}, {otherwise}")
        return None, summary
    found = load_or_train_classifier(data, CLASSIFIER_CACHE.expanduser(), log)
    at_chance, summary = assess_classifier(found.accuracy, data.labels, data.attributes)
    log(f"{summary}: {otherwise}" if at_chance else summary)
    return None if at_chance else found, summary


def describe_too_few(labels: Tensor) -> str:
    """Returns a line of text if there are too few labelled images to train a classifier, else an empty text."""
    labelled = int((labels >= 0).reshape(len(labels), -1).any(1).sum())
    if labelled >= FEWEST_IMAGES:
        return ""
    return f"classifier: {count_noun(labelled, 'labelled image')}, fewer than {FEWEST_IMAGES}: none is trained"
