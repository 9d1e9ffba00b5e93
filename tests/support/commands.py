"""Runs commands, in this process or in another."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from gan_cli.cli.main import run_command
from support.preloaded_python import preloaded_python


def write_text(path: Path, text: str) -> Path:
    """Writes a text file and creates its folder. Returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, errors="surrogateescape")
    return path


def run_process(
    command: str, *arguments: str, cwd: Path, timeout: float = 120, python: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs a command in a process of its own, by default forked from one that has imported torch already."""
    return subprocess.run(
        [python or preloaded_python(), "-m", "gan_cli.cli", command, *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def error_line(capsys: pytest.CaptureFixture[str], command: str, *arguments: str, code: int = 2) -> str:
    """Runs a command in this process, which must fail with this exit code and one line of error; returns the line."""
    capsys.readouterr()
    assert run_command(command, list(arguments)) == code
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    assert "Traceback" not in error
    return error
