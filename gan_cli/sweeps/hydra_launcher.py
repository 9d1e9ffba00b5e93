"""A sweep whose jobs a launcher or sweeper of Hydra's drives: joblib, submitit, Optuna.

Each job is still a process of its own, which the launcher's process waits for; what it returns is the figure that
ranks, so that a sweeper can go by it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from gan_cli.config.compose import searchpath_overrides
from gan_cli.config.metric_names import direction, find_figure
from gan_cli.config.overrides import as_typed, quote, quote_literals, read_override
from gan_cli.config.search_path import config_folder
from gan_cli.errors import UsageError, one_line
from gan_cli.storage.run_folder import STOPPED
from gan_cli.sweeps.jobs import Children, run_job
from gan_cli.sweeps.outcomes import FINAL, WORSE, Job, outcome_of
from gan_cli.sweeps.plan import Sweep, hashed
from gan_cli.sweeps.sweep import publish, searched

LOOK = 0.2  # seconds between looks for it
_driver: ContextVar[Children | None] = ContextVar("driver", default=None)  # of the process that runs Hydra's loop


class StoppedSweep(BaseException):
    """The sweep was asked to stop; its running job has saved. No Exception: Hydra would go on."""


@dataclass(frozen=True)
class HydraJob:
    """Hydra's task function. A launcher may send it to another process, so it holds plain data alone."""

    sweep: Sweep
    process: int

    def __call__(self, config: DictConfig) -> float | None:
        stopped = self.sweep.settings.folder / STOPPED
        driver = _driver.get()
        if driver is not None and driver.received is not None:  # between two jobs
            raise StoppedSweep(driver.received)
        if stopped.exists():
            return None
        job = self._job(HydraConfig.get().overrides.task, HydraConfig.get().job.num)
        outcome = outcome_of(job, self.sweep.settings)
        with Children() as children, _sharing(stopped, children):
            if outcome["status"] not in FINAL:
                outcome = run_job(job, self.sweep.settings, children)
                publish(self.sweep)
        if children.received is not None:
            _mark(stopped, children.received)
            if os.getpid() == self.process:
                raise StoppedSweep(children.received)
        return worth(outcome, self.sweep.settings.ranked_by)

    def _job(self, lines: Sequence[str], number: int) -> Job:
        """The planned one, whatever order Hydra has; of a search that which had these values, or else a new one."""
        given = _meaning(lines)
        for job in self.sweep.jobs:
            if _meaning(map(quote_literals, job.overrides)) == given:
                return job
        fixed = _meaning((*self.sweep.overrides, *self.sweep.brought))
        varied = {name: value for name, value in given.items() if name not in fixed or fixed[name] != value}
        key, folder = hashed(given), self.sweep.settings.folder
        known = {outcome["key"]: outcome["job"] for outcome in searched(folder)}
        while key not in known and not _taken(folder / str(number)):
            number += 1
        typed = tuple(as_typed(line) for line in lines)
        return Job(known.get(key, number), key, varied, given.get("seed"), typed)


def _taken(folder: Path) -> bool:
    """Makes a trial's folder; False if it is there, as that of another process may be since just now."""
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    return True


@contextlib.contextmanager
def _sharing(stopped: Path, children: Children) -> Iterator[None]:
    """Meanwhile, a signal that came to one of the launcher's processes comes to all of them."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(LOOK):
            number = _marked(stopped)
            if children.received is not None:
                _mark(stopped, children.received)
            elif number is not None:
                children.forward(number)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _mark(stopped: Path, number: int) -> None:
    """Says that this signal came, which all shall tell as theirs."""
    if not stopped.exists():
        stopped.write_text(str(number))


def _marked(stopped: Path) -> int | None:
    try:
        return int(stopped.read_text())
    except (OSError, ValueError):  # none came, or it is just being written
        return None


def _meaning(lines: Iterable[str]) -> dict[str, Any]:
    """The value of each key, however it was written."""
    return {override.key_or_group: override.value() for override in map(read_override, lines)}


def worth(outcome: dict[str, Any], ranked_by: tuple[str, ...]) -> float | None:
    """The figure that ranks; the worst there is of a run that failed by itself, None where nothing is known."""
    if outcome["status"] in WORSE:
        return float("-inf" if direction(ranked_by[0]) == "higher" else "inf")
    if outcome["status"] != "done":
        return None
    found = (find_figure(outcome["figures"], wanted) for wanted in ranked_by)
    return next((each[1] for each in found if each is not None), None)


def run_through_hydra(this: Sweep, children: Children) -> None:
    """UsageError for what Hydra, or a plugin of it, refuses. `children` learns of a signal."""
    folder = this.settings.folder
    (folder / STOPPED).unlink(missing_ok=True)
    own = [f"hydra.sweep.dir={quote(str(folder.absolute()))}", *searchpath_overrides()]
    sys.argv = ["gan-train", "-m", *own, *this.hydra, *this.overrides, *this.brought]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # raises, instead of printing and exiting with 1
    job = HydraJob(replace(this, hydra=()), os.getpid())
    token = _driver.set(children)
    try:
        with _sharing(folder / STOPPED, children):
            hydra.main(config_path=str(config_folder()), config_name="train", version_base="1.3")(job)()
    except StoppedSweep as stopped:
        children.received = children.received or stopped.args[0]
    except Exception as error:
        if children.received is None:
            raise UsageError(one_line(str(error).split("Config search path")[0], 300)) from error
    finally:
        _driver.reset(token)
        (folder / STOPPED).unlink(missing_ok=True)
