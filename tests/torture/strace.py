"""Kills commands and lets their system calls fail by `strace`, which also sees the calls of Rust and C code.

The trials are those of `kills`, at the level of the kernel. The process of a command stops at its start until strace is
attached, so only the calls of the command itself are counted.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import shutil
import signal
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

from torture.kills import check_failed, check_killed
from torture.scenarios import SCENARIOS, arguments_of, reference
from torture.shim import FAILS
from torture.worker import Ended, Trial

NAMES = ("resume", "train", "images", "grid", "export", "eval")
# The system calls that change files, and the names of the shim for them.
CALLS = {
    "openat": "open", "write": "write", "pwrite64": "write", "writev": "write", "fsync": "fsync", "fdatasync": "fsync",
    "rename": "replace", "renameat": "replace", "renameat2": "replace", "mkdir": "mkdir", "mkdirat": "mkdir",
    "link": "link", "linkat": "link", "unlink": "unlink", "unlinkat": "unlink", "rmdir": "rmdir",
    "ftruncate": "truncate",
}  # fmt: skip
ONLY_CHANGES = ("fsync", "replace", "mkdir", "link")  # others also print, or open files to read, so they fail once
LINE = re.compile(r"(\d+) +(\w+)\((.*)")
ALLOW_ANY_TRACER = 0x59616D61, -1  # PR_SET_PTRACER, PR_SET_PTRACER_ANY


class Call(NamedTuple):
    """The `number`-th call of a system call by the main thread, and its arguments as strace prints them."""

    name: str
    number: int
    arguments: str


def traced(trial: Trial) -> None:
    """Kills a command at a random system call that changes a file of it, or lets the call fail."""
    if shutil.which("strace") is None:
        trial.skip("strace is not installed")
        return
    name = NAMES[trial.index % len(NAMES)]
    whole = reference(trial, name, SCENARIOS[name])
    calls = trial.bench.once(("strace", name), partial(_record, name=name))
    if isinstance(calls, str):
        trial.skip(calls)
        return
    call = trial.random.choice(calls)
    effect = trial.random.choice(("kill", *(number for number in FAILS if CALLS[call.name] in FAILS[number])))
    forever = CALLS[call.name] in ONLY_CHANGES and trial.random.random() < 0.5
    text = "signal=SIGKILL" if effect == "kill" else f"error={errno.errorcode[int(effect)]}"
    when = f"{call.number}{'+' if forever else ''}"
    trial.note = f"{name}, {text} at {call.name} {when}: {call.arguments[-120:]}"
    ended = _run(trial, name, "-e", f"inject={call.name}:{text}:when={when}")
    if isinstance(ended, str):
        trial.skip(ended)
    elif effect == "kill":
        check_killed(trial, name, ended)
    else:
        check_failed(trial, name, ended, whole, forever)


def _record(shared: Trial, name: str) -> list[Call] | str:
    """Returns the system calls by which a command changes its files; a text if it cannot be traced."""
    ended = _run(shared, name)
    return ended if isinstance(ended, str) else parse(shared.folder / "strace", shared.here)


def _run(trial: Trial, name: str, *options: str) -> Ended | str:
    """Runs a command under strace, whose output goes to the file `strace` of the trial; returns why it cannot."""
    scenario = SCENARIOS[name]
    child = trial.start_command(scenario.command, *arguments_of(scenario, trial), before=_wait_for_tracer)
    trial.commands[-1] += f" # under strace {' '.join(options)}"
    os.waitpid(child, os.WUNTRACED)
    program = ["strace", "-f", "-y", "-qq", "-s", "16", "-o", str(trial.folder / "strace")]
    program += ["-e", f"trace={','.join(CALLS)}", "-e", "signal=none", *options, "-p", str(child)]
    tracer = subprocess.Popen(program, stderr=subprocess.PIPE, text=True)
    while tracer.poll() is None and "TracerPid:\t0\n" in Path(f"/proc/{child}/status").read_text():
        time.sleep(0.002)
    if tracer.poll() is not None:
        os.kill(child, signal.SIGKILL)
        trial.wait(child, checked=False)
        return f"strace cannot attach ({(tracer.stderr.read() if tracer.stderr else '').strip()[:200]})"
    os.kill(child, signal.SIGCONT)
    ended = trial.wait(child)
    tracer.communicate()
    return ended


def _wait_for_tracer() -> None:
    ctypes.CDLL(None).prctl(*ALLOW_ANY_TRACER, 0, 0, 0)
    os.kill(os.getpid(), signal.SIGSTOP)


def parse(log: Path, folder: Path) -> list[Call]:
    """Returns the calls of the main thread in a log of strace that change files of a folder, with relative paths."""
    calls: list[Call] = []
    counts: dict[str, int] = {}
    main = None
    for line in log.read_text(errors="replace").splitlines():
        found = LINE.match(line)
        main = main or (found and found[1])
        if found is None or found[1] != main or found[2] not in CALLS:
            continue
        name, arguments = found[2], found[3]
        counts[name] = counts.get(name, 0) + 1
        changes = name != "openat" or "O_CREAT" in arguments or "O_TRUNC" in arguments
        if changes and _path(arguments, folder).startswith(f"{folder}/"):
            calls.append(Call(name, counts[name], arguments.replace(f"{folder}/", "")))
    return calls


def _path(arguments: str, folder: Path) -> str:
    """Returns the first path or the path of the first descriptor in the arguments of a call made in a folder."""
    found = re.match(r"\d+<([^>]*)>", arguments) or re.search(r'"([^"]*)"', arguments)
    return str(folder / found[1]) if found else ""
