"""Keeps the best checkpoint of a run by its selection metric, and decides on early stopping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gan_cli.config.metric_names import find_metric, is_better
from gan_cli.errors import CheckpointError, StorageError, count_noun, format_number
from gan_cli.runs.comparability import BASIS_FROM_STEP_KEY, BASIS_KEY, describe_differences, metric_basis
from gan_cli.runs.log import read_metrics
from gan_cli.state import checkpoint
from gan_cli.state.train_state import require_finite, state_tensors
from gan_cli.storage.run_folder import BEST, CHECKPOINTS, read_record, write_record
from gan_cli.training.periodic_evaluation import measured_on
from gan_cli.training.run import Best, Run


def keep_best(run: Run, values: Mapping[str, Any]) -> bool:
    """Saves `best.safetensors` if this evaluation is the best so far. Returns whether `evaluation.patience` has ended.

    `values` are the metrics of the step with the evaluation. They are already in `metrics.jsonl`.
    """
    wanted, every = run.config.selection_metric, run.config.training.evaluate_every
    if wanted is None or not every:  # a single final evaluation has nothing to be compared with
        return False
    found = find_metric(values, wanted)
    if found is None:
        run.log.info(f"warning: no {wanted} was worked out at step {run.state.counters.step:,}")
        return False
    name, value = found
    if run.best is None:
        run.best = _saved_best(run, name)
    if run.best is None or is_better(name, value, run.best.value):
        _save(run, name, value)
    patience, best = run.config.evaluation.patience, run.best
    if patience is None or best is None:
        return False
    steps = {line["step"] for line in read_metrics(run.folder) if name in line}
    if sum(step > best.step and step % every == 0 for step in steps) < patience:
        return False
    run.log.info(
        f"stopping early: no better {name} in {count_noun(patience, 'evaluation')} (evaluation.patience); the best is"
        f" {format_number(best.value)} at step {best.step:,}, in {BEST}"
    )
    return True


def _saved_best(run: Run, name: str) -> Best | None:
    """Returns the run's `best.safetensors`, None if another metric or other data selected it, which is logged."""
    path = run.folder / CHECKPOINTS / BEST
    if not path.exists():
        return None
    try:
        found = checkpoint.load(path)
    except CheckpointError as error:
        run.log.info(f"warning: {error}; another best will replace it")
        return None
    value = found.provenance.value
    if found.provenance.figure != name or value is None:
        run.log.info(f"{BEST} was chosen by {found.provenance.figure}; from now on it is chosen by {name}")
        return None
    record = read_record(run.folder)
    before, now = (metric_basis(basis, name) for basis in (record.get(BASIS_KEY), measured_on(run)))
    if before is not None and now is not None and before != now:
        changed = ", ".join(describe_differences([before, now]))
        run.log.info(f"{BEST} was measured otherwise: {changed}; from now on that is the best which is best by this")
        write_record(run.folder, record | {BASIS_FROM_STEP_KEY: run.state.counters.step})
        return None
    if found.provenance.fingerprint != run.provenance.fingerprint:
        run.log.info(f"{BEST} was measured on the data as they were; from now on another best is looked for")
        return None
    return Best(found.counters.step, value)


def _save(run: Run, name: str, value: float) -> None:
    """Saves the best checkpoint. If it cannot be written, logs a warning. Raises DivergedError for NaN or infinity."""
    state = run.state
    require_finite(state, state_tensors(state))
    provenance = run.current_provenance(figure=name, value=value)
    try:
        checkpoint.save_best(state, run.config, run.folder / CHECKPOINTS, provenance)
    except StorageError as error:
        run.log.info(f"warning: {error}; going on")
        return
    run.best = Best(state.counters.step, value)
    run.log.info(f"the best {name} so far, kept in {BEST}", console=False)
