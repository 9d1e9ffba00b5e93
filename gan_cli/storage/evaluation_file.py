"""The results of an evaluation, and the JSON file in which `gan-eval` saves them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from gan_cli.storage.json_files import Number, Whole, first, line, read_as
from gan_cli.storage.run_folder import write_json

EVALUATIONS = "evaluations"  # in a run's folder
MOST_METRICS = 60  # that are read from a file


@dataclass(frozen=True)
class MetricResult:
    """The value of one metric on `n` samples.

    `name` ends in the feature extractor if the metric uses one: `frechet-classifier`. `better` is "lower" or "higher",
    or "" if neither direction is better. `interval` is the 95 % interval over other samples of the same generator.
    `floor` is the value that `n` real samples reach when they are compared with other real samples. `reals` is the
    number of real samples in the comparison; 0 for a metric that needs no real samples. `seconds` is the time that the
    computation took. `without_network` is the best value that a simple method reaches on the same inputs of a task or
    for the same requested classes, and `method` the name of that method.
    """

    name: Annotated[str, line(80)]
    value: Number
    n: Whole
    better: Annotated[str, line(80)] = ""
    interval: tuple[Number, Number] | None = None
    floor: Number | None = None
    seconds: Number = 0.0
    note: Annotated[str, line(300)] = ""
    reals: Whole = 0
    without_network: Number | None = None
    method: Annotated[str, line(80)] = ""


@dataclass(frozen=True)
class EvaluationResult:
    """All metrics of one set of samples."""

    figures: Annotated[tuple[MetricResult, ...], first(MOST_METRICS)]
    about: dict[str, Any]  # the checkpoint with its sha256 and step, the extractor and its accuracy


def save_evaluation(evaluated: EvaluationResult, path: Path) -> None:
    """Writes the results as JSON to `path`, atomically."""
    write_json(path, dataclasses.asdict(evaluated))


def load_newest_evaluation(run: Path) -> EvaluationResult | None:
    """Returns the newest evaluation file in a run's folder that can be read; None if there is no such file."""
    paths = sorted((run / EVALUATIONS).glob("*.json"), key=lambda path: path.lstat().st_mtime, reverse=True)
    return next(filter(None, (read_as(EvaluationResult, path) for path in paths)), None)
