"""Samples of generators that make images from images: a row of a grid, or files, for each input."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gan_cli.config.commands import ANIMATION_FORMATS, SampleConfig
from gan_cli.data.dataset import to_signed_unit, to_uint8
from gan_cli.data.labels import RequestedCondition, all_classes_requested
from gan_cli.errors import UsageError, count_noun
from gan_cli.images import grid
from gan_cli.images.input_rows import draw_input_rows
from gan_cli.models.styles import StyleGenerator
from gan_cli.sampling.load_generator import LoadedGenerator, check_truncation, sample_in_batches
from gan_cli.sampling.read_inputs import GivenImage, held_out_inputs, read_inputs
from gan_cli.sampling.requested_samples import distinct_names
from gan_cli.tasks.condition import Condition, image_parts
from gan_cli.tasks.tasks import task_of
from gan_cli.training.inputs import SHOWN

MOST_LETTERS = 50  # of an input's name, so that a file name with up to 4 bytes for each stays valid


def check_options(config: SampleConfig, generator: LoadedGenerator) -> None:
    """Raises UsageError if an option is not for this generator: animations, truncation, `input` and `mask`.

    Says so if truncation is that of styles.
    """
    check_truncation(generator, config.truncation)
    if config.truncation is not None and isinstance(generator.network, StyleGenerator):
        way = "towards" if config.truncation <= 1 else "away from"
        print(f"truncation={config.truncation:g}: of styles w, {way} their mean", flush=True)
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
        given, lines = read_inputs(generator, config.input, config.mask)
        for line in lines:
            print(line, flush=True)
    elif config.mask is not None:
        raise UsageError("mask: is for the image that input= names, give that too")
    else:
        given = held_out_inputs(generator, SHOWN)
        print(f"input: {count_noun(len(given), 'image')} of the run's data, as input= is not given", flush=True)
    if config.label is not None or config.label_index is not None:  # these classes, not those of the data
        given = [replace(image, make_condition=partial(_without_labels, image)) for image in given]
    settings = generator.card.task
    if config.mask is None and (added := task_of(settings).describe_added(settings)):
        print(added, flush=True)
    return given


def _without_labels(image: GivenImage) -> Condition:
    return image.condition._replace(labels=None)


def seeds_of_each(
    config: SampleConfig, generator: LoadedGenerator, seeds: Sequence[int], classes: int
) -> Sequence[int]:
    """Returns the seeds of the samples of each input. `classes` is the number of classes that the user requested.

    Without a latent, this is one, or one for each class, which is said if the user chose others.
    """
    if generator.latent.dim:
        return seeds
    count = max(classes, 1)
    if (config.n or count) > count or config.seeds is not None or config.seed:
        each = "each input and class" if classes > 1 else "each input"
        print(f"one result for {each}: this generator has no latent, so that seeds change nothing", flush=True)
    return seeds[:count]


def describe(given: Sequence[GivenImage]) -> list[dict[str, str | None]]:
    """Returns the name and the sha256 of each input, for the JSON file."""
    return [{"name": image.name, "sha256": image.sha256} for image in given]


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
        grid.save_images(samples, distinct_names([*_file_names(given, seeds)]), target)
        return
    sizes = {tuple(part.shape[2:]) for image in given for part in image_parts(image.condition)}
    if len(sizes) > 1:
        raise UsageError(f"format={config.format}: the inputs have {len(sizes)} sizes, use format=images")
    if config.format == "npz":
        images = torch.cat([to_uint8(batch) for of_input in batches for batch in of_input])
        names = np.array([image.name for image in given])
        np.savez(target, images=images.permute(0, 2, 3, 1).numpy(), names=names)
        return
    grid.save_png(draw_rows(given, (torch.cat([*of_input]) for of_input in batches)), target)


def draw_rows(given: Sequence[GivenImage], outputs: Iterable[Tensor]) -> Image.Image:
    """Returns a grid with a row for each input: the input, its outputs `[n, C, H, W]`, and the true image if known."""
    rows = []
    for image, of_input in zip(given, outputs, strict=True):
        truth = None if image.truth is None else to_signed_unit(image.truth[None])
        rows.append(draw_input_rows(image.condition, of_input[None], truth)[0])
    return grid.draw_grid(torch.cat(rows), [*map(len, rows)], square=False)


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
    """Yields a name such as `photo_seed_000003.png` for each sample. If inputs have equal names, all get their numbers.

    Names that differ in case alone are equal, as some file systems have them. Long names are cut.
    """
    names = [image.name[:MOST_LETTERS] for image in given]
    alike = len({unicodedata.normalize("NFC", name).casefold() for name in names}) < len(names)
    for number, name in enumerate(names):
        numbered = f"{number:04d}_{name}" if alike else name
        yield from (f"{numbered}_seed_{seed:06d}.png" for seed in seeds)
