"""The real side of a comparison: what an extractor makes of real samples, kept for the next time."""

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

from gan_cli.data.datasets.stacked import DIGITS, unstacked
from gan_cli.data.labels import Attribute, attributes_of
from gan_cli.errors import UsageError, counted
from gan_cli.evaluation.metrics import extractors
from gan_cli.evaluation.metrics.chance import trust
from gan_cli.evaluation.metrics.classifier import CLASSIFIERS, cached_classifier, describe_training
from gan_cli.evaluation.metrics.distances import Gaussian, fitted
from gan_cli.evaluation.metrics.extractors import Extractor, Seen
from gan_cli.evaluation.metrics.neighbours import radii
from gan_cli.evaluation.real_data import FEWEST, USUAL, Protocol, Real
from gan_cli.storage.checksummed_file import SealError, seal, unseal
from gan_cli.storage.download import keep

VERSION = 1  # of what is kept: another one is made anew
REFERENCES = Path("~/.cache/gan-cli/reference")
MOST_BYTES = 1 << 30
UNSEEN = {2: "the first of 2 channels alone", 4: "red, green and blue alone, not the opacity"}  # by Inception
QUADRATIC = 10_000  # samples of the figures whose cost grows with the square of their number

Say = Callable[[str], None]
Told = Callable[[str, int, int], None]  # of what, so many of so many are done


def untold(what: str, done: int, count: int) -> None:
    pass


def unsaid(line: str) -> None:
    pass


# --- what sees them ----------------------------------------------------------------------------------------------


def build_extractor(name: str, real: Real, say: Say = unsaid) -> Extractor:
    """The extractor of this name for these data; `auto` is the classifier where there are labels, else `random`.

    It is `random` also in place of a classifier that is no better than guessing. UsageError for one that these data
    cannot have.
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
        from gan_cli.evaluation.metrics.inception import inception

        if real.whole.samples.shape[1] in UNSEEN:
            say(f"inception: sees {UNSEEN[real.whole.samples.shape[1]]}")
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
    known = trust(found.accuracy, labels, attributes)
    say(known.said + (": pictures are compared in random features" if known.at_chance else ""))
    if known.at_chance:
        return dataclasses.replace(extractors.random(whole.samples.shape[1]), why=known.said)
    return extractors.classifying(found, one_of=len(attributes) == 1, stacked=real.stacked)


# --- both together -----------------------------------------------------------------------------------------------


@dataclass
class Reference:
    """Real samples as `extractor` sees them, and others, if any are left, whose figures are the floor.

    `n` is how many fakes are to be compared with them; by the usual protocol it is as many as on each side here.
    `floors` are the figures of those, by name, as far as they were worked out.
    """

    extractor: Extractor
    n: int
    data: Real
    real: Seen
    other: Seen | None
    key: str
    floors: dict[str, float] = field(default_factory=dict)
    protocol: Protocol = USUAL

    @cached_property
    def gaussian(self) -> Gaussian:
        return fitted(self.real.features)

    @cached_property
    def radii(self) -> Tensor:
        return radii(self.real.features[:QUADRATIC].float())

    @property
    def basis(self) -> dict[str, Any]:
        """What figures of it are measured on: those of another basis cannot be compared with them."""
        data = self.data
        prints = [data.whole.fingerprint, "" if data.held_out is None else data.held_out.fingerprint]
        return {
            "data": hashlib.sha256(repr(prints).encode()).hexdigest()[:16],
            "shape": list(data.whole.samples.shape[1:]),
            "classes": len(data.whole.classes),
            "extractor": self.extractor.name,
            "features": hashlib.sha256(self.extractor.key.encode()).hexdigest()[:16],
            "n": self.n,
            "reals": self.protocol.reals,
            "n_real": len(self.real.features),
        }

    def describe(self) -> str:
        return self.data.describe(self.n, self.protocol)

    def keep(self) -> None:
        """Leaves it for other processes; a folder that cannot be written is no error."""
        with contextlib.suppress(OSError):
            _save(self, REFERENCES.expanduser() / f"{self.key}.safetensors")


def build_reference(
    real: Real, extractor: Extractor, n: int, told: Told = untold, protocol: Protocol = USUAL
) -> Reference:
    """Of `n` samples a side, or as many as there are; from the cache if it has been made of these data before.

    By another `protocol` than the usual one the real side has a size of its own. A file that is damaged or of something
    else is replaced. UsageError for fewer than FEWEST samples.
    """
    n = min(n, real.most) if protocol == USUAL else n
    if min(n, real.available(protocol)) < FEWEST:
        have = counted(len(real.whole), "sample")
        raise UsageError(f"these data have {have}, too few to compare with: at least {2 * FEWEST}")
    prints = [real.whole.fingerprint, "" if real.held_out is None else real.held_out.fingerprint]
    shape = tuple(real.whole.samples.shape[1:])
    asked = () if protocol == USUAL else (protocol.reals, protocol.n)
    key = hashlib.sha256(repr((VERSION, *prints, extractor.key, shape, n, *asked)).encode()).hexdigest()
    compared, others = real.sides(n, protocol)
    first, count = len(compared), len(compared) + (0 if others is None else len(others))
    found = _load(REFERENCES.expanduser() / f"{key}.safetensors", key, first, None if others is None else len(others))
    if found is not None:
        return Reference(extractor, n, real, *found[:2], key, found[2], protocol)
    seen = extractor.see(compared, lambda done, _: told("real samples", done, count))
    other = None if others is None else extractor.see(others, lambda done, _: told("real samples", first + done, count))
    reference = Reference(extractor, n, real, seen, other, key, protocol=protocol)
    reference.keep()
    return reference


def _save(reference: Reference, path: Path) -> None:
    tensors = {
        f"{side}.{name}": value.contiguous()
        for side, seen in (("real", reference.real), ("other", reference.other))
        if seen is not None
        for name, value in seen._asdict().items()
        if value is not None
    }
    content = seal(tensors, {"reference": reference.key, "floors": reference.floors})
    keep(content, path)


def _load(path: Path, key: str, n: int, others: int | None) -> tuple[Seen, Seen | None, dict[str, float]] | None:
    """Both sides and the floors, if the file is what it should be: `n` samples, and so many others if any."""
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
    real = _side("real", tensors, n)
    other = None if others is None else _side("other", tensors, others)
    if real is None or (other is None and others is not None):
        return None
    return real, other, floors


def _side(name: str, tensors: dict[str, Tensor], n: int) -> Seen | None:
    features, probabilities = tensors.get(f"{name}.features"), tensors.get(f"{name}.probabilities")
    if features is None or not all(_sound(value, n) for value in (features, probabilities) if value is not None):
        return None
    return Seen(features, probabilities)


def _sound(value: Tensor, n: int) -> bool:
    return value.ndim == 2 and len(value) == n and value.dtype == torch.float32 and bool(value.isfinite().all())
