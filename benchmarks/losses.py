"""Every loss as typed, `gan-train loss=L budget=60s` with all else as it is, on digits, Fashion-MNIST and a folder.

    python benchmarks/losses.py --root data --folder sets/toon-head       # 45 minutes on two idle cores
    python benchmarks/losses.py --table                                   # of what is done, as Markdown

One run at a time has all cores; pictures of the folder get three times the budget. Each run is kept in
outputs/bench/losses.json when it is done, and is not run again. 2,000 samples are compared with held-out pictures,
where the data have any, else with half of the data, in the features of a classifier of the data (`random` ones if a
folder has no classes). `bce` is another name of `non_saturating`: its run says how far two runs of the same are apart.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from report import table
from scores import SAMPLES, Scorer, real_of
from trials import Program, Row, kept_rows, run_missing, train

from gan_cli.training.budget import parse_duration

NAME = "losses"
LOSSES = ("non_saturating", "bce", "hinge", "least_squares", "relativistic", "minimax", "wasserstein")
FOLDER_TIMES = 3  # as long as for small grey pictures
OF_BEST = 2.0  # at most: Frechet distance over that of the best loss
WASSERSTEIN = 1.3  # at most: of wasserstein on digits, over that of the default loss


class Case(NamedTuple):
    data: str
    loss: str
    length: str
    seed: int


def data_sets(root: str | None, folder: Path | None) -> dict[str, list[str]]:
    """Overrides by name, of those that were given."""
    found = {"digits": ["dataset=mnist", "dataset.download=false"]}
    if root is not None:
        found["fashion"] = ["dataset=fashion_mnist", f"dataset.root={Path(root).expanduser().absolute()}"]
    if folder is not None:
        found[folder.name] = ["dataset=folder", f"dataset.path={folder.expanduser().absolute()}"]
    return found


def plan(data: dict[str, list[str]], losses: Sequence[str], budget: str, seeds: Sequence[int]) -> list[Case]:
    cases = []
    for seed in seeds:
        for name, overrides in data.items():
            longer = f"{FOLDER_TIMES * parse_duration(budget):g}s"
            length = longer if overrides[0] == "dataset=folder" else budget
            cases += [Case(name, loss, length, seed) for loss in losses]
    return cases


def run_case(case: Case, overrides: Sequence[str]) -> Row:
    seed = [f"seed={case.seed}"] if case.seed else []
    typed = [f"loss={case.loss}", *overrides, f"budget={case.length}", *seed]
    trained = train(Program(), typed, SAMPLES, parse_duration(case.length))
    if trained.samples is None:
        return trained.facts
    return trained.facts | {"typed": typed} | _scorer(tuple(overrides)).scores(trained.samples)


@cache
def _scorer(overrides: tuple[str, ...]) -> Scorer:
    return Scorer(real_of(overrides))


# --- the table ---------------------------------------------------------------------------------------------------


def summary(rows: Sequence[Row]) -> str:
    """A line for each loss, of each data set the mean distance, by seed, and over the best loss's."""
    if not rows:
        return "nothing is done yet"
    headers, columns = ["loss"], []
    losses = [loss for loss in LOSSES if any(row["loss"] == loss for row in rows)]
    missed = []
    for data, length in dict.fromkeys((row["data"], row["length"]) for row in rows):
        here = [row for row in rows if (row["data"], row["length"]) == (data, length)]
        distances = {loss: _distances([row for row in here if row["loss"] == loss]) for loss in losses}
        means = {loss: mean(found) for loss, found in distances.items() if found and None not in found}
        best = min(means.values(), default=1.0)
        headers += [f"{data}, {length}", "by seed", f"/ best (≤ {OF_BEST:g})"]
        columns.append([[*_cells(distances[loss], means.get(loss), best)] for loss in losses])
        missed += [f"{loss} on {data}" for loss in losses if distances[loss] and means.get(loss, 1e9) > OF_BEST * best]
        if data == "digits" and {"wasserstein", "non_saturating"} <= means.keys():
            ratio = means["wasserstein"] / means["non_saturating"]
            missed += [f"wasserstein is {ratio:.2f} x the default on digits, goal {WASSERSTEIN}"] * (
                ratio > WASSERSTEIN
            )
    lines = [[loss, *(cell for column in columns for cell in column[row])] for row, loss in enumerate(losses)]
    return table(headers, lines) + f"\n\nGoals missed: {'; '.join(missed) or 'none'}"


def _distances(rows: Sequence[Row]) -> list[Any]:
    """By seed; None of a run that diverged."""
    scores = [row.get("classifier") or row.get("random") for row in sorted(rows, key=lambda row: row["seed"])]
    return [None if score is None else score["frechet"] for score in scores]


def _cells(distances: Sequence[Any], average: float | None, best: float) -> list[str | None]:
    by_seed = ", ".join("diverged" if value is None else f"{value:.2f}" for value in distances)
    if average is None:
        return [None, by_seed, None]
    return [f"{average:.2f}", by_seed, f"{average / best:.2f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add: Any = parser.add_argument
    add("--root", help="folder that holds Fashion-MNIST; left out without it")
    add("--folder", type=Path, help="folder of colour pictures; left out without it")
    add("--budget", default="60s", help=f"of a run; a folder's is {FOLDER_TIMES} times as long")
    add("--seeds", nargs="+", type=int, default=[0])
    add("--losses", nargs="+", choices=LOSSES, default=list(LOSSES))
    add("--table", action="store_true", help="print the table of what is done, and run nothing")
    options = parser.parse_args()
    broken = 0
    if not options.table:
        data = data_sets(options.root, options.folder)
        cases = plan(data, options.losses, options.budget, options.seeds)
        broken = run_missing(NAME, cases, lambda case: run_case(case, data[case.data]))
    print(summary(kept_rows(NAME)))
    if broken:
        raise SystemExit(f"{broken} runs broke: the same command runs them again")


if __name__ == "__main__":
    main()
