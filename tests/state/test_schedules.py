"""Scheduled values at the start, in the middle and at the end of a run."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from gan_cli.config.options.schedules import ScheduleOptions, active_schedules
from gan_cli.state.schedules import RATE_SCHEDULES, RateSchedule, scheduled, scheduled_decay, scheduled_rate
from gan_cli.state.train_state import Counters
from support.configs import TINY_IMAGES, compose
from support.runs import logged_metrics


def progress(step: int, steps: int | None = 100) -> float:
    return Counters(step=step, d_updates=step, total_steps=steps).progress


def rates(name: str, *steps: int) -> list[float]:
    return [scheduled(RATE_SCHEDULES[name], 1.0, progress(step)) for step in steps]


def test_the_progress_is_held_while_the_new_end_is_not_known() -> None:
    counters = Counters(step=60, d_updates=60, total_steps=80)
    counters.set_end(None)
    counters.step = 90
    assert (counters.progress, counters.held_progress) == (0.75, 0.75)
    counters.set_end(None)
    assert counters.progress == 0.75
    counters.set_end(100)
    assert (counters.progress, counters.held_progress) == (0.9, 0)
    counters = Counters(step=3, d_updates=3, total_steps=None)
    counters.set_end(None)
    assert counters.progress == 0


def test_learning_rates() -> None:
    assert rates("constant", 0, 50, 100) == [1, 1, 1]
    assert rates("linear", 0, 50, 100, 120) == [1, 0.5, 0, 0]
    assert rates("cosine", 0, 50, 100) == pytest.approx([1, 0.5, 0])
    assert rates("late_linear", 0, 29, 30, 65, 100, 120) == pytest.approx([1, 1, 1, 0.5, 0, 0])
    assert scheduled(RATE_SCHEDULES["cosine"], 1.0, progress(50, None)) == 1  # a time budget is still being measured


def test_learning_rates_are_those_of_earlier_versions_bit_for_bit() -> None:
    """The products by which they were computed before there was a section `schedule`."""
    for step in range(701):
        done = step / 700
        earlier = {
            "linear": 1 - done,
            "cosine": 0.5 * (1 + math.cos(math.pi * done)),
            "late_linear": min(1.0, (1 - done) / (1 - 0.3)),
        }
        for name, multiplier in earlier.items():
            for rate in (0.003, 1e-4):
                assert scheduled(RATE_SCHEDULES[name], rate, progress(step, 700)) == rate * multiplier, (name, step)


@pytest.mark.parametrize(("shape", "quarter"), [("linear", 0.75), ("cosine", (2 + math.sqrt(2)) / 4)])
def test_a_value_moves_to_its_end_and_stays_there(shape: str, quarter: float) -> None:
    schedule = RateSchedule(0.05, shape, until=0.5)
    values = [scheduled(schedule, 0.3, done) for done in (0, 0.125, 0.25, 0.5, 0.8, 1)]
    assert values == pytest.approx([0.3, 0.05 + 0.25 * quarter, 0.175, 0.05, 0.05, 0.05])
    assert (values[0], values[3]) == (0.3, 0.05)  # without a rounding error
    assert scheduled(RateSchedule(None, shape), 0.3, 0.7) == 0.3


def test_of_a_decay_the_half_life_moves() -> None:
    """From a half-life of 1 step to one of 9, halfway there it is 5: 1/2 of a weight is left after 5 steps."""
    schedule = RateSchedule(0.5 ** (1 / 9))
    decays = [scheduled_decay(schedule, 0.5, done) for done in (0, 0.5, 1)]
    assert [decay**steps for decay, steps in zip(decays, (1, 5, 9), strict=True)] == pytest.approx([0.5] * 3)
    assert (decays[0], decays[2]) == (0.5, schedule.to)
    assert scheduled_decay(RateSchedule(None), 0.0, 0.5) == 0.0


def test_files_of_earlier_versions_have_no_schedule() -> None:
    assert active_schedules(ScheduleOptions()) == []
    assert active_schedules(compose(*TINY_IMAGES, "schedule.beta2.to=0.9").schedule) == ["beta2"]


def test_a_log_tells_what_moved(train: Callable[..., Path]) -> None:
    run = train(
        *TINY_IMAGES, "steps=4", "regularizer=r1_r2", "regularizer.r1.weight=1", "regularizer.r2.weight=3",
        "optimizer.beta2=0.5", "optimizer.lr=0.001", "training.ema_decay=0.5", "training.augment=[cutout]",
        "training.augment_probability=0",
        "schedule.lr.to=0.0002", "schedule.lr.shape=linear", "schedule.lr.until=0.5",
        "schedule.penalty.to=0.5", "schedule.penalty.shape=linear", "schedule.beta2.to=0.9",
        "schedule.ema_decay.to=0.9", "schedule.augment_probability.to=0.8",
    )  # fmt: skip
    lines = logged_metrics(run)
    assert [line["learning_rate/generator"] for line in lines] == pytest.approx([0.001, 0.0006, 0.0002, 0.0002])
    assert [line["learning_rate/discriminator"] for line in lines] == pytest.approx([0.001, 0.0006, 0.0002, 0.0002])
    assert [line["schedule/r1"] for line in lines] == pytest.approx([0.875, 0.75, 0.625, 0.5])
    assert [line["schedule/r2"] for line in lines] == pytest.approx([2.375, 1.75, 1.125, 0.5])
    expected = {"beta2/generator": (0.7, 0.9), "beta2/discriminator": (0.7, 0.9), "augment_probability": (0.4, 0.8)}
    for name, values in expected.items():
        assert (lines[1][f"schedule/{name}"], lines[3][f"schedule/{name}"]) == pytest.approx(values)
    assert lines[3]["schedule/ema_decay"] == 0.9


def test_a_rate_of_a_networks_own_falls_by_the_same_factor() -> None:
    """StyleGAN2's D has 4/5 of G's rate, also at the end."""
    config = compose(*TINY_IMAGES, "optimizer=adam", "optimizer.lr=0.01", "schedule.lr.to=0.0025")
    assert [scheduled_rate(config, 0.01, done) for done in (0, 1)] == pytest.approx([0.01, 0.0025])
    assert [scheduled_rate(config, 0.008, done) for done in (0, 1)] == pytest.approx([0.008, 0.002])


def test_a_log_tells_the_probability_that_adapts(train: Callable[..., Path]) -> None:
    adaptive = ("training.augment=[cutout]", "training.ada_target=0.6")
    run = train(*TINY_IMAGES, "steps=2", *adaptive, "name=adaptive")
    assert all(0 <= line["schedule/augment_probability"] <= 1 for line in logged_metrics(run))
    fixed = train(*TINY_IMAGES, "steps=2", "training.augment=[cutout]", "name=fixed")
    assert not any("schedule/augment_probability" in line for line in logged_metrics(fixed))


def test_a_scheduled_average_is_not_limited_at_the_start(train: Callable[..., Path]) -> None:
    """Otherwise its decay is at most (1 + step) / (10 + step), which is 3/12 after two steps."""
    decays = ("training.ema_decay=0.9", "schedule.ema_decay.to=0.99")
    first = logged_metrics(train(*TINY_IMAGES, "steps=4", *decays))[0]
    assert first["schedule/ema_decay"] > 0.9
