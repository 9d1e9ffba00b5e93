"""Checks that the files which a command line names exist, before torch is imported. Imports no torch."""

from __future__ import annotations

import contextlib
from typing import Any

from gan_cli.config.commands import check_evaluation_source
from gan_cli.errors import UsageError
from gan_cli.storage.locate import find_checkpoint, find_run, locate

MISSING_CKPT = {
    "sample": "ckpt is missing: gan-sample RUN, by its folder or name, or a .safetensors file",
    "eval": "ckpt is missing: gan-eval ckpt=<a .safetensors file or a run's folder>, or real=FOLDER fake=FOLDER",
    "export": "ckpt is missing: gan-export RUN, by its folder or name, or a .safetensors file",
}


def check_named_files(command: str, options: Any) -> None:
    """Raises an error if there is no such checkpoint, run or folder as the options name, or if they name none.

    The command itself would find this too, but only after it has imported torch, which takes seconds.
    """
    if command == "eval":
        check_evaluation_source(options, MISSING_CKPT[command])
    elif command in MISSING_CKPT and options.ckpt is None:
        raise UsageError(MISSING_CKPT[command])
    with contextlib.suppress(OSError):  # of a text that cannot be a path; the command tells it
        if command == "train" and options.resume is None:
            if options.init_from is not None:
                find_checkpoint(options.init_from, "init_from", options.output, _ignore_line)
            if options.replay is not None:
                find_run(options.replay, options.output, "replay", _ignore_line)
            if options.dataset.name == "folder" and options.dataset.path is not None:
                from gan_cli.image_labels.image_paths import check_paths

                check_paths(options.dataset.path)
        elif command in MISSING_CKPT and options.ckpt is not None:
            location = None if command == "eval" else locate(options.ckpt, log=_ignore_line)
            if location is None or location.kind != "export":
                find_checkpoint(options.ckpt, "eval" if command == "eval" else "ckpt", log=_ignore_line)


def _ignore_line(line: str) -> None:
    """Drops a line about the choice of a run, which the command itself prints."""
