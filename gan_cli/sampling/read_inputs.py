"""Reads the images that a user gives a generator by `input=`, and the masks of `mask=`."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from gan_cli.config.options.datasets import AUTO, CROP, Folder
from gan_cli.config.train_config import Config
from gan_cli.data.dataset import to_signed_unit, to_uint8
from gan_cli.data.decoding.conversion import ImageOutcome, TargetFormat
from gan_cli.data.decoding.crop_and_pad import compute_fit
from gan_cli.data.decoding.decode import read_header
from gan_cli.data.folder import check_bad, decode_to_sizes
from gan_cli.data.load_dataset import build_dataset
from gan_cli.data.source_description import describe_changes
from gan_cli.errors import GanCliError, UsageError, count_noun, one_line, reworded
from gan_cli.image_files.formats import BadImageError
from gan_cli.image_files.listing import ListedFile
from gan_cli.image_labels.image_paths import ImageReader, open_images
from gan_cli.randomness import generator_for
from gan_cli.sampling.input_pairs import InputFiles, find_input_files, with_halves
from gan_cli.sampling.load_generator import LoadedGenerator, require_mask_task
from gan_cli.tasks.condition import Condition
from gan_cli.tasks.tasks import condition_of_input, task_of
from gan_cli.training.inputs import shown_inputs

MAX_INPUTS = 1000
MAX_SIDE = 1024  # of a small image, which is enlarged in its own size
SEVERAL_INPUTS = {
    "input": "several images are given as a folder",
    "mask": "one mask is given for all inputs, so use a command for each",
}
GREY = 0.2  # a mask's pixels are nearer than this to 0 or 1, but for this share of them


@dataclass(frozen=True)
class GivenImage:
    """One input: its name, what makes its condition (of one sample), the true image if it is known, its file's sha256.

    Conditions and the true images, uint8 `[C, H, W]`, of 1,000 inputs are not in memory as float values.
    """

    name: str
    make_condition: Callable[[], Condition]
    truth: Tensor | None = None
    sha256: str | None = None

    @property
    def condition(self) -> Condition:
        return self.make_condition()


class InputImage(NamedTuple):
    """An image, uint8 `[C, H, W]`, its name, and the sha256 of its file, if it has one."""

    name: str
    pixels: Tensor
    sha256: str | None = None


class ReadInputs(NamedTuple):
    """The inputs that a user gives, and lines that say how they were read."""

    images: list[GivenImage]
    lines: list[str]


class _Image(NamedTuple):
    file: ListedFile
    sides: tuple[int, int]  # height and width in the file
    sha256: str


class _OpenImages(NamedTuple):
    """The images of an option, and the reader that has them open."""

    reader: ImageReader
    listed: list[_Image]
    found: InputFiles

    def decode(
        self,
        files: Sequence[ListedFile],
        sizes: Sequence[tuple[int, int]],
        channels: int,
        config: Config | None,
        **settings: Any,
    ) -> tuple[list[Tensor], list[str]]:
        """Returns each image in its own size, uint8 `[channels, *size]`, fitted as in training, and what was changed.

        `settings` replace those of the training.
        """
        used = _settings_of(config)
        target = TargetFormat(sizes[0], channels, **(used | settings))
        decoded, outcomes = decode_to_sizes(self.reader, files, sizes, target)
        return decoded, describe_changes(outcomes, target)


def _settings_of(config: Config | None) -> dict[str, Any]:
    """Returns the settings by which a run, if it had a folder of images, fitted and converted them."""
    used: dict[str, Any] = {"fit": CROP, "background": "white", "value_range": AUTO, "profiles": "auto"}
    if config is not None and isinstance(config.dataset, Folder):
        used = {name: getattr(config.dataset, name) for name in used}
    return used


def read_inputs(generator: LoadedGenerator, path: str, mask: str | None) -> ReadInputs:
    """Returns the images at `path`, a file or a folder, as inputs of the generator.

    They get the size of the training images, but a small image that is enlarged keeps its own. Of pairs, as the run
    had them, these are the source images. `mask` is an image that is white where the generator paints, for all inputs;
    without it, masks are drawn as in training. Raises UsageError if an image or the mask cannot be used.
    """
    settings, (channels, height, width) = generator.card.task, generator.sample_shape
    small, config = task_of(settings).given_small, generator.config
    if mask is not None:
        require_mask_task(generator, "mask")
    painted, lines, true = None, list[str](), list[Tensor]()
    with _open_images("input", path, config) as images:
        found, listed = images.found, images.listed
        sizes = [image.sides if small else (height, width) for image in listed]
        if small and max(map(max, sizes)) > MAX_SIDE:
            raise UsageError(f"input={one_line(path, 100)}: sides of more than {MAX_SIDE:,} pixels are not enlarged")
        if mask is not None:
            painted, lines = _read_mask(mask, listed, (height, width), config)
        decoded, changes = images.decode(found.files, sizes, channels, config, half=found.halves[0])
        if found.true_files:
            true, _ = images.decode(found.true_files, sizes, channels, config, half=found.halves[1])
    lines = [*_describe_reading(listed, sizes, changes), *lines]
    given = []
    for number, (image, pixels) in enumerate(zip(listed, decoded, strict=True)):
        make = partial(_condition_of, settings, pixels, painted, number)
        truth = true[number] if true else None
        given.append(GivenImage(Path(image.file.name).stem, make, truth, image.sha256))
    return ReadInputs(given, [found.line, *lines] if found.line else lines)


def read_images(generator: LoadedGenerator, path: str) -> tuple[list[InputImage], list[str]]:
    """Returns the images at `path`, a file or a folder, in the format of the generator's samples, and lines about them.

    Raises UsageError if an image cannot be used.
    """
    channels, height, width = generator.sample_shape
    with _open_images("input", path) as images:
        sizes = [(height, width)] * len(images.listed)
        decoded, changes = images.decode(images.found.files, sizes, channels, generator.config)
        lines = _describe_reading(images.listed, sizes, changes)
    named = zip(images.listed, decoded, strict=True)
    return [InputImage(Path(image.file.name).stem, pixels, image.sha256) for image, pixels in named], lines


def _describe_reading(listed: Sequence[_Image], sizes: Sequence[tuple[int, int]], changes: Sequence[str]) -> list[str]:
    """Returns a line that says how many images were resized, and what else was changed; none if nothing was."""
    others = sum(image.sides != size for image, size in zip(listed, sizes, strict=True))
    height, width = sizes[0]
    resized = [f"{others:,} of {count_noun(len(listed), 'image')} resized to {height} x {width}"] if others else []
    text = "; ".join([*resized, *changes])
    return [f"input: {text}"] if text else []


def _condition_of(settings: Any, pixels: Tensor, mask: Tensor | None, number: int) -> Condition:
    """Returns the condition of the input of this number, uint8 `[C, H, W]`."""
    return condition_of_input(settings, to_signed_unit(pixels[None]), mask, generator_for(number, "task"))


def held_out_inputs(generator: LoadedGenerator, count: int) -> list[GivenImage]:
    """Returns the inputs that the run shows: held-out images of its data. Raises UsageError if they are not at hand."""
    config = generator.config
    if config is None:
        raise UsageError("input is missing: an export has no data, give input=an image or a folder of images")
    try:
        shown = shown_inputs(config, build_dataset(config.dataset, config.image_size), count)
    except GanCliError as error:
        raise UsageError(f"input is missing, and the run's data cannot be read ({one_line(error, 200)})") from error
    assert shown is not None
    names = [f"held_out_{number:03d}" if shown.held_out else f"training_{number:03d}" for number in range(count)]
    return [
        GivenImage(name, partial(shown.condition.rows, slice(row, row + 1)), to_uint8(shown.truth[row]))
        for row, name in enumerate(names[: len(shown.truth)])
    ]


@contextlib.contextmanager
def _open_images(key: str, path: str, config: Config | None = None) -> Iterator[_OpenImages]:
    """Yields the images at `path`, the value of the option `key`, in their order. `config` is of a run of pairs."""
    listed, outcomes = [], []
    with reworded(_with_own_key, key), open_images(path, follow_links=True) as reader:
        found = find_input_files(reader, config)
        if len(found.files) > MAX_INPUTS:
            many = count_noun(len(found.files), "image")
            raise UsageError(f"{key}={one_line(path, 100)}: {many}, at most {MAX_INPUTS:,}")
        for file in found.files:
            try:
                content = reader.read_image(file)
                sides = read_header(content).sides
            except BadImageError as error:
                outcomes.append(ImageOutcome(bad=str(error)))
                continue
            outcomes.append(ImageOutcome())
            digest = hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else ""
            listed.append(_Image(file, sides, digest))
        check_bad("", reader.listing.shown, found.files, outcomes)
        yield _OpenImages(reader, listed, with_halves(found, [image.sides for image in listed], config))


def _read_mask(
    path: str, images: list[_Image], sides: tuple[int, int], config: Config | None
) -> tuple[Tensor, list[str]]:
    """Returns the mask `[1, 1, H, W]` of zeros and ones in the image at `path`, and lines about it.

    Raises UsageError if it is no mask.
    """
    typed = f"mask={one_line(path, 100)}"
    with _open_images("mask", path) as found:
        mask, *others = found.listed
        if others:
            raise UsageError(f"{typed}: {count_noun(len(others) + 1, 'image')}, give one mask for all inputs")
        for image in images:
            if image.sides != mask.sides:
                own, theirs = (f"{width} x {height}" for height, width in (mask.sides, image.sides))
                name = one_line(image.file.name, 60)
                raise UsageError(f"{typed}: is {own} pixels, {name} is {theirs}; a mask has the size of its image")
        # of a transparent layer, what is not drawn on is black
        (values,), _ = found.decode([mask.file], [mask.sides], 1, None, background="black")
        of_zeros_and_ones = int(values.max()) == 1
        scaled: dict[str, Any] = {"value_range": (0.0, 1.0)} if of_zeros_and_ones else {}
        (fitted,), _ = found.decode([mask.file], [sides], 1, config, background="black", **scaled)
    shares = values / 255
    unclear = ((shares > GREY) & (shares < 1 - GREY)).float().mean().item()
    if unclear > GREY:
        raise UsageError(f"{typed}: is no mask, {unclear:.0%} of its pixels are grey; white is painted, black is kept")
    painted = (fitted > 127).float()[None]
    if not painted.any():
        white = values > (0 if of_zeros_and_ones else 127)
        raise UsageError(f"{typed}: {_why_nothing_is_painted(values, white, sides, config)}")
    return painted, ["mask: has the values 0 and 1, which are read as black and white"] if of_zeros_and_ones else []


def _why_nothing_is_painted(values: Tensor, white: Tensor, sides: tuple[int, int], config: Config | None) -> str:
    """Returns why a mask has no white pixel once it is fitted to `sides`, and what to do.

    `values` uint8 `[1, H, W]` are its pixels in its own size, and `white` says which of them are white.
    """
    if not white.any():
        brightest = f" (its highest value is {int(values.max())} of 255)" if values.any() else ""
        return f"is black everywhere{brightest}, so that nothing is painted; white is painted, black is kept"
    left, top, width, height = compute_fit(values.shape[2], values.shape[1], sides, _settings_of(config)["fit"]).box
    size, inside = f"{sides[1]} x {sides[0]}", white[:, top : top + height, left : left + width]
    if not inside.any():
        return (
            f"its white part is cropped off: the run makes images of {size} pixels, for which the middle {width} x"
            f" {height} are used; crop the image and the mask to those proportions around the part to paint"
        )
    part = f"its white part, {count_noun(int(inside.sum()), 'pixel')} of {width} x {height},"
    return f"{part} is lost at {size}, the size of the run's images; draw a larger one"


def _with_own_key(text: str, key: str) -> str:
    """Returns the text with the option `key`, which may be one image too, in place of `dataset.path`."""
    text = re.sub(r"several folders as one data set are .*", SEVERAL_INPUTS[key], text)
    return text.replace("dataset.path", key).replace("expected a folder,", "expected an image, or a folder,")
