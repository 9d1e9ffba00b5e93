"""Sweeps that Hydra's own launchers and sweepers drive: the same jobs, the same leaderboard."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from gan_cli.cli.main import run_command
from gan_cli.storage.run_folder import create_run_folder
from gan_cli.sweeps import hydra_launcher
from gan_cli.sweeps.hydra_launcher import HydraJob, objective_value
from gan_cli.sweeps.outcomes import Settings, load_outcome, next_folder
from gan_cli.sweeps.plan import Sweep
from support.commands import run_process
from support.preloaded_python import preloaded_python
from support.sweeps import TINY_POINTS, UNEVALUATED_IMAGES, FakeJobs, job_statuses, load_leaderboard, wait_for_metrics

SEARCH = ("-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=4", "dataset=shapes", "steps=3")


def test_hydra_s_own_launcher_runs_the_planned_jobs(fake_jobs: FakeJobs, here: Path) -> None:
    command = ["-m", "hydra/launcher=basic", "dataset=shapes", "steps=3", "seed=1,2", "regularizer=[r1, lecam],[r1]"]
    fake_jobs.codes = {"seed=2": -9}
    assert run_command("train", command) == 137
    assert fake_jobs.take_requested_folders() == ["0", "1", "2", "3"]
    assert job_statuses(load_leaderboard(here)) == ["done", "done", "killed", "killed"]
    fake_jobs.codes = {}
    assert run_command("train", command) == 0
    assert fake_jobs.take_requested_folders() == ["+2", "+3"]
    assert run_command("train", [command[0], *command[2:]]) == 0  # the same jobs, without Hydra's loop
    assert fake_jobs.take_requested_folders() == []


def test_what_hydra_cannot_do_is_one_line_and_leaves_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for override in ("hydra/launcher=nope", "hydra/sweeper=nope", "hydra.sweeper.nope=1"):
        assert run_command("train", ["-m", override, "experiment=ring", "seed=1,2"]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert "nope" in error
    assert run_command("train", ["-m", "hydra/launcher=basic", "experiment=ring", "seed=1,2", "jobs=2"]) == 2
    assert "hydra.launcher.n_jobs=" in capsys.readouterr().err
    assert list(here.iterdir()) == []


def test_what_hydra_cannot_do_leaves_an_earlier_sweep(fake_jobs: FakeJobs, here: Path) -> None:
    command = ["-m", "hydra/launcher=basic", "dataset=shapes", "steps=3", "seed=1,2"]
    assert run_command("train", command) == 0
    sweep = next(here.glob("outputs/*/sweep_*"))
    for note in sweep.glob("*/outcome.json"):
        note.unlink()
    assert run_command("train", [*command, "hydra.launcher.nope=1"]) == 2
    assert (sweep / "sweep.json").is_file()
    for job in sweep.glob("[01]"):
        shutil.rmtree(job)
    assert run_command("train", [*command, "hydra.launcher.nope=1"]) == 2
    assert (sweep / "sweep.json").is_file()


def test_two_trials_at_once_have_two_folders(tmp_path: Path) -> None:
    settings = Settings(tmp_path, (), ("frechet",))
    this = Sweep("", tmp_path, False, 1, "", [], (), (), (), settings)
    one, other = (HydraJob(this, 0)._job([f"seed={seed}"], 0) for seed in (1, 2))
    assert (one.number, other.number) == (0, 1)
    assert load_outcome(one, settings)["status"] == "not run"
    assert next_folder(one, settings, load_outcome(one, settings)) == (tmp_path / "0", False)
    assert create_run_folder(tmp_path / "0") == tmp_path / "0"


def test_a_signal_between_two_jobs_ends_hydra_s_loop(
    fake_jobs: FakeJobs, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def then_signal(value: object, ranked_by: object) -> float:
        os.kill(os.getpid(), signal.SIGINT)
        return 1.0

    monkeypatch.setattr(hydra_launcher, "objective_value", then_signal)
    monkeypatch.setattr(hydra_launcher, "POLL_SECONDS", 60.0)  # however soon the next job begins
    assert run_command("train", ["-m", "hydra/launcher=basic", "dataset=shapes", "steps=3", "seed=1,2,3"]) == 130
    assert fake_jobs.take_requested_folders() == ["0"]
    assert job_statuses(load_leaderboard(here)) == ["done", "not run", "not run"]


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_a_signal_ends_hydra_s_loop_too(tmp_path: Path, launcher: str) -> None:
    if launcher == "joblib":
        pytest.importorskip("joblib")
    parent = subprocess.Popen(
        [
            preloaded_python(),
            "-m",
            "gan_cli.cli",
            "train",
            "-m",
            f"hydra/launcher={launcher}",
            *TINY_POINTS,
            "steps=50000,50001",
        ],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for_metrics(parent, tmp_path, 1 if launcher == "basic" else 2)
    parent.send_signal(signal.SIGINT)
    _, error = parent.communicate(timeout=60)
    assert parent.returncode == 130, error
    assert job_statuses(load_leaderboard(tmp_path)) == ["stopped", "not run" if launcher == "basic" else "stopped"]
    assert not list(tmp_path.glob("outputs/*/*/.stopped"))


def test_the_objective_value_of_a_trial() -> None:
    """Of one that diverged, what no other is below; of one that was killed nothing is known."""
    figures = {"frechet-random": 3.0, "recall-random": 0.5}
    for status, lower, higher in (
        ("done", 3.0, 0.5),
        ("diverged", float("inf"), float("-inf")),
        ("killed", None, None),
    ):
        outcome = {"status": status, "figures": figures}
        assert objective_value(outcome, ("frechet",)) == lower
        assert objective_value(outcome, ("recall",)) == higher
    assert objective_value({"status": "done", "figures": {}}, ("frechet",)) is None


# --- Optuna ------------------------------------------------------------------------------------------------------


def rate(request: dict) -> float:
    line = next(each for each in request["arguments"] if each.startswith("optimizer.lr="))
    return float(line.partition("=")[2])


def test_a_search_minimises_the_figure_and_is_gone_on_with(
    fake_jobs: FakeJobs, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("optuna")
    fake_jobs.lines = lambda override: [abs(rate(fake_jobs.requests[-1]) - 0.005)]
    command = [*SEARCH, "optimizer.lr=tag(log,interval(1e-4,1e-2))", "seed=choice(1,2)", "batch_size=range(8,17)"]
    assert run_command("train", command) == 0
    assert "also set: evaluation.metrics=[frechet], health.on_collapse=stop" in capsys.readouterr().out
    board = load_leaderboard(here)
    assert board["varied"] == ["optimizer.lr", "seed", "batch_size"]
    assert len(board["jobs"]) == 4
    assert all(1e-4 <= rate(request) <= 1e-2 for request in fake_jobs.requests)
    means = [row["mean"] for row in board["rows"]]
    assert means == sorted(means)
    best = next(here.glob("outputs/*/sweep_*/optimization_results.yaml")).read_text()
    assert f"best_value: {means[0]}" in best
    assert {each for request in fake_jobs.requests for each in request["arguments"] if "hydra" in each} == set()
    first = [rate(request) for request in fake_jobs.requests]
    fake_jobs.requests.clear()
    assert run_command("train", command) == 0  # the sampler has a seed: the same trials
    assert fake_jobs.requests == []
    more = ["hydra.sweeper.n_trials=6" if each.startswith("hydra.sweeper.n_trials") else each for each in command]
    assert run_command("train", more) == 0
    assert len(fake_jobs.requests) == 2
    assert not {rate(request) for request in fake_jobs.requests} & {*first}
    assert len(load_leaderboard(here)["jobs"]) == 6


def test_a_search_maximises_what_is_better_high_and_outlives_failures(
    fake_jobs: FakeJobs, here: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    optuna = pytest.importorskip("optuna")
    # A grid is walked at random, and one whose last trial failed is ended by Optuna 2.10 with an error of its own.
    monkeypatch.setattr(optuna.study.Study, "stop", lambda study: None)
    fake_jobs.metric, fake_jobs.lines = "recall-random", lambda override: [float(override.partition("=")[2] or 2) / 10]
    fake_jobs.codes = {"seed=1": 4, "seed=2": -9, "seed=3": 1}
    command = [*SEARCH, "seed=range(1,6)", "hydra/sweeper/sampler=grid", "hydra.sweeper.n_trials=5"]
    command = [each for each in command if each != "hydra.sweeper.n_trials=4"]
    assert run_command("train", [*command, "evaluation.metrics=[precision_recall]", "evaluation.best=recall"]) != 0
    assert sorted(job_statuses(load_leaderboard(here))) == ["collapsed", "done", "done", "killed", "raised"]
    best = next(here.glob("outputs/*/sweep_*/optimization_results.yaml")).read_text()
    assert "best_value: 0.5" in best
    assert "max_failure_rate" not in caplog.text  # Optuna's sweeper would complain of each
    fake_jobs.requests.clear()
    fake_jobs.codes = {}
    same = [*command, "evaluation.metrics=[precision_recall]", "evaluation.best=recall"]
    assert run_command("train", same) == 4
    again = fake_jobs.take_requested_folders()
    assert len(again) == 2  # in any order: a grid is walked at random
    assert [each[0] for each in again].count("+") == 1  # the killed one went on
    assert [each[1:] for each in again].count("-2") == 1  # and what raised is tried again
    assert sorted(job_statuses(load_leaderboard(here))) == ["collapsed", "done", "done", "done", "done"]


def test_a_search_without_a_figure_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["-m", "hydra/sweeper=optuna", "experiment=swiss_roll", "optimizer.lr=interval(1e-4,1e-2)"]
    assert run_command("train", command) == 2
    error = capsys.readouterr().err
    assert "needs a metric, set evaluation.metrics=[frechet]" in error
    assert error.count("\n") == 1
    assert list(here.iterdir()) == []


def test_a_search_of_values_that_are_out_of_range_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["-m", "hydra/sweeper=optuna", "experiment=ring", "optimizer.lr=interval(-1,1)"]
    assert run_command("train", command) == 2
    assert "optimizer.lr=-1" in capsys.readouterr().err
    assert list(here.iterdir()) == []


def test_a_health_stop_ends_a_trial_and_not_the_study(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    done = run_process(
        "train", "experiment=failure/vanishing_gradient", "steps=300", "threads=1", "-m", "hydra/sweeper=optuna",
        "hydra.sweeper.n_trials=2", "optimizer.lr=interval(0.0002,0.0003)", cwd=tmp_path,
    )  # fmt: skip
    board = load_leaderboard(tmp_path)
    assert job_statuses(board) == ["collapsed"] * 2
    assert all(job["figures"]["step"] < 300 for job in board["jobs"])
    assert done.returncode == 4, done.stderr


# --- joblib ------------------------------------------------------------------------------------------------------


def test_joblib_s_processes_run_them_too(tmp_path: Path) -> None:
    pytest.importorskip("joblib")
    done = run_process(
        "train", *UNEVALUATED_IMAGES, "steps=2", "-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "seed=1,2",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert job_statuses(load_leaderboard(tmp_path)) == ["done"] * 2
    for path in tmp_path.glob("outputs/*/sweep_*/*/outcome.json"):
        assert json.loads(path.read_text())["seed"] in (1, 2, 3)


@pytest.mark.parametrize("key", ["image_size", "dataset.image_channels", "evaluation.n"])
def test_a_search_among_what_cannot_be_compared_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    values = {"image_size": "choice(16,32)", "dataset.image_channels": "choice(1,3)", "evaluation.n": "choice(20,40)"}
    command = ["-m", "hydra/sweeper=optuna", "dataset=shapes", "evaluation.metrics=[frechet]", f"{key}={values[key]}"]
    assert run_command("train", command) == 2
    error = capsys.readouterr().err
    assert (
        f"{key}: a search needs one comparable metric, and frechet of other data, sizes or features cannot be compared"
        in error
    )
    assert error.count("\n") == 1
    assert list(here.iterdir()) == []
