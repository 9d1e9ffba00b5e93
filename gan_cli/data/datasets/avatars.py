"""Avatars: faces and figures that DiceBear draws from seeds. Each attribute that it draws is a label."""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
import torch

from gan_cli.config.options.drawn_datasets import TEST_SEEDS
from gan_cli.data.dataset import Dataset
from gan_cli.data.folder import cache_entry
from gan_cli.data.image_store import draw_images, find_cached
from gan_cli.errors import UsageError, count_noun, one_line
from gan_cli.extras import require_extra
from gan_cli.image_files.svg import draw_svg

VERSION = 1  # version of the labels and of drawing; cache files of another version are not used
PACKAGES = ("dicebear-core", "dicebear-styles", "resvg-py")
NONE = "none"  # value of an attribute that an avatar does not have
PROBES = 200  # avatars whose options show which attributes vary
PROBE_SIDE = 96  # side in pixels at which variants are compared
ALIKE = 0.01  # below this mean difference of the values from 0 to 255, two variants look alike
COLOURS = {"white": "#ffffff", "black": "#000000"}
Options = Mapping[str, Any]
Draw = Callable[[Options], tuple[str, Options]]


class Attribute(NamedTuple):
    """An attribute, as `hair` or `hairColor`: its key in the options of an avatar, and the value of each option.

    `values` are the different values in their order; `value_of` maps options to values, several to one if they look
    alike. An avatar without this key in its options has the value `absent`, or an unknown one if that is None.
    """

    name: str
    key: str
    values: tuple[str, ...]
    value_of: dict[str, str]
    absent: str | None

    def value(self, options: Options) -> str | None:
        """Returns the value of an avatar with these options; None if it is unknown."""
        option = options.get(self.key)
        if isinstance(option, list):  # a colour is a list of one
            option = option[0] if option else None
        return self.absent if option is None else self.value_of.get(option)


def build_avatars(
    *, style: str, size: int, background: str, split: str, cache: str, image_size: tuple[int, int]
) -> Dataset:
    """Returns `size` avatars of a style, uint8 `[size, 3, H, W]`, with labels int64 `[size, attributes]`.

    The seeds are the numbers from 0 on, those of the test split from TEST_SEEDS on. A label is -1 where an attribute
    has no meaning, as the colour of a hat for an avatar without one. Drawn images are cached in the folder `cache`.
    """
    require_extra("avatars", "dataset=avatars")
    definition = _read_style(style)
    packages = {name: version(name) for name in PACKAGES}
    settings = (style, size, background, split, image_size)
    entry = cache_entry(cache, (), (), "avatars", VERSION, *settings, packages)
    licence = _licence(definition)
    dataset = find_cached(entry)
    if dataset is None:
        fixed = {} if background == "style" else {"backgroundColor": [COLOURS.get(background, background)]}
        draw = _drawer(definition)
        attributes = find_attributes(definition, fixed, draw)
        seeds = range(TEST_SEEDS if split == "test" else 0, size + (TEST_SEEDS if split == "test" else 0))
        labels: list[list[int]] = []
        images = _drawn(draw, fixed, seeds, attributes, labels, image_size)
        dataset = draw_images(
            entry,
            images,
            (size, 3, *image_size),
            lambda samples: Dataset(
                samples,
                source=f"{count_noun(size, 'avatar')} of the style {style}, drawn from the seeds {seeds[0]:,} to"
                f" {seeds[-1]:,}",
                labels=torch.tensor(labels).view(size, -1) if attributes else None,
                classes=_classes(attributes),
                changes={"licence": licence, "packages": packages},
            ),
        )
    return dataclasses.replace(dataset, notes=(f"licence: {licence}", *dataset.notes))


def _classes(attributes: list[Attribute]) -> tuple[str, ...]:
    return tuple(f"{attribute.name}={value}" for attribute in attributes for value in attribute.values)


def _drawn(
    draw: Draw,
    fixed: Options,
    seeds: range,
    attributes: list[Attribute],
    labels: list[list[int]],
    image_size: tuple[int, int],
) -> Iterator[np.ndarray]:
    """Yields the avatars of `seeds`, uint8 `[3, H, W]`, and appends the labels of each to `labels`."""
    column = {name: number for number, name in enumerate(_classes(attributes))}
    for seed in seeds:
        svg, options = draw({"seed": str(seed), **fixed})
        labels.append([column.get(f"{each.name}={each.value(options)}", -1) for each in attributes])
        yield draw_svg(svg, image_size, fixed.get("backgroundColor", ["white"])[0])


def _drawer(definition: Options) -> Draw:
    """Returns a function from the options of an avatar to its SVG image and the options that were drawn.

    It checks the whole definition first, which takes a second or two.
    """
    dicebear = importlib.import_module("dicebear")
    style = dicebear.Style(definition)

    def draw(options: Options) -> tuple[str, Options]:
        drawn = dicebear.Avatar(style, dict(options)).to_json()
        return drawn["svg"], drawn["options"]

    return draw


# --- styles ------------------------------------------------------------------------------------------------------


def _read_style(style: str) -> dict[str, Any]:
    """Returns the definition of a style. Raises UsageError if the installed package does not have it."""
    try:
        return json.loads(files("dicebear_styles").joinpath(f"{style}.json").read_text("utf-8"))
    except FileNotFoundError:
        raise UsageError(
            f"dataset.style={style}: dicebear-styles {version('dicebear-styles')} does not have it: pip install"
            " --upgrade 'gan-cli[avatars]'"
        ) from None


def _licence(definition: Options) -> str:
    """Returns the source, the author and the licence of a style, with their addresses, in one line."""
    meta = definition.get("meta", {})
    source, creator, licence = (
        " ".join(filter(None, (part.get("name"), part.get("url") and f"({part['url']})")))
        for part in (meta.get(key, {}) for key in ("source", "creator", "license"))
    )
    return one_line(
        f"{licence or 'unknown'}; drawn by DiceBear after {source} by {creator or 'an unknown author'}", 400
    )


def find_attributes(definition: Options, fixed: Options, draw: Draw) -> list[Attribute]:
    """Returns the attributes of a style that vary: components with variants, then colours.

    `draw` draws an avatar of this style. `fixed` are the options that all avatars have. An attribute of which PROBES
    avatars show one value only is left out.
    """
    probes = [draw({"seed": f"probe {number}", **fixed})[1] for number in range(PROBES)]
    components, found = definition.get("components", {}), []
    values: dict[str, dict[str, str]] = {}
    for name, component in components.items():
        source = component.get("extends", name)
        if source not in values:
            values[source] = _merge_variants(definition, source, draw)
        shown = [*values[source].values()]
        if components[source].get("probability", 100) < 100 or any(f"{name}Variant" not in each for each in probes):
            shown = [NONE, *shown]
        found.append(Attribute(name, f"{name}Variant", tuple(dict.fromkeys(shown)), values[source], NONE))
    for name, colour in definition.get("colors", {}).items():
        value_of = {each.lower(): each.lower().removeprefix("#") for each in colour["values"]}
        found.append(Attribute(f"{name}Color", f"{name}Color", tuple(value_of.values()), value_of, None))
    return [each for each in found if len({each.value(options) for options in probes} - {None}) > 1]


def _merge_variants(definition: Options, name: str, draw: Draw) -> dict[str, str]:
    """Returns a value for each variant of a component: its name, or that of an earlier variant that looks alike.

    The value of an empty variant is NONE. Each variant is drawn by itself, since other components may hide it.
    """
    component = definition["components"][name]
    width, height = component["width"], component["height"]
    box = f'viewBox="{-width} {-height} {3 * width} {3 * height}"'  # variants may be larger than the component
    different: dict[str, np.ndarray] = {NONE: np.zeros((4, PROBE_SIDE, PROBE_SIDE), np.float32)}
    value_of = {}
    for variant, details in component["variants"].items():
        if details.get("weight", 1) <= 0:  # never drawn
            continue
        svg, _ = draw({"seed": "0", **_options_with(definition, name), f"{name}Variant": variant})
        drawn = re.search(rf'<g id="({re.escape(name)}-{re.escape(variant)}-\w+)">', svg)
        if drawn is None:  # nothing refers to it
            continue
        shapes = svg[svg.index("<defs>") : svg.index("</defs>")]
        root = re.sub('viewBox="[^"]*"', box, svg[: svg.index(">") + 1])
        alone = f'{root}{shapes}</defs><use href="#{drawn[1]}"/></svg>'
        pixels = draw_svg(alone, (PROBE_SIDE, PROBE_SIDE), None).astype(np.float32)
        pixels[:3] *= pixels[3:] / 255
        alike = (value for value, others in different.items() if np.abs(pixels - others).mean() < ALIKE)
        value_of[variant] = next(alike, variant)
        different.setdefault(value_of[variant], pixels)
    return value_of


def _options_with(definition: Options, name: str) -> dict[str, Any]:
    """Returns options of an avatar that has the component `name`, which may be a part of a variant of another."""
    components = definition["components"]
    names = [each for each, details in components.items() if details.get("extends", each) == name]
    options = {f"{name}Probability": 100}
    if _has_component(definition["canvas"], names):
        return options
    for other, details in components.items():
        for variant, content in details.get("variants", {}).items():
            if other != name and _has_component(content, names):
                return {**_options_with(definition, other), **options, f"{other}Variant": variant}
    return options


def _has_component(content: Any, names: list[str]) -> bool:
    """Returns whether elements, or those inside them, draw one of the components `names`."""
    if isinstance(content, list):
        return any(_has_component(each, names) for each in content)
    if not isinstance(content, dict):
        return False
    is_one = content.get("type") == "component" and content.get("name") in names
    return is_one or _has_component([content.get("elements"), content.get("children")], names)
