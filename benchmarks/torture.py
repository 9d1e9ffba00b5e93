"""Breaks the commands on purpose, and checks that nothing is lost, let in or left behind.

    python benchmarks/torture.py                           # the quick set, in 5 minutes of two cores
    python benchmarks/torture.py --full --shard 0/4        # a quarter of the full set
    python benchmarks/torture.py --full --report           # both tables, of all shards that have run
    python benchmarks/torture.py --key kill/3 --keep       # one trial alone; its folder stays

The trials are in tests/torture. The same seed and key always make the same trial. Results are kept in
outputs/torture/<commit>/<set>-<seed>; what is done there is not done again. A failed trial's folder is kept in
`failures` beside them. Exits with 1 if a trial failed, or if one is missing in a report.
"""

# ruff: noqa: E402
from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TRIED = ("gan_cli", "configs", "tests/torture", "tests/support", "benchmarks/torture.py")
sys.path.insert(0, str(ROOT / "tests"))

from support.preloaded_python import preloaded_python
from torture import results, soak
from torture.parts import PARTS
from torture.worker import Bench, Trial, prepare


def keys_of(full: bool, parts: list[str]) -> dict[str, int]:
    """Returns the number of trials of each chosen part that has some."""
    counts = {name: part.full if full else part.quick for name, part in PARTS.items() if not parts or name in parts}
    return {name: count for name, count in counts.items() if count}


def interleaved(asked: dict[str, int]) -> list[str]:
    """Returns all keys, each part spread evenly over the whole, so that a cut cuts every part alike."""
    placed = [((index + 0.5) / count, f"{name}/{index}") for name, count in asked.items() for index in range(count)]
    return [key for _, key in sorted(placed)]


def commit() -> str:
    """Returns the last commit that changed what is tried, with a hash of the changes since, if there are any."""
    name, status, changes = (
        subprocess.run(["git", "-C", str(ROOT), *words, "--", *TRIED], capture_output=True, text=True).stdout.strip()
        for words in (("log", "-1", "--format=%h"), ("status", "--porcelain"), ("diff", "HEAD"))
    )
    changed = hashlib.sha256(f"{status}{changes}".encode()).hexdigest()[:8]
    return f"{name or 'unknown'}{f'-changed-{changed}' if status else ''}"


def work(keys: list[str], out: Path, arguments: argparse.Namespace, deadline: float) -> None:
    """Runs trials one after another until the deadline, and appends their results to a file of this process."""
    prepare()
    scratch = Path(tempfile.mkdtemp(prefix="torture-"))
    bench = Bench(scratch, arguments.seed, preloaded_python(), arguments.soak)
    place = out / f"{socket.gethostname()}-{os.getpid()}-{time.time_ns()}.jsonl"
    revision = commit()
    try:
        for key in keys:
            if time.monotonic() > deadline:
                break
            began = time.monotonic()
            trial = bench.trial(key)
            _try(trial)
            results.append(place, results.result_of(trial, time.monotonic() - began, revision))
            if trial.faults:
                more = f" (and {len(trial.faults) - 1} more)" if len(trial.faults) > 1 else ""
                print(f"FAILED {key} ({trial.note}): {trial.faults[0].kind}: {trial.faults[0].text}{more}")
                print(f"  again: {repeating(trial)}", flush=True)
            if trial.faults or arguments.keep:
                _keep(trial, out / "failures")
            shutil.rmtree(trial.folder, ignore_errors=True)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _try(trial: Trial) -> None:
    try:
        PARTS[trial.key.partition("/")[0]].run(trial)
    except Exception:
        trial.fault("wrong", f"the trial itself failed: {traceback.format_exc()[-600:]}")


def _keep(trial: Trial, failures: Path) -> None:
    """Keeps the folder of a trial, with the command that repeats it and the commands that it ran."""
    target = failures / trial.key.replace("/", "-")
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(trial.folder, target, symlinks=True, ignore=_special_files)
    lines = [repeating(trial), trial.note, *trial.commands]
    (target / "command.txt").write_text("\n".join([*lines, *map(str, trial.faults)]) + "\n")


def repeating(trial: Trial) -> str:
    """Returns the command that repeats a trial and keeps its folder."""
    return f".venv/bin/python benchmarks/torture.py --seed {trial.seed} --key {trial.key} --keep"


def _special_files(folder: str, names: list[str]) -> list[str]:
    """Returns the names that are no regular files, folders or links, or are large: copying them could hang."""
    paths = [(name, Path(folder, name)) for name in names]
    return [
        name
        for name, path in paths
        if not path.is_symlink() and not path.is_dir() and (not path.is_file() or path.stat().st_size > 1 << 24)
    ]


def run(arguments: argparse.Namespace, out: Path, asked: dict[str, int]) -> None:
    """Runs what is left of the shard's trials, in `--workers` processes."""
    shard, shards = map(int, arguments.shard.split("/"))
    keys = arguments.key or interleaved(asked)[shard::shards]
    done = {} if arguments.key else results.load(out)
    keys = [key for key in keys if key not in done]
    deadline = time.monotonic() + 60 * arguments.minutes
    children = []
    for worker in range(min(arguments.workers, len(keys))):
        child = os.fork()
        if child == 0:
            work(keys[worker :: arguments.workers], out, arguments, deadline)
            sys.exit()
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


def main() -> int:
    """Runs the trials and prints the report. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="the full set")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--shard", default="0/1", help="INDEX/COUNT")
    parser.add_argument("--minutes", type=float, default=75, help="begin no trial after that")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--parts", nargs="*", default=[], choices=[*PARTS], metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--key", nargs="+", help="run these trials alone, even if they were run")
    parser.add_argument("--soak", type=int, default=soak.SECONDS, help="seconds of the soak")
    parser.add_argument("--keep", action="store_true", help="keep the folders of all trials")
    parser.add_argument("--complete", action="store_true", help="exit with 1 if trials are left at the end")
    parser.add_argument("--report", action="store_true", help="run nothing, print the report")
    arguments = parser.parse_args()
    chosen = "full" if arguments.full else "quick"
    out = ROOT / "outputs" / "torture" / commit() / f"{chosen}-{arguments.seed}"
    asked = keys_of(arguments.full, arguments.parts)
    if not arguments.report:
        run(arguments, out, asked)
    try:
        found = results.load(out)
    except results.MixedResultsError as error:
        print(error, file=sys.stderr)
        return 1
    if arguments.key:
        print(
            "\n".join(
                f"{key}: {'failed' if found[key]['faults'] else 'passed'}, {found[key]['note']}"
                for key in arguments.key
            )
        )
        return any(found[key]["faults"] for key in arguments.key)
    found = {key: line for key, line in found.items() if key.partition("/")[0] in asked}
    text = results.report(found, asked, f"Torture, {chosen} set, seed {arguments.seed}")
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.md").write_text(text)
    short = [*results.first_table(found, asked), *results.problems(found)]
    print(text if arguments.full else "\n".join(short))
    wanted = set(interleaved(asked))
    missing = len(wanted - found.keys())
    if missing:
        print(f"{missing} of {len(wanted)} trials have not been run")
    left = missing and (arguments.report or arguments.complete)
    return bool(left or any(found[key]["faults"] for key in wanted & found.keys()))


if __name__ == "__main__":
    sys.exit(main())
