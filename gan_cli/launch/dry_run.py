"""`dry_run=true`: what a command would train, shown and tried for one step; nothing is left behind."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text
from torch import Tensor, nn

from gan_cli.config import train_config
from gan_cli.config.schema import shown
from gan_cli.config.train_config import Config
from gan_cli.data.balance import note_on_counts
from gan_cli.data.dataset import Dataset
from gan_cli.data.load_dataset import build_batches
from gan_cli.errors import counted
from gan_cli.models.build_networks import count_parameters
from gan_cli.randomness import generator_for
from gan_cli.state.train_state import TrainState, require_finite, state_tensors
from gan_cli.training.objective import build_objective
from gan_cli.training.steps import discriminator_input, discriminator_step, draw_latents, generator_step


def preview(
    config: Config, named: tuple[str, ...], brought: dict[str, str], dataset: Dataset, state: TrainState
) -> None:
    """Prints the config and both networks layer by layer, and tries an update of each; DivergedError if it diverges.

    `brought` says of keys that the user did not name by what they were set.
    """
    console = Console()
    console.print(_config_table(config, named, brought))
    batches = build_batches(config, dataset, state.device)
    real = batches.draw(0)
    objective = build_objective(config, batches)
    latent = draw_latents(objective, "generator", 0).to(state.device)
    console.print(_network_table("generator", state.generator, latent, real.condition))
    samples = discriminator_input(state, objective, real.samples, generator_for(config.seed, "present", 0))
    condition = objective.discriminator_input.pack_condition(real.condition)
    console.print(_network_table("discriminator", state.discriminator, samples, condition))
    print(f"data: {dataset.source}, {counted(len(dataset), 'sample')}")
    note = note_on_counts(dataset.labels, dataset.classes, config.dataset.balance, bool(config.classes))
    if note is not None:
        print(note)
    started = time.perf_counter()
    discriminator_step(state, objective, batches)
    generator_step(state, objective, batches)
    require_finite(state, state_tensors(state))
    print(
        f"tried: a discriminator and a generator update on {counted(config.batch_size, 'sample')} each,"
        f" {time.perf_counter() - started:.2f} s with warming up; all is finite. Nothing was written."
    )


def _config_table(config: Config, named: tuple[str, ...], brought: dict[str, str]) -> Table:
    """Every key; in bold what differs from the defaults, with who set it."""
    leaves = list(train_config.flatten(train_config.to_dict(config)))
    longest = max(len(dotted) for dotted, _ in leaves)
    table = Table(Column("key", min_width=longest), "value", "set by", title="config", title_justify="left", box=None)
    for dotted, value in leaves:
        mine = any(dotted == key or dotted.startswith(f"{key}.") for key in named)
        origin = "you" if mine else brought.get(dotted, "")
        table.add_row(Text(dotted), Text(shown(value)), origin, style="bold" if origin else "")
    return table


def _network_table(role: str, network: nn.Module, given: Tensor, condition: Tensor | None) -> Table:
    """The shape of a batch after each layer, and the layer's parameters."""
    table = Table("layer", "output", "parameters", title=role, title_justify="left", box=None)
    table.add_row("input", _shape(given), "")
    with _watched(network) as seen, torch.no_grad():
        network(given, condition)
    for name, module, shape in seen:
        count = count_parameters(module)
        table.add_row(Text(f"{name} {type(module).__name__}"), shape, f"{count:,}" if count else "")
    table.add_row("in all", "", f"{count_parameters(network):,}")
    return table


@contextmanager
def _watched(network: nn.Module) -> Iterator[list[tuple[str, nn.Module, str]]]:
    """What the innermost layers put out, in order, with the network as it was afterwards."""
    seen: list[tuple[str, nn.Module, str]] = []
    layers = [(name, module) for name, module in network.named_modules() if _is_layer(name, module)]
    hooks = [
        module.register_forward_hook(lambda module, _, out, name=name: seen.append((name, module, _shape(out))))
        for name, module in layers
    ]
    was_training = network.training
    network.eval()  # no statistics are recorded
    try:
        yield seen
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()


def _is_layer(name: str, module: nn.Module) -> bool:
    """A module that holds no other; one whose weight is parametrized counts as a layer, its parametrization not."""
    inner = [child for child in module.named_children() if child[0] != "parametrizations"]
    return bool(name) and not inner and "parametrizations" not in name and not isinstance(module, nn.Identity)


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape))
