"""Latents that a user gives in place of seeds: the latents z, or the styles w of a generator with a mapping network."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from gan_cli.device import without_tf32
from gan_cli.errors import UsageError, one_line
from gan_cli.models.generate import run_in_batches
from gan_cli.models.styles import StyleGenerator, with_truncation
from gan_cli.sampling.array_file import SINGLE, read_array_file, to_float_rows
from gan_cli.sampling.load_generator import LoadedGenerator, require_finite
from gan_cli.sampling.requested_classes import Labels, requested_classes
from gan_cli.tasks.condition import Condition

Z, W, CONDITIONS = "z", "w", "conditions"  # names of the arrays of a file
# arrays that say with what a file was made: the sha256 of the checkpoint, and whether with its averaged generator
GENERATOR, EMA = ORIGIN = "generator", "ema"
MAPPED_AT_ONCE = 256
# largest difference of styles from those of the latents beside them, a share of the largest number of a style; float32
# rounds to about 1e-6, with other batch sizes and machines too
STYLES_ALIKE = 1e-4


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

    The file may have `conditions` `[N, K]`. If it has z and w, z is used, which is printed, and w must be its styles,
    unless the file is of another generator. Raises UsageError if the latents are not of a size that this generator
    takes, or not finite.
    """
    typed = f"latents={one_line(path, 100)}"
    if generator.has_image_input:
        raise UsageError(f"{typed}: is for generators that make samples from latents alone, leave it out")
    arrays, sha256 = read_array_file("latents", path, (Z, W, CONDITIONS), ORIGIN)
    other = other_origin(generator, arrays)
    labels = arrays.pop(CONDITIONS, None)
    if not arrays:
        raise UsageError(f"{typed}: holds conditions, but no latents z or styles w")
    styles = arrays.pop(W, None) if Z in arrays else None
    [(name, array)] = arrays.items()
    if name == SINGLE:
        require_one_meaning(generator, array, typed, "latents z or styles w", "z or w")
    latents = check_latents(generator, array, typed, None if name == SINGLE else name)
    known = None if labels is None else _check_labels(generator, labels, len(latents), typed)
    if other is not None:
        print(f"warning: {typed}: was saved with {other}, this generator makes other samples of it", file=sys.stderr)
    if styles is not None:
        if other is None:
            _require_same(generator, latents, check_latents(generator, styles, typed, W), known, typed)
        print(f"{typed}: w is not used, z is", flush=True)
    return GivenLatents(latents, None if latents.ndim == 3 else known, path, sha256)


def origin_arrays(generator: LoadedGenerator) -> dict[str, np.ndarray]:
    """Returns the arrays of a file that say with which generator it was made."""
    return {GENERATOR: np.array(generator.sha256), EMA: np.array(generator.ema)}


def other_origin(generator: LoadedGenerator, arrays: dict[str, np.ndarray]) -> str | None:
    """Removes from the arrays of a file those about its origin. Returns in words what it was made with, if not with
    this generator; None for files of earlier versions, which do not say it.
    """
    sha256, ema = arrays.pop(GENERATOR, None), arrays.pop(EMA, None)
    if sha256 is not None and str(sha256) != generator.sha256:
        return "another checkpoint"
    if ema is not None and str(ema) != str(generator.ema):
        return f"ema={str(not generator.ema).lower()}"
    return None


def require_one_meaning(generator: LoadedGenerator, array: np.ndarray, typed: str, meanings: str, names: str) -> None:
    """Raises UsageError if an array without a name fits z and w: each has as many numbers as the other."""
    if not isinstance(generator.network, StyleGenerator) or array.ndim not in (1, 2):
        return
    if array.shape[-1] == generator.latent.dim == generator.network.mean_style.shape[-1]:
        raise UsageError(f"{typed}: could be {meanings} by its shape, save an npz in which the array is called {names}")


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
    network = generator.network
    assert isinstance(network, StyleGenerator)
    if labels is None and generator.classes:
        raise UsageError(
            f"{typed}: has z and w without {CONDITIONS}, on which w depends; save the one that is meant alone"
        )
    if len(styles) == len(latents):
        condition = None if labels is None else Condition(labels)
        with without_tf32(network.mean_style.device):
            mapped = torch.cat(list(run_in_batches(Mapping(network), latents, condition, MAPPED_AT_ONCE)))
        if bool(((mapped - styles).abs() <= STYLES_ALIKE * mapped.abs().amax(-1, keepdim=True)).all()):
            return
    raise UsageError(f"{typed}: z and w are of different samples, save the one that is meant")
