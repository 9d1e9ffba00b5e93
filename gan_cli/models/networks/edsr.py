"""EDSR (1707.02921): a generator that enlarges an image by residual blocks without normalization and PixelShuffle."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gan_cli.models.layers import init_layer
from gan_cli.models.residual import Residual, doubling_layers
from gan_cli.tasks.condition import Condition

RESIDUAL_SCALE = 0.1  # of a block's output, as in the paper's section 3.3


class EDSRGenerator(nn.Module):
    """Maps the small image of a condition `[N, C, h, w]` to `[N, C, H, W]`, what is added to the enlarged image.

    The output is not bounded and starts near 0. The network takes images of any sides. A latent, if there is one, is
    added to the first maps.
    """

    def __init__(
        self,
        sample_shape: tuple[int, ...],
        given: Condition,
        latent_dim: int,
        base_channels: int,
        blocks: int,
        initialization: str = "default",
    ) -> None:
        super().__init__()
        assert given.image is not None
        factor = sample_shape[1] // given.image.shape[2]

        def convolution(inputs: int, outputs: int) -> nn.Module:
            return init_layer(nn.Conv2d(inputs, outputs, 3, padding=1), initialization=initialization)

        self.first = convolution(given.image.shape[1], base_channels)
        self.project = nn.Linear(latent_dim, base_channels, bias=False) if latent_dim else None
        inner = base_channels, base_channels
        self.blocks = nn.ModuleList(
            Residual(convolution(*inner), nn.ReLU(), convolution(*inner), scale=RESIDUAL_SCALE) for _ in range(blocks)
        )
        self.after = convolution(*inner)
        doublings = factor.bit_length() - 1
        self.enlarge = nn.Sequential(
            *doubling_layers(
                doublings, lambda: convolution(base_channels, 4 * base_channels), lambda: [nn.LeakyReLU(0.2)]
            )
        )
        self.last = convolution(base_channels, sample_shape[0])
        with torch.no_grad():
            self.last.get_parameter("weight").mul_(0.1)

    def forward(self, latent: Tensor, condition: Condition) -> Tensor:
        assert condition.image is not None
        first = self.first(condition.image.contiguous(memory_format=torch.channels_last))
        if self.project is not None:
            first = first + self.project(latent)[:, :, None, None].to(first.dtype)
        maps = first
        for block in self.blocks:
            maps = block(maps)
        return self.last(self.enlarge(first + self.after(maps)))
