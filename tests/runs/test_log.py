"""The log of a run."""

from __future__ import annotations

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
