"""The default config on the bundled digits: what comes out are digits, of every class."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gan_cli.data.dataset import Dataset, to_signed_unit
from gan_cli.data.load_dataset import build_dataset
from gan_cli.models.build_networks import latent_of
from gan_cli.models.generate import generate
from support.configs import compose
from support.training import train_in_memory

STEPS = 300  # a seventh of what `make demo` does in its minute on two cores of 2026


def train_classifier(dataset: Dataset) -> nn.Module:
    """A small CNN on all 5,000 digits but the last 500, on which it must be right 19 times of 20."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 32, 5, stride=2, padding=2), nn.ReLU(), nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(64 * 49, 128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, 10),
    )  # fmt: skip
    images, labels = to_signed_unit(dataset.samples), dataset.labels
    assert labels is not None
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    for _ in range(6):
        for indices in torch.randperm(4500).split(100):
            optimizer.zero_grad()
            cross_entropy(network(images[indices]), labels[indices]).backward()
            optimizer.step()
    network.eval()
    with torch.no_grad():
        accuracy = (network(images[4500:]).argmax(1) == labels[4500:]).float().mean().item()
    assert accuracy > 0.95
    return network


def digits_made(seed: int, steps: int) -> tuple[Dataset, Tensor]:
    """1,000 samples of the default config after `steps`."""
    config = compose("dataset.download=false", f"seed={seed}", f"steps={steps}")
    samples = torch.cat(list(generate(train_in_memory(config).sampler, latent_of(config), range(1000), 100)))
    return build_dataset(config.dataset, config.image_size), samples


def test_the_default_makes_digits_of_every_class() -> None:
    dataset, samples = digits_made(seed=0, steps=STEPS)
    classifier = train_classifier(dataset)
    with torch.no_grad():
        probabilities = classifier(samples).softmax(1)
    confidence = probabilities.max(1).values.mean().item()
    shares = probabilities.argmax(1).bincount(minlength=10) / 1000
    print(f"mean confidence {confidence:.3f}, rarest class {shares.min().item():.3f}")
    assert confidence >= 0.8
    assert shares.min() >= 0.03
