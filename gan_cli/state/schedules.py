"""Values that change in the course of a run, as functions of the share of its steps that is done."""

from __future__ import annotations

import math
from typing import Any, NamedTuple


class RateSchedule(NamedTuple):
    """A schedule of learning rates by its name. It begins at the share `since` of a run, and ends at its end."""

    to: float | None
    shape: str = "linear"
    until: float = 1.0
    since: float = 0.0


# The schedules of `training.lr_schedule`.
RATE_SCHEDULES = {
    "constant": RateSchedule(None),
    "linear": RateSchedule(0.0),
    "cosine": RateSchedule(0.0, "cosine"),
    "late_linear": RateSchedule(0.0, since=0.3),
}


def scheduled(schedule: Any, start: float, progress: float) -> float:
    """Returns the value at the share `progress` of the run that changes from `start` to `schedule.to`.

    `progress` is from 0 to 1. The result is `start` if `schedule.to` is None.
    """
    if schedule.to is None:
        return start
    left = _remaining(schedule, progress)
    return start if left == 1 else schedule.to + (start - schedule.to) * left


def scheduled_rate(config: Any, start: float, progress: float) -> float:
    """Returns the learning rate of a network at the share `progress` of the run; `start` is its first one.

    `schedule.lr.to` is the end of `optimizer.lr`. A rate of the network's own changes by the same factor.
    """
    own, usual = config.schedule.lr, config.optimizer.lr
    if own.to is None:
        return scheduled(RATE_SCHEDULES[config.training.lr_schedule], start, progress)
    end = own.to * (start / usual) if usual else own.to
    return scheduled(RateSchedule(end, own.shape, own.until), start, progress)


def scheduled_decay(schedule: Any, start: float, progress: float) -> float:
    """Returns a decay per step, as `scheduled` does, but interpolates its half-life, as R3GAN does (2501.05441).

    A decay d halves the weight of what was averaged in log(1/2) / log(d) steps.
    """
    if schedule.to is None:
        return start
    left = _remaining(schedule, progress)
    if left in (0, 1):
        return start if left else schedule.to
    half_life, final = (math.log(0.5) / math.log(decay) for decay in (start, schedule.to))
    return 0.5 ** (1 / (final + (half_life - final) * left))


def _remaining(schedule: Any, progress: float) -> float:
    """Returns the share of the change that is still to come, from 1 to 0."""
    since, until = getattr(schedule, "since", 0.0), schedule.until
    if progress <= since or progress >= until:
        return 1.0 if progress <= since else 0.0
    if schedule.shape == "linear":
        return (until - progress) / (until - since)
    return 0.5 * (1 + math.cos(math.pi * (progress - since) / (until - since)))
