"""The tasks: what the condition is, what a sample is, and what the discriminator sees. Pure functions of tensors.

Training, sampling, evaluation and export call these functions and read what a `Task` states. They name no task.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from gan_cli.device import to_device
from gan_cli.tasks.condition import Condition
from gan_cli.tasks.edges import sobel_edges
from gan_cli.tasks.masks import draw_masks


class Task(NamedTuple):
    """A task. `settings` are its section of the config.

    `make_condition(samples, condition, settings, random)` returns the condition of real samples in [-1, 1]. The given
    condition has their labels and, as `image`, their source images, if the data have some.
    `complete(output, condition)` returns the samples from the generator's output. `discriminator_view(samples,
    condition)` returns what the discriminator sees of samples, `[N, C', H, W]`. `given_small` says whether a user's
    images are the small ones that the generator enlarges, `accepts_mask` whether a mask can be given with them.
    `describe_added(settings)` returns a line on what `make_condition` adds to a user's images, "" if it adds nothing.
    `identity(condition, shape)` returns samples of `shape` [C, H, W] that add nothing to the condition, for comparison;
    None if the condition has images of another kind.
    """

    make_condition: Callable[..., Condition] | None = None  # None: the labels
    complete: Callable[[Tensor, Condition], Tensor] | None = None  # None: the output is the sample
    discriminator_view: Callable[[Tensor, Condition], Tensor] | None = None  # None: it sees the sample alone
    given_small: bool = False
    accepts_mask: bool = False
    describe_added: Callable[[Any], str] = lambda settings: ""
    identity: Callable[[Condition, tuple[int, ...]], Tensor | None] | None = None  # None: the condition has no image


def task_of(settings: Any) -> Task:
    """Returns the task that a section of the config names."""
    return TASKS[settings.name]


def _source(samples: Tensor, condition: Condition, settings: Any, random: torch.Generator) -> Condition:
    return condition if settings.source == "data" else condition._replace(image=sobel_edges(samples))


def _masked(samples: Tensor, condition: Condition, settings: Any, random: torch.Generator) -> Condition:
    mask = draw_masks(settings.mask, len(samples), samples.shape[2], samples.shape[3], random)
    mask = to_device(mask, samples.device)
    return condition._replace(image=hide(samples, mask), mask=mask)


def hide(samples: Tensor, mask: Tensor) -> Tensor:
    """Returns the known pixels of samples; the pixels where the mask is 1 are 0, the middle of [-1, 1]."""
    return samples * (1 - mask)


def _reduced(samples: Tensor, condition: Condition, settings: Any, random: torch.Generator) -> Condition:
    return condition._replace(image=avg_pool2d(samples, settings.factor))


def _painted(output: Tensor, condition: Condition) -> Tensor:
    """Returns the generator's pixels where the mask is 1, and exactly the known pixels elsewhere."""
    assert condition.mask is not None
    assert condition.image is not None
    return torch.where(condition.mask > 0.5, output, condition.image)


def _enlarged(output: Tensor, condition: Condition) -> Tensor:
    """Returns the enlarged small image (bicubic) plus the generator's output, which is the difference."""
    return _bicubic(condition, tuple(output.shape[1:])) + output


def _bicubic(condition: Condition, shape: tuple[int, ...]) -> Tensor:
    assert condition.image is not None
    return interpolate(condition.image, shape[1:], mode="bicubic", align_corners=False)


def _source_itself(condition: Condition, shape: tuple[int, ...]) -> Tensor | None:
    """Returns the source images, if they have the channels and sides of samples."""
    assert condition.image is not None
    return condition.image if condition.image.shape[1:] == shape else None


def _mean_filled(condition: Condition, shape: tuple[int, ...]) -> Tensor:
    """Returns the known pixels, and in the hidden part the mean of each channel's known pixels."""
    assert condition.mask is not None
    assert condition.image is not None
    known = 1 - condition.mask
    means = (condition.image * known).sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True).clamp_min(1)
    return torch.where(condition.mask > 0.5, means, condition.image)


def _with_image(samples: Tensor, condition: Condition) -> Tensor:
    assert condition.image is not None
    return torch.cat([samples, condition.image], 1)


def _with_mask(samples: Tensor, condition: Condition) -> Tensor:
    assert condition.mask is not None
    return torch.cat([samples, condition.mask], 1)


def _describe_edges(settings: Any) -> str:
    if settings.source == "data":
        return ""
    return "input: the edges of each image are the source image, as in training (task.source=edges)"


def _describe_masks(settings: Any) -> str:
    return f"mask: drawn for each image as in training ({', '.join(settings.mask)}), as mask= is not given"


TASKS = {
    "generation": Task(),
    # pix2pix, 1611.07004
    "translation": Task(
        _source, discriminator_view=_with_image, describe_added=_describe_edges, identity=_source_itself
    ),
    # 1806.03589
    "inpainting": Task(
        _masked, _painted, _with_mask, accepts_mask=True, describe_added=_describe_masks, identity=_mean_filled
    ),
    "super_resolution": Task(_reduced, _enlarged, given_small=True, identity=_bicubic),  # 1609.04802
}


def condition_of_input(settings: Any, images: Tensor, mask: Tensor | None, random: torch.Generator) -> Condition:
    """Returns the condition of a user's images in [-1, 1], without labels. A `mask` replaces one of the task's."""
    task = task_of(settings)
    assert task.make_condition is not None
    if task.given_small:
        return Condition(image=images)
    if mask is not None:
        return Condition(image=hide(images, mask), mask=mask)
    return task.make_condition(images, Condition(image=images), settings=settings, random=random)


def condition_of_samples(settings: Any, samples: Tensor) -> Condition:
    """Returns the condition of samples in [-1, 1] that are their own source images, without labels."""
    make_condition = task_of(settings).make_condition
    assert make_condition is not None
    return make_condition(samples, Condition(image=samples), settings=settings, random=torch.Generator().manual_seed(0))


def example_condition(settings: Any, sample_shape: tuple[int, ...]) -> Condition | None:
    """Returns a condition of one black sample, without labels, whose parts have the shapes of the task's."""
    if task_of(settings).make_condition is None:
        return None
    with torch.device("cpu"):  # also where networks are built on the meta device
        return condition_of_samples(settings, torch.full((1, *sample_shape), -1.0))
