"""One run in progress: what it works on and where it leaves things."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from gan_cli.config.train_config import Config
from gan_cli.data.dataset import Batches
from gan_cli.evaluation.metrics.classifier import Classifier
from gan_cli.evaluation.reference import Reference
from gan_cli.health.monitor import Health
from gan_cli.runs.due import Due
from gan_cli.runs.log import Position, RunLog, read_metrics
from gan_cli.state.checkpoint import Provenance
from gan_cli.state.train_state import TrainState


class Best(NamedTuple):
    """Of the evaluations so far: its step, and its value of the figure that the run is judged by."""

    step: int
    value: float


@dataclass
class Run:
    """`discriminator_metrics` are those of D's half of the current step, kept when a run stops between the halves.

    `reference` is what samples are compared with at evaluations, `evaluated` the line of metrics with the last of
    these, and `best` the best one's figure. `classifiers` are what they have needed so far,
    None for one that is at chance.
    `ends` are those of another run that this one replays, by where they were settled.
    `health` knows what was told of the steps so far. `due` is what a run that was stopped after a step did not come to
    there.
    """

    config: Config
    state: TrainState
    batches: Batches
    folder: Path
    log: RunLog
    provenance: Provenance
    discriminator_metrics: dict[str, float] = field(default_factory=dict)
    evaluated: dict[str, float] = field(default_factory=dict)
    reference: Reference | None = None
    best: Best | None = None
    ends: dict[Position, int | None] = field(default_factory=dict)
    classifiers: dict[tuple[int, ...], Classifier | None] = field(default_factory=dict)
    due: Due | None = None
    health: Health = field(init=False)

    def __post_init__(self) -> None:
        self.watch_anew()

    def watch_anew(self) -> None:
        """Takes what was told so far from the lines of metrics there are."""
        self.health = Health(self.config, read_metrics(self.folder))
