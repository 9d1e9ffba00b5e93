"""The site: the algorithm in numpy has our gradients, and the reference has every option and key."""

from __future__ import annotations

import importlib.util
import re
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gan_cli.cli.explain import load_explanations
from gan_cli.cli.keys import list_keys
from gan_cli.config.commands import SCHEMAS
from gan_cli.config.compose import groups
from gan_cli.objectives.losses import LOSSES
from support.paths import ROOT

DOCS = ROOT / "docs"
Network = list[list[Any]]


@cache
def numpy_page() -> dict[str, Any]:
    """The names that the code of the page defines, after 200 steps instead of 8,000."""
    text = (DOCS / "learn" / "7-numpy-alone.md").read_text()
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, re.S))
    assert "range(8000)" in code
    names: dict[str, Any] = {}
    exec(code.replace("range(8000)", "range(200)"), names)  # noqa: S102
    return names


def as_tensors(network: Network) -> list[Tensor]:
    return [torch.tensor(values, requires_grad=True) for layer in network for values in layer]


def forward(parameters: list[Tensor], x: Tensor) -> Tensor:
    for number in range(0, len(parameters), 2):
        x = (x.tanh() if number else x) @ parameters[number] + parameters[number + 1]
    return x


def assert_equal_gradients(by_hand: Network, parameters: list[Tensor], loss: Tensor) -> None:
    ours = torch.autograd.grad(loss, parameters)
    for mine, theirs in zip([values for layer in by_hand for values in layer], ours, strict=True):
        np.testing.assert_allclose(mine, theirs.numpy(), rtol=1e-6, atol=1e-9)
        assert np.abs(mine).max() > 1e-4


@pytest.mark.parametrize("name", ["non_saturating", "minimax"])
def test_the_numpy_page_has_our_gradients(name: str) -> None:
    page = numpy_page()
    generator, discriminator = as_tensors(page["generator"]), as_tensors(page["discriminator"])
    real, latents = page["circle"](16), page["random"].normal(size=(16, 2))
    fakes = forward(generator, torch.tensor(latents))
    logits = {"real_logits": forward(discriminator, torch.tensor(real)), "fake_logits": forward(discriminator, fakes)}
    networks = page["generator"], page["discriminator"]
    by_hand = page["discriminator_gradients"](*networks, real, latents)
    assert_equal_gradients(by_hand, discriminator, LOSSES[name].discriminator(**logits).squeeze())
    by_hand = page["generator_gradients"](*networks, latents, loss=name)
    assert_equal_gradients(by_hand, generator, LOSSES[name].generator(fake_logits=forward(discriminator, fakes)))


def test_the_numpy_page_learns() -> None:
    radii = np.linalg.norm(numpy_page()["samples"], axis=1)
    assert radii.shape == (600,)
    assert 0.3 < radii.mean() < 3


@cache
def reference() -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("option_reference", DOCS / "_ext" / "option_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.reference_pages()


def test_the_reference_has_each_option_with_its_explanation() -> None:
    explanations = load_explanations()
    for group, options in groups().items():
        page = reference()[group.partition("/")[0]]
        for option in options:
            assert re.search(rf"^##+ `{group}={option}`$", page, re.M)
            explanation = explanations.get(f"{group}/{option}", {})
            assert explanation.get("formula", "").strip() in page
            assert page.count("**Healthy curves.**") >= ("healthy" in explanation)


@pytest.mark.parametrize("command", SCHEMAS)
def test_the_reference_has_each_key_with_its_meaning(command: str) -> None:
    page = reference()[f"gan-{command}"]
    for key, forms in list_keys(command).items():
        assert len(re.findall(rf"^\| `{re.escape(key)}` \| .+ \| .+ \|$", page, re.M)) == len(forms), key
