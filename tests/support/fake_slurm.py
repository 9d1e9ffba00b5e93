"""Slurm's commands for tests, on this machine: `sbatch`, `srun`, `scancel`, `scontrol requeue` and `sacct`.

`install` writes a script of each name, which runs this file. The folder of the environment variable FAKE_SLURM holds
a file with the state of each job, and the batch scripts. Imports nothing but the standard library.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = ("sbatch", "srun", "scancel", "scontrol", "sacct")
ENDED = ("COMPLETED", "FAILED", "CANCELLED")


def install(folder: Path) -> dict[str, str]:
    """Writes the commands into this folder. Returns the environment in which a process finds them."""
    bin_folder, state = folder / "bin", folder / "slurm"
    bin_folder.mkdir(parents=True)
    state.mkdir()
    for name in COMMANDS:
        script = bin_folder / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S -P "{Path(__file__).resolve()}" {name} "$@"\n')
        script.chmod(0o755)
    return {"PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}", "FAKE_SLURM": str(state)}


def job_states(folder: Path) -> dict[str, str]:
    """Returns the state of each job, by its id, such as `1_0` for the first of an array."""
    return {path.stem: path.read_text() for path in sorted((folder / "slurm").glob("*.state"))}


def _state() -> Path:
    return Path(os.environ["FAKE_SLURM"])


def _set(job: str, state: str) -> None:
    new = _state() / f"{job}.new"
    new.write_text(state)
    new.replace(_state() / f"{job}.state")


def _get(job: str) -> str:
    return (_state() / f"{job}.state").read_text()


def _sbatch(script: str) -> None:
    """Starts a process for each job of the script."""
    number = str(len(list(_state().glob("*.sh"))) + 1)
    text = Path(script).read_text()
    (_state() / f"{number}.sh").write_text(text)
    array = re.search(r"^#SBATCH --array='?0-(\d+)%(\d+)", text, re.M)
    jobs = [f"{number}_{index}" for index in range(int(array[1]) + 1)] if array else [number]
    for job in jobs:
        _set(job, "PENDING")
    for job in jobs:
        command = [sys.executable, "-S", "-P", __file__, "run", job, array[2] if array else "1"]
        subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    print(f"Submitted batch job {number}")


def _run(job: str, most: str) -> None:
    """Runs a job when its turn has come, and again whenever it is queued again."""
    number, _, index = job.partition("_")
    environment = dict(os.environ, SLURM_JOB_ID=number, SLURM_NTASKS="1", SLURM_PROCID="0", SLURM_LOCALID="0")
    if index:
        environment |= {"SLURM_ARRAY_JOB_ID": number, "SLURM_ARRAY_TASK_ID": index}
    while (waiting := _get(job)) == "PENDING":
        ended = sum(_get(f"{number}_{each}") in ENDED for each in range(int(index or 0)))
        if int(index or 0) - ended < int(most):
            break
        time.sleep(0.05)
    while waiting != "CANCELLED":
        process = subprocess.Popen(["bash", f"{_state()}/{number}.sh"], env=environment, start_new_session=True)
        (_state() / f"{job}.pid").write_text(str(process.pid))
        _set(job, "RUNNING")
        code = process.wait()
        if not (_state() / f"{job}.requeue").exists():
            if _get(job) != "CANCELLED":
                _set(job, "COMPLETED" if code == 0 else "FAILED")
            return
        (_state() / f"{job}.requeue").unlink()
        with (_state() / f"{job}.requeued").open("a") as file:
            file.write("once\n")


def _kill(job: str, number: int) -> None:
    os.killpg(int((_state() / f"{job}.pid").read_text()), number)


def _scontrol(requeue: str, job: str) -> None:
    (_state() / f"{job}.requeue").touch()
    _kill(job, signal.SIGKILL)


def _scancel(*arguments: str) -> None:
    jobs = [each for each in arguments if not each.startswith("-")]
    for job in jobs:
        if _get(job) == "PENDING":
            _set(job, "CANCELLED")
        elif _get(job) == "RUNNING" and "--state=PENDING" not in arguments:
            _set(job, "CANCELLED")
            _kill(job, signal.SIGKILL)


def _sacct(*arguments: str) -> None:
    print("JobID|State|NodeList")
    for job in (name for flag, name in itertools.pairwise(arguments) if flag == "-j"):
        for path in sorted(_state().glob(f"{job}*.state")):
            if path.stem.partition("_")[0] == job:
                print(f"{path.stem}|{path.read_text()}|node")


def _srun(*arguments: str) -> None:
    """Runs the command after srun's flags, with its output in the file of `--output`."""
    output = arguments[arguments.index("--output") + 1]
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    job = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ["SLURM_JOB_ID"]
    output = output.replace("%A_%a", job).replace("%j", job).replace("%t", "0")
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    command = arguments[arguments.index("--output") + 2 :]
    os.execvp(command[0], command)


if __name__ == "__main__":
    {"run": _run, **{name: globals()[f"_{name}"] for name in COMMANDS}}[sys.argv[1]](*sys.argv[2:])
