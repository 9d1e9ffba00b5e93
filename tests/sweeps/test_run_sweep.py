"""Sweeps: every job in the leaderboard, whatever became of it; the same command again does what is missing."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gan_cli.cli.main import run_command
from gan_cli.config.metric_names import REPORTED_METRICS
from gan_cli.config.options.loop import PAIRED_METRICS
from gan_cli.errors import StorageError
from gan_cli.evaluation.compute import METRIC_FAMILIES
from gan_cli.state import checkpoint
from gan_cli.stop_signals import Interrupted
from gan_cli.storage.run_folder import SWEEP_RECORD, lock, write_json
from gan_cli.sweeps import jobs, plan, sweep_folder
from gan_cli.sweeps.combinations import compose_sweep
from gan_cli.sweeps.outcomes import classify_exit
from support.commands import run_process
from support.configs import without
from support.sweeps import (
    TINY_POINTS,
    UNEVALUATED_IMAGES,
    FakeJobs,
    job_statuses,
    load_leaderboard,
    started,
    wait_for_metrics,
    wait_until,
)

# --- with processes ----------------------------------------------------------------------------------------------


def test_nine_jobs_and_six_failures(tmp_path: Path, fake_runs: Callable[..., dict[str, str]]) -> None:
    work = tmp_path / "a sweep's place"
    work.mkdir()
    command = ["train", "-m", *TINY_POINTS, "steps=5", "loss=hinge,minimax,least_squares", "seed=1,2,3", "jobs=2"]
    failures = {"hinge seed=2": "raise", "minimax seed=1": "exit", "minimax seed=3": "kill"}
    failures |= {
        "least_squares seed=1": "diverge",
        "least_squares seed=2": "leave",
        "least_squares seed=3": "interrupt",
    }
    done = run_process(*command, cwd=work, **fake_runs({f"loss={each}": what for each, what in failures.items()}))
    board = load_leaderboard(work)
    expected = ["done", "raised", "done", "exited", "done", "killed", "diverged", "exited", "stopped"]
    assert job_statuses(board) == expected
    assert done.returncode == 1, done.stderr  # of the first that failed
    assert board["metric"] == "modes/covered"
    assert board["varied"] == ["loss", "seed"]
    by_loss = {row["config"]["loss"]: row for row in board["rows"]}
    assert [row["status"] for row in by_loss.values()] == ["partial", "partial", "failed"]
    assert list(by_loss) == ["hinge", "minimax", "least_squares"]
    assert [sum(value is not None for value in row["values"]) for row in by_loss.values()] == [2, 1, 0]
    assert by_loss["minimax"]["interval"] is None
    assert all(row["seeds"] == [1, 2, 3] for row in board["rows"])
    reasons = {each["job"]: each["reason"] for row in board["rows"] for each in row["failures"]}
    assert reasons[1] == "raised RuntimeError: planted"
    assert reasons[3] == "exit code 7"
    assert reasons[5] == "killed by SIGKILL"
    assert "not finite" in reasons[6]
    assert reasons[7] == "exit code 0 before it was done"
    for text in (next(work.glob("*/*/sweep_*/leaderboard.md")).read_text(), done.stdout):
        assert all(reason in text for reason in ("raised RuntimeError: planted", "exit code 7", "killed by SIGKILL"))
        assert board["rows"][0]["repeat"] in text
    assert re.search(r"^job 0: step ", done.stdout, re.M)

    notes = {path: path.stat().st_mtime_ns for path in work.glob("*/*/sweep_*/*/outcome.json")}
    again = run_process(*command, cwd=work, **fake_runs({}))
    assert sorted(re.findall(r"^job (\d): loss", again.stdout, re.M)) == ["1", "3", "5", "7", "8"]
    assert again.returncode == 4, again.stderr  # the diverged one, which is not run again
    board = load_leaderboard(work)
    assert job_statuses(board) == ["done"] * 6 + ["diverged", "done", "done"]
    folders = [job["folder"] for job in board["jobs"]]
    assert folders == ["0", "1-2", "2", "3-2", "4", "5", "6", "7-2", "8"]  # killed and stopped ones went on
    killed = next(work.glob("*/*/sweep_*/5"))
    assert json.loads((killed / "config.json").read_text())["resumed"] == [f"resume={killed}"]
    changed = {path.parent.name for path, before in notes.items() if path.stat().st_mtime_ns != before}
    assert changed == {"5", "8"}
    assert len(list(work.glob("*/*/sweep_*"))) == 1


def test_what_it_repeats_is_the_run(tmp_path: Path) -> None:
    done = run_process("train", "-m", *UNEVALUATED_IMAGES, "steps=2", "loss=minimax", "seed=3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "evaluation.metrics=[frechet] or evaluation.best" in done.stdout
    board = load_leaderboard(tmp_path)
    assert board["metric"] is None
    assert [row["mean"] for row in board["rows"]] == [None]
    line = board["rows"][0]["repeat"]
    assert line.startswith("gan-train dataset=shapes")
    run_process("train", *shlex.split(line)[1:], cwd=tmp_path).check_returncode()
    swept = next(tmp_path.glob("outputs/*/sweep_*/0"))
    alone = next(path.parent for path in tmp_path.glob("outputs/*/*/config.json"))
    one, other = (checkpoint.load_newest(run / "checkpoints")[0] for run in (swept, alone))
    assert one.config.loss.name == "minimax"
    assert all(one.tensors[name].equal(other.tensors[name]) for name in one.tensors)


def test_ctrl_c_saves_a_run_and_the_same_command_goes_on(tmp_path: Path) -> None:
    # More steps than the run does before the signal.
    command = ["-m", *without(TINY_POINTS, "training.checkpoint_every"), "budget=3s,1s", "seed=1"]
    with started(tmp_path, *command) as parent:
        wait_for_metrics(parent, tmp_path)
        parent.send_signal(signal.SIGINT)
        assert parent.wait(timeout=60) == 130
    board = load_leaderboard(tmp_path)
    assert job_statuses(board) == ["stopped", "not run"]
    assert board["rows"][0]["status"] == "failed"
    sweep = next(tmp_path.glob("outputs/*/sweep_*"))
    step = checkpoint.load_newest(sweep / "0" / "checkpoints")[0].counters.step
    (sweep / "0" / "outcome.json").write_text('{"job": 0, "sta')  # as a machine that lost power leaves it
    (sweep / "1").mkdir()
    (sweep / "1" / "outcome.json").write_text(json.dumps(board["jobs"][1] | {"status": "done"}))
    done = run_process("train", *command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    board = load_leaderboard(tmp_path)
    assert [(job["status"], job["folder"]) for job in board["jobs"]] == [("done", "0"), ("done", "1")]
    assert f"at step {step:,}" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_two_jobs_stop_with_their_sweep(
    tmp_path: Path, number: signal.Signals, fake_runs: Callable[..., dict[str, str]]
) -> None:
    """kill -9 cannot be forwarded: a job sees that nobody holds its standard input any more.

    `timeout` sends TERM twice, to the process and to its group, which must not kill the jobs.
    """
    command = ["-m", *TINY_POINTS, "steps=50,51,52", "jobs=2"]
    with started(tmp_path, *command, **fake_runs({"steps=50": "wait", "steps=51": "wait"})) as parent:
        runs = [path.parent for path in wait_for_metrics(parent, tmp_path, 2)]
        parent.send_signal(number)
        parent.send_signal(number)
        assert parent.wait(timeout=60) == (143 if number == signal.SIGTERM else -9)
    wait_until(lambda: all((run / "stopped").exists() for run in runs))
    if number == signal.SIGTERM:
        assert job_statuses(load_leaderboard(tmp_path)) == ["stopped", "stopped", "not run"]
        return
    done = run_process("train", *command, cwd=tmp_path, **fake_runs({}))
    assert done.returncode == 0, done.stderr
    assert "begun before: 2 stopped, 1 not run; runs jobs 0, 1, 2" in done.stdout
    assert [job["folder"] for job in load_leaderboard(tmp_path)["jobs"]] == ["0", "1", "2"]  # none begins afresh


# --- with a stand-in for the process -----------------------------------------------------------------------------


def test_the_leaderboard_tells_what_the_watch_found(
    fake_jobs: FakeJobs, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    fake_jobs.findings, fake_jobs.codes = ["vanishing_gradient"], {"health.on_collapse=stop": 4}
    assert run_command("train", ["-m", "dataset=shapes", "steps=3", "health.on_collapse=warn,stop"]) == 4
    board = load_leaderboard(here)
    assert job_statuses(board) == ["done", "collapsed"]
    assert [row["findings"] for row in board["rows"]] == [["vanishing_gradient"]] * 2
    shown = capsys.readouterr().out.split("varied")[1].split("leaderboard:")[0]
    assert "collapsed" in shown
    assert shown.count("vanishing_gradient") == 2


def test_a_sweep_of_images_is_ranked_by_a_frechet_distance(
    fake_jobs: FakeJobs, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_jobs.lines = lambda override: [9.0, float(override.partition("=")[2])]
    assert run_command("train", ["-m", "dataset=shapes", "loss=hinge,minimax", "seed=2,1", "steps=3"]) == 0
    assert "also set: evaluation.metrics=[frechet]" in capsys.readouterr().out
    assert all(request["arguments"][-1] == "evaluation.metrics=[frechet]" for request in fake_jobs.requests)
    board = load_leaderboard(here)
    assert (board["metric"], board["better"]) == ("frechet-classifier", "lower")
    assert [row["values"] for row in board["rows"]] == [[2.0, 1.0]] * 2
    assert "seed=1 " in board["rows"][0]["repeat"]
    fake_jobs.requests.clear()
    for named in ("evaluation.metrics=[kernel]", "evaluation.best=accuracy/class"):
        command = ["-m", "dataset=shapes", "conditioning=projection", "seed=2,1", "steps=3", named]
        assert run_command("train", command) == 0
    assert "also set" not in capsys.readouterr().out
    assert not any("frechet" in argument for request in fake_jobs.requests for argument in request["arguments"])


@pytest.mark.parametrize("key", ["image_size=16,32", "dataset.image_channels=1,3", "evaluation.n=20,40"])
def test_a_sweep_over_what_figures_are_measured_on_is_not_ranked(
    fake_jobs: FakeJobs, here: Path, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    name, _, values = key.partition("=")
    assert run_command("train", ["-m", "dataset=shapes", key, "seed=1", "steps=3"]) == 0
    told = capsys.readouterr().out
    assert f"not ranked if frechet is measured on different data: runs differ in {name}" in told
    assert f"they differ in {name} ({values.replace(',', ', ')})" in " ".join(told.split())
    assert "repeat the best run" not in told
    assert [row["mean"] for row in load_leaderboard(here)["rows"]] == [1.0, 1.0]


def test_the_figure_is_that_of_the_checkpoint_a_user_gets(fake_jobs: FakeJobs, here: Path) -> None:
    """Of `best.safetensors` where there is one."""
    fake_jobs.lines = lambda override: [3.0, 1.0, 2.0]
    command = ["-m", "dataset=shapes", "seed=1", "steps=3"]
    assert run_command("train", command) == 0
    assert load_leaderboard(here)["rows"][0]["mean"] == 2.0
    run = next(here.glob("outputs/*/sweep_*/0"))
    (run / "checkpoints" / "best.safetensors").touch()
    (run / "outcome.json").unlink()
    assert run_command("train", command) == 0
    assert load_leaderboard(here)["rows"][0]["mean"] == 1.0
    figures = {"step": 2, "frechet-classifier": 1.0, "accuracy/class": 0.2}  # all of one checkpoint
    assert load_leaderboard(here)["jobs"][0]["figures"] == figures
    assert len(fake_jobs.requests) == 1


def test_a_job_that_finished_while_its_sweep_was_dead_gets_its_outcome(fake_jobs: FakeJobs, here: Path) -> None:
    command = ["-m", "dataset=shapes", "steps=3", "seed=1,2"]
    fake_jobs.codes = {"seed=2": 4}
    assert run_command("train", command) == 4
    paths = sorted(here.glob("outputs/*/sweep_*/*/outcome.json"))
    before = [json.loads(path.read_text()) for path in paths]
    paths[0].unlink()
    paths[1].write_text("")  # as a machine that lost power leaves it
    assert run_command("train", command) == 4
    assert len(fake_jobs.requests) == 2
    for path, old in zip(paths, before, strict=True):
        assert {**json.loads(path.read_text()), "reason": "", "seconds": 0} == {**old, "reason": "", "seconds": 0}


@pytest.mark.parametrize(
    ("error", "code"), [(OSError(28, "No space left on device"), 5), (Interrupted(signal.SIGTERM), 143)]
)
def test_a_sweep_that_ends_before_its_first_job_leaves_nothing(
    here: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    def fail(*given: object) -> None:
        raise error

    monkeypatch.setattr(sweep_folder, "write_json", fail)
    assert run_command("train", ["-m", "dataset=shapes", "steps=3", "seed=1"]) == code
    assert list(here.iterdir()) == []


def test_what_is_run_again_and_where(fake_jobs: FakeJobs, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake_jobs.codes = {"seed=1": 1, "seed=2": 7, "seed=3": -9, "seed=4": 4, "seed=5": 130, "seed=6": -11}
    command = ["-m", "dataset=shapes", "steps=3", "seed=range(0,7)"]
    assert run_command("train", command) == 1
    board = load_leaderboard(here)
    assert job_statuses(board) == ["done", "raised", "exited", "killed", "collapsed", "stopped", "killed"]
    assert board["jobs"][1]["reason"] == "raised OSError: gone"
    assert board["jobs"][6]["reason"] == "killed by SIGSEGV"
    assert fake_jobs.take_requested_folders() == ["0", "1", "2", "3", "4", "5", "6"]
    assert run_command("train", command) == 1  # fails as before
    assert fake_jobs.take_requested_folders() == ["+3", "+5", "+6", "1-2", "2-2"]
    assert "begun before: 1 done, 1 raised, 1 exited, 2 killed, 1 collapsed, 1 stopped; runs jobs 1, 2, 3, 5, 6" in (
        capsys.readouterr().out
    )
    fake_jobs.codes = {}
    assert run_command("train", command) == 4
    assert fake_jobs.take_requested_folders() == ["1-3", "2-3"]  # what went on is done
    assert run_command("train", command) == 4
    assert fake_jobs.take_requested_folders() == []
    assert "fresh=true begins another" in capsys.readouterr().out
    assert run_command("train", [*command, "fresh=true"]) == 0
    assert len(fake_jobs.take_requested_folders()) == 7
    assert len(list(here.glob("outputs/*/sweep_*"))) == 2
    assert run_command("train", command) == 0  # the newest is gone on with
    assert fake_jobs.take_requested_folders() == []


def test_a_killed_job_without_a_checkpoint_begins_afresh(fake_jobs: FakeJobs, here: Path) -> None:
    fake_jobs.codes = {"seed=1": -9}
    command = ["-m", "dataset=shapes", "steps=3", "seed=1,2"]
    assert run_command("train", command) == 137
    (next(here.glob("outputs/*/sweep_*/0")) / "checkpoints" / "last.safetensors").unlink()
    fake_jobs.take_requested_folders()
    fake_jobs.codes = {}
    assert run_command("train", command) == 0
    assert fake_jobs.take_requested_folders() == ["0-2"]


@pytest.mark.parametrize(
    ("swept", "name"),
    [
        (["architecture=mlp,dcgan"], "shapes-non_saturating"),
        (["architecture=mlp,dcgan", "loss=hinge,least_squares"], "shapes"),
        (["dataset=shapes,ring", "architecture=mlp,dcgan", "loss=hinge,least_squares"], "sweeps"),
        (["architecture=mlp,dcgan", "name=mine"], "mine"),
        (["seed=1,2"], "shapes-subpixel-non_saturating"),
    ],
)
def test_a_sweep_is_named_after_what_its_jobs_share(
    fake_jobs: FakeJobs, here: Path, swept: list[str], name: str
) -> None:
    assert run_command("train", ["-m", *swept, *([] if "ring" in swept[0] else ["dataset=shapes"]), "steps=3"]) == 0
    assert [path.parent.name for path in here.glob("outputs/*/sweep_*")] == [name]


def test_a_sweep_of_an_earlier_version_is_continued_where_it_is(fake_jobs: FakeJobs, here: Path) -> None:
    command = ["-m", "dataset=shapes", "steps=3", "architecture=dcgan,mlp"]
    assert run_command("train", command) == 0
    (now,) = here.glob("outputs/*/sweep_*")
    before = here / "outputs" / "shapes-dcgan-non_saturating" / now.name  # named after the first job
    before.parent.mkdir()
    now.rename(before)
    now.parent.rmdir()
    fake_jobs.take_requested_folders()
    assert run_command("train", command) == 0
    assert fake_jobs.take_requested_folders() == []
    assert [*here.glob("outputs/*/sweep_*")] == [before]
    assert [path.name for path in (here / "outputs").iterdir()] == [before.parent.name]
    assert run_command("train", [*command, "fresh=true"]) == 0
    assert len([*here.glob("outputs/shapes-non_saturating/sweep_*")]) == 1


def test_a_sweep_is_the_same_whatever_its_order_and_pace(fake_jobs: FakeJobs, here: Path) -> None:
    command = ["-m", "dataset=shapes", "steps=3"]
    assert run_command("train", [*command, "optimizer.lr=1e-3,1e-4", "seed=1,2"]) == 0
    assert len(fake_jobs.take_requested_folders()) == 4
    assert run_command("train", ["-m", "seed=2,1", "optimizer.lr=0.0001,0.001", "jobs=2", *command[1:]]) == 0
    assert fake_jobs.take_requested_folders() == []
    for other in (
        ["seed=1,2"],
        ["optimizer.lr=1e-3,1e-5", "seed=1,2"],
        ["optimizer.lr=1e-3,1e-4", "seed=1,2", "keep=5"],
    ):
        assert run_command("train", [*command, *other]) == 0
        assert len(fake_jobs.take_requested_folders()) in (2, 4)
    assert len(list(here.glob("outputs/*/sweep_*"))) == 4


def test_values_that_are_equal_are_one_job(fake_jobs: FakeJobs, here: Path) -> None:
    assert run_command("train", ["-m", "dataset=shapes", "steps=3", "optimizer.lr=0.001,1e-3"]) == 0
    assert fake_jobs.take_requested_folders() == ["0"]


def test_several_at_a_time_share_the_cores(fake_jobs: FakeJobs, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(9)))
    command = ["-m", "dataset=shapes", "steps=3", "seed=1,2"]
    for more, expected in ((["jobs=2"], ["threads=4"]), (["jobs=2", "threads=3"], ["threads=3"]), ([], [])):
        assert run_command("train", [*command, *more, "fresh=true"]) == 0
        for request in fake_jobs.requests:
            assert [each for each in request["arguments"] if each.startswith("threads=")] == expected
            assert not any(each.startswith(("jobs=", "fresh=")) for each in request["arguments"])
        fake_jobs.take_requested_folders()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert run_command("train", [*command, "jobs=2", "fresh=true"]) == 0
    assert not any(each.startswith("threads=") for request in fake_jobs.requests for each in request["arguments"])


@pytest.mark.parametrize(("processes", "expected"), [("1", "threads=4"), ("2", "threads=2"), ("1,2", "threads=2")])
def test_the_processes_of_several_jobs_share_the_cores(
    fake_jobs: FakeJobs, here: Path, monkeypatch: pytest.MonkeyPatch, processes: str, expected: str
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    command = ["-m", "dataset=shapes", "steps=3", "seed=1,2", "jobs=2", f"device.processes={processes}"]
    assert run_command("train", command) == 0
    assert all(expected in request["arguments"] for request in fake_jobs.requests)


@pytest.mark.parametrize(
    ("code", "stopping", "expected"),
    [
        (137, False, ("killed", "process 1 of 2 was ended by SIGKILL, which ended the run")),
        (137, True, ("killed", "process 1 of 2 was ended by SIGKILL, which ended the run")),
        (134, False, ("killed", "process 1 of 2 was ended by SIGKILL, which ended the run")),
        (6, False, ("killed", "process 1 of 2 was ended by SIGKILL, which ended the run")),
        (-9, False, ("killed", "killed by SIGKILL")),
        (143, False, ("stopped", "stopped, and can be resumed")),
        (138, False, ("stopped", "stopped, and can be resumed")),
        (7, False, ("exited", "exit code 7")),
        (255, False, ("exited", "exit code 255")),
    ],
)
def test_a_job_that_lost_a_process_was_killed(
    tmp_path: Path, code: int, stopping: bool, expected: tuple[str, str]
) -> None:
    """128 and the number of the signal, or 6, is what a job with `device.processes` above 1 then ends with."""
    line = "gan-train: process 1 of 2 was ended by SIGKILL, which ended the run\n"
    assert classify_exit(code, line, tmp_path, stopping=stopping) == expected


def test_a_job_that_lost_a_process_goes_on(fake_jobs: FakeJobs, here: Path) -> None:
    fake_jobs.codes = {"seed=1": 137, "seed=2": 6}
    command = ["-m", "dataset=shapes", "steps=3", "seed=1,2,3"]
    assert run_command("train", command) == 137
    assert job_statuses(load_leaderboard(here)) == ["killed", "killed", "done"]
    fake_jobs.take_requested_folders()
    fake_jobs.codes = {}
    assert run_command("train", command) == 0
    assert fake_jobs.take_requested_folders() == ["+0", "+1"]


def test_edited_and_torn_notes_are_no_reason_to_fail(
    fake_jobs: FakeJobs, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["-m", "dataset=shapes", "steps=3", "seed=1,2,3"]
    assert run_command("train", command) == 0
    sweep = next(here.glob("outputs/*/sweep_*"))
    note = json.loads((sweep / "1" / "outcome.json").read_text())
    (sweep / "0" / "outcome.json").write_text("{")
    (sweep / "1" / "outcome.json").write_text(json.dumps(note | {"folder": "../../..", "job": 7, "reason": "a\nb\x1b"}))
    (sweep / "2" / "outcome.json").write_text(json.dumps(note | {"figures": [1], "status": 3}))
    fake_jobs.take_requested_folders()
    assert run_command("train", command) == 0
    assert fake_jobs.take_requested_folders() == []  # their runs say that they are done
    board = load_leaderboard(here)
    assert [job["folder"] for job in board["jobs"]] == ["0", "1", "2"]
    assert board["jobs"][1]["reason"] == "a b"
    odd = {"figures": {"frechet-classifier": float("nan"), "recall-x": 10**400, "kernel-classifier": 2}}
    odd |= {"seed": {}, "config": {"loss": [[[[[1]]]]], "seed": 2}, "overrides": [1], "code": 10**30, "key": 3}
    (sweep / "0" / "outcome.json").write_text(
        json.dumps({name: value for name, value in note.items() if name != "seed"})
    )
    (sweep / "1" / "outcome.json").write_text(json.dumps(note | odd))
    (sweep / "2" / "outcome.json").write_text("[" * 100_000 + "]" * 100_000)
    assert run_command("train", command) == 0
    edited = load_leaderboard(here)["jobs"]
    assert [job["seed"] for job in edited] == [None, 2, 3]  # of invalid notes nothing is taken
    assert edited[1]["figures"] == edited[2]["figures"] != {}
    assert [job["status"] for job in edited] == ["done"] * 3
    assert "is damaged" not in capsys.readouterr().out
    (sweep / "sweep.json").write_text("[]")
    assert run_command("train", command) == 0
    assert len(list(here.glob("outputs/*/sweep_*"))) == 2
    warning = f"warning: {sweep.relative_to(here)}/sweep.json: is damaged, so this sweep cannot be continued\n"
    assert warning in capsys.readouterr().out


def test_a_sweep_in_use_is_told_in_one_line(
    fake_jobs: FakeJobs, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["-m", "dataset=shapes", "steps=3", "seed=1,2"]
    assert run_command("train", command) == 0
    capsys.readouterr()
    with lock(next(here.glob("outputs/*/sweep_*"))):
        assert run_command("train", command) == 5
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert "in use by process" in error
        assert run_command("train", [*command, "fresh=true"]) == 0


def test_a_job_that_fails_is_told_and_stops_no_other(tmp_path: Path) -> None:
    """batch_size=500 is more than the data have."""
    done = run_process(
        "train",
        *without(UNEVALUATED_IMAGES, "batch_size"),
        "-m",
        "steps=1",
        "batch_size=8,500",
        "regularizer=[r1]",
        "output=./a 'b'[/]",
        cwd=tmp_path,
    )
    assert done.returncode == 2, done.stderr
    board = json.loads(next(tmp_path.glob("a 'b'*/*/*/sweep_*/leaderboard.json")).read_text())
    assert job_statuses(board) == ["done", "refused"]
    assert "batch_size=500: the data set has 200 samples" in board["jobs"][1]["reason"]
    assert "batch_size=500: the data set has 200 samples" in done.stdout


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("loss=hinge,nonsense", "loss=nonsense"),
        ("batch_size=4,-4", "batch_size=-4"),
        ("nonsense=1,2", "unknown key nonsense"),
        ("resume=auto", "repeat the sweep's own command"),
        ("optimizer.lr=1e-3,fast", "optimizer.lr=fast"),
        ("optimizer.lr=interval(0,1)", "optimizer.lr=interval(0,1)"),
        ("steps=range(3,3)", "has no value in it"),
        ("jobs=1,2", "jobs: is a setting of the whole sweep"),
        ("jobs=0", "jobs=0"),
        ("fresh=true,false", "fresh: is a setting of the whole sweep"),
    ],
)
def test_a_wrong_value_anywhere_is_refused_before_anything_is_written(
    here: Path, capsys: pytest.CaptureFixture[str], override: str, words: str
) -> None:
    assert run_command("train", ["-m", "seed=1,2", override]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("override", ["jobs=2", "fresh=true"])
def test_keys_of_sweeps_need_m(here: Path, capsys: pytest.CaptureFixture[str], override: str) -> None:
    assert run_command("train", [override]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"gan-train: {override}: ")
    assert "-m" in error
    assert error.count("\n") == 1
    assert list(here.iterdir()) == []


def test_what_clashes_in_every_combination_is_refused_before_anything_is_written(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clash = ["loss=wasserstein", "architecture.discriminator.normalization=batch"]
    assert run_command("train", ["-m", "seed=1,2", *clash]) == 2
    assert "clashes" in capsys.readouterr().err
    for refused in ("hydra.sweep.dir=mine", "hydra.mode=RUN", "extra_steps=1"):
        assert run_command("train", ["-m", "seed=1,2", refused]) == 2
        if refused.startswith("hydra"):
            assert "only launcher and sweeper can be set, for sweeps (-m); output= and name=" in capsys.readouterr().err
    assert list(here.iterdir()) == []


def test_a_large_sweep_is_checked_quickly(here: Path) -> None:
    started = time.process_time()
    planned = compose_sweep(["experiment=ring", "seed=range(0,400)", "optimizer.lr=1e-3,1e-4"])
    assert time.process_time() - started < 5
    assert len(planned.combinations) == 800


def test_what_follows_a_swept_key_is_swept_with_it(here: Path) -> None:
    rates = [
        [each.data["optimizer"][role]["lr"] for role in ("generator", "discriminator")]
        for each in compose_sweep(["optimizer.lr=1e-3,1e-4", "optimizer.generator.lr=0.5"]).combinations
    ]
    assert rates == [[0.5, 1e-3], [0.5, 1e-4]]


@pytest.mark.parametrize(
    ("best", "brought"),
    [
        ("frechet", "[frechet]"),
        ("recall", "[precision_recall]"),
        ("coverage-random", "[density_coverage]"),
        ("kernel,precision,recall", "[kernel,precision_recall]"),
        ("accuracy/class", ""),
    ],
)
def test_the_figure_that_is_named_is_worked_out(best: str, brought: str) -> None:
    named = ["dataset=shapes", "seed=1,2", "steps=3", f"evaluation.best={best}", "conditioning=projection"]
    this = plan.plan(named, "gan-train -m")
    assert this.added == ((f"evaluation.metrics={brought}",) if brought else ())
    assert this.ranked_by == (best.partition(",")[0],)


def test_the_keys_of_jobs_stay() -> None:
    """Else a sweep that an earlier version began is run again. Leave new keys that change no result out of the key."""
    named = ["loss=hinge,minimax", "seed=1", "steps=10", "dataset.download=false"]
    keys = ["41bbb5acbb14e62e", "e8d558a1725d7934"]
    assert [job.key for job in plan.plan(named, "gan-train -m").jobs] == keys


def test_metrics_that_are_named_are_not_added_to() -> None:
    named = ["dataset=shapes", "seed=1,2", "evaluation.best=recall", "evaluation.metrics=[frechet,precision_recall]"]
    assert plan.plan(named, "gan-train -m").added == ()


def test_every_figure_has_its_metric() -> None:
    made = {option for family in METRIC_FAMILIES for option in family.options}
    assert made | {*PAIRED_METRICS} == {*REPORTED_METRICS, "modes", "diversity"}


def test_two_equal_commands_at_once_are_one_sweep(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["experiment=ring", "seed=1,2"]
    this = plan.plan(arguments, "gan-train -m")
    refused: list[StorageError] = []

    def other() -> None:
        try:
            with sweep_folder.open_sweep(this):
                pass
        except StorageError as error:
            refused.append(error)

    thread = threading.Thread(target=other)

    def slowly(path: Path, data: dict[str, Any]) -> None:
        if not thread.ident:
            thread.start()
            time.sleep(0.3)
        write_json(path, data)

    monkeypatch.setattr(sweep_folder, "write_json", slowly)
    with sweep_folder.open_sweep(this):
        thread.join()
    assert len(refused) == 1
    assert len(list(here.glob("outputs/*/sweep_*"))) == 1


def test_a_full_disk_ends_no_sweep(
    fake_jobs: FakeJobs, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: dict[str, Any]) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(jobs, "write_json", full)
    assert run_command("train", ["-m", "dataset=shapes", "steps=3", "seed=1,2"]) == 0
    assert fake_jobs.take_requested_folders() == ["0", "1"]
    out = capsys.readouterr().out
    assert re.search(r"1/outcome.json: cannot be written \(No space left on device[^\n]*\); going on", out)
    assert job_statuses(load_leaderboard(here)) == ["done"] * 2


def test_a_sweep_whose_settings_are_others_now_is_named(
    fake_jobs: FakeJobs, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["-m", "dataset=shapes", "steps=3", "seed=1,2"]
    assert run_command("train", command) == 0
    (before,) = here.glob("outputs/*/sweep_*")
    record = json.loads((before / SWEEP_RECORD).read_text())
    write_json(before / SWEEP_RECORD, record | {"identity": "of an earlier version"})
    capsys.readouterr()
    assert run_command("train", command) == 0
    assert f"{before.relative_to(here)} was begun by the same command, which now has other settings" in (
        capsys.readouterr().out
    )
    assert len(fake_jobs.take_requested_folders()) == 4
    for more in ([], ["fresh=true"]):
        assert run_command("train", [*command, *more]) == 0
        assert "by the same command" not in capsys.readouterr().out
