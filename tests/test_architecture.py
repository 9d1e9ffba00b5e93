"""The house plan: imports run one way, nothing that can run code from a file, the shared pieces stay pure."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from conftest import ROOT

from gan_cli.config import options

PACKAGE = ROOT / "gan_cli"
FILES = sorted(PACKAGE.rglob("*.py"))
# Lower layers first; a module may import from its own layer and those before it.
LAYERS = [
    {"errors"},
    {"extras", "child", "links", "names", "outfile", "system"},
    {"runfolder"},
    {"locate"},
    {"hints"},
    {"schema", "randomness", "geometry", "plugin", "quickstart"},
    {"labels"},
    {"options", "searchpath", "ownfolder"},
    {"figures"},
    {"imagefolder"},
    {"recipes"},
    {"config", "clashes", "overrides"},
    {"bundles", "composition"},
    {"commands"},
    {"cures"},
    {"health"},
    {"compose"},
    {"help"},
    {"explain"},
    {"latents", "augment", "unroll", "freezing"},
    {"models", "losses", "regularizers", "optim", "ema", "data", "generation", "stop", "machine"},
    {"build"},
    {"trackers", "films"},
    {"pictures", "runlog", "state"},
    {"chosen", "basis", "due"},
    {"discriminator_input"},
    {"alternation", "generator_loss"},
    {"objective"},
    {"sealed"},
    {"metrics"},
    {"realdata"},
    {"reference"},
    {"quality", "samples"},
    {"steps", "checkpoint", "pace"},
    {"card"},
    {"loading"},
    {"vitals", "autotune"},
    {"run", "preview"},
    {"reports"},
    {"report"},
    {"measure", "grids", "evaluation", "rollback", "best", "budget"},
    {"motion", "apart"},
    {"exporters"},
    {"train", "sample", "export", "evaluate_folders"},
    {"appraisal"},
    {"evaluate"},
    {"conduct", "finetune", "transfer"},
    {"changes"},
    {"equal_run"},
    {"replay"},
    {"extend", "resuming"},
    {"sources"},
    {"launch"},
    {"api"},
    {"outcomes", "combinations"},
    {"jobs", "leaderboard", "plan"},
    {"sweep", "multirun", "compare"},
    {"cli"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
UPWARDS = {("jobs", "cli")}  # a sweep's job is a command line of its own, in another process
PURE = ("models", "losses", "regularizers", "ema", "optim", "generation", "latents", "augment", "unroll", "freezing")
PURE += ("steps", "alternation", "discriminator_input", "generator_loss")


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path, *, top_level_only: bool = False) -> set[str]:
    """Full names of what a file imports: `gan_cli.state.train_state`, `torch` ..."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "gan_cli":
            found |= {f"gan_cli.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def ours(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imports(path) if name.startswith("gan_cli.")} & RANK.keys()


def test_every_module_has_a_place() -> None:
    assert {part(path) for path in FILES} - {"__init__"} == RANK.keys()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path: Path) -> None:
    here = part(path)
    if here == "__init__":
        return
    for other in ours(path):
        assert RANK[other] <= RANK[here] or (here, other) in UPWARDS, f"{here} imports {other}"


@pytest.mark.parametrize(
    "path", [path for path in FILES if part(path) in PURE], ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_networks_losses_penalties_and_steps_know_no_config(path: Path) -> None:
    assert not ours(path) & {"config", "options", "schema", "compose"}


def test_the_steps_name_no_option() -> None:
    names = {*options.LOSSES, *options.REGULARIZERS, *options.CONDITIONINGS, *options.OPTIMIZERS}
    tree = ast.parse((PACKAGE / "steps.py").read_text())
    assert not {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)} & names


TORCHLESS = (
    "api basis changes child chosen cli combinations commands compare compose composition config cures due errors"
    " explain extend extras figures geometry health help hints jobs leaderboard links locate multirun names outcomes"
    " outfile overrides ownfolder plan plugin recipes report schema searchpath sources sweep system"
)
TORCHLESS_FILES = [PACKAGE / f"{name}.py" for name in TORCHLESS.split()]
TORCHLESS_FILES += [
    path for folder in ("options", "reports", "imagefolder") for path in sorted((PACKAGE / folder).glob("*.py"))
]


@pytest.mark.parametrize("path", TORCHLESS_FILES, ids=lambda path: path.stem)
def test_what_answers_mistakes_imports_no_torch(path: Path) -> None:
    assert not {module.split(".")[0] for module in imports(path, top_level_only=True)} & {
        "torch",
        "torchvision",
        "numpy",
    }


FORBIDDEN_CALLS = {
    "torch.load", "pickle.load", "pickle.loads", "eval", "exec", "os.system", "hydra.utils.instantiate", "instantiate",
    "yaml.load", "np.nan_to_num", "torch.nan_to_num",
}  # fmt: skip


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_here_can_run_code_from_a_file(path: Path) -> None:
    calls = {ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)}
    assert not calls & FORBIDDEN_CALLS
    assert not imports(path) & {"pickle", "dill", "joblib", "shelve", "marshal"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 320
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 60, node.name
