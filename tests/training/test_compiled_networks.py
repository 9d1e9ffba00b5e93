"""Every architecture can be compiled: compiled networks train, and give the outputs of the plain ones."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from gan_cli.models import build_networks
from gan_cli.state.train_state import state_tensors
from gan_cli.tasks.tasks import example_condition
from support.configs import NEEDED_BY, compose
from support.pretrained import random_published_weights
from support.training import train_in_memory

TINY = ("dataset=shapes", "dataset.size=24", "image_size=16", "batch_size=4", "steps=2")
ARCHITECTURES = {
    "dcgan": (),
    "edsr": (),
    "fastgan": ("regularizer=reconstruction",),
    "gated_unet": (),
    "mlp": (),
    "pggan": ("architecture.generator.grow=false",),
    "pix2pix": (),
    "projected": ("loss=hinge", "regularizer=none"),
    "r3gan": (),
    "resnet": (),
    "srresnet": (),
    "stylegan2": ("auxiliary=path_length",),
    "subpixel": (),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the compiler
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_compiled_architecture_trains(monkeypatch: pytest.MonkeyPatch, name: str, backend: str) -> None:
    """`aot_eager` traces the networks and their derivatives only; `inductor`, the default, also writes C++.

    Training draws other noise inputs than that of plain networks, so outputs are compared in evaluation mode.
    """
    weights = random_published_weights()
    monkeypatch.setattr(build_networks, "load_imagenet_weights", lambda use: weights)
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    chosen = (f"architecture={name}", *NEEDED_BY.get(name, ()), *ARCHITECTURES[name])
    config = compose(*TINY, *chosen, "compile=true")
    state = train_in_memory(config)
    assert state.compiled.keys() == {"generator", "discriminator"}
    assert all(tensor.isfinite().all() for tensor in state_tensors(state).values())
    latent = torch.randn(4, config.architecture.generator.latent_dim)
    condition = (
        None
        if (given := example_condition(config.task, config.sample_shape)) is None
        else given.rows(torch.zeros(4).long())
    )
    with torch.no_grad():
        samples = state.generator.eval()(latent, condition)
        torch.testing.assert_close(state.compiled["generator"](latent, condition), samples, rtol=1e-3, atol=1e-4)
        logits = state.discriminator.eval()(samples, condition)
        compiled = state.compiled["discriminator"](samples, condition)
        torch.testing.assert_close(compiled, logits, rtol=1e-3, atol=1e-4)
