"""Saves and loads checkpoints: a `.safetensors` file with the tensors of the state and JSON metadata."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from gan_cli import __version__
from gan_cli.config import train_config
from gan_cli.config.compatibility import parse_config
from gan_cli.config.options.fields import Integer, Number, Text, section
from gan_cli.config.train_config import Config
from gan_cli.config.validation import parse
from gan_cli.errors import CheckpointError, GanCliError, StorageError, format_number, one_line
from gan_cli.state.train_state import OPTIONAL_COUNTERS, Counters, Layout, TrainState, expected_layout, state_tensors
from gan_cli.storage.atomic_write import replacing, temporary_path
from gan_cli.storage.checksummed_file import ChecksummedFileError, decode_checksummed, encode_checksummed
from gan_cli.storage.locate import OUTPUT, find_checkpoint
from gan_cli.storage.run_files import read_bytes
from gan_cli.storage.run_folder import BEST, LAST

FORMAT = 1
MOST_BYTES = 16 << 30
METRIC_PREFIXES = ("loss/", "logits/", "accuracy/", "penalty/", "grad_norm/", "learning_rate/")  # of a D update


@section
class Provenance:
    """Where a checkpoint comes from. Two runs can be equal although these fields differ."""

    gan_cli: Text = Field(description="version that wrote the file")
    torch: Text = Field(description="version of PyTorch")
    threads: Integer = Field(ge=1, le=1024, description="CPU threads")
    device: Text = Field(description="device the run was on")
    fingerprint: Text = Field(description="of the data")
    seconds: Number = Field(ge=0, description="spent training")
    budget_start: Number = Field(ge=0, description="seconds at which a time budget began")
    figure: Text | None = Field(default=None, description="of best.safetensors: the metric by which it is the best")
    value: Number | None = Field(default=None, description="of best.safetensors: the value of that metric")


@dataclass(frozen=True)
class Checkpoint:
    """The content of a verified file. `metrics` are those of D that a resumed run needs for its log."""

    path: Path
    config: Config
    counters: Counters
    provenance: Provenance
    metrics: dict[str, float]
    sha256: str
    tensors: dict[str, Tensor]


# --- writing -----------------------------------------------------------------------------------------------------


def save(
    state: TrainState, config: Config, folder: Path, provenance: Provenance, metrics: dict[str, float] | None = None
) -> Path:
    """Writes `step_*.safetensors`, links `last.safetensors` to it, then removes all but the newest `config.keep`.

    If the machine stops at any moment, a complete file remains: the new one gets its name only after it is on the
    disk, and older files are removed only after that. Returns its path. Raises StorageError if writing fails.
    """
    content = _content(state, config, provenance, metrics)
    target = folder / f"step_{state.counters.step:08d}.safetensors"
    with _named_errors(target, len(content)):
        _write(target, content)
        _point_last(folder, target, content)
        prune(folder, config.keep, spare=target)
    return target


def save_best(state: TrainState, config: Config, folder: Path, provenance: Provenance) -> None:
    """Writes `best.safetensors`, replacing an earlier one. Raises StorageError if writing fails."""
    content = _content(state, config, provenance, None)
    with _named_errors(folder / BEST, len(content)):
        _write(folder / BEST, content)


@contextlib.contextmanager
def _named_errors(target: Path, needed: int) -> Iterator[None]:
    """Turns an OSError into a StorageError that names the file, the bytes it needs and those that are free."""
    try:
        yield
    except OSError as error:
        free = "the folder is gone"
        with contextlib.suppress(OSError):
            free = f"{shutil.disk_usage(target.parent).free:,} bytes free"
        raise StorageError(
            f"{target}: cannot be written ({one_line(error)}); needs {needed:,} bytes, {free}"
        ) from error


def _content(state: TrainState, config: Config, provenance: Provenance, metrics: dict[str, float] | None) -> bytearray:
    plain = torch.contiguous_format
    tensors = {name: tensor.detach().cpu().clone(memory_format=plain) for name, tensor in state_tensors(state).items()}
    metadata = {
        "format": FORMAT,
        "config": train_config.to_dict(config),
        "counters": {
            name: n for name, n in dataclasses.asdict(state.counters).items() if n or name not in OPTIONAL_COUNTERS
        },
        "metrics": metrics or {},
        "provenance": dataclasses.asdict(provenance),
    }
    return encode_checksummed(tensors, metadata)


def _write(target: Path, content: bytearray) -> None:
    """Writes a temporary file, syncs it to the disk and renames it to `target`."""
    with replacing(target) as temporary, open(temporary, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    _sync_folder(target.parent)


def _point_last(folder: Path, target: Path, content: bytearray) -> None:
    """Makes `last.safetensors` a hard link to `target`, or a copy where the file system has no hard links."""
    temporary = temporary_path(folder / LAST)
    try:
        temporary.unlink(missing_ok=True)
        os.link(target, temporary)
    except OSError:
        _write(folder / LAST, content)
        return
    os.replace(temporary, folder / LAST)
    with contextlib.suppress(OSError):  # renaming a file to another link of itself leaves both names
        temporary.unlink()
    _sync_folder(folder)


def prune(folder: Path, keep: int, spare: Path) -> None:
    """Removes all `step_*` files except the newest `keep` (0: keeps all) and `spare`."""
    for path in list_checkpoints(folder)[keep:] if keep > 0 else ():
        if path != spare:
            path.unlink()


def list_checkpoints(folder: Path) -> list[Path]:
    """Lists the `step_*` files of a folder, newest first."""
    numbered = [(path.stem.removeprefix("step_"), path) for path in folder.glob("step_*.safetensors")]
    counted = [(int(number), path) for number, path in numbered if number.isdecimal()]
    return [path for _, path in sorted(counted, reverse=True)]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- reading -----------------------------------------------------------------------------------------------------


def load(path: Path) -> Checkpoint:
    """Reads and verifies a checkpoint from any source. Raises CheckpointError if anything is wrong.

    The file is read once, so the verified bytes are the ones used. No code in it is run. The digest is checked, the
    config is parsed like a command line, and the tensors must be those of the networks that the config describes.
    """
    tensors, metadata, sha256 = read_checkpoint_file(path)
    return Checkpoint(path, *_parse_metadata(path, metadata, tensors), sha256, tensors)


def load_newest(folder: Path) -> tuple[Checkpoint, list[CheckpointError]]:
    """Returns the newest valid checkpoint in `folder`, and errors of newer ones. Raises CheckpointError without one."""
    refused: list[CheckpointError] = []
    for path in [*list_checkpoints(folder), folder / LAST]:
        try:
            return load(path), refused
        except CheckpointError as error:
            if path.exists():  # else a run in progress has just replaced it
                refused.append(error)
    raise refused[0] if refused else CheckpointError(f"{folder}: holds no checkpoint")


def load_named(named: str | os.PathLike[str], key: str = "ckpt", output: str = OUTPUT) -> Checkpoint:
    """Loads a file or, of a run, the best checkpoint (and prints so), else the newest. `key` is for error messages."""
    path = find_checkpoint(named, key, output)
    if not path.is_dir():
        return load(path)
    if (path / BEST).is_file():
        try:
            best = load(path / BEST)
            metric, value = best.provenance.figure or "", best.provenance.value
            score = "" if value is None else f", {one_line(metric, 60)} {format_number(value)}"
            step = f"step {best.counters.step:,}{score}"
            print(f"using {BEST}: {step}; for the newest, ckpt={path / LAST}", file=sys.stderr)
            return best
        except CheckpointError as error:
            print(f"warning: {error}; using the newest", file=sys.stderr)
    found, refused = load_newest(path)
    for reason in refused:
        print(f"warning: {reason}; using {found.path.name}", file=sys.stderr)
    return found


def set_aside(folder: Path, found: Checkpoint) -> list[str]:
    """Renames the refused `step_*` files newer than `found` to `*.damaged`. Returns a message for each."""
    lines = []
    for path in list_checkpoints(folder):
        if path != found.path and int(path.stem.removeprefix("step_")) > found.counters.step:
            path.rename(path.with_name(f"{path.name}.damaged"))
            renamed = f"{path.name} is damaged and was renamed to {path.name}.damaged"
            lines.append(f"{renamed}; going on from {found.path.name}")
    return lines


def _parse_metadata(
    path: Path, metadata: dict[str, Any], tensors: dict[str, Tensor]
) -> tuple[Config, Counters, Provenance, dict[str, float]]:
    """Parses metadata, which are untrusted input, and checks the tensors against them."""
    if metadata.get("format") != FORMAT:
        written = one_line(metadata.get("format"), 20)
        raise CheckpointError(f"{path}: of format {written}, this gan-cli {__version__} reads format {FORMAT}")
    try:
        config = parse_config(metadata.get("config"))  # type: ignore[arg-type]
        counters: Counters = parse(Counters, metadata.get("counters"), "counters")
        provenance = parse(Provenance, metadata.get("provenance"), "provenance")
        updated = {"generator": counters.step > 0, "discriminator": counters.d_updates > 0}
        layout = expected_layout(config, stepped=frozenset(role for role, done in updated.items() if done))
    except GanCliError as error:
        raise CheckpointError(f"{path}: {one_line(error, 300)}") from error
    check_layout(path, tensors, layout)
    metrics = metadata.get("metrics", {})
    if not isinstance(metrics, dict) or not all(
        name.startswith(METRIC_PREFIXES) and type(value) in (int, float) and abs(value) < 1e300
        for name, value in metrics.items()
    ):
        raise CheckpointError(f"{path}: its metrics are not those of a discriminator update")
    return config, counters, provenance, metrics


def read_checkpoint_file(path: Path) -> tuple[dict[str, Tensor], dict[str, Any], str]:
    """Reads and verifies a `.safetensors` file. Returns its tensors, its metadata and its sha256.

    Raises CheckpointError for another suffix, or if the file is unreadable, damaged or too large.
    """
    if path.suffix != ".safetensors" and path.exists():
        raise CheckpointError(f"{path}: expected a .safetensors file written by gan-train; .pt and .pkl can run code")
    try:
        if not path.is_file():
            raise CheckpointError(f"{path}: " + ("not a regular file" if path.exists() else "no such checkpoint"))
        return decode_checksummed(read_bytes(path, MOST_BYTES, follow=True))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    except ChecksummedFileError as error:
        raise CheckpointError(f"{path}: {one_line(error, 200)}") from error


def check_layout(path: Path, tensors: dict[str, Tensor], layout: Layout) -> None:
    """Raises CheckpointError unless names, shapes and dtypes are those of the layout, and all values are finite."""
    if tensors.keys() != layout.keys():
        odd = sorted(tensors.keys() ^ layout.keys())
        raise CheckpointError(
            f"{path}: does not fit its config; {len(odd)} tensors too many or missing, such as {one_line(odd[0], 100)}"
        )
    for name, (shape, dtype) in layout.items():
        found = tensors[name]
        if tuple(found.shape) != shape or found.dtype != dtype:
            raise CheckpointError(
                f"{path}: {name} is {found.dtype} {tuple(found.shape)}, by its config it would be {dtype} {shape}"
            )
        if found.is_floating_point() and not found.isfinite().all():
            raise CheckpointError(f"{path}: {name} holds values that are not finite")
