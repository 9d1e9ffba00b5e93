"""Batch norm's statistics for the weights that are judged: known values, and the generator left as it was."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from gan_cli.models.standing_statistics import has_running_statistics, standing_statistics
from support.configs import TINY_IMAGES, compose
from support.training import train_in_memory


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(0.5), nn.BatchNorm1d(2, affine=False))

    def forward(self, latents: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        return self.layers(latents if condition is None else latents + condition)


def test_statistics_are_the_means_over_the_batches() -> None:
    batches = [torch.randn(50, 2) * 3 + 5 for _ in range(8)]
    net = Net().train()
    net(torch.randn(50, 2) * 100)  # what it has gathered before does not count
    standing = standing_statistics(net, [(batch, None) for batch in batches])
    layer = standing.layers[0]
    assert torch.allclose(layer.running_mean, torch.stack([batch.mean(0) for batch in batches]).mean(0), atol=1e-4)
    assert torch.allclose(layer.running_var, torch.stack([batch.var(0) for batch in batches]).mean(0), atol=1e-4)
    assert layer.momentum == 0.1


def test_conditions_come_with_their_latents() -> None:
    standing = standing_statistics(Net(), [(torch.zeros(4, 2), torch.full((4, 2), 7.0))])
    assert torch.allclose(standing.layers[0].running_mean, torch.full((2,), 7.0))


def test_the_generator_is_left_as_it_was_and_nothing_drops_out() -> None:
    net = Net().train()
    before = copy.deepcopy(net.state_dict())
    latents = torch.randn(64, 2)
    standing = standing_statistics(net, [(latents, None)])
    assert net.training
    assert not any(layer.training for layer in standing.modules())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    inner = standing.layers[2]  # saw what the first let through, none of it dropped
    assert torch.allclose(inner.running_var, torch.ones(2), atol=0.05)


@pytest.mark.parametrize(("normalization", "has"), [("batch", True), ("none", False)])
@pytest.mark.parametrize("architecture", ["dcgan", "subpixel"])
def test_which_generators_have_statistics(architecture: str, normalization: str, has: bool) -> None:
    chosen = (f"architecture={architecture}", f"architecture.generator.normalization={normalization}")
    assert has_running_statistics(train_in_memory(compose(*TINY_IMAGES, *chosen, "steps=1")).sampler) is has


def test_a_spectral_norm_keeps_its_vectors() -> None:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.utils.parametrizations.spectral_norm(nn.Linear(2, 2))
            self.norm = nn.BatchNorm1d(2)

        def forward(self, latents: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
            return self.norm(self.layer(latents))

    net = Wrapped()
    standing = standing_statistics(net, [(torch.randn(8, 2), None)])
    ours, theirs = dict(standing.named_buffers()), dict(net.named_buffers())
    vectors = [name for name in ours if "_u" in name or "_v" in name]
    assert vectors
    assert all(torch.equal(ours[name], theirs[name]) for name in vectors if "running" not in name)
