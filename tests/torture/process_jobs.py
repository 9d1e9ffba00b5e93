"""Jobs of several processes: starts them, finds their processes in /proc, and waits until none of them is left."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

SCRIPTS = Path(sys.executable).parent
HOOKS = Path(__file__).parent / "process_hooks"
MARK = "GAN_CLI_TEST_JOB"  # an environment variable that all processes of a job inherit
NAME = "run"
TINY = (
    "dataset=shapes", "dataset.size=60", "image_size=8", "batch_size=8", "threads=1", "precision=fp32", "recipe=none",
    "architecture.generator.base_channels=2", "architecture.discriminator.base_channels=2", "optimizer=sgd",
    "training.lr_schedule=constant", "training.log_every=1", "training.checkpoint_every=5", "training.sample_every=100",
    "device=cpu", f"name={NAME}",
)  # fmt: skip
START = 300.0  # seconds that a job may take on a busy machine until its first checkpoint, or for the rest of a run


def gan_train(*arguments: str) -> list[str]:
    """Returns the command `gan-train` with these arguments."""
    return [str(SCRIPTS / "gan-train"), *arguments]


def torchrun(count: int, *arguments: str, options: tuple[str, ...] = ()) -> list[str]:
    """Returns the command that trains by `count` processes that torchrun starts."""
    command = [str(SCRIPTS / "torchrun"), "--standalone", f"--nproc-per-node={count}", *options, "--no-python"]
    return [*command, *gan_train(*arguments)]


@dataclass
class Job:
    """A command that trains by several processes, in a session of its own. Its output is in files of `folder`."""

    folder: Path
    command: list[str]
    fault: str = ""  # of `process_hooks`
    mark: str = field(default_factory=lambda: secrets.token_hex(8))

    def __post_init__(self) -> None:
        self.here, self.temporary = self.folder / "here", self.folder / "tmp"
        for path in (self.here, self.temporary):
            path.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, MARK: self.mark, "TMPDIR": str(self.temporary), "OMP_NUM_THREADS": "1"}
        if self.fault:
            environment |= {"PROCESS_FAULT": self.fault, "PYTHONPATH": str(HOOKS)}
        with open(self.folder / "out", "w") as out, open(self.folder / "err", "w") as errors:
            self.process = subprocess.Popen(
                self.command, cwd=self.here, env=environment, start_new_session=True, stdin=subprocess.DEVNULL,
                stdout=out, stderr=errors,
            )  # fmt: skip

    @property
    def output(self) -> str:
        return (self.folder / "out").read_text(errors="replace")

    @property
    def errors(self) -> str:
        return (self.folder / "err").read_text(errors="replace")

    @property
    def run(self) -> Path | None:
        """The folder of the run, None before it was made."""
        return next(iter(sorted(self.here.glob(f"outputs/{NAME}/*"))), None)

    def step(self) -> int:
        """Returns the last step that the run has logged, 0 before."""
        try:
            lines = [] if self.run is None else (self.run / "metrics.jsonl").read_text().splitlines()
            return int(json.loads(lines[-1])["step"]) if lines else 0
        except (OSError, ValueError):  # it is being written
            return 0

    def wait_for_step(self, step: int) -> None:
        """Waits until the run has done this step and saved a checkpoint. Raises RuntimeError if it ends before."""
        until = time.monotonic() + START
        while self.step() < step or not [*self.here.glob(f"outputs/{NAME}/*/checkpoints/last.safetensors")]:
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"did not reach step {step}: {self.errors[-500:]}")
            time.sleep(0.01)

    def wait_for_ranks(self, count: int) -> None:
        """Waits until the processes that train have been started. Raises RuntimeError if they are not."""
        until = time.monotonic() + START
        while len(self.ranks()) < count:
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"did not start: {self.errors[-500:]}")
            time.sleep(0.01)

    # --- its processes -----------------------------------------------------------------------------------------------

    def processes(self) -> dict[int, dict[str, str]]:
        """Returns the environment of each process of the job that has not ended, by its id."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                parts = (folder / "environ").read_bytes().split(b"\0")
                if f"{MARK}={self.mark}".encode() in parts and _state(folder) not in "ZX":
                    pairs = (part.decode(errors="replace").partition("=") for part in parts)
                    found[int(folder.name)] = {name: value for name, _, value in pairs}
            except OSError:  # it has just ended
                continue
        return found

    def ranks(self) -> dict[int, int]:
        """Returns the id of each process that trains, by its number."""
        return {
            int(variables["RANK"]): process
            for process, variables in self.processes().items()
            if variables.get("RANK", "").isdigit() and _parent(process) == self.process.pid
        }

    def seconds_until_gone(self, limit: float, processes: set[int] | None = None) -> float | None:
        """Returns the seconds until no process of the job, or none of `processes`, is left; None after `limit`.

        It looks twice, since a process that begins another program has no environment for a moment.
        """
        began, gone = time.monotonic(), None
        while time.monotonic() - began < limit:
            self.process.poll()  # else it would stay as a zombie
            left = self.processes().keys()
            if left & (left if processes is None else processes):
                gone = None
            elif gone is None:
                gone = time.monotonic() - began
            else:
                return gone
            time.sleep(0.02)
        return None

    def kill(self) -> None:
        """Kills what is left of the job."""
        while left := self.processes():
            for process in left:
                _send(process, signal.SIGKILL)
            self.process.poll()
            time.sleep(0.02)
        self.process.wait()


def _send(process: int, number: int) -> None:
    try:
        os.kill(process, number)
    except ProcessLookupError:
        return


def _state(folder: Path) -> str:
    return (folder / "stat").read_text().rpartition(")")[2].split()[0]


def _parent(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
