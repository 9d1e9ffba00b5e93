"""How many processes a run has: what is refused, and what a resumed run keeps."""

from __future__ import annotations

from pathlib import Path

import pytest

from gan_cli.api import train
from gan_cli.api_arguments import read_overrides
from gan_cli.cli.early_checks import check_training
from gan_cli.cli.main import run_command
from gan_cli.distributed.process_count import merged_device
from gan_cli.distributed.process_environment import STORE, read_environment
from gan_cli.errors import GanCliError, UsageError
from support.configs import TINY_IMAGES

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RUN_ID", STORE)


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize(
    ("overrides", "unit"),
    [
        (["device.processes=3"], "a multiple of 3 (device.processes=3)"),
        (
            ["device.processes=4", "training.accumulate=4"],
            "a multiple of 16 (device.processes=4, training.accumulate=4)",
        ),
        (["device.processes=2", "training.pack=8"], "a multiple of 16 (device.processes=2, training.pack=8)"),
    ],
)
def test_a_batch_must_be_divisible(capsys: pytest.CaptureFixture[str], overrides: list[str], unit: str) -> None:
    assert run_command("train", [*TINY_IMAGES, *overrides]) == 2
    error = capsys.readouterr().err
    assert f"batch_size=8: the batch is divided among the processes, so it must be {unit}" in error
    assert error.count("\n") == 1
    assert [*Path().iterdir()] == []


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"RANK": "0"}, "WORLD_SIZE=: not a number of processes, start them by torchrun"),
        ({"RANK": "0", "WORLD_SIZE": "two"}, "WORLD_SIZE=two: not a number of processes"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "RANK=2 WORLD_SIZE=2: a process has a number below that of all"),
    ],
)
def test_odd_variables_of_torchrun(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], message: str
) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "none", **variables}.items():
        monkeypatch.setenv(name, value)
    assert run_command("train", list(TINY_IMAGES)) == 2
    assert message in capsys.readouterr().err


def test_torchrun_and_the_command_disagree(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "none", "RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    assert run_command("train", [*TINY_IMAGES, "device.processes=4"]) == 2
    assert "device.processes=4: torchrun started 2, leave device.processes out" in capsys.readouterr().err


def test_torchrun_starts_no_sweep(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each of its processes would run the sweep."""
    for name, value in {"TORCHELASTIC_RUN_ID": "none", "RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    assert run_command("train", ["-m", *TINY_IMAGES, "seed=1,2"]) == 2
    assert "-m: a sweep starts its jobs itself; leave torchrun out" in capsys.readouterr().err
    assert not Path("outputs").exists()


def test_compiled_networks_have_one_process(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("train", [*TINY_IMAGES, "device.processes=2", "compile=true"]) == 2
    assert "compile=true: compiles networks for one process alone" in capsys.readouterr().err


def test_variables_without_torchrun_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "8")  # as some schedulers set it
    assert read_environment() is None


def test_python_trains_in_one_process() -> None:
    with pytest.raises(UsageError, match=r"device\.processes=2: in Python a run is trained by the calling process"):
        train([*TINY_IMAGES, "device.processes=2"])


@pytest.mark.parametrize("override", ["init_from=missing", "replay=missing", "output=/dev/null/none"])
def test_another_process_needs_no_run_and_no_folder(monkeypatch: pytest.MonkeyPatch, override: str) -> None:
    """It may be on a machine that has neither; process 0 needs both."""
    request = read_overrides([*TINY_IMAGES, override])
    for name, value in {"TORCHELASTIC_RUN_ID": "none", "RANK": "1", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    check_training(request)
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(GanCliError, match=override.partition("=")[2]):
        check_training(request)


def test_a_dry_run_needs_one_process(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("train", [*TINY_IMAGES, "device.processes=2", "dry_run=true", "steps=2"]) == 0
    assert [*Path().iterdir()] == []


SAVED = {"name": "cpu", "processes": 4, "timeout": 20, "batch_norm": "process"}
NEW = {"name": "auto", "processes": 1, "timeout": 300, "batch_norm": "synchronized"}


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ([], SAVED),
        (["device.processes"], {**SAVED, "processes": 1}),
        (["device"], {**SAVED, "name": "auto"}),
        (["device", "device.timeout"], {**SAVED, "name": "auto", "timeout": 300}),
    ],
)
def test_a_resumed_run_keeps_its_processes(named: list[str], expected: dict[str, object]) -> None:
    assert merged_device(SAVED, NEW, named) == expected
    assert merged_device({"name": "cpu"}, NEW, []) == {**NEW, "name": "cpu"}  # saved by an earlier version
