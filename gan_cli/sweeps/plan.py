"""A sweep before its first job: what its jobs are, what ranks them, and its folder, which may be there already."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from gan_cli import __version__
from gan_cli.config import recipes, schema, train_config
from gan_cli.config.compatibility import WITH_MODES
from gan_cli.config.compose import HYDRA_KEYS
from gan_cli.config.metric_names import direction, maker_of
from gan_cli.config.overrides import as_typed
from gan_cli.config.search_path import named_folder
from gan_cli.config.train_config import Config
from gan_cli.errors import UsageError
from gan_cli.image_labels.several import check_paths
from gan_cli.runs.comparability import changes_basis
from gan_cli.storage.locks import hold, require_locks
from gan_cli.storage.run_folder import PREFIX, SWEEP, create_stamped, lock, sweeps_in, write_json
from gan_cli.sweeps.combinations import PlannedSweep
from gan_cli.sweeps.outcomes import Job, Settings

OF_A_SWEEP = ("jobs", "fresh")  # keys that no job is told
NOT_OF_A_JOB = ("name", "output", *OF_A_SWEEP)  # keys in which equal jobs may differ
UNJUDGED = ("modes/covered", "accuracy/class")  # what ranks where nothing was named: the first that there is
FRECHET = "evaluation.metrics=[frechet]"
FEWEST_COMPARED = 20  # samples: 10 to compare with, and 10 others


@dataclass(frozen=True)
class Sweep:
    """What is known before the first job: its jobs, none if a sweeper will choose them, and its place.

    `identity` is equal for two commands that ask for the same. `hydra` are Hydra's own overrides; any of them, and its
    loop drives the jobs.
    """

    command: str
    parent: Path
    fresh: bool
    at_once: int
    identity: str
    jobs: list[Job]
    overrides: tuple[str, ...]
    brought: tuple[str, ...]
    hydra: tuple[str, ...]
    settings: Settings
    told: str = ""  # of its ranking, before the first job


def plan(planned: PlannedSweep, overrides: Sequence[str], command: str) -> Sweep:
    """UsageError for what can be seen to be wrong; `overrides` are those of the command, `command` as it was typed."""
    parsed = _check(planned)
    first = parsed[0]
    brought = _brought_along(planned, parsed)
    own = tuple(each for each in overrides if not each.lstrip("+").startswith(HYDRA_KEYS))
    jobs: dict[str, Job] = {}
    for combination, config in zip(planned.combinations, parsed, strict=True):
        typed = _of_a_job(as_typed(override) for override in combination.overrides)
        asked = train_config.to_dict(schema.parse(Config, combination.typed))
        data = {key: value for key, value in train_config.flatten(asked) if key not in NOT_OF_A_JOB}
        key = hashed([data, brought])
        jobs.setdefault(key, Job(len(jobs), key, combination.values, config.seed, (*typed, *brought)))
    named = named_folder()
    _refuse_small(parsed)
    judged = first.selection_metric or ("frechet" if FRECHET in brought else None)
    ranked_by = (judged,) if judged is not None else UNJUDGED
    moving = [key for key in planned.varied if planned.searched and changes_basis(key, ranked_by[0])]
    if moving:
        raise UsageError(
            f"{moving[0]}: a search goes by one figure, and {ranked_by[0]} of other data, sizes or features cannot be"
            f" compared; leave {moving[0]} out of the search, or sweep it without {planned.hydra[0]}"
        )
    if planned.searched and judged is None and not _is_judged(first):
        raise UsageError(f"{planned.hydra[0]}: goes by a figure, set evaluation.metrics=[frechet] or evaluation.best=")
    return Sweep(
        command=command,
        parent=Path(first.output) / first.run_name,
        fresh=first.fresh,
        at_once=first.jobs,
        identity=hashed(sorted(jobs) if not planned.searched else _search(own, planned.hydra)),
        jobs=list(jobs.values()) if not planned.searched else [],
        overrides=_of_a_job(own),
        brought=brought,
        hydra=(*planned.hydra, *(_of_a_search(planned, ranked_by[0], first.seed) if planned.searched else ())),
        settings=Settings(
            folder=Path(),
            flags=("--config-dir", str(named)) if named is not None else (),
            ranked_by=ranked_by,
            parallel=first.jobs > 1,
            threads=_threads(first.jobs),
        ),
        told=_told_unranked(parsed, brought),
    )


def _check(planned: PlannedSweep) -> list[Config]:
    """Every config; UsageError for a value wrong in itself, or if every combination clashes."""
    parsed: list[Config] = [schema.parse(Config, combination.data) for combination in planned.combinations]
    first = parsed[0]
    if first.resume is not None:
        raise UsageError(
            f"resume={first.resume}: the same sweep again goes on by itself; without -m, go on with one of its jobs"
        )
    if any(config.dry_run for config in parsed):
        raise UsageError("dry_run=true: shows one run; leave out -m and the swept values")
    for key in OF_A_SWEEP:
        if key in planned.varied:
            raise UsageError(f"{key}: says how a sweep runs, and takes one value")
    if first.jobs > 1 and planned.hydra:
        raise UsageError(
            f"jobs={first.jobs}: not where {planned.hydra[0]}; say hydra/launcher=joblib hydra.launcher.n_jobs=..."
        )
    train_config.settle_end(first, planned.named)
    clashes = []
    for config in parsed:
        try:
            if config.dataset.name == "folder" and config.dataset.path is not None:
                check_paths(config.dataset.path)
            if config.init_from is None:  # else its job alone knows the networks
                train_config.validate(_with_its_metric(config))
        except UsageError as error:
            clashes.append(error)
    if len(clashes) == len(parsed):
        raise clashes[0]
    return parsed


def _brought_along(planned: PlannedSweep, parsed: Sequence[Config]) -> tuple[str, ...]:
    """What works out the figure that was named; of images one to rank by, if neither user nor data have any."""
    brought = []
    metrics_are_named = any(config.evaluation.metrics for config in parsed)
    if not metrics_are_named and not {"evaluation", "evaluation.metrics"} & {*planned.named}:
        makers = [maker for maker in dict.fromkeys(maker_of(config.evaluation.best) for config in parsed) if maker]
        if makers:
            brought.append(f"evaluation.metrics=[{','.join(makers)}]")
        elif (
            "evaluation.best" not in planned.named
            and all(map(_needs_a_figure, parsed))
            and not any(map(_too_few, parsed))
        ):
            brought.append(FRECHET)
    if planned.searched and "health.on_collapse" not in planned.named:
        brought.append("health.on_collapse=stop")
    return tuple(brought)


def _refuse_small(parsed: Sequence[Config]) -> None:
    """UsageError, before the first job, if no job can work out the metrics that were named."""
    if all(_with_its_metric(config).evaluation.metrics and _too_few(config) for config in parsed):
        asked = parsed[0].evaluation
        typed, way = (
            (f"evaluation.metrics=[{','.join(asked.metrics)}]", "evaluation.metrics=[] trains without")
            if asked.metrics
            else (f"evaluation.best={asked.best}", "without it the runs are trained")
        )
        raise UsageError(
            f"{typed}: {_too_few(parsed[0])} samples are too few to compare with, at least {FEWEST_COMPARED};"
            f" {way}, unranked"
        )


def _with_its_metric(config: Config) -> Config:
    """The config with what is brought along for the figure that it names."""
    maker, asked = maker_of(config.evaluation.best), config.evaluation
    if maker is None or asked.metrics:
        return config
    return dataclasses.replace(config, evaluation=dataclasses.replace(asked, metrics=(maker,)))


def _needs_a_figure(config: Config) -> bool:
    try:
        images = len(config.sample_shape) == 3
    except UsageError:  # which its job will say
        images = True
    return images and config.selection_metric is None and config.dataset.name not in WITH_MODES


def _too_few(config: Config) -> int | None:
    """How many samples there are, if that is known and too few for a comparison with them, as `reference` makes it."""
    whole = dataclasses.replace(config.dataset, limit=None)
    samples = recipes.count_samples(whole)
    if samples is None or samples >= FEWEST_COMPARED:
        return None
    held_out = recipes.count_samples(dataclasses.replace(whole, split="test")) if whole.split == "train" else None
    return None if min(samples, held_out or 0) >= FEWEST_COMPARED // 2 else samples


def _told_unranked(parsed: Sequence[Config], brought: Sequence[str]) -> str:
    """A line on why no figure ranks the runs, where one would if there were more samples; else nothing."""
    few = next((_too_few(config) for config in parsed if _needs_a_figure(config) and _too_few(config)), None)
    if few is None or brought or any(config.selection_metric is not None for config in parsed):
        return ""
    return f"not ranked: {few} samples are too few to compare with, at least {FEWEST_COMPARED}"


def _is_judged(config: Config) -> bool:
    return config.dataset.name in WITH_MODES or config.conditioning.name != "none"


def _of_a_job(overrides: Any) -> tuple[str, ...]:
    return tuple(override for override in overrides if override.partition("=")[0] not in OF_A_SWEEP)


def _threads(at_once: int) -> int | None:
    """For each of so many jobs; None for one alone, which finds its best, and where the user has said how many."""
    if at_once == 1 or os.environ.get("OMP_NUM_THREADS", "").strip().isdigit():
        return None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // at_once)


def _search(own: Sequence[str], hydra: Sequence[str]) -> list[str]:
    """What makes two searches one: not how many trials are wanted, nor where they run."""
    place = (*(f"{key}=" for key in NOT_OF_A_JOB), "hydra.sweeper.n_trials=", "hydra.launcher", "hydra/launcher")
    return sorted(override for override in (*own, *hydra) if not override.startswith(place))


def _of_a_search(planned: PlannedSweep, figure: str, seed: int) -> tuple[str, ...]:
    """What Optuna is told unless the user says otherwise.

    A seed, so that the same command asks for the same trials again, of which those that were run are not; a trial that
    fails is no reason to end the others; one at a time, so that each knows all before it.
    """
    given = {override.lstrip("+").partition("=")[0] for override in planned.hydra}
    if "hydra/sweeper=optuna" not in planned.hydra:
        return ()
    told = {"hydra.sweeper.max_failure_rate": "1.0"}
    told["hydra.sweeper.direction"] = "maximize" if direction(figure) == "higher" else "minimize"
    if "hydra/sweeper/sampler" not in given:
        told["hydra.sweeper.sampler.seed"] = str(seed)
    if "hydra/launcher" not in given:
        told["hydra.sweeper.n_jobs"] = "1"
    return tuple(f"{key}={value}" for key, value in told.items() if key not in given)


def hashed(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


# --- its folder --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def claimed(this: Sweep) -> Iterator[tuple[Sweep, bool]]:
    """The sweep in its folder, which nobody else has meanwhile, and whether that was begun before.

    That is the newest of its name with the same jobs, or a new one. StorageError if it is in use.
    """
    require_locks()
    this.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as held:
        with _alone(this.parent):
            found = None if this.fresh else _find(this)
            folder = found[0] if found is not None else create_stamped(this.parent, PREFIX)
            held.enter_context(lock(folder))
            if found is None:
                write_json(folder / SWEEP, _record_of(this))
        settings = dataclasses.replace(this.settings, folder=folder)
        if found is not None:
            number = {job["key"]: job["number"] for job in found[1]["jobs"]}
            jobs = [dataclasses.replace(job, number=number[job.key]) for job in this.jobs]
            yield dataclasses.replace(this, settings=settings, jobs=sorted(jobs, key=lambda job: job.number)), True
            return
        yield dataclasses.replace(this, settings=settings), False


def _record_of(this: Sweep) -> dict[str, Any]:
    return {
        "gan_cli": __version__,
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": this.command,
        "directory": os.getcwd(),
        "identity": this.identity,
        "jobs": [dataclasses.asdict(job) for job in this.jobs],
    }


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Waits until nobody else looks for a sweep in this folder, or makes one."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        hold(descriptor, wait=True)
        yield
    finally:
        os.close(descriptor)


def _find(this: Sweep) -> tuple[Path, dict[str, Any]] | None:
    for folder in sweeps_in(this.parent):
        record = read_sweep(folder)
        keys = {job["key"] for job in record["jobs"]} if record is not None else set()
        if record is not None and record["identity"] == this.identity and keys == {job.key for job in this.jobs}:
            return folder, record
    return None


def read_sweep(folder: Path) -> dict[str, Any] | None:
    """The record of a sweep; None if that is not there, or not what a sweep writes."""
    try:
        record = json.loads((folder / SWEEP).read_text(encoding="utf-8"))
        jobs = [{"key": str(job["key"]), "number": int(job["number"])} for job in record["jobs"]]
        return {"identity": str(record["identity"]), "command": str(record["command"]), "jobs": jobs}
    except (OSError, ValueError, TypeError, KeyError):
        return None
