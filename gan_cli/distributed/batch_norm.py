"""Batch normalization with the statistics of the whole batch, if several processes share it.

PyTorch's own `SyncBatchNorm` works on GPUs only, and cannot be differentiated twice.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gan_cli.distributed.batch_share import current_share
from gan_cli.distributed.collectives import stacked_over_processes


class SharedBatchNorm(_BatchNorm):
    """Batch normalization of `[N, C, ...]` (1502.03167) that uses the statistics of all processes in training steps.

    Elsewhere, and with `device.batch_norm=process`, it computes what PyTorch's layers do.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        """Accepts any number of dimensions: the layer that this one replaces had been built for the right one."""

    def forward(self, input: Tensor) -> Tensor:
        share = current_share()
        if share is None or not share.synchronized_norm or not self.training:
            return super().forward(input)
        values = input.to(torch.promote_types(input.dtype, torch.float32))
        dims = [0, *range(2, values.ndim)]
        variance, mean = torch.var_mean(values, dims, correction=0)
        variances, means = stacked_over_processes(torch.stack((variance, mean))).unbind(1)
        mean = means.mean(0)
        variance = variances.mean(0) + (means - mean).square().mean(0)  # of all values (Chan et al., 1979)
        if self.track_running_stats:
            self._record(mean.detach(), variance.detach(), share.count * values.numel() // values.shape[1])
        scale = (variance + self.eps).rsqrt()
        scale = scale if self.weight is None else scale * self.weight
        shift = -mean * scale if self.bias is None else self.bias - mean * scale
        shape = (1, -1, *[1] * (values.ndim - 2))
        return torch.addcmul(shift.view(shape), values, scale.view(shape)).to(input.dtype)

    @torch.no_grad()
    def _record(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Moves the running statistics towards those of a batch with `count` values of each channel."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        weight = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, weight)
        self.running_var.lerp_(variance * (count / max(count - 1, 1)), weight)


def share_statistics(network: nn.Module) -> None:
    """Lets each batch normalization in the network use the statistics of all processes.

    The layers keep their names, parameters and buffers, so checkpoints stay the same.
    """
    for layer in network.modules():
        if type(layer) in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d):
            layer.__class__ = SharedBatchNorm
