"""Signals to all commands, a new run and a sweep among them; `signals` has those to a resumed run."""

from __future__ import annotations

import signal

from torture.scenarios import SCENARIOS, complete, made_folder, reference
from torture.shim import Shim, signalling
from torture.signals import CODES, run_allowed, send_after_cpu
from torture.verify import differences, state_of
from torture.worker import Trial

NAMES = ("train", "sweep", "grid", "train", "images", "npz", "export", "train", "eval", "walk", "sweep", "report")
KINDS = ("at a call", "after CPU time", "at a call", "after CPU time", "ignored")


def signalled_command(trial: Trial) -> None:
    """Sends a signal to a command. Its exit code must be that of the signal, and the same command again completes it.

    A run that has saved no checkpoint must leave no folder. An ignored signal changes nothing.
    """
    name = NAMES[trial.index % len(NAMES)]
    whole = reference(trial, name, SCENARIOS[name])
    kind, number = KINDS[trial.index % len(KINDS)], trial.random.choice((*CODES,))
    call, seconds = trial.random.randint(1, len(whole.events)), trial.random.uniform(0.01, whole.cpu)
    when = "before all" if kind == "ignored" else f"call {call}" if kind == "at a call" else f"{seconds:.3f} s of CPU"
    trial.note = f"{name}, {number.name} {kind}: {when}"

    def before() -> None:
        if kind == "ignored":
            signal.signal(number, signal.SIG_IGN)
        if kind == "after CPU time":
            send_after_cpu(number, seconds)
        else:
            Shim(trial.here, signalling(call, number)).install()

    run_allowed(trial, SCENARIOS[name], before, {0} if kind == "ignored" else {0, CODES[number]})
    if kind == "ignored":
        trial.faults += differences(state_of(made_folder(trial)), whole.states[0])
    elif name == "train":
        _check_no_empty_run(trial)
    complete(trial, name, SCENARIOS[name], older=False)


def _check_no_empty_run(trial: Trial) -> None:
    """A new run that was stopped must have a checkpoint, or no folder."""
    for run in (trial.here / "outputs").glob("*/*"):
        if not any(run.glob("checkpoints/*.safetensors")):
            trial.fault("leftover", f"{run.name}: is left without a checkpoint")
