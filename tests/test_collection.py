"""Every process collects the same names in the same order: pytest-xdist refuses workers that differ."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from support.collection import COLLECTED


def test_another_process_collects_the_same_names(request: pytest.FixtureRequest) -> None:
    """With another hash seed and in another second, of the files that this session was asked for."""
    config = request.config
    time.sleep(1)
    seed = "1" if os.environ.get("PYTHONHASHSEED") == "0" else "0"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "", "-p", "no:cacheprovider", *config.args],
        cwd=config.invocation_params.dir,
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTEST_ADDOPTS": "", "COLUMNS": "80"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line for line in done.stdout.splitlines() if "::" in line] == config.stash[COLLECTED]


def test_bytes_name_no_test(request: pytest.FixtureRequest) -> None:
    name = request.config.hook.pytest_make_parametrize_id
    assert name(config=request.config, val="text", argname="content") is None
    with pytest.raises(pytest.Collector.CollectError, match="content: bytes name no test"):
        name(config=request.config, val=b"bytes", argname="content")
