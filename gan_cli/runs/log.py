"""Writes a run's metrics to `metrics.jsonl` and trackers, and its messages to `train.log` and the console."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from gan_cli.config.train_config import Config
from gan_cli.errors import describe_reason, one_line, printable
from gan_cli.runs.trackers import OPENERS, Tracker
from gan_cli.storage.atomic_write import replacing
from gan_cli.storage.json_files import MAX_VALUE
from gan_cli.storage.run_files import open_to_append, read_lines
from gan_cli.storage.run_folder import BUDGET, LOG, METRICS

MOST_STEPS = 10**12
MOST_BYTES = 64 << 20  # of a log that are read: about 150,000 lines of metrics
AFTER_STEP = -1  # stands for the number of D's updates in a Position: the moment right after the step
Position = tuple[int, int]  # a point of a run: the number of steps done, and the number of D's updates done
PLAIN_SECONDS = 2.0  # the shortest time between two printed lines of metrics if the output is not a terminal
QUIET_SECONDS = (10.0, 60.0)  # the longest time there before the first line of progress, and between two lines


class RunLog:
    """The log files of a run, opened for appending, with the console and the trackers (such as TensorBoard).

    A terminal shows a progress bar; other outputs, such as a pipe, get plain lines. If a file cannot be written or a
    tracker fails, this is reported once and the run continues.
    """

    def __init__(self, folder: Path, console: Console | None = None) -> None:
        self.console = console or Console(soft_wrap=True)
        self._folder = folder
        self._open_metrics()
        self._log = open_to_append(folder / LOG)
        self._progress: Progress | None = None
        self._task: Any = None
        self._last_plain = 0.0
        self._quiet_until: float | None = None  # when slow steps are due for a line of progress
        self._write_failed = False
        self._trackers: dict[str, Tracker] = {}

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop_progress()
        self._call_trackers(lambda tracker: tracker.close())
        for file in (self._metrics, self._log):
            with contextlib.suppress(OSError):  # the error was already reported when a line could not be written
                file.close()

    def attach(self, config: Config, step: int) -> None:
        """Opens the config's trackers for later metrics and images, after `step` steps; warns if one fails."""
        for name in config.logger:
            try:
                self._trackers[name] = OPENERS[name](config, self._folder, step, self.info)
            except Exception as error:  # foreign code can fail in any way
                self.info(f"warning: logger={name} cannot be opened ({one_line(error, 200)}); going on without it")

    def image(self, step: int, path: Path) -> None:
        """Passes the image file of a sample grid to the trackers, if it exists."""
        if path.is_file():
            self._call_trackers(lambda tracker: tracker.image(step, path))

    def info(self, text: str, *, console: bool = True) -> None:
        """Writes a line with the time to `train.log`, and prints the line on the console unless `console` is False.

        Unprintable characters of the text become spaces, so that no text can forge a line or control the terminal.
        """
        text = printable(text)
        self._append(LOG, self._log, f"{datetime.now().isoformat(sep=' ', timespec='seconds')}  {text}")
        if console:
            self._print(text)

    def event(self, step: int, finding: str, text: str) -> None:
        """Writes a line to `metrics.jsonl` that holds a health finding (its name and its text) and no metrics."""
        self._append_metrics({"step": step, "findings": [finding], "text": text})

    def metrics(self, values: dict[str, float], total_steps: int | None, findings: Sequence[str] = ()) -> None:
        """Writes a line of metrics with the names of the health `findings`, and passes the metrics to the trackers.

        Also updates the progress bar of a terminal; on other outputs, prints a line at most every PLAIN_SECONDS.
        """
        self._append_metrics({**values, **({"findings": list(findings)} if findings else {})})
        numbers = {name: value for name, value in values.items() if isinstance(value, int | float) and name != "step"}
        self._call_trackers(lambda tracker: tracker.metrics(int(values["step"]), numbers))
        names = {"loss/discriminator": "D", "loss/generator": "G"}
        losses = [f"{short} {values[name]:.3f}" for name, short in names.items() if name in values]
        shown = "  ".join([*losses, f"{values['images_per_second']:,.0f} images/s"])
        if self.console.is_terminal:
            self._bar(total_steps).update(self._task, completed=values["step"], total=total_steps, metrics=shown)
        elif time.monotonic() - self._last_plain >= PLAIN_SECONDS or values["step"] == total_steps:
            self._last_plain = time.monotonic()
            self._quiet_until = self._last_plain + QUIET_SECONDS[1]
            self.info(f"step {values['step']}/{total_steps or '?'}  {shown}{_remaining(values, total_steps)}")

    def planned_end(self, step: int, total_steps: int | None, seconds: float, d_updates: int = AFTER_STEP) -> None:
        """Writes a line to `budget.jsonl`, saying that the run will now end after `total_steps` steps.

        `total_steps` is None if the number of steps will be measured later. `step` is the number of steps done when
        this was decided, and `seconds` the training time until then. `d_updates` is the number of D's updates until
        then; by default, the decision was taken right after the step.
        """
        done = {} if d_updates == AFTER_STEP else {"d_updates": d_updates}
        line = {"step": step, **done, "total_steps": total_steps, "seconds": round(seconds, 3)}
        try:
            with open_to_append(self._folder / BUDGET) as file:
                file.write(json.dumps(line) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            self._warn_unwritten(BUDGET, error)

    def truncate(self, step: int) -> None:
        """Removes the metrics of all steps after `step`, because the run was rolled back to `step`."""
        with contextlib.suppress(OSError):
            self._metrics.close()
        truncate_metrics(self._folder, step)
        self._open_metrics()
        self._call_trackers(lambda tracker: tracker.truncate(step))

    def lines_before(self, step: int) -> int:
        """Returns how many lines of `metrics.jsonl` are of earlier steps than `step`."""
        return sum(logged < step for logged in self._steps)

    def _open_metrics(self) -> None:
        self._metrics = open_to_append(self._folder / METRICS)
        self._steps = [entry["step"] for _, entry in _read_lines(self._folder / METRICS, None)]  # of each line

    def _append_metrics(self, line: dict[str, Any]) -> None:
        self._append(METRICS, self._metrics, json.dumps(line))
        self._steps.append(line["step"])

    def sync(self) -> None:
        """Waits until the lines of `metrics.jsonl` are on the disk. Called before a checkpoint is saved."""
        try:
            os.fsync(self._metrics.fileno())
        except (OSError, ValueError) as error:
            if getattr(error, "errno", None) != errno.EINVAL:  # a device, which does not wait
                self._warn_unwritten(METRICS, error)

    def show_progress(self, step: int, total_steps: int | None, seconds: float) -> None:
        """Moves the progress bar of a terminal to `step`; on other outputs, prints a line if there was none for long.

        `seconds` is the training time until then.
        """
        now = time.monotonic()
        if self.console.is_terminal:
            self._bar(total_steps).update(self._task, completed=step, total=total_steps)
        elif self._quiet_until is None:
            self._quiet_until = now + QUIET_SECONDS[0]
        elif now >= self._quiet_until and step != total_steps:
            self._quiet_until = now + QUIET_SECONDS[1]
            left = _remaining({"step": step, "seconds": seconds}, total_steps)
            self.info(f"step {step}/{total_steps or '?'}{left or f'  {seconds:.0f} s'}")

    def stop_progress(self) -> None:
        """Stops the progress bar of a terminal; later messages appear below the bar."""
        if self._progress is not None:
            self._progress.stop()

    def _bar(self, total_steps: int | None) -> Progress:
        """Returns the progress bar; the first call creates and starts it."""
        if self._progress is None:
            self._progress = Progress(
                TextColumn("step"),
                MofNCompleteColumn(),
                BarColumn(bar_width=24),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[metrics]}"),
                console=self.console,
            )
            self._task = self._progress.add_task("step", total=total_steps, metrics="")
            self._progress.start()
        return self._progress

    def _call_trackers(self, call: Callable[[Tracker], None]) -> None:
        """Applies `call` to every tracker. If a tracker fails, logs a warning and does not use this tracker again."""
        for name, tracker in list(self._trackers.items()):
            try:
                call(tracker)
            except Exception as error:  # foreign code can fail in any way
                del self._trackers[name]
                self.info(f"warning: logger={name} failed ({one_line(error, 200)}); going on without it")

    def _append(self, name: str, file: IO[str], line: str) -> None:
        """Appends a line to a file of the run's folder. If this fails, warns: the checkpoints can still be saved."""
        try:
            file.write(line + "\n")
            file.flush()
        except (OSError, ValueError) as error:
            self._warn_unwritten(name, error)

    def _warn_unwritten(self, name: str, error: Exception) -> None:
        """Warns that a file of the run's folder cannot be written, once for each run."""
        if not self._write_failed:
            self._write_failed = True
            path = self._folder / name
            reason = describe_reason(error, self._folder) if isinstance(error, OSError) else error
            self._print(printable(f"warning: {path}: cannot be written ({reason}); going on without it"))

    def _print(self, text: str) -> None:
        if self.console.is_terminal:
            self.console.print(text, markup=False, highlight=False)
            return
        try:
            print(text, flush=True)
        except OSError:  # the reader of the pipe has ended; the run continues and still logs to its files
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter fails when it ends


def _remaining(values: dict[str, float], total_steps: int | None) -> str:
    """Returns the remaining time at the mean speed so far as text, `  1:23 left`; an empty text if it is not known."""
    if not total_steps or not values["step"]:
        return ""
    seconds = round(values["seconds"] / values["step"] * max(total_steps - values["step"], 0))
    return f"  {seconds // 60}:{seconds % 60:02d} left"


def truncate_metrics(folder: Path, step: int) -> None:
    """Removes from `metrics.jsonl` and `budget.jsonl` all lines of steps after `step`, and incomplete lines."""
    for path in (folder / METRICS, folder / BUDGET):
        if path.exists():
            with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line, entry in _read_lines(path, None) if entry["step"] <= step)


def read_metrics(folder: Path) -> Iterator[dict[str, Any]]:
    """Yields each line of `metrics.jsonl` that has a step, as a dict. Leaves out invalid entries; the file may miss.

    Of a file of more than MOST_BYTES, yields the lines of the last MOST_BYTES.
    """
    for _, entry in _read_lines(folder / METRICS):
        yield {sys.intern(key): value for key, value in entry.items() if _is_valid_entry(key, value)}


def read_planned_ends(path: Path) -> dict[Position, int | None]:
    """Reads the valid lines that `RunLog.planned_end` wrote.

    Returns, by the position at which an end was decided, the run's last step; None if it was to be measured later.
    """
    found: dict[Position, int | None] = {}
    for _, entry in _read_lines(path):
        step, end, d_updates = entry["step"], entry.get("total_steps", False), entry.get("d_updates", AFTER_STEP)
        if type(step) is not int or type(d_updates) is not int or step < 0:
            continue
        if end is None or (type(end) is int and max(step, 1) <= end <= MOST_STEPS):
            found[step, d_updates] = end
    return found


def _read_lines(path: Path, most_bytes: int | None = MOST_BYTES) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields each line of a file of JSON objects as text and as a dict. Skips lines without a valid step.

    Of a larger file, reads only the last `most_bytes`. Reads nothing from a link or a file that is not regular.
    """
    for line in read_lines(path, most_bytes) if path.is_file() and not path.is_symlink() else ():
        text = line.decode("utf-8", errors="replace").rstrip("\r\n")
        try:
            entry = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict) and _is_number(entry.get("step")):
            yield text, entry


def _is_valid_entry(key: str, value: Any) -> bool:
    """Returns True if a run can have written this entry: a number, the names of findings, or a finding's text."""
    if key == "findings":
        return isinstance(value, list) and all(isinstance(name, str) for name in value)
    return isinstance(value, str) if key == "text" else _is_number(value)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < MAX_VALUE
