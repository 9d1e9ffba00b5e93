"""A checkpoint is one `.safetensors` file: the state's tensors, and one metadata text with everything else.

The text holds the sha256 of the whole file, taken with its own 64 digits as zeros. safetensors itself has no
checksum: without this one, a flipped bit in a weight would load as another weight. It proves integrity, not origin.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from gan_cli import __version__, schema
from gan_cli import config as configs
from gan_cli.config import Config
from gan_cli.errors import CheckpointError, GanCliError, StorageError, one_line
from gan_cli.schema import key
from gan_cli.state import Counters, TrainState, expected_layout, state_tensors

FORMAT = 1
METADATA_KEY = "gan-cli"
NO_DIGEST = "0" * 64
MOST_HEADER_BYTES = 4 << 20
LAST = "last.safetensors"


@dataclass(frozen=True)
class CounterSchema:
    """The counters as untrusted input."""

    step: int = key("generator updates done", at_least=0, at_most=10**12)
    d_updates: int = key("discriminator updates done", at_least=0, at_most=10**15)
    total_steps: int | None = key("where the run ends", at_least=1, at_most=10**12)


@dataclass(frozen=True)
class Provenance:
    """Told about a run, and no part of what makes two runs equal."""

    gan_cli: str = key("version that wrote the file")
    torch: str = key("version of PyTorch")
    threads: int = key("CPU threads", at_least=1, at_most=65536)
    device: str = key("device the run was on")
    fingerprint: str = key("of the data")
    seconds: float = key("spent training", at_least=0)
    budget_start: float = key("seconds at which a time budget began", at_least=0)


@dataclass(frozen=True)
class Checkpoint:
    """A verified file's content. `metrics` are those of D's half of an unfinished step, else empty."""

    path: Path
    config: Config
    counters: Counters
    provenance: Provenance
    metrics: dict[str, float]
    sha256: str
    tensors: dict[str, Tensor]


# --- writing -----------------------------------------------------------------------------------------------------


def file_name(step: int) -> str:
    return f"step_{step:08d}.safetensors"


def save(
    state: TrainState, config: Config, folder: Path, provenance: Provenance, metrics: dict[str, float] | None = None
) -> Path:
    """Writes `step_*.safetensors`, points `last.safetensors` at it, then removes all but the newest `config.keep`.

    Whenever the machine stops, the newest complete file is whole: a temporary name, fsync, rename, fsync of the
    folder, and only then are older files touched. StorageError tells what a failed save needed.
    """
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state_tensors(state).items()}
    text = json.dumps(
        {
            "sha256": NO_DIGEST,
            "format": FORMAT,
            "config": configs.to_dict(config),
            "counters": dataclasses.asdict(state.counters),
            "metrics": metrics or {},
            "provenance": dataclasses.asdict(provenance),
        }
    )
    target = folder / file_name(state.counters.step)
    temporary = folder / f".{target.name}.tmp"
    try:
        save_file(tensors, temporary, metadata={METADATA_KEY: text})
        _seal(temporary)
        os.replace(temporary, target)
        _sync_folder(folder)
        _point_last(folder, target)
        prune(folder, config.keep)
    except (OSError, SafetensorError) as error:
        _remove(temporary)
        raise _failed_save(target, tensors, error) from error
    return target


def _seal(path: Path) -> None:
    """Writes the file's digest into its metadata and forces it to disk."""
    with open(path, "r+b") as stream:
        offset = _digest_offset(_read_header(stream), NO_DIGEST)
        stream.seek(0)
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        stream.seek(offset)
        stream.write(digest.encode())
        stream.flush()
        os.fchmod(stream.fileno(), 0o666 & ~_umask())  # safetensors makes it readable by its owner alone
        os.fsync(stream.fileno())


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _point_last(folder: Path, target: Path) -> None:
    """`last.safetensors` becomes another name of `target`, or a copy where the file system has no hard links."""
    temporary = folder / f".{LAST}.tmp"
    _remove(temporary)
    try:
        os.link(target, temporary)
    except OSError:
        temporary.write_bytes(target.read_bytes())
        with open(temporary, "rb") as stream:
            os.fsync(stream.fileno())
    os.replace(temporary, folder / LAST)
    _remove(temporary)  # a rename onto another name of the same file does nothing
    _sync_folder(folder)


def prune(folder: Path, keep: int) -> None:
    """Removes all but the newest `keep` files that this module named; 0 keeps all."""
    if keep > 0:
        for path in checkpoints_in(folder)[keep:]:
            path.unlink()


def checkpoints_in(folder: Path) -> list[Path]:
    """The `step_*` files, newest first."""
    numbered = [(path.stem.removeprefix("step_"), path) for path in folder.glob("step_*.safetensors")]
    counted = [(int(number), path) for number, path in numbered if number.isdecimal()]
    return [path for _, path in sorted(counted, reverse=True)]


def _failed_save(target: Path, tensors: dict[str, Tensor], error: Exception) -> StorageError:
    needed = sum(tensor.nbytes for tensor in tensors.values())
    try:
        stat = os.statvfs(target.parent)
        free = f"{stat.f_bavail * stat.f_frsize:,} bytes free"
    except OSError:
        free = "the folder is gone"
    return StorageError(f"{target}: cannot be written ({one_line(error)}); needs {needed:,} bytes, {free}")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):  # the error that brought us here says more
        path.unlink(missing_ok=True)


# --- reading -----------------------------------------------------------------------------------------------------


def load(path: Path) -> Checkpoint:
    """Verifies a file from anywhere and reads it; CheckpointError in one line.

    Nothing in the file is run: its digest is checked, its config passes the parser and the range checks of the
    command line, and names, shapes and dtypes must be those of the networks this config describes.
    """
    try:
        metadata, sha256 = _verified_metadata(path)
        config, counters, provenance = _parse_metadata(path, metadata)
        tensors = _read_tensors(path, config, counters)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: not a readable checkpoint ({one_line(error, 200)})") from error
    return Checkpoint(path, config, counters, provenance, _parse_metrics(path, metadata), sha256, tensors)


def newest(folder: Path) -> tuple[Checkpoint, list[str]]:
    """The newest checkpoint in `folder` that verifies, and why newer ones did not; CheckpointError if none does."""
    refused: list[str] = []
    for path in checkpoints_in(folder):
        try:
            return load(path), refused
        except CheckpointError as error:
            refused.append(str(error))
    raise CheckpointError(refused[0] if refused else f"{folder}: holds no checkpoint")


def _verified_metadata(path: Path) -> tuple[dict[str, Any], str]:
    if path.suffix != ".safetensors":
        raise CheckpointError(f"{path}: expected a .safetensors file written by gan-train; .pt and .pkl can run code")
    if not path.is_file():
        raise CheckpointError(f"{path}: " + ("not a regular file" if path.exists() else "no such checkpoint"))
    with open(path, "rb") as stream:
        header = _read_header(stream)
        text = _metadata_text(path, header)
        metadata = _loads(path, text)
        sha256 = metadata.get("sha256")
        if not isinstance(sha256, str) or len(sha256) != 64:
            raise CheckpointError(f"{path}: its metadata holds no sha256")
        offset = _digest_offset(header, sha256)
        if _digest_without(stream, offset) != sha256:
            raise CheckpointError(f"{path}: damaged, its content does not match its sha256")
    return metadata, sha256


def _read_header(stream: Any) -> bytes:
    """The 8 bytes of length and the JSON that follows."""
    length = stream.read(8)
    if len(length) < 8:
        raise SafetensorError("ends within its header")
    size = struct.unpack("<Q", length)[0]
    if size > MOST_HEADER_BYTES:
        raise SafetensorError(f"a header of {size} bytes")
    header = stream.read(size)
    if len(header) < size:
        raise SafetensorError("ends within its header")
    return length + header


def _metadata_text(path: Path, header: bytes) -> str:
    metadata = _loads(path, header[8:]).get("__metadata__")
    if not isinstance(metadata, dict) or not isinstance(metadata.get(METADATA_KEY), str):
        raise CheckpointError(f"{path}: a .safetensors file, but not one that gan-train wrote")
    return metadata[METADATA_KEY]


def _loads(path: Path, text: str | bytes) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: damaged, its header is not JSON") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: damaged, its header is not a JSON object")
    return content


def _digest_offset(header: bytes, digest: str) -> int:
    """Where the 64 digits stand in the file: behind the first key of the metadata, whose quotes JSON escapes."""
    marker = b'"{\\"sha256\\": \\"'
    offset = header.find(marker + digest.encode())
    if offset < 0:
        raise SafetensorError("its sha256 is not where gan-train puts it")
    return offset + len(marker)


def _digest_without(stream: Any, offset: int) -> str:
    stream.seek(0)
    digest = hashlib.sha256(stream.read(offset) + NO_DIGEST.encode())
    stream.seek(offset + 64)
    while chunk := stream.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


def _parse_metadata(path: Path, metadata: dict[str, Any]) -> tuple[Config, Counters, Provenance]:
    if metadata.get("format") != FORMAT:
        written = one_line(metadata.get("format"), 20)
        raise CheckpointError(f"{path}: of format {written}, this gan-cli {__version__} reads format {FORMAT}")
    try:
        config = configs.parse(metadata.get("config"))  # type: ignore[arg-type]
        counters = schema.parse(CounterSchema, metadata.get("counters"), "counters")
        provenance = schema.parse(Provenance, metadata.get("provenance"), "provenance")
    except GanCliError as error:
        raise CheckpointError(f"{path}: {one_line(error, 300)}") from error
    return config, Counters(**dataclasses.asdict(counters)), provenance


def _parse_metrics(path: Path, metadata: dict[str, Any]) -> dict[str, float]:
    metrics = metadata.get("metrics", {})
    if not isinstance(metrics, dict) or not all(isinstance(value, int | float) for value in metrics.values()):
        raise CheckpointError(f"{path}: its metrics are not numbers")
    return metrics


def _read_tensors(path: Path, config: Config, counters: Counters) -> dict[str, Tensor]:
    stepped = {"generator": counters.step > 0, "discriminator": counters.d_updates > 0}
    layout = expected_layout(config, stepped=frozenset(role for role, moved in stepped.items() if moved))
    with safe_open(path, framework="pt", device="cpu") as stored:
        names = set(stored.keys())
        if names != layout.keys():
            odd = sorted(names ^ layout.keys())
            raise CheckpointError(
                f"{path}: does not fit its config; {len(odd)} tensors too many or too few, as {one_line(odd[0])}"
            )
        tensors = {name: stored.get_tensor(name) for name in layout}
    for name, (shape, dtype) in layout.items():
        found = tensors[name]
        if tuple(found.shape) != shape or found.dtype != dtype:
            raise CheckpointError(
                f"{path}: {name} is {found.dtype} {tuple(found.shape)}, its config makes it {dtype} {shape}"
            )
        if found.is_floating_point() and not found.isfinite().all():
            raise CheckpointError(f"{path}: {name} holds values that are not finite")
    return tensors
