"""The file formats of `gan-export`. For each format, one function writes the file and one runs the written file."""

from __future__ import annotations

import copy
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gan_cli.errors import GanCliError, StorageError, UsageError, one_line
from gan_cli.export.isolated_pt2 import run_in_subprocess
from gan_cli.sampling.load_generator import GENERATOR_FORMAT, LoadedGenerator, load_generator
from gan_cli.storage.checksummed_file import encode_checksummed
from gan_cli.storage.locate import EXPORTED
from gan_cli.tasks.condition import Condition
from gan_cli.tasks.tasks import hide

Inputs = dict[str, Tensor]  # by name, in the order of INPUT_NAMES: the inputs of one run of the generator
INPUT_NAMES = ("latent", "condition", "image", "mask")  # the condition is the labels `[N, K]`
MAX_ONE_FILE_BYTES = 1 << 30  # larger weights are written to a second file: an ONNX file holds at most 2 GB


class Exporter(NamedTuple):
    """Functions that write a generator, with example inputs, to a file, and that run this file.

    `run` returns the samples `[N, *sample_shape]` for each of the inputs. `runtime` names what runs it, for messages.
    """

    write: Callable[[LoadedGenerator, Inputs, Path], None]
    run: Callable[[Path, Sequence[Inputs]], list[Tensor]]
    runtime: str


class NamedInputs(nn.Module):
    """A generator as a function of the tensors with these names, without those that it does not take.

    With a mask, the hidden pixels of the image are set to 0 first, as in training, so that they have no effect.
    """

    def __init__(self, network: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.network, self.names = network, tuple(names)

    def forward(self, *tensors: Tensor) -> Tensor:
        given = dict(zip(self.names, tensors, strict=True))
        latent = given.pop("latent") if "latent" in given else tensors[0].new_zeros(tensors[0].shape[0], 0)
        if "condition" in given:
            given["labels"] = given.pop("condition")
        if "mask" in given:
            given["image"] = hide(given["image"], given["mask"])
        return self.network(latent, Condition(**given) if given else None)

    def run(self, inputs: Inputs) -> Tensor:
        """Returns the samples, float32 on the CPU, without gradient."""
        device = next(self.parameters()).device
        with torch.no_grad():
            return self(*(tensor.to(device) for tensor in inputs.values())).float().cpu()


def _write_safetensors(generator: LoadedGenerator, example: Inputs, path: Path) -> None:
    layout = torch.contiguous_format
    state = generator.network.state_dict()
    tensors = {name: tensor.detach().cpu().clone(memory_format=layout) for name, tensor in state.items()}
    path.write_bytes(encode_checksummed(tensors, {"generator": GENERATOR_FORMAT}))


def _run_safetensors(path: Path, inputs: Sequence[Inputs]) -> list[Tensor]:
    network = load_generator(path.parent).network
    return [NamedInputs(network, [*each]).run(each) for each in inputs]


def _plain_network(network: nn.Module) -> nn.Module:
    """Returns a copy of the network with contiguous weights, in evaluation mode and without gradients.

    Parametrizations such as spectral normalization are replaced by the weights that they compute.
    """
    plain = copy.deepcopy(network).to(memory_format=torch.contiguous_format)
    for module in plain.modules():
        if parametrize.is_parametrized(module):
            for name in list(module.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)
    return plain.requires_grad_(False).eval()


def _arguments(generator: LoadedGenerator, example: Inputs) -> tuple[nn.Module, tuple[Tensor, ...], Any]:
    """Returns the network, its inputs, and `dynamic_shapes` of `torch.export` for any batch size."""
    network, batch = NamedInputs(_plain_network(generator.network), [*example]), torch.export.Dim("batch")
    return network.eval(), tuple(example.values()), (tuple({0: batch} for _ in example),)


@contextmanager
def _suppress_output() -> Iterator[None]:
    """While entered, hides all warnings, log lines and output to stderr, which PyTorch's exporter writes a lot of."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(action="ignore"), redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(disabled)


def _write_onnx(generator: LoadedGenerator, example: Inputs, path: Path) -> None:
    network, inputs, dynamic_shapes = _arguments(generator, example)
    size = sum(tensor.nbytes for tensor in network.state_dict().values())
    with _suppress_output():
        torch.onnx.export(
            network,
            inputs,
            str(path),
            input_names=[*example],
            output_names=["sample"],
            dynamic_shapes=dynamic_shapes,
            dynamo=True,
            external_data=size > MAX_ONE_FILE_BYTES,
            verbose=False,
        )


def _run_onnx(path: Path, inputs: Sequence[Inputs]) -> list[Tensor]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    arrays = [{name: tensor.numpy() for name, tensor in each.items()} for each in inputs]
    return [torch.from_numpy(session.run(None, each)[0]) for each in arrays]


def _write_pt2(generator: LoadedGenerator, example: Inputs, path: Path) -> None:
    network, inputs, dynamic_shapes = _arguments(generator, example)
    with _suppress_output():
        program = torch.export.export(network, inputs, dynamic_shapes=dynamic_shapes)
        torch.export.save(program, path)


EXPORTERS = {
    "safetensors": Exporter(_write_safetensors, _run_safetensors, "gan-cli"),
    "onnx": Exporter(_write_onnx, _run_onnx, "onnxruntime"),
    "pt2": Exporter(_write_pt2, run_in_subprocess, "PyTorch, in a subprocess"),
}


def write_and_run(
    format: str, generator: LoadedGenerator, example: Inputs, folder: Path, inputs: Sequence[Inputs]
) -> list[Tensor]:
    """Writes the exported file, runs the file, and returns the samples for each entry of `inputs`.

    Raises UsageError if the format cannot hold this generator. Raises StorageError if the written file does not run.
    """
    exporter, path = EXPORTERS[format], folder / EXPORTED[format]
    with _errors_as(UsageError, f"format={format}: this generator cannot be exported"):
        exporter.write(generator, example, path)
    with _errors_as(StorageError, f"format={format}: {exporter.runtime} cannot run what was written"):
        return exporter.run(path, inputs)


@contextmanager
def _errors_as(kind: type[GanCliError], message: str) -> Iterator[None]:
    """Raises `kind` for the errors of exporters, which may be of any type."""
    try:
        yield
    except (GanCliError, OSError, MemoryError):
        raise
    except Exception as error:
        first: BaseException = error  # exporters wrap the error that first occurred in advice for developers
        while first.__cause__ is not None:
            first = first.__cause__
        reason = f"{type(first).__name__}: {next(filter(str.strip, str(first).splitlines()), '')}"
        raise kind(f"{message} ({one_line(reason.removesuffix(': '), 300)})") from error
