"""Measures what the generator makes of its condition, for tasks whose condition has an image.

The health monitor (`health/monitor.py`) reads these metrics. Nothing here changes training, as in `step_metrics.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gan_cli.models.freezing import frozen
from gan_cli.tasks.condition import Condition
from gan_cli.training.run import Run
from gan_cli.training.steps import draw_latents

MAX_INPUTS = 32
LEAST_DIFFERENCE = 0.1  # of outputs for two inputs, as a share of the difference of the two real images


def condition_metrics(run: Run) -> dict[str, float]:
    """Returns `health/condition_effect`, `latent_effect` and `copies_input`; those that the task and the data allow.

    They are of G, not its EMA, with the same latents and inputs each time: the first batch of the run.
    """
    batches, objective, device = run.batches, run.objective, run.state.device
    if batches.make_condition is None:
        return {}
    batch = batches.draw(0)
    condition, truth = batch.condition, batch.samples[:MAX_INPUTS]
    if condition is None or condition.image is None or len(truth) < 2:
        return {}
    latents = draw_latents(objective, "health", 0)[:MAX_INPUTS].to(device)
    with objective.autocast(device):
        metrics = measure_condition(run.state.generator, latents, condition.rows(slice(MAX_INPUTS)), truth)
    return {name: value.item() for name, value in metrics.items()}


def measure_condition(generator: nn.Module, latents: Tensor, condition: Condition, truth: Tensor) -> dict[str, Tensor]:
    """Returns how much outputs `[N, C, H, W]` depend on condition and latent, and how near they are to their inputs.

    Differences are mean absolute ones of pixels; with masks, of those that are painted for both inputs of a pair.
    `condition_effect` is the difference of outputs of one latent for two conditions, divided by that of two latents for
    one condition, or by a tenth of the difference of the two real images `truth` if this is larger. `latent_effect`, of
    generators with a latent, is the difference of outputs of two latents for one condition, divided by that of the two
    real images. `copies_input` is |output - input| / |truth - input|, for inputs of the outputs' shape without a mask.
    A metric whose divisor is 0 is left out.
    """
    rolled = torch.roll(torch.arange(len(truth), device=truth.device), 1)
    painted = torch.ones_like(truth)
    if condition.mask is not None:
        painted = painted * condition.mask * condition.mask[rolled]

    def difference(one: Tensor, other: Tensor) -> Tensor:
        return ((one - other).abs() * painted).sum() / painted.sum().clamp_min(1)

    with torch.no_grad(), frozen(generator):
        fakes = generator(latents, condition).float()
        for_others = generator(latents, condition.rows(rolled)).float()
        of_others = generator(latents[rolled], condition).float() if latents.shape[1] else fakes
    of_reals, of_latents = difference(truth, truth[rolled]), difference(fakes, of_others)
    unit = torch.maximum(of_latents, LEAST_DIFFERENCE * of_reals)
    pairs = {"health/condition_effect": (difference(fakes, for_others), unit)}
    if latents.shape[1]:
        pairs["health/latent_effect"] = (of_latents, of_reals)
    source = condition.image
    if source is not None and condition.mask is None and source.shape == truth.shape:
        pairs["health/copies_input"] = (difference(fakes, source), difference(truth, source))
    return {name: measured / unit for name, (measured, unit) in pairs.items() if unit > 0}
