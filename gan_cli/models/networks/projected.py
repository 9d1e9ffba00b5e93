"""The discriminator of Projected GAN (Sauer et al., 2111.01007): small heads on the features of a frozen network.

The frozen network is EfficientNet-Lite0 with ImageNet weights. Its four feature maps are mixed by fixed random 1 x 1
convolutions, so that heads cannot rely on a few channels or one scale (section 3.2): across channels, then across
scales, where each map is added to the next finer one. All maps are enlarged to twice their sides, so that also the head
of the coarsest maps has a hidden layer: without one it would be a linear function of fixed features.

The features are sensitive to patterns of single pixels, by which D separates real from fake at once, and which G then
makes. Noise on D's inputs hides them. Batch normalization of the heads would remove the mean of a batch and enlarge its
small differences, so that a batch of fakes of one colour looks as varied as one of real images (benchmarks/LOG.md).
"""

from __future__ import annotations

import hashlib
import math
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
    STRIDE,
    EfficientNetLite0,
    FrozenConvolution,
    input_sides,
    resized,
)
from gan_cli.tasks.condition import Condition, labels_of

LOGITS_SIDE = 8  # of the logits of each head, at most: the heads halve until it is reached


class RandomMixing(nn.Module):
    """Mixes maps, finest first, by fixed random convolutions without activations (section 3.2).

    Maps `[N, C_l, h_l, w_l]` become `[N, outputs[l], 2 h_l, 2 w_l]`: a convolution to `channels[l]` channels, the
    coarser output is added, a convolution to `outputs[l]`, and bilinear upsampling. The weights are buffers that a
    checkpoint contains, and are drawn as PyTorch draws those of its convolutions.
    """

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        self.outputs = [channels[0], *channels[:-1]]  # those of the next finer map, to which they are added
        self.across_channels = nn.ModuleList(map(_fixed_convolution, CHANNELS, channels))
        self.across_scales = nn.ModuleList(map(_fixed_convolution, channels, self.outputs))

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        mixed: list[Tensor] = []
        for level in reversed(range(len(maps))):
            total = self.across_channels[level](maps[level])
            if mixed:
                total = total + mixed[0]
            # a 1 x 1 convolution before the upsampling equals one after it, at a quarter of the cost
            mixed.insert(0, interpolate(self.across_scales[level](total), scale_factor=2, mode="bilinear"))
        return mixed


def _fixed_convolution(inputs: int, outputs: int) -> FrozenConvolution:
    convolution = FrozenConvolution(inputs, outputs, 1, bias=False, saved=True)
    nn.init.kaiming_uniform_(convolution.weight, math.sqrt(5))  # of variance 1 / (3 inputs)
    return convolution


class ProjectedHead(nn.Module):
    """Maps feature maps to logits `[N, h w]`: convolutions that halve the sides, then one to the logits.

    `widths` are the channels of its maps. All convolutions are spectrally normalized. `normalization` is that of the
    maps beside it: batch normalization in the authors' code; the paper names none. In the mode `projection` each
    position adds the product of its features with the class (1802.05637).
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
        normalization: str = "none",
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
        halvings = 1  # of the coarsest maps
        while (2 * min(self.input_sides) // STRIDE) >> halvings > LOGITS_SIDE:
            halvings += 1
        self.heads = nn.ModuleList(
            ProjectedHead(
                [inputs, *widths[level + 1 :], *halvings * widths[-1:]], conditions, normalization, initialization
            )
            for level, inputs in enumerate(self.mixing.outputs)
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
