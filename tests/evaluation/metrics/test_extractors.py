"""What samples are compared by: shapes and ranges, the same anywhere, and keys that tell different looks apart."""

from __future__ import annotations

import pytest
import torch

from gan_cli.data.datasets.digits import MNIST, load_digits
from gan_cli.data.labels import Attribute
from gan_cli.evaluation.metrics import extractors
from gan_cli.evaluation.metrics.classifier import train_classifier
from gan_cli.evaluation.metrics.extractors import RANDOM_FEATURES, shrunk

FLAT = -17.1416  # the sum of the random features of a white picture


def images(channels: int = 1, side: int = 28, count: int = 7) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randint(256, (count, channels, side, side), generator=random, dtype=torch.uint8)


def test_points_are_their_coordinates() -> None:
    points = torch.randn(5, 2)
    assert torch.equal(extractors.points().see(points).features, points)


@pytest.mark.parametrize(
    ("shape", "most", "values"), [((1, 16, 16), 256, 256), ((3, 64, 64), 256, 3 * 9 * 9), ((1, 8, 64), 128, 4 * 32)]
)
def test_pixels_are_shrunk_only_where_there_are_many(shape: tuple[int, ...], most: int, values: int) -> None:
    found = shrunk(torch.full((2, *shape), 255, dtype=torch.uint8), most)
    assert found.shape == (2, values)
    assert torch.allclose(found, torch.ones(()))


def test_small_pixels_stay_as_they_are() -> None:
    small = images(side=8)
    assert torch.allclose(extractors.pixels().see(small).features, small.flatten(1) / 127.5 - 1)


@pytest.mark.parametrize(("channels", "side"), [(1, 28), (3, 64), (4, 16)])
def test_random_convolutions_are_the_same_for_everybody(channels: int, side: int) -> None:
    torch.manual_seed(0)
    one = extractors.random(channels).see(images(channels, side)).features
    torch.manual_seed(1)
    assert torch.equal(one, extractors.random(channels).see(images(channels, side)).features)
    assert one.shape == (7, RANDOM_FEATURES)
    assert 0.1 < one.std() < 10
    # of a seed, and of nothing that a version of torch may change
    flat = extractors.random(1).see(torch.full((1, 1, 32, 32), 255, dtype=torch.uint8)).features
    assert flat.sum().item() == pytest.approx(FLAT, rel=1e-3)


def test_parts_are_told_and_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = extractors.random(1).see(images()).features
    monkeypatch.setattr(extractors, "AT_ONCE", 3)
    told: list[tuple[int, int]] = []
    parts = extractors.random(1).see(images(), lambda done, count: told.append((done, count)))
    assert torch.allclose(parts.features, whole, atol=1e-5)
    assert told == [(3, 7), (6, 7), (7, 7)]


def test_a_classifier_gives_features_and_probabilities() -> None:
    digits = load_digits(MNIST, root="nowhere", download=False, fallback="bundled", image_size=(28, 28), split="train")
    assert digits.labels is not None
    known = train_classifier(digits.samples, digits.labels, [Attribute("", 0, 10)], steps=20)
    seen = extractors.classifying(known, one_of=True).see(digits.samples[:9])
    assert torch.allclose(seen.features, known.features(digits.samples[:9]))
    assert seen.probabilities is not None
    assert torch.allclose(seen.probabilities, known.logits(digits.samples[:9]).softmax(1), atol=1e-5)
    assert extractors.classifying(known, one_of=False).see(digits.samples[:9]).probabilities is None
    stacks = torch.cat([digits.samples[:9], digits.samples[9:18]], 1)
    spelt = extractors.classifying(known, one_of=True, stacked=True).see(stacks)
    assert spelt.features.shape == (9, 2 * known.features(digits.samples[:1]).shape[1])
    assert spelt.probabilities is not None
    singles = known.logits(digits.samples[:18]).softmax(1)
    expected = torch.einsum("ni,nj->nij", singles[:9], singles[9:]).flatten(1)
    assert torch.allclose(spelt.probabilities, expected, atol=1e-5)


def test_keys_tell_apart_what_sees_differently() -> None:
    one, other = (
        train_classifier(images(count=20), torch.arange(20) % 2, [Attribute("", 0, 2)], seed=seed, steps=1)
        for seed in (0, 1)
    )
    keys = [
        extractors.points().key, extractors.pixels().key, extractors.random(1).key, extractors.random(3).key,
        *(extractors.classifying(known, one_of=True).key for known in (one, other)),
        extractors.classifying(one, one_of=False).key,
    ]  # fmt: skip
    assert len(set(keys)) == len(keys)
    assert extractors.classifying(one, one_of=True).key == keys[4]
