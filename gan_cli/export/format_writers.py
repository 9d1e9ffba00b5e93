"""The kinds of file that a generator is exported as: each is written by one function here and run by another."""

from __future__ import annotations

import copy
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gan_cli.errors import GanCliError, StorageError, UsageError, one_line
from gan_cli.export.isolated_pt2 import run_apart
from gan_cli.models.generate import respond
from gan_cli.sampling.load_generator import GENERATOR_FORMAT, LoadedGenerator, load_generator
from gan_cli.storage.checksummed_file import seal
from gan_cli.storage.locate import EXPORTED

Inputs = Sequence[tuple[Tensor, Tensor | None]]  # pairs of latents `[N, latent_dim]` and condition `[N, K]`
INPUTS = ("latent", "condition")
LARGEST_IN_ONE_FILE = 1 << 30  # bytes of weights in an ONNX file, which can hold 2 GB


class Exporter(NamedTuple):
    """`write` takes a generator, an example of its inputs and the folder; `run` what was written, and many inputs."""

    write: Callable[[LoadedGenerator, tuple[Tensor, Tensor | None], Path], None]
    run: Callable[[Path, Inputs], list[Tensor]]
    run_by: str


def _write_safetensors(generator: LoadedGenerator, example: tuple[Tensor, Tensor | None], folder: Path) -> None:
    plain = torch.contiguous_format
    tensors = generator.network.state_dict()
    named = {name: tensor.detach().cpu().clone(memory_format=plain) for name, tensor in tensors.items()}
    (folder / EXPORTED["safetensors"]).write_bytes(seal(named, {"generator": GENERATOR_FORMAT}))


def _run_safetensors(folder: Path, inputs: Inputs) -> list[Tensor]:
    loaded = load_generator(folder)
    return [respond(loaded.network, latent, condition) for latent, condition in inputs]


def _plain(network: nn.Module) -> nn.Module:
    """The network for programs that know none of ours: weights in the usual order, those divided by a norm computed."""
    plain = copy.deepcopy(network).to(memory_format=torch.contiguous_format)
    for module in plain.modules():
        if parametrize.is_parametrized(module):
            for name in list(module.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)
    return plain.requires_grad_(False).eval()


def _given(example: tuple[Tensor, Tensor | None]) -> tuple[Tensor, ...]:
    return tuple(tensor for tensor in example if tensor is not None)


def _any_batch(given: tuple[Tensor, ...]) -> tuple[dict[int, torch.export.Dim], ...]:
    batch = torch.export.Dim("batch")
    return tuple({0: batch} for _ in given)


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what torch and its exporter warn each other of, log, and print of a network that they cannot trace."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def _write_onnx(generator: LoadedGenerator, example: tuple[Tensor, Tensor | None], folder: Path) -> None:
    given, network = _given(example), _plain(generator.network)
    size = sum(tensor.nbytes for tensor in network.state_dict().values())
    with _quietly():
        torch.onnx.export(
            network,
            given,
            str(folder / EXPORTED["onnx"]),
            input_names=INPUTS[: len(given)],
            output_names=["sample"],
            dynamic_shapes=_any_batch(given),
            dynamo=True,
            external_data=size > LARGEST_IN_ONE_FILE,
            verbose=False,
        )


def _run_onnx(folder: Path, inputs: Inputs) -> list[Tensor]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(folder / EXPORTED["onnx"], options, providers=["CPUExecutionProvider"])
    made = []
    for pair in inputs:
        fed = {
            name: tensor.numpy()
            for name, tensor in zip(("latent", "condition"), pair, strict=True)
            if tensor is not None
        }
        made.append(torch.from_numpy(session.run(None, fed)[0]))
    return made


def _write_pt2(generator: LoadedGenerator, example: tuple[Tensor, Tensor | None], folder: Path) -> None:
    given = _given(example)
    with _quietly():
        program = torch.export.export(_plain(generator.network), given, dynamic_shapes=_any_batch(given))
        torch.export.save(program, folder / EXPORTED["pt2"])


def _run_pt2(folder: Path, inputs: Inputs) -> list[Tensor]:
    return run_apart(folder / EXPORTED["pt2"], inputs)


EXPORTERS = {
    "safetensors": Exporter(_write_safetensors, _run_safetensors, "gan-cli"),
    "onnx": Exporter(_write_onnx, _run_onnx, "onnxruntime"),
    "pt2": Exporter(_write_pt2, _run_pt2, "PyTorch, in a process of its own"),
}


def write_and_run(
    format: str, generator: LoadedGenerator, example: tuple[Tensor, Tensor | None], folder: Path, inputs: Inputs
) -> list[Tensor]:
    """Writes the file and gives what it makes of each of `inputs`.

    UsageError for a generator that this format cannot hold, StorageError for a file that does not run.
    """
    exporter = EXPORTERS[format]
    try:
        exporter.write(generator, example, folder)
    except (GanCliError, OSError, MemoryError):
        raise
    except Exception as error:  # exporters raise whatever they please
        raise UsageError(f"format={format}: this generator cannot be exported ({_reason(error)})") from error
    try:
        return exporter.run(folder, inputs)
    except (GanCliError, OSError, MemoryError):
        raise
    except Exception as error:
        reason = _reason(error)
        raise StorageError(f"format={format}: {exporter.run_by} cannot run what was written ({reason})") from error


def _reason(error: BaseException) -> str:
    """The first line of what an error began with: those of exporters wrap it in advice to their developers."""
    while error.__cause__ is not None:
        error = error.__cause__
    said = next((line for line in str(error).splitlines() if line.strip()), "")
    return one_line(f"{type(error).__name__}: {said}" if said else type(error).__name__, 300)
