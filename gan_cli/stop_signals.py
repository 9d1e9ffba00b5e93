"""Signals that ask a process to stop: their exit codes, and contexts in which a process handles them.

A signal that the process was started to ignore (by `nohup` or `trap ''`) stays ignored.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import FrameType

Handler = Callable[[int, FrameType | None], None]
REPEAT_SECONDS = 1.0
RESEND_SECONDS = 0.02


def available_signals(*names: str) -> tuple[signal.Signals, ...]:
    """Returns the signals with these names, without those that this system does not have."""
    return tuple(signal.Signals[name] for name in names if name in signal.Signals.__members__)


# For each signal that makes a run save a checkpoint and end, the exit code of such a run.
STOP_CODES = dict(zip(available_signals("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP"), (130, 143, 138, 129), strict=False))


class Interrupted(KeyboardInterrupt):
    """Raised if a signal, which is its argument, arrives during interruptible work."""


@contextlib.contextmanager
def handling(
    handler: Handler | signal.Handlers, numbers: Iterable[signal.Signals] = tuple(STOP_CODES)
) -> Iterator[None]:
    """While entered, calls the handler for these signals, except for ignored ones.

    Does nothing in threads other than the main one, because Python sets handlers in the main thread only.
    """
    main = threading.current_thread() is threading.main_thread()
    handled = [number for number in numbers if main and signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in handled}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def exit_on_signal() -> contextlib.AbstractContextManager[None]:
    """While entered, a signal ends the process. Hydra or torch could turn Interrupted into another exception."""
    return handling(_exit)


def exit_from_now_on_signal() -> None:
    """From now on, a signal ends the process unless a context of this module handles it. Ignored ones stay ignored.

    Python would raise KeyboardInterrupt, also while it imports modules and while it ends.
    """
    for number in STOP_CODES:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _exit)


def _exit(number: int, frame: FrameType | None) -> None:
    os._exit(STOP_CODES[signal.Signals(number)])


def is_same_request(first: float) -> bool:
    """Returns whether a signal that arrives now belongs to the request to stop that began at `first`.

    `first` is a time of `time.monotonic`. One request may arrive as several signals: `timeout` sends them to a process
    and to its group, and a service manager sends them to a sweep and to its jobs, which the sweep signals too.
    """
    return time.monotonic() - first < REPEAT_SECONDS


def is_stopping() -> bool:
    """Returns whether this process has got a signal to stop."""
    return StopSignals._innermost is not None and StopSignals._innermost.received is not None


def raise_if_stopping() -> None:
    """Raises Interrupted if this process has got a signal to stop, whose exception a library may have dropped."""
    innermost = StopSignals._innermost
    if innermost is not None and innermost.received is not None:
        raise Interrupted(innermost.received)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """A context within interruptible work, of the main thread, whose end is where Interrupted is raised, if at all."""
    innermost = StopSignals._innermost
    if innermost is None or not innermost._interruptible:
        yield
        return
    innermost._interruptible = False
    try:
        yield
    finally:
        innermost._interruptible = True
    if innermost.received is not None:
        innermost._interruptible = False
        raise Interrupted(innermost.received)


class StopSignals:
    """A context in which the first signal is stored in `received`. A later one has its default effect.

    Signals of the same request are ignored, also by an outer context after this one ends.
    """

    _innermost: StopSignals | None = None

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._received_at = 0.0
        self._interruptible = False

    def __enter__(self) -> StopSignals:
        self._outer, StopSignals._innermost = StopSignals._innermost, self
        if self._outer is not None and self._outer.received is not None:  # whose exception Python may have dropped
            self.received, self._received_at = self._outer.received, self._outer._received_at
        self._handling = handling(self._receive)
        self._handling.__enter__()
        self._hook, sys.unraisablehook = sys.unraisablehook, self._on_unraisable
        return self

    def __exit__(self, *error: object) -> None:
        if self._outer is not None and self.received is not None:
            self._outer.received, self._outer._received_at = self.received, self._received_at
        StopSignals._innermost = self._outer
        sys.unraisablehook = self._hook
        self._handling.__exit__(None, None, None)

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """A context that raises Interrupted as soon as a signal arrives, or at its start if one arrived before."""
        if self.received is not None:
            raise Interrupted(self.received)
        self._interruptible = True
        try:
            yield
        except Exception as error:
            if self.received is not None and not self._interruptible:  # code in C made another error of Interrupted
                raise Interrupted(self.received) from error
            raise
        finally:
            self._interruptible = False

    def _on_unraisable(self, event: sys.UnraisableHookArgs) -> None:
        """Sends the signal again if Python cannot raise Interrupted where it is, such as in a function that C calls."""
        if not isinstance(event.exc_value, Interrupted) or self.received is None:
            self._hook(event)
            return
        number, self.received, self._interruptible = self.received, None, True
        again = threading.Timer(RESEND_SECONDS, os.kill, (os.getpid(), number))
        again.daemon = True
        again.start()

    def note(self, number: int) -> None:
        """Stores a signal as if this process had just got it. Another process of the same run did."""
        self._received_at, self.received = time.monotonic(), signal.Signals(number)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            if not is_same_request(self._received_at):
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)
            return
        self.note(number)
        if self._interruptible:
            self._interruptible = False
            raise Interrupted(self.received)
