"""The direction from samples without a class to those with it: the difference of the mean latents of both.

A classifier of the run's data says which sample has the class. So does InterFaceGAN (1907.10786), which takes the
normal of a linear classifier in place of the difference of means.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gan_cli.data.labels import Attribute, attributes_of, parse_labels
from gan_cli.errors import UsageError, count_noun, reworded
from gan_cli.evaluation.checkpoint_evaluation import data_of_checkpoint
from gan_cli.evaluation.metrics.classifier import Classifier, load_assessed_classifier
from gan_cli.evaluation.reference import labelled_images
from gan_cli.latent_space.latent_variables import LatentSpace
from gan_cli.latent_space.projection import draw_samples
from gan_cli.sampling.load_generator import LoadedGenerator, find_checkpoint

FEWEST = 20  # samples with the class, and without
TESTED = 1000  # other samples that are moved
TESTED_STRENGTHS = (1.0, 2.0, 3.0)


class LabelledClass(NamedTuple):
    """A class: its column, all attributes of the data, and the classifier that says what a sample has."""

    name: str
    column: int
    attributes: list[Attribute]
    classifier: Classifier

    @property
    def attribute(self) -> Attribute:
        return next(attribute for attribute in self.attributes if attribute.has(self.column))

    def predictions(self, samples: Tensor) -> Tensor:
        """Returns the predicted column of each attribute for uint8 samples, `[N, attributes]`."""
        logits = self.classifier.logits(samples)
        return torch.stack([each.first + logits[:, each.columns].argmax(1) for each in self.attributes], 1)

    def applies(self, predicted: Tensor) -> Tensor:
        """Returns whether each sample of these predictions has the class, bool `[N]`."""
        return (predicted == self.column).any(1)


class Success(NamedTuple):
    """Shares of samples without the class that have it after a move by `strength`, and that keep other attributes.

    `kept` is the mean over the other attributes, None if there are none. `backward` is the share of samples with the
    class that lose it after a move by `-strength`. A share of no samples is None.
    """

    strength: float
    changed: float | None
    kept: float | None
    backward: float | None

    def describe(self, name: str) -> str:
        tested, text = f"of the {TESTED:,} tested samples", f"strength {self.strength:g}: "
        text += f"all {tested} are" if self.changed is None else f"{self.changed:.0%} of other samples become"
        none = f"{name}, none {tested} is {name}"
        back = f"{name}, {self.backward or 0:.0%} of {name} become others by -{self.strength:g}"
        text += f" {none if self.backward is None else back}"
        return text if self.kept is None else f"{text}; {self.kept:.0%} of other attributes stay"


def find_class(generator: LoadedGenerator, name: str) -> LabelledClass:
    """Returns the class `name` of the data of the generator's run, with their classifier.

    Raises UsageError if the data are missing or have no such class, or a classifier cannot tell their classes.
    """
    if generator.config is None:
        raise UsageError("by=label: an export has no data to learn a classifier from; give the run, or by=sefa")
    _, real = data_of_checkpoint(find_checkpoint(generator.path), None)
    classes = real.train_unlimited.classes
    if real.train_unlimited.labels is None or len(classes) < 2 or real.stacked:
        raise UsageError(f"by=label:{name}: the data of this run have no classes, use by=sefa")
    with reworded(_with_own_key, "by=label:"):
        rows = parse_labels(classes, name)
    if len(rows) > 1 or len(rows[0].columns) > 1:
        raise UsageError(f"by=label:{name}: names several classes, a direction is of one")
    found, summary = load_assessed_classifier(
        labelled_images(real), lambda line: print(line, flush=True), "none is used"
    )
    if found is None:
        raise UsageError(f"by=label:{name}: {summary}; use by=sefa")
    column = rows[0].columns[0]
    return LabelledClass(classes[column], column, attributes_of(classes), found)


def _with_own_key(text: str, key: str) -> str:
    return text.replace("label=", key, 1).replace("class of this checkpoint", "class of the run's data")


def mean_difference(latents: Tensor, has_class: Tensor, name: str) -> Tensor:
    """Returns the unit vector from the mean of latents `[N, D]` without the class to that of latents with it, `[D]`.

    Raises UsageError if fewer than FEWEST have the class, or do not.
    """
    fewest = min(int(has_class.sum()), int((~has_class).sum()))
    if fewest < FEWEST:
        kind = "are" if int(has_class.sum()) == fewest else "are not"
        many = count_noun(fewest, "sample")
        raise UsageError(f"by=label:{name}: {many} of {len(latents):,} {kind} {name}, too few; give more samples=")
    difference = latents[has_class].mean(0) - latents[~has_class].mean(0)
    return difference / difference.norm()


def measure_success(
    space: LatentSpace, found: LabelledClass, direction: Tensor, seeds: range, labels: Tensor | None, batch_size: int
) -> list[Success]:
    """Moves other samples than the direction was found from, those of `seeds`, and classifies them again."""
    latents = space.of_seeds(seeds, labels, batch_size)
    before = found.predictions(draw_samples(space, latents, labels, batch_size))
    has_class, results = found.applies(before), []
    others = [number for number, each in enumerate(found.attributes) if not each.has(found.column)]
    for strength in TESTED_STRENGTHS:
        signs = torch.where(has_class, -1.0, 1.0).view(-1, *[1] * (latents.ndim - 1))
        after = found.predictions(draw_samples(space, latents + signs * strength * direction, labels, batch_size))
        changed, kept = found.applies(after), (after == before)[~has_class][:, others]
        results.append(
            Success(
                strength,
                _share(changed[~has_class]),
                _share(kept),
                _share(~changed[has_class]),
            )
        )
    return results


def _share(which: Tensor) -> float | None:
    """Returns the share of True; None of nothing."""
    return which.float().mean().item() if which.numel() else None
