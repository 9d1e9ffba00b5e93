"""Looking ahead (Unrolled GAN, 1611.02163): the weights D would have after K more updates, as a function of G's fakes.

D's updates are made again without side effects, so that autograd can go back through all of them: G's gradient then
knows how D would answer, which is the second term of the paper's equation 12. Nothing of D or its optimizer changes.
The updates are those of `torch.optim`, operation by operation; only the slope of their square root differs at zero.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.optim import Optimizer

Held = dict[str, Tensor]  # what an optimizer keeps for one parameter: its slots, none before the first update
Memory = dict[str, Held]  # by the parameter's name
Judge = Callable[..., Tensor]  # `(samples, condition=None)` to logits `[N]`


def _root(mean_square: Tensor) -> Tensor:
    """The square root, with slope 0 where the argument is 0: its infinite slope times a gradient of 0 would be NaN."""
    return mean_square.clamp_min(torch.finfo(mean_square.dtype).tiny).sqrt()


def _adam(
    weight: Tensor, gradient: Tensor, held: Held, *, lr: float, beta1: float, beta2: float, eps: float
) -> tuple[Tensor, Held]:
    step = held["step"] + 1 if held else torch.tensor(1.0)
    mean = held["exp_avg"] if held else torch.zeros_like(weight)
    mean_square = held["exp_avg_sq"] if held else torch.zeros_like(weight)
    mean = mean.lerp(gradient, 1 - beta1)
    mean_square = (mean_square * beta2).addcmul(gradient, gradient, value=1 - beta2)
    count = step.item()
    denominator = _root(mean_square) / (1 - beta2**count) ** 0.5 + eps
    weight = weight.addcdiv(mean, denominator, value=-lr / (1 - beta1**count))
    return weight, {"step": step, "exp_avg": mean, "exp_avg_sq": mean_square}


def _adamw(
    weight: Tensor, gradient: Tensor, held: Held, *, lr: float, weight_decay: float, **settings: float
) -> tuple[Tensor, Held]:
    return _adam(weight * (1 - lr * weight_decay), gradient, held, lr=lr, **settings)


def _rmsprop(
    weight: Tensor, gradient: Tensor, held: Held, *, lr: float, alpha: float, eps: float
) -> tuple[Tensor, Held]:
    step = held["step"] + 1 if held else torch.tensor(1.0)
    mean_square = held["square_avg"] if held else torch.zeros_like(weight)
    mean_square = (mean_square * alpha).addcmul(gradient, gradient, value=1 - alpha)
    weight = weight.addcdiv(gradient, _root(mean_square) + eps, value=-lr)
    return weight, {"step": step, "square_avg": mean_square}


def _sgd(weight: Tensor, gradient: Tensor, held: Held, *, lr: float, momentum: float) -> tuple[Tensor, Held]:
    if momentum == 0:
        return weight.sub(gradient, alpha=lr), {}
    # the first update is made with the whole gradient
    buffer = held["momentum_buffer"] * momentum + gradient if held else gradient
    return weight.sub(buffer, alpha=lr), {"momentum_buffer": buffer}


RULES: dict[str, Callable[..., tuple[Tensor, Held]]] = {
    "adam": _adam,
    "adamw": _adamw,
    "rmsprop": _rmsprop,
    "sgd": _sgd,
}


def updated(
    rule: str,
    parameters: dict[str, Tensor],
    gradients: dict[str, Tensor],
    memory: Memory,
    *,
    lr: float,
    **settings: float,
) -> tuple[dict[str, Tensor], Memory]:
    """Parameters and memory after one update, differentiable in all three.

    A parameter without a gradient stays as it is, and so does its memory.
    """
    parameters, memory = dict(parameters), dict(memory)
    for name, gradient in gradients.items():
        parameters[name], memory[name] = RULES[rule](
            parameters[name], gradient, memory.get(name, {}), lr=lr, **settings
        )
    return parameters, memory


def memory_of(optimizer: Optimizer, network: nn.Module) -> Memory:
    """What the optimizer keeps for the network now, copied; empty before its first update."""
    held = {
        name: {
            slot: value.detach().clone()
            for slot, value in optimizer.state.get(parameter, {}).items()
            if value is not None  # SGD's buffer without momentum
        }
        for name, parameter in network.named_parameters()
    }
    return {name: slots for name, slots in held.items() if slots}


def calling(discriminator: nn.Module, parameters: dict[str, Tensor], buffers: dict[str, Tensor] | None = None) -> Judge:
    """The discriminator with other parameters.

    It records into `buffers`, by default copies of its own: statistics and singular vectors stay as they are.
    """
    recorded = _copies_of_buffers(discriminator) if buffers is None else buffers

    def call(samples: Tensor, condition: Tensor | None = None) -> Tensor:
        return functional_call(discriminator, {**parameters, **recorded}, (samples, condition))

    return call


def unrolled_parameters(
    discriminator: nn.Module,
    loss_of: Callable[[Judge], Tensor],
    *,
    rule: str,
    settings: dict[str, float],
    memory: Memory,
    steps: int,
    lr: float,
) -> dict[str, Tensor]:
    """All of D's parameters after `steps` updates that minimize `loss_of(call)`, `call` being D as it is by then.

    They are differentiable in whatever `loss_of` closes over, through gradients and memory. `memory` is where the
    optimizer stands (see `memory_of`), `settings` what `rule` takes besides its rate. What does not require a gradient
    is not updated; RuntimeError if that is everything. D's buffers run on from update to update, in copies.
    """
    learning = [name for name, parameter in discriminator.named_parameters() if parameter.requires_grad]
    parameters = {
        name: parameter.detach().clone().requires_grad_(parameter.requires_grad)
        for name, parameter in discriminator.named_parameters()
    }
    buffers = _copies_of_buffers(discriminator)
    for _ in range(steps):
        loss = loss_of(calling(discriminator, parameters, buffers))
        slopes = torch.autograd.grad(
            loss, [parameters[name] for name in learning], create_graph=True, allow_unused=True
        )
        gradients = {name: slope for name, slope in zip(learning, slopes, strict=True) if slope is not None}
        parameters, memory = updated(rule, parameters, gradients, memory, lr=lr, **settings)
    return parameters


def _copies_of_buffers(network: nn.Module) -> dict[str, Tensor]:
    return {name: buffer.detach().clone() for name, buffer in network.named_buffers()}
