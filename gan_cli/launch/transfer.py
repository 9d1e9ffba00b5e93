"""What of another run's networks a new run takes over: layer by layer, by name and shape, class by class.

Layers for grey pictures are repeated for each colour.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gan_cli.config.image_sizes import levels_of, padded
from gan_cli.config.train_config import Config
from gan_cli.errors import UsageError, few, one_line
from gan_cli.models.build_networks import under
from gan_cli.models.layers import Discriminator
from gan_cli.models.mlp import MLPDiscriminator, MLPGenerator
from gan_cli.models.resnet import ResNetDiscriminator
from gan_cli.state.checkpoint import Checkpoint
from gan_cli.state.train_state import TrainState, build_state, load_network_tensors

ROLES = ("generator", "discriminator")
# Along which side of a weight the classes lie, in layers that take or give one value for each.
CLASS_SIDES = {
    r"(.*\.)?embed\.weight": 1,
    r".*\.(scale|shift)\.weight": 1,
    r"classes\.(weight|bias|parametrizations\.weight\.original)": 0,
}
MOST_NAMED = 6  # new layers in a line


class Taken(NamedTuple):
    """The layers of a network that have another run's weights, those that are new, and the share of its weights."""

    taken: list[str]
    new: list[str]
    share: float

    def describe(self) -> str:
        if not self.new:
            return f"all {len(self.taken)} layers"
        return (
            f"{len(self.taken)} of {len(self.taken) + len(self.new)} layers ({self.share:.0%} of its weights; new:"
            f" {few(self.new, MOST_NAMED)})"
        )


def take_over(state: TrainState, config: Config, base: Checkpoint) -> dict[str, Taken]:
    """Gives the networks of a new run the weights of `base` that fit; by role, which those are.

    The state's average gets what the average of `base` has. UsageError if nothing fits, or a layer that is to keep its
    weights is new.
    """
    old = build_state(base.config, torch.device("meta"))
    found = {role: _fitting(getattr(state, role), getattr(old, role), role, config, base) for role in ROLES}
    taken = {role: _described(getattr(state, role), fitting) for role, fitting in found.items()}
    if not any(each.taken for each in taken.values()):
        raise UsageError(f"init_from={config.init_from}: nothing of its networks fits those of this run")
    _check_frozen(state.discriminator, taken["discriminator"], config)
    if config.classes == base.config.classes and all(_same(getattr(state, role), getattr(old, role)) for role in ROLES):
        load_network_tensors(state, base.tensors)
        return taken
    state.counters.new_layers = any(each.new for each in taken.values())
    if state.generator_ema is not None:
        average = _fitting(state.generator, old.generator, "generator_ema", config, base)
        _load(state.generator_ema, average or found["generator"])
    for role in ROLES:
        _load(getattr(state, role), found[role])
    return taken


def _same(network: nn.Module, old: nn.Module) -> bool:
    """Whether two networks have the same tensors, by name and shape."""
    mine, theirs = ({name: value.shape for name, value in each.state_dict().items()} for each in (network, old))
    return mine == theirs


def _load(network: nn.Module, tensors: dict[str, Tensor]) -> None:
    network.load_state_dict({**network.state_dict(), **tensors})


def _fitting(network: nn.Module, old: nn.Module, role: str, config: Config, base: Checkpoint) -> dict[str, Tensor]:
    """The tensors of a network that another has for it, by the network's own names; a layer's all or none."""
    theirs = dict(_renamed(under(role, base.tensors), _more_layers(network, old) if "gen" in role else 0))
    packed = max(config.training.pack, base.config.training.pack) > 1 and role == "discriminator"
    classes = (base.config.classes, config.classes)
    was_grey = base.config.sample_shape[0] == 1 < len(base.config.sample_shape)
    colours = config.sample_shape[0] if was_grey and config.sample_shape[0] > 1 and not packed else 0
    otherwise = _laid_out_otherwise(network, config, base.config)
    found: dict[str, Tensor] = {}
    for layer, tensors in _by_layer(network.state_dict()).items():
        if layer.startswith(otherwise):
            continue
        fitting = {}
        for name, value in tensors.items():
            given = theirs.get(_plain(name))
            if given is not None and colours and given.shape != value.shape:
                given = _coloured(given, value.shape, role, colours)
            given = None if given is None else _fitted(name, value, given, *classes, packed=packed)
            if given is not None:
                fitting[name] = given
        if fitting.keys() == tensors.keys():
            found |= fitting
    return found


def _laid_out_otherwise(network: nn.Module, config: Config, old: Config) -> tuple[str, ...]:
    """The layers in which each place of an image has weights of its own, and so other ones where sizes differ.

    Their shapes may be equal by chance.
    """
    (*_, height, width), (*_, old_height, old_width) = (
        each.sample_shape if len(each.sample_shape) > 2 else (0, 0) for each in (config, old)
    )
    if (height, width) == (old_height, old_width):
        return ()
    if isinstance(network, MLPGenerator | MLPDiscriminator):
        return ("output",) if isinstance(network, MLPGenerator) else ("hidden.0",)
    bases = [levels_of(*padded(*sides))[:2] for sides in ((height, width), (old_height, old_width))]
    if bases[0] == bases[1]:
        return ()
    pooled = isinstance(network, ResNetDiscriminator)
    return () if pooled else ("score", "classes", "beside") if isinstance(network, Discriminator) else ("project",)


def _coloured(given: Tensor, shape: torch.Size, role: str, colours: int) -> Tensor:
    """A weight for grey pictures as one for so many colours: each is made as grey was, and judged as a part of it."""
    for side in (1,) if role == "discriminator" else (0, 1):
        counts = [colours if place == side else 1 for place in range(given.ndim)]
        if side < given.ndim and tuple(size * n for size, n in zip(given.shape, counts, strict=True)) == tuple(shape):
            return given.repeat(counts) / (colours if role == "discriminator" else 1)
    return given


def _fitted(
    name: str, value: Tensor, given: Tensor, had: Sequence[str], has: Sequence[str], *, packed: bool
) -> Tensor | None:
    """`given` if it has the shape of `value`; of layers with a part for each class those of classes in both.

    None if there is nothing of use.
    """
    side = next((side for pattern, side in CLASS_SIDES.items() if re.fullmatch(pattern, name)), None)
    if had == has or not has or (side is None and not name.startswith("classes.")):
        return given if given.shape == value.shape else None
    common = [each for each in has if each in had]
    if side is None and sorted(had) == sorted(has) and given.shape == value.shape:  # only the order is another
        if name.endswith("._v"):  # of a weight's norm, as _u, which has a value for each class
            return given
        side = 0
    if side is None or packed or not common:
        return None
    mixed, given = value.detach().cpu().clone().transpose(0, side), given.transpose(0, side)
    if mixed.shape[1:] != given.shape[1:]:
        return None
    mixed[[has.index(each) for each in common]] = given[[had.index(each) for each in common]]
    return mixed.transpose(0, side).contiguous()


def _more_layers(network: nn.Module, old: nn.Module) -> int:
    """How many more a generator's `layers` are: it has them before the others, which make the same pixels."""
    lists = [getattr(each, "layers", None) for each in (network, old)]
    return len(lists[0]) - len(lists[1]) if all(isinstance(each, nn.Sequential) for each in lists) else 0  # type: ignore[arg-type]


def _renamed(tensors: dict[str, Tensor], more: int) -> Iterator[tuple[str, Tensor]]:
    """The tensors by plain names, those of `layers` counted on by so many."""
    for name, value in tensors.items():
        head, *rest = name.split(".")
        if head == "layers" and rest[0].isdecimal():
            number = int(rest[0]) + more
            if number < 0:
                continue
            rest[0] = str(number)
        yield _plain(".".join([head, *rest])), value


def _plain(name: str) -> str:
    """The name as it is where no condition enters the normalization."""
    return name.replace(".normalization.", ".")


def _by_layer(tensors: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    layers: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        layers.setdefault(_layer(name), {})[name] = value
    return layers


def _layer(name: str) -> str:
    """The layer that a tensor belongs to."""
    inner = name.partition(".parametrizations.")
    return inner[0] if inner[1] else name.rpartition(".")[0] or name


def _described(network: nn.Module, found: dict[str, Tensor]) -> Taken:
    layers = _by_layer(network.state_dict())
    taken = [layer for layer, tensors in layers.items() if tensors.keys() <= found.keys()]
    new = [layer for layer in layers if layer not in taken]
    counts = {layer: sum(value.numel() for value in tensors.values()) for layer, tensors in layers.items()}
    return Taken(taken, new, sum(counts[layer] for layer in taken) / max(1, sum(counts.values())))


def _check_frozen(discriminator: nn.Module, taken: Taken, config: Config) -> None:
    frozen = {_layer(name) for name, parameter in discriminator.named_parameters() if not parameter.requires_grad}
    new = [layer for layer in taken.new if layer in frozen]
    if new:
        raise UsageError(
            f"training.freeze_discriminator_layers={config.training.freeze_discriminator_layers}:"
            f" {one_line(new[0], 60)} is new here and has nothing to keep; leave it out"
        )


def describe(taken: dict[str, Taken]) -> str:
    """A line on what was taken over; nothing if that is all."""
    if not any(each.new for each in taken.values()):
        return ""
    return "taken over: " + ", ".join(f"{role} {each.describe()}" for role, each in taken.items())


def of_classes(had: Sequence[str], has: Sequence[str]) -> dict[str, list[str]]:
    """Which classes of a run are known to the one that it starts from, which are new, and which are left out."""
    return {
        "known": [each for each in has if each in had],
        "new": [each for each in has if each not in had],
        "left out": [each for each in had if each not in has],
    }


def describe_classes(had: Sequence[str], has: Sequence[str]) -> str:
    """A line on classes that differ from those of the run that it starts from; nothing if they are the same."""
    if {*had} == {*has}:
        return ""
    parts = [
        f"{name} {few([one_line(word, 40) for word in each], MOST_NAMED)}"
        for name, each in of_classes(had, has).items()
        if each
    ]
    return f"classes of init_from: {'; '.join(parts)}"
