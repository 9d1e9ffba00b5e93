"""Memorization: a generator that replays training images is flagged, one that makes new ones passes."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from gan_cli.data.datasets.mnist_family import MNIST, load_digits
from gan_cli.data.streamed_images import BatchDecoder, StreamedImages
from gan_cli.evaluation.metrics import memorization
from gan_cli.evaluation.metrics.memorization import Memorization, detect_memorization, find_nearest

COUNT = 500


@pytest.fixture(scope="module")
def digits() -> Tensor:
    found = load_digits(MNIST, root="nowhere", download=False, fallback="bundled", image_size=(28, 28), split="train")
    return found.samples[torch.randperm(5000, generator=torch.Generator().manual_seed(0))]


def judged(fakes: Tensor, digits: Tensor) -> Memorization:
    """Trained on the first 3,000 digits; 500 of the others are held out, and more of them are left to be fakes."""
    return detect_memorization(fakes, digits[:3000], digits[3000 : 3000 + COUNT], None, lambda done, count: None)


def share(found: Memorization) -> float:
    return found.copies.float().mean().item()


def altered(images: Tensor, noise: float) -> Tensor:
    random = torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    return (images + noise * random).clamp(0, 255).to(torch.uint8)


@pytest.mark.parametrize("noise", [0, 20, 40])
def test_a_generator_that_replays_training_pictures_is_flagged(digits: Tensor, noise: float) -> None:
    found = judged(altered(digits[1000 : 1000 + COUNT], noise), digits)
    assert share(found) > (0.7 if noise > 20 else 0.95)
    assert found.flagged
    assert "FLAGGED" in found.verdict
    assert (found.nearest.index == torch.arange(1000, 1000 + COUNT)).float().mean() > 0.99
    assert found.nearest.distance.median() < 0.8 * found.held_out_distance.median()


@pytest.mark.parametrize("noise", [0, 20, 40])
def test_a_generator_that_makes_new_pictures_passes(digits: Tensor, noise: float) -> None:
    found = judged(altered(digits[4000 : 4000 + COUNT], noise), digits)
    assert share(found) < 0.03
    assert not found.flagged
    assert found.verdict.startswith("memorization: not found")


def test_a_generator_whose_new_pictures_are_blurred_passes(digits: Tensor) -> None:
    """Blurred images lie near to all others: their distance to the nearest alone would look like copies."""
    blurred = torch.nn.functional.avg_pool2d(digits[4000 : 4000 + COUNT].float(), 3, 1, 1).to(torch.uint8)
    found = judged(blurred, digits)
    assert found.nearest.distance.median() < 0.95 * found.held_out_distance.median()
    assert not found.flagged


def test_one_in_ten_replayed_is_found(digits: Tensor) -> None:
    mixed = digits[4000 : 4000 + COUNT].clone()
    mixed[:50] = digits[:50]
    found = judged(mixed, digits)
    assert share(found) == pytest.approx(0.1, abs=0.03)
    assert found.flagged
    assert found.copies[:50].all()


def test_where_nothing_is_held_out_training_pictures_do_not_count_as_their_own_copies(digits: Tensor) -> None:
    own = torch.arange(200, 200 + COUNT)
    honest = detect_memorization(digits[4000 : 4000 + COUNT], digits[:4000], digits[own], own, lambda done, count: None)
    assert not honest.flagged
    replayed = detect_memorization(digits[:COUNT], digits[:4000], digits[own], own, lambda done, count: None)
    assert replayed.flagged


def test_repeats_are_samples_that_are_like_each_other(digits: Tensor) -> None:
    new = digits[4000 : 4000 + COUNT]
    assert judged(new, digits).repeats.float().mean() < 0.05
    assert judged(altered(new[:5].repeat(COUNT // 5, 1, 1, 1), 5), digits).repeats.all()


def test_nearest_agrees_with_brute_force_in_parts(digits: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memorization, "ROWS_AT_ONCE", 17)
    some, among = digits[:20], digits[10:110]
    flat, others = (images.flatten(1).float() / 127.5 - 1 for images in (some, among))
    apart = torch.cdist(flat, others, compute_mode="donot_use_mm_for_euclid_dist")
    told: list[tuple[int, int]] = []
    found = find_nearest(some, among, progress=lambda done, count: told.append((done, count)))
    assert told == [(done, 100) for done in (17, 34, 51, 68, 85, 100)]
    assert torch.allclose(found.distance, apart.min(1).values, atol=1e-4)
    assert torch.equal(found.index, apart.argmin(1))
    following = apart.sort(1).values[:, 1:50].mean(1)
    assert torch.allclose(found.relative_distance, apart.min(1).values / following, atol=1e-2)
    assert (found.relative_distance[10:] == 0).all()  # these are there themselves
    own = find_nearest(among, among, torch.arange(100))
    apart = torch.cdist(others, others).fill_diagonal_(torch.inf)
    assert torch.allclose(own.distance, apart.min(1).values, atol=1e-2)


def test_of_two_pictures_each_has_the_other() -> None:
    pictures = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 1, 4, 4)
    found = find_nearest(pictures, pictures, torch.arange(2))
    assert found.index.tolist() == [1, 0]
    assert found.distance.tolist() == pytest.approx([8, 8])


def test_one_picture_again_and_again_is_told(digits: Tensor) -> None:
    found = judged(digits[4000:4001].expand(COUNT, -1, -1, -1), digits)
    assert not found.flagged
    assert "100.0% of samples repeat each other" in found.verdict
    assert "repeat" not in judged(digits[4000:4500], digits).verdict


# --- doubles -----------------------------------------------------------------------------------------------------


def random_pictures(count: int, seed: int = 0) -> Tensor:
    return torch.randint(256, (count, 1, 8, 8), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


def noisy(images: Tensor) -> Tensor:
    """Other by up to 3 grey levels."""
    noise = torch.randint(-3, 4, images.shape, generator=torch.Generator().manual_seed(7))
    return (images.int() + noise).clamp(0, 255).to(torch.uint8)


def looked_up(fakes: Tensor, train: Tensor) -> Memorization:
    """As where nothing is held out."""
    own = torch.arange(len(train))[:200]
    return detect_memorization(fakes, train, train[own], own, lambda done, count: None)


@pytest.mark.parametrize("doubled", [0, 1, 2, 10, 200])
@pytest.mark.parametrize("resaved", [False, True])
def test_doubles_in_the_data_do_not_disarm_it(doubled: int, resaved: bool) -> None:
    """Two images of 200 that lie there twice made copies look usual."""
    once = random_pictures(200)
    again = noisy(once[:doubled]) if resaved else once[:doubled]
    train = torch.cat([once, again])
    found = looked_up(noisy(once[:100]), train)
    assert share(found) == 1
    assert found.flagged
    assert found.duplicates == doubled
    assert (f"{doubled} of 200 held-out images are duplicates of a training image" in found.verdict) == bool(doubled)
    honest = looked_up(random_pictures(100, seed=1), train)
    assert not honest.flagged
    assert share(honest) < 0.05
    assert honest.ratio == pytest.approx(1, abs=0.1)


def test_doubles_among_the_held_out_ones(digits: Tensor) -> None:
    """Test images that are also training images, and test images that are there twice."""
    held_out = torch.cat([digits[:20], digits[3000:3200], digits[3000:3010]])
    train = digits[:3000]
    found = detect_memorization(altered(digits[100:200], 20), train, held_out, None, lambda done, count: None)
    assert found.duplicates == 20
    assert found.flagged
    repeated = altered(digits[4000:4001].repeat(100, 1, 1, 1), 4)
    again = detect_memorization(repeated, train, held_out, None, lambda done, count: None)
    assert again.repeats.all()


def test_a_median_sample_far_nearer_than_held_out_ones_flags_by_itself() -> None:
    few = random_pictures(60)
    usual = find_nearest(few, random_pictures(60, seed=1))
    near = dataclasses.replace(usual, distance=torch.full((60,), 0.1))
    nothing = torch.zeros(60, dtype=torch.bool)
    found = Memorization(nothing, nothing, near, usual, torch.ones(60))
    assert found.flagged
    assert "FLAGGED: 0.0% of 60 samples" in found.verdict
    assert "the median distance to a training image is 0.1 times that of held-out images" in found.verdict
    farther = dataclasses.replace(near, distance=3 * near.distance)
    assert not Memorization(nothing, nothing, farther, usual, torch.ones(60)).flagged


def test_pictures_that_are_all_the_same_have_no_other_neighbour() -> None:
    same = torch.full((30, 1, 4, 4), 9, dtype=torch.uint8)
    found = looked_up(same, same)
    assert found.duplicates == 30
    assert found.flagged


def test_training_images_are_read_once(digits: Tensor) -> None:
    """Those of shards are downloaded and decoded each time."""

    class Counted:
        def __init__(self) -> None:
            self.shape = (1, *digits.shape[2:])
            self.reads: list[int] = []

        def __len__(self) -> int:
            return 1000

        def decode(self, rows: Sequence[int], stopped: threading.Event) -> Tensor:
            self.reads += rows
            return digits[list(rows)]

    counted = Counted()
    streamed = StreamedImages(BatchDecoder(counted), range(1000))
    found = detect_memorization(digits[2000:2100], streamed, digits[3000:3100], None, lambda done, count: None)
    assert sorted(counted.reads) == list(range(1000))
    kept = detect_memorization(digits[2000:2100], digits[:1000], digits[3000:3100], None, lambda done, count: None)
    assert torch.equal(found.nearest.distance, kept.nearest.distance)
    assert torch.equal(found.held_out_nearest.index, kept.held_out_nearest.index)
