"""Runs a network in training mode while it does not learn: its statistics, and where wanted its weights, are frozen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrizations import _SpectralNorm


@contextmanager
def inference_in_training_mode(network: nn.Module) -> Iterator[None]:
    """Within it the network runs in training mode without gradients; its statistics are not updated."""
    with torch.no_grad(), frozen(network):
        yield


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Within it the network runs in training mode; its weights collect no gradient, its statistics are not updated."""
    learning = [parameter for parameter in _parts_of(network).parameters if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        with without_statistics_updates(network):
            yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


@contextmanager
def without_statistics_updates(network: nn.Module) -> Iterator[None]:
    """Within it the network runs in training mode; its statistics and singular vectors are not updated."""
    _, batch_norms, spectral = _parts_of(network)
    for norm in batch_norms:
        norm.track_running_stats = False  # normalizes by the batch, records nothing
    for module in spectral:
        module.eval()  # keeps its singular vectors
    try:
        yield
    finally:
        for norm in batch_norms:
            norm.track_running_stats = True
        for module in spectral:
            module.train()


class _FrozenParts(NamedTuple):
    parameters: list[nn.Parameter]
    batch_norms: list[_BatchNorm]
    spectral: list[_SpectralNorm]


_known: WeakKeyDictionary[nn.Module, _FrozenParts] = WeakKeyDictionary()


def _parts_of(network: nn.Module) -> _FrozenParts:
    """Returns what is to be frozen; found once, since a network keeps its layers."""
    if network not in _known:
        modules = list(network.modules())
        _known[network] = _FrozenParts(
            list(network.parameters()),
            [module for module in modules if isinstance(module, _BatchNorm)],
            [module for module in modules if isinstance(module, _SpectralNorm)],
        )
    return _known[network]
