"""Signals at random instants, ignored ones, two in a row, and many restarts; the run must end as an unbroken one."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from typing import Any

from gan_cli import stop_signals
from torture.boundaries import stop_after
from torture.scenarios import SCENARIOS, Scenario, arguments_of, complete, copy_run, made_folder, reference
from torture.shim import Shim, signalling
from torture.verify import differences, state_of
from torture.worker import Trial

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGUSR1: 138, signal.SIGHUP: 129}
KINDS = ("at a call", "after CPU time", "at a call", "after CPU time", "ignored")
NAME = "resume"
RESTARTS = 20
LONG = Scenario("train", ("resume={run}", "steps=16"))  # 28 updates


def send_after_cpu(number: int, seconds: float, again: float | None = None) -> None:
    """Sends a signal to this process once it has used this much more CPU time, and again after `again` seconds."""

    def send(_: int, frame: Any) -> None:
        if again is not None:
            signal.signal(signal.SIGPROF, lambda *_: signal.raise_signal(number))
            signal.setitimer(signal.ITIMER_PROF, again)
        signal.raise_signal(number)

    signal.signal(signal.SIGPROF, send)
    signal.setitimer(signal.ITIMER_PROF, seconds)


def signalled(trial: Trial) -> None:
    """Sends a signal to a resumed run. Its exit code must be that of the signal, and resuming must end as unbroken."""
    whole = reference(trial, NAME, SCENARIOS[NAME])
    kind = KINDS[trial.index % len(KINDS)]
    number = (*CODES,)[(trial.index // len(KINDS) + trial.index) % len(CODES)]
    call, seconds = trial.random.randint(1, len(whole.events)), trial.random.uniform(0.01, whole.cpu)
    trial.note = f"{number.name} {kind}, call {call} or {seconds:.3f} s"

    def before() -> None:
        if kind == "ignored":
            signal.signal(number, signal.SIG_IGN)
        if kind == "at a call":
            Shim(trial.here, signalling(call, number)).install()
        else:
            send_after_cpu(number, seconds)

    run_allowed(trial, SCENARIOS[NAME], before, {0} if kind == "ignored" else {0, CODES[number]})
    if kind == "ignored":
        trial.faults += differences(state_of(made_folder(trial)), whole.states[0])
    complete(trial, NAME, SCENARIOS[NAME], older=False)


def signalled_twice(trial: Trial) -> None:
    """Sends a signal to a resumed run, and again: as the same request, or as a second one, which ends the process."""
    whole = reference(trial, NAME, SCENARIOS[NAME])
    number = (*CODES,)[trial.index % len(CODES)]
    seconds = trial.random.uniform(0.01, whole.cpu)
    again, second = trial.random.uniform(0, 0.3), trial.random.random() < 0.5
    trial.note = f"{number.name} after {seconds:.3f} s, again after {again:.3f} s{', a second request' * second}"

    def before() -> None:
        if second:
            stop_signals.REPEAT_SECONDS = 0
        send_after_cpu(number, seconds, again)

    run_allowed(trial, SCENARIOS[NAME], before, {0, CODES[number], *([-number] if second else [])})
    complete(trial, NAME, SCENARIOS[NAME], older=False)


def restarted(trial: Trial) -> None:
    """Stops a run after each of 20 updates, by each signal in turn, and once by `kill -9`, and goes on each time."""
    reference(trial, "restarts", LONG)
    copy_run(trial)
    killed = trial.random.randrange(1, RESTARTS)  # repeats an update, so it ends one earlier
    trial.note = f"restart {killed} is a kill"
    for count in range(RESTARTS):
        number = signal.SIGKILL if count == killed else (*CODES,)[count % len(CODES)]
        run_allowed(trial, LONG, partial(stop_after, 1, number), {CODES.get(number, -number)})
    complete(trial, "restarts", LONG, older=False)


def run_allowed(trial: Trial, scenario: Scenario, before: Callable[[], None], allowed: set[int]) -> None:
    """Runs a scenario's command, which must end with one of the allowed exit codes."""
    ended = trial.run(scenario.command, *arguments_of(scenario, trial), before=before)
    if ended.code not in allowed:
        trial.fault("wrong", f"exit code {ended.code}, not {sorted(allowed)}; {ended.last_line}")
