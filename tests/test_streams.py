"""Exit codes stay those that are promised if a standard stream is closed or cannot be written."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gan_cli.cli.main import run_command
from gan_cli.streams import tolerant_streams
from support.configs import TINY_IMAGES
from support.paths import ROOT
from support.sweeps import UNEVALUATED_IMAGES, FakeJobs, job_statuses, load_leaderboard

FULL = Path("/dev/full")
pytestmark = pytest.mark.skipif(not FULL.exists(), reason="no /dev/full")


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Replaces a stream by one whose every line fails, as those of Python do."""
    opened = []

    def replace(name: str) -> None:
        opened.append(os.open(FULL, os.O_WRONLY))
        monkeypatch.setattr(sys, name, open(opened[-1], "w", buffering=1, closefd=False))

    yield replace
    for number in opened:
        os.close(number)


@pytest.mark.parametrize("stream", ["full", "closed"])
@pytest.mark.parametrize(
    ("command", "argument", "code"), [("train", "loss=hnge", 2), ("sample", "ckpt=x.safetensors", 3)]
)
def test_a_mistake_has_its_exit_code_without_standard_error(
    here: Path,
    full: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    stream: str,
    command: str,
    argument: str,
    code: int,
) -> None:
    full("stderr") if stream == "full" else monkeypatch.setattr(sys, "stderr", None)
    assert run_command(command, [argument]) == code


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["--cfg", "job"], ["--info", "defaults"]])
def test_text_that_cannot_be_printed_is_an_error(
    here: Path, full: Callable[[str], None], capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    full("stdout")
    assert run_command("train", arguments) == 5
    assert capsys.readouterr().err == "gan-train: standard output cannot be written (No space left on device)\n"


def test_a_run_goes_on_without_standard_output(
    train: Callable[..., Path], full: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    full("stdout")
    assert run_command("train", [*TINY_IMAGES, "steps=1", "name=quiet"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("streams", [["stdout"], ["stderr"], ["stdout", "stderr"]])
def test_a_sweep_goes_on_without_streams(
    here: Path, fake_jobs: FakeJobs, full: Callable[[str], None], streams: list[str]
) -> None:
    for name in streams:
        full(name)
    fake_jobs.codes = {"seed=2": 4}
    assert run_command("train", ["-m", *UNEVALUATED_IMAGES, "steps=1", "seed=1,2"]) == 4
    assert job_statuses(load_leaderboard(here)) == ["done", "collapsed"]


def test_a_closed_stream_is_opened_so_that_no_file_gets_its_number(tmp_path: Path) -> None:
    code = (
        "import sys; from gan_cli.streams import tolerant_streams\n"
        "with tolerant_streams(), open('file', 'w') as file:\n"
        "    print('lost'); print('lost', file=sys.stderr); file.write(str(file.fileno()))\n"
    )
    for closed in (">&-", "2>&-", "<&- >&- 2>&-"):
        command = f'"{sys.executable}" -c "$0" {closed}'
        subprocess.run(
            ["sh", "-c", command, code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True
        )
        assert (tmp_path / "file").read_text() == "3"


def test_streams_of_a_host_program_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    own = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", own)
    with tolerant_streams():
        assert sys.stdout is own


def test_a_removed_current_folder_is_named(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "gone").mkdir()
    monkeypatch.chdir(here / "gone")
    (here / "gone").rmdir()
    assert run_command("train", [*TINY_IMAGES, "steps=1"]) == 5
    monkeypatch.chdir(here)
    assert capsys.readouterr().err == "gan-train: the current folder was removed: change to another folder\n"
