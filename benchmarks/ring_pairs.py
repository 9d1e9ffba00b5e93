"""Every loss with every regularizer on the ring of 8 Gaussians, for less than a minute of one CPU thread each.

Prints the table of docs/losses-and-regularizers.md: modes that hold one of 2,500 samples within 3 standard deviations,
and the share of such samples. A pair that finds fewer than 6 with the settings that come along is tried once more with
a larger rate.

    python benchmarks/ring_pairs.py                     # all, in half an hour or more
    python benchmarks/ring_pairs.py none weight_clip    # these regularizers
"""

from __future__ import annotations

import sys
import time

import torch

from gan_cli.config.compatibility import parse_config
from gan_cli.config.compose import compose_command
from gan_cli.data.datasets.points import known_modes
from gan_cli.data.load_dataset import build_batches, build_dataset
from gan_cli.evaluation.metrics.mode_coverage import count_modes
from gan_cli.models.build_networks import latent_of
from gan_cli.models.generate import generate
from gan_cli.objectives.losses import LOSSES
from gan_cli.state.train_state import build_state
from gan_cli.training.objective import build_objective
from gan_cli.training.steps import training_step

REGULARIZERS = ("none", "gradient_penalty", "dragan", "weight_clip", "zero_centered", "r1", "r2", "r1_r2")
STEPS = {"wasserstein": 2500}  # five D updates each
FASTER = "optimizer.lr=0.002"
LATENTS = "architecture.generator.latent_dim=16"
ENOUGH = 6


def measure(loss: str, regularizer: str, *more: str) -> tuple[int, float]:
    """Modes and share after training with seed 0."""
    steps = STEPS.get(loss, 6000)
    command = ["experiment=ring", LATENTS, f"loss={loss}", f"regularizer={regularizer}", f"steps={steps}", *more]
    config = parse_config(compose_command("train", command).data)
    state = build_state(config, torch.device("cpu"))
    state.counters.total_steps = config.steps
    batches = build_batches(config, build_dataset(config.dataset, None), state.device)
    objective = build_objective(config, batches)
    while state.counters.step < config.steps:
        training_step(state, objective, batches)
    modes = known_modes(config.dataset)
    assert modes is not None
    samples = torch.cat(list(generate(state.sampler, latent_of(config), range(10_000, 12_500), 2500)))
    counted = count_modes(samples, modes.centres, modes.std)
    return counted.covered, counted.share


def main() -> None:
    torch.set_num_threads(1)
    chosen = sys.argv[1:] or REGULARIZERS
    print("| regularizer | loss | modes | share | with optimizer.lr=0.002 | seconds |\n|---|---|---|---|---|---|")
    for regularizer in chosen:
        for loss in LOSSES:
            started = time.perf_counter()
            modes, share = measure(loss, regularizer)
            seconds, again = time.perf_counter() - started, ""
            if modes < ENOUGH:
                again = "{}, {:.1%}".format(*measure(loss, regularizer, FASTER))
            print(f"| {regularizer} | {loss} | {modes} | {share:.1%} | {again} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
