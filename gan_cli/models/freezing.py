"""Contexts in which a network runs in training mode, but its running statistics or weights are frozen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrizations import _SpectralNorm

from gan_cli.models.styles import StyleGenerator


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """A context without gradients for the network's weights and without updates of its statistics.

    The network runs in training mode, and gradients with respect to its input are computed.
    """
    trainable = [parameter for parameter in _parts_of(network)[0] if parameter.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        with without_statistics_updates(network):
            yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)


@contextmanager
def without_statistics_updates(network: nn.Module) -> Iterator[None]:
    """A context in which running statistics and the singular vectors of spectral normalization are not updated.

    The network runs in training mode: batch normalization uses the statistics of the batch. The running statistics are
    those of batch normalization and the mean style.
    """
    _, tracking, spectral = _parts_of(network)
    for module in tracking:
        module.track_running_stats = False  # batch normalization normalizes with the batch and records nothing
    for norm in spectral:
        norm.eval()  # makes no power iteration
    try:
        yield
    finally:
        for module in tracking:
            module.track_running_stats = True
        for norm in spectral:
            norm.train()


_Parts = tuple[list[nn.Parameter], list[_BatchNorm | StyleGenerator], list[_SpectralNorm]]
_known: WeakKeyDictionary[nn.Module, _Parts] = WeakKeyDictionary()


def _parts_of(network: nn.Module) -> _Parts:
    """Returns the parts of a network that the contexts freeze. Cached, since a network keeps its layers."""
    if network not in _known:
        tracking = [module for module in network.modules() if isinstance(module, _BatchNorm | StyleGenerator)]
        spectral = [module for module in network.modules() if isinstance(module, _SpectralNorm)]
        _known[network] = (list(network.parameters()), tracking, spectral)
    return _known[network]
