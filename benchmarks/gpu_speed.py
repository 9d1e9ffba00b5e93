"""Training steps on an NVIDIA GPU, beside a plain PyTorch loop that trains the same kind of DCGAN.

    python benchmarks/gpu_speed.py                         # two minutes: outputs/bench/gpu_speed.json
    python benchmarks/gpu_speed.py --seconds 0.5 --compile false

Each row is a network, a batch size and a precision. `images_per_second` counts real images. `waits` is the number of
operations per step for which the CPU waits for the GPU. `busy` is the share of the time in which the GPU computes, and
`kernels` the number of its operations per step, both by PyTorch's profiler. `ratio` is relative to the plain loop in
the same precision, which has the networks of `textbook.py` and its images on the GPU already.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from report import leave, table
from textbook import CHANNELS, LATENT, build_discriminator, build_generator
from throughput import SAME
from torch import nn

from gan_cli.config.compatibility import parse_config
from gan_cli.config.compose import compose_command
from gan_cli.data.load_dataset import build_batches, build_dataset, with_classes
from gan_cli.state.train_state import build_state, state_tensors
from gan_cli.training.objective import build_objective
from gan_cli.training.steps import training_step

GPU = torch.device("cuda", 0)
DIGITS = ["dataset=mnist", "dataset.download=false"]
SHAPES = ["dataset=shapes", "dataset.image_channels=3", "dataset.size=2000", "image_size=32"]
DCGAN = [
    each for each in SAME if not each.startswith(("batch_size=", "regularizer=", "architecture.discriminator.nor"))
]
BATCH_NORM = ["regularizer=none", "architecture.discriminator.normalization=batch"]
NETWORKS = {
    "default, digits 28 px": DIGITS,
    "dcgan 64 px": [*DCGAN, *BATCH_NORM, "image_size=64"],
    "dcgan 128 px, R1": [*DCGAN, "image_size=128", "regularizer=r1"],
    "resnet 32 px, 5 D updates": [
        *SHAPES, "architecture=resnet", "architecture.generator.base_channels=256", "regularizer=none",
        "architecture.discriminator.base_channels=128", "architecture.discriminator.normalization=spectral",
        "training.n_critic=5", "architecture.generator.max_multiplier=1", "architecture.discriminator.max_multiplier=1",
    ],
}  # fmt: skip
COMPARED = "dcgan 64 px"  # with the plain loop
BATCHES = {network: (64, 256) if network in list(NETWORKS)[:2] else (64,) for network in NETWORKS}
COMPILED_NETWORKS = list(NETWORKS)[:2]
# by name: the overrides, and whether convolutions of fp32 use TF32, as PyTorch does unless told otherwise
VARIANTS: dict[str, tuple[list[str], bool]] = {
    "fp32 without TF32": (["precision=fp32"], False),
    "fp32": (["precision=fp32"], True),
    "bf16": (["precision=bf16"], True),
}
COMPILED = {"bf16, compiled": (["precision=bf16", "compile=true"], True)}
WARM_UP, PROFILED = 10, 10  # steps


def our_step(overrides: list[str]) -> tuple[Callable[[], None], Any]:
    """Returns a function that makes one step, with all its updates of D, and the state."""
    config = parse_config(compose_command("train", overrides).data)
    dataset = build_dataset(config.dataset, config.image_size)
    config = with_classes(config, dataset)
    state, batches = build_state(config, GPU), build_batches(config, dataset, GPU)
    state.counters.total_steps = 1_000_000
    objective = build_objective(config, batches)

    def step() -> None:
        while training_step(state, objective, batches) is None:
            pass

    return step, state


def plain_step(size: int, batch: int, bf16: bool) -> Callable[[], None]:
    """Returns one step of DCGAN as tutorials write it, without reading the losses."""
    torch.manual_seed(0)
    generator, discriminator = build_generator(size).to(GPU), build_discriminator(size)[:-1].to(GPU)
    criterion = nn.BCEWithLogitsLoss()
    adam = partial(torch.optim.Adam, lr=2e-4, betas=(0.5, 0.999))
    generator_optimizer, discriminator_optimizer = adam(generator.parameters()), adam(discriminator.parameters())
    real = torch.rand(batch, CHANNELS, size, size, device=GPU) * 2 - 1
    ones, zeros = torch.ones(batch, device=GPU), torch.zeros(batch, device=GPU)
    autocast = partial(torch.autocast, "cuda", torch.bfloat16, enabled=bf16)

    def step() -> None:
        discriminator_optimizer.zero_grad()
        with autocast():
            criterion(discriminator(real).view(-1), ones).backward()
            fake = generator(torch.randn(batch, LATENT, 1, 1, device=GPU))
            criterion(discriminator(fake.detach()).view(-1), zeros).backward()
        discriminator_optimizer.step()
        generator_optimizer.zero_grad()
        with autocast():
            criterion(discriminator(fake).view(-1), ones).backward()
        generator_optimizer.step()

    return step


def count_waits(step: Callable[[], None]) -> int:
    """Returns for how many operations of a step the CPU waits for the GPU, as PyTorch warns of them."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        step()
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in caught)


def profile(step: Callable[[], None]) -> tuple[float, int]:
    """Returns the share of time in which the GPU computes, and the number of its operations per step."""
    activities = [torch.profiler.ProfilerActivity.CUDA]
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=activities) as profiler:
        started = time.perf_counter()
        for _ in range(PROFILED):
            step()
        torch.cuda.synchronize()
        passed = time.perf_counter() - started
    events = [
        event
        for event in profiler.events()
        if event.device_type == torch.autograd.DeviceType.CUDA and not event.name.startswith("Optimizer.")
    ]
    return sum(event.time_range.elapsed_us() for event in events) / 1e6 / passed, len(events) // PROFILED


def measure(step: Callable[[], None], images: int, seconds: float) -> dict[str, Any]:
    """Measures a step of `images` real images for so many seconds, after a warm-up."""
    torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    for _ in range(WARM_UP):
        step()
    torch.cuda.synchronize()
    warm_up = time.perf_counter() - started
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        for _ in range(10):
            step()
        torch.cuda.synchronize()
        done += 10
    rate = done * images / (time.perf_counter() - started)
    waits = count_waits(step)
    busy, kernels = profile(step)
    return {
        "images_per_second": round(rate), "step_ms": round(images / rate * 1000, 2), "waits": waits,
        "busy": round(busy, 2), "kernels": kernels, "warm_up_seconds": round(warm_up, 1),
        "peak_mb": round(torch.cuda.max_memory_allocated() / 2**20),
    }  # fmt: skip


def row(network: str, batch: int, variant: str, seconds: float) -> dict[str, Any]:
    """Measures one network of gan-cli; a failure becomes part of the row."""
    overrides, tf32 = (VARIANTS | COMPILED)[variant]
    torch.backends.cudnn.allow_tf32 = tf32
    found: dict[str, Any] = {"network": network, "batch": batch, "variant": variant}
    try:
        step, state = our_step([*NETWORKS[network], f"batch_size={batch}", *overrides])
        before = state.counters.d_updates
        step()
        return found | measure(step, batch * (state.counters.d_updates - before), seconds)
    except RuntimeError as error:
        return found | {"error": str(error)[:300]}
    finally:
        torch.backends.cudnn.allow_tf32 = True


def repeats(network: str, precision: str, steps: int = 20) -> bool:
    """Returns whether two trainings of a few steps, without `deterministic`, end with the same bits."""
    ends = []
    for _ in range(2):
        step, state = our_step([*NETWORKS[network], "batch_size=64", f"precision={precision}"])
        for _ in range(steps):
            step()
        ends.append(state_tensors(state))
    return all(torch.equal(tensor, ends[1][name]) for name, tensor in ends[0].items())


def main() -> None:
    parser = argparse.ArgumentParser(description="training steps on a GPU beside a plain PyTorch loop")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--compile", choices=("true", "false"), default="true")
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    shown = ["network", "batch", "variant", "images_per_second", "step_ms", "ratio"]
    shown += ["waits", "busy", "kernels", "peak_mb"]

    def add(new: dict[str, Any]) -> None:
        rows.append(new)
        print(*(f"{key}={new[key]}" for key in (*shown, "warm_up_seconds", "error") if key in new), flush=True)

    plain: dict[tuple[int, bool], float] = {}
    for batch in BATCHES[COMPARED]:
        for bf16 in (False, True):
            name = f"plain loop, {'bf16' if bf16 else 'fp32'}"
            measured = measure(plain_step(64, batch, bf16), batch, given.seconds)
            plain[batch, bf16] = measured["images_per_second"]
            add({"network": COMPARED, "batch": batch, "variant": name, "ratio": 1.0} | measured)
    for network in NETWORKS:
        for batch in BATCHES[network]:
            for variant in VARIANTS:
                new = row(network, batch, variant, given.seconds)
                if network == COMPARED and "error" not in new:
                    ratio = new["images_per_second"] / plain[batch, variant == "bf16"]
                    new["ratio"] = round(ratio, 2)
                add(new)
    repeated = {f"{network}, {precision}": repeats(network, precision) for network in NETWORKS
                for precision in ("fp32", "bf16")}  # fmt: skip
    print("the same bits again without deterministic=true:", repeated, flush=True)
    for network in COMPILED_NETWORKS if given.compile == "true" else ():
        for variant in COMPILED:
            new = row(network, 64, variant, given.seconds)
            if network == COMPARED and "error" not in new:
                new["ratio"] = round(new["images_per_second"] / plain[64, True], 2)
            add(new)
    print(table(shown, [[each.get(key) for key in shown] for each in rows]))
    print(leave("gpu_speed", {"gpu": torch.cuda.get_device_name(0), "rows": rows, "repeats": repeated}))


if __name__ == "__main__":
    main()
