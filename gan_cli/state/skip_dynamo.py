"""Keeps optimizers from importing torch's compiler, `torch._dynamo`, as long as nothing is compiled.

When the first optimizer is built and at its first step, torch imports `torch._dynamo`, only to exclude these functions
from compilation. The import takes longer than everything else before a run's first step.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

PATCHED_OPTIMIZERS = (Adam, AdamW, RMSprop, SGD)
PATCHED_METHODS = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
DISABLED = "__dynamo_disable"  # the attribute where torch._compile caches the function that is excluded


def avoid_dynamo_import() -> None:
    """Patches torch.optim so that it does not import the compiler. Results stay the same; repeated calls are harmless.

    Methods that do not look as expected, as in another version of torch, stay unpatched: the start is slower then.
    """
    for name in PATCHED_METHODS:
        plain = getattr(getattr(Optimizer, name), "__wrapped__", None)
        if plain is not None and not hasattr(plain, DISABLED):
            setattr(plain, DISABLED, plain)
    for kind in PATCHED_OPTIMIZERS:
        step: Any = vars(kind).get("step")  # AdamW inherits it from Adam
        if getattr(getattr(step, "__code__", None), "co_name", "") == "_use_grad" and hasattr(step, "__wrapped__"):
            kind.step = _with_grad_mode(step.__wrapped__)  # type: ignore[method-assign]


def _with_grad_mode(step: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps an optimizer's step in the gradient mode that torch sets for it, without the compiler's part."""

    @functools.wraps(step)
    def stepped(self: Optimizer, *arguments: Any, **keywords: Any) -> Any:
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            return step(self, *arguments, **keywords)

    return stepped
