"""Activation checkpointing: fewer activations are kept, and every weight, moment and statistic stays the same."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gan_cli.models.activation_checkpointing import CheckpointedBlock, CheckpointedChain, checkpoint_activations
from gan_cli.models.networks.projected import ProjectedDiscriminator
from gan_cli.models.registry import DISCRIMINATORS, GENERATORS
from gan_cli.state.train_state import TrainState, build_state, state_tensors
from support.commands import error_line
from support.configs import TINY_IMAGES, compose, without
from support.runs import assert_equal_runs, last_checkpoint
from support.training import stop_after, train_in_memory

BATCH_NORM = ["regularizer=none", "architecture.discriminator.normalization=batch"]
SPECTRAL = ["regularizer=none", "architecture.discriminator.normalization=spectral"]
TRANSLATION = ["task=translation", "task.source=edges", "auxiliary=[l1,feature_matching]"]
CHOICES = {
    "dcgan": ["architecture=dcgan", *BATCH_NORM, "architecture.generator.dropout=0.3"],
    "subpixel": ["architecture.generator.output=blurred", "architecture.discriminator.dropout=0.3"],
    "resnet": ["architecture=resnet", *SPECTRAL, "architecture.generator.attention=8", "conditioning=projection"],
    "resnet, batch norm by the class": ["architecture=resnet", "conditioning=acgan", "regularizer=gradient_penalty"],
    "r3gan": ["architecture=r3gan", "loss=relativistic", "regularizer=r1_r2"],
    "stylegan2": [
        "architecture=stylegan2", "auxiliary=path_length", "auxiliary.path_length.every=1", "regularizer=r1",
        "architecture.generator.style_mixing=0.9",
    ],
    "fastgan": ["architecture=fastgan", "regularizer=reconstruction"],
    "pggan": ["architecture=pggan", "loss=wasserstein", "regularizer=[gradient_penalty,drift]"],
    "pggan, growing": [
        "architecture=pggan", "architecture.generator.grow=true", "architecture.discriminator.grow=true",
    ],
    "srresnet": ["architecture=srresnet", "conditioning=tags", "regularizer=dragan"],
    "mlp": ["architecture=mlp", "architecture.generator.normalization=batch"],
    "unet": ["architecture=pix2pix", *TRANSLATION],
    "edsr": ["task=super_resolution", "task.factor=2", "auxiliary=[l2]"],
    "gated_unet": ["task=inpainting", "auxiliary=[l1]"],
    "unrolling": ["training.unroll_steps=2", "loss=minimax", *SPECTRAL],
    "microbatches": ["training.accumulate=2", "training.reuse_fakes=false", "regularizer=[r1,lecam,consistency]"],
    "bf16": ["precision=bf16", "regularizer=r1"],
}  # fmt: skip
KEPT = {  # the largest share of the bytes that is still kept
    "resnet": (0.2, 0.2), "stylegan2": (0.3, 0.3), "dcgan": (0.6, 0.75), "pggan": (0.2, 0.2), "r3gan": (0.3, 0.3),
    "subpixel": (0.6, 1.0),
}  # fmt: skip


def trained_with(checkpointing: bool, *overrides: str) -> TrainState:
    basis = without(TINY_IMAGES, "architecture.") if "architecture=mlp" in overrides else list(TINY_IMAGES)
    precision = [] if any(each.startswith("precision=") for each in overrides) else ["precision=fp32"]
    key = f"training.checkpoint_activations={str(checkpointing).lower()}"
    return train_in_memory(compose(*basis, "steps=2", *precision, *overrides, key))


@pytest.mark.parametrize("choice", CHOICES)
def test_training_is_the_same_to_the_last_bit(choice: str) -> None:
    plain, checkpointed = (state_tensors(trained_with(each, *CHOICES[choice])) for each in (False, True))
    assert plain.keys() == checkpointed.keys()
    assert [name for name, tensor in plain.items() if not torch.equal(tensor, checkpointed[name])] == []


def test_every_network_is_in_the_table_above() -> None:
    assert {*GENERATORS} | {*DISCRIMINATORS} <= {*CHOICES, "patch", "projected"}


def kept_bytes(compute: Callable[[], Tensor], *networks: nn.Module) -> int:
    """Returns the bytes of the tensors that a forward pass keeps for its backward pass, without the weights."""
    weights = {value.untyped_storage().data_ptr() for network in networks for value in network.parameters()}
    found: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        output = compute()
    total = sum(found.values())
    output.sum().backward()
    return total


@pytest.mark.parametrize("architecture", KEPT)
def test_less_is_kept(architecture: str) -> None:
    kept = []
    for checkpointing in ("false", "true"):
        config = compose(
            "dataset=shapes", "image_size=32", f"architecture={architecture}", "regularizer=none",
            f"training.checkpoint_activations={checkpointing}",
        )  # fmt: skip
        state = build_state(config, torch.device("cpu"))
        networks = state.generator, state.discriminator
        latents, images = torch.randn(4, config.architecture.generator.latent_dim), torch.randn(4, 1, 32, 32)
        kept.append(
            (
                kept_bytes(lambda g=state.generator, z=latents: g(z, None), *networks),
                kept_bytes(lambda d=state.discriminator, x=images: d(x, None), *networks),
            )
        )
    shares = [with_checkpoints / plain for plain, with_checkpoints in zip(*kept, strict=True)]
    assert all(share <= most for share, most in zip(shares, KEPT[architecture], strict=True)), shares


def test_layers_are_computed_again_in_the_backward_pass() -> None:
    network = nn.Module()
    network.layers = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 1, 3))
    calls = []
    network.layers[0].register_forward_hook(lambda *given: calls.append(0))
    checkpoint_activations(network)
    output = network.layers(torch.randn(2, 1, 8, 8))
    assert len(calls) == 1
    output.sum().backward()
    assert len(calls) == 2
    assert network.layers[1].num_batches_tracked == 1
    with torch.no_grad():
        network.layers(torch.randn(2, 1, 8, 8))
    assert len(calls) == 3


def test_a_frozen_network_of_projected_gan_too() -> None:
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        network = ProjectedDiscriminator((3, 32, 32), base_channels=4, max_multiplier=2, least_side=32)
        if checkpointing:
            checkpoint_activations(network)
        sample = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1)).requires_grad_(True)
        logits = network(sample)
        (slope,) = torch.autograd.grad(logits.sum(), sample, create_graph=True)
        (slope.square().sum() + logits.square().sum()).backward()
        assert sample.grad is not None
        gradients.append([sample.grad, *(each.grad for each in network.parameters()), *network.state_dict().values()])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))


def test_a_copy_computes_with_its_own_weights() -> None:
    network = nn.Module()
    network.layers = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    network.blocks = nn.ModuleList([nn.Sequential(nn.Linear(2, 2), nn.ReLU())])
    checkpoint_activations(network)
    assert isinstance(network.layers.forward, CheckpointedChain)
    assert isinstance(network.blocks[0].forward, CheckpointedBlock)
    other = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    for name in ("layers", "blocks.0"):
        assert not other.get_submodule(name)(torch.ones(1, 2)).any()
        network.get_submodule(name)(torch.ones(1, 2)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert all(parameter.grad is None for parameter in other.parameters())


def test_it_can_be_added_on_resume_and_changes_nothing(
    train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken = train(*TINY_IMAGES, "steps=4", "name=unbroken")
    with monkeypatch.context() as patch:
        stop_after(5, patch)
        stopped = train(*TINY_IMAGES, "steps=4", "name=stopped", code=130)
    train(f"resume={stopped}", "training.checkpoint_activations=true")
    assert last_checkpoint(stopped).config.training.checkpoint_activations
    assert_equal_runs(unbroken, stopped)


def test_it_is_refused_for_compiled_networks(capsys: pytest.CaptureFixture[str]) -> None:
    line = error_line(capsys, "train", *TINY_IMAGES, "compile=true", "training.checkpoint_activations=true")
    assert "compile=true: its layers are not computed again, set training.checkpoint_activations=false" in line
