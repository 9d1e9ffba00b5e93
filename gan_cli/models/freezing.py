"""Running a network as in training while it does not learn."""

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
def without_training(network: nn.Module) -> Iterator[None]:
    """The network runs as in training, and nothing of it changes or will: no gradient is prepared."""
    with torch.no_grad(), frozen(network):
        yield


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """The network judges or generates as in training, but collects no gradient and keeps its statistics."""
    learning = [parameter for parameter in _parts(network).parameters if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        with untracked(network):
            yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


@contextmanager
def untracked(network: nn.Module) -> Iterator[None]:
    """The network judges or generates as in training, but keeps its statistics."""
    _, batch_norms, spectral = _parts(network)
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


class _Parts(NamedTuple):
    parameters: list[nn.Parameter]
    batch_norms: list[_BatchNorm]
    spectral: list[_SpectralNorm]


_known: WeakKeyDictionary[nn.Module, _Parts] = WeakKeyDictionary()


def _parts(network: nn.Module) -> _Parts:
    """What there is to hold still: found once, as a network keeps its layers for as long as it lives."""
    if network not in _known:
        modules = list(network.modules())
        _known[network] = _Parts(
            list(network.parameters()),
            [module for module in modules if isinstance(module, _BatchNorm)],
            [module for module in modules if isinstance(module, _SpectralNorm)],
        )
    return _known[network]
