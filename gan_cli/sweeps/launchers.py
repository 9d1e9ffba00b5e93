"""The launchers that gan-cli has presets for, in `configs/hydra/launcher/`. Imports no launcher.

A launcher is a plugin of Hydra, from a package of its own. Its preset sets keys that this package declares.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gan_cli.errors import UsageError, first_few


@dataclass(frozen=True)
class LauncherFacts:
    """What gan-cli knows of a launcher.

    `extra` names the optional packages that it needs. `parallel_key` is its key for the number of jobs that run at a
    time; empty if gan-cli itself counts them. `shares_cores` is True if these jobs share the cores of this machine.
    """

    extra: str
    parallel_key: str
    shares_cores: bool


LAUNCHERS = {
    "joblib": LauncherFacts("sweep", "hydra.launcher.n_jobs", shares_cores=True),
    "ray": LauncherFacts("ray", "hydra.launcher.ray.init.num_cpus", shares_cores=False),
    "submitit_local": LauncherFacts("slurm", "", shares_cores=True),
    "submitit_slurm": LauncherFacts("slurm", "hydra.launcher.array_parallelism", shares_cores=False),
}
SUBMITIT = ("submitit_local", "submitit_slurm")
CHOICE = "hydra/launcher="


def chosen_launcher(overrides: Iterable[str]) -> str:
    """Returns the name of the launcher that these overrides choose, or "" for the sweep's own."""
    return next((line.removeprefix(CHOICE) for line in overrides if line.startswith(CHOICE)), "")


def with_parallel_jobs(overrides: tuple[str, ...], jobs: int | None) -> tuple[str, ...]:
    """Returns the overrides of a launcher with its key for `jobs` at a time. None means that the user gave no number.

    Raises UsageError if the launcher is not known, or if the key is given too.
    """
    name = chosen_launcher(overrides)
    if jobs is None or not overrides:
        return overrides
    if name not in LAUNCHERS:
        raise UsageError(f"jobs={jobs}: {name or overrides[0]} has a key of its own for the number of jobs at a time")
    key = LAUNCHERS[name].parallel_key
    if given := [line for line in overrides if key and line.lstrip("+").startswith(f"{key}=")]:
        raise UsageError(f"jobs={jobs}: {first_few(given, 1)} sets the number of jobs at a time too; leave one out")
    return (*overrides, f"{key}={jobs}") if key else overrides
