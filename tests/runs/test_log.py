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
