"""Every architecture can be compiled: the compiled networks train as the plain ones do."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from gan_cli.models import build_networks
from gan_cli.state.train_state import state_tensors
from support.configs import NEEDED_BY, compose
from support.pretrained import random_published_weights
from support.training import train_in_memory

TINY = ("dataset=shapes", "dataset.size=24", "image_size=16", "batch_size=4", "steps=2", "training.reuse_fakes=false")
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
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_compiled_architecture_trains_as_the_plain_one(
    monkeypatch: pytest.MonkeyPatch, name: str, backend: str
) -> None:
    """`aot_eager` traces the networks and their derivatives only; `inductor`, the default, also writes C++."""
    weights = random_published_weights()
    monkeypatch.setattr(build_networks, "load_imagenet_weights", lambda use: weights)
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    chosen = (f"architecture={name}", *NEEDED_BY.get(name, ()), *ARCHITECTURES[name])
    plain, compiled = (
        state_tensors(train_in_memory(compose(*TINY, *chosen, *more))) for more in ((), ("compile=true",))
    )
    assert plain.keys() == compiled.keys()
    for key, value in plain.items():
        torch.testing.assert_close(
            compiled[key], value, rtol=1e-3, atol=1e-4, msg=lambda text, key=key: f"{key}: {text}"
        )
