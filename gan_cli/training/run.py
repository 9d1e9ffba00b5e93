"""The objects that a training run works with: config, state, data, folder, log and objective."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from gan_cli.config.train_config import Config
from gan_cli.data.dataset import Batches
from gan_cli.data.datasets.points import Modes, known_modes
from gan_cli.evaluation.metrics.classifier import Classifier
from gan_cli.evaluation.reference import Reference
from gan_cli.health.monitor import HealthMonitor
from gan_cli.runs.log import Position, RunLog, read_metrics
from gan_cli.runs.pending_work import Due
from gan_cli.state.checkpoint import Provenance
from gan_cli.state.train_state import TrainState
from gan_cli.training.objective import Objective, build_objective


class Best(NamedTuple):
    """The best evaluation so far: its step, and its value of the selection metric."""

    step: int
    value: float


@dataclass
class Run:
    """A run in progress.

    `saved_metrics`: the metrics in the checkpoint that the run was resumed from, of D's last update before it.
    `last_evaluation`: the metrics of the step with the last evaluation.
    `reference`: the real data that samples are compared with in evaluations, None without `evaluation.metrics`.
    `best`: the best evaluation so far, None before the first.
    `replayed_total_steps`: the changes of `total_steps` in the run that this one replays, by position.
    `classifiers`: those that evaluations have trained or loaded so far; None for one that is not better than chance.
    `due`: the work after a step that is not done yet; a resumed run begins with it.
    `health`: the health monitor with the findings so far. `objective`: built from config and batches.
    """

    config: Config
    state: TrainState
    batches: Batches
    folder: Path
    log: RunLog
    provenance: Provenance
    saved_metrics: dict[str, float] = field(default_factory=dict)
    last_evaluation: dict[str, float] = field(default_factory=dict)
    reference: Reference | None = None
    best: Best | None = None
    replayed_total_steps: dict[Position, int | None] = field(default_factory=dict)
    classifiers: dict[tuple[int, ...], Classifier | None] = field(default_factory=dict)
    due: Due | None = None
    health: HealthMonitor = field(init=False)
    objective: Objective = field(init=False)

    def __post_init__(self) -> None:
        self.objective = build_objective(self.config, self.batches)
        self.restart_health()

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that can be requested. Empty if the run is unconditional."""
        return self.config.classes

    @property
    def budget(self) -> str | None:
        """The time that the run may take, such as `20m`. None if it has a number of steps instead."""
        return self.config.budget

    @property
    def modes(self) -> Modes | None:
        """The modes of the data (centres of clusters), None if they are not known."""
        return known_modes(self.config.dataset)

    def restart_health(self) -> None:
        """Builds a health monitor with the findings in `metrics.jsonl`."""
        self.health = HealthMonitor(self.config, read_metrics(self.folder))
