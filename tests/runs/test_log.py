"""The log of a run."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from gan_cli.runs.log import RunLog


def test_no_text_forges_a_line_or_controls_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RunLog(tmp_path) as log:
        log.info("data: \x1b]0;title\x07cats\ndone: all is well\x9b2J\u202e")
    logged, printed = (tmp_path / "train.log").read_text(), capsys.readouterr().out
    assert printed == "data:  ]0;title cats done: all is well 2J \n"
    assert logged.endswith(f"  {printed}")
    assert logged.count("\n") == 1


def test_lines_of_earlier_steps_are_counted_also_before_a_rollback(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        for step in (1, 2, 2, 3):
            log.event(step, "finding", "text")
        assert [log.lines_before(step) for step in (1, 2, 3, 4)] == [0, 1, 3, 4]
        log.truncate(2)
        assert [log.lines_before(step) for step in (2, 3)] == [1, 3]


def test_a_full_disk_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with RunLog(tmp_path) as log:
        monkeypatch.setattr(os, "fsync", full)
        for _ in range(2):
            log.sync()
            log.planned_end(1, 3, 0.5)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"warning: {tmp_path / 'metrics.jsonl'}: cannot be written (No space left on device, ")
    assert line.endswith(" bytes free); going on without it")


def test_a_budget_that_cannot_be_written_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "budget.jsonl").mkdir()
    with RunLog(tmp_path) as log:
        log.planned_end(1, 3, 0.5)
    assert capsys.readouterr().out.startswith(f"warning: {tmp_path / 'budget.jsonl'}: cannot be written (")


def test_slow_steps_show_their_progress_before_the_first_metrics(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: clock)
    with RunLog(tmp_path) as log:
        for step in range(41):
            log.show_progress(step, 100, clock)
            clock += 3.0
        log.metrics({"step": 41, "images_per_second": 9.0, "seconds": clock}, 100)
        log.show_progress(42, 100, clock)
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["step 4/100  4:48 left", "step 24/100  3:48 left", "step 41/100  9 images/s  2:57 left"]
