"""Scores of fakes beside real pictures, the same for every run that a benchmark compares.

Each extractor gives a Frechet distance, precision and recall, each with its floor: what as many real pictures score.
Beside them stand the shares of fakes that are copies of training pictures or of each other, and `checkerboard`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from updates import config_of

from gan_cli.data.load_dataset import build_dataset
from gan_cli.evaluation.compute import evaluate_samples, find_copies
from gan_cli.evaluation.real_data import RealData, find_real_data
from gan_cli.evaluation.reference import build_extractor, build_reference

SAMPLES = 2000  # compared on each side, or as many as there are
METRICS = ("frechet", "precision_recall")
AT_ONCE = 250  # pictures whose spectra are held in memory


class Scorer:
    """What fakes are compared with: `n` real pictures at most, in the features of each of `extractors`."""

    def __init__(self, real: RealData, extractors: Sequence[str] = ("auto",), n: int = SAMPLES) -> None:
        self._references = [build_reference(real, build_extractor(name, real), n) for name in extractors]
        self.n = self._references[0].n
        self.real = real.select(self.n)[0][:]

    def scores(self, fakes: Tensor) -> dict[str, Any]:
        """Of uint8 `[N, C, H, W]`: by extractor, then of pixels."""
        found: dict[str, Any] = {}
        for reference in self._references:
            figures, _ = evaluate_samples(reference, fakes[: self.n], METRICS, resamples=0)
            found[reference.extractor.name] = {
                **{figure.name.partition("-")[0]: round(figure.value, 4) for figure in figures},
                "floor": {figure.name.partition("-")[0]: round(figure.floor or 0.0, 4) for figure in figures},
                "n": self.n,
                "accuracy": reference.extractor.accuracy,
            }
        copies = find_copies(self._references[0], fakes[: self.n])
        return found | {
            "memorized": round(copies.copies.float().mean().item(), 4),
            "memorization_flag": copies.flagged,
            "repeated": round(copies.repeats.float().mean().item(), 4),
            "checkerboard": round(checkerboard(fakes, self.real), 3),
        }


# --- real pictures -----------------------------------------------------------------------------------------------


def real_of(overrides: Sequence[str]) -> RealData:
    """The pictures of a training command, as `gan-eval` would compare with them."""
    config = config_of(overrides)
    return find_real_data(config.dataset, config.image_size, build_dataset(config.dataset, config.image_size))


# --- checkerboards -----------------------------------------------------------------------------------------------


def checkerboard(fakes: Tensor, real: Tensor) -> float:
    """How many times as much of the fakes' contrast repeats every 2 or 4 pixels as of the real pictures'.

    Upsampling by 2 that treats its positions unequally leaves a pattern of period 2, or 4 if the layer before did so:
    power at the frequencies 1/4, 1/2 and 3/4 of either axis. 1 is as in real pictures. A pattern of 4 of 255
    values in all that is drawn gives 1.5 in drawn faces of 64 px, one of 8, which is seen, 2 to 3; blur hides a pattern
    of 4 (0.7), not one of 8 (2.5).
    """
    return grid_share(fakes) / max(grid_share(real), 1e-12)


def grid_share(images: Tensor) -> float:
    """The share of spectral power within one bin of the frequencies (a, b), a and b in 0, 1/4, 1/2, 3/4, but (0, 0).

    Of uint8 `[N, C, H, W]`, H and W multiples of 4; the means of pictures are left out. A Hann window keeps edges,
    where a picture does not continue on its other side, from leaking into all frequencies of an axis.
    """
    height, width = images.shape[-2:]
    window = torch.outer(torch.hann_window(height), torch.hann_window(width))
    power = torch.zeros(height, width, dtype=torch.float64)
    for part in images.split(AT_ONCE):
        values = part.float()
        values = (values - values.mean((2, 3), keepdim=True)) * window
        power += torch.fft.fft2(values).abs().square().sum((0, 1))
    on_grid = torch.outer(_near_grid(height), _near_grid(width)) & ~torch.outer(_near_zero(height), _near_zero(width))
    return (power[on_grid].sum() / power.sum().clamp_min(1e-12)).item()


def _near_grid(size: int) -> Tensor:
    """bool `[size]`: bins at most one away from a multiple of a quarter."""
    distance = torch.arange(size) % (size // 4)
    return (distance <= 1) | (distance == size // 4 - 1)


def _near_zero(size: int) -> Tensor:
    distance = torch.arange(size)
    return (distance <= 1) | (distance == size - 1)
