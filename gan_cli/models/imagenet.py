"""Frozen networks with ImageNet weights, for a discriminator, an auxiliary loss and the features of `gan-eval`."""

from __future__ import annotations

from functools import cache

import torch

from gan_cli.models.networks.efficientnet import EfficientNetLite0, EfficientNetLite0Classifier
from gan_cli.storage.imagenet_weights import load_imagenet_weights


@cache
def load_efficientnet(needed_by: str, device: torch.device) -> EfficientNetLite0:
    """Returns the network without its last layers. `needed_by` and errors are as in `load_imagenet_weights`."""
    with torch.random.fork_rng(devices=[]):
        network = EfficientNetLite0()
    network.load_published(load_imagenet_weights(needed_by))
    return network.to(device).to(memory_format=torch.channels_last)


def load_efficientnet_classifier(needed_by: str) -> EfficientNetLite0Classifier:
    """Returns the network with its last layers, on the CPU."""
    with torch.random.fork_rng(devices=[]):
        network = EfficientNetLite0Classifier()
    network.load_published(load_imagenet_weights(needed_by))
    return network.to(memory_format=torch.channels_last)
