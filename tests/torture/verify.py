"""The oracle of all trials: what a folder holds, and how it differs from what it should hold."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import safe_open

from support.runs import TIMING_METRICS
from torture.worker import Fault

State = dict[str, Any]
EXISTS = "exists"
UNREADABLE = "unreadable: "
ALLOWED_HIDDEN = (".lock",)
VOLATILE = {"seconds", "started", "when", "resumed", "directory", "command", "created", "date"}


def state_of(folder: Path) -> State:
    """Returns what matters of each file of a folder by its path: equal runs and commands have equal states."""
    return {str(path.relative_to(folder)): _file_state(path) for path in sorted(folder.rglob("*")) if not path.is_dir()}


def _file_state(path: Path) -> Any:
    read = READERS.get(path.name) or READERS.get(path.suffix)
    if read is None or path.is_symlink():
        return EXISTS
    try:
        return read(path)
    except Exception as error:
        return f"{UNREADABLE}{type(error).__name__}"


def _tensors(path: Path) -> Any:
    """Returns the sha256 of all tensors, with the counters of a checkpoint."""
    digest = hashlib.sha256()
    with safe_open(path, "np") as file:
        for name in sorted(file.keys()):
            digest.update(name.encode() + file.get_tensor(name).tobytes())
        metadata = json.loads((file.metadata() or {}).get("gan-cli", "{}"))
    counters = metadata.get("counters", {})
    return digest.hexdigest()[:12], counters.get("step"), counters.get("d_updates")


def _metrics(path: Path) -> Any:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in TIMING_METRICS} for line in lines]


def _record(path: Path) -> Any:
    ended = json.loads(path.read_text()).get("ended", {})
    return [ended.get(key) for key in ("status", "step", "total_steps")]


def _json(path: Path) -> Any:
    content = json.loads(path.read_text())
    return sorted(content.keys() - VOLATILE) if isinstance(content, dict) else len(content)


def _bytes(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


READERS: dict[str, Callable[[Path], Any]] = {
    ".safetensors": _tensors,
    "metrics.jsonl": _metrics,
    "config.json": _record,
    ".json": _json,
    **dict.fromkeys((".png", ".webp", ".gif", ".npz"), _bytes),
}


def differences(found: State, expected: State, older: bool = True) -> list[Fault]:
    """Returns how a state differs from the expected one. Without `older`, older scheduled checkpoints may differ."""
    faults = []
    for path in sorted(found.keys() | expected.keys()):
        have, want = found.get(path), expected.get(path)
        if have == want or Path(path).name in ALLOWED_HIDDEN or (not older and _is_scheduled(path)):
            continue
        hidden = any(part.startswith(".") for part in Path(path).parts)
        if path not in expected:
            faults.append(Fault("leftover" if hidden else "wrong", f"{path}: is left"))
        elif path not in found:
            faults.append(Fault("lost", f"{path}: is missing"))
        elif str(have).startswith(UNREADABLE):
            faults.append(Fault("corrupt", f"{path}: {have}"))
        else:
            faults.append(Fault("lost", f"{path}: is {_short(have)}, not {_short(want)}"))
    return faults


def _is_scheduled(path: str) -> bool:
    return "checkpoints/step_" in path


def _short(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return f"lines of steps {[line.get('step') for line in value]}"
    return str(value)[:120]


def stray_files(folder: Path) -> list[Fault]:
    """Returns what a trial's commands left in its home and temporary folder, except caches and empty folders."""
    stray = [path for part in ("home", "tmp") for path in (folder / part).rglob("*") if not path.is_dir()]
    return [
        Fault("leftover", f"{path.relative_to(folder)}: was written outside the run")
        for path in stray
        if ".cache" not in path.parts
    ]
