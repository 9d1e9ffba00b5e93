"""What the generator makes of its input: measured on networks made for it, and found by the health monitor."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gan_cli.health import monitor
from gan_cli.health.monitor import HealthMonitor
from gan_cli.tasks.condition import Condition
from gan_cli.tasks.tasks import hide
from gan_cli.training import condition_metrics
from gan_cli.training.condition_metrics import measure_condition
from support.configs import compose
from support.runs import logged_metrics


class Made(nn.Module):
    """A generator that computes its output by a given function."""

    def __init__(self, output: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.output = output

    def forward(self, latent: Tensor, condition: Condition) -> Tensor:
        assert condition.image is not None
        return self.output(latent, condition.image)


def of_latent(latent: Tensor, image: Tensor) -> Tensor:
    return latent.mean(1).view(-1, 1, 1, 1).expand_as(image)


NETWORKS: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], int, str | None]] = {
    "translates": (lambda latent, image: -image, 0, None),
    "translates, with a latent": (lambda latent, image: -image + 0.1 * of_latent(latent, image), 8, None),
    "answers with one result": (lambda latent, image: -image, 8, "ignores_latent"),
    "returns the input": (lambda latent, image: image + 0.01, 0, "copies_input"),
    "returns the input, a latent is unused": (lambda latent, image: image + 0.01, 8, "copies_input"),
    "is constant": (lambda latent, image: torch.zeros_like(image), 0, "ignores_condition"),
    "is constant, a latent is unused": (lambda latent, image: torch.zeros_like(image), 8, "ignores_condition"),
    "depends on the latent": (lambda latent, image: of_latent(latent, image) - 0.05 * image, 8, "ignores_condition"),
}


@pytest.mark.parametrize("network", NETWORKS)
def test_a_network_made_for_it_gives_the_finding(network: str) -> None:
    output, latent_dim, expected = NETWORKS[network]
    random = torch.Generator().manual_seed(0)
    image = torch.rand(16, 3, 8, 8, generator=random) * 2 - 1
    latents = torch.randn(16, latent_dim, generator=random)
    metrics = measure_condition(Made(output), latents, Condition(image=image), -image)
    values = {name: value.item() for name, value in metrics.items()}
    healthy = {
        "loss/discriminator": 1.3, "logits/auc": 0.8, "grad_norm/generator": 0.5, "health/gradient_least": 0.05,
        "health/diversity": 0.9, "health/duplicates": 0.0, "health/duplicates_real": 0.0, "health/shift": 0.15,
    }  # fmt: skip
    lines = [{"step": 100 * index, **healthy, **values} for index in range(12)]
    monitor = HealthMonitor(compose("task=translation", "task.source=edges"), lines)
    assert [found.name for found in monitor.findings] == ([] if expected is None else [expected])
    short = HealthMonitor(compose("task=translation", "task.source=edges"), lines[:5])
    assert short.findings == []


def test_effects_of_input_and_latent_are_those_of_the_painted_pixels() -> None:
    """The known pixels differ from input to input, whatever the generator paints."""
    random = torch.Generator().manual_seed(0)
    truth, latents = torch.rand(16, 3, 8, 8, generator=random) * 2 - 1, torch.randn(16, 8, generator=random)
    mask = torch.zeros(16, 1, 8, 8)
    mask[:, :, 2:6, 2:6] = 1
    condition = Condition(image=hide(truth, mask), mask=mask)

    def measured(painted: Callable[[Tensor, Tensor], Tensor]) -> dict[str, float]:
        network = Made(lambda latent, image: torch.where(mask > 0.5, painted(latent, image), image))
        return {name: value.item() for name, value in measure_condition(network, latents, condition, truth).items()}

    black = measured(lambda latent, image: torch.full_like(image, -1.0))
    assert black == {"health/condition_effect": 0, "health/latent_effect": 0}
    noise = measured(lambda latent, image: of_latent(latent, image))
    whole = measure_condition(Made(of_latent), latents, Condition(image=truth), truth)["health/latent_effect"]
    assert noise["health/latent_effect"] == pytest.approx(whole.item(), rel=0.1)


def test_copies_are_measured_where_shapes_allow() -> None:
    truth = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    plain = Made(lambda latent, image: truth)
    none = torch.empty(4, 0)
    for condition in (
        Condition(image=truth[:, :1]),
        Condition(image=truth[:, :, ::2, ::2]),
        Condition(image=truth, mask=torch.ones(4, 1, 8, 8)),
        Condition(image=truth),  # nothing is to be changed
    ):
        assert "health/copies_input" not in measure_condition(plain, none, condition, truth)
    same = torch.ones(4, 3, 8, 8)
    assert measure_condition(Made(lambda latent, image: same), none, Condition(image=same), same) == {}


def test_only_tasks_with_an_input_have_these_metrics(train: Callable[..., Path]) -> None:
    tiny = (
        "dataset=shapes", "dataset.size=64", "dataset.image_channels=1", "image_size=16", "batch_size=8", "steps=1",
        "threads=1", "training.sample_every=0", "training.checkpoint_every=0",
        "architecture.generator.base_channels=4", "architecture.discriminator.base_channels=4",
    )  # fmt: skip
    run = train("task=translation", "task.source=edges", "architecture.generator.levels=2", *tiny)
    (line,) = logged_metrics(run)
    assert line["health/condition_effect"] >= 0
    assert line["health/copies_input"] > 0
    batches: Any = SimpleNamespace(make_condition=None)
    assert (
        condition_metrics.condition_metrics(
            SimpleNamespace(batches=batches, objective=None, state=SimpleNamespace(device=None))
        )
        == {}
    )  # type: ignore[arg-type]


def test_advice_stops_no_run(train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "SMALL_LATENT_EFFECT", 9.0)
    monkeypatch.setattr(monitor, "LONG_STEPS", 5)
    run = train(
        "task=inpainting", "dataset=shapes", "dataset.size=64", "image_size=16", "batch_size=8", "steps=12",
        "threads=1", "training.log_every=1", "training.sample_every=0", "health.on_collapse=stop",
        "architecture.generator.levels=2", "architecture.generator.base_channels=4",
        "architecture.discriminator.base_channels=4",
    )  # fmt: skip
    record = json.loads((run / "config.json").read_text())
    assert (record["ended"]["status"], [found["name"] for found in record["findings"]]) == ("done", ["ignores_latent"])
    assert "  advice: outputs of two latents for one input differ" in (run / "train.log").read_text()
