"""Trains for a long time while the process is killed and started again and again, and watches what it uses."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import NamedTuple

from torture.scenarios import NAME, TINY, only_run
from torture.verify import differences, state_of, stray_files
from torture.worker import Trial

SECONDS = 20 * 60
KILLED_AFTER = (30 / SECONDS, 90 / SECONDS)  # shares of the whole time
WARM_UP = 10  # seconds of a process, or a fifth of its time, before it is measured
MORE_MEMORY, MORE_FILES, MORE_DISK = 64, 8, 2  # MiB, descriptors, MiB that are no growth
CONFIG = (*TINY[:-1], f"name={NAME}", "training.checkpoint_every=20", "training.sample_every=100",
          "training.lr_schedule=constant")  # fmt: skip


class Usage(NamedTuple):
    """What a process uses at an instant: MiB of memory, open files, MiB of its run's folder."""

    memory: float
    files: int
    disk: float


def soak(trial: Trial) -> None:
    """Kills a run with TERM or KILL for `--soak` seconds; then it is completed and compared with an unbroken run."""
    seconds = trial.bench.soak_seconds
    trial.cpu_seconds = 3 * seconds + 60
    end = time.monotonic() + seconds
    most: list[Usage] = []  # of each process
    while time.monotonic() < end:
        number = trial.random.choice((signal.SIGKILL, signal.SIGTERM))
        lived = min(seconds * trial.random.uniform(*KILLED_AFTER), max(end - time.monotonic(), 1))
        child = trial.start_command("train", *CONFIG, "steps=1000000", "resume=auto")
        most += _watch(child, trial.here / "outputs", lived)
        os.kill(child, number)
        ended = trial.wait(child)
        if ended.code not in (-number, 143 if number == signal.SIGTERM else -number):
            trial.fault("wrong", f"exit code {ended.code} after {number.name}: {ended.last_line}")
            return
    trial.note = f"{seconds} s, {len(most)} processes measured"
    _check_growth(trial, most)
    _compare(trial)


def _watch(child: int, folder: Path, seconds: float) -> list[Usage]:
    """Waits, and returns the most that a process used after its start; nothing if it could not be measured."""
    began, found = time.monotonic(), []
    while time.monotonic() - began < seconds:
        time.sleep(min(1.0, seconds / 10))
        if time.monotonic() - began > min(WARM_UP, seconds / 5):
            with contextlib.suppress(OSError, ValueError, IndexError):
                found.append(_usage(child, folder))
    return [Usage(*map(max, zip(*found, strict=True)))] if found else []


def _usage(process: int, folder: Path) -> Usage:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    sizes = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # a file that was just removed
            sizes += path.lstat().st_size
    files = len(os.listdir(f"/proc/{process}/fd"))
    return Usage(pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20), files, sizes / (1 << 20))


def _check_growth(trial: Trial, most: list[Usage]) -> None:
    """Compares the last third of the processes with the first third."""
    third = max(len(most) // 3, 1)
    first, last = (Usage(*map(max, zip(*part, strict=True))) for part in (most[:third], most[-third:]))
    trial.note += f"; {first.memory:.0f} to {last.memory:.0f} MiB, {first.files} to {last.files} files"
    if last.memory > first.memory + MORE_MEMORY:
        trial.fault("limit", f"memory grows from {first.memory:.0f} to {last.memory:.0f} MiB")
    if last.files > first.files + MORE_FILES:
        trial.fault("limit", f"open files grow from {first.files} to {last.files}")


def _compare(trial: Trial) -> None:
    """Ends the run after the step that it has reached, and trains an unbroken one of as many steps."""
    run = only_run(trial)
    steps = max(int(path.stem[5:]) for path in (run / "checkpoints").glob("step_*.safetensors")) + 50
    ended = trial.run("train", f"resume={run}", f"steps={steps}")
    expected = trial.folder / "whole"
    trial.run("train", *CONFIG, f"steps={steps}", f"output={expected}")
    (whole,) = (expected / NAME).iterdir()
    if ended.code:
        trial.fault("wrong", f"exit code {ended.code}: {ended.last_line}")
    found = {path: value for path, value in state_of(run).items() if path != "budget.jsonl"}  # steps= was changed
    trial.faults += differences(found, state_of(whole), older=False)
    trial.faults += stray_files(trial.folder)
    sizes = [sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) >> 20 for folder in (run, whole)]
    trial.note += f"; {steps} steps, {sizes[0]} MiB of disk"
    if sizes[0] > sizes[1] + MORE_DISK:
        trial.fault("limit", f"the run takes {sizes[0]} MiB of disk, an unbroken one {sizes[1]} MiB")
