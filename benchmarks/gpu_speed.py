"""Training steps on an NVIDIA GPU, beside a plain PyTorch loop that trains the same kind of DCGAN.

    python benchmarks/gpu_speed.py                         # three minutes: outputs/bench/gpu_speed.json
    python benchmarks/gpu_speed.py --seconds 0.5 --only dcgan-64 default
    python benchmarks/gpu_speed.py --functions default     # Python's part of a step, function by function

The CPU has as many threads as a run would use there; `--threads` sets another number. Rows are written as they come.
Each row is a network, a batch size and a precision. `images_per_second` counts real images. `waits` is the number of
operations per step for which the CPU waits for the GPU. `busy` is the share of the time in which the GPU computes, and
`kernels` the number of its operations per step, both by PyTorch's profiler. `ratio` is relative to the plain loop in
the same precision, which has the networks of `textbook.py` and its images on the GPU already.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import updates
from report import leave, table
from textbook import CHANNELS, LATENT, build_discriminator, build_generator
from throughput import SAME
from torch import nn

from gan_cli.device import limit_threads
from gan_cli.state.train_state import TrainState, state_tensors

GPU = torch.device("cuda", 0)
DIGITS = ["dataset=mnist", "dataset.download=false"]
SHAPES = ["dataset=shapes", "dataset.image_channels=3", "dataset.size=2000", "image_size=32"]
DCGAN = [
    each for each in SAME if not each.startswith(("batch_size=", "regularizer=", "architecture.discriminator.nor"))
]
BATCH_NORM = ["regularizer=none", "architecture.discriminator.normalization=batch"]
NETWORKS = {
    "default": DIGITS,
    "dcgan-64": [*DCGAN, *BATCH_NORM, "image_size=64"],
    "dcgan-128": [*DCGAN, "image_size=128", "regularizer=r1"],
    "resnet-32": [
        *SHAPES, "architecture=resnet", "architecture.generator.base_channels=256", "regularizer=none",
        "architecture.discriminator.base_channels=128", "architecture.discriminator.normalization=spectral",
        "training.n_critic=5", "architecture.generator.max_multiplier=1", "architecture.discriminator.max_multiplier=1",
    ],
}  # fmt: skip
COMPARED = "dcgan-64"  # with the plain loop
COMPILED_NETWORKS = ("default", COMPARED)
BATCHES = {network: (64, 256) if network in COMPILED_NETWORKS else (64,) for network in NETWORKS}
# by name: the overrides, and whether convolutions of fp32 use TF32, as PyTorch does unless told otherwise
VARIANTS: dict[str, tuple[list[str], bool]] = {
    "fp32 without TF32": (["precision=fp32"], False),
    "fp32": (["precision=fp32"], True),
    "bf16": (["precision=bf16"], True),
}
COMPILED = {"bf16, compiled": (["precision=bf16", "compile=true"], True)}
WARM_UP, PROFILED = 10, 10  # steps


def our_step(overrides: list[str]) -> tuple[Callable[[], None], TrainState]:
    """Returns a function that makes one step, with all its updates of D, and the state."""
    run = updates.prepared(updates.config_of(overrides), GPU)
    return updates.step_of(run), run.state


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
    messages = [str(warning.message) for warning in caught]
    return sum("synchroniz" in message and "prototype" not in message for message in messages)  # one is about the mode


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


def print_functions(network: str, count: int = 40) -> None:
    """Prints the Python functions in which a step of batch 64 in fp32 spends its time."""
    step, _ = our_step([*NETWORKS[network], "batch_size=64", "precision=fp32"])
    for _ in range(WARM_UP):
        step()
    torch.cuda.synchronize()
    with cProfile.Profile() as profiler:
        for _ in range(100):
            step()
        torch.cuda.synchronize()
    pstats.Stats(profiler).sort_stats("tottime").print_stats(count)


def measured_rows(networks: list[str], seconds: float) -> Iterator[dict[str, Any]]:
    """Yields the rows: the plain loop, the networks of COMPILED_NETWORKS, the same compiled, and the other networks."""
    plain: dict[tuple[int, bool], float] = {}
    for batch in BATCHES[COMPARED] if COMPARED in networks else ():
        for bf16 in (False, True):
            found = measure(plain_step(64, batch, bf16), batch, seconds)
            plain[batch, bf16] = found["images_per_second"]
            name = f"plain loop, {'bf16' if bf16 else 'fp32'}"
            yield {"network": COMPARED, "batch": batch, "variant": name, "ratio": 1.0} | found
    planned = [(network, batch, variant) for network in networks for batch in BATCHES[network] for variant in VARIANTS]
    compiled = [(network, 64, variant) for network in networks if network in COMPILED_NETWORKS for variant in COMPILED]
    first = [each for each in planned if each[0] in COMPILED_NETWORKS]
    for network, batch, variant in [*first, *compiled, *(each for each in planned if each not in first)]:
        new = row(network, batch, variant, seconds)
        if network == COMPARED and "error" not in new:
            new["ratio"] = round(new["images_per_second"] / plain[batch, variant.startswith("bf16")], 2)
        yield new


def main() -> None:
    parser = argparse.ArgumentParser(description="training steps on a GPU beside a plain PyTorch loop")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--only", nargs="+", choices=NETWORKS, default=list(NETWORKS), metavar="NETWORK")
    parser.add_argument("--functions", choices=NETWORKS, metavar="NETWORK")
    given = parser.parse_args()
    limit_threads(given.threads)
    print(f"{torch.get_num_threads()} CPU threads")
    if given.functions:
        print_functions(given.functions)
        return
    shown = ["network", "batch", "variant", "images_per_second", "step_ms", "ratio"]
    shown += ["waits", "busy", "kernels", "peak_mb"]
    data: dict[str, Any] = {"gpu": torch.cuda.get_device_name(0), "threads": torch.get_num_threads(), "rows": []}
    for new in measured_rows(given.only, given.seconds):
        print(*(f"{key}={new[key]}" for key in (*shown, "warm_up_seconds", "error") if key in new), flush=True)
        data["rows"].append(new)
        leave("gpu_speed", data)
    data["repeats"] = {f"{network}, {precision}": repeats(network, precision) for network in given.only
                       for precision in ("fp32", "bf16")}  # fmt: skip
    print("the same bits again without deterministic=true:", data["repeats"])
    print(table(shown, [[each.get(key) for key in shown] for each in data["rows"]]))
    print(leave("gpu_speed", data))


if __name__ == "__main__":
    main()
