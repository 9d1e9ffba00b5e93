"""Loads a generator from a checkpoint, a run or a `gan-export` folder, and generates samples with it."""

from __future__ import annotations

import contextlib
import operator
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gan_cli import __version__
from gan_cli.config.options.networks.architectures import settle_growth
from gan_cli.config.train_config import Config
from gan_cli.data.datasets.points import Modes, known_modes
from gan_cli.data.labels import (
    RequestedCondition,
    encode_requested,
)
from gan_cli.errors import CheckpointError, UsageError, one_line
from gan_cli.models.build_networks import (
    GeneratorDesign,
    build_generator,
    conditions_of,
    fill_generator,
    outline_generator,
)
from gan_cli.models.generate import generate
from gan_cli.models.latents import LatentDistribution
from gan_cli.randomness import generator_for
from gan_cli.sampling.generator_card import Card, read_card
from gan_cli.sampling.image_arguments import Images, image_tensors
from gan_cli.sampling.requested_classes import Labels, requested_classes
from gan_cli.state import checkpoint
from gan_cli.state.checkpoint import Checkpoint
from gan_cli.state.checkpoint_file import check_layout, read_checkpoint_file
from gan_cli.storage.locate import EXPORTED, find_card, locate
from gan_cli.storage.run_files import refuse_symlink
from gan_cli.storage.run_folder import CHECKPOINTS
from gan_cli.storage.run_record import data_licences
from gan_cli.tasks.condition import Condition
from gan_cli.tasks.tasks import TASKS, condition_of_input, task_of

MAX_SEED = 2**62
GENERATOR_FORMAT = 1  # format version in the metadata of an exported file


@dataclass(frozen=True)
class LoadedGenerator:
    """A generator in evaluation mode, and its description.

    `gan_cli.api.load_generator` describes `network`; latents and condition must be on its device. `sha256` is the hash
    of the checkpoint file. `step` is the number of generator updates before the checkpoint. `ema` is True if this is
    the averaged generator.
    """

    network: nn.Module
    card: Card  # what an export writes to its `config.json`
    path: Path  # the checkpoint or export that the generator was loaded from
    config: Config | None = None  # of the training run; None for an export

    @property
    def latent(self) -> LatentDistribution:
        return LatentDistribution(self.card.generator.latent_dim, self.card.generator.latent)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.card.classes

    def encode(self, requested: Sequence[RequestedCondition], seeds: Sequence[int]) -> Tensor:
        """Returns the labels `[N, K]` of requested classes; a seed draws the attributes that its request leaves out."""
        return encode_requested(self.classes, requested, seeds, self.card.frequencies)

    @property
    def has_image_input(self) -> bool:
        """Whether it makes images from images."""
        return task_of(self.card.task).make_condition is not None

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return self.card.sample_shape

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
        """The modes of the training data, if the data are points and the config is known; otherwise None."""
        return None if self.config is None else known_modes(self.config.dataset)


def load_generator(
    path: str | os.PathLike[str], *, ema: bool = True, device: str | torch.device = "cpu"
) -> LoadedGenerator:
    """Loads a generator from a checkpoint, a run or an export; see `gan_cli.api.load_generator`."""
    if not isinstance(path, str | os.PathLike):
        raise UsageError(f"path: expected a checkpoint, a run's folder or an exported one, not {type(path).__name__}")
    location = None
    with contextlib.suppress(OSError):  # of a text that cannot be a path; `find_checkpoint` raises it again
        location = locate(path, log=lambda line: None)
    if location is not None and location.kind == "export":
        return _load_exported(location.path, torch.device(device), ema)
    found = find_checkpoint(path)
    config = found.config
    card = Card(
        gan_cli=found.provenance.gan_cli,
        plugins=config.plugins,
        dataset=config.dataset.name,
        data_licences=data_licences(_run_folder(found.path)),
        sample_shape=config.sample_shape,
        generator=config.architecture.generator,
        conditioning=config.conditioning,
        task=config.task,
        ema=ema and config.training.ema_decay > 0,
        step=found.counters.step,
        checkpoint=found.sha256,
    )
    network = build_generator(config, found.tensors, torch.device(device), ema=ema)
    return LoadedGenerator(network, card, found.path, config)


def find_checkpoint(path: str | os.PathLike[str], key: str = "ckpt") -> Checkpoint:
    """Loads as `checkpoint.load_named` does. CheckpointError also for a text that is too long to be a path."""
    try:
        return checkpoint.load_named(path, key)
    except OSError as error:
        raise CheckpointError(f"{one_line(path, 200)}: cannot be read ({error.strerror})") from error


def default_folder(checkpoint: Path, name: str) -> Path:
    """Returns the folder `name` in the run folder of the checkpoint; next to a file that is not in a run folder."""
    return refuse_symlink(_run_folder(checkpoint) / name)


def _run_folder(checkpoint: Path) -> Path:
    return checkpoint.parent.parent if checkpoint.parent.name == CHECKPOINTS else checkpoint.parent


def _load_exported(exported: Path, device: torch.device, ema: bool) -> LoadedGenerator:
    """Loads a generator from a folder that `gan-export` wrote, or from an exported file with its JSON file."""
    path = exported / EXPORTED["safetensors"] if exported.is_dir() else exported
    card_path = find_card(path)
    if card_path is None or path.suffix != ".safetensors" or not path.is_file():
        raise CheckpointError(
            f"{exported}: is an export for other programs; gan-export format=safetensors makes one for gan-cli"
        )
    card = read_card(card_path)
    if card.ema and not ema:
        raise UsageError(
            f"ema=false: {exported} holds only the averaged generator, export the other one with ema=false"
        )
    section = settle_growth(card.generator, False)  # its growth is in the file
    design = GeneratorDesign(section, card.sample_shape, conditions_of(card.conditioning), card.task)
    try:
        outline = outline_generator(design).state_dict()
    except Exception as error:  # the fields may be valid one by one, but not together
        raise CheckpointError(f"{card_path}: describes no generator ({one_line(error, 200)})") from error
    layout = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in outline.items()}
    tensors, metadata, _ = read_checkpoint_file(path, lambda _: layout)
    if metadata.get("generator") != GENERATOR_FORMAT:
        raise CheckpointError(f"{path}: no generator of a format that this gan-cli {__version__} reads")
    check_layout(path, tensors, layout)
    return LoadedGenerator(fill_generator(design, tensors, device), card, exported)


def sample(
    generator: LoadedGenerator,
    seeds: Sequence[int],
    labels: Labels = None,
    *,
    images: Images | None = None,
    masks: Images | None = None,
    truncation: float | None = None,
    batch_size: int = 64,
) -> Tensor:
    """Generates samples; see `gan_cli.api.sample`."""
    if not isinstance(generator, LoadedGenerator):
        raise UsageError(f"generator: expected what load_generator returns, not {type(generator).__name__}")
    if isinstance(seeds, int):
        raise UsageError(f"seeds={seeds}: expected several, as range({seeds}) or [{seeds}]")
    seeds = seeds if isinstance(seeds, range) else [_seed(seed) for seed in seeds]
    if len(seeds) == 0 or not 0 <= min(seeds) <= max(seeds) <= MAX_SEED:
        raise UsageError("seeds: expected at least one whole number, each from 0 to 2**62")
    if truncation is not None and not 0 < truncation <= 100:
        raise UsageError(f"truncation={truncation}: expected a number above 0 and at most 100")
    check_truncation(generator, truncation)
    if batch_size < 1:
        raise UsageError(f"batch_size={batch_size}: expected a whole number at least 1")
    requested = requested_classes(generator.classes, labels, len(seeds))
    given = _condition_of_images(generator, images, masks, len(seeds))
    batches = list(sample_in_batches(generator, seeds, requested, truncation, batch_size, given))
    return batches[0] if len(batches) == 1 else torch.cat(batches)


def check_truncation(generator: LoadedGenerator, truncation: float | None) -> None:
    """Raises UsageError if truncation would change nothing: without a latent, or with one of which the length is lost.

    A normalized latent has the same length whatever it is truncated to.
    """
    if truncation is None:
        return
    if not generator.latent.dim:
        raise UsageError(f"truncation={truncation:g}: this generator has no latent to truncate, leave it out")
    if normalizes_latent(generator):
        raise UsageError(
            f"truncation={truncation:g}: this generator scales each latent to the same length, leave it out"
        )


def normalizes_latent(generator: LoadedGenerator) -> bool:
    """Returns whether the network scales each latent to the same length, so that truncation has no use."""
    return getattr(generator.network, "normalizes_latent", False)


def _condition_of_images(
    generator: LoadedGenerator, images: Images | None, masks: Images | None, count: int
) -> Condition | None:
    """Returns the condition of `count` images and masks, as `gan_cli.api.sample` gets them; None without a task."""
    if not generator.has_image_input:
        if images is not None or masks is not None:
            raise UsageError("images: this generator makes samples from noise and takes no image, leave them out")
        return None
    if images is None:
        raise UsageError(f"images: task={generator.card.task.name} needs an image for each seed")
    if masks is not None:
        require_mask_task(generator, "masks")
    image, mask = image_tensors(images, masks, count, generator.sample_shape[0])
    return condition_of_input(generator.card.task, image, mask, generator_for(0, "task"))


def require_mask_task(generator: LoadedGenerator, key: str) -> None:
    """Raises UsageError if the task of the generator takes no mask. The option or argument `key` gives one."""
    name = generator.card.task.name
    if not TASKS[name].accepts_mask:
        fitting = " or ".join(f"task={other}" for other, task in TASKS.items() if task.accepts_mask)
        raise UsageError(f"{key}: only {fitting} takes one, this generator has task={name}")


def sample_in_batches(
    generator: LoadedGenerator,
    seeds: Sequence[int],
    requested: Sequence[RequestedCondition],
    truncation: float | None,
    batch_size: int,
    given: Condition | None = None,
) -> Iterator[Tensor]:
    """Yields batches of samples, smaller ones if there is too little memory. `requested` has a class for each seed.

    `given` has the images of the condition. Raises CheckpointError if a value is NaN or infinite.
    """
    labels = generator.encode(requested, seeds) if requested else None
    condition = given if labels is None else (given or Condition())._replace(labels=labels)
    for samples in generate(generator.network, generator.latent, seeds, batch_size, truncation, condition):
        yield require_finite(generator, samples)


def require_finite(generator: LoadedGenerator, samples: Tensor) -> Tensor:
    """Returns the samples. Raises CheckpointError if a value is NaN or infinite, as finite weights can produce."""
    if not samples.isfinite().all():
        raise CheckpointError(f"{generator.path}: its generator makes samples that are not finite")
    return samples


def _seed(seed: Any) -> int:
    """Converts a seed to an int. Raises UsageError if the seed is not a whole number."""
    try:
        return operator.index(seed)
    except TypeError:
        raise UsageError(f"seeds: {one_line(repr(seed), 40)} is no whole number") from None
