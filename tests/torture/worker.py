"""Runs the commands of a trial, each in a process forked from one that has imported torch already.

The worker itself never computes with torch: a fork after its threads have started can hang.
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, TypeVar

from support.preloaded_python import PRELOADED

MODULES = (*PRELOADED, "gan_cli.export.export", "gan_cli.sweeps.compare")
BLOCKED_SECONDS = 20  # without CPU time, and without waiting for a CPU or a disk: the command hangs
LEAST_CPU = 0.1  # seconds within BLOCKED_SECONDS: a process that only polls hangs too
CPU_SECONDS = 60
MOST_MEMORY = 8 << 30  # of address space, which spares the machine
NOT_RUN = "not run: "
TRACEBACK = "Traceback (most recent call last)"
# The kinds of faults, and their names in the table.
KINDS = {
    "corrupt": "corrupt",  # a damaged file is used, or left under its final name
    "lost": "lost",  # work is missing
    "executed": "executed",  # code, programs, sockets, writes elsewhere, escapes on the console
    "traceback": "tracebacks",
    "hang": "hangs",
    "limit": "over limits",
    "leftover": "left behind",  # a temporary file
    "wrong": "wrong",  # another exit code, message or file than documented
}
ROOT = Path(__file__).resolve().parents[2] / "gan_cli"
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
Result = TypeVar("Result")


class Fault(NamedTuple):
    """A broken promise: one of KINDS, and a line that describes it."""

    kind: str
    text: str


class Ended(NamedTuple):
    """How a command ended: its exit code (-9: killed by signal 9), CPU seconds, peak memory in MiB and output."""

    code: int
    cpu: float
    memory: float
    output: str
    error: str
    hung: bool

    @property
    def last_line(self) -> str:
        """The last line of standard error, or of standard output if that is empty."""
        lines = (self.error.strip() or self.output.strip()).splitlines()
        return ascii(lines[-1][:300]) if lines else ""


def prepare() -> None:
    """Imports what the commands need, and composes a config of each, so that forked processes start fast."""
    os.environ["OMP_NUM_THREADS"] = "1"
    for number in STOPPING:  # a shell starts background jobs with SIGINT ignored, and our commands keep that
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    import torch

    from gan_cli import device
    from gan_cli.evaluation.metrics import classifier

    known = device.git_state(ROOT)
    device.git_state = lambda folder: known  # else each command starts git, which strace would kill too

    classifier.LabelledImages.design = classifier.ClassifierDesign(steps=60)  # else it takes the longest
    torch.set_num_threads(1)
    for name in MODULES:
        __import__(name)
    from support.composition_cache import keep_compositions

    keep_compositions()
    from gan_cli.config.compose import compose_command
    from gan_cli.reports.html_page import FOLDER, _environment

    for command in ("train", "sample", "eval", "export", "project", "direction", "report", "compare"):
        compose_command(command, [])
    for template in _environment(FOLDER).list_templates(["jinja"]):
        _environment(FOLDER).get_template(template)


@dataclass
class Trial:
    """One trial, with a folder of its own. The same seed and key always make the same trial."""

    key: str
    seed: int
    folder: Path
    bench: Bench
    faults: list[Fault] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    cases: int = 1  # tried in this trial
    cpu: float = 0.0
    memory: float = 0.0
    note: str = ""  # what was drawn
    trained: int = 0  # of random configs
    cpu_seconds: int = CPU_SECONDS  # of a command

    def __post_init__(self) -> None:
        self.random = Random(f"{self.seed}/{self.key}")
        for path in (self.here, self.folder / "home", self.folder / "tmp"):
            path.mkdir(parents=True, exist_ok=True)

    @property
    def here(self) -> Path:
        """The current folder of the commands."""
        return self.folder / "here"

    @property
    def index(self) -> int:
        """The number of the trial within its part."""
        return int(self.key.rpartition("/")[2])

    def fault(self, kind: str, text: str) -> None:
        """Records a broken promise."""
        self.faults.append(Fault(kind, text))

    def skip(self, reason: str) -> None:
        """Records that the trial cannot run here. The report says so."""
        self.cases, self.note = 0, f"{NOT_RUN}{reason}"

    def run(
        self, command: str, *arguments: str, before: Callable[[], None] | None = None, checked: bool = True
    ) -> Ended:
        """Runs `gan-<command>`. `before` is called in its process first, for example to plan a kill."""
        return self.wait(self.start_command(command, *arguments, before=before), checked)

    def start_command(self, command: str, *arguments: str, before: Callable[[], None] | None = None) -> int:
        """Starts `gan-<command>` and returns its process id, for `wait`."""
        from gan_cli.cli.main import run_command

        self.commands.append(f"gan-{command} {' '.join(arguments)}")
        return self.start(lambda: run_command(command, list(arguments)), before)

    def call(
        self, function: Callable[[], int], before: Callable[[], None] | None = None, checked: bool = True
    ) -> Ended:
        """Calls a function, which returns the exit code, in a forked process."""
        return self.wait(self.start(function, before), checked)

    def start(self, function: Callable[[], int], before: Callable[[], None] | None = None) -> int:
        """Starts the forked process of a call and returns its id."""
        sys.stdout.flush()
        child = os.fork()
        if child:
            return child
        code = 111
        try:
            self._enter()
            if before is not None:
                before()
            code = _exit_code(function)
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def wait(self, child: int, checked: bool = True) -> Ended:
        """Waits for a process of this trial, kills it if it hangs, and records tracebacks, hangs and CPU limits."""
        hung, moved, cpu = False, time.monotonic(), 0.0
        asked = moved
        while True:
            ended, status, used = os.wait4(child, os.WNOHANG)
            if ended:
                break
            now = time.monotonic()
            if now - asked > BLOCKED_SECONDS / 20:
                asked = now
                busy, spent = _activity(child, self.folder)
                if busy or abs(spent - cpu) > LEAST_CPU:
                    moved, cpu = now, spent
                elif now - moved > BLOCKED_SECONDS and not hung:
                    hung = True
                    os.killpg(child, signal.SIGKILL)
            time.sleep(0.005)
        console = [(self.folder / f"{child}.{name}").read_text(errors="replace") for name in ("out", "err")]
        seconds = used.ru_utime + used.ru_stime
        result = Ended(os.waitstatus_to_exitcode(status), seconds, used.ru_maxrss / 1024, *console, hung)
        self.cpu, self.memory = self.cpu + seconds, max(self.memory, result.memory)
        if checked:
            self._check(result)
        return result

    def _check(self, ended: Ended) -> None:
        last = self.commands[-1] if self.commands else "call"
        if ended.hung:
            self.fault("hang", f"{last}: hangs")
        if ended.code == -signal.SIGXCPU:
            self.fault("limit", f"{last}: more than {self.cpu_seconds} s of CPU")
        if TRACEBACK in ended.error + ended.output:
            self.fault("traceback", f"{last}: {ended.last_line}")
        if any(ord(sign) < 32 and sign not in "\n\t\r" for sign in ended.error + ended.output):
            self.fault("executed", f"{last}: control characters reach the console")

    def _enter(self) -> None:
        """Makes the forked process a session of its own, with its own folder, home, streams and limits."""
        os.setsid()
        os.chdir(self.here)
        os.environ.update(HOME=str(self.folder / "home"), TMPDIR=str(self.folder / "tmp"), COLUMNS="200")
        os.environ.pop("XDG_CACHE_HOME", None)
        sys.executable = self.bench.python
        gc.callbacks.clear()  # hypothesis adds one, in which a signal would be lost
        for number, name in ((1, "out"), (2, "err")):
            target = os.open(self.folder / f"{os.getpid()}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            os.dup2(target, number)
            os.close(target)
        sys.stdout = open(1, "w", closefd=False)
        sys.stderr = open(2, "w", closefd=False, errors="backslashreplace")
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (self.cpu_seconds, self.cpu_seconds + 10))
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))


def _exit_code(function: Callable[[], int]) -> int:
    try:
        return function()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        traceback.print_exc()
        return 1


def _activity(child: int, folder: Path) -> tuple[bool, float]:
    """Returns whether a process of a trial runs or waits for a CPU or a disk, and the CPU seconds of all of them.

    They are the child, and those whose current folder is in the trial's, such as the jobs of a sweep, which the child
    waits for. Without /proc, the child always runs.
    """
    states, seconds = [], 0.0
    for path in [path for path in Path("/proc").glob("[0-9]*") if path.name == str(child) or _is_inside(path, folder)]:
        with contextlib.suppress(OSError):  # it has just ended
            parts = (path / "stat").read_text().rpartition(")")[2].split()
            states.append(parts[0])
            seconds += (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")
    return not states or "R" in states or "D" in states, seconds


def _is_inside(process: Path, folder: Path) -> bool:
    try:
        return Path(os.readlink(process / "cwd")).is_relative_to(folder)
    except OSError:
        return False


@dataclass
class Bench:
    """What the trials of a worker share: a folder, and results that are made once."""

    folder: Path
    seed: int
    python: str  # the program that starts the jobs of a sweep
    soak_seconds: int = 0
    made: dict[Any, Any] = field(default_factory=dict)
    begun: int = 0

    def trial(self, key: str) -> Trial:
        """Returns a trial with an empty folder."""
        folder = self.folder / key.replace("/", "-")
        shutil.rmtree(folder, ignore_errors=True)
        return Trial(key, self.seed, folder, self)

    def once(self, name: Sequence[Any], make: Callable[[Trial], Result]) -> Result:
        """Returns what `make` returns for a trial of this name, whose folder stays. Makes it once."""
        if name not in self.made:
            self.begun += 1  # `make` may call this too
            trial = self.trial(f"shared-{self.begun}/0")
            self.made[name] = make(trial)
            if trial.faults:
                raise RuntimeError(f"{name}: {trial.faults}")
        return self.made[name]
