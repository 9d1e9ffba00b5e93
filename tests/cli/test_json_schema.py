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
    for path in config_folder().rglob("*.yaml"):
        named = re.findall(r"^# yaml-language-server: \$schema=(\S+)$", path.read_text(), re.M)
        assert len(named) == 1, path
        schema = (path.parent / named[0]).resolve()
        assert schema.parent == (config_folder() / FOLDER).resolve(), path
        assert mistakes(schema.name, yaml.safe_load(path.read_text())) == [], path


@pytest.mark.parametrize("command", ["train", "sample", "eval", "export", "report", "compare"])
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
        ("train.json", {"defaults": {"override /loss": "hinge"}}),
        ("dataset.json", {"name": "folder", "fit": "cut"}),
        ("dataset.json", {"dataset": {"name": "folder", "fit": "cut"}}),
        ("sample.json", {"format": "gif"}),
    ],
)
def test_mistakes_do_not_fit(name: str, data: dict[str, Any]) -> None:
    assert mistakes(name, data) != []


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
    assert run_command("train", ["--schema=datasets"]) == 2
    assert "did you mean 'dataset'?" in capsys.readouterr().err


def test_experiments_and_recipes_have_the_schema_of_the_whole_config() -> None:
    assert group_schema("experiment") == group_schema("recipe") == SCHEMAS["train.json"]
    assert not (Path(config_folder()) / FOLDER / "experiment.json").exists()
