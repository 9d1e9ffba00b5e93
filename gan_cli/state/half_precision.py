"""Networks that compute in 16 bits, and the loss scaling that float16 needs (Micikevicius et al., 1710.03740)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim import Optimizer

from gan_cli.errors import DivergedError

SCALER_TENSORS = ("scale", "growth", "skipped")  # what a checkpoint keeps of a scaler
ENDLESS = 10  # so many skipped updates in a row, down to a scale below 1, show that no scale helps
LARGEST = 65504.0  # of float16
HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Returns a context in which networks compute in this precision."""
    return torch.autocast(device.type, HALVES.get(precision, torch.bfloat16), enabled=precision in HALVES)


class LossScaler:
    """Scales the loss of one network, unscales its gradients, and skips an update whose gradients are not finite.

    So small gradients stay within the range of float16 in the backward pass (1710.03740, section 3.2).
    The scale starts at 2^16. It is halved at each skipped update, and doubled after 2,000 others in a row. The number
    of updates skipped in a row, `skipped`, is a tensor of the device, which no step reads.
    """

    skipped: Tensor

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._one, self.skipped = torch.ones((), device=device), torch.zeros((), device=device)
        self._scaler = torch.amp.GradScaler("cpu" if device.type == "meta" else device.type)

    def scale(self, loss: Tensor) -> Tensor:
        return self._scaler.scale(loss)

    def unscale(self, optimizer: Optimizer) -> None:
        """Divides the gradients of the optimizer's parameters by the scale, before they are clipped or measured."""
        self._scaler.unscale_(optimizer)

    def step(self, optimizer: Optimizer) -> None:
        """Updates the parameters unless a gradient is infinite or NaN, and then the scale."""
        before = self._scaler.scale(self._one)
        self._scaler.step(optimizer)
        self._scaler.update()
        after = self._scaler.scale(self._one)
        self.skipped = (self.skipped + 1) * ((after < before) | (after == 0))  # a scale is reduced only then

    def tensors(self) -> dict[str, Tensor]:
        """Returns the state by the names in SCALER_TENSORS, float32 scalars. Waits for the device."""
        if self._device.type == "meta":
            return {name: torch.zeros((), device=self._device) for name in SCALER_TENSORS}
        kept = self._scaler.state_dict()
        scale, growth = torch.tensor(kept["scale"]), torch.tensor(float(kept["_growth_tracker"]))
        return {"scale": scale, "growth": growth, "skipped": self.skipped}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Loads what `tensors` returned."""
        scale, growth = tensors["scale"].item(), int(tensors["growth"].item())
        self._scaler.load_state_dict(self._scaler.state_dict() | {"scale": scale, "_growth_tracker": growth})
        self.skipped = tensors["skipped"].to(self._device, copy=True)


def build_scalers(precision: str, device: torch.device) -> dict[str, LossScaler]:
    """Returns a scaler for each network, by its role; none unless the precision is `fp16`."""
    return {role: LossScaler(device) for role in ("generator", "discriminator")} if precision == "fp16" else {}


def kept_logits(precision: str, logits: Tensor) -> Tensor:
    """Returns logits for what is kept from update to update, in which those of float16 must leave nothing infinite."""
    return logits.nan_to_num(0.0, LARGEST, -LARGEST) if precision == "fp16" else logits


def require_updates(scalers: Mapping[str, LossScaler], step: int) -> None:
    """Raises DivergedError if updates of a network are skipped without end. Waits for the device."""
    for role, scaler in scalers.items():
        skipped = int(scaler.skipped.item())
        if skipped >= ENDLESS and scaler.tensors()["scale"].item() < 1:
            raise DivergedError(
                f"diverged: precision=fp16 skipped the last {skipped} updates of the {role} up to step {step:,}, whose"
                " gradients are not finite at any scale of the loss"
            )
