"""Fixtures and hooks of all tests."""

from __future__ import annotations

import http.server
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two workers on two cores: more threads are slower

import pytest
import torch

from gan_cli import device
from gan_cli.cli.main import run_command
from gan_cli.evaluation.metrics import classifier
from gan_cli.stop_signals import STOP_CODES
from gan_cli.sweeps import jobs
from gan_cli.training import periodic_evaluation
from support.composition_cache import keep_compositions
from support.preloaded_python import preloaded_python
from support.published import PublishedFiles
from support.sweeps import FakeJobs

LONGEST = ("test_readme", "test_export", "test_lab", "test_demo", "test_isolated_process", "test_wheel")

torch.set_num_threads(1)
keep_compositions()
for number in STOP_CODES:  # a shell that starts the tests in the background, or nohup, has some of them ignored
    if signal.getsignal(number) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
device.git_state = cache(device.git_state)  # else each run starts three processes of git


def pytest_make_parametrize_id(val: object, argname: str) -> None:
    """Refuses bytes as a part of a test's name: they may hold a time, but each worker must collect the same names."""
    if isinstance(val, bytes | bytearray):
        raise pytest.Collector.CollectError(f"{argname}: bytes name no test; give ids=")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Runs the files with the longest tests first, so that no worker waits for another in the end."""
    items.sort(key=lambda item: item.path.stem not in LONGEST)


@pytest.fixture
def here(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder and home.

    Classifiers are trained for a few steps and shared by all tests. Processes that gan-cli starts, such as the jobs of
    a sweep, have imported torch already.
    """
    monkeypatch.setattr(sys, "executable", preloaded_python())
    monkeypatch.setattr(periodic_evaluation, "STACK_SEEDS", range(200))
    monkeypatch.setattr(classifier.LabelledImages, "design", classifier.ClassifierDesign(steps=60))
    monkeypatch.setattr(classifier, "FEWEST_IMAGES", 2)
    monkeypatch.setattr(classifier, "CLASSIFIER_CACHE", tmp_path_factory.getbasetemp() / "classifiers")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def train(here: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Path]:
    """A function that runs `gan-train` in this process, checks its exit code and returns the run's folder."""

    def run(*overrides: str, code: int = 0) -> Path:
        assert run_command("train", list(overrides)) == code, capsys.readouterr().err
        runs = sorted(here.glob("outputs/*/*/config.json"), key=lambda path: path.stat().st_mtime_ns)
        return runs[-1].parent

    return run


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> PublishedFiles:
    """Small copies of the published data sets, which tests only read."""
    return PublishedFiles(tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="session")
def finished_runs() -> dict[tuple[str, ...], tuple[Path, Path]]:
    """What `trained` can copy: for each command, a copy of its run's folder and where that was trained."""
    return {}


@pytest.fixture
def trained(
    train: Callable[..., Path],
    here: Path,
    tmp_path_factory: pytest.TempPathFactory,
    finished_runs: dict[tuple[str, ...], tuple[Path, Path]],
) -> Callable[..., Path]:
    """A function like `train` that copies the run of the same command if an earlier test has trained it."""

    def run(*overrides: str) -> Path:
        if overrides not in finished_runs:
            original = train(*overrides)
            kept = shutil.copytree(original, tmp_path_factory.mktemp("finished") / original.relative_to(here))
            finished_runs[overrides] = (kept, here)
            return original
        kept, before = finished_runs[overrides]
        copy = shutil.copytree(kept, here / "outputs" / kept.parent.name / kept.name)
        record = copy / "config.json"
        record.write_text(record.read_text().replace(str(before), str(here)))
        return copy

    return run


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a local HTTP server, and the folder that it serves."""
    folder = tmp_path / "mirror"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}/", folder
        httpd.shutdown()
        thread.join()


@pytest.fixture
def fake_jobs(monkeypatch: pytest.MonkeyPatch, here: Path) -> FakeJobs:
    """Replaces the processes of a sweep's jobs."""
    replacement = FakeJobs()
    monkeypatch.setattr(jobs, "_run_process", replacement)
    return replacement
