"""What a run's record, `config.json`, says. A run can be resumed without it, so what is damaged counts as missing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, JsonValue, OnErrorOmit

from gan_cli.errors import one_line
from gan_cli.storage.json_files import FileModel, Number, Whole, at, first, line, read_as
from gan_cli.storage.run_folder import RECORD

MOST_ENTRIES = 1000  # of each list that is read
MOST_LICENCES = 10
Short = Annotated[str, line(60)]
Sentence = Annotated[str, line(600)]
Jobs = Annotated[tuple[OnErrorOmit[Annotated[str, line(512)]], ...], first(MOST_ENTRIES)]


class RecordedFinding(FileModel):
    """A finding of the health monitor."""

    name: Short = ""
    since: Whole = 0
    text: Sentence = ""


class Resume(FileModel):
    """An entry about a resume. `changed` maps each changed key to {"from": old value, "to": new value}.

    `jobs` identify the torchrun of each machine that started its processes.
    """

    when: Short = ""
    step: Short = ""
    command: str = ""
    jobs: Jobs = ()
    changed: dict[str, OnErrorOmit[dict[str, Any]]] = Field(default_factory=dict)


class RunRecord(FileModel):
    """The record of a run. `command`, `directory` and `config` are as in the file; other texts are made one line.

    `auto` are the keys whose values the run chose at its start; None if an earlier version wrote the file.
    The options of a plugin may be unknown, so `config` is not parsed; `name` to `best` are single values of it.
    """

    command: str = ""
    directory: str = "."
    started: Short = ""
    device: Sentence = ""
    threads: Whole | None = None
    auto: tuple[OnErrorOmit[Short], ...] | None = None
    gan_cli: Short = ""
    python: Short = ""
    platform: Sentence = ""
    packages: Annotated[dict[Short, Short], first(40)] = Field(default_factory=dict)
    jobs: Jobs = ()
    commit: Short = at("git", "commit", default="")
    uncommitted: bool = at("git", "changed", default=False)
    init_from: Sentence = ""
    implied: dict[str, Any] = at("brought_along", default={})
    config: dict[str, Any] = Field(default_factory=dict)

    name: Annotated[str, line(100)] = at("config", "name", default="")
    seed: Short = at("config", "seed", default="")
    dataset: Short = at("config", "dataset", "name", default="")
    generator: Short = at("config", "architecture", "generator", "name", default="")
    latent_dim: Whole = at("config", "architecture", "generator", "latent_dim", default=0)
    loss: Short = at("config", "loss", "name", default="")
    task: Short = at("config", "task", "name", default="")
    penalties: dict[str, Any] = at("config", "regularizer", default={})
    classes: Annotated[tuple[Short, ...], first(MOST_ENTRIES)] = at("config", "conditioning", "classes", default=())
    metrics: tuple[OnErrorOmit[str], ...] = at("config", "evaluation", "metrics", default=())
    best: str | None = at("config", "evaluation", "best")

    data: dict[str, Any] = Field(default_factory=dict)
    source: Sentence = at("data", "source", default="")
    complete: bool = at("data", "complete", default=True)
    samples: Whole | None = at("data", "samples")
    fingerprint: str | None = at("data", "fingerprint")

    status: Short = at("ended", "status", default="")
    step: Number | None = at("ended", "step")
    total_steps: Number | None = at("ended", "total_steps")
    seconds: Number | None = at("ended", "seconds")
    missing: Annotated[tuple[OnErrorOmit[Short], ...], first(MOST_ENTRIES)] = at("ended", "missing", default=())
    findings: Annotated[tuple[OnErrorOmit[RecordedFinding], ...], first(MOST_ENTRIES)] = ()
    measured_from: Whole = 0
    measured_on: dict[str, dict[str, JsonValue]] = Field(default_factory=dict)
    resumed: tuple[OnErrorOmit[Resume], ...] = ()


def load_record(folder: Path) -> RunRecord:
    """Returns what the record of a run says."""
    return read_as(RunRecord, folder / RECORD) or RunRecord()


def start_folder(folder: Path) -> Path:
    """Returns the working directory in which the run was started. Relative paths in its config start from there."""
    return Path(load_record(folder).directory)


def data_licences(folder: Path) -> tuple[str, ...]:
    """Returns the style, if it has one, and the licence of each set of drawn images that the record of a run names."""
    record = load_record(folder)
    changes, dataset = record.data.get("changes"), record.config.get("dataset")
    if not isinstance(changes, dict):
        return ()
    found = changes.get("licences", [changes.get("licence")])
    style = dataset.get("style") if isinstance(dataset, dict) else None
    prefix = f"{style}: " if isinstance(style, str) else ""
    named = [each for each in found if isinstance(each, str)] if isinstance(found, list) else []
    return tuple(one_line(prefix + each, 400) for each in named[:MOST_LICENCES])
