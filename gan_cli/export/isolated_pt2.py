"""A `.pt2` file in a process of its own, as those would run it who know nothing of the generator in it.

This module, run as one with FILE INPUTS OUTPUTS, is that process's side.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gan_cli.errors import StorageError, one_line
from gan_cli.isolated_process import child_command

SECONDS = 600


def run_apart(path: Path, inputs: Sequence[tuple[Tensor, Tensor | None]]) -> list[Tensor]:
    """What the file makes of each pair of latents and condition; StorageError if it cannot be loaded or run."""
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "inputs.safetensors", Path(folder) / "outputs.safetensors"
        named = {
            f"{index}.{name}": tensor.contiguous()
            for index, pair in enumerate(inputs)
            for name, tensor in zip(("latent", "condition"), pair, strict=True)
            if tensor is not None
        }
        save_file(named, given)
        command = child_command("gan_cli.export.isolated_pt2", str(path), str(given), str(made))
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
        except subprocess.TimeoutExpired as error:
            raise StorageError(f"{path.name}: a process of its own has not run it in {SECONDS} s") from error
        if done.returncode != 0:
            reason = next(iter(done.stderr.strip().splitlines()[-1:]), f"exit code {done.returncode}")
            raise StorageError(f"{path.name}: cannot be run by a process of its own ({one_line(reason, 300)})")
        outputs = load_file(made)
    return [outputs[str(index)] for index in range(len(inputs))]


def main(path: str, given: str, made: str) -> None:
    """The process's side. Loading a .pt2 unpickles: this one was written by us, a moment ago."""
    program = torch.export.load(path).module()
    inputs = load_file(given)
    count = sum(name.endswith(".latent") for name in inputs)
    with torch.no_grad():
        outputs = {
            str(index): program(*[inputs[name] for name in (f"{index}.latent", f"{index}.condition") if name in inputs])
            for index in range(count)
        }
    save_file({name: tensor.contiguous() for name, tensor in outputs.items()}, made)


if __name__ == "__main__":
    main(*sys.argv[1:])
