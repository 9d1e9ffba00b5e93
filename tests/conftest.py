"""What the tests share: composed configs, small runs, and the commands as a person calls them."""

from __future__ import annotations

import http.server
import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two workers on two cores: more threads are slower

import pytest
import torch
from warm import warm_python

from gan_cli.cli.main import run_command
from gan_cli.config.compose import compose_command
from gan_cli.config.overrides import quote_literals
from gan_cli.config.parse import parse_config
from gan_cli.config.search_path import user_config_folders
from gan_cli.config.train_config import Config
from gan_cli.data.load_dataset import build_batches, build_dataset, with_classes
from gan_cli.evaluation import reference
from gan_cli.evaluation.metrics import classifier
from gan_cli.state.train_state import TrainState, build_state
from gan_cli.training import loop, periodic_evaluation
from gan_cli.training.objective import build_objective
from gan_cli.training.steps import training_step

ROOT = Path(__file__).resolve().parent.parent
# A step of a few milliseconds: small pictures, small networks, no download.
TINY_IMAGES = (
    "dataset=shapes",
    "dataset.size=200",
    "image_size=16",
    "architecture.generator.base_channels=4",
    "architecture.generator.latent_dim=8",
    "architecture.discriminator.base_channels=4",
    "batch_size=8",
    "threads=1",
    "training.log_every=1",
    "training.sample_every=0",
    "training.checkpoint_every=0",
)

torch.set_num_threads(1)
COLLECTED = pytest.StashKey[list[str]]()


def pytest_make_parametrize_id(val: object, argname: str) -> None:
    """No bytes name a test: they may hold the time they were made at, and every worker must collect the same names."""
    if isinstance(val, bytes | bytearray):
        raise pytest.Collector.CollectError(f"{argname}: bytes name no test; give ids=")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    config.stash[COLLECTED] = [item.nodeid for item in items]


def compose(*overrides: str) -> Config:
    """The validated config of a `gan-train` command line."""
    return (_compose.__wrapped__ if user_config_folders() else _compose)(*overrides)


@cache
def _compose(*overrides: str) -> Config:
    return parse_config(compose_command("train", [quote_literals(override) for override in overrides]).data)


def played(config: Config, steps: int | None = None) -> TrainState:
    """The state after so many steps, by default all, with no folder and no pictures."""
    dataset = build_dataset(config.dataset, config.image_size)
    config = with_classes(config, dataset)
    state = build_state(config, torch.device("cpu"))
    state.counters.total_steps = config.steps
    batches = build_batches(config, dataset, state.device)
    objective = build_objective(config, batches)
    while state.counters.step < (config.steps if steps is None else steps):
        training_step(state, objective, batches)
    return state


def around_updates(monkeypatch: pytest.MonkeyPatch, around: Callable[..., Any]) -> None:
    """Calls `around(step, state, objective, batches)` for each update of a run, `step` being the real one."""
    for name in ("discriminator_step", "generator_step"):
        monkeypatch.setattr(loop, name, partial(around, getattr(loop, name)))


def without(overrides: Sequence[str], *prefixes: str) -> list[str]:
    return [override for override in overrides if not override.startswith(prefixes)]


@pytest.fixture
def here(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to stand in, with a home of its own; classifiers are shared by all tests, and asked little."""
    monkeypatch.setattr(periodic_evaluation, "STACK_SEEDS", range(200))
    monkeypatch.setattr(classifier, "STEPS", 60)
    for module in (periodic_evaluation, reference):
        monkeypatch.setattr(module, "CLASSIFIER_CACHE", tmp_path_factory.getbasetemp() / "classifiers")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def train(here: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Path]:
    """Runs `gan-train` in this process and returns the run's folder; the exit code must be as expected."""

    def run(*overrides: str, code: int = 0) -> Path:
        assert run_command("train", list(overrides)) == code, capsys.readouterr().err
        runs = sorted(here.glob("outputs/*/*/config.json"), key=lambda path: path.stat().st_mtime_ns)
        return runs[-1].parent

    return run


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A mirror on this machine, and the folder it serves."""
    folder = tmp_path / "mirror"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}/", folder
        httpd.shutdown()
        thread.join()


def run_process(
    command: str, *arguments: str, cwd: Path, timeout: float = 120, python: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, as a person starts it; of `python=sys.executable`, a new interpreter too."""
    return subprocess.run(
        [python or warm_python(), "-m", "gan_cli.cli", command, *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
