"""Growth as a function of the counters: shares of the run, changes of its length, optimizers and the average."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gan_cli.cli.main import run_command
from gan_cli.data.load_dataset import build_batches, build_dataset
from gan_cli.state.growth import advance, complete_moments, growth_at, reset_moments, set_progress
from gan_cli.state.optimizers import SLOTS, build_optimizer
from gan_cli.state.train_state import Counters, TrainState, build_state
from gan_cli.training.objective import build_objective
from gan_cli.training.steps import training_step
from gan_cli.training.throughput import RunTimer
from support.configs import TINY_IMAGES, compose, without
from support.runs import assert_equal_runs, last_checkpoint, logged_metrics
from support.training import stop_after

PGGAN = [
    *TINY_IMAGES,
    "architecture=pggan",
    "loss=wasserstein",
    "regularizer=[gradient_penalty,drift]",
    "training.n_critic=1",
]
CPU = torch.device("cpu")


def test_growth_at_shares_of_a_run() -> None:
    """Four resolutions with 1, 2, 3 and 4 tenths of the run; each but the first fades in during half of them."""
    at = {0: 0, 0.1: 0, 0.15: 0.5, 0.2: 1, 0.3: 1, 0.375: 1.5, 0.45: 2, 0.6: 2, 0.7: 2.5, 0.8: 3, 0.9: 3, 1: 3}
    assert {progress: growth_at(progress, 3) for progress in at} == pytest.approx(at)


def progress_over(ends: dict[int, int | None], steps: int) -> list[float]:
    """The progress after each step of a run whose number of steps becomes another one after some of them."""
    counters, found = Counters(step=0, d_updates=0, total_steps=ends[0]), []
    for step in range(1, steps + 1):
        counters.step = step
        advance(counters)
        found.append(counters.growth_progress)
        counters.total_steps = ends.get(step, counters.total_steps)
    return found


def test_the_progress_is_the_share_of_the_steps() -> None:
    assert progress_over({0: 1000}, 1000) == pytest.approx([step / 1000 for step in range(1, 1001)], abs=1e-12)
    assert progress_over({0: 7}, 9)[6:] == [1, 1, 1]


def test_a_change_of_the_number_of_steps_divides_what_is_left() -> None:
    """As a budget does when steps become slower: 100 steps, after 50 of which only 20 more fit in."""
    found = progress_over({0: 100, 50: 70}, 70)
    assert found[49] == pytest.approx(0.5)
    assert found[59] == pytest.approx(0.75)
    assert found[69] == pytest.approx(1)
    assert progress_over({0: None, 10: 100}, 55)[9::45] == pytest.approx([0, 0.55])  # measured for ten steps
    assert progress_over({0: 10, 10: 20}, 20)[9:] == [1] * 11  # a finished run that goes on stays grown


def test_a_budget_shares_its_time() -> None:
    """A step takes 1, 2, 4 or 8 seconds by the level; every 10 seconds the number of steps is estimated again."""
    counters, seconds, budget, marked = Counters(step=0, d_updates=0, total_steps=None), 0.0, 10_000.0, 0.0
    found: list[tuple[float, float]] = []
    while seconds < budget and (counters.total_steps is None or counters.step < counters.total_steps):
        each = 2 ** growth_at(counters.growth_progress, 3)
        counters.step += 1
        advance(counters)
        seconds += each
        found.append((seconds / budget, counters.growth_progress))
        if seconds - marked >= 10:
            marked = seconds
            counters.total_steps = counters.step + max(round((budget - seconds) / each), 0)
    assert max(abs(share - progress) for share, progress in found) < 0.01
    assert found[-1] == pytest.approx((1, 1), abs=0.01)


@pytest.mark.parametrize("name", SLOTS)
def test_a_reset_optimizer_moves_as_a_new_one(name: str) -> None:
    settings = {
        "adam": {"beta1": 0.0, "beta2": 0.99, "eps": 1e-8},
        "adamw": {"beta1": 0.5, "beta2": 0.9, "eps": 1e-8, "weight_decay": 0.1},
        "rmsprop": {"alpha": 0.9, "eps": 1e-8},
        "sgd": {"momentum": 0.9},
    }[name]
    torch.manual_seed(0)
    used, new = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)

    def step(layer: torch.nn.Linear, optimizer: torch.optim.Optimizer, inputs: Tensor) -> None:
        optimizer.zero_grad()
        layer(inputs).square().sum().backward()
        optimizer.step()

    optimizer = build_optimizer(used, name=name, lr=0.1, **settings)
    for _ in range(3):
        step(used, optimizer, torch.randn(4, 3))
    reset_moments(optimizer)
    new.load_state_dict(used.state_dict())
    fresh = build_optimizer(new, name=name, lr=0.1, **settings)
    for inputs in torch.randn(2, 4, 3):
        step(used, optimizer, inputs)
        step(new, fresh, inputs)
    assert torch.equal(used.weight, new.weight)
    assert torch.equal(used.bias, new.bias)


def build_steps(*overrides: str) -> tuple[TrainState, Callable[[], None]]:
    """Returns the state of a run of 24 steps, and a function that makes the next one."""
    config = compose(*PGGAN, *overrides)
    state, dataset = build_state(config, CPU), build_dataset(config.dataset, config.image_size)
    batches = build_batches(config, dataset, CPU)
    objective = build_objective(config, batches)
    state.counters.total_steps = 24

    def step() -> None:
        while training_step(state, objective, batches) is None:
            pass

    return state, step


def test_moments_are_reset_at_each_new_level_and_only_there() -> None:
    """16 px: levels 0, 1, 2, of 4, 8 and 12 steps."""
    state, step = build_steps()
    counts: dict[str, list[float]] = {"generator": [], "discriminator": []}
    growth = []
    for _ in range(24):
        step()
        growth.append(state.generator.growth.item())
        for role, found in counts.items():
            steps = {slots["step"].item() for slots in getattr(state, f"{role}_optimizer").state.values()}
            found.append(max(steps))
    first, second = [0.25, 0.5, 0.75, 1.0], [7 / 6, 8 / 6, 9 / 6, 10 / 6, 11 / 6, 2]
    assert growth == pytest.approx([0] * 4 + first + [1] * 4 + second + [2] * 6)
    # the update after step 5 is the first with the weight 0.25 of level 1
    expected = [*range(1, 5), 0, *range(1, 8), 0, *range(1, 12)]
    assert counts == {"generator": expected, "discriminator": expected}
    zero = [slots["exp_avg"].abs().sum().item() for slots in state.generator_optimizer.state.values()]
    assert min(zero) == 0 < max(zero)  # the coarse layers that make images are not used any more


def test_all_networks_grow_together_and_the_average_is_not_behind() -> None:
    state, step = build_steps("training.ema_decay=0.999")
    for _ in range(6):
        step()
        networks = (state.generator, state.discriminator, state.generator_ema)
        assert len({(network.growth.item(), network.level, network.fading) for network in networks}) == 1
    assert networks[2].growth == 0.5
    state.generator_ema.load_state_dict(state.generator.state_dict())
    assert torch.equal(state.generator_ema(torch.ones(2, 8)), state.generator(torch.ones(2, 8)))


def test_without_growth_all_levels_are_trained() -> None:
    state, step = build_steps("architecture.generator.grow=false", "architecture.discriminator.grow=false")
    for _ in range(12):
        step()
    assert state.counters.growth_progress == 0
    assert state.generator.growth == state.discriminator.growth == 2
    assert {slots["step"].item() for slots in state.generator_optimizer.state.values()} == {0, 12}
    set_progress(state, 0.1)  # does nothing
    assert state.generator.growth == 2


def test_unused_levels_have_moments_of_zero() -> None:
    state, step = build_steps()
    step()
    for role in ("generator", "discriminator"):
        optimizer, network = getattr(state, f"{role}_optimizer"), getattr(state, role)
        assert len(optimizer.state) == len(list(network.parameters()))
        before = {key: {name: value.clone() for name, value in slots.items()} for key, slots in optimizer.state.items()}
        complete_moments(network, optimizer)  # changes nothing
        assert all(torch.equal(before[key][n], v) for key, slots in optimizer.state.items() for n, v in slots.items())
    unused = state.generator.blocks[2][1].parametrizations.weight.original
    assert state.generator_optimizer.state[unused]["exp_avg_sq"].shape == unused.shape
    assert state.generator_optimizer.state[unused]["exp_avg_sq"].sum() == 0


@pytest.mark.parametrize("more", [[], ["training.n_critic=2", "precision=bf16", "training.pack=2"]])
@pytest.mark.parametrize("at", [2, 3, 7])
def test_a_run_may_stop_in_the_middle_of_a_fade(
    train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, at: int, more: list[str]
) -> None:
    """Of 12 steps, level 1 fades in from the third on, and level 2 from the seventh on."""
    overrides = [*(without(PGGAN, "training.n_critic") if more else PGGAN), *more, "steps=12"]
    whole = train(*overrides, "name=whole")
    each = 3 if more else 2
    with monkeypatch.context() as patch:
        stop_after(at * each + 1, patch)  # in the middle of a step
        broken = train(*overrides, "name=broken", code=130)
    counters = last_checkpoint(broken).counters
    assert (counters.step, counters.d_updates) == (at, at * (each - 1) + 1)
    assert counters.growth_progress == pytest.approx(at / 12)
    train(f"resume={broken}")
    assert_equal_runs(whole, broken)
    grown = [line["schedule/growth"] for line in logged_metrics(whole)]
    assert grown == pytest.approx([0, 0, 0.5, 1, 1, 1, 4 / 3, 5 / 3, 2, 2, 2, 2])


def test_a_finished_run_that_goes_on_stays_grown(train: Callable[..., Path]) -> None:
    run = train(*PGGAN, "steps=3")
    train(f"resume={run}", "extra_steps=3")
    assert [line["schedule/growth"] for line in logged_metrics(run)][2:] == [2, 2, 2, 2]


def test_weights_of_another_run_keep_their_growth(train: Callable[..., Path]) -> None:
    base = train(*PGGAN, "steps=3")
    run = train(*without(PGGAN, "architecture"), f"init_from={base}", "steps=1")
    assert last_checkpoint(run).tensors["generator.growth"] == 2
    run = train(*without(PGGAN, "architecture", "image_size"), f"init_from={base}", "image_size=32", "steps=8")
    grown = [line["schedule/growth"] for line in logged_metrics(run)]
    assert grown == pytest.approx([0.25, 1, 1.5, 2, 2.125, 2.75, 3, 3])


def test_steps_that_become_slower_by_growth_are_no_surprise() -> None:
    state, _ = build_steps()
    warned = {}
    for progress in (0.0, 0.5):
        timer = RunTimer(state)
        state.counters.growth_progress = progress
        warned[progress] = [timer.slowdown_warning(rate) for rate in (100, 10, 10)][-1]
    assert warned[0.0] is not None
    assert warned[0.5] is None


def test_a_dry_run_tries_the_grown_networks(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("train", [*PGGAN, "steps=2", "dry_run=true"]) == 0
    shown = capsys.readouterr().out
    assert "the networks are tried fully grown" in shown
    assert "8 x 1 x 16 x 16" in shown  # of the layer that makes images of the finest level
    assert "blocks.2.1" in shown


def test_a_grown_run_that_goes_on_says_that_it_is(train: Callable[..., Path]) -> None:
    run = train(*PGGAN, "steps=3")
    train(f"resume={run}", "extra_steps=1")
    assert (run / "train.log").read_text().count("the networks are fully grown, through all 2 levels, and stay so") == 1


def test_a_run_that_is_stopped_and_ends_later_spreads_the_rest(
    train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_after(13, patch)  # in step 7 of 12
        run = train(*PGGAN, "steps=12", code=130)
    growth = growth_at(6 / 12, 2)
    train(f"resume={run}", "steps=18")
    line = f"the networks are at growth {growth:.2f} of 2; the rest is spread over the steps up to the new end"
    assert (run / "train.log").read_text().count(line) == 1
    grown = [metrics["schedule/growth"] for metrics in logged_metrics(run)]
    assert grown[5] == pytest.approx(growth)
    assert grown == sorted(grown)
    assert (len(grown), grown[-1]) == (18, 2)
