"""The path length penalty (1912.04958, equation 4): its values for a generator whose derivative is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gan_cli.data.load_dataset import build_batches, build_dataset
from gan_cli.errors import UsageError
from gan_cli.models.latents import LatentDistribution
from gan_cli.models.styles import StyleGenerator
from gan_cli.objectives.auxiliary import GeneratorPass, path_length
from gan_cli.state.train_state import GeneratorStepOutput, TrainState, build_state
from gan_cli.training.objective import build_objective
from support.configs import TINY_IMAGES, compose
from support.training import train_in_memory, wrap_updates

LAYERS, DIM, SIDE = 3, 4, 5
STYLES = (*TINY_IMAGES, "architecture=stylegan2", "auxiliary=path_length")


class LinearGenerator(StyleGenerator):
    """Images are the sum of a matrix for each layer times its style: J is these matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.sides = (SIDE,) * LAYERS
        self.mean_style = torch.zeros(DIM)
        self.matrices = nn.Parameter(torch.randn(LAYERS, DIM, 2 * SIDE * SIDE))

    def map(self, latent: Tensor, condition: object = None) -> Tensor:
        return latent.requires_grad_().unsqueeze(1).expand(-1, LAYERS, -1)

    def synthesize(self, styles: Tensor) -> Tensor:
        return torch.einsum("nld,ldp->np", styles, self.matrices).view(-1, 2, SIDE, SIDE)


def given(generator: nn.Module, count: int, mean: float = 0.0) -> GeneratorPass:
    state = {"path_length": {"mean": torch.tensor(mean), "value": torch.zeros(())}}
    random = torch.Generator().manual_seed(5)
    fake = torch.zeros(count, 2, SIDE, SIDE)
    return GeneratorPass(fake, None, None, generator, nn.Identity(), LatentDistribution(DIM), random, state)


@pytest.mark.parametrize("mean", [0.0, 2.0])
def test_lengths_are_those_of_the_transposed_derivative_times_noise(mean: float) -> None:
    torch.manual_seed(0)
    generator = LinearGenerator()
    inputs = given(generator, 6, mean)
    penalty = path_length(inputs, decay=0.9)
    random = torch.Generator().manual_seed(5)
    torch.randn(3, DIM, generator=random)  # latents of half of the batch
    noise = torch.randn(3, 2, SIDE, SIDE, generator=random).flatten(1) / math.sqrt(SIDE * SIDE)
    squares = torch.stack([(noise @ matrix.T).square().sum(1) for matrix in generator.matrices.detach()])
    lengths = squares.mean(0).sqrt()
    moved = 0.9 * mean + 0.1 * lengths.mean()
    torch.testing.assert_close(inputs.state["path_length"]["mean"], moved)
    torch.testing.assert_close(penalty, (lengths - moved).square().mean())
    penalty.backward()
    assert generator.matrices.grad is not None
    assert generator.matrices.grad.abs().min() > 0
    assert not inputs.state["path_length"]["mean"].requires_grad


def test_the_mean_square_of_lengths_is_the_squared_norm_of_the_derivative_for_each_pixel() -> None:
    generator, count = LinearGenerator(), 20_000
    inputs = given(generator, 2 * count)
    path_length(inputs, decay=0.0)
    mean = inputs.state["path_length"]["mean"].item()
    norm = generator.matrices.square().sum((1, 2)).mean().item() / SIDE**2
    assert 0.8 * norm < mean**2 < norm  # the variance of the lengths is the rest


def test_the_penalty_of_a_batch_of_one_has_one_sample() -> None:
    assert path_length(given(LinearGenerator(), 1), decay=0.9).isfinite()


def test_a_lazy_penalty_is_computed_in_every_fourth_update(monkeypatch: pytest.MonkeyPatch) -> None:
    means: list[float] = []

    def note(step: Callable[..., Any], state: TrainState, *arguments: Any) -> Any:
        output = step(state, *arguments)
        if isinstance(output, GeneratorStepOutput):
            means.append(state.auxiliary_state["path_length"]["mean"].item())
        return output

    wrap_updates(monkeypatch, note)
    state = train_in_memory(compose(*STYLES, "auxiliary.path_length.every=4", "steps=9"))
    assert len({*means}) == 3
    assert 0 < means[0] == means[3] < means[4] == means[7] < means[8]
    assert state.generator_output is not None
    kept = state.auxiliary_state["path_length"]["value"]
    assert state.generator_output.auxiliary == {"path_length": kept}  # the log shows it in each step


def test_a_lazy_penalty_has_its_weight_times_its_interval() -> None:
    config = compose(*STYLES, "auxiliary.path_length.weight=3", "auxiliary.path_length.every=4")
    state = build_state(config, torch.device("cpu"))
    objective = build_objective(config, build_batches(config, build_dataset(config.dataset, 16), state.device))
    fake, random = torch.zeros(8, 1, 16, 16), torch.Generator().manual_seed(0)
    values, weighted = objective.auxiliary_losses(state, fake, None, None, random)
    torch.testing.assert_close(weighted, 12 * values["path_length"])
    assert not objective.needs_real
    state.counters.step = 2
    assert objective.auxiliary_losses(state, fake, None, None, random) == ({}, 0)
    assert state.generator.mean_style.abs().sum() == 0  # it is not moved by these styles


@pytest.mark.parametrize("architecture", ["subpixel", "dcgan", "mlp"])
def test_a_generator_without_styles_is_refused(architecture: str) -> None:
    with pytest.raises(UsageError, match=rf"^auxiliary=path_length: .*={architecture} has no styles, use stylegan2$"):
        compose("dataset=shapes", f"architecture={architecture}", "auxiliary=path_length")


def test_other_auxiliary_losses_are_still_refused_without_a_true_image() -> None:
    with pytest.raises(UsageError, match=r"^auxiliary=\[l1\]: compares"):
        compose("dataset=shapes", "architecture=stylegan2", "auxiliary=[l1,path_length]")
