"""Reads the images that a user gives a generator by `input=`, and the masks of `mask=`."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from gan_cli.config.options.datasets import AUTO, CROP, Folder
from gan_cli.config.train_config import Config
from gan_cli.data.dataset import to_signed_unit
from gan_cli.data.decoding.conversion import TargetFormat
from gan_cli.data.decoding.decode import read_header
from gan_cli.data.folder import decode_to_sizes
from gan_cli.data.load_dataset import build_dataset
from gan_cli.errors import GanCliError, UsageError, count_noun, one_line, reworded
from gan_cli.image_files.formats import BadImageError
from gan_cli.image_files.listing import ListedFile
from gan_cli.image_labels.attributes import VERSION, LabelOptions
from gan_cli.image_labels.image_paths import ImageReader, open_images
from gan_cli.randomness import generator_for
from gan_cli.sampling.load_generator import LoadedGenerator, require_mask_task
from gan_cli.tasks.condition import Condition
from gan_cli.tasks.tasks import condition_of_input, task_of
from gan_cli.training.inputs import shown_inputs

MAX_INPUTS = 1000
MAX_SIDE = 1024  # of a small image, which is enlarged in its own size
GREY = 0.2  # a mask's pixels are nearer than this to 0 or 1, but for this share of them


class GivenImage(NamedTuple):
    """One input: its name, its condition (of one sample), the true image if it is known, and its file's sha256."""

    name: str
    condition: Condition
    truth: Tensor | None = None
    sha256: str | None = None


class _Image(NamedTuple):
    file: ListedFile
    sides: tuple[int, int]  # height and width in the file
    sha256: str


class _OpenImages(NamedTuple):
    """The images of an option, and the reader that has them open."""

    reader: ImageReader
    listed: list[_Image]

    def decode(
        self, sizes: Sequence[tuple[int, int]], channels: int, config: Config | None, background: str | None = None
    ) -> list[Tensor]:
        """Returns each image in its own size, float32 `[1, channels, *size]` in [-1, 1], fitted as in training.

        Transparent pixels get the colour `background`; by default that of the training.
        """
        settings: dict[str, Any] = {"fit": CROP, "background": "white", "value_range": AUTO, "profiles": "auto"}
        if config is not None and isinstance(config.dataset, Folder):
            settings = {name: getattr(config.dataset, name) for name in settings}
        settings["background"] = background or settings["background"]
        target = TargetFormat(sizes[0], channels, **settings)
        decoded = decode_to_sizes(self.reader, [image.file for image in self.listed], sizes, target)
        return [to_signed_unit(pixels[None]) for pixels in decoded]


def read_inputs(generator: LoadedGenerator, path: str, mask: str | None) -> list[GivenImage]:
    """Returns the images at `path`, a file or a folder, as inputs of the generator.

    They get the size of the training images, but a small image that is enlarged keeps its own. `mask` is an image that
    is white where the generator paints, for all inputs; without it, masks are drawn as in training. Raises UsageError
    if an image or the mask cannot be used.
    """
    settings, (channels, height, width) = generator.card.task, generator.sample_shape
    small, config = task_of(settings).given_small, generator.config
    if mask is not None:
        require_mask_task(generator, "mask")
    with _open_images("input", path) as images:
        sizes = [image.sides if small else (height, width) for image in images.listed]
        if small and max(map(max, sizes)) > MAX_SIDE:
            raise UsageError(f"input={one_line(path, 100)}: sides of more than {MAX_SIDE:,} pixels are not enlarged")
        painted = None if mask is None else _read_mask(mask, images.listed, (height, width), config)
        decoded = images.decode(sizes, channels, config)
    given = []
    for number, (image, pixels) in enumerate(zip(images.listed, decoded, strict=True)):
        condition = condition_of_input(settings, pixels, painted, generator_for(number, "task"))
        given.append(GivenImage(Path(image.file.name).stem, condition, None, image.sha256))
    return given


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
        GivenImage(name, shown.condition.rows(slice(row, row + 1)), shown.truth[row])
        for row, name in enumerate(names[: len(shown.truth)])
    ]


@contextlib.contextmanager
def _open_images(key: str, path: str) -> Iterator[_OpenImages]:
    """Yields the images at `path`, the value of the option `key`, in their order."""
    listed = []
    with reworded(_with_own_key, key), open_images(path, follow_links=True) as reader:
        files = reader.read_layout(LabelOptions("none", None, None, None, VERSION), "train").files
        if len(files) > MAX_INPUTS:
            raise UsageError(f"{key}={one_line(path, 100)}: {count_noun(len(files), 'image')}, at most {MAX_INPUTS:,}")
        for file in files:
            try:
                content = reader.read_image(file)
                sides = read_header(content).sides
            except BadImageError as error:
                raise UsageError(f"{key}={one_line(file.name, 100)}: {error}") from None
            digest = hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else ""
            listed.append(_Image(file, sides, digest))
        yield _OpenImages(reader, listed)


def _read_mask(path: str, images: list[_Image], sides: tuple[int, int], config: Config | None) -> Tensor:
    """Returns the mask `[1, 1, H, W]` of zeros and ones in the image at `path`. Raises UsageError if it is no mask."""
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
        (values,), (fitted,) = found.decode([mask.sides], 1, None, "black"), found.decode([sides], 1, config, "black")
    values = values.add(1).div(2)
    unclear = ((values > GREY) & (values < 1 - GREY)).float().mean().item()
    if unclear > GREY:
        raise UsageError(f"{typed}: is no mask, {unclear:.0%} of its pixels are grey; white is painted, black is kept")
    fitted = (fitted > 0).float()
    if not fitted.any():
        raise UsageError(f"{typed}: is black everywhere, so that nothing is painted; white is painted, black is kept")
    return fitted


def _with_own_key(text: str, key: str) -> str:
    """Returns the text with the option `key`, which may be one image too, in place of `dataset.path`."""
    return text.replace("dataset.path", key).replace("expected a folder,", "expected an image, or a folder,")
