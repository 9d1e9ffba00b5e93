"""Finds the latents of given images: gradient descent on the distance of the generator's samples from them.

It follows the projection of StyleGAN2 (1912.04958, appendix D): Adam with a learning rate that rises in the first 5 %
and falls in the last 25 % of the steps, and noise on the latents that falls to 0 at 75 %. The distance is the mean
squared difference of pixels, and of features. Noise inputs of a network are constant in evaluation mode and not
searched for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gan_cli.data.dataset import to_signed_unit, to_uint8
from gan_cli.evaluation.metrics.feature_extractors import Extractor
from gan_cli.evaluation.metrics.paired import psnr_of_each
from gan_cli.latent_space.latent_variables import LatentSpace
from gan_cli.models.generate import run_in_batches
from gan_cli.randomness import generator_for
from gan_cli.sampling.given_latents import network_for
from gan_cli.sampling.load_generator import require_finite
from gan_cli.tasks.condition import Condition

COMPARED_AT_ONCE = 1000
RAMP_UP, RAMP_DOWN = 0.05, 0.25  # shares of the steps
NOISE, NOISE_END = 0.05, 0.75  # of the root mean squared distance of one w or z from its mean; share of the steps


class Search(NamedTuple):
    """How images are searched for. `rate` is the highest learning rate, in standard deviations of the latents."""

    steps: int
    starts: int
    rate: float
    feature_weight: float
    seed: int
    frames: int
    batch_size: int


class Candidates(NamedTuple):
    """Samples that images are compared with: uint8 `[N, C, H, W]`, their features, latents and labels `[N, K]`."""

    samples: Tensor
    features: Tensor
    latents: Tensor
    labels: Tensor | None


class Projections(NamedTuple):
    """What was found for N images.

    `latents` `[N, ...]` and `labels` `[N, K]` are of the samples `[N, C, H, W]`, uint8. `way` `[frames, N, ...]` has
    the latents on the way from the start. `nearest` are the candidates with the smallest error of pixels. Errors are
    in dB of the peak signal-to-noise ratio, of uint8 images.
    """

    latents: Tensor
    labels: Tensor | None
    samples: Tensor
    way: Tensor
    nearest: Tensor
    psnr: Tensor
    nearest_psnr: Tensor


def make_candidates(
    space: LatentSpace, extractor: Extractor, seeds: range, labels: Tensor | None, batch: int
) -> Candidates:
    """Makes the samples of these seeds. `labels` has a row for each seed; None for an unconditional generator."""
    latents = space.of_seeds(seeds, labels, batch)
    samples = draw_samples(space, latents, labels, batch)
    return Candidates(samples, extractor.extract(samples).features, latents, labels)


def draw_samples(space: LatentSpace, latents: Tensor, labels: Tensor | None, batch_size: int) -> Tensor:
    """Returns the samples of latents, uint8 `[N, C, H, W]`. CheckpointError if one is not finite."""
    inputs = space.network_input(latents)
    network, condition = network_for(space.generator.network, inputs), None if labels is None else Condition(labels)
    batches = run_in_batches(network, inputs, condition if inputs.ndim == 2 else None, batch_size)
    return torch.cat([to_uint8(require_finite(space.generator, batch)) for batch in batches])


def project_images(
    images: Tensor,
    space: LatentSpace,
    extractor: Extractor,
    candidates: Candidates,
    search: Search,
    progress: Callable[[int], None] = lambda step: None,
) -> Projections:
    """Searches for images, uint8 `[N, C, H, W]`. `progress` is called with the number of each step.

    Each image is searched for from the mean latent and from its nearest candidates; the nearest result is kept, which
    may be a start itself.
    """
    features = extractor.extract(images).features
    pixel_errors = _squared_differences(images, candidates.samples)
    feature_errors = _squared_differences(features, candidates.features)
    scales = (1 / pixel_errors.mean().clamp_min(1e-6), search.feature_weight / feature_errors.mean().clamp_min(1e-12))
    target = _Target(to_signed_unit(images), features, extractor, *scales)
    distances = target.pixel_scale * pixel_errors + target.feature_scale * feature_errors
    order = distances.topk(max(1, search.starts - 1), largest=False).indices
    latents = candidates.latents[order[:, : max(0, search.starts - 1)]]
    starts = torch.cat([space.mean().expand(len(images), 1, *latents.shape[2:]), latents], 1).flatten(0, 1)
    origin = torch.cat([order[:, :1], order[:, : search.starts - 1]], 1).flatten()
    labels = None if candidates.labels is None else candidates.labels[origin]
    every = target.repeat(search.starts)
    found, way = _descend(every, starts, labels, space, search, candidates, progress)
    ends = torch.stack([found, starts])
    after, before = (every.of_samples(draw_samples(space, end, labels, search.batch_size)) for end in ends)
    best, moved = _nearest_of(after, before, search.starts)
    latents, chosen = ends[1 - moved, best], None if labels is None else labels[best]
    samples = draw_samples(space, latents, chosen, search.batch_size)
    way = torch.where(moved.bool().view(1, -1, *[1] * (starts.ndim - 1)), way[:, best], starts[best])
    nearest = candidates.samples[pixel_errors.argmin(1)]
    truth = to_signed_unit(images)
    psnr, nearest_psnr = (psnr_of_each(to_signed_unit(fake), truth) for fake in (samples, nearest))
    return Projections(latents, chosen, samples, way, nearest, psnr, nearest_psnr)


def _nearest_of(found: Tensor, started: Tensor, starts: int) -> tuple[Tensor, Tensor]:
    """Returns for each image which of its starts is nearest, and 1 if after the search, 0 if before.

    The arguments are the distances after and before the search, `[images * starts]`; numbers count all of them.
    """
    both = torch.stack([started, found]).unflatten(1, (-1, starts))  # `[2, images, starts]`
    moved = (both[1].min(1).values <= both[0].min(1).values).long()
    images = torch.arange(both.shape[1])
    return both[moved, images].argmin(1) + images * starts, moved


class _Target(NamedTuple):
    """Images in [-1, 1], their features, and the scales of the two distances, which are 1 for the average sample."""

    images: Tensor
    features: Tensor
    extractor: Extractor
    pixel_scale: Tensor
    feature_scale: Tensor

    def of_samples(self, samples: Tensor) -> Tensor:
        """Returns the distance of each image from its sample `[N, C, H, W]`, uint8 or in [-1, 1]: `[N]`."""
        values = to_signed_unit(samples).float().cpu()
        pixels = (values - self.images).square().flatten(1).mean(1)
        if not self.feature_scale:
            return self.pixel_scale * pixels
        features = self.extractor.extract_batch(samples if samples.dtype == torch.uint8 else values).features
        return self.pixel_scale * pixels + self.feature_scale * (features - self.features).square().mean(1)

    def repeat(self, times: int) -> _Target:
        return self._replace(
            images=self.images.repeat_interleave(times, 0), features=self.features.repeat_interleave(times, 0)
        )


def _squared_differences(some: Tensor, others: Tensor) -> Tensor:
    """Returns the mean squared difference of each row of `some` from each of `others`, `[N, M]`."""
    rows = to_signed_unit(some).flatten(1).double()
    parts = (to_signed_unit(part).flatten(1).double() for part in others.split(COMPARED_AT_ONCE))
    return torch.cat([torch.cdist(rows, part).square().float() for part in parts], 1) / rows.shape[1]


def _descend(
    target: _Target,
    starts: Tensor,
    labels: Tensor | None,
    space: LatentSpace,
    search: Search,
    candidates: Candidates,
    progress: Callable[[int], None],
) -> tuple[Tensor, Tensor]:
    """Returns the latents after the last step, and those on the way `[frames, N, ...]`, both on the CPU."""
    network, device = space.generator.network, next(space.generator.network.parameters()).device
    deviation, limit = space.deviation(candidates.latents), space.limit()
    radius = deviation * math.sqrt(starts.shape[-1])
    values = starts.to(device).clone().requires_grad_()
    condition = None if labels is None else Condition(labels.to(device))
    optimizer = torch.optim.Adam([values], lr=search.rate * deviation)
    kept = torch.linspace(0, search.steps, search.frames).round().tolist()
    way = [starts.clone()] * kept.count(0)
    for step in range(search.steps):
        done = step / search.steps
        optimizer.param_groups[0]["lr"] = search.rate * deviation * _rate_share(done)
        noise = torch.randn(starts.shape, generator=generator_for(search.seed, "projection", step))
        noisy = values + (NOISE * radius * max(0.0, 1 - done / NOISE_END) ** 2) * noise.to(device)
        samples = _run(network, space.network_input(noisy), condition)
        loss = target.of_samples(samples).sum()
        (values.grad,) = torch.autograd.grad(loss, [values])
        optimizer.step()
        with torch.no_grad():
            values.clamp_(-limit, limit)
        way += [values.detach().cpu().clone()] * kept.count(step + 1)
        progress(step + 1)
    return values.detach().cpu(), torch.stack(way)


def _run(network: nn.Module, inputs: Tensor, condition: Condition | None) -> Tensor:
    """Returns samples with gradients."""
    return network_for(network, inputs)(inputs, condition if inputs.ndim == 2 else None).float()


def _rate_share(done: float) -> float:
    """Returns the share of the highest learning rate after a share of the steps: a cosine down, a line up."""
    down = 0.5 - 0.5 * math.cos(math.pi * min(1.0, (1 - done) / RAMP_DOWN))
    return down * min(1.0, done / RAMP_UP + 1e-3)
