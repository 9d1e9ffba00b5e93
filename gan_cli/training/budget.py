"""A time budget: converts it to a number of steps and corrects that number during the run.

The clock starts with the training loop, or with `compile` after the first step. It counts updates, log lines, grids,
checkpoints and evaluations, and no time in which the process was suspended. Time is reserved for those that follow the
last step.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from typing import NamedTuple

from gan_cli.config.train_config import Config
from gan_cli.errors import count_noun
from gan_cli.state.train_state import TrainState
from gan_cli.training.throughput import RunTimer

PAUSES = ("log", "sample", "checkpoint", "evaluate")
SECONDS_PER_UNIT = {"s": 1, "m": 60, "h": 3600}
# Shares of the budget:
FIRST_MEASUREMENT = 0.05  # time before the first estimate of the number of steps
INTERVAL, LATE, LATE_INTERVAL = 0.05, 0.9, 0.01  # time between measurements; shorter after LATE
WINDOW = 0.1  # time over which the speed is measured
TOLERANCE = 0.01  # error of the expected end above which the number of steps is changed,
TOLERANCE_LEFT = 0.1  # or this share of the remaining time, if that is more
OVERRUN = 0.02  # time over the budget after which the run ends at once
RESERVED = 0.2  # the most time that is reserved for what follows the last step
# Share of the last printed number of steps:
NOTICEABLE = 0.1  # a smaller change is recorded and not printed
NOTICEABLE_SUSPENSION = 1.0  # seconds


def parse_duration(duration: str) -> float:
    """Converts `90s`, `20m` or `1.5h` to seconds."""
    return float(duration[:-1]) * SECONDS_PER_UNIT[duration[-1]]


def fits_in_budget(evaluation: float, budget: str) -> bool:
    """Returns whether the budget includes a final evaluation of `evaluation` seconds. A longer one comes after it."""
    return evaluation <= RESERVED * parse_duration(budget)


class _Mark(NamedTuple):
    """A point of the measurement: elapsed seconds, seconds spent in steps, step number."""

    elapsed: float
    update_seconds: float
    step: int


class Budget:
    """Updates `total_steps` in the counters of a run with a budget.

    The counters are saved in checkpoints, so a resumed run keeps the last number of steps until it has measured its own
    speed. `evaluation` is the expected duration of an evaluation in seconds.
    """

    def __init__(self, config: Config, state: TrainState, timer: RunTimer, evaluation: float) -> None:
        budget, training = config.budget, config.training
        assert budget is not None
        self._name, self._seconds = budget, parse_duration(budget)
        self._state, self._timer = state, timer
        timer.pause_seconds["evaluate"] = evaluation
        self._intervals = {kind: getattr(training, f"{kind}_every") for kind in PAUSES}
        self._closing = [kind for kind in PAUSES if kind != "evaluate" or fits_in_budget(evaluation, budget)]
        self._marks: deque[_Mark] = deque()
        self._next_mark = self._next_measurement = 0.0
        self._printed = state.counters.total_steps
        self._suspended = 0.0

    @property
    def elapsed(self) -> float:
        """Seconds of the budget that are used."""
        return self._state.seconds - self._state.budget_start

    def update_total_steps(self) -> str | None:
        """Updates `total_steps`. Call it after every step. Returns a line to print, or None."""
        counters, left = self._state.counters, self._left()
        planned = counters.total_steps
        if left <= (0 if planned is None else -OVERRUN * self._seconds):
            counters.set_end(counters.step)
        elif self._is_measured():
            total = counters.step + self._steps_in(left)
            tolerance = max(TOLERANCE * self._seconds, TOLERANCE_LEFT * left)  # in seconds
            if planned is None or abs(total - planned) * self._step_seconds() > tolerance:
                counters.set_end(total)
        return self._describe_suspension() or self._describe(counters.total_steps)

    def _describe_suspension(self) -> str | None:
        """Returns a line if the process was suspended since the last call, else None."""
        seconds, self._suspended = self._timer.suspended_seconds - self._suspended, self._timer.suspended_seconds
        if seconds < NOTICEABLE_SUSPENSION:
            return None
        return f"budget={self._name}: does not count {seconds:.0f} s in which the process was suspended"

    def _left(self) -> float:
        """Returns the seconds that remain for steps and the pauses between them."""
        closing = sum(self._timer.pause_seconds.get(kind, 0.0) for kind in self._closing)
        return self._seconds - self.elapsed - min(closing, RESERVED * self._seconds)

    def _is_measured(self) -> bool:
        """Records a mark at intervals. Returns whether there is a new measurement.

        The first step of a process is the first mark and is not measured, because it includes warm-up. The planned last
        step is always measured, because it may come early.
        """
        elapsed, counters = self.elapsed, self._state.counters
        last = counters.step == counters.total_steps
        if elapsed < self._next_mark and not last:
            return False
        if not self._marks:
            self._next_measurement = elapsed + FIRST_MEASUREMENT * self._seconds
        self._next_mark = elapsed + LATE_INTERVAL * self._seconds
        self._marks.append(_Mark(elapsed, self._timer.update_seconds, counters.step))
        while len(self._marks) > 2 and self._marks[1].elapsed <= elapsed - WINDOW * self._seconds:
            self._marks.popleft()
        if len(self._marks) == 1 or (elapsed < self._next_measurement and not last):
            return False
        late = max(LATE * self._seconds, self._next_mark)
        self._next_measurement = min(elapsed + INTERVAL * self._seconds, late)
        return True

    def _step_seconds(self) -> float:
        """Returns the recent seconds per step, without pauses."""
        first, last = self._marks[0], self._marks[-1]
        return max((last.update_seconds - first.update_seconds) / (last.step - first.step), 1e-9)

    def _steps_in(self, seconds: float) -> int:
        """Returns the number of further steps whose duration, with pauses, is nearest to `seconds`."""
        each = self._step_seconds()
        most = max(0, int(seconds / each + 0.5))
        return bisect_right(range(1, most + 1), seconds, key=lambda steps: (steps - 0.5) * each + self._paused(steps))

    def _paused(self, steps: int) -> float:
        """Returns the seconds of the pauses that are due before the last of `steps` further steps."""
        step = self._state.counters.step
        return sum(
            self._timer.pause_seconds.get(kind, 0.0) * ((step + steps - 1) // every - step // every)
            for kind, every in self._intervals.items()
            if every
        )

    def _describe(self, total: int | None) -> str | None:
        """Returns a line about a new or noticeably changed number of steps, else None."""
        before = self._printed
        if total is None or (before is not None and abs(total - before) < max(1, NOTICEABLE * before)):
            return None
        self._printed = total
        if before is None:
            steps = count_noun(total, "step")
            return f"budget={self._name}: {steps}, estimated from the first 5 %; updated during the run"
        change = "slower" if total < before else "faster"
        return f"budget={self._name}: {count_noun(total, 'step')} instead of {before:,}, because steps became {change}"
