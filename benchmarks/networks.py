"""All networks on one data set, each for the same time with the settings of its option: size, speed and samples.

    python benchmarks/networks.py --minutes 5                        # drawn faces of 32 px, one run at a time
    python benchmarks/networks.py --minutes 20 --image-size 64 --only reference stylegan2 projected --seeds 0 1 2
    python benchmarks/networks.py --data dataset=folder dataset.path=~/cats --minutes 20
    python benchmarks/networks.py --table                            # of outputs/bench/networks.json

`reference` is what recipe=auto chose when the others were added (experiment=reference_*). Frechet distances are those
of 2,000 samples to real images (held out where there are any), in the features of a classifier of the data, or random
ones if there are no labels. `--minutes` counts for each network; settings are those of its experiment, see NETWORKS.
Leaves outputs/bench/networks.json, and in outputs/bench/networks/ 32 samples of each run.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from report import LEFT, table
from trials import Program, Row, evaluate, kept_rows, run_missing
from updates import config_of

from gan_cli.models.build_networks import build_networks, count_parameters

NAME = "networks"
FACES = ("dataset=avatars", "dataset.style=toon-head", "dataset.size=20000")
NETWORKS: dict[str, tuple[str, ...]] = {
    "reference": (),  # see `reference_of`
    "dcgan": ("architecture=dcgan",),
    "resnet": ("architecture=resnet",),
    "r3gan": (  # benchmarks/LOG.md; without patch, a few images a second
        "architecture=r3gan", "loss=relativistic", "regularizer=[r1_r2]", "architecture.generator.patch=2",
        "architecture.discriminator.patch=2", "regularizer.r1.weight=5", "regularizer.r2.weight=5",
        "optimizer.lr=0.003", "optimizer.beta1=0", "optimizer.beta2=0.99", "training.ema_decay=0.995",
    ),
    "fastgan": ("experiment=few_shot",),
    "stylegan2": ("experiment=stylegan2_64", "regularizer.r1.weight={gamma:g}"),
    "pggan": ("experiment=pggan_64", "optimizer.lr=0.01", "training.ema_decay=0.995"),  # as it says for short runs
    "projected": ("experiment=projected_folder",),
    "srresnet": (  # experiment=anime, without tags
        "architecture=srresnet", "architecture.generator.base_channels=16", "regularizer=[dragan]",
        "regularizer.dragan.weight=0.5", "optimizer.lr=0.001",
    ),
}  # fmt: skip
GAMMA = 20 / 64**2  # of experiment=stylegan2_64, for each pixel of an image


class Case(NamedTuple):
    network: str
    data: str
    image_size: int
    minutes: float
    threads: str
    seed: int


def reference_of(image_size: int, channels: int) -> str:
    if channels == 1:
        return "experiment=reference_grey"
    return f"experiment=reference_colour_{32 if image_size <= 40 else 64}"


def overrides_of(case: Case) -> list[str]:
    data = [*case.data.split(), f"image_size={case.image_size}"]
    chosen = list(NETWORKS[case.network]) or [reference_of(case.image_size, config_of(data).sample_shape[0])]
    chosen = [override.format(gamma=GAMMA * case.image_size**2) for override in chosen]
    return [*chosen, *data, f"seed={case.seed}", f"threads={case.threads}"]


def run(case: Case) -> Row:
    """Trains and evaluates one case."""
    overrides = overrides_of(case)
    config = config_of(overrides)
    sizes = [count_parameters(network) for network in build_networks(config, torch.device("meta"))]
    short = [f"budget={case.minutes:g}m", "training.checkpoint_every=0", "training.sample_every=0"]
    grid = LEFT / NAME / f"{case.network}_{case.image_size}px_{case.minutes:g}min_seed{case.seed}.png"
    options = ["metrics=[frechet]", "resamples=0"]
    facts, found = evaluate(Program(), [*overrides, *short], options, case.minutes * 60, grid)
    (figure,) = found["figures"]
    return {
        **facts,
        "parameters": sizes,
        "images": facts["steps"] * config.batch_size,
        "figure": figure["name"],
        "frechet": round(figure["value"], 4),
        "floor": round(figure["floor"] or 0.0, 4),
    }


def rows_of(rows: Sequence[Row]) -> list[list[object]]:
    """A row for each network on each data set, over its seeds."""
    cells: list[list[object]] = []
    for key in dict.fromkeys(tuple(row[name] for name in Case._fields[:-1]) for row in rows):
        same = [row for row in rows if tuple(row[name] for name in Case._fields[:-1]) == key]
        speed = statistics.mean(row["images"] / row["seconds"] for row in same)
        sizes = " + ".join(f"{count / 1e6:.2f}" for count in same[0]["parameters"])
        values = ", ".join(f"{row['frechet']:.3g}" for row in same)
        cells.append(
            [*key[:-1], len(same), sizes, f"{speed:.0f}", values, f"{same[0]['floor']:.2g}", same[0]["figure"]]
        )
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add: Any = parser.add_argument
    add("--data", nargs="+", default=list(FACES), metavar="OVERRIDE", help="the data set, as gan-train takes it")
    add("--image-size", type=int, default=32)
    add("--minutes", type=float, default=5.0, help="of each run")
    add("--only", nargs="+", choices=NETWORKS, default=list(NETWORKS), metavar="NETWORK")
    add("--seeds", nargs="+", type=int, default=[0])
    add("--threads", default="auto", help="CPU threads of each run")
    add("--table", action="store_true", help="run nothing, print the table")
    given = parser.parse_args()
    if not given.table:
        place = (" ".join(given.data), given.image_size, given.minutes, given.threads)
        run_missing(NAME, [Case(name, *place, seed) for seed in given.seeds for name in given.only], run)
    headers = ["network", "data", "px", "minutes", "seeds", "M parameters, G + D", "images/s", "frechet", "floor", "in"]
    print(table(headers, rows_of(kept_rows(NAME))))


if __name__ == "__main__":
    main()
