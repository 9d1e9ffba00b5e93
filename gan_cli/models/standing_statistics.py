"""Computes standing statistics: the running statistics of batch norm, computed again for the current weights."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gan_cli.tasks.condition import Condition


def has_running_statistics(network: nn.Module) -> bool:
    """Returns whether the network has batch norm layers with running statistics."""
    return any(isinstance(layer, _BatchNorm) and layer.track_running_stats for layer in network.modules())


@torch.no_grad()
def standing_statistics(generator: nn.Module, batches: Iterable[tuple[Tensor, Condition | None]]) -> nn.Module:
    """Returns a copy of the generator whose batch norm statistics come from `batches` of `(latents, condition)` only.

    Means and variances are averaged over the batches with equal weight. Use many batches: 1809.11096, appendix E, uses
    100. The copy is in evaluation mode. The generator itself does not change.
    """
    standing = copy.deepcopy(generator).eval()
    layers = [layer for layer in standing.modules() if isinstance(layer, _BatchNorm) and layer.track_running_stats]
    before = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a cumulative average with equal weights
        layer.train()
    device = next(standing.parameters()).device
    for latents, condition in batches:
        standing(latents.to(device), None if condition is None else condition.to(device))
    for layer, momentum in zip(layers, before, strict=True):
        layer.momentum = momentum
    return standing.eval()
