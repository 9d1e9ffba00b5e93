"""How fast a run goes, and how long its pauses are."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from gan_cli.state.train_state import TrainState

MUCH_SLOWER, SLOW_LINES = 4, 2  # times, and lines of metrics in a row, after which a run says so


class Pace:
    """The clock of one process: it adds to `state.seconds` and remembers when figures were last told.

    `stepping` are the seconds in updates alone, `pauses` how long the last one of each kind was.
    """

    def __init__(self, state: TrainState) -> None:
        self._state = state
        self._last = time.perf_counter()
        self.stepping = 0.0
        self.pauses: dict[str, float] = {}
        self._evaluating = 0.0
        self._told = (state.seconds, state.counters.d_updates)
        self._fastest, self._slow = 0.0, 0

    def tick(self) -> None:
        """To be called after every update."""
        self.stepping += self._advance()

    @contextmanager
    def pause(self, kind: str) -> Iterator[None]:
        """What is done within is no update: `log`, `sample`, `checkpoint` or `evaluate`."""
        self._advance()
        before = self._state.seconds
        yield
        self._advance()
        self.pauses[kind] = self._state.seconds - before
        if kind == "evaluate":
            self._evaluating += self.pauses[kind]

    def images_per_second(self, batch_size: int) -> float:
        """Real images seen per second since the last call, pauses for pictures and checkpoints included.

        Evaluations are not: they may take longer than all the steps between them.
        """
        self._advance()
        seconds, updates = self._state.seconds - self._evaluating, self._state.counters.d_updates
        rate = (updates - self._told[1]) * batch_size / max(seconds - self._told[0], 1e-9)
        self._told = (seconds, updates)
        return rate

    def complaint(self, rate: float) -> str | None:
        """What to say of the last rate, once, if steps have become much slower than they were and stay so."""
        if rate == 0:  # between the lines only G had its turn
            return None
        self._fastest = max(self._fastest, rate)
        self._slow = self._slow + 1 if rate * MUCH_SLOWER < self._fastest else 0
        if self._slow != SLOW_LINES:
            return None
        return (
            f"steps now take {self._fastest / rate:.0f} times as long as before: something else may be using the"
            " processor, which disturbs several threads more than one (threads=1)"
        )

    def _advance(self) -> float:
        """Adds what has passed since the last call to the run's seconds."""
        now = time.perf_counter()
        passed, self._last = now - self._last, now
        self._state.seconds += passed
        return passed
