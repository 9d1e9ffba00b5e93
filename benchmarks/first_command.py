"""What the first command gives on a person's own pictures: `gan-train dataset=folder dataset.path=X budget=5m`.

Nothing else is typed, but `image_size=` where the pictures are not to be of 64 px. The pictures are drawn faces, emoji
and crops of photographs (own_pictures.py). Beside it stand three numbers typed by hand, over the defaults without a
recipe, and with `--before` another version of this program: its default, and its `experiment=folder_64`.

    python benchmarks/first_command.py --sets sets --sources archives            # 6.5 hours on two idle cores
    python benchmarks/first_command.py --sets sets --sources archives --quick    # an hour
    python benchmarks/first_command.py --sets sets --before ../other/.venv/bin/python    # 8 hours, with another version
    python benchmarks/first_command.py --table                                   # of what is done, as Markdown

One run at a time has all cores. Each is kept in outputs/bench/first_command.json when it is done, with 32 samples
beside it as a picture, and is not run again. Faces are compared with 2,000 others that no run was given, crops with
2,000 others of the same photographs; of emoji one half is compared with, the other makes the floor. A classifier
learned the attributes of the pictures, `random` features nothing; no discriminator was given either.
The three numbers have three seeds at the first length and one at others, the other version one, its `folder_64` at the
first length alone.
"""

from __future__ import annotations

import argparse
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from first_command_tables import tables
from own_pictures import EXTRACTORS, SETS, make_sets, overrides_of, real_pictures
from report import LEFT
from scores import SAMPLES, Scorer
from torch import Tensor
from trials import Program, Row, kept_rows, missing, run_missing, train

from gan_cli.images.grid import draw_grid, save_png
from gan_cli.training.budget import parse_duration

NAME = "first_command"
LENGTHS = ("5m", "15m")
REPEATED = ("toon-head", "micah", "twemoji")  # with three seeds, and every variant
NUMBERS = ["regularizer.r1.weight=10", "optimizer.lr=0.001", "training.ema_decay=0.998"]
VARIANTS = {
    "as typed": [],
    "three numbers": NUMBERS,
    "before": [],
    "before, folder_64": ["experiment=folder_64"],
}
SEEDS = (0, 1, 2)
BESIDE = 60  # seconds of a run beyond its budget: reading pictures, sampling, scores
GRID = [8] * 4


class Case(NamedTuple):
    pictures: str
    variant: str
    length: str
    seed: int


def plan(lengths: list[str], quick: bool, before: bool) -> list[Case]:
    """The runs in their order: all of a length before the next, all sets before the next seed."""
    cases = []
    for length in lengths:
        for seed in SEEDS[:1] if quick else SEEDS:
            for name in SETS if seed == 0 else REPEATED:
                cases += [Case(name, variant, length, seed) for variant in _variants(name, length == lengths[0], seed)]
    return [case for case in cases if not case.variant.startswith("before") or (before and not quick)]


def _variants(name: str, first: bool, seed: int) -> list[str]:
    if name not in REPEATED:
        return ["as typed"]
    once = seed == 0
    typed = {
        "as typed": True,
        "three numbers": once or first,
        "before": once,
        "before, folder_64": once and first,
    }
    return [variant for variant in VARIANTS if typed[variant]]


def expected_seconds(cases: list[Case]) -> float:
    return sum(parse_duration(case.length) + BESIDE for case in cases)


def run_case(case: Case, sets: Path, programs: dict[str, Program]) -> Row:
    """Trains, scores the samples, and saves 32 of them as a picture."""
    program = programs["before" if case.variant.startswith("before") else "this"]
    seed = [f"seed={case.seed}"] if case.seed else []
    typed = [*overrides_of(case.pictures, sets), f"budget={case.length}", *seed, *_of_variant(case.variant, program)]
    trained = train(program, typed, SAMPLES, parse_duration(case.length))
    if trained.samples is None:
        return trained.facts
    scorer = _scorer(case.pictures, sets)
    folder = LEFT / NAME
    _save_grid(trained.samples, folder / f"{case.pictures}_{case.variant}_{case.length}_{case.seed}.png")
    _save_grid(scorer.real, folder / f"{case.pictures}_real.png")
    return trained.facts | {"typed": typed} | scorer.scores(trained.samples)


def _of_variant(variant: str, program: Program) -> list[str]:
    recipe = ["recipe=none"] if variant == "three numbers" and program.offers("recipe", "none") else []
    return [*recipe, *VARIANTS[variant]]


@cache
def _scorer(name: str, sets: Path) -> Scorer:
    return Scorer(real_pictures(name, sets), EXTRACTORS[name])


def _save_grid(images: Tensor, path: Path) -> None:
    path = path.with_name(path.name.replace(", ", "_").replace(" ", "_"))
    path.parent.mkdir(parents=True, exist_ok=True)
    save_png(draw_grid(images[: sum(GRID)], GRID), path)


def announce(cases: list[Case], wanted: list[Case]) -> None:
    """The plan, and when it will be done."""
    for length in dict.fromkeys(case.length for case in wanted):
        for variant in VARIANTS:
            runs = [case for case in wanted if (case.length, case.variant) == (length, variant)]
            counts = {name: sum(case.pictures == name for case in runs) for name in SETS}
            if runs:
                print(f"{length} {variant}: " + ", ".join(f"{name} x {n}" for name, n in counts.items() if n))
    left = timedelta(seconds=expected_seconds(wanted))
    end = datetime.now() + left
    print(
        f"{len(wanted)} runs, {len(cases) - len(wanted)} done: {left.total_seconds() / 3600:.1f} h, until {end:%H:%M}"
    )


def main() -> None:
    options = _parser().parse_args()
    if options.table:
        print(tables(kept_rows(NAME)))
        return
    if options.sets is None:
        raise SystemExit("--sets is missing: the folder that holds or receives the pictures")
    lengths = options.lengths or list(LENGTHS[:1] if options.quick else LENGTHS)
    cases = [case for case in plan(lengths, options.quick, options.before is not None) if case.pictures in options.only]
    wanted = missing(kept_rows(NAME), cases)
    announce(cases, wanted)
    make_sets(list(dict.fromkeys(case.pictures for case in wanted)), options.sets, options.sources)
    programs = {"this": Program(), "before": Program(options.before or Path("python"))}
    broken = run_missing(NAME, cases, lambda case: run_case(case, options.sets, programs))
    print(tables(kept_rows(NAME)))
    if broken:
        raise SystemExit(f"{broken} runs broke: the same command runs them again")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add: Any = parser.add_argument
    add("--sets", type=Path, help="folder that holds or receives the pictures")
    add("--sources", type=Path, default=Path("."), help="folder of the archives that emoji and photographs come from")
    add("--before", type=Path, help="the Python of an environment with another version of this program")
    add("--quick", action="store_true", help="the first length and one seed, this version alone")
    add("--lengths", nargs="+", help="budgets of the runs instead of 5m and 15m")
    add("--only", nargs="+", choices=SETS, default=list(SETS), help="some of the sets")
    add("--table", action="store_true", help="print the tables of what is done, and run nothing")
    return parser


if __name__ == "__main__":
    main()
