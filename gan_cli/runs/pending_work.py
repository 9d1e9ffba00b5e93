"""Keeps a list of the work that is due after a step in the run's folder, so that a resumed run can do what is left."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from gan_cli.storage.json_files import Number, read_as
from gan_cli.storage.run_folder import write_text

NAME = ".due.json"
MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class Due:
    """The work that is due after `step` steps and `d_updates` updates of the discriminator.

    `evaluate` is True if an evaluation is due, `sample` is True if a grid of samples is due. `values` holds the metrics
    of a line that is due in the log; None if no line is due. `ended` is True if the run ends after this step.
    """

    step: int
    d_updates: int
    evaluate: bool
    sample: bool
    values: Mapping[str, Number] | None
    ended: bool


def keep_due(folder: Path, due: Due) -> None:
    """Writes the work that is due to the run's folder. Ignores OSError, because a full disk must not end the run."""
    with contextlib.suppress(OSError):
        write_text(folder / NAME, json.dumps(asdict(due)) + "\n")


def forget_due(folder: Path) -> None:
    with contextlib.suppress(OSError):
        (folder / NAME).unlink(missing_ok=True)


def read_due(folder: Path, step: int, d_updates: int) -> Due | None:
    """Returns the work left after this step and update of D; None if no valid file for them exists."""
    found = read_as(Due, folder / NAME, MOST_BYTES)
    return found if found is not None and (found.step, found.d_updates) == (step, d_updates) else None
