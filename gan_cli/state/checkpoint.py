"""Saves and loads checkpoints: a `.safetensors` file with the tensors of the state and JSON metadata."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from gan_cli import __version__
from gan_cli.config import train_config
from gan_cli.config.compatibility import parse_config
from gan_cli.config.options.fields import Bool, Integer, Number, Text, section
from gan_cli.config.train_config import Config
from gan_cli.config.validation import parse
from gan_cli.errors import CheckpointError, GanCliError, StorageError, one_line
from gan_cli.state.checkpoint_checks import check_layout, read_checkpoint_file
from gan_cli.state.train_state import OPTIONAL_COUNTERS, Counters, TrainState, expected_layout, state_tensors
from gan_cli.storage.atomic_write import replacing, temporary_path
from gan_cli.storage.checksummed_file import encode_checksummed
from gan_cli.storage.locate import OUTPUT, find_checkpoint
from gan_cli.storage.run_folder import BEST, LAST

FORMAT = 1
METRIC_PREFIXES = ("loss/", "logits/", "accuracy/", "penalty/", "grad_norm/", "learning_rate/")  # of a D update


@section
class CounterSchema:
    """Fields and ranges of the counters, for parsing untrusted files."""

    step: Integer = Field(ge=0, le=10**12, description="generator updates done")
    d_updates: Integer = Field(ge=0, le=10**15, description="discriminator updates done")
    total_steps: Integer | None = Field(ge=1, le=10**12, description="where the run ends")
    retries: Integer = Field(0, ge=0, le=10**6, description="times the run was rolled back")
    images_offset: Integer = Field(0, ge=-(10**21), le=10**21, description="images seen beyond d_updates batches")
    new_layers: Bool = Field(False, description="whether layers were new to the weights that it began with")


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
    figure: Text | None = Field(None, description="of best.safetensors: the metric by which it is the best")
    value: Number | None = Field(None, description="of best.safetensors: the value of that metric")


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
    try:
        _write(target, content)
        _point_last(folder, target, content)
        prune(folder, config.keep, spare=target)
    except OSError as error:
        raise _failed_save(target, len(content), error) from error
    return target


def save_best(state: TrainState, config: Config, folder: Path, provenance: Provenance) -> None:
    """Writes `best.safetensors`, replacing an earlier one. Raises StorageError if writing fails."""
    content = _content(state, config, provenance, None)
    try:
        _write(folder / BEST, content)
    except OSError as error:
        raise _failed_save(folder / BEST, len(content), error) from error


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
    _remove(temporary)
    try:
        os.link(target, temporary)
    except OSError:
        _write(folder / LAST, content)
        return
    os.replace(temporary, folder / LAST)
    _remove(temporary)  # renaming a file to another link of itself leaves both names
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


def _failed_save(target: Path, needed: int, error: OSError) -> StorageError:
    free = "the folder is gone"
    with contextlib.suppress(OSError):
        free = f"{shutil.disk_usage(target.parent).free:,} bytes free"
    return StorageError(f"{target}: cannot be written ({one_line(error)}); needs {needed:,} bytes, {free}")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):  # called after an error, which says more
        path.unlink(missing_ok=True)


# --- reading -----------------------------------------------------------------------------------------------------


def load(path: Path) -> Checkpoint:
    """Reads and verifies a checkpoint from any source. Raises CheckpointError if anything is wrong.

    The file is read once, so the verified bytes are the ones used. No code in it is run. The digest is checked, the
    config is parsed like a command line, and the tensors must be those of the networks that the config describes.
    """
    tensors, metadata, sha256 = read_checkpoint_file(path)
    config, counters, provenance = _parse_metadata(path, metadata)
    _check_tensors(path, tensors, config, counters)
    return Checkpoint(path, config, counters, provenance, _parse_metrics(path, metadata), sha256, tensors)


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
    return _best_or_newest(path) if path.is_dir() else load(path)


def _best_or_newest(folder: Path) -> Checkpoint:
    """Loads `best.safetensors` of a folder of checkpoints if it exists and is valid, else the newest one."""
    if (folder / BEST).is_file():
        try:
            best = load(folder / BEST)
            print(f"using {BEST}: {describe_best(best)}; for the newest, ckpt={folder / LAST}", file=sys.stderr)
            return best
        except CheckpointError as error:
            print(f"warning: {error}; using the newest", file=sys.stderr)
    found, refused = load_newest(folder)
    for reason in refused:
        print(f"warning: {reason}; using {found.path.name}", file=sys.stderr)
    return found


def describe_best(found: Checkpoint) -> str:
    """Returns for example `step 2,500, frechet-classifier 3.21`."""
    metric, value = found.provenance.figure or "", found.provenance.value
    return f"step {found.counters.step:,}" + ("" if value is None else f", {one_line(metric, 60)} {value:.4g}")


def set_aside(folder: Path, found: Checkpoint) -> list[str]:
    """Renames the refused `step_*` files newer than `found` to `*.damaged`. Returns a message for each."""
    lines = []
    for path in list_checkpoints(folder):
        if int(path.stem.removeprefix("step_")) <= found.counters.step and path != found.path:
            break
        if path != found.path:
            path.rename(path.with_name(f"{path.name}.damaged"))
            renamed = f"{path.name} is damaged and was renamed to {path.name}.damaged"
            lines.append(f"{renamed}; going on from {found.path.name}")
    return lines


def _parse_metadata(path: Path, metadata: dict[str, Any]) -> tuple[Config, Counters, Provenance]:
    """Parses config, counters and provenance of a file, which are untrusted input."""
    if metadata.get("format") != FORMAT:
        written = one_line(metadata.get("format"), 20)
        raise CheckpointError(f"{path}: of format {written}, this gan-cli {__version__} reads format {FORMAT}")
    try:
        config = parse_config(metadata.get("config"))  # type: ignore[arg-type]
        counters = parse(CounterSchema, metadata.get("counters"), "counters")
        provenance = parse(Provenance, metadata.get("provenance"), "provenance")
    except GanCliError as error:
        raise CheckpointError(f"{path}: {one_line(error, 300)}") from error
    return config, Counters(**dataclasses.asdict(counters)), provenance


def _parse_metrics(path: Path, metadata: dict[str, Any]) -> dict[str, float]:
    metrics = metadata.get("metrics", {})
    if not isinstance(metrics, dict) or not all(
        name.startswith(METRIC_PREFIXES) and type(value) in (int, float) and abs(value) < 1e300
        for name, value in metrics.items()
    ):
        raise CheckpointError(f"{path}: its metrics are not those of a discriminator update")
    return metrics


def _check_tensors(path: Path, tensors: dict[str, Tensor], config: Config, counters: Counters) -> None:
    """Checks the tensors against the config. An optimizer has a state only after the first update of its network."""
    updated = {"generator": counters.step > 0, "discriminator": counters.d_updates > 0}
    try:
        layout = expected_layout(config, stepped=frozenset(role for role, done in updated.items() if done))
    except GanCliError as error:
        raise CheckpointError(f"{path}: {one_line(error, 300)}") from error
    check_layout(path, tensors, layout)
