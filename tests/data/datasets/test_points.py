"""Points in the plane: the ring, the grid and the swiss roll, and their modes."""

from __future__ import annotations

import pytest
import torch

from gan_cli.data.datasets.points import known_modes
from gan_cli.data.load_dataset import build_dataset
from support.configs import compose


def test_the_ring_has_as_many_modes_as_it_says() -> None:
    config = compose("experiment=ring")
    dataset, modes = build_dataset(config.dataset, None), known_modes(config.dataset)
    assert modes is not None
    assert modes.centres.shape == (8, 2)
    assert torch.cdist(modes.centres, modes.centres).fill_diagonal_(9).min() > 1  # none twice
    torch.testing.assert_close(modes.centres.norm(dim=1), torch.full((8,), 2.0))
    distance, nearest = torch.cdist(dataset.samples, modes.centres).min(1)
    assert nearest.bincount().tolist() == [12_500] * 8
    assert (distance < 3 * modes.std).float().mean().item() == pytest.approx(0.9889, abs=0.002)
    assert known_modes(compose().dataset) is None


def test_the_grid_has_as_many_modes_as_it_says() -> None:
    config = compose("experiment=grid")
    dataset, modes = build_dataset(config.dataset, None), known_modes(config.dataset)
    assert modes is not None
    assert modes.centres.shape == (25, 2)
    torch.testing.assert_close(modes.centres.mean(0), torch.zeros(2), atol=1e-6, rtol=0)
    assert torch.pdist(modes.centres).min().item() == pytest.approx(0.7071)
    distance, nearest = torch.cdist(dataset.samples, modes.centres).min(1)
    assert nearest.bincount().tolist() == [4000] * 25
    assert (distance < 3 * modes.std).float().mean().item() == pytest.approx(0.9889, abs=0.002)


def test_the_swiss_roll_is_a_spiral() -> None:
    config = compose("experiment=swiss_roll", "dataset.std=0")
    points = build_dataset(config.dataset, None).samples
    radius = points.norm(dim=1) * 7.5
    assert radius.min().item() == pytest.approx(1.5 * torch.pi, abs=0.01)
    assert radius.max().item() == pytest.approx(4.5 * torch.pi, abs=0.01)
    angle = torch.atan2(points[:, 1], points[:, 0])
    turns = (radius - angle) / (2 * torch.pi)
    torch.testing.assert_close(turns, turns.round(), atol=1e-3, rtol=0)  # the radius is the angle it has turned
    modes = known_modes(config.dataset)
    assert modes is not None
    assert len(modes.centres) == 0
    assert points.abs().max() <= modes.extent
