"""Training steps of several networks in each precision on a GPU, beside a plain PyTorch loop of the same networks.

    python benchmarks/gpu_networks.py                                  # outputs/bench/gpu_networks.json
    python benchmarks/gpu_networks.py --networks dcgan --sides 64 128 --batch 64
    python benchmarks/gpu_networks.py --sides 16 --steps 2 --rounds 1 --variants fp32 bf16    # a trial on a CPU

A row is a network, a side of its images and a variant. `images_per_second` counts real images, and is the median of the
rounds, in which variants take turns. `ratio` is relative to the row `plain loop`: the same networks in fp32 with
PyTorch's own settings, without channels-last memory, with new fakes for each update and images on the device already.
`checkpointed` is bf16 with `training.checkpoint_activations=true`. Rows are written as they come.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import updates
from report import leave, table
from torch.nn.functional import softplus

from gan_cli.config.train_config import Config
from gan_cli.device import allow_tf32, describe_device, limit_threads, synchronize
from gan_cli.models.build_networks import build_networks

DEVICE = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
NETWORKS = ("dcgan", "resnet", "stylegan2")
SIDES = (64, 128, 256)
PLAIN = "plain loop"
# by name: the overrides, and whether products and convolutions of fp32 may use TF32
VARIANTS: dict[str, tuple[list[str], bool]] = {
    "fp32": (["precision=fp32"], False),
    "tf32": (["precision=fp32"], True),
    "bf16": (["precision=bf16"], True),
    "fp16": (["precision=fp16"], True),
    "checkpointed": (["precision=bf16", "training.checkpoint_activations=true"], True),
    "compiled": (["precision=bf16", "compile=true"], True),
}
WARM_UP = 3  # steps


def config_of(network: str, side: int, batch: int, overrides: list[str]) -> Config:
    common = ["dataset=shapes", "dataset.image_channels=3", "dataset.size=256", "regularizer=none"]
    chosen = [f"architecture={network}", f"image_size={side}", f"batch_size={batch}"]
    return updates.config_of([*common, *chosen, *overrides])


def plain_step(config: Config) -> Callable[[], None]:
    """Returns one step as tutorials write it, of the networks of a config, in fp32 and without reading the losses."""
    generator, discriminator = (
        network.to(DEVICE, memory_format=torch.contiguous_format) for network in build_networks(config, DEVICE)
    )
    adam = partial(torch.optim.Adam, lr=2e-4, betas=(0.5, 0.999))
    generator_optimizer, discriminator_optimizer = adam(generator.parameters()), adam(discriminator.parameters())
    batch, latent_dim = config.batch_size, config.architecture.generator.latent_dim
    real = torch.rand(batch, *config.sample_shape, device=DEVICE) * 2 - 1

    def fakes() -> torch.Tensor:
        return generator(torch.randn(batch, latent_dim, device=DEVICE), None)

    def step() -> None:
        discriminator_optimizer.zero_grad()
        real_logits, fake_logits = discriminator(real, None), discriminator(fakes().detach(), None)
        (softplus(-real_logits).mean() + softplus(fake_logits).mean()).backward()
        discriminator_optimizer.step()
        generator_optimizer.zero_grad()
        softplus(-discriminator(fakes(), None)).mean().backward()
        generator_optimizer.step()

    return step


def prepared(network: str, side: int, batch: int, variant: str) -> tuple[Callable[[], None], bool | None]:
    """Returns a step, and whether it may use TF32; None for PyTorch's own settings."""
    if variant == PLAIN:
        return plain_step(config_of(network, side, batch, [])), None
    overrides, tf32 = VARIANTS[variant]
    return updates.step_of(updates.prepared(config_of(network, side, batch, overrides), DEVICE)), tf32


def seconds_of(step: Callable[[], None], steps: int, tf32: bool | None) -> float:
    """Returns the seconds of one of so many steps in a row."""
    allow_tf32(bool(tf32))
    torch.backends.cudnn.allow_tf32 = tf32 is not False  # PyTorch's own setting is True
    synchronize(DEVICE)
    started = time.perf_counter()
    for _ in range(steps):
        step()
    synchronize(DEVICE)
    return (time.perf_counter() - started) / steps


def rows_of(network: str, side: int, given: argparse.Namespace) -> list[dict[str, Any]]:
    """Measures one network at one size in all variants. A variant that fails has the error in its row."""
    rows: dict[str, dict[str, Any]] = {}
    steps: dict[str, tuple[Callable[[], None], bool | None]] = {}
    for variant in (PLAIN, *given.variants):
        rows[variant] = {"network": network, "side": side, "batch": given.batch, "variant": variant}
        try:
            if DEVICE.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            used = torch.cuda.memory_allocated() if DEVICE.type == "cuda" else 0
            step, tf32 = prepared(network, side, given.batch, variant)
            seconds_of(step, min(WARM_UP, given.steps), tf32)
            steps[variant] = step, tf32
            if DEVICE.type == "cuda":  # without the networks of other variants
                rows[variant]["peak_mb"] = round((torch.cuda.max_memory_allocated() - used) / 2**20)
        except RuntimeError as error:
            rows[variant]["error"] = str(error)[:200]
    measured: dict[str, list[float]] = {variant: [] for variant in steps}
    for _ in range(given.rounds):
        for variant, (step, tf32) in steps.items():
            measured[variant].append(seconds_of(step, given.steps, tf32))
    for variant, seconds in measured.items():
        rows[variant]["images_per_second"] = round(given.batch / statistics.median(seconds), 1)
        if PLAIN in measured:
            ratio = statistics.median(measured[PLAIN]) / statistics.median(seconds)
            rows[variant]["ratio"] = round(ratio, 2)
    return list(rows.values())


def main() -> None:
    parser = argparse.ArgumentParser(description="training steps of several networks in each precision")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS), metavar="NETWORK")
    parser.add_argument("--sides", "--side", nargs="+", type=int, default=list(SIDES), metavar="PIXELS")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="VARIANT")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    limit_threads(given.threads)
    data: dict[str, Any] = {"device": describe_device(DEVICE), "threads": torch.get_num_threads(), "rows": []}
    shown = ["network", "side", "batch", "variant", "images_per_second", "ratio", "peak_mb", "error"]
    for side in given.sides:
        for network in given.networks:
            for new in rows_of(network, side, given):
                print(*(f"{key}={new[key]}" for key in shown if key in new), flush=True)
                data["rows"].append(new)
            leave("gpu_networks", data)
    print(data["device"], table(shown, [[each.get(key) for key in shown] for each in data["rows"]]), sep="\n")
    print(leave("gpu_networks", data))


if __name__ == "__main__":
    main()
