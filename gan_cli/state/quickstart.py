"""Torch's compiler is left alone as long as nobody compiles.

At the first optimizer and at its first step torch imports `torch._dynamo`, only to tell it that these are not to be
compiled. That takes more time than all else before a run's first step, and memory that `gan-sample` never needs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

KINDS = (Adam, AdamW, RMSprop, SGD)
LISTED = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
DISABLED = "__dynamo_disable"  # where torch._compile keeps what it would make with the compiler's help


def spare_compiler() -> None:
    """Makes optimizers do without the compiler; what they compute stays the same. Done twice it is as done once.

    A torch that is built otherwise than we know is left as it is: it then only starts more slowly.
    """
    for name in LISTED:
        plain = getattr(getattr(Optimizer, name), "__wrapped__", None)
        if plain is not None and not hasattr(plain, DISABLED):
            setattr(plain, DISABLED, plain)
    for kind in KINDS:
        step: Any = vars(kind).get("step")  # AdamW has Adam's
        if getattr(getattr(step, "__code__", None), "co_name", "") == "_use_grad" and hasattr(step, "__wrapped__"):
            kind.step = _with_grad_as_wanted(step.__wrapped__)  # type: ignore[method-assign]


def _with_grad_as_wanted(step: Callable[..., Any]) -> Callable[..., Any]:
    """What torch wraps a step in, without the marks for its compiler."""

    @functools.wraps(step)
    def stepped(self: Optimizer, *arguments: Any, **named: Any) -> Any:
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            return step(self, *arguments, **named)

    return stepped
