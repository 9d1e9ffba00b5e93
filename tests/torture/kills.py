"""Kills commands: at random instants, before each call of a save, and in the middle of writes."""

from __future__ import annotations

import os
import signal
from functools import partial
from typing import TypeVar

from torture.scenarios import SCENARIOS, TASKS, Reference, Scenario, arguments_of, complete, reference
from torture.shim import FAILS, Shim, failing, kill_after_cpu, killing
from torture.verify import differences, state_of
from torture.worker import Ended, Trial

Case = TypeVar("Case")
STRIDE = 7919  # a prime: multiples of it visit all numbers below another, spread evenly from the first on
RANDOM = tuple(name for name in SCENARIOS if name not in TASKS)
SAVES = "resume"
IMAGES = ("samples/step_", "progress.webp")


def nth(trial: Trial, index: int, cases: list[Case]) -> Case | None:
    """Returns the case that a trial of this index tries; None, and no case counted, once all were tried."""
    if index < len(cases):
        return cases[index * STRIDE % len(cases)]
    trial.cases = 0
    return None


def random_kill(trial: Trial, names: tuple[str, ...] = RANDOM) -> None:
    """Kills a command once it has used a random share of its CPU time, or at a random call that changes files."""
    name = names[trial.index % len(names)]
    scenario = SCENARIOS[name]
    whole = reference(trial, name, scenario)
    by_call = trial.random.random() < 0.5
    if by_call:
        n, torn = trial.random.randint(1, len(whole.events)), trial.random.random() < 0.3
        before = _install(trial, killing(n, trial.folder / "point", torn))
        trial.note = f"{name}, call {n} of {len(whole.events)}{', half written' if torn else ''}"
    else:
        seconds = trial.random.uniform(0.02, whole.cpu)
        before = partial(kill_after_cpu, seconds)
        trial.note = f"{name}, after {seconds:.3f} s of CPU"
    _kill_and_complete(trial, name, scenario, before)


def kill_of_task(trial: Trial) -> None:
    """Kills the training of a task, as `random_kill` does."""
    random_kill(trial, (*TASKS,))


def kill_at_call(trial: Trial) -> None:
    """Kills a resumed run before the n-th call that changes files: the trials of all indices visit all calls."""
    scenario = SCENARIOS[SAVES]
    events = reference(trial, SAVES, scenario).events
    cases = [(n, event, torn) for n, event in enumerate(events, 1) for torn in (False, event.name == "write")]
    case = nth(trial, trial.index, list(dict.fromkeys(cases)))
    if case is None:
        return
    call, event, torn = case
    trial.note = f"call {call}: {event.name} {event.path}{', half written' if torn else ''}"
    _kill_and_complete(trial, SAVES, scenario, _install(trial, killing(call, trial.folder / "point", torn)))


def _install(trial: Trial, act: object) -> object:
    return Shim(trial.here, act).install  # type: ignore[arg-type]


def _kill_and_complete(trial: Trial, name: str, scenario: Scenario, before: object) -> None:
    arguments = arguments_of(scenario, trial)
    check_killed(trial, name, trial.run(scenario.command, *arguments, before=before))  # type: ignore[arg-type]


def check_killed(trial: Trial, name: str, ended: Ended) -> None:
    """Gives a killed command again, which must complete its work."""
    if ended.code not in (-signal.SIGKILL, -signal.SIGPROF, 0):
        trial.fault("wrong", f"not killed: exit code {ended.code}, {ended.last_line}")
    complete(trial, name, SCENARIOS[name])


# --- errors ----------------------------------------------------------------------------------------------------------


def failing_call(trial: Trial) -> None:
    """Lets the n-th call of a command fail, once or from then on, with each errno; then the command is given again."""
    names = ("resume", "train", "images", "grid", "export", "eval")
    name = names[trial.index % len(names)]
    scenario = SCENARIOS[name]
    whole = reference(trial, name, scenario)
    cases = [
        (n, event, number, forever)
        for n, event in enumerate(whole.events, 1)
        for number in FAILS
        for forever in (False, True)
        if event.name in FAILS[number]
    ]
    case = nth(trial, trial.index // len(names), cases)
    if case is None:
        return
    call, event, number, forever = case
    times = "for ever" if forever else "once"
    trial.note = f"{name}, {os.strerror(number)} {times} at call {call}: {event.name} {event.path}"
    before = Shim(trial.here, failing(call, number, forever, trial.folder / "point")).install
    ended = trial.run(scenario.command, *arguments_of(scenario, trial), before=before)
    check_failed(trial, name, ended, whole, forever)


def check_failed(trial: Trial, name: str, ended: Ended, whole: Reference, forever: bool) -> None:
    """Checks a command of which a call failed, and gives it again.

    It must end with its documented exit code and one line, must not report what it has not written, and may lack older
    checkpoints only.
    """
    if ended.code not in (0, 5):
        trial.fault("wrong", f"exit code {ended.code}: {ended.last_line}")
    if ended.code == 5 and len(ended.error.strip().splitlines()) != 1:
        trial.fault("wrong", f"not one line of error: {ended.error[-300:]!r}")
    if ended.code == 5 and not any(sign in ended.last_line for sign in ("/", "run:")):
        trial.fault("wrong", f"names no path: {ended.last_line}")
    if ended.code == 0:
        _check_success(trial, name, whole)
    if forever:
        _remove_empty(trial)
    before = len(trial.faults)
    complete(trial, name, SCENARIOS[name], older=False, unwritten_metrics=True)
    if "warning: an image could not be written" in ended.output:  # a grid during training is not made again
        trial.faults[before:] = [each for each in trial.faults[before:] if not each.text.startswith(IMAGES)]


def _remove_empty(trial: Trial) -> None:
    """Removes empty files and folders, which a command could not remove since that failed too."""
    for path in sorted(trial.here.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
        elif path.is_file() and not path.stat().st_size and path.name != ".lock":
            path.unlink()


def _check_success(trial: Trial, name: str, whole: Reference) -> None:
    """A command that reports success must have made what it makes, or a run must have warned."""
    from torture.scenarios import made_folder

    missing = differences(state_of(made_folder(trial)), whole.states[0], older=False)
    lost = [each for each in missing if each.kind in ("lost", "corrupt")]
    if lost and name not in ("train", "resume"):
        trial.fault("lost", f"exit code 0, but {lost[0].text}")
