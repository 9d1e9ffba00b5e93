"""Finds the source images among the files that `input=` names, for a generator that was trained on pairs of files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gan_cli.config.options.datasets import Folder
from gan_cli.config.train_config import Config
from gan_cli.errors import UsageError, count_noun
from gan_cli.image_files.listing import ListedFile
from gan_cli.image_labels.attributes import NO_TABLE, LabelOptions
from gan_cli.image_labels.find_pairs import (
    AUTO,
    NO_SUB_FOLDERS,
    SIDE_BY_SIDE,
    PairOptions,
    Pairs,
    find_pairs,
    halves_of,
    why_no_pairs,
)
from gan_cli.image_labels.image_paths import ImageReader

AS_PLAIN = LabelOptions(NO_TABLE)


class InputFiles(NamedTuple):
    """The files of inputs, and of their true images if known; which half of each is used; and a line about that."""

    files: Sequence[ListedFile]
    true_files: Sequence[ListedFile] = ()
    halves: tuple[str, str] = ("", "")  # of the inputs and of the true images
    line: str = ""


def find_input_files(reader: ImageReader, config: Config | None) -> InputFiles:
    """Returns the images of the reader as inputs; of pairs in sub-folders, as the run had them, the source images."""
    plain = InputFiles(reader.read_layout(AS_PLAIN, "train").files)
    options = _options_of(config)
    if options is None or options.kind != AUTO:
        return plain
    found = _find_pairs(reader, options)
    if found is not None:
        sources, samples = found.names
        line = f"input: {count_noun(len(found.sources), 'pair')}, the images of {sources} are given, those of {samples}"
        line = "; ".join(filter(None, (f"{line} are the true ones", found.describe_alone())))
        return InputFiles(found.sources, found.layout.files, line=line)
    reason = why_no_pairs(reader, AS_PLAIN, options)
    return plain if reason in ("", NO_SUB_FOLDERS) else plain._replace(line=f"input: taken as plain images: {reason}")


def with_halves(found: InputFiles, sides: Sequence[tuple[int, int]], config: Config | None) -> InputFiles:
    """Returns the inputs with the half of each file that is given, if the run had pairs side by side, as these are.

    A file holds two images if its half has the proportions of the training images. `sides` are the (height, width) of
    each file. Raises UsageError if only some of the files hold two.
    """
    options = _options_of(config)
    if options is None or options.kind != SIDE_BY_SIDE or config is None:
        return found
    double = sum(_is_double(each, config.sample_shape[1:]) for each in sides)
    if double == 0:
        return found
    if double < len(sides):
        raise UsageError(
            f"input: {double:,} of {count_noun(len(sides), 'image')} are source and target side by side, as in"
            " training, the others are not: give these in a command of their own"
        )
    given, true = halves_of(options)
    line = f"input: {count_noun(len(sides), 'file')} side by side, the {given} half is given, the {true} half is true"
    return found._replace(true_files=found.files, halves=(given, true), line=line)


def _options_of(config: Config | None) -> PairOptions | None:
    """Returns how the run's pairs lay in files; None for a run that had none."""
    if config is None or not isinstance(config.dataset, Folder) or getattr(config.task, "source", None) != "data":
        return None
    return PairOptions(config.dataset.pairs, config.dataset.direction)


def _find_pairs(reader: ImageReader, options: PairOptions) -> Pairs | None:
    """Returns the pairs of the test split, or of the images without splits."""
    try:
        return find_pairs(reader, AS_PLAIN, "test", options)
    except UsageError:
        return find_pairs(reader, AS_PLAIN, "train", options)


def _is_double(sides: tuple[int, int], shape: tuple[int, ...]) -> bool:
    """Returns whether half of an image has the proportions of `shape`, (height, width), but for a pixel."""
    (height, width), half = sides, sides[1] // 2
    return width % 2 == 0 and abs(half * shape[0] - shape[1] * height) <= max(half + height, sum(shape))
