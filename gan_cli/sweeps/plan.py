"""Plans a sweep before its first job: finds the jobs, and the metric that ranks the results."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gan_cli.config import recipes, train_config
from gan_cli.config.compatibility import DATASETS_WITH_MODES, validate
from gan_cli.config.compose import HYDRA_KEYS
from gan_cli.config.metric_names import better_direction, metric_option
from gan_cli.config.option_files import naming_file, sets_key
from gan_cli.config.options.schedules import ScheduleOptions
from gan_cli.config.options.untrusted_files import words_to_name
from gan_cli.config.overrides import unquote_literals
from gan_cli.config.search_path import explicit_config_folder
from gan_cli.config.train_config import Config
from gan_cli.config.validation import parse
from gan_cli.errors import UsageError
from gan_cli.image_labels.image_paths import check_paths
from gan_cli.image_labels.shard_paths import check_shards
from gan_cli.runs.comparability import key_changes_basis
from gan_cli.sweeps.combinations import PlannedSweep, compose_sweep
from gan_cli.sweeps.launchers import LAUNCHERS, chosen_launcher, with_parallel_jobs
from gan_cli.sweeps.outcomes import Job, Sweep

SWEEP_ONLY_KEYS = ("jobs", "fresh")  # not passed on to the jobs
# Two jobs that differ only in these are the same.
KEYS_OUTSIDE_JOB_IDENTITY = ("name", "output", "resume_strict", *SWEEP_ONLY_KEYS)
# Keys that came later, with the values at which a job is what it was before.
LATER_KEYS = {
    "task.name": "generation", "loss.weight": 1.0, "dataset.pairs": "auto", "dataset.direction": "AtoB",
    "training.augment_probability": 1.0, "training.checkpoint_activations": False, "device.tf32": "auto",
    "device.processes": 1, "device.timeout": 300, "device.batch_norm": "synchronized", "evaluation.classify": True,
    **{f"schedule.{key}": value for key, value in train_config.flatten(train_config.to_dict(ScheduleOptions()))},
}  # fmt: skip
# If the user names no metric, the first of these that any job has ranks the results.
DEFAULT_RANKING = ("modes/covered", "accuracy/class")
FRECHET = "evaluation.metrics=[frechet]"
MIN_SAMPLES = 20  # an evaluation needs 10 real samples as the reference and 10 other real samples


def plan(overrides: Sequence[str], command: str) -> Sweep:
    """Returns the plan of a sweep with these overrides. `command` is the whole command line as typed.

    Raises UsageError for mistakes that can be found before the first job.
    """
    planned = compose_sweep(overrides)
    parsed = _check(planned)
    first = parsed[0]
    added = _added_overrides(planned, parsed)
    own = tuple(each for each in overrides if not each.lstrip("+").startswith(HYDRA_KEYS))
    launcher = with_parallel_jobs(planned.launcher, first.jobs if _is_chosen("jobs", planned) else None)
    jobs = _jobs_of(planned, parsed, added)
    config_dir = explicit_config_folder()
    _refuse_small(parsed)
    metric = first.selection_metric or ("frechet" if FRECHET in added else None)
    ranked_by = (metric,) if metric is not None else DEFAULT_RANKING
    moving = [key for key in planned.varied if key_changes_basis(key, ranked_by[0])]
    if planned.sweeper:
        _refuse_objective(planned, first, metric, moving)
    return Sweep(
        command=command,
        parent=Path(first.output) / _common_name(parsed),
        earlier_parent=Path(first.output) / first.run_name,
        fresh=first.fresh,
        identity=short_hash(_search_identity(own, planned.sweeper) if planned.sweeper else sorted(jobs)),
        jobs=[] if planned.sweeper else list(jobs.values()),
        overrides=_job_overrides(own),
        added=added,
        launcher=launcher,
        sweeper=(*planned.sweeper, *_search_defaults(planned, ranked_by[0], first)),
        ranked_by=ranked_by,
        flags=("--config-dir", str(config_dir)) if config_dir is not None else (),
        parallel_jobs=first.jobs,
        threads=_threads(first.jobs, chosen_launcher(launcher), max(config.device.processes for config in parsed)),
        ranking_note=_unranked_note(parsed, added, ranked_by[0], moving),
    )


def _common_name(parsed: Sequence[Config]) -> str:
    """Returns the name that all jobs have, or the parts of their default names that they have in common."""
    names = {config.name for config in parsed}
    if len(names) == 1 and None not in names:
        return parsed[0].run_name
    options = [(each.dataset, each.task, each.architecture.generator, each.loss) for each in parsed]
    common = [{option.name for option in options_of_all} for options_of_all in zip(*options, strict=True)]
    parts = [name for found in common if len(found) == 1 for name in found if name != "generation"]
    return "-".join(parts) or "sweeps"


def _jobs_of(planned: PlannedSweep, parsed: Sequence[Config], added: tuple[str, ...]) -> dict[str, Job]:
    """Returns one job for each distinct combination, as a dict from the job's key to the job."""
    jobs: dict[str, Job] = {}
    for combination, config in zip(planned.combinations, parsed, strict=True):
        typed = _job_overrides(unquote_literals(override) for override in combination.overrides)
        leaves = train_config.flatten(train_config.to_dict(parse(Config, combination.typed)))
        data = {
            key: value
            for key, value in leaves
            if key not in KEYS_OUTSIDE_JOB_IDENTITY and (key not in LATER_KEYS or value != LATER_KEYS[key])
        }
        key = short_hash([data, added])
        job = Job(job=len(jobs), key=key, config=combination.values, seed=config.seed, overrides=[*typed, *added])
        jobs.setdefault(key, job.model_copy(update={"of_files": words_of_files(combination.data, job.overrides)}))
    return jobs


def words_of_files(data: Mapping[str, Any], overrides: Sequence[str]) -> list[str]:
    """Returns the overrides of a job that it must name to be resumed, and that are not among its `overrides`.

    `data` is the job's composed config. Files of options have set these values.
    """
    words = words_to_name(data)
    if data["threads"] not in ("auto", None):
        words["threads"] = f"threads={data['threads']}"
    typed = {override.lstrip("+").partition("=")[0] for override in overrides}
    return [word for key, word in words.items() if key not in typed]


def _refuse_objective(planned: PlannedSweep, first: Config, metric: str | None, moving: Sequence[str]) -> None:
    """Raises UsageError if a search has no metric as its objective, or if its trials cannot be compared by the metric.

    `moving` has the keys of the search that change on what the metric is measured, for example the data.
    """
    if moving:
        raise UsageError(
            f"{moving[0]}: a search needs one comparable metric, and {metric or DEFAULT_RANKING[0]} of other data,"
            f" sizes or features cannot be compared; leave {moving[0]} out of the search, or sweep it without"
            f" {planned.sweeper[0]}"
        )
    # A run measures the covered modes or, if it is conditional, the accuracy of its classes without being asked.
    of_points = first.dataset.name in DATASETS_WITH_MODES and len(first.sample_shape) == 1
    classified = first.dataset.name in DATASETS_WITH_MODES or first.conditioning.name != "none"
    if metric is None and not of_points and not (classified and first.evaluation.classify):
        raise UsageError(f"{planned.sweeper[0]}: needs a metric, set evaluation.metrics=[frechet] or evaluation.best=")


def _check(planned: PlannedSweep) -> list[Config]:
    """Returns the parsed config of every combination.

    Raises UsageError if a value has a wrong type or range, if a key does not suit a sweep, or if no combination is
    valid. If only some combinations are invalid, the sweep starts, and those jobs report their errors.
    """
    with naming_file(planned.named):
        parsed: list[Config] = [parse(Config, combination.data) for combination in planned.combinations]
    first = parsed[0]
    if first.resume is not None:
        raise UsageError(
            f"resume={first.resume}: repeat the sweep's own command to run its missing jobs; without -m, resume= takes"
            " one of its jobs"
        )
    if any(config.dry_run for config in parsed):
        raise UsageError("dry_run=true: shows one run; leave out -m and the swept values")
    if varied := [key for key in SWEEP_ONLY_KEYS if key in planned.varied]:
        raise UsageError(f"{varied[0]}: is a setting of the whole sweep and takes one value")
    train_config.resolve_run_length(first, planned.named)
    errors = []
    for config in parsed:
        try:
            if config.dataset.name == "folder" and config.dataset.path is not None:
                check_paths(config.dataset.path)
            check_shards(config.dataset)
            if config.init_from is None:  # with `init_from`, only the job itself knows the networks
                validate(_with_implied_metric(config))
        except UsageError as error:
            errors.append(error)
    if len(errors) == len(parsed):
        raise errors[0]
    return parsed


def _added_overrides(planned: PlannedSweep, parsed: Sequence[Config]) -> tuple[str, ...]:
    """Returns the overrides that the sweep adds to every job.

    If the user names no metrics, adds those that compute `evaluation.best`. If the user does not name `evaluation.best`
    either, adds the Frechet distance if all jobs make images, have no other metric to rank them, and have enough
    samples. In a search, also adds that a collapsed trial stops, unless the user named that key.
    """
    added = []
    metrics_are_named = any(config.evaluation.metrics for config in parsed)
    if not metrics_are_named and not _is_chosen("evaluation.metrics", planned):
        makers = [maker for maker in dict.fromkeys(metric_option(config.evaluation.best) for config in parsed) if maker]
        if makers:
            added.append(f"evaluation.metrics=[{','.join(makers)}]")
        elif not _is_chosen("evaluation.best", planned) and all(map(_needs_metric, parsed)):
            added += [] if any(map(_too_few_samples, parsed)) else [FRECHET]
    if planned.sweeper and not _is_chosen("health.on_collapse", planned):
        added.append("health.on_collapse=stop")
    return tuple(added)


def _is_chosen(key: str, planned: PlannedSweep) -> bool:
    """Returns whether the user set this key or its section, in the command or in a file of options."""
    return not {key, key.partition(".")[0]}.isdisjoint(planned.named) or sets_key(key)


def _refuse_small(parsed: Sequence[Config]) -> None:
    """Raises UsageError if every job computes metrics, also for `evaluation.best`, of too few real samples."""
    if all(_with_implied_metric(config).evaluation.metrics and _too_few_samples(config) for config in parsed):
        section = parsed[0].evaluation
        typed, remedy = f"evaluation.best={section.best}", "without it the runs are trained"
        if section.metrics:
            typed = f"evaluation.metrics=[{','.join(section.metrics)}]"
            remedy = "evaluation.metrics=[] trains without"
        raise UsageError(
            f"{typed}: {_too_few_samples(parsed[0])} samples are too few to compare with, at least {MIN_SAMPLES};"
            f" {remedy}, unranked"
        )


def _with_implied_metric(config: Config) -> Config:
    """Returns the config with the metric that computes `evaluation.best` added, unless it names metrics."""
    maker: Any = metric_option(config.evaluation.best)
    section = config.evaluation
    if maker is None or section.metrics:
        return config
    return dataclasses.replace(config, evaluation=dataclasses.replace(section, metrics=(maker,)))


def _needs_metric(config: Config) -> bool:
    """Returns True if a job generates images and neither its config nor its data set provides a metric to rank it."""
    try:
        images = len(config.sample_shape) == 3
    except UsageError:  # the job will report this error
        images = True
    return images and config.selection_metric is None and config.dataset.name not in DATASETS_WITH_MODES


def _too_few_samples(config: Config) -> int | None:
    """Returns the number of real samples if it is too small for an evaluation. Returns None if it is enough or unknown.

    The rule is that of `reference.py`, which uses the test split as well if the data set has one.
    """
    whole = dataclasses.replace(config.dataset, limit=None)
    samples = recipes.count_samples(whole)
    if samples is None or samples >= MIN_SAMPLES:
        return None
    held_out = recipes.count_samples(dataclasses.replace(whole, split="test")) if whole.split == "train" else None
    return None if min(samples, held_out or 0) >= MIN_SAMPLES // 2 else samples


def _unranked_note(parsed: Sequence[Config], added: Sequence[str], metric: str, moving: Sequence[str]) -> str:
    """Returns a line saying why the runs are not ranked: too few samples, or data differ by `moving` keys; else ""."""
    counts = (_too_few_samples(config) for config in parsed if _needs_metric(config))
    few = next((count for count in counts if count), None)
    if few is not None and not added and all(config.selection_metric is None for config in parsed):
        return f"not ranked: {few} samples are too few to compare with, at least {MIN_SAMPLES}"
    return f"not ranked if {metric} is measured on different data: runs differ in {', '.join(moving)}" if moving else ""


def _job_overrides(overrides: Iterable[str]) -> tuple[str, ...]:
    """Returns the overrides without those that apply to the whole sweep (`jobs` and `fresh`)."""
    return tuple(override for override in overrides if override.partition("=")[0] not in SWEEP_ONLY_KEYS)


def _threads(parallel_jobs: int, launcher: str, processes: int) -> int | None:
    """Returns the number of CPU threads for each process of each job, of which a job has at most `processes`.

    None lets a job choose: alone, if OMP_NUM_THREADS is set, or if a launcher gives it cores of its own.
    """
    own_cores = launcher != "" and not (launcher in LAUNCHERS and LAUNCHERS[launcher].shares_cores)
    if parallel_jobs == 1 or own_cores or os.environ.get("OMP_NUM_THREADS", "").strip().isdigit():
        return None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // (parallel_jobs * processes))


def _search_identity(own: Sequence[str], sweeper: Sequence[str]) -> list[str]:
    """Returns the overrides that identify a search: not its number of trials, and not where the results are stored."""
    ignored = (*(f"{key}=" for key in KEYS_OUTSIDE_JOB_IDENTITY), "hydra.sweeper.n_trials=")
    return sorted(override for override in (*own, *sweeper) if not override.startswith(ignored))


def _search_defaults(planned: PlannedSweep, metric: str, first: Config) -> tuple[str, ...]:
    """Returns default settings for Optuna that the user did not give; none if the sweeper is not Optuna.

    The direction is that of the metric. A seed makes the same command propose the same trials again, so that finished
    trials need not run again. A failed trial does not end the search. Without a launcher, `jobs` trials run at a
    time: by default one, so that Optuna knows the results of all earlier trials when it proposes the next one.
    """
    if "hydra/sweeper=optuna" not in planned.sweeper:
        return ()
    given = {override.lstrip("+").partition("=")[0] for override in planned.sweeper}
    direction = "maximize" if better_direction(metric) == "higher" else "minimize"
    defaults = {"hydra.sweeper.max_failure_rate": "1.0", "hydra.sweeper.direction": direction}
    if "hydra/sweeper/sampler" not in given:
        defaults["hydra.sweeper.sampler.seed"] = str(first.seed)
    if not planned.launcher or _is_chosen("jobs", planned):
        defaults["hydra.sweeper.n_jobs"] = str(first.jobs)
    return tuple(f"{key}={value}" for key, value in defaults.items() if key not in given)


def short_hash(data: Any) -> str:
    """Returns the first 16 hex digits of the SHA-256 of the data in JSON form."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]
