"""Stops a run on a signal: after the current update, or during an evaluation. A later signal stops it at once."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

from gan_cli.storage.locks import STOP_SIGNALS, is_same_request


class Interrupted(BaseException):
    """Raised if a signal arrives during interruptible work."""


class StopSignals:
    """A context in which the first INT, TERM or USR1 is stored in `received`. A later one has its default effect.

    Signals of the same request are ignored. In threads other than the main one, no signals are handled.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._received_at = 0.0
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
        if self.received is not None:
            if not is_same_request(self._received_at):
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)
            return
        self._received_at, self.received = time.monotonic(), signal.Signals(number)
        if self._interruptible:
            self._interruptible = False
            raise Interrupted
