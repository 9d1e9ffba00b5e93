"""Measures the time of a run: seconds of training, images per second, and the length of pauses.

The time in which the process was suspended (Ctrl-Z, SIGSTOP) does not count.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType

from gan_cli.device import synchronize
from gan_cli.state.train_state import TrainState
from gan_cli.stop_signals import available_signals, handling

SLOWDOWN = 4  # times slower than the fastest rate so far is worth a warning,
SLOW_LINES = 2  # if so many lines of metrics in a row show it
_continued_at = -math.inf  # the time, by `time.perf_counter`, at which this process last went on after it was suspended


def noting_suspensions() -> AbstractContextManager[None]:
    """While entered, the signal CONT tells every RunTimer that the process was suspended."""
    return handling(_note_continuation, available_signals("SIGCONT"))


def _note_continuation(number: int, frame: FrameType | None) -> None:
    global _continued_at
    _continued_at = time.perf_counter()


class RunTimer:
    """The clock of one process: adds elapsed time to `state.seconds`, keeps the last pause of each kind, in seconds."""

    def __init__(self, state: TrainState) -> None:
        self._state = state
        self._last = time.perf_counter()
        self.update_seconds = self.suspended_seconds = 0.0
        self.pause_seconds: dict[str, float] = {}
        self._evaluation_seconds = 0.0
        self._measured = (state.seconds, state.counters.d_updates)  # at the last call of `images_per_second`
        self._fastest, self._slow_lines = 0.0, 0

    def update_done(self) -> None:
        """Counts the time since the last call of any method as time in updates. Call it after every update."""
        self.update_seconds += self._advance()

    @contextmanager
    def pause(self, kind: str) -> Iterator[None]:
        """A context for work other than updates. `kind` is `log`, `sample`, `checkpoint` or `evaluate`."""
        synchronize(self._state.device)  # so that updates that a GPU has not done yet do not count as part of the pause
        self._advance()
        before = self._state.seconds
        yield
        self._advance()
        self.pause_seconds[kind] = self._state.seconds - before
        if kind == "evaluate":
            self._evaluation_seconds += self.pause_seconds[kind]

    def images_per_second(self, batch_size: int) -> float:
        """Returns real images per second since the last call, with pauses except evaluations, which may be long."""
        self._advance()
        seconds, updates = self._state.seconds - self._evaluation_seconds, self._state.counters.d_updates
        rate = (updates - self._measured[1]) * batch_size / max(seconds - self._measured[0], 1e-9)
        self._measured = (seconds, updates)
        return rate

    def slowdown_warning(self, rate: float) -> str | None:
        """Returns a warning, once, if the rate stays much lower than the fastest rate so far; else None."""
        if rate == 0:  # there were only generator updates since the last line
            return None
        if self._state.counters.growth_progress > 0:  # steps take longer as the networks grow
            return None
        self._fastest = max(self._fastest, rate)
        self._slow_lines = self._slow_lines + 1 if rate * SLOWDOWN < self._fastest else 0
        if self._slow_lines != SLOW_LINES:
            return None
        return (
            f"steps now take {self._fastest / rate:.0f} times as long as before: something else may be using the"
            " processor, which disturbs several threads more than one (threads=1)"
        )

    def _advance(self) -> float:
        """Adds the seconds since its last call to `state.seconds` and returns them.

        After a suspension, of which only the end is known, adds the seconds since then.
        """
        now, began = time.perf_counter(), max(self._last, _continued_at)
        self.suspended_seconds += began - self._last
        passed, self._last = now - began, now
        self._state.seconds += passed
        return passed
