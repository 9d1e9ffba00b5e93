"""Every generator can be trained with every discriminator, in whichever order they are chosen."""

from __future__ import annotations

import pytest

from gan_cli.config.compose import groups
from gan_cli.config.train_config import Config
from gan_cli.errors import UsageError
from gan_cli.models import build_networks
from gan_cli.models.registry import DISCRIMINATORS, GENERATORS
from gan_cli.state.growth import growth_of
from gan_cli.state.train_state import state_tensors
from support.configs import NEEDED_BY, compose
from support.pretrained import random_published_weights
from support.training import train_in_memory

TINY = ("dataset=shapes", "dataset.size=24", "image_size=16", "batch_size=4", "regularizer=none", "steps=2")
PAIRS = [(generator, discriminator) for generator in GENERATORS for discriminator in DISCRIMINATORS]
REFUSED = {(generator, "projected") for generator in ("unet", "gated_unet")}  # see `check_pretrained`
GROWTH = ("auto", "false", "true")
SLOW = pytest.mark.slow


@pytest.fixture
def _random_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights in place of the published ones of the frozen network."""
    weights = random_published_weights()
    monkeypatch.setattr(build_networks, "load_imagenet_weights", lambda use: weights)


def compose_pair(generator: str, discriminator: str) -> Config:
    """The config of both networks, which is the same whether a bundle has chosen one of them or none."""
    task, pair = NEEDED_BY.get(generator, ()), ["", ""]
    pair[0], pair[1] = f"architecture/generator={generator}", f"architecture/discriminator={discriminator}"
    config = compose(*TINY, *task, *pair)
    for bundle in {generator, discriminator} & {*groups()["architecture"]}:
        assert compose(*TINY, *task, f"architecture={bundle}", *pair) == config
    return config


@pytest.mark.usefixtures("_random_features")
@pytest.mark.parametrize(
    ("generator", "discriminator"), [pytest.param(*pair, marks=() if "pggan" in pair else SLOW) for pair in PAIRS]
)
def test_every_generator_trains_with_every_discriminator(generator: str, discriminator: str) -> None:
    if (generator, discriminator) in REFUSED:
        with pytest.raises(UsageError, match="takes no image beside the sample, use patch"):
            compose_pair(generator, discriminator)
        return
    state = train_in_memory(compose_pair(generator, discriminator))
    assert state.counters.step == 2
    assert all(tensor.isfinite().all() for tensor in state_tensors(state).values())
    assert (growth_of(state) is not None) == (generator == discriminator == "pggan")


@pytest.mark.parametrize("of_generator", GROWTH)
@pytest.mark.parametrize("of_discriminator", GROWTH)
def test_networks_grow_together_or_not_at_all(of_generator: str, of_discriminator: str) -> None:
    keys = {"generator": of_generator, "discriminator": of_discriminator}
    if {*keys.values()} == {"true", "false"}:
        with pytest.raises(UsageError, match=r"grow=true: architecture\.\w+=pggan does not grow; set"):
            compose("architecture=pggan", *(f"architecture.{role}.grow={value}" for role, value in keys.items()))
        return
    config = compose(
        *TINY, "architecture=pggan", *(f"architecture.{role}.grow={value}" for role, value in keys.items())
    )
    state = train_in_memory(config, 1)
    assert (growth_of(state) is not None) == ("false" not in keys.values())
