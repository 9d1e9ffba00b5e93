"""float16 with scaled losses: the updates are those without a scale, overflow is skipped, and a resume is exact."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from gan_cli.errors import DivergedError
from gan_cli.objectives.regularizers import PENALTIES, PenaltyInputs
from gan_cli.state import half_precision
from gan_cli.state.half_precision import SCALER_TENSORS, LossScaler, kept_logits, require_updates
from gan_cli.state.train_state import TrainState, state_tensors
from gan_cli.training.steps import Microbatches
from support.commands import error_line
from support.configs import TINY_IMAGES, compose
from support.runs import assert_equal_runs, last_checkpoint, logged_metrics
from support.training import stop_after, train_in_memory, wrap_updates

CPU = torch.device("cpu")
CHOICES = {
    "default": [],
    "penalties of every kind": ["regularizer=[r1,r2,lecam,consistency,js]"],
    "gradient penalty": ["loss=wasserstein", "regularizer=[gradient_penalty,drift]"],
    "clipping": ["training.clip_grad_norm=0.01"],
    "microbatches": ["training.accumulate=4", "training.ada_target=0.6", "training.augment=[translation]"],
    "unrolling": ["regularizer=none", "training.unroll_steps=2"],
    "path length": ["architecture=stylegan2", "auxiliary=path_length", "auxiliary.path_length.every=1"],
    "sgd": ["optimizer=sgd", "optimizer.momentum=0.9"],
    "rmsprop": ["optimizer=rmsprop"],
}


def float32_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets networks compute in float32 with precision=fp16, so that only the scale is left of it."""
    monkeypatch.setattr(half_precision, "HALVES", {})


@pytest.mark.parametrize("choice", CHOICES)
def test_a_scaled_loss_gives_the_same_updates(monkeypatch: pytest.MonkeyPatch, choice: str) -> None:
    """Scales are powers of 2, so that only the last bits may differ, by products in another order."""
    overrides = [*TINY_IMAGES, *CHOICES[choice], "steps=3"]
    plain = train_in_memory(compose(*overrides, "precision=fp32"))
    float32_networks(monkeypatch)
    scaled = train_in_memory(compose(*overrides, "precision=fp16"))
    expected, found = state_tensors(plain), state_tensors(scaled)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-6, atol=1e-7, msg=name)
    for role, updates in (("generator", 3), ("discriminator", scaled.counters.d_updates)):
        kept = {name: found[f"{role}_scaler.{name}"].item() for name in SCALER_TENSORS}
        assert kept == {"scale": 2**16, "growth": updates, "skipped": 0}


def test_the_scale_keeps_gradients_that_float16_loses() -> None:
    """A gradient of 2^-30, half of which float16 rounds to 0: its least number is 2^-24."""
    layer = nn.Linear(1, 1, bias=False)
    nn.init.ones_(layer.weight)
    optimizer, scaler = torch.optim.SGD(layer.parameters(), lr=1.0), LossScaler(CPU)
    found = []
    for used in (None, scaler):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.float16):
            output = layer(torch.ones(1, 1))
        Microbatches(1, used).backward(output.float().sum() * 2.0**-30, {})
        if used is not None:
            used.unscale(optimizer)
        assert layer.weight.grad is not None
        found.append(layer.weight.grad.item())
    assert found == [0.0, 2.0**-30]


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop"])
def test_an_update_that_is_not_finite_is_skipped_and_the_next_one_made(
    monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    momentum = ["optimizer.momentum=0.9"] if optimizer == "sgd" else []
    config = compose(*TINY_IMAGES, f"optimizer={optimizer}", *momentum, "precision=fp16", "training.ema_decay=0")
    float32_networks(monkeypatch)
    plant_overflow(monkeypatch, before_step=1)
    start = train_in_memory(config, last_step=0)
    skipped = train_in_memory(config, last_step=1)
    scaler = skipped.scalers["generator"].tensors()
    assert {name: value.item() for name, value in scaler.items()} == {"scale": 2**15, "growth": 0, "skipped": 1}
    for name, parameter in skipped.generator.named_parameters():
        assert torch.equal(parameter, start.generator.get_parameter(name)), name
    for slots in skipped.generator_optimizer.state.values():
        assert not any(value.any() for value in slots.values())
    after = train_in_memory(config, last_step=2)
    assert after.scalers["generator"].skipped == 0
    assert all(parameter.isfinite().all() for parameter in after.generator.parameters())
    assert not torch.equal(next(after.generator.parameters()), next(start.generator.parameters()))


def plant_overflow(monkeypatch: pytest.MonkeyPatch, before_step: float) -> None:
    """Makes the gradients of G infinite in all steps before this one, as an overflow of float16 does."""
    plain, factor = Microbatches.backward, [1.0]

    def around(step: Callable[..., Any], state: TrainState, *arguments: Any) -> Any:
        factor[0] = torch.inf if step.__name__ == "generator_step" and state.counters.step < before_step else 1.0
        return step(state, *arguments)

    def overflowing(self: Microbatches, total: torch.Tensor, outputs: dict[str, torch.Tensor]) -> None:
        plain(self, total * factor[0], outputs)

    monkeypatch.setattr(Microbatches, "backward", overflowing)
    wrap_updates(monkeypatch, around)


def test_a_skipped_update_is_no_divergence(train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    plant_overflow(monkeypatch, before_step=2)
    run = train(*TINY_IMAGES, "precision=fp16", "steps=4")
    lines = logged_metrics(run)
    assert ["grad_norm/generator" in line for line in lines] == [False, False, True, True]
    assert all("loss/generator" in line for line in lines)
    assert all(math.isfinite(value) for line in lines for value in line.values() if isinstance(value, float))
    assert last_checkpoint(run).tensors["generator_scaler.scale"] == 2**14


def test_an_endless_row_of_skipped_updates_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plant_overflow(monkeypatch, before_step=math.inf)
    line = error_line(capsys, "train", *TINY_IMAGES, "precision=fp16", "steps=40", code=4)
    assert "diverged: precision=fp16 skipped the last 17 updates of the generator up to step 17" in line
    assert "Try precision=fp32 or " in line


def test_a_few_skipped_updates_are_no_endless_row() -> None:
    scaler = LossScaler(CPU)
    scaler.load({"scale": torch.tensor(0.5), "growth": torch.tensor(0.0), "skipped": torch.tensor(9.0)})
    require_updates({"generator": scaler}, 9)
    scaler.load({"scale": torch.tensor(0.5), "growth": torch.tensor(0.0), "skipped": torch.tensor(10.0)})
    with pytest.raises(DivergedError, match="last 10 updates of the generator"):
        require_updates({"generator": scaler}, 10)
    scaler.load({"scale": torch.tensor(2.0), "growth": torch.tensor(0.0), "skipped": torch.tensor(10.0)})
    require_updates({"generator": scaler}, 10)


def test_what_is_kept_of_logits_stays_finite() -> None:
    logits = torch.tensor([1.5, -2.0, torch.inf, -torch.inf, torch.nan])
    assert kept_logits("fp16", logits).tolist() == [1.5, -2.0, 65504.0, -65504.0, 0.0]
    assert kept_logits("bf16", logits) is logits


@pytest.mark.parametrize("overrides", [[], ["optimizer=rmsprop", "regularizer=[r1,lecam]"]])
def test_a_run_resumes_bit_for_bit_after_skipped_updates(
    train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, overrides: list[str]
) -> None:
    plant_overflow(monkeypatch, before_step=1)
    command = [*TINY_IMAGES, *overrides, "precision=fp16"]
    unbroken = train(*command, "steps=4", "name=unbroken")
    with monkeypatch.context() as patch:
        stop_after(5, patch)
        stopped = train(*command, "steps=4", "name=stopped", code=130)
    assert last_checkpoint(stopped).counters.step < 4
    train(f"resume={stopped}")
    assert_equal_runs(unbroken, stopped)


def test_networks_compute_in_float16_and_penalties_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[tuple[bool, torch.dtype]] = set()
    inside, plain, penalty = [False], nn.Conv2d.forward, PENALTIES["r1"]

    def noting(self: nn.Conv2d, maps: torch.Tensor) -> torch.Tensor:
        output = plain(self, maps)
        seen.add((inside[0], output.dtype))
        return output

    def noted_penalty(inputs: PenaltyInputs) -> torch.Tensor:
        inside[0] = True
        value = penalty(inputs)
        inside[0] = False
        return value

    monkeypatch.setattr(nn.Conv2d, "forward", noting)
    monkeypatch.setitem(PENALTIES, "r1", noted_penalty)
    state = train_in_memory(compose(*TINY_IMAGES, "precision=fp16", "regularizer=r1"), last_step=1)
    assert seen == {(False, torch.float16), (True, torch.float32)}
    assert all(parameter.dtype == torch.float32 for parameter in state.generator.parameters())


def test_json_of_a_run_names_the_precision(train: Callable[..., Path]) -> None:
    run = train(*TINY_IMAGES, "precision=fp16", "steps=1")
    assert json.loads((run / "config.json").read_text())["config"]["precision"] == "fp16"
    assert "warning: precision=fp16: is for GPUs" in (run / "train.log").read_text()
