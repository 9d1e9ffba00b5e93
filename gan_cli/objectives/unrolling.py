"""Unrolled GAN (1611.02163): computes the weights that D would have after K more updates.

The updates are computed without side effects: D and its optimizer do not change. Autograd can differentiate through
all updates, so G's gradient includes how D would react to the fakes (the second term of the paper's equation 12). The
computations are the same as in `torch.optim`, except that the square root has the derivative 0 at 0.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.optim import Optimizer

from gan_cli.distributed.collectives import means_over_processes
from gan_cli.tasks.condition import Condition

Slots = dict[str, Tensor]  # an optimizer's state of one parameter, empty before the first update
OptimizerState = dict[str, Slots]  # by the parameter's name
DiscriminatorCall = Callable[..., Tensor]  # `(samples, condition=None)` to logits `[N]`


def _root(mean_square: Tensor) -> Tensor:
    """Returns the square root, with derivative 0 at 0: the true one is infinite, which times a gradient of 0 is NaN."""
    return mean_square.clamp_min(torch.finfo(mean_square.dtype).tiny).sqrt()


def _adam(
    weight: Tensor, gradient: Tensor, slots: Slots, *, lr: float, beta1: float, beta2: float, eps: float
) -> tuple[Tensor, Slots]:
    step = slots["step"] + 1 if slots else torch.tensor(1.0)
    mean = slots["exp_avg"] if slots else torch.zeros_like(weight)
    mean_square = slots["exp_avg_sq"] if slots else torch.zeros_like(weight)
    mean = mean.lerp(gradient, 1 - beta1)
    mean_square = (mean_square * beta2).addcmul(gradient, gradient, value=1 - beta2)
    count = step.item()
    denominator = _root(mean_square) / (1 - beta2**count) ** 0.5 + eps
    weight = weight.addcdiv(mean, denominator, value=-lr / (1 - beta1**count))
    return weight, {"step": step, "exp_avg": mean, "exp_avg_sq": mean_square}


def _adamw(
    weight: Tensor, gradient: Tensor, slots: Slots, *, lr: float, weight_decay: float, **settings: float
) -> tuple[Tensor, Slots]:
    return _adam(weight * (1 - lr * weight_decay), gradient, slots, lr=lr, **settings)


def _rmsprop(
    weight: Tensor, gradient: Tensor, slots: Slots, *, lr: float, alpha: float, eps: float
) -> tuple[Tensor, Slots]:
    step = slots["step"] + 1 if slots else torch.tensor(1.0)
    mean_square = slots["square_avg"] if slots else torch.zeros_like(weight)
    mean_square = (mean_square * alpha).addcmul(gradient, gradient, value=1 - alpha)
    weight = weight.addcdiv(gradient, _root(mean_square) + eps, value=-lr)
    return weight, {"step": step, "square_avg": mean_square}


def _sgd(weight: Tensor, gradient: Tensor, slots: Slots, *, lr: float, momentum: float) -> tuple[Tensor, Slots]:
    if momentum == 0:
        return weight.sub(gradient, alpha=lr), {}
    # before the first update there is no buffer; the buffer is then the gradient itself
    buffer = slots["momentum_buffer"] * momentum + gradient if slots else gradient
    return weight.sub(buffer, alpha=lr), {"momentum_buffer": buffer}


RULES: dict[str, Callable[..., tuple[Tensor, Slots]]] = {
    "adam": _adam, "adamw": _adamw, "rmsprop": _rmsprop, "sgd": _sgd,
}  # fmt: skip


def updated(
    rule: str,
    parameters: dict[str, Tensor],
    gradients: dict[str, Tensor],
    optimizer_state: OptimizerState,
    **settings: float,
) -> tuple[dict[str, Tensor], OptimizerState]:
    """Returns the parameters and the optimizer state after one update.

    The result is differentiable in `parameters`, `gradients` and `optimizer_state`. A parameter without a gradient
    keeps its value and its state.
    """
    parameters, optimizer_state = dict(parameters), dict(optimizer_state)
    for name, gradient in gradients.items():
        slots = optimizer_state.get(name, {})
        parameters[name], optimizer_state[name] = RULES[rule](parameters[name], gradient, slots, **settings)
    return parameters, optimizer_state


def optimizer_state_of(optimizer: Optimizer, network: nn.Module) -> OptimizerState:
    """Returns a copy of the optimizer's state for each parameter. Leaves out parameters that were never updated.

    The numbers of updates are on the CPU, where the rules read them.
    """
    found = {
        name: {
            slot: value.detach().to("cpu" if slot == "step" else value.device, copy=True)
            for slot, value in optimizer.state.get(parameter, {}).items()
            if value is not None  # SGD's buffer without momentum
        }
        for name, parameter in network.named_parameters()
    }
    return {name: slots for name, slots in found.items() if slots}


def with_parameters(
    discriminator: nn.Module, parameters: dict[str, Tensor], buffers: dict[str, Tensor] | None = None
) -> DiscriminatorCall:
    """Returns D with other parameters; a call updates statistics in `buffers`, or in copies of D's buffers."""
    recorded = _copies_of_buffers(discriminator) if buffers is None else buffers

    def call(samples: Tensor, condition: Condition | None = None) -> Tensor:
        return functional_call(discriminator, {**parameters, **recorded}, (samples, condition))

    return call


def unrolled_parameters(
    discriminator: nn.Module,
    loss_of: Callable[[DiscriminatorCall], Tensor],
    optimizer_state: OptimizerState,
    steps: int,
    *,
    name: str,
    **settings: float,
) -> dict[str, Tensor]:
    """Returns all parameters of D after `steps` updates that minimize `loss_of(call)`.

    `call` runs D with the parameters at each update. The result is differentiable in all tensors that `loss_of` uses,
    such as the fakes. `optimizer_state` is that before the first update; `name` is that of the optimizer.
    Parameters that do not require a gradient keep their values; without any that do, raises RuntimeError. The buffers
    of D do not change; the updates use copies.
    """
    parameters = {
        key: parameter.detach().clone().requires_grad_(parameter.requires_grad)
        for key, parameter in discriminator.named_parameters()
    }
    learning = [key for key, parameter in parameters.items() if parameter.requires_grad]
    buffers = _copies_of_buffers(discriminator)
    for _ in range(steps):
        loss = loss_of(with_parameters(discriminator, parameters, buffers))
        slopes = torch.autograd.grad(loss, [parameters[key] for key in learning], create_graph=True, allow_unused=True)
        found = {key: slope for key, slope in zip(learning, slopes, strict=True) if slope is not None}
        gradients = dict(zip(found, means_over_processes([*found.values()]), strict=True))
        parameters, optimizer_state = updated(name, parameters, gradients, optimizer_state, **settings)
    return parameters


def _copies_of_buffers(network: nn.Module) -> dict[str, Tensor]:
    return {name: buffer.detach().clone() for name, buffer in network.named_buffers()}
