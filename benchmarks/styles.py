"""What the styles of a trained generator mean, and whether its samples have the attributes of the data.

    python benchmarks/styles.py outputs/NAME/DATE --shape hair --colour hairColor
    python benchmarks/styles.py outputs/NAME/DATE                  # the attributes of the data, and their spread alone

Attributes are those that a classifier of the run's data predicts (`gan-eval`), so its errors are in all figures; the
column `real` is of real images that it did not learn from, as many as there are samples.

With `--shape` and `--colour`, each sample gets the styles of one latent in the layers up to `--side` pixels, and those
of another latent in the others: how often it has the shape of the first and the colour of the second (1812.04948,
section 3.1). Beside it stands how often two unrelated samples agree.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import torch
from report import table
from torch import Tensor

from gan_cli.data.dataset import to_uint8
from gan_cli.data.labels import Attribute, attributes_of
from gan_cli.evaluation.checkpoint_evaluation import data_of_checkpoint
from gan_cli.evaluation.metrics.classifier import Classifier, load_assessed_classifier, split_of_classifier
from gan_cli.evaluation.reference import labelled_images
from gan_cli.models.generate import generate, latents_from_seeds, run_in_batches
from gan_cli.models.styles import StyleGenerator
from gan_cli.sampling.given_latents import Mapping, Synthesis
from gan_cli.sampling.load_generator import find_checkpoint, load_generator

FIRST_SEED = 2_000_000
BATCH_SIZE = 100


def predicted(classifier: Classifier, attributes: Sequence[Attribute], images: Tensor) -> Tensor:
    """Returns the predicted column of each attribute of uint8 images, `[N, attributes]`."""
    logits = classifier.logits(images)
    return torch.stack([each.first + logits[:, each.columns].argmax(1) for each in attributes], 1)


def total_variation(columns: Tensor, expected: Tensor, attribute: Attribute) -> float:
    """Half the sum of the differences of two distributions over the values of an attribute."""

    def shares(values: Tensor) -> Tensor:
        known = values[values >= 0] - attribute.first
        return known.bincount(minlength=attribute.size).double() / max(len(known), 1)

    return 0.5 * (shares(columns) - shares(expected)).abs().sum().item()


def unseen_combinations(columns: Tensor, training: Tensor) -> float:
    """The share of samples whose combination of all attributes no training image has."""
    seen = set(map(tuple, training.tolist()))
    return sum(tuple(row) not in seen for row in columns.tolist()) / len(columns)


def agreement(first: Tensor, second: Tensor) -> str:
    return f"{(first == second).double().mean().item():.3f}"


def mixing_rows(
    network: StyleGenerator, latents: Tensor, predict: Any, shape: int, colour: int, side: int
) -> list[list[object]]:
    """Rows of the table of mixing; `shape` and `colour` are positions of attributes."""
    styles = torch.cat(list(run_in_batches(Mapping(network), latents, None, BATCH_SIZE)))
    coarse = torch.tensor([of_layer <= side for of_layer in network.sides])
    others = styles.roll(1, 0)
    mixed = torch.where(coarse[:, None], styles, others)
    of_first = predict(_images(network, styles))
    of_second, of_mixed = of_first.roll(1, 0), predict(_images(network, mixed))
    return [
        [f"shape: coarse styles, up to {side} px", agreement(of_mixed[:, shape], of_first[:, shape]),
         agreement(of_mixed[:, shape], of_second[:, shape]), agreement(of_first[:, shape], of_second[:, shape])],
        ["colour: the other styles", agreement(of_mixed[:, colour], of_first[:, colour]),
         agreement(of_mixed[:, colour], of_second[:, colour]), agreement(of_first[:, colour], of_second[:, colour])],
    ]  # fmt: skip


def _images(network: StyleGenerator, styles: Tensor) -> Tensor:
    batches = run_in_batches(Synthesis(network), styles, None, BATCH_SIZE)
    return torch.cat([to_uint8(batch) for batch in batches])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add: Any = parser.add_argument
    add("run", help="a run or a checkpoint, without conditioning")
    add("--shape", help="an attribute that coarse styles should decide")
    add("--colour", help="an attribute that the other styles should decide")
    add("--side", type=int, default=8, help="of the coarse layers, in pixels at most")
    add("--n", type=int, default=2000, help="samples")
    given = parser.parse_args()
    generator = load_generator(given.run)
    _, real = data_of_checkpoint(find_checkpoint(generator.path), None)
    data = labelled_images(real)
    attributes, whole = attributes_of(real.train_unlimited.classes), real.train_unlimited
    names = [attribute.name for attribute in attributes]
    classifier, summary = load_assessed_classifier(data, lambda line: print(line, flush=True), "nothing to measure")
    if classifier is None or whole.labels is None:
        parser.error(summary)

    def predict(images: Tensor) -> Tensor:
        return predicted(classifier, attributes, images)

    seeds = range(FIRST_SEED, FIRST_SEED + given.n)
    samples = torch.cat([to_uint8(batch) for batch in generate(generator.network, generator.latent, seeds, BATCH_SIZE)])
    held_out, _ = split_of_classifier(len(whole))
    held_out = held_out[: given.n]
    of_samples, of_real = predict(samples), predict(whole.samples[held_out])
    labels = whole.labels[held_out]
    rows = [
        [name, each.size, f"{(of_real[:, index] == labels[:, index]).double().mean():.3f}",
         f"{total_variation(of_samples[:, index], whole.labels[:, index], each):.3f}",
         f"{total_variation(of_real[:, index], whole.labels[:, index], each):.3f}"]
        for index, (name, each) in enumerate(zip(names, attributes, strict=True))
    ]  # fmt: skip
    print(table(["attribute", "values", "classifier right", "total variation, samples", "real"], rows))
    unseen = unseen_combinations(of_samples, whole.labels)
    print(f"combinations of attributes that no training image has: {unseen:.3f} of the samples")
    if given.shape and given.colour:
        if not isinstance(generator.network, StyleGenerator):
            parser.error("--shape and --colour need a generator with styles")
        latents = latents_from_seeds(seeds, generator.latent)
        places = names.index(given.shape), names.index(given.colour)
        mixing = mixing_rows(generator.network, latents, predict, *places, given.side)
        print(table(["of mixed samples", "as the first", "as the second", "two unrelated samples"], mixing))


if __name__ == "__main__":
    main()
