"""Breaks runs of several processes at random instants, and checks how they end and that nothing is lost or left behind.

    python benchmarks/process_faults.py                              # 20 faults, of every kind
    python benchmarks/process_faults.py --only stop kill --faults 6  # of two kinds
    python benchmarks/process_faults.py --processes 4 --seed 1

The jobs are real commands on tiny data. After each fault, the job must have ended within `device.timeout` and 5 more
seconds, with its documented exit code and line, and none of its processes may be left. The newest checkpoint must be
valid, and the resumed run must leave the same files as one that was not broken: the same tensors, metrics and images.
The kinds are in tests/torture/process_faults.py. The same seed draws the same faults. Exits with 1 if a promise is
broken.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from report import leave

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from torture.process_faults import GRACE, KINDS, Result, Setting, break_job, unbroken
from torture.verify import State

WIDTHS = (4, 48, 9, 25, 9, 5, 12)
HEADERS = ("", "fault", "processes", "when", "seconds", "code", "then", "")


def line(*cells: object) -> str:
    """Returns the cells of a line of the table, in columns."""
    *most, last = map(str, cells)
    return "  ".join([*(cell.ljust(width) for cell, width in zip(most, WIDTHS, strict=True)), last]).rstrip()


def row(number: int, result: Result) -> str:
    """Returns the line of the table for a fault."""
    seconds = "-" if result.seconds is None else f"{result.seconds:.1f}"
    told = "passed" if not result.faults else f"FAILED: {'; '.join(result.faults)}"
    return line(number, KINDS[result.kind].what, result.count, result.when, seconds, result.code, result.resumed, told)


def planned(kinds: list[str], counts: list[int], faults: int) -> list[tuple[str, int]]:
    """Returns the kind and the number of processes of each fault; every kind comes with every number in turn."""
    places = (divmod(index, len(kinds)) for index in range(faults))
    return [(kinds[place], counts[(cycle + place) % len(counts)]) for cycle, place in places]


def main() -> int:
    """Makes the faults, prints a line for each, and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, nargs="+", default=[2, 4], help="numbers of processes, in turn")
    parser.add_argument("--only", nargs="+", choices=[*KINDS], metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--steps", type=int, default=200, help="of each run")
    parser.add_argument("--timeout", type=int, default=5, help="device.timeout, in seconds")
    parser.add_argument("--keep", action="store_true", help="keep the folders of all jobs, not only of failed ones")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the job is then ended too
    folder, began = Path(tempfile.mkdtemp(prefix="process-faults-")), time.monotonic()
    whole: dict[int, State] = {}
    results = []
    print(line(*HEADERS))
    faults = planned(arguments.only or [*KINDS], arguments.processes, arguments.faults)
    for number, (name, count) in enumerate(faults, 1):
        random = Random(f"{arguments.seed}/{number}/{name}/{count}")
        setting = Setting(folder / f"{number}-{name}-{count}", count, arguments.steps, arguments.timeout, random)
        if count not in whole:
            whole[count] = unbroken(dataclasses.replace(setting, folder=folder / f"unbroken-{count}"))
        result = break_job(name, setting, whole[count])
        results.append(result)
        print(row(number, result), flush=True)
        if not result.faults and not arguments.keep:
            shutil.rmtree(setting.folder)
    failed = sum(bool(result.faults) for result in results)
    slowest = max((result.seconds or 0.0 for result in results), default=0.0)
    print(
        f"{len(results)} faults of {len({result.kind for result in results})} kinds, {failed} failed; the slowest end"
        f" came {slowest:.1f} s after its fault (device.timeout={arguments.timeout}, bound"
        f" {arguments.timeout + GRACE:.0f} s); {time.monotonic() - began:.0f} s in all"
    )
    print(f"values: {leave('process_faults', {'rows': [dataclasses.asdict(result) for result in results]})}")
    if failed or arguments.keep:
        print(f"folders: {folder}")
    else:
        shutil.rmtree(folder)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
