"""The rooms of docs/design.md: small, named apart, without torch where it is promised, with nothing that runs a file.

That rooms import downwards, and nothing imports in a circle, is held by `lint-imports` (pyproject.toml).
"""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from support.modules import FILES, PACKAGE, imported_modules, module_name
from support.paths import ROOT

MOST_FILES, MOST_LINES, MOST_LINES_OF_A_FILE = 16, 2500, 320
LONGEST_FUNCTION, LONGEST_MEDIAN = 50, 8
TORCHLESS = (
    "api",
    "api_arguments",
    "cli",
    "config",
    "health",
    "image_files",
    "image_labels",
    "plugins",
    "reports",
    "runs",
    "sweeps",
)
LATE = {"plugins": {"gan_cli.plugins.loader"}}  # imported once a plugin is enabled
PURE = ("losses", "regularizers", "augmentation", "unrolling", "ema", "optimizers", "latents", "generate")


def room_of(path: Path) -> str:
    return str(path.parent.relative_to(PACKAGE))


def functions_in(path: Path) -> dict[str, int]:
    """Lines of each function."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
    return {f"{module_name(path)}.{node.name}": (node.end_lineno or 0) - node.lineno + 1 for node in nodes}


def test_rooms_are_small() -> None:
    files = Counter(room_of(path) for path in FILES if path.name != "__init__.py")
    lines: Counter[str] = Counter()
    for path in FILES:
        lines[room_of(path)] += path.read_text().count("\n")
    assert {room: count for room, count in files.items() if count > MOST_FILES} == {}
    assert {room: count for room, count in lines.items() if count > MOST_LINES} == {}


def test_a_module_has_a_name_of_its_own() -> None:
    """A section of options has that of what it configures; `__main__` starts a package."""
    names = Counter(path.stem for path in FILES if path.parent.name != "options" and not path.stem.startswith("__"))
    assert [name for name, count in names.items() if count > 1] == []


def test_every_room_says_what_it_is() -> None:
    rooms = {path.parent for path in FILES}
    assert [room.name for room in rooms if not ast.get_docstring(ast.parse((room / "__init__.py").read_text()))] == []


def test_files_and_functions_are_short() -> None:
    assert [module_name(path) for path in FILES if path.read_text().count("\n") > MOST_LINES_OF_A_FILE] == []
    lengths = {name: length for path in FILES for name, length in functions_in(path).items()}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION} == {}
    assert statistics.median(lengths.values()) <= LONGEST_MEDIAN


@pytest.mark.parametrize("room", TORCHLESS)
def test_what_answers_mistakes_imports_no_torch(room: str) -> None:
    """In a fresh process, where every module of the room is imported."""
    paths = [PACKAGE / f"{room}.py"] if (PACKAGE / f"{room}.py").exists() else (PACKAGE / room).rglob("*.py")
    names = sorted({module_name(path) for path in paths} - LATE.get(room, set()))
    code = f"import sys, {', '.join(names)}; print(*sys.modules.keys() & {{'torch', 'torchvision', 'numpy'}})"
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stderr, done.stdout.strip()) == ("", "")


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_networks_losses_and_penalties_know_no_config(path: Path) -> None:
    networks = room_of(path) == "models" and path.stem not in ("build", "build_networks")
    if (path.stem in PURE and "config" not in path.parts) or networks:
        known = [name for name in imported_modules(path) if name.startswith("gan_cli.config")]
        assert [name for name in known if not name.startswith("gan_cli.config.image_sizes")] == []


FORBIDDEN_CALLS = {
    "torch.load", "pickle.load", "pickle.loads", "eval", "exec", "os.system", "hydra.utils.instantiate", "instantiate",
    "yaml.load", "np.nan_to_num", "torch.nan_to_num",
}  # fmt: skip


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_nothing_here_can_run_code_from_a_file(path: Path) -> None:
    calls = {ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)}
    assert not calls & FORBIDDEN_CALLS
    assert not imported_modules(path) & {"pickle", "dill", "joblib", "shelve", "marshal"}
