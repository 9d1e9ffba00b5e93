"""How good pictures are after a minute, three, and ten: the fast recipe beside the textbook's, on all of Fashion-MNIST.

    python benchmarks/quality.py --root ../shared/data      # 90 minutes: outputs/bench/quality.json and .svg
    python benchmarks/quality.py --jobs 2 --once textbook   # on one core each, the textbook's with one seed: 30 minutes
    python benchmarks/quality.py --budgets 60s --seeds 0

On an otherwise idle machine: the clock is that of training, from its first step. When all runs are done 10,000 samples
of the averaged generator are held against the 10,000 test pictures, which no network has seen, in the features of a
classifier of the training pictures: Frechet distance, and precision and recall of 5,000 each. The floor is the
distance of the training pictures from the test pictures; the scale is this classifier's own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import torch
from plot import log_log
from report import leave, table
from torch import Tensor

from gan_cli import checkpoint
from gan_cli import config as configs
from gan_cli.compose import compose_command
from gan_cli.data import build_dataset
from gan_cli.data.dataset import Dataset, to_bytes
from gan_cli.evaluation import CLASSIFIERS
from gan_cli.generation import generate
from gan_cli.labels import attributes_of, condition_of
from gan_cli.metrics.classifier import Classifier, cached_classifier
from gan_cli.metrics.distances import frechet_distance, precision_recall
from gan_cli.models.conditioning import classification_accuracy
from gan_cli.pace import seconds_of
from gan_cli.state import build_generator, latent_of

RECIPES = {
    "gan-cli": ["experiment=fast"],
    "textbook": ["experiment=dcgan_mnist", "precision=fp32"],  # Adam, batch norm, no average: 1511.06434
}
JUDGE_STEPS = 3000
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
        self.classifier: Classifier = cached_classifier(
            train.fingerprint, train.samples, train.labels, attributes, CLASSIFIERS.expanduser(), steps=JUDGE_STEPS
        )
        logits, wanted = self.classifier.logits(test.samples), condition_of(test.labels, len(test.classes))
        self.accuracy = classification_accuracy(logits, wanted, attributes)
        self.real = self.classifier.features(test.samples)
        self.floor = frechet_distance(self.classifier.features(train.samples), self.real)

    def figures(self, images: Tensor) -> dict[str, float]:
        features = self.classifier.features(images)
        coverage = precision_recall(self.real[:COMPARED], features[:COMPARED])
        distance = frechet_distance(features, self.real)
        return {"distance": round(distance, 3), "precision": coverage.precision, "recall": coverage.recall}


def load(root: str, split: str) -> Dataset:
    overrides = [DATASET, f"dataset.split={split}", f"dataset.root={root}"]
    config = configs.parse(compose_command("train", overrides).data)
    return build_dataset(config.dataset, config.image_size)


class Case(NamedTuple):
    budget: str
    seed: int
    recipe: str

    @property
    def name(self) -> str:
        return f"{self.recipe}-{self.budget}-{self.seed}"


def train(case: Case, root: str, folder: Path, jobs: int) -> None:
    """Runs the command of this case; with several at once, each on one core."""
    overrides = [*RECIPES[case.recipe], DATASET, f"dataset.root={root}", f"budget={case.budget}", f"seed={case.seed}"]
    threads = ["threads=1"] if jobs > 1 else []
    command = [str(Path(sys.executable).with_name("gan-train")), *overrides, *threads]
    done = subprocess.run(
        [*command, f"output={folder}", f"name={case.name}"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr[-300:]}")
    print(f"trained {case.name}", file=sys.stderr, flush=True)


def judged(case: Case, folder: Path, judge: Judge) -> dict[str, object]:
    """What 10,000 samples of the run of this case are worth."""
    found = checkpoint.find(max((folder / case.name).iterdir()))
    network = build_generator(found.config, found.tensors, torch.device("cpu"), ema=True)
    made = torch.cat([to_bytes(batch) for batch in generate(network, latent_of(found.config), SEEDS, 500)])
    seconds, step = found.provenance.seconds, found.counters.step
    row = {**case._asdict(), "seconds": round(seconds, 1), "steps": step, "threads": found.provenance.threads}
    return row | judge.figures(made)


def main() -> None:
    parser = argparse.ArgumentParser(description="quality of pictures against seconds of training")
    parser.add_argument("--root", default="~/.cache/gan-cli", help="folder that holds Fashion-MNIST")
    parser.add_argument("--budgets", nargs="+", default=["60s", "3m", "10m"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--once", nargs="+", choices=RECIPES, default=[], help="recipes to run with one seed alone")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once, each on one core if more than one")
    given = parser.parse_args()
    judge = Judge(given.root)
    print(f"judge: {judge.accuracy:.1%} of test pictures right; floor (train against test): {judge.floor:.3f}\n")
    cases = [
        Case(budget, seed, recipe)
        for budget in given.budgets
        for seed in given.seeds
        for recipe in given.recipes
        if seed == given.seeds[0] or recipe not in given.once
    ]
    with tempfile.TemporaryDirectory() as folder:
        with ThreadPoolExecutor(given.jobs) as pool:
            list(pool.map(lambda case: train(case, given.root, Path(folder), given.jobs), cases))
        rows = [judged(case, Path(folder), judge) for case in cases]
    shown = []
    for budget in given.budgets:
        for recipe in given.recipes:
            mine = [row for row in rows if (row["budget"], row["recipe"]) == (budget, recipe)]
            by_seed = ", ".join(f"{row['distance']:.2f}" for row in mine)
            averages = [mean(float(str(row[key])) for row in mine) for key in ("distance", "precision", "recall")]
            shown.append([budget, recipe, f"{averages[0]:.2f}", by_seed, *(f"{each:.2f}" for each in averages[1:])])
    print(table(["training", "recipe", "distance", "by seed", "precision", "recall"], shown))
    path = leave("quality", {"judge_accuracy": judge.accuracy, "floor": judge.floor, "rows": rows})
    points = {
        recipe: [
            (seconds_of(str(row["budget"])), float(str(row["distance"]))) for row in rows if row["recipe"] == recipe
        ]
        for recipe in given.recipes
    }
    drawing = log_log(points, across="seconds of training", up="Frechet distance", ticks=([60, 180, 600], [1, 10, 100]))
    path.with_suffix(".svg").write_text(drawing, encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
