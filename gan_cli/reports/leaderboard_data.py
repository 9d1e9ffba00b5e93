"""Reads a sweep's `leaderboard.json`. If the file is missing or invalid, makes one row from each job's outcome file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, OnErrorOmit

from gan_cli.config.validation import format_value
from gan_cli.reports.safe_values import inside
from gan_cli.storage.json_files import LARGEST_OF_SWEEP, FileModel, Number, Whole, first, line, read_as
from gan_cli.storage.run_folder import JOB_OUTCOME, LEADERBOARD

MOST_ROWS, MOST_KEYS, MOST_SEEDS, MOST_JOBS = 1000, 20, 100, 2000


def _words(value: Any) -> Any:
    return value.split() if isinstance(value, str) else value


Short = Annotated[str, line(30)]
Key = Annotated[str, line(100)]
Sentence = Annotated[str, line(500)]
Command = Annotated[str, line(4000)]
Values = Annotated[dict[Key, Annotated[str, BeforeValidator(format_value)]], first(MOST_KEYS)]


class Failure(FileModel):
    """A job that failed or did not finish."""

    job: Whole | None = None
    seed: Short = ""
    status: Short = ""
    reason: Sentence = ""


class Entry(FileModel):
    """A row of the leaderboard: one config, with the results of all its seeds.

    `jobs` are the numbers of the jobs with this config. `folders` are the names of their folders, not checked.
    """

    config: Values = Field(default_factory=dict)
    seeds: Annotated[tuple[Short, ...], first(MOST_SEEDS)] = ()
    values: Annotated[tuple[OnErrorOmit[Number], ...], first(MOST_SEEDS)] = ()
    mean: Number | None = None
    interval: tuple[Number, Number] | None = None
    seconds: Number | None = None
    findings: Annotated[tuple[Annotated[str, line(60)], ...], first(MOST_KEYS), BeforeValidator(_words)] = ()
    failures: Annotated[tuple[OnErrorOmit[Failure], ...], first(MOST_SEEDS)] = ()
    status: Short = ""
    repeat: Command = ""
    jobs: Annotated[tuple[Whole | None, ...], first(MOST_SEEDS)] = ()
    folders: Annotated[tuple[Any, ...], first(MOST_SEEDS)] = ()

    @property
    def label(self) -> str:
        return ", ".join(f"{key}={value}" for key, value in self.config.items()) or "the only config"

    def run_folders(self, sweep: Path) -> dict[int | None, Path]:
        """Returns the run folder of each job, by its number, if it is a folder of the sweep."""
        names = self.folders or map(str, self.jobs)
        found = [(job, inside(sweep, name)) for job, name in zip(self.jobs, names, strict=False)]
        return {job: folder for job, folder in found if folder is not None}


class Board(FileModel):
    """A leaderboard. `varied` has the config keys that the sweep varies. `unranked` says why it is not ranked."""

    metric: Annotated[str, line(80)] = ""
    better: Literal["lower", "higher", "near 1"] = "lower"
    command: Command = ""
    varied: Annotated[tuple[Key, ...], first(MOST_KEYS)] = ()
    unranked: Sentence = ""
    entries: Annotated[list[OnErrorOmit[Entry]], first(MOST_ROWS)] = Field(validation_alias="rows")

    @property
    def ranked(self) -> bool:
        return bool(self.metric) and not self.unranked

    @property
    def keys(self) -> list[str]:
        """All keys in the configs of the entries, at most MOST_KEYS."""
        return list(dict.fromkeys(key for entry in self.entries for key in entry.config))[:MOST_KEYS]


def read_board(sweep: Path) -> Board:
    """Returns the leaderboard of a sweep's folder. Invalid values in the files are left out and raise no error."""
    return read_as(Board, sweep / LEADERBOARD, LARGEST_OF_SWEEP) or _from_outcomes(sweep)


class _Outcome(Failure):
    """A job's outcome file. `varied` holds the config as words in files of older versions, which have no `config`."""

    config: Values = Field(default_factory=dict)
    varied: Annotated[str, line(1000)] = ""
    seconds: Number | None = None
    findings: Any = None
    repeat: Command = ""
    overrides: Command = ""


def _from_outcomes(sweep: Path) -> Board:
    rows = [_row(path) for path in sorted(sweep.glob(f"*/{JOB_OUTCOME}"))[:MOST_JOBS]]
    rows.sort(key=lambda row: row["jobs"][0] or 0)
    varied = list(dict.fromkeys(key for row in rows for key in row["config"]))
    return Board.model_validate({"varied": varied, "rows": rows})


def _row(path: Path) -> dict[str, Any]:
    """Returns the leaderboard's row of one job, from the job's outcome file."""
    outcome = read_as(_Outcome, path) or _Outcome()
    config = outcome.config or dict(word.split("=", 1) for word in outcome.varied.split(" ") if "=" in word)
    failed = outcome.reason or outcome.status not in ("done", "")
    return {
        **outcome.model_dump(include={"status", "seconds", "findings"}),
        "config": config,
        "seeds": [config["seed"]] if "seed" in config else [],
        "failures": [{**outcome.model_dump(), "seed": config.get("seed", "")}] if failed else [],
        "repeat": outcome.repeat or f"gan-train {outcome.overrides}",
        "jobs": [outcome.job],
        "folders": [path.parent.name],
    }
