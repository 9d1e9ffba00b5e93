"""`gan-train -m`: Hydra expands the combinations, each job is a process of its own, and a table tells how they went.

A process per job, because a crash, an exit or a kill in one must end that one alone. `python -m gan_cli.sweep` is the
job's side: it reads one JSON request from its standard input.
"""

from __future__ import annotations

import csv
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
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

from gan_cli import config as configs
from gan_cli import schema
from gan_cli.compose import compose_sweep, config_folder, quote
from gan_cli.errors import UsageError, one_line
from gan_cli.runfolder import create_stamped
from gan_cli.runlog import METRICS

OUTCOME, SUMMARY = "outcome.json", "summary.csv"
FINAL_NUMBERS = ("step", "loss/discriminator", "loss/generator", "images_per_second")
COLUMNS = ("job", "overrides", "status", "reason", *FINAL_NUMBERS, "seconds", "folder")
STATUS = {0: "done", 2: "refused", 4: "diverged", 130: "stopped", 138: "stopped", 143: "stopped"}


class StoppedSweep(BaseException):
    """The sweep was asked to stop by this signal; its running job has saved. No Exception: Hydra would go on."""

    def __init__(self, number: int) -> None:
        self.number = number


def sweep(arguments: Sequence[str]) -> int:
    """Runs every combination; 0 if all went well, else the first failed job's exit code, or that of the signal."""
    planned = compose_sweep("train", arguments)
    for data in planned.alternatives:
        schema.parse(configs.Config, data)  # a wrong value is refused before anything is written
    first = schema.parse(configs.Config, planned.alternatives[0])
    if first.resume is not None:
        raise UsageError(f"resume={first.resume}: a sweep starts new runs; go on with one of its jobs without -m")
    folder = create_stamped(Path(first.output) / first.run_name, prefix="sweep_")

    def job(config: DictConfig) -> None:
        _run_job(folder, planned.varied)
        _write_summary(folder)

    sys.argv = ["gan-train", "-m", f"hydra.sweep.dir={quote(str(folder.absolute()))}", *arguments]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # raises, instead of printing and exiting with 1
    code = 0
    try:
        hydra.main(config_path=str(config_folder()), config_name="train", version_base="1.3")(job)()
    except StoppedSweep as stopped:
        code = 128 + stopped.number
    except Exception as error:
        raise UsageError(one_line(error)) from error
    rows = _write_summary(folder)
    _print_table(rows, folder)
    return code or next((row["code"] for row in rows if row["code"] != 0), 0)


# --- one job -----------------------------------------------------------------------------------------------------


def _run_job(folder: Path, varied_keys: tuple[str, ...]) -> None:
    job = HydraConfig.get()
    overrides = list(job.overrides.task)
    varied = " ".join(override for override in overrides if override.partition("=")[0] in varied_keys)
    target = folder / str(job.job.num)
    print(f"job {job.job.num}: {varied}", flush=True)
    request = {"overrides": overrides, "folder": str(target)}
    started = time.monotonic()
    code, complaint, stopped_by = _run_child(request)
    outcome = {
        "job": job.job.num,
        "varied": varied,
        "overrides": shlex.join(overrides),
        "status": STATUS.get(code, "failed"),
        "reason": "" if code == 0 else complaint or _reason(code),
        **_final_numbers(target),
        "seconds": round(time.monotonic() - started, 1),
        "folder": str(target),
        "code": code,
    }
    target.mkdir(parents=True, exist_ok=True)
    (target / OUTCOME).write_text(json.dumps(outcome, indent=2) + "\n", encoding="utf-8")
    if stopped_by is not None:
        raise StoppedSweep(stopped_by)


def _run_child(request: dict[str, Any]) -> tuple[int, str, int | None]:
    """Exit code, last line of complaint, and the signal that came meanwhile.

    The child is in a session of its own: a Ctrl-C reaches it through us once, so that it saves; a second one kills it.
    """
    received: list[int] = []
    with tempfile.TemporaryFile("w+", encoding="utf-8") as complaints:
        child = subprocess.Popen(
            [sys.executable, "-m", "gan_cli.sweep"],
            stdin=subprocess.PIPE,
            stderr=complaints,
            text=True,
            start_new_session=True,
        )

        def forward(number: int, frame: FrameType | None) -> None:
            received.append(number)
            child.send_signal(number if len(received) == 1 else signal.SIGKILL)

        before = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            assert child.stdin is not None
            try:
                with child.stdin as stream:
                    json.dump(request, stream)
            except BrokenPipeError:
                pass  # it ended before it read; its exit code tells
            code = child.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        complaints.seek(0)
        text = complaints.read()
    sys.stderr.write(text)
    lines = [line for line in text.splitlines() if line.strip()]
    return code, one_line(lines[-1], 300).removeprefix("gan-train: ") if lines else "", next(iter(received), None)


def _reason(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _final_numbers(folder: Path) -> dict[str, float | str]:
    try:
        lines = (folder / METRICS).read_text(encoding="utf-8").splitlines()
        last = json.loads(lines[-1])
    except (OSError, ValueError, IndexError):
        last = {}
    return {name: last.get(name, "") for name in FINAL_NUMBERS}


def _job_main() -> int:
    """The child's side."""
    from gan_cli.cli import run_guarded, train_command

    request = json.load(sys.stdin)
    overrides = request["overrides"]
    command = shlex.join(["gan-train", *overrides])
    return run_guarded("train", lambda: train_command(overrides, command, request["folder"]))


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
    table = Table(title=str(folder), title_justify="left")
    for column in ("job", "what varied", "status", "D", "G", "images/s", "seconds"):
        table.add_column(column, overflow="fold")
    for row in rows:
        numbers = [f"{row[name]:.3g}" if row[name] != "" else "" for name in FINAL_NUMBERS[1:3]]
        rate = f"{row['images_per_second']:,.0f}" if row["images_per_second"] != "" else ""
        table.add_row(str(row["job"]), row["varied"], row["status"], *numbers, rate, f"{row['seconds']:.0f}")
    console = Console()
    console.print(table)
    for row in rows:
        if row["reason"]:
            print(f"job {row['job']} {row['status']}: {row['reason']}")
    print(f"summary: {folder / SUMMARY}", flush=True)


if __name__ == "__main__":
    sys.exit(_job_main())
