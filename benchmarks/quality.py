"""How good pictures are after a minute, three, and ten: the fast recipe beside the textbook's, on all of Fashion-MNIST.

    python benchmarks/quality.py --root ../shared/data      # 90 minutes: outputs/bench/quality.json and .svg
    python benchmarks/quality.py --jobs 2 --once textbook   # on one core each, the textbook's with one seed: 30 minutes
    python benchmarks/quality.py --jobs 2 --lengths 4000 --recipes gan-cli fp32   # of as many steps

On an otherwise idle machine: the clock is that of training, from its first step. When all runs are done 10,000 samples
of the averaged generator are held against the 10,000 test pictures, which no network has seen, in the features of a
classifier of the training pictures: Frechet distance, and precision and recall of 5,000 each. The floor is the
distance of the training pictures from the test pictures; the scale is this classifier's own. The recipe was chosen by
such distances to the same test pictures, in another classifier (LOG.md).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import torch
from plot import log_log
from report import leave, table
from torch import Tensor

from gan_cli.config.compatibility import parse_config
from gan_cli.config.compose import compose_command
from gan_cli.data.dataset import Dataset, to_uint8
from gan_cli.data.labels import attributes_of, encode_labels
from gan_cli.data.load_dataset import build_dataset
from gan_cli.evaluation.metrics.classifier import CLASSIFIER_CACHE, LabelledImages, load_or_train_classifier
from gan_cli.evaluation.metrics.distances import fit_gaussian, frechet_between
from gan_cli.evaluation.metrics.nearest_neighbours import neighbour_metrics, neighbour_radii
from gan_cli.models.build_networks import build_generator, latent_of
from gan_cli.models.conditioning import classification_accuracy
from gan_cli.models.generate import generate
from gan_cli.state import checkpoint

RECIPES = {
    "gan-cli": ["experiment=fast"],
    "fp32": ["experiment=fast", "precision=fp32"],
    "textbook": ["experiment=dcgan_mnist", "precision=fp32"],  # 1511.06434; with our average, which is better for it
}
JUDGE_STEPS = 3000
Row = dict[str, Any]
SEEDS = range(1_000_000, 1_010_000)  # of the samples, apart from all pictures'
COMPARED = 5000  # for precision and recall, whose cost is quadratic
DATASET = "dataset=fashion_mnist"


class Judge:
    """A classifier of the training pictures, and what it makes of the test pictures."""

    def __init__(self, root: str) -> None:
        train, test = (load(root, split) for split in ("train", "test"))
        attributes = attributes_of(train.classes)
        assert train.labels is not None
        assert test.labels is not None
        data = LabelledImages(train.samples, train.labels, attributes, train.fingerprint)
        self.classifier = load_or_train_classifier(data, CLASSIFIER_CACHE.expanduser(), steps=JUDGE_STEPS)
        logits, wanted = self.classifier.logits(test.samples), encode_labels(test.labels, len(test.classes))
        self.accuracy = classification_accuracy(logits, wanted, attributes)
        self.real = self.classifier.features(test.samples)
        self.floor = frechet_between(fit_gaussian(self.classifier.features(train.samples)), fit_gaussian(self.real))

    def figures(self, images: Tensor) -> dict[str, float]:
        features = self.classifier.features(images)
        real, fake = self.real[:COMPARED], features[:COMPARED]
        near = neighbour_metrics(real, neighbour_radii(real), fake, torch.ones(1, len(fake), dtype=torch.bool))
        distance = frechet_between(fit_gaussian(features), fit_gaussian(self.real))
        return {"distance": round(distance, 3), "precision": near.precision.item(), "recall": near.recall.item()}


def load(root: str, split: str) -> Dataset:
    overrides = [DATASET, f"dataset.split={split}", f"dataset.root={root}"]
    config = parse_config(compose_command("train", overrides).data)
    return build_dataset(config.dataset, config.image_size)


class Case(NamedTuple):
    length: str
    seed: int
    recipe: str

    @property
    def name(self) -> str:
        return f"{self.recipe}-{self.length}-{self.seed}"

    @property
    def end(self) -> str:
        return f"steps={self.length}" if self.length.isdigit() else f"budget={self.length}"


def train(case: Case, root: str, folder: Path, jobs: int) -> None:
    """Runs the command of this case; with several at once, each on one core."""
    overrides = [*RECIPES[case.recipe], DATASET, f"dataset.root={root}", case.end, f"seed={case.seed}"]
    threads = ["threads=1"] if jobs > 1 else []
    command = [str(Path(sys.executable).with_name("gan-train")), *overrides, *threads]
    done = subprocess.run(
        [*command, f"output={folder}", f"name={case.name}"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr[-300:]}")
    print(f"trained {case.name}", file=sys.stderr, flush=True)


def judged(case: Case, folder: Path, judge: Judge) -> Row:
    """What 10,000 samples of the run of this case are worth."""
    found = checkpoint.load_named(max((folder / case.name).iterdir()))
    network = build_generator(found.config, found.tensors, torch.device("cpu"), ema=True)
    made = torch.cat([to_uint8(batch) for batch in generate(network, latent_of(found.config), SEEDS, 500)])
    seconds, step = found.provenance.seconds, found.counters.step
    row = {**case._asdict(), "seconds": round(seconds, 1), "steps": step, "threads": found.provenance.threads}
    return row | judge.figures(made)


def main() -> None:
    parser = argparse.ArgumentParser(description="quality of pictures against seconds of training")
    parser.add_argument("--root", default="~/.cache/gan-cli", help="folder that holds Fashion-MNIST")
    parser.add_argument("--lengths", nargs="+", default=["60s", "3m", "10m"], help="times, or numbers of steps")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=["gan-cli", "textbook"])
    parser.add_argument("--once", nargs="+", choices=RECIPES, default=[], help="recipes to run with one seed alone")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once, each on one core if more than one")
    given = parser.parse_args()
    judge = Judge(given.root)
    print(f"judge: {judge.accuracy:.1%} of test pictures right; floor (train against test): {judge.floor:.3f}\n")
    cases = [
        Case(length, seed, recipe)
        for length in given.lengths
        for seed in given.seeds
        for recipe in given.recipes
        if seed == given.seeds[0] or recipe not in given.once
    ]
    with tempfile.TemporaryDirectory() as folder:
        with ThreadPoolExecutor(given.jobs) as pool:
            list(pool.map(lambda case: train(case, given.root, Path(folder), given.jobs), cases))
        rows = [judged(case, Path(folder), judge) for case in cases]
    print(table(["training", "recipe", "distance", "by seed", "precision", "recall"], summary(rows)))
    path = leave("quality", {"judge_accuracy": judge.accuracy, "floor": judge.floor, "rows": rows})
    path.with_suffix(".svg").write_text(picture(rows), encoding="utf-8")
    print(path)


def grouped(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    """The rows of all seeds by length and recipe, in their order."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["length"], row["recipe"]), []).append(row)
    return groups


def summary(rows: Sequence[Row]) -> list[list[str]]:
    shown = []
    for (length, recipe), mine in grouped(rows).items():
        by_seed = ", ".join(f"{row['distance']:.2f}" for row in mine)
        averages = [f"{mean(row[key] for row in mine):.2f}" for key in ("distance", "precision", "recall")]
        shown.append([length, recipe, averages[0], by_seed, *averages[1:]])
    return shown


def picture(rows: Sequence[Row]) -> str:
    """Distance against seconds, a line a recipe; the runs of a length stand at their mean time."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for (_, recipe), mine in grouped(rows).items():
        seconds = mean(row["seconds"] for row in mine)
        lines.setdefault(recipe, []).extend((seconds, row["distance"]) for row in mine)
    return log_log(lines, across="seconds of training", up="Frechet distance", ticks=([60, 180, 600], [1, 10, 100]))


if __name__ == "__main__":
    main()
