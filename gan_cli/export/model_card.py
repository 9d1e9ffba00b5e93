"""What goes with an exported generator: `config.json`, by which it can be built and called, and a model card.

Both follow the conventions of the Hugging Face hub. `config.json` is untrusted when it is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan_cli.config import schema, train_config
from gan_cli.config.options import CONDITIONINGS, GENERATORS
from gan_cli.config.schema import key, option_of
from gan_cli.errors import CheckpointError, GanCliError, one_line
from gan_cli.storage.locate import CARD, EXPORTED

README, PICTURE = "README.md", "samples.png"
MOST_BYTES = 4 << 20
# Terms of data that this package ships or fetches, where they ask for more than their name.
DIGITS_TERMS = (
    "MNIST, of which gan-cli ships a part, is by LeCun, Cortes and Burges under CC BY-SA 3.0: name them where you pass"
    " its pictures on."
)
DATA_TERMS = {
    "mnist": DIGITS_TERMS,
    "stacked_mnist": DIGITS_TERMS,
    "kmnist": "KMNIST is by CODH under CC BY-SA 4.0: name it where you pass its pictures on.",
    "celeba": "CelebA is for non-commercial research alone, by the terms of its makers.",
    "folder": "They are a person's own pictures: who passes these weights on should have the right to.",
}


@dataclass(frozen=True)
class Card:
    """What of `config.json` is read again. `checkpoint` is the sha256 of the file that the generator is from."""

    gan_cli: str = key("version that wrote it")
    plugins: tuple[str, ...] = key("packages whose options it needs", absent=())
    dataset: str = key("name of the data set it learned")
    sample_shape: tuple[int, ...] = key("of a sample: [channels,height,width] or [2]", at_least=1, at_most=1024)
    generator: Any = option_of(GENERATORS, "the network")
    conditioning: Any = option_of(CONDITIONINGS, "asking for a kind of sample")
    ema: bool = key("whether it is the averaged generator")
    step: int = key("generator updates done", at_least=0, at_most=10**12)
    checkpoint: str = key("sha256 of the checkpoint", pattern="[0-9a-f]{64}", pattern_means="64 hexadecimal digits")

    @property
    def classes(self) -> tuple[str, ...]:
        return getattr(self.conditioning, "classes", None) or ()


def read_card(path: Path) -> Card:
    """What an export says of itself; keys that others added are passed over. CheckpointError, in one line."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise CheckpointError(f"{path}: larger than {MOST_BYTES >> 20} MiB, not one that gan-export wrote")
        data = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: cannot be read as JSON ({one_line(error, 200)})") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path}: expected a JSON object, as gan-export writes it")
    known = {name: data[name] for name in Card.__dataclass_fields__ if name in data}
    try:
        train_config.require_plugins(known)
        return schema.parse(Card, known)
    except GanCliError as error:
        raise CheckpointError(f"{path}: {one_line(error, 300)}") from error


def card_text(card: Card, latent: Mapping[str, Any], format: str) -> str:
    """`config.json`: the card, and the shapes and ranges of what goes in and comes out."""
    inputs: dict[str, Any] = {"latent": {"dtype": "float32", **latent}}
    if card.classes:
        inputs["condition"] = {
            "dtype": "float32",
            "shape": ["batch", len(card.classes)],
            "range": [0, 1],
            "meaning": "1 in the columns of the classes asked for, else 0; in the order of conditioning.classes",
        }
    output: dict[str, Any] = {"dtype": "float32", "shape": ["batch", *card.sample_shape]}
    if len(card.sample_shape) == 3:
        output |= {"layout": "NCHW", "range": [-1, 1], "pixels": "round((x + 1) * 127.5)"}
    shown = {"library_name": "gan-cli", "file": EXPORTED[format], **train_config.to_dict(card)}
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


def readme_text(card: Card, distribution: str, format: str, folder: str) -> str:
    """The model card. What a person or a file has named stands in it as code, so that it can be nothing else."""
    images = len(card.sample_shape) == 3
    tags = ["gan", "pytorch", *(["image-generation"] if images else []), *([format] if format != "pt2" else [])]
    task = ["pipeline_tag: unconditional-image-generation"] if images and not card.classes else []
    front = ["---", "library_name: gan-cli", *task, "tags:", *(f"- {tag}" for tag in tags)]
    front += ["# license: yours to choose, https://huggingface.co/docs/hub/repositories-licenses", "---"]
    size = card.generator.latent_dim
    shape = " x ".join(map(str, card.sample_shape))
    many = len(card.classes)
    use = USES[format].format(
        folder=folder.replace("\\", "\\\\").replace('"', '\\"'),
        labels=f", labels={card.classes[0]!r}" if many else "",
        numpy=f"np.random.randn(16, {size})" if distribution == "normal" else f"np.random.uniform(-1, 1, (16, {size}))",
        torch=f"torch.randn(16, {size})" if distribution == "normal" else f"torch.rand(16, {size}) * 2 - 1",
        condition_numpy=f"condition = np.eye({many}, dtype=np.float32)[[0] * 16]\n" if many else "",
        condition_torch=f"condition = torch.eye({many})[[0] * 16]\n" if many else "",
        fed=', "condition": condition' if many else "",
        passed=", condition" if many else "",
        meaning=f"float32, 16 x {shape}" + (", in [-1, 1]" if images else ""),
    )
    lines = [
        *front,
        "",
        f"# A {card.generator.name} generator of {_code(card.dataset)}",
        "",
        f"![samples]({PICTURE})",
        "",
        f"The generator of a GAN, {'averaged over training, ' if card.ema else ''}after {card.step:,} updates with"
        f" gan-cli {_code(card.gan_cli)}. It makes samples of {shape}"
        f"{' in [-1, 1]' if images else ''} from {size} random numbers each,"
        f" {'standard normal' if distribution == 'normal' else 'evenly drawn from -1 to 1'}.",
    ]
    if many:
        named = ", ".join(_code(name) for name in card.classes[:50]) + (" ..." if many > 50 else "")
        lines += ["", f"It can be asked for {many} classes: {named}."]
    lines += ["", "```python", use.rstrip(), "```", ""]
    lines += ["## Licence", "", *rights_text(card), ""]
    lines += [
        f"`{CARD}` has the shapes and ranges, `parity.json` how near this file's samples are to the checkpoint's.",
        "",
    ]
    return "\n".join(lines)


def rights_text(card: Card) -> list[str]:
    """What is to be said of who owns what: the tool claims nothing, the data have terms of their own."""
    told = [
        "gan-cli claims no rights in these weights, nor in what they make: they are yours to license, as far as the"
        f" licence of the data they learned from ({_code(card.dataset)}) and the law where you are leave it to you."
    ]
    if card.dataset in DATA_TERMS:
        told.append(DATA_TERMS[card.dataset])
    return told


def _code(text: str) -> str:
    """Text from outside as Markdown's inline code, in which nothing else has a meaning."""
    return f"`{one_line(text, 100).replace('`', chr(39))}`"
