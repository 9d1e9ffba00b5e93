"""Modes are counted as the papers count them, and the classifier that counts them in images can be relied on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import compose
from torch import Tensor

from gan_cli.data import build_dataset
from gan_cli.data.dataset import Dataset
from gan_cli.data.points import build_ring, grid_centres, ring_centres
from gan_cli.errors import UsageError
from gan_cli.metrics import classifier as classifiers
from gan_cli.metrics.classifier import Classifier, cached_classifier, train_classifier
from gan_cli.metrics.modes import Floor, ModeCount, count_labels, count_modes, floor_of
from gan_cli.sealed import seal, unseal

RING = ring_centres(8, 2.0)
FINGERPRINT = "ab" * 32


# --- points ------------------------------------------------------------------------------------------------------


def test_shares_known_by_hand() -> None:
    """4, 2 and 2 good samples at three of eight centres, and two far from any."""
    samples = torch.cat([RING[[0] * 4 + [3] * 2 + [6] * 2], torch.zeros(2, 2)])
    count = count_modes(samples, RING, std=0.02)
    assert count[:3] == (3, 8, 0.8)
    assert count.reverse_kl == pytest.approx(0.5 * math.log(4) + 2 * 0.25 * math.log(2), rel=1e-12)


def test_real_samples_of_the_ring() -> None:
    points = build_ring(size=10_000, modes=8, radius=2.0, std=0.02, split="test").samples
    count = count_modes(points, RING, std=0.02)
    assert (count.covered, count.possible) == (8, 8)
    assert count.share == pytest.approx(1 - math.exp(-4.5), abs=0.003)
    assert 0 <= count.reverse_kl < 0.002


def test_three_standard_deviations_are_too_far() -> None:
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0]])
    samples = torch.tensor([[1.5, 0.0], [0.0, -1.5], [1.4999, 0.0], [9.0, 1.0]])
    assert count_modes(samples[:2], centres, std=0.5) == ModeCount(0, 2, 0.0, math.log(2))
    assert count_modes(samples, centres, std=0.5) == ModeCount(2, 2, 0.5, 0.0)


def test_the_border_is_as_sharp_among_many_samples() -> None:
    """With more than 25 rows, cdist would by default take matrix products and round."""
    centres = grid_centres(5, 1000.0)
    offsets = torch.tensor([[0.149, 0.0], [0.151, 0.0]])
    count = count_modes((centres[:, None] + offsets).flatten(0, 1), centres, std=0.05)
    assert count == ModeCount(25, 25, 0.5, 0.0)


def test_one_sample_covers_a_mode_but_only_the_nearest() -> None:
    centres = torch.tensor([[0.0, 0.0], [1.0, 0.0]])  # 3 std reach beyond the other centre
    assert count_modes(torch.tensor([[0.4, 0.0]]), centres, std=1.0) == ModeCount(1, 2, 1.0, math.log(2))


def test_a_single_mode_is_log_k() -> None:
    count = count_modes(RING[[5] * 100], RING, std=0.02)
    assert count[:3] == (1, 8, 1.0)
    assert count.reverse_kl == pytest.approx(math.log(8))
    assert count_modes(torch.zeros(3, 2), torch.zeros(1, 2), std=1.0) == ModeCount(1, 1, 1.0, 0.0)


@pytest.mark.parametrize(
    "samples",
    [torch.zeros(5, 2), torch.full((5, 2), math.nan), torch.full((5, 2), math.inf), torch.empty(0, 2)],
    ids=["far", "nan", "inf", "none"],
)
def test_no_good_sample(samples: Tensor) -> None:
    assert count_modes(samples, RING, std=0.02) == ModeCount(0, 8, 0.0, math.log(8))


def test_samples_that_are_not_finite_count_as_bad() -> None:
    samples = torch.cat([RING, torch.tensor([[math.nan, 0.0], [math.inf, math.nan]])])
    assert count_modes(samples, RING, std=0.02) == ModeCount(8, 8, 0.8, 0.0)


def test_without_modes_there_is_nothing_to_count() -> None:
    with pytest.raises(ValueError, match="no modes"):
        count_modes(torch.zeros(5, 2), torch.empty(0, 2), std=0.02)


# --- labels and floors -------------------------------------------------------------------------------------------


def test_labels_are_counted() -> None:
    count = count_labels(torch.tensor([7, 7, 999, 0]), possible=1000)
    assert count[:3] == (3, 1000, 1.0)
    assert count.reverse_kl == pytest.approx(0.5 * math.log(500) + 0.5 * math.log(250), rel=1e-12)
    assert count_labels(torch.arange(1000).repeat(3), 1000) == pytest.approx((1000, 1000, 1.0, 0.0), abs=1e-12)
    assert count_labels(torch.empty(0, dtype=torch.int64), 10) == ModeCount(0, 10, 1.0, math.log(10))


def test_rounding_takes_no_divergence_below_zero() -> None:
    assert count_labels(torch.arange(49), 49).reverse_kl == 0


@pytest.mark.parametrize("labels", [[0, 10], [-1, 3]])
def test_labels_of_no_class_are_refused(labels: list[int]) -> None:
    with pytest.raises(ValueError, match="of 10 classes"):
        count_labels(torch.tensor(labels), 10)


@pytest.mark.parametrize(
    ("possible", "n", "reverse_kl"),
    [
        (1000, 26_000, 0.01934),
        (1000, 10_000, 0.05089),
        (1000, 1_000, 0.5730),
        (25, 2_500, 0.004808),
        (8, 2_500, 0.001401),
    ],
)
def test_floors(possible: int, n: int, reverse_kl: float) -> None:
    """Near the sum over the binomial distribution of a mode's count, and the chance of a mode to be missed."""
    floor = floor_of(possible, n)
    assert floor.covered == pytest.approx(possible * (1 - (1 - 1 / possible) ** n), abs=2)
    assert floor.reverse_kl == pytest.approx(reverse_kl, rel=0.02 if possible == 1000 else 0.15)


def test_a_floor_is_the_same_every_time() -> None:
    torch.manual_seed(1)
    first = floor_of(100, 500, seeds=3)
    torch.manual_seed(2)
    assert floor_of(100, 500, seeds=3) == first
    assert isinstance(first, Floor)


# --- the classifier ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return build_dataset(compose("dataset.download=false").dataset, 28)


@pytest.fixture(scope="module")
def classifier(digits: Dataset) -> Classifier:
    assert digits.labels is not None
    start = time.perf_counter()
    trained = train_classifier(digits.samples, digits.labels, 10)
    print(f"accuracy {trained.accuracy:.4f} on held-out digits in {time.perf_counter() - start:.1f} s")
    return trained


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training of no use but as quick as a test wants it."""
    monkeypatch.setattr(classifiers, "STEPS", 4)


def images(count: int = 60, channels: int = 1, side: int = 28) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    samples = torch.randint(256, (count, channels, side, side), generator=random, dtype=torch.uint8)
    return samples, torch.arange(count) % 10


def same(first: Classifier, second: Classifier) -> bool:
    weights = zip(first.network.state_dict().values(), second.network.state_dict().values(), strict=True)
    return first.accuracy == second.accuracy and all(torch.equal(one, other) for one, other in weights)


def test_digits_are_told_apart(classifier: Classifier, digits: Dataset) -> None:
    assert digits.labels is not None
    assert 0.975 <= classifier.accuracy < 1
    assert classifier.accuracy == pytest.approx(round(classifier.accuracy * 500) / 500)  # a tenth was held out
    predicted = classifier.predict(digits.samples)
    assert (predicted.dtype, predicted.shape) == (torch.int64, (5000,))
    assert (predicted == digits.labels).float().mean() >= 0.98


def test_stacks_spell_numbers(classifier: Classifier, digits: Dataset) -> None:
    assert digits.labels is not None
    known = [int((digits.labels == digit).nonzero()[0]) for digit in range(10)]
    pick = [known[digit] for digit in (4, 0, 7, 9, 9, 9)]
    assert classifier.predict(digits.samples[pick]).tolist() == [4, 0, 7, 9, 9, 9]
    assert classifier.predict_stacks(digits.samples[pick].view(2, 3, 28, 28)).tolist() == [407, 999]
    assert classifier.predict_stacks(digits.samples[pick].view(3, 2, 28, 28)).tolist() == [40, 79, 99]


def test_real_stacks_are_near_their_floor(classifier: Classifier) -> None:
    stacks = build_dataset(compose("dataset=stacked_mnist", "dataset.download=false", "dataset.size=3000").dataset, 28)
    assert stacks.labels is not None
    predicted = classifier.predict_stacks(stacks.samples)
    assert (predicted == stacks.labels).float().mean() > 0.95
    count, floor = count_labels(predicted, 1000), floor_of(1000, 3000)
    assert count.covered == pytest.approx(floor.covered, abs=20)
    assert count.reverse_kl == pytest.approx(floor.reverse_kl, abs=0.02)


@pytest.mark.usefixtures("short")
def test_training_depends_on_nothing_but_its_arguments() -> None:
    torch.manual_seed(1)
    first = train_classifier(*images(), 10)
    torch.manual_seed(2)
    with torch.inference_mode():
        second = train_classifier(*images(), 10)
    assert same(first, second)
    assert not same(first, train_classifier(*images(), 10, seed=1))


@pytest.mark.usefixtures("short")
def test_the_random_state_is_left_alone(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    for _ in range(2):  # trained, then loaded
        cached_classifier(FINGERPRINT, *images(), 10, tmp_path).predict(images()[0])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(("channels", "side"), [(1, 16), (3, 16), (3, 32), (1, 64), (3, 64)])
def test_other_images(channels: int, side: int, tmp_path: Path) -> None:
    samples, labels = images(30, channels, side)
    trained = cached_classifier(FINGERPRINT, samples, labels, 10, tmp_path)
    predicted = trained.predict(samples)
    assert (predicted.dtype, predicted.shape) == (torch.int64, (30,))
    assert torch.equal(cached_classifier(FINGERPRINT, samples, labels, 10, tmp_path).predict(samples), predicted)


@pytest.mark.usefixtures("short")
def test_little_data() -> None:
    assert train_classifier(*images(2), 10).accuracy in (0.0, 1.0)
    with pytest.raises(UsageError, match="at least 2"):
        train_classifier(*images(1), 10)


# --- what is kept of it ------------------------------------------------------------------------------------------


def refuse_training(*_: object) -> Classifier:
    raise AssertionError("it was kept")


@pytest.mark.usefixtures("short")
def test_it_is_trained_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "made" / "for it"
    trained = cached_classifier(FINGERPRINT, *images(), 10, folder)
    assert [path.name for path in folder.iterdir()] == [f"classifier-v1-{FINGERPRINT}.safetensors"]
    monkeypatch.setattr(classifiers, "train_classifier", refuse_training)
    loaded = cached_classifier(FINGERPRINT, *images(), 10, folder)
    assert same(trained, loaded)
    assert torch.equal(trained.predict(images()[0]), loaded.predict(images()[0]))


def cut_off(content: bytes) -> bytes:
    return content[: len(content) // 2]


def with_a_flipped_bit(content: bytes) -> bytes:
    return content[:-7] + bytes([content[-7] ^ 1]) + content[-6:]


def resealed(change: Callable[[dict[str, Tensor], dict[str, object]], None]) -> Callable[[bytes], bytes]:
    """A file that is whole, but does not hold what it should."""

    def changed(content: bytes) -> bytes:
        tensors, metadata, _ = unseal(content)
        del metadata["sha256"]
        change(tensors, metadata)
        return bytes(seal(tensors, metadata))

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
    trained = cached_classifier(FINGERPRINT, *images(), 10, tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert path.read_bytes() != whole
    assert same(cached_classifier(FINGERPRINT, *images(), 10, tmp_path), trained)
    assert path.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.usefixtures("short")
def test_a_folder_that_cannot_keep_it(tmp_path: Path) -> None:
    occupied = tmp_path / "file"
    occupied.write_text("in the way")
    trained = cached_classifier(FINGERPRINT, *images(), 10, occupied / "cache")
    assert same(trained, cached_classifier(FINGERPRINT, *images(), 10, occupied))
    assert list(tmp_path.iterdir()) == [occupied]
    assert occupied.read_text() == "in the way"


@pytest.mark.usefixtures("short")
def test_a_folder_in_the_place_of_the_file_stays(tmp_path: Path) -> None:
    folder = tmp_path / f"classifier-v1-{FINGERPRINT}.safetensors"
    (folder / "something").mkdir(parents=True)
    assert cached_classifier(FINGERPRINT, *images(), 10, tmp_path).classes == 10
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.usefixtures("short")
def test_another_process_may_be_quicker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train_while_another_does(*arguments: object) -> Classifier:
        monkeypatch.undo()
        monkeypatch.setattr(classifiers, "STEPS", 4)
        cached_classifier(FINGERPRINT, *images(), 10, tmp_path)
        return train_classifier(*images(), 10)

    monkeypatch.setattr(classifiers, "train_classifier", train_while_another_does)
    trained = cached_classifier(FINGERPRINT, *images(), 10, tmp_path)
    monkeypatch.setattr(classifiers, "train_classifier", refuse_training)
    assert same(cached_classifier(FINGERPRINT, *images(), 10, tmp_path), trained)
    assert len(list(tmp_path.iterdir())) == 1
