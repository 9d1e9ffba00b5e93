"""Sweeps: every job in the table, whatever became of it; mistakes refused before the first begins."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import TINY_IMAGES, run_process, without

from gan_cli import checkpoint
from gan_cli.cli import run_command
from gan_cli.compose import compose_sweep


def table(folder: Path) -> list[dict[str, str]]:
    with open(next(folder.glob("outputs/*/sweep_*/summary.csv")), newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_combination_runs_and_is_in_the_table(tmp_path: Path) -> None:
    done = run_process(
        "train", *TINY_IMAGES, "steps=2", "-m", "loss=non_saturating,wasserstein", "seed=1,2", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    rows = table(tmp_path)
    assert [row["job"] for row in rows] == ["0", "1", "2", "3"]
    assert {row["status"] for row in rows} == {"done"}
    for row in rows:
        config = checkpoint.load(tmp_path / row["folder"] / "checkpoints" / checkpoint.LAST).config
        assert f"loss={config.loss.name}" in row["overrides"]
        assert f"seed={config.seed}" in row["overrides"]
        assert config.training.n_critic == (5 if config.loss.name == "wasserstein" else 1)
        assert float(row["loss/generator"]) != 0
        assert row["step"] == "2"
    assert len({row["loss/generator"] for row in rows}) == 4
    assert "brought along" in done.stdout
    assert "summary.csv" in done.stdout


def test_a_job_that_fails_is_told_and_stops_no_other(tmp_path: Path) -> None:
    """batch_size=500 is more than the data have."""
    done = run_process(
        "train",
        *without(TINY_IMAGES, "batch_size"),
        "-m",
        "steps=2",
        "batch_size=8,500,4",
        "output=./a 'b'",
        cwd=tmp_path,
    )
    assert done.returncode == 2
    with open(next(tmp_path.glob("a 'b'/*/sweep_*/summary.csv")), newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["status"] for row in rows] == ["done", "refused", "done"]
    assert "batch_size=500: the data set has 200 samples" in rows[1]["reason"]
    assert "batch_size=500: the data set has 200 samples" in done.stdout


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("loss=hinge,nonsense", "loss=nonsense"),
        ("batch_size=4,-4", "batch_size=-4"),
        ("nonsense=1,2", "unknown key nonsense"),
        ("resume=auto", "a sweep starts new runs"),
        ("optimizer.lr=1e-3,fast", "optimizer.lr=fast"),
        ("optimizer.lr=interval(0,1)", "optimizer.lr=interval(0,1)"),
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


def test_what_clashes_in_every_combination_is_refused_before_anything_is_written(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clash = ["loss=wasserstein", "architecture.discriminator.normalization=batch"]
    assert run_command("train", ["-m", "seed=1,2", *clash]) == 2
    assert "clashes" in capsys.readouterr().err
    for refused in ("hydra.sweep.dir=mine", "hydra.mode=RUN", "extra_steps=1"):
        assert run_command("train", ["-m", "seed=1,2", refused]) == 2
    assert list(here.iterdir()) == []


def test_a_large_sweep_is_checked_quickly(here: Path) -> None:
    started = time.monotonic()
    planned = compose_sweep("train", ["experiment=ring", "seed=range(0,400)", "optimizer.lr=1e-3,1e-4"])
    assert time.monotonic() - started < 5
    assert len(planned.alternatives) == 403


def test_a_job_stops_when_its_sweep_is_killed(tmp_path: Path) -> None:
    """kill -9 cannot be forwarded: the job sees that nobody holds its standard input any more."""
    parent = subprocess.Popen(
        [sys.executable, "-m", "gan_cli.cli", "train", "-m", *TINY_IMAGES, "steps=100000,100001"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not running(tmp_path):
        assert parent.poll() is None
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    folder = running(tmp_path)[0].parent
    for _ in range(200):
        if "stopped by SIGTERM" in (folder / "train.log").read_text():
            break
        time.sleep(0.05)
    else:
        pytest.fail("the job went on without its sweep")


def test_brackets_in_the_table_are_no_markup(tmp_path: Path) -> None:
    done = run_process(
        "train", *TINY_IMAGES, "-m", "steps=1", "regularizer=[r1],[weight_clip]", "output=x[/]y", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "[r1]" in done.stdout.split("what varied")[1]


def running(folder: Path) -> list[Path]:
    return [path for path in folder.glob("outputs/*/sweep_*/*/metrics.jsonl") if path.read_text()]


@pytest.mark.parametrize("kill_child", [True, False])
def test_kill_9_of_a_job_ends_it_alone_and_ctrl_c_saves_it(tmp_path: Path, kill_child: bool) -> None:
    endless = "100000" if kill_child else "100000,100001"
    parent = subprocess.Popen(
        [sys.executable, "-m", "gan_cli.cli", "train", "-m", *TINY_IMAGES, f"steps={endless},2"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not running(tmp_path):
        assert parent.poll() is None
        time.sleep(0.05)
    if kill_child:
        children = subprocess.run(["pgrep", "-P", str(parent.pid)], capture_output=True, text=True).stdout.split()
        os.kill(int(children[0]), signal.SIGKILL)
    else:
        parent.send_signal(signal.SIGINT)
    try:
        out, _ = parent.communicate(timeout=60)
    finally:
        parent.kill()
    rows = table(tmp_path)
    if kill_child:
        assert [(row["status"], row["reason"]) for row in rows] == [("failed", "killed by SIGKILL"), ("done", "")]
        assert parent.returncode == 137
        return
    assert parent.returncode == 130, out
    assert [row["status"] for row in rows] == ["stopped"]
    assert checkpoint.load(tmp_path / rows[0]["folder"] / "checkpoints" / checkpoint.LAST).counters.step > 0


def test_the_table_tells_what_the_watch_found(tmp_path: Path) -> None:
    failing = ["experiment=failure/vanishing_gradient", "steps=300", "threads=1"]
    done = run_process("train", *failing, "-m", "health.on_collapse=warn,stop", cwd=tmp_path)
    assert done.returncode == 4, done.stderr
    rows = table(tmp_path)
    assert [row["status"] for row in rows] == ["done", "collapsed"]
    assert [row["findings"] for row in rows] == ["vanishing_gradient"] * 2
    assert rows[0]["step"] == "300"
    assert int(rows[1]["step"]) < 300
    assert "vanishing_gradient at step" in rows[1]["reason"]
    shown = "".join(done.stdout.split("what varied")[1].split("summary:")[0].split())
    assert "collapsed" in shown
    assert shown.count("vanishing_") >= 2
