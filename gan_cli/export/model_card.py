"""Writes the texts that describe an exported generator: `config.json` and the model card `README.md`.

gan-cli builds the generator again from `config.json`. The names and the contents of the two files follow the
conventions of the Hugging Face hub.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from gan_cli.config.options.published_datasets import PUBLISHED
from gan_cli.config.options.tasks import GIVEN_IMAGE
from gan_cli.config.train_config import to_dict
from gan_cli.errors import first_few, one_line
from gan_cli.sampling.generator_card import Card
from gan_cli.storage.locate import CARD, EXPORTED
from gan_cli.tasks.tasks import example_condition, task_of

README, SAMPLE_IMAGE = "README.md", "samples.png"
TEMPLATE = Path(__file__).with_name("model_card.md.jinja")
SMALLEST = {"image": -1, "mask": 0}  # the value of each input that is an image
PIXELS = "clamp(round((x + 1) * 127.5), 0, 255)"
NOT_BOUNDED = "-1 is black and 1 white; the network bounds its values by nothing, so that some may be outside"
MASK = "1 where the generator paints, 0 where the image is known"
OWN_DATA = ("folder", "webdataset", "huggingface")
OWN_TERMS = "They are a person's own images: who passes these weights on should have the right to."


def model_config_json(card: Card, format: str) -> str:
    """Returns the text of `config.json`: the fields of `card`, and the shapes and ranges of inputs and outputs."""
    distribution = card.generator.latent
    latent = {"dtype": "float32", "shape": ["batch", card.generator.latent_dim], "distribution": distribution}
    inputs: dict[str, Any] = {}
    if card.generator.latent_dim:
        inputs["latent"] = latent | ({"range": [-1, 1]} if distribution == "uniform" else {})
    if card.classes:
        inputs["condition"] = {
            "dtype": "float32",
            "shape": ["batch", len(card.classes)],
            "range": [0, 1],
            "meaning": "1 in the columns of the requested classes, else 0; in the order of conditioning.classes",
        }
    images = image_inputs(card)
    for name, shape in images.items():
        given = GIVEN_IMAGE[card.task.name] + ("; the hidden ones are 0" if "mask" in images else "")
        inputs[name] = {
            "dtype": "float32",
            "shape": ["batch", *shape],
            "range": [SMALLEST[name], 1],
            "meaning": MASK if name == "mask" else f"the {given}",
        }
    output: dict[str, Any] = {"dtype": "float32", "shape": ["batch", *card.sample_shape]}
    if len(card.sample_shape) == 3:
        values = {"range": [-1, 1]} if is_bounded(card) else {"meaning": NOT_BOUNDED}
        output |= {"layout": "NCHW", **values, "pixels": PIXELS}
    shown = {"library_name": "gan-cli", "file": EXPORTED[format], **to_dict(card)}
    return json.dumps({**shown, "inputs": inputs, "outputs": {"sample": output}}, indent=2) + "\n"


def is_bounded(card: Card) -> bool:
    """Whether all values of its images are in [-1, 1]; a plugin's are taken to be, unless it says otherwise."""
    return getattr(card.generator, "bounded", True)


def image_inputs(card: Card) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each image that the generator takes, by the name of the input."""
    example = example_condition(card.task, card.sample_shape)
    parts = {} if example is None else {name: getattr(example, name) for name in SMALLEST}
    return {name: tuple(part.shape[1:]) for name, part in parts.items() if part is not None}


def model_card_text(card: Card, format: str, folder: str) -> str:
    """Returns the text of the model card. `folder` is the name of the exported folder.

    Names of classes and data sets come from the user. They are written as inline code, so that they cannot add other
    Markdown.
    """
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["code"] = _code
    images = image_inputs(card)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        card=card,
        format=format,
        folder=folder.replace("\\", "\\\\").replace('"', '\\"'),
        is_image=len(card.sample_shape) == 3,
        is_bounded=is_bounded(card),
        pixels=PIXELS,
        is_normal=card.generator.latent == "normal",
        shape=" x ".join(map(str, card.sample_shape)),
        size=card.generator.latent_dim,
        images=images,
        given=images.get("image", ()) if task_of(card.task).given_small else card.sample_shape,
        names=[*(["latent"] if card.generator.latent_dim else []), *(["condition"] if card.classes else []), *images],
        classes=len(card.classes),
        class_names=first_few([_code(name) for name in card.classes], 50),
        label=repr(card.classes[0]) if card.classes else "",
        license=license_text(card),
        sample_image=SAMPLE_IMAGE,
        config_file=CARD,
    )


def license_text(card: Card) -> list[str]:
    """Returns the lines about the licence of the weights and, if it has special terms, that of the data set."""
    terms = OWN_TERMS if card.dataset in OWN_DATA else PUBLISHED.get(card.dataset, {}).get("terms")
    claims = (
        "gan-cli claims no rights in these weights, nor in what they generate: they are yours to license, as far as the"
        f" licence of the data they learned from ({_code(card.dataset)}) and the law where you are leave it to you."
    )
    drawn = [f"It learned from images that are drawn: {_code(each, 400)}." for each in card.data_licences]
    return [claims, *([] if terms is None else [terms]), *drawn]


def _code(text: str, most: int = 100) -> str:
    """Returns untrusted text as Markdown inline code, in one line of at most `most` characters."""
    return f"`{one_line(text, most).replace('`', chr(39))}`"
