"""JSON Schemas of the commands' configs and of the YAML files in `configs/`, with which editors complete and check.

Every key is optional in them, because each file sets a part of the keys. A value may be an interpolation `${key}`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from gan_cli.cli.default_values import default_values
from gan_cli.config.commands import SCHEMAS
from gan_cli.config.compose import groups
from gan_cli.config.options.fields import adapter
from gan_cli.config.search_path import config_folder
from gan_cli.errors import UsageError, did_you_mean

FOLDER = ".schemas"  # in configs/: the schemas of its files
RENAMED = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
DROPPED = ("required", "default", "instead")  # a default of the models is that of older files
INTERPOLATION = {"$ref": "#/$defs/interpolation"}
DEFAULTS = {"$ref": "#/$defs/defaults"}
WHOLE_FILES = ("experiment", "recipe")  # groups whose files set keys of all sections

Schema = dict[str, Any]


class _Generator(GenerateJsonSchema):
    """Leaves out the titles that pydantic makes of the names of keys and classes."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


@cache
def command_schema(command: str) -> Schema:
    """Returns the schema of a command's config. It also admits what only files have, `defaults` and `hydra`.

    The result is cached; callers must not change it.
    """
    raw = adapter(SCHEMAS[command]).json_schema(schema_generator=_Generator)
    schema = _refine(raw)
    schema["properties"] |= {"defaults": DEFAULTS, "hydra": {"type": "object"}}
    schema["$defs"] = schema.get("$defs", {}) | {
        "defaults": _defaults_list(command),
        "interpolation": {"type": "string", "pattern": r"^\$\{[\w.]+\}$"},
    }
    for dotted, value in default_values(command).items():
        for key in _select(schema, dotted, schema) if value is not None else ():
            key["default"] = value  # that of a new run
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def group_schema(group: str, *, whole: Schema | None = None) -> Schema:
    """Returns the schema of the files of a group of `gan-train`: the keys of its section, or of the whole config.

    `whole` is the schema of the whole config, by default that of `command_schema`. Raises UsageError if there is no
    such group.
    """
    known = groups()
    if group not in known:
        raise UsageError(f"--schema={group}: expected one of {', '.join(known)}{did_you_mean(group, known)}")
    train = command_schema("train")
    if group in WHOLE_FILES:
        return train
    section = _select(train, group.replace("/", "."), train)[0]
    parts = [{**each, "properties": {**each["properties"], "defaults": DEFAULTS}} for each in _objects(section, train)]
    whole = whole or {key: train[key] for key in ("type", "properties", "additionalProperties")}
    schema = {"$schema": train["$schema"], "anyOf": [*parts, whole]}
    return {**schema, "$defs": _used_definitions(schema, train["$defs"])}


def shipped_schemas() -> dict[str, Schema]:
    """Returns the schemas of all files in `configs/` by file name. Those of groups refer to `train.json`."""
    found = {f"{command}.json": command_schema(command) for command in SCHEMAS}
    for group in groups():
        if group not in WHOLE_FILES:
            found[f"{group.replace('/', '_')}.json"] = group_schema(group, whole={"$ref": "train.json"})
    return found


def format_schema(schema: Schema) -> str:
    """Returns a schema as JSON text."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def write_shipped() -> None:
    """Writes the schemas of `configs/` into its folder of schemas. `make schemas` does this."""
    folder = config_folder() / FOLDER
    folder.mkdir(exist_ok=True)
    for name, schema in shipped_schemas().items():
        (folder / name).write_text(format_schema(schema), encoding="utf-8")


# --- parts of a schema -------------------------------------------------------------------------------------------


def _refine(node: Any) -> Any:
    """Returns a schema of pydantic with standard names of limits, without required keys, with interpolations."""
    if isinstance(node, list):
        return [_refine(each) for each in node]
    if not isinstance(node, dict):
        return node
    refined = {RENAMED.get(key, key): _refine(value) for key, value in node.items() if key not in DROPPED}
    if isinstance(node.get("properties"), dict):
        refined["properties"] = {
            name: value if _is_section(value) or "const" in value else _interpolated(value)
            for name, value in ((name, _refine(value)) for name, value in node["properties"].items())
        }
    return refined


def _is_section(schema: Schema) -> bool:
    return "$ref" in schema or "properties" in schema or any("$ref" in each for each in schema.get("anyOf", ()))


def _interpolated(schema: Schema) -> Schema:
    about: Schema = {key: schema[key] for key in ("title", "description") if key in schema}
    plain = {key: value for key, value in schema.items() if key not in about}
    return {**about, "anyOf": [*(plain["anyOf"] if plain.keys() == {"anyOf"} else [plain]), INTERPOLATION]}


def _objects(section: Schema, whole: Schema) -> Iterator[Schema]:
    """Yields the schemas of the objects that a section can be, with references resolved."""
    if "anyOf" in section:
        for each in section["anyOf"]:
            yield from _objects(each, whole)
    elif "$ref" in section:
        target = whole["$defs"][section["$ref"].rpartition("/")[2]]
        if "properties" in target:
            yield target
    elif "properties" in section:
        yield section


def _select(section: Schema, dotted: str, whole: Schema) -> list[Schema]:
    """Returns the schemas of a key or section by its dotted name below `section`, one for each option that has it."""
    found = [section]
    for name in dotted.split("."):
        objects = [each for section in found for each in _objects(section, whole)]
        found = [each["properties"][name] for each in objects if name in each["properties"]]
    return found


def _used_definitions(schema: Any, known: Mapping[str, Schema]) -> dict[str, Schema]:
    """Returns those of the `known` definitions that a schema refers to, directly or by another definition."""
    found: dict[str, Schema] = {}
    pending = [schema]
    while pending:
        for name in re.findall(r'"\$ref": "#/\$defs/(\w+)"', json.dumps(pending.pop())):
            if name not in found:
                found[name] = known[name]
                pending.append(known[name])
    return dict(sorted(found.items()))


def _defaults_list(command: str) -> Schema:
    """Returns the schema of Hydra's list `defaults`: files to take over, and options to choose in other groups."""
    known = {
        prefix + group: {"anyOf": [{"enum": options}, {"type": ["string", "array", "null"]}]}
        for group, options in groups(command).items()
        for prefix in ("override /", "")
    }
    options = {"type": "object", "properties": known, "additionalProperties": {"type": ["string", "array", "null"]}}
    return {
        "description": "files of this group to take over, and options of other groups, as override /loss: hinge",
        "type": "array",
        "items": {"anyOf": [{"type": "string"}, options]},
    }
