"""Statistics of batch norm for the weights they are used with."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def has_statistics(network: nn.Module) -> bool:
    """Whether it normalizes by statistics that it has gathered in training."""
    return any(isinstance(layer, _BatchNorm) and layer.track_running_stats for layer in network.modules())


@torch.no_grad()
def standing_statistics(generator: nn.Module, batches: Iterable[tuple[Tensor, Tensor | None]]) -> nn.Module:
    """A copy of the generator whose batch norm has statistics of these `(latents, condition)`, and no others.

    Means and variances are the plain means over the batches, which should be many (1809.11096, appendix E, takes
    100). The generator itself is left as it is; all else in the copy is in evaluation mode.
    """
    standing = copy.deepcopy(generator).eval()
    layers = [layer for layer in standing.modules() if isinstance(layer, _BatchNorm) and layer.track_running_stats]
    before = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a plain mean
        layer.train()
    device = next(standing.parameters()).device
    for latents, condition in batches:
        standing(latents.to(device), None if condition is None else condition.to(device))
    for layer, momentum in zip(layers, before, strict=True):
        layer.momentum = momentum
    return standing.eval()
