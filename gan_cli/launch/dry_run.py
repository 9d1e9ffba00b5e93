"""`dry_run=true`: prints the config and the networks of a command, tries one training step, and writes no files."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text
from torch import Tensor, nn

from gan_cli.config import train_config
from gan_cli.config.train_config import Config
from gan_cli.config.validation import format_value
from gan_cli.data.dataset import Dataset
from gan_cli.data.load_dataset import build_batches
from gan_cli.errors import count_noun
from gan_cli.models.build_networks import count_parameters
from gan_cli.randomness import generator_for
from gan_cli.state.train_state import TrainState, require_finite, state_tensors
from gan_cli.training.objective import build_objective
from gan_cli.training.steps import discriminator_step, draw_latents, generator_step, prepare_for_discriminator


def preview(
    config: Config,
    named: tuple[str, ...],
    implied: dict[str, str],
    dataset: Dataset,
    state: TrainState,
    notes: Iterable[str] = (),
) -> None:
    """Prints the config and the layers of both networks, and tries one update of each network.

    `named` are the keys that the user set. `implied` says what set other keys: "an option" or "recipe". `notes` are
    lines about the data. Raises DivergedError if a number is not finite after the updates.
    """
    console = Console()
    console.print(_config_table(config, named, implied))
    batches = build_batches(config, dataset, state.device)
    real = batches.draw(0)
    objective = build_objective(config, batches)
    latent = draw_latents(objective, "generator", 0).to(state.device)
    console.print(_network_table("generator", state.generator, latent, real.condition))
    samples = prepare_for_discriminator(state, objective, real.samples, generator_for(config.seed, "present", 0))
    condition = objective.discriminator_input.pack_condition(real.condition)
    console.print(_network_table("discriminator", state.discriminator, samples, condition))
    print(f"data: {dataset.source}, {count_noun(len(dataset), 'sample')}")
    for note in notes:
        print(note)
    started = time.perf_counter()
    discriminator_step(state, objective, batches)
    generator_step(state, objective, batches)
    require_finite(state, state_tensors(state))
    print(
        f"tried: a discriminator and a generator update on {count_noun(config.batch_size, 'sample')} each,"
        f" {time.perf_counter() - started:.2f} s including warm-up; all numbers are finite. Nothing was written."
    )


def _config_table(config: Config, named: tuple[str, ...], implied: dict[str, str]) -> Table:
    """Returns a table of all config keys. Rows of keys in `named` or `implied` are bold and say what set the key."""
    leaves = list(train_config.flatten(train_config.to_dict(config)))
    longest = max(len(dotted) for dotted, _ in leaves)
    table = Table(Column("key", min_width=longest), "value", "set by", title="config", title_justify="left", box=None)
    for dotted, value in leaves:
        by_user = any(dotted == key or dotted.startswith(f"{key}.") for key in named)
        origin = "you" if by_user else implied.get(dotted, "")
        table.add_row(Text(dotted), Text(format_value(value)), origin, style="bold" if origin else "")
    return table


def _network_table(role: str, network: nn.Module, inputs: Tensor, condition: Tensor | None) -> Table:
    """Returns a table of the network's layers: the output shape of each layer and its number of parameters."""
    table = Table("layer", "output", "parameters", title=role, title_justify="left", box=None)
    table.add_row("input", _shape(inputs), "")
    with _recorded_shapes(network) as outputs, torch.no_grad():
        network(inputs, condition)
    for name, module, shape in outputs:
        count = count_parameters(module)
        table.add_row(Text(f"{name} {type(module).__name__}"), shape, f"{count:,}" if count else "")
    table.add_row("total", "", f"{count_parameters(network):,}")
    return table


@contextmanager
def _recorded_shapes(network: nn.Module) -> Iterator[list[tuple[str, nn.Module, str]]]:
    """Yields a list that receives name, module and output shape of each innermost layer as it is called.

    The network is in evaluation mode meanwhile, so that its statistics do not change.
    """
    outputs: list[tuple[str, nn.Module, str]] = []
    hooks = [
        module.register_forward_hook(lambda module, _, out, name=name: outputs.append((name, module, _shape(out))))
        for name, module in network.named_modules()
        if _is_layer(name, module)
    ]
    was_training = network.training
    network.eval()
    try:
        yield outputs
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()


def _is_layer(name: str, module: nn.Module) -> bool:
    """Returns True if a module contains no other layer. A parametrization counts as a part of its layer, not as one."""
    inner = [child for child in module.named_children() if child[0] != "parametrizations"]
    return bool(name) and not inner and "parametrizations" not in name and not isinstance(module, nn.Identity)


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape))
