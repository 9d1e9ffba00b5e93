"""The lab: each failure shows in its numbers, each cure does not show it.

One seed each, in as few steps as show it; the whole experiments with ten seeds each by `make test-all`.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import pytest
import torch

from gan_cli.config.compose import groups
from gan_cli.data.datasets.points import known_modes
from gan_cli.data.load_dataset import build_batches, build_dataset
from gan_cli.evaluation.metrics.mode_coverage import ModeCount, count_modes
from gan_cli.models.build_networks import latent_of
from gan_cli.models.generate import generate
from gan_cli.state.train_state import build_state
from gan_cli.training.objective import build_objective
from gan_cli.training.step_metrics import gradient_norm
from gan_cli.training.steps import training_step
from support.configs import compose

EVERY = 100  # steps from one look at the fakes to the next


class Seen(NamedTuple):
    """Modes in the end; of the last third, the median length of G's gradient, and how far fakes move between looks."""

    modes: ModeCount
    gradient: float
    moved: float


def watch(experiment: str, seed: int, *more: str) -> Seen:
    config = compose(f"experiment={experiment}", f"seed={seed}", *more)
    state = build_state(config, torch.device("cpu"))
    state.counters.total_steps = config.steps
    batches = build_batches(config, build_dataset(config.dataset, None), state.device)
    objective = build_objective(config, batches)
    lengths, looks = [], []
    while state.counters.step < config.steps:
        if training_step(state, objective, batches) is not None:
            if state.counters.step % 10 == 0:
                lengths.append(gradient_norm(state.generator).item())
            if state.counters.step % EVERY == 0:
                looks.append(torch.cat(list(generate(state.sampler, latent_of(config), range(10_000, 12_500), 2500))))
    modes = known_modes(config.dataset)
    assert modes is not None
    gradient = torch.tensor(lengths[2 * len(lengths) // 3 :]).median().item()
    moves = [(later - sooner).norm(dim=1).mean() for sooner, later in pairwise(looks)]
    moved = torch.stack(moves[2 * len(moves) // 3 :]).mean().item()
    return Seen(count_modes(looks[-1], modes.centres, modes.std), gradient, moved)


def collapsed(seen: Seen) -> bool:
    return seen.modes.covered <= 4


def vanished(seen: Seen) -> bool:
    return seen.gradient < 1e-3


def restless(seen: Seen) -> bool:
    return seen.moved > 0.2


# By failure, steps in which it shows, and a cure that helps within them.
SHORT = {
    "mode_collapse": (1250, "packing"),
    "vanishing_gradient": (200, "non_saturating"),
    "non_convergence": (400, "r1"),
}
SIGNS = {"mode_collapse": collapsed, "vanishing_gradient": vanished, "non_convergence": restless}
LAB = [option for option in groups()["experiment"] if option.startswith(("failure/", "cure/"))]


def test_every_failure_has_a_sign_and_a_cure() -> None:
    failures = {option.removeprefix("failure/") for option in LAB if option.startswith("failure/")}
    assert failures == SIGNS.keys()
    for failure in failures:
        assert sum(option.startswith(f"cure/{failure}_") for option in LAB) >= 3


def seen_in(option: str, seed: int, *more: str) -> bool:
    failure = next(name for name in SIGNS if name in option)
    seen = watch(option, seed, *more)
    print(option, seed, seen)
    return SIGNS[failure](seen)


@pytest.mark.parametrize(
    "failure", [pytest.param(name, marks=[pytest.mark.slow] if SHORT[name][0] > 1000 else []) for name in SIGNS]
)
def test_a_failure_shows_and_a_cure_does_not(failure: str) -> None:
    steps, cure = SHORT[failure]
    assert seen_in(f"failure/{failure}", 0, f"steps={steps}")
    assert not seen_in(f"cure/{failure}_{cure}", 0, f"steps={steps}")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_grid_collapses_too() -> None:
    covered = [watch("failure/mode_collapse", seed, "dataset=grid").modes.covered for seed in range(10)]
    print(covered)
    assert sum(count <= 10 for count in covered) >= 9


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("option", LAB)
def test_nine_of_ten_seeds(option: str) -> None:
    shown = sum(seen_in(option, seed) for seed in range(10))
    assert shown >= 9 if option.startswith("failure/") else shown <= 1, shown
