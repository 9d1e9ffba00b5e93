"""Stacked MNIST: three digits as the channels of an image."""

from __future__ import annotations

from pathlib import Path

from gan_cli.data.datasets.mnist_family import MNIST, load_digits
from gan_cli.data.datasets.stacked_mnist import build_stacked_mnist


def test_stacked_digits(tmp_path: Path) -> None:
    settings = {
        "root": str(tmp_path),
        "download": False,
        "fallback": "bundled",
        "image_size": (28, 28),
        "split": "train",
    }
    stacks, digits_ = build_stacked_mnist(size=2000, digits=3, **settings), load_digits(MNIST, **settings)
    assert stacks.samples.shape == (2000, 3, 28, 28)
    assert stacks.labels.unique().numel() > 800  # of 1000 modes
    assert stacks.classes[7] == "007"
    for index in (0, 999, 1999):
        spelled = f"{stacks.labels[index]:03d}"
        for channel, digit in enumerate(spelled):
            same = (digits_.samples[:, 0] == stacks.samples[index, channel]).flatten(1).all(1)
            assert int(digit) in digits_.labels[same].tolist()
    assert not stacks.complete
    assert stacks.fingerprint == build_stacked_mnist(size=2000, digits=3, **settings).fingerprint
