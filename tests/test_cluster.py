"""The model of several processes: what a step computes and sends, and the time that this takes."""

from __future__ import annotations

import sys

import pytest
import torch

from support.paths import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

import cluster
import cluster_measure
import update_work
from cluster_model import Link, Processor, fit_line, processor_step, transfer_seconds
from update_work import Transfer, count_steps, count_work

RING = ("dataset=ring", "dataset.size=64", "architecture=mlp", "regularizer=none")


def test_the_operations_of_a_step_are_those_counted_by_hand() -> None:
    """For networks of products alone. G's fakes are made once; G's update needs no gradient of D's weights."""
    state = update_work.updates.prepared(update_work.updates.config_of([*RING]), torch.device("cpu")).state
    layers = {}
    for role in ("generator", "discriminator"):
        layers[role] = [p.numel() for p in getattr(state, role).parameters() if p.ndim == 2]
    g, d = layers["generator"], layers["discriminator"]
    forward = sum(g) + 2 * sum(d) + sum(d)  # D on real and fake samples, then on fakes
    weights = 2 * sum(d) + sum(g)
    inputs = 2 * sum(d[1:]) + sum(d) + sum(g[1:])  # the first layer's input needs no gradient, except that of D in G's
    (counted,) = count_steps([*RING], 1, 8, [0])
    assert counted.flops == 2 * 8 * (forward + weights + inputs)
    assert counted.transfers == []
    assert counted.kernels > 50


def test_a_penalty_is_counted_with_its_second_derivative() -> None:
    """R1 of a linear D: the gradient by x is a convolution, and so is its derivative by the weights."""
    with torch.device("meta"):
        weight, x = torch.empty(7, 5, 3, 3, requires_grad=True), torch.empty(4, 5, 9, 9, requires_grad=True)
    with update_work.Operations() as counter:
        out = torch.nn.functional.conv2d(x, weight, padding=1)
        (gradient,) = torch.autograd.grad(out.sum(), x, create_graph=True)
        gradient.square().sum().backward(inputs=[weight])
    one = 2 * 4 * 81 * 7 * 5 * 9
    assert counter.flops == 4 * one  # the last one is by the gradient of the output, which PyTorch always computes


TINY_STYLES = (
    "dataset=shapes", "dataset.size=64", "dataset.image_channels=3", "image_size=16", "architecture=stylegan2",
    "architecture.generator.base_channels=4", "architecture.discriminator.base_channels=4", "regularizer=[r1]",
    "regularizer.r1.every=2", "auxiliary=path_length", "auxiliary.path_length.every=4",
    "architecture.generator.style_mixing=0.9",
)  # fmt: skip
TINY_DCGAN = (
    "dataset=shapes", "dataset.size=64", "image_size=16", "architecture=dcgan", "regularizer=none",
    "architecture.generator.base_channels=4", "architecture.discriminator.base_channels=4",
    "architecture.discriminator.normalization=batch", "architecture.discriminator.minibatch=discrimination",
)  # fmt: skip


@pytest.mark.parametrize("overrides", [TINY_STYLES, TINY_DCGAN], ids=["stylegan2", "dcgan"])
def test_transfers_are_those_of_any_number_of_processes(overrides: tuple[str, ...]) -> None:
    work = count_work(overrides)
    sent = work.transfers(8, 12)
    steps = count_steps(overrides, 8, 12, range(work.steps))
    assert work.steps == (4 if overrides is TINY_STYLES else 1)
    assert sorted(sent) == sorted(each for step in steps for each in step.transfers)
    reduced = sorted(each.bytes for each in sent if each.kind == "all_reduce")
    assert {4 * count for count in work.parameters} <= {*reduced}
    assert (work.penalty_flops > 0) == (overrides is TINY_STYLES)
    # of dcgan: G's layers in one pass, D's in three; three times the features of "discrimination"; two updates' outputs
    gathers = sum(each.kind == "all_gather" for each in sent)
    assert overrides is TINY_STYLES or gathers == 2 + 3 * 1 + 3 + 2


def test_a_ring_needs_the_known_times() -> None:
    link = Link(latency=1e-6, bandwidth=1e9)
    large, small = Transfer("all_reduce", 1e9), Transfer("all_reduce", 4)
    assert transfer_seconds(large, 8, link) == pytest.approx(2 * 7 / 8 + 14e-6)
    assert transfer_seconds(small, 512, link) == pytest.approx(2 * 9 * 1e-6, rel=0.01)  # a tree
    assert transfer_seconds(small, 512, link, tree=False) == pytest.approx(2 * 511 * 1e-6, rel=0.01)
    assert transfer_seconds(Transfer("all_gather", 1e6), 3, link) == pytest.approx(2 * (1e-6 + 1e-3))
    assert transfer_seconds(large, 1, link) == 0


def test_more_processes_than_cores_share_them() -> None:
    processor = Processor(fixed=0.1, per_image=0.01, cores=2)
    assert processor_step(processor, 1, 100, 0) == pytest.approx(1.1)
    assert processor_step(processor, 2, 100, 0.2) == pytest.approx(0.6 + 0.2)
    assert processor_step(processor, 4, 100, 0) == pytest.approx(2 * 0.35)
    assert fit_line([(64, 0.74), (128, 1.38), (256, 2.66)]) == pytest.approx((0.1, 0.01))


def test_the_model_is_fitted_to_two_measurements_and_predicts_the_others() -> None:
    names = ("dcgan-64", "dcgan-128")
    works = {name: count_work(cluster.gpu_speed.NETWORKS[name], several=False) for name in names}
    fitted = cluster.fitted(cluster.DGX_H100, works)
    assert 0 < fitted.utilisation < 1
    for name, batch, rate, _ in (cluster.COMPUTES, cluster.LAUNCHES):
        step = cluster.predicted_step(works[name], 1, batch, fitted)
        expected = step.computation if name == cluster.COMPUTES[0] else step.host
        assert expected == pytest.approx(batch / rate)


def test_all_reduces_of_processes_here_are_timed() -> None:
    link, seconds = cluster_measure.measured_link(2)
    assert seconds.keys() == {*cluster_measure.SIZES}
    assert 0 < seconds[1 << 10] < seconds[1 << 24]
    assert link.bandwidth > 1e6
