"""Faults of jobs of several processes: what is broken, how the job must end, and what must be left of its run."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from gan_cli.errors import CheckpointError
from gan_cli.state import checkpoint
from torture.process_jobs import NAME, START, TINY, Job, gan_train, torchrun
from torture.verify import State, differences, state_of

GRACE = 5.0  # seconds
LOST = "; resume= continues from its last checkpoint, if it had saved one"
STOPPED = "stopped by SIG{} at step"  # in the log of a run that has saved a checkpoint and ended


@dataclass
class Setting:
    """A job that is to be broken: the number of processes, the steps of its run, and seconds of `device.timeout`."""

    folder: Path
    count: int
    steps: int
    timeout: int
    random: Random
    grace: float = GRACE  # seconds after `timeout` within which the job must have ended
    resumes: bool = True  # whether the run is resumed and compared with one that was not broken

    @property
    def arguments(self) -> list[str]:
        return [*TINY, f"steps={self.steps}", f"device.timeout={self.timeout}"]


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    `inject` breaks the running job, whose processes have the given ids, of which `rank` is the number of the one that
    is broken. `code` is the exit code of the command, `line` a pattern of its one line of errors, `log` what the log of
    the run must say. `rank` is 0, another (1), or any (None).
    """

    what: str
    inject: Callable[[Job, list[int], int], None]
    code: int
    line: str = ""
    log: str = ""
    rank: int | None = None
    options: tuple[str, ...] | None = None  # of torchrun; None: gan-train starts the processes
    fault: str = ""  # of `process_hooks`
    starting: bool = False  # the processes are broken while they start
    goes_on: bool = False  # the job continues by itself


def _kill(job: Job, ids: list[int], rank: int) -> None:
    os.kill(ids[rank], signal.SIGKILL)


def _stop(job: Job, ids: list[int], rank: int) -> None:
    os.kill(ids[rank], signal.SIGSTOP)


def _terminate(job: Job, ids: list[int], rank: int) -> None:
    os.kill(ids[rank], signal.SIGTERM)


def _press_ctrl_c(job: Job, ids: list[int], rank: int) -> None:
    os.killpg(job.process.pid, signal.SIGINT)


def _kill_command(job: Job, ids: list[int], rank: int) -> None:
    job.process.kill()


def _terminate_command(job: Job, ids: list[int], rank: int) -> None:
    job.process.terminate()


def _stop_and_kill_command(job: Job, ids: list[int], rank: int) -> None:
    _stop(job, ids, rank)
    time.sleep(0.2)
    job.process.kill()


def _switch_on(job: Job, ids: list[int], rank: int) -> None:
    (job.folder / "switch").touch()


def _fill_disk_and_terminate(job: Job, ids: list[int], rank: int) -> None:
    """Fills the disk of process 0, then stops the run, which must save its last checkpoint."""
    _switch_on(job, ids, rank)
    time.sleep(0.2)
    os.kill(ids[-1], signal.SIGTERM)


KINDS = {
    "kill_0": Kind("kill -9 of process 0", _kill, 137, rf"process 0 of \d was ended by SIGKILL.*{LOST}", rank=0),
    "kill": Kind("kill -9 of another process", _kill, 137, rf"process \d of \d was ended by SIGKILL.*{LOST}", rank=1),
    "stop": Kind("SIGSTOP of a process", _stop, 6, rf"process \d of \d did not answer within device.timeout.*{LOST}"),
    "term": Kind("SIGTERM to one process", _terminate, 143, log=STOPPED.format("TERM")),
    "ctrl_c": Kind("SIGINT to all, as by Ctrl-C", _press_ctrl_c, 130, log=STOPPED.format("INT")),
    "kill_command": Kind("kill -9 of the command", _kill_command, -9, log=STOPPED.format("TERM")),
    "stop_and_kill_command": Kind(
        "SIGSTOP of a process, kill -9 of the command", _stop_and_kill_command, -9, log=STOPPED.format("TERM")
    ),
    "full_disk": Kind(
        "full disk of process 0, SIGTERM to the last one", _fill_disk_and_terminate, 5,
        r"cannot be written \(No space left on device\)", rank=0, fault="full_disk",
    ),
    "diverge": Kind("NaN in the weights of a process", _switch_on, 4, "not finite|do not agree", fault="diverge"),
    "torn_write": Kind(
        "kill -9 of process 0 within a write", _switch_on, 137, f"process 0 of .* SIGKILL.*{LOST}", rank=0,
        fault="torn_write",
    ),
    "starting_kill": Kind("kill -9 of a process that starts", _kill, 137, r"process \d of \d was ", starting=True),
    "starting_stop": Kind("SIGSTOP of a process that starts", _stop, 6, r"process \d of \d did not", starting=True),
    "starting_ctrl_c": Kind("SIGINT to all while they start", _press_ctrl_c, 130, starting=True),
    "starting_kill_command": Kind("kill -9 of the command at its start", _kill_command, -9, starting=True),
    "torchrun_kill": Kind(
        "torchrun --max-restarts=3, kill -9 of a process", _kill, 0, options=("--max-restarts=3",), goes_on=True
    ),
    "torchrun_stop": Kind("torchrun, SIGSTOP of a process", _stop, 1, options=()),
    "torchrun_term": Kind("SIGTERM of torchrun", _terminate_command, 1, log=STOPPED.format("TERM"), options=()),
    "torchrun_kill_agent": Kind("kill -9 of torchrun", _kill_command, -9, log=STOPPED.format("TERM"), options=()),
}  # fmt: skip


@dataclass
class Result:
    """How a job ended. `faults` are broken promises, each a line; `seconds` are those from the fault to the end."""

    kind: str
    count: int
    when: str = ""
    seconds: float | None = None
    code: int | None = None
    resumed: str = ""
    faults: list[str] = field(default_factory=list)


def unbroken(setting: Setting) -> State:
    """Trains the run that no fault breaks, and returns the state of its folder."""
    job = Job(setting.folder, gan_train(*setting.arguments, f"device.processes={setting.count}"))
    try:
        if job.process.wait(START) or job.run is None:
            raise RuntimeError(f"the unbroken run failed: {job.errors[-500:]}")
        return state_of(job.run)
    finally:
        job.kill()


def break_job(name: str, setting: Setting, whole: State) -> Result:
    """Starts a job, breaks it at a random instant, and checks how it ended. Then resumes its run and compares it."""
    kind, result = KINDS[name], Result(name, setting.count)
    rank = setting.random.randrange(setting.count) if kind.rank is None else kind.rank
    rank = setting.random.randrange(1, setting.count) if kind.rank == 1 else rank
    step, more = setting.random.randint(6, setting.steps // 2), setting.random.random()
    by_torchrun = kind.options is not None
    command = (
        torchrun(setting.count, *setting.arguments, options=kind.options or ())
        if by_torchrun
        else gan_train(*setting.arguments, f"device.processes={setting.count}")
    )
    job = Job(setting.folder, command, kind.fault and f"{rank} {kind.fault} {setting.folder / 'switch'}")
    try:
        if kind.starting:
            job.wait_for_ranks(setting.count)
            time.sleep(3 * more)
        else:
            job.wait_for_step(step)
            time.sleep(0.3 * more)
        processes = [each for _, each in sorted(job.ranks().items())]
        result.when = f"process {rank}, {f'{3 * more:.1f} s' if kind.starting else f'step {job.step()}'}"
        kind.inject(job, processes, rank)
        _check_end(job, kind, setting, processes, result)
    except (RuntimeError, OSError, IndexError) as error:
        result.faults.append(f"the trial itself failed: {error}")
    finally:
        job.kill()
    begun = _check_checkpoint(job, result)
    if setting.resumes:
        _resume(job, kind, setting, whole, result, begun=begun)
    return result


def _check_end(job: Job, kind: Kind, setting: Setting, processes: list[int], result: Result) -> None:
    """Waits until the processes are gone and checks how long it took, the exit code, and what was said."""
    limit = setting.timeout + setting.grace
    result.seconds = job.seconds_until_gone(START, {*processes} if kind.goes_on else None)
    if result.seconds is None:
        result.faults.append(f"left after {START:.0f} s: {[*job.processes()]}")
        return
    if result.seconds > limit:
        result.faults.append(f"ended after {result.seconds:.1f} s, not within {limit:.0f}")
    result.code = job.process.wait(START)
    if result.code != kind.code:
        result.faults.append(f"exit code {result.code}, not {kind.code}: {job.errors[-300:]!r}")
    lines = job.errors.splitlines()
    if kind.options is None and kind.code >= 0:
        wanted = {1} if kind.line else {0, 1} if kind.starting else {0}
        if len(lines) not in wanted or not re.search(kind.line or "stopped by SIG|^$", job.errors):
            result.faults.append(f"said {job.errors[-500:]!r}")
    if "Traceback (most recent call last)" in job.errors and kind.options is None:
        result.faults.append("a traceback")
    if kind.log and (job.run is None or not re.search(kind.log, (job.run / "train.log").read_text())):
        result.faults.append("saved no checkpoint: it was not stopped gently")
    if kind.options is None and (left := [*job.temporary.iterdir()]):
        result.faults.append(f"left {left[0].name} in the temporary folder")


def _check_checkpoint(job: Job, result: Result) -> bool:
    """Checks that the newest checkpoint is valid. Returns whether there is one."""
    if job.run is None or not [*job.run.glob("checkpoints/*.safetensors")]:
        return False
    try:
        refused = checkpoint.load_newest(job.run / "checkpoints")[1]
    except CheckpointError as error:
        refused = {job.run: error}
    result.faults.extend(f"damaged: {error}" for error in refused.values())
    return True


def _resume(job: Job, kind: Kind, setting: Setting, whole: State, result: Result, *, begun: bool) -> None:
    """Resumes the run, or starts it again if it had no checkpoint yet, and compares its files."""
    if not kind.goes_on:
        again = [f"resume={NAME}"] if begun else [*setting.arguments, f"device.processes={setting.count}"]
        if job.run is not None and not begun:  # ended between the creation of the folder and the first checkpoint
            shutil.rmtree(job.run)
        done = subprocess.run(gan_train(*again), cwd=job.here, capture_output=True, text=True, timeout=START)
        if done.returncode != 0 or not all(line.startswith("warning: ") for line in done.stderr.splitlines()):
            result.faults.append(f"resume: exit code {done.returncode}, {done.stderr[-300:]!r}")
    result.resumed = "by itself" if kind.goes_on else "resumed" if begun else "begun again"
    found = differences(state_of(job.run) if job.run is not None else {}, whole)
    result.faults.extend(f"not as the unbroken run: {each.text}" for each in found[:3])
