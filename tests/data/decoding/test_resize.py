"""Images are cropped in the middle to the wanted proportions, then resized."""

from __future__ import annotations

import pytest
import torch

from gan_cli.data.decoding.resize import crop_and_resize_batch, crop_box


@pytest.mark.parametrize(
    ("height", "width", "size", "box"),
    [
        (100, 100, (64, 64), (0, 0, 100, 100)),
        (100, 200, (64, 64), (0, 50, 100, 100)),
        (218, 178, (64, 64), (20, 0, 178, 178)),
        (100, 100, (64, 96), (16, 0, 67, 100)),
        (1, 500, (64, 64), (0, 249, 1, 1)),
        (3, 2, (1024, 1), (0, 0, 3, 1)),
    ],
)
def test_the_middle_is_cut_to_the_wanted_proportions(
    height: int, width: int, size: tuple[int, int], box: tuple[int, int, int, int]
) -> None:
    assert crop_box(height, width, size) == box


def test_fit_cuts_before_it_resizes() -> None:
    wide = torch.zeros(2, 1, 10, 30, dtype=torch.uint8)
    wide[..., 10:20] = 200
    assert (crop_and_resize_batch(wide, (5, 5)) == 200).all()
