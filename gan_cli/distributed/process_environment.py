"""What the environment says about the processes of a run: those of `torchrun`, or those that `gan-train` started.

Imports no torch.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from gan_cli.errors import UsageError, one_line
from gan_cli.stop_signals import available_signals

TORCHRUN = "TORCHELASTIC_RUN_ID"
STORE, STARTER = "GAN_CLI_PROCESS_STORE", "GAN_CLI_PROCESS_STARTER"  # set by `cli/start_processes.py`
CHECK_SECONDS = 0.5
PR_SET_PDEATHSIG = 1  # of Linux's prctl(2)
# The network interface of this machine alone, and the variables by which gloo and NCCL take it.
LOOPBACK, INTERFACES = ("lo0" if os.uname().sysname == "Darwin" else "lo"), ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")


@dataclass(frozen=True)
class ProcessEnvironment:
    """This process is number `rank` of the `count` of a run, and number `local_rank` of the `local_count` here.

    The processes meet in the file `store`, or without it where torchrun's variables say. `job` identifies torchrun on
    this machine, which may start them again; it is empty for processes of `gan-train`, which does not.
    """

    rank: int
    count: int
    local_rank: int
    local_count: int
    store: Path | None
    job: str = ""


def read_environment() -> ProcessEnvironment | None:
    """Returns what the environment says, None if this process was started alone. Raises UsageError for a wrong value.

    The variables of torchrun are read only if torchrun itself started this process, since other tools, such as Slurm,
    set some of them too.
    """
    store = os.environ.get(STORE)
    if store is None and TORCHRUN not in os.environ:
        return None
    rank, count = _number("RANK"), _number("WORLD_SIZE")
    local_rank, local_count = _number("LOCAL_RANK", rank), _number("LOCAL_WORLD_SIZE", count)
    if not (rank < count and local_rank < local_count <= count):
        raise UsageError(f"RANK={rank} WORLD_SIZE={count}: a process has a number below that of all processes")
    if store is not None:
        return ProcessEnvironment(rank, count, local_rank, local_count, Path(store))
    job = f"{one_line(os.environ[TORCHRUN], 100)} {_identity_of_parent()}"
    return ProcessEnvironment(rank, count, local_rank, local_count, None, job)


def is_directed() -> bool:
    """Returns whether process 0 of the run, another process than this one, decides what is done and gives the data."""
    environment = read_environment()
    return environment is not None and environment.rank > 0


def _number(variable: str, default: int | None = None) -> int:
    text = os.environ.get(variable, "" if default is None else str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 7):
        raise UsageError(f"{variable}={one_line(text, 40)}: not a number of processes, start them by torchrun")
    return int(text)


def _identity_of_parent() -> str:
    """Returns a text that no other process has, now or later: the machine, the number and the start of the parent."""
    parent = os.getppid()
    try:
        started = Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):  # only Linux has this file
        started = _start_time(parent)
    return f"{one_line(socket.gethostname(), 100)} {parent} {started}"


def _start_time(process: int) -> str:
    """Returns the time at which a process started, to the second; "?" if the program `ps` does not say it."""
    try:
        found = subprocess.run(["ps", "-o", "lstart=", "-p", str(process)], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return "?"
    return one_line(found.stdout, 40) or "?"


def reports_losses() -> bool:
    """Returns whether this process prints that another was lost: process 0, unless what started them prints it."""
    return STORE not in os.environ and os.environ.get("RANK", "0") == "0"


def keep_connections_local(environment: ProcessEnvironment) -> None:
    """Lets the processes connect over the loopback interface if all are on this machine and the user set no other."""
    if environment.local_count == environment.count:
        for variable in INTERFACES:
            os.environ.setdefault(variable, LOOPBACK)


def stop_with_parent() -> None:
    """From now on, sends TERM to this process when what started it has ended, so that it saves a checkpoint and stops.

    If the starter was `gan-train` and has ended already, that is now. On Linux, a process that is stopped (SIGSTOP)
    then continues, since it could not stop by itself. Does nothing in a process that is not one of several of a run.
    """
    if STORE not in os.environ and TORCHRUN not in os.environ:
        return
    parent = os.getppid()
    starter = int(os.environ.get(STARTER, parent))  # the parent, unless a wrapper of Python is between them
    continue_with_parent()

    def wait() -> None:
        while os.getppid() == parent and _is_running(starter):
            time.sleep(CHECK_SECONDS)
        _remove_store()
        os.kill(os.getpid(), available_signals("SIGTERM")[0])

    threading.Thread(target=wait, daemon=True, name="stop_with_parent").start()


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def continue_with_parent() -> None:
    """Lets the kernel send CONT to this process when its parent ends, which wakes a stopped one. Only Linux can.

    CONT changes nothing in a running process, so it does no harm if only that thread of the parent ends that started
    this process: for the kernel, the thread is the parent. KILL would lose what was trained since the last checkpoint.
    """
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGCONT), *[ctypes.c_ulong(0)] * 3)


def end_as_lost(code: int) -> NoReturn:
    """Ends this process at once after another was lost: its connections may keep it from ending as usual.

    Under torchrun, processes of this machine that are stopped (SIGSTOP) are continued, and then find the same. torchrun
    itself would wait for them for 30 seconds. `gan-train` kills them.
    """
    if STORE not in os.environ:
        with contextlib.suppress(OSError):
            for sibling in Path(f"/proc/{os.getppid()}/task/{os.getppid()}/children").read_text().split():
                if _is_stopped(sibling):
                    os.kill(int(sibling), signal.SIGCONT)
    if threading.current_thread() is threading.main_thread():  # which may hold the lock of a stream
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
    os._exit(code)


def _is_stopped(process: str) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False


def _remove_store() -> None:
    """Removes the file in which the processes met, and its folder, as their starter would have done."""
    if STORE in os.environ:
        store = Path(os.environ[STORE])
        with contextlib.suppress(OSError):
            store.unlink(missing_ok=True)
            store.parent.rmdir()


def end_process(code: int) -> int:
    """Ends this process with an exit code if it is one of several of a run; otherwise returns the code.

    What was registered for the end is done. The destructors of the connections are left out: if another process has
    ended before, the threads of these connections may abort this one.
    """
    if STORE not in os.environ and TORCHRUN not in os.environ:
        return code
    with contextlib.suppress(Exception):
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
