"""The rooms of docs/design.md: small, named apart, without torch where it is promised, with nothing that runs a file.

That rooms import downwards, and nothing imports in a circle, is held by `lint-imports` (pyproject.toml).
"""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
from collections import Counter
from pathlib import Path

from support.modules import FILES, PACKAGE, imported_modules, module_name, syntax_tree
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
LATE = {"gan_cli.plugins.loader"}  # imported once a plugin is enabled
PURE = ("losses", "regularizers", "augmentation", "unrolling", "ema", "optimizers", "latents", "generate")


def room_of(path: Path) -> str:
    return str(path.parent.relative_to(PACKAGE))


def functions_in(path: Path) -> dict[str, int]:
    """Lines of each function."""
    nodes = [node for node in ast.walk(syntax_tree(path)) if isinstance(node, ast.FunctionDef)]
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


IMPORTS = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    if found := sys.modules.keys() & {"torch", "torchvision", "numpy"}:
        sys.exit(f"{name} imports {found}")
"""


def test_what_answers_mistakes_imports_no_torch() -> None:
    """In a fresh process, where every module of these rooms is imported."""
    paths = [path for room in TORCHLESS for path in (PACKAGE / f"{room}.py", *(PACKAGE / room).rglob("*.py"))]
    names = [module_name(path) for path in paths if path.exists()]
    assert {name.split(".")[1] for name in names} == {*TORCHLESS}
    command = [sys.executable, "-P", "-c", IMPORTS, *(name for name in names if name not in LATE)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stderr, done.returncode) == ("", 0)


def test_networks_losses_and_penalties_know_no_config() -> None:
    networks = {path for path in FILES if room_of(path).startswith("models") and path.stem != "build_networks"}
    pure = {path for path in FILES if path.stem in PURE and "config" not in path.parts} | networks
    assert len(pure) > len(PURE)
    known = {(module_name(path), name) for path in pure for name in imported_modules(path)}
    imports = {(importer, name) for importer, name in known if name.startswith("gan_cli.config")}
    assert {pair for pair in imports if not pair[1].startswith("gan_cli.config.options.image_sizes")} == set()


# Words that no name of the code contains, because the field has a standard term for what they mean.
WORDS = """
look looks looking judge judges judged judging present presents presented presentation deceive deceives deceived
conduct conducts introduce introduces tell tells told untold unsaid say says said figure figures worth appraise
appraisal quality vital vitals watch watches watched cure cures sealed apart pace clash clashes picture pictures place
places made ask asks asked beside brought memory turn turns hands takes whose
"""
MODULES = """
apart appraisal best chosen clashes conduct cures judged judging look measure pace presentation quality sealed sources
tell turns vitals watch worth
"""
FORBIDDEN_WORDS, FORBIDDEN_MODULES = set(WORDS.split()), set(MODULES.split())
FORBIDDEN_NAMES = {"Seen", "Told", "Made", "naming_loss"}
ALLOWED_NAMES = {
    "figure": "key of a checkpoint's metadata", "figures": "key of an evaluation's JSON file",
    "WEBP_QUALITY": "Pillow's keyword for WebP",
    "OUT_OF_MEMORY": "of the machine", "_hold_in_memory": "of the machine", "_memory": "of the machine",
    "is_out_of_memory": "of the machine", "available_memory": "of the machine", "_free_memory": "of the machine",
    "peak_memory": "of the machine", "_to_fast_memory_format": "PyTorch's memory_format",
}  # fmt: skip


def names_in(tree: ast.AST) -> set[str]:
    """What a module names: functions, classes, arguments, variables, attributes that it sets, aliases of imports."""
    found: set[str | None] = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.arg(arg=name) | ast.alias(asname=name) | ast.ExceptHandler(name=name):
                found.add(name)
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                found.add(name)
    return {name for name in found if name}


def words_of(name: str) -> set[str]:
    """`{"peak", "memory"}` of `peak_memory` and of `PeakMemory`."""
    return set(re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower().split("_"))


def forbidden(names: set[str]) -> set[str]:
    return {name for name in names - ALLOWED_NAMES.keys() if words_of(name) & FORBIDDEN_WORDS} | names & FORBIDDEN_NAMES


def test_names_are_standard_terms() -> None:
    found = {module_name(path): forbidden(names_in(syntax_tree(path))) for path in FILES}
    assert {module: names for module, names in found.items() if names} == {}
    stems = {name for path in FILES for name in (path.stem, path.parent.name)}
    assert stems & FORBIDDEN_MODULES == set()
    assert {path.stem for path in FILES if words_of(path.stem) & FORBIDDEN_WORDS} == {"out_of_memory"}  # the machine's


def test_a_forbidden_word_is_found_in_each_kind_of_name() -> None:
    code = """
import json as told
class JudgedLoss:
    figures: int
def take_look(say, *places, pictures=1, **asked):
    self.vitals = [worth for worth in say]
    with open("file") as clash, open("file") as (made, _): ...
    peak_memory = WEBP_QUALITY = 1
"""
    assert forbidden(names_in(ast.parse(code))) == {
        "told", "JudgedLoss", "take_look", "say", "places", "pictures", "asked", "vitals", "worth", "clash", "made",
    }  # fmt: skip


def test_each_allowed_name_is_in_use() -> None:
    assert ALLOWED_NAMES.keys() - set().union(*(names_in(syntax_tree(path)) for path in FILES)) == set()


FORBIDDEN_CALLS = {
    "torch.load", "pickle.load", "pickle.loads", "eval", "exec", "os.system", "hydra.utils.instantiate", "instantiate",
    "yaml.load", "np.nan_to_num", "torch.nan_to_num",
}  # fmt: skip


# by weights_only=True, after the sha256 of the bytes was compared with the known one
ALLOWED_CALLS = {("gan_cli.storage.imagenet_weights", "torch.load")}
FORBIDDEN_IMPORTS = {"pickle", "dill", "joblib", "shelve", "marshal"}


def test_nothing_here_can_run_code_from_a_file() -> None:
    last_words = {call.rpartition(".")[2] for call in FORBIDDEN_CALLS}
    nodes = [(module_name(path), node) for path in FILES for node in ast.walk(syntax_tree(path))]
    functions = [(name, node.func) for name, node in nodes if isinstance(node, ast.Call)]
    calls = {
        (name, ast.unparse(function))
        for name, function in functions
        if getattr(function, "attr", getattr(function, "id", None)) in last_words
    }
    assert {(name, call) for name, call in calls if call in FORBIDDEN_CALLS} == ALLOWED_CALLS
    assert {module_name(path) for path in FILES if imported_modules(path) & FORBIDDEN_IMPORTS} == set()
