"""A person's own options: YAML files of theirs, and an installed package that they enable by name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from gan_cli.cli.main import run_command
from gan_cli.config.compose import groups
from gan_cli.config.options.networks.architectures import GENERATOR_OPTIONS
from gan_cli.config.options.objectives import LOSS_OPTIONS, REGULARIZER_OPTIONS
from gan_cli.config.options.published_datasets import DATASET_OPTIONS
from gan_cli.config.plugin import ENABLED, Part, Plugin
from gan_cli.errors import UsageError
from gan_cli.plugins import loader
from gan_cli.plugins.loader import load_plugins
from support.commands import error_line, run_process, write_text
from support.configs import TINY_IMAGES, without
from support.paths import ROOT
from support.runs import last_checkpoint

EXAMPLE = ROOT / "examples" / "plugin"
MOONS = ["dataset=moons", "architecture=mlp", "architecture/generator=sine", "loss=soft_hinge", "threads=1"]
TINY = without(TINY_IMAGES, "dataset=", "image_size")


# --- YAML files --------------------------------------------------------------------------------------------------


def test_configs_where_one_stands_are_found(train: Callable[..., Path], here: Path) -> None:
    write_text(
        here / "configs/dataset/colours.yaml",
        "# @package _global_\ndefaults:\n  - shapes\nimage_size: 16\ndataset:\n  image_channels: 3\n  size: 60\n",
    )
    write_text(
        here / "configs/experiment/quick.yaml",
        "# @package _global_\ndefaults:\n  - override /dataset: colours\n  - override /loss: hinge\nsteps: 2\n",
    )
    assert "colours" in groups()["dataset"]
    assert "quick" in groups()["experiment"]
    config = last_checkpoint(train("experiment=quick", *without(TINY, "dataset."))).config
    assert (config.steps, config.loss.name, config.sample_shape) == (2, "hinge", (3, 16, 16))
    config = last_checkpoint(train("experiment=quick", "loss=minimax", "steps=1", *without(TINY, "dataset."))).config
    assert (config.steps, config.loss.name) == (1, "minimax")


def test_a_folder_is_named_by_a_flag_in_either_spelling(
    train: Callable[..., Path], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_text(here / "it's mine, all/experiment/quick.yaml", "# @package _global_\nsteps: 2\n")
    for flag in (["--config-dir", "it's mine, all"], ["--config-dir=it's mine, all"]):
        assert last_checkpoint(train(*flag, "experiment=quick", *without(TINY_IMAGES, "steps"))).counters.step == 2
    assert "expected one of" in error_line(capsys, "train", "experiment=quick")  # the flag is of one command
    assert "no such folder" in error_line(capsys, "train", "--config-dir", "nowhere")
    write_text(here / "a_file", "")
    assert "is a file" in error_line(capsys, "train", "--config-dir", "a_file")
    for flags in (["--config-dir"], ["--config-dir="], ["--config-dir", "seed=1"], ["--config-dir", "--help"]):
        assert error_line(capsys, "train", *flags).startswith("gan-train: --config-dir: names no folder; write ")
    capsys.readouterr()
    assert run_command("train", ["--help", "--config-dir", "it's mine, all"]) == 0
    assert "quick" in capsys.readouterr().out
    assert run_command("train", ["--cfg", "job", "--config-dir", "it's mine, all", "experiment=quick"]) == 0
    assert "steps: 2\n" in capsys.readouterr().out


def test_a_sweep_knows_them_too(here: Path) -> None:
    write_text(here / "mine/experiment/quick.yaml", "# @package _global_\nsteps: 2\n")
    done = run_process(
        "train",
        "--config-dir",
        "mine",
        "-m",
        "experiment=quick",
        "seed=1,2",
        "evaluation.metrics=[]",
        *TINY_IMAGES,
        cwd=here,
    )
    assert done.returncode == 0, done.stderr
    assert len(list(here.glob("outputs/*/sweep_*/*/checkpoints/step_00000002.safetensors"))) == 2


WRONG = {
    "a key of Hydra's that runs what it names": (
        "experiment/mine.yaml",
        "# @package _global_\nhydra:\n  callbacks:\n    x:\n      _target_: os.system\n      command: touch hacked\n",
        "experiment=mine",
        "hydra.callbacks",
    ),
    "an environment variable set": (
        "experiment/mine.yaml",
        "# @package _global_\nhydra:\n  job:\n    env_set: {A: b}\n",
        "experiment=mine",
        "hydra.job",
    ),
    "an option of Hydra's in its defaults": (
        "experiment/mine.yaml",
        "# @package _global_\ndefaults:\n  - override /hydra/launcher: basic\n",
        "experiment=mine",
        "belongs to Hydra",
    ),
    "an option of ours in a place of Hydra's": (
        "experiment/mine.yaml",
        "# @package _global_\ndefaults:\n  - /optimizer@hydra.sweeper.sampler: adam\n",
        "experiment=mine",
        "belongs to Hydra",
    ),
    "what is read only if another sweeper is chosen": (
        "experiment/mine.yaml",
        "# @package _global_\ndefaults:\n  - optional /experiment@_global_: mine_${hydra/sweeper}\n",
        "experiment=mine",
        "belongs to Hydra",
    ),
    "a package of Hydra's": ("loss/mine.yaml", "# @package hydra\nname: hinge\n", "loss=mine", "belongs to Hydra"),
    "what a run records": (
        "experiment/mine.yaml", "# @package _global_\nrecipe_used: none\n", "experiment=mine", "choose one by recipe:",
    ),
    "not UTF-8": ("loss/mine.yaml", "name: \udcff\n", "loss=mine", "no YAML"),
    "nothing": ("loss/mine.yaml", "", "loss=mine", "expected keys and values"),
    "defaults that are no list": ("loss/mine.yaml", "defaults: 3\n", "loss=mine", "must be a list"),
    "a section that is nothing": (
        "experiment/mine.yaml", "# @package _global_\nregularizer: null\n", "experiment=mine", "regularizer=null",
    ),
    "an odd override": (
        "experiment/mine.yaml",
        "# @package _global_\ndefaults:\n  - override /loss: {a: b}\n",
        "experiment=mine",
        "expected one of",
    ),
    "no YAML": ("loss/mine.yaml", "name: [open\n", "loss=mine", "no YAML"),
    "binary": ("loss/mine.yaml", "\0\1", "loss=mine", "no YAML"),
    "a list": ("loss/mine.yaml", "- 1\n", "loss=mine", "expected keys and values"),
    "an unknown loss": ("loss/mine.yaml", "name: hnge\n", "loss=mine", "did you mean 'hinge'"),
    "an unknown key": ("experiment/mine.yaml", "# @package _global_\nstepz: 3\n", "experiment=mine", "stepz"),
    "a missing part": ("loss/mine.yaml", "defaults:\n  - nope\n", "loss=mine", "nope"),
    "a missing option": (
        "experiment/mine.yaml", "# @package _global_\ndefaults:\n  - override /loss: nope\n", "experiment=mine", "nope",
    ),
    "what would run code": (
        "loss/mine.yaml", "_target_: os.system\ncommand: touch hacked\n", "loss=mine", "unknown key",
    ),
    "a tag that would run code": (
        "loss/mine.yaml", "name: !!python/object/apply:os.system ['touch hacked']\n", "loss=mine", "no YAML",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_files_are_one_line(here: Path, capsys: pytest.CaptureFixture[str], case: str) -> None:
    name, text, argument, words = WRONG[case]
    write_text(here / "configs" / name, text)
    for more in ([], ["-m", "seed=1,2"]):
        error = error_line(capsys, "train", argument, *more)
        assert words in error
        assert len(error) < 600
    assert not (here / "outputs").exists()
    assert not (here / "hacked").exists()


def test_a_name_that_is_taken(here: Path, train: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    """Refused where the folder was named; told where it is only found, for it may be another project's."""
    write_text(here / "configs/loss/minimax.yaml", "name: hinge\n")
    assert "rename it" in error_line(capsys, "train", "--config-dir", "configs", "loss=minimax", "steps=1")
    assert last_checkpoint(train(*TINY_IMAGES, "loss=minimax", "steps=1")).config.loss.name == "minimax"
    assert "minimax.yaml is not used" in capsys.readouterr().out


def test_an_installed_gan_cli_works_in_a_checkout_of_it(here: Path, tmp_path: Path) -> None:
    site = tmp_path / "site" / "gan_cli"
    shutil.copytree(ROOT / "gan_cli", site, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "configs", site / "configs")
    shutil.copytree(ROOT / "configs", here / "configs")
    command = ["loss=wasserstein", "experiment=ring", "steps=1", "threads=1"]
    done = run_process("train", *command, cwd=here, PYTHONPATH=str(site.parent))
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stdout


def test_a_folder_of_another_project_does_no_harm(train: Callable[..., Path], here: Path) -> None:
    write_text(here / "configs/train.yaml", "steps: 999\n")
    write_text(here / "configs/model/net.yaml", "_target_: os.system\n")
    write_text(here / "configs/optimizer/adam.yaml", "_target_: torch.optim.Adam\n")
    assert last_checkpoint(train(*TINY_IMAGES, "steps=1")).config.optimizer.name == "adam"


# --- plugins -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example built as a wheel and unpacked, as an installer does: a folder to have on the path."""
    folder = tmp_path_factory.mktemp("site")
    code = f"from hatchling.build import build_wheel; build_wheel({str(folder)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=EXAMPLE, check=True, capture_output=True)
    wheel = next(folder.glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_the_example_trains_samples_resumes_and_sweeps(site: Path, here: Path) -> None:
    def run(command: str, *arguments: str, code: int = 0) -> str:
        path = os.pathsep.join([str(site), str(ROOT)])
        done = run_process(command, *arguments, cwd=here, PYTHONPATH=path, PRELOADED_PATH="1")
        assert done.returncode == code, done.stderr
        return done.stderr if code else done.stdout

    short = [*MOONS, "steps=3", "batch_size=16", "dataset.size=500"]
    told = run("train", "plugins=[example]", *short)
    assert "generator sine" in told
    where = "outputs/moons-sine-soft_hinge"
    assert len(list(here.glob(f"{where}/*/samples/*.png"))) == 3
    assert run("sample", "plugins=example", f"ckpt={where}", "n=10").strip().endswith(".png")
    assert "needs plugins that are not enabled: add plugins=[example]" in run("sample", f"ckpt={where}", code=3)
    assert "add plugins=[example]" in run("train", "resume=moons-sine-soft_hinge", "extra_steps=1", code=3)
    run("train", "plugins=[example]", "resume=moons-sine-soft_hinge", "extra_steps=1")
    assert "moons" in run("train", "plugins=[example]", "--help")
    assert "moons" not in run("train", "--help")
    assert "did you mean 'example'" in run("train", "plugins=[exmple]", code=2)
    assert "std=-1" in run("train", "plugins=[example]", *short, "dataset.std=-1", code=2)
    run("train", "plugins=[example]", "-m", *without(short, "loss"), "loss=soft_hinge,hinge")
    assert len(list(here.glob("outputs/*/sweep_*/*/checkpoints/step_00000003.safetensors"))) == 2


def test_the_example_s_readme_says_what_runs() -> None:
    text = (EXAMPLE / "README.md").read_text()
    for word in (*MOONS[:-1], "plugins=[example]", "pip install ./examples/plugin"):
        assert word in text


def test_without_a_plugin_its_options_are_unknown(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no such plugin" in error_line(capsys, "train", "plugins=[example]")
    assert "expected one of" in error_line(capsys, "train", "dataset=moons")
    assert not (here / "outputs").exists()


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[[object], None]:
    """Makes an object what the entry point `mine` stands for; the tables are as before afterwards."""

    def install(loaded: object) -> None:
        class Point(EntryPoint):
            def load(self) -> object:
                if isinstance(loaded, Exception):
                    raise loaded
                return loaded

        point = Point("mine", "my.module:plugin", "gan_cli.plugins")
        monkeypatch.setattr(loader.metadata, "entry_points", lambda group: [point])

    return install


def test_what_is_no_plugin_is_refused_and_adds_nothing(installed: Callable[[object], None], tmp_path: Path) -> None:
    tables = (DATASET_OPTIONS, LOSS_OPTIONS, GENERATOR_OPTIONS, REGULARIZER_OPTIONS)
    before = [dict(table) for table in tables]
    hinge = Plugin(tmp_path, losses={"new": Part(LOSS_OPTIONS["hinge"], None), "hinge": Part(object, None)})
    for loaded, words in (
        (RuntimeError("broken\ninside"), r"cannot be loaded \(broken inside\)"),
        ("a text", r"is not a gan_cli\.config\.plugin\.Plugin"),
        (hinge, "loss=hinge is taken already"),
        (Plugin(tmp_path, losses={"new": Part(object, None)}), "loss=new has no class of keys"),
    ):
        installed(loaded)
        with pytest.raises(UsageError, match=words):
            load_plugins(["mine"])
    assert [dict(table) for table in tables] == before
    assert ENABLED == {}
