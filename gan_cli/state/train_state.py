"""The training state: everything that an update changes. A checkpoint of it is enough to resume a run exactly."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass as pydantic_dataclass
from torch import Tensor, nn
from torch.optim import Optimizer

from gan_cli.config.options.fields import SETTINGS, Bool, Integer, Number
from gan_cli.config.options.optimizers import optimizer_settings
from gan_cli.config.train_config import Config
from gan_cli.errors import DivergedError
from gan_cli.models.activation_checkpointing import checkpoint_activations
from gan_cli.models.build_networks import build_networks, check_parameters, freeze_layers, under
from gan_cli.objectives.auxiliary import AUXILIARY_STATE
from gan_cli.objectives.regularizers import PENALTY_STATE
from gan_cli.state import optimizers
from gan_cli.state.half_precision import LossScaler, build_scalers
from gan_cli.state.optimizers import build_optimizer

ROLES = ("generator", "discriminator")
Layout = dict[str, tuple[tuple[int, ...], torch.dtype]]  # shape and dtype of each tensor
AUGMENT_PROBABILITY = "memory.ada.probability"  # its name in a checkpoint
OPTIONAL_COUNTERS = ("images_offset", "new_layers", "growth_progress", "held_progress")  # left out of a file where 0


@pydantic_dataclass(kw_only=True, config=SETTINGS)
class Counters:
    """The progress of a run. The ranges are those of a valid file.

    Each time that the run was rolled back to a checkpoint, it continued with another seed. `images_offset` corrects the
    number of images seen after a change of the batch size. With `new_layers` the decay of the EMA starts small.
    """

    step: Integer = Field(ge=0, le=10**12, description="generator updates done")
    d_updates: Integer = Field(ge=0, le=10**15, description="discriminator updates done")
    total_steps: Integer | None = Field(ge=1, le=10**12, description="where the run ends; null before it is known")
    retries: Integer = Field(default=0, ge=0, le=10**6, description="times the run was rolled back")
    images_offset: Integer = Field(
        default=0, ge=-(10**21), le=10**21, description="images seen beyond d_updates batches"
    )
    new_layers: Bool = Field(default=False, description="whether layers were new to the weights that it began with")
    growth_progress: Number = Field(default=0.0, ge=0, le=1, description="share of the growth of networks that is done")
    held_progress: Number = Field(default=0.0, ge=0, le=1, description="progress while the new end is not known yet")

    @property
    def progress(self) -> float:
        """The share of the run's steps that are done, from 0 to 1.

        While a time budget is measured it is 0 in a new run, and in a resumed one what it was before the resume.
        """
        return self.held_progress if self.total_steps is None else min(self.step / self.total_steps, 1.0)

    def set_end(self, total_steps: int | None) -> None:
        """Sets where the run ends. If that is no longer known, the progress stays what it is until it is known."""
        held = self.progress if total_steps is None else 0.0
        self.total_steps, self.held_progress = total_steps, held

    def images_seen(self, batch_size: int) -> int:
        """Returns the number of real images that D was trained on, with repetitions."""
        return self.d_updates * batch_size + self.images_offset


class DiscriminatorStepOutput(NamedTuple):
    """The output of an update of D: loss without penalties, logits `[N]`, due penalties unweighted, learning rate."""

    loss: Tensor
    real_logits: Tensor
    fake_logits: Tensor
    penalties: dict[str, Tensor]
    learning_rate: float


class GeneratorStepOutput(NamedTuple):
    """The output of an update of G: its adversarial loss, the learning rate, and auxiliary losses unweighted."""

    loss: Tensor
    learning_rate: float
    auxiliary: dict[str, Tensor]


@dataclass
class TrainState:
    """The networks, optimizers and counters of a run, and what its updates keep for later ones."""

    generator: nn.Module
    discriminator: nn.Module
    generator_ema: nn.Module | None
    generator_optimizer: Optimizer
    discriminator_optimizer: Optimizer
    counters: Counters
    seconds: float = 0.0  # spent training so far
    budget_start: float = 0.0  # seconds at which a time budget began
    device: torch.device = dataclasses.field(default_factory=lambda: torch.device("cpu"))

    # by name, for the log: the value of each penalty when it was last due, since a lazy one is not in every update
    last_penalties: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    # float32 scalars that penalties keep from update to update, by the penalty's name
    penalty_state: dict[str, dict[str, Tensor]] = dataclasses.field(default_factory=dict)
    # float32 scalars that auxiliary losses keep, by the loss's name
    auxiliary_state: dict[str, dict[str, Tensor]] = dataclasses.field(default_factory=dict)
    augment_probability: Tensor | None = None  # None if it is not adaptive
    discriminator_output: DiscriminatorStepOutput | None = None  # of D's last update in this process
    generator_output: GeneratorStepOutput | None = None  # of G's
    fakes: Tensor | None = None  # of that update, with their autograd graph, if G's next update reuses them

    scalers: dict[str, LossScaler] = dataclasses.field(default_factory=dict)  # by role, if precision=fp16
    compiled: dict[str, Callable[..., Any]] = dataclasses.field(default_factory=dict)  # by role, if compile=true

    def compiled_or_plain(self, role: str) -> Callable[..., Any]:
        """Returns the compiled network if there is one, else the plain one, as penalties and samples always use it."""
        return self.compiled[role] if role in self.compiled else getattr(self, role)

    def keep_auxiliary(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Keeps the values of lazy auxiliary losses, and returns `values` with those of losses that were not due."""
        for name, kept in self.auxiliary_state.items():
            kept["value"] = values.get(name, kept["value"])
        return {name: kept["value"] for name, kept in self.auxiliary_state.items()} | values

    @property
    def sampler(self) -> nn.Module:
        """The generator that samples are drawn from: the EMA if there is one."""
        return self.generator if self.generator_ema is None else self.generator_ema


def build_state(config: Config, device: torch.device) -> TrainState:
    """Builds a new state. Its weights depend only on the config. On the meta device it has shapes, no values."""
    training, optimizer = config.training, config.optimizer
    generator, discriminator = build_networks(config, device)
    ema = copy.deepcopy(generator).requires_grad_(False).eval() if training.ema_decay > 0 else None
    freeze_layers(discriminator, training.freeze_discriminator_layers)
    for network in (generator, discriminator) if training.checkpoint_activations else ():
        checkpoint_activations(network)
    compiling = config.compile and device.type != "meta"
    to_compile = {"generator": generator, "discriminator": discriminator} if compiling else {}
    return TrainState(
        generator=generator,
        discriminator=discriminator,
        generator_ema=ema,
        generator_optimizer=build_optimizer(generator, **optimizer_settings(optimizer, "generator")),
        discriminator_optimizer=build_optimizer(discriminator, **optimizer_settings(optimizer, "discriminator")),
        counters=Counters(step=0, d_updates=0, total_steps=None),
        device=device,
        penalty_state={name: {} for name in config.regularizer.keys() & PENALTY_STATE.keys()},
        auxiliary_state={
            name: {key: torch.zeros((), device=device) for key in AUXILIARY_STATE[name]}
            for name in config.auxiliary.keys() & AUXILIARY_STATE.keys()
        },
        augment_probability=None if training.ada_target is None else torch.zeros((), device=device),
        scalers=build_scalers(config.precision, device),
        # one kernel for each shape; with dynamic shapes the kernels would depend on where a run was interrupted
        compiled={role: torch.compile(network, dynamic=False) for role, network in to_compile.items()},
    )


def state_tensors(state: TrainState) -> dict[str, Tensor]:
    """Returns every tensor of the state under a prefixed name."""
    named: dict[str, Tensor] = {}
    for role in ROLES:
        named |= _prefixed(role, getattr(state, role).state_dict())
    for role in ROLES:
        optimizer = getattr(state, f"{role}_optimizer")
        named |= _prefixed(f"{role}_optimizer", optimizers.state_tensors(optimizer, getattr(state, role)))
    if state.generator_ema is not None:
        named |= _prefixed("generator_ema", state.generator_ema.state_dict())
    for name, penalty_tensors in (*state.penalty_state.items(), *state.auxiliary_state.items()):
        named |= _prefixed(f"memory.{name}", penalty_tensors)
    for role, scaler in state.scalers.items():
        named |= _prefixed(f"{role}_scaler", scaler.tensors())
    if state.augment_probability is not None:
        named[AUGMENT_PROBABILITY] = state.augment_probability
    return named


def load_network_tensors(state: TrainState, tensors: dict[str, Tensor]) -> None:
    """Loads the weights of another run with the same networks. The EMA starts from its EMA, or else its generator."""
    state.generator.load_state_dict(under("generator", tensors))
    state.discriminator.load_state_dict(under("discriminator", tensors))
    if state.generator_ema is not None:
        ema = under("generator_ema", tensors)
        state.generator_ema.load_state_dict(ema or under("generator", tensors))


def load_state_tensors(state: TrainState, tensors: dict[str, Tensor]) -> None:
    """Loads what `state_tensors` returned and `checkpoint.load` checked."""
    load_network_tensors(state, tensors)
    for kept in (state.penalty_state, state.auxiliary_state):
        for name in kept:
            saved = under(f"memory.{name}", tensors)
            kept[name] = {key: tensor.to(state.device, copy=True) for key, tensor in saved.items()}
    if state.augment_probability is not None:
        state.augment_probability = tensors[AUGMENT_PROBABILITY].to(state.device, copy=True)
    for role, scaler in state.scalers.items():
        scaler.load(under(f"{role}_scaler", tensors))
    for role in ROLES:
        saved = under(f"{role}_optimizer", tensors)
        optimizers.load_state_tensors(getattr(state, f"{role}_optimizer"), getattr(state, role), saved)


def expected_layout(config: Config, *, stepped: frozenset[str]) -> Layout:
    """Returns name, shape and dtype of every tensor in a checkpoint of this config, without allocating memory.

    `stepped` names the networks (`generator`, `discriminator`) whose optimizer has made a step and so has a state.
    """
    check_parameters(config)
    state = build_state(config, torch.device("meta"))
    layout = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in state_tensors(state).items()}
    for name in state.penalty_state if "discriminator" in stepped else ():
        layout |= {f"memory.{name}.{key}": ((), torch.float32) for key in PENALTY_STATE[name]}
    for role in stepped:
        for name, parameter in getattr(state, role).named_parameters():
            if not parameter.requires_grad:
                continue  # a frozen layer
            for slot in optimizers.slots_of(**optimizer_settings(config.optimizer, role)):
                shape = () if slot == "step" else tuple(parameter.shape)
                layout[f"{role}_optimizer.{slot}.{name}"] = (shape, torch.float32)
    return layout


def require_finite(state: TrainState, values: Mapping[str, Tensor | float]) -> None:
    """Raises DivergedError if a value is NaN or infinite. Called before values are written to a file."""
    bad = [name for name, value in values.items() if not torch.as_tensor(value).isfinite().all()]
    if bad:
        raise DivergedError(
            f"diverged: {bad[0]} is not finite at step {state.counters.step:,}; the last good checkpoint is kept"
        )


def _prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}
