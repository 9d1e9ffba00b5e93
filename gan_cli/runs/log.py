"""What a run tells: `metrics.jsonl` for programs, `train.log` for later, the console for now."""

from __future__ import annotations

import contextlib
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

from gan_cli.errors import one_line
from gan_cli.runs.trackers import Opener, Tracker
from gan_cli.storage.links import open_own, without_link
from gan_cli.storage.run_folder import BUDGET, LOG, METRICS

LARGEST = 1e300  # figure
MOST_STEPS = 10**12
AFTER_STEP = -1  # in the place of D's updates: where a step was just done
Position = tuple[int, int]  # in a run: steps, and D's updates
PLAIN_SECONDS = 2.0  # a pipe gets a line of figures no more often than this


class RunLog:
    """Opened for appending in a run's folder. A terminal gets a progress bar, a pipe plain lines."""

    def __init__(self, folder: Path, console: Console | None = None) -> None:
        self.console = console or Console(soft_wrap=True)
        self._folder = folder
        self._metrics, self._log = open_own(folder / METRICS, "a"), open_own(folder / LOG, "a")
        self._progress: Progress | None = None
        self._task: Any = None
        self._last_plain = 0.0
        self._complained = False
        self._trackers: dict[str, Tracker] = {}

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *error: object) -> None:
        self.finish()
        self._tell(lambda tracker: tracker.close())
        for file in (self._metrics, self._log):
            with contextlib.suppress(OSError):  # said when the line was written
                file.close()

    def follow(self, openers: dict[str, Opener]) -> None:
        """From now on figures and pictures go to these trackers as well; one that cannot be opened is told of."""
        for name, opener in openers.items():
            try:
                self._trackers[name] = opener(self.say)
            except Exception as error:  # another's code, which can fail in any way
                self.say(f"warning: logger={name} cannot be opened ({one_line(error, 200)}); going on without it")

    def picture(self, step: int, path: Path) -> None:
        """Tells trackers of a picture of samples, if it could be written."""
        if path.is_file():
            self._tell(lambda tracker: tracker.picture(step, path))

    def say(self, text: str, *, console: bool = True) -> None:
        """One line to the console and, with the time, to `train.log`."""
        self._append(self._log, f"{datetime.now().isoformat(sep=' ', timespec='seconds')}  {text}")
        if console:
            self._print(text)

    def event(self, step: int, finding: str, text: str) -> None:
        """A line of `metrics.jsonl` without figures: of a step that has none, or had its own before."""
        self._append(self._metrics, json.dumps({"step": step, "findings": [finding], "text": text}))

    def metrics(self, values: dict[str, float], total_steps: int | None, findings: Sequence[str] = ()) -> None:
        """One line of `metrics.jsonl`, with the names of what was found in it; the console's figures follow it."""
        self._append(self._metrics, json.dumps({**values, **({"findings": list(findings)} if findings else {})}))
        figures = {name: value for name, value in values.items() if isinstance(value, int | float) and name != "step"}
        self._tell(lambda tracker: tracker.metrics(int(values["step"]), figures))
        shown = _figures(values)
        if self.console.is_terminal:
            self._bar(total_steps).update(self._task, completed=values["step"], total=total_steps, figures=shown)
        elif time.monotonic() - self._last_plain >= PLAIN_SECONDS or values["step"] == total_steps:
            self._last_plain = time.monotonic()
            line = f"step {values['step']}/{total_steps or '?'}  {shown}{_remaining(values, total_steps)}"
            self.say(line)

    def end(self, step: int, total_steps: int | None, seconds: float, d_updates: int = AFTER_STEP) -> None:
        """A line of `budget.jsonl`: from `step` on the run's end is `total_steps`, settled after so many seconds.

        None: it is yet to be measured. `d_updates` of D's were done, those at once after the step unless given.
        """
        done = {} if d_updates == AFTER_STEP else {"d_updates": d_updates}
        with contextlib.suppress(OSError), open_own(self._folder / BUDGET, "a") as file:
            line = {"step": step, **done, "total_steps": total_steps, "seconds": round(seconds, 3)}
            self._append(file, json.dumps(line))

    def cut(self, step: int) -> None:
        """Drops the lines of metrics past `step`: the run went back to it."""
        with contextlib.suppress(OSError):
            self._metrics.close()
        cut_metrics(self._folder, step)
        self._metrics = open_own(self._folder / METRICS, "a")
        self._tell(lambda tracker: tracker.cut(step))

    def advance(self, step: int, total_steps: int | None) -> None:
        """Moves a terminal's bar between lines of metrics."""
        if self.console.is_terminal:
            self._bar(total_steps).update(self._task, completed=step, total=total_steps)

    def finish(self) -> None:
        """Leaves a terminal's bar as it stands; what is said from now on comes below it."""
        if self._progress is not None:
            self._progress.stop()

    def _bar(self, total_steps: int | None) -> Progress:
        if self._progress is None:
            self._progress = Progress(
                TextColumn("step"),
                MofNCompleteColumn(),
                BarColumn(bar_width=24),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[figures]}"),
                console=self.console,
            )
            self._task = self._progress.add_task("step", total=total_steps, figures="")
            self._progress.start()
        return self._progress

    def _tell(self, what: Callable[[Tracker], None]) -> None:
        """A tracker that fails is told of once and left out from then on: it does not end a run."""
        for name, tracker in list(self._trackers.items()):
            try:
                what(tracker)
            except Exception as error:  # another's code, which can fail in any way
                del self._trackers[name]
                self.say(f"warning: logger={name} failed ({one_line(error, 200)}); going on without it")

    def _append(self, file: IO[str], line: str) -> None:
        """A log that cannot be written is told once and does not end a run: its checkpoints matter more."""
        try:
            file.write(line + "\n")
            file.flush()
        except (OSError, ValueError) as error:
            if not self._complained:
                self._complained = True
                self._print(f"warning: {file.name} cannot be written ({error}); going on without it")

    def _print(self, text: str) -> None:
        if self.console.is_terminal:
            self.console.print(text, markup=False, highlight=False)
            return
        try:
            print(text, flush=True)
        except OSError:
            silence_stdout()  # nobody listens any more: the run goes on, its files tell


def silence_stdout() -> None:
    """Sends what is still printed nowhere, so that the interpreter does not trip over a closed pipe on its way out."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _figures(values: dict[str, float]) -> str:
    names = {"loss/discriminator": "D", "loss/generator": "G"}
    losses = [f"{short} {values[name]:.3f}" for name, short in names.items() if name in values]
    return "  ".join([*losses, f"{values['images_per_second']:,.0f} images/s"])


def _remaining(values: dict[str, float], total_steps: int | None) -> str:
    """The time left at the mean pace so far, as `  1:23 left`."""
    if not total_steps or not values["step"]:
        return ""
    seconds = round(values["seconds"] / values["step"] * max(total_steps - values["step"], 0))
    return f"  {seconds // 60}:{seconds % 60:02d} left"


def cut_metrics(folder: Path, step: int) -> None:
    """Drops the lines of `metrics.jsonl` and `budget.jsonl` past `step`, and torn ones: they will be written again."""
    for path in (folder / METRICS, folder / BUDGET):
        if path.exists():
            text = path.read_text(encoding="utf-8", errors="replace")
            kept = [line for line in text.splitlines() if _step_of(line) <= step]
            temporary = path.with_name(f".{path.name}.tmp")
            without_link(temporary).write_text("".join(line + "\n" for line in kept), encoding="utf-8")
            os.replace(temporary, path)


def read_metrics(folder: Path) -> Iterator[dict[str, Any]]:
    """The lines of `metrics.jsonl`, without those that a crash or an edit left unreadable."""
    path = folder / METRICS
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ():
        if _step_of(line) < float("inf"):
            yield {key: value for key, value in json.loads(line).items() if _is_told(key, value)}


def read_ends(path: Path) -> dict[Position, int | None]:
    """The end by where it was settled: what `RunLog.end` wrote, or a copy of it."""
    found: dict[Position, int | None] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ():
        entry = json.loads(line) if _step_of(line) < float("inf") else {}
        step, end, d_updates = entry.get("step"), entry.get("total_steps", False), entry.get("d_updates", AFTER_STEP)
        if type(step) is not int or type(d_updates) is not int or step < 0:
            continue
        if end is None or (type(end) is int and max(step, 1) <= end <= MOST_STEPS):
            found[step, d_updates] = end
    return found


def _is_told(key: str, value: Any) -> bool:
    """Whether an entry of a line is what a run writes: a figure, the names of findings, or what was said of one."""
    if key == "findings":
        return isinstance(value, list) and all(isinstance(name, str) for name in value)
    if key == "text":
        return isinstance(value, str)
    return isinstance(value, int | float) and abs(value) < LARGEST


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return float("inf")
