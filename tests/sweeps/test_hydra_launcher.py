"""Sweeps that Hydra's own launchers and sweepers drive: the same jobs, the same leaderboard."""

from __future__ import annotations

import errno
import json
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from omegaconf import OmegaConf

from gan_cli.cli.main import run_command
from gan_cli.storage.run_folder import create_run_folder
from gan_cli.sweeps import hydra_launcher, stop_requests
from gan_cli.sweeps.hydra_launcher import launch_jobs
from gan_cli.sweeps.jobs import JobProcesses
from gan_cli.sweeps.outcomes import Outcome, Sweep, load_outcome, next_folder, objective_value
from gan_cli.sweeps.plan import plan
from gan_cli.sweeps.sweep_folder import open_sweep
from support.commands import error_line
from support.sweeps import (
    TINY_POINTS,
    FakeJobs,
    job_statuses,
    load_leaderboard,
    started,
    wait_for_metrics,
    wait_until,
)

SEARCH = ("-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=4", "dataset=shapes", "steps=3")


# A launcher that starts the jobs from the process of the sweep, in which they can be replaced.
JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=1")


@pytest.fixture
def joblib() -> None:
    pytest.importorskip("joblib")


@pytest.mark.usefixtures("joblib")
def test_joblib_and_the_default_give_the_same_leaderboard(fake_jobs: FakeJobs, here: Path) -> None:
    command = ["-m", "dataset=shapes", "steps=3", "seed=1,2,3", "regularizer=[r1, lecam],[r1]"]
    fake_jobs.codes = {"seed=2": -9, "seed=3": 4}
    fake_jobs.lines = lambda override: [float(override.partition("=")[2])]
    boards = []
    for launcher in ((), JOBLIB):
        assert run_command("train", [*command, *launcher, f"name={'b' if launcher else 'a'}"]) == 137
        assert fake_jobs.take_requested_folders() == ["0", "1", "2", "3", "4", "5"]
        (sweep,) = here.glob(f"outputs/{'b' if launcher else 'a'}/sweep_*")
        board = json.loads((sweep / "leaderboard.json").read_text())
        for each in (*board["jobs"], *board["rows"]):
            each["repeat"] = each["repeat"].replace("name=b", "name=a")
            each["seconds"] = 0
        boards.append([board["metric"], board["rows"], [job | {"key": "", "overrides": []} for job in board["jobs"]]])
    assert boards[0] == boards[1]
    assert boards[0][2][1]["status"] == "done"
    assert boards[0][2][2]["status"] == "killed"


@pytest.mark.usefixtures("joblib")
def test_a_launcher_gets_only_the_jobs_that_are_missing(fake_jobs: FakeJobs, here: Path) -> None:
    command = ["-m", *JOBLIB, "dataset=shapes", "steps=3", "seed=1,2,3"]
    fake_jobs.codes = {"seed=2": -9}
    assert run_command("train", command) == 137
    assert fake_jobs.take_requested_folders() == ["0", "1", "2"]
    fake_jobs.codes = {}
    assert run_command("train", command) == 0
    assert fake_jobs.take_requested_folders() == ["+1"]
    assert run_command("train", ["-m", *command[3:]]) == 0  # the same jobs, without the launcher
    assert fake_jobs.take_requested_folders() == []
    sweep = next(here.glob("outputs/*/sweep_*"))
    assert {path.name for path in sweep.iterdir() if path.is_dir()} == {"0", "1", "2"}


WRONG_PLUGINS = {
    "hydra/launcher=nope": "nope",
    "hydra/sweeper=nope": "nope",
    "hydra.launcher.nope=1": "nope",
    "hydra.sweeper.nope=1": "needs a sweeper, as hydra/sweeper=optuna",
    "hydra.launcher._target_=os.system": "hydra.launcher._target_=os.system: unknown key",
    "hydra.launcher=3": "hydra.launcher=3: unknown key: Hydra's own launcher has no keys",
    "+hydra.launcher.nope=1": "unknown key",
}
WRONG_KEYS = {
    "hydra/launcher=jobli": "there are basic, joblib, ray, submitit_local, submitit_slurm (did you mean 'joblib'?)",
    "hydra.launcher.n_job=2": "unknown key (did you mean 'hydra.launcher.n_jobs'?): joblib has n_jobs, backend, ",
    "hydra.launcher.n_jobs=abc": "hydra.launcher.n_jobs=abc: cannot be used (Value 'abc' ",
}


@pytest.mark.usefixtures("joblib")
@pytest.mark.parametrize("override", WRONG_KEYS)
def test_a_wrong_key_of_a_launcher_is_told_before_the_sweep(
    here: Path, capsys: pytest.CaptureFixture[str], override: str
) -> None:
    choice = [] if "/" in override else ["hydra/launcher=joblib"]
    assert WRONG_KEYS[override] in error_line(capsys, "train", "-m", *choice, override, "experiment=ring", "seed=1,2")
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("override", WRONG_PLUGINS)
def test_what_hydra_cannot_do_is_one_line_and_leaves_nothing(
    here: Path, capsys: pytest.CaptureFixture[str], override: str
) -> None:
    assert WRONG_PLUGINS[override] in error_line(capsys, "train", "-m", override, "experiment=ring", "seed=1,2")
    assert list(here.iterdir()) == []


@pytest.mark.usefixtures("joblib")
def test_a_launcher_has_its_own_number_of_jobs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "hydra.launcher.n_jobs=" in error_line(
        capsys, "train", "-m", *JOBLIB, "experiment=ring", "seed=1,2", "jobs=2"
    )
    assert list(here.iterdir()) == []


def test_an_error_before_the_first_job_leaves_nothing_new(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["experiment=ring", "seed=1,2"]
    this = plan(arguments, "gan-train -m")
    with pytest.raises(ValueError, match="of a sweeper"), open_sweep(this):
        raise ValueError("of a sweeper")
    assert list(here.iterdir()) == []
    with open_sweep(this) as (begun, _):
        pass
    with pytest.raises(ValueError, match="of a sweeper"), open_sweep(this):
        raise ValueError("of a sweeper")
    assert (begun.folder / "sweep.json").is_file()  # an earlier sweep stays


@pytest.mark.parametrize("plugin", [JOBLIB, SEARCH[1:3]])
def test_a_signal_ends_the_sweep_after_the_running_job(
    fake_jobs: FakeJobs, here: Path, monkeypatch: pytest.MonkeyPatch, plugin: tuple[str, ...]
) -> None:
    pytest.importorskip("joblib" if plugin is JOBLIB else "optuna")
    fake_jobs.signal = signal.SIGINT
    monkeypatch.setattr(stop_requests, "POLL_SECONDS", 60.0)  # however soon the next job begins
    assert run_command("train", ["-m", *plugin, "dataset=shapes", "steps=3", "seed=1,2,3"]) == 130
    assert fake_jobs.take_requested_folders() == ["0"]
    assert job_statuses(load_leaderboard(here))[:1] == ["done"]
    assert not list(here.glob("outputs/*/*/.stopped"))


@pytest.mark.usefixtures("joblib")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_to_the_sweep_reaches_the_jobs_of_other_processes(
    tmp_path: Path, number: signal.Signals, fake_runs: Callable[..., dict[str, str]]
) -> None:
    """They learn of kill -9 as well, which nobody can forward."""
    command = ["-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", *TINY_POINTS, "steps=50,51,52"]
    with started(tmp_path, *command, **fake_runs({"steps=50": "wait", "steps=51": "wait"})) as parent:
        runs = [path.parent for path in wait_for_metrics(parent, tmp_path, 2)]
        parent.send_signal(number)
        assert parent.wait(timeout=60) == (143 if number == signal.SIGTERM else -9)
    if number == signal.SIGTERM:
        assert job_statuses(load_leaderboard(tmp_path)) == ["stopped", "stopped", "not run"]
        assert not list(tmp_path.glob("outputs/*/*/.stopped"))
    wait_until(lambda: all((run / "stopped").exists() for run in runs))


def test_an_error_of_a_disk_does_not_end_what_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop_requests, "POLL_SECONDS", 0.001)
    calls: list[int] = []

    def step() -> None:
        calls.append(len(calls))
        if len(calls) < 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    with stop_requests.repeating(step):
        wait_until(lambda: len(calls) > 5)


def test_a_process_of_a_launcher_with_another_folder_runs_the_job_where_the_sweep_is(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of a running cluster of Ray."""
    given: list[Any] = []

    class Recorder:
        params: ClassVar[dict[str, Any]] = {}

        def launch(self, *_: object, **__: object) -> list[Any]:
            return []

    def instantiate(kind: str, overrides: Sequence[str], folder: Path, task: Callable[..., Any]) -> Recorder:
        given.append(task)
        return Recorder()

    monkeypatch.setattr(hydra_launcher, "_instantiate", instantiate)
    this = replace(plan(["dataset=shapes", "seed=1,2"], "gan-train"), folder=Path("sweep"))
    (here / "sweep").mkdir()
    launch_jobs(this, this.jobs, JobProcesses())
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    ran: list[tuple[Path, str]] = []
    monkeypatch.setattr(hydra_launcher, "run_job", lambda job, this, _: ran.append((this.folder, os.getcwd())))
    monkeypatch.setattr(
        hydra_launcher, "HydraConfig", SimpleNamespace(get=lambda: OmegaConf.create({"job": {"num": 1}}))
    )
    given[0](OmegaConf.create({}))
    assert ran == [(here / "sweep", str(here))]


def test_the_objective_value_of_a_trial() -> None:
    """Of one that diverged, what no other is below; of one that was killed nothing is known."""
    figures = {"frechet-random": 3.0, "recall-random": 0.5}
    for status, lower, higher in (
        ("done", 3.0, 0.5),
        ("diverged", float("inf"), float("-inf")),
        ("killed", None, None),
    ):
        outcome = Outcome.model_construct(status=status, figures=figures)
        assert objective_value(outcome, ("frechet",)) == lower
        assert objective_value(outcome, ("recall",)) == higher
    assert objective_value(Outcome.model_construct(status="done", figures={}), ("frechet",)) is None
    blurred, noisy = (Outcome.model_construct(status="done", figures={"sharpness": value}) for value in (0.8, 1.1))
    assert objective_value(blurred, ("sharpness",)) == pytest.approx(0.2)
    assert objective_value(noisy, ("sharpness",)) == pytest.approx(0.1)
    assert objective_value(Outcome.model_construct(status="diverged", figures={}), ("sharpness",)) == float("inf")


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


def test_several_trials_at_a_time(fake_jobs: FakeJobs, here: Path) -> None:
    pytest.importorskip("optuna")
    fake_jobs.lines = lambda override: [1.0]
    command = [*SEARCH, "optimizer.lr=interval(1e-4,1e-2)", "jobs=2"]
    assert run_command("train", command) == 0
    assert fake_jobs.take_requested_folders() == ["0", "1", "2", "3"]
    assert job_statuses(load_leaderboard(here)) == ["done"] * 4
    assert run_command("train", command) == 0  # in batches of two too
    assert fake_jobs.requests == []


def test_equal_trials_are_one_job_with_a_folder(tmp_path: Path) -> None:
    this = Sweep("", tmp_path, False, "", [], (), (), (), (), ("frechet",), folder=tmp_path)
    numbers: dict[str, int] = {}
    one, other, same = (hydra_launcher._trial(this, [f"seed={seed}"], numbers) for seed in (1, 2, 1))
    assert (one.number, other.number, same.number) == (0, 1, 0)
    assert load_outcome(one, this).status == "not run"
    assert next_folder(one, this, load_outcome(one, this)) == (tmp_path / "0", False)
    assert create_run_folder(tmp_path / "0") == tmp_path / "0"


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
