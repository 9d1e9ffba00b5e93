"""The training loop: D `n_critic` times, then G; after a step its metrics, samples and checkpoint if they are due.

If numbers stop being finite, the run goes back to its newest checkpoint where the config allows that.
"""

from __future__ import annotations

import dataclasses
import signal
from typing import Any

import torch

from gan_cli.data.dataset import Batches
from gan_cli.errors import CollapsedError, DivergedError, StorageError
from gan_cli.health.monitor import Finding, nonfinite_finding
from gan_cli.runs.log import AFTER_STEP, read_metrics
from gan_cli.runs.pending_work import Due, forget_due, keep_due
from gan_cli.state import checkpoint
from gan_cli.state.train_state import Counters, GeneratorStepOutput, require_finite, state_tensors
from gan_cli.storage.run_folder import CHECKPOINTS
from gan_cli.training.alternation import next_network
from gan_cli.training.best_checkpoint import keep_best
from gan_cli.training.budget import Budget, fits_in_budget
from gan_cli.training.objective import Objective
from gan_cli.training.periodic_evaluation import evaluate, expected_seconds
from gan_cli.training.rollback import retry_seed, roll_back
from gan_cli.training.run import Run
from gan_cli.training.sample_grids import (
    grid_of,
    require_finite_samples,
    save_progress_animation,
    save_real_samples,
    save_samples,
)
from gan_cli.training.step_metrics import discriminator_metrics, metrics_to_keep, step_metrics
from gan_cli.training.steps import discriminator_step, generator_step
from gan_cli.training.stop_signals import Interrupted, StopSignals
from gan_cli.training.throughput import RunTimer


def train(run: Run) -> signal.Signals | None:
    """Trains until the last step or a signal, which is returned; all files are written into `run.folder`.

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
                found = nonfinite_finding(error, run.state.counters.step, run.config)
                run.due = None
                if stop.received is not None or not roll_back(run, found):
                    run.health.findings.append(found)
                    run.log.event(found.since, found.name, found.text)
                    raise DivergedError(found.text) from error
    save_progress_animation(run)
    if fatal is not None:
        step = run.state.counters.step
        raise CollapsedError(f"{fatal.name} at step {step:,}, and health.on_collapse=stop: {fatal.text}")
    return stop.received


def _prepare_evaluation(run: Run, stop: StopSignals) -> float:
    """Returns how many seconds an evaluation takes, 0 without a budget; logs if the last one will exceed the budget."""
    budget = run.config.budget
    if budget is None:
        return 0.0
    try:
        with stop.interruptible():
            seconds = expected_seconds(run)
    except Interrupted:
        return 0.0  # the run ends before its next step
    if not fits_in_budget(seconds, budget):
        run.log.info(f"budget={budget}: the evaluation in the end comes after it and takes about {seconds:.0f} s")
    return seconds


def _train(run: Run, stop: StopSignals, evaluation: float) -> Finding | None:
    """Trains until the last step, a signal, or a finding that ends the run, which is returned.

    After a step its checkpoint is saved before its samples are evaluated and drawn, which take longer and may be
    interrupted: what is left of that work is `run.due`, with which a resumed run begins. `evaluation` is how many
    seconds an evaluation is expected to take, if there is a budget.
    """
    config, state, counters = run.config, run.state, run.state.counters
    objective, batches = _reseeded(run)
    timer = RunTimer(state)
    budget = None if config.budget is None else Budget(config, state, timer, evaluation)
    fatal: Finding | None = None
    output: GeneratorStepOutput | None = None
    saved: Counters | None = None
    run.log.show_progress(counters.step, counters.total_steps)
    step_done = counters.d_updates == 0  # a resumed run did what was due after its step, but for `run.due`
    if step_done:
        save_real_samples(run)
    while True:
        finished = counters.total_steps is not None and counters.step >= counters.total_steps
        if step_done:
            run.due = _due_work(run, output, timer, finished)
            if _is_due(counters.step, config.training.checkpoint_every, finished):
                saved = _save_during_run(run, timer)
        if run.due is not None:
            try:
                fatal, ends_early = _do_work(run, run.due, stop, timer, again=not step_done)
            except Interrupted:
                break
            if ends_early:
                finished, counters.total_steps = True, counters.step
            run.due = None
        if finished or fatal is not None or stop.received is not None:
            break
        # D makes its `n_critic` updates, then G its own; a run may stop after any of them, and goes on from there
        if next_network(counters, objective.alternation) == "discriminator":
            discriminator_step(state, objective, batches)
            step_done = False
        else:
            output = generator_step(state, objective, batches)
            step_done = True
        timer.update_done()
        if step_done:
            _show_progress(run)
        _settle_end(run, budget if step_done else None, step_done)
    if saved != counters or (budget is not None and not finished):  # a budget counts what came after the checkpoint
        _save(run, metrics_to_keep(run) if step_done else discriminator_metrics(run))
    if run.due is None and not finished:
        forget_due(run.folder)
    return fatal


def _reseeded(run: Run) -> tuple[Objective, Batches]:
    """Returns the run's objective and batches, with another seed for each time that it went back to a checkpoint."""
    seed = retry_seed(run.objective.seed, run.state.counters.retries)
    return dataclasses.replace(run.objective, seed=seed), dataclasses.replace(run.batches, seed=seed)


def _show_progress(run: Run) -> None:
    state, counters = run.state, run.state.counters
    if state.compiled and counters.step == 1:
        run.log.info(f"compiled: the first step took {state.seconds:.0f} s, which no budget counts")
        state.budget_start = state.seconds
    run.log.show_progress(counters.step, counters.total_steps)


def _due_work(run: Run, output: GeneratorStepOutput | None, timer: RunTimer, finished: bool) -> Due:
    """Returns the work that is due after a step, with its line of metrics; also kept in the folder if it takes a while.

    `output` is what G's update of the step returned, None before the first.
    """
    training, counters = run.config.training, run.state.counters
    saves, draws, evaluates = (
        _is_due(counters.step, every, finished)
        for every in (training.checkpoint_every, training.sample_every, training.evaluate_every)
    )
    values = None
    if output is not None and (evaluates or _is_due(counters.step, training.log_every, finished)):
        values = _measure(run, output, timer)
    evaluates = evaluates and values is not None
    due = Due(counters.step, counters.d_updates, evaluates, draws, values, finished)
    if saves or draws or evaluates:
        keep_due(run.folder, due)
    return due


def _do_work(run: Run, due: Due, stop: StopSignals, timer: RunTimer, *, again: bool) -> tuple[Finding | None, bool]:
    """Does the work that is due; returns a finding that ends the run, and whether patience with its metric ended.

    `again` leaves out what was done already before a run was stopped amid it. Interrupted if a signal comes.
    """
    found: list[Finding] = []
    ends_early = False
    if due.values is not None:
        line = _line_of(run, due.step) if again else None
        if line is None:
            line, found = _log(run, due, stop, timer)
        else:
            found = [finding for finding in run.health.findings if finding.name in line.get("findings", ())]
            run.last_evaluation = line
        if due.evaluate:
            run.last_evaluation = line
            ends_early = keep_best(run, line) and not due.ended
    if ends_early:
        keep_due(run.folder, dataclasses.replace(due, ended=True))
    if (due.sample or ends_early) and not (again and grid_of(run).exists()):
        with timer.pause("sample"), stop.interruptible():
            save_samples(run)
    return (found[0] if found and run.config.health.on_collapse == "stop" else None), ends_early


def _is_due(step: int, every: int, finished: bool) -> bool:
    return finished or step == 0 or (every > 0 and step % every == 0)


def _settle_end(run: Run, budget: Budget | None, step_done: bool) -> None:
    """Where a run ends that has a budget, or replays one that had; each change is recorded."""
    counters = run.state.counters
    before, line = counters.total_steps, None
    if budget is not None:
        line = budget.update_total_steps()
    else:
        positions = [(counters.step, AFTER_STEP)] if step_done else []
        for position in (*positions, (counters.step, counters.d_updates)):
            counters.total_steps = run.ends.get(position, counters.total_steps)
    if counters.total_steps != before:
        d_updates = AFTER_STEP if step_done else counters.d_updates
        run.log.planned_end(counters.step, counters.total_steps, run.state.seconds, d_updates)
    if line is not None:
        run.log.info(line)


def _line_of(run: Run, step: int) -> dict[str, Any] | None:
    """Returns the line of metrics of a step, if it was written."""
    return next((line for line in read_metrics(run.folder) if line["step"] == step and "text" not in line), None)


def _measure(run: Run, output: GeneratorStepOutput, timer: RunTimer) -> dict[str, float]:
    """Returns the metrics of the step that was just done, without those of an evaluation."""
    with timer.pause("log"):
        values = step_metrics(run, output, timer)
    slow = timer.slowdown_warning(values["images_per_second"])
    if slow is not None:
        run.log.info(f"warning: {slow}")
    require_finite(run.state, {name: torch.tensor(value) for name, value in values.items()})
    return values


def _log(run: Run, due: Due, stop: StopSignals, timer: RunTimer) -> tuple[dict[str, Any], list[Finding]]:
    """Evaluates if that is due, and writes the line of metrics; returns the line, and what is found unhealthy in it."""
    values = dict(due.values or {})
    if due.evaluate:
        with timer.pause("evaluate"), stop.interruptible():
            scores = evaluate(run)
        if run.reference is not None and scores:
            listed = ", ".join(f"{name} {value:.4g}" for name, value in scores.items())
            run.log.info(f"evaluation at step {run.state.counters.step:,}: {listed}")
        require_finite(run.state, {name: torch.tensor(value) for name, value in scores.items()})
        values |= scores
    found = run.health.observe(values)
    run.log.metrics(values, run.state.counters.total_steps, [finding.name for finding in found])
    for finding in found:
        run.log.info(f"health: {finding.text}")
    return values, found


def _save_during_run(run: Run, timer: RunTimer) -> Counters | None:
    """Saves a checkpoint; returns its counters, None if it cannot be written: the run warns, a later one may succeed.

    DivergedError if the samples that are due are not finite.
    """
    if run.due is not None and run.due.sample:
        require_finite_samples(run)
    with timer.pause("checkpoint"):
        try:
            _save(run, metrics_to_keep(run))
        except StorageError as error:
            run.log.info(f"warning: {error}; going on, the next checkpoint may succeed")
            return None
    return dataclasses.replace(run.state.counters)


def _save(run: Run, metrics: dict[str, float]) -> None:
    state = run.state
    require_finite(state, state_tensors(state))
    provenance = dataclasses.replace(run.provenance, seconds=state.seconds, budget_start=state.budget_start)
    checkpoint.save(state, run.config, run.folder / CHECKPOINTS, provenance, metrics)
