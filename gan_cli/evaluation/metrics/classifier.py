"""A small classifier of the data, trained on the spot: it judges whether a sample is what was asked for."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, grid_sample, interpolate

from gan_cli.data.dataset import batch_indices, to_unit
from gan_cli.data.labels import Attribute, condition_of
from gan_cli.errors import UsageError
from gan_cli.models.conditioning import classification_accuracy, classification_loss
from gan_cli.randomness import derive_seed, generator_for
from gan_cli.storage.checksummed_file import SealError, seal, unseal
from gan_cli.storage.download import keep

CLASSIFIERS = Path("~/.cache/gan-cli/classifiers")  # where they are kept
VERSION = 3  # of the network and its training: another one is trained anew
FEATURES = 128
SIDE = 28  # what the network sees, whatever the size of the images
STEPS = 500  # whatever the size of the data: the time is the same
BATCH_SIZE = 100
LEARNING_RATE = 8e-3
PREDICTED_AT_ONCE = 500
TIMED_STEPS = 10  # of the training, after which its time is known
# While training, images are turned, scaled and shifted by up to so much: radians, a share, pixels.
TURN, SCALE, SHIFT = 0.2, 0.1, 2
MOST_BYTES = 16 << 20


@dataclass(frozen=True)
class Classifier:
    """A trained network on the CPU, and its accuracy on the tenth of the data that it was not trained on."""

    network: nn.Module
    accuracy: float

    def logits(self, images: Tensor) -> Tensor:
        """Of each class for each of `images`, uint8 `[N, C, H, W]`, as `[N, K]`."""
        return self._applied(self.network, images)

    def features(self, images: Tensor) -> Tensor:
        """What the classes are told apart by, of uint8 `[N, C, H, W]`: `[N, FEATURES]`, none below 0."""
        assert isinstance(self.network, nn.Sequential)
        return self._applied(self.network[:-1], images)

    @torch.no_grad()
    def _applied(self, layers: nn.Module, images: Tensor) -> Tensor:
        return torch.cat([layers(_as_inputs(part.cpu())) for part in images.split(PREDICTED_AT_ONCE)])


# --- training ----------------------------------------------------------------------------------------------------


Told = Callable[[float], None]  # about how many seconds a training takes


def untold(seconds: float) -> None:
    pass


def describe_training(seconds: float) -> str:
    return f"classifier: training one of these data, once, in about {max(seconds, 1):.0f} s; it is kept for other runs"


@torch.inference_mode(False)  # whatever the caller is in the middle of
def train_classifier(
    samples: Tensor,
    labels: Tensor,
    attributes: Sequence[Attribute],
    *,
    seed: int = 0,
    steps: int | None = None,
    told: Told = untold,
) -> Classifier:
    """Trains on nine tenths of `samples`, uint8 `[N, C, H, W]`, to tell the class of each of their `attributes`.

    `labels` `[N]` or `[N, attributes]` are as those of a `Dataset`; `steps`: STEPS unless given. `told` is called after
    TIMED_STEPS of them. UsageError for fewer than 2 samples.

    A function of its arguments alone; the caller's random state is left as it was.
    """
    if len(samples) < 2:
        raise UsageError(f"a classifier needs at least 2 labelled images, the data set has {len(samples)}")
    steps = steps or STEPS
    order = torch.randperm(len(samples), generator=generator_for(seed, "classifier's split"))
    held_out, kept = order.tensor_split([max(1, len(samples) // 10)])
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(seed, "classifier"))  # and no other device's
        network = _build_network(samples.shape[1], _classes(attributes))
        optimizer = torch.optim.AdamW(network.parameters())
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
        inputs_of, began = _inputs_of(samples, kept, steps), time.perf_counter()
        for step in range(steps):
            if step == TIMED_STEPS:
                told((time.perf_counter() - began) * steps / step)
            chosen = batch_indices(seed, len(kept), BATCH_SIZE, step)
            optimizer.zero_grad()
            wanted = condition_of(labels[kept[chosen]], _classes(attributes))
            classification_loss(network(_moved(inputs_of(chosen))), wanted, attributes).backward()
            optimizer.step()
            schedule.step()
    network.eval()
    trained = Classifier(network, 0.0)  # a tenth of the data may be more than the memory holds
    logits = torch.cat([trained.logits(samples[some]) for some in held_out.split(PREDICTED_AT_ONCE)])
    wanted = condition_of(labels[held_out], _classes(attributes))
    return Classifier(network, classification_accuracy(logits, wanted, attributes))


def _classes(attributes: Sequence[Attribute]) -> int:
    return sum(attribute.size for attribute in attributes)


def _build_network(channels: int, classes: int) -> nn.Module:
    def halved(inputs: int, outputs: int) -> list[nn.Module]:
        convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        return [convolution, nn.MaxPool2d(2), nn.BatchNorm2d(outputs), nn.ReLU()]

    return nn.Sequential(
        *halved(channels, 16), *halved(16, 32), *halved(32, 64),
        nn.Flatten(), nn.Dropout(0.3), nn.Linear(64 * (SIDE // 8) ** 2, FEATURES), nn.ReLU(),
        nn.Linear(FEATURES, classes),
    )  # fmt: skip


def _as_inputs(images: Tensor) -> Tensor:
    inputs = to_unit(images)
    if inputs.shape[-2:] == (SIDE, SIDE):
        return inputs
    return interpolate(inputs, size=(SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True)


def _inputs_of(samples: Tensor, kept: Tensor, steps: int) -> Callable[[Tensor], Tensor]:
    """The network's inputs for some of the `kept` samples, by their places there.

    Images of another size are resized once, unless there are so many that a training sees each less than twice.
    """
    if samples.shape[-2:] == (SIDE, SIDE) or 2 * len(kept) > steps * BATCH_SIZE:
        return lambda places: _as_inputs(samples[kept[places]])
    resized = torch.cat([_as_inputs(samples[some]) for some in kept.split(PREDICTED_AT_ONCE)])
    return lambda places: resized[places]


def _moved(inputs: Tensor) -> Tensor:
    """Each image a little turned, scaled and shifted, differently every time."""
    turn, scale, right, down = torch.rand(4, len(inputs)) * 2 - 1
    scale = 1 + SCALE * scale
    cos, sin = scale * (TURN * turn).cos(), scale * (TURN * turn).sin()
    right, down = right * SHIFT * 2 / SIDE, down * SHIFT * 2 / SIDE
    matrix = torch.stack([cos, -sin, right, sin, cos, down], dim=1).view(-1, 2, 3)
    grid = affine_grid(matrix, list(inputs.shape), align_corners=False)
    return grid_sample(inputs, grid, padding_mode="border", align_corners=False)


# --- keeping -----------------------------------------------------------------------------------------------------


def cached_classifier(
    dataset_fingerprint: str,
    samples: Tensor,
    labels: Tensor,
    attributes: Sequence[Attribute],
    folder: Path,
    told: Told = untold,
    steps: int | None = None,
) -> Classifier:
    """The classifier of this data that `folder` keeps, else one trained now and kept there for the next time.

    It is trained for so many `steps`, STEPS unless given; `told` as by `train_classifier`. A file that is damaged or
    not such a classifier is replaced. A folder that cannot be written is no error. Of processes that train at once,
    each uses its own and the last one's file stays.
    """
    shape = f"{samples.shape[1]}x{_classes(attributes)}"  # of the same data, stacks and single digits are told apart
    if steps is not None:
        shape += f"-{steps}"
    path = folder / f"classifier-v{VERSION}-{shape}-{dataset_fingerprint}.safetensors"
    found = _load(path, dataset_fingerprint, samples.shape[1], _classes(attributes))
    if found is not None:
        return found
    classifier = train_classifier(samples, labels, attributes, steps=steps, told=told)
    with contextlib.suppress(OSError):
        _save(classifier, path, dataset_fingerprint)
    return classifier


def _save(classifier: Classifier, path: Path, fingerprint: str) -> None:
    content = seal(classifier.network.state_dict(), {"data": fingerprint, "accuracy": classifier.accuracy})
    keep(content, path)


def _load(path: Path, fingerprint: str, channels: int, classes: int) -> Classifier | None:
    """What is in the file, if that is a classifier of this data; nothing in the file is run."""
    try:
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            return None
        tensors, metadata, _ = unseal(path.read_bytes())
    except (OSError, SealError):
        return None
    with torch.device("meta"):  # names and shapes alone, no weights that a random state would go into
        network = _build_network(channels, classes)
    accuracy = metadata.get("accuracy")
    if metadata.get("data") != fingerprint or not isinstance(accuracy, float) or not 0 <= accuracy <= 1:
        return None
    if not _fits(tensors, network.state_dict()):
        return None
    network.load_state_dict(tensors, assign=True)
    return Classifier(network.eval(), accuracy)


def _fits(tensors: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return tensors.keys() == expected.keys() and all(
        tensor.shape == expected[name].shape and tensor.dtype == expected[name].dtype and bool(tensor.isfinite().all())
        for name, tensor in tensors.items()
    )
