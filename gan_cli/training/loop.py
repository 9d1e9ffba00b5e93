"""The training loop: updates D `n_critic` times, then G, which completes a step.

After each step, metrics, samples and a checkpoint are written if they are due. If values become NaN or infinite, the
run is rolled back to the newest checkpoint of its schedule, if the config allows it.
"""

from __future__ import annotations

import dataclasses
import signal
from typing import Any

from gan_cli.data.dataset import Batches
from gan_cli.errors import CollapsedError, DivergedError, StorageError, format_number
from gan_cli.health.monitor import Finding, nonfinite_finding
from gan_cli.runs.log import AFTER_STEP, read_metrics
from gan_cli.runs.pending_work import Due
from gan_cli.state.half_precision import require_updates
from gan_cli.state.shared_state import give_state
from gan_cli.state.train_state import Counters, require_finite
from gan_cli.stop_signals import Interrupted, StopSignals
from gan_cli.training.best_checkpoint import keep_best
from gan_cli.training.budget import Budget, fits_in_budget
from gan_cli.training.objective import Objective
from gan_cli.training.periodic_evaluation import evaluate, expected_seconds
from gan_cli.training.rollback import retry_seed, roll_back
from gan_cli.training.run import Run
from gan_cli.training.sample_grids import (
    grid_path,
    is_written,
    real_samples_path,
    require_finite_samples,
    save_progress_animation,
    save_real_samples,
    save_samples,
)
from gan_cli.training.step_metrics import discriminator_metrics, metrics_to_keep, step_metrics
from gan_cli.training.steps import training_step
from gan_cli.training.throughput import RunTimer, noting_suspensions

Saved = tuple[Counters, Due | None]  # what the last checkpoint holds: the counters and the work that was due


def train(run: Run) -> signal.Signals | None:
    """Trains until the last step or a signal, and writes all files into `run.folder`.

    Returns the signal that stopped it, or None. Raises DivergedError if values become NaN or infinite and rolling back
    is not allowed; CollapsedError if `health.on_collapse=stop` and the monitor finds a failure; StorageError if the
    last checkpoint cannot be written.
    """
    with StopSignals() as stop, noting_suspensions():
        give_state(run.state, run.group)
        evaluation_seconds = _prepare_evaluation(run, stop)
        while True:
            try:
                stopping_finding = _train_until_stop(run, stop, evaluation_seconds)
                break
            except DivergedError as error:
                finding = nonfinite_finding(error, run.state.counters.step, run.config)
                run.due = None
                if not roll_back(run, finding):
                    run.health.findings.append(finding)
                    run.log.event(finding.since, finding.name, finding.text)
                    raise DivergedError(finding.text) from error
                give_state(run.state, run.group)
    save_progress_animation(run)
    if stopping_finding is not None:
        name, text, step = stopping_finding.name, stopping_finding.text, run.state.counters.step
        raise CollapsedError(f"{name} at step {step:,}, and health.on_collapse=stop: {text}")
    return stop.received


def _prepare_evaluation(run: Run, stop: StopSignals) -> float:
    """Returns the seconds an evaluation will take, 0 without a budget; logs if the final one does not fit into it."""
    budget = run.config.budget
    if budget is None:
        return 0.0
    try:
        with stop.interruptible():
            seconds = expected_seconds(run)
    except Interrupted:
        return 0.0  # the run stops before its next step
    if not fits_in_budget(seconds, budget):
        run.log.info(f"budget={budget}: the evaluation in the end comes after it and takes about {seconds:.0f} s")
    return seconds


def _train_until_stop(run: Run, stop: StopSignals, evaluation_seconds: float) -> Finding | None:
    """Trains until the last step, a signal, or a finding that must stop the run, which is returned.

    After a step its checkpoint is saved first, with a list of the work that is due. Evaluation and samples take longer
    and may be interrupted; what is left of them is in `run.due`, and a resumed run begins with it.
    """
    config, state, counters = run.config, run.state, run.state.counters
    objective, batches = _reseeded(run)
    timer = RunTimer(state)
    budget = None if run.config.budget is None else Budget(config, state, timer, evaluation_seconds)
    stopping_finding: Finding | None = None  # only with health.on_collapse=stop
    due: Due | None = None
    saved: Saved | None = None
    run.log.show_progress(counters.step, counters.total_steps, state.seconds)
    # a new run first does the work of step 0; a resumed run did its step's work before it stopped, except `run.due`
    step_done = counters.d_updates == 0
    while True:  # one iteration is one update, of D or of G
        finished = counters.total_steps is not None and counters.step >= counters.total_steps
        if step_done:
            run.due = _due_work(run, timer, finished)
            if _is_due(counters.step, config.training.checkpoint_every, finished):
                saved = _save_during_run(run, timer)
        due = run.due
        if run.due is not None:
            try:
                stopping_finding, patience_ended = _do_work(run, run.due, stop, timer, resumed=not step_done)
            except Interrupted:
                break
            if patience_ended:
                finished, counters.total_steps = True, counters.step
                due = dataclasses.replace(run.due, ended=True)
            run.due = None
        if finished or stopping_finding is not None or stop.received is not None:
            break
        if number := run.group.begin_update(counters.total_steps, 0):
            stop.note(number)  # another process got it
            break
        step_done = training_step(state, objective, batches) is not None
        run.group.end_update()
        timer.update_done()
        if step_done:
            _show_step(run)
        _update_total_steps(run, budget, step_done)
    ended = finished or stopping_finding is not None
    # a run that has collapsed may be resumed, and must not stop by the same finding again
    _save_at_stop(run, saved, due if finished and stopping_finding is None else run.due, step_done, ended=ended)
    return stopping_finding


def _show_step(run: Run) -> None:
    """Shows the progress after a step. The first step of compiled networks, which takes long, is not in the budget."""
    state, counters = run.state, run.state.counters
    if state.compiled and counters.step == 1:
        run.log.info(f"compiled: the first step took {state.seconds:.0f} s, which no budget counts")
        state.budget_start = state.seconds
    run.log.show_progress(counters.step, counters.total_steps, state.seconds)


def _reseeded(run: Run) -> tuple[Objective, Batches]:
    """Returns the run's objective and batches, with a new seed for each time that it was rolled back."""
    seed = retry_seed(run.objective.seed, run.state.counters.retries)
    return dataclasses.replace(run.objective, seed=seed), dataclasses.replace(run.batches, seed=seed)


def _due_work(run: Run, timer: RunTimer, finished: bool) -> Due:
    """Decides which work is due after a step, and measures its metrics if they are to be logged."""
    training, counters = run.config.training, run.state.counters
    sample_due, evaluation_due = (
        _is_due(counters.step, every, finished) for every in (training.sample_every, training.evaluate_every)
    )
    values = None
    log_due = evaluation_due or _is_due(counters.step, training.log_every, finished)
    if log_due and run.state.generator_output is not None:
        values = _measure(run, timer)
    return Due(
        step=counters.step,
        d_updates=counters.d_updates,
        evaluate=evaluation_due and values is not None,
        sample=sample_due,
        values=values,
        ended=finished,
    )


def _do_work(run: Run, due: Due, stop: StopSignals, timer: RunTimer, *, resumed: bool) -> tuple[Finding | None, bool]:
    """Does the work that is due after a step: logs metrics, evaluates, saves the best checkpoint, draws samples.

    Real samples are drawn once, after the first checkpoint, because a damaged image ends the run.
    Returns the finding that must stop the run (or None), and whether early stopping was triggered. With `resumed`, work
    done before the interruption is skipped. Raises Interrupted on a signal.
    """
    findings: list[Finding] = []
    patience_ended = False
    if due.d_updates == 0 or (due.sample and not is_written(real_samples_path(run))):
        with timer.pause("sample"):
            save_real_samples(run)
    if due.values is not None:
        lines = read_metrics(run.folder) if resumed else []
        record: dict[str, Any] | None = next(  # lines with a text are events
            (line for line in lines if line["step"] == due.step and "text" not in line), None
        )
        if record is None:
            record, findings = _evaluate_and_log(run, due, stop, timer)
        else:
            findings = [finding for finding in run.health.findings if finding.name in record.get("findings", ())]
            run.last_evaluation = record
        if due.evaluate:
            run.last_evaluation = record
            patience_ended = keep_best(run, record) and not due.ended
    if (due.sample or patience_ended) and not (resumed and is_written(grid_path(run))):
        with timer.pause("sample"), stop.interruptible():
            save_samples(run)
    failures = [finding for finding in findings if not finding.is_advice]
    return (failures[0] if failures and run.config.health.on_collapse == "stop" else None), patience_ended


def _is_due(step: int, every: int, finished: bool) -> bool:
    """Returns whether work is due after a step: at step 0 and at the last step in any case, and each `every` steps."""
    return finished or step == 0 or (every > 0 and step % every == 0)


def _update_total_steps(run: Run, budget: Budget | None, step_done: bool) -> None:
    """Updates `total_steps` after an update, from the budget or as the run did that is replayed, and records changes.

    AFTER_STEP, in place of the number of D's updates, marks changes made once the step was complete.
    """
    counters = run.state.counters
    before, message = counters.total_steps, None
    if budget is not None and step_done:
        message = budget.update_total_steps()
    else:
        for d_updates in (*([AFTER_STEP] if step_done else []), counters.d_updates):
            counters.set_end(run.replayed_total_steps.get((counters.step, d_updates), counters.total_steps))
    if counters.total_steps != before:
        d_updates = AFTER_STEP if step_done else counters.d_updates
        run.log.planned_end(counters.step, counters.total_steps, run.state.seconds, d_updates)
    if message is not None:
        run.log.info(message)


def _measure(run: Run, timer: RunTimer) -> dict[str, float]:
    """Returns the metrics of the last step, without those of an evaluation; warns if steps became much slower.

    Raises DivergedError if a metric is NaN or infinite, or if loss scaling skips updates without end.
    """
    require_updates(run.state.scalers, run.state.counters.step)
    with timer.pause("log"):
        values = step_metrics(run, timer)
    warning = timer.slowdown_warning(values["images_per_second"])
    if warning is not None:
        run.log.info(f"warning: {warning}")
    require_finite(run.state, values)
    return values


def _evaluate_and_log(run: Run, due: Due, stop: StopSignals, timer: RunTimer) -> tuple[dict[str, Any], list[Finding]]:
    """Evaluates samples if due, and logs the metrics. Returns them with new findings of the health monitor.

    Raises Interrupted on a signal, DivergedError if a score is NaN or infinite.
    """
    values = dict(due.values or {})
    if due.evaluate:
        with timer.pause("evaluate"), stop.interruptible():
            scores = evaluate(run)
        if run.reference is not None and scores:
            listed = ", ".join(f"{name} {format_number(value)}" for name, value in scores.items())
            run.log.info(f"evaluation at step {run.state.counters.step:,}: {listed}")
        require_finite(run.state, scores)
        values |= scores
    findings = run.health.observe(values)
    run.log.metrics(values, run.state.counters.total_steps, [finding.name for finding in findings])
    for finding in findings:
        run.log.info(f"{'advice' if finding.is_advice else 'health'}: {finding.text}")
    return values, findings


def _save_during_run(run: Run, timer: RunTimer) -> Saved | None:
    """Saves a checkpoint of the schedule. If writing fails, logs a warning and returns None.

    Raises DivergedError if the state, or the samples that are due, have NaN or infinite values.
    """
    if run.due is not None and run.due.sample:
        require_finite_samples(run)
    with timer.pause("checkpoint"):
        try:
            run.save_checkpoint(metrics_to_keep(run), due=run.due)
        except StorageError as error:
            run.log.info(f"warning: {error}; going on, the next checkpoint may succeed")
            return None
    return dataclasses.replace(run.state.counters), run.due


def _save_at_stop(run: Run, saved: Saved | None, due: Due | None, step_done: bool, *, ended: bool) -> None:
    """Saves the last checkpoint with this `due`, unless it is `saved` already; as one of the schedule if `ended`."""
    # with a budget it is saved again, so that a resumed run knows the time spent since the last checkpoint
    if saved != (run.state.counters, due) or (run.config.budget is not None and not ended):
        metrics = metrics_to_keep(run) if step_done else discriminator_metrics(run)
        run.save_checkpoint(metrics, due=due, paused=not ended)
