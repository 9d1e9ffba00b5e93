"""Reads a sweep's `leaderboard.json`. If the file is missing or invalid, makes one row from each job's outcome file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan_cli.reports.safe_values import as_int, as_list, as_mapping, inside, number, numbers, read_json, text
from gan_cli.storage.run_folder import JOB_OUTCOME, LEADERBOARD

MOST_ROWS, MOST_KEYS, MOST_SEEDS, MOST_JOBS = 1000, 20, 100, 2000


@dataclass(frozen=True)
class Failure:
    """A job that failed or did not finish."""

    job: int | None
    seed: str
    status: str
    reason: str


@dataclass(frozen=True)
class Entry:
    """A row of the leaderboard: one config, with the results of all its seeds.

    `jobs` is the number of jobs with this config. `folders_by_job` maps a job number to its run folder, if it exists.
    """

    config: dict[str, str]
    seeds: tuple[str, ...]
    values: tuple[float, ...]
    mean: float | None
    interval: tuple[float, float] | None
    seconds: float | None
    findings: tuple[str, ...]
    failures: tuple[Failure, ...]
    status: str
    repeat: str
    folders_by_job: dict[int | None, Path]
    jobs: int

    @property
    def folders(self) -> list[Path]:
        return list(self.folders_by_job.values())

    @property
    def label(self) -> str:
        return ", ".join(f"{key}={value}" for key, value in self.config.items()) or "the only config"


@dataclass(frozen=True)
class Board:
    """A leaderboard. `better` is "lower" or "higher". `varied` has the config keys that the sweep varies."""

    metric: str
    better: str
    command: str
    varied: tuple[str, ...]
    entries: tuple[Entry, ...]
    ranked: bool
    unranked: str = ""  # why it is not ranked although it has a metric

    @property
    def keys(self) -> list[str]:
        """All keys in the configs of the entries, at most MOST_KEYS."""
        return list(dict.fromkeys(key for entry in self.entries for key in entry.config))[:MOST_KEYS]


def read_board(sweep: Path) -> Board:
    """Returns the leaderboard of a sweep's folder. Invalid values in the files are left out and raise no error."""
    data = read_json(sweep / LEADERBOARD)
    if isinstance(data, dict) and isinstance(data.get("rows"), list):
        return _from_leaderboard(sweep, data)
    return _from_outcomes(sweep)


def _from_leaderboard(sweep: Path, data: Mapping[str, Any]) -> Board:
    metric = text(data.get("metric"), 80)
    return Board(
        metric=metric,
        better="higher" if data.get("better") == "higher" else "lower",
        command=text(data.get("command"), 4000),
        varied=tuple(text(key, 100) for key in as_list(data.get("varied"))[:MOST_KEYS]),
        entries=tuple(_entry(sweep, as_mapping(row)) for row in as_list(data.get("rows"))[:MOST_ROWS]),
        ranked=bool(metric) and not data.get("unranked"),
        unranked=text(data.get("unranked"), 500),
    )


def _entry(sweep: Path, row: Mapping[str, Any]) -> Entry:
    interval = numbers(row.get("interval"))
    jobs = as_list(row.get("jobs"))[:MOST_SEEDS]
    folders = as_list(row.get("folders")) or [str(job) for job in jobs]
    found = [(as_int(job), inside(sweep, folder)) for job, folder in zip(jobs, folders, strict=False)]
    return Entry(
        config={
            text(key, 100): text(_typed(value), 200)
            for key, value in list(as_mapping(row.get("config")).items())[:MOST_KEYS]
        },
        seeds=tuple(text(seed, 30) for seed in as_list(row.get("seeds"))[:MOST_SEEDS]),
        values=tuple(numbers(row.get("values"))[:MOST_SEEDS]),
        mean=number(row.get("mean")),
        interval=(interval[0], interval[1]) if len(interval) == 2 else None,
        seconds=number(row.get("seconds")),
        findings=tuple(dict.fromkeys(text(name, 60) for name in as_list(row.get("findings"))[:MOST_KEYS])),
        failures=tuple(_failure(as_mapping(each)) for each in as_list(row.get("failures"))[:MOST_SEEDS]),
        status=text(row.get("status"), 30),
        repeat=text(row.get("repeat"), 4000),
        folders_by_job={job: folder for job, folder in found if folder is not None},
        jobs=len(jobs),
    )


def _typed(value: Any) -> Any:
    """Returns the value as it is written on the command line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return "[" + ",".join(text(_typed(each), 60) for each in value) + "]" if isinstance(value, list) else value


def _failure(failed: Mapping[str, Any]) -> Failure:
    return Failure(
        as_int(failed.get("job")),
        text(failed.get("seed"), 30),
        text(failed.get("status"), 30),
        text(failed.get("reason"), 500),
    )


def _from_outcomes(sweep: Path) -> Board:
    found = [as_mapping(read_json(path)) for path in sorted(sweep.glob(f"*/{JOB_OUTCOME}"))[:MOST_JOBS]]
    outcomes = sorted(found, key=lambda outcome: number(outcome.get("job")) or 0.0)
    entries = tuple(_entry_of_job(sweep, outcome) for outcome in outcomes)
    varied = list(dict.fromkeys(key for entry in entries for key in entry.config))
    return Board("", "lower", "", tuple(varied), entries, ranked=False)


def _entry_of_job(sweep: Path, outcome: Mapping[str, Any]) -> Entry:
    job, status = as_int(outcome.get("job")), text(outcome.get("status"), 30)
    config = {text(key, 100): text(_typed(value), 200) for key, value in as_mapping(outcome.get("config")).items()}
    config = config or dict(_pair(word) for word in text(outcome.get("varied"), 1000).split(" ") if "=" in word)
    reason = text(outcome.get("reason"), 500)
    seed = config.get("seed", "")
    folder = inside(sweep, outcome.get("folder")) or inside(sweep, str(job))
    findings = outcome.get("findings")
    return Entry(
        config=dict(list(config.items())[:MOST_KEYS]),
        seeds=(seed,) if seed else (),
        values=(),
        mean=None,
        interval=None,
        seconds=number(outcome.get("seconds")),
        findings=tuple(
            text(name, 60) for name in (findings.split() if isinstance(findings, str) else as_list(findings))
        ),
        failures=(Failure(job, seed, status, reason),) if reason or status not in ("done", "") else (),
        status=status,
        repeat=text(outcome.get("repeat"), 4000) or f"gan-train {text(outcome.get('overrides'), 4000)}",
        folders_by_job={} if folder is None else {job: folder},
        jobs=1,
    )


def _pair(word: str) -> tuple[str, str]:
    key, _, value = word.partition("=")
    return key, value
