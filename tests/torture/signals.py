"""Signals at random instants, ignored signals, and two signals in a row; the run is then resumed."""

from __future__ import annotations

import signal
from typing import Any

from torture.scenarios import SCENARIOS, complete, copy_run, reference
from torture.shim import Shim, signalling
from torture.verify import differences, state_of
from torture.worker import Trial

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGUSR1: 138, signal.SIGHUP: 129}
KINDS = ("at a call", "after CPU time", "ignored", "twice", "restarts")
NAME = "resume"


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
    scenario = SCENARIOS[NAME]
    whole = reference(trial, NAME, scenario)
    kind = KINDS[trial.index % len(KINDS)]
    number = (*CODES,)[trial.index // len(KINDS) % len(CODES)]
    run = copy_run(trial)
    call, seconds = trial.random.randint(1, len(whole.events)), trial.random.uniform(0.01, whole.cpu)
    trial.note = f"{signal.Signals(number).name} {kind}, call {call} or {seconds:.3f} s"

    def before() -> None:
        if kind == "ignored":
            signal.signal(number, signal.SIG_IGN)
        if kind == "at a call":
            Shim(trial.here, signalling(call, number)).install()
        else:
            again = trial.random.uniform(0, 0.3) if kind == "twice" else None
            send_after_cpu(number, seconds, again)

    arguments = [each.replace("{run}", str(run)) for each in scenario.arguments]
    for _ in range(5 if kind == "restarts" else 1):
        ended = trial.run(scenario.command, *arguments, before=before)
        _check_code(trial, kind, number, ended.code, ended.last_line)
    if kind == "ignored":
        trial.faults += differences(state_of(run), whole.states[0])
    complete(trial, NAME, scenario, older=False)


def _check_code(trial: Trial, kind: str, number: int, code: int, line: str) -> None:
    """Checks the exit code: 0 if the signal came too late or is ignored. A second signal may end the process itself."""
    allowed = {0} if kind == "ignored" else {0, CODES[signal.Signals(number)]}
    if kind == "twice":
        allowed.add(-number)
    if code not in allowed:
        trial.fault("wrong", f"{signal.Signals(number).name}: exit code {code}, not {sorted(allowed)}; {line}")
