"""Measures the time of a run: seconds of training, images per second, and the length of pauses."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from gan_cli.device import synchronize
from gan_cli.state.train_state import TrainState

SLOWDOWN = 4  # times slower than the fastest rate so far is worth a warning,
SLOW_LINES = 2  # if so many lines of metrics in a row show it


class RunTimer:
    """The clock of one process: adds elapsed time to `state.seconds`, keeps the last pause of each kind, in seconds."""

    def __init__(self, state: TrainState) -> None:
        self._state = state
        self._last = time.perf_counter()
        self.update_seconds = 0.0
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
        self._fastest = max(self._fastest, rate)
        self._slow_lines = self._slow_lines + 1 if rate * SLOWDOWN < self._fastest else 0
        if self._slow_lines != SLOW_LINES:
            return None
        return (
            f"steps now take {self._fastest / rate:.0f} times as long as before: something else may be using the"
            " processor, which disturbs several threads more than one (threads=1)"
        )

    def _advance(self) -> float:
        """Adds the seconds since its last call to `state.seconds` and returns them."""
        now = time.perf_counter()
        passed, self._last = now - self._last, now
        self._state.seconds += passed
        return passed
