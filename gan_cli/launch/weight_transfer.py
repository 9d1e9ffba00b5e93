"""Transfers weights from another run's networks to a new run: layers by name and shape, classes by name.

Layers for grey images are repeated for each colour channel.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gan_cli.config.image_sizes import downsampling_levels, padded_size
from gan_cli.config.train_config import Config
from gan_cli.errors import UsageError, first_few, one_line
from gan_cli.models.build_networks import under
from gan_cli.models.layers import Discriminator
from gan_cli.models.mlp import MLPDiscriminator, MLPGenerator
from gan_cli.models.resnet import ResNetDiscriminator
from gan_cli.state.checkpoint import Checkpoint
from gan_cli.state.train_state import TrainState, build_state, load_network_tensors

ROLES = ("generator", "discriminator")
# The dimension of a weight that counts classes, in layers with one input or output for each class.
CLASS_DIMENSIONS = {
    r"(.*\.)?embed\.weight": 1,
    r".*\.(scale|shift)\.weight": 1,
    r"classes\.(weight|bias|parametrizations\.weight\.original)": 0,
}
MOST_NAMED = 6  # layers or classes in a line


class Transfer(NamedTuple):
    """The layers of a network with weights of another run, its new layers, and the transferred share of its weights."""

    taken: list[str]
    new: list[str]
    share: float

    def describe(self) -> str:
        """As `12 of 14 layers (93% of its weights; new: ...)`."""
        if not self.new:
            return f"all {len(self.taken)} layers"
        return (
            f"{len(self.taken)} of {len(self.taken) + len(self.new)} layers ({self.share:.0%} of its weights; new:"
            f" {first_few(self.new, MOST_NAMED)})"
        )


def transfer_weights(state: TrainState, config: Config, base: Checkpoint) -> dict[str, Transfer]:
    """Copies the weights of `base` that fit into the networks of a new run; returns by role which those are.

    The generator's average takes its weights from the average of `base`. UsageError if nothing fits, or if a layer
    that is to stay frozen has no weights in `base`.
    """
    old = build_state(base.config, torch.device("meta"))
    fitting = {role: _fitting_tensors(getattr(state, role), getattr(old, role), role, config, base) for role in ROLES}
    transfers = {role: _transfer_of(getattr(state, role), tensors) for role, tensors in fitting.items()}
    if not any(each.taken for each in transfers.values()):
        raise UsageError(f"init_from={config.init_from}: none of its layers fits the networks of this run")
    _check_frozen(state.discriminator, transfers["discriminator"], config)
    if config.classes == base.config.classes and all(_same(getattr(state, role), getattr(old, role)) for role in ROLES):
        load_network_tensors(state, base.tensors)
        return transfers
    state.counters.new_layers = any(each.new for each in transfers.values())
    if state.generator_ema is not None:
        average = _fitting_tensors(state.generator, old.generator, "generator_ema", config, base)
        _load(state.generator_ema, average or fitting["generator"])
    for role in ROLES:
        _load(getattr(state, role), fitting[role])
    return transfers


def _same(network: nn.Module, old: nn.Module) -> bool:
    """Whether two networks have the same tensors, by name and shape."""
    new_shapes, old_shapes = ({name: t.shape for name, t in each.state_dict().items()} for each in (network, old))
    return new_shapes == old_shapes


def _load(network: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Loads these tensors and keeps the network's other ones."""
    network.load_state_dict({**network.state_dict(), **tensors})


def _fitting_tensors(
    network: nn.Module, old: nn.Module, role: str, config: Config, base: Checkpoint
) -> dict[str, Tensor]:
    """The tensors of `base` that fit the network, by the network's names; of each layer all tensors or none."""
    available = dict(_renamed(under(role, base.tensors), _extra_layers(network, old) if "gen" in role else 0))
    packed = max(config.training.pack, base.config.training.pack) > 1 and role == "discriminator"
    classes = (base.config.classes, config.classes)
    was_grey = base.config.sample_shape[0] == 1 < len(base.config.sample_shape)
    colours = config.sample_shape[0] if was_grey and config.sample_shape[0] > 1 and not packed else 0
    excluded = _position_dependent_layers(network, config, base.config)
    found: dict[str, Tensor] = {}
    for layer, tensors in _by_layer(network.state_dict()).items():
        if layer.startswith(excluded):
            continue
        fitting = {}
        for name, value in tensors.items():
            given = available.get(_unconditional_name(name))
            if given is not None and colours and given.shape != value.shape:
                given = _to_colour(given, value.shape, role, colours)
            given = None if given is None else _fit_classes(name, value, given, *classes, packed=packed)
            if given is not None:
                fitting[name] = given
        if fitting.keys() == tensors.keys():
            found |= fitting
    return found


def _position_dependent_layers(network: nn.Module, config: Config, old: Config) -> tuple[str, ...]:
    """Name prefixes of layers that do not fit because the image sizes differ; empty if they do not.

    These layers have separate weights for each position of the image. Their shapes may be equal by chance.
    """
    (*_, height, width), (*_, old_height, old_width) = (
        each.sample_shape if len(each.sample_shape) > 2 else (0, 0) for each in (config, old)
    )
    if (height, width) == (old_height, old_width):
        return ()
    if isinstance(network, MLPGenerator | MLPDiscriminator):
        return ("output",) if isinstance(network, MLPGenerator) else ("hidden.0",)
    bases = [downsampling_levels(*padded_size(*sides))[:2] for sides in ((height, width), (old_height, old_width))]
    if bases[0] == bases[1]:
        return ()
    pooled = isinstance(network, ResNetDiscriminator)
    return () if pooled else ("score", "classes", "beside") if isinstance(network, Discriminator) else ("project",)


def _to_colour(given: Tensor, shape: torch.Size, role: str, colours: int) -> Tensor:
    """Repeats a weight for grey images along the channel dimension, so that it has `shape`; unchanged if none fits.

    G then generates every channel as it generated grey. D's weights are divided by the number of channels, so that its
    output for a grey image in colours is the same.
    """
    for dim in (1,) if role == "discriminator" else (0, 1):
        counts = [colours if each == dim else 1 for each in range(given.ndim)]
        if dim < given.ndim and tuple(size * n for size, n in zip(given.shape, counts, strict=True)) == tuple(shape):
            return given.repeat(counts) / (colours if role == "discriminator" else 1)
    return given


def _fit_classes(
    name: str, value: Tensor, given: Tensor, old: Sequence[str], new: Sequence[str], *, packed: bool
) -> Tensor | None:
    """Returns `given` if it has the shape of `value`; None if it cannot be used.

    In layers with weights for each class it returns `value` with the weights of those classes that are in `old` as
    well as in `new`.
    """
    dim = next((dim for pattern, dim in CLASS_DIMENSIONS.items() if re.fullmatch(pattern, name)), None)
    if old == new or not new or (dim is None and not name.startswith("classes.")):
        return given if given.shape == value.shape else None
    common = [each for each in new if each in old]
    if dim is None and sorted(old) == sorted(new) and given.shape == value.shape:  # only their order differs
        if name.endswith("._v"):  # spectral norm's input vector; `_u`, the output vector, has a value for each class
            return given
        dim = 0
    if dim is None or packed or not common:
        return None
    mixed, given = value.detach().cpu().clone().transpose(0, dim), given.transpose(0, dim)
    if mixed.shape[1:] != given.shape[1:]:
        return None
    mixed[[new.index(each) for each in common]] = given[[old.index(each) for each in common]]
    return mixed.transpose(0, dim).contiguous()


def _extra_layers(network: nn.Module, old: nn.Module) -> int:
    """How many entries more the network's `layers` have, negative if fewer.

    A generator of a larger size has its additional layers first; the last ones, next to the pixels, correspond.
    """
    lists = [getattr(each, "layers", None) for each in (network, old)]
    return len(lists[0]) - len(lists[1]) if all(isinstance(each, nn.Sequential) for each in lists) else 0  # type: ignore[arg-type]


def _renamed(tensors: dict[str, Tensor], offset: int) -> Iterator[tuple[str, Tensor]]:
    """The tensors by their unconditional names, with `offset` added to the index of those in `layers`."""
    for name, value in tensors.items():
        head, *rest = name.split(".")
        if head == "layers" and rest[0].isdecimal():
            number = int(rest[0]) + offset
            if number < 0:
                continue
            rest[0] = str(number)
        yield _unconditional_name(".".join([head, *rest])), value


def _unconditional_name(name: str) -> str:
    """The name that the tensor has in a network without conditional normalization."""
    return name.replace(".normalization.", ".")


def _by_layer(tensors: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Groups tensors by the layer that they belong to."""
    layers: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        layers.setdefault(_layer(name), {})[name] = value
    return layers


def _layer(name: str) -> str:
    """The name of the layer that a tensor belongs to, from the tensor's name."""
    inner = name.partition(".parametrizations.")
    return inner[0] if inner[1] else name.rpartition(".")[0] or name


def _transfer_of(network: nn.Module, found: dict[str, Tensor]) -> Transfer:
    """Says which layers of the network have all their tensors in `found`."""
    layers = _by_layer(network.state_dict())
    taken = [layer for layer, tensors in layers.items() if tensors.keys() <= found.keys()]
    new = [layer for layer in layers if layer not in taken]
    counts = {layer: sum(value.numel() for value in tensors.values()) for layer, tensors in layers.items()}
    return Transfer(taken, new, sum(counts[layer] for layer in taken) / max(1, sum(counts.values())))


def _check_frozen(discriminator: nn.Module, transfer: Transfer, config: Config) -> None:
    """UsageError if a frozen layer of the discriminator is new: it would keep random weights."""
    frozen = {_layer(name) for name, parameter in discriminator.named_parameters() if not parameter.requires_grad}
    new = [layer for layer in transfer.new if layer in frozen]
    if new:
        raise UsageError(
            f"training.freeze_discriminator_layers={config.training.freeze_discriminator_layers}:"
            f" {one_line(new[0], 60)} is new here and would stay at its random weights; leave it out"
        )


def describe_transfers(transfers: dict[str, Transfer]) -> str:
    """A line on the transferred layers of each network; empty if all layers were transferred."""
    if not any(each.new for each in transfers.values()):
        return ""
    return "taken over: " + ", ".join(f"{role} {each.describe()}" for role, each in transfers.items())


def compare_classes(old: Sequence[str], new: Sequence[str]) -> dict[str, list[str]]:
    """The classes that the old run knows, those that are new, and those of the old run that are left out."""
    return {
        "known": [each for each in new if each in old],
        "new": [each for each in new if each not in old],
        "left out": [each for each in old if each not in new],
    }


def describe_classes(old: Sequence[str], new: Sequence[str]) -> str:
    """A line on how the classes differ from those of the old run; empty if they are the same."""
    if {*old} == {*new}:
        return ""
    parts = [
        f"{name} {first_few([one_line(word, 40) for word in each], MOST_NAMED)}"
        for name, each in compare_classes(old, new).items()
        if each
    ]
    return f"classes of init_from: {'; '.join(parts)}"
