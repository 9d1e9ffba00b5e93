"""The patch discriminator of pix2pix (1611.07004): a logit for each of many overlapping parts of an image."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from gan_cli.models.conditioning import UNCONDITIONAL, ConditioningSpec, concat_condition
from gan_cli.models.layers import (
    Discriminator,
    DiscriminatorOutput,
    build_normalization,
    channels_per_level,
    downsampling_layers,
    init_layer,
)
from gan_cli.tasks.condition import Condition, labels_of


class PatchDiscriminator(Discriminator):
    """Maps images `[N, C, H, W]` in [-1, 1] to logits `[N, h, w]`.

    `levels` convolutions halve the sides; the logit of a position depends on a square of the image: 26 pixels wide
    with 2 levels, 54 with 3, 110 with 4.
    """

    batch_dependence_is_declared = True

    def __init__(
        self,
        sample_shape: tuple[int, ...],
        base_channels: int,
        levels: int,
        normalization: str,
        initialization: str = "default",
        conditions: ConditioningSpec = UNCONDITIONAL,
    ) -> None:
        super().__init__()
        self.conditioning_mode = conditions.mode
        self.entry = concat_condition(conditions, ("concat",))
        widths = channels_per_level(base_channels, levels)
        settings: Any = {"initialization": initialization, "normalization": normalization}
        first = nn.Conv2d(sample_shape[0] + self.entry.added_features, widths[0], 4, stride=2, padding=1)
        self.layers = nn.Sequential(
            *downsampling_layers(first, widths, 4, 0.0, **settings),
            init_layer(nn.Conv2d(widths[-1], widths[-1], 3, padding=1), **settings),
            build_normalization(normalization, widths[-1], image=True),
            nn.LeakyReLU(0.2, inplace=True),
        )
        self.score = init_layer(nn.Conv2d(widths[-1], 1, 3, padding=1), **settings)
        if self.conditioning_mode == "projection":
            self.classes = init_layer(nn.Conv2d(widths[-1], conditions.size, 1, bias=False), **settings)

    def features(self, sample: Tensor, condition: Condition | None) -> Tensor:
        return self.layers(self.entry(sample, condition))

    def discriminate(self, sample: Tensor, condition: Condition | None = None) -> DiscriminatorOutput:
        """Returns the logits `[N, h, w]`; in the mode `projection` each position adds the product with the class."""
        features = self.features(self.view(sample, condition), condition)
        logits = self.score(features).squeeze(1)
        if self.conditioning_mode == "projection":
            logits = logits + (self.classes(features) * labels_of(condition)[:, :, None, None]).sum(1)
        return DiscriminatorOutput(logits)
