"""Prepares samples for D: augmentation, then noise, then packing.

Real samples and fakes are prepared in the same way, in the updates of D and of G.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gan_cli.device import to_device
from gan_cli.objectives.augmentation import augment, next_ada_probability
from gan_cli.state.train_state import TrainState
from gan_cli.tasks.condition import Condition

ADA_RAMP = 100_000  # images in which the probability of augmentation can go from 0 to 1


@dataclass(frozen=True)
class DiscriminatorInput:
    """Augments samples, adds Gaussian noise of standard deviation `noise` at first, and packs each `pack` of them."""

    augmentations: tuple[str, ...] = ()
    noise: float = 0.0
    pack: int = 1

    def __call__(
        self, samples: Tensor, rng: torch.Generator, *, probability: Tensor | float, progress: float
    ) -> Tensor:
        """Converts samples `[N, C, ...]` to D's input `[N / pack, C * pack, ...]`, differentiable in the samples.

        `probability` is that of each augmentation. Noise falls linearly to 0 while `progress` goes from 0 to 1.
        """
        if self.augmentations:
            samples = augment(samples, self.augmentations, rng, probability)
        if self.noise > 0:
            noise = to_device(torch.randn(samples.shape, generator=rng), samples.device).to(samples.dtype)
            samples = samples + self.noise * (1 - progress) * noise
        return pack_samples(samples, self.pack)

    def prepare_together(
        self,
        batches: Sequence[Tensor | None],
        condition: Condition | None,
        rng: torch.Generator,
        *,
        probability: Tensor | float,
        progress: float,
    ) -> tuple[list[Tensor | None], Condition | None]:
        """Converts batches of samples of the same condition, and this condition, to D's inputs. A None stays None.

        An image and a mask of the condition change as the samples do, so all batches then get the same augmentation.
        """
        together = bool(self.augmentations) and condition is not None and condition.image is not None
        before, prepared = rng.get_state() if together else None, []
        for samples in batches:
            if before is not None:
                rng.set_state(before)
            ready = None if samples is None else self(samples, rng, probability=probability, progress=progress)
            prepared.append(ready)
        if condition is None:
            return prepared, None
        if before is not None:
            condition = self._augment_images(condition, rng, before, probability)
        return prepared, condition.map(lambda part: pack_samples(part, self.pack))

    def _augment_images(
        self, condition: Condition, rng: torch.Generator, before: Tensor, probability: Tensor | float
    ) -> Condition:
        """Augments the image and the mask as samples are augmented from the state `before` of `rng`."""
        augmented = {}
        for name in ("image", "mask"):
            part = getattr(condition, name)
            if part is not None:
                rng.set_state(before)
                augmented[name] = augment(part, self.augmentations, rng, probability, masks=name == "mask")
        return condition._replace(**augmented)


def pack_samples(samples: Tensor, count: int) -> Tensor:
    """Joins each `count` consecutive samples along their channels (PacGAN, arXiv:1712.04086)."""
    return samples if count == 1 else samples.reshape(-1, count * samples.shape[1], *samples.shape[2:])


def adapt_augmentation(state: TrainState, real_logits: Tensor, *, target: float | None, batch_size: int) -> None:
    """Adapts the probability of augmentation (ADA, arXiv:2006.06676); nothing if it is not adaptive.

    It rises if the mean sign of D's logits for real samples is above `target`, a sign of overfitting; else it falls.
    """
    if state.augment_probability is not None and target is not None:
        state.augment_probability = next_ada_probability(
            state.augment_probability,
            real_logits.sign().mean(),
            target=target,
            batch=batch_size,
            interval=1,
            ramp_images=ADA_RAMP,
        )
