"""A budget is kept whoever else uses the machine, and where the run ends is recorded, so that it goes on to the bit."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from gan_cli import api
from gan_cli.cli.main import run_command
from gan_cli.config import train_config
from gan_cli.errors import UsageError
from gan_cli.launch import replay
from gan_cli.runs.log import AFTER_STEP, read_planned_ends, truncate_metrics
from gan_cli.state.train_state import Counters
from gan_cli.training import periodic_evaluation as evaluation
from gan_cli.training import throughput
from gan_cli.training.budget import WINDOW, Budget, _Mark, fits_in_budget, parse_duration
from gan_cli.training.throughput import RunTimer, noting_suspensions
from support.configs import TINY_IMAGES, compose
from support.runs import assert_equal_runs, last_checkpoint
from support.training import wrap_updates

SECONDS = 60.0
Neighbour = Callable[[float], float]  # how many times longer everything takes at a time


class Clock:
    """What `time` is to the pace: it goes on by what is spent."""

    def __init__(self, neighbour: Neighbour = lambda now: 1.0) -> None:
        self.now, self._neighbour = 0.0, neighbour

    def perf_counter(self) -> float:
        return self.now

    def spend(self, seconds: float) -> None:
        self.now += seconds * self._neighbour(self.now)


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Clock]:
    def start(neighbour: Neighbour = lambda now: 1.0) -> Clock:
        clock = Clock(neighbour)
        monkeypatch.setattr(throughput, "time", clock)
        monkeypatch.setattr(throughput, "_continued_at", 0.0)
        return clock

    return start


class Played:
    """The loop of a run with nothing in it but time: 20 ms a step, 0.5 s for the first, grids and checkpoints 0.1 s."""

    def __init__(self, clock: Clock, *overrides: str, evaluation: float = 0.0, step: float = 0.02) -> None:
        config = compose(*TINY_IMAGES[:-3], f"budget={SECONDS:g}s", *overrides)
        self.state = SimpleNamespace(
            seconds=0.0,
            budget_start=0.0,
            counters=Counters(step=0, d_updates=0, total_steps=None),
            device=torch.device("cpu"),
        )
        self.ends: list[tuple[int, int | None]] = []
        self.said: list[str] = []
        self._clock, self._evaluation, self._training = clock, evaluation, config.training
        self._timer = RunTimer(self.state)  # type: ignore[arg-type]
        self._budget = Budget(config, self.state, self._timer, evaluation)  # type: ignore[arg-type]
        self._play(step)
        self.seconds, self.steps = clock.now, self.state.counters.step

    def _play(self, step: float) -> None:
        counters = self.state.counters
        while True:
            finished = counters.step == counters.total_steps
            self._pause("log", 0.02, self._training.log_every, finished, counters.step > 0)
            due = self._evaluation > 0 and counters.step > 0
            self._pause("evaluate", self._evaluation, self._training.evaluate_every, finished, due)
            self._pause("sample", 0.1, self._training.sample_every, finished)
            self._pause("checkpoint", 0.1, self._training.checkpoint_every, finished)
            if finished:
                return
            self._clock.spend(0.5 if counters.step == 0 else step)
            self._timer.update_done()
            counters.step += 1
            before, line = counters.total_steps, self._budget.update_total_steps()
            self.ends += [(counters.step, counters.total_steps)] if counters.total_steps != before else []
            self.said += [line] if line is not None else []

    def _pause(self, kind: str, seconds: float, every: int, finished: bool, due: bool = True) -> None:
        step = self.state.counters.step
        if due and (finished or step == 0 or (every and step % every == 0)):
            with self._timer.pause(kind):
                self._clock.spend(seconds)


def coming_and_going(seed: int, seconds: float = SECONDS) -> Neighbour:
    """One that comes and goes at random times and makes everything up to 5 times slower."""
    drawn = random.Random(seed)
    changes, factors = [0.0], [1.0]
    while changes[-1] < 2 * seconds:
        changes.append(changes[-1] + drawn.uniform(0.02, 0.5) * seconds)
        factors.append(1.0 if len(factors) % 2 == 0 else 1 + 4 * drawn.random())
    return lambda now: next(f for start, f in zip(reversed(changes), reversed(factors), strict=True) if start <= now)


# --- on a clock of its own ---------------------------------------------------------------------------------------


def test_durations() -> None:
    assert [parse_duration(text) for text in ("90s", "20m", "1.5h")] == [90, 1200, 5400]
    assert [fits_in_budget(seconds, "1m") for seconds in (0, 12, 12.1)] == [True, True, False]


def test_at_a_steady_pace_the_steps_are_those_that_fit(timed: Callable[..., Clock]) -> None:
    run = Played(timed())
    # a grid and a checkpoint before the first step of 0.5 s, all three in the end, and what is due in between
    free = SECONDS - 0.2 - 0.5 - 0.22
    fitting = max(n for n in range(3000) if n * 0.02 + 0.1 * (n // 250 + n // 1000) + 0.02 * (n // 50) <= free)
    assert run.steps == pytest.approx(fitting, abs=2)
    assert run.seconds == pytest.approx(SECONDS, abs=0.1)
    assert run.ends == [(run.ends[0][0], run.steps)]
    assert run.ends[0][0] < 0.06 * run.steps
    assert len(run.said) == 1
    assert f"{run.steps:,} steps, estimated from the first 5 %" in run.said[0]
    first, second, *_, last = run._budget._marks  # some ten points of the last tenth of the budget
    assert last.elapsed - second.elapsed < WINDOW * SECONDS <= last.elapsed - first.elapsed
    assert 8 < len(run._budget._marks) < 13


def test_the_seconds_of_a_step_are_those_between_the_first_and_the_last_mark(timed: Callable[..., Clock]) -> None:
    budget = Played(timed(lambda now: 1000.0))._budget
    budget._marks.clear()
    budget._marks += [_Mark(1.0, 0.5, 10), _Mark(2.0, 1.0, 20), _Mark(9.0, 6.5, 30)]
    assert budget._step_seconds() == pytest.approx(0.3)


def test_pauses_count_if_they_are_due_before_the_last_of_further_steps(timed: Callable[..., Clock]) -> None:
    run = Played(timed(lambda now: 1000.0), "training.log_every=10", step=0.1)
    run.state.counters.step = 15
    budget = run._budget
    budget._marks.clear()
    budget._marks += [_Mark(0.0, 0.0, 0), _Mark(1.0, 1.0, 10)]
    budget._timer.pause_seconds = {"log": 0.5}
    assert [budget._paused(steps) for steps in (5, 6, 15, 16)] == [0, 0.5, 0.5, 1.0]
    assert [budget._steps_in(seconds) for seconds in (0.04, 0.06, 0.46, 1.04, 1.06)] == [0, 1, 5, 5, 6]


def test_a_change_of_a_tenth_is_said(timed: Callable[..., Clock]) -> None:
    budget = Played(timed(lambda now: 1000.0))._budget
    said = []
    for before, now in ((100, 91), (100, 90), (100, 110), (8, 8), (8, 7)):
        budget._printed = before
        said.append((budget._describe(now) or "").partition("instead of ")[2])
    assert said == ["", *(f"{n}, because steps became {how}" for n, how in ((100, "slower"), (100, "faster"))), "",
                    "8, because steps became slower"]  # fmt: skip


def test_images_per_second_count_pauses_but_no_evaluations(timed: Callable[..., Clock]) -> None:
    clock, counters = timed(), Counters(step=0, d_updates=0, total_steps=None)
    state = SimpleNamespace(seconds=100.0, counters=counters, device=torch.device("cpu"))
    timer = RunTimer(state)  # type: ignore[arg-type]
    for images, updates in ((80.0, 5), (160.0, 10)):
        counters.d_updates += updates
        clock.spend(0.3)
        timer.update_done()
        for kind, seconds in (("log", 0.2), ("evaluate", 50.0)):
            with timer.pause(kind):
                clock.spend(seconds)
        assert timer.images_per_second(8) == pytest.approx(images)
    assert timer.update_seconds == pytest.approx(0.6)
    assert timer.pause_seconds == pytest.approx({"log": 0.2, "evaluate": 50.0})
    assert state.seconds == pytest.approx(100 + 2 * 50.5)


@pytest.mark.parametrize("seed", range(12))
def test_whoever_comes_and_goes_the_run_ends_in_time(seed: int, timed: Callable[..., Clock]) -> None:
    run = Played(timed(coming_and_going(seed)))
    assert run.seconds == pytest.approx(SECONDS, rel=0.05)
    assert 1 <= len(run.said) <= len(run.ends) <= 20
    assert run.ends[-1][1] == run.steps


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.96])
@pytest.mark.parametrize("factor", [0.25, 4.0])
def test_a_change_at_any_time_is_made_up_for(share: float, factor: float, timed: Callable[..., Clock]) -> None:
    run = Played(timed(lambda now: 1.0 if now < share * SECONDS else factor), step=0.1)
    assert run.seconds == pytest.approx(SECONDS, rel=0.05)


def test_how_the_end_moves_is_said(timed: Callable[..., Clock]) -> None:
    run = Played(timed(lambda now: 1.0 if now < 30 else 2.0))
    assert 2 <= len(run.said) <= 4
    assert all("because steps became slower" in line for line in run.said[1:])
    assert f"{run.ends[0][1]:,}" in run.said[1]


def test_the_closing_evaluation_is_part_of_a_budget(timed: Callable[..., Clock]) -> None:
    run = Played(timed(), evaluation=5.0)
    assert run.seconds == pytest.approx(SECONDS, rel=0.01)
    long = Played(timed(), evaluation=30.0)  # which would leave too little
    assert long.seconds - 30 == pytest.approx(SECONDS, rel=0.01)


def test_evaluations_on_the_way_count(timed: Callable[..., Clock]) -> None:
    run = Played(timed(), "training.evaluate_every=500", evaluation=3.0)
    assert run.seconds == pytest.approx(SECONDS, rel=0.05)
    assert run.steps < 2600


def test_a_step_longer_than_the_budget_is_the_last(timed: Callable[..., Clock]) -> None:
    assert Played(timed(lambda now: 1000.0)).steps == 1
    frozen = Played(timed(lambda now: 1.0 if now < 30 else 3000.0))
    assert frozen.steps < 1500
    assert frozen.ends[-1] == (frozen.steps, frozen.steps)


def test_a_suspension_does_not_count_and_is_said(timed: Callable[..., Clock], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Played(timed())
    clock, suspensions = timed(), [1000.0]

    def spend(seconds: float) -> None:
        if clock.now > 30 and suspensions:
            clock.now += suspensions.pop()
            os.kill(os.getpid(), signal.SIGCONT)
        Clock.spend(clock, seconds)

    monkeypatch.setattr(clock, "spend", spend)
    with noting_suspensions():
        run = Played(clock)
    assert run.steps == pytest.approx(whole.steps, abs=3)
    assert run.state.seconds == pytest.approx(SECONDS, abs=0.2)
    assert [line for line in run.said if "suspended" in line] == [
        "budget=60s: does not count 1000 s in which the process was suspended"
    ]


# --- real runs on such a clock -----------------------------------------------------------------------------------


@pytest.fixture
def training_at(timed: Callable[..., Clock], monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets each update of real networks take so long; in an update of G after `stop`, a signal comes."""

    def begin(update: float, neighbour: Neighbour = lambda now: 1.0, stop: int | None = None) -> None:
        clock = timed(neighbour)
        done = 0

        def play(step: Callable[..., object], *arguments: object) -> object:
            nonlocal done
            done += 1
            if done == stop:
                os.kill(os.getpid(), signal.SIGINT)
            clock.spend(update)
            return step(*arguments)

        wrap_updates(monkeypatch, play)

    return begin


BUDGET = [*TINY_IMAGES, "budget=10s", "training.lr_schedule=linear", "training.instance_noise=0.3"]


def recorded(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "budget.jsonl").read_text().splitlines()]


def test_a_stopped_run_goes_on_to_the_recorded_end(
    train: Callable[..., Path], training_at: Callable[..., None]
) -> None:
    """After 3 s all takes half as long again; the run is stopped before, in and after the measurements of that."""
    training_at(0.1, lambda now: 1.0 if now < 3 else 1.5)
    whole = train(*BUDGET, "name=whole")
    assert last_checkpoint(whole).counters.step < 45
    assert len(recorded(whole)) > 1
    for stop in (31, 61):
        training_at(0.1, lambda now: 1.0 if now < 3 else 1.5, stop=stop)
        broken = train(*BUDGET, "name=broken", code=130)
        seconds = last_checkpoint(broken).provenance.seconds
        training_at(0.1, lambda now, seconds=seconds: 1.0 if now + seconds < 3 else 1.5)
        train(f"resume={broken}")
        found = last_checkpoint(broken)
        assert found.counters.step == found.counters.total_steps
        assert found.provenance.seconds == pytest.approx(10, rel=0.05)
    assert recorded(broken) == recorded(whole)  # all was settled when it was stopped the second time
    assert_equal_runs(whole, broken)


def test_a_run_is_repeated_from_its_record(
    train: Callable[..., Path], training_at: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """On a machine that is ten times faster, and stopped in between."""
    training_at(0.1, lambda now: 1.0 if now < 3 else 1.5)
    one = train(*BUDGET, "name=one")
    training_at(0.01, stop=41)
    two = train(*BUDGET, "name=two", f"replay={one}", code=130)
    shutil.rmtree(one / "samples")  # it needs no more than its own folder
    train(f"resume={two}")
    assert_equal_runs(one, two)
    strip = [[{**line, "seconds": 0} for line in recorded(run)] for run in (one, two)]
    assert strip[0] == strip[1]
    assert run_command("train", [*TINY_IMAGES, f"replay={one}", "steps=5"]) == 2
    assert "steps and replay: each says when to stop" in capsys.readouterr().err
    plain = train(*TINY_IMAGES, "steps=1", "name=plain")
    assert run_command("train", [*TINY_IMAGES, f"replay={plain}"]) == 2
    assert "the run had no budget" in capsys.readouterr().err


@pytest.mark.parametrize("more", ["budget=4s", "extra_steps=7"])
def test_a_run_that_was_resumed_to_another_end_is_repeated_to_its_last(
    train: Callable[..., Path], training_at: Callable[..., None], more: str
) -> None:
    """After it was done, and then once more after it was stopped on the way."""
    keys = [key if not key.startswith("budget=") else "budget=2s" for key in BUDGET]
    training_at(0.1)
    one = train(*keys, "name=one")
    training_at(0.1, stop=11)
    train(f"resume={one}", more.replace("7", "70"), code=130)
    training_at(0.1)
    train(f"resume={one}", more)
    two = train(*keys[:-3], *keys[-2:], "name=two", f"replay={one}")
    assert last_checkpoint(two).counters.step == last_checkpoint(one).counters.step > 15
    assert_equal_runs(one, two)
    if more == "budget=4s":
        three = train(*keys[:-3], *keys[-2:], "name=three", f"replay={two}")
        assert_equal_runs(one, three)


def test_a_resume_that_older_versions_did_not_record_is_repeated_to_the_last_end(tmp_path: Path) -> None:
    lines = [{"step": step, "total_steps": end} for step, end in ((5, 90), (8, 100), (112, 300), (120, None))]
    (tmp_path / replay.ENDS_COPY).write_text("\n".join(map(json.dumps, lines)))
    config = dataclasses.replace(compose(), replay="x")
    assert replay.read_replayed_ends(config, tmp_path) == {
        (step, AFTER_STEP): end for step, end in ((5, 90), (8, 100), (100, None), (112, 300))
    }


def test_a_replay_that_would_be_another_run_is_refused(
    train: Callable[..., Path], training_at: Callable[..., None], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training_at(0.1)
    keys = [key if not key.startswith("budget=") else "budget=2s" for key in BUDGET]
    one = train(*keys, "name=one")
    same = [*(key for key in keys if not key.startswith("budget=")), f"replay={one}"]
    for typed, words in (
        ("seed=1", "seed=1 (was 0)"),
        ("budget=3s", "budget=3s (was 2s)"),
        ("dataset.limit=100", "dataset.limit=100 (was null)"),
        ("training.ema_decay=0.5", "training.ema_decay=0.5"),
        ("recipe=colour_64", "recipe=colour_64 (was auto)"),
        ("dry_run=true seed=1", "seed=1 (was 0)"),
        ("loss=wasserstein seed=1", "loss.name=wasserstein (was non_saturating), seed=1 (was 0), "),
        ("loss=wasserstein seed=1", " more; give the same keys"),
    ):
        assert run_command("train", [*same, *typed.split()]) == 2
        assert f"replay={one}: differs from that run in " in (told := capsys.readouterr().err)
        assert words in told
    config = dataclasses.replace(compose(*same[:-1], "seed=1"), replay=str(one))
    with pytest.raises(UsageError, match=r"seed=1 \(was 0\)"):
        api.train(config)
    record = json.loads((one / "config.json").read_text())
    record["data"]["fingerprint"] = "another"
    (one / "config.json").write_text(json.dumps(record))
    for more in ([], ["dry_run=true"]):
        assert run_command("train", [*same, *more]) == 2
        assert "the data are not those of the run" in capsys.readouterr().err
    assert len([*here.glob("outputs/*/*/config.json")]) == 1


def test_a_replay_takes_the_paths_of_the_run_from_where_it_was_started(tmp_path: Path) -> None:
    (tmp_path / "there" / "x").mkdir(parents=True)
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    record = {
        "config": train_config.to_dict(compose("dataset=folder", "dataset.path=x")),
        "directory": f"{tmp_path}/there",
    }
    (run / "config.json").write_text(json.dumps(record))
    (run / "budget.jsonl").write_text('{"step": 0, "total_steps": 9}\n')
    same = compose("dataset=folder", f"dataset.path={tmp_path}/there/x", f"replay={run}")
    assert replay.apply_replay(same, ("replay",), None).dataset == same.dataset
    other = dataclasses.replace(same, dataset=dataclasses.replace(same.dataset, path=str(tmp_path)))
    with pytest.raises(UsageError, match=r"differs from that run in dataset\.path="):
        replay.apply_replay(other, ("replay",), None)


def test_the_recorded_ends_are_those_of_the_checkpoint(tmp_path: Path) -> None:
    lines = [json.dumps({"step": step, "total_steps": 100 + step, "seconds": 1.0}) for step in (5, 9, 12)]
    (tmp_path / "budget.jsonl").write_text("\n".join([*lines, '{"step": 1']))
    truncate_metrics(tmp_path, 9)
    assert [line["step"] for line in recorded(tmp_path)] == [5, 9]
    with open(tmp_path / "budget.jsonl", "a") as file:
        file.write(
            '{"step": 9, "total_steps": 90}\n{"step": 10, "total_steps": 3}\n{"step": 11, "total_steps": "x"}\n[1]\n'
        )
    assert read_planned_ends(tmp_path / "budget.jsonl") == {(5, AFTER_STEP): 105, (9, AFTER_STEP): 90}


def test_what_an_evaluation_takes_is_known_before_the_first_step(
    train: Callable[..., Path], training_at: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    training_at(0.2)
    overrides = [*TINY_IMAGES, "conditioning=projection", "budget=10s"]
    told = (train(*overrides) / "train.log").read_text().splitlines()
    right = next(number for number, line in enumerate(told) if "classifier: accuracy" in line)
    first = next(number for number, line in enumerate(told) if "budget=10s:" in line)
    assert right < first
    assert "in the end comes after it" not in "".join(told)
    ticks = itertools.count()  # a second between two looks at the clock
    monkeypatch.setattr(evaluation, "time", SimpleNamespace(perf_counter=lambda: float(next(ticks))))
    told = (train(*overrides) / "train.log").read_text().splitlines()
    assert (
        sum("budget=10s: the evaluation in the end comes after it and takes about 10 s" in line for line in told) == 1
    )
