"""Hostile inputs: run folders, checkpoints, archives, pictures and YAML files of a stranger, given to commands."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from torture import canary
from torture.hostile import checkpoints, pictures, run_folders, yamls
from torture.scenarios import copy_run, finished_run
from torture.worker import Trial

MEMORY, CPU = 300, 10  # MiB and seconds above what the same command needs for a healthy input
CODES = (0, 2, 3, 4, 5)
FOLDER = ("dataset=folder", "image_size=16", "batch_size=8", "threads=1", "steps=1", "recipe=none", "name=n",
          "architecture.generator.base_channels=4", "architecture.discriminator.base_channels=4")  # fmt: skip
# What is tried: a function that makes the input below a folder and returns a note, and the commands that read it.
ON_RUN = (
    ("report", ["run"]), ("compare", ["run", "other"]), ("sample", ["run", "n=2"]),
    ("sample", ["run", "format=progress"]), ("train", ["resume=run", "extra_steps=1"]), ("export", ["run"]),
    ("eval", ["run", "metrics=[frechet]", "extractor=pixels", "n=20", "resamples=0"]),
)  # fmt: skip
ON_PICTURES = (("train", [*FOLDER, "dataset.path=pictures"]),)
ON_ARCHIVE = (("train", [*FOLDER, "dataset.path=pictures.zip"]),)
ON_YAML = (("train", ["dataset=ring", "architecture=mlp", "experiment=evil", "steps=1", "threads=1", "name=n"]),
           ("train", ["--help"]), ("sample", ["run", "n=2"]))  # fmt: skip
Maker = Callable[[Path, Random], str]
INPUTS: tuple[tuple[Maker, tuple[tuple[str, list[str]], ...]], ...] = (
    (run_folders.make, ON_RUN),
    (run_folders.make, ON_RUN),
    (checkpoints.make, ON_RUN[2:]),
    (pictures.make_images, ON_PICTURES),
    (pictures.make_archive, ON_ARCHIVE),
    (yamls.make, ON_YAML),
)


def hostile_input(trial: Trial) -> None:
    """Gives a hostile input to a command: one line or success, nothing executed, nothing written elsewhere, no hang."""
    make, commands = INPUTS[trial.index % len(INPUTS)]
    command, arguments = commands[trial.random.randrange(len(commands))]
    cpu, memory = trial.bench.once(
        ("healthy", command, *arguments), lambda shared: _healthy(shared, command, arguments)
    )
    copy_run(trial)
    shutil.copytree(finished_run(trial), trial.here / "other")
    (trial.folder / "victim").write_text("precious")
    note = make(trial.here, trial.random)
    trial.note = f"{note}; gan-{command} {' '.join(each for each in arguments if each not in FOLDER)}"
    check_command(trial, command, arguments, cpu, memory)


def check_command(
    trial: Trial,
    command: str,
    arguments: Sequence[str],
    cpu: float,
    memory: float,
    before: Callable[[], object] = lambda: None,
    programs: Sequence[str] = canary.PROGRAMS,
) -> None:
    """Runs a command on a hostile input. `cpu` and `memory` are what it needs for a healthy one."""
    trial.cpu_seconds = round(cpu) + 2 * CPU  # ends it
    size = sum(path.stat().st_size for path in trial.here.rglob("*") if path.is_file() and not path.is_symlink())
    log = trial.folder / "sightings"
    ended = trial.run(command, *arguments, before=lambda: (before(), canary.watch(trial.folder, log, programs)))
    for line in canary.sightings(log)[:3]:
        trial.fault("executed", line)
    if (trial.folder / "victim").read_text() != "precious":
        trial.fault("executed", "overwrites a file outside the run")
    if ended.hung:
        return
    if ended.code not in CODES:
        trial.fault("wrong", f"exit code {ended.code}: {ended.last_line}")
    if ended.cpu > cpu + CPU:
        trial.fault("limit", f"{ended.cpu:.1f} s of CPU, {cpu:.1f} s for a healthy input")
    if ended.memory > memory + MEMORY + 3 * min(size, 1 << 30) / (1 << 20):
        trial.fault("limit", f"{ended.memory:.0f} MiB, {memory:.0f} MiB for a healthy input of {size:,} bytes")


def _healthy(shared: Trial, command: str, arguments: list[str]) -> tuple[float, float]:
    """Returns the CPU seconds and the memory of a command on a healthy input."""
    for name in ("run", "other"):
        shutil.copytree(finished_run(shared), shared.here / name)
    pictures.make_healthy(shared.here)
    ended = shared.run(command, *(each for each in arguments if each != "experiment=evil"))
    if ended.code:
        raise RuntimeError(f"healthy: {ended.last_line}")
    return ended.cpu, ended.memory
