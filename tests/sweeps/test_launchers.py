"""Sweeps whose jobs Hydra's launchers start: joblib, submitit on this machine and at Slurm, and Ray.

Slurm's commands are those of `support/fake_slurm.py`. The runs of most tests train nothing (`fake_runs`).
"""

from __future__ import annotations

import importlib.util
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from gan_cli import extras
from gan_cli.cli.main import run_command
from gan_cli.sweeps import hydra_launcher, submitted_jobs
from gan_cli.sweeps.jobs import JobProcesses, outcome_without_process
from gan_cli.sweeps.launchers import LAUNCHERS, chosen_launcher
from gan_cli.sweeps.outcomes import Sweep, load_outcome, next_folder
from gan_cli.sweeps.plan import plan
from gan_cli.sweeps.stop_requests import read_stop_request, write_stop_request
from gan_cli.sweeps.submitted_jobs import SubmittedJob
from support import fake_slurm
from support.commands import error_line, write_text
from support.sweeps import TINY_POINTS, FakeJobs, job_statuses, load_leaderboard, started, wait_for_metrics, wait_until

PACKAGES = {"sweep": "hydra_joblib_launcher", "slurm": "hydra_submitit_launcher", "ray": "hydra_ray_launcher"}
SUBMITIT = [name for name in LAUNCHERS if name.startswith("submitit")]
KEYS = {
    "joblib": lambda launcher: launcher.joblib,
    "ray": lambda launcher: launcher.ray_cfg,
    **dict.fromkeys(SUBMITIT, lambda launcher: launcher.params),
}


@pytest.fixture
def launcher(request: pytest.FixtureRequest) -> str:
    """The name of a launcher. Skips the test if its package is not installed."""
    extra = LAUNCHERS[request.param].extra
    if importlib.util.find_spec(f"hydra_plugins.{PACKAGES[extra]}") is None:
        pytest.skip(f"needs {PACKAGES[extra].replace('_', '-')}: pip install 'gan-cli[{extra}]'")
    return request.param


each_launcher = pytest.mark.parametrize("launcher", list(LAUNCHERS), indirect=True)
each_submitit = pytest.mark.parametrize("launcher", SUBMITIT, indirect=True)


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment in which a process finds Slurm's commands. Ends the jobs that are left after the test."""
    yield fake_slurm.install(tmp_path)
    for path in (tmp_path / "slurm").glob("*.state"):
        if path.read_text() == "RUNNING":
            (tmp_path / "slurm" / f"{path.stem}.requeue").unlink(missing_ok=True)
            os.killpg(int(path.with_suffix(".pid").read_text()), signal.SIGKILL)
        path.write_text("CANCELLED")


def prepared(tmp_path: Path, *overrides: str) -> tuple[Sweep, dict[str, Any]]:
    """Returns the plan of a sweep of two jobs with these overrides, and its launcher's keys."""
    this = plan([*overrides, "experiment=ring", "seed=1,2"], "gan-train -m")
    built = hydra_launcher._instantiate("launcher", this.launcher, tmp_path / "sweep", print)
    return this, dict(KEYS[chosen_launcher(this.launcher)](built))


# --- presets -----------------------------------------------------------------------------------------------------


@each_launcher
def test_jobs_is_the_number_of_jobs_at_a_time(here: Path, launcher: str) -> None:
    this, keys = prepared(here, f"hydra/launcher={launcher}", "jobs=3")
    found = {
        "joblib": lambda: keys["n_jobs"],
        "ray": lambda: keys["init"]["num_cpus"],
        "submitit_local": lambda: this.parallel_jobs,
        "submitit_slurm": lambda: keys["array_parallelism"],
    }
    assert found[launcher]() == 3
    assert (this.threads is None) == (launcher in ("ray", "submitit_slurm") or "OMP_NUM_THREADS" in os.environ)


@each_launcher
def test_a_preset_keeps_the_other_keys_of_its_package(here: Path, launcher: str) -> None:
    _, keys = prepared(here, f"hydra/launcher={launcher}")
    expected: dict[str, dict[str, Any]] = {
        "joblib": {"n_jobs": 1, "prefer": "processes"},
        "ray": {},
        "submitit_local": {"timeout_min": 43200, "nodes": 1, "tasks_per_node": 1},
        "submitit_slurm": {"timeout_min": 240, "max_num_timeout": 100, "signal_delay_s": 120, "nodes": 1, "gres": None},
    }
    assert {key: keys[key] for key in expected[launcher]} == expected[launcher]


@each_launcher
def test_files_of_the_current_folder_change_no_launcher(here: Path, launcher: str) -> None:
    before = prepared(here, f"hydra/launcher={launcher}")[1]
    write_text(here / f"configs/hydra/launcher/{launcher}.yaml", "_target_: os.system\ntimeout_min: 1\nn_jobs: 7\n")
    write_text(here / "configs/loss/mine.yaml", "name: hinge\n")
    assert prepared(here, f"hydra/launcher={launcher}")[1] == before


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_missing_extra_is_named(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, launcher: str
) -> None:
    monkeypatch.setattr(extras, "_is_installed", lambda name: False)
    error = error_line(capsys, "train", "-m", f"hydra/launcher={launcher}", "experiment=ring", "seed=1,2")
    extra = LAUNCHERS[launcher].extra
    package = PACKAGES[extra].replace("_", "-")
    assert f"hydra/launcher={launcher} needs {package}: pip install 'gan-cli[{extra}]'" in error
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("launcher", ["submitit_slurm"], indirect=True)
def test_without_slurm_nothing_begins(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, launcher: str
) -> None:
    monkeypatch.setenv("PATH", str(here))
    assert run_command("train", ["-m", f"hydra/launcher={launcher}", "experiment=ring", "seed=1,2"]) == 2
    assert "srun is not found; run the sweep where Slurm is" in capsys.readouterr().err
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("launcher", ["submitit_slurm"], indirect=True)
def test_what_slurm_is_asked_for(
    here: Path, slurm: dict[str, str], monkeypatch: pytest.MonkeyPatch, launcher: str
) -> None:
    monkeypatch.setenv("PATH", slurm["PATH"])
    asked = ["partition=gpu", "gpus_per_node=1", "mem_gb=16", "timeout_min=30", "setup=[module load cuda]"]
    this, keys = prepared(here, f"hydra/launcher={launcher}", *(f"hydra.launcher.{each}" for each in asked))
    submission = submitted_jobs._Submission(this, keys)
    lines = submission._executor._executor._make_submission_file_text("run", "1").splitlines()
    for line in (
        "#SBATCH --requeue",
        "#SBATCH --signal=USR2@120",
        "#SBATCH --time=30",
        "#SBATCH --partition=gpu",
        "#SBATCH --gpus-per-node=1",
        "#SBATCH --mem=16GB",
        "#SBATCH --cpus-per-task=4",
        "#SBATCH --open-mode=append",
    ):
        assert line in lines
    setup = lines[lines.index("# setup") + 1 :][:3]
    assert setup == ["module load cuda", "export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK", "export PYTHONSAFEPATH=1"]


# --- one job -----------------------------------------------------------------------------------------------------


def test_a_second_signal_is_passed_on_as_a_kill(tmp_path: Path) -> None:
    processes = JobProcesses()
    write_stop_request(tmp_path, processes)
    assert read_stop_request(tmp_path) == 0
    processes.forward(signal.SIGINT)
    write_stop_request(tmp_path, processes)
    assert read_stop_request(tmp_path) == signal.SIGINT
    processes.kill()
    write_stop_request(tmp_path, processes)
    assert read_stop_request(tmp_path) == signal.SIGKILL
    (tmp_path / ".stopped").write_text("")  # while it is being written
    assert read_stop_request(tmp_path) == 0


@pytest.fixture
def queued_again(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Handles the signal of submitit as submitit does, but only records it."""
    monkeypatch.setattr(submitted_jobs, "WAIT_AFTER_TERM", 0.3)
    found: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda number, frame: found.append(number))
    yield found
    signal.signal(signal.SIGUSR2, before)


@pytest.mark.parametrize(
    ("sent", "code", "expected"),
    [(signal.SIGUSR2, 138, [signal.SIGUSR2]), (signal.SIGUSR2, 0, []), (signal.SIGTERM, 143, []), (None, 1, [])],
)
def test_a_job_that_is_pre_empted_asks_to_be_queued_again(
    fake_jobs: FakeJobs, here: Path, queued_again: list[int], sent: int | None, code: int, expected: list[int]
) -> None:
    """Not if it is done, nor after TERM: then Slurm queues it again, or the user cancelled it."""
    this = plan(["experiment=ring", "seed=1,2", "steps=3"], "gan-train -m")
    fake_jobs.signal, fake_jobs.codes = sent, {"seed=1": code}
    call = SubmittedJob(this, this.jobs[0], None, {})
    began = time.monotonic()
    call()
    assert (time.monotonic() - began > 0.3) == (sent == signal.SIGTERM)  # it waits to be ended by Slurm
    assert queued_again == expected
    fake_jobs.signal, fake_jobs.codes = None, {}
    fake_jobs.take_requested_folders()
    call()  # as Slurm starts it again
    assert fake_jobs.take_requested_folders() == {138: ["+0"], 143: ["+0"], 0: [], 1: ["0-2"]}[code]


def test_term_before_the_signal_of_submitit_is_no_second_request(
    fake_jobs: FakeJobs, here: Path, queued_again: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    this = plan(["experiment=ring", "seed=1,2", "steps=3"], "gan-train -m")
    fake_jobs.signal, fake_jobs.codes = signal.SIGTERM, {"seed=1": 143}
    monkeypatch.setattr(submitted_jobs, "_wait_for", lambda preempted: os.kill(os.getpid(), signal.SIGUSR2))
    SubmittedJob(this, this.jobs[0], None, {})()
    assert queued_again == [signal.SIGUSR2]


def test_a_process_that_ends_before_its_job_leaves_the_outcome_killed(here: Path) -> None:
    """So that the exit code is not 0, and the job is tried again."""
    this = replace(plan(["experiment=ring", "seed=1,2"], "gan-train -m"), folder=here)
    found = outcome_without_process(this.jobs[0], this, "submitit: OUT_OF_MEMORY")
    assert (found.status, found.code, found.reason) == ("killed", 1, "submitit: OUT_OF_MEMORY")
    assert load_outcome(this.jobs[0], this).status == "killed"
    assert next_folder(this.jobs[0], this, load_outcome(this.jobs[0], this)) == (here / "0-2", False)
    assert outcome_without_process(this.jobs[0], this, "later").reason == found.reason


# --- whole sweeps ------------------------------------------------------------------------------------------------

SIX = ("steps=50,51,52,53,54,55", "jobs=3", *TINY_POINTS)
ENDS = {"steps=51": "raise", "steps=52": "kill", "steps=53": "diverge", "steps=54": "exit"}
EXPECTED = ["done", "raised", "killed", "diverged", "exited", "done"]


def comparable(board: dict[str, Any], name: str) -> dict[str, Any]:
    """Returns what two equal sweeps have in common: not their times, memory and names."""
    for entry in (*board["jobs"], *board["rows"]):
        entry.update(seconds=0, key="", overrides=[], repeat=entry["repeat"].replace(f"name={name}", ""))
        for each in ("images_per_second", "seconds", "memory/peak_mb"):
            entry.get("figures", {}).pop(each, None)
    return {key: board[key] for key in ("metric", "rows", "jobs")}


def sweep_to_the_end(folder: Path, *overrides: str, **environment: str) -> int:
    with started(folder, "-m", *overrides, **environment) as process:
        return process.wait(timeout=400)


@each_launcher
@pytest.mark.slow
def test_each_launcher_gives_the_leaderboard_of_the_default(
    tmp_path: Path, slurm: dict[str, str], launcher: str
) -> None:
    sweep = [*TINY_POINTS, "steps=6", "seed=1,2,3", "optimizer.lr=1e-3,1e-4", "jobs=2"]
    boards = []
    for name, more in (("a", []), ("b", [f"hydra/launcher={launcher}"])):
        (tmp_path / name).mkdir()
        assert sweep_to_the_end(tmp_path / name, *sweep, f"name={name}", *more, **slurm) == 0
        boards.append(comparable(load_leaderboard(tmp_path / name), name))
    assert len(boards[0]["jobs"]) == 6
    assert boards[0] == boards[1]


@each_launcher
@pytest.mark.slow
def test_a_failed_job_ends_no_other_and_only_the_missing_ones_run_again(
    tmp_path: Path, slurm: dict[str, str], launcher: str, fake_runs: Callable[..., dict[str, str]]
) -> None:
    command = (*SIX, f"hydra/launcher={launcher}")
    assert sweep_to_the_end(tmp_path, *command, **fake_runs(ENDS), **slurm) == 1
    assert job_statuses(load_leaderboard(tmp_path)) == EXPECTED
    (tmp_path / "runs.json").write_text("{}")
    environment = {"PYTHONPATH": f"{tmp_path / 'hook'}{os.pathsep}{Path(__file__).parents[2]}", "PRELOADED_PATH": "1"}
    assert sweep_to_the_end(tmp_path, *command, **environment, RUNS=str(tmp_path / "runs.json"), **slurm) == 4
    assert job_statuses(load_leaderboard(tmp_path)) == ["done", "done", "done", "diverged", "done", "done"]
    (sweep,) = tmp_path.glob("outputs/*/sweep_*")
    folders = {path.name for path in sweep.iterdir() if path.name[0].isdigit()}
    assert folders == {"0", "1", "1-2", "2", "3", "4", "4-2", "5"}  # the killed one went on
    assert "runs jobs 1, 2, 4" in (tmp_path / "out").read_text()


@each_launcher
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_job_outlives_its_sweep(
    tmp_path: Path,
    slurm: dict[str, str],
    launcher: str,
    fake_runs: Callable[..., dict[str, str]],
    number: signal.Signals,
) -> None:
    """But those of Slurm outlive kill -9 of the sweep, and the same command then waits for them."""
    command = ("-m", f"hydra/launcher={launcher}", "jobs=2", "steps=50,51,52", *TINY_POINTS)
    environment = {**fake_runs({"steps=50": "wait", "steps=51": "wait"}), **slurm}
    with started(tmp_path, *command, **environment) as parent:
        runs = [path.parent for path in wait_for_metrics(parent, tmp_path, 2)]
        parent.send_signal(number)
        assert parent.wait(timeout=60) == (130 if number == signal.SIGINT else -9)
    if number == signal.SIGINT:
        assert job_statuses(load_leaderboard(tmp_path)) == ["stopped", "stopped", "not run"]
        assert not list(tmp_path.glob("outputs/*/*/.stopped"))
    if number == signal.SIGKILL and launcher == "submitit_slurm":
        assert not any((run / "stopped").exists() for run in runs)
        with started(tmp_path, *command, **environment) as parent:
            wait_until(lambda: "3 jobs of this sweep still at Slurm" in (tmp_path / "out").read_text())
            parent.send_signal(signal.SIGTERM)
            assert parent.wait(timeout=60) == 143
    wait_until(lambda: all((run / "stopped").exists() for run in runs))
    if launcher == "submitit_slurm":
        states = fake_slurm.job_states(tmp_path)
        assert states["1_2"] == "CANCELLED"
        assert {states["1_0"], states["1_1"]} == {"COMPLETED"}


def processes_of(folder: Path) -> list[int]:
    """Returns the ids of the processes in which submitit runs a job of the sweep in this folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"submitit.core._submit" in command and any(str(folder).encode() in each for each in command):
            found.append(int(path.parent.name))
    return found


@each_submitit
@pytest.mark.slow
def test_a_pre_empted_job_goes_on_where_it_stopped(tmp_path: Path, slurm: dict[str, str], launcher: str) -> None:
    """The end is that of a run without an interruption, bit by bit."""
    sweep = ["experiment=ring", "dataset.size=500", "batch_size=8", "threads=1", "steps=200", "seed=1"]
    sweep += ["training.sample_every=0", "training.log_every=10", "training.checkpoint_every=100000"]
    (tmp_path / "a").mkdir()
    assert sweep_to_the_end(tmp_path / "a", *sweep, "name=a") == 0
    command = ("-m", *sweep, "name=b", f"hydra/launcher={launcher}")
    (tmp_path / "b").mkdir()
    with started(tmp_path / "b", *command, **slurm) as parent:
        wait_for_metrics(parent, tmp_path / "b")
        (task,) = processes_of(tmp_path / "b")
        os.kill(task, signal.SIGUSR2)
        assert parent.wait(timeout=300) == 0
    log = next(tmp_path.glob("b/outputs/b/sweep_*/.submitit/1/*/*_log.out")).read_text()
    assert "(resumed)" in log
    assert job_statuses(load_leaderboard(tmp_path / "b")) == ["done"]
    ends = [load_file(*tmp_path.glob(f"{each}/outputs/{each}/sweep_*/0/checkpoints/last.safetensors")) for each in "ab"]
    assert ends[0].keys() == ends[1].keys()
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
