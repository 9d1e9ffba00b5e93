"""The objective's terms, each by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from gan_cli.data.load_dataset import build_batches, build_dataset, with_classes
from gan_cli.models.layers import DiscriminatorOutput
from gan_cli.tasks.condition import Condition
from gan_cli.training.objective import DiscriminatorPass, build_objective
from support.configs import TINY_IMAGES, compose


def test_ac_gan_s_discriminator_classifies_real_and_fake_samples() -> None:
    """The sum of both cross-entropies (1610.09585, equation 3); G's loss has that of the fakes."""
    config = compose(*TINY_IMAGES, "conditioning=acgan", "conditioning.weight=0.5", "regularizer=none")
    dataset = build_dataset(config.dataset, config.image_size)
    config = with_classes(config, dataset)
    objective = build_objective(config, build_batches(config, dataset, torch.device("cpu")))
    (penalty,) = objective.penalties
    assert (penalty.name, penalty.weight, penalty.interval) == ("classification", 0.5, 1)
    labels = torch.arange(4)
    inputs: Any = SimpleNamespace(condition=Condition(one_hot(labels, 8).float()))
    real, fake = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(0))
    of_real, of_fake = cross_entropy(real, labels).item(), cross_entropy(fake, labels).item()
    outputs = [DiscriminatorOutput(torch.zeros(4), logits) for logits in (real, fake)]
    found = penalty.compute(DiscriminatorPass(inputs, *outputs, {}))
    assert found.item() == pytest.approx(of_real + of_fake)
    assert float(objective.classification_loss(outputs[1], inputs.condition)) == pytest.approx(0.5 * of_fake)
