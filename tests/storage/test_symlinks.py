"""A run's folder may be a stranger's: nothing is written through a link in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from gan_cli.cli.main import run_command
from gan_cli.errors import StorageError
from gan_cli.images import animation
from gan_cli.images.grid import save_png
from gan_cli.reports.html_page import write_page
from gan_cli.runs.log import RunLog
from gan_cli.state.checkpoint import _write
from gan_cli.storage import run_files
from gan_cli.storage.evaluation_file import EvaluationResult, save_evaluation
from gan_cli.storage.run_files import UnsafeFileError, open_to_append
from gan_cli.storage.run_folder import CHECKPOINTS, LAST, create_run_folder, write_text
from support.commands import error_line
from support.configs import TINY_IMAGES
from support.runs import last_checkpoint
from support.sweeps import FakeJobs

VICTIM = "alias ll='ls -l'\n"


@pytest.fixture
def victim(here: Path) -> Path:
    """A file of the user's."""
    path = here / "bashrc"
    path.write_text(VICTIM)
    return path


@pytest.fixture
def run(trained: Callable[..., Path]) -> Path:
    return trained(*TINY_IMAGES, "steps=1")


def link(path: Path, target: Path) -> Path:
    """Puts a link in place of what is there; where that was moved to."""
    moved = path.with_name(f"{path.name}.moved")
    if path.exists():
        path.rename(moved)
    path.symlink_to(target)
    return moved


@pytest.mark.parametrize(
    ("name", "there"), [(".lock", True), ("train.log", True), ("metrics.jsonl", True), ("train.log", False)]
)
def test_a_run_with_a_linked_file_is_not_gone_on_with(
    run: Path, victim: Path, name: str, there: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    target = victim if there else victim.with_name("profile")
    link(run / name, target)
    error = error_line(capsys, "train", f"resume={run}", "extra_steps=1", code=5)
    assert f"{run / name}: is a link" in error
    assert "replace it by what it points to" in error
    assert victim.read_text() == VICTIM
    assert not victim.with_name("profile").exists()
    assert last_checkpoint(run).counters.step == 1
    (run / name).unlink()
    assert run_command("train", [f"resume={run}", "extra_steps=1"]) == 0
    assert last_checkpoint(run).counters.step == 2


@pytest.mark.parametrize("name", ["checkpoints", "samples"])
def test_nor_one_with_a_linked_folder(run: Path, here: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    elsewhere = here / "elsewhere"
    (run / name).rename(elsewhere)
    (run / name).symlink_to(elsewhere)
    before = sorted(elsewhere.iterdir())
    assert f"{run / name}: is a link" in error_line(capsys, "train", f"resume={run}", "extra_steps=1", code=5)
    assert sorted(elsewhere.iterdir()) == before


def test_a_run_reached_by_a_link_is_the_user_s_own(train: Callable[..., Path], here: Path) -> None:
    (here / "disk").mkdir()
    (here / "outputs").symlink_to(here / "disk")
    run = train(*TINY_IMAGES, "steps=1")
    (here / "shortcut").symlink_to(run)
    assert run_command("train", ["resume=shortcut", "extra_steps=1"]) == 0
    assert last_checkpoint(run).counters.step == 2
    assert (run / CHECKPOINTS / LAST).samefile(run / CHECKPOINTS / "step_00000002.safetensors")


def test_a_linked_last_checkpoint_is_replaced(run: Path, victim: Path) -> None:
    link(run / CHECKPOINTS / LAST, victim)
    assert run_command("train", [f"resume={run}", "extra_steps=1"]) == 0
    assert victim.read_text() == VICTIM
    assert (run / CHECKPOINTS / LAST).samefile(run / CHECKPOINTS / "step_00000002.safetensors")


@pytest.mark.parametrize(
    ("command", "name"),
    [(["sample", "n=1"], "generated"), (["export"], "exported"), (["eval", "metrics=[frechet]"], "evaluations")],
)
def test_what_is_made_of_a_run_does_not_go_through_a_link(
    run: Path, here: Path, command: list[str], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "elsewhere").mkdir()
    (run / name).symlink_to(here / "elsewhere")
    more = ["n=16", "extractor=pixels", "resamples=0"] if name == "evaluations" else []
    assert f"{run / name}: is a link" in error_line(capsys, command[0], f"ckpt={run}", *command[1:], *more, code=5)
    assert list((here / "elsewhere").iterdir()) == []
    if name == "generated":  # a folder that the user names may be one
        assert run_command("sample", [f"ckpt={run}", "n=1", f"out={run / name}"]) == 0
        assert len(list((here / "elsewhere").iterdir())) == 2


@pytest.mark.parametrize("name", ["step_00000001_seed_0.json", ".tmp-1-step_00000001_seed_0.npz"])
def test_a_link_in_the_folder_of_samples(run: Path, victim: Path, name: str) -> None:
    """Where a file's name is taken by a link the next is used, and one that stands where a part is written goes."""
    (run / "generated").mkdir()
    for target in (victim, victim.with_name("profile")):
        (run / "generated" / name).symlink_to(target)
        assert run_command("sample", [f"ckpt={run}", "n=1", "format=npz"]) == 0
        (run / "generated" / name).unlink(missing_ok=True)
    assert victim.read_text() == VICTIM
    assert not victim.with_name("profile").exists()
    assert len(list((run / "generated").glob("step*.npz"))) == 2


PICTURE = Image.new("RGB", (8, 8))
WRITERS: dict[str, Callable[[Path], object]] = {
    "config.json": lambda path: write_text(path, "{}"),
    "report.html": lambda path: write_page(b"page", path),
    "found.json": lambda path: save_evaluation(EvaluationResult((), {}), path),
    "grid.png": lambda path: save_png(PICTURE, path),
    "progress.webp": lambda path: animation.save_progress_animation([path.with_name("frame.png")], path),
    "best.safetensors": lambda path: _write(path, bytearray(b"weights")),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_link_where_a_file_is_written_is_replaced(name: str, tmp_path: Path) -> None:
    PICTURE.save(tmp_path / "frame.png", format="PNG")
    victim = tmp_path / "bashrc"
    victim.write_text(VICTIM)
    (tmp_path / name).symlink_to(victim)
    WRITERS[name](tmp_path / name)
    assert victim.read_text() == VICTIM
    assert (tmp_path / name).is_file()
    assert not (tmp_path / name).is_symlink()


def test_a_linked_folder_of_a_tracker_is_told_and_left_alone(run: Path, here: Path) -> None:
    (here / "elsewhere").mkdir()
    (run / "tensorboard").symlink_to(here / "elsewhere")
    assert run_command("train", [f"resume={run}", "extra_steps=1", "logger=[tensorboard]"]) == 0
    assert list((here / "elsewhere").iterdir()) == []
    assert "logger=tensorboard cannot be opened" in (run / "train.log").read_text()


@pytest.mark.parametrize("name", [".lock", "0", ".stopped", "multirun.yaml"])
def test_a_sweep_with_a_link_is_not_gone_on_with(
    fake_jobs: FakeJobs, here: Path, victim: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["-m", "dataset=shapes", "steps=3", "seed=1,2"]
    assert run_command("train", command) == 0
    sweep = next(here.glob("outputs/*/sweep_*"))
    link(sweep / name, victim if name != "0" else here)
    assert f"{sweep.relative_to(here) / name}: is a link" in error_line(capsys, "train", *command, code=5)
    assert victim.read_text() == VICTIM


def test_a_job_does_not_wait_for_a_run_that_is_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gan_cli.sweeps import jobs

    folder = create_run_folder(tmp_path / "0")
    (folder / ".lock").symlink_to(tmp_path / "bashrc")
    monkeypatch.setattr(jobs, "SAVE_TIMEOUT", 60.0)
    monkeypatch.setattr(jobs.time, "sleep", lambda seconds: pytest.fail("waits"))
    jobs._wait_until_free(folder)


@pytest.mark.parametrize("flag", [run_files.NO_FOLLOW, 0])
def test_a_log_is_opened_itself(tmp_path: Path, flag: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the flag of POSIX, and by a look beforehand where there is none."""
    monkeypatch.setattr(run_files, "NO_FOLLOW", flag)
    (tmp_path / "metrics.jsonl").symlink_to(tmp_path / "bashrc")
    with pytest.raises(UnsafeFileError, match="is a link"):
        RunLog(tmp_path)
    assert not (tmp_path / "bashrc").exists()
    with open_to_append(tmp_path / "plain.log") as file:
        file.write("é\udcff\n")
    assert (tmp_path / "plain.log").read_text(encoding="utf-8") == "é\\udcff\n"
    assert issubclass(UnsafeFileError, StorageError)


def test_one_that_becomes_a_link_is_not_followed_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train.log").symlink_to(tmp_path / "bashrc")
    looks = iter([False, True])
    monkeypatch.setattr(Path, "is_symlink", lambda path: next(looks))
    with pytest.raises(UnsafeFileError):
        open_to_append(tmp_path / "train.log")
    assert not (tmp_path / "bashrc").exists()
