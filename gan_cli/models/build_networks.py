"""Builds the networks that the sections `architecture` and `conditioning` of a config describe."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from gan_cli.config.options.networks.architectures import networks_grow, settle_growth
from gan_cli.config.train_config import Config
from gan_cli.data.labels import attributes_of
from gan_cli.errors import UsageError
from gan_cli.models.conditioning import UNCONDITIONAL, ConditioningSpec, start_at_frequencies
from gan_cli.models.latents import LatentDistribution
from gan_cli.models.networks.projected import ProjectedDiscriminator
from gan_cli.models.registry import DISCRIMINATORS, GENERATORS
from gan_cli.randomness import derive_seed
from gan_cli.storage.imagenet_weights import load_imagenet_weights
from gan_cli.tasks.condition import Condition
from gan_cli.tasks.tasks import example_condition, task_of

MAX_PARAMETERS = 500_000_000  # the limit for one network
RENAMED = {  # what a discriminator may have, by its names in earlier versions
    "judge": "discriminate",
    "keeps_apart": "can_concatenate_real_and_fake",
    "mixes_by_known_layers": "batch_dependence_is_declared",
}
LAYERS = (nn.Linear, nn.Conv2d)  # what `freeze_layers` counts
CHANNELS_LAST_ON = ("cpu", "cuda")  # devices where convolutions are faster with channels-last memory


class GeneratorDesign(NamedTuple):
    """The values that determine the layers of a generator. `section` and `task` are sections of the config."""

    section: Any
    sample_shape: tuple[int, ...]
    conditions: ConditioningSpec
    task: Any


def design_of(config: Config) -> GeneratorDesign:
    conditions = conditions_of(config.conditioning)
    section = settle_growth(config.architecture.generator, networks_grow(config.architecture))
    return GeneratorDesign(section, config.sample_shape, conditions, config.task)


def latent_of(config: Config) -> LatentDistribution:
    """Returns the size and distribution of the generator's input."""
    return LatentDistribution(config.architecture.generator.latent_dim, config.architecture.generator.latent)


def conditions_of(section: Any, pack: int = 1) -> ConditioningSpec:
    """Returns how a network takes the condition that the section `conditioning` describes.

    `pack` is the number of samples that the discriminator takes together, and so the number of their conditions.
    """
    if section.name == "none":
        return UNCONDITIONAL
    size = len(section.classes or ()) or 1  # 1 while the classes of the data are not known
    return ConditioningSpec(section.name, pack * size, getattr(section, "embedding_dim", 0))


def build_networks(config: Config, device: torch.device) -> tuple[nn.Module, nn.Module]:
    """Returns a new generator and a new discriminator. Their weights depend on `config.seed` alone."""
    shape = config.sample_shape
    view, given = task_of(config.task).discriminator_view, example_condition(config.task, shape)
    seen = shape if view is None or given is None else tuple(view(torch.zeros(1, *shape), given).shape[1:])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(config.seed, "weights"))
        with torch.device("meta" if device.type == "meta" else "cpu"):
            generator = _build_generator(design_of(config))
            pack = config.training.pack
            packed = (seen[0] * pack, *seen[1:])
            conditions = conditions_of(config.conditioning, pack)
            section = settle_growth(config.architecture.discriminator, networks_grow(config.architecture))
            discriminator = _build(DISCRIMINATORS, section, packed, conditions)
            tag_layer = getattr(discriminator, "tag_layer", None)  # a plugin's network may not say
            if config.frequencies is not None and tag_layer is not None:
                start_at_frequencies(tag_layer, config.frequencies, attributes_of(config.classes))
            if "reconstruction" in config.regularizer:
                cast(Callable[[], None], discriminator.add_decoders)()
    if isinstance(discriminator, ProjectedDiscriminator) and device.type != "meta":
        discriminator.load_published(load_imagenet_weights("architecture.discriminator=projected"))
    if view is not None:
        discriminator.view = view  # type: ignore[assignment]
    for old, new in RENAMED.items():  # of a plugin for an earlier version, which would be ignored
        if hasattr(discriminator, old):
            raise UsageError(
                f"the plugin's discriminator {type(discriminator).__name__} has {old!r}, which is called {new!r} now:"
                " rename it"
            )
    return _to_fast_memory_format(generator.to(device), shape), _to_fast_memory_format(discriminator.to(device), shape)


def build_generator(config: Config, tensors: dict[str, Tensor], device: torch.device, *, ema: bool) -> nn.Module:
    """Returns the generator of a checkpoint in evaluation mode. Uses averaged weights if `ema` and the run has them."""
    averaged = ema and config.training.ema_decay > 0
    return fill_generator(design_of(config), under("generator_ema" if averaged else "generator", tensors), device)


def fill_generator(design: GeneratorDesign, tensors: dict[str, Tensor], device: torch.device) -> nn.Module:
    """Returns a generator with copies of these weights, in evaluation mode. The caller has checked the weights."""
    generator = outline_generator(design)
    # assign=True avoids to_empty, which imports sympy; this import takes longer than generating a thousand samples
    generator.load_state_dict({name: value.to(device, copy=True) for name, value in tensors.items()}, assign=True)
    return _to_fast_memory_format(generator, design.sample_shape).eval()


def outline_generator(design: GeneratorDesign) -> nn.Module:
    """Returns a generator on the meta device, which has shapes but no values. Raises UsageError if it is too large."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        generator = _build_generator(design)
    _check_count("generator", generator)
    return generator


def freeze_layers(network: nn.Module, count: int) -> None:
    """Stops training of the first `count` convolutions and linear layers, and of all modules between them.

    This is FreezeD (2002.10964). Raises UsageError if no layer would be left to train.
    """
    if count == 0:
        return
    layers = [module for module in network.modules() if isinstance(module, LAYERS)]
    if count >= len(layers):
        raise UsageError(
            f"training.freeze_discriminator_layers={count}: the discriminator has {len(layers)} layers, at least one"
            " must learn"
        )
    frozen = set(layers[:count])
    for module in network.modules():
        if module is layers[count]:
            break
        if frozen.issuperset(inner for inner in module.modules() if isinstance(inner, LAYERS)):
            for parameter in module.parameters(recurse=isinstance(module, LAYERS)):
                parameter.requires_grad_(False)


def check_parameters(config: Config) -> None:
    """Raises UsageError if a network has too many parameters. Allocates no memory for the parameters."""
    for role, network in zip(("generator", "discriminator"), build_networks(config, torch.device("meta")), strict=True):
        _check_count(role, network)


def count_parameters(network: nn.Module) -> int:
    return sum(math.prod(parameter.shape) for parameter in network.parameters())


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns the tensors whose names begin with `prefix` and a dot. Removes that beginning from the names."""
    dotted = f"{prefix}."
    return {name.removeprefix(dotted): tensor for name, tensor in tensors.items() if name.startswith(dotted)}


def _check_count(role: str, network: nn.Module) -> None:
    if (count := count_parameters(network)) > MAX_PARAMETERS:
        raise UsageError(
            f"architecture.{role}: {count:,} parameters, at most {MAX_PARAMETERS:,} are allowed;"
            " choose a smaller width, depth, base_channels or image_size"
        )


def _to_fast_memory_format(network: nn.Module, sample_shape: tuple[int, ...]) -> nn.Module:
    """Returns the network, on images with channels-last weights, which changes results only in the last bits."""
    faster = len(sample_shape) == 3 and next(network.parameters()).device.type in CHANNELS_LAST_ON
    return network.to(memory_format=torch.channels_last) if faster else network


class CompletedGenerator(nn.Module):
    """A generator whose output a task completes, for example with the known pixels of an image."""

    def __init__(self, network: nn.Module, complete: Callable[[Tensor, Condition], Tensor]) -> None:
        super().__init__()
        self.network, self.complete = network, complete

    def forward(self, latent: Tensor, condition: Condition) -> Tensor:
        return self.complete(self.network(latent, condition), condition)


def _build_generator(design: GeneratorDesign) -> nn.Module:
    given, complete = example_condition(design.task, design.sample_shape), task_of(design.task).complete
    network = _build(GENERATORS, design.section, design.sample_shape, design.conditions, given)
    return network if complete is None else CompletedGenerator(network, complete)


def _build(
    table: dict[str, Any],
    section: Any,
    sample_shape: tuple[int, ...],
    conditions: ConditioningSpec,
    given: Condition | None = None,
) -> nn.Module:
    """Builds a network. `given` is an example of a condition with images; a network without this parameter has none."""
    settings = dataclasses.asdict(section)
    settings.pop("latent", None)  # see `latent_of`
    build = table[settings.pop("name")]
    if given is not None:
        settings["given"] = given
    if conditions == UNCONDITIONAL:
        return build(sample_shape, **settings)
    if "conditions" not in inspect.signature(build).parameters:
        raise UsageError(f"conditioning={conditions.mode}: the network {section.name} takes no condition, use none")
    return build(sample_shape, conditions=conditions, **settings)
