"""The one training loop: play a turn, and do what is due after a step; where numbers go bad, go back if wanted."""

from __future__ import annotations

import dataclasses
import signal
from typing import Any

import torch

from gan_cli.errors import CollapsedError, DivergedError, StorageError
from gan_cli.health.monitor import Finding, nonfinite
from gan_cli.runs.due import Due, forget_due, keep_due
from gan_cli.runs.log import AFTER_STEP, read_metrics
from gan_cli.state import checkpoint
from gan_cli.state.train_state import Counters, require_finite, state_tensors
from gan_cli.storage.run_folder import CHECKPOINTS
from gan_cli.training.best_checkpoint import keep_best
from gan_cli.training.budget import Budget, is_included
from gan_cli.training.periodic_evaluation import evaluate, expected_seconds
from gan_cli.training.rollback import reseeded, roll_back
from gan_cli.training.run import Run
from gan_cli.training.sample_grids import grid_of, require_finite_samples, save_film, save_real_samples, save_samples
from gan_cli.training.signals import Interrupted, StopSignals
from gan_cli.training.step_metrics import discriminator_metrics, metrics_to_keep, step_metrics
from gan_cli.training.steps import DiscriminatorOutcome, GeneratorOutcome, play_turn
from gan_cli.training.throughput import Pace


def train(run: Run) -> signal.Signals | None:
    """Trains until the last step or a signal, which is returned; everything it makes is in `run.folder`.

    DivergedError if the state stops being finite, and the run may not go back; CollapsedError if it was to stop on a
    finding; StorageError if the last checkpoint cannot be written.
    """
    with StopSignals() as stop:
        evaluation = _prepare_evaluation(run, stop)
        while True:
            try:
                fatal = _train(run, stop, evaluation)
                break
            except DivergedError as error:
                found = nonfinite(error, run.state.counters.step, run.config)
                run.due = None
                if stop.received is not None or not roll_back(run, found):
                    run.health.findings.append(found)
                    run.log.event(found.since, found.name, found.text)
                    raise DivergedError(found.text) from error
    save_film(run)
    if fatal is not None:
        step = run.state.counters.step
        raise CollapsedError(f"{fatal.name} at step {step:,}, and health.on_collapse=stop: {fatal.text}")
    return stop.received


def _prepare_evaluation(run: Run, stop: StopSignals) -> float:
    """How many seconds an evaluation takes, which a budget must know; says so if the last one is to come after it."""
    budget = run.config.budget
    if budget is None:
        return 0.0
    try:
        with stop.interrupting():
            seconds = expected_seconds(run)
    except Interrupted:
        return 0.0  # the run ends before its next step
    if not is_included(seconds, budget):
        run.log.say(f"budget={budget}: the evaluation in the end comes after it and takes about {seconds:.0f} s")
    return seconds


def _train(run: Run, stop: StopSignals, evaluation: float) -> Finding | None:
    """Until the last step, a signal, or a finding that ends the run, which is returned.

    After a step its checkpoint is saved before its samples are judged and drawn, which take longer and may be broken
    off: what is left of it is `run.due`, which a resumed run begins with. `evaluation` is how many seconds one is
    expected to take, if there is a budget.
    """
    config, state, counters = reseeded(run.config, run.state.counters.retries), run.state, run.state.counters
    batches = dataclasses.replace(run.batches, seed=config.seed)
    pace = Pace(state)
    budget = None if config.budget is None else Budget(config, state, pace, evaluation)
    fatal: Finding | None = None
    judged: DiscriminatorOutcome | None = None
    made: GeneratorOutcome | None = None
    saved: Counters | None = None
    run.log.advance(counters.step, counters.total_steps)
    step_done = counters.d_updates == 0  # a resumed run did what was due after its step, but for `run.due`
    if step_done:
        save_real_samples(run)
    while True:
        finished = counters.total_steps is not None and counters.step >= counters.total_steps
        if step_done:
            run.due = _what_is_due(run, judged, made, pace, finished)
            if _due(counters.step, config.training.checkpoint_every, finished):
                if run.due.sample:
                    require_finite_samples(run)
                with pace.pause("checkpoint"):
                    saved = _save_on_the_way(run)
        if run.due is not None:
            try:
                fatal, early = _do(run, run.due, stop, pace, again=not step_done)
            except Interrupted:
                break
            if early:
                finished, counters.total_steps = True, counters.step
            run.due = None
        if finished or fatal is not None or stop.received is not None:
            break
        outcome = play_turn(state, config, batches)
        pace.tick()
        step_done = isinstance(outcome, GeneratorOutcome)
        if isinstance(outcome, DiscriminatorOutcome):
            judged = outcome
        else:
            made = outcome
            if config.compile and counters.step == 1:
                run.log.say(f"compiled: the first step took {state.seconds:.0f} s, which no budget counts")
                state.budget_start = state.seconds
            run.log.advance(counters.step, counters.total_steps)
        _settle_end(run, budget if step_done else None, step_done)
    if saved != counters or (budget is not None and not finished):  # a budget counts what came after the checkpoint
        _save_last(run, judged, step_done)
    if run.due is None and not finished:
        forget_due(run.folder)
    return fatal


def _what_is_due(
    run: Run, judged: DiscriminatorOutcome | None, made: GeneratorOutcome | None, pace: Pace, finished: bool
) -> Due:
    """After a step, with its line of metrics; kept in the folder if it takes a while."""
    training, counters = run.config.training, run.state.counters
    saves, draws, evaluates = (
        _due(counters.step, every, finished)
        for every in (training.checkpoint_every, training.sample_every, training.evaluate_every)
    )
    values = None
    if made is not None and (evaluates or _due(counters.step, training.log_every, finished)):
        values = _measure(run, judged, made, pace)
    evaluates = evaluates and values is not None
    due = Due(counters.step, counters.d_updates, evaluates, draws, values, finished)
    if saves or draws or evaluates:
        keep_due(run.folder, due)
    return due


def _do(run: Run, due: Due, stop: StopSignals, pace: Pace, *, again: bool) -> tuple[Finding | None, bool]:
    """Does what is due; a finding that ends the run, and whether the run ends as it no longer gets better.

    `again` leaves out what a run that was ended amid it has done before. Interrupted if a signal comes.
    """
    found: list[Finding] = []
    early = False
    if due.values is not None:
        done = _line_of(run, due.step) if again else None
        if done is None:
            found = _log(run, due, stop, pace)
        else:
            run.evaluated = done
            found = [finding for finding in run.health.findings if finding.name in done.get("findings", ())]
        if due.evaluate:
            early = keep_best(run, run.evaluated) and not due.ended
    if early:
        keep_due(run.folder, dataclasses.replace(due, ended=True))
    if (due.sample or early) and not (again and grid_of(run).exists()):
        with pace.pause("sample"), stop.interrupting():
            save_samples(run)
    return (found[0] if found and run.config.health.on_collapse == "stop" else None), early


def _due(step: int, every: int, finished: bool) -> bool:
    return finished or step == 0 or (every > 0 and step % every == 0)


def _settle_end(run: Run, budget: Budget | None, step_done: bool) -> None:
    """Where a run ends that has a budget, or replays one that had; each change is recorded."""
    counters = run.state.counters
    before, line = counters.total_steps, None
    if budget is not None:
        line = budget.settle()
    else:
        positions = [(counters.step, AFTER_STEP)] if step_done else []
        for position in (*positions, (counters.step, counters.d_updates)):
            counters.total_steps = run.ends.get(position, counters.total_steps)
    if counters.total_steps != before:
        d_updates = AFTER_STEP if step_done else counters.d_updates
        run.log.end(counters.step, counters.total_steps, run.state.seconds, d_updates)
    if line is not None:
        run.log.say(line)


def _line_of(run: Run, step: int) -> dict[str, Any] | None:
    """The line of metrics of a step, if it was written."""
    return next((line for line in read_metrics(run.folder) if line["step"] == step and "text" not in line), None)


def _measure(run: Run, judged: DiscriminatorOutcome | None, made: GeneratorOutcome, pace: Pace) -> dict[str, float]:
    """The figures of the step that was just done, without those of an evaluation."""
    with pace.pause("log"):
        if judged is not None:
            run.discriminator_metrics = discriminator_metrics(run, judged)
        values = step_metrics(run, made, pace)
    slow = pace.complaint(values["images_per_second"])
    if slow is not None:
        run.log.say(f"warning: {slow}")
    require_finite(run.state, {name: torch.tensor(value) for name, value in values.items()})
    return values


def _log(run: Run, due: Due, stop: StopSignals, pace: Pace) -> list[Finding]:
    """Writes the line of metrics that is due; what the watch finds new in it."""
    values = dict(due.values or {})
    if due.evaluate:
        with pace.pause("evaluate"), stop.interrupting():
            figures = evaluate(run)
        if run.reference is not None and figures:
            told = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
            run.log.say(f"evaluation at step {run.state.counters.step:,}: {told}")
        require_finite(run.state, {name: torch.tensor(value) for name, value in figures.items()})
        values |= figures
        run.evaluated = values
    found = run.health.observe(values)
    run.log.metrics(values, run.state.counters.total_steps, [finding.name for finding in found])
    for finding in found:
        run.log.say(f"health: {finding.text}")
    return found


def _save_on_the_way(run: Run) -> Counters | None:
    """What was saved. If it cannot be written the run warns and goes on: a later one may succeed."""
    try:
        _save(run, metrics_to_keep(run))
    except StorageError as error:
        run.log.say(f"warning: {error}; going on, the next checkpoint may succeed")
        return None
    return dataclasses.replace(run.state.counters)


def _save_last(run: Run, judged: DiscriminatorOutcome | None, step_done: bool) -> None:
    """Where a run stops; between the halves of a step, what D's half saw is kept for the step's line of metrics."""
    if judged is not None and not step_done:
        run.discriminator_metrics = discriminator_metrics(run, judged)
    _save(run, metrics_to_keep(run) if step_done else run.discriminator_metrics)


def _save(run: Run, metrics: dict[str, float]) -> None:
    state = run.state
    require_finite(state, state_tensors(state))
    provenance = dataclasses.replace(run.provenance, seconds=state.seconds, budget_start=state.budget_start)
    checkpoint.save(state, run.config, run.folder / CHECKPOINTS, provenance, metrics)
