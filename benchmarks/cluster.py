"""What 1, 8, 64 and 512 GPUs would give, by a model; and the same model beside measurements on this CPU.

    python benchmarks/cluster.py             # a minute: outputs/bench/cluster.json
    python benchmarks/cluster.py --measure   # 1, 2 and 4 processes on this machine, which must be idle: ten minutes

The work of a step is counted on the networks themselves (`update_work.py`); the model is in `cluster_model.py`. Two
numbers of it, the utilisation and the seconds for a launch, are fitted to two of the measurements on an NVIDIA H200 in
docs/speed.md; the first table shows all of them beside the model. The others are from data sheets, or assumed.
"""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

import gpu_speed
from cluster_model import Cluster, Link, gpu_seconds, predicted_step
from report import leave, table
from update_work import Work, count_work

SIDE = 256
DATA = ["dataset=shapes", "dataset.image_channels=3", "dataset.size=64", f"image_size={SIDE}"]
NETWORKS = {
    "dcgan": ["architecture.generator.base_channels=64", "architecture.discriminator.base_channels=64",
              "architecture.generator.latent_dim=100"],
    "resnet": [],
    "stylegan2": ["architecture.generator.base_channels=64", "architecture.discriminator.base_channels=64",
                  "architecture.generator.max_multiplier=8", "architecture.discriminator.max_multiplier=8",
                  "architecture.generator.latent_dim=512", "regularizer=[r1]", "regularizer.r1.every=16",
                  "auxiliary=path_length"],
}  # fmt: skip
GPUS = (1, 8, 64, 512)
STRONG, WEAK = 1024, 32  # images of the whole batch; images of each GPU
# NVIDIA H100 SXM and DGX H100, by their data sheets: dense bfloat16 and TF32, half of NVLink's 900 GB/s in each
# direction, eight network cards of 400 Gbit/s. Latencies are assumed.
DGX_H100 = Cluster(
    peak=989e12, single_peak=494e12, utilisation=1.0, kernel=0.0, per_node=8,
    inside=Link(3e-6, 450e9), between=Link(10e-6, 400e9), message=30e-6,
)  # fmt: skip
ETHERNET = Link(30e-6, 12.5e9)  # one card of 100 Gbit/s for each node
# docs/speed.md: a row of gpu_speed.py, its batch, real images per second in bf16 on one H200, updates of D in a step
MEASURED = [
    ("dcgan-128", 64, 3270, 1), ("dcgan-64", 64, 4205, 1), ("dcgan-64", 256, 16740, 1), ("default", 64, 3849, 1),
    ("default", 256, 15941, 1), ("resnet-32", 64, 2707, 5),
]  # fmt: skip
COMPUTES, LAUNCHES = MEASURED[0], MEASURED[1]  # whose time is that of the GPU, and that of the CPU
IMAGE_BYTES = 3 * SIDE * SIDE


def fitted(cluster: Cluster, works: dict[str, Work]) -> Cluster:
    """Returns the cluster with the utilisation and the seconds of a launch of the measured rows."""
    name, batch, rate, _ = COMPUTES
    utilisation = gpu_seconds(works[name], batch, cluster) / (batch / rate)
    name, batch, rate, _ = LAUNCHES
    return dataclasses.replace(cluster, utilisation=utilisation, kernel=batch / rate / works[name].kernels)


def compared(cluster: Cluster, works: dict[str, Work]) -> list[list[Any]]:
    """Returns a row for each measurement: milliseconds of a step as measured, and by the model."""
    rows = []
    for each in MEASURED:
        name, batch, rate, updates = each
        step = predicted_step(works[name], 1, batch, cluster)
        limit = "launches" if step.host > step.computation else "computation"
        measured = 1000 * batch * updates / rate
        rows.append([name, batch, f"{measured:.1f}", f"{1000 * step.seconds:.1f}", limit,
                     "fitted" if each in (COMPUTES, LAUNCHES) else ""])  # fmt: skip
    return rows


def scaled(name: str, work: Work, cluster: Cluster, *, strong: bool) -> list[dict[str, Any]]:
    """Returns a row for each number of GPUs. With `strong`, the whole batch stays; else that of each GPU."""
    rows: list[dict[str, Any]] = []
    for count in GPUS:
        images = STRONG // count if strong else WEAK
        step = predicted_step(work, count, images, cluster)
        rate, sent = images * count / step.seconds, work.transfers(count, images)
        rows.append({
            "network": name, "batch": images * count, "gpus": count, "images": images,
            "computation_ms": 1000 * step.computation, "transfers_ms": 1000 * step.transfers,
            "host_ms": 1000 * step.host, "step_ms": 1000 * step.seconds, "images_per_second": rate,
            "efficiency": rate / count / rows[0]["images_per_second"] if rows else 1.0,
            "transfers": len(sent) / work.steps, "megabytes": sum(each.bytes for each in sent) / work.steps / 1e6,
            "data_gb_per_second": rate * IMAGE_BYTES / 1e9,
        })  # fmt: skip
    return rows


def print_work(works: dict[str, Work]) -> None:
    rows = [
        [name, f"{work.parameters[0] / 1e6:.1f} + {work.parameters[1] / 1e6:.1f}", f"{work.flops / 1e9:.1f}",
         f"{work.penalty_flops / 1e9:.1f}", round(work.kernels), f"{work.gradient_bytes / 1e6:.0f} MB"]
        for name, work in works.items()
    ]  # fmt: skip
    headers = ["network", "M parameters, G + D", "GFLOP an image", "of penalties", "kernels a step", "gradients"]
    print(table(headers, rows))


def print_scaling(rows: list[dict[str, Any]], title: str) -> None:
    headers = ["network", "GPUs", "images each", "computation, ms", "transfers, ms", "CPU, ms", "step, ms", "images/s",
               "efficiency", "transfers", "MB", "data, GB/s"]  # fmt: skip
    cells = [
        [row["network"], row["gpus"], row["images"], *(f"{row[key]:.1f}" for key in
         ("computation_ms", "transfers_ms", "host_ms", "step_ms")), f"{row['images_per_second']:,.0f}",
         f"{row['efficiency']:.2f}", f"{row['transfers']:.0f}", f"{row['megabytes']:.0f}",
         f"{row['data_gb_per_second']:.2f}"]
        for row in rows
    ]  # fmt: skip
    print(f"\n{title}\n\n{table(headers, cells)}")


def main() -> None:
    parser = argparse.ArgumentParser(description="a model of several processes, and measurements")
    parser.add_argument("--measure", action="store_true", help="on this machine, instead of the tables of GPUs")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS), metavar="NETWORK")
    parser.add_argument("--ethernet", action="store_true", help="one card of 100 Gbit/s for each node")
    parser.add_argument("--utilisation", type=float, help="the share of the peak, instead of the fitted one")
    parser.add_argument("--rounds", type=int, default=3, help="of --measure")
    parser.add_argument("--steps", type=int, default=60, help="of each run of --measure")
    parser.add_argument("--override", nargs="+", default=[], metavar="KEY=VALUE", help="of the runs of --measure")
    given = parser.parse_args()
    if given.measure:
        from cluster_measure import tell_measured

        tell_measured(given.rounds, given.steps, given.override)
        return
    base = dataclasses.replace(DGX_H100, between=ETHERNET) if given.ethernet else DGX_H100
    small = {
        name: count_work(gpu_speed.NETWORKS[name], several=False) for name in dict.fromkeys(row[0] for row in MEASURED)
    }
    cluster = fitted(base, small)
    print("One H200, measured and by the model:\n")
    print(table(["network", "batch", "measured, ms", "model, ms", "limited by", ""], compared(cluster, small)))
    if given.utilisation:
        cluster = dataclasses.replace(cluster, utilisation=given.utilisation)
    print(f"\nutilisation {cluster.utilisation:.3f}, a launch {1e6 * cluster.kernel:.1f} us\n")
    works = {name: count_work([*DATA, f"architecture={name}", *NETWORKS[name]]) for name in given.networks}
    print_work(works)
    kinds = {"strong": f"Predicted, a batch of {STRONG} images in all", "weak": f"Predicted, {WEAK} images on each GPU"}
    found: dict[str, Any] = {}
    for kind, title in kinds.items():
        found[kind] = [
            row for name, work in works.items() for row in scaled(name, work, cluster, strong=kind == "strong")
        ]
        print_scaling(found[kind], title)
    print(leave("cluster", {"cluster": dataclasses.asdict(cluster), **found}))


if __name__ == "__main__":
    main()
