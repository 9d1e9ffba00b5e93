"""Writes the texts that describe an exported generator: `config.json` and the model card `README.md`.

gan-cli builds the generator again from `config.json`. The names and the contents of the two files follow the
conventions of the Hugging Face hub.
"""

from __future__ import annotations

import json
from typing import Any

from gan_cli.config.options.published_datasets import PUBLISHED
from gan_cli.config.train_config import to_dict
from gan_cli.errors import first_few, one_line
from gan_cli.sampling.load_generator import Card
from gan_cli.storage.locate import CARD, EXPORTED

README, SAMPLE_IMAGE = "README.md", "samples.png"
FOLDER_TERMS = "They are a person's own images: who passes these weights on should have the right to."


def model_config_json(card: Card, format: str) -> str:
    """Returns the text of `config.json`: the fields of `card`, and the shapes and ranges of inputs and outputs."""
    distribution = card.generator.latent
    latent = {"dtype": "float32", "shape": ["batch", card.generator.latent_dim], "distribution": distribution}
    inputs = {"latent": latent | ({"range": [-1, 1]} if distribution == "uniform" else {})}
    if card.classes:
        inputs["condition"] = {
            "dtype": "float32",
            "shape": ["batch", len(card.classes)],
            "range": [0, 1],
            "meaning": "1 in the columns of the requested classes, else 0; in the order of conditioning.classes",
        }
    output: dict[str, Any] = {"dtype": "float32", "shape": ["batch", *card.sample_shape]}
    if len(card.sample_shape) == 3:
        output |= {"layout": "NCHW", "range": [-1, 1], "pixels": "round((x + 1) * 127.5)"}
    shown = {"library_name": "gan-cli", "file": EXPORTED[format], **to_dict(card)}
    return json.dumps({**shown, "inputs": inputs, "outputs": {"sample": output}}, indent=2) + "\n"


USES = {
    "safetensors": """\
from gan_cli.api import load_generator, sample

generator = load_generator("{folder}")  # the folder with this file
samples = sample(generator, seeds=range(16){labels})  # {meaning}
""",
    "onnx": """\
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
latent = {numpy}.astype(np.float32)
{condition_numpy}(samples,) = session.run(None, {{"latent": latent{fed}}})  # {meaning}
""",
    "pt2": """\
import torch

generator = torch.export.load("model.pt2").module()  # unpickles: only for files that you trust
latent = {torch}
{condition_torch}samples = generator(latent{passed})  # {meaning}
""",
}


def model_card_text(card: Card, format: str, folder: str) -> str:
    """Returns the text of the model card. `folder` is the name of the exported folder.

    Names of classes and data sets come from the user. They are written as inline code, so that they cannot add other
    Markdown.
    """
    is_image = len(card.sample_shape) == 3
    size, classes = card.generator.latent_dim, len(card.classes)
    shape = " x ".join(map(str, card.sample_shape))
    tags = ["gan", "pytorch", *(["image-generation"] if is_image else []), *([format] if format != "pt2" else [])]
    lines = [
        "---",
        "library_name: gan-cli",
        *(["pipeline_tag: unconditional-image-generation"] if is_image and not classes else []),
        "tags:",
        *(f"- {tag}" for tag in tags),
        "# license: yours to choose, https://huggingface.co/docs/hub/repositories-licenses",
        "---",
        "",
        f"# A {card.generator.name} generator of {_code(card.dataset)}",
        "",
        f"![samples]({SAMPLE_IMAGE})",
        "",
        f"The generator of a GAN, {'averaged over training, ' if card.ema else ''}after {card.step:,} updates with"
        f" gan-cli {_code(card.gan_cli)}. It generates samples of {shape}"
        f"{' in [-1, 1]' if is_image else ''} from {size} random numbers each,"
        f" {'standard normal' if card.generator.latent == 'normal' else 'uniform from -1 to 1'}.",
    ]
    if classes:
        names = first_few([_code(name) for name in card.classes], 50)
        lines += ["", f"It generates samples of {classes} classes: {names}."]
    lines += ["", "```python", _usage(card, format, folder), "```", ""]
    lines += [
        "## Licence",
        "",
        *license_text(card),
        "",
        f"`{CARD}` has the shapes and ranges, `parity.json` the difference between this file's samples and the"
        " checkpoint's.",
        "",
    ]
    return "\n".join(lines)


def _usage(card: Card, format: str, folder: str) -> str:
    """Returns Python code that loads the exported file and generates samples."""
    size, classes = card.generator.latent_dim, len(card.classes)
    is_normal = card.generator.latent == "normal"
    in_range = ", in [-1, 1]" if len(card.sample_shape) == 3 else ""
    code = USES[format].format(
        folder=folder.replace("\\", "\\\\").replace('"', '\\"'),
        labels=f", labels={card.classes[0]!r}" if classes else "",
        numpy=f"np.random.randn(16, {size})" if is_normal else f"np.random.uniform(-1, 1, (16, {size}))",
        torch=f"torch.randn(16, {size})" if is_normal else f"torch.rand(16, {size}) * 2 - 1",
        condition_numpy=f"condition = np.eye({classes}, dtype=np.float32)[[0] * 16]\n" if classes else "",
        condition_torch=f"condition = torch.eye({classes})[[0] * 16]\n" if classes else "",
        fed=', "condition": condition' if classes else "",
        passed=", condition" if classes else "",
        meaning=f"float32, 16 x {' x '.join(map(str, card.sample_shape))}{in_range}",
    )
    return code.rstrip()


def license_text(card: Card) -> list[str]:
    """Returns the lines about the licence of the weights and, if it has special terms, that of the data set."""
    terms = FOLDER_TERMS if card.dataset == "folder" else PUBLISHED.get(card.dataset, {}).get("terms")
    claims = (
        "gan-cli claims no rights in these weights, nor in what they generate: they are yours to license, as far as the"
        f" licence of the data they learned from ({_code(card.dataset)}) and the law where you are leave it to you."
    )
    return [claims] if terms is None else [claims, terms]


def _code(text: str) -> str:
    """Returns untrusted text as Markdown inline code, in one line of at most 100 characters."""
    return f"`{one_line(text, 100).replace('`', chr(39))}`"
