"""Runs a `.pt2` file in a subprocess that does not load the code of the generator, like a program of another user."""

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

TIMEOUT_SECONDS = 600


def run_in_subprocess(path: Path, inputs: Sequence[dict[str, Tensor]]) -> list[Tensor]:
    """Runs the file on each of the inputs, tensors in the order of its arguments, and returns the samples.

    Raises StorageError if the subprocess fails or takes longer than `TIMEOUT_SECONDS`.
    """
    with tempfile.TemporaryDirectory() as folder:
        inputs_file, outputs_file = Path(folder) / "inputs.safetensors", Path(folder) / "outputs.safetensors"
        tensors = {
            f"{index}.{position}": tensor.contiguous()
            for index, tensors in enumerate(inputs)
            for position, tensor in enumerate(tensors.values())
        }
        save_file(tensors, inputs_file)
        command = child_command("gan_cli.export.isolated_pt2", str(path), str(inputs_file), str(outputs_file))
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise StorageError(f"{path.name}: a subprocess has not run it in {TIMEOUT_SECONDS} s") from error
        if done.returncode != 0:
            reason = next(iter(done.stderr.strip().splitlines()[-1:]), f"exit code {done.returncode}")
            raise StorageError(f"{path.name}: a subprocess cannot run it ({one_line(reason, 300)})")
        outputs = load_file(outputs_file)
    return [outputs[str(index)] for index in range(len(inputs))]


def main(path: str, inputs_file: str, outputs_file: str) -> None:
    """Runs in the subprocess: loads the `.pt2` file, and writes its output for each input to `outputs_file`.

    Loading a `.pt2` file may run code in the file. That is safe here, because `gan-export` has just written the file.
    """
    program = torch.export.load(path).module()
    arguments: dict[str, list[Tensor]] = {}
    for name, tensor in sorted(load_file(inputs_file).items()):
        arguments.setdefault(name.partition(".")[0], []).append(tensor)
    with torch.no_grad():
        outputs = {index: program(*tensors).contiguous() for index, tensors in arguments.items()}
    save_file(outputs, outputs_file)


if __name__ == "__main__":
    main(*sys.argv[1:])
