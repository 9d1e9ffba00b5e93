"""Fixtures of the tests of sweeps."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import pytest
from omegaconf import DictConfig

from gan_cli.config import compose
from support.paths import ROOT
from support.sweeps import FAKE_RUNS

COMPOSED: dict[tuple[str, ...], DictConfig] = {}


@pytest.fixture(autouse=True)
def _compose_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Composes each command line without folders of a user once for all tests."""

    def cached(name: str, overrides: list[str], **keywords: Any) -> DictConfig:
        if any(override.startswith("hydra.") for override in overrides):
            return hydra.compose(name, overrides=overrides, **keywords)
        key = (name, *overrides)
        if key not in COMPOSED:
            COMPOSED[key] = hydra.compose(name, overrides=overrides, **keywords)
        return copy.deepcopy(COMPOSED[key])

    monkeypatch.setattr(compose, "compose", cached)


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
