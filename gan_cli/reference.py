"""The real side of a comparison: which real samples, what an extractor makes of them, kept for the next time.

Fakes are compared with real samples that were held out, where the data have a test split; the floor is what as many
training samples score against the same. Data without one are cut into two halves, always alike: fakes are compared with
the one, and the other makes the floor.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gan_cli.data import Modes, build_dataset, known_modes
from gan_cli.data.dataset import Dataset
from gan_cli.data.download import keep
from gan_cli.data.stacked import DIGITS, unstacked
from gan_cli.errors import GanCliError, UsageError, counted, one_line
from gan_cli.labels import Attribute, attributes_of
from gan_cli.metrics import extractors
from gan_cli.metrics.classifier import CLASSIFIERS, cached_classifier, describe_training
from gan_cli.metrics.distances import Gaussian, fitted
from gan_cli.metrics.extractors import Extractor, Seen
from gan_cli.metrics.neighbours import radii
from gan_cli.randomness import generator_for
from gan_cli.sealed import SealError, seal, unseal

VERSION = 1  # of what is kept: another one is made anew
REFERENCES = Path("~/.cache/gan-cli/reference")
MOST_BYTES = 1 << 30
FEWEST = 10
QUADRATIC = 10_000  # samples of the figures whose cost grows with the square of their number
HELD_OUT = {"train": "test", "valid": "test", "extra": "test", "unlabeled": "test"}

Say = Callable[[str], None]
Told = Callable[[str, int, int], None]  # of what, so many of so many are done


def untold(what: str, done: int, count: int) -> None:
    pass


def unsaid(line: str) -> None:
    pass


# --- which real samples ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Real:
    """The data of a run: what it was trained on, that without `dataset.limit`, and a test split if there is one.

    `modes` is known of points. `stacked`: each channel of a picture is a digit. `why` says why nothing is held out.
    """

    train: Dataset
    whole: Dataset
    held_out: Dataset | None = None
    why: str = ""
    modes: Modes | None = None
    stacked: bool = False

    @property
    def most(self) -> int:
        """How many real samples there are on each side."""
        return len(self.whole) // 2 if self.held_out is None else min(len(self.whole), len(self.held_out))

    def sides(self, n: int) -> tuple[Tensor, Tensor]:
        """`n` samples to compare with, and `n` others for the floor."""
        order = torch.randperm(len(self.whole), generator=generator_for(0, "reference"))
        if self.held_out is None:
            half = len(self.whole) // 2
            return self.whole.samples[order[:n]], self.whole.samples[order[half : half + n]]
        chosen = torch.randperm(len(self.held_out), generator=generator_for(0, "held out"))[:n]
        return self.held_out.samples[chosen], self.whole.samples[order[:n]]

    def unseen(self, count: int) -> tuple[Tensor, Tensor | None]:
        """So many pictures that G has not seen; or of those it has, with their places in `train`."""
        if self.held_out is not None:
            return self.sides(count)[0], None
        own = torch.randperm(len(self.train), generator=generator_for(0, "own"))[:count]
        return self.train.samples[own], own

    def describe(self, n: int) -> str:
        noun = "images" if self.train.samples.ndim > 2 else "points"
        if self.held_out is None:
            return f"{n:,} {noun} of the data; floor: {n:,} others ({self.why})"
        return f"{n:,} of {len(self.held_out):,} held-out {noun}; floor: {n:,} training {noun} against these"


def find_real(section: Any, image_size: int | tuple[int, ...] | None, dataset: Dataset) -> Real:
    """The real samples beside `dataset`, which was built from this section of a run's config."""
    whole = dataset
    if section.limit is not None:
        whole = build_dataset(dataclasses.replace(section, limit=None), image_size)
    split, held_out, why = HELD_OUT.get(getattr(section, "split", "")), None, "they have no test split"
    if split is not None and dataset.complete:  # else the files are not to be had, which has taken long enough
        try:
            held_out = build_dataset(dataclasses.replace(section, limit=None, split=split), image_size)
        except GanCliError as error:
            why = f"no test split: {one_line(error, 120)}"
    if held_out is not None and (held_out.samples.shape[1:] != whole.samples.shape[1:] or len(held_out) < FEWEST):
        held_out, why = None, "their test split is too small or of another shape"
    stacked = section.name == "stacked_mnist" and section.classes is None
    return Real(dataset, whole, held_out, why, known_modes(section), stacked)


# --- what sees them ----------------------------------------------------------------------------------------------


def build_extractor(name: str, real: Real, say: Say = unsaid) -> Extractor:
    """The extractor of this name for these data; `auto` is the classifier where there are labels, else `random`.

    UsageError for one that these data cannot have.
    """
    labelled = real.whole.labels is not None and len(real.whole.classes) > 1
    if real.whole.samples.ndim == 2:
        if name != "auto":
            raise UsageError(f"extractor={name}: points are compared by their coordinates, leave it out")
        return extractors.points()
    if name == "classifier" and not labelled:
        raise UsageError("extractor=classifier: these data have no classes, use random, pixels or inception")
    if name == "pixels":
        return extractors.pixels()
    if name == "inception":
        from gan_cli.metrics.inception import inception

        return inception()
    if name == "random" or not labelled:
        return extractors.random(real.whole.samples.shape[1])
    return _classifier(real, say)


def _classifier(real: Real, say: Say) -> Extractor:
    whole = real.whole
    assert whole.labels is not None
    images, labels, attributes = whole.samples, whole.labels, attributes_of(whole.classes)
    if real.stacked:
        images, labels = unstacked(whole)
        attributes = [Attribute("", 0, DIGITS)]

    def told(seconds: float) -> None:
        say(describe_training(seconds))

    found = cached_classifier(whole.fingerprint, images, labels, attributes, CLASSIFIERS.expanduser(), told)
    say(f"classifier: right about {found.accuracy:.1%} of the tenth of the data that it has not seen")
    return extractors.classifying(found, one_of=len(attributes) == 1, stacked=real.stacked)


# --- both together -----------------------------------------------------------------------------------------------


@dataclass
class Reference:
    """`n` real samples as `extractor` sees them, and `n` others whose figures are the floor.

    `floors` are the figures of those, by name, as far as they were worked out.
    """

    extractor: Extractor
    n: int
    data: Real
    real: Seen
    other: Seen
    key: str
    floors: dict[str, float] = field(default_factory=dict)

    @cached_property
    def gaussian(self) -> Gaussian:
        return fitted(self.real.features)

    @cached_property
    def radii(self) -> Tensor:
        return radii(self.real.features[:QUADRATIC].float())

    def keep(self) -> None:
        """Leaves it for other processes; a folder that cannot be written is no error."""
        with contextlib.suppress(OSError):
            _save(self, REFERENCES.expanduser() / f"{self.key}.safetensors")


def build_reference(real: Real, extractor: Extractor, n: int, told: Told = untold) -> Reference:
    """Of `n` samples a side, or as many as there are; from the cache if it has been made of these data before.

    A file that is damaged or of something else is replaced. UsageError for fewer than FEWEST samples.
    """
    n = min(n, real.most)
    if n < FEWEST:
        have = counted(len(real.whole), "sample")
        raise UsageError(f"these data have {have}, too few to compare with: at least {2 * FEWEST}")
    prints = [real.whole.fingerprint, "" if real.held_out is None else real.held_out.fingerprint]
    shape = tuple(real.whole.samples.shape[1:])
    key = hashlib.sha256(repr((VERSION, *prints, extractor.key, shape, n)).encode()).hexdigest()
    found = _load(REFERENCES.expanduser() / f"{key}.safetensors", key, n)
    if found is not None:
        return Reference(extractor, n, real, *found[:2], key, found[2])
    compared, others = real.sides(n)
    seen = extractor.see(compared, lambda done, count: told("real samples", done, 2 * count))
    other = extractor.see(others, lambda done, count: told("real samples", count + done, 2 * count))
    reference = Reference(extractor, n, real, seen, other, key)
    reference.keep()
    return reference


def _save(reference: Reference, path: Path) -> None:
    tensors = {
        f"{side}.{name}": value.contiguous()
        for side, seen in (("real", reference.real), ("other", reference.other))
        for name, value in seen._asdict().items()
        if value is not None
    }
    content = seal(tensors, {"reference": reference.key, "floors": reference.floors})
    keep(content, path)


def _load(path: Path, key: str, n: int) -> tuple[Seen, Seen, dict[str, float]] | None:
    """Both sides and the floors, if the file is what it should be."""
    try:
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            return None
        tensors, metadata, _ = unseal(path.read_bytes())
    except (OSError, SealError):
        return None
    floors = metadata.get("floors")
    if metadata.get("reference") != key or not isinstance(floors, dict):
        return None
    if not all(isinstance(value, float) and math.isfinite(value) for value in floors.values()):
        return None
    sides = [Seen(tensors.get(f"{side}.features"), tensors.get(f"{side}.probabilities")) for side in ("real", "other")]  # type: ignore[arg-type]
    for seen in sides:
        if seen.features is None or not all(_sound(value, n) for value in seen if value is not None):
            return None
    return sides[0], sides[1], floors


def _sound(value: Tensor, n: int) -> bool:
    return value.ndim == 2 and len(value) == n and value.dtype == torch.float32 and bool(value.isfinite().all())
