"""Health metrics of a run, from a small batch of fakes and real samples and from G's last gradient.

The health monitor (`health/monitor.py`) reads them. Nothing here changes training: the latents have their own seeds,
and the batch-norm statistics of G are not updated.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gan_cli.data.dataset import Batches, Dataset, to_signed_unit
from gan_cli.models.freezing import frozen
from gan_cli.randomness import generator_for
from gan_cli.state.train_state import TrainState
from gan_cli.training.objective import Objective
from gan_cli.training.steps import draw_latents

SAMPLES = 128
# Shares of the mean distance of two real samples:
DUPLICATE_DISTANCE = 0.1  # below it two samples of a mode, or an image and its copy, count as duplicates
COVERAGE_DISTANCE = 0.25  # below it two samples belong to the same mode
DENSE_SHARE = 0.9  # of real samples with another within COVERAGE_DISTANCE: reached by points, not by images


def health_metrics(state: TrainState, objective: Objective, batches: Batches) -> dict[str, float]:
    """Returns the health metrics by their keys in `metrics.jsonl`."""
    reals = some_reals(batches.dataset)
    metrics = compare(draw_fakes(state, objective, batches)[: len(reals)].cpu(), reals)
    metrics["health/gradient_least"] = smallest_gradient_norm(state.generator)
    return {name: value.item() for name, value in metrics.items()}


def draw_fakes(state: TrainState, objective: Objective, batches: Batches) -> Tensor:
    """Returns fakes from G, not its EMA, with the same latents and conditions each time, in batches of `batch_size`."""
    parts = range(-(-SAMPLES // objective.batch_size))
    with torch.no_grad(), frozen(state.generator), objective.autocast():
        latents = [draw_latents(objective, "health", part).to(state.device) for part in parts]
        fakes = [state.generator(latent, batches.conditions(part)) for part, latent in zip(parts, latents, strict=True)]
        return torch.cat(fakes)[:SAMPLES].float()


def some_reals(dataset: Dataset) -> Tensor:
    """Returns real samples in [-1, 1], the same ones each time and in every run on these data."""
    chosen = torch.randperm(len(dataset), generator=generator_for(0, "health"))[:SAMPLES]
    return to_signed_unit(dataset.samples[chosen])


def compare(fakes: Tensor, reals: Tensor) -> dict[str, Tensor]:
    """Compares fakes and real samples `[N, ...]`; the unit of distance is the mean distance of two real samples.

    `diversity` is the mean distance of two fakes. `duplicates` is the share of pairs of fakes nearer than 0.1, at least
    1/k for k modes (the birthday paradox test, 1706.08224, made automatic); `duplicates_real` is that of real samples.
    `shift` is the distance of the two means. `contrast`, of images, is the standard deviation of a fake's pixels as a
    share of that of a real one's. `coverage`, of points, is the share of real samples with a fake within 0.25; it is
    left out where the data are not dense enough. Returns nothing if all real samples are equal.
    """
    flat = reals.flatten(1)
    fake_distances, real_distances = nn.functional.pdist(fakes.flatten(1)), nn.functional.pdist(flat)
    if not real_distances.any():
        return {}
    unit = real_distances.mean()
    metrics = {
        "health/diversity": fake_distances.mean() / unit,
        "health/duplicates": (fake_distances < DUPLICATE_DISTANCE * unit).float().mean(),
        "health/duplicates_real": (real_distances < DUPLICATE_DISTANCE * unit).float().mean(),
        "health/shift": (fakes.mean(0) - reals.mean(0)).norm() / unit,
    }
    contrast = flat.std(1).mean()
    if fakes.ndim > 2 and contrast > 0:
        metrics["health/contrast"] = fakes.flatten(1).std(1).mean() / contrast
    between = torch.cdist(flat, flat).fill_diagonal_(torch.inf)
    if (between.min(1).values < COVERAGE_DISTANCE * unit).float().mean() >= DENSE_SHARE:
        nearest = torch.cdist(flat, fakes.flatten(1)).min(1).values
        metrics["health/coverage"] = (nearest < COVERAGE_DISTANCE * unit).float().mean()
    return metrics


def smallest_gradient_norm(network: nn.Module) -> Tensor:
    """Returns the smallest gradient norm of the last update among the layers' weights."""
    gradients = [value.grad for value in network.parameters() if value.grad is not None]
    weights = [gradient for gradient in gradients if gradient.ndim > 1]
    return torch.stack([gradient.norm() for gradient in weights or gradients]).min()


def auc(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Returns how often D rates a real sample above a fake: 1 always, 0.5 at chance (Mann and Whitney, 1947)."""
    difference = real_logits[:, None] - fake_logits
    return (difference > 0).float().mean() + 0.5 * (difference == 0).float().mean()
