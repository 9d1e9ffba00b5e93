"""Measures the metrics of a step: those of its updates' outputs, and health metrics.

Health metrics are of a small batch of fakes and real samples, and of G's last gradient. The health monitor
(`health/monitor.py`) reads them. Nothing here changes training: the latents have their own seeds, and the batch-norm
statistics of G are not updated. Reading metrics waits for the device.
"""

from __future__ import annotations

import math
import sys

import torch
from torch import Tensor, nn

from gan_cli.config.options.objectives import GRADIENT_PENALTIES
from gan_cli.config.options.schedules import active_schedules
from gan_cli.data.dataset import to_signed_unit
from gan_cli.evaluation.metrics.mode_coverage import count_modes
from gan_cli.models.freezing import frozen
from gan_cli.randomness import generator_for
from gan_cli.state.growth import growth_of
from gan_cli.state.train_state import ROLES
from gan_cli.training.alternation import is_first_of_generator, next_network
from gan_cli.training.condition_metrics import condition_metrics
from gan_cli.training.discriminator_input import augment_probability
from gan_cli.training.run import Run
from gan_cli.training.steps import draw_latents
from gan_cli.training.throughput import RunTimer

HEALTH_SAMPLES = 128
# Shares of the mean distance of two real samples:
DUPLICATE_DISTANCE = 0.1  # below it two samples of a mode, or an image and its copy, count as duplicates
COVERAGE_DISTANCE = 0.25  # below it two samples belong to the same mode
SATURATED = 0.999  # a pixel above it, or below its negative: the derivative of tanh is below 0.002
DENSE_SHARE = 0.9  # of real samples with another within COVERAGE_DISTANCE: reached by points, not by images
MODE_SEEDS = range(10_000, 12_500)  # as many samples as in published counts; other seeds than those of the images


def discriminator_metrics(run: Run) -> dict[str, float]:
    """Returns the metrics of D's last update. If this process has made none, returns those in the checkpoint.

    Accuracies are shares of samples that D classifies correctly: real with a logit above 0, fake with one below 0.
    """
    output = run.state.discriminator_output
    if output is None:
        return run.saved_metrics
    tensors = {
        "loss/discriminator": output.loss,
        "logits/real": output.real_logits.mean(),
        "logits/fake": output.fake_logits.mean(),
        "logits/auc": auc(output.real_logits, output.fake_logits),
        "accuracy/real": (output.real_logits > 0).float().mean(),
        "accuracy/fake": (output.fake_logits < 0).float().mean(),
        "grad_norm/discriminator": gradient_norm(run.state.discriminator),
    }
    values = _without_skipped(run, "discriminator", _numbers(tensors))
    return values | _penalties(run) | {"learning_rate/discriminator": output.learning_rate}


def _without_skipped(run: Run, role: str, values: dict[str, float]) -> dict[str, float]:
    """Returns the values without those that are not finite because loss scaling skipped the network's last update."""
    scaler = run.state.scalers.get(role)
    if scaler is None or not scaler.skipped.item():
        return values
    return {name: value for name, value in values.items() if math.isfinite(value)}


def metrics_to_keep(run: Run) -> dict[str, float]:
    """Returns the metrics of D's past updates that a checkpoint after a step must keep, for later log entries.

    After a complete round these are the last values of the penalties, since a lazy penalty may be some updates old.
    Between two updates of G in the same round, these are all metrics of D's last update.
    """
    counters, alternation = run.state.counters, run.objective.alternation
    if next_network(counters, alternation) == "discriminator" or is_first_of_generator(counters, alternation):
        return _penalties(run)
    return discriminator_metrics(run)


def _penalties(run: Run) -> dict[str, float]:
    return {f"penalty/{name}": value.item() for name, value in run.state.last_penalties.items()}


def step_metrics(run: Run, timer: RunTimer) -> dict[str, float]:
    """Returns the metrics of the step that was just done, by their keys in `metrics.jsonl`."""
    state, batch_size, output = run.state, run.batches.batch_size, run.state.generator_output
    assert output is not None
    tensors = {"loss/generator": output.loss, "grad_norm/generator": gradient_norm(state.generator)}
    tensors |= {f"auxiliary/{name}": value for name, value in output.auxiliary.items()}
    return {
        "step": state.counters.step,
        "images_seen": state.counters.images_seen(batch_size),
        **discriminator_metrics(run),
        **_without_skipped(run, "generator", _numbers(tensors) | health_metrics(run)),
        **condition_metrics(run),
        **mode_metrics(run),
        "learning_rate/generator": output.learning_rate,
        **scheduled_values(run),
        "images_per_second": round(timer.images_per_second(batch_size), 1),
        "memory/peak_mb": peak_memory(state.device),
        "seconds": round(state.seconds, 3),
    }


def scheduled_values(run: Run) -> dict[str, float]:
    """Returns the scheduled values of the next update, and ADA's probability of augmentation.

    Learning rates are logged as those of the last update.
    """
    objective, counters, active = run.objective, run.state.counters, active_schedules(run.config.schedule)
    values: dict[str, float] = {}
    if "penalty" in active:
        penalties = [each for each in objective.penalties if each.name in GRADIENT_PENALTIES]
        values |= {each.name: objective.penalty_weight(each, counters) / each.interval for each in penalties}
    if "beta2" in active:
        rules = {role: objective.update_rule(role, counters) for role in ROLES}
        values |= {f"beta2/{role}": rule["beta2"] for role, rule in rules.items() if "beta2" in rule}
    if "ema_decay" in active:
        values["ema_decay"] = objective.ema_decay(counters)
    if "augment_probability" in active or run.state.augment_probability is not None:
        values["augment_probability"] = float(augment_probability(run.state, run.config))
    if (growth := growth_of(run.state)) is not None:
        values["growth"] = growth
    return {f"schedule/{name}": value for name, value in values.items()}


def mode_metrics(run: Run) -> dict[str, float]:
    """Returns how many modes the generator covers at this step. Empty if the modes of the data are not known."""
    modes = run.modes
    if modes is None or len(modes.centres) == 0:
        return {}
    counted = count_modes(run.generate(MODE_SEEDS, len(MODE_SEEDS)), modes.centres, modes.std)
    return {
        "modes/covered": counted.covered,
        "modes/possible": counted.possible,
        "modes/share": counted.share,
        "modes/reverse_kl": round(counted.reverse_kl, 6),
    }


def gradient_norm(network: nn.Module) -> Tensor:
    """Returns the norm of the network's gradient in its last update."""
    return nn.utils.get_total_norm(_gradients(network))


def peak_memory(device: torch.device) -> float:
    """Returns the peak memory in MiB: allocated on the GPU, or resident on other devices."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    import resource  # not on Windows, where nothing is trained

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB; bytes on macOS
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def _numbers(tensors: dict[str, Tensor]) -> dict[str, float]:
    values = torch.stack([tensor.detach() for tensor in tensors.values()]).tolist()
    return dict(zip(tensors, values, strict=True))


def health_metrics(run: Run) -> dict[str, float]:
    """Returns the health metrics by their keys in `metrics.jsonl`.

    They are of fakes from G, not its EMA, with the same latents and conditions each time, and of real samples in
    [-1, 1], the same ones in every run on these data.
    """
    generator, objective, batches, dataset = run.state.generator, run.objective, run.batches, run.batches.dataset
    chosen = torch.randperm(len(dataset), generator=generator_for(0, "health"))[:HEALTH_SAMPLES]
    reals = to_signed_unit(dataset.samples[chosen])
    parts = range(-(-HEALTH_SAMPLES // objective.batch_size))
    conditions = [batches.condition(part) for part in parts]
    with torch.no_grad(), frozen(generator), objective.autocast(run.state.device):
        latents = [draw_latents(objective, "health", part).to(run.state.device) for part in parts]
        outputs = [generator(latent, condition) for latent, condition in zip(latents, conditions, strict=True)]
    fakes = torch.cat(outputs)[: len(reals)].float().cpu()
    metrics = compare(fakes, reals)
    if fakes.ndim > 2:
        masks = [condition.mask for condition in conditions if condition is not None and condition.mask is not None]
        metrics |= compare_pixels(fakes, reals, torch.cat(masks)[: len(reals)].cpu() if masks else None)
    metrics["health/gradient_least"] = smallest_gradient_norm(generator)
    return {name: value.item() for name, value in metrics.items()}


def compare(fakes: Tensor, reals: Tensor) -> dict[str, Tensor]:
    """Compares fakes and real samples `[N, ...]`; the unit of distance is the mean distance of two real samples.

    `diversity` is the mean distance of two fakes. `duplicates` is the share of pairs of fakes nearer than 0.1, at least
    1/k for k modes (the birthday paradox test, 1706.08224, made automatic); `duplicates_real` is that of real samples.
    `shift` is the distance of the two means. `coverage`, of points, is the share of real samples with a fake within
    0.25; it is left out where the data are not dense enough. Returns nothing if all real samples are equal.
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
    between = torch.cdist(flat, flat).fill_diagonal_(torch.inf)
    if (between.min(1).values < COVERAGE_DISTANCE * unit).float().mean() >= DENSE_SHARE:
        nearest = torch.cdist(flat, fakes.flatten(1)).min(1).values
        metrics["health/coverage"] = (nearest < COVERAGE_DISTANCE * unit).float().mean()
    return metrics


def compare_pixels(fakes: Tensor, reals: Tensor, masks: Tensor | None = None) -> dict[str, Tensor]:
    """Compares the pixels of fakes and real images `[N, C, H, W]`; where `masks` `[N, 1, H, W]` are 1, if given.

    `contrast` is the standard deviation of a fake's pixels as a share of that of a real one's. `saturated` is the share
    of the fakes' pixels that are almost -1 or 1, and `saturated_real` that of the reals'.
    """
    counted = (torch.ones_like(fakes) if masks is None else masks.expand_as(fakes)).flatten(1)
    (fake_contrast, fake_saturated), (contrast, saturated) = (
        _pixels(each.flatten(1), counted) for each in (fakes, reals)
    )
    metrics = {"health/saturated": fake_saturated, "health/saturated_real": saturated}
    return metrics | ({"health/contrast": fake_contrast / contrast} if contrast > 0 else {})


def _pixels(images: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the mean contrast of images `[N, D]` and the share of their saturated pixels, of the pixels counted."""
    number = counted.sum(1, keepdim=True).clamp_min(1)
    means = (images * counted).sum(1, keepdim=True) / number
    contrast = (((images - means).square() * counted).sum(1) / number.squeeze(1)).sqrt().mean()
    return contrast, ((images.abs() > SATURATED).float() * counted).sum() / number.sum()


def smallest_gradient_norm(network: nn.Module) -> Tensor:
    """Returns the smallest gradient norm of the last update among the layers' weights."""
    gradients = _gradients(network)
    weights = [gradient for gradient in gradients if gradient.ndim > 1]
    return torch.stack([gradient.norm() for gradient in weights or gradients]).min()


def _gradients(network: nn.Module) -> list[Tensor]:
    return [value.grad for value in network.parameters() if value.grad is not None]


def auc(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Returns how often D rates a real sample above a fake: 1 always, 0.5 at chance (Mann and Whitney, 1947)."""
    difference = real_logits[:, None] - fake_logits
    return (difference > 0).float().mean() + 0.5 * (difference == 0).float().mean()
