"""A run's vital signs: what a small batch of fakes beside reals, and G's last gradient, say; `health.py` judges them.

Nothing here changes training: latents are drawn for this alone, and G keeps its statistics.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gan_cli.data.dataset import Batches, Dataset, to_unit
from gan_cli.freezing import frozen
from gan_cli.objective import Objective
from gan_cli.randomness import generator_for
from gan_cli.state import TrainState
from gan_cli.steps import draw_latents

SAMPLES = 128
NEAR = 0.1  # of the mean distance of reals: as near as two samples of a mode, or a picture and its copy
REACH = 0.25  # of it: as near as what belongs to the same mode
DENSE = 0.9  # a share of reals with another in reach: points get there, pictures do not come near


def vital_signs(state: TrainState, objective: Objective, batches: Batches) -> dict[str, float]:
    """Figures by their keys in `metrics.jsonl`."""
    reals = some_reals(batches.dataset)
    signs = compare(draw_fakes(state, objective, batches)[: len(reals)].cpu(), reals)
    signs["health/gradient_least"] = least_gradient(state.generator)
    return {name: value.item() for name, value in signs.items()}


def draw_fakes(state: TrainState, objective: Objective, batches: Batches) -> Tensor:
    """Fakes of the same latents and kinds each time, as D is shown them: by the live weights, in its batches."""
    parts = range(-(-SAMPLES // objective.batch_size))
    with torch.no_grad(), frozen(state.generator), objective.autocast():
        latents = [draw_latents(objective, "health", part).to(state.device) for part in parts]
        fakes = [state.generator(latent, batches.conditions(part)) for part, latent in zip(parts, latents, strict=True)]
        return torch.cat(fakes)[:SAMPLES].float()


def some_reals(dataset: Dataset) -> Tensor:
    """The same each time, and for every run on these data."""
    chosen = torch.randperm(len(dataset), generator=generator_for(0, "health"))[:SAMPLES]
    return to_unit(dataset.samples[chosen])


def compare(fakes: Tensor, reals: Tensor) -> dict[str, Tensor]:
    """Of `[N, ...]` each, in units of the mean Euclidean distance between two reals:

    `diversity`, the mean distance between two fakes; `duplicates`, the share of pairs of fakes nearer than 0.1, which
    is 1/k or more for k modes (the birthday paradox test, 1706.08224, made automatic), and the same of reals; `shift`,
    how far the fakes' mean is from the reals'. Of images also `contrast`: how much a fake's pixels differ, 1 as a
    real's. Of data so dense that nearly each real has another within 0.25, as points, `coverage`: the share that has a
    fake there. Nothing of reals that do not differ.
    """
    flat = reals.flatten(1)
    made, given = nn.functional.pdist(fakes.flatten(1)), nn.functional.pdist(flat)
    if not given.any():
        return {}
    unit = given.mean()
    signs = {
        "health/diversity": made.mean() / unit,
        "health/duplicates": (made < NEAR * unit).float().mean(),
        "health/duplicates_real": (given < NEAR * unit).float().mean(),
        "health/shift": (fakes.mean(0) - reals.mean(0)).norm() / unit,
    }
    contrast = flat.std(1).mean()
    if fakes.ndim > 2 and contrast > 0:
        signs["health/contrast"] = fakes.flatten(1).std(1).mean() / contrast
    among = torch.cdist(flat, flat).fill_diagonal_(torch.inf)
    if (among.min(1).values < REACH * unit).float().mean() >= DENSE:
        nearest = torch.cdist(flat, fakes.flatten(1)).min(1).values
        signs["health/coverage"] = (nearest < REACH * unit).float().mean()
    return signs


def least_gradient(network: nn.Module) -> Tensor:
    """The length of the shortest gradient that the last update left in a layer's weights."""
    gradients = [value.grad for value in network.parameters() if value.grad is not None]
    weights = [gradient for gradient in gradients if gradient.ndim > 1]
    return torch.stack([gradient.norm() for gradient in weights or gradients]).min()


def separation(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """AUC: how often D rates a real above a fake; 1 if it always does, 0.5 if it guesses (Mann and Whitney, 1947)."""
    difference = real_logits[:, None] - fake_logits
    return (difference > 0).float().mean() + 0.5 * (difference == 0).float().mean()
