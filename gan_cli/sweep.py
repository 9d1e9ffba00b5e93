"""`gan-train -m`: Hydra expands the combinations, each job is a process of its own, and a table tells how they went.

A process per job, because a crash, an exit or a kill in one must end that one alone. `python -m gan_cli.sweep` is the
job's side: it reads one JSON request from its standard input.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gan_cli import config as configs
from gan_cli import schema
from gan_cli.compose import PlannedSweep, compose_sweep, searchpath_overrides
from gan_cli.errors import UsageError, one_line
from gan_cli.overrides import as_typed, quote
from gan_cli.runfolder import create_stamped, read_record
from gan_cli.runlog import read_metrics
from gan_cli.searchpath import config_folder, named_folder

OUTCOME, SUMMARY = "outcome.json", "summary.csv"
FINAL_NUMBERS = ("step", "loss/discriminator", "loss/generator", "images_per_second")
COLUMNS = ("job", "overrides", "status", "reason", "findings", *FINAL_NUMBERS, "seconds", "folder")
STATUS = {0: "done", 2: "refused", 4: "diverged", 130: "stopped", 138: "stopped", 143: "stopped"}


class StoppedSweep(BaseException):
    """The sweep was asked to stop; its running job has saved. No Exception: Hydra would go on."""


def sweep(arguments: Sequence[str]) -> int:
    """Runs every combination; 0 if all went well, else the first failed job's exit code, or that of the signal."""
    planned = compose_sweep("train", arguments)
    first = _check(planned)
    had_output = Path(first.output).exists()
    folder = create_stamped(Path(first.output) / first.run_name, prefix="sweep_")
    stop = Forwarder()

    def job(config: DictConfig) -> None:
        if stop.received is None:
            _run_job(folder, planned.varied, stop)
            _write_summary(folder)
        if stop.received is not None:
            raise StoppedSweep

    own = [f"hydra.sweep.dir={quote(str(folder.absolute()))}", *searchpath_overrides()]
    sys.argv = ["gan-train", "-m", *own, *arguments]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # raises, instead of printing and exiting with 1
    with stop:
        try:
            hydra.main(config_path=str(config_folder()), config_name="train", version_base="1.3")(job)()
        except StoppedSweep:
            pass
        except Exception as error:
            if any(folder.iterdir()):
                raise
            _remove_empty(folder, had_output=had_output)  # nothing has begun: it is Hydra that could not
            raise UsageError(one_line(str(error).split("Config search path")[0], 300)) from error
        rows = _write_summary(folder)
        _print_table(rows, folder)
    if stop.received is not None:
        return 128 + stop.received
    return next((row["code"] for row in rows if row["code"] != 0), 0)


def _check(planned: PlannedSweep) -> configs.Config:
    """The first config; UsageError for a value wrong in itself, or if every combination clashes."""
    parsed = [schema.parse(configs.Config, data) for data in planned.alternatives]
    if parsed[0].resume is not None:
        raise UsageError(f"resume={parsed[0].resume}: a sweep starts new runs; go on with one of its jobs without -m")
    if any(config.dry_run for config in parsed):
        raise UsageError("dry_run=true: shows one run; leave out -m and the swept values")
    configs.settle_end(parsed[0], planned.named)
    clashes = []
    for config in parsed:
        try:
            if config.init_from is None:  # else its job alone knows the networks
                configs.validate(config)
        except UsageError as error:
            clashes.append(error)
    if len(clashes) == len(parsed):
        raise clashes[0]
    return parsed[0]


def _remove_empty(folder: Path, *, had_output: bool) -> None:
    made = [folder, folder.parent, *([] if had_output else [folder.parent.parent])]
    with contextlib.suppress(OSError):  # a folder that holds anything stays
        for path in made:
            path.rmdir()


class Forwarder:
    """While entered, signals go to the running job: the first as it is, so that it saves; a second kills it."""

    HEEDED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)

    def __init__(self) -> None:
        self.received: int | None = None
        self.child: subprocess.Popen[str] | None = None

    def __enter__(self) -> Forwarder:
        self._before = {number: signal.signal(number, self._forward) for number in self.HEEDED}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _forward(self, number: int, frame: FrameType | None) -> None:
        again, self.received = self.received is not None, self.received or number
        if self.child is not None and self.child.poll() is None:
            # the job heeds no HUP: its terminal is ours, and it has none
            self.child.send_signal(signal.SIGKILL if again else signal.SIGTERM if number == signal.SIGHUP else number)


# --- one job -----------------------------------------------------------------------------------------------------


def _run_job(folder: Path, varied_keys: tuple[str, ...], stop: Forwarder) -> None:
    job = HydraConfig.get()
    overrides = [as_typed(override) for override in job.overrides.task]
    varied = " ".join(override for override in overrides if override.partition("=")[0] in varied_keys)
    target = folder / str(job.job.num)
    print(f"job {job.job.num}: {varied}", flush=True)
    started = time.monotonic()
    flags = ["--config-dir", str(named_folder())] if named_folder() is not None else []
    code, complaint = _run_child({"arguments": [*flags, *overrides], "folder": str(target)}, stop)
    stopped = stop.received is not None and code != 0
    outcome = {
        "job": job.job.num,
        "varied": varied,
        "overrides": shlex.join(overrides),
        "status": "stopped" if stopped else _status(code, target),
        "reason": "" if code == 0 else complaint or _reason(code),
        "findings": _findings(target),
        **_final_numbers(target),
        "seconds": round(time.monotonic() - started, 1),
        "folder": str(target),
        "code": code if code >= 0 else 128 - code,
    }
    target.mkdir(parents=True, exist_ok=True)
    (target / OUTCOME).write_text(json.dumps(outcome, indent=2) + "\n", encoding="utf-8")


def _run_child(request: dict[str, Any], stop: Forwarder) -> tuple[int, str]:
    """Exit code and last line of complaint.

    The child is in a session of its own, so that a Ctrl-C reaches it through us and once. Its standard input stays
    open as long as we live: when it ends, the child stops too, whatever became of us.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8") as complaints:
        child = subprocess.Popen(
            [sys.executable, "-m", "gan_cli.sweep"],
            stdin=subprocess.PIPE,
            stderr=complaints,
            text=True,
            start_new_session=True,
        )
        stop.child = child
        assert child.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it ended before it read: its exit code tells
            child.stdin.write(json.dumps(request) + "\n")
            child.stdin.flush()
        code = child.wait()
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()
        complaints.seek(0)
        text = complaints.read()
    sys.stderr.write(text)
    lines = [line for line in text.splitlines() if line.strip()]
    return code, one_line(lines[-1], 300).removeprefix("gan-train: ") if lines else ""


def _reason(code: int) -> str:
    if code in (130, 138, 143):
        return "stopped, and can be resumed"
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _status(code: int, folder: Path) -> str:
    """What the run wrote of its end, if it came to that."""
    ended = read_record(folder).get("ended") if code == 4 else None
    return ended["status"] if isinstance(ended, dict) else STATUS.get(code, "failed")


def _findings(folder: Path) -> str:
    """Names of what the health watch found, in order, each once."""
    return " ".join(dict.fromkeys(name for line in read_metrics(folder) for name in line.get("findings", ())))


def _final_numbers(folder: Path) -> dict[str, float | str]:
    last: dict[str, float | str] = {}
    for line in read_metrics(folder):
        last |= line
    return {name: last.get(name, "") for name in FINAL_NUMBERS}


def _job_main() -> int:
    """The child's side."""
    from gan_cli.cli import run_command

    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    return run_command("train", request["arguments"], folder=Path(request["folder"]))


def _stop_with_parent() -> None:
    """Ends the job as a TERM would, once nobody holds the other end of its standard input."""
    os.read(sys.stdin.fileno(), 1)  # not sys.stdin.read, whose lock would be held when the interpreter ends
    os.kill(os.getpid(), signal.SIGTERM)


# --- the table ---------------------------------------------------------------------------------------------------


def _write_summary(folder: Path) -> list[dict[str, Any]]:
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob(f"*/{OUTCOME}")]
    rows.sort(key=lambda row: row["job"])
    temporary = folder / f".{SUMMARY}.tmp"
    with open(temporary, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    os.replace(temporary, folder / SUMMARY)
    return rows


def _print_table(rows: list[dict[str, Any]], folder: Path) -> None:
    table = Table(title=Text(str(folder)), title_justify="left")
    for column in ("job", "what varied", "status", "D", "G", "images/s", "seconds"):
        table.add_column(column, overflow="fold")
    for row in rows:
        numbers = [f"{row[name]:.3g}" if row[name] != "" else "" for name in FINAL_NUMBERS[1:3]]
        rate = f"{row['images_per_second']:,.0f}" if row["images_per_second"] != "" else ""
        status = "\n".join([row["status"], *row["findings"].split()])
        table.add_row(str(row["job"]), Text(row["varied"]), status, *numbers, rate, f"{row['seconds']:.0f}")
    console = Console()
    console.print(table)
    for row in rows:
        if row["reason"]:
            print(f"job {row['job']} {row['status']}: {row['reason']}")
    print(f"summary: {folder / SUMMARY}", flush=True)


if __name__ == "__main__":
    sys.exit(_job_main())
