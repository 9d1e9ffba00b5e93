"""Limits what the settings of a saved run, which may come from a stranger, do outside of the run's folder."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from gan_cli.config import train_config
from gan_cli.config.options.untrusted_files import ALLOWED_BY, NEEDED, REMOTE_LOGGERS, words_to_name
from gan_cli.config.train_config import Config
from gan_cli.device import count_cores
from gan_cli.errors import UsageError, first_few, one_line
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


def words_to_resume(config: Config, folder: Path, named: Collection[str] | None = None) -> list[str]:
    """Returns the words of a command that resumes the run in `folder`.

    They name what the run's files alone may not choose: plugins, addresses of data, folders elsewhere, trackers that
    send data, and many threads. `named` are the keys of a command that resumed the run: what these did not allow is
    left out. None allows all that the config has.
    """
    words = words_to_name(train_config.to_dict(config))
    if isinstance(config.threads, int) and config.threads > _most_threads():
        words["threads"] = f"threads={config.threads}"
    return [
        f"resume={folder}",
        *(
            word
            for key, word in words.items()
            if named is None or key in NEEDED or not {key, *ALLOWED_BY.get(key, ())}.isdisjoint(named)
        ),
    ]


def resume_command(config: Config, folder: Path, request: Request) -> str:
    """Returns the command, quoted for a shell, that resumes the run in `folder` with all that `request` allows it."""
    named = None if request.config.resume in (None, "auto") else request.named
    config, _ = restrict_saved(config, request, folder)
    return shlex.join(["gan-train", *words_to_resume(config, folder, named)])


def use_saved_threads(count: int, typed: int) -> None:
    """Sets the number of threads of a checkpoint, up to a limit or to the number that the user chose (else 0)."""
    torch.set_num_threads(min(count, max(_most_threads(), typed)))


def _most_threads() -> int:
    return max(MOST_THREADS, 4 * count_cores())


def chose_threads(record: RunRecord) -> bool:
    """Returns whether a run chose its number of threads itself: what says it last is `threads=auto`, or nothing.

    A resume says it by its command; `resume=auto` keeps the number. The record of the start says it also if a file of
    options has the number; a run of an earlier version has its command alone.
    """
    started = [f"threads={'auto' if 'threads' in record.auto else 1}"] if record.auto is not None else []
    words = started or _words_about_threads(record.command)
    for resume in record.resumed:
        words += _words_about_threads(resume.command)
    return not words or words[-1] in ("threads=auto", "threads=null")


def _words_about_threads(command: str) -> list[str]:
    """Returns the words of a command, as the user typed it, that set the number of threads."""
    with contextlib.suppress(ValueError):  # a quote is not closed
        words = shlex.split(command)
        return [word for word in words if word.startswith("threads=") and "resume=auto" not in words]
    return []


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
