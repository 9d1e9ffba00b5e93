"""A sweep's `leaderboard.json` made safe to draw; of a sweep without one, a row for each job that left its outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan_cli.reports.reading import inside, listed, mapping, number, numbers, read_json, text, whole
from gan_cli.storage.run_folder import BOARD, OUTCOME

MOST_ROWS, MOST_KEYS, MOST_SEEDS, MOST_JOBS = 1000, 20, 100, 2000


@dataclass(frozen=True)
class Failure:
    job: int | None
    seed: str
    status: str
    reason: str


@dataclass(frozen=True)
class Entry:
    """A config without its seed, of so many `jobs`; `homes` are the folders that are there, by the job's number."""

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
    homes: dict[int | None, Path]
    jobs: int

    @property
    def folders(self) -> list[Path]:
        return list(self.homes.values())

    @property
    def label(self) -> str:
        return ", ".join(f"{key}={value}" for key, value in self.config.items()) or "the only config"


@dataclass(frozen=True)
class Board:
    metric: str
    better: str
    command: str
    varied: tuple[str, ...]
    entries: tuple[Entry, ...]
    ranked: bool
    unranked: str = ""  # why not, though there is a figure

    @property
    def keys(self) -> list[str]:
        """What the entries differ in."""
        return list(dict.fromkeys(key for entry in self.entries for key in entry.config))[:MOST_KEYS]


def read_board(sweep: Path) -> Board:
    """Never fails: what cannot be read is left out."""
    data = read_json(sweep / BOARD)
    if isinstance(data, dict) and isinstance(data.get("rows"), list):
        return _from_leaderboard(sweep, data)
    return _from_outcomes(sweep)


def _from_leaderboard(sweep: Path, data: Mapping[str, Any]) -> Board:
    metric = text(data.get("metric"), 80)
    return Board(
        metric=metric,
        better="higher" if data.get("better") == "higher" else "lower",
        command=text(data.get("command"), 4000),
        varied=tuple(text(key, 100) for key in listed(data.get("varied"))[:MOST_KEYS]),
        entries=tuple(_entry(sweep, mapping(row)) for row in listed(data.get("rows"))[:MOST_ROWS]),
        ranked=bool(metric) and not data.get("unranked"),
        unranked=text(data.get("unranked"), 500),
    )


def _entry(sweep: Path, row: Mapping[str, Any]) -> Entry:
    interval = numbers(row.get("interval"))
    jobs = listed(row.get("jobs"))[:MOST_SEEDS]
    folders = listed(row.get("folders")) or [str(job) for job in jobs]
    found = [(whole(job), inside(sweep, folder)) for job, folder in zip(jobs, folders, strict=False)]
    return Entry(
        config={
            text(key, 100): text(_typed(value), 200)
            for key, value in list(mapping(row.get("config")).items())[:MOST_KEYS]
        },
        seeds=tuple(text(seed, 30) for seed in listed(row.get("seeds"))[:MOST_SEEDS]),
        values=tuple(numbers(row.get("values"))[:MOST_SEEDS]),
        mean=number(row.get("mean")),
        interval=(interval[0], interval[1]) if len(interval) == 2 else None,
        seconds=number(row.get("seconds")),
        findings=tuple(dict.fromkeys(text(name, 60) for name in listed(row.get("findings"))[:MOST_KEYS])),
        failures=tuple(_failure(mapping(each)) for each in listed(row.get("failures"))[:MOST_SEEDS]),
        status=text(row.get("status"), 30),
        repeat=text(row.get("repeat"), 4000),
        homes={job: folder for job, folder in found if folder is not None},
        jobs=len(jobs),
    )


def _typed(value: Any) -> Any:
    """As it was written on the command line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return "[" + ",".join(text(_typed(each), 60) for each in value) + "]" if isinstance(value, list) else value


def _failure(failed: Mapping[str, Any]) -> Failure:
    return Failure(
        whole(failed.get("job")),
        text(failed.get("seed"), 30),
        text(failed.get("status"), 30),
        text(failed.get("reason"), 500),
    )


def _from_outcomes(sweep: Path) -> Board:
    found = [mapping(read_json(path)) for path in sorted(sweep.glob(f"*/{OUTCOME}"))[:MOST_JOBS]]
    outcomes = sorted(found, key=lambda outcome: number(outcome.get("job")) or 0.0)
    entries = tuple(_entry_of_job(sweep, outcome) for outcome in outcomes)
    varied = list(dict.fromkeys(key for entry in entries for key in entry.config))
    return Board("", "lower", "", tuple(varied), entries, ranked=False)


def _entry_of_job(sweep: Path, outcome: Mapping[str, Any]) -> Entry:
    job, status = whole(outcome.get("job")), text(outcome.get("status"), 30)
    config = {text(key, 100): text(_typed(value), 200) for key, value in mapping(outcome.get("config")).items()}
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
            text(name, 60) for name in (findings.split() if isinstance(findings, str) else listed(findings))
        ),
        failures=(Failure(job, seed, status, reason),) if reason or status not in ("done", "") else (),
        status=status,
        repeat=text(outcome.get("repeat"), 4000) or f"gan-train {text(outcome.get('overrides'), 4000)}",
        homes={} if folder is None else {job: folder},
        jobs=1,
    )


def _pair(word: str) -> tuple[str, str]:
    key, _, value = word.partition("=")
    return key, value
