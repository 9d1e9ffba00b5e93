"""How soon a command answers: its help, a mistake, and the first step of training.

Each is a process of its own, five times, of which the median is told. From the moment that `import torch` has returned
to the first step's end no time is torch's own: that is what this code, its data and torch's lazy imports cost.

    python benchmarks/startup.py

Leaves outputs/bench/startup.json.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from statistics import median

from report import leave, table

TIMES = 5
GOALS = {"help": 0.5, "mistake": 0.5, "first step": 2.0}  # seconds
MISTAKES = (
    "dataset=minst",
    "lrr=1",
    "optimizer.lr=nan",
    "batch_size=0",
    "regularizer=[gradient_penalty,weight_clip]",
    "resume=nowhere",
)
FIRST_STEP = """
import time
import torch
started = time.perf_counter()
from gan_cli.training import steps
from gan_cli.cli.main import run_command

def timed(*arguments):
    generator_step(*arguments)
    print("seconds", time.perf_counter() - started)
    raise KeyboardInterrupt

generator_step, steps.generator_step = steps.generator_step, timed
run_command("train", ["dataset=mnist", "dataset.download=false", "name=run"])
"""


def command_seconds(folder: str, *arguments: str) -> float:
    """Of a whole `gan-train` process; it must end as expected."""
    started = time.perf_counter()
    done = _run(folder, "-m", "gan_cli.cli", "train", *arguments)
    seconds = time.perf_counter() - started
    assert done.returncode == (0 if "--help" in arguments else 2), (arguments, done.stderr)
    return seconds


def first_step_seconds(folder: str) -> float:
    told = _run(folder, "-c", FIRST_STEP).stdout
    return float(next(line.split()[1] for line in told.splitlines() if line.startswith("seconds ")))


def _run(folder: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONPYCACHEPREFIX": os.path.join(folder, "bytecode")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has bytecode
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        kinds = [("help", ("--help",)), *(("mistake", (mistake,)) for mistake in MISTAKES), ("first step", ())]
        command_seconds(folder, MISTAKES[-1])  # writes the bytecode
        for kind, arguments in kinds:
            step = kind == "first step"
            taken = [first_step_seconds(folder) if step else command_seconds(folder, *arguments) for _ in range(TIMES)]
            what = "from torch imported to the first step done" if step else f"gan-train {' '.join(arguments)}"
            rows.append({"what": what, "median": median(taken), "goal": GOALS[kind], "all": taken})
    cells = [
        [row["what"], f"{row['median']:.2f}", row["goal"], "yes" if row["median"] <= row["goal"] else "no"]
        for row in rows
    ]
    print(table(["what", f"seconds, median of {TIMES}", "goal", "reached"], cells))
    print(leave("startup", {"rows": rows}))


if __name__ == "__main__":
    main()
