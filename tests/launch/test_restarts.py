"""Runs that torchrun starts again, and resumed runs that are refused: nothing is done twice, nothing is changed."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gan_cli.api_arguments import read_overrides
from gan_cli.cli import main, start_processes
from gan_cli.cli.main import run_command
from gan_cli.distributed import process_environment
from gan_cli.distributed.process_group import ProcessGroup
from gan_cli.errors import GanCliError, ProcessFailedError
from gan_cli.launch import several_processes
from gan_cli.launch.start_run import launch
from gan_cli.state.train_state import TrainState
from gan_cli.storage.run_folder import CHECKPOINTS
from support.configs import TINY_IMAGES, without
from support.runs import last_checkpoint, logged_metrics
from support.training import wrap_updates

EACH_STEP = [*without(TINY_IMAGES, "training.checkpoint_every"), "training.checkpoint_every=1", "name=run"]


class Killed(BaseException):
    pass


def kill_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends the run after so many steps as a kill does: it records nothing more."""

    def killed(update: Callable[..., object], state: TrainState, *more: Any) -> object:
        if state.counters.step == step:
            raise Killed
        return update(state, *more)

    wrap_updates(monkeypatch, killed)


@pytest.fixture
def torchrun(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets the variables of a process that torchrun starts alone; each name stands for another torchrun."""
    monkeypatch.setattr(main, "stop_with_parent", lambda: None)
    for name in (process_environment.STORE, "LOCAL_RANK", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)

    def start(name: str) -> None:
        for variable, value in {process_environment.TORCHRUN: name, "RANK": "0", "WORLD_SIZE": "1"}.items():
            monkeypatch.setenv(variable, value)

    return start


def train_until_killed(step: int, *overrides: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        kill_at(step, patch)
        with pytest.raises(Killed):
            run_command("train", [*overrides])


@pytest.mark.parametrize("resume", ["resume={}", "resume=run", "resume=auto"])
def test_a_restart_adds_the_steps_of_a_resume_once(
    train: Callable[..., Path], torchrun: Callable[[str], None], resume: str
) -> None:
    """Whether the try before had saved a checkpoint or not."""
    run = train(*EACH_STEP, "steps=2")
    typed = [resume.format(run), "extra_steps=4", *(EACH_STEP if resume == "resume=auto" else [])]
    torchrun("job")
    for step in (2, 4, 4, 5):
        train_until_killed(step, *typed)
    assert train(*typed) == run
    assert last_checkpoint(run).counters.step == 6
    assert train(*typed) == run  # torchrun does so if another process fails at its end
    assert last_checkpoint(run).counters.step == 6
    torchrun("another job")
    train(*typed)
    assert last_checkpoint(run).counters.step == 10


def test_a_restart_goes_on_in_the_run_that_was_resumed(train: Callable[..., Path], torchrun: Callable) -> None:
    """Although a newer run has the same name by now."""
    run = train(*EACH_STEP, "steps=2")
    torchrun("job")
    train_until_killed(3, "resume=run", "extra_steps=2")
    torchrun("another job")
    other = train(*EACH_STEP, "steps=1")
    torchrun("job")
    train("resume=run", "extra_steps=2")
    assert other != run
    assert [last_checkpoint(each).counters.step for each in (run, other)] == [4, 1]


def test_a_restart_sets_no_value_twice(train: Callable[..., Path], torchrun: Callable[[str], None]) -> None:
    run = train(*EACH_STEP, "steps=2")
    rates = ["optimizer.lr=0.1", "optimizer.generator.lr=0.2", "optimizer.discriminator.lr=0.3"]
    torchrun("job")
    for step in (2, 3):
        train_until_killed(step, f"resume={run}", "extra_steps=2", *rates)
    train(f"resume={run}", "extra_steps=2", *rates)
    assert last_checkpoint(run).counters.step == 4
    changes = [resume.get("changed", {}).keys() for resume in json.loads((run / "config.json").read_text())["resumed"]]
    assert changes == [{"optimizer.lr", "optimizer.generator.lr", "optimizer.discriminator.lr"}, set(), set()]


@pytest.mark.parametrize(("step", "left"), [(2, ("steps", "budget", "batch_size", "data")), (3, ("data",))])
def test_what_a_restart_leaves_out(tmp_path: Path, step: int, left: tuple[str, ...]) -> None:
    """A budget too would begin anew. Other torchruns and other commands, before and after, do not count."""
    starts = [(1, "other", "c"), (1, "job", "d"), (2, "job", "c"), (9, "job", "c")]
    resumed = [{"step": step, "jobs": [job], "command": command} for step, job, command in starts]
    (tmp_path / "config.json").write_text(json.dumps({"jobs": ["first"], "command": "c", "resumed": resumed}))
    group = ProcessGroup()
    group.jobs = ("second machine", "job")
    request = read_overrides(["dataset=shapes", "resume=auto"])
    request = dataclasses.replace(request, named=("steps", "budget", "batch_size", "data"), group=group, command="c")
    assert several_processes.without_done(request, tmp_path, step).named == left
    group.jobs = ("none",)
    assert several_processes.without_done(request, tmp_path, step) == request


def test_a_restart_of_a_new_run(
    train: Callable[..., Path], torchrun: Callable[[str], None], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It goes on, and one that was killed before its first checkpoint is begun again."""
    torchrun("job")
    train_until_killed(2, *EACH_STEP, "steps=4")
    (begun,) = here.glob("outputs/run/*")
    empty = begun.with_name("2099-01-01_000000")
    (empty / CHECKPOINTS).mkdir(parents=True)
    shutil.copyfile(begun / "config.json", empty / "config.json")
    assert train(*EACH_STEP, "steps=4") == begun
    assert f"{empty.name}/{CHECKPOINTS}: holds no checkpoint" in capsys.readouterr().out
    assert [line["step"] for line in logged_metrics(begun)] == [1, 2, 3, 4]
    shutil.rmtree(begun)
    again = train(*EACH_STEP, "steps=4")
    assert again != empty
    torchrun("another job")
    assert train(*EACH_STEP, "steps=4") not in (again, empty)


def test_another_command_of_the_same_torchrun_is_another_run(
    train: Callable[..., Path], torchrun: Callable[[str], None]
) -> None:
    """As of a program that torchrun starts, which trains with several seeds and then resumes the first."""
    torchrun("job")
    first, second = (train(*EACH_STEP, "steps=2", f"seed={seed}") for seed in (1, 2))
    assert first != second
    train(f"resume={first}", "extra_steps=1")
    assert [last_checkpoint(run).counters.step for run in (first, second)] == [3, 2]


# --- refused runs ------------------------------------------------------------------------------------------------


def content(folder: Path) -> dict[Path, bytes]:
    """Returns the bytes of all files but the lock, which names its last holder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["device.processes=3"], "batch_size=8: the batch is divided among the processes"),
        (["device.processes=2", "batch_size=7"], "batch_size=7: the batch is divided"),
        (["device.processes=2", "training.accumulate=8"], "batch_size=8: the batch is divided"),
    ],
)
def test_a_resume_that_cannot_be_divided_is_refused_before_processes_start(
    train: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    typed: list[str],
    message: str,
) -> None:
    run = train(*TINY_IMAGES, "steps=2")
    monkeypatch.setattr(start_processes, "train_in_processes", lambda *_: pytest.fail("was started"))
    before = content(run)
    assert run_command("train", [f"resume={run}", "extra_steps=2", *typed]) == 2
    assert message in capsys.readouterr().err
    assert content(run) == before


class Group(ProcessGroup):
    """Three processes, of which one fails while it prepares."""

    rank, count, jobs = 0, 3, ("job",)

    def send_text(self, command: int, content: Any) -> None:
        raise ProcessFailedError(2)


@pytest.mark.parametrize("batch_size", [8, 9])
def test_a_process_that_cannot_take_part_changes_no_run(
    train: Callable[..., Path], here: Path, batch_size: int
) -> None:
    """The batch of 8 cannot be divided by three processes; that of 9 can, but the data of one are others."""
    command = [*without(TINY_IMAGES, "batch_size="), f"batch_size={batch_size}"]
    run = train(*command, "steps=2")
    before = content(here)
    for typed in ([f"resume={run}", "extra_steps=2"], [*command, "steps=2"]):
        with pytest.raises(GanCliError, match="printed why" if batch_size == 9 else "so it must be a multiple of 3"):
            launch(dataclasses.replace(read_overrides([*typed, "device.processes=3"]), group=Group()))
        assert content(here) == before
    train(f"resume={run}", "extra_steps=1")
