"""Whether every experiment trains to the same bits as with another version of this program.

    python benchmarks/unchanged.py --before ../other/.venv/bin/python --root DATA

Each experiment of this version is trained for six steps by both, and all tensors of the last checkpoints are compared:
networks, averages, optimizers. Fashion-MNIST and MNIST lie below `--root`; experiments on other pictures get drawn
shapes in their place.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from trials import Program

from gan_cli.config.compose import compose_command, groups

SHORT = ["steps=6", "training.checkpoint_every=6", "training.sample_every=100", "threads=1", "output=.", "name=run"]
SHAPES = ["dataset=shapes", "dataset.size=1000", "dataset.image_channels=3", "conditioning=none"]


def overrides_of(experiment: str, root: Path) -> list[str]:
    """The experiment on data that lie here."""
    named = [f"experiment={experiment}"]
    dataset = compose_command("train", named).data["dataset"]["name"]
    budget = ["budget=null"] if experiment == "fast" else []
    if "mnist" in dataset:
        return [*named, *budget, f"dataset.root={root.absolute()}", "dataset.download=false", "dataset.limit=1000"]
    return [*named, *(SHAPES if dataset in ("folder", "cifar10") else [])]


def trained(program: Program, overrides: list[str]) -> dict[str, Tensor]:
    """The tensors of the last checkpoint; SystemExit if the command fails."""
    with tempfile.TemporaryDirectory() as folder:
        command = [program.command("train"), *overrides, *SHORT]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        checkpoints = sorted(Path(folder).glob("run/*/checkpoints/*.safetensors"))
        if not checkpoints:
            raise SystemExit(f"{' '.join(command)}: {done.stderr.strip()}")
        return load_file(checkpoints[-1])


def differing(before: dict[str, Tensor], now: dict[str, Tensor]) -> list[str]:
    """Names of tensors that are not in both, or not equal."""
    alone = before.keys() ^ now.keys()
    return sorted(alone | {name for name in before.keys() & now.keys() if not torch.equal(before[name], now[name])})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="the Python of an environment with another version")
    parser.add_argument("--root", type=Path, required=True, help="folder of MNIST and Fashion-MNIST")
    options = parser.parse_args()
    changed = 0
    for experiment in groups()["experiment"]:
        overrides = overrides_of(experiment, options.root)
        before, now = (trained(program, overrides) for program in (Program(options.before), Program()))
        names = differing(before, now)
        changed += bool(names)
        print(
            f"{experiment}: {len(now)} tensors, " + (f"{len(names)} differ: {names[0]}" if names else "equal"),
            flush=True,
        )
    sys.exit(1 if changed else 0)


if __name__ == "__main__":
    main()
