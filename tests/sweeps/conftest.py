"""Fixtures of the tests of sweeps."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from support.paths import ROOT
from support.sweeps import FAKE_RUNS


@pytest.fixture
def fake_runs(tmp_path: Path) -> Callable[[dict[str, str]], dict[str, str]]:
    """What a sweep's process must find in its environment for runs that train nothing, but end in these ways.

    The ways are given by overrides. Other runs are done at once.
    """
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(FAKE_RUNS)

    def plan(ends: dict[str, str]) -> dict[str, str]:
        (tmp_path / "runs.json").write_text(json.dumps(ends))
        path = os.pathsep.join([str(tmp_path / "hook"), str(ROOT)])
        return {"PYTHONPATH": path, "RUNS": str(tmp_path / "runs.json"), "PRELOADED_PATH": "1"}

    return plan
