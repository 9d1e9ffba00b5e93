"""Optimizers by name, and their saved state."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

# The state of each optimizer for a parameter: "step" is a number, the others have the parameter's shape.
SLOTS = {
    "adam": ("step", "exp_avg", "exp_avg_sq"),
    "adamw": ("step", "exp_avg", "exp_avg_sq"),
    "rmsprop": ("step", "square_avg"),
    "sgd": ("momentum_buffer",),
}
OPTIMIZERS: dict[str, Any] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "sgd": torch.optim.SGD,
}
FUSED_ON = ("cpu", "cuda")  # devices on which one kernel updates all parameters
FUSED = ("adam", "adamw")  # RMSProp has no fused form; that of SGD needs a momentum buffer at its first step
PATCHED_METHODS = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
DISABLED = "__dynamo_disable"  # the attribute where torch._compile caches the function that is excluded


def build_optimizer(network: nn.Module, *, name: str, lr: float, **settings: Any) -> Optimizer:
    """Builds Adam (arXiv:1412.6980), AdamW (arXiv:1711.05101), RMSProp or SGD over all parameters of the network."""
    avoid_dynamo_import()
    parameters = list(network.parameters())
    if name in FUSED:
        settings["betas"] = settings.pop("beta1"), settings.pop("beta2")
        settings["fused"] = all(parameter.device.type in FUSED_ON for parameter in parameters)
    else:
        settings["foreach"] = True
    built: Optimizer = OPTIMIZERS[name](parameters, lr=lr, **settings)
    return built


def slots_of(*, name: str, **settings: float) -> tuple[str, ...]:
    """Returns the names of the tensors that this optimizer keeps for each parameter after its first step."""
    return () if name == "sgd" and settings["momentum"] == 0 else SLOTS[name]


@torch.no_grad()
def add_missing_state(optimizer: Optimizer, network: nn.Module, **settings: Any) -> None:
    """Gives parameters with a gradient the state of zeros if their first update was skipped: it starts the same.

    So a checkpoint has the same tensors whether updates were skipped or not. `settings` are those of the optimizer.
    """
    slots = slots_of(**{key: value for key, value in settings.items() if key != "lr"})
    for parameter in network.parameters() if slots else ():
        state = optimizer.state[parameter] if parameter.grad is not None else {}
        if parameter.grad is not None and not state:
            for slot in slots:
                state[slot] = torch.tensor(0.0) if slot == "step" else torch.zeros_like(parameter)


def state_tensors(optimizer: Optimizer, network: nn.Module) -> dict[str, Tensor]:
    """Returns the optimizer's state tensors by `<slot>.<parameter>`. There are none before its first step."""
    return {
        f"{slot}.{name}": value
        for name, parameter in network.named_parameters()
        for slot, value in optimizer.state.get(parameter, {}).items()
        if value is not None  # SGD's buffer without momentum
    }


def load_state_tensors(optimizer: Optimizer, network: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Loads the tensors that `state_tensors` returned. The caller has checked their names and shapes."""
    parameters = dict(network.named_parameters())
    for key, value in tensors.items():
        slot, name = key.split(".", 1)
        parameter = parameters[name]
        # with the device and memory format of the original: a fused update has "step" on the parameter's device, and
        # processes values in memory order
        device = parameter.device if optimizer.defaults.get("fused") else value.device
        like = value.to(device) if slot == "step" else parameter.detach()
        optimizer.state[parameter][slot] = torch.empty_like(like).copy_(value)


def avoid_dynamo_import() -> None:
    """Patches torch.optim so that it does not import the compiler, `torch._dynamo`, as long as nothing is compiled.

    When the first optimizer is built and at its first step, torch imports it, only to exclude these functions from
    compilation, which takes longer than everything else before a run's first step. Results stay the same; repeated
    calls are harmless. Methods that do not look as expected, as in another version of torch, stay unpatched.
    """
    for name in PATCHED_METHODS:
        plain = getattr(getattr(Optimizer, name), "__wrapped__", None)
        if plain is not None and not hasattr(plain, DISABLED):
            setattr(plain, DISABLED, plain)
    for kind in OPTIMIZERS.values():
        step: Any = vars(kind).get("step")  # AdamW inherits it from Adam
        if getattr(getattr(step, "__code__", None), "co_name", "") == "_use_grad" and hasattr(step, "__wrapped__"):
            kind.step = _with_grad_mode(step.__wrapped__)


def _with_grad_mode(step: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps an optimizer's step in the gradient mode that torch sets for it, without the compiler's part."""

    @functools.wraps(step)
    def stepped(self: Optimizer, *arguments: Any, **keywords: Any) -> Any:
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            return step(self, *arguments, **keywords)

    return stepped
