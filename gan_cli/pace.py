"""How fast a run goes, and how many steps fit a time budget."""

from __future__ import annotations

import time

from gan_cli.state import TrainState

MEASURED_SHARE = 0.05  # of a budget, after which its number of steps is fixed
MUCH_SLOWER, SLOW_LINES = 4, 2  # times, and lines of metrics in a row, after which a run says so
SECONDS_PER_UNIT = {"s": 1, "m": 60, "h": 3600}


def seconds_of(duration: str) -> float:
    """`90s`, `20m` or `1.5h` in seconds."""
    return float(duration[:-1]) * SECONDS_PER_UNIT[duration[-1]]


class Pace:
    """The clock of one process: it adds to `state.seconds` and remembers when figures were last told."""

    def __init__(self, state: TrainState) -> None:
        self._state = state
        self._last = time.perf_counter()
        self._told = (state.seconds, state.counters.d_updates)
        self._first: tuple[float, int] | None = None
        self._fastest, self._slow = 0.0, 0

    def tick(self) -> None:
        """To be called after every update."""
        now = time.perf_counter()
        self._state.seconds += now - self._last
        self._last = now

    def skip(self) -> None:
        """What was done since the last tick was no training and counts for nothing."""
        self._last = time.perf_counter()

    def images_per_second(self, batch_size: int) -> float:
        """Real images seen per second since the last call, pauses for pictures and checkpoints included."""
        self.tick()
        seconds, updates = self._state.seconds, self._state.counters.d_updates
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

    def steps_in(self, budget: str) -> int | None:
        """The total number of steps that fits the budget, once 5 % of it have been measured.

        The first step of a process is not measured: it pays for warming up.
        """
        state, seconds = self._state, seconds_of(budget)
        if self._first is None:
            self._first = (state.seconds, state.counters.step)
        since, step = self._first
        elapsed, done = state.seconds - state.budget_start, state.counters.step - step
        if elapsed < MEASURED_SHARE * seconds or done == 0:
            return None
        steps_per_second = done / (state.seconds - since)
        return state.counters.step + max(0, round((seconds - elapsed) * steps_per_second))
