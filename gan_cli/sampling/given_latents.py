"""Latents that a user gives in place of seeds: the latents z, or the styles w of a generator with a mapping network."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from gan_cli.errors import UsageError, one_line
from gan_cli.models.generate import run_in_batches
from gan_cli.models.styles import StyleGenerator, with_truncation
from gan_cli.sampling.array_file import SINGLE, read_array_file, to_float_rows
from gan_cli.sampling.load_generator import LoadedGenerator, require_finite
from gan_cli.sampling.requested_classes import Labels, requested_classes
from gan_cli.tasks.condition import Condition

Z, W, CONDITIONS = "z", "w", "conditions"  # names of the arrays of a file
MAPPED_AT_ONCE = 256
STYLES_ALIKE = 1e-2  # largest difference between styles and those of the latents beside them


class GivenLatents(NamedTuple):
    """Latents z `[N, latent_dim]` or styles w `[N, L, D]`, float32, and labels `[N, K]` of the condition, if known."""

    values: Tensor
    labels: Tensor | None = None
    path: str = ""
    sha256: str = ""

    @property
    def are_styles(self) -> bool:
        return self.values.ndim == 3

    def describe(self) -> dict[str, Any]:
        """Returns the fields of the JSON file."""
        return {"latents": self.path, "latents_sha256": self.sha256}


class Synthesis(nn.Module):
    """The second half of a StyleGenerator as a network: takes styles `[N, L, D]` in place of latents."""

    def __init__(self, network: StyleGenerator) -> None:
        super().__init__()
        self.network = network

    def forward(self, styles: Tensor, condition: Condition | None = None) -> Tensor:
        return self.network.synthesize(styles)


class Mapping(nn.Module):
    """The first half of a StyleGenerator as a network: latents to styles `[N, L, D]`, which may be truncated."""

    def __init__(self, network: StyleGenerator, truncation: float | None = None) -> None:
        super().__init__()
        self.network, self.truncation = network, truncation

    def forward(self, latent: Tensor, condition: Condition | None = None) -> Tensor:
        styles = self.network.map(latent, condition)
        return styles if self.truncation is None else self.network.truncate(styles, self.truncation)


def network_for(network: nn.Module, latents: Tensor, truncation: float | None = None) -> nn.Module:
    """Returns the network that makes samples of these latents z, or styles w. Truncates the styles of latents z."""
    if latents.ndim == 2:
        return with_truncation(network, truncation)[0]
    assert isinstance(network, StyleGenerator)
    return Synthesis(network)


def read_latents(generator: LoadedGenerator, path: str) -> GivenLatents:
    """Returns the latents in an npz file with the array z or w, or in an npy file.

    The file may have `conditions` `[N, K]`. If it has z and w, z is used, and w must be its styles. Raises UsageError
    if the latents are not of a size that this generator takes, or not finite.
    """
    typed = f"latents={one_line(path, 100)}"
    if generator.has_image_input:
        raise UsageError(f"{typed}: is for generators that make samples from latents alone, leave it out")
    arrays, sha256 = read_array_file("latents", path, (Z, W, CONDITIONS))
    labels = arrays.pop(CONDITIONS, None)
    if not arrays:
        raise UsageError(f"{typed}: holds conditions, but no latents z or styles w")
    found = {
        name: check_latents(generator, array, typed, None if name == SINGLE else name) for name, array in arrays.items()
    }
    latents = found.get(Z, next(iter(found.values())))
    known = None if labels is None else _check_labels(generator, labels, len(latents), typed)
    if {Z, W} <= found.keys():
        _require_same(generator, found[Z], found[W], known, typed)
    return GivenLatents(latents, None if latents.ndim == 3 else known, path, sha256)


def sample_latents(
    generator: LoadedGenerator, latents: ArrayLike, labels: Labels = None, *, batch_size: int = 64
) -> Tensor:
    """Generates a sample of each of the latents; see `gan_cli.api.sample`."""
    if not isinstance(generator, LoadedGenerator):
        raise UsageError(f"generator: expected what load_generator returns, not {type(generator).__name__}")
    if generator.has_image_input:
        raise UsageError("latents: are for generators that make samples from latents alone")
    if batch_size < 1:
        raise UsageError(f"batch_size={batch_size}: expected a whole number at least 1")
    array = latents.detach().cpu().numpy() if isinstance(latents, Tensor) else np.asarray(latents)
    values, condition = check_latents(generator, array), None
    if values.ndim == 3 and labels is not None:
        raise UsageError("labels: styles w have their class in them, leave labels out")
    if values.ndim == 2 and generator.classes:
        rows = requested_classes(generator.classes, labels, len(values))
        condition = Condition(generator.encode(rows, range(len(values))))
    elif labels is not None:
        requested_classes(generator.classes, labels, len(values))  # raises UsageError
    batches = run_in_batches(network_for(generator.network, values), values, condition, batch_size)
    return torch.cat([require_finite(generator, samples) for samples in batches])


def check_latents(
    generator: LoadedGenerator, array: np.ndarray, typed: str = "latents", name: str | None = None
) -> Tensor:
    """Returns latents z as float32 `[N, latent_dim]`, or styles w as `[N, L, D]`; one sample may have no axis N.

    `name` is z or w if it is known which they are. A style `[N, D]` is that of all layers. Raises UsageError if the
    generator takes no such latents.
    """
    values, dim = to_float_rows(typed, name or "the array", array), generator.latent.dim
    network = generator.network if isinstance(generator.network, StyleGenerator) else None
    if name == W and network is None:
        raise UsageError(f"{typed}: holds styles w, and this generator has none; give its latents z")
    if values.ndim == 1:
        values = values[None]
    if name != W and values.ndim == 2 and values.shape[1] == dim:
        return values
    if network is not None and name != Z:
        layers, size = len(network.sides), network.mean_style.shape[-1]
        if values.ndim == 2 and values.shape[1] == size:
            return values[:, None].repeat(1, layers, 1)
        if values.shape[1:] == (layers, size):
            return values
    expected = f"z [N, {dim}]" if network is None else f"z [N, {dim}] or w [N, {layers_of(network)}]"
    raise UsageError(f"{typed}: is {list(array.shape)}, this generator takes {expected}; is it of another one?")


def layers_of(network: StyleGenerator) -> str:
    return f"{len(network.sides)}, {network.mean_style.shape[-1]}"


def _check_labels(generator: LoadedGenerator, array: np.ndarray, count: int, typed: str) -> Tensor:
    """Returns the labels of a file. Raises UsageError if the generator takes none, or not as many."""
    if not generator.classes:
        raise UsageError(
            f"{typed}: has {CONDITIONS}, and this checkpoint is unconditional and takes no class; save the latents"
            " alone"
        )
    labels = to_float_rows(typed, CONDITIONS, array)
    if labels.shape != (count, len(generator.classes)):
        expected = f"expected [{count}, {len(generator.classes)}], a column for each class"
        raise UsageError(f"{typed}: {CONDITIONS} is {list(labels.shape)}, {expected}")
    if not bool(((labels >= 0) & (labels <= 1)).all()):
        raise UsageError(f"{typed}: {CONDITIONS} has values outside of 0 to 1, which are the shares of classes")
    return labels


def _require_same(
    generator: LoadedGenerator, latents: Tensor, styles: Tensor, labels: Tensor | None, typed: str
) -> None:
    """Raises UsageError if the styles are not those of the latents, as it is then unclear which are meant."""
    assert isinstance(generator.network, StyleGenerator)
    if len(styles) == len(latents):
        if labels is None and generator.classes:
            return
        condition = None if labels is None else Condition(labels)
        mapped = torch.cat(list(run_in_batches(Mapping(generator.network), latents, condition, MAPPED_AT_ONCE)))
        if (mapped - styles).abs().max() <= STYLES_ALIKE * styles.abs().max().clamp(min=1):
            return
    raise UsageError(f"{typed}: z and w are of different samples, save the one that is meant")
