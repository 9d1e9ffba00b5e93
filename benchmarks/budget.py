"""Whether `budget=` is kept while a neighbour comes and goes: `python benchmarks/budget.py`.

Runs of a short budget, one after the other, each beside processes that compute for random times and rest for random
times. `run` is what the run counts, from the first step to its last checkpoint, without an evaluation that was said
to come after the budget; `command` is all that a person waits for, with imports, data and the report.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from report import leave, table

from gan_cli.training.budget import parse_duration

KEPT = 0.05
DATA = {
    "shapes": ["dataset=shapes"],
    "digits": ["dataset=mnist", "dataset.download=false"],
    "digits with classes": ["dataset=mnist", "dataset.download=false", "conditioning=projection"],
}


def disturb(seed: int, longest: float) -> None:
    """A neighbour: it computes and rests in turn, for up to so many seconds each, until it is ended."""
    torch.set_num_threads(1)
    drawn, matrix = random.Random(seed), torch.randn(512, 512)
    while True:
        time.sleep(drawn.uniform(0, longest))
        until = time.perf_counter() + drawn.uniform(0, longest)
        while time.perf_counter() < until:
            matrix @ matrix


def measured(what: str, budget: str, seed: int, neighbours: int, folder: Path) -> dict[str, object]:
    """A run beside neighbours, and what it recorded."""
    longest = parse_duration(budget) / 2
    others = [
        multiprocessing.Process(target=disturb, args=(1000 * seed + number, longest), daemon=True)
        for number in range(neighbours)
    ]
    command = [
        str(Path(sys.executable).with_name("gan-train")), *DATA[what], f"budget={budget}", f"seed={seed}", "threads=1",
        f"output={folder}", "name=budget",
    ]  # fmt: skip
    for other in others:
        other.start()
    started = time.perf_counter()
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
        waited = time.perf_counter() - started
    finally:
        for other in others:
            other.terminate()
            other.join()
    run = max((folder / "budget").iterdir())
    ended = json.loads((run / "config.json").read_text())["ended"]
    ends = [json.loads(line)["total_steps"] for line in (run / "budget.jsonl").read_text().splitlines()]
    seconds = ended["seconds"]
    if "comes after it" in (run / "train.log").read_text():
        seconds = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["seconds"]
    off = seconds / parse_duration(budget) - 1
    return {
        "data": what, "seed": seed, "budget": budget, "run": round(seconds, 2), "off": round(off, 4),
        "command": round(waited, 1), "steps": ended["step"], "ends": ends,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="how well a budget is kept beside neighbours")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--budget", default="20s")
    parser.add_argument("--neighbours", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    kinds = list(DATA)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(given.runs):
            row = measured(kinds[seed % len(kinds)], given.budget, seed, given.neighbours, Path(folder))
            rows.append(row)
            print(f"{row['data']}, seed {seed}: {row['run']} s of {given.budget}", flush=True)
    shown = [
        [row["data"], row["seed"], row["budget"], row["run"], f"{row['off']:+.1%}", row["command"], len(row["ends"])]
        for row in rows
    ]
    print(table(["data", "seed", "budget", "run, s", "off", "command, s", "ends settled"], shown))
    kept = sum(abs(row["off"]) <= KEPT for row in rows)
    print(f"\n{kept} of {len(rows)} within {KEPT:.0%}")
    print(leave("budget", {"rows": rows, "kept": kept}))


if __name__ == "__main__":
    main()
