"""A Python that has imported torch and gan_cli already, to start the processes of tests fast.

Importing torch takes two seconds, most of the time of a short run. `preloaded_python()` is a program to use as
`sys.executable`. A server forks itself for each `program -m gan_cli.cli train ...` and for each command that
`child_command` makes, such as a job of a sweep, which so has its own process, current folder, environment, standard
streams, signals and exit code. Other modules, and other values of `PYTHON...` variables, need a new interpreter: then
the program starts the real Python. `PRELOADED_PATH=1` beside a `PYTHONPATH`
states that the imported modules are right for that path too.
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
import threading
from pathlib import Path
from typing import Any

from gan_cli.isolated_process import child_command

PRELOADED = (
    "gan_cli.launch.start_run",
    "gan_cli.sampling.sample",
    "gan_cli.evaluation.evaluate",
    "gan_cli.reports.write_report",
    "gan_cli.sweeps.run_sweep",
    "gan_cli.cli.sweep_job",
)

# The program: sends its arguments, folder, environment and streams to the server, and exits as its child does.
CLIENT = """#!{python} -IS
import marshal, os, signal, socket, sys

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
FIXED = {fixed!r}  # what the server's interpreter and torch were started with

SAFE = {safe!r}  # as gan_cli.isolated_process starts a module, without the current folder on its path

def fixed(key):
    free = "PRELOADED_PATH" in os.environ and key == "PYTHONPATH" or key == "PYTHONSAFEPATH"
    return key.startswith(("PYTHON", "OMP_", "MKL_")) and not free

def main(arguments):
    safe = arguments[:len(SAFE)] == SAFE
    module, *others = arguments[len(SAFE):] if safe else arguments[1:] if arguments[:1] == ["-m"] else [""]
    if not module.startswith("gan_cli.") or {{key: os.environ[key] for key in os.environ if fixed(key)}} != FIXED:
        os.execv({python!r}, [{python!r}, *arguments])
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    server = socket.socket(socket.AF_UNIX)
    server.connect({address!r})
    request = marshal.dumps(([module, *others], os.getcwd(), dict(os.environb), sys.argv[0], safe))
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
def preloaded_python() -> str:
    """Starts the server, which ends with this process. Returns the program; without pidfds, the real Python."""
    if not hasattr(os, "pidfd_open"):
        return sys.executable
    folder = Path(tempfile.mkdtemp(prefix="python-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    program, address = folder / "python", str(folder / "socket")
    fixed = {name: value for name, value in os.environ.items() if name.startswith(("PYTHON", "OMP_", "MKL_"))}
    fixed.pop("PYTHONSAFEPATH", None)
    safe = child_command("")[1:-1]
    program.write_text(CLIENT.format(python=sys.executable, address=address, fixed=fixed, safe=safe))
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


# --- the server ------------------------------------------------------------------------------------------------


def serve(address: str) -> tuple[list[str], str, dict[bytes, bytes], str, bool]:
    """Forks for each request and returns the request in the child. Exits when its standard input is closed."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    os.write(1, b"+")
    silent = os.open(os.devnull, os.O_RDWR)
    os.dup2(silent, 1)
    running: dict[int, tuple[int, socket.socket]] = {}  # by the child's pidfd: its process id and the client
    while True:
        clients = {connection.fileno(): pidfd for pidfd, (_, connection) in running.items()}
        ready, _, _ = select.select([0, listener, *running, *clients], [], [])
        if 0 in ready:
            os._exit(0)
        for pidfd in {clients[each] for each in ready if each in clients} - {*ready}:  # their clients were killed
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
    with contextlib.suppress(BrokenPipeError):  # the client was killed meanwhile
        connection.sendall(number.to_bytes(8, "big", signed=True))


def main() -> None:
    """Runs the server, and in each child the requested module."""
    sys.path[0] = str(Path(__file__).parent.parent)  # not this folder, whose modules would hide packages
    from support.composition_cache import keep_compositions

    sys.path.pop(0)
    keep_compositions()
    for name in PRELOADED:
        __import__(name)
    from gan_cli.config.compose import compose_command
    from gan_cli.reports.html_page import FOLDER, _environment

    for command in ("train", "sample", "eval"):
        compose_command(command, [])  # finds Hydra's plugins
    for template in _environment(FOLDER).list_templates(["jinja"]):
        _environment(FOLDER).get_template(template)
    arguments, folder, environment, program, safe = serve(sys.argv[1])
    os.setsid()
    os.chdir(folder)
    os.environb.clear()
    os.environb.update(environment)
    sys.executable = program
    own = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:0] = own if safe else [folder, *own]
    if any(Path(path, "sitecustomize.py").is_file() for path in own):
        sys.modules.pop("sitecustomize", None)
        __import__("sitecustomize")
    for number, name in enumerate(("stdin", "stdout", "stderr")):  # opened anew, since they are other files now
        errors = "backslashreplace" if name == "stderr" else "strict"
        stream = open(number, "w" if number else "r", errors=errors, closefd=False, encoding=sys.stdout.encoding)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    sys.argv[1:] = arguments[1:]
    sys.modules.pop(arguments[0], None)  # so that it runs as a program
    try:
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        leave(ended.code)
    leave(0)


def leave(code: Any) -> None:
    """Ends a child as the interpreter does, but does not free what the server imported, which takes half a second."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        sys.exit(code)
    if not isinstance(code, int | None):
        sys.exit(code)
    os._exit(code or 0)


if __name__ == "__main__":
    main()
