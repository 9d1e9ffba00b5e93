"""Stopping when asked: the first signal is noted and obeyed at the next update, the second kills at once."""

from __future__ import annotations

import signal
import threading
from types import FrameType

from gan_cli.system import signals

HEEDED = signals("SIGINT", "SIGTERM", "SIGUSR1")


class StopSignals:
    """While entered, `received` is the first INT, TERM or USR1 that came; then the system's own handling is back.

    A thread that is not the main one is told of no signals.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> StopSignals:
        heeded = HEEDED if threading.current_thread() is threading.main_thread() else ()
        self._before = {number: signal.signal(number, self._note) for number in heeded}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        for heeded in HEEDED:
            signal.signal(heeded, signal.SIG_DFL)
