"""Stopping when asked: the first signal is obeyed after the update or amid an evaluation, the second kills at once."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from gan_cli.storage.locks import signals

HEEDED = signals("SIGINT", "SIGTERM", "SIGUSR1")


class Interrupted(BaseException):
    """A signal came while what may be broken off was going on."""


@contextlib.contextmanager
def interrupts_kept() -> Iterator[None]:
    """Keeps in mind a Ctrl-C that comes before a StopSignals is entered: an import may swallow KeyboardInterrupt."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, Interrupts())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Interrupts:
    """A handler that raises KeyboardInterrupt, as Python's own does, and knows afterwards that it did."""

    def __init__(self) -> None:
        self.came = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.came = True
        raise KeyboardInterrupt


class StopSignals:
    """While entered, `received` is the first INT, TERM or USR1 that came; then the system's own handling is back.

    An INT that came before and was swallowed counts, if `interrupts_kept` saw it.

    A thread that is not the main one is told of no signals.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._interrupts = False
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> StopSignals:
        earlier = signal.getsignal(signal.SIGINT)
        if isinstance(earlier, Interrupts) and earlier.came:
            self.received = signal.SIGINT
        heeded = HEEDED if threading.current_thread() is threading.main_thread() else ()
        self._before = {number: signal.signal(number, self._note) for number in heeded}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    @contextlib.contextmanager
    def interrupting(self) -> Iterator[None]:
        """What is done within is broken off by a signal, and not begun after one: Interrupted is raised."""
        if self.received is not None:
            raise Interrupted
        self._interrupts = True
        try:
            yield
        finally:
            self._interrupts = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        for heeded in HEEDED:
            signal.signal(heeded, signal.SIG_DFL)
        if self._interrupts:
            self._interrupts = False
            raise Interrupted
