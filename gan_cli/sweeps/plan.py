"""Plans a sweep before its first job: its jobs and the metric that ranks them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan_cli.config import recipes, schema, train_config
from gan_cli.config.compatibility import DATASETS_WITH_MODES, validate
from gan_cli.config.compose import HYDRA_KEYS
from gan_cli.config.metric_names import better_direction, metric_option
from gan_cli.config.overrides import unquote_literals
from gan_cli.config.search_path import explicit_config_folder
from gan_cli.config.train_config import Config
from gan_cli.errors import UsageError
from gan_cli.image_labels.image_paths import check_paths
from gan_cli.runs.comparability import key_changes_basis
from gan_cli.sweeps.combinations import PlannedSweep
from gan_cli.sweeps.outcomes import Job, Settings

SWEEP_ONLY_KEYS = ("jobs", "fresh")  # not passed on to the jobs
KEYS_OUTSIDE_JOB_IDENTITY = ("name", "output", *SWEEP_ONLY_KEYS)  # two jobs that differ only in these are the same
DEFAULT_RANKING = ("modes/covered", "accuracy/class")  # without a named metric: the first of these that a job has
FRECHET = "evaluation.metrics=[frechet]"
MIN_SAMPLES = 20  # real samples that an evaluation needs: 10 for reference, and 10 others


@dataclass(frozen=True)
class Sweep:
    """A planned sweep.

    `jobs` is empty if a sweeper will choose them. `identity` is equal for two commands that mean the same sweep.
    `overrides` are the user's for every job, `added` are those that the sweep adds. `hydra` are Hydra's own overrides;
    if there are any, Hydra's loop starts the jobs. `ranking_note` is printed before the first job.
    """

    command: str
    parent: Path
    fresh: bool
    parallel_jobs: int
    identity: str
    jobs: list[Job]
    overrides: tuple[str, ...]
    added: tuple[str, ...]
    hydra: tuple[str, ...]
    settings: Settings
    ranking_note: str = ""


def plan(planned: PlannedSweep, overrides: Sequence[str], command: str) -> Sweep:
    """Plans the sweep of a command; UsageError for mistakes that can be seen before the first job.

    `overrides` are those of the command, `command` the whole line as it was typed.
    """
    parsed = _check(planned)
    first = parsed[0]
    added = _added_overrides(planned, parsed)
    own = tuple(each for each in overrides if not each.lstrip("+").startswith(HYDRA_KEYS))
    jobs = _jobs_of(planned, parsed, added)
    config_dir = explicit_config_folder()
    _refuse_small(parsed)
    metric = first.selection_metric or ("frechet" if FRECHET in added else None)
    ranked_by = (metric,) if metric is not None else DEFAULT_RANKING
    if planned.searched:
        _refuse_objective(planned, first, metric, ranked_by[0])
    return Sweep(
        command=command,
        parent=Path(first.output) / first.run_name,
        fresh=first.fresh,
        parallel_jobs=first.jobs,
        identity=short_hash(sorted(jobs) if not planned.searched else _search_identity(own, planned.hydra)),
        jobs=list(jobs.values()) if not planned.searched else [],
        overrides=_job_overrides(own),
        added=added,
        hydra=(*planned.hydra, *(_search_defaults(planned, ranked_by[0], first.seed) if planned.searched else ())),
        settings=Settings(
            folder=Path(),
            flags=("--config-dir", str(config_dir)) if config_dir is not None else (),
            ranked_by=ranked_by,
            parallel=first.jobs > 1,
            threads=_threads(first.jobs),
        ),
        ranking_note=_unranked_note(parsed, added),
    )


def _jobs_of(planned: PlannedSweep, parsed: Sequence[Config], added: tuple[str, ...]) -> dict[str, Job]:
    """One job for each distinct combination, by its key."""
    jobs: dict[str, Job] = {}
    for combination, config in zip(planned.combinations, parsed, strict=True):
        typed = _job_overrides(unquote_literals(override) for override in combination.overrides)
        leaves = train_config.flatten(train_config.to_dict(schema.parse(Config, combination.typed)))
        data = {key: value for key, value in leaves if key not in KEYS_OUTSIDE_JOB_IDENTITY}
        key = short_hash([data, added])
        jobs.setdefault(key, Job(len(jobs), key, combination.values, config.seed, (*typed, *added)))
    return jobs


def _refuse_objective(planned: PlannedSweep, first: Config, metric: str | None, ranked_by: str) -> None:
    """UsageError if a search has no metric to go by, or one that its trials would measure on different data."""
    moving = [key for key in planned.varied if key_changes_basis(key, ranked_by)]
    if moving:
        raise UsageError(
            f"{moving[0]}: a search needs one comparable metric, and {ranked_by} of other data, sizes or features"
            f" cannot be compared; leave {moving[0]} out of the search, or sweep it without {planned.hydra[0]}"
        )
    if metric is None and not _has_known_classes(first):
        raise UsageError(f"{planned.hydra[0]}: needs a metric, set evaluation.metrics=[frechet] or evaluation.best=")


def _check(planned: PlannedSweep) -> list[Config]:
    """Parses every combination; UsageError for a value wrong in itself, or if every combination is refused."""
    parsed: list[Config] = [schema.parse(Config, combination.data) for combination in planned.combinations]
    first = parsed[0]
    if first.resume is not None:
        raise UsageError(
            f"resume={first.resume}: repeat the sweep's own command to run its missing jobs; without -m, resume= takes"
            " one of its jobs"
        )
    if any(config.dry_run for config in parsed):
        raise UsageError("dry_run=true: shows one run; leave out -m and the swept values")
    for key in SWEEP_ONLY_KEYS:
        if key in planned.varied:
            raise UsageError(f"{key}: is a setting of the whole sweep and takes one value")
    if first.jobs > 1 and planned.hydra:
        raise UsageError(
            f"jobs={first.jobs}: not with {planned.hydra[0]}; use hydra/launcher=joblib hydra.launcher.n_jobs=..."
        )
    train_config.resolve_run_length(first, planned.named)
    errors = []
    for config in parsed:
        try:
            if config.dataset.name == "folder" and config.dataset.path is not None:
                check_paths(config.dataset.path)
            if config.init_from is None:  # else only the job itself knows the networks
                validate(_with_implied_metric(config))
        except UsageError as error:
            errors.append(error)
    if len(errors) == len(parsed):
        raise errors[0]
    return parsed


def _added_overrides(planned: PlannedSweep, parsed: Sequence[Config]) -> tuple[str, ...]:
    """Overrides that the sweep adds to every job.

    The metric that computes a named `evaluation.best`; for images without any metric a Frechet distance to rank by; for
    a search, that a collapsed trial stops.
    """
    added = []
    metrics_are_named = any(config.evaluation.metrics for config in parsed)
    if not metrics_are_named and not {"evaluation", "evaluation.metrics"} & {*planned.named}:
        makers = [maker for maker in dict.fromkeys(metric_option(config.evaluation.best) for config in parsed) if maker]
        if makers:
            added.append(f"evaluation.metrics=[{','.join(makers)}]")
        elif (
            "evaluation.best" not in planned.named
            and all(map(_needs_metric, parsed))
            and not any(map(_too_few_samples, parsed))
        ):
            added.append(FRECHET)
    if planned.searched and "health.on_collapse" not in planned.named:
        added.append("health.on_collapse=stop")
    return tuple(added)


def _refuse_small(parsed: Sequence[Config]) -> None:
    """UsageError, before the first job, if every job has too few samples for the metrics that were named."""
    if all(_with_implied_metric(config).evaluation.metrics and _too_few_samples(config) for config in parsed):
        section = parsed[0].evaluation
        typed, remedy = (
            (f"evaluation.metrics=[{','.join(section.metrics)}]", "evaluation.metrics=[] trains without")
            if section.metrics
            else (f"evaluation.best={section.best}", "without it the runs are trained")
        )
        raise UsageError(
            f"{typed}: {_too_few_samples(parsed[0])} samples are too few to compare with, at least {MIN_SAMPLES};"
            f" {remedy}, unranked"
        )


def _with_implied_metric(config: Config) -> Config:
    """The config with the metric that computes its `evaluation.best`, unless metrics are named."""
    maker, section = metric_option(config.evaluation.best), config.evaluation
    if maker is None or section.metrics:
        return config
    return dataclasses.replace(config, evaluation=dataclasses.replace(section, metrics=(maker,)))


def _needs_metric(config: Config) -> bool:
    """Whether a job makes images and neither its config nor its data set has a metric to rank it by."""
    try:
        images = len(config.sample_shape) == 3
    except UsageError:  # its job will report it
        images = True
    return images and config.selection_metric is None and config.dataset.name not in DATASETS_WITH_MODES


def _too_few_samples(config: Config) -> int | None:
    """The number of real samples, if it is known and too small for the evaluation in `reference.py`; else None."""
    whole = dataclasses.replace(config.dataset, limit=None)
    samples = recipes.count_samples(whole)
    if samples is None or samples >= MIN_SAMPLES:
        return None
    held_out = recipes.count_samples(dataclasses.replace(whole, split="test")) if whole.split == "train" else None
    return None if min(samples, held_out or 0) >= MIN_SAMPLES // 2 else samples


def _unranked_note(parsed: Sequence[Config], added: Sequence[str]) -> str:
    """Says that too few samples are the reason why no metric ranks the runs; empty if that is not so."""
    counts = (_too_few_samples(config) for config in parsed if _needs_metric(config))
    few = next((count for count in counts if count), None)
    if few is None or added or any(config.selection_metric is not None for config in parsed):
        return ""
    return f"not ranked: {few} samples are too few to compare with, at least {MIN_SAMPLES}"


def _has_known_classes(config: Config) -> bool:
    """Whether a run measures a metric by itself: the modes of its data, or the classes that it generates."""
    return config.dataset.name in DATASETS_WITH_MODES or config.conditioning.name != "none"


def _job_overrides(overrides: Any) -> tuple[str, ...]:
    """The overrides without those for the whole sweep."""
    return tuple(override for override in overrides if override.partition("=")[0] not in SWEEP_ONLY_KEYS)


def _threads(parallel_jobs: int) -> int | None:
    """CPU threads for each of so many parallel jobs; None to let the job choose, or if OMP_NUM_THREADS is set."""
    if parallel_jobs == 1 or os.environ.get("OMP_NUM_THREADS", "").strip().isdigit():
        return None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // parallel_jobs)


def _search_identity(own: Sequence[str], hydra: Sequence[str]) -> list[str]:
    """The overrides in which two commands of the same search agree: not the number of trials, nor where they run."""
    ignored = tuple(f"{key}=" for key in KEYS_OUTSIDE_JOB_IDENTITY)
    ignored += ("hydra.sweeper.n_trials=", "hydra.launcher", "hydra/launcher")
    return sorted(override for override in (*own, *hydra) if not override.startswith(ignored))


def _search_defaults(planned: PlannedSweep, metric: str, seed: int) -> tuple[str, ...]:
    """Overrides for Optuna that the user did not give.

    A seed, so that the same command proposes the same trials again and finished ones are not run again. A failed trial
    does not end the search. One trial at a time, so that each knows the results of all before it.
    """
    given = {override.lstrip("+").partition("=")[0] for override in planned.hydra}
    if "hydra/sweeper=optuna" not in planned.hydra:
        return ()
    defaults = {"hydra.sweeper.max_failure_rate": "1.0"}
    defaults["hydra.sweeper.direction"] = "maximize" if better_direction(metric) == "higher" else "minimize"
    if "hydra/sweeper/sampler" not in given:
        defaults["hydra.sweeper.sampler.seed"] = str(seed)
    if "hydra/launcher" not in given:
        defaults["hydra.sweeper.n_jobs"] = "1"
    return tuple(f"{key}={value}" for key, value in defaults.items() if key not in given)


def short_hash(data: Any) -> str:
    """The first 16 hex digits of the SHA-256 of the data as JSON."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]
