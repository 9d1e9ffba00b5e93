"""What `--help`, `explain=` and the site say of each key holds for every option that has the key."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from gan_cli.cli.default_values import default_values
from gan_cli.cli.keys import list_keys
from gan_cli.config.commands import SCHEMAS
from gan_cli.config.compose import compose_command, compose_default
from gan_cli.config.options.fields import walk
from gan_cli.config.train_config import flatten
from gan_cli.config.validation import choices_of, format_value

# One option for each way in which files take over others, and those whose keys others have with another meaning.
COMPOSED = (
    "dataset=swiss_roll", "dataset=lsun", "architecture/generator=resnet", "architecture/discriminator=dcgan",
    "regularizer=weight_clip", "loss=wasserstein", "experiment=wgan_mnist", "optimizer=sgd",
    "optimizer/discriminator=adamw", "device=cuda",
)  # fmt: skip


@cache
def values(command: str, option: str) -> dict[str, Any]:
    return default_values(command, *filter(None, [option]))


@pytest.mark.parametrize("command", SCHEMAS)
def test_each_key_is_told_as_each_option_has_it(command: str) -> None:
    keys = list_keys(command)
    for dotted, option, field in walk(SCHEMAS[command]):
        group, _, name = option.partition("=")
        (told,) = (
            key
            for key in keys[dotted]
            if key.options.partition("=")[0] == group and name in key.options.partition("=")[2].split(", ")
        )
        assert told.description == field.description
        assert set(choices_of(field)) <= set(told.values) or told.values[0].startswith("list of")
        default = values(command, option).get(dotted)
        named = next((value for value, names in told.defaults if name in names.split(", ")), told.default)
        assert named.partition(";")[0] == ("" if default is None else format_value(default)), (dotted, option)


@pytest.mark.parametrize("command", SCHEMAS)
def test_the_defaults_are_those_of_the_command_alone(command: str) -> None:
    composed = dict(flatten(compose_default(command)))
    assert default_values(command) == composed
    for key, (first, *_) in list_keys(command).items():
        assert first.plain == (key in composed)
        if first.plain and composed[key] is not None:
            assert first.defaults[0] == (format_value(composed[key]), "")


@pytest.mark.parametrize("option", COMPOSED)
def test_the_defaults_of_an_option_are_those_of_the_command_with_it(option: str) -> None:
    composed = dict(flatten(compose_command("train", [option], "none").data))
    assert default_values("train", option) | {"recipe": "auto"} == composed | {"recipe": "auto"}


TOLD = {
    "optimizer.beta1": ["number at least 0 and below 1; default 0.0; 0.5 with adam, adamw"],
    "dataset.std": [
        "number above 0 and at most 1,000; default 0.02 with ring; 0.0177 with grid",
        "number 0 to 100; default 0.25",
    ],
    "dataset.download": ["true or false; default true; false with lsun, lfw"],
    "dataset.value_range": ["auto, full or list of 2 numbers; default auto"],
    "threads": ["auto, whole number 1 to 1,024 or null; default auto"],
    "plugins": ["list of text; default []"],
    "budget": ["a time with its unit, as 90s, 20m or 1.5h or null"],
}


@pytest.mark.parametrize("key", TOLD)
def test_help_tells_values_and_defaults(key: str) -> None:
    forms = list_keys("train")[key]
    assert [each.line for each in forms] == [
        f"{'' if each.plain else f'{each.options}: '}{each.description} ({told})"
        for each, told in zip(forms, TOLD[key], strict=True)
    ]
