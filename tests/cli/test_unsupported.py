"""What there is not: one line that says so and names the way, on whatever system."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gan_cli.cli.main import run_command
from support.configs import TINY_IMAGES, without

LINES = {
    "train device=cuda device.index=[0,1]": "device.index=[0,1]: a process uses one GPU; device.processes=2 uses two",
    "train training.augment=[blur]": "each one of ada, brightness, color, contrast, cutout, flip, hue, noise, rotation",
    "train dataset.flip=sideways": "both or vertical or true or false",
    "sample ckpt=x project=photo.png": "project: is a command of its own, gan-project ckpt=RUN",
    "sample ckpt=x mixing=0.9": "mixing: is format=mix rows=0-3 columns=4-9",
    "export ckpt=x latents=z.npz": "latents: an exported file takes latents as its input",
    "export ckpt=x format=torchscript": "format=torchscript: is not written; use format=pt2",
    "export ckpt=x format=coreml": "format=coreml: is not written; use format=onnx",
    "export ckpt=x format=tflite": "format=tflite: is not written; use format=onnx",
    "compare a b out=table.xlsx": "out=table.xlsx: the table is written as a .csv file",
}


@pytest.mark.parametrize("line", LINES)
def test_one_line_names_what_there_is(here: Path, capsys: pytest.CaptureFixture[str], line: str) -> None:
    command, *arguments = line.split()
    assert run_command(command, arguments) == 2
    error = capsys.readouterr().err
    assert LINES[line] in error
    assert error.count("\n") == 1
    assert list(here.iterdir()) == []


# As Windows is: no locks, no limits of resources, fewer signals.
BARE = """
import json, signal, sys
for name in ("fcntl", "resource"):
    sys.modules[name] = None
for name in ("SIGUSR1", "SIGHUP"):
    delattr(signal, name)
    signal.Signals._member_map_.pop(name)
from gan_cli.cli.main import run_command
sys.exit(max(run_command(command, arguments) for command, *arguments in json.loads(sys.argv[1])))
"""


def bare(*commands: list[str], where: Path) -> subprocess.CompletedProcess[str]:
    """Runs the commands one after another in a process; its exit code is the highest of theirs."""
    return subprocess.run(
        [sys.executable, "-c", BARE, json.dumps(commands)],
        cwd=where,
        env={**os.environ, "HOME": str(where)},
        capture_output=True,
        text=True,
    )


def test_without_locks_training_is_refused_in_a_line(here: Path) -> None:
    tiny = without(TINY_IMAGES, "threads")
    done = bare(["train", *tiny], ["train", "-m", "seed=1,2", *tiny], where=here)
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert line.startswith("gan-train: training needs file locks, which this system lacks: on Windows use WSL")
    assert list(here.iterdir()) == []


def test_without_locks_samples_and_exports_are_made(train: Callable[..., Path], here: Path) -> None:
    run = train(*TINY_IMAGES, "steps=1", "name=run")
    done = bare(["sample", f"ckpt={run}", "n=2"], ["export", f"ckpt={run}"], where=here)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
