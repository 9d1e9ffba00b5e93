"""The index of shards: where each image lies, and its label. It is made once per shard and cached."""

from __future__ import annotations

import contextlib
import hashlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from gan_cli.data.selection import Selection
from gan_cli.data.shards.shard_files import ShardFiles
from gan_cli.data.shards.tar_index import CLS, TarContent, TarOptions, read_tar
from gan_cli.errors import UsageError, count_noun, did_you_mean, first_few, one_line
from gan_cli.image_labels.attributes import natural_key
from gan_cli.storage.checksummed_file import load_cached, save_cached
from gan_cli.storage.locks import one_at_a_time

VERSION = 2  # version of the cached files; a file of another version is not used
MOST_BYTES = 1 << 30  # a larger cached file is not read
SUFFIX = ".shard-index"
COLUMNS = ("offsets", "sizes", "labels", "names")  # of a cached file
FACTS = ("texts", "bad", "bad_count", "unlabelled", "fields")


class Shard(NamedTuple):
    """A shard as its index knows it."""

    sha256: str
    samples: int
    size: int  # in bytes


@dataclass(frozen=True)
class ShardIndex:
    """The usable samples of all shards, numbered from 0: 20 bytes each.

    `counts` `[shards]` are the numbers of samples. `offsets` int64 and `sizes` int32, both `[N]`, say where in its
    shard each image is. `labels` int64 `[N]` are class numbers, or None.
    """

    shards: tuple[Shard, ...]
    counts: Tensor
    offsets: Tensor
    sizes: Tensor
    labels: Tensor | None
    classes: tuple[str, ...]
    bad: tuple[str, ...] = ()  # the first samples that cannot be used
    bad_count: int = 0
    remarks: tuple[str, ...] = ()  # about samples that may be there twice

    def __len__(self) -> int:
        return len(self.offsets)

    def select(self, selection: Selection) -> ShardIndex:
        """Returns the index of the selected samples. Classes are numbered as `selection` names them."""
        rows = selection.indices(self.labels, self.classes, len(self))
        labels, classes = self.labels, self.classes
        if selection.classes is not None and labels is not None:
            wanted = [self.classes.index(name) for name in selection.classes]
            renumbered = torch.full((len(self.classes),), -1)
            renumbered[torch.tensor(wanted)] = torch.arange(len(wanted))
            labels, classes = renumbered[labels], selection.classes
        if len(rows) < len(self):
            of_shard = torch.repeat_interleave(torch.arange(len(self.counts)), self.counts)
            counts = of_shard[rows].bincount(minlength=len(self.counts))
            labels = None if labels is None else labels[rows]
            return replace(
                self, counts=counts, offsets=self.offsets[rows], sizes=self.sizes[rows], labels=labels, classes=classes
            )
        return replace(self, labels=labels, classes=classes)


def build_index(files: ShardFiles, options: TarOptions, on_bad: str = "error") -> ShardIndex:
    """Returns the index of all shards. Those without a cached index are read once from start to end.

    Raises UsageError if a shard is damaged, or if no sample, or only a part of them, has labels; StorageError if one
    cannot be read.
    """
    console = Console()
    columns = (TextColumn("reading shards"), MofNCompleteColumn(), BarColumn(bar_width=24), TimeRemainingColumn())
    contents: list[TarContent] = []
    sizes: list[int] = []
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=len(files.names))
        for number in range(len(files.names)):
            content, size = _content_of(files, number, options)
            contents.append(content)
            sizes.append(size)
            if on_bad != "skip":  # at the first shard, before all others are read
                _check_labelled([content], options)
            bar.advance(task)
    _check_labelled(contents, options)
    return _merged(files, contents, sizes, options)


def _content_of(files: ShardFiles, number: int, options: TarOptions) -> tuple[TarContent, int]:
    """Returns the content of a shard and its size in bytes, from the cached index if there is one."""
    state = files.state(number)
    key = hashlib.sha256(repr((VERSION, state, options)).encode()).hexdigest()
    path = None if files.cache is None else files.cache / f"{key[:32]}{SUFFIX}"
    if path is not None and (found := _load(path, key)) is not None:
        return found
    with contextlib.nullcontext() if path is None else one_at_a_time(path):
        if path is not None and (found := _load(path, key)) is not None:
            return found  # another process made it meanwhile
        local = files.open_path(number)
        try:
            content, size = read_tar(str(local), one_line(files.names[number], 200), options), local.stat().st_size
        except UsageError:
            files.discard_download(number)  # so that the next command gets it again
            raise
        if path is not None:
            _save(path, key, content, size)
    return content, size


def _check_labelled(contents: Sequence[TarContent], options: TarOptions) -> None:
    """Raises UsageError if no sample has the field `dataset.label`, as after a mistake in typing it."""
    if any(content.offsets or content.bad_count > content.unlabelled for content in contents):
        return
    fields = next((content.fields for content in contents if content.unlabelled), None)
    if fields is not None:
        label = options.label or CLS
        there = f"they have {first_few(fields, 20)}" if fields else "they have nothing but images"
        meant = did_you_mean(label, fields)
        raise UsageError(
            f"dataset.label={one_line(label, 60)}: the samples have no such class, {there}{meant};"
            " dataset.label=none trains without"
        )


def _save(path: Path, key: str, content: TarContent, size: int) -> None:
    tensors = {name: _tensor(getattr(content, name)) for name in COLUMNS}
    facts = {name: getattr(content, name) for name in FACTS}
    save_cached(tensors, {"index": key, "size": size, "shard": content.sha256, **facts}, path)


def _load(path: Path, key: str) -> tuple[TarContent, int] | None:
    """Returns the content in a cached index; None if the file is missing, damaged or of other settings."""
    tensors, facts = load_cached(path, MOST_BYTES) or ({}, {})
    if facts.get("index") != key or tensors.keys() != {*COLUMNS}:
        return None
    known: dict[str, Any] = {name: array("q", tensor.numpy().tobytes()) for name, tensor in tensors.items()}
    known |= {name: facts[name] for name in FACTS}
    return TarContent(**known, sha256=facts["shard"]), facts["size"]


def _merged(files: ShardFiles, contents: Sequence[TarContent], sizes: Sequence[int], options: TarOptions) -> ShardIndex:
    texts = sorted({text for content in contents for text in content.texts}, key=natural_key)
    numbers = {text: number for number, text in enumerate(texts)}
    labelled, parts = 0, []
    for content in contents:
        labels = _tensor(content.labels)
        labelled += int((labels >= 0).sum())
        known = torch.tensor([numbers[text] for text in content.texts] + [-1])  # the last one for the label -1
        parts.append(known[labels])
    counts = torch.tensor([len(content.offsets) for content in contents])
    total = int(counts.sum())
    if 0 < labelled < total:
        name = next(name for name, part in zip(files.names, parts, strict=True) if (part < 0).any())
        raise UsageError(
            f"dataset.path: {total - labelled:,} of {count_noun(total, 'sample')} lack a label .cls, the first in"
            f" {one_line(name, 200)}; dataset.label=none trains without, dataset.label=cls dataset.on_bad=skip"
            " leaves them out"
        )
    return ShardIndex(
        tuple(Shard(each.sha256, len(each.offsets), size) for each, size in zip(contents, sizes, strict=True)),
        counts,
        torch.cat([_tensor(content.offsets) for content in contents]),
        torch.cat([_tensor(content.sizes).int() for content in contents]),
        torch.cat(parts) if labelled else None,
        tuple(texts) if labelled else (),
        tuple(
            f"{one_line(name, 80)}: {bad}" for name, each in zip(files.names, contents, strict=True) for bad in each.bad
        ),
        sum(content.bad_count for content in contents),
        _remarks(files, contents, counts),
    )


def _tensor(numbers: array[int]) -> Tensor:
    """Returns the numbers as int64 `[n]`, in memory of their own."""
    return torch.frombuffer(numbers, dtype=torch.int64).clone() if numbers else torch.empty(0, dtype=torch.int64)


def _remarks(files: ShardFiles, contents: Sequence[TarContent], counts: Tensor) -> tuple[str, ...]:
    """Returns what suggests that samples are there twice: shards of the same content, names in several shards.

    The format does not forbid either, so they are read. Within a shard, a name that comes again is a fault.
    """
    first: dict[str, str] = {}
    shown = [one_line(name, 120) for name in files.names]
    for name, content in zip(shown, contents, strict=True):
        if (other := first.setdefault(content.sha256, name)) != name and content.offsets:
            return (f"{name} has the content of {other}, so its samples are drawn twice",)
    names = torch.cat([_tensor(content.names) for content in contents])
    _, numbers, times = names.unique(return_inverse=True, return_counts=True)
    repeated = (times[numbers] > 1).nonzero().flatten()
    if not len(repeated):
        return ()
    ends = counts.cumsum(0)
    rows = (numbers == numbers[repeated[0]]).nonzero().flatten()[:2]
    one, other = (shown[shard] for shard in torch.searchsorted(ends, rows, right=True).tolist())
    return (
        f"{count_noun(len(repeated), 'sample')} have the name of one in another shard, the first in {one} and {other}:"
        " make sure that they differ",
    )


def check_bad(index: ShardIndex, on_bad: str) -> None:
    """Raises UsageError if samples cannot be used, unless `on_bad` is `skip` and others can."""
    if not index.bad_count and len(index):
        return
    total = len(index) + index.bad_count
    if not total:
        raise UsageError("dataset.path: the shards hold no sample: expected images in each .tar, as 0001.jpg")
    if index.bad_count and (on_bad != "skip" or not len(index)):
        many = f"{index.bad_count:,} of {count_noun(total, 'sample')}"
        remedy = "write the shards again without them" + (", or set dataset.on_bad=skip" if on_bad == "error" else "")
        raise UsageError(f"dataset.path: {many} cannot be used: {first_few(index.bad, 3)}; {remedy}")
