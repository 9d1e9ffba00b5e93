"""Directions from the weights of a generator: closed-form factorization, SeFa (Shen and Zhou, 2007.06600)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from gan_cli.errors import UsageError
from gan_cli.models.styles import StyleGenerator
from gan_cli.randomness import generator_for
from gan_cli.sampling.given_latents import Synthesis
from gan_cli.sampling.load_generator import LoadedGenerator
from gan_cli.tasks.condition import Condition

LINEAR = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
ALIKE = 1 - 1e-5  # cosine of a layer's input with the latent: some networks scale latents first


def weight_directions(generator: LoadedGenerator, count: int, layers: Sequence[int] | None = None) -> Tensor:
    """Returns the `count` unit vectors `[count, D]` in z, or in w of a StyleGenerator, that the weights change most.

    They are the eigenvectors of A^T A with the largest eigenvalues (equation 4 of the paper), where A is the weight of
    the layers that take the latent; `layers` are the numbers of those that count, of a StyleGenerator. UsageError if
    there are not as many, or no layer takes the latent itself.
    """
    network, device = generator.network, next(generator.network.parameters()).device
    random = generator_for(0, "sefa")
    if isinstance(network, StyleGenerator):
        latent = torch.randn(1, network.mean_style.shape[-1], generator=random).to(device)
        styles = torch.zeros(1, len(network.sides), latent.shape[1], device=device)  # of layers that do not count
        styles[:, slice(None) if layers is None else list(layers)] = latent.unsqueeze(1)
        weight = input_weights(Synthesis(network), styles, latent, None)
    else:
        latent = torch.randn(1, generator.latent.dim, generator=random).to(device)
        condition = Condition(torch.zeros(1, len(generator.classes), device=device)) if generator.classes else None
        weight = input_weights(network, latent, latent, condition)
    if count > weight.shape[1]:
        raise UsageError(f"n={count}: the latents have {weight.shape[1]} numbers, so that there are no more directions")
    return eigenvectors(weight, count)


def eigenvectors(weight: Tensor, count: int) -> Tensor:
    """Returns the eigenvectors `[count, D]` of A^T A for A `[outputs, D]`, those of the largest eigenvalues first.

    The number of each that is largest in absolute value is positive.
    """
    _, vectors = torch.linalg.eigh(weight.double().T @ weight.double())
    found = vectors.T.flip(0)[:count]
    largest = found.gather(1, found.abs().argmax(1, keepdim=True))
    return (found * largest.sign()).float()


@torch.no_grad()
def input_weights(network: nn.Module, inputs: Tensor, latent: Tensor, condition: Condition | None) -> Tensor:
    """Returns the weight `[outputs, D]` of all layers whose input is the latent `[1, D]`, maybe scaled, on the CPU.

    The layers are found by running the network on `inputs`. What follows the latent in a layer's input, such as an
    embedding of the class, is left out. Raises UsageError if no layer takes the latent itself.
    """
    found: list[Tensor] = []

    def keep(layer: nn.Module, given: Sequence[Tensor], output: Tensor) -> None:
        flat = given[0].flatten(1)
        size = latent.shape[1]
        if len(flat) == 1 and flat.shape[1] >= size and cosine_similarity(flat[:, :size], latent).item() > ALIKE:
            found.append(_weight_of(layer, given[0], size))

    hooks = [layer.register_forward_hook(keep) for layer in network.modules() if isinstance(layer, LINEAR)]
    try:
        network(inputs, condition)
    finally:
        for hook in hooks:
            hook.remove()
    if not found:
        raise UsageError("by=sefa: no linear layer of this generator takes the latent itself; use by=label:NAME")
    return torch.cat(found).cpu()


def _weight_of(layer: nn.Module, given: Tensor, size: int) -> Tensor:
    """Returns how the outputs of a layer depend on the first `size` numbers of its input `[1, ...]`.

    It is what the layer makes of unit vectors, without what it makes of zeros, so that a scale of weights counts.
    """
    forward = type(layer).forward  # without the hooks
    units = torch.zeros(size + 1, given[0].numel(), device=given.device, dtype=given.dtype)
    units[:size, :size] = torch.eye(size, device=given.device)
    outputs = forward(layer, units.view(size + 1, *given.shape[1:])).flatten(1)
    return (outputs[:size] - outputs[size:]).T
