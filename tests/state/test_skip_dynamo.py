"""Torch's compiler is not imported for a run that compiles nothing, and optimizers compute what they did."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support.configs import TINY_IMAGES, without
from support.images import write_class_folders

STEPS = """
import os, sys, torch
if os.fork() == 0:  # the child goes first
    from gan_cli.state.optimizers import avoid_dynamo_import
    avoid_dynamo_import()
    avoid_dynamo_import()
else:
    os.wait()
for name, settings in {"Adam": {}, "AdamW": {"fused": True}, "RMSprop": {"foreach": True}, "SGD": {"lr": 0.1}}.items():
    torch.manual_seed(0)
    network = torch.nn.Linear(3, 4)
    optimizer = getattr(torch.optim, name)(network.parameters(), **settings)
    for _ in range(5):
        optimizer.zero_grad()
        network(torch.ones(2, 3)).square().sum().backward()
        optimizer.step()
        assert torch.is_grad_enabled()
    optimizer.load_state_dict(optimizer.state_dict())
    print([weight.hex() for parameter in network.parameters() for weight in parameter.flatten().tolist()])
print("torch._dynamo" in sys.modules, flush=True)
"""


def printed(folder: Path, code: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_optimizers_compute_the_same_without_the_compiler(tmp_path: Path) -> None:
    lines = printed(tmp_path, STEPS)
    spared, plain = lines[:5], lines[5:]
    assert plain[:-1] == spared[:-1]
    assert len(set(plain[:-1])) == 4
    assert (plain[-1], spared[-1]) == ("True", "False")  # a torch that does otherwise needs none of this


RUNS = """
import sys
from gan_cli.cli.main import run_command
for arguments in {commands!r}:
    assert run_command("train", arguments) == 0, arguments
assert run_command("sample", ["ckpt=outputs/run"]) == 0
print(*sys.modules)
"""
POINTS = ["dataset=ring", "dataset.size=100", "architecture=mlp", "regularizer=none", "steps=1", "threads=1"]
IMAGES = [*without(TINY_IMAGES, "dataset", "image_size"), "steps=1"]
COMMANDS = [
    *([*POINTS, f"optimizer={name}"] for name in ("adam", "adamw", "rmsprop", "sgd")),
    [*IMAGES, "dataset.download=false", "dataset.root=."],
    [*IMAGES, "dataset=folder", "dataset.path=pets", "dataset.cache=none", "image_size=16", "name=run"],
]


def test_a_run_and_its_samples_import_neither_a_compiler_nor_a_package_that_was_not_chosen(tmp_path: Path) -> None:
    """torchvision too takes a second to import, so only a data set that needs it imports it."""
    write_class_folders(tmp_path / "pets", cat=5, dog=5)
    modules = printed(tmp_path, RUNS.format(commands=COMMANDS))[-1].split()
    assert "torch" in modules
    assert {"torch._dynamo", "torchvision", "tensorboard", "wandb", "mlflow", "onnx"}.isdisjoint(modules)
