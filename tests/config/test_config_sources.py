"""`configs/` where one stands: options of our groups are taken and told, Hydra's own are not taken."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from gan_cli import api
from gan_cli.cli import sweep_job
from gan_cli.cli.main import run_command
from gan_cli.config import config_sources, option_files
from gan_cli.config.compose import groups
from gan_cli.config.composed_values import refuse_hydra_keys
from gan_cli.errors import UsageError
from support.commands import error_line, run_process, write_text
from support.configs import TINY_IMAGES, compose
from support.errors import refused
from support.sweeps import FakeJobs

QUICK = "# @package _global_\nsteps: 2\n"
SEARCH = ("-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=1", "dataset=shapes", "steps=3")
# Hydra would call what it names: a copy of a file is harmless, and proof enough.
COPIES = """\
_target_: optuna.samplers.CmaEsSampler
x0:
  _target_: shutil.copyfile
  src: {here}/theirs
  dst: {here}/copied
"""


def copies(here: Path) -> str:
    (here / "theirs").write_text("x")
    return COPIES.format(here=here)


# --- Hydra's own -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
@pytest.mark.parametrize("named", [True, False])
def test_a_sampler_of_a_folder_is_not_called(
    fake_jobs: FakeJobs, here: Path, sampler: str, named: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("optuna")
    folder = here / ("mine" if named else "configs")
    file = write_text(folder / f"hydra/sweeper/sampler/{sampler}.yaml", copies(here))
    flags = ["--config-dir", "mine"] if named else []
    chosen = [f"hydra/sweeper/sampler={sampler}", "optimizer.lr=interval(1e-4,1e-2)"]
    assert run_command("train", [*flags, *SEARCH, *chosen]) == 0
    assert not (here / "copied").exists()
    assert len(fake_jobs.requests) == 1
    assert capsys.readouterr().err.count(f"warning: {file} is not used") == 1


COMMANDS = (["train", "--help"], ["train", "--cfg", "job"], ["train", "explain=hinge"], ["compare", "--cfg", "job"])
HYDRAS_COMMANDS = (["train", "--cfg", "hydra"], ["train", "--info", "searchpath"])  # in a process: it sets up logging


@pytest.mark.parametrize("command", [*COMMANDS, *HYDRAS_COMMANDS], ids=" ".join)
def test_every_command_works_among_the_options_of_another_project(
    here: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """One that replaces an option of Hydra's is told once; what Hydra does not ask for is none of its business."""

    def run() -> tuple[str, str]:
        if command in HYDRAS_COMMANDS:
            done = run_process(*command, cwd=here)
            assert done.returncode == 0, done.stderr
            return done.stdout, done.stderr
        assert run_command(command[0], command[1:]) == 0
        return capsys.readouterr()

    for name in ("default", "launcher/mine", "callbacks/rich"):
        write_text(here / f"configs/hydra/{name}.yaml", "_target_: posix.abort\n")
    assert run()[1] == ""
    basic = write_text(here / "configs/hydra/launcher/basic.yaml", "unknown: 1\n")
    out, error = run()
    assert "posix.abort" not in out
    if "--help" not in command:
        assert error == f"warning: {basic} is not used: Hydra's own options come from installed packages\n"


def test_a_sweep_among_them_tells_it_once(here: Path) -> None:
    write_text(here / "configs/hydra/launcher/basic.yaml", "unknown: 1\n")
    done = run_process("train", "-m", *TINY_IMAGES, "steps=1", "seed=1,2", "evaluation.metrics=[]", cwd=here)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("\n") == 1
    assert "is not used" in done.stderr


@pytest.mark.parametrize("name", ["hydra/launcher/mine", "../theirs/mine", "HYDRA/launcher/mine", "loss/hydra"])
def test_what_hydra_asks_for_and_does_not_get(tmp_path: Path, name: str) -> None:
    for path in ("hydra/launcher/mine", "HYDRA/launcher/mine", "loss/hydra", "loss/mine"):
        write_text(tmp_path / f"mine/{path}.yaml", "name: hinge\n")
    write_text(tmp_path / "theirs/mine.yaml", "name: hinge\n")
    folder = config_sources.UserConfigSource("", config_sources.search_path_entry(tmp_path / "mine"))
    assert folder.is_config("loss/mine")
    assert folder.is_group("loss")
    assert not folder.is_config(name)
    assert not folder.is_group(name.rpartition("/")[0]) or name == "loss/hydra"
    assert folder.list("hydra/launcher", None) == []
    assert "mine" in folder.list("loss", None)


# --- what is taken is told ---------------------------------------------------------------------------------------


def test_what_is_taken_from_where_one_stands_is_told(
    train: Callable[..., Path], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_text(here / "configs/loss/soft.yaml", "defaults:\n  - hinge\n  - _self_\n")
    write_text(here / "configs/experiment/quick.yaml", QUICK + "defaults:\n  - override /loss: soft\n  - _self_\n")
    told = f"gan-train: options from {here}/configs: experiment/quick.yaml, loss/soft.yaml\n"
    assert run_command("train", ["--cfg", "job", "experiment=quick"]) == 0
    assert capsys.readouterr().err == told
    assert run_process("train", "--info", "defaults", "experiment=quick", cwd=here).stderr == told
    train(*TINY_IMAGES, "experiment=quick", "name=one")
    assert "options from" in capsys.readouterr().err
    assert run_command("train", ["--config-dir", "configs", "--cfg", "job", "experiment=quick"]) == 0
    assert capsys.readouterr().err == ""  # that folder was named
    assert run_command("train", ["--cfg", "job"]) == 0
    assert capsys.readouterr().err == ""
    api.train(["experiment=quick", *TINY_IMAGES])
    assert capsys.readouterr().err.count("options from") == 1
    assert error_line(capsys, "train", "experiment=quick", "batch_size=0").startswith("gan-train: batch_size=0")


def test_a_sweep_tells_it_once_and_its_jobs_do_not(
    fake_jobs: FakeJobs, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_text(here / "configs/experiment/quick.yaml", QUICK)
    command = ["experiment=quick", *TINY_IMAGES, "seed=1,2"]
    assert run_command("train", ["-m", *command]) == 0
    assert capsys.readouterr().err == f"gan-train: options from {here}/configs: experiment/quick.yaml\n"
    request = '{"arguments": ["--cfg", "job", "experiment=quick"], "folder": null}\n'
    monkeypatch.setattr(sweep_job.sys, "stdin", __import__("io").StringIO(request))
    monkeypatch.setattr(sweep_job, "_stop_with_parent", lambda: None)
    assert sweep_job.main() == 0
    assert "steps: 2" in (captured := capsys.readouterr()).out
    assert captured.err == ""


@pytest.mark.parametrize(("text", "count"), [("a: 1\nb: [1, 2]\n", 5), ("a: &x [1, 2]\nb: *x\nc: {}\n", 8)])
def test_the_values_of_a_file_are_counted_at_each_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, count: int
) -> None:
    path = write_text(tmp_path / "mine.yaml", text)
    monkeypatch.setattr(option_files, "MAX_VALUES", count - 1)
    refused(lambda: option_files.check_option_file(path, "loss"), f"mine.yaml: more than {count - 1} values")
    monkeypatch.setattr(option_files, "MAX_VALUES", count)
    refused(lambda: option_files.check_option_file(path, "loss"), "unknown key loss.a")
    assert option_files._count_values([[1] * 100] * 100) < count + 3  # it stops counting above the limit


def test_a_shell_that_completes_a_line_is_told_nothing(here: Path) -> None:
    write_text(here / "configs/experiment/quick.yaml", QUICK)
    write_text(here / "configs/hydra/launcher/basic.yaml", "unknown: 1\n")
    line = "gan-train experiment=quick loss=hin"
    done = run_process("train", "-sc", "query=bash", cwd=here, COMP_LINE=line, COMP_POINT=str(len(line)))
    assert (done.stdout, done.stderr) == ("loss=hinge\n", "")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("hydra: {run: {dir: elsewhere}}", "hydra.run: no file of options may set it"),
        ("seed: ${oc.env:HOME}", "only keys can be interpolated"),
        ("seed: ${steps}", ""),
    ],
)
def test_a_file_sets_no_key_of_hydra_and_calls_no_resolver(
    here: Path, monkeypatch: pytest.MonkeyPatch, line: str, words: str
) -> None:
    """Hydra's keys are refused in the file, and once more in what is composed."""
    write_text(here / "configs/experiment/quick.yaml", f"{QUICK}{line}\n")
    if not words:
        assert compose("experiment=quick").seed == 2
        return
    refused(lambda: compose("experiment=quick"), words)
    for module in (option_files, config_sources):
        monkeypatch.setattr(module, "check_option_file", lambda *file: None)
    refused(lambda: compose("experiment=quick"), words)


def test_what_hydra_fills_in_by_itself_is_no_key_of_a_file() -> None:
    default = {"run": {"dir": "."}, "job": {"name": "a", "override_dirname": ""}, "overrides": {}, "runtime": {}}
    changes: list[dict[str, Any]] = [
        {}, {"overrides": {"task": ["steps=1"]}}, {"runtime": {"cwd": "x"}},
        {"job": {"name": "a", "override_dirname": "steps=1"}}, {"job": {"name": "b"}}, {"run": {"dir": "x"}},
        {"new": {"a": 1}},
    ]  # fmt: skip
    outcomes = []
    for change in changes:
        whole, ours = (OmegaConf.create({"hydra": part}) for part in ({**default, **change}, default))
        try:
            outcomes.append(refuse_hydra_keys(whole, ours))
        except UsageError as error:
            outcomes.append(str(error).partition(":")[0])
    assert outcomes == [None, None, None, None, "hydra.job", "hydra.run", "hydra.new"]


# --- what only the command line may set --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"{QUICK}output: elsewhere\n", "output=elsewhere"),
        (f"{QUICK}logger: [csv, wandb]\n", "logger=[csv,wandb]"),
        (f"{QUICK}logger: mlflow\n", "logger=mlflow"),
        (f"{QUICK}name: wandb\nlogger: ['${{name}}']\n", "logger=[${name}]"),
        (f"{QUICK}plugins: [evil]\n", "plugins=[evil]"),
        (f"{QUICK}resume: theirs\n", "resume=theirs"),
        (f"{QUICK}data: /\n", "data=/"),
        (f"{QUICK}on_changed_data: go_on\n", "on_changed_data=go_on"),
        (f"{QUICK}init_from: theirs\n", "init_from=theirs"),
        (f"{QUICK}replay: theirs\n", "replay=theirs"),
        (f"{QUICK}jobs: 1024\n", "jobs=1024"),
        (f"{QUICK}dataset: {{root: ../elsewhere}}\n", "dataset.root=../elsewhere"),
        (f"{QUICK}dataset: {{cache: '${{name}}'}}\n", "dataset.cache=${name}"),
        (f"{QUICK}dataset: {{cache: ~/.ssh}}\n", "dataset.cache=~/.ssh"),
        (f"{QUICK}defaults:\n  - /loss/hinge@dataset\n", "defaults: @dataset"),
        ("# @package _global_.dataset\nroot: /\n", "@package _global_.dataset"),
        (f"{QUICK}logger: [csv]\nresume: null\nname: mine\n", ""),
        (f"{QUICK}dataset: {{root: mine/data, limit: 3}}\n", ""),
    ],
)
def test_a_file_where_one_stands_sets_nothing_outside_of_the_run(
    here: Path, capsys: pytest.CaptureFixture[str], text: str, told: str
) -> None:
    file = write_text(here / "configs/experiment/quick.yaml", text)
    if not text.startswith(QUICK):  # an experiment has no other package
        file = write_text(here / "configs/loss/quick.yaml", text)
    chosen = f"{file.parent.name}=quick"
    if told:
        line = error_line(capsys, "train", chosen, "steps=1")
        assert line.startswith(f"gan-train: {file}: {told}: only the command line may set it")
        assert [path.name for path in here.iterdir()] == ["configs"]
        return
    assert run_command("train", ["--cfg", "job", chosen]) == 0


def test_a_folder_that_is_named_may_set_them(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_text(here / "configs/experiment/quick.yaml", f"{QUICK}output: elsewhere\nlogger: [mlflow]\n")
    assert run_command("train", ["--config-dir", "configs", "--cfg", "job", "experiment=quick"]) == 0
    assert "output: elsewhere" in capsys.readouterr().out
    assert "may set it" in error_line(capsys, "train", "--config-dir", ".", "experiment=quick")  # another folder


# --- a folder of this name that is something else ----------------------------------------------------------------


def test_the_rest_of_the_folder_is_not_looked_at(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It may be the root of a disk."""
    write_text(here / "configs/experiment/a/b/quick.yaml", QUICK)
    write_text(here / "configs/elsewhere/1/2/3.yaml", QUICK)
    looked, scan = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path=".": [looked.append(str(path)), scan(path)][1])
    assert "a/b/quick" in groups()["experiment"]
    assert any("experiment" in path for path in looked)
    assert not any("elsewhere" in path for path in looked)


def test_help_shows_no_control_characters(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_text(here / "configs/experiment/e\x1b[31mX.yaml", QUICK)
    assert run_command("train", ["--help"]) == 0
    out = capsys.readouterr().out
    assert "e [31mX" in out
    assert "\x1b" not in out
