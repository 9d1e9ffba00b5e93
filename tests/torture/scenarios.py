"""Commands to interrupt, what they start from, and what they must have made once the same command was given again."""

from __future__ import annotations

import marshal
import re
import shutil
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path

from torture.shim import Event, Shim, recording
from torture.verify import State, differences, state_of, stray_files
from torture.worker import Ended, Trial

TINY = (
    "dataset=shapes", "dataset.size=200", "image_size=16", "threads=1", "batch_size=8", "recipe=none",
    "architecture.generator.base_channels=4", "architecture.discriminator.base_channels=4",
    "training.log_every=1", "training.checkpoint_every=1",
)  # fmt: skip
NAME, STEPS = "r", 5


@dataclass(frozen=True)
class Scenario:
    """A command, and the command that completes it after an interruption. `{run}` is a finished run of 2 steps."""

    command: str
    arguments: tuple[str, ...]
    again: tuple[str, ...] = ()  # unless it is the same


SCENARIOS = {
    "train": Scenario("train", (*TINY, f"name={NAME}", "steps=3"), (*TINY, f"name={NAME}", "steps=3", "resume=auto")),
    "resume": Scenario("train", ("resume={run}", f"steps={STEPS}")),
    "grid": Scenario("sample", ("{run}", "n=4")),
    "images": Scenario("sample", ("{run}", "n=30", "format=images")),
    "npz": Scenario("sample", ("{run}", "n=30", "format=npz")),
    "walk": Scenario("sample", ("{run}", "format=walk", "seeds=0-1", "frames=2")),
    "export": Scenario("export", ("{run}",)),
    "eval": Scenario("eval", ("{run}", "metrics=[frechet]", "extractor=pixels", "n=20", "resamples=0")),
    "report": Scenario("report", ("{run}",)),
    "sweep": Scenario("train", ("-m", *TINY, f"name={NAME}", "steps=3", "seed=0,1", "evaluation.extractor=pixels")),
}


TASKS = {"translation": "task.source=edges", "inpainting": "task.mask=[brush]", "super_resolution": "task.factor=2"}
for _name, _setting in TASKS.items():
    _words = (*TINY, f"task={_name}", _setting, f"name={NAME}", "steps=3")
    SCENARIOS[_name] = Scenario("train", _words, (*_words, "resume=auto"))


@dataclass(frozen=True)
class Reference:
    """What a scenario does when nothing goes wrong: its events, its CPU seconds, and the folder after it."""

    events: list[Event]
    cpu: float
    memory: float
    states: list[State]  # after the command, and after the same command again


def finished_run(trial: Trial) -> Path:
    """Returns a finished run of 2 steps, which is made once. Callers must copy it."""

    def make(shared: Trial) -> Path:
        ended = shared.run("train", *TINY, f"name={NAME}", "steps=2")
        if ended.code:
            raise RuntimeError(ended.last_line)
        return only_run(shared)

    return trial.bench.once(("finished run",), make)


def only_run(trial: Trial) -> Path:
    """Returns the run or sweep folder of the trial, the newest if an earlier one has no checkpoint to go on from."""
    *earlier, folder = sorted((trial.here / "outputs" / NAME).iterdir(), key=lambda path: path.stat().st_ctime_ns)
    for path in earlier:
        if any(path.rglob("checkpoints/*.safetensors")):
            trial.fault("lost", f"{path.name} has a checkpoint, but a new run was begun")
    return folder


def copy_run(trial: Trial) -> Path:
    """Copies the finished run into the trial and returns its folder. `last` stays a hard link."""
    run = trial.here / "run"
    shutil.copytree(finished_run(trial), run)
    last, *_ = sorted((run / "checkpoints").glob("step_*"), reverse=True)
    (run / "checkpoints" / "last.safetensors").unlink()
    (run / "checkpoints" / "last.safetensors").hardlink_to(last)
    return run


def arguments_of(scenario: Scenario, trial: Trial, again: bool = False) -> list[str]:
    """Returns the arguments of a scenario's command. A copy of the finished run is made if they need one."""
    chosen = (again and scenario.again) or scenario.arguments
    run = trial.here / "run"
    if any("{run}" in each for each in chosen) and not run.exists():
        copy_run(trial)
    return [each.replace("{run}", str(run)) for each in chosen]


def made_folder(trial: Trial) -> Path:
    """Returns the folder that the scenario works on."""
    run = trial.here / "run"
    return run if run.exists() else only_run(trial)


def reference(trial: Trial, name: str, scenario: Scenario) -> Reference:
    """Returns what the scenario does when nothing goes wrong, which is tried once."""

    def make(shared: Trial) -> Reference:
        arguments = arguments_of(scenario, shared)
        log = shared.folder / "events"
        events: list[Event] = []

        def record() -> None:
            Shim(shared.here, recording(events)).install()

        def command() -> int:
            from gan_cli.cli.main import run_command

            code = run_command(scenario.command, arguments)
            log.write_bytes(marshal.dumps([astuple(event) for event in events]))
            return code

        ended = shared.call(command, record)
        if ended.code:
            raise RuntimeError(f"{name}: {ended.last_line}")
        states = [state_of(made_folder(shared))]
        again = shared.run(scenario.command, *arguments_of(scenario, shared, True))
        states += [state_of(made_folder(shared))] if again.code == 0 else []
        recorded = [Event(*each) for each in marshal.loads(log.read_bytes())]
        return Reference(recorded, ended.cpu, ended.memory, states)

    return trial.bench.once(("reference", name), make)


def acceptable(trial: Trial, name: str, scenario: Scenario) -> list[State]:
    """Returns the states of a folder after an interrupted command and the same command again.

    The first may have made nothing or all. It may also have taken its name, by an empty folder or by its sidecar alone.
    """
    states = reference(trial, name, scenario).states
    if "{run}" not in scenario.arguments or len(states) < 2:
        return states
    made = states[0].keys() - state_of(finished_run(trial)).keys()
    sidecar = {path for path in made if path.endswith(".json") and path.count("/") == 1}
    twice = states[1]
    return [
        *states,
        {path: value for path, value in twice.items() if path not in made},
        {path: value for path, value in twice.items() if path not in made or path in sidecar},
    ]


def with_last_attempts(state: State) -> State:
    """Returns a state in which a second attempt of a sweep's job replaces the first, if that left only its outcome."""
    for again in {path.partition("/")[0] for path in state if re.match(r"\d+-2/", path)}:
        first = f"{again.partition('-')[0]}/"
        if {path for path in state if path.startswith(first)} == {f"{first}outcome.json"}:
            state = {path.replace(f"{again}/", first, 1): value for path, value in state.items()}
    return state


def complete(
    trial: Trial,
    name: str,
    scenario: Scenario,
    older: bool = True,
    before: Callable[[], None] | None = None,
    unwritten_metrics: bool = False,
) -> Ended:
    """Gives the command again, which must succeed and leave the folder as if nothing had happened.

    With `unwritten_metrics`, lines of metrics may be missing if that is announced, because they could not be written.
    """
    expected = acceptable(trial, name, scenario)
    ended = trial.run(scenario.command, *arguments_of(scenario, trial, True), before=before)
    if ended.code != 0:
        trial.fault("wrong", f"the same command again: exit code {ended.code}, {ended.last_line}")
    found = with_last_attempts(state_of(made_folder(trial)))
    faults = min((differences(found, each, older) for each in expected), key=len)
    said = unwritten_metrics and "metrics.jsonl" in ended.output + ended.error
    trial.faults += [each for each in faults if not (said and each.text.startswith("metrics.jsonl"))]
    trial.faults += stray_files(trial.folder)
    return ended
