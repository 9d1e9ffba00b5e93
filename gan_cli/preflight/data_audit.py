"""The audit of a dry run: describes the data, and finds samples that probably should not be among them.

Image files are not decoded again: their sizes and modes are in their headers, the rest is counted on decoded samples.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gan_cli.config.train_config import Config
from gan_cli.data.dataset import Dataset
from gan_cli.data.decoding.decode import Header, read_header
from gan_cli.data.selection import Selection
from gan_cli.data.streamed_images import StreamedImages
from gan_cli.errors import count_noun, first_few, one_line
from gan_cli.evaluation.metrics.duplicates import image_digests
from gan_cli.image_files.listing import BadImageError, ImageSource, ListedFile
from gan_cli.image_labels.attributes import LabelOptions
from gan_cli.image_labels.find_pairs import PairOptions, Pairs, find_pairs
from gan_cli.image_labels.image_paths import open_images

MOST_FILES, MOST_SECONDS = 2000, 5.0  # files whose header is read, and the time after which no more are read
MOST_BYTES = 1 << 28  # of decoded images that are compared
MOST_STREAMED = 1 << 23  # the same, of images that are decoded for it
PART_BYTES = 1 << 24  # of images that are converted to float at once
NEARLY_CONSTANT = 2.0  # standard deviation, of values from 0 to 255, in each channel
FEW = 10  # samples of a class


class Row(NamedTuple):
    """A line of the audit. `alarming` says that it is probably a mistake in the data."""

    name: str
    text: str
    alarming: bool = False


def audit(config: Config, dataset: Dataset) -> list[Row]:
    """Returns the rows of the audit: those that these data have. Reads only a sample of very large data sets."""
    dataset.require_whole()
    shape = " x ".join(map(str, dataset.samples.shape[1:]))
    noun = "points" if dataset.samples.ndim == 2 else "images"
    rows = [Row(noun, f"{len(dataset):,} of {shape}{' coordinates' if noun == 'points' else ''}")]
    files: list[ListedFile] = []
    if config.dataset.name == "folder":
        with open_images(config.dataset.path, follow_links=config.dataset.follow_links) as reader:
            listed, pairs = _used_files(config.dataset, reader)
            files = _usable(listed, dataset)
            rows += [] if pairs is None else [_describe_pairs(pairs, dataset)]
            usable = len(files if pairs is not None and not pairs.side_by_side else dataset)
            rows += [_describe_unreadable(len(listed), usable, dataset), *_describe_files(files, dataset, reader)]
    rows += _describe_classes(dataset)
    if noun == "points":
        low, high = dataset.samples.aminmax()
        return [*rows, Row("coordinates", f"from {low:.3g} to {high:.3g}")]
    return [*rows, *_describe_pixels(dataset.samples, files if len(files) == len(dataset) else [])]


# --- files -------------------------------------------------------------------------------------------------------


def _used_files(section: Any, reader: Any) -> tuple[list[ListedFile], Pairs | None]:
    """Returns the files that the run reads, in the order of the samples, with those that cannot be used; and the pairs.

    Of pairs in sub-folders, the sources are first.
    """
    keys = ("labels", "labels_file_column", "labels_columns", "labels_bins", "labels_version")
    how = LabelOptions(*(getattr(section, key) for key in keys))
    pairs = find_pairs(reader, how, section.split, PairOptions(section.pairs, section.direction))
    layout = reader.read_layout(how, section.split) if pairs is None else pairs.layout
    chosen = Selection(section.classes, section.limit).indices(layout.labels, layout.classes, len(layout.files))
    sides = [layout.files] if pairs is None or pairs.side_by_side else [pairs.sources, layout.files]
    return [side[index] for side in sides for index in chosen.tolist()], pairs


def _describe_pairs(pairs: Pairs, dataset: Dataset) -> Row:
    """Returns a row with the number of pairs, and of images without a partner."""
    named = "side by side" if pairs.side_by_side else f"of {pairs.names[0]} and {pairs.names[1]}"
    text = "; ".join(filter(None, [f"{len(dataset):,} {named}", pairs.describe_alone()]))
    return Row("pairs", text, alarming=bool(pairs.alone))


def _describe_unreadable(count: int, usable: int, dataset: Dataset) -> Row:
    """Returns a row about the files, of `count`, that were left out of the data set."""
    bad = count - usable
    if bad <= 0:
        return Row("unreadable", "none")
    named = first_few([one_line(each, 60) for each in dataset.changes.get("left_out", [])], 3)
    return Row("unreadable", f"{bad:,} of {count:,} left out: {named}", alarming=True)


def _describe_files(files: Sequence[ListedFile], dataset: Dataset, reader: ImageSource) -> list[Row]:
    """Returns rows about the sizes and the modes of usable files, and about how many images were enlarged."""
    headers = _read_headers(files, reader)
    if not headers:
        return []
    part = "" if len(headers) >= len(files) else f" (of {len(headers):,} files)"
    ordered = sorted((header.sides for header in headers), key=lambda sides: sides[0] * sides[1])
    smallest, median, largest = (
        f"{height:,} x {width:,}" for height, width in (ordered[0], ordered[len(ordered) // 2], ordered[-1])
    )
    sizes = f"all {smallest}" if ordered[0] == ordered[-1] else f"{smallest} to {largest}, median {median}"
    enlarged, target = dataset.changes.get("enlarged", 0), " x ".join(map(str, dataset.samples.shape[2:]))
    share = f"{enlarged:,} of {len(dataset):,}, smaller than {target}" if enlarged else "none"
    return [
        Row("sizes", f"{sizes}{part}"),
        Row("enlarged", share, alarming=2 * enlarged > len(dataset)),
        Row("modes", f"{_count_modes(headers)}{part}"),
    ]


def _read_headers(files: Sequence[ListedFile], reader: ImageSource) -> list[Header]:
    """Reads the headers of evenly spread files, at most MOST_FILES and for MOST_SECONDS. Leaves out unreadable ones."""
    found, started = [], time.monotonic()
    for file in files[:: -(-len(files) // MOST_FILES) or 1]:
        if time.monotonic() - started > MOST_SECONDS:
            break
        try:
            found.append(read_header(reader.read_image(file)))
        except (BadImageError, OSError):
            continue
    return found


def _count_modes(headers: Sequence[Header]) -> str:
    """Returns how many images are grey, colour and so on, and how many of them have opacity or more than 8 bits."""
    text = ", ".join(f"{count:,} {name}" for name, count in Counter(each.colours for each in headers).most_common())
    alpha, deep = sum(each.alpha for each in headers), sum(each.deep for each in headers)
    text += f"; {alpha:,} with transparency" if alpha else ""
    return text + (f"; {deep:,} of more than 8 bits" if deep else "")


def _usable(files: Sequence[ListedFile], dataset: Dataset) -> list[ListedFile]:
    """Returns the files without those that were left out, in the order of the samples."""
    usable, left_out = [], iter(dataset.changes.get("left_out", []))
    unusable = next(left_out, None)
    for file in files:
        if unusable is not None and unusable.startswith(f"{file.name} ("):
            unusable = next(left_out, None)
        else:
            usable.append(file)
    return usable


# --- samples -----------------------------------------------------------------------------------------------------


def _describe_classes(dataset: Dataset) -> list[Row]:
    """Returns a row with the smallest and the largest class, and with the number of those that have few samples."""
    if dataset.labels is None or not dataset.classes:
        return []
    counts = dataset.labels[dataset.labels >= 0].bincount(minlength=len(dataset.classes))
    smallest, largest = int(counts.argmin()), int(counts.argmax())
    few, unknown = int((counts < FEW).sum()), int((dataset.labels < 0).sum())
    ends = [f"{one_line(dataset.classes[number], 30)} {counts[number]:,}" for number in (smallest, largest)]
    text = f"{len(dataset.classes):,}, smallest {ends[0]}, largest {ends[1]}"
    if counts[smallest] == counts[largest]:
        text = f"{count_noun(len(counts), 'class', 'classes')} of {count_noun(int(counts[0]), 'sample')}"
    text += f"; {few:,} with fewer than {FEW} samples" if few else ""
    text += f"; {unknown:,} unknown labels" if unknown else ""
    return [Row("classes", text, few > 0)]


def _describe_pixels(samples: Tensor, files: Sequence[ListedFile]) -> list[Row]:
    """Returns rows about exact duplicates and nearly constant images. `files` are those of the samples, if known."""
    most = MOST_STREAMED if isinstance(samples, StreamedImages) else MOST_BYTES
    spread = max(1, -(-samples.nbytes // most))
    some, files = samples[::spread], files[::spread]
    if isinstance(some, StreamedImages):
        some = some.read()
    among = f"{len(some):,}" if spread == 1 else f"{len(some):,} examined"
    first: dict[bytes, int] = {}
    originals = [first.setdefault(digest, index) for index, digest in enumerate(image_digests(some, some.nbytes))]
    copies = [(index, original) for index, original in enumerate(originals) if index != original]
    constant = _nearly_constant(some).nonzero().flatten().tolist()
    names = {index: one_line(files[index].name, 40) for index in {*constant, *itertools.chain(*copies)} if files}
    pairs = [f"{names[index]} = {names[original]}" for index, original in copies if names]
    found = [
        ("duplicates", "copies of another", len(copies), pairs),
        ("nearly constant", "of one colour", len(constant), [names[index] for index in constant if names]),
    ]
    return [
        Row(name, f"{count:,} of {among} are {what}" + (f": {first_few(listed, 3)}" if listed else ""), True)
        if count
        else Row(name, f"none of {count_noun(len(some), 'image')}{' examined' if spread > 1 else ''}")
        for name, what, count, listed in found
    ]


def _nearly_constant(images: Tensor) -> Tensor:
    """Returns which images, uint8 `[N, C, H, W]`, vary little in each channel: bool `[N]`."""
    parts = images.split(max(1, PART_BYTES // max(1, images[0].nbytes)))
    deviations = [part.flatten(2).float().std(2, correction=0).amax(1) for part in parts]
    return torch.cat(deviations) < NEARLY_CONSTANT
