"""The JSON Schemas: they are up to date, every file of `configs/` fits the one it names, and mistakes do not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from gan_cli.cli.json_schema import FOLDER, format_schema, group_schema, shipped_schemas
from gan_cli.cli.main import run_command
from gan_cli.config.compose import compose_default
from gan_cli.config.search_path import config_folder

SCHEMAS = shipped_schemas()
REGISTRY: Registry = Registry().with_resources(
    (name, Resource.from_contents(schema)) for name, schema in SCHEMAS.items()
)


def mistakes(name: str, data: Any) -> list[str]:
    """Returns the messages of the validation of `data` by a shipped schema."""
    validator = Draft202012Validator(SCHEMAS[name], registry=REGISTRY)
    return [error.message for error in validator.iter_errors(data)]


def test_the_shipped_schemas_are_up_to_date() -> None:
    """`make schemas` writes them."""
    folder = config_folder() / FOLDER
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        name: format_schema(schema) for name, schema in SCHEMAS.items()
    }
    for schema in SCHEMAS.values():
        Draft202012Validator.check_schema(schema)


def test_every_file_names_its_schema_and_fits_it() -> None:
    """Except those of Hydra's launchers, whose packages declare the keys."""
    for path in {*config_folder().rglob("*.yaml")} - {*(config_folder() / "hydra").rglob("*.yaml")}:
        named = re.findall(r"^# yaml-language-server: \$schema=(\S+)$", path.read_text(), re.M)
        assert len(named) == 1, path
        schema = (path.parent / named[0]).resolve()
        assert schema.parent == (config_folder() / FOLDER).resolve(), path
        assert mistakes(schema.name, yaml.safe_load(path.read_text())) == [], path


@pytest.mark.parametrize("command", ["train", "sample", "eval", "export", "project", "direction", "report", "compare"])
def test_the_default_config_fits_the_schema_of_its_command(command: str) -> None:
    assert mistakes(f"{command}.json", compose_default(command)) == []


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("train.json", {"stepz": 5}),
        ("train.json", {"steps": 0}),
        ("train.json", {"steps": "many"}),
        ("train.json", {"training": {"ema_decay": 1}}),
        ("train.json", {"dataset": {"name": "ring", "flip": True}}),
        ("train.json", {"regularizer": {"r1": {"wieght": 1}}}),
        ("train.json", {"dataset": {"nmae": "mnist"}}),
        ("train.json", {"loss": {"name": "hnge"}}),
        ("train.json", {"loss": "hinge"}),
        ("train.json", {"recipe": "gray"}),
        ("train.json", {"regularizer": {"r11": {"weight": 1}}}),
        ("train.json", {"defaults": {"override /loss": "hinge"}}),
        ("train.json", {"defaults": ["_slef_"]}),
        ("train.json", {"defaults": ["failure/collapse"]}),
        ("train.json", {"defaults": [{"override /loss": "hnge"}]}),
        ("train.json", {"defaults": [{"override /los": "hinge"}]}),
        ("train.json", {"defaults": [{"overide /loss": "hinge"}]}),
        ("train.json", {"defaults": [{"override /loss": None}]}),
        ("train.json", {"defaults": [{"override /loss": ["hinge"]}]}),
        ("train.json", {"defaults": [{"override /regularizer": ["r1", "r3"]}]}),
        ("train.json", {"defaults": [{"dataset": "ring"}]}),
        ("train.json", {"defaults": [{"override hydra/job_logging": "default"}]}),
        ("train.json", {"hydra": {"callbacks": {}}}),
        ("train.json", {"hydra": {"run": {"dir": "x"}}}),
        ("sample.json", {"hydra": {"job": {"chdir": True}}}),
        ("loss.json", {"name": "hnge"}),
        ("loss.json", {"loss": {"name": "hnge"}}),
        ("loss.json", {"defaults": ["hnge"]}),
        ("loss.json", {"defaults": ["hinge", {"override /regularizer": "r3"}]}),
        ("loss.json", {"loss": {"name": "hinge"}, "hydra": {"job": {}}}),
        ("dataset.json", {"nmae": "mnist"}),
        ("dataset.json", {"name": "mnst"}),
        ("dataset.json", {"name": "ring", "flip": True}),
        ("dataset.json", {"name": "svhn", "split": "unlabeled"}),
        ("dataset.json", {"defaults": ["shape"], "size": 50}),
        ("architecture.json", {"defaults": [{"generator": "dcgna"}]}),
        ("architecture.json", {"generator": {"width": 0}}),
        ("architecture_generator.json", {"output": "unfoldet"}),
        ("optimizer.json", {"name": "adm"}),
        ("optimizer.json", {"defaults": ["generator/adm@_here_"]}),
        ("optimizer.json", {"learning_rate": 0.1}),
        ("optimizer_discriminator.json", {"defaults": ["/optimizer/generator/adm@_here_"]}),
        ("regularizer.json", {"regularizer": {"r1": {"wieght": 1}}}),
        ("regularizer.json", {"r1": {"every": "automatic"}}),
        ("conditioning.json", {"embedding": 8}),
        ("device.json", {"name": "gpu"}),
        ("dataset.json", {"name": "folder", "fit": "cut"}),
        ("dataset.json", {"dataset": {"name": "folder", "fit": "cut"}}),
        ("sample.json", {"format": "gif"}),
    ],
)
def test_mistakes_do_not_fit(name: str, data: dict[str, Any]) -> None:
    assert mistakes(name, data) != []


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("train.json", {"defaults": [{"override /dataset": "folder"}, "_self_"], "dataset": {"path": "~/cats"}}),
        ("train.json", {"defaults": ["failure/mode_collapse", {"override /regularizer": ["r1", "lecam"]}]}),
        ("train.json", {"defaults": [{"override /optimizer/generator": None}, {"override /regularizer": "r1"}]}),
        ("train.json", {"seed": "${training.pack}", "optimizer": {"generator": {"lr": 0.1}}, "recipe": "colour_64"}),
        ("loss.json", {"defaults": ["hinge", "_self_"]}),
        ("loss.json", {"name": "hinge"}),
        ("loss.json", {"loss": {"name": "hinge"}, "training": {"n_critic": 2}}),
        ("dataset.json", {"defaults": ["folder"], "path": ["cats", "dogs"], "fit": "pad"}),
        ("dataset.json", {"image_size": 16, "dataset": {"name": "shapes", "size": 50}}),
        ("regularizer.json", {"defaults": ["r1", "r2"], "r1": {"every": "auto"}}),
        ("architecture.json", {"defaults": [{"generator": "dcgan"}, {"discriminator": "resnet"}]}),
        ("optimizer.json", {"defaults": ["/optimizer/generator/adam@_here_", "_self_"], "lr": 0.1}),
    ],
)
def test_files_of_a_person_fit(name: str, data: dict[str, Any]) -> None:
    assert mistakes(name, data) == []


def test_a_flag_prints_the_schema_of_a_command_or_a_group(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("train", ["--schema"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == SCHEMAS["train.json"]
    assert printed["properties"]["steps"]["default"] == 3000
    assert run_command("train", ["--schema=dataset"]) == 0
    alone = Draft202012Validator(json.loads(capsys.readouterr().out))
    assert alone.is_valid({"defaults": ["shapes"], "size": 50})
    assert alone.is_valid({"image_size": 16, "dataset": {"size": 50}})
    assert not alone.is_valid({"image_size": 16, "dataset": {"sizes": 50}})
    assert run_command("sample", ["--schema=device"]) == 0
    assert Draft202012Validator(json.loads(capsys.readouterr().out)).is_valid({"index": 1})


@pytest.mark.parametrize(
    ("command", "arguments", "words"),
    [
        ("train", ["--schema=datasets"], ["--schema=datasets", "expected one of", "did you mean 'dataset'?"]),
        ("train", ["--schema=/"], ["--schema=/: expected one of"]),
        ("train", ["--schema="], ["--schema=: expected one of"]),
        ("train", ["--schema", "datset"], ["datset: --schema stands alone", "did you mean 'dataset'?"]),
        ("train", ["loss=hinge", "--schema"], ["loss=hinge: --schema stands alone"]),
        ("train", ["--schema", "--schema=loss"], ["--schema=loss: --schema stands alone"]),
        ("train", ["-m", "--schema"], ["-m: --schema stands alone"]),
        ("sample", ["--schema=dataset"], ["--schema=dataset: expected one of device"]),
        ("report", ["--schema=dataset"], ["--schema=dataset: gan-report has no groups"]),
        ("report", ["--schema", "run"], ["paths=['run']: --schema stands alone"]),
    ],
)
def test_another_schema_is_refused(
    capsys: pytest.CaptureFixture[str], command: str, arguments: list[str], words: list[str]
) -> None:
    assert run_command(command, arguments) == 2
    out, error = capsys.readouterr()
    assert (out, error.count("\n")) == ("", 1)
    for word in words:
        assert word in error


def test_experiments_and_recipes_have_the_schema_of_the_whole_config() -> None:
    assert group_schema("experiment") == group_schema("recipe") == SCHEMAS["train.json"]
    assert not (Path(config_folder()) / FOLDER / "experiment.json").exists()
