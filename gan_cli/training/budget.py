"""A time budget as a number of steps, which is measured again on the way so that the run ends when its time is up.

The clock begins when the training loop does, or with `compile` after the first step. It counts all that is done there:
updates, lines of metrics, grids, checkpoints, evaluations. Time for those that follow the last step is set aside.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from gan_cli.config.train_config import Config
from gan_cli.errors import counted
from gan_cli.state.train_state import TrainState
from gan_cli.training.throughput import Pace

SECONDS_PER_UNIT = {"s": 1, "m": 60, "h": 3600}
# Shares of a budget:
FIRST = 0.05  # measured before the number of steps is settled first
EVERY, LATE, LATE_EVERY = 0.05, 0.9, 0.01  # between measurements, and from when on they are closer
WINDOW = 0.1  # before a measurement: the pace that counts
TOLERANCE = 0.01  # by which the expected end may be off before the number of steps is changed,
TOLERANCE_LEFT = 0.1  # or this share of the time that is left, if that is more
OVERRUN = 0.02  # after which the run ends at once
RESERVED = 0.2  # the most that is set aside for what follows the last step
NOTICEABLE = 0.1  # of the number of steps that was said last: a smaller change is recorded and not said


def seconds_of(duration: str) -> float:
    """`90s`, `20m` or `1.5h` in seconds."""
    return float(duration[:-1]) * SECONDS_PER_UNIT[duration[-1]]


def is_included(evaluation: float, budget: str) -> bool:
    """Whether a closing evaluation of so many seconds fits into the budget, rather than coming after it."""
    return evaluation <= RESERVED * seconds_of(budget)


class _Mark(NamedTuple):
    elapsed: float
    stepping: float
    step: int


class Budget:
    """Settles `total_steps` in the counters of a run with a budget.

    What it changes there goes into checkpoints, so a resumed run goes on to the end that was settled last until it has
    measured its own pace. `evaluation` is how many seconds one is expected to take.
    """

    def __init__(self, config: Config, state: TrainState, pace: Pace, evaluation: float) -> None:
        assert config.budget is not None
        training = config.training
        self._name, self._seconds = config.budget, seconds_of(config.budget)
        self._state, self._pace = state, pace
        pace.pauses["evaluate"] = evaluation
        self._closing = [
            "log",
            "sample",
            "checkpoint",
            *(["evaluate"] if is_included(evaluation, config.budget) else []),
        ]
        self._intervals = {
            "log": training.log_every,
            "sample": training.sample_every,
            "checkpoint": training.checkpoint_every,
            "evaluate": training.evaluate_every,
        }
        self._marks: deque[_Mark] = deque()
        self._next_mark = self._next_measurement = 0.0
        self._said = state.counters.total_steps

    @property
    def elapsed(self) -> float:
        """Seconds of the budget that are gone."""
        return self._state.seconds - self._state.budget_start

    def settle(self) -> str | None:
        """To be called after every step: settles where the run ends; what to say of it, if anything."""
        counters, left = self._state.counters, self._left()
        planned = counters.total_steps
        if left <= (0 if planned is None else -OVERRUN * self._seconds):
            counters.total_steps = counters.step
        elif self._is_measured():
            total, tolerance = counters.step + self._steps_in(left), self._tolerance(left)
            if planned is None or abs(total - planned) * self._step_seconds() > tolerance:
                counters.total_steps = total
        return self._describe(counters.total_steps)

    def _left(self) -> float:
        """Seconds for further steps, with their pauses."""
        closing = sum(self._pace.pauses.get(kind, 0.0) for kind in self._closing)
        return self._seconds - self.elapsed - min(closing, RESERVED * self._seconds)

    def _tolerance(self, left: float) -> float:
        """Seconds by which the end may be missed before it moves: less and less, so that it moves seldom at first."""
        return max(TOLERANCE * self._seconds, TOLERANCE_LEFT * left)

    def _is_measured(self) -> bool:
        """Notes how far the run is, now and then; whether there is a new measurement.

        The first step of a process is the first mark, and so is not measured: it pays for warming up. The step that is
        to be the last is measured too, for it may come early.
        """
        elapsed, counters = self.elapsed, self._state.counters
        last = counters.step == counters.total_steps
        if elapsed < self._next_mark and not last:
            return False
        if not self._marks:
            self._next_measurement = elapsed + FIRST * self._seconds
        self._next_mark = elapsed + LATE_EVERY * self._seconds
        self._marks.append(_Mark(elapsed, self._pace.stepping, counters.step))
        while len(self._marks) > 2 and self._marks[1].elapsed <= elapsed - WINDOW * self._seconds:
            self._marks.popleft()
        if len(self._marks) == 1 or (elapsed < self._next_measurement and not last):
            return False
        late = max(LATE * self._seconds, self._next_mark)
        self._next_measurement = min(elapsed + EVERY * self._seconds, late)
        return True

    def _step_seconds(self) -> float:
        """What a step has taken lately, without pauses."""
        first, last = self._marks[0], self._marks[-1]
        return max((last.stepping - first.stepping) / (last.step - first.step), 1e-9)

    def _steps_in(self, seconds: float) -> int:
        """As many further steps as come nearest to this time, with the pauses between them."""
        each = self._step_seconds()
        fewest, most = 0, max(0, int(seconds / each + 0.5))
        while fewest < most:
            middle = (fewest + most + 1) // 2
            if (middle - 0.5) * each + self._paused(middle) <= seconds:
                fewest = middle
            else:
                most = middle - 1
        return fewest

    def _paused(self, steps: int) -> float:
        """Seconds of the pauses that are due before the last of so many further steps."""
        step = self._state.counters.step
        return sum(
            self._pace.pauses.get(kind, 0.0) * ((step + steps - 1) // every - step // every)
            for kind, every in self._intervals.items()
            if every
        )

    def _describe(self, total: int | None) -> str | None:
        before = self._said
        if total is None or (before is not None and abs(total - before) < max(1, NOTICEABLE * before)):
            return None
        self._said = total
        if before is None:
            steps = counted(total, "step")
            return f"budget={self._name}: {steps}, from the pace of its first 5 %; measured again on the way"
        pace = "slower" if total < before else "faster"
        return f"budget={self._name}: {counted(total, 'step')} instead of {before:,}, as they have become {pace}"
