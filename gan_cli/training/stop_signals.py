"""Stops a run on a signal: after the current update, or during an evaluation. A second signal stops it at once."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from gan_cli.storage.locks import STOP_SIGNALS


class Interrupted(BaseException):
    """Raised if a signal arrives during interruptible work."""


class StopSignals:
    """A context in which the first INT, TERM or USR1 is stored in `received`; the next one has its default effect.

    In threads other than the main one, no signals are handled.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._interruptible = False
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> StopSignals:
        handled = STOP_SIGNALS if threading.current_thread() is threading.main_thread() else ()
        self._before = {number: signal.signal(number, self._receive) for number in handled}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """A context that raises Interrupted as soon as a signal arrives, or at its start if one arrived before."""
        if self.received is not None:
            raise Interrupted
        self._interruptible = True
        try:
            yield
        finally:
            self._interruptible = False

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        for each in STOP_SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        if self._interruptible:
            self._interruptible = False
            raise Interrupted
