"""The discriminator of Projected GAN (Sauer et al., 2111.01007): small heads on the features of a frozen network.

The frozen network is EfficientNet-Lite0 with ImageNet weights. Its four feature maps are mixed by fixed random
convolutions, so that heads cannot rely on a few channels or one scale (section 3.2): across channels by 1 x 1
convolutions, and across scales from the coarsest maps to the finest by 3 x 3 convolutions and bilinear upsampling.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from gan_cli.errors import UsageError
from gan_cli.models.conditioning import UNCONDITIONAL, ConditioningSpec
from gan_cli.models.layers import (
    Discriminator,
    DiscriminatorOutput,
    build_normalization,
    channels_per_level,
    init_layer,
)
from gan_cli.models.networks.efficientnet import (
    CHANNELS,
    DEVIATIONS,
    STRIDE,
    EfficientNetLite0,
    FrozenConvolution,
    input_sides,
    resized,
)
from gan_cli.tasks.condition import Condition, labels_of

LOGITS_SIDE = 4  # of the logits of each head, or less if the coarsest maps are smaller


class RandomMixing(nn.Module):
    """Mixes maps, finest first, by fixed random convolutions without activations (section 3.2).

    Maps `[N, C_l, h_l, w_l]` become `[N, channels[l], h_l, w_l]`. The weights are buffers that a checkpoint contains.
    The maps are first divided by their standard deviation over ImageNet, so that logits begin at the scale of the hinge
    loss's margin.
    """

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        settings: Any = {"bias": False, "saved": True}
        self.across_channels = nn.ModuleList(
            FrozenConvolution(inputs, outputs, 1, **settings)
            for inputs, outputs in zip(CHANNELS, channels, strict=True)
        )
        self.across_scales = nn.ModuleList(
            FrozenConvolution(coarse, fine, 3, **settings) for fine, coarse in pairwise(channels)
        )

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        triples = zip(self.across_channels, maps, DEVIATIONS, strict=True)
        mixed = [convolution(each / deviation) for convolution, each, deviation in triples]
        for level in reversed(range(len(mixed) - 1)):
            coarse = self.across_scales[level](mixed[level + 1])
            mixed[level] = mixed[level] + interpolate(coarse, size=mixed[level].shape[2:], mode="bilinear")
        return mixed


class ProjectedHead(nn.Module):
    """Maps feature maps to logits `[N, h w]`: convolutions that halve the sides, then one to the logits.

    `widths` are the channels of its maps. All convolutions are spectrally normalized. `normalization` is that of the
    maps: batch normalization in the authors' code; the paper names none. In the mode `projection` each position adds
    the product of its features with the class (1802.05637).
    """

    def __init__(
        self, widths: list[int], conditions: ConditioningSpec, normalization: str, initialization: str
    ) -> None:
        super().__init__()
        settings: Any = {"initialization": initialization, "normalization": "spectral"}
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [
                init_layer(nn.Conv2d(inputs, outputs, 4, stride=2, padding=1), **settings),
                build_normalization(normalization, outputs, image=True),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        self.layers = nn.Sequential(*layers)
        self.score = init_layer(nn.Conv2d(widths[-1], 1, 3, padding=1), **settings)
        self.classes: nn.Module | None = None
        if conditions.mode == "projection":
            self.classes = init_layer(nn.Conv2d(widths[-1], conditions.size, 1, bias=False), **settings)

    def forward(self, maps: Tensor, condition: Condition | None) -> Tensor:
        features = self.layers(maps)
        logits = self.score(features).squeeze(1)
        if self.classes is not None:
            logits = logits + (self.classes(features) * labels_of(condition)[:, :, None, None]).sum(1)
        return logits.flatten(1)


class ProjectedDiscriminator(Discriminator):
    """Maps images `[N, 1 or 3, H, W]` in [-1, 1] to logits `[N, 4, h w]`: those of each of four heads.

    The heads' losses are averaged; the paper adds them. Images are resized for the frozen network as `input_sides`
    says. The frozen network's weights are random until `load_published`, and no checkpoint contains them.
    """

    batch_dependence_is_declared = True
    frozen_sha256: Tensor  # uint8 `[32]`, of the published weights; 0 while they are random

    def __init__(
        self,
        sample_shape: tuple[int, ...],
        base_channels: int,
        max_multiplier: int,
        least_side: int,
        normalization: str = "batch",
        initialization: str = "default",
        conditions: ConditioningSpec = UNCONDITIONAL,
    ) -> None:
        super().__init__()
        self.conditioning_mode = conditions.mode
        self.input_sides = input_sides(list(sample_shape[1:]), least_side)
        self.frozen_network = EfficientNetLite0()
        self.register_buffer("frozen_sha256", torch.zeros(32, dtype=torch.uint8))
        widths = channels_per_level(base_channels, len(CHANNELS), max_multiplier)
        self.mixing = RandomMixing(widths)
        coarsest = min(self.input_sides) // STRIDE
        more = 0  # halvings of the coarsest maps
        while coarsest >> more > LOGITS_SIDE:
            more += 1
        self.heads = nn.ModuleList(
            ProjectedHead(widths[level:] + more * widths[-1:], conditions, normalization, initialization)
            for level in range(len(widths))
        )

    def load_published(self, tensors: Mapping[str, Tensor]) -> None:
        """Fills the frozen network with weights by their published names."""
        self.frozen_network.load_published(tensors)
        digest = hashlib.sha256()
        for name in sorted(tensors):
            digest.update(tensors[name].numpy().tobytes())
        self.frozen_sha256 = torch.tensor([*digest.digest()], dtype=torch.uint8)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        saved = state_dict.get(f"{prefix}frozen_sha256")
        if saved is not None and not torch.equal(saved.cpu(), self.frozen_sha256.cpu()):
            raise UsageError(
                "architecture.discriminator=projected: the checkpoint was trained with other frozen weights"
            )
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    def features(self, sample: Tensor, condition: Condition | None) -> list[Tensor]:  # type: ignore[override]
        """Returns the mixed feature maps, finest first."""
        return self.mixing(self.frozen_network(resized(sample, self.input_sides)))

    def discriminate(self, sample: Tensor, condition: Condition | None = None) -> DiscriminatorOutput:
        pairs = zip(self.heads, self.features(self.view(sample, condition), condition), strict=True)
        return DiscriminatorOutput(torch.stack([head(maps, condition) for head, maps in pairs], 1))
