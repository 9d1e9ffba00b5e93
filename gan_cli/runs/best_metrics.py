"""Reads the metrics of a run's best checkpoint, or of its last checkpoint if no best one was kept. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

from gan_cli.config.metric_names import find_metric, ranking_value, selection_metric
from gan_cli.runs.log import read_metrics
from gan_cli.storage.run_folder import BEST, CHECKPOINTS
from gan_cli.storage.run_record import load_record


@dataclass(frozen=True)
class CheckpointMetrics:
    """The metrics of one checkpoint, with some facts of the whole run.

    `best` names the metric for which this checkpoint is the best of the run; None for the last checkpoint. `last` holds
    the last value of each metric of the run, and `findings` the names of its health findings.
    """

    metrics: dict[str, float]
    best: str | None
    last: dict[str, float]
    findings: list[str]


def read_best_metrics(run: Path) -> CheckpointMetrics:
    """Returns the metrics of the run's best evaluation if the run kept `best.safetensors`.

    Otherwise, or if no line of `metrics.jsonl` has the metric that selects the best checkpoint, returns the last value
    of each metric.
    """
    logged = sorted(read_metrics(run), key=itemgetter("step"))
    findings = list(dict.fromkeys(name for line in logged for name in line.get("findings", ())))
    lines = [{name: value for name, value in line.items() if name not in ("findings", "text")} for line in logged]
    last = {name: value for line in lines for name, value in line.items()}
    record = load_record(run)
    wanted = selection_metric(record.metrics, record.best) if (run / CHECKPOINTS / BEST).is_file() else None
    comparable = [line for line in lines if line["step"] >= record.measured_from]
    best = None if wanted is None else _best_step(comparable, wanted)
    if best is None:
        return CheckpointMetrics(last, None, last, findings)
    name, step = best
    metrics = {key: value for line in lines if line["step"] == step for key, value in line.items()}
    return CheckpointMetrics(metrics, name, last, findings)


def _best_step(lines: Sequence[Mapping[str, float]], wanted: str) -> tuple[str, float] | None:
    """Returns the metric's full name, as in the newest line that has it, and the first step with its best value."""
    found = [(each, line["step"]) for line in lines if (each := find_metric(line, wanted)) is not None]
    if not found:
        return None
    name = found[-1][0][0]
    values = [(value, step) for (named, value), step in found if named == name]
    best = min(values, key=lambda found: ranking_value(name, found[0]))
    return name, best[1]
