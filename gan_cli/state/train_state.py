"""Everything that changes while training, in one place, so that a checkpoint of it is the whole run."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gan_cli.config.options import rule_of
from gan_cli.config.train_config import Config
from gan_cli.errors import DivergedError, UsageError
from gan_cli.models.conditioning import UNCONDITIONAL, Conditions
from gan_cli.models.latents import Latent
from gan_cli.models.registry import DISCRIMINATORS, GENERATORS
from gan_cli.objectives.regularizers import MEMORY
from gan_cli.randomness import derive_seed
from gan_cli.state import optimizers

MOST_PARAMETERS = 500_000_000  # of one network
LAYERS = (nn.Linear, nn.Conv2d)  # what `freeze_layers` counts
CHANNELS_LAST_ON = ("cpu", "cuda")  # where convolutions are faster on images whose channels lie side by side


LATER = ("images_offset", "new_layers")  # that few runs have: in no file where they say nothing


@dataclass
class Counters:
    """How far the run is. `step` counts generator updates; the real images seen are d_updates times the batch size.

    `total_steps` is where it ends; None while a time budget is measured. `retries` is how often the run went back to a
    checkpoint, and on with another seed. `images_offset` is what the images seen are more, after the batch size was
    changed. `new_layers`: some are new to the weights that a run started from, so that its average warms up.
    """

    step: int = 0
    d_updates: int = 0
    total_steps: int | None = None
    retries: int = 0
    images_offset: int = 0
    new_layers: bool = False

    def images_seen(self, batch_size: int) -> int:
        return self.d_updates * batch_size + self.images_offset


class DiscriminatorOutcome(NamedTuple):
    """What D's update saw: its loss without penalties, logits `[N]`, its learning rate."""

    loss: Tensor
    real_logits: Tensor
    fake_logits: Tensor
    learning_rate: float


@dataclass
class TrainState:
    generator: nn.Module
    discriminator: nn.Module
    generator_ema: nn.Module | None
    generator_optimizer: Optimizer
    discriminator_optimizer: Optimizer
    counters: Counters
    seconds: float = 0.0  # spent training so far
    budget_start: float = 0.0  # seconds at which a time budget began
    device: torch.device = dataclasses.field(default_factory=lambda: torch.device("cpu"))

    penalties: dict[str, Tensor] = dataclasses.field(default_factory=dict)  # the last value of each, which may be lazy
    memory: dict[str, dict[str, Tensor]] = dataclasses.field(default_factory=dict)  # float32 scalars, by who keeps them
    judged: DiscriminatorOutcome | None = None  # D's last update in this process
    fakes: Tensor | None = None  # of that update, with the way back to G, if G is to learn from them

    compiled: dict[str, Callable[..., Any]] = dataclasses.field(default_factory=dict)  # by role

    def running(self, role: str) -> Callable[..., Any]:
        """The network as it runs in a step: compiled, if it is. Penalties and pictures use the network itself."""
        return self.compiled[role] if role in self.compiled else getattr(self, role)

    @property
    def sampler(self) -> nn.Module:
        """The generator that makes pictures: the average if there is one."""
        return self.generator if self.generator_ema is None else self.generator_ema


def build_state(config: Config, device: torch.device) -> TrainState:
    """A fresh state whose weights are a function of `config.seed` alone; on the meta device only its shapes."""
    generator, discriminator = _build_networks(config, device)
    average = None
    if config.training.ema_decay > 0:
        average = copy.deepcopy(generator).requires_grad_(False).eval()
    freeze_layers(discriminator, config.training.freeze_discriminator_layers)
    memory: dict[str, dict[str, Tensor]] = {name: {} for name in config.regularizer.keys() & MEMORY.keys()}
    if config.training.ada_target is not None:
        memory["ada"] = {"probability": torch.zeros((), device=device)}
    compiling = config.compile and device.type != "meta"
    roles = {"generator": generator, "discriminator": discriminator} if compiling else {}
    return TrainState(
        generator=generator,
        discriminator=discriminator,
        generator_ema=average,
        generator_optimizer=optimizers.build_optimizer(generator, **rule_of(config.optimizer, "generator")),
        discriminator_optimizer=optimizers.build_optimizer(discriminator, **rule_of(config.optimizer, "discriminator")),
        counters=Counters(),
        device=device,
        memory=memory,
        # one kernel for each shape: which ones there are must not depend on where a run was interrupted
        compiled={role: torch.compile(network, dynamic=False) for role, network in roles.items()},
    )


def latent_of(config: Config) -> Latent:
    """What the generator of this config starts from."""
    return Latent(config.architecture.generator.latent_dim, config.architecture.generator.latent)


def freeze_layers(network: nn.Module, count: int) -> None:
    """Keeps the weights of the first `count` convolutions and linear layers as they are, and of all between them.

    (FreezeD, 2002.10964.) UsageError if that leaves nothing to learn.
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


class GeneratorDesign(NamedTuple):
    """All that a generator's layers follow from: its section of a config, what it makes, how it takes a condition."""

    section: Any
    sample_shape: tuple[int, ...]
    conditions: Conditions


def design_of(config: Config) -> GeneratorDesign:
    return GeneratorDesign(config.architecture.generator, config.sample_shape, conditions_of(config.conditioning))


def build_generator(config: Config, tensors: dict[str, Tensor], device: torch.device, *, ema: bool) -> nn.Module:
    """The generator of a checkpoint alone, ready to make samples: the average if it has one and `ema` wants it."""
    averaged = ema and config.training.ema_decay > 0
    return fill_generator(design_of(config), under("generator_ema" if averaged else "generator", tensors), device)


def fill_generator(design: GeneratorDesign, tensors: dict[str, Tensor], device: torch.device) -> nn.Module:
    """A generator of this design with these weights, checked before, ready to make samples."""
    generator = outline_generator(design)
    # assigned: to_empty would import sympy, which takes longer than a thousand samples
    generator.load_state_dict({name: value.to(device, copy=True) for name, value in tensors.items()}, assign=True)
    return _laid_out(generator, design.sample_shape).eval()


def outline_generator(design: GeneratorDesign) -> nn.Module:
    """A generator of this design on the meta device: shapes without values. UsageError if it is too large."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        generator = _build(GENERATORS, design.section, design.sample_shape, design.conditions)
    _check_count("generator", generator)
    return generator


def check_parameters(config: Config) -> None:
    """UsageError for networks larger than this tool is for, before a byte of them is allocated."""
    for role, network in zip(
        ("generator", "discriminator"), _build_networks(config, torch.device("meta")), strict=True
    ):
        _check_count(role, network)


def _check_count(role: str, network: nn.Module) -> None:
    count = count_parameters(network)
    if count > MOST_PARAMETERS:
        raise UsageError(
            f"architecture.{role}: {count:,} parameters, at most {MOST_PARAMETERS:,} are allowed;"
            " choose a smaller width, depth, base_channels or image_size"
        )


def _build_networks(config: Config, device: torch.device) -> tuple[nn.Module, nn.Module]:
    shape = config.sample_shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(config.seed, "weights"))
        with torch.device("meta" if device.type == "meta" else "cpu"):
            generator = _build(GENERATORS, *design_of(config))
            pack = config.training.pack
            packed = (shape[0] * pack, *shape[1:])
            conditions = conditions_of(config.conditioning, pack)
            discriminator = _build(DISCRIMINATORS, config.architecture.discriminator, packed, conditions)
    return _laid_out(generator.to(device), shape), _laid_out(discriminator.to(device), shape)


def _laid_out(network: nn.Module, sample_shape: tuple[int, ...]) -> nn.Module:
    """The network with its convolutions' weights as they are fastest; what it computes differs in the last bits."""
    device = next(network.parameters()).device
    if len(sample_shape) == 3 and device.type in CHANNELS_LAST_ON:
        return network.to(memory_format=torch.channels_last)
    return network


def conditions_of(chosen: Any, pack: int = 1) -> Conditions:
    """How the networks take the condition of this section, D that of `pack` samples at once."""
    if chosen.name == "none":
        return UNCONDITIONAL
    size = len(chosen.classes or ()) or 1  # until the data are known
    return Conditions(chosen.name, pack * size, getattr(chosen, "embedding_dim", 0))


def _build(table: dict[str, Any], section: Any, sample_shape: tuple[int, ...], conditions: Conditions) -> nn.Module:
    settings = dataclasses.asdict(section)
    settings.pop("latent", None)  # see `latent_of`
    build = table[settings.pop("name")]
    if conditions == UNCONDITIONAL:
        return build(sample_shape, **settings)
    if "conditions" not in inspect.signature(build).parameters:
        raise UsageError(f"conditioning={conditions.way}: the network {section.name} takes no condition, use none")
    return build(sample_shape, conditions=conditions, **settings)


def state_tensors(state: TrainState) -> dict[str, Tensor]:
    """Every tensor of the state under a prefixed name."""
    named = {
        **_prefixed("generator", state.generator.state_dict()),
        **_prefixed("discriminator", state.discriminator.state_dict()),
        **_prefixed("generator_optimizer", optimizers.state_tensors(state.generator_optimizer, state.generator)),
        **_prefixed(
            "discriminator_optimizer", optimizers.state_tensors(state.discriminator_optimizer, state.discriminator)
        ),
    }
    if state.generator_ema is not None:
        named |= _prefixed("generator_ema", state.generator_ema.state_dict())
    for owner, kept in state.memory.items():
        named |= _prefixed(f"memory.{owner}", kept)
    return named


def load_network_tensors(state: TrainState, tensors: dict[str, Tensor]) -> None:
    """The weights of another run of the same networks, which has an average or none, as a start.

    Its average becomes ours: it is what that run's pictures were made by.
    """
    state.generator.load_state_dict(under("generator", tensors))
    state.discriminator.load_state_dict(under("discriminator", tensors))
    if state.generator_ema is not None:
        average = under("generator_ema", tensors)
        state.generator_ema.load_state_dict(average or under("generator", tensors))


def load_state_tensors(state: TrainState, tensors: dict[str, Tensor]) -> None:
    """Puts back what `state_tensors` gave and `checkpoint.load` checked."""
    state.generator.load_state_dict(under("generator", tensors))
    state.discriminator.load_state_dict(under("discriminator", tensors))
    if state.generator_ema is not None:
        state.generator_ema.load_state_dict(under("generator_ema", tensors))
    for owner in state.memory:
        kept = under(f"memory.{owner}", tensors)
        state.memory[owner] = {name: tensor.to(state.device, copy=True) for name, tensor in kept.items()}
    for role in ("generator", "discriminator"):
        memory = under(f"{role}_optimizer", tensors)
        optimizers.load_state_tensors(getattr(state, f"{role}_optimizer"), getattr(state, role), memory)


def expected_layout(config: Config, *, stepped: frozenset[str]) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """Name, shape and dtype of every tensor in a checkpoint of this config, without allocating one.

    `stepped` names the networks (`generator`, `discriminator`) whose optimizer has made a step and so has a memory.
    """
    check_parameters(config)
    state = build_state(config, torch.device("meta"))
    layout = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in state_tensors(state).items()}
    for owner in MEMORY.keys() & config.regularizer.keys() if "discriminator" in stepped else ():
        layout |= {f"memory.{owner}.{name}": ((), torch.float32) for name in MEMORY[owner]}
    for role in stepped:
        for name, parameter in getattr(state, role).named_parameters():
            if not parameter.requires_grad:
                continue  # a frozen layer
            for slot in optimizers.slots_of(**rule_of(config.optimizer, role)):
                shape = () if slot == "step" else tuple(parameter.shape)
                layout[f"{role}_optimizer.{slot}.{name}"] = (shape, torch.float32)
    return layout


def require_finite(state: TrainState, tensors: dict[str, Tensor]) -> None:
    """DivergedError if a tensor holds a number that is not finite: such numbers never reach a file."""
    bad = [name for name, tensor in tensors.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if bad:
        raise DivergedError(
            f"diverged: {bad[0]} is not finite at step {state.counters.step:,}; the last good checkpoint is kept"
        )


def count_parameters(network: nn.Module) -> int:
    return sum(math.prod(parameter.shape) for parameter in network.parameters())


def _prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Those whose names begin with the prefix, without it."""
    dotted = f"{prefix}."
    return {name.removeprefix(dotted): tensor for name, tensor in tensors.items() if name.startswith(dotted)}
