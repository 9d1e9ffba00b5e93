"""`gan-eval`: what a checkpoint's samples are worth beside real ones, or one folder of pictures beside another."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from gan_cli.config.commands import EvalConfig
from gan_cli.config.metric_names import EVALUATIONS, Evaluated, Figure, save_evaluated
from gan_cli.device import build_device, calm_threads
from gan_cli.errors import GanCliError, StorageError, UsageError
from gan_cli.evaluation.checkpoint_evaluation import evaluate_checkpoint, evaluate_folders
from gan_cli.evaluation.evaluator import FEW_SAID
from gan_cli.evaluation.image_folders import check_folders
from gan_cli.evaluation.reference import Told
from gan_cli.images import grid
from gan_cli.reports.report import write_run_report
from gan_cli.state import checkpoint
from gan_cli.storage.links import refuse_link
from gan_cli.storage.output_file import check_free, file_of
from gan_cli.storage.run_folder import CHECKPOINTS

WIDTH = 110  # of the table where nobody looks, as in a file
ROOMY = 90  # columns of a terminal, below which the table does with fewer


def evaluate(config: EvalConfig) -> int:
    """Prints the figures and leaves them as JSON, of memorization also a page of pictures."""
    _check_source(config)
    named = file_of(config.out, ".json", "gan-eval")
    check_free(named, [] if named is None else [_page_of(named)], config.overwrite)
    device = build_device(config.device)
    calm_threads()
    pages: list[Image.Image] = []
    how: dict[str, Any] = {
        "metrics": config.metrics, "extractor": config.extractor, "n": config.n, "reals": config.reals,
        "n_real": config.n_real, "resamples": config.resamples,
        "say": _say, "page": pages.append,
    }  # fmt: skip
    with _progress() as told:
        if config.ckpt is not None:
            found = checkpoint.find(config.ckpt, "eval")
            folder, stem = _place_of(found.path), found.path.stem
            evaluated = evaluate_checkpoint(
                found, seed=config.seed, batch_size=config.batch_size, ema=config.ema, standing=config.standing,
                data=config.data, device=device, told=told, **how,
            )  # fmt: skip
        else:
            real, fake = check_folders(config.real, config.fake)
            folder, stem = Path("."), re.sub(r"[^\w.-]+", "-", Path(fake).name)[:60] or "fake"
            evaluated = evaluate_folders(real, fake, image_size=config.image_size, told=told, **how)
    _print(evaluated)
    try:
        if named is not None:
            named.parent.mkdir(parents=True, exist_ok=True)
            saved = _write(evaluated, pages, named)
        else:
            saved = _save(evaluated, pages, Path(config.out) if config.out else folder, stem)
    except OSError as error:
        raise StorageError(f"{error.filename or folder}: cannot be written ({error.strerror})") from error
    if saved.parent.name == EVALUATIONS:
        with contextlib.suppress(GanCliError, OSError):  # the figures are safe, and gan-report says what it lacks
            print(f"report: {write_run_report(saved.parent.parent)}")
    print(saved)
    return 0


def _check_source(config: EvalConfig) -> None:
    """UsageError unless there is one thing to judge, told of in its own keys."""
    if config.metrics == ():
        raise UsageError("metrics=[]: name at least one, or leave it out for all")
    folders = [name for name in ("real", "fake") if getattr(config, name) is not None]
    if config.ckpt is not None:
        for name in [*folders, *(["image_size"] if config.image_size is not None else [])]:
            raise UsageError(f"{name}={getattr(config, name)}: is for two folders, without ckpt; give one or the other")
    elif not folders:
        raise UsageError(
            "ckpt is missing: gan-eval ckpt=<a .safetensors file or a run's folder>, or real=FOLDER fake=FOLDER"
        )
    elif config.data is not None:
        raise UsageError(f"data={config.data}: says where a checkpoint's data are, and there is no ckpt; use real=")


def _say(line: str) -> None:
    print(line, flush=True)


@contextlib.contextmanager
def _progress() -> Iterator[Told]:
    """Yields what is told how far the work is; only a terminal shows it, and nothing before there is something."""
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.percentage:>3.0f} %"))
    bar = Progress(*columns, TimeRemainingColumn(), transient=True, disable=not sys.stdout.isatty())
    tasks: dict[str, TaskID] = {}

    def told(what: str, done: int, count: int) -> None:
        bar.start()
        if what not in tasks:
            for task in tasks.values():
                bar.update(task, visible=False)
            tasks[what] = bar.add_task(what, total=count)
        bar.update(tasks[what], completed=done, total=count)

    try:
        yield told
    finally:
        bar.stop()


# --- what is shown and left --------------------------------------------------------------------------------------


def _print(evaluated: Evaluated) -> None:
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, WIDTH)
    right = [
        Column(title, justify="right", no_wrap=True) for title in ("value", "95 % interval", "floor", "n", "reals", "s")
    ]
    better = [Column("better")] if console.width >= ROOMY else []
    table = Table(Column("figure", no_wrap=True), *right, *better, box=None)
    for figure in evaluated.figures:
        table.add_row(*map(Text, [*_row(figure), *([figure.better] if better else [])]))
    console.print(table)
    for figure in evaluated.figures:
        if figure.note.startswith(FEW_SAID):
            _say(f"warning: {figure.name}: {figure.note}")
    if "verdict" in evaluated.about:
        _say(evaluated.about["verdict"])


def _row(figure: Figure) -> list[str]:
    interval = "" if figure.interval is None else " to ".join(map(_number, figure.interval))
    value = _number(figure.value) if not figure.note.startswith("of ") else f"{_number(figure.value)} {figure.note}"
    floor = "" if figure.floor is None else _number(figure.floor)
    return [figure.name, value, interval, floor, f"{figure.n:,}", _reals(figure), f"{figure.seconds:.1f}"]


def _reals(figure: Figure) -> str:
    return f"{figure.reals:,}" if figure.reals else ""


def _number(value: float) -> str:
    """Three or four digits that matter."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 10 else f"{value:.4g}"


def _place_of(path: Path) -> Path:
    """`<run>/evaluations` of a checkpoint in a run, else where it lies."""
    return refuse_link(path.parent.parent / EVALUATIONS) if path.parent.name == CHECKPOINTS else path.parent


def _page_of(path: Path) -> Path:
    return path.with_name(f"{path.stem}_memorization.png")


def _save(evaluated: Evaluated, pages: list[Image.Image], folder: Path, stem: str) -> Path:
    """The JSON file, and the page beside it; nothing is overwritten."""
    folder.mkdir(parents=True, exist_ok=True)
    reals = "" if evaluated.about["reals"] == "held_out" else f"_{evaluated.about['reals']}"
    stem = f"{stem}_{evaluated.about['extractor']}_n{evaluated.about['n']}{reals}"
    for count in range(1, 100_000):
        path = folder / f"{stem if count == 1 else f'{stem}-{count}'}.json"
        with contextlib.suppress(FileExistsError):
            path.touch(exist_ok=False)  # the name is ours, whoever else is judging
            if not _page_of(path).exists():
                break
            path.unlink()
    else:
        raise StorageError(f"{folder}: holds 100,000 of these already")
    try:
        return _write(evaluated, pages, path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _write(evaluated: Evaluated, pages: list[Image.Image], path: Path) -> Path:
    for picture in pages:
        evaluated.about["page"] = _page_of(path).name
        grid.save_picture(picture, _page_of(path))
    save_evaluated(evaluated, path)
    return path
