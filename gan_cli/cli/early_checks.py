"""Finds mistakes that the command itself would find only after it has imported torch, or read data."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from gan_cli.config import train_config
from gan_cli.config.commands import check_evaluation_source
from gan_cli.config.options.networks.pretrained import EXTRA, uses_of_evaluation, uses_of_training
from gan_cli.config.options.published_datasets import PUBLISHED
from gan_cli.distributed.process_environment import is_directed
from gan_cli.errors import UsageError
from gan_cli.extras import require_extra
from gan_cli.image_files.icon_packages import find_package
from gan_cli.image_files.open_reader import existing_mode
from gan_cli.image_labels.folder_classes import class_indices
from gan_cli.image_labels.image_paths import check_paths, split_paths
from gan_cli.image_labels.shard_paths import check_shards
from gan_cli.launch.request import Request
from gan_cli.storage.locate import find_checkpoint, find_run, locate
from gan_cli.storage.run_folder import require_writable


def check_command(command: str, options: Any) -> None:
    """Raises an error if the options of a command other than `gan-train` name nothing, or what is not there."""
    if not hasattr(options, "ckpt"):
        return
    missing = f"ckpt is missing: gan-{command} RUN, by its folder or name, or a .safetensors file"
    if command == "eval":
        check_evaluation_source(options, f"{missing}; or real=FOLDER fake=FOLDER")
        _require_pretrained(uses_of_evaluation(options.extractor))
    elif options.ckpt is None:
        raise UsageError(missing)
    if options.ckpt is None:
        for key in ("real", "fake"):
            existing_mode(getattr(options, key), key)
        return
    with contextlib.suppress(OSError):  # of a text that cannot be a path; the command tells it
        location = None if command == "eval" else locate(options.ckpt, log=_ignore_line)
        if location is None or location.kind != "export":
            find_checkpoint(options.ckpt, "eval" if command == "eval" else "ckpt", log=_ignore_line)


def check_training(request: Request) -> None:
    """Raises an error if keys of `gan-train` contradict each other or name what is not there.

    A process that process 0 directs needs the data alone: it reads no other run, and writes no folder.
    """
    config, directed = request.config, is_directed()
    train_config.resolve_run_length(config, request.named)
    if config.resume is not None and config.dry_run:
        raise UsageError(f"dry_run=true shows a new run, resume={config.resume} continues an old one: give only one")
    if config.resume is not None:
        return
    with contextlib.suppress(OSError):  # of a text that cannot be a path; the command tells it
        if config.init_from is not None and not directed:
            find_checkpoint(config.init_from, "init_from", config.output, _ignore_line)
        if config.replay is not None and not directed:
            find_run(config.replay, config.output, "replay", _ignore_line)
        if config.dataset.name == "folder" and config.dataset.path is not None:
            check_paths(config.dataset.path)
        check_shards(config.dataset)
        _check_drawn_images(config.dataset)
    known = PUBLISHED.get(config.dataset.name, {}).get("source", {}).get("classes")
    if known is not None and config.dataset.classes is not None:
        class_indices(config.dataset.classes, (), known)
    metrics = config.evaluation.metrics
    _require_pretrained(
        [*uses_of_training(config), *(uses_of_evaluation(config.evaluation.extractor) if metrics else [])]
    )
    if not (config.dry_run or directed):
        require_writable(request.folder or Path(config.output) / config.run_name)


def _require_pretrained(uses: list[str]) -> None:
    """Raises UsageError if a use of the frozen network is given, and its weights are not there."""
    if uses:
        require_extra(EXTRA, uses[0])


def _check_drawn_images(section: Any) -> None:
    """Raises UsageError if the data set is drawn from SVG images, and the packages for that are not there."""
    extra = getattr(section, "extra", None)
    if extra is not None:
        require_extra(extra, f"dataset={section.name}")
    for vendor in getattr(section, "vendors", ()):
        find_package(split_paths(section.path), vendor)


def _ignore_line(line: str) -> None:
    """Drops a line about the choice of a run, which the command itself prints."""
