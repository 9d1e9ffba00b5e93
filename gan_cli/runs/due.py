"""What is to be done after a step, kept in the run's folder until all of it is: a resumed run does what is missing."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gan_cli.runs.log import LARGEST
from gan_cli.storage.run_folder import write_text

NAME = ".due.json"
MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class Due:
    """After `step` with so many `d_updates`: an evaluation, a grid, and a line of metrics with these `values`, if any.

    `ended` says that the run came to its end there.
    """

    step: int
    d_updates: int
    evaluate: bool
    sample: bool
    values: Mapping[str, float] | None
    ended: bool


def keep_due(folder: Path, due: Due) -> None:
    """A disk that is full ends no run: then there is nothing that a resumed one could make up for."""
    with contextlib.suppress(OSError):
        write_text(folder / NAME, json.dumps(asdict(due)) + "\n")


def forget_due(folder: Path) -> None:
    with contextlib.suppress(OSError):
        (folder / NAME).unlink(missing_ok=True)


def read_due(folder: Path, step: int, d_updates: int) -> Due | None:
    """What was left undone at this position of a run; None of nothing, or of what no run wrote."""
    path = folder / NAME
    try:
        found = json.loads(path.read_bytes()) if path.is_file() and path.stat().st_size <= MOST_BYTES else None
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.get("step") != step or found.get("d_updates") != d_updates:
        return None
    values = found.get("values")
    if values is not None and not _are_figures(values):
        return None
    evaluate, sample, ended = (found.get(name) is True for name in ("evaluate", "sample", "ended"))
    return Due(step, d_updates, evaluate, sample, values, ended)


def _are_figures(values: Any) -> bool:
    return isinstance(values, dict) and all(
        type(value) in (int, float) and abs(value) < LARGEST for value in values.values()
    )
