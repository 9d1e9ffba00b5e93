"""One run in progress: what it works on and where it leaves things."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from gan_cli.config.train_config import Config
from gan_cli.data.dataset import Batches
from gan_cli.data.load_dataset import Modes, known_modes
from gan_cli.evaluation.metrics.classifier import Classifier
from gan_cli.evaluation.reference import Reference
from gan_cli.health.monitor import HealthMonitor
from gan_cli.runs.log import Position, RunLog, read_metrics
from gan_cli.runs.pending_work import Due
from gan_cli.state.checkpoint import Provenance
from gan_cli.state.train_state import TrainState
from gan_cli.training.objective import Objective, build_objective


class Best(NamedTuple):
    """The best evaluation so far: its step, and its value of the run's selection metric."""

    step: int
    value: float


@dataclass
class Run:
    """`saved_metrics` are those in the checkpoint that the run goes on from: of D's last update before it stopped.

    `objective` is built from config and batches. `reference` is what samples are compared with at evaluations,
    `last_evaluation` the line of metrics with the last of these, and `best` the best one's metric. `classifiers` are
    those that evaluations have needed so far, None for one that is at chance. `ends` are those of another run that this
    one replays, by where they were settled. `health` knows the findings so far. `due` is the work that a run which was
    stopped after a step had left.
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
        """The classes that can be requested; none of an unconditional run."""
        return self.config.classes

    @property
    def modes(self) -> Modes | None:
        """The modes of the data, if they are known."""
        return known_modes(self.config.dataset)

    def restart_health(self) -> None:
        """Reads the findings so far from the lines of metrics that there are."""
        self.health = HealthMonitor(self.config, read_metrics(self.folder))
