"""Limits what the settings of a saved run, which may come from a stranger, do outside of the run's folder."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from gan_cli.config.options.untrusted_files import REMOTE_LOGGERS
from gan_cli.config.overrides import format_path_list
from gan_cli.config.train_config import Config
from gan_cli.data.moved_data import is_downloaded
from gan_cli.device import count_cores
from gan_cli.errors import UsageError, first_few, one_line
from gan_cli.image_labels.shard_paths import has_addresses
from gan_cli.launch.request import Request
from gan_cli.state.checkpoint import Provenance
from gan_cli.storage.locate import resolve_path
from gan_cli.storage.run_record import RunRecord

MOST_THREADS = 16  # of a checkpoint that are used on any machine; one with more than 4 cores uses 4 for each core


def restrict_saved(config: Config, request: Request, folder: Path) -> tuple[Config, list[str]]:
    """Returns the config of a resumed run without settings that the command must name, and a line on each.

    These are trackers that may send data elsewhere, and an output folder that does not hold the run in `folder`.
    """
    command = request.config
    sent = [name for name in config.logger if name in REMOTE_LOGGERS and name not in command.logger]
    logger = tuple(name for name in config.logger if name not in sent)
    holds_run = folder.resolve().is_relative_to(resolve_path(config.output))
    output = config.output if holds_run or "output" in request.named else command.output
    lines = [
        f"warning: logger={name} of the run is not used, since a tracker may send data elsewhere; type"
        f" logger=[{','.join([*logger, *sent])}] to use it"
        for name in sent
    ]
    return dataclasses.replace(config, logger=logger, output=output), lines


def resume_command(config: Config, folder: Path) -> str:
    """Returns the command, quoted for a shell, that resumes the run in `folder`.

    It names plugins and the addresses of data, which a run's files alone may not choose.
    """
    section, words = config.dataset, [f"resume={folder}"]
    if config.plugins:
        words.append(f"plugins=[{','.join(config.plugins)}]")
    named = {"dataset.path": section.path} if is_downloaded(section) else {}
    if has_addresses(getattr(section, "test_path", None)):
        named["dataset.test_path"] = section.test_path
    for key, value in named.items():
        words.append(f"{key}={value if isinstance(value, str) else format_path_list(value)}")
    return f"gan-train {shlex.join(words)}"


def use_saved_threads(count: int, typed: int) -> None:
    """Sets the number of threads of a checkpoint, up to a limit or to the number that the user typed (else 0)."""
    torch.set_num_threads(min(count, max(MOST_THREADS, 4 * count_cores(), typed)))


def chose_threads(record: RunRecord) -> bool:
    """Returns whether a run chose its number of threads itself: the last command that names it says `auto`, or none."""
    words: list[str] = []
    for command in (record.command, *(resume.command for resume in record.resumed)):
        with contextlib.suppress(ValueError):  # a quote is not closed
            words += [word for word in shlex.split(command) if word.startswith("threads=")]
    return not words or words[-1] == "threads=auto"


def environment_changes(saved: Provenance, now: Mapping[str, Any], *, strict: bool) -> list[str]:
    """Returns a text for each part of the environment `now` that is not that of the checkpoint.

    Older checkpoints record only some parts. With `strict`, raises UsageError if a part differs or is not recorded.
    """
    lines, unknown = [], []
    for key, after in now.items():
        before = getattr(saved, key)
        if before is None:
            unknown.append(key)
        elif before != after:
            remedy = f" (threads={before} uses them)" if key == "threads" and before > after else ""
            lines.append(f"{key} was {one_line(before, 60)}, is {after}{remedy}")
    if strict and lines:
        raise UsageError(f"resume_strict=true: {'; '.join(lines)}; leave resume_strict out to continue nevertheless")
    if strict and unknown:
        raise UsageError(
            f"resume_strict=true: the checkpoint does not say its {first_few(unknown, 9)} (of gan-cli"
            f" {one_line(saved.gan_cli, 60)}); leave resume_strict out to continue nevertheless"
        )
    return lines
