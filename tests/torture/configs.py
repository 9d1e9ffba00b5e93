"""Random configs, drawn by hypothesis from the options of `gan-train` and the JSON Schema of its keys.

Each trains two steps, or is refused by one line before anything is written.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from torture.boundaries import GROUPS
from torture.scenarios import TINY
from torture.worker import Trial

BATCH = 10  # examples of a trial
KEYS_THAT_FIT, VALID = 9, 9  # times as many as keys of other options, and as odd values
# Keys that name files, start other programs, or only make a run long.
LEFT_OUT = (
    "budget", "compile", "data", "defaults", "device", "dry_run", "extra_steps", "fresh", "hydra", "init_from", "jobs",
    "logger", "loss", "name", "output", "plugins", "recipe_used", "replay", "resume", "steps", "threads",
    "dataset.cache", "dataset.download", "dataset.labels", "dataset.path", "dataset.root", "evaluation.n",
)  # fmt: skip
LARGEST = 24  # of whole numbers, so that a config trains in seconds
ODD = ("null", "nan", "inf", "-1", "0", "1e400", "[]", "[1,2]", "{}", "''", "x", "true", "${name}", "9" * 400, "é")
CODES = (0, 2, 3, 4, 5)
REFUSED_CPU = 5  # seconds


@cache
def keys() -> dict[str, dict[str, Any]]:
    """Returns the schema of each key, those of all options among them. Most options do not have most of these keys."""
    from gan_cli.cli.json_schema import command_schema

    schema = command_schema("train")
    found = dict(_leaves(schema, schema["$defs"], ""))
    return {key: value for key, value in found.items() if not {key, key.partition(".")[0]} & {*LEFT_OUT}}


def _leaves(schema: dict[str, Any], models: dict[str, Any], prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the dotted keys that hold a value, with their schemas. Later options replace the keys of earlier ones."""
    if "$ref" in schema:
        schema = models[schema["$ref"].rpartition("/")[2]]
    for option in [schema, *schema.get("anyOf", [])]:
        for key, value in option.get("properties", {}).items():
            inner = dict(_leaves(value, models, f"{prefix}{key}."))
            yield from inner.items()
            if not inner and key != "name" and "description" in value:
                yield f"{prefix}{key}", value


def values(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    """Returns a strategy of values of a key, written as on the command line; most are valid."""
    kinds = [each for each in map(values_of_type, schema.get("anyOf", [schema])) if each is not None]
    valid = st.one_of(*kinds) if kinds else st.sampled_from(ODD)
    return st.one_of(*[valid] * VALID, st.sampled_from(ODD))


def values_of_type(schema: dict[str, Any]) -> st.SearchStrategy[str] | None:
    """Returns a strategy of the values that one type of a schema allows, without large ones; None for other types."""
    if "enum" in schema or "const" in schema:
        return st.sampled_from([str(each) for each in schema.get("enum", [schema.get("const")])])
    least = schema.get("minimum", schema.get("exclusiveMinimum", 0))
    most = schema.get("maximum", schema.get("exclusiveMaximum", max(least, 1)))
    match schema.get("type"):
        case "boolean":
            return st.sampled_from(["true", "false"])
        case "integer":
            return st.integers(least, min(most, max(LARGEST, least))).map(str)
        case "number":
            return st.floats(least, min(most, max(least, 10)), width=16).map(str)
        case "array":
            inner = values_of_type(schema.get("items", {}))
            return None if inner is None else st.lists(inner, max_size=3).map(lambda found: f"[{','.join(found)}]")
    return None


@cache
def overrides() -> st.SearchStrategy[list[str]]:
    """Returns a strategy of overrides: an option of some groups, and values of some keys, mostly of chosen options."""
    from gan_cli.config.compose import groups

    known = groups("train")
    options = [f"{group}={option}" for group in (*GROUPS, "task", "auxiliary") for option in known[group]]
    chosen = st.lists(st.sampled_from(options), max_size=3, unique_by=lambda each: each.partition("=")[0])
    return chosen.flatmap(_with_values)


def _with_values(options: list[str]) -> st.SearchStrategy[list[str]]:
    one_of = st.one_of(*[st.sampled_from(_keys_of(tuple(options)))] * KEYS_THAT_FIT, st.sampled_from(sorted(keys())))
    pair = one_of.flatmap(lambda key: values(keys()[key]).map(lambda value: f"{key}={value}"))
    some = st.lists(pair, min_size=1, max_size=4, unique_by=lambda each: each.partition("=")[0])
    return some.map(lambda found: [*options, *found])


@cache
def _keys_of(options: tuple[str, ...]) -> list[str]:
    """Returns the keys that a config with these options has; all keys if the options do not fit."""
    from gan_cli.config.compose import compose_command
    from gan_cli.config.options.fields import flatten
    from gan_cli.errors import UsageError

    try:
        composed = dict(flatten(compose_command("train", base(options)).data))
    except UsageError:
        return sorted(keys())
    return sorted(keys().keys() & composed.keys())


def base(chosen: Iterable[str]) -> list[str]:
    """Returns overrides that make a run small, without those of keys that are chosen, and the chosen ones."""
    named, mlp = {each.partition("=")[0] for each in chosen}, any(each.endswith("=mlp") for each in chosen)
    small = [each for each in TINY if each.partition("=")[0] not in named and not (mlp and "base_channels" in each)]
    return [*small, "steps=2", "name=r", *chosen]


def random_configs(trial: Trial) -> None:
    """Tries some configs, each in its own process."""
    trial.cases = BATCH

    @seed(f"{trial.seed}/{trial.key}")
    @settings(
        max_examples=BATCH, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=[*HealthCheck]
    )
    @given(overrides())
    def trains_or_is_refused(chosen: list[str]) -> None:
        _try(trial, chosen)

    trains_or_is_refused()
    trial.note = f"{trial.trained} of {BATCH} trained"


def _try(trial: Trial, chosen: list[str]) -> None:
    outputs = trial.here / "outputs"
    shutil.rmtree(outputs, ignore_errors=True)
    before = len(trial.faults)
    ended = trial.run("train", *base(chosen))
    trial.trained += ended.code == 0
    lines = [line for line in ended.error.splitlines() if line.startswith("gan-train: ")]
    if ended.code not in CODES:
        trial.fault("wrong", f"exit code {ended.code}: {ended.last_line}")
    elif ended.code and len(lines) != 1:
        trial.fault("wrong", f"{len(lines)} lines of error: {ended.error[-200:]!r}")
    elif ended.code == 2 and outputs.exists():
        trial.fault("wrong", f"refused, but written: {lines[0][:150]}")
    elif ended.code == 2 and ended.cpu > REFUSED_CPU:
        trial.fault("limit", f"refused after {ended.cpu:.1f} s of CPU: {lines[0][:150]}")
    if len(trial.faults) > before:
        kind, text = trial.faults[before]
        trial.faults[before] = type(trial.faults[before])(kind, f"{' '.join(chosen)}: {text}")
