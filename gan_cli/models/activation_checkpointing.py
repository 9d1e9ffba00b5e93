"""Activation checkpointing: layers are computed again in the backward pass instead of kept (Chen et al., 1604.06174).

The blocks are found in the structure of a network: the children of a `ModuleList`, and in a `Sequential` each child
with weights together with the normalization, activation and the like that follow it. Of a block only its input is kept.

A block that is computed again must compute what it did before, also after the state of its layers has changed: D is
frozen in the forward pass of G's update but no longer in its backward pass, the vectors of spectral normalization move
in each pass, and unrolling replaces weights. So the state of the layers is recorded in the forward pass.

Torch 2.14 imports its compiler at the first call of `checkpoint`, which takes a second or two and some memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from gan_cli.models.conditioning import ConditionalLayer, ConditionalNorm, ConditionalSequential
from gan_cli.models.networks.efficientnet import FrozenConvolution
from gan_cli.models.noise import NoiseInput

PARAMETRIZATIONS = "parametrizations"  # the name of the submodule in which torch keeps those of a layer
MODES = ("training", "track_running_stats")
# whose buffers are constant, or not read in training mode: batch normalization uses the statistics of the batch
UNREAD = (_BatchNorm, NoiseInput, FrozenConvolution)
CHAINS = (nn.Sequential, ConditionalSequential)  # whose `forward` calls one child after the other


def checkpoint_activations(network: nn.Module) -> None:
    """Lets the blocks of a network be computed again in backward passes. Its parameters and their names stay.

    A copy of the network does so too. Outputs and gradients stay the same to the last bit, also second derivatives.
    """
    for child in _children(network):
        if type(child) in CHAINS:
            child.forward = CheckpointedChain(child)
        elif isinstance(child, nn.ModuleList):
            for block in child:
                _checkpoint_block(block)
        elif any(isinstance(inner, (nn.Sequential, nn.ModuleList)) for inner in _modules(child)):
            checkpoint_activations(child)
        else:
            _checkpoint_block(child)


def _checkpoint_block(block: nn.Module) -> None:
    if _children(block):  # recomputing a single layer would save nothing
        block.forward = CheckpointedBlock(block, [block])


def _children(module: nn.Module) -> list[nn.Module]:
    return [child for name, child in module.named_children() if name != PARAMETRIZATIONS]


def _modules(module: nn.Module) -> Iterator[nn.Module]:
    """Yields a module and all inside, without the lists of parametrizations."""
    yield module
    for child in _children(module):
        yield from _modules(child)


def _begins_block(layer: nn.Module) -> bool:
    """Returns whether a layer of a chain has weights, which normalization has only if it depends on the condition."""
    if isinstance(layer, ConditionalNorm):
        return False
    frozen = any(isinstance(inner, FrozenConvolution) for inner in layer.modules())
    return frozen or any(parameter.ndim > 1 for parameter in layer.parameters())


class CheckpointedBlock:
    """The `forward` of `owner`, or of some of its `layers` in a row, which computes them again in the backward pass."""

    def __init__(self, owner: nn.Module, layers: list[nn.Module]) -> None:
        self.owner, self.layers = owner, layers

    def __call__(self, *inputs: Any) -> Tensor:
        if not torch.is_grad_enabled():
            return self._compute(*inputs)
        recorded = [_record(module, copies=True) for module in self._modules]

        def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
            return nullcontext(), _Restored(recorded)

        return checkpoint(self._compute, *inputs, use_reentrant=False, context_fn=contexts)

    def _compute(self, values: Any, *others: Any) -> Tensor:
        if self.layers == [self.owner]:
            return type(self.owner).forward(self.owner, values, *others)
        for layer in self.layers:
            values = layer(values, *others) if isinstance(layer, ConditionalLayer) else layer(values)
        return values

    @cached_property
    def _modules(self) -> list[nn.Module]:
        """All modules of the block. Cached, since a network keeps its layers."""
        return [module for layer in self.layers for module in layer.modules()]


class CheckpointedChain:
    """The `forward` of a chain, in blocks. What comes before the first layer with weights may change its input."""

    def __init__(self, chain: nn.Module) -> None:
        groups: list[list[nn.Module]] = [[]]
        for layer in chain:  # type: ignore[attr-defined]
            if _begins_block(layer):
                groups.append([])
            groups[-1].append(layer)
        self.blocks = [CheckpointedBlock(chain, group) for group in groups if group]
        self.kept = [not _saves(group) or group is groups[0] for group in groups if group]

    def __call__(self, values: Any, *others: Any) -> Tensor:
        for block, kept in zip(self.blocks, self.kept, strict=True):
            values = block._compute(values, *others) if kept else block(values, *others)
        return values


def _saves(group: list[nn.Module]) -> bool:
    """Returns whether the layers of a group keep more for the backward pass than their input."""
    return len(group) > 1 or bool(group and _children(group[0]))


class _Recorded(NamedTuple):
    """The state of a module: its modes, its tensors, which in an unrolled D are others, and which of them learn."""

    module: nn.Module
    modes: dict[str, Any]
    parameters: dict[str, Any]
    learning: dict[str, bool]
    buffers: dict[str, Any]

    def apply(self) -> None:
        self.module.__dict__.update(self.modes)
        self.module._parameters.update(self.parameters)
        self.module._buffers.update(self.buffers)
        for name, learns in self.learning.items():
            self.parameters[name].requires_grad_(learns)


def _record(module: nn.Module, *, copies: bool) -> _Recorded:
    """Returns the state of a module; with `copies` of the buffers that its forward pass may read and change."""
    modes = {name: module.__dict__[name] for name in MODES if name in module.__dict__}
    parameters, buffers = dict(module._parameters), dict(module._buffers)
    leaves = {name: value.requires_grad for name, value in parameters.items() if value is not None and value.is_leaf}
    if copies and buffers and not isinstance(module, UNREAD):
        buffers = {name: None if value is None else value.clone() for name, value in buffers.items()}
    return _Recorded(module, modes, parameters, leaves, buffers)


class _Restored(AbstractContextManager[None]):
    """A context in which modules have the state that was recorded; what they change of it is lost."""

    def __init__(self, recorded: list[_Recorded]) -> None:
        self.recorded = recorded

    def __enter__(self) -> None:
        self.now = [_record(each.module, copies=False) for each in self.recorded]
        for each in self.recorded:
            each._replace(buffers={name: _copied(value) for name, value in each.buffers.items()}).apply()

    def __exit__(self, *error: object) -> None:
        for each in self.now:
            each.apply()
        self.now = []


def _copied(buffer: Tensor | None) -> Tensor | None:
    return None if buffer is None else buffer.clone()
