"""Optimizers by name, schedules by known numbers, the average by hand."""

import pytest
import torch
from torch import nn

from gan_cli.state.ema import early_decay, update_ema
from gan_cli.state.optimizers import (
    SLOTS,
    build_optimizer,
    load_state_tensors,
    slots_of,
    state_tensors,
)

SETTINGS: dict[str, dict[str, float]] = {
    "adam": {"beta1": 0.5, "beta2": 0.9, "eps": 1e-8},
    "adamw": {"beta1": 0.5, "beta2": 0.9, "eps": 1e-8, "weight_decay": 0.1},
    "rmsprop": {"alpha": 0.9, "eps": 1e-8},
    "sgd": {"momentum": 0.5},
}


@pytest.mark.parametrize("name", SLOTS)
def test_state_survives_a_round_trip(name: str) -> None:
    torch.manual_seed(0)
    one = nn.Linear(3, 2)
    optimizer = build_optimizer(one, name=name, lr=0.1, **SETTINGS[name])
    assert state_tensors(optimizer, one) == {}
    for _ in range(3):
        optimizer.zero_grad()
        one(torch.randn(4, 3)).square().sum().backward()
        optimizer.step()
    saved = state_tensors(optimizer, one)
    assert {key.split(".")[0] for key in saved} == set(SLOTS[name])

    other = nn.Linear(3, 2)
    other.load_state_dict(one.state_dict())
    again = build_optimizer(other, name=name, lr=0.1, **SETTINGS[name])
    load_state_tensors(again, other, {key: value.clone() for key, value in saved.items()})
    batch = torch.randn(4, 3)
    for network, its_optimizer in ((one, optimizer), (other, again)):
        its_optimizer.zero_grad()
        network(batch).square().sum().backward()
        its_optimizer.step()
    assert torch.equal(one.weight, other.weight)


def test_what_each_keeps_is_what_it_says() -> None:
    for name, settings in [*SETTINGS.items(), ("sgd", {"momentum": 0.0})]:
        network = nn.Linear(1, 1)
        optimizer = build_optimizer(network, name=name, lr=0.1, **settings)
        network(torch.ones(1, 1)).sum().backward()
        optimizer.step()
        kept = {key.split(".")[0] for key in state_tensors(optimizer, network)}
        assert kept == set(slots_of(name=name, **settings)), name


def test_weight_decay_and_momentum_by_hand() -> None:
    for name, settings, expected in (
        ("adamw", {"beta1": 0.0, "beta2": 0.0, "eps": 1e-8, "weight_decay": 0.1}, [0.89, 0.7811]),
        ("sgd", {"momentum": 0.5}, [0.9, 0.75]),
    ):
        network = nn.Linear(1, 1, bias=False)
        nn.init.ones_(network.weight)
        optimizer = build_optimizer(network, name=name, lr=0.1, **settings)
        weights = []
        for _ in range(2):
            optimizer.zero_grad()
            network(torch.ones(1, 1)).sum().backward()  # a gradient of 1
            optimizer.step()
            weights.append(network.weight.item())
        assert weights == pytest.approx(expected), name


def test_an_unknown_optimizer_is_an_error() -> None:
    with pytest.raises(KeyError, match="lion"):
        build_optimizer(nn.Linear(1, 1), name="lion", lr=0.1)


def test_average_moves_by_its_decay_and_carries_statistics() -> None:
    network, average = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
    with torch.no_grad():
        network.weight.fill_(3.0)
        network.running_mean.fill_(8.0)
        network.num_batches_tracked.fill_(7)
    update_ema(average, network, decay=0.75)
    assert average.weight.item() == pytest.approx(0.75 * 1 + 0.25 * 3)
    assert average.running_mean.item() == pytest.approx(0.25 * 8)
    assert average.num_batches_tracked.item() == 7


def test_average_forgets_the_random_start_fast() -> None:
    network, average = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        network.weight.fill_(1.0)
        average.weight.fill_(0.0)
    update_ema(average, network, early_decay(0.999, 1))
    assert average.weight.item() == pytest.approx(1 - 2 / 11)


def test_memory_is_put_back_in_the_layout_of_its_parameter() -> None:
    convolution = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    optimizer = build_optimizer(convolution, name="adam", lr=0.1, **SETTINGS["adam"])
    convolution(torch.randn(2, 3, 5, 5)).sum().backward()
    optimizer.step()
    kept = {name: value.contiguous() for name, value in state_tensors(optimizer, convolution).items()}
    other = build_optimizer(convolution, name="adam", lr=0.1, **SETTINGS["adam"])
    load_state_tensors(other, convolution, kept)
    for slot, value in other.state[convolution.weight].items():
        assert torch.equal(value, kept[f"{slot}.weight"])
        assert slot == "step" or value.stride() == convolution.weight.stride()


def test_a_fused_optimizer_counts_where_its_parameters_are() -> None:
    """As torch's own loading does; on a GPU a count on the CPU would be read as an address there."""
    network = nn.Linear(2, 2, device="meta")
    optimizer = torch.optim.Adam(network.parameters())
    optimizer.defaults["fused"] = True
    load_state_tensors(optimizer, network, {"step.weight": torch.tensor(3.0)})
    assert optimizer.state[network.weight]["step"].device.type == "meta"
