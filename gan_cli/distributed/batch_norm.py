"""Batch normalization with the statistics of the whole batch, if several processes share it.

PyTorch's own `SyncBatchNorm` works on GPUs only, and cannot be differentiated twice.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm
from torch.nn.modules.batchnorm import _BatchNorm

from gan_cli.distributed.batch_share import current_share
from gan_cli.distributed.collectives import mean_over_processes, stacked_over_processes


def _mean_and_variance(values: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the mean and the variance of each channel over the batches of all processes, float32 or float64."""
    values = values.to(torch.promote_types(values.dtype, torch.float32))
    if values.device.type == "cpu" and not torch.is_grad_enabled():  # var_mean takes 40 times as long on a CPU
        mean, variance = torch.batch_norm_update_stats(values, None, None, 0.0)
    else:
        variance, mean = torch.var_mean(values, [0, *range(2, values.ndim)], correction=0)
    variances, means = stacked_over_processes(torch.stack((variance, mean))).unbind(1)
    mean = means.mean(0)
    return mean, variances.mean(0) + (means - mean).square().mean(0)  # of all values (Chan et al., 1979)


def _per_channel(numbers: Tensor, values: Tensor) -> Tensor:
    """Returns numbers `[C]` in a shape that is broadcast to values `[N, C, ...]`."""
    return numbers.view(1, -1, *[1] * (values.ndim - 2))


def _normalized(values: Tensor, weight: Tensor | None, bias: Tensor | None, epsilon: float) -> Tensor:
    """Returns (x - mean) / sqrt(variance + epsilon) weight + bias, differentiable as often as needed."""
    mean, variance = _mean_and_variance(values)
    scale = (variance + epsilon).rsqrt()
    scale = scale if weight is None else scale * weight
    shift = -mean * scale if bias is None else bias - mean * scale
    return torch.addcmul(_per_channel(shift, values), values.to(scale.dtype), _per_channel(scale, values))


class _Normalization(torch.autograd.Function):
    """`_normalized` by PyTorch's kernels for batch normalization; also returns the mean and the variance.

    With the normalized x' = (x - mean) / deviation and the gradient g of the output, the gradient of x is
    (weight / deviation) (g - E g - x' E(g x')), means over the batches of all processes.
    """

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, weight: Tensor | None, bias: Tensor | None, epsilon: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        mean, variance = _mean_and_variance(values)
        ctx.save_for_backward(values, weight, bias, mean, variance)
        ctx.epsilon = epsilon
        ctx.mark_non_differentiable(mean, variance)
        return batch_norm(values, mean, variance, weight, bias, eps=epsilon), mean, variance

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        values, weight, bias, mean, variance = ctx.saved_tensors
        needed, gradient = ctx.needs_input_grad, gradients[0]
        if torch.is_grad_enabled():  # this pass is to be differentiated
            inputs = [each for each, need in zip((values, weight, bias), needed, strict=False) if need]
            output = _normalized(values, weight, bias, ctx.epsilon).to(gradient.dtype)
            found = iter(torch.autograd.grad(output, inputs, gradient, create_graph=True))
            return *(next(found) if need else None for need in needed[:3]), None
        inverse = (variance + ctx.epsilon).rsqrt()
        _, for_weight, for_bias = torch.ops.aten.native_batch_norm_backward(  # a GPU reads mean and inverse
            gradient, values, weight, mean, variance, mean, inverse, False, ctx.epsilon, [False, True, True]
        )  # sums of g x' and of g
        count = values.numel() // values.shape[1]
        product, plain = (mean_over_processes(torch.stack((for_weight, for_bias)).to(mean.dtype)) / count).unbind()
        scale = inverse if weight is None else inverse * weight
        slope = scale * inverse * product
        parts = [_per_channel(each, values) for each in (mean * slope - scale * plain, scale, -slope)]
        for_values = torch.addcmul(parts[0], gradient.to(mean.dtype), parts[1])
        for_values = for_values.addcmul_(values.to(mean.dtype), parts[2]).to(values.dtype)
        return for_values, for_weight if needed[1] else None, for_bias if needed[2] else None, None


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
        output, mean, variance = _Normalization.apply(input, self.weight, self.bias, self.eps)
        if self.track_running_stats:
            self._record(mean, variance, share.count * input.numel() // input.shape[1])
        return output

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
