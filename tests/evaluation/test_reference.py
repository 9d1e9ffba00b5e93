"""The real side: which samples, disjoint sides, what can see them, and a cache that is never wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gan_cli.api_arguments import parse_evaluation_options
from gan_cli.data.dataset import Dataset
from gan_cli.data.load_dataset import build_dataset
from gan_cli.errors import UsageError
from gan_cli.evaluation import checkpoint_evaluation, real_data, reference
from gan_cli.evaluation.callbacks import ignore
from gan_cli.evaluation.metrics import classifier, feature_extractors, inception_features
from gan_cli.evaluation.metrics.feature_extractors import Extractor, Features
from gan_cli.evaluation.real_data import DEFAULT_PROTOCOL, Protocol, RealData, find_real_data
from gan_cli.evaluation.reference import build_extractor, build_reference
from support.configs import compose
from support.published.digits import write_digits


def real_of(*overrides: str) -> RealData:
    config = compose(*overrides)
    return find_real_data(config.dataset, config.image_size, build_dataset(config.dataset, config.image_size))


SHAPES = ("dataset=shapes", "dataset.size=60", "image_size=8")


def numbered(count: int, first: int = 0) -> Dataset:
    """Images of which each says its number."""
    numbers = torch.arange(first, first + count).view(-1, 1, 1, 1)
    return Dataset(torch.cat([numbers // 256, numbers % 256], 1).to(torch.uint8), "numbers")


def numbers_of(samples: Tensor) -> set[int]:
    return {int(high) * 256 + int(low) for high, low in samples.flatten(1).tolist()}


def both(real: RealData, n: int, protocol: Protocol = DEFAULT_PROTOCOL) -> tuple[Tensor, Tensor]:
    compared, others = real.select(n, protocol)
    assert others is not None
    return compared[:], others[:]


# --- which real samples ------------------------------------------------------------------------------------------


def test_a_test_split_is_held_out() -> None:
    real = real_of(*SHAPES)
    assert real.held_out is not None
    assert not torch.equal(real.held_out.samples, real.train.samples)
    assert real.max_per_side == 60
    assert real.describe(50) == "50 of 60 held-out images; floor: 50 training images against these"


def test_without_one_two_halves_that_share_nothing() -> None:
    real = RealData(numbered(41), numbered(41), why="they have no test split")
    compared, others = both(real, real.max_per_side)
    assert (len(compared), len(others)) == (20, 20)
    assert not numbers_of(compared) & numbers_of(others)
    assert numbers_of(both(real, 5)[0]) < numbers_of(compared)
    unseen, own = real.held_out_images(7)
    assert own is not None
    assert torch.equal(unseen, real.train.samples[own])
    assert real.describe(20) == "20 images of the data; floor: 20 others (they have no test split)"


def test_with_one_fakes_are_compared_with_it_and_the_floor_is_of_training_samples() -> None:
    real = RealData(numbered(30), numbered(30), numbered(50, 1000))
    compared, others = both(real, 30)
    assert min(numbers_of(compared)) >= 1000
    assert numbers_of(others) == set(range(30))
    compared, others = both(real, 5)  # always these: files of the cache do not tell which
    assert [compared[:, 1].flatten().tolist(), others[:, 1].flatten().tolist()] == [
        [number % 256 for number in (1010, 1024, 1038, 1001, 1021)],
        [4, 19, 13, 3, 11],
    ]
    unseen, own = real.held_out_images(9)
    assert min(numbers_of(unseen)) >= 1000
    assert own is None


def test_all_training_samples_may_be_compared_with_and_the_rest_makes_the_floor() -> None:
    """As papers have it; the floor is of what is left, none if nothing is."""
    real, train = RealData(numbered(30), numbered(30), numbered(50, 1000)), Protocol("train")
    compared, others = both(real, 40, train)
    assert numbers_of(compared) == set(range(30))
    assert len(others) == 40
    assert min(numbers_of(others)) >= 1000
    assert real.describe(40, train) == "all 30 training images; floor: 40 held-out images against these"
    some = Protocol("train", 20)
    assert numbers_of(both(real, 40, some)[0]) < set(range(30))
    assert real.describe(40, some) == "20 training images; floor: 40 held-out images against these"
    alone = RealData(numbered(30), numbered(30), why="they have no test split")
    assert alone.select(40, train)[1] is None
    assert alone.describe(40, train) == "all 30 images of the data; floor: none, as no others are left"
    compared, others = both(alone, 40, Protocol("train", 12))
    assert (len(compared), len(others)) == (12, 18)
    assert not numbers_of(compared) & numbers_of(others)


def test_all_samples_of_both_splits() -> None:
    real = RealData(numbered(30), numbered(30), numbered(50, 1000))
    compared, others = real.select(40, Protocol("all"))
    assert numbers_of(compared[:]) == {*range(30), *range(1000, 1050)}
    assert others is None
    assert real.describe(40, Protocol("all")) == "all 80 images of the data; floor: none, as no others are left"
    compared, others = both(real, 40, Protocol("all", 50))
    assert not numbers_of(compared) & numbers_of(others)
    assert (len(compared), len(others)) == (50, 30)


def test_more_fakes_than_held_out_samples() -> None:
    real, asked = RealData(numbered(30), numbered(30), numbered(20, 1000)), Protocol("held_out", 15)
    compared, others = both(real, 25, asked)
    assert (len(compared), len(others)) == (15, 25)
    assert real.describe(25, asked) == "15 held-out images; floor: 25 training images against these"


# --- classes that the splits do not share ------------------------------------------------------------------------


def labelled(classes: str, counts: Sequence[int], first: int = 0) -> Dataset:
    """So many images of each class, a letter each."""
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    return dataclasses.replace(numbered(len(labels), first), labels=labels, classes=tuple(classes))


def found_with(train: Dataset, test: Dataset, monkeypatch: pytest.MonkeyPatch) -> RealData:
    """What `find_real_data` makes of a folder with these splits."""
    monkeypatch.setattr(real_data, "build_held_out", lambda section, size, dataset, **changes: test)
    section = compose("dataset=folder", "dataset.path=nowhere").dataset
    return find_real_data(section, 8, train)


def test_held_out_samples_of_other_classes_are_left_out_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    train, test = labelled("ac", [30, 30]), labelled("bac", [40, 20, 20], 1000)
    real = found_with(train, test, monkeypatch)
    assert real.held_out is not None
    assert numbers_of(real.held_out.samples) == set(range(1040, 1080))
    assert real.held_out.classes == ("a", "c")
    assert real.held_out.labels is not None
    assert real.held_out.labels.tolist() == [0] * 20 + [1] * 20
    assert real.notes == ("40 of 80 held-out images are left out: b is no class of the training data",)


def test_a_test_split_of_other_classes_alone_is_not_compared_with(monkeypatch: pytest.MonkeyPatch) -> None:
    real = found_with(labelled("a", [30]), labelled("bd", [20, 20]), monkeypatch)
    assert real.held_out is None
    assert real.why == "their test split has none of their classes"
    assert "40 of 40 held-out images are left out: b, d are no classes" in real.notes[0]


def test_a_test_split_without_a_class_is_not_compared_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fakes of that class would be far from all of it; if they are few it is told."""
    real = found_with(labelled("ab", [30, 30]), labelled("a", [40]), monkeypatch)
    assert real.held_out is None
    assert real.describe(20) == "20 images of the data; floor: 20 others (their test split has no b)"
    few = found_with(labelled("ab", [97, 3]), labelled("a", [40]), monkeypatch)
    assert few.held_out is not None
    assert few.notes == ("the held-out images have no b, 3.0% of the training images",)


def test_the_same_classes_are_compared_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    test = labelled("ab", [20, 20], 1000)
    assert found_with(labelled("ab", [30, 30]), test, monkeypatch).held_out is test
    unlabelled = numbered(40, 1000)
    unknown = found_with(labelled("ab", [30, 30]), unlabelled, monkeypatch)
    assert unknown.held_out is unlabelled
    assert "the held-out images have no classes" in unknown.notes[0]
    assert found_with(numbered(60), test, monkeypatch).notes == ()
    several = [dataclasses.replace(labelled(name, [30]), labels=torch.zeros(30, 2).long()) for name in ("ab", "abc")]
    told = ("the held-out images have c, which the training data do not have",)
    assert found_with(*several, monkeypatch).notes == told


def test_doubles_are_told() -> None:
    twice = torch.cat([torch.arange(30), torch.arange(4)])
    train = Dataset(numbered(30).samples[twice], "doubled")
    real = RealData(train, train, numbered(20, 25))
    assert real.duplicates == [
        "duplicates: 4 of 34 training images are copies of another",
        "duplicates: 5 of 20 held-out images are also training images",
    ]
    assert RealData(numbered(30), numbered(30), numbered(20, 1000)).duplicates == []
    points = Dataset(torch.zeros(30, 2), "the same point")
    assert RealData(points, points).duplicates == []  # images alone are examined


def test_what_is_known_of_the_data_is_said_before_anything_is_compared(here: Path) -> None:
    twice, said = Dataset(numbered(30).samples[torch.arange(60) % 30], "doubled"), []
    real = RealData(twice, twice, numbered(20, 1000), notes=("the held-out pictures have no b",))
    options = parse_evaluation_options(ckpt="any", extractor="pixels", metrics=["frechet"])
    checkpoint_evaluation._reference(real, options, 20, torch.device("cpu"), said.append, ignore)
    assert said == [
        "data: the held-out pictures have no b",
        "duplicates: 30 of 60 training images are copies of another",
        "compared with: 20 of 20 held-out images; floor: 20 training images against these",
    ]


def test_a_limit_bounds_what_was_trained_on_and_not_what_is_compared() -> None:
    real = real_of(*SHAPES, "dataset.limit=12")
    assert (len(real.train), len(real.train_unlimited), real.max_per_side) == (12, 60, 60)


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
    from gan_cli.data.datasets.mnist_family import TEST_IMAGES, TEST_LABELS

    write_digits(here, 30)
    write_digits(here / "test", 24)
    for name in (TEST_IMAGES, TEST_LABELS):
        (here / "test" / name.replace("t10k", "train")).rename(here / name)
    real = real_of("dataset=fashion_mnist", "dataset.root=.", "dataset.download=false")
    assert real.held_out is not None
    assert (len(real.train_unlimited), len(real.held_out)) == (30, 24)


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
    assert any(line.startswith("classifier: accuracy ") for line in said) == (expected == "classifier")


@pytest.mark.parametrize("name", ["auto", "classifier"])
def test_a_classifier_at_chance_sees_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of 120 random images in two classes at random, of which 4 of 12 are right."""
    guesses = classifier.Classifier(nn.Sequential(), 4 / 12)
    monkeypatch.setattr(classifier, "load_or_train_classifier", lambda *data: guesses)
    random = torch.Generator().manual_seed(0)
    samples = torch.randint(256, (120, 1, 8, 8), generator=random).to(torch.uint8)
    labels = torch.randint(2, (120,), generator=random)
    data = Dataset(samples, "random", labels, ("a", "b"))
    said: list[str] = []
    extractor = build_extractor(name, RealData(data, data), said.append)
    assert extractor.name == "random"
    assert extractor.accuracy is None
    assert "(12 samples), no better than guessing (5" in said[-1]
    assert said[-1].endswith("%): images are compared in random features")
    assert extractor.why in said[-1]


@pytest.mark.parametrize(
    ("channels", "expected"), [(4, ["inception: sees red, green and blue alone, not the opacity"]), (3, [])]
)
def test_what_inception_does_not_see_is_told(
    channels: int, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        inception_features, "build_inception_extractor", lambda: feature_extractors.build_random_extractor(3)
    )
    data, said = Dataset(torch.zeros(20, channels, 8, 8, dtype=torch.uint8), "black"), []
    build_extractor("inception", RealData(data, data), said.append)
    assert said == expected


def test_without_classes_auto_is_random_and_classifier_is_refused() -> None:
    real = RealData(numbered(20), numbered(20))
    assert build_extractor("auto", real).name == "random"
    one = labelled("a", [20])
    assert build_extractor("auto", RealData(one, one)).name == "random"  # a single class tells nothing
    with pytest.raises(UsageError, match="these data have no classes"):
        build_extractor("classifier", RealData(one, one))
    with pytest.raises(UsageError, match="extractor=classifier: these data have no classes, use random"):
        build_extractor("classifier", real)
    with pytest.raises(UsageError, match="extractor=pixels: points are compared by their coordinates"):
        build_extractor("pixels", real_of("experiment=ring"))


def test_stacked_digits_are_seen_by_a_classifier_of_digits(here: Path) -> None:
    real = real_of("dataset=stacked_mnist", "dataset.download=false", "dataset.size=300", "dataset.digits=2")
    seen = build_extractor("auto", real).extract(real.train.samples[:5])
    assert seen.probabilities is not None
    assert seen.probabilities.shape == (5, 100)


# --- the cache ---------------------------------------------------------------------------------------------------


def counting(key: str = "counting") -> tuple[Extractor, list[int]]:
    looked: list[int] = []

    def extract_batch(samples: Tensor) -> Features:
        looked.append(len(samples))
        return Features(samples.flatten(1).float(), samples.flatten(1).float().softmax(1))

    return Extractor("counting", key, extract_batch), looked


def kept() -> list[Path]:
    return list(reference.REFERENCE_CACHE.expanduser().iterdir())


def test_what_was_seen_once_is_kept_with_its_floors(here: Path) -> None:
    real, (extractor, looked) = RealData(numbered(40), numbered(40), numbered(40, 500)), counting()
    first = build_reference(real, extractor, 30)
    assert sum(looked) == 60
    first.floors["frechet-counting"] = 1.5
    first.save_to_cache()
    again = build_reference(real, extractor, 30)
    assert sum(looked) == 60
    assert torch.equal(first.real.features, again.real.features)
    assert first.other is not None
    assert again.other is not None
    assert torch.equal(first.other.features, again.other.features)
    assert again.other.probabilities is not None
    assert again.floors == {"frechet-counting": 1.5}
    assert len(kept()) == 1


def test_other_data_extractors_and_numbers_are_kept_apart(here: Path) -> None:
    real, (extractor, _) = RealData(numbered(40), numbered(40), numbered(40, 500)), counting()
    build_reference(real, extractor, 30)
    build_reference(real, extractor, 29)
    build_reference(real, counting("other")[0], 30)
    build_reference(dataclasses.replace(real, held_out=numbered(40, 700)), extractor, 30)
    build_reference(dataclasses.replace(real, train_unlimited=numbered(41)), extractor, 30)
    build_reference(real, extractor, 30, protocol=Protocol("train"))
    build_reference(real, extractor, 30, protocol=Protocol("train", 20))
    assert len(kept()) == 7


def test_without_a_floor_it_is_kept_as_well(here: Path) -> None:
    real, (extractor, looked) = RealData(numbered(40), numbered(40)), counting()
    first = build_reference(real, extractor, 60, protocol=Protocol("train"))
    again = build_reference(real, extractor, 60, protocol=Protocol("train"))
    assert sum(looked) == 40
    assert (first.n, first.other, again.other) == (60, None, None)
    assert torch.equal(first.real.features, again.real.features)


def test_what_figures_are_measured_on_differs_with_all_that_they_depend_on(here: Path) -> None:
    real, (extractor, _) = RealData(numbered(40), numbered(40), numbered(40, 500)), counting()
    usual = build_reference(real, extractor, 30).basis
    assert usual == build_reference(real, extractor, 30).basis
    assert (usual["shape"], usual["n"], usual["n_real"], usual["extractor"]) == ([2, 1, 1], 30, 30, "counting")
    for other in (
        build_reference(real, extractor, 29),
        build_reference(real, counting("other")[0], 30),
        build_reference(dataclasses.replace(real, held_out=numbered(40, 700)), extractor, 30),
        build_reference(dataclasses.replace(real, train_unlimited=numbered(41)), extractor, 30),
        build_reference(real, extractor, 30, protocol=Protocol("train")),
    ):
        assert other.basis != usual


@pytest.mark.parametrize("damage", ["cut", "flip", "foreign", "empty"])
def test_a_damaged_file_is_made_anew(here: Path, damage: str) -> None:
    real, (extractor, looked) = RealData(numbered(40), numbered(40), numbered(40, 500)), counting()
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
    real, (extractor, looked) = RealData(numbered(40), numbered(40), numbered(40, 500)), counting()
    build_reference(real, extractor, 30)
    (path,) = kept()
    other = build_reference(real, counting("other")[0], 30)
    path.write_bytes((path.parent / f"{other.key}.safetensors").read_bytes())
    before = sum(looked)
    build_reference(real, extractor, 30)
    assert sum(looked) == before + 60


def test_a_folder_that_cannot_be_written_is_no_error(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "file").write_text("in the way")
    monkeypatch.setattr(reference, "REFERENCE_CACHE", here / "file" / "reference")
    found = build_reference(RealData(numbered(40), numbered(40)), feature_extractors.build_random_extractor(2), 15)
    assert len(found.real.features) == 15
    found.save_to_cache()


def test_too_few_samples_are_refused_and_more_than_there_are_are_not_taken(here: Path) -> None:
    with pytest.raises(UsageError, match="have 19 samples, too few to compare with: at least 20"):
        build_reference(RealData(numbered(19), numbered(19)), feature_extractors.build_random_extractor(2), 10)
    assert (
        build_reference(RealData(numbered(40), numbered(40)), feature_extractors.build_random_extractor(2), 1000).n
        == 20
    )
