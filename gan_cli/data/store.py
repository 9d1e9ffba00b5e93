"""Where decoded pictures are put: in a file that later runs map, else in memory."""

from __future__ import annotations

import dataclasses
import math
import os

import numpy as np
import torch
from torch import Tensor

from gan_cli.data.dataset import Dataset
from gan_cli.data.mapped import Part, Place, finish, load, mapped_file, open_part, remove_others, tensor_in, write
from gan_cli.errors import one_line

MOST_BYTES = 16_000_000_000  # of pixels in memory
LEAST_BYTES = 4 << 20  # fewer are decoded in a few seconds, and would only litter the disk


def find(place: Place) -> Dataset | None:
    """The data set that is kept at `place`, with a note that it was; None if there is none, or a damaged one."""
    dataset = load(place)
    if dataset is None:
        return None
    return dataclasses.replace(dataset, notes=(_told(f"{_size_of(dataset)} of pictures from", place),))


class Store:
    """Takes the pictures of one data set, some at a time: into a file at `place`, else into memory.

    What keeps them from the disk is no error: those that came so far are taken over into memory, and it is said why.
    To be used in a `with`, which leaves no half file behind. MemoryError says what more than memory holds exceeds.
    """

    def __init__(self, place: Place | None, count: int, shape: tuple[int, ...]) -> None:
        self._room, self._shape, self._each, self._count = count, shape, math.prod(shape), 0
        self._place = place if count * self._each >= LEAST_BYTES else None
        self._warning: str | None = None
        self._part: Part | None = None
        self._memory: Tensor | None = None
        if self._place is None:
            self._hold_in_memory()
            return
        try:
            self._part = open_part(self._place.folder, count * self._each)
        except OSError as error:
            self._give_up(error)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *error: object) -> None:
        self._drop_part()

    def add(self, pictures: np.ndarray) -> None:
        """uint8 `[n, C, H, W]`, the next ones."""
        if self._part is not None:
            try:
                write(self._part.fd, np.ascontiguousarray(pictures).data.cast("B"), self._count * self._each)
            except OSError as error:
                self._give_up(error)
        if self._memory is not None:
            self._memory[self._count : self._count + len(pictures)] = torch.from_numpy(pictures)
        self._count += len(pictures)

    def samples(self) -> Tensor:
        """All that came, uint8 `[N, C, H, W]`, at least one; those of a file cannot be written to."""
        if self._part is not None:
            try:
                return tensor_in(mapped_file(self._part.fd), torch.uint8, 0, (self._count, *self._shape))
            except OSError as error:
                self._give_up(error)
        assert self._memory is not None
        return self._memory[: self._count]

    def keep(self, dataset: Dataset) -> Dataset:
        """The data set made of `samples()`, with what is to be said of it; its file is left for others to find."""
        said = self._warning
        if self._part is not None and self._place is not None:
            try:
                finish(self._part, self._place.path, dataset)
                said = _told(f"{_size_of(dataset)} of pictures built in", self._place)
                remove_others(self._place)
            except OSError as error:  # the mapping stays good, though nobody else will find it
                said = _unkept(self._place, error, "they will be decoded again next time")
        notes = dataset.notes if said is None else (*dataset.notes, said)
        return dataclasses.replace(dataset, notes=notes, digest=dataset.fingerprint if self._part else dataset.digest)

    def _give_up(self, error: OSError) -> None:
        """From now on in memory, with what is in the file."""
        assert self._place is not None
        self._warning = _unkept(self._place, error, "they are held in memory")
        self._hold_in_memory(f", and dataset.cache cannot be written ({error.strerror})")
        if self._part is not None and self._memory is not None and self._count:
            so_far = (self._count, *self._shape)
            self._memory[: self._count] = tensor_in(mapped_file(self._part.fd), torch.uint8, 0, so_far)
        self._drop_part()

    def _hold_in_memory(self, why: str = "") -> None:
        if self._room * self._each > MOST_BYTES:
            raise MemoryError(f"the {MOST_BYTES / 1e9:.0f} GB that are held in memory{why}")
        try:
            self._memory = torch.empty((self._room, *self._shape), dtype=torch.uint8)
        except RuntimeError:
            raise MemoryError(f"there is memory for{why}") from None

    def _drop_part(self) -> None:
        if self._part is not None:
            os.close(self._part.fd)
            self._part.path.unlink(missing_ok=True)  # gone if it was kept
            self._part = None


# --- what is said ------------------------------------------------------------------------------------------------


def _size_of(dataset: Dataset) -> str:
    size = dataset.samples.numel()
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _told(what: str, place: Place) -> str:
    return f"cache: {what} {one_line(place.path)}"


def _unkept(place: Place, error: OSError, instead: str) -> str:
    why = error.strerror or str(error)
    return f"warning: dataset.cache={one_line(place.folder)}: pictures cannot be kept there ({why}), {instead}"
