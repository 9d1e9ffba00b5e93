"""JSON Schemas of the commands' configs and of the YAML files in `configs/`, with which editors complete and check.

Every key is optional in them, because each file sets a part of the keys. A value may be an interpolation `${key}`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from gan_cli.config.commands import SCHEMAS
from gan_cli.config.compose import groups
from gan_cli.config.option_files import OPTIONAL_GROUPS
from gan_cli.config.options.fields import adapter
from gan_cli.config.recipes import GROUP as RECIPE
from gan_cli.config.search_path import EXPERIMENTS, config_folder
from gan_cli.config.train_config import LIST_GROUPS, flatten
from gan_cli.errors import UsageError, did_you_mean
from gan_cli.storage.yaml_files import read_option_file

FOLDER = ".schemas"  # in configs/: the schemas of its files
RENAMED = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
DROPPED = ("required", "default", "instead")  # a default of the models is that of older files
INTERPOLATION = {"$ref": "#/$defs/interpolation"}
DEFAULTS = {"$ref": "#/$defs/defaults"}
WHOLE_FILES = (EXPERIMENTS, RECIPE)  # groups whose files set keys of all sections

Schema = dict[str, Any]


class _Generator(GenerateJsonSchema):
    """Leaves out the titles that pydantic makes of the names of keys and classes."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def requested_schema(command: str, arguments: Sequence[str]) -> str:
    """Returns the schema that `--schema` or `--schema=GROUP` requests, as JSON text. Raises UsageError for another."""
    named = [argument for argument in arguments if not argument.startswith("plugins=")]
    flag, *others = sorted(named, key=lambda argument: argument.partition("=")[0] != "--schema")
    known, group = groups(command), flag.partition("=")[2]
    if others:
        near = did_you_mean(others[0], known)
        raise UsageError(f"{others[0]}: --schema stands alone, or names a group, as --schema=dataset{near}")
    if flag == "--schema":
        return format_schema(command_schema(command))
    if group not in known:
        expected = f"expected one of {', '.join(known)}{did_you_mean(group, known)}"
        raise UsageError(f"{flag}: {expected if known else f'gan-{command} has no groups'}")
    return format_schema(group_schema(group))


@cache
def command_schema(command: str) -> Schema:
    """Returns the schema of a command's config. It also admits what only files have: `defaults`, and our keys of Hydra.

    The result is cached; callers must not change it.
    """
    raw = adapter(SCHEMAS[command]).json_schema(schema_generator=_Generator)
    root = dict(read_option_file(config_folder() / f"{command}.yaml")[1])
    entries, hydra, known = root.pop("defaults"), root.pop("hydra"), groups(command)
    bases = [option for group in WHOLE_FILES for option in known.get(group, ())]
    schema = _refine(raw)
    schema["properties"] |= {"defaults": DEFAULTS, "hydra": {"const": hydra}}
    if RECIPE in known:
        schema["properties"][RECIPE]["anyOf"][0] = {"enum": known[RECIPE]}
    schema["$defs"] = schema.get("$defs", {}) | {
        "defaults": _defaults_list([*entries, *bases], {}, known),
        "interpolation": {"type": "string", "pattern": r"^\$\{[\w.]+\}$"},
    }
    for dotted, value in flatten(root):
        for key in _select(schema, dotted, schema) if value is not None else ():
            key["default"] = value  # that of a new run
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def group_schema(group: str, *, reference: bool = False) -> Schema:
    """Returns the schema of the files of a group of `gan-train`: the keys of its section, or of the whole config.

    With `reference` it refers to `train.json` for the keys of the whole config. Keys of that name in the section take
    their place.
    """
    train, known = command_schema("train"), groups()
    if group in WHOLE_FILES:
        return train
    parts = list(_objects(_select(train, group.replace("/", "."), train)[0], train))
    own = {name for part in parts for name in part["properties"]}
    whole = {
        name: {"$ref": f"train.json#/properties/{name}"} if reference else key
        for name, key in train["properties"].items()
        if name not in own
    }
    parts = [*parts, {"type": "object", "properties": whole, "additionalProperties": False}]
    schema = {
        "$schema": train["$schema"],
        "anyOf": [{**part, "properties": {**part["properties"], "defaults": DEFAULTS}} for part in parts],
    }
    definitions = train["$defs"] | {"defaults": _group_defaults(group, known)}
    return {**schema, "$defs": _used_definitions(schema, definitions)}


def shipped_schemas() -> dict[str, Schema]:
    """Returns the schemas of all files in `configs/` by file name. Those of groups refer to `train.json`."""
    found = {f"{command}.json": command_schema(command) for command in SCHEMAS}
    for group in groups():
        if group not in WHOLE_FILES:
            found[f"{group.replace('/', '_')}.json"] = group_schema(group, reference=True)
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


def _group_defaults(group: str, known: Mapping[str, Sequence[str]]) -> Schema:
    """Returns the schema of the list `defaults` in the files of a group. They may take over files of related groups."""
    inner = {other.removeprefix(f"{group}/"): other for other in known if other.startswith(f"{group}/")}
    related = [other for other in known if other != group and other.partition("/")[0] == group.partition("/")[0]]
    folders = {f"/{other}": other for other in related} | inner
    bases = [f"{folder}/{option}@_here_" for folder, other in folders.items() for option in known[other]]
    choices = {name: _choice(other, known[other]) for name, other in inner.items()}
    return _defaults_list(["_self_", *known[group], *bases], choices, known)


def _defaults_list(entries: list[Any], choices: Schema, known: Mapping[str, Sequence[str]]) -> Schema:
    """Returns the schema of Hydra's list `defaults`: these entries, these choices, and options of all groups."""
    choices = choices | {f"override /{group}": _choice(group, options) for group, options in known.items()}
    choice = {"type": "object", "properties": choices, "additionalProperties": False, "maxProperties": 1}
    return {
        "description": "files of this group to take over, and options of other groups, as override /loss: hinge",
        "type": "array",
        "items": {"anyOf": [{"enum": entries}, choice]},
    }


def _choice(group: str, options: Sequence[str]) -> Schema:
    """Returns the schema of an option of a group in a list `defaults`."""
    one = {"enum": [*options, *([None] if group in OPTIONAL_GROUPS else [])]}
    return {"anyOf": [one, {"type": "array", "items": one}]} if group in LIST_GROUPS else one
