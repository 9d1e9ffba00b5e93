"""The samples that `gan-sample` makes of seeds, of given latents, or along a direction; and writing them."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gan_cli.config.commands import SampleConfig
from gan_cli.data.dataset import to_uint8
from gan_cli.data.labels import RequestedCondition, all_classes_requested, attributes_of, distribute_evenly
from gan_cli.device import without_tf32
from gan_cli.errors import UsageError, first_few, one_line
from gan_cli.images import grid
from gan_cli.models.generate import latents_from_seeds, run_in_batches
from gan_cli.models.styles import StyleGenerator, with_truncation
from gan_cli.sampling.given_latents import CONDITIONS, GivenLatents, Mapping, W, Z, network_for, origin_arrays
from gan_cli.sampling.load_generator import LoadedGenerator, require_finite
from gan_cli.sampling.requested_samples import distinct_names, file_name_part
from gan_cli.tasks.condition import Condition

Part = slice


class PlannedSamples(NamedTuple):
    """Samples that are made in parts: `latents` and `labels` return those of a part, z `[N, dim]` or w `[N, L, D]`."""

    total: int
    latents: Callable[[Part], Tensor]
    labels: Callable[[Part], Tensor | None]
    name: Callable[[int], str]  # of a sample's file, without the suffix
    rows: Sequence[int] = ()  # the number of samples in each row of a grid; as square as possible unless given
    square: bool = True  # of fewer than two rows
    truncation: float | None = None  # of the styles of latents z
    soft: bool = False  # whether labels are other than zeros and ones
    requested: Sequence[RequestedCondition] = ()  # the class of each sample; none if a file has them, or there are none

    def parts(self, batch_size: int) -> list[Part]:
        return [slice(start, min(start + batch_size, self.total)) for start in range(0, self.total, batch_size)]

    def samples(self, generator: LoadedGenerator, batch_size: int) -> Iterator[Tensor]:
        """Yields batches of samples, uint8 images or float32 points. CheckpointError if a value is not finite."""
        for part in self.parts(batch_size):
            latents, labels = self.latents(part), self.labels(part)
            condition = None if labels is None else Condition(labels)
            network = network_for(generator.network, latents, self.truncation)
            for samples in run_in_batches(network, latents, condition, batch_size):
                yield to_uint8(require_finite(generator, samples))

    def styles(self, generator: LoadedGenerator, batch_size: int) -> Iterator[Tensor]:
        """Yields batches of the styles w `[N, L, D]`. The generator is a StyleGenerator."""
        assert isinstance(generator.network, StyleGenerator)
        mapping = Mapping(generator.network, self.truncation)
        for part in self.parts(batch_size):
            latents, labels = self.latents(part), self.labels(part)
            if latents.ndim == 3:
                yield latents
                continue
            condition = None if labels is None else Condition(labels)
            with without_tf32(generator.network.mean_style.device):
                styles = list(run_in_batches(mapping, latents, condition, batch_size))
            yield from styles


def plan_seeds(
    config: SampleConfig,
    generator: LoadedGenerator,
    requested: Sequence[RequestedCondition],
    seeds: Sequence[int],
) -> PlannedSamples:
    """Plans a sample of each seed. `requested` has one class for each, or is empty."""

    def labels(part: Part) -> Tensor | None:
        return generator.encode(requested[part], seeds[part]) if requested else None

    def name(number: int) -> str:
        return f"seed_{seeds[number]:06d}" + (f"_{file_name_part(requested[number].name)}" if requested else "")

    def latents(part: Part) -> Tensor:
        return latents_from_seeds(seeds[part], generator.latent, of_latents)

    network, of_latents = with_truncation(generator.network, config.truncation)
    of_styles = config.truncation if network is not generator.network else None
    in_rows = list(Counter(requested).values())
    return PlannedSamples(len(seeds), latents, labels, name, in_rows, truncation=of_styles, requested=requested)


def plan_latents(
    generator: LoadedGenerator, given: GivenLatents, rows: Sequence[RequestedCondition], *, named: bool
) -> PlannedSamples:
    """Plans a sample of each of the given latents, of the class of `classes_of_latents`.

    A part has the bits that the seeds gave, since it is as large.
    """
    requested, count = classes_of_latents(generator, given, rows, named=named), len(given.values)
    labels = generator.encode(requested, range(count)) if requested else given.labels

    def part_of_labels(part: Part) -> Tensor | None:
        return None if labels is None else labels[part]

    in_rows = [] if labels is None or len(attributes_of(generator.classes)) > 1 else _runs(labels)
    soft = labels is not None and bool((labels != labels.round()).any())
    return PlannedSamples(
        count, lambda part: given.values[part], part_of_labels, lambda n: f"latent_{n:06d}", in_rows, soft=soft,
        requested=requested,
    )  # fmt: skip


def classes_of_latents(
    generator: LoadedGenerator, given: GivenLatents, rows: Sequence[RequestedCondition], *, named: bool
) -> list[RequestedCondition]:
    """Returns the class of each of the given latents; none if they have some, or the generator takes none.

    They are `rows`, evenly, if the user has named these. Else they are all classes, evenly, for every format alike, and
    this is printed. Raises UsageError if classes are named for styles.
    """
    if given.are_styles:
        if named:
            raise UsageError("latents: styles w have their class in them, leave label and label_index out")
        return []
    if named or not generator.classes or given.labels is not None:
        return distribute_evenly(rows, len(given.values)) if named else []
    chosen = distribute_evenly(all_classes_requested(generator.classes), len(given.values))
    names = first_few([row.name for row in dict.fromkeys(chosen)], 6)
    file = one_line(given.path, 60)
    print(f"classes: {file} has no {CONDITIONS}, taken are {names}, evenly; label=NAME takes another", flush=True)
    return chosen


def _runs(labels: Tensor) -> list[int]:
    """Returns the lengths of the runs of equal labels, if no labels have two runs; else nothing."""
    _, lengths = torch.unique_consecutive(labels, dim=0, return_counts=True)
    return lengths.tolist() if len(lengths) == len(torch.unique(labels, dim=0)) else []


def write_samples(config: SampleConfig, generator: LoadedGenerator, planned: PlannedSamples, target: Path) -> None:
    """Writes the samples to `target` as the format says."""
    batches = planned.samples(generator, config.batch_size)
    if config.format == "images":
        names = distinct_names([f"{planned.name(number)}.png" for number in range(planned.total)])
        grid.save_images(batches, names, target)
    elif config.format == "npz":
        _write_npz(config, generator, planned, batches, target)
    else:
        drawn = torch.cat(list(batches))
        grid.save_png(_draw(generator, planned, drawn), target)


def _draw(generator: LoadedGenerator, planned: PlannedSamples, drawn: Tensor) -> Image.Image:
    if drawn.ndim == 4 and not planned.square:
        return grid.draw_grid(drawn, planned.rows, square=False)
    if len(drawn) == 1 and drawn.ndim == 4:  # one image keeps its size and gets no border
        return grid.draw_image(drawn[0])
    return grid.draw_grid_or_scatter(drawn, generator.modes, planned.rows)


def _write_npz(
    config: SampleConfig, generator: LoadedGenerator, planned: PlannedSamples, batches: Iterator[Tensor], target: Path
) -> None:
    """Writes samples, conditions, latents z unless styles are given, and styles w of a generator that has them.

    Truncated styles are not those of the latents, which are left out then.
    """
    parts = planned.parts(config.batch_size)
    samples = "images" if len(generator.sample_shape) == 3 else "points"
    arrays: dict[str, Iterable[np.ndarray]] = {samples: map(_channels_last, batches)}
    if planned.labels(parts[0]) is not None:
        arrays[CONDITIONS] = (_labels_array(planned, part) for part in parts)
    if planned.latents(slice(0, 1)).ndim == 2 and generator.latent.dim and planned.truncation is None:
        arrays[Z] = (planned.latents(part).numpy() for part in parts)
    if isinstance(generator.network, StyleGenerator):
        arrays[W] = (styles.numpy() for styles in planned.styles(generator, config.batch_size))
    about = origin_arrays(generator) if arrays.keys() & {Z, W} else {}
    _write_arrays(arrays, planned.total, about, target)


def _labels_array(planned: PlannedSamples, part: Part) -> np.ndarray:
    """Returns the labels of a part, uint8, or float32 if a user has given others than zeros and ones."""
    labels = planned.labels(part)
    assert labels is not None
    return labels.numpy() if planned.soft else labels.to(torch.uint8).numpy()


def _channels_last(samples: Tensor) -> np.ndarray:
    """Returns images `[N, C, H, W]` as `[N, H, W, C]`, and points unchanged."""
    return (samples.permute(0, 2, 3, 1) if samples.ndim == 4 else samples).numpy()


def _write_arrays(
    arrays: dict[str, Iterable[np.ndarray]], count: int, about: dict[str, np.ndarray], path: Path
) -> None:
    """Writes arrays of `count` rows each to an npz file, part by part, so that no complete array is in memory.

    `about` are small arrays beside them. They are not compressed: compressing a sample takes longer than generating it
    with a small network.
    """
    with zipfile.ZipFile(path, "w", allowZip64=True) as archive:
        for name, parts in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                for number, part in enumerate(parts):
                    if number == 0:
                        header = {"descr": part.dtype.str, "fortran_order": False, "shape": (count, *part.shape[1:])}
                        np.lib.format.write_array_header_1_0(member, header)
                    member.write(np.ascontiguousarray(part).data)
        for name, array in about.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
