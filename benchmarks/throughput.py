"""Images per second of `gan-train`, end to end, beside the textbook's step on the same networks.

    python benchmarks/throughput.py             # some ten minutes: outputs/bench/throughput.json
    python benchmarks/throughput.py --profile   # also where the time of a step goes

Each round runs, in this order and in processes of their own, the textbook's step, `gan-train` as it comes and
`gan-train precision=fp32`; a ratio is of two neighbours of one round, and the median of the rounds' is told. What
`gan-train` does beside its steps counts: drawing batches, logging, grids and checkpoints, here far more often than by
default. The peak is that of the machine's own matrix product, the work that of PyTorch's count of a step.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import torch
import updates
from report import leave, table
from textbook import BATCH, CHANNELS, Textbook
from torch.utils.flop_counter import FlopCounterMode

from gan_cli.training.steps import training_step

TEXTBOOK = Path(__file__).resolve().parent / "textbook.py"
SAME = [
    "dataset=shapes", "dataset.image_channels=3", "dataset.size=2000", "batch_size=64", "architecture=dcgan",
    "architecture.generator.base_channels=64", "architecture.generator.latent_dim=100",
    "architecture.discriminator.base_channels=64", "regularizer=none",
    "architecture.discriminator.normalization=batch", "optimizer=adam",
]  # fmt: skip
# Each after so many steps, so that all of them fall into a short run.
OFTEN = ["training.log_every=10", "training.sample_every=50", "training.checkpoint_every=100"]
NETWORKS = {"dcgan 64 px": (64, [*SAME, "image_size=64"]), "dcgan 32 px": (32, [*SAME, "image_size=32"])}
PRECISIONS = ("auto", "fp32")
# Operations by what they are for; the first whose word is in the name.
KINDS = {
    "convolution backward": ("convolution_backward",),
    "convolution": ("convolution", "mkldnn_conv"),
    "activations": ("relu", "clamp_min", "threshold", "tanh", "softplus", "sigmoid"),
    "normalization": ("batch_norm", "group_norm", "layer_norm"),
    "linear": ("addmm", "aten::mm", "linear"),
    "conversion and copies": ("copy_", "_to_copy", "contiguous", "clone"),
    "optimizers and average": ("adam", "Optimizer", "lerp", "foreach"),
}


def prepared(overrides: Sequence[str]) -> updates.Prepared:
    return updates.prepared(updates.config_of(overrides), torch.device("cpu"))


def step_gflop(overrides: Sequence[str]) -> float:
    """What a step of both networks computes for an image."""
    state, objective, batches = prepared([*overrides, "precision=fp32"])
    with FlopCounterMode(display=False) as counter:
        for _ in range(2):
            training_step(state, objective, batches)
    return counter.get_total_flops() / objective.batch_size / 1e9


def textbook_gflop(size: int) -> float:
    """What the textbook's step computes for an image, with gradients of D's weights that nobody uses."""
    book, real = Textbook(size), torch.rand(BATCH, CHANNELS, size, size)
    with FlopCounterMode(display=False) as counter:
        book.step(real)
    return counter.get_total_flops() / BATCH / 1e9


def peak_gflops(dtype: torch.dtype, seconds: float = 2.0) -> float:
    """Of a product of square matrices."""
    one, other = (torch.randn(2048, 2048).to(dtype) for _ in range(2))
    one @ other
    products, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        one @ other
        products += 1
    return products * 2 * 2048**3 / (time.perf_counter() - started) / 1e9


def textbook_rate(size: int, seconds: float, threads: int) -> float:
    command = [sys.executable, str(TEXTBOOK), str(size), f"--seconds={seconds}", f"--threads={threads}"]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(json.loads(out)["images_per_second"])


def our_rate(overrides: Sequence[str], seconds: float, folder: Path) -> tuple[float, str]:
    """Of a whole run from its first line of metrics to its last, and what it said of the device."""
    command = [
        str(Path(sys.executable).with_name("gan-train")), *overrides, *OFTEN,
        f"budget={seconds}s", f"output={folder}", "name=speed",
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, text=True)
    run = max((folder / "speed").iterdir())
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    first, last = lines[0] if len(lines) > 1 else {"images_seen": 0, "seconds": 0}, lines[-1]
    images, taken = (last[key] - first[key] for key in ("images_seen", "seconds"))
    said = next(line for line in (run / "train.log").read_text().splitlines() if "device:" in line)
    return images / taken, said.partition("device: ")[2]


def profiled(overrides: Sequence[str], precision: str, steps: int = 6) -> dict[str, float]:
    """The share of a step's time by kind of operation; what is in none is Python and the rest."""
    state, objective, batches = prepared([*overrides, f"precision={precision}"])
    for _ in range(6):
        training_step(state, objective, batches)
    started = time.perf_counter()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        for _ in range(2 * steps):
            training_step(state, objective, batches)
    whole = time.perf_counter() - started
    shares = dict.fromkeys(KINDS, 0.0)
    for event in profile.key_averages():
        for kind, words in KINDS.items():
            if any(word in event.key for word in words):
                shares[kind] += event.self_cpu_time_total / 1e6 / whole
                break
    return shares | {"all else": 1 - sum(shares.values())}


def measured(name: str, seconds: float, rounds: int, threads: int, folder: Path) -> list[dict[str, object]]:
    """A row for the textbook and for each precision."""
    size, overrides = NETWORKS[name]
    work = {"textbook": textbook_gflop(size), **dict.fromkeys(PRECISIONS, step_gflop(overrides))}
    peaks = {"textbook": torch.float32, "fp32": torch.float32, "auto": torch.bfloat16}
    rates: dict[str, list[float]] = {"textbook": [], **{precision: [] for precision in PRECISIONS}}
    said = {"textbook": f"fp32, {threads} threads"}
    for _ in range(rounds):
        rates["textbook"].append(textbook_rate(size, seconds, threads))
        for precision in PRECISIONS:
            rate, said[precision] = our_rate([*overrides, f"precision={precision}"], seconds, folder)
            rates[precision].append(rate)
    rows: list[dict[str, object]] = []
    for what, measured_rates in rates.items():
        ratios = [rate / base for rate, base in zip(measured_rates, rates["textbook"], strict=True)]
        peak = peak_gflops(torch.float32 if "fp32" in said[what] else peaks[what])
        rate = median(measured_rates)
        rows.append({
            "network": name, "run": what, "device": said[what], "images_per_second": round(rate, 1),
            "ratio": round(median(ratios), 2), "gflop_per_image": round(work[what], 3),
            "share_of_peak": round(rate * work[what] / peak, 2), "peak_gflops": round(peak), "all": measured_rates,
        })  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="images per second against the textbook's step")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of the textbook's step")
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in NETWORKS:
            rows += measured(name, given.seconds, given.rounds, given.threads, Path(folder))
    shown = ("network", "run", "images_per_second", "ratio", "share_of_peak", "device")
    print(table(["network", "run", "images/s", "x textbook", "share of peak", "device"],
                [[row[key] for key in shown] for row in rows]))  # fmt: skip
    profiles = {}
    if given.profile:
        for name, (_, overrides) in NETWORKS.items():
            profiles[name] = {kind: profiled(overrides, kind) for kind in ("bf16", "fp32")}
        columns = [(name, kind) for name in profiles for kind in profiles[name]]
        parts = [[part, *(f"{profiles[n][k][part]:.0%}" for n, k in columns)] for part in [*KINDS, "all else"]]
        print("\n" + table(["share of a step", *(f"{name}, {kind}" for name, kind in columns)], parts))
    print(leave("throughput", {"rows": rows, "profiles": profiles}))


if __name__ == "__main__":
    main()
