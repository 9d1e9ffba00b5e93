"""What the other cures do, one change at a time: on the plain GAN that collapses on the ring, and on few digits.

    python benchmarks/cures.py ring      # modes of 8 and share, three seeds each
    python benchmarks/cures.py digits    # Frechet distance to all digits after training on 300 of them, two seeds

Prints rows of the tables in docs/failures-and-remedies.md. The features are the last ones of the classifier that
judges classes; the distance of a half of the digits to the other half is printed as the floor.
"""

from __future__ import annotations

import sys
from statistics import mean

import torch
from torch import Tensor

from gan_cli.config.compatibility import parse_config
from gan_cli.config.compose import compose_command
from gan_cli.config.train_config import Config
from gan_cli.data.dataset import to_uint8
from gan_cli.data.datasets.points import known_modes
from gan_cli.data.labels import attributes_of
from gan_cli.data.load_dataset import build_batches, build_dataset
from gan_cli.evaluation.metrics.classifier import LabelledImages, train_classifier
from gan_cli.evaluation.metrics.distances import fit_gaussian, frechet_between
from gan_cli.evaluation.metrics.mode_coverage import count_modes
from gan_cli.models.build_networks import latent_of
from gan_cli.models.generate import generate
from gan_cli.state.train_state import build_state
from gan_cli.training.objective import build_objective
from gan_cli.training.steps import training_step

SEEDS = (0, 1, 2)
RING = ("experiment=failure/mode_collapse",)
ON_RING = {
    "plain": (),
    "R2": ("regularizer=r2", "optimizer=adam"),
    "zero-centred penalty": ("regularizer=zero_centered", "optimizer=adam"),
    "DRAGAN": ("regularizer=dragan", "optimizer=adam"),
    "JS regularizer": ("regularizer=js",),
    "LeCam": ("regularizer=lecam", "regularizer.lecam.start=0"),
    "orthogonal penalty": ("regularizer=orthogonal",),
    "two rates, D's the larger": ("optimizer.generator.lr=0.0003", "optimizer.discriminator.lr=0.001"),
    "weight decay on D alone": ("optimizer/discriminator=adamw", "optimizer.discriminator.weight_decay=0.1"),
    "instance noise": ("training.instance_noise=0.5",),
    "one-sided smoothing": ("training.label_smoothing=0.1",),
    "top-k": ("training.top_k=0.5",),
    "WGAN with clipped weights": ("loss=wasserstein", "regularizer=weight_clip", "steps=2000"),
    "the same, critic warmed up": (
        "loss=wasserstein", "regularizer=weight_clip", "steps=2000", "training.critic_warmup=100",
    ),
    "minibatch discrimination": ("architecture.discriminator.minibatch=discrimination", "steps=1000"),
}  # fmt: skip
DIGITS = (
    "dataset.download=false", "dataset.limit=300", "steps=2000", "architecture=dcgan", "training.reuse_fakes=false",
    "training.lr_schedule=constant", "training.ema_decay=0.995",
)  # fmt: skip
ON_DIGITS = {
    "plain": ("regularizer=none", "optimizer=adam"),
    "DiffAugment": ("regularizer=none", "optimizer=adam", "training.augment=[color,translation,cutout]"),
    "ADA": (
        "regularizer=none", "optimizer=adam", "training.augment=[color,translation,cutout]", "training.ada_target=0.6",
    ),
    "LeCam": ("regularizer=lecam", "optimizer=adam"),
    "consistency": ("regularizer=consistency", "optimizer=adam"),
    "orthogonal penalty": ("regularizer=orthogonal", "optimizer=adam"),
    "R1": ("regularizer=r1",),
    "R1 and DiffAugment": ("regularizer=r1", "training.augment=[color,translation,cutout]",),
}  # fmt: skip


def trained(command: list[str]) -> tuple[Config, Tensor]:
    """The config, and 2,500 samples as the average makes them."""
    config = parse_config(compose_command("train", command).data)
    dataset = build_dataset(config.dataset, config.image_size)
    state = build_state(config, torch.device("cpu"))
    state.counters.total_steps = config.steps
    batches = build_batches(config, dataset, state.device)
    objective = build_objective(config, batches)
    while state.counters.step < config.steps:
        training_step(state, objective, batches)
    return config, torch.cat(list(generate(state.sampler, latent_of(config), range(10_000, 12_500), 500)))


def on_ring() -> None:
    print("| cure | command | modes of 8, by seed | share |\n|---|---|---|---|")
    for name, overrides in ON_RING.items():
        counts = []
        for seed in SEEDS:
            config, samples = trained([*RING, *overrides, f"seed={seed}"])
            modes = known_modes(config.dataset)
            assert modes is not None
            counts.append(count_modes(samples, modes.centres, modes.std))
        by_seed = ", ".join(str(count.covered) for count in counts)
        share = mean(count.share for count in counts)
        print(f"| {name} | `{' '.join(overrides)}` | {by_seed} | {share:.0%} |", flush=True)


def on_digits() -> None:
    everything = build_dataset(parse_config(compose_command("train", ["dataset.download=false"]).data).dataset, 28)
    assert everything.labels is not None
    attributes = attributes_of(everything.classes)
    judge = train_classifier(LabelledImages(everything.samples, everything.labels, attributes))
    real = judge.features(everything.samples)
    print(f"floor: {frechet_between(fit_gaussian(real[::2]), fit_gaussian(real[1::2])):.1f}\n")
    print("| cure | command | distance by seed | mean |\n|---|---|---|---|")
    for name, overrides in ON_DIGITS.items():
        distances = []
        for seed in SEEDS[:2]:
            _, samples = trained([*DIGITS, *overrides, f"seed={seed}"])
            distances.append(frechet_between(fit_gaussian(judge.features(to_uint8(samples))), fit_gaussian(real)))
        by_seed = ", ".join(f"{distance:.0f}" for distance in distances)
        print(f"| {name} | `{' '.join(overrides)}` | {by_seed} | {mean(distances):.0f} |", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    {"ring": on_ring, "digits": on_digits}[sys.argv[1]]()
