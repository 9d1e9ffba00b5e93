"""Saves and loads checkpoints: a `.safetensors` file with the tensors of the state and JSON metadata."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
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
from gan_cli.state.checkpoint_file import check_layout, read_checkpoint_file
from gan_cli.state.train_state import OPTIONAL_COUNTERS, Counters, Layout, TrainState, expected_layout, state_tensors
from gan_cli.storage.atomic_write import replacing, sync, temporary_folder
from gan_cli.storage.checksummed_file import encode_checksummed
from gan_cli.storage.locate import OUTPUT, find_checkpoint
from gan_cli.storage.run_folder import BEST, LAST, PAUSED

FORMAT = 1
METRIC_PREFIXES = ("loss/", "logits/", "accuracy/", "penalty/", "grad_norm/", "learning_rate/")  # of a D update


@section
class Provenance:
    """Where a checkpoint comes from. Two runs can be equal although these fields differ."""

    gan_cli: Text = Field(description="version that wrote the file")
    torch: Text = Field(description="version of PyTorch")
    threads: Integer = Field(ge=1, le=1024, description="CPU threads")
    device: Text = Field(description="device the run was on")
    python: Text | None = Field(default=None, description="version of Python")
    cpu: Text | None = Field(default=None, description="model of the CPU, and the instructions that PyTorch uses of it")
    flags: Text | None = Field(default=None, description="settings that change how PyTorch computes")
    fingerprint: Text = Field(description="of the data")
    seconds: Number = Field(ge=0, description="spent training")
    budget_start: Number = Field(ge=0, description="seconds at which a time budget began")
    lines: Integer | None = Field(default=None, ge=0, description="lines of metrics.jsonl of earlier steps")
    figure: Text | None = Field(default=None, description="of best.safetensors: the metric by which it is the best")
    value: Number | None = Field(default=None, description="of best.safetensors: the value of that metric")


@dataclass(frozen=True)
class Checkpoint:
    """The content of a verified file."""

    path: Path
    config: Config
    counters: Counters
    provenance: Provenance
    metrics: dict[str, float]  # of D, for the log of a resumed run
    sha256: str
    tensors: dict[str, Tensor]
    due: Any = None  # the work that was due after the last step, if any, as JSON that is not checked yet


# --- writing -----------------------------------------------------------------------------------------------------


def save(
    state: TrainState,
    config: Config,
    folder: Path,
    provenance: Provenance,
    metrics: dict[str, float] | None = None,
    *,
    due: dict[str, Any] | None = None,
    paused: bool = False,
) -> Path:
    """Writes `step_*.safetensors`, links `last.safetensors` to it, then removes all but the newest `config.keep`.

    With `paused`, writes `paused.safetensors` instead, removes nothing, and the next `step_*` file replaces it: a run
    may be stopped anywhere, and the checkpoints of its schedule must not depend on that.

    A new file gets its name only after it is on the disk, and older files are removed only after that. Returns its
    path. Raises StorageError if writing fails.
    """
    content = _content(state, config, provenance, metrics, due)
    target = folder / (PAUSED if paused else _scheduled_name(state.counters.step))
    with _named_errors(target, len(content)):
        _write(target, content)
        _point_last(folder, target, content)
        if not paused:
            prune(folder, config.keep, spare=target)
            (folder / PAUSED).unlink(missing_ok=True)
    return target


def _scheduled_name(step: int) -> str:
    return f"step_{step:08d}.safetensors"


def save_best(state: TrainState, config: Config, folder: Path, provenance: Provenance) -> None:
    """Writes `best.safetensors`, replacing an earlier one. Raises StorageError if writing fails."""
    content = _content(state, config, provenance)
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
            f"{target}: cannot be written ({one_line(error.strerror or error)}); needs {needed:,} bytes, {free}"
        ) from error


def _content(
    state: TrainState,
    config: Config,
    provenance: Provenance,
    metrics: dict[str, float] | None = None,
    due: dict[str, Any] | None = None,
) -> bytearray:
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
        **({} if due is None else {"due": due}),
    }
    return encode_checksummed(tensors, metadata)


def _write(target: Path, content: bytearray) -> None:
    with replacing(target) as temporary:
        temporary.write_bytes(content)


def _point_last(folder: Path, target: Path, content: bytearray) -> None:
    """Makes `last.safetensors` a hard link to `target`, or a copy where the file system has no hard links."""
    with temporary_folder(folder) as inside:
        try:
            os.link(target, inside / LAST)
        except OSError:
            (inside / LAST).write_bytes(content)
            sync(inside / LAST)
        os.replace(inside / LAST, folder / LAST)
    sync(folder)


def prune(folder: Path, keep: int, spare: Path) -> None:
    """Removes all `step_*` files except the newest `keep` (0: keeps all) and `spare`."""
    for path in list_checkpoints(folder)[keep:] if keep > 0 else ():
        if path != spare:
            path.unlink()


def list_checkpoints(folder: Path) -> list[Path]:
    """Lists the `step_*` files of a folder, newest first. Leaves out names that `save` does not write."""
    paths = sorted(folder.glob("step_*.safetensors"), key=_step_of, reverse=True)
    return [path for path in paths if path.name == _scheduled_name(_step_of(path))]


def _step_of(path: Path) -> int:
    """Returns the number in the name of a `step_*` file, -1 without a number."""
    number = path.stem.removeprefix("step_")
    return int(number) if number.isdecimal() else -1


# --- reading -----------------------------------------------------------------------------------------------------


def load(path: Path) -> Checkpoint:
    """Reads and verifies a checkpoint from any source. Raises CheckpointError if anything is wrong.

    No code in it is run. The digest is checked, the config is parsed like a command line, and the tensors must be those
    of the networks that the config describes.
    """
    tensors, metadata, sha256 = read_checkpoint_file(path, lambda metadata: _parse_metadata(path, metadata)[-1])
    config, counters, provenance, metrics, layout = _parse_metadata(path, metadata)
    check_layout(path, tensors, layout)
    return Checkpoint(path, config, counters, provenance, metrics, sha256, tensors, metadata.get("due"))


def load_newest(folder: Path, *, scheduled: bool = False) -> tuple[Checkpoint, dict[Path, CheckpointError]]:
    """Returns the newest valid checkpoint in `folder`, and the errors of newer files by their paths.

    With `scheduled`, `paused.safetensors` is passed over. Raises CheckpointError without a valid file.
    """
    refused: dict[Path, CheckpointError] = {}
    paused = None if scheduled else _load_or_refuse(folder / PAUSED, refused)
    for path in [*list_checkpoints(folder), folder / LAST]:
        if paused is not None and (path.name == LAST or _step_of(path) <= paused.counters.step):
            return paused, refused
        found = _load_or_refuse(path, refused)
        if found is not None:
            return found, refused
    raise next(iter(refused.values()), CheckpointError(f"{folder}: holds no checkpoint"))


def _load_or_refuse(path: Path, refused: dict[Path, CheckpointError]) -> Checkpoint | None:
    """Returns a checkpoint. If it is not valid, adds its error to `refused` and returns None; None if it is missing.

    Raises CheckpointError if this user may not read it: it may be valid, and going on without it would lose work.
    """
    try:
        return load(path)
    except CheckpointError as error:
        if isinstance(error.__cause__, PermissionError):
            raise
        if path.exists():  # else there was none, or a run in progress has just replaced it
            refused[path] = error
        return None


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
    for reason in refused.values():
        print(f"warning: {reason}; using {found.path.name}", file=sys.stderr)
    return found


def set_aside(found: Checkpoint, refused: Iterable[Path]) -> list[str]:
    """Renames the files that were refused for `found` to `*.damaged`, except `last`. Returns a message for each."""
    lines = []
    for path in refused:
        if path.name != LAST:
            path.rename(path.with_name(f"{path.name}.damaged"))
            renamed = f"{path.name} is damaged and was renamed to {path.name}.damaged"
            lines.append(f"{renamed}; going on from {found.path.name}")
    return lines


def _parse_metadata(
    path: Path, metadata: dict[str, Any]
) -> tuple[Config, Counters, Provenance, dict[str, float], Layout]:
    """Parses metadata, which are untrusted input. Returns also the layout that the tensors must have by them."""
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
    metrics = metadata.get("metrics", {})
    if not isinstance(metrics, dict) or not all(
        name.startswith(METRIC_PREFIXES) and type(value) in (int, float) and abs(value) < 1e300
        for name, value in metrics.items()
    ):
        raise CheckpointError(f"{path}: its metrics are not those of a discriminator update")
    return config, counters, provenance, metrics, layout
