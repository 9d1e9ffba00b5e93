"""Drawn shapes have equal modes that differ."""

from __future__ import annotations

import pytest
import torch

from gan_cli.data.datasets.shapes import build_shapes


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("side", [16, 28, 64])
def test_shapes_have_equal_modes_that_differ(channels: int, side: int) -> None:
    dataset = build_shapes(size=240, image_channels=channels, image_size=(side, side), split="train")
    count = 24 if channels == 3 else 8
    assert dataset.samples.shape == (240, channels, side, side)
    assert dataset.samples.dtype == torch.uint8
    assert dataset.labels is not None
    assert dataset.labels.bincount().tolist() == [240 // count] * count
    assert len(set(dataset.classes)) == count
    means = torch.stack([dataset.samples[dataset.labels == label].float().mean(0) for label in range(count)])
    assert torch.pdist(means.flatten(1)).min() > 5  # no two modes look alike on average
    assert dataset.samples.flatten(1).amax(1).min() > 150  # each picture has ink
