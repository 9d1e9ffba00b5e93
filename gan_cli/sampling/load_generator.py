"""A generator ready to make samples, from a checkpoint or from what `gan-export` wrote, and what it makes of seeds."""

from __future__ import annotations

import operator
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gan_cli import __version__
from gan_cli.config.train_config import Config
from gan_cli.data.labels import Asked, asked_by_index, asked_for, conditions_for, every_class, share_out
from gan_cli.data.load_dataset import Modes, known_modes
from gan_cli.errors import CheckpointError, UsageError, counted, one_line
from gan_cli.export.model_card import Card, read_card
from gan_cli.models.build_networks import (
    GeneratorDesign,
    build_generator,
    conditions_of,
    design_of,
    fill_generator,
    latent_of,
    outline_generator,
)
from gan_cli.models.generate import generate
from gan_cli.models.latents import Latent
from gan_cli.state import checkpoint
from gan_cli.state.checkpoint import Checkpoint
from gan_cli.storage.checksummed_file import SealError, unseal
from gan_cli.storage.locate import EXPORTED, Place, card_of, locate

Labels = str | int | Sequence[str | int | Asked] | None
MOST_SEED = 2**62
GENERATOR_FORMAT = 1  # of an exported file's metadata


@dataclass(frozen=True)
class LoadedGenerator:
    """A generator in evaluation mode, and what there is to know of it.

    `network(latents, condition)` takes float32 `[N, latent.dim]` and, if it can be asked for `classes`,
    `[N, len(classes)]` with a 1 in each column that is asked for, else None; both on the network's device. It gives
    images `[N, C, H, W]` in [-1, 1], or points `[N, 2]`.

    `path` is where it is from, `sha256` that of the checkpoint it was in, `step` how many updates it has had, `ema`
    whether it is the averaged one, `config` that of its run, None of an exported one. `card` describes it to others.
    """

    network: nn.Module
    design: GeneratorDesign
    latent: Latent
    card: Card
    path: Path
    config: Config | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        return self.card.classes

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return self.design.sample_shape

    @property
    def sha256(self) -> str:
        return self.card.checkpoint

    @property
    def step(self) -> int:
        return self.card.step

    @property
    def ema(self) -> bool:
        return self.card.ema

    @property
    def modes(self) -> Modes | None:
        """What is known of the points that it was to learn."""
        return None if self.config is None else known_modes(self.config.dataset)


def load_generator(
    path: str | os.PathLike[str], *, ema: bool = True, device: str | torch.device = "cpu"
) -> LoadedGenerator:
    """The generator of a checkpoint, of a run by its folder or name (the newest of it), or of an export.

    `ema` takes the averaged generator where there is one. The file is verified first: nothing in it can run code.
    CheckpointError for one that is missing, damaged, foreign or of another shape.
    """
    if not isinstance(path, str | os.PathLike):
        raise UsageError(f"path: expected a checkpoint, a run's folder or an exported one, not {type(path).__name__}")
    place = _place_of(path)
    if place is not None and place.kind == "export":
        return _load_exported(place.path, torch.device(device), ema)
    found = find_checkpoint(path)
    config = found.config
    card = Card(
        gan_cli=found.provenance.gan_cli,
        plugins=config.plugins,
        dataset=config.dataset.name,
        sample_shape=config.sample_shape,
        generator=config.architecture.generator,
        conditioning=config.conditioning,
        ema=ema and config.training.ema_decay > 0,
        step=found.counters.step,
        checkpoint=found.sha256,
    )
    network = build_generator(config, found.tensors, torch.device(device), ema=ema)
    return LoadedGenerator(network, design_of(config), latent_of(config), card, found.path, config)


def find_checkpoint(path: str | os.PathLike[str], key: str = "ckpt") -> Checkpoint:
    """As `checkpoint.find`; CheckpointError also for what cannot be a path."""
    try:
        return checkpoint.find(path, key)
    except OSError as error:
        raise CheckpointError(f"{one_line(path, 200)}: cannot be read ({error.strerror})") from error


def _place_of(path: str | os.PathLike[str]) -> Place | None:
    """As `locate`, without a word of it; None also for what cannot be a path."""
    try:
        return locate(path, say=lambda line: None)
    except OSError:
        return None


def _load_exported(place: Path, device: torch.device, ema: bool) -> LoadedGenerator:
    """Of a folder that `gan-export` wrote, or of a file of its with the card beside it."""
    path = place / EXPORTED["safetensors"] if place.is_dir() else place
    about = card_of(path)
    if about is None or path.suffix != ".safetensors" or not path.is_file():
        raise CheckpointError(
            f"{place}: is an export for other programs; gan-export format=safetensors makes one for gan-cli"
        )
    card = read_card(about)
    if card.ema and not ema:
        raise UsageError(f"ema=false: {place} holds the averaged generator alone, export the other by ema=false")
    try:
        tensors, metadata, _ = unseal(checkpoint.read_file(path))
    except SealError as error:
        raise CheckpointError(f"{path}: {one_line(error, 200)}") from error
    if metadata.get("generator") != GENERATOR_FORMAT:
        raise CheckpointError(f"{path}: no generator of a format that this gan-cli {__version__} reads")
    design = GeneratorDesign(card.generator, card.sample_shape, conditions_of(card.conditioning))
    try:
        outline = outline_generator(design).state_dict()
    except Exception as error:  # the parts of a card may be right in themselves, and fit no network together
        raise CheckpointError(f"{about}: describes no generator ({one_line(error, 200)})") from error
    layout = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in outline.items()}
    checkpoint.check_layout(path, tensors, layout)
    latent = Latent(card.generator.latent_dim, card.generator.latent)
    return LoadedGenerator(fill_generator(design, tensors, device), design, latent, card, place)


def sample(
    generator: LoadedGenerator,
    seeds: Sequence[int],
    labels: Labels = None,
    *,
    truncation: float | None = None,
    batch_size: int = 64,
) -> Tensor:
    """What `gan_cli.api.sample` describes."""
    if not isinstance(generator, LoadedGenerator):
        raise UsageError(f"generator: expected what load_generator returns, not {type(generator).__name__}")
    if isinstance(seeds, int):
        raise UsageError(f"seeds={seeds}: expected several, as range({seeds}) or [{seeds}]")
    seeds = seeds if isinstance(seeds, range) else [_seed(seed) for seed in seeds]
    if len(seeds) == 0 or not 0 <= min(seeds) <= max(seeds) <= MOST_SEED:
        raise UsageError("seeds: expected at least one whole number, each from 0 to 2**62")
    if truncation is not None and not 0 < truncation <= 100:
        raise UsageError(f"truncation={truncation}: expected a number above 0 and at most 100")
    if batch_size < 1:
        raise UsageError(f"batch_size={batch_size}: expected a whole number at least 1")
    asked = asked_of_each(generator.classes, labels, len(seeds))
    conditions = conditions_for(generator.classes, asked, seeds) if asked else None
    made = list(generate(generator.network, generator.latent, seeds, batch_size, truncation, conditions))
    return made[0] if len(made) == 1 else torch.cat(made)


def _seed(seed: Any) -> int:
    try:
        return operator.index(seed)
    except TypeError:
        raise UsageError(f"seeds: {one_line(repr(seed), 40)} is no whole number") from None


def asked_of_each(classes: Sequence[str], labels: Labels, count: int) -> list[Asked]:
    """What each of `count` samples is to be; nothing of a generator that cannot be asked. See `sample`."""
    if labels is None:
        return share_out(every_class(classes), count) if classes else []
    if not classes:
        raise UsageError(f"labels={one_line(labels, 40)}: this generator cannot be asked for a class, leave them out")
    labels = labels.tolist() if hasattr(labels, "tolist") else labels  # of NumPy or PyTorch, one or many
    if isinstance(labels, str | int) and not isinstance(labels, bool):
        return share_out(_rows_of(classes, labels), count)
    if not isinstance(labels, Sequence):
        raise UsageError(f"labels={one_line(repr(labels), 40)}: expected a class, its number, or a list with one each")
    if len(labels) != count:
        raise UsageError(f"labels: {len(labels)} of them for {counted(count, 'seed')}, give one for each")
    known: dict[str | int, Asked] = {}
    return [label if isinstance(label, Asked) else _row_of(classes, label, known) for label in labels]


def _row_of(classes: Sequence[str], label: Any, known: dict[str | int, Asked]) -> Asked:
    """The one row that a label means; those that were looked up are in `known`."""
    label = label.tolist() if hasattr(label, "tolist") else label
    if isinstance(label, bool) or not isinstance(label, str | int):
        raise UsageError(f"labels: {one_line(repr(label), 40)} is no class and no whole number")
    if label not in known:
        rows = _rows_of(classes, label)
        if len(rows) > 1:
            raise UsageError(f"labels: {one_line(label, 60)} means {len(rows)} kinds, name one for each seed")
        known[label] = rows[0]
    return known[label]


def _rows_of(classes: Sequence[str], label: str | int) -> list[Asked]:
    return asked_for(classes, label) if isinstance(label, str) else asked_by_index(classes, [label])
