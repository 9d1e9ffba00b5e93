"""Transfers weights from another run's networks to the networks of a new run.

Layers correspond if they have the same name and shape, and classes if they have the same name. Weights for grey images
are repeated for each colour channel.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gan_cli.config.options.image_sizes import downsampling_levels, padded_size
from gan_cli.config.train_config import Config, wrong_value
from gan_cli.errors import UsageError, first_few, one_line
from gan_cli.models.build_networks import CompletedGenerator, under
from gan_cli.models.equalized import ConstantScale
from gan_cli.models.growing import GrowingNetwork
from gan_cli.models.layers import Discriminator
from gan_cli.models.networks.edsr import EDSRGenerator
from gan_cli.models.networks.fastgan import FastGANGenerator
from gan_cli.models.networks.mlp import MLPDiscriminator, MLPGenerator
from gan_cli.models.networks.pggan import PGGANDiscriminator, PGGANGenerator
from gan_cli.models.networks.resnet import ResNetDiscriminator
from gan_cli.models.networks.unet import UNetGenerator
from gan_cli.state.checkpoint import Checkpoint
from gan_cli.state.growth import set_progress
from gan_cli.state.train_state import ROLES, TrainState, build_state

# For layers with one input or output for each class, the index of the weight's dimension that counts the classes.
CLASS_DIMENSIONS = {
    r"(.*\.)?embed\.weight": 1,
    r".*\.(scale|shift)\.weight": 1,
    r"(.*\.)?classes\.(weight|bias|parametrizations\.weight\.original)": 0,
}
# Lists of layers, the coarsest first: for images of several sizes the last ones correspond, which are next to pixels.
LISTS: dict[type[nn.Module], tuple[str, ...]] = {
    FastGANGenerator: ("blocks", "gates"),
    PGGANGenerator: ("blocks", "to_image"),
    PGGANDiscriminator: ("blocks", "from_image"),
    Discriminator: (),  # the others' first layers are the finest
    nn.Module: ("layers", "to_image"),
}
LAYERS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
WITH_INPUTS = r"(.*\.)?weight(\.original|\.0\._v)?"  # tensors of a layer with values for each of its inputs
MOST_NAMED = 6  # limit on the layers or classes named in one line


class Transfer(NamedTuple):
    """The layers of a network with weights of the other run, its new layers, and the share of weights taken, 0 to 1."""

    taken: list[str]
    new: list[str]
    share: float

    def describe(self) -> str:
        """Returns a description, for example `12 of 14 layers (93% of its weights; new: ...)`."""
        if not self.new:
            return f"all {len(self.taken)} layers"
        return (
            f"{len(self.taken)} of {len(self.taken) + len(self.new)} layers ({self.share:.0%} of its weights; new:"
            f" {first_few(self.new, MOST_NAMED)})"
        )


def transfer_weights(state: TrainState, config: Config, base: Checkpoint) -> dict[str, Transfer]:
    """Copies the fitting weights of the checkpoint `base` to the networks of a new run.

    Networks that grow go on from the growth of `base`, or from the coarsest level if the image size differs.
    Returns, for "generator" and "discriminator", what was transferred. The moving average of the generator gets its
    weights from the moving average in `base`, if that has fitting weights. Raises UsageError if no layer fits, or if a
    frozen layer of the discriminator gets no weights from `base`.
    """
    old = build_state(base.config, torch.device("meta"))
    fitting = {role: _fitting_tensors(getattr(state, role), getattr(old, role), role, config, base) for role in ROLES}
    transfers = {role: _transfer_of(getattr(state, role), tensors) for role, tensors in fitting.items()}
    if not any(each.taken for each in transfers.values()):
        raise UsageError(f"init_from={config.init_from}: none of its layers fits the networks of this run")
    _check_frozen(state.discriminator, transfers["discriminator"], config)
    state.counters.new_layers = any(each.new for each in transfers.values())
    if state.generator_ema is not None:
        average = _fitting_tensors(state.generator, old.generator, "generator_ema", config, base)
        state.generator_ema.load_state_dict(average or fitting["generator"], strict=False)
    for role in ROLES:
        getattr(state, role).load_state_dict(fitting[role], strict=False)
    same_levels = config.sample_shape[1:] == base.config.sample_shape[1:]
    set_progress(state, base.counters.growth_progress if same_levels else 0.0)
    return transfers


def _fitting_tensors(
    network: nn.Module, old: nn.Module, role: str, config: Config, base: Checkpoint
) -> dict[str, Tensor]:
    """Returns the tensors of the checkpoint `base` that fit the network, by their names in the network.

    Of each layer, either all tensors are returned or none. `old` is the network of `base`, and `role` is its name in
    the checkpoint: "generator", "discriminator" or "generator_ema". Whether the task completes the output of either
    generator makes no difference.
    """
    (network, prefix), (old, old_prefix) = _within_task(network), _within_task(old)
    given_tensors = under(f"{role}.{old_prefix}".rstrip("."), base.tensors)
    available = _renamed(given_tensors, _extra_layers(network, old))
    if isinstance(network, PGGANGenerator):  # its first block is the only one that does not enlarge
        available |= {name: value for name, value in given_tensors.items() if name.startswith("blocks.0.")}
    packed = max(config.training.pack, base.config.training.pack) > 1 and role == "discriminator"
    classes = (base.config.classes, config.classes)
    was_grey = base.config.sample_shape[0] == 1 < len(base.config.sample_shape)
    colours = config.sample_shape[0] if was_grey and config.sample_shape[0] > 1 and not packed else 0
    excluded = _position_dependent_layers(network, config, base.config)
    tags = [each.conditioning.name == "tags" and role != "discriminator" for each in (base.config, config)]
    tagged = next(name for name, module in network.named_modules() if isinstance(module, LAYERS)) if any(tags) else ""
    if not all(tags) and tagged:
        excluded += (tagged,)  # its inputs have another meaning, though there may be as many
    found: dict[str, Tensor] = {}
    for layer, tensors in _layers_of(network).items():
        if layer.startswith(excluded):
            continue
        fitting = {}
        for name, value in tensors.items():
            given = available.get(_unconditional_name(name))
            if given is not None and colours and given.shape != value.shape:
                given = _to_colour(given, value.shape, role, colours) * _scale_ratio(network, old, layer)
            if given is not None and layer == tagged:
                given = _fit_tags(network, old, name, value, given, *classes)
            elif given is not None:
                given = _fit_classes(name, value, given, *classes, packed=packed)
            if given is not None:
                fitting[name] = given
        if fitting.keys() == tensors.keys():
            found |= {f"{prefix}{name}": value for name, value in fitting.items()}
    return found


def _within_task(network: nn.Module) -> tuple[nn.Module, str]:
    """Returns the network whose output a task completes, and what its tensors' names begin with; else the network."""
    return (network.network, "network.") if isinstance(network, CompletedGenerator) else (network, "")


def _position_dependent_layers(network: nn.Module, config: Config, old: Config) -> tuple[str, ...]:
    """Returns the name prefixes of layers that do not fit because the two configs have different image sizes.

    These layers have separate weights for each position in the image; their shapes may be equal by chance.
    """
    sides, old_sides = config.sample_shape[1:], old.sample_shape[1:]
    if sides == old_sides:
        return ()
    if isinstance(network, MLPGenerator | MLPDiscriminator):
        return ("output",) if isinstance(network, MLPGenerator) else ("hidden.0",)
    base, old_base = (downsampling_levels(*padded_size(*each))[:2] for each in (sides, old_sides))
    if base == old_base or isinstance(network, ResNetDiscriminator | UNetGenerator | EDSRGenerator):  # equal weights
        return ()
    return ("score", "classes", "beside", "project") if isinstance(network, Discriminator) else ("project",)


def _to_colour(given: Tensor, shape: torch.Size, role: str, colours: int) -> Tensor:
    """Returns a weight for grey images, repeated along the channels to have `shape`; unchanged if it cannot be.

    The generator then gives every colour the values of grey. The discriminator's weights are divided by the number of
    channels, so that its output for a grey image with several channels stays the same.
    """
    for dim in (1,) if role == "discriminator" else (0, 1):
        counts = [colours if each == dim else 1 for each in range(given.ndim)]
        if dim < given.ndim and tuple(size * n for size, n in zip(given.shape, counts, strict=True)) == tuple(shape):
            return given.repeat(counts) / (colours if role == "discriminator" else 1)
    return given


def _scale_ratio(network: nn.Module, old: nn.Module, layer: str) -> float:
    """Returns the scale of the stored weight of a layer in the old network over that in the new one.

    An equalized layer with more inputs multiplies its weight by less; without such a scale the result is 1.
    """
    name = f"{layer}.parametrizations.weight.0"
    scales = [dict(each.named_modules()).get(name) for each in (old, network)]
    found = [each.factor for each in scales if isinstance(each, ConstantScale)]
    return found[0] / found[1] if len(found) == 2 else 1.0


def _fit_classes(
    name: str, value: Tensor, given: Tensor, old: Sequence[str], new: Sequence[str], *, packed: bool
) -> Tensor | None:
    """Returns the values for the tensor `value` of the new network, or None if the old tensor `given` does not fit.

    That is `given` if the shapes are equal. In layers with weights for each class it is `value`, in which the classes
    of both runs have the weights of `given`. `packed` is True if a run packs several samples for the discriminator.
    """
    dim = next((dim for pattern, dim in CLASS_DIMENSIONS.items() if re.fullmatch(pattern, name)), None)
    if old == new or not new or (dim is None and not name.startswith("classes.")):
        return given if given.shape == value.shape else None
    common = [each for each in new if each in old]
    if dim is None and sorted(old) == sorted(new) and given.shape == value.shape:  # only the class order differs
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


def _fit_tags(
    network: nn.Module,
    old_network: nn.Module,
    name: str,
    value: Tensor,
    given: Tensor,
    old: Sequence[str],
    new: Sequence[str],
) -> Tensor | None:
    """Returns the values for the tensor `value` of the layer that takes the latent and the tags, or None.

    Its last inputs are the tags, one for each class: those of both runs have the weights of `given`.
    """
    if old == new or not re.fullmatch(WITH_INPUTS, name):
        return given if given.shape == value.shape else None
    layer = network.get_submodule(_layer(name))
    count = getattr(layer, "in_features", getattr(layer, "in_channels", 0))
    others, dim = count - len(new), 1 if value.ndim > 1 and not isinstance(layer, nn.ConvTranspose2d) else 0
    inputs = value.detach().cpu().clone().transpose(0, dim).unflatten(0, (count, -1))  # of `_v` all that of an input
    parts = value.shape[dim] // count
    given = given.transpose(0, dim) * _scale_ratio(network, old_network, _layer(name))
    if given.shape[0] != (others + len(old)) * parts or given.shape[1:] != inputs.shape[2:]:
        return None
    given = given.unflatten(0, (-1, parts))
    inputs[:others] = given[:others]
    common = [each for each in new if each in old]
    inputs[[others + new.index(each) for each in common]] = given[[others + old.index(each) for each in common]]
    return inputs.flatten(0, 1).transpose(0, dim).contiguous()


def _extra_layers(network: nn.Module, old: nn.Module) -> dict[str, int]:
    """Returns how many more layers the network has in each list of LISTS than the old one."""
    names = next(names for kind, names in LISTS.items() if isinstance(network, kind))
    lists = {name: [getattr(each, name, None) for each in (network, old)] for name in names}
    return {
        name: len(both[0]) - len(both[1])  # type: ignore[arg-type]
        for name, both in lists.items()
        if all(isinstance(each, nn.Sequential | nn.ModuleList) for each in both)
    }


def _renamed(tensors: dict[str, Tensor], offsets: dict[str, int]) -> dict[str, Tensor]:
    """Returns tensors by their names in an unconditional network with other indices: larger by `offsets` of a list."""
    shifted = {
        re.sub(r"^(\w+)\.(\d+)", lambda match: f"{match[1]}.{int(match[2]) + offsets.get(match[1], 0)}", name): value
        for name, value in tensors.items()
    }
    return {_unconditional_name(name): value for name, value in shifted.items()}


def _unconditional_name(name: str) -> str:
    """Returns the name that the tensor has in a network without conditional normalization."""
    return name.replace(".normalization.", ".")


def _layers_of(network: nn.Module) -> dict[str, dict[str, Tensor]]:
    """Returns the tensors of a network by the name of their layer, without its growth, which is not learned."""
    growing = [name for name, module in network.named_modules() if isinstance(module, GrowingNetwork)]
    layers: dict[str, dict[str, Tensor]] = {}
    for name, value in network.state_dict().items():
        if name not in [f"{each}.growth".lstrip(".") for each in growing]:
            layers.setdefault(_layer(name), {})[name] = value
    return layers


def _layer(name: str) -> str:
    """Returns the name of the layer to which the tensor of this name belongs."""
    layer, parametrized, _ = name.partition(".parametrizations.")
    return layer if parametrized else name.rpartition(".")[0] or name


def _transfer_of(network: nn.Module, found: dict[str, Tensor]) -> Transfer:
    """Returns which layers of the network have all their tensors in `found`, and their share of the weights."""
    layers = _layers_of(network)
    taken = [layer for layer, tensors in layers.items() if tensors.keys() <= found.keys()]
    new = [layer for layer in layers if layer not in taken]
    counts = {layer: sum(value.numel() for value in tensors.values()) for layer, tensors in layers.items()}
    return Transfer(taken, new, sum(counts[layer] for layer in taken) / max(1, sum(counts.values())))


def _check_frozen(discriminator: nn.Module, transfer: Transfer, config: Config) -> None:
    """Raises UsageError if a frozen layer of the discriminator is new, because the layer would keep random weights."""
    frozen = {_layer(name) for name, parameter in discriminator.named_parameters() if not parameter.requires_grad}
    new = [layer for layer in transfer.new if layer in frozen]
    if new:
        reason = f"{one_line(new[0], 60)} is new here and would stay at its random weights; leave it out"
        raise wrong_value(config, "training.freeze_discriminator_layers", reason)


def describe_transfers(transfers: dict[str, Transfer]) -> str:
    """Returns a line about the transferred layers of each network; an empty text if all layers were transferred."""
    if not any(each.new for each in transfers.values()):
        return ""
    return "taken over: " + ", ".join(f"{role} {each.describe()}" for role, each in transfers.items())


def compare_classes(old: Sequence[str], new: Sequence[str]) -> dict[str, list[str]]:
    """Returns the names of classes that are in both runs, only in the new one, and only in the old one."""
    return {
        "known": [each for each in new if each in old],
        "new": [each for each in new if each not in old],
        "left out": [each for each in old if each not in new],
    }


def describe_classes(old: Sequence[str], new: Sequence[str]) -> str:
    """Returns a line about how the classes differ from those of the old run; an empty text if they are the same."""
    parts = [
        f"{name} {first_few([one_line(word, 40) for word in each], MOST_NAMED)}"
        for name, each in compare_classes(old, new).items()
        if each
    ]
    return "" if {*old} == {*new} else f"classes of init_from: {'; '.join(parts)}"
