"""Residual blocks, and doublings of the sides by PixelShuffle (1609.05158), as in SRResNet and EDSR."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from gan_cli.models.conditioning import ConditionalSequential
from gan_cli.tasks.condition import Condition


class Residual(ConditionalSequential):
    """Adds the output of its layers, multiplied by `scale`, to its input."""

    def __init__(self, *layers: nn.Module, scale: float = 1.0) -> None:
        super().__init__(*layers)
        self.scale = scale

    def forward(self, values: Tensor, condition: Condition | None = None) -> Tensor:
        return values + self.scale * super().forward(values, condition)


def doubling_layers(
    count: int, convolution: Callable[[], nn.Module], after: Callable[[], list[nn.Module]]
) -> list[nn.Module]:
    """Returns the layers that double the sides of maps `count` times.

    For each doubling, `convolution` builds one to four times as many channels. PixelShuffle makes 2 x 2 positions of
    them, and the layers of `after` follow.
    """
    return [layer for _ in range(count) for layer in (convolution(), nn.PixelShuffle(2), *after())]


def equal_positions(convolution: nn.Module) -> nn.Module:
    """Gives the four positions that PixelShuffle makes of one the same weights at first (ICNR, 1707.02937).

    Otherwise enlarged maps start with a pattern that repeats every two pixels. Returns the convolution.
    """
    weight = cast(Tensor, convolution.weight).detach()
    equal = weight[::4].repeat_interleave(4, 0)
    if is_parametrized(convolution, "weight"):
        convolution.weight = cast(Any, equal)  # stores what the parametrization makes this of
    else:
        weight.copy_(equal)
    return convolution
