"""Runs jobs through a launcher of Hydra, such as joblib or submitit, and searches through a sweeper, such as Optuna.

A launcher starts jobs that the sweep has planned. A sweeper proposes trials, and `TrialLauncher` makes them jobs of
the sweep. Hydra composes none of these jobs, and they have the same folders and outcomes as those of other sweeps.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf

from gan_cli.config import recipes
from gan_cli.config.compose import compose_command, own_options, searchpath_overrides
from gan_cli.config.composed_values import to_container
from gan_cli.config.overrides import quote_for_hydra, read_override, unquote_literals
from gan_cli.config.search_path import used_files
from gan_cli.config.train_config import flatten
from gan_cli.errors import GanCliError, UsageError, did_you_mean, one_line
from gan_cli.extras import require_extra
from gan_cli.storage.run_folder import JOB_OUTCOME, STOP_FILE
from gan_cli.streams import tolerant_streams
from gan_cli.sweeps.jobs import JobProcesses, run_job
from gan_cli.sweeps.launchers import LAUNCHERS, SUBMITIT, chosen_launcher
from gan_cli.sweeps.leaderboard_tables import write_leaderboard
from gan_cli.sweeps.outcomes import Job, Sweep, load_outcome, objective_value, trial_outcomes
from gan_cli.sweeps.plan import short_hash, words_of_files
from gan_cli.sweeps.stop_requests import read_stop_request, repeating, stopping_with_sweep, write_stop_request
from gan_cli.sweeps.submitted_jobs import run_submitted

PLUGIN_MODULE = "hydra_plugins.gan_cli"  # Hydra accepts launchers of the package `hydra_plugins` only
_sweep_processes: dict[int, JobProcesses] = {}  # has the id of this process if a sweep runs in it


class TrialLauncher(Launcher):
    """The launcher of a sweeper. Its task function takes the overrides of some trials, and returns objectives."""

    __module__ = PLUGIN_MODULE

    def setup(self, *, hydra_context: HydraContext, task_function: Any, config: DictConfig) -> None:
        self._run_trials = task_function

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        return [JobReturn(status=JobStatus.COMPLETED, _return_value=each) for each in self._run_trials(job_overrides)]


def launch_jobs(this: Sweep, jobs: Sequence[Job], processes: JobProcesses) -> None:
    """Runs the jobs through the launcher that the user named, and writes the leaderboard as they end.

    A signal that `processes` receives stops the jobs in all processes of the launcher. Raises UsageError if Hydra or
    the launcher raises an error.
    """
    stop_file = this.folder / STOP_FILE
    known: dict[Path, int] = {}

    def update() -> None:
        write_stop_request(this.folder, processes)
        found = {path: path.stat().st_mtime_ns for path in this.folder.glob(f"*/{JOB_OUTCOME}")}
        if found != known:
            write_leaderboard(this)
            known.update(found)

    stop_file.unlink(missing_ok=True)
    _sweep_processes[os.getpid()] = processes
    try:
        with _errors_in_one_line(), repeating(update):
            task = partial(_run_launched, replace(this, jobs=list(jobs), folder=this.folder.absolute()), os.getcwd())
            launcher = _instantiate("launcher", this.launcher, this.folder, task)
            if chosen_launcher(this.launcher) in SUBMITIT:
                run_submitted(this, jobs, launcher.params, processes)
                return
            with _naming_launcher(chosen_launcher(this.launcher)):
                for done in launcher.launch([[] for _ in jobs], initial_job_idx=0):
                    _ = done.return_value  # raises the error that the function raised
    finally:
        _sweep_processes.clear()
        stop_file.unlink(missing_ok=True)


def _run_launched(this: Sweep, start_folder: str, config: DictConfig) -> None:
    """Runs one of the jobs, which stops if the sweep receives a signal or its process ends. Ignores Hydra's config.

    A launcher calls this function, in this process or in another one, to which it sends `this`. `start_folder` is the
    current folder of the sweep; a process of a running cluster of Ray has another one.
    """
    job = this.jobs[HydraConfig.get().job.num]
    parent = os.getppid()
    if (shared := _sweep_processes.get(os.getpid())) is not None:  # the launcher uses the sweep's own process
        if shared.received is None:
            run_job(job, this, shared)
        return

    def is_dead() -> bool:
        return os.getppid() != parent

    with contextlib.suppress(OSError):  # on another machine it may be missing
        os.chdir(start_folder)
    with tolerant_streams(), JobProcesses() as processes, stopping_with_sweep(this.folder, processes, is_dead):
        if not read_stop_request(this.folder):
            run_job(job, this, processes)
    if is_dead():
        os._exit(1)  # a worker of joblib would wait for more jobs


def search(this: Sweep, run: Callable[[Sequence[Job]], None], processes: JobProcesses) -> None:
    """Runs the trials that the sweeper proposes. `run` runs those of some jobs that are not finished.

    Ends after the running trials if `processes` receives a signal. Raises UsageError if Hydra or the sweeper raises an
    error.
    """
    numbers = {outcome.key: outcome.number for outcome in trial_outcomes(this.folder)}

    def run_trials(job_overrides: Sequence[Sequence[str]]) -> list[float | None]:
        jobs = [_trial(this, lines, numbers) for lines in job_overrides]
        run(list({job.number: job for job in jobs}.values()))
        if processes.received is not None:
            raise KeyboardInterrupt  # which no sweeper handles
        return [objective_value(load_outcome(job, this), this.ranked_by) for job in jobs]

    with contextlib.suppress(KeyboardInterrupt), _errors_in_one_line():
        sweeper = _instantiate("sweeper", this.sweeper, this.folder, run_trials)
        sweeper.sweep([*this.overrides, *this.added])


def _trial(this: Sweep, lines: Sequence[str], numbers: dict[str, int]) -> Job:
    """Returns the trial with these overrides. `numbers` has the number of each key; a new trial is added to it."""
    given, fixed = _values_of(lines), _values_of((*this.overrides, *this.added))
    key, folder = short_hash(given), this.folder
    if key not in numbers:
        numbers[key] = next(number for number in itertools.count() if not (folder / str(number)).exists())
        (folder / str(numbers[key])).mkdir()
    varied = {name: value for name, value in given.items() if name not in fixed or fixed[name] != value}
    overrides = list(map(unquote_literals, lines))
    found = Job(job=numbers[key], key=key, config=varied, seed=given.get("seed"), overrides=overrides)
    return found.model_copy(update={"of_files": _words_of_files(lines, overrides)})


def _words_of_files(lines: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """Returns `words_of_files` of the trial; none of a trial whose values its run will refuse."""
    with contextlib.suppress(UsageError):
        return words_of_files(compose_command("train", lines, recipes.NONE).data, overrides) if used_files() else []
    return []


def _values_of(lines: Iterable[str]) -> dict[str, Any]:
    """Returns the parsed value of each key in the overrides, so that two spellings of one value become equal."""
    return {override.key_or_group: override.value() for override in map(read_override, lines)}


def check_plugins(this: Sweep) -> None:
    """Raises UsageError, before the sweep begins, if its launcher or sweeper does not exist or refuses a key."""
    for kind, lines in (("launcher", this.launcher), ("sweeper", this.sweeper)):
        overrides = [read_override(line) for line in lines]
        choices = [override for override in overrides if "/" in override.key_or_group]
        with _composing_launchers():
            hydra: Any = GlobalHydra.instance().hydra
            for override in choices:
                known = hydra.config_loader.get_group_options(override.key_or_group)
                if override.value() not in known:
                    similar = did_you_mean(str(override.value()), known)
                    raise UsageError(f"{override.input_line}: there are {', '.join(known)}{similar}")
                if override.key_or_group == "hydra/launcher" and str(override.value()) in LAUNCHERS:
                    require_extra(LAUNCHERS[str(override.value())].extra, str(override.input_line))
            named = [*searchpath_overrides(), *(override.input_line for override in choices)]
            section = hydra.compose_config("train", named, RunMode.MULTIRUN).hydra[kind]
            keys = [key for key, _ in flatten(to_container(section), f"hydra.{kind}")]
            for override in overrides:
                _check_plugin_key(override, choices, keys)
            try:
                hydra.compose_config("train", [*searchpath_overrides(), *lines], RunMode.MULTIRUN)
            except Exception as error:
                cause: Any = error.__cause__ or error
                wrong = getattr(cause, "full_key", "")
                typed = [str(each.input_line) for each in overrides if each.key_or_group == wrong] or lines
                reason = one_line(str(cause).splitlines()[0], 200)
                raise UsageError(f"{' '.join(typed)}: cannot be used ({reason})") from error


@contextlib.contextmanager
def _composing_launchers() -> Iterator[None]:
    """While entered, Hydra composes gan-cli's options, and merges our file of a launcher into its package's keys.

    Hydra would advise against that, because it does so for each two configs of one name.
    """
    with warnings.catch_warnings(), own_options():
        warnings.filterwarnings("ignore", r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema")
        yield


def _check_plugin_key(override: Override, choices: Sequence[Override], keys: Sequence[str]) -> None:
    """Raises UsageError if an override sets none of the `keys` of the launcher or sweeper, or says what code runs."""
    key = override.key_or_group
    known = [each for each in keys if not each.endswith("._target_")]
    if override not in choices and key not in known and not key.startswith("hydra.sweeper.params."):
        chosen = ", ".join(str(each.value()) for each in choices) or "Hydra's own launcher"
        listed = ", ".join(each.split(".", 2)[2] for each in known) or "no keys"
        raise UsageError(f"{override.input_line}: unknown key{did_you_mean(key, known)}: {chosen} has {listed}")


def _instantiate(kind: str, overrides: Sequence[str], folder: Path, task: Callable[..., Any]) -> Any:
    """Returns the launcher or sweeper (`kind`) that these overrides of Hydra's keys choose.

    `folder` is the sweep's folder. `task` is called for each job, or for some trials.
    """
    path = quote_for_hydra(str(folder.absolute()))
    own = [f"hydra.sweep.dir={path}", "hydra.sweep.subdir=.", *searchpath_overrides()]
    if kind == "sweeper":
        sys.modules[PLUGIN_MODULE] = sys.modules[__name__]
        Plugins.instance().register(TrialLauncher)
        own.append(f"hydra.launcher._target_={PLUGIN_MODULE}.{TrialLauncher.__name__}")
    with _composing_launchers():
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        config = hydra.compose_config("train", [*own, *overrides], RunMode.MULTIRUN)
        # A launcher composes again for each job, whose config nothing reads.
        OmegaConf.set_readonly(config.hydra, False)
        config.hydra.overrides.hydra = own
        context = HydraContext(hydra.config_loader, Callbacks())
        create = getattr(Plugins.instance(), f"instantiate_{kind}")
        return create(hydra_context=context, task_function=task, config=config)


@contextlib.contextmanager
def _errors_in_one_line() -> Iterator[None]:
    """Raises UsageError with one line of text for an error of Hydra or a plugin. Our own errors are not changed."""
    try:
        yield
    except GanCliError:
        raise
    except Exception as error:
        raise UsageError(one_line(str(error).split("Config search path")[0], 300)) from error


@contextlib.contextmanager
def _naming_launcher(name: str) -> Iterator[None]:
    """Raises UsageError for an error of a launcher, such as one about a killed process, that says how to continue."""
    try:
        yield
    except GanCliError:
        raise
    except Exception as error:
        reason = one_line(error, 200)
        raise UsageError(f"hydra/launcher={name} failed; the same command runs what is missing: {reason}") from error
