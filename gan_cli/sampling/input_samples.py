"""Samples of generators that make images from images: a row of a grid, or files, for each input."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gan_cli.config.commands import ANIMATION_FORMATS, SampleConfig
from gan_cli.data.dataset import to_uint8
from gan_cli.data.labels import RequestedCondition, all_classes_requested
from gan_cli.errors import UsageError, count_noun
from gan_cli.images import grid
from gan_cli.images.input_rows import draw_input_rows
from gan_cli.sampling.load_generator import LoadedGenerator, sample_in_batches
from gan_cli.sampling.read_inputs import GivenImage, held_out_inputs, read_inputs
from gan_cli.tasks.condition import Condition, image_parts
from gan_cli.tasks.tasks import task_of
from gan_cli.training.inputs import SHOWN


def check_options(config: SampleConfig, generator: LoadedGenerator) -> None:
    """Raises UsageError if `input` or `mask` is given to a generator without images, or an animation to one with."""
    if generator.has_image_input:
        if config.format in ANIMATION_FORMATS:
            raise UsageError(f"format={config.format}: is for generators without input, use grid, images or npz")
        return
    for key in ("input", "mask"):
        if getattr(config, key) is not None:
            raise UsageError(f"{key}: this checkpoint generates from noise and takes no image, leave it out")


def given_images(config: SampleConfig, generator: LoadedGenerator) -> list[GivenImage]:
    """Returns the inputs: those of the options `input` and `mask`, or held-out images of the run's data.

    Says what is taken in place of an option that was not given.
    """
    if config.input is not None:
        given = read_inputs(generator, config.input, config.mask)
    elif config.mask is not None:
        raise UsageError("mask: is for the image that input= names, give that too")
    else:
        given = held_out_inputs(generator, SHOWN)
        print(f"input: {count_noun(len(given), 'image')} of the run's data, as input= is not given", flush=True)
    settings = generator.card.task
    if config.mask is None and (added := task_of(settings).describe_added(settings)):
        print(added, flush=True)
    return given


def seeds_of_each(config: SampleConfig, generator: LoadedGenerator, seeds: Sequence[int]) -> Sequence[int]:
    """Returns the seeds of the samples of each input: one without a latent, which is said if more were requested."""
    if generator.latent.dim or len(seeds) == 1:
        return seeds
    if config.n is not None or config.seeds is not None:
        print("one result for each input: this generator has no latent, so that seeds change nothing", flush=True)
    return seeds[:1]


def write(
    config: SampleConfig,
    generator: LoadedGenerator,
    given: Sequence[GivenImage],
    rows: Sequence[RequestedCondition],
    seeds: Sequence[int],
    target: Path,
) -> None:
    """Writes a sample of each seed for each input to `target`. `rows` are the requested classes, if there are any.

    With format=images, a batch of samples is in memory at once.
    """
    batches = (
        batches_of_input(generator, image, seeds, rows, truncation=config.truncation, batch_size=config.batch_size)
        for image in given
    )
    if config.format == "images":
        samples = (to_uint8(batch) for of_input in batches for batch in of_input)
        grid.save_images(samples, _file_names(given, seeds), target)
        return
    sizes = {tuple(part.shape[2:]) for image in given for part in image_parts(image.condition)}
    if len(sizes) > 1:
        raise UsageError(f"format={config.format}: the inputs have {len(sizes)} sizes, use format=images")
    outputs = [torch.cat([*of_input]) for of_input in batches]
    if config.format == "npz":
        images = to_uint8(torch.cat(outputs)).permute(0, 2, 3, 1).numpy()
        np.savez(target, images=images, names=np.array([image.name for image in given]))
        return
    grid.save_png(draw_rows(given, outputs), target)


def draw_rows(given: Sequence[GivenImage], outputs: Sequence[Tensor]) -> Image.Image:
    """Returns a grid with a row for each input: the input, its outputs `[n, C, H, W]`, and the true image if known."""
    parts = zip(*(image.condition for image in given), strict=True)
    condition = Condition(*(None if part[0] is None else torch.cat(part) for part in parts))
    known = [image.truth for image in given if image.truth is not None]
    truth = torch.stack(known) if len(known) == len(given) else None
    pixels, lengths = draw_input_rows(condition, torch.stack([*outputs]), truth)
    return grid.draw_grid(pixels, lengths, square=False)


def batches_of_input(
    generator: LoadedGenerator,
    image: GivenImage,
    seeds: Sequence[int],
    rows: Sequence[RequestedCondition] = (),
    *,
    truncation: float | None = None,
    batch_size: int = 64,
) -> Iterator[Tensor]:
    """Returns the samples of one input in batches, float32 `[N, C, H, W]`. `rows` are requested classes, in turn."""
    condition = image.condition.map(lambda part: part.expand(len(seeds), *part.shape[1:]))
    requested = []
    if generator.classes and condition.labels is None:
        rows = rows or all_classes_requested(generator.classes)
        requested = [rows[number % len(rows)] for number in range(len(seeds))]
    return sample_in_batches(generator, seeds, requested, truncation, batch_size, condition)


def _file_names(given: Sequence[GivenImage], seeds: Sequence[int]) -> Iterator[str]:
    """Yields a name such as `photo_seed_000003.png` for each sample. Equal names of inputs get their numbers."""
    same = Counter(image.name for image in given)
    for number, image in enumerate(given):
        name = image.name if same[image.name] == 1 else f"{number:04d}_{image.name}"
        yield from (f"{name}_seed_{seed:06d}.png" for seed in seeds)
