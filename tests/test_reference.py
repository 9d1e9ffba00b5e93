"""The real side: which samples, disjoint sides, what can see them, and a cache that is never wrong."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from conftest import compose
from test_data import write_digits
from torch import Tensor

from gan_cli import reference
from gan_cli.data import build_dataset
from gan_cli.data.dataset import Dataset
from gan_cli.errors import UsageError
from gan_cli.metrics import extractors
from gan_cli.metrics.extractors import Extractor, Seen
from gan_cli.reference import Real, build_extractor, build_reference, find_real


def real_of(*overrides: str) -> Real:
    config = compose(*overrides)
    return find_real(config.dataset, config.image_size, build_dataset(config.dataset, config.image_size))


SHAPES = ("dataset=shapes", "dataset.size=60", "image_size=8")


def numbered(count: int, first: int = 0) -> Dataset:
    """Pictures of which each says its number."""
    numbers = torch.arange(first, first + count).view(-1, 1, 1, 1)
    return Dataset(torch.cat([numbers // 256, numbers % 256], 1).to(torch.uint8), "numbers")


def numbers_of(samples: Tensor) -> set[int]:
    return {int(high) * 256 + int(low) for high, low in samples.flatten(1).tolist()}


# --- which real samples ------------------------------------------------------------------------------------------


def test_a_test_split_is_held_out() -> None:
    real = real_of(*SHAPES)
    assert real.held_out is not None
    assert not torch.equal(real.held_out.samples, real.train.samples)
    assert real.most == 60
    assert real.describe(50) == "50 of 60 held-out images; floor: 50 training images against these"


def test_without_one_two_halves_that_share_nothing() -> None:
    real = Real(numbered(41), numbered(41), why="they have no test split")
    compared, others = real.sides(real.most)
    assert (len(compared), len(others)) == (20, 20)
    assert not numbers_of(compared) & numbers_of(others)
    assert numbers_of(real.sides(5)[0]) < numbers_of(compared)
    unseen, own = real.unseen(7)
    assert own is not None
    assert torch.equal(unseen, real.train.samples[own])
    assert real.describe(20) == "20 images of the data; floor: 20 others (they have no test split)"


def test_with_one_fakes_are_compared_with_it_and_the_floor_is_of_training_samples() -> None:
    real = Real(numbered(30), numbered(30), numbered(50, 1000))
    compared, others = real.sides(30)
    assert min(numbers_of(compared)) >= 1000
    assert numbers_of(others) == set(range(30))
    unseen, own = real.unseen(9)
    assert min(numbers_of(unseen)) >= 1000
    assert own is None


def test_a_limit_bounds_what_was_trained_on_and_not_what_is_compared() -> None:
    real = real_of(*SHAPES, "dataset.limit=12")
    assert (len(real.train), len(real.whole), real.most) == (12, 60, 60)


@pytest.mark.parametrize(
    "overrides",
    [
        ("dataset=mnist", "dataset.download=false"),
        (*SHAPES, "dataset.split=test"),
        ("dataset=stacked_mnist", "dataset.download=false", "dataset.size=100"),
    ],
)
def test_data_without_a_test_split_say_so(here: Path, overrides: tuple[str, ...]) -> None:
    real = real_of(*overrides)
    assert real.held_out is None
    assert "no test split" in real.why


def test_a_test_split_of_files(here: Path) -> None:
    from gan_cli.data.digits import TEST_IMAGES, TEST_LABELS

    write_digits(here, 30)
    write_digits(here / "test", 24)
    for name in (TEST_IMAGES, TEST_LABELS):
        (here / "test" / name.replace("t10k", "train")).rename(here / name)
    real = real_of("dataset=fashion_mnist", "dataset.root=.", "dataset.download=false")
    assert real.held_out is not None
    assert (len(real.whole), len(real.held_out)) == (30, 24)


# --- what sees them ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "name", "expected"),
    [
        (SHAPES, "auto", "classifier"),
        (SHAPES, "random", "random"),
        (SHAPES, "pixels", "pixels"),
        (("experiment=ring",), "auto", "points"),
    ],
)
def test_extractors_by_name(here: Path, overrides: tuple[str, ...], name: str, expected: str) -> None:
    said: list[str] = []
    assert build_extractor(name, real_of(*overrides), said.append).name == expected
    assert any(line.startswith("classifier: right about ") for line in said) == (expected == "classifier")


def test_without_classes_auto_is_random_and_classifier_is_refused() -> None:
    real = Real(numbered(20), numbered(20))
    assert build_extractor("auto", real).name == "random"
    with pytest.raises(UsageError, match="extractor=classifier: these data have no classes, use random"):
        build_extractor("classifier", real)
    with pytest.raises(UsageError, match="extractor=pixels: points are compared by their coordinates"):
        build_extractor("pixels", real_of("experiment=ring"))


def test_stacked_digits_are_seen_by_a_classifier_of_digits(here: Path) -> None:
    real = real_of("dataset=stacked_mnist", "dataset.download=false", "dataset.size=300", "dataset.digits=2")
    seen = build_extractor("auto", real).see(real.train.samples[:5])
    assert seen.probabilities is not None
    assert seen.probabilities.shape == (5, 100)


# --- the cache ---------------------------------------------------------------------------------------------------


def counting(key: str = "counting") -> tuple[Extractor, list[int]]:
    looked: list[int] = []

    def look(samples: Tensor) -> Seen:
        looked.append(len(samples))
        return Seen(samples.flatten(1).float(), samples.flatten(1).float().softmax(1))

    return Extractor("counting", key, look), looked


def kept() -> list[Path]:
    return list(reference.REFERENCES.expanduser().iterdir())


def test_what_was_seen_once_is_kept_with_its_floors(here: Path) -> None:
    real, (extractor, looked) = Real(numbered(40), numbered(40), numbered(40, 500)), counting()
    first = build_reference(real, extractor, 30)
    assert sum(looked) == 60
    first.floors["frechet-counting"] = 1.5
    first.keep()
    again = build_reference(real, extractor, 30)
    assert sum(looked) == 60
    assert torch.equal(first.real.features, again.real.features)
    assert torch.equal(first.other.features, again.other.features)
    assert again.other.probabilities is not None
    assert again.floors == {"frechet-counting": 1.5}
    assert len(kept()) == 1


def test_other_data_extractors_and_numbers_are_kept_apart(here: Path) -> None:
    real, (extractor, _) = Real(numbered(40), numbered(40), numbered(40, 500)), counting()
    build_reference(real, extractor, 30)
    build_reference(real, extractor, 29)
    build_reference(real, counting("other")[0], 30)
    build_reference(dataclasses.replace(real, held_out=numbered(40, 700)), extractor, 30)
    build_reference(dataclasses.replace(real, whole=numbered(41)), extractor, 30)
    assert len(kept()) == 5


@pytest.mark.parametrize("damage", ["cut", "flip", "foreign", "empty"])
def test_a_damaged_file_is_made_anew(here: Path, damage: str) -> None:
    real, (extractor, looked) = Real(numbered(40), numbered(40), numbered(40, 500)), counting()
    first = build_reference(real, extractor, 30)
    (path,) = kept()
    content = bytearray(path.read_bytes())
    content[-3] ^= damage == "flip"
    path.write_bytes({"cut": content[:-9], "flip": content, "foreign": b"x" * 99, "empty": b""}[damage])
    again = build_reference(real, extractor, 30)
    assert sum(looked) == 120
    assert torch.equal(first.real.features, again.real.features)
    build_reference(real, extractor, 30)
    assert sum(looked) == 120


def test_another_reference_under_its_name_is_not_taken(here: Path) -> None:
    real, (extractor, looked) = Real(numbered(40), numbered(40), numbered(40, 500)), counting()
    build_reference(real, extractor, 30)
    (path,) = kept()
    other = build_reference(real, counting("other")[0], 30)
    path.write_bytes((path.parent / f"{other.key}.safetensors").read_bytes())
    before = sum(looked)
    build_reference(real, extractor, 30)
    assert sum(looked) == before + 60


def test_a_folder_that_cannot_be_written_is_no_error(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "file").write_text("in the way")
    monkeypatch.setattr(reference, "REFERENCES", here / "file" / "reference")
    found = build_reference(Real(numbered(40), numbered(40)), extractors.random(2), 15)
    assert len(found.real.features) == 15
    found.keep()


def test_too_few_samples_are_refused_and_more_than_there_are_are_not_taken(here: Path) -> None:
    with pytest.raises(UsageError, match="have 19 samples, too few to compare with: at least 20"):
        build_reference(Real(numbered(19), numbered(19)), extractors.random(2), 10)
    assert build_reference(Real(numbered(40), numbered(40)), extractors.random(2), 1000).n == 20
