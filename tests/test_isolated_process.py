"""Python processes that are started here import nothing from the folder where the user stands."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gan_cli.isolated_process import child_command, isolate_children
from support.modules import FILES, imported_modules, syntax_tree
from support.paths import ROOT
from support.sweeps import UNEVALUATED_IMAGES, job_statuses, load_leaderboard

# What a folder may hold by chance or by malice; each says that it was imported.
NAMES = ("torch.py", "numpy.py", "yaml.py", "random.py", "statistics.py", "attr/__init__.py")
MARK = "import pathlib, os; (pathlib.Path(os.environ['MARKS']) / __name__).touch()\n"


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A folder to stand in, whose files tell on who imports them."""
    for name in NAMES:
        path = tmp_path / "here" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(MARK)
    (tmp_path / "marks").mkdir()
    return tmp_path / "here"


def run(trap: Path, *arguments: str, flags: tuple[str, ...] = ("-P",)) -> str:
    """A command as its console script starts it, which has no current folder on its path; its standard output."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    done = subprocess.run(
        [sys.executable, *flags, "-m", "gan_cli.cli", *arguments],
        cwd=trap,
        env={**environment, "MARKS": str(trap.parent / "marks"), "HOME": str(trap.parent)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def imported(trap: Path) -> list[str]:
    return sorted(path.name for path in (trap.parent / "marks").iterdir())


@pytest.mark.slow  # below, what all of them start processes with is tested alone, and jobs with those of a launcher
def test_jobs_of_a_sweep_and_exports_import_no_file_where_one_stands(trap: Path) -> None:
    run(trap, "train", "-m", *UNEVALUATED_IMAGES, "steps=1", "seed=1")
    assert job_statuses(load_leaderboard(trap)) == ["done"]
    assert imported(trap) == []
    job = next(trap.glob("outputs/*/sweep_*/0"))
    assert "run by PyTorch, in a subprocess" in run(trap, "export", f"ckpt={job}", "format=pt2")
    assert imported(trap) == []


def test_nor_do_the_processes_of_a_launcher_and_their_jobs(trap: Path) -> None:
    pytest.importorskip("joblib")
    launcher = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    run(trap, "train", "-m", *UNEVALUATED_IMAGES, "steps=1", "seed=1", *launcher)
    assert job_statuses(load_leaderboard(trap)) == ["done"]
    assert imported(trap) == []


def test_nor_does_a_command_that_is_started_as_a_module(trap: Path) -> None:
    for name in ("random.py", "statistics.py"):
        (trap / name).unlink()  # Python itself imports such before it comes to us
    assert "steps: 3000" in run(trap, "train", "--cfg", "job", flags=())
    assert imported(trap) == []


def test_a_child_has_the_gan_cli_of_its_parent_and_its_pythonpath(tmp_path: Path) -> None:
    """Also of one that is not installed, and whatever is beside it."""
    site, other = tmp_path / "site", tmp_path / "other"
    shutil.copytree(ROOT / "gan_cli", site / "gan_cli", ignore=shutil.ignore_patterns("__pycache__", "*.npz"))
    (site / "gan_cli" / "__init__.py").write_text('__version__ = "9.9"\n')
    (site / "gan_cli" / "asked.py").write_text("import sys, mine; print(*sys.argv[1:], mine.value)\n")
    (site / "argparse.py").write_text("raise AssertionError\n")
    other.mkdir()
    (other / "mine.py").write_text("value = 7\n")
    code = (
        f"import sys, subprocess; sys.path.insert(0, {str(site)!r})\n"
        "from gan_cli.isolated_process import child_command\n"
        "subprocess.run(child_command('gan_cli.cli', 'train', '--version'), check=True)\n"
        "subprocess.run(child_command('gan_cli.asked', 'a b', ''), check=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=site,
        env={**os.environ, "PYTHONPATH": str(other)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "gan-cli 9.9\na b  7\n"


def test_the_command_keeps_the_current_folder_off_the_path(tmp_path: Path) -> None:
    (tmp_path / "this.py").write_text("raise AssertionError\n")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    done = subprocess.run(child_command("this"), cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.startswith("The Zen of Python"), done.stderr


def test_a_child_finds_no_module_by_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`PYTHONPATH=$PYTHONPATH:/folder`, with nothing before the colon, would name the current folder."""
    for folder in ("", "lib", "other"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "this.py").write_text(f"print('in {folder}')\n")
    (tmp_path / "other" / "this.py").rename(tmp_path / "other" / "that.py")
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    monkeypatch.setenv("PYTHONPATH", f":lib:{tmp_path}/other:.")
    isolate_children()
    assert os.environ["PYTHONPATH"] == f"{tmp_path}/other"
    for module, printed in (("this", "The Zen of Python"), ("that", "in other")):
        done = subprocess.run(child_command(module), cwd=tmp_path, capture_output=True, text=True)
        assert done.stdout.startswith(printed), done.stderr


STARTERS = {"multiprocessing", "torch.multiprocessing", "runpy", "concurrent.futures.ProcessPoolExecutor"}
WORDS = ("sys.executable", "os.exec", "os.spawn", "os.posix_spawn", "os.fork", "subprocess", "ProcessPoolExecutor")
WORDS += ("multiprocessing", "runpy")  # of files that may start a process


def test_one_place_alone_makes_the_command_of_a_python_process() -> None:
    for path in FILES:
        if not any(word in path.read_text() for word in WORDS):
            continue
        nodes = [*ast.walk(syntax_tree(path))]
        attributes = {ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute)}
        assert "sys.executable" not in attributes or path.stem == "isolated_process", path
        allowed = {"multiprocessing"} if path.stem == "batch_trials" else set()  # by a fork, which imports nothing new
        assert imported_modules(path) & STARTERS <= allowed, path
        calls = {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}
        starting = {call for call in calls if call.startswith(("os.exec", "os.spawn", "os.posix_spawn", "os.fork"))}
        assert not starting, path
        if "subprocess" in imported_modules(path):
            others = ("device", "process_environment", "submitted_jobs")  # start git, ps and scancel
            assert path.stem in (*others, "jobs", "isolated_pt2", "out_of_memory", "start_processes"), path
            assert path.stem in others or "child_command" in calls, path  # what it says
