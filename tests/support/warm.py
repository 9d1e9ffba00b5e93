"""A Python that has imported torch and gan_cli already: a server forks itself for each process that a test starts.

Importing torch takes two seconds, most of what a short run takes. `warm_python()` is a program to use as
`sys.executable`: `program -m gan_cli.cli train ...` is a process of its own, with its own folder, environment, standard
streams, signals and exit code. What it cannot stand for (other modules, other `PYTHON...` variables) it leaves to the
real Python; `WARM_PATH=1` beside a `PYTHONPATH` says that what is imported already may stay, whatever is on that path.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import marshal
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

PRELOADED = (
    "gan_cli.launch.launch",
    "gan_cli.sampling.sample",
    "gan_cli.evaluation.evaluate",
    "gan_cli.reports.report",
    "gan_cli.sweeps.sweep",
    "gan_cli.cli.sweep_job",
)

# The program: hands its arguments, folder, environment and streams to the server, and ends as its child does.
CLIENT = """#!{python} -IS
import marshal, os, signal, socket, sys

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
FIXED = {fixed!r}  # what the server's interpreter and torch were started with

def fixed(key):
    return key.startswith(("PYTHON", "OMP_", "MKL_")) and not (key == "PYTHONPATH" and "WARM_PATH" in os.environ)

def main(arguments):
    ours = arguments[:1] == ["-m"] and arguments[1].startswith("gan_cli.")
    if not ours or {{key: os.environ[key] for key in os.environ if fixed(key)}} != FIXED:
        os.execv({python!r}, [{python!r}, *arguments])
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    server = socket.socket(socket.AF_UNIX)
    server.connect({address!r})
    request = marshal.dumps((arguments[1:], os.getcwd(), dict(os.environb), sys.argv[0]))
    socket.send_fds(server, [len(request).to_bytes(8, "big")], [0, 1, 2])
    server.sendall(request)
    child = int.from_bytes(server.recv(8), "big")

    def forward(number, frame):
        try:
            os.kill(child, number)
        except ProcessLookupError:  # it has ended
            pass

    for number in FORWARDED:
        signal.signal(number, forward)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
    code = int.from_bytes(server.recv(8), "big", signed=True)
    if code < 0:
        if -code in FORWARDED:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)

main(sys.argv[1:])
"""


@functools.cache
def warm_python() -> str:
    """The program, whose server lives as long as this process; the real Python where there are no `pidfd`s."""
    if not hasattr(os, "pidfd_open"):
        return sys.executable
    folder = Path(tempfile.mkdtemp(prefix="warm-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    program, address = folder / "python", str(folder / "socket")
    fixed = {name: value for name, value in os.environ.items() if name.startswith(("PYTHON", "OMP_", "MKL_"))}
    program.write_text(CLIENT.format(python=sys.executable, address=address, fixed=fixed))
    program.chmod(0o755)
    server = subprocess.Popen(
        [sys.executable, __file__, address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    atexit.register(server.wait)
    atexit.register(server.stdin.close)
    assert server.stdout.read(1) == b"+", "the server did not start"
    server.stdout.close()
    return str(program)


# --- the server's side -------------------------------------------------------------------------------------------


def serve(address: str) -> tuple[list[str], str, dict[bytes, bytes], str]:
    """Forks for each request. Returns in the child, with the request; ends when its standard input does."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    os.write(1, b"+")
    silent = os.open(os.devnull, os.O_RDWR)
    os.dup2(silent, 1)
    running: dict[int, tuple[int, socket.socket]] = {}  # by the child's pidfd: its number, and who asked
    while True:
        asking = {connection.fileno(): pidfd for pidfd, (_, connection) in running.items()}
        ready, _, _ = select.select([0, listener, *running, *asking], [], [])
        if 0 in ready:
            os._exit(0)
        for pidfd in {asking[each] for each in ready if each in asking} - {*ready}:  # killed, who asked
            os.kill(running[pidfd][0], signal.SIGKILL)
            ready.append(pidfd)
        for pidfd in [each for each in ready if each in running]:
            number, connection = running.pop(pidfd)
            code = os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
            _answer(connection, code)
            connection.close()
            os.close(pidfd)
        if listener in ready:
            connection, _ = listener.accept()
            request, streams = _receive(connection)
            number = os.fork()
            if number == 0:
                for target, stream in enumerate(streams):
                    os.dup2(stream, target)
                os.closerange(3, 1024)
                return request
            for stream in streams:
                os.close(stream)
            running[os.pidfd_open(number)] = (number, connection)
            _answer(connection, number)


def _receive(connection: socket.socket) -> tuple[Any, list[int]]:
    head, streams, _, _ = socket.recv_fds(connection, 8, 3)
    rest = b""
    while len(rest) < int.from_bytes(head, "big"):
        rest += connection.recv(1 << 16)
    return marshal.loads(rest), streams


def _answer(connection: socket.socket, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # who asked was killed meanwhile
        connection.sendall(number.to_bytes(8, "big", signed=True))


def main() -> None:
    sys.path.pop(0)  # this folder, whose modules are named like packages that may be installed
    for name in PRELOADED:
        __import__(name)
    from gan_cli.config.compose import compose_command
    from gan_cli.reports.html_page import _environment

    for command in ("train", "sample", "eval"):
        compose_command(command, [])  # finds Hydra's plugins
    for template in _environment().list_templates(["jinja"]):
        _environment().get_template(template)
    arguments, folder, environment, program = serve(sys.argv[1])
    os.setsid()
    os.chdir(folder)
    os.environb.clear()
    os.environb.update(environment)
    sys.executable = program
    own = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:0] = [folder, *own]
    if any(Path(path, "sitecustomize.py").is_file() for path in own):
        sys.modules.pop("sitecustomize", None)
        __import__("sitecustomize")
    for number, name in enumerate(("stdin", "stdout", "stderr")):  # as fits what they are now
        errors = "backslashreplace" if name == "stderr" else "strict"
        stream = open(number, "w" if number else "r", errors=errors, closefd=False, encoding=sys.stdout.encoding)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    sys.argv[1:] = arguments[1:]
    sys.modules.pop(arguments[0], None)  # as a program it is another than as a module
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
