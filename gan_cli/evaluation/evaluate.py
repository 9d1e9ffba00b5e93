"""`gan-eval`: evaluates a checkpoint's samples against real ones, or one folder of images against another."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from gan_cli.config.commands import EvalConfig
from gan_cli.config.options.loop import WITHOUT_FEATURES
from gan_cli.device import build_device, limit_threads
from gan_cli.errors import GanCliError, UsageError, format_number
from gan_cli.evaluation.callbacks import ProgressCallback
from gan_cli.evaluation.checkpoint_evaluation import evaluate_checkpoint, evaluate_folders
from gan_cli.evaluation.compute import TOO_FEW_SAMPLES
from gan_cli.images import grid
from gan_cli.reports.evaluation_table import describe_not_beaten
from gan_cli.reports.write_report import write_run_report
from gan_cli.state import checkpoint
from gan_cli.storage.evaluation_file import EVALUATIONS, EvaluationResult, MetricResult, save_evaluation
from gan_cli.storage.output_file import check_overwrite, keep_as, output_file, output_folder, unused_path
from gan_cli.storage.run_files import refuse_symlink
from gan_cli.storage.run_folder import CHECKPOINTS

FLOOR = "floor"
NUMBERS = ("value", "95 % interval", FLOOR, "n", "reals", "s")
WITHOUT_G = "without G"  # the column of tasks
WIDTH, WIDTH_OF_TASK = 110, 140  # of the table if the output is not a terminal
MIN_WIDTH_FOR_BETTER = 90  # of a terminal; the table has no column "better" in a narrower one
MIN_WIDTH_FOR_INTERVAL, MIN_WIDTH_FOR_SECONDS = 96, 128  # with the column of tasks
print_line = partial(print, flush=True)


def evaluate(config: EvalConfig) -> int:
    """Prints the metrics and writes them to a JSON file. Returns exit code 0. Memorization also gives a PNG file."""
    if config.metrics == ():
        raise UsageError("metrics=[]: name at least one, or leave it out for all")
    named = output_file(config.out, ".json", "gan-eval")
    check_overwrite(named, [] if named is None else [_pairs_path(named)], config.overwrite)
    device = build_device(config.device)
    limit_threads()
    with _progress() as progress:
        if config.ckpt is not None:
            found = checkpoint.load_named(config.ckpt, "eval")
            folder, stem = _default_folder(found.path), found.path.stem
            evaluated, pairs = evaluate_checkpoint(found, config, device, print_line, progress)
        else:
            folder, stem = Path("."), re.sub(r"[^\w.-]+", "-", Path(config.fake or "").name)[:60] or "fake"
            evaluated, pairs = evaluate_folders(config, device, print_line, progress)
    _print(evaluated)
    folder = named.parent if named else Path(config.out) if config.out else folder
    without_features = config.metrics is not None and {*config.metrics} <= {*WITHOUT_FEATURES}
    named_after = "-".join(config.metrics or ()) if without_features else evaluated.about["extractor"]
    saved = _save(evaluated, pairs, named, folder / f"{stem}_{named_after}", overwrite=config.overwrite)
    if saved.parent.name == EVALUATIONS:
        with contextlib.suppress(GanCliError, OSError):  # the metrics are saved; gan-report will show the error
            print(f"report: {write_run_report(saved.parent.parent)}")
    print(saved)
    return 0


@contextlib.contextmanager
def _progress() -> Iterator[ProgressCallback]:
    """Yields a function that shows progress. The bar appears on its first call, and only in a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.percentage:>3.0f} %"))
    bar = Progress(*columns, TimeRemainingColumn(), transient=True, disable=not sys.stdout.isatty())
    task = bar.add_task("", total=None)

    def progress(what: str, done: int, count: int) -> None:
        bar.start()
        if bar.tasks[task].description != what:
            bar.reset(task, description=what)  # the remaining time is that of this part alone
        bar.update(task, completed=done, total=count)

    try:
        yield progress
    finally:
        bar.stop()


def _print(evaluated: EvaluationResult) -> None:
    console, of_task = Console(), any(metric.method for metric in evaluated.figures)
    if not console.is_terminal:
        console.width = max(console.width, WIDTH_OF_TASK if of_task else WIDTH)
    titles = _titles(console.width, of_task=of_task)
    if all(metric.floor is None for metric in evaluated.figures):
        titles.remove(FLOOR)
    columns = [Column(title, justify="right" if title in (*NUMBERS, WITHOUT_G) else "left") for title in titles]
    for column in columns:
        column.no_wrap = column.header != "better"
    table = Table(*columns, box=None)
    for metric in evaluated.figures:
        cells = _cells(metric)
        table.add_row(*(Text(cells[title]) for title in titles))
    console.print(table)
    for line in filter(None, map(describe_not_beaten, evaluated.figures)):
        print_line(line)
    for metric in evaluated.figures:
        if metric.note.startswith(TOO_FEW_SAMPLES):
            print_line(f"warning: {metric.name}: {metric.note}")
        elif metric.note and not metric.note.startswith("of "):
            print_line(f"{metric.name}: {metric.note}")
    if "verdict" in evaluated.about:
        print_line(evaluated.about["verdict"])


def _titles(width: int, *, of_task: bool) -> list[str]:
    """Returns the titles of the table's columns that a terminal of this width has room for."""
    if not of_task:
        return ["metric", *NUMBERS, *(["better"] if width >= MIN_WIDTH_FOR_BETTER else [])]
    value, interval, floor, *counts = NUMBERS
    more = [*counts, "better"] if width >= MIN_WIDTH_FOR_SECONDS else []
    return ["metric", value, *([interval] if width >= MIN_WIDTH_FOR_INTERVAL else []), WITHOUT_G, floor, *more]


def _cells(metric: MetricResult) -> dict[str, str]:
    """Returns the text of each column for a metric."""
    interval = "" if metric.interval is None else " to ".join(map(_number, metric.interval))
    value = _number(metric.value) if not metric.note.startswith("of ") else f"{_number(metric.value)} {metric.note}"
    floor = "-" if metric.floor is None else _number(metric.floor)
    reals = f"{metric.reals:,}" if metric.reals else ""
    numbers = dict(zip(NUMBERS, (value, interval, floor, f"{metric.n:,}", reals, f"{metric.seconds:.1f}"), strict=True))
    other = "" if metric.without_network is None else f"{_number(metric.without_network)} {metric.method}"
    return {
        "metric": metric.name,
        **numbers,
        WITHOUT_G: other,
        "better": metric.better,
    }


def _number(value: float) -> str:
    """Returns the value as text with three or four significant digits."""
    return format_number(value, 3 if abs(value) < 10 else 4)


def _default_folder(path: Path) -> Path:
    """Returns `<run>/evaluations` for a checkpoint in a run's folder, else the folder of the checkpoint."""
    return refuse_symlink(path.parent.parent / EVALUATIONS) if path.parent.name == CHECKPOINTS else path.parent


def _pairs_path(path: Path) -> Path:
    """Returns the path of the image of nearest pairs, next to the JSON file `path`."""
    return path.with_name(f"{path.stem}_memorization.png")


def _save(
    evaluated: EvaluationResult, pairs: Image.Image | None, named: Path | None, start: Path, *, overwrite: bool
) -> Path:
    """Writes the JSON file `named`, or an unused one whose name begins like `start`, and the image next to it.

    Returns the path of the JSON file.
    """
    about = evaluated.about
    stem = f"{start.name}_n{about['n']}"
    stem += "" if about["reals"] == "held_out" else f"_{about['reals']}"
    with output_folder(start.parent) as temporary:
        part, image = temporary / "metrics.json", temporary / "pairs.png"
        if pairs is not None:
            grid.save_png(pairs, image)
        while True:
            path = named or unused_path(start.parent, stem, ".json", ["_memorization.png"])
            if pairs is not None:
                about["page"] = _pairs_path(path).name
            save_evaluation(evaluated, part)
            try:
                keep_as(part, path, None if pairs is None else (image, _pairs_path(path)), overwrite=overwrite)
                return path
            except FileExistsError:  # another process evaluates the same run
                if named is not None:
                    raise
