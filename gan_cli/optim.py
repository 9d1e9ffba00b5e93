"""Optimizers by name, their saved state, and learning-rate schedules as functions of the step."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

# What each optimizer keeps for a parameter: "step" is a number, the others have the parameter's shape.
SLOTS = {
    "adam": ("step", "exp_avg", "exp_avg_sq"),
    "adamw": ("step", "exp_avg", "exp_avg_sq"),
    "rmsprop": ("step", "square_avg"),
    "sgd": ("momentum_buffer",),
}


def _build_adam(parameters: list[nn.Parameter], lr: float, beta1: float, beta2: float, eps: float) -> Optimizer:
    return torch.optim.Adam(parameters, lr=lr, betas=(beta1, beta2), eps=eps)


def _build_adamw(
    parameters: list[nn.Parameter], lr: float, beta1: float, beta2: float, eps: float, weight_decay: float
) -> Optimizer:
    return torch.optim.AdamW(parameters, lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay)


BUILDERS: dict[str, Callable[..., Optimizer]] = {
    "adam": _build_adam,
    "adamw": _build_adamw,
    "rmsprop": torch.optim.RMSprop,
    "sgd": torch.optim.SGD,
}


def build_optimizer(network: nn.Module, *, name: str, lr: float, **settings: float) -> Optimizer:
    """Adam (1412.6980), AdamW (1711.05101), RMSProp or SGD over all of the network's parameters."""
    return BUILDERS[name](list(network.parameters()), lr=lr, **settings)


def slots_of(*, name: str, **settings: float) -> tuple[str, ...]:
    """What this optimizer keeps for a parameter once it has made a step."""
    return () if name == "sgd" and settings["momentum"] == 0 else SLOTS[name]


def rate_multiplier(schedule: str, step: int, steps: int | None) -> float:
    """The learning rate at `step` of `steps` as a share of the base rate: constant, linear to 0 or cosine to 0.

    While a time budget is still being measured `steps` is None and the rate stays at its start.
    """
    if schedule == "constant" or steps is None:
        return 1.0
    done = min(step / steps, 1.0)
    return 1 - done if schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))


def set_learning_rate(optimizer: Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr


def state_tensors(optimizer: Optimizer, network: nn.Module) -> dict[str, Tensor]:
    """The optimizer's memory as `<slot>.<parameter>`; empty before its first step."""
    return {
        f"{slot}.{name}": value
        for name, parameter in network.named_parameters()
        for slot, value in optimizer.state.get(parameter, {}).items()
        if value is not None  # SGD's buffer without momentum
    }


def load_state_tensors(optimizer: Optimizer, network: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Puts back what `state_tensors` gave, whose names and shapes have been checked."""
    parameters = dict(network.named_parameters())
    for key, value in tensors.items():
        slot, name = key.split(".", 1)
        parameter = parameters[name]
        optimizer.state[parameter][slot] = value.clone() if slot == "step" else value.to(parameter.device, copy=True)
