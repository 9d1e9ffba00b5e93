"""Batches, which depend on the update alone; the range of samples; fingerprints."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gan_cli.data.dataset import Batches, Dataset, batch_indices, check_batch_size, to_signed_unit, to_uint8
from gan_cli.data.datasets.shapes import build_shapes
from gan_cli.errors import UsageError
from gan_cli.tasks.condition import Condition
from support.emoji import load_pairs


@pytest.mark.parametrize(("count", "batch_size"), [(10, 4), (7, 7), (5, 3), (9, 1), (3, 8)])
def test_every_epoch_shows_each_sample_once(count: int, batch_size: int) -> None:
    epochs = 6
    updates = -(-count * epochs // batch_size)
    stream = torch.cat([batch_indices(1, count, batch_size, update) for update in range(updates)])
    seen = [stream[epoch * count : (epoch + 1) * count].tolist() for epoch in range(epochs)]
    assert all(sorted(epoch) == list(range(count)) for epoch in seen)
    assert count < 5 or len({tuple(epoch) for epoch in seen}) > 1  # orders differ


def test_a_batch_depends_on_its_number_alone() -> None:
    in_order = [batch_indices(3, 100, 8, update).tolist() for update in range(40)]
    assert [batch_indices(3, 100, 8, update).tolist() for update in reversed(range(40))] == in_order[::-1]
    assert batch_indices(4, 100, 8, 0).tolist() != in_order[0]


def test_batches_are_in_the_networks_range() -> None:
    dataset = build_shapes(size=50, image_channels=1, image_size=(16, 16), split="train")
    batch = Batches(dataset, 0, 8, torch.device("cpu")).draw(0)
    assert batch.samples.shape == (8, 1, 16, 16)
    assert batch.samples.min() == -1
    assert batch.samples.max() <= 1
    assert batch.condition is None


def test_bytes_and_units_are_inverses() -> None:
    every = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(to_uint8(to_signed_unit(every)), every)
    points = torch.randn(3, 2)
    assert to_signed_unit(points) is points


def test_a_batch_larger_than_the_data_is_refused() -> None:
    dataset = build_shapes(size=5, image_channels=1, image_size=(16, 16), split="train")
    check_batch_size(dataset, 5)
    with pytest.raises(UsageError, match="batch_size=6: the data set has 5"):
        check_batch_size(dataset, 6)


def test_the_fingerprint_tells_data_apart() -> None:
    one, same = (build_shapes(size=9, image_channels=1, image_size=(16, 16), split="train") for _ in range(2))
    assert one.fingerprint == same.fingerprint
    assert one.fingerprint != build_shapes(size=9, image_channels=1, image_size=(28, 28), split="train").fingerprint
    assert one.labels is not None
    assert replace(one, labels=one.labels.flip(0)).fingerprint != one.fingerprint


@pytest.mark.parametrize(("flip", "sides"), [("vertical", [(), (-2,)]), ("both", [(), (-1,), (-2,), (-2, -1)])])
def test_images_may_be_mirrored_top_to_bottom_too(flip: str, sides: list[tuple[int, ...]]) -> None:
    dataset = Dataset(torch.arange(40 * 12, dtype=torch.int64).to(torch.uint8).view(40, 1, 3, 4), "numbers")
    plain, mirrored, usual = (
        Batches(dataset, 0, 40, torch.device("cpu"), chosen).draw(0).samples for chosen in (False, flip, True)
    )
    found = torch.stack([(mirrored == plain.flip(each)).flatten(1).all(1) for each in sides])
    assert found.any(0).all()
    assert (found.sum(1) > 2).all()
    if flip == "both":  # left to right as by itself
        left = (usual != plain).flatten(1).any(1)
        assert torch.equal(left, found[1] | found[3])


def test_source_images_are_part_of_the_fingerprint() -> None:
    pairs = load_pairs()
    alone = Dataset(pairs.twemoji, "emoji")
    paired = replace(alone, sources=pairs.noto)
    before = str(tuple(pairs.twemoji.shape)).encode() + pairs.twemoji.numpy().tobytes()
    assert alone.fingerprint == hashlib.sha256(before).hexdigest()  # as before there were source images
    assert len({alone.fingerprint, paired.fingerprint, replace(alone, sources=pairs.noto.flip(0)).fingerprint}) == 3


@pytest.mark.parametrize("flip", [False, True, "both"])
def test_source_images_are_drawn_and_mirrored_with_their_samples(flip: bool | str) -> None:
    samples = load_pairs().noto
    dataset = Dataset(samples, "emoji", sources=255 - samples)

    def keep(samples: Tensor, condition: Condition, random: torch.Generator) -> Condition:
        return condition

    batches = Batches(dataset, 3, 32, torch.device("cpu"), flip, make_condition=keep)
    for update in (0, 7, 8):
        batch = batches.draw(update)
        assert batch.condition is not None
        assert batch.condition.image is not None
        assert torch.allclose(batch.condition.image, -batch.samples, atol=1e-6)
    assert Batches(dataset, 3, 32, torch.device("cpu"), flip).draw(0).condition is None
