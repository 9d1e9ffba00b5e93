"""Values of different keys that just fit together, and the nearest ones that do not."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from gan_cli.config import train_config
from gan_cli.config.compatibility import parse_config
from gan_cli.config.train_config import Config
from support.configs import compose
from support.errors import refused

BASES = {
    "images": (),
    "mlp": ("architecture=mlp", "regularizer=none"),
    "resnet": ("architecture=resnet",),
    "acgan": ("conditioning=acgan",),
    "ring": ("experiment=ring", "regularizer=r1"),
    "grid": ("dataset=grid", "architecture=mlp"),
    "shapes": ("dataset=shapes",),
    "folder": ("dataset=folder", "dataset.path=x"),
}


def changed(base: str, changes: dict[str, Any]) -> Config:
    """Returns the config of a base with other values of some dotted keys."""
    data = train_config.to_dict(compose(*BASES[base]))
    for key, value in changes.items():
        *sections, name = key.split(".")
        section = data
        for each in sections:
            section = section[each]
        section[name] = value
    return parse_config(data)


GENERATOR, DISCRIMINATOR = "architecture.generator", "architecture.discriminator"
FRECHET = {"evaluation.metrics": ["frechet"]}
Values = dict[str, Any]
Rows = list[tuple[str, Values, Values, str]]  # a base, values that fit, values that do not, and what is said of these
SHAPES: Rows = [
    ("images", {"image_size": 4}, {"image_size": 3}, "image_size=3"),
    ("images", {"image_size": [4, 9]}, {"image_size": [9, 3]}, "image_size=[9,3]"),
    ("images", {"dataset.classes": ["1"]}, {"dataset.classes": []}, "dataset.classes=[]"),
    ("mlp", {"image_size": 1}, {"image_size": None}, "image_size=null"),
    ("ring", {}, {"image_size": 28}, "image_size=28"),
    *(
        ("resnet", {"image_size": size, f"{network}.attention": side},
         {"image_size": size, f"{network}.attention": other}, f"its maps, {sides}")
        for network, size, side, other, sides in (
            (GENERATOR, 28, 7, 5, "7, 14, 28"), (GENERATOR, 28, 14, 27, "7, 14, 28"),
            (GENERATOR, 28, 28, 56, "7, 14, 28"), (DISCRIMINATOR, 28, 14, 28, "14"), (DISCRIMINATOR, 28, 14, 7, "14"),
            (DISCRIMINATOR, 8, 4, 8, "4"), (DISCRIMINATOR, 64, 8, 4, "8, 16, 32"),
        )
    ),
]  # fmt: skip
DATA: Rows = [
    ("folder", {"dataset.image_channels": 1}, {"dataset.image_channels": 2}, "image_channels=2"),
    ("folder", {"dataset.image_channels": 4}, {"dataset.image_channels": 5}, "bands=data for images of 5 bands"),
    ("folder", {"dataset.image_channels": 5, "dataset.bands": "data"}, {"dataset.path": None}, "path is missing"),
    ("folder", {"dataset.value_range": [0, 1]}, {"dataset.value_range": [1, 1]}, "value_range=[1,1]"),
    ("ring", {"dataset.classes": ["7"]}, {"dataset.classes": ["8"]}, "numbers 0 to 7"),
    ("grid", {"dataset.classes": ["24"]}, {"dataset.classes": ["25"]}, "numbers 0 to 24"),
    ("shapes", {"dataset.size": 10**6, "dataset.image_channels": 1, "image_size": [50, 80]},
     {"dataset.size": 10**6, "dataset.image_channels": 1, "image_size": [50, 81]}, "1x50x81 need 4,050,000,000 bytes"),
]  # fmt: skip
TRAINING: Rows = [
    *(
        ("images", {"batch_size": 32, **parts}, {"batch_size": 31, **parts}, "batch_size=31")
        for parts in ({"training.accumulate": 4, "training.pack": 8}, {"training.accumulate": 2})
    ),
    ("images", {"training.pack": 8}, {"training.accumulate": 8, "training.pack": 8}, "batch_size=32"),
    *(
        ("mlp", {f"{network}.normalization": "batch", "batch_size": 8, **fits},
         {f"{network}.normalization": "batch", "batch_size": 8, **fails}, f"{network}.normalization=batch: batch_size")
        for network, fits, fails in (
            (GENERATOR, {"training.accumulate": 4}, {"training.accumulate": 8}),
            (GENERATOR, {"training.pack": 8}, {"batch_size": 1, "training.accumulate": 1}),
            (DISCRIMINATOR, {"training.pack": 4}, {"training.pack": 8}),
            (DISCRIMINATOR, {"training.accumulate": 2, "training.pack": 2},
             {"training.accumulate": 2, "training.pack": 4}),
        )
    ),
    ("images", {"training.critic_warmup": 5, "training.n_critic": 5},
     {"training.critic_warmup": 4, "training.n_critic": 5}, "critic_warmup=4"),
    ("images", {"training.alternate": "epoch"}, {"training.alternate": "epoch", "training.critic_warmup": 5},
     "critic_warmup=5"),
    ("images", {"training.alternate": "epoch", "steps": 5}, {"training.alternate": "epoch", "budget": "9s"},
     "no budget"),
    ("images", {"training.generator_updates": 10, "budget": "9s"},
     {"training.generator_updates": 11, "budget": "9s"}, "generator_updates=11"),
    ("images", {"training.freeze_discriminator_layers": 2, "init_from": "x"},
     {"training.freeze_discriminator_layers": 2}, "freeze_discriminator_layers=2"),
    ("images", {"compile": True}, {}, ""),
    ("acgan", {"compile": False}, {"compile": True}, "compile=true"),
    ("acgan", {}, {"training.unroll_steps": 2, "regularizer": {}}, "not acgan"),
    ("mlp", {"training.unroll_steps": 5, "regularizer": {"weight_clip": {"limit": 0.01}}},
     {"training.unroll_steps": 5, "regularizer": {"r1": {"weight": 1.0, "every": 1}}}, "not r1"),
    ("images", {"training.label_smoothing": 0.1, "loss": {"name": "minimax"}},
     {"training.label_smoothing": 0.1, "loss": {"name": "hinge"}}, "loss=hinge"),
    ("images", {"training.augment": ["color"], "training.ada_target": 0.6}, {"training.ada_target": 0.6},
     "ada_target=0.6"),
    ("images", {"training.augment": ["color"]}, {}, ""),
    ("ring", {}, {"training.augment": ["color"]}, "training.augment=[color]"),
]  # fmt: skip
REGULARIZERS: Rows = [
    ("ring", {"regularizer.r1.every": "auto"}, {"regularizer.r1.every": 2}, "regularizer.r1.every=2"),
    ("images", {"regularizer.r1.every": 2}, {f"{DISCRIMINATOR}.normalization": "batch"}, "regularizer=r1"),
    ("mlp", {f"{DISCRIMINATOR}.normalization": "layer", "regularizer": {"weight_clip": {"limit": 0.01}}},
     {f"{DISCRIMINATOR}.normalization": "spectral", "regularizer": {"weight_clip": {"limit": 0.01}}}, "weight_clip"),
]  # fmt: skip
EVALUATION: Rows = [
    ("images", {"evaluation.best": "frechet-random", **FRECHET}, {"evaluation.best": "frechet"}, "metrics=[frechet]"),
    ("images", {"evaluation.best": "recall", "resume": "x"}, {"evaluation.best": "recal", "resume": "x"}, "recal"),
    ("acgan", {"evaluation.best": "accuracy/class"}, {"evaluation.best": "modes/covered"}, "best=modes/covered"),
    ("images", {}, {"evaluation.best": "accuracy/class"}, "set conditioning=projection"),
    ("acgan", {"evaluation.classify": False}, {"evaluation.classify": False, "evaluation.best": "accuracy/class"},
     "needs evaluation.classify=true"),
    ("ring", {"evaluation.best": "modes/covered", "evaluation.patience": 2, "training.evaluate_every": 1},
     {"evaluation.patience": 2, "training.evaluate_every": 1}, "or evaluation.best=modes/covered"),
    ("images", {"evaluation.patience": 2, "training.evaluate_every": 1, **FRECHET},
     {"evaluation.patience": 2, "training.evaluate_every": 0, **FRECHET}, "set training.evaluate_every"),
    ("images", {"evaluation.metrics": ["inception_score"]}, {"evaluation.patience": 2, "training.evaluate_every": 1},
     "set evaluation.metrics=[frechet]"),
    ("ring", FRECHET, {"evaluation.metrics": ["inception_score"]}, "needs images of one class each"),
]  # fmt: skip


ROWS = {"shapes": SHAPES, "data": DATA, "training": TRAINING, "penalties": REGULARIZERS, "evaluation": EVALUATION}


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
def test_what_just_fits_is_accepted_and_what_just_does_not_is_refused(rows: Rows) -> None:
    for base, fitting, unfitting, words in rows:
        changed(base, fitting)
        if words:
            refused(partial(changed, base, unfitting), words)
