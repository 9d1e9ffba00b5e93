"""A model of the time that several processes need for a step: computation, launches of kernels, transfers.

    step = max(computation + transfers, launches + messages)

Computation is operations / (peak x utilisation). A ring (Patarasuk & Yuan, 2009) of n processes reduces B bytes in
2 (n - 1) messages of B / n bytes each, and gathers B bytes of each process in n - 1 messages of B bytes. For few bytes
a tree is faster: 2 log2 n messages of B bytes. The faster one counts, as NCCL chooses. Transfers begin when the
gradients are complete, since gan-cli does not overlap them with the backward pass. The CPU launches kernels while the
GPU computes, so the slower of both counts. Before each update, processes exchange a message by gloo, over TCP.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from update_work import Transfer, Work

MESSAGES = 2  # of a step: one before each update (gan_cli/distributed/process_group.py)


class Link(NamedTuple):
    """A connection of two processes: seconds of a message, and bytes per second."""

    latency: float
    bandwidth: float


@dataclass(frozen=True)
class Cluster:
    """GPUs in nodes, and the links between them. `peak` and `single_peak` are operations per second."""

    peak: float  # bfloat16
    single_peak: float  # of float32, here TF32
    utilisation: float  # the share of the peak that a step reaches
    kernel: float  # seconds in which the CPU launches a kernel
    per_node: int
    inside: Link  # between two GPUs of a node
    between: Link  # between two nodes, with all network cards of a node
    message: float  # seconds of a message over TCP

    def link(self, processes: int) -> Link:
        """Returns the slowest link of a ring."""
        return self.inside if processes <= self.per_node else self.between


class Step(NamedTuple):
    """Seconds of a step, and of its parts."""

    computation: float
    transfers: float
    host: float

    @property
    def seconds(self) -> float:
        return max(self.computation + self.transfers, self.host)


def transfer_seconds(transfer: Transfer, processes: int, link: Link, *, tree: bool = True) -> float:
    """Returns the seconds of one transfer by a ring or, if it is faster and allowed, by a tree."""
    if processes == 1:
        return 0.0
    others, size = processes - 1, transfer.bytes
    if transfer.kind == "all_gather":
        return others * (link.latency + size / link.bandwidth)
    ring = 2 * others * (link.latency + size / processes / link.bandwidth)
    if not tree:
        return ring
    return min(ring, 2 * math.ceil(math.log2(processes)) * (link.latency + size / link.bandwidth))


def all_transfers(transfers: Sequence[Transfer], processes: int, link: Link, *, tree: bool = True) -> float:
    return sum(transfer_seconds(each, processes, link, tree=tree) for each in transfers)


def gpu_seconds(work: Work, images: float, cluster: Cluster) -> float:
    """Returns the seconds of computation for so many images on one GPU."""
    operations = work.flops / cluster.peak + work.penalty_flops / cluster.single_peak
    return images * operations / cluster.utilisation


def predicted_step(work: Work, processes: int, images: int, cluster: Cluster) -> Step:
    """Returns the time of a step of processes with so many images each."""
    messages = MESSAGES * 2 * (processes - 1) * cluster.message
    return Step(
        computation=gpu_seconds(work, images, cluster),
        transfers=all_transfers(work.transfers(processes, images), processes, cluster.link(processes)) / work.steps,
        host=work.kernels * cluster.kernel + messages,
    )


class Processor(NamedTuple):
    """A CPU whose processes have one thread each: seconds of an update's fixed part, seconds for each image."""

    fixed: float
    per_image: float
    cores: int


def processor_step(processor: Processor, processes: int, batch: int, transfers: float) -> float:
    """Returns the seconds of a step of `batch` images. Processes share cores if they are more than the cores."""
    shared = processes / min(processes, processor.cores)
    return (processor.fixed + processor.per_image * batch / processes) * shared + transfers


def fit_line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Returns (a, b) of y = a + b x by least squares of relative errors, neither below 0."""
    weights = [1 / y**2 for _, y in points]
    total = sum(weights)
    mean_x = sum(w * x for w, (x, _) in zip(weights, points, strict=True)) / total
    mean_y = sum(w * y for w, (_, y) in zip(weights, points, strict=True)) / total
    spread = sum(w * (x - mean_x) ** 2 for w, (x, _) in zip(weights, points, strict=True))
    product = sum(w * (x - mean_x) * (y - mean_y) for w, (x, y) in zip(weights, points, strict=True))
    slope = max(product / spread, 0.0)
    return max(mean_y - slope * mean_x, 0.0), slope
