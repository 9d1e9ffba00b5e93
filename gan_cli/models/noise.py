"""Noise that a generator adds to its feature maps (1812.04948, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gan_cli.distributed.batch_share import own, whole


class NoiseInput(nn.Module):
    """Adds noise to maps `[N, C, height, width]`: one number for each position, times a learned strength and `gain`.

    The strength starts at 0. In training, the noise is new for each sample, from torch's global random generator. In
    evaluation mode it is constant, as drawn together with the weights, so that a latent always gives the same sample.
    """

    constant: Tensor

    def __init__(self, height: int, width: int, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = gain
        self.register_buffer("constant", torch.randn(1, 1, height, width))
        self.strength = nn.Parameter(torch.zeros(()))

    def forward(self, maps: Tensor) -> Tensor:
        noise = self.constant
        if self.training:
            drawn = torch.randn(whole(maps.shape[0]), *noise.shape[1:], device=maps.device, dtype=maps.dtype)
            noise = own(drawn)
        strength = self.strength if self.gain == 1 else self.strength * self.gain
        return maps + (strength * noise).to(maps.dtype)
