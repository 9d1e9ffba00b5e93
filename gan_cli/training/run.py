"""The objects that a training run works with: config, state, data, folder, log and objective."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gan_cli.config.train_config import Config
from gan_cli.data.dataset import Batches
from gan_cli.data.datasets.points import Modes, known_modes
from gan_cli.data.labels import evenly
from gan_cli.distributed.process_group import ALONE, ProcessGroup
from gan_cli.evaluation.metrics.classifier import Classifier, ClassifierLoader, load_assessed_classifier
from gan_cli.evaluation.reference import Reference
from gan_cli.health.monitor import HealthMonitor
from gan_cli.models.generate import generate
from gan_cli.runs.log import Position, RunLog, read_metrics
from gan_cli.runs.pending_work import Due
from gan_cli.state import checkpoint
from gan_cli.state.checkpoint import Provenance
from gan_cli.state.shared_state import require_equal_states
from gan_cli.state.train_state import TrainState, require_finite, state_tensors
from gan_cli.storage.run_folder import CHECKPOINTS
from gan_cli.tasks.condition import Condition
from gan_cli.training.inputs import ShownInputs, shown_inputs
from gan_cli.training.objective import Objective, build_objective


class Best(NamedTuple):
    """The best evaluation so far: its step, and its value of the selection metric."""

    step: int
    value: float


@dataclass
class Run:
    """A run in progress."""

    config: Config
    state: TrainState
    batches: Batches
    folder: Path
    log: RunLog
    provenance: Provenance
    saved_metrics: dict[str, float] = field(default_factory=dict)  # of D's last update before the resumed checkpoint
    last_evaluation: dict[str, float] = field(default_factory=dict)  # metrics of the step with the last evaluation
    reference: Reference | None = None  # the real data of evaluations, None without `evaluation.metrics`
    best: Best | None = None  # the best evaluation so far
    replayed_total_steps: dict[Position, int | None] = field(default_factory=dict)  # changes in the run to replay
    classifiers: dict[tuple[int, ...], Classifier | None] = field(default_factory=dict)  # None: not better than chance
    load_classifier: ClassifierLoader = load_assessed_classifier  # a trial of a run trains one for a few steps only
    due: Due | None = None  # the work after a step that is not done yet; a resumed run begins with it
    unwritten: set[Path] = field(default_factory=set)  # images that could not be written
    group: ProcessGroup = ALONE  # the processes of the run, of which this is number 0
    inputs: ShownInputs | None = field(init=False)  # None if the task has no images
    health: HealthMonitor = field(init=False)
    objective: Objective = field(init=False)

    def __post_init__(self) -> None:
        share = self.group.share(synchronized_norm=self.config.device.batch_norm == "synchronized")
        self.objective = build_objective(self.config, self.batches, share)
        self.inputs = shown_inputs(self.config, self.batches.dataset)
        self.restart_health()

    @property
    def modes(self) -> Modes | None:
        """The modes of the data (centres of clusters), None if they are not known."""
        return known_modes(self.config.dataset)

    def save_checkpoint(self, metrics: dict[str, float], *, due: Due | None = None, paused: bool = False) -> None:
        """Saves a checkpoint, with `metrics` and `due` for a resumed run; `paused` if it is not one of the schedule.

        Raises DivergedError if the state has NaN or infinite values or differs between processes, StorageError if the
        file cannot be written.
        """
        require_finite(self.state, state_tensors(self.state))
        require_equal_states(self.state, self.group)
        self.log.sync()
        folder, provenance = self.folder / CHECKPOINTS, self.current_provenance()
        work = None if due is None else dataclasses.asdict(due)
        checkpoint.save(self.state, self.config, folder, provenance, metrics, due=work, paused=paused)

    def current_provenance(self, **best: Any) -> Provenance:
        """Returns what a checkpoint that is saved now records about its origin. `best` are fields of the best one."""
        state, lines = self.state, self.log.lines_before(self.state.counters.step)
        seconds, budget_start = state.seconds, state.budget_start
        return dataclasses.replace(self.provenance, seconds=seconds, budget_start=budget_start, lines=lines, **best)

    def generate(self, seeds: Sequence[int], batch_size: int, most_classes: int | None = None) -> Tensor:
        """Generates a sample for each seed: for the run's inputs in turn, if its task has some.

        Otherwise the samples are of each class about equally often, or of `most_classes` of them.
        """
        if self.inputs is not None:
            row = torch.arange(len(seeds)) % len(self.inputs.truth)
            condition: Condition | None = self.inputs.condition.rows(row)
        else:
            labels = evenly(self.config.classes, seeds, most_classes, self.config.frequencies)
            condition = None if labels is None else Condition(labels)
        return torch.cat(list(generate(self.state.sampler, self.objective.latent, seeds, batch_size, None, condition)))

    def restart_health(self) -> None:
        """Builds a health monitor with the findings in `metrics.jsonl`."""
        self.health = HealthMonitor(self.config, read_metrics(self.folder))
