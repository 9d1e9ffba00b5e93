"""The tasks on held-out images, beside what is reached without a network.

    python benchmarks/task_quality.py --root ~/.cache/gan-cli --emoji ~/emoji    # all cases, seeds 0 to 2
    python benchmarks/task_quality.py --only edges "edges, l1 alone" --seeds 0 --threads 1
    python benchmarks/task_quality.py --table              # of outputs/bench/task_quality.json

Each row is a `gan-train` with the defaults of its task and a `gan-eval` on 1,000 held-out images, or as many as there
are. In brackets is the best figure of the input itself, the nearest training input and kernel ridge regression. Frechet
distances are in the features of a classifier of the data, or random ones where there are no labels.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any, NamedTuple

from report import table
from trials import Program, Row, evaluate, kept_rows, run_missing
from updates import config_of

from gan_cli.data.load_dataset import build_dataset
from gan_cli.evaluation.real_data import find_real_data

FASHION, EMOJI = ("dataset=fashion_mnist", "dataset.root={root}"), ("dataset=emoji_pairs", "dataset.path={emoji}")
EDGES = ("task=translation", "task.source=edges", *FASHION, "steps=5000")
HOLE = ("task=inpainting", "task.mask=[centre]", "steps=5000")
SMALL = ("task=super_resolution", *FASHION, "steps=5000")
DRAWN = ("task=translation", *EMOJI, "steps=1000")
CASES = {
    "edges": EDGES,
    "edges, l1 alone": (*EDGES, "loss.weight=0"),
    "inpainting": (*HOLE, *FASHION),
    "inpainting, l1 alone": (*HOLE, *FASHION, "loss.weight=0"),
    "super-resolution": SMALL,
    "super-resolution, l2 alone": (*SMALL, "auxiliary=[l2]", "loss.weight=0"),
    **{f"super-resolution, weight {weight}": (*SMALL, f"auxiliary.l1.weight={weight}") for weight in (1, 3, 30, 100)},
    "emoji": DRAWN,
    **{f"emoji, weight {weight}": (*DRAWN, f"auxiliary.l1.weight={weight}") for weight in (30, 100)},
    **{
        f"inpainting {style}": (*HOLE, "dataset=avatars", f"dataset.style={style}", "dataset.size=20000")
        for style in ("toon-head", "avataaars", "pixel-art")
    },
    **{
        f"inpainting toon-head, weight {weight}": (
            *HOLE,
            "dataset=avatars",
            "dataset.style=toon-head",
            "dataset.size=20000",
            f"auxiliary.l1.weight={weight}",
        )
        for weight in (30, 100)
    },
}
METRICS = ("psnr", "psnr/hole", "l1", "sharpness", "class_kept", "frechet")
PATIENCE = 7200.0  # seconds


class Case(NamedTuple):
    case: str
    seed: int
    overrides: list[str]


def run(case: Case) -> Row:
    """Trains and evaluates one case."""
    names = [name for name in METRICS if "/" not in name and (name != "class_kept" or _has_labels(case))]
    count = _held_out(case)
    overrides = [*case.overrides, f"seed={case.seed}", "training.checkpoint_every=0", "training.sample_every=0"]
    options = [f"metrics=[{','.join(names)}]", f"n={count}", "resamples=0"]
    facts, found = evaluate(Program(), overrides, options, PATIENCE)
    figures = {figure["name"].partition("-")[0]: figure for figure in found["figures"]}
    return {
        **facts,
        "n": count,
        "figures": {name: round(figure["value"], 4) for name, figure in figures.items()},
        "without": {
            name: [round(figure["without_network"], 4), figure["method"]]
            for name, figure in figures.items()
            if figure["without_network"] is not None
        },
    }


def _has_labels(case: Case) -> bool:
    """Whether each image has one class, which `class_kept` needs."""
    return "dataset=fashion_mnist" in case.overrides


def _held_out(case: Case) -> int:
    """Returns 1,000, or the number of held-out images if there are fewer."""
    config = config_of(case.overrides)
    dataset = build_dataset(config.dataset, config.image_size)
    return min(1000, find_real_data(config.dataset, config.image_size, dataset).max_inputs)


def _changed(overrides: list[str], more: list[str]) -> list[str]:
    """Returns the overrides with those of `more` in place of others of the same key."""
    keys = {each.partition("=")[0] for each in more}
    return [*(each for each in overrides if each.partition("=")[0] not in keys), *more]


def rows_of(rows: list[Row]) -> list[list[Any]]:
    """Returns a row for each case: means over its seeds, each with the figure without a network in brackets."""
    shown = []
    for name in CASES:
        of_case = [row for row in rows if row["case"] == name]
        if of_case:
            cells = [_cell(of_case, metric) for metric in METRICS]
            minutes = statistics.mean(row["seconds"] for row in of_case) / 60
            shown.append([name, len(of_case), of_case[0]["steps"], f"{minutes:.0f}", *cells])
    return shown


def _cell(rows: list[Row], metric: str) -> str | None:
    values = [row["figures"][metric] for row in rows if metric in row["figures"]]
    if not values:
        return None
    without = rows[0]["without"].get(metric)
    beside = "" if without is None else f" ({without[0]:.3g})"
    spread = f" ± {statistics.stdev(values):.1g}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3g}{spread}{beside}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="~/.cache/gan-cli", help="the folder of Fashion-MNIST")
    parser.add_argument("--emoji", type=Path, help="the folder of the npm packages of both vendors")
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), metavar="CASE")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, help="in place of the steps of each case")
    parser.add_argument("--threads", type=int, help="CPU threads of each run")
    parser.add_argument("--table", action="store_true", help="run nothing, print the table")
    given = parser.parse_args()
    if not given.table:
        root = Path(given.root).expanduser().resolve()
        emoji = given.emoji and given.emoji.expanduser().resolve()
        wanted = [name for name in given.only if given.emoji or not name.startswith("emoji")]
        more = [f"{key}={value}" for key in ("steps", "threads") if (value := getattr(given, key)) is not None]
        cases = [
            Case(name, seed, _changed([word.format(root=root, emoji=emoji) for word in CASES[name]], more))
            for seed in given.seeds
            for name in wanted
        ]
        run_missing("task_quality", cases, run)
    headers = ["case", "seeds", "steps", "minutes", *METRICS]
    print(table(headers, rows_of(kept_rows("task_quality"))))


if __name__ == "__main__":
    main()
