"""Builds a sweep's leaderboard from the outcomes of its jobs: one row for each config, the best first.

Jobs that differ only in the seed share a row. Imports no torch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, stdev
from typing import Any

from gan_cli.config.metric_names import better_direction, find_metric, metric_limits, ranking_value
from gan_cli.runs.comparability import describe_differences, explain_incomparable, find_bases
from gan_cli.sweeps.outcomes import FAILED_TRAINING, Outcome

# If configs cover equally many modes, MODE_BALANCE ranks them.
MODES_COVERED, MODE_BALANCE = "modes/covered", "modes/reverse_kl"
# 97.5 % quantiles of Student's t distribution with 1 to 9 degrees of freedom.
STUDENT = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622)


def student(degrees: int) -> float:
    """Returns the 97.5 % quantile of Student's t distribution with `degrees` degrees of freedom, at least 1.

    Above 9 degrees of freedom, uses formula 26.7.5 of Abramowitz and Stegun, whose error is below 0.0001.
    """
    if degrees <= len(STUDENT):
        return STUDENT[degrees - 1]
    z = NormalDist().inv_cdf(0.975)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / degrees**power for power, term in enumerate(terms, start=1))


def mean_interval(
    values: Sequence[float], least: float = -math.inf, most: float = math.inf
) -> tuple[float | None, tuple[float, float] | None]:
    """Returns the mean and its 95 % interval (low, high) by Student's t; None for each that has too few values.

    The interval is clipped to `least` and `most`.
    """
    if not values:
        return None, None
    mean = fmean(values)
    if len(values) == 1:
        return mean, None
    half = student(len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return mean, (min(mean, max(least, mean - half)), max(mean, min(most, mean + half)))


def build_board(command: str, ranked_by: Sequence[str], outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Returns the content of `leaderboard.json`. The first metric of `ranked_by` that any job has ranks the rows.

    If jobs were measured on different data, image sizes or features, their values cannot be compared. Then rows that
    can be compared stand together, and the text `unranked` says why there is no overall ranking.
    """
    found = (find_metric(outcome.figures, wanted) for wanted in ranked_by for outcome in outcomes)
    metric = next((each[0] for each in found if each is not None), "")
    grouped: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        config = {key: value for key, value in outcome.config.items() if key != "seed"}
        grouped.setdefault(json.dumps(config, sort_keys=True), []).append(outcome)
    bases = _bases(outcomes, metric)
    listed = list(bases.values())

    def rank(jobs: list[Outcome]) -> tuple[Any, ...]:
        """Rows that can be compared with each other stand together; rows without a value come last."""
        kind = next((listed.index(bases[job.number]) for job in jobs if job.number in bases), len(listed))
        return kind, *_rank(jobs, metric)

    return {
        "metric": metric or None,
        "unranked": explain_incomparable([metric], describe_differences(listed)),
        "better": better_direction(metric) if metric else "lower",
        "command": command,
        "varied": list(dict.fromkeys(key for outcome in outcomes for key in outcome.config)),
        "rows": [_row(jobs, metric) for jobs in sorted(grouped.values(), key=rank)],
        "jobs": [outcome.model_dump(by_alias=True) for outcome in outcomes],
    }


def _bases(outcomes: Sequence[Outcome], metric: str) -> dict[int, dict[str, Any]]:
    """Returns, for the number of each finished job that has the metric, what the metric was measured on."""
    if not metric:
        return {}
    named = ((job, find_metric(job.figures, metric.partition("-")[0])) for job in outcomes if job.status == "done")
    extractors = [(job, name[0].partition("-")[2]) for job, name in named if name is not None]
    measured = [(job.measured_on, job.config, {"extractor": extractor}) for job, extractor in extractors]
    return {job.number: basis for (job, _), basis in zip(extractors, find_bases(metric, measured), strict=True)}


def _row(jobs: list[Outcome], metric: str) -> dict[str, Any]:
    """Returns the row of the jobs with one config. `metric` ranks the rows; it is empty if there is none."""
    done = [job for job in jobs if job.status == "done"]
    measured = [job for job in done if metric in job.figures]
    least, most = metric_limits(metric)
    if metric == MODES_COVERED:
        most = max((job.figures.get("modes/possible", most) for job in measured), default=most)
    mean, interval = mean_interval([job.figures[metric] for job in measured], least, most)
    timed = done or [job for job in jobs if job.status != "not run"]
    failures = [
        {"job": job.number, "seed": job.seed, "status": job.status, "reason": job.reason}
        for job in jobs
        if job.status != "done"
    ]
    best = min(measured, key=lambda job: ranking_value(metric, job.figures[metric])) if measured else (done or jobs)[0]
    return {
        "config": {key: value for key, value in jobs[0].config.items() if key != "seed"},
        "seeds": [job.seed for job in jobs],
        "values": [job.figures.get(metric) if job.status == "done" else None for job in jobs],  # one for each seed
        "mean": mean,
        "interval": list(interval) if interval is not None else None,
        "seconds": round(fmean(job.seconds for job in timed), 1) if timed else None,
        "findings": list(dict.fromkeys(name for job in jobs for name in job.findings)),
        "failures": failures,
        "status": "done" if not failures else "partial" if done else "failed",
        "repeat": best.repeat,
        "jobs": [job.number for job in jobs],
        "folders": [job.folder for job in jobs],
    }


def _rank(jobs: list[Outcome], metric: str) -> tuple[Any, ...]:
    """Returns the sort key of a row; the better mean comes first among rows of the same kind.

    The kinds are, in this order: complete rows, rows with a missing run, rows with a failed training, and rows without
    a value. The mean leaves out failed runs. Without the kinds, rows with failed runs would therefore rank too high.
    """
    done = [job.figures for job in jobs if job.status == "done"]
    values = [metrics[metric] for metrics in done if metric in metrics]
    if not values:
        return (3, 0, 0, jobs[0].number)
    statuses = {job.status for job in jobs}
    kind = 2 if statuses & {*FAILED_TRAINING} else int(statuses != {"done"})
    balance = [metrics[MODE_BALANCE] for metrics in done if metric == MODES_COVERED and MODE_BALANCE in metrics]
    mean = fmean(ranking_value(metric, value) for value in values)
    return (kind, mean, fmean(balance) if balance else 0, jobs[0].number)
