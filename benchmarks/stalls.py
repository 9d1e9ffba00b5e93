"""What share of a run's time goes into logging, grids and checkpoints at the default intervals.

    python benchmarks/stalls.py        # half a minute: outputs/bench/stalls.json

Each is done between two steps, which wait for it: the time spent in it is taken from inside a run.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from io import StringIO
from typing import Any

from report import leave, table

from gan_cli.cli.main import run_command
from gan_cli.training import loop

PARTS = {
    "logging": "_evaluate_and_log",
    "figures and health": "_measure",
    "grids": "save_samples",
    "checkpoints": "_save_during_run",
}


@contextmanager
def timed(name: str, spent: list[float]) -> Iterator[None]:
    """Calls of the loop's function `name` add their seconds to `spent`."""
    plain = getattr(loop, name)

    def calling(*arguments: Any) -> Any:
        started = time.perf_counter()
        try:
            return plain(*arguments)
        finally:
            spent.append(time.perf_counter() - started)

    setattr(loop, name, calling)
    try:
        yield
    finally:
        setattr(loop, name, plain)


def run(steps: int) -> tuple[float, dict[str, list[float]]]:
    """Seconds of the whole loop, and those spent in each part, call by call."""
    spent: dict[str, list[float]] = {part: [] for part in PARTS.values()}
    whole: list[float] = []
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        stack.enter_context(redirect_stdout(StringIO()))
        stack.enter_context(timed("_train_until_stop", whole))
        for name, part in PARTS.items():
            stack.enter_context(timed(name, spent[part]))
        if run_command("train", ["dataset.download=false", f"steps={steps}", f"output={folder}"]):
            raise SystemExit("the run failed")
    return whole[0], spent


def main() -> None:
    parser = argparse.ArgumentParser(description="the share of logging, grids and checkpoints in a run's time")
    parser.add_argument("--steps", type=int, default=3000)
    given = parser.parse_args()
    whole, spent = run(given.steps)
    rows = [
        [part, len(each), f"{1000 * sum(each) / len(each):.1f} ms", f"{sum(each) / whole:.2%}"]
        for part, each in spent.items()
    ]
    print(table(["between steps", "times", "each", "of the run"], rows))
    print(leave("stalls", {"steps": given.steps, "seconds": whole, "spent": spent}))


if __name__ == "__main__":
    main()
