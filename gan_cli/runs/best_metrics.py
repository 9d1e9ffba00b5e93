"""The figures of what a run's folder stands for: its best checkpoint if one was kept, else its last. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan_cli.config.metric_names import FIGURES_OF, find_figure, is_better, selection_metric
from gan_cli.runs.comparability import MEASURED_FROM
from gan_cli.runs.log import read_metrics
from gan_cli.storage.run_folder import BEST, CHECKPOINTS, read_record


@dataclass(frozen=True)
class Chosen:
    """`figures` are all of one checkpoint; `best` names that by which it is the best, None of the last one."""

    figures: dict[str, float]
    best: str | None


def chosen_figures(run: Path) -> Chosen:
    """The line of metrics of the best evaluation where `best.safetensors` is there, else the last of each figure."""
    lines = sorted((_told(line) for line in read_metrics(run) if "step" in line), key=lambda line: line["step"])
    record = read_record(run)
    wanted = _selection_metric(record) if (run / CHECKPOINTS / BEST).is_file() else None
    since = record.get(MEASURED_FROM, 0)
    alike = [line for line in lines if not isinstance(since, int) or line["step"] >= since]
    best = None if wanted is None else _best(alike, wanted)
    if best is None:
        return Chosen({name: value for line in lines for name, value in line.items()}, None)
    name, step = best
    return Chosen({key: value for line in lines if line["step"] == step for key, value in line.items()}, name)


def _told(line: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in line.items() if name not in ("findings", "text")}


def _selection_metric(record: Mapping[str, Any]) -> str | None:
    """Returns the selection metric of the run with this record, which anybody may have edited."""
    config = record.get("config")
    evaluation = config.get("evaluation") if isinstance(config, dict) else None
    asked = evaluation if isinstance(evaluation, dict) else {}
    metrics, best = asked.get("metrics"), asked.get("best")
    first = metrics[0] if isinstance(metrics, list) and metrics else None
    known = [first] if isinstance(first, str) and first in FIGURES_OF else []
    found = selection_metric(known, best)
    return found if isinstance(found, str) else None


def _best(lines: Sequence[Mapping[str, float]], wanted: str) -> tuple[str, float] | None:
    """Name and step of the first that none is better than; the name is that of the newest, as `best.py` has it."""
    found = [(each, line["step"]) for line in lines if (each := find_figure(line, wanted)) is not None]
    if not found:
        return None
    name = found[-1][0][0]
    best: tuple[float, float] | None = None
    for (named, value), step in found:
        if named == name and (best is None or is_better(name, value, best[0])):
            best = (value, step)
    return None if best is None else (name, best[1])
