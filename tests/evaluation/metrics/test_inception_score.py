"""The inception score: known values."""

from __future__ import annotations

import pytest
import torch

from gan_cli.evaluation.metrics.inception_score import inception_score, inception_scores
from gan_cli.evaluation.metrics.resampling import half_masks


def test_sure_and_even_scores_the_number_of_classes() -> None:
    assert inception_score(torch.eye(7).repeat(10, 1)) == pytest.approx(7)


def test_one_class_or_no_idea_scores_1() -> None:
    assert inception_score(torch.eye(7)[:1].repeat(10, 1)) == pytest.approx(1)
    assert inception_score(torch.full((10, 7), 1 / 7)) == pytest.approx(1)


def test_half_the_classes_score_half() -> None:
    assert inception_score(torch.eye(8)[:4].repeat(5, 1)) == pytest.approx(4)


def test_of_each_half_as_of_its_samples_alone() -> None:
    probabilities = torch.randn(40, 5).softmax(1)
    chosen = half_masks(40, 3)
    found = inception_scores(probabilities, chosen)
    assert found.tolist() == pytest.approx([inception_score(probabilities[row]) for row in chosen])
