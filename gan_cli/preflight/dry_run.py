"""`dry_run=true`: prints what a command would train, audits its data, tries each part of the run and estimates it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text
from torch import Tensor, nn

from gan_cli.config import train_config
from gan_cli.config.train_config import Config
from gan_cli.config.validation import format_value
from gan_cli.data.streamed_images import stop_decoding
from gan_cli.errors import StorageError, count_noun, one_line
from gan_cli.models.build_networks import count_parameters
from gan_cli.preflight.data_audit import Row, audit
from gan_cli.preflight.estimate import Part, format_bytes, format_seconds, free_bytes, steps_and_parts
from gan_cli.preflight.trial_run import try_everything
from gan_cli.randomness import generator_for
from gan_cli.state.growth import growth_of, set_progress
from gan_cli.tasks.condition import Condition
from gan_cli.training.discriminator_input import discriminator_inputs
from gan_cli.training.run import Run
from gan_cli.training.steps import draw_latents


def preview(run: Run, named: tuple[str, ...], implied: dict[str, str], notes: Iterable[str] = ()) -> None:
    """Prints the config, the layers of both networks, an audit of the data, a trial of the run and an estimate.

    `named` are the keys that the user set. `implied` says what set other keys: "an option" or "recipe". `notes` are
    lines about the data. Networks that grow are tried fully grown. The trial writes into `run.folder`. Raises
    DivergedError if a number of the trial is not finite, StorageError if the folder `output` cannot be written or has
    too little space.
    """
    try:
        _preview(run, named, implied, notes)
    finally:
        stop_decoding(run.batches.dataset.samples)


def _preview(run: Run, named: tuple[str, ...], implied: dict[str, str], notes: Iterable[str]) -> None:
    console, config, dataset = Console(), run.config, run.batches.dataset
    set_progress(run.state, 1)
    console.print(_config_table(config, named, implied), "")
    for table in _network_tables(run):
        console.print(table, "")
    print(f"data: {dataset.source}, {count_noun(len(dataset), 'sample')}")
    for note in notes:
        print(note)
    if growth_of(run.state) is not None:
        print("growth: the networks are tried fully grown; a run grows them and takes less time")
    console.print("", _pairs_table("data", audit(config, dataset)), "")
    rows, costs = try_everything(run)
    console.print(_pairs_table("trial", rows), "")
    steps, parts = steps_and_parts(config, costs, run.objective.alternation, _planned_steps(run))
    console.print(_estimate_table(parts, steps), "")
    needed, free = sum(part.size for part in parts), free_bytes(Path(config.output))
    shown = one_line(config.output, 60)
    print(f"disk: about {format_bytes(needed)} in {shown} at most, {format_bytes(free)} are free")
    if needed > free:
        raise StorageError(f"output={shown}: needs about {needed:,} bytes, {free:,} bytes free")
    print(
        f"tried: {count_noun(run.state.counters.d_updates, 'discriminator update')} and"
        f" {count_noun(run.state.counters.step, 'generator update')} on {count_noun(config.batch_size, 'sample')} each;"
        " all numbers are finite. The files of the trial were removed."
    )


def _planned_steps(run: Run) -> int | None:
    """Returns the number of steps of the run; None if its budget decides. That of a replay is recorded."""
    if run.replayed_total_steps:
        return run.replayed_total_steps[max(run.replayed_total_steps)]
    return run.state.counters.total_steps


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


def _pairs_table(title: str, rows: Iterable[Row]) -> Table:
    """Returns a table of names and texts. Rows that probably show a mistake are bold and begin with `!`."""
    table = Table(box=None, show_header=False, title=title, title_justify="left")
    for row in rows:
        table.add_row(
            f"{'!' if row.alarming else ' '} {row.name}", Text(row.text), style="bold" if row.alarming else ""
        )
    return table


def _estimate_table(parts: Iterable[Part], steps: int) -> Table:
    """Returns a table of the time and the disk space of each part of the whole run, and of all together."""
    right = [Column(title, justify="right") for title in ("number", "time", "disk")]
    title = f"the whole run of {count_noun(steps, 'step')}, estimated"
    table = Table("part", *right, title=title, title_justify="left", box=None)
    parts = [part for part in parts if part.times]
    for part in parts:
        shown = format_bytes(part.size) if part.size else ""
        table.add_row(part.name, f"{part.times:,}", format_seconds(part.seconds), shown)
    seconds, size = sum(part.seconds for part in parts), sum(part.size for part in parts)
    table.add_row("all", "", f"about {format_seconds(seconds)}", f"about {format_bytes(size)}", style="bold")
    return table


def _network_tables(run: Run) -> Iterator[Table]:
    """Yields a table of the layers of each network, for the first batch."""
    config, state, objective = run.config, run.state, run.objective
    real = run.batches.draw(0)
    latent = draw_latents(objective, "generator", 0).to(state.device)
    yield _network_table("generator", state.generator, latent, real.condition)
    random = generator_for(config.seed, "present", 0)
    (samples,), condition = discriminator_inputs((real.samples,), real.condition, state, config, random)
    yield _network_table("discriminator", state.discriminator, samples, condition)


def _network_table(role: str, network: nn.Module, inputs: Tensor, condition: Condition | None) -> Table:
    """Returns a table of the network's layers: the output shape of each layer and its number of parameters."""
    table = Table("layer", "output", "parameters", title=role, title_justify="left", box=None)
    table.add_row("input", _shape(inputs), "")
    for name, module, shape in _layer_outputs(network, inputs, condition):
        count = count_parameters(module)
        table.add_row(Text(f"{name} {type(module).__name__}"), shape, f"{count:,}" if count else "")
    table.add_row("total", "", f"{count_parameters(network):,}")
    return table


def _layer_outputs(network: nn.Module, inputs: Tensor, condition: Condition | None) -> list[tuple[str, nn.Module, str]]:
    """Returns name, module and output shape of each innermost layer, in the order of their calls.

    The network runs in evaluation mode, so that its statistics do not change.
    """
    outputs: list[tuple[str, nn.Module, str]] = []
    with ExitStack() as stack, torch.no_grad():
        stack.callback(network.train, network.training)
        for name, module in network.named_modules():
            if _is_layer(name, module):
                record = partial(lambda name, module, _, out: outputs.append((name, module, _shape(out))), name)
                stack.enter_context(module.register_forward_hook(record))
        network.eval()(inputs, condition)
    return outputs


def _is_layer(name: str, module: nn.Module) -> bool:
    """Returns True if a module contains no other layer. A parametrization counts as a part of its layer, not as one."""
    inner = [child for child in module.named_children() if child[0] != "parametrizations"]
    return bool(name) and not inner and "parametrizations" not in name and not isinstance(module, nn.Identity)


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape))
