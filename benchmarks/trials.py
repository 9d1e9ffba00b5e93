"""Training commands as a person types them, one at a time, whose results are kept as each is finished.

A benchmark that was stopped goes on with what is missing from `outputs/bench/<name>.json`. A run that broke is not kept
and is run again the next time; one that diverged is a result.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from report import leave, load
from torch import Tensor

FIRST_SEED = 1_000_000  # of the samples, apart from all grids'
DIVERGED = 4  # the exit code of a run that diverged or collapsed
PATIENCE = 1800.0  # seconds beyond a run's budget after which it is stopped as broken
Row = dict[str, Any]
Case = TypeVar("Case", bound=Any)  # a NamedTuple whose fields say which run it is


class BrokenRun(Exception):
    """A command that failed for a reason other than its training; one line."""


class Program(NamedTuple):
    """An installed gan-cli, by the Python of its environment."""

    python: Path = Path(sys.executable)

    def command(self, name: str) -> str:
        return str(self.python.absolute().with_name(f"gan-{name}"))

    def offers(self, group: str, option: str) -> bool:
        """Whether `gan-train --help` lists this option of a group."""
        text = subprocess.run([self.command("train"), "--help"], capture_output=True, text=True, check=True).stdout
        listed = re.search(rf"^ +{re.escape(group)} +(\S.*)$", text, re.MULTILINE)
        return listed is not None and option in listed[1].split(", ")


class Trained(NamedTuple):
    """What a run left: facts about it, and samples, uint8 `[N, C, H, W]`; None if it diverged."""

    facts: Row
    samples: Tensor | None


def train(program: Program, overrides: Sequence[str], samples: int, budget: float) -> Trained:
    """Runs `gan-train` with these overrides in a folder of its own, which is removed, and samples it by `gan-sample`.

    Each program samples its own checkpoint, so that another version's need not be readable by this one.
    """
    with tempfile.TemporaryDirectory() as folder:
        run, facts = _trained(program, overrides, budget, folder)
        return Trained(facts, None if facts["exit_code"] == DIVERGED else _sample(program, run, samples, folder))


def evaluate(
    program: Program, overrides: Sequence[str], options: Sequence[str], budget: float, grid: Path | None = None
) -> tuple[Row, Row]:
    """Runs `gan-train` with these overrides and `gan-eval` with these options, in a folder that is removed.

    Returns facts about the run, and the content of the evaluation's file. Writes 32 samples as an image to `grid`.
    """
    with tempfile.TemporaryDirectory() as folder:
        run, facts = _trained(program, overrides, budget, folder)
        if grid is not None:
            grid.parent.mkdir(parents=True, exist_ok=True)
            asked = [f"ckpt={run}", "n=32", "seed=0", f"out={grid.absolute()}", "overwrite=true"]
            _run([program.command("sample"), *asked], folder, PATIENCE)
        _run([program.command("eval"), f"ckpt={run}", *options], folder, PATIENCE)
        (file,) = (run / "evaluations").glob("*.json")
        return facts, json.loads(file.read_text(encoding="utf-8"))


def _trained(program: Program, overrides: Sequence[str], budget: float, folder: str) -> tuple[Path, Row]:
    load_before = os.getloadavg()[0]
    command = [program.command("train"), *overrides, "output=.", "name=run"]
    started = time.perf_counter()
    code = _run(command, folder, budget + PATIENCE, allowed=(0, DIVERGED))
    wall = time.perf_counter() - started
    run = next((path.parent for path in Path(folder).glob("run/*/config.json")), None)
    if run is None:
        raise BrokenRun(f"{' '.join(command)}: left no run")
    facts = _facts(json.loads((run / "config.json").read_text(encoding="utf-8")))
    return run, facts | {"exit_code": code, "wall": round(wall, 1), "load_before": round(load_before, 2)}


def _run(command: Sequence[str], folder: str, seconds: float, allowed: Sequence[int] = (0,)) -> int:
    """The exit code; where it stands there is no `configs/` that another version would take options from."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        raise BrokenRun(f"{' '.join(command)}: not done after {seconds:.0f} s") from None
    if done.returncode not in allowed:
        raise BrokenRun(f"{' '.join(command)}: exit code {done.returncode}: {done.stderr.strip()[-300:]}")
    return done.returncode


def _facts(record: Row) -> Row:
    """From a run's `config.json`."""
    ended = record.get("ended", {})
    return {
        "status": ended.get("status"),
        "steps": ended.get("step"),
        "seconds": ended.get("seconds"),
        "threads": record.get("threads"),
        "data_size": record.get("data", {}).get("samples"),
        "brought_along": record.get("brought_along"),
        "findings": [finding["name"] for finding in record.get("findings", ())],
        "commit": (record.get("git") or {}).get("commit"),
        "changed": (record.get("git") or {}).get("changed"),
    }


def _sample(program: Program, run: Path, count: int, folder: str) -> Tensor:
    asked = [f"ckpt={run}", f"n={count}", f"seed={FIRST_SEED}", "format=npz", f"out={folder}/made"]
    _run([program.command("sample"), *asked], folder, PATIENCE)
    path = next(Path(folder, "made").glob("*.npz"))
    with np.load(path) as arrays:
        return torch.from_numpy(arrays["images"]).permute(0, 3, 1, 2).contiguous()


# --- many --------------------------------------------------------------------------------------------------------


def kept_rows(name: str) -> list[Row]:
    return list(load(name).get("rows", []))


def missing(rows: Sequence[Row], cases: Sequence[Case]) -> list[Case]:
    """The cases of which there is no row with the same fields, in their order."""
    return [case for case in cases if not any(_is_of(row, case) for row in rows)]


def _is_of(row: Row, case: Any) -> bool:
    return all(row.get(key) == value for key, value in case._asdict().items())


def run_missing(name: str, cases: Sequence[Case], run: Callable[[Case], Row]) -> int:
    """Runs each case that is missing and keeps its row at once; how many broke, each told in a line."""
    broken, rows = 0, kept_rows(name)
    for number, case in enumerate(wanted := missing(rows, cases), start=1):
        _progress(f"{number} of {len(wanted)}: {' '.join(map(str, case))}")
        try:
            rows.append({**case._asdict(), **run(case), **case._asdict()})  # these first, and as they are
        except BrokenRun as error:
            broken += 1
            _progress(f"broken, to be run again: {error}")
        else:
            leave(name, {"rows": rows})
    return broken


def _progress(line: str) -> None:
    print(time.strftime("%H:%M:%S"), line, file=sys.stderr, flush=True)
