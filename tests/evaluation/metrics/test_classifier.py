"""The classifier that judges samples: it can be relied on, disturbs nothing, and what is kept of it is checked."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gan_cli.data.dataset import Dataset
from gan_cli.data.labels import Attribute, attributes_of
from gan_cli.data.load_dataset import build_dataset
from gan_cli.errors import UsageError
from gan_cli.evaluation.metrics import classifier as classifiers
from gan_cli.evaluation.metrics.classifier import (
    Classifier,
    ClassifierDesign,
    LabelledImages,
    load_or_train_classifier,
    train_classifier,
)
from gan_cli.evaluation.metrics.mode_coverage import count_labels
from gan_cli.storage.checksummed_file import decode_checksummed, encode_checksummed
from gan_cli.training.periodic_evaluation import unstack_digits
from support.configs import compose

FINGERPRINT = "ab" * 32
TEN = [Attribute("", 0, 10)]


def predict(classifier: Classifier, samples: Tensor) -> Tensor:
    return classifier.logits(samples).argmax(1)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return build_dataset(compose("dataset.download=false").dataset, 28)


@pytest.fixture(scope="module")
def classifier(digits: Dataset) -> Classifier:
    assert digits.labels is not None
    return train_classifier(LabelledImages(digits.samples, digits.labels, TEN), steps=120)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training of no use but as quick as a test wants it."""
    monkeypatch.setattr(LabelledImages, "design", ClassifierDesign(steps=4))


def images(count: int = 60, channels: int = 1, side: int = 28) -> LabelledImages:
    random = torch.Generator().manual_seed(0)
    samples = torch.randint(256, (count, channels, side, side), generator=random, dtype=torch.uint8)
    return LabelledImages(samples, torch.arange(count) % 10, TEN, FINGERPRINT)


def same(first: Classifier, second: Classifier) -> bool:
    weights = zip(first.network.state_dict().values(), second.network.state_dict().values(), strict=True)
    return first.accuracy == second.accuracy and all(torch.equal(one, other) for one, other in weights)


def test_digits_are_told_apart(classifier: Classifier, digits: Dataset) -> None:
    assert digits.labels is not None
    assert 0.94 <= classifier.accuracy < 1
    assert classifier.accuracy == pytest.approx(round(classifier.accuracy * 500) / 500)  # a tenth was held out
    predicted = predict(classifier, digits.samples)
    assert (predicted.dtype, predicted.shape) == (torch.int64, (5000,))
    assert (predicted == digits.labels).float().mean() >= 0.94


@pytest.mark.slow
def test_digits_are_told_apart_well(digits: Dataset) -> None:
    assert digits.labels is not None
    assert 0.975 <= train_classifier(LabelledImages(digits.samples, digits.labels, TEN)).accuracy < 1


def test_real_stacks_are_near_their_floor(classifier: Classifier) -> None:
    stacks = build_dataset(compose("dataset=stacked_mnist", "dataset.download=false", "dataset.size=3000").dataset, 28)
    digits, labels = unstack_digits(stacks)
    predicted = predict(classifier, digits)
    assert (predicted == labels).float().mean() > 0.93
    spelt = predicted.view(-1, 3) @ torch.tensor([100, 10, 1])
    assert (spelt == stacks.labels).float().mean() > 0.8
    count = count_labels(spelt, 1000)  # 3,000 even draws from 1,000 modes cover 950, with a reverse KL of 0.185
    assert count.covered == pytest.approx(950, abs=30)
    assert count.reverse_kl == pytest.approx(0.185, abs=0.04)


def test_attributes_are_each_told(digits: Dataset) -> None:
    """Whether a digit is even, and whether it is below five, each with a tenth of the labels not known."""
    assert digits.labels is not None
    labels = torch.stack([digits.labels % 2, 2 + digits.labels // 5], 1)
    labels[::10] = -1
    classes = ("parity=even", "parity=odd", "size=small", "size=large")
    trained = train_classifier(LabelledImages(digits.samples, labels, attributes_of(classes)), steps=60)
    assert trained.accuracy > 0.94


@pytest.mark.parametrize(("side", "network_side"), [(16, 16), (28, 32), (64, 64), (200, 64)])
def test_several_attributes_are_seen_at_the_size_of_the_images(side: int, network_side: int) -> None:
    """Details of some pixels tell them apart; one class is seen at 28 pixels, whatever the size."""
    one, several = (
        images(side=side),
        images(side=side)._replace(attributes=[Attribute("a", 0, 4), Attribute("b", 4, 6)]),
    )
    assert one.design.side == 28
    assert several.design.side == network_side
    assert several.design.steps == one.design.steps == 500  # as there are few
    assert several._replace(images=several.images.repeat(100, 1, 1, 1)).design.steps == 1500
    labels = torch.stack([several.labels % 4, 4 + several.labels % 6], 1)
    trained = train_classifier(several._replace(labels=labels), steps=2)
    assert trained.side == network_side
    assert trained.logits(several.images).shape == (60, 10)


def test_attributes_of_one_pixel_are_told_apart() -> None:
    """A dot in column 12 or 15 of 32, anywhere in height, and whether it is red or green."""
    random = torch.Generator().manual_seed(0)
    bits = torch.randint(2, (600, 2), generator=random)
    samples = torch.zeros(600, 3, 32, 32, dtype=torch.uint8)
    rows = torch.randint(32, (600,), generator=random)
    samples[torch.arange(600), bits[:, 0], rows, 12 + 3 * bits[:, 1]] = 255
    attributes = [Attribute("colour", 0, 2), Attribute("place", 2, 2)]
    trained = train_classifier(LabelledImages(samples, bits + torch.tensor([0, 2]), attributes), steps=60)
    assert trained.accuracy > 0.95


@pytest.mark.usefixtures("short")
def test_training_depends_on_nothing_but_its_arguments() -> None:
    torch.manual_seed(1)
    first = train_classifier(images())
    torch.manual_seed(2)
    with torch.inference_mode():
        second = train_classifier(images())
    assert same(first, second)


@pytest.mark.usefixtures("short")
def test_the_random_state_is_left_alone(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    for _ in range(2):  # trained, then loaded
        predict(load_or_train_classifier(images(), tmp_path), images()[0])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(("channels", "side"), [(1, 16), (3, 16), (3, 32), (1, 64), (3, 64)])
def test_other_images(channels: int, side: int, tmp_path: Path) -> None:
    data = images(30, channels, side)
    predicted = predict(load_or_train_classifier(data, tmp_path), data.images)
    assert (predicted.dtype, predicted.shape) == (torch.int64, (30,))
    assert torch.equal(predict(load_or_train_classifier(data, tmp_path), data.images), predicted)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 64, 64), (3, 48, 64), (3, 16, 16)])
def test_images_are_resized_once_to_the_same_bits(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    data = images(60, shape[0], shape[1])
    data = data._replace(images=data.images.repeat(1, 1, 1, 2)[..., : shape[2]])
    resized: list[int] = []
    resize = classifiers.resized_inputs
    monkeypatch.setattr(
        classifiers, "resized_inputs", lambda some, size: resized.append(len(some)) or resize(some, size)
    )
    once = train_classifier(data)
    assert sum(resized) == 60  # the held-out tenth too
    monkeypatch.setattr(
        classifiers, "_input_function", lambda some, kept, *_: lambda places: resize(some[kept[places]], (28, 28))
    )
    assert same(once, train_classifier(data))


@pytest.mark.usefixtures("short")
def test_of_many_images_those_that_are_seen_are_resized(monkeypatch: pytest.MonkeyPatch) -> None:
    """4 steps see 400 of 900: no reason to resize them all."""
    resized: list[int] = []
    resize = classifiers.resized_inputs
    monkeypatch.setattr(
        classifiers, "resized_inputs", lambda some, size: resized.append(len(some)) or resize(some, size)
    )
    train_classifier(images(1000, side=32))
    assert sum(resized) == 400 + 100


def test_the_time_of_a_training_is_told_on_the_way() -> None:
    told: list[str] = []
    train_classifier(images(), steps=12, log=told.append)
    train_classifier(images(), steps=4, log=told.append)  # over before it is known
    assert len(told) == 1
    assert re.search(r"about [1-9]\d? s; it is cached", told[0])


@pytest.mark.usefixtures("short")
def test_little_data() -> None:
    assert train_classifier(images(2)).accuracy in (0.0, 1.0)
    with pytest.raises(UsageError, match="at least 2"):
        train_classifier(images(1))


def test_training_images_are_shifted_rotated_and_scaled_by_at_most_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ramps from -1 to 1 along the columns and along the rows, with the largest draw of each kind."""
    rows, columns = torch.meshgrid(*[(torch.arange(28) - 13.5) / 14] * 2, indexing="ij")
    turn, larger = math.cos(0.2) * columns - math.sin(0.2) * rows, math.sin(0.2) * columns + math.cos(0.2) * rows
    cases = [  # rotation, scale, right and down as drawn from 0 to 1; an image, and what it becomes
        ((0.5, 0.5, 1.0, 0.5), columns, columns + 2 / 14),
        ((0.5, 0.5, 0.5, 0.0), rows, rows - 2 / 14),
        ((0.5, 1.0, 0.5, 0.5), rows, 1.1 * rows),
        ((1.0, 0.5, 0.5, 0.5), columns, turn),
        ((1.0, 0.5, 0.5, 0.5), rows, larger),
    ]
    monkeypatch.setattr(torch, "rand", lambda *size: torch.tensor([draw for draw, _, _ in cases]).T)
    found = classifiers._augment(torch.stack([image for _, image, _ in cases]).unsqueeze(1), ClassifierDesign())
    for image, (*_, expected) in zip(found, cases, strict=True):
        assert torch.allclose(image[0, 7:21, 7:21], expected[7:21, 7:21], atol=1e-4)


# --- what is kept of it ------------------------------------------------------------------------------------------


def refuse_training(*_: object) -> Classifier:
    raise AssertionError("it was kept")


@pytest.mark.usefixtures("short")
def test_it_is_trained_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "made" / "for it"
    trained = load_or_train_classifier(images(), folder)
    assert [path.name for path in folder.iterdir()] == [f"classifier-v3-1x10-{FINGERPRINT}.safetensors"]
    monkeypatch.setattr(classifiers, "train_classifier", refuse_training)
    loaded = load_or_train_classifier(images(), folder)
    assert same(trained, loaded)
    assert torch.equal(predict(trained, images()[0]), predict(loaded, images()[0]))


def test_that_of_several_attributes_is_trained_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = images(side=32)._replace(attributes=[Attribute("a", 0, 4), Attribute("b", 4, 6)])
    data = data._replace(labels=torch.stack([data.labels % 4, 4 + data.labels % 6], 1))
    trained = load_or_train_classifier(data, tmp_path, steps=2)
    monkeypatch.setattr(classifiers, "train_classifier", refuse_training)
    loaded = load_or_train_classifier(data, tmp_path, steps=2)
    assert same(trained, loaded)
    assert torch.equal(trained.logits(data.images), loaded.logits(data.images))


def cut_off(content: bytes) -> bytes:
    return content[: len(content) // 2]


def with_a_flipped_bit(content: bytes) -> bytes:
    return content[:-7] + bytes([content[-7] ^ 1]) + content[-6:]


def resealed(change: Callable[[dict[str, Tensor], dict[str, object]], None]) -> Callable[[bytes], bytes]:
    """A file that is whole, but does not hold what it should."""

    def changed(content: bytes) -> bytes:
        tensors, metadata, _ = decode_checksummed(content)
        del metadata["sha256"]
        change(tensors, metadata)
        return bytes(encode_checksummed(tensors, metadata))

    return changed


LAST = "14.bias"  # of the network's tensors
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "text": lambda content: b"not a classifier",
    "cut off": cut_off,
    "a bit": with_a_flipped_bit,
    "a name more": resealed(lambda tensors, metadata: tensors.update(more=torch.zeros(1))),
    "a name less": resealed(lambda tensors, metadata: tensors.__delitem__(LAST)),
    "another shape": resealed(lambda tensors, metadata: tensors.update({LAST: torch.zeros(11)})),
    "another type": resealed(lambda tensors, metadata: tensors.update({LAST: torch.zeros(10).double()})),
    "not finite": resealed(lambda tensors, metadata: tensors.update({LAST: torch.full((10,), math.nan)})),
    "other data": resealed(lambda tensors, metadata: metadata.update(data="cd" * 32)),
    "no accuracy": resealed(lambda tensors, metadata: metadata.__delitem__("accuracy")),
    "an odd accuracy": resealed(lambda tensors, metadata: metadata.update(accuracy=98.0)),
}


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_file_that_is_no_such_classifier_is_replaced(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    trained = load_or_train_classifier(images(), tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert path.read_bytes() != whole
    assert same(load_or_train_classifier(images(), tmp_path), trained)
    assert path.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.usefixtures("short")
def test_a_folder_that_cannot_keep_it(tmp_path: Path) -> None:
    occupied = tmp_path / "file"
    occupied.write_text("in the way")
    trained = load_or_train_classifier(images(), occupied / "cache")
    assert same(trained, load_or_train_classifier(images(), occupied))
    assert list(tmp_path.iterdir()) == [occupied]
    assert occupied.read_text() == "in the way"


@pytest.mark.usefixtures("short")
def test_a_folder_in_the_place_of_the_file_stays(tmp_path: Path) -> None:
    folder = tmp_path / f"classifier-v3-1x10-{FINGERPRINT}.safetensors"
    (folder / "something").mkdir(parents=True)
    assert load_or_train_classifier(images(), tmp_path).accuracy <= 1
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.usefixtures("short")
def test_another_process_may_be_quicker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train_while_another_does(*arguments: object, **named: object) -> Classifier:
        monkeypatch.undo()
        monkeypatch.setattr(LabelledImages, "design", ClassifierDesign(steps=4))
        load_or_train_classifier(images(), tmp_path)
        return train_classifier(images())

    monkeypatch.setattr(classifiers, "train_classifier", train_while_another_does)
    trained = load_or_train_classifier(images(), tmp_path)
    monkeypatch.setattr(classifiers, "train_classifier", refuse_training)
    assert same(load_or_train_classifier(images(), tmp_path), trained)
    assert len(list(tmp_path.iterdir())) == 1
