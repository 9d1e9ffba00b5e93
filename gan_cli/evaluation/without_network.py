"""Answers to a task without a network: the input itself, the nearest training input, and kernel ridge regression.

A network that was trained for a task should do better than these. Each takes seconds on one core.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gan_cli.evaluation.paired_inputs import PairedInputs
from gan_cli.tasks.condition import Condition
from gan_cli.tasks.tasks import task_of

IDENTITY, NEAREST, RIDGE = "identity", "nearest neighbour", "kernel ridge"
MOST_EXAMPLES = 6000  # training inputs: the time grows with the square and the cube of their number
MOST_VALUES = MOST_EXAMPLES * 3072  # of all training images together: fewer images, if they have more than 32 x 32 x 3
FIT, HELD_OUT = 1200, 400  # training inputs by which the kernel and the regularization are chosen
WIDTHS = (0.5, 1.0, 2.0, 4.0, 8.0)  # of the RBF kernel exp(-d^2 / (width * median d^2)); the other kernel is linear
REGULARIZATIONS = (1e-7, 1e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0)
VALUES_AT_ONCE = 1 << 23  # of the inputs that are answered at a time

Kernel = Callable[[Tensor, Tensor], Tensor]  # from inputs `[N, D]` and `[M, D]` to `[N, M]`


def answers_without_network(inputs: PairedInputs) -> Iterator[tuple[str, Tensor]]:
    """Yields the name of each method that suits the task and its answers, float `[N, C, H, W]` in [-1, 1].

    Kernel ridge needs the same pixels of each input: it is left out if the masks differ.
    """
    shape = tuple(inputs.truth.shape[1:])
    condition, task = inputs.condition, task_of(inputs.settings)
    own = None if task.identity is None else task.identity(condition, shape)
    if own is not None:
        yield IDENTITY, own
    given, images = inputs.example_condition(count_examples(inputs))
    yield NEAREST, _known_kept(images[_nearest(condition, given, images)], condition)
    if same_masks(condition, given):
        assert condition.image is not None
        assert given.image is not None
        known = kernel_ridge(given.image.flatten(1), images.flatten(1), condition.image.flatten(1))
        yield RIDGE, _known_kept(known.view(-1, *shape), condition)


def count_examples(inputs: PairedInputs) -> int:
    """Returns how many training images the methods learn from."""
    return min(MOST_EXAMPLES, len(inputs.example_index), max(1, MOST_VALUES // inputs.truth[0].numel()))


def same_masks(condition: Condition, other: Condition) -> bool:
    """Returns whether all masks of both are equal, or there are none."""
    if condition.mask is None or other.mask is None:
        return True
    return all(bool((masks == condition.mask[:1]).all()) for masks in (condition.mask, other.mask))


def _known_kept(answers: Tensor, condition: Condition) -> Tensor:
    if condition.mask is None or condition.image is None:
        return answers
    return torch.where(condition.mask > 0.5, answers.to(condition.image.dtype), condition.image)


def _nearest(condition: Condition, given: Condition, images: Tensor) -> Tensor:
    """Returns for each input the position of the nearest example, `[N]`: by the pixels that are known of the input."""
    assert condition.image is not None
    assert given.image is not None
    if condition.mask is None:
        return nearest_rows(condition.image.flatten(1), given.image.flatten(1))
    known = (1 - condition.mask).expand_as(condition.image)
    return nearest_rows(condition.image.flatten(1), images.flatten(1), known.flatten(1))


def nearest_rows(inputs: Tensor, examples: Tensor, weights: Tensor | None = None) -> Tensor:
    """Returns for each of `inputs` `[N, D]` the row of `examples` `[M, D]` with the least squared distance, `[N]`.

    `weights` `[N, D]`, zeros and ones, say which values of an input count; without them all do.
    """
    examples, found = examples.double(), []
    squares = examples.square().T
    step = _rows_at_once(examples)
    for start in range(0, len(inputs), step):
        part = inputs[start : start + step].double()
        counted = torch.ones_like(part) if weights is None else weights[start : start + step].double()
        found.append((counted @ squares - 2 * (counted * part) @ examples.T).argmin(1))
    return torch.cat(found)


def _rows_at_once(examples: Tensor) -> int:
    """Returns how many inputs are answered at a time: each needs a row of values and of distances to the examples."""
    return max(1, VALUES_AT_ONCE // max(examples.shape))


class _Choice(NamedTuple):
    """A kernel with a regularization, and its mean squared error on training inputs that it was not fitted to."""

    error: float
    kernel: Kernel
    regularization: float


def kernel_ridge(examples: Tensor, targets: Tensor, inputs: Tensor) -> Tensor:
    """Returns predictions `[N, E]` for `inputs` `[N, D]`, learned from `examples` `[M, D]` with `targets` `[M, E]`.

    K' (K + lambda I)^-1 Y with a linear or an RBF kernel, in float64. The kernel, its width and lambda are those with
    the least squared error on a part of the examples that they are not fitted to.
    """
    mean_input, mean_target = examples.double().mean(0), targets.double().mean(0)
    x, y = examples.double() - mean_input, targets.double() - mean_target
    _, kernel, regularization = _choose(x[: FIT + HELD_OUT], y[: FIT + HELD_OUT])
    matrix = kernel(x, x)
    matrix.diagonal().add_(regularization)
    coefficients = torch.cholesky_solve(y, torch.linalg.cholesky(matrix))
    del matrix
    parts = inputs.double().sub(mean_input).split(_rows_at_once(y))
    return torch.cat([(kernel(part, x) @ coefficients + mean_target).float() for part in parts])


def _choose(x: Tensor, y: Tensor) -> _Choice:
    fitted = max(1, len(x) * FIT // (FIT + HELD_OUT))
    choices = [choice for kernel in _kernels(x) for choice in _assess(kernel, x, y, fitted)]
    return min(choices, key=lambda choice: choice.error)


def _kernels(x: Tensor) -> Sequence[Kernel]:
    size = x.square().sum(1).mean().clamp_min(1e-12)
    median = torch.cdist(x, x).square().median().clamp_min(1e-12)

    def linear(one: Tensor, other: Tensor) -> Tensor:
        return one @ other.T / size

    def rbf(width: float) -> Kernel:
        return lambda one, other: torch.cdist(one, other).square_().mul_(-1 / (width * median)).exp_()

    return linear, *map(rbf, WIDTHS)


def _assess(kernel: Kernel, x: Tensor, y: Tensor, fitted: int) -> Iterator[_Choice]:
    """Yields a choice for each regularization. They share one eigendecomposition of the kernel matrix."""
    matrix = kernel(x, x[:fitted])
    values, vectors = torch.linalg.eigh(matrix[:fitted])
    coordinates, others = vectors.T @ y[:fitted], matrix[fitted:] @ vectors
    for regularization in REGULARIZATIONS:
        predicted = others @ (coordinates / (values.clamp_min(0) + regularization).unsqueeze(1))
        yield _Choice((predicted - y[fitted:]).square().mean().item(), kernel, regularization)
