"""Runs of two processes from their start to their end: resume, signals, and processes that fail, end or hang."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

SCRIPTS = Path(sys.executable).parent
TINY = (
    "dataset=shapes", "dataset.size=60", "image_size=8", "batch_size=8", "threads=1", "precision=fp32", "recipe=none",
    "architecture.generator.base_channels=2", "architecture.discriminator.base_channels=2", "training.log_every=1",
    "training.sample_every=0", "training.checkpoint_every=2", "training.lr_schedule=constant", "device=cpu",
    "optimizer=sgd",
)  # fmt: skip
LONG = 120  # seconds that a start may take on a busy machine
DIVERGING = (
    "loss=least_squares", "optimizer.lr=10", "regularizer=none", "architecture.discriminator.minibatch=none",
    "training.checkpoint_every=1", "training.log_every=0", "health.on_nonfinite=rollback", "health.retries=1",
)  # fmt: skip
ENDLESS = ("steps=1000000", "training.checkpoint_every=5", "training.log_every=5")


def arguments(*overrides: str) -> list[str]:
    named = {override.partition("=")[0] for override in overrides}
    return [*(each for each in TINY if each.partition("=")[0] not in named), *overrides]


def train(folder: Path, *overrides: str, **keywords: Any) -> subprocess.CompletedProcess[str]:
    command = [str(SCRIPTS / "gan-train"), *overrides]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, **keywords)


def last_of(folder: Path, name: str) -> dict[str, torch.Tensor]:
    (path,) = folder.glob(f"outputs/{name}/*/checkpoints/last.safetensors")
    return load_file(path)


def test_a_resumed_run_equals_an_unbroken_one(tmp_path: Path) -> None:
    """Byte for byte with as many processes; with one process up to rounding, which a line says."""
    two, name = (*arguments("device.processes=2"),), "name={}"
    assert train(tmp_path, *two, "steps=6", name.format("whole")).returncode == 0
    begun = train(tmp_path, *two, "steps=3", name.format("parts"))
    assert "processes: 2, each batch of 8 is divided equally" in begun.stdout
    resumed = train(tmp_path, "resume=parts", "extra_steps=3")
    assert (resumed.returncode, resumed.stderr) == (0, "")
    whole, parts = last_of(tmp_path, "whole"), last_of(tmp_path, "parts")
    assert [key for key in whole if not torch.equal(whole[key], parts[key])] == []
    assert train(tmp_path, *arguments(), "steps=3", name.format("mixed")).returncode == 0
    mixed = train(tmp_path, "resume=mixed", "extra_steps=3", "device.processes=2")
    assert "processes: 2, before 1: the same training, but results may differ in their last bits" in mixed.stdout
    found = last_of(tmp_path, "mixed")
    for key, tensor in whole.items():
        assert torch.allclose(tensor.double(), found[key].double(), rtol=1e-3, atol=1e-4), key


def test_another_machine_needs_no_folder_of_the_run(tmp_path: Path) -> None:
    """Process 1 is in a folder without the run, as on a machine with other disks, whose torchrun has restarted it."""
    (tmp_path / "other").mkdir()
    assert train(tmp_path, *arguments("device.processes=2", "steps=2", "name=run")).returncode == 0
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    shared = {"TORCHELASTIC_RUN_ID": "run", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    shared |= {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1", "GLOO_SOCKET_IFNAME": "lo", **os.environ}
    command = [str(SCRIPTS / "gan-train"), "resume=outputs/run", "extra_steps=2"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [
        subprocess.Popen(
            command, cwd=folder, env=shared | {"RANK": str(rank), "TORCHELASTIC_RESTART_COUNT": str(rank)}, **pipes
        )
        for rank, folder in enumerate((tmp_path, tmp_path / "other"))
    ]
    errors = [process.communicate(timeout=LONG)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    assert "step 4/4" in next(tmp_path.glob("outputs/run/*/train.log")).read_text()
    assert [*(tmp_path / "other").iterdir()] == []


# --- ends --------------------------------------------------------------------------------------------------------


def processes_of(parent: int) -> list[int]:
    """Returns the ids of the processes that train, by their number."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(status[1]) == parent and b"training_process" in (folder / "cmdline").read_bytes():
                environment = (folder / "environ").read_bytes().split(b"\0")
                found[int(next(each[5:] for each in environment if each.startswith(b"RANK=")))] = int(folder.name)
        except OSError:
            continue
    return [found[rank] for rank in sorted(found)]


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[str], list[int]]]]:
    """Starts an endless run of two processes; returns the command's process, and theirs once there is a checkpoint."""
    started: list[int] = []
    commands: list[subprocess.Popen[str]] = []

    def run(*overrides: str) -> tuple[subprocess.Popen[str], list[int]]:
        command = [str(SCRIPTS / "gan-train"), *arguments("device.processes=2", "name=run", *ENDLESS, *overrides)]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen(command, cwd=tmp_path, **pipes)
        commands.append(process)
        until = time.monotonic() + LONG
        while not [*tmp_path.glob("outputs/run/*/checkpoints/step_00000005*")]:
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.1)
        children = processes_of(process.pid)
        started.extend([process.pid, *children])
        assert len(children) == 2
        return process, children

    yield run
    for each in filter(is_alive, started):
        os.kill(each, signal.SIGKILL)
    for process in commands:
        process.communicate()


def require_valid_checkpoint(folder: Path) -> None:
    from gan_cli.state import checkpoint

    (checkpoints,) = folder.glob("outputs/run/*/checkpoints")
    assert checkpoint.load_newest(checkpoints)[1] == {}


pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")


def test_a_signal_to_one_process_stops_all(tmp_path: Path, start: Callable[..., Any]) -> None:
    process, children = start()
    os.kill(children[1], signal.SIGTERM)
    out, errors = process.communicate(timeout=LONG)
    assert (process.returncode, errors) == (143, "")
    assert "stopped by SIGTERM at step" in out
    assert not any(map(is_alive, children))
    require_valid_checkpoint(tmp_path)


def test_ctrl_c_stops_all(tmp_path: Path, start: Callable[..., Any]) -> None:
    process, children = start()
    os.kill(process.pid, signal.SIGINT)
    out, errors = process.communicate(timeout=LONG)
    assert (process.returncode, errors) == (130, "")
    assert "stopped by SIGINT at step" in out
    assert not any(map(is_alive, children))


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_the_run(tmp_path: Path, start: Callable[..., Any], rank: int) -> None:
    process, children = start()
    os.kill(children[rank], signal.SIGKILL)
    errors = process.communicate(timeout=LONG)[1]
    assert process.returncode == 137
    assert (
        f"process {rank} of 2 was ended by SIGKILL, which ended the run; resume= continues from its last checkpoint"
        in errors
    )
    assert errors.count("\n") == 1
    assert not any(map(is_alive, children))
    require_valid_checkpoint(tmp_path)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_stopped_process_ends_the_run(tmp_path: Path, start: Callable[..., Any], rank: int) -> None:
    process, children = start("device.timeout=5")
    os.kill(children[rank], signal.SIGSTOP)
    errors = process.communicate(timeout=LONG)[1]
    assert process.returncode == 6
    assert f"process {rank} of 2 did not answer within device.timeout=5 seconds, which ended the run" in errors
    assert not any(map(is_alive, children))
    require_valid_checkpoint(tmp_path)


def test_the_processes_end_with_the_command(tmp_path: Path, start: Callable[..., Any]) -> None:
    """They save and stop if the command that started them was killed."""
    process, children = start()
    process.kill()
    until = time.monotonic() + LONG
    while any(map(is_alive, children)):
        assert time.monotonic() < until
        time.sleep(0.1)
    (log,) = tmp_path.glob("outputs/run/*/train.log")
    assert "stopped by SIGTERM at step" in log.read_text()


def test_connections_are_local(start: Callable[..., Any]) -> None:
    process, children = start()
    sockets = {os.readlink(path) for child in children for path in Path(f"/proc/{child}/fd").iterdir()}
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = [line[1] for line in lines if line[3] == "0A" and f"socket:[{line[9]}]" in sockets]
    assert listening
    assert all(re.match("0100007F:", address) for address in listening)
    process.terminate()
    process.communicate(timeout=LONG)


def test_divergence_ends_all_with_one_line(tmp_path: Path) -> None:
    done = train(tmp_path, *arguments("device.processes=2", "steps=60", "name=run", *DIVERGING))
    assert done.returncode == 4
    assert "back at step" in done.stdout  # all processes went back once
    assert done.stderr.count("\n") == 1
    assert "not finite" in done.stderr


def test_an_error_of_all_is_printed_once(tmp_path: Path) -> None:
    done = train(tmp_path, *arguments("device.processes=2", "steps=6", "name=run", "batch_size=64"))
    assert done.returncode == 2
    assert (
        done.stderr
        == "gan-train: batch_size=64: the data set has 60 samples, use at most that many (drawn by gan-cli)\n"
    )


# --- torchrun ----------------------------------------------------------------------------------------------------


def torchrun(folder: Path, *overrides: str, restarts: int = 0) -> subprocess.CompletedProcess[str]:
    command = [
        str(SCRIPTS / "torchrun"), "--standalone", "--nproc-per-node=2", f"--max-restarts={restarts}", "--no-python",
        str(SCRIPTS / "gan-train"), *arguments(*overrides),
    ]  # fmt: skip
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)


def test_torchrun_starts_a_run(tmp_path: Path) -> None:
    """In one folder, and without the user's own torch.py in the current folder."""
    (tmp_path / "torch.py").write_text("raise SystemExit('imported from the current folder')")
    done = torchrun(tmp_path, "steps=3", "name=run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("run: outputs/run") == 1
    assert len([*tmp_path.glob("outputs/run/*")]) == 1
    again = train(tmp_path, *arguments("device.processes=2", "steps=3", "name=spawned"))
    assert again.returncode == 0, again.stderr
    one, other = last_of(tmp_path, "run"), last_of(tmp_path, "spawned")
    assert [key for key in one if not torch.equal(one[key], other[key])] == []


@pytest.mark.slow
def test_torchrun_restarts_from_the_newest_checkpoint(tmp_path: Path) -> None:
    other = torchrun(tmp_path, "steps=4", "name=run")  # an earlier run of the same name, which must stay as it is
    assert other.returncode == 0
    (before,) = tmp_path.glob("outputs/run/*")
    (tmp_path / "killer.py").write_text(KILLER)
    killer = subprocess.Popen([sys.executable, str(tmp_path / "killer.py"), str(tmp_path), before.name])
    done = torchrun(tmp_path, "steps=200", "name=run", "training.checkpoint_every=20", restarts=2)
    killer.wait(timeout=10)
    assert done.returncode == 0, done.stderr
    folders = {path.name for path in tmp_path.glob("outputs/run/*")} - {before.name}
    assert len(folders) == 1
    assert re.search(r"resuming outputs/run/\S+ at step \d+", done.stdout)


# Kills process 1 of the run once the run has a checkpoint of step 20.
KILLER = """
import os, signal, sys, time
from pathlib import Path
folder, other = Path(sys.argv[1]), sys.argv[2]
for _ in range(1200):
    time.sleep(0.1)
    if not [path for path in folder.glob("outputs/run/*/checkpoints/step_*20.*") if other not in str(path)]:
        continue
    for process in Path("/proc").glob("[0-9]*"):
        try:
            variables = (process / "environ").read_bytes().split(b"\\0")
            if b"RANK=1" in variables and os.readlink(process / "cwd") == str(folder):
                os.kill(int(process.name), signal.SIGKILL)
                sys.exit()
        except OSError:
            pass
"""
