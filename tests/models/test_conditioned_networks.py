"""Every network in every mode of conditioning: another label gives another sample, and other logits."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from gan_cli.config.options.conditioning import CONDITIONING_OPTIONS
from gan_cli.config.train_config import Config
from gan_cli.errors import UsageError
from gan_cli.models import build_networks
from gan_cli.models.conditioning import PREDICTED
from gan_cli.models.registry import DISCRIMINATORS, GENERATORS
from gan_cli.tasks.condition import Condition
from gan_cli.tasks.tasks import example_condition
from support.configs import NEEDED_BY, compose
from support.pretrained import random_published_weights

MODES = [mode for mode in CONDITIONING_OPTIONS if mode != "none"]
CLASSES = ("a", "b", "c")
REFUSED = {  # modes that a network refuses, and in which words
    "edsr": (MODES, "takes no labels"),
    "patch": (PREDICTED, "has no class logits"),
    "projected": (("concat", *PREDICTED), "takes classes by conditioning=projection alone"),
}
DATA = ("dataset=shapes", "dataset.size=24", "image_size=32", "batch_size=4", "regularizer=none", "auxiliary=none")


@pytest.fixture(autouse=True)
def _random_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights in place of the published ones of the frozen network."""
    monkeypatch.setattr(build_networks, "load_imagenet_weights", lambda use: random_published_weights())


def conditioned(role: str, name: str, mode: str) -> Config | None:
    """Returns a config with the network of a role in a mode; None if it is refused."""
    task = NEEDED_BY.get(name, ())
    other = ["architecture/discriminator=dcgan"] if task and role == "generator" else []  # of a task that has another
    line = (*DATA, *task, *other, f"architecture/{role}={name}", f"conditioning={mode}")
    refused, words = REFUSED.get(name, ((), ""))
    if mode in refused:
        with pytest.raises(UsageError, match=words):
            compose(*line)
        return None
    config = compose(*line)
    return dataclasses.replace(config, conditioning=dataclasses.replace(config.conditioning, classes=CLASSES))


def networks(config: Config) -> tuple[nn.Module, nn.Module]:
    """Builds both networks. Draws the weights that are 0 at first, such as those of conditional normalization."""
    both = build_networks.build_networks(config, torch.device("cpu"))
    torch.manual_seed(0)
    with torch.no_grad():
        for network in both:
            for parameter in network.eval().parameters():
                if parameter.ndim > 1 and not parameter.any():
                    parameter.normal_(std=0.1)
    return both


def labelled(config: Config, column: int) -> Condition:
    """Returns the condition of one sample of a class: the same image for each class, if the task has images."""
    given = example_condition(config.task, config.sample_shape) or Condition()
    random = torch.Generator().manual_seed(1)
    if given.image is not None:
        given = given._replace(image=torch.rand(given.image.shape, generator=random) * 2 - 1)
    if given.mask is not None:
        given = given._replace(mask=torch.ones_like(given.mask))
    return given._replace(labels=torch.eye(len(CLASSES))[[column]])


@torch.no_grad()
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", GENERATORS)
def test_another_label_gives_another_sample(name: str, mode: str) -> None:
    if (config := conditioned("generator", name, mode)) is None:
        return
    generator = networks(config)[0]
    latent = torch.randn(1, config.architecture.generator.latent_dim)
    samples = [generator(latent, labelled(config, column)) for column in range(len(CLASSES))]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert (samples[one] - samples[other]).abs().max() > 1e-3 * samples[one].abs().max()


@torch.no_grad()
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_another_label_gives_another_logit_or_the_classes_are_predicted(name: str, mode: str) -> None:
    if (config := conditioned("discriminator", name, mode)) is None:
        return
    discriminator = networks(config)[1]
    samples = torch.rand(2, *config.sample_shape) * 2 - 1
    outputs = []
    for column in range(len(CLASSES)):
        condition = labelled(config, column)
        outputs.append(discriminator.discriminate(samples, condition.map(lambda part: part.expand(2, *part.shape[1:]))))
    if mode in PREDICTED:
        assert outputs[0].class_logits.shape == (2, len(CLASSES))
        assert (outputs[0].class_logits[0] - outputs[0].class_logits[1]).abs().max() > 1e-5
        return
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert (outputs[one].logits - outputs[other].logits).abs().max() > 1e-5
