"""`dataset.classes` and `dataset.limit`: which samples are kept."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from gan_cli.data.dataset import Dataset
from gan_cli.data.selection import Selection
from gan_cli.errors import UsageError


def labelled(count: int = 40) -> Dataset:
    samples = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1)
    return Dataset(samples, "somewhere", labels=torch.arange(count) % 4, classes=("ant", "bee", "cat", "dog"))


def test_classes_are_kept_and_counted_anew() -> None:
    kept = Selection(classes=("dog", "bee")).apply(labelled())
    assert kept.classes == ("dog", "bee")
    assert kept.samples.flatten().tolist() == [number for number in range(40) if number % 4 in (1, 3)]
    assert kept.labels.tolist() == [{3: 0, 1: 1}[number % 4] for number in kept.samples.flatten().tolist()]
    assert "20 of 40 kept" in kept.source
    assert Selection(classes=("dog", "bee")).apply(kept) is kept


def test_a_limit_is_a_random_choice_that_stays_the_same() -> None:
    kept, again = (Selection(limit=10).apply(labelled()).samples.flatten().tolist() for _ in range(2))
    assert kept == again == sorted(kept)
    assert len(set(kept)) == 10
    assert kept != list(range(10))
    assert len({number % 4 for number in kept}) > 1
    whole = labelled()
    assert Selection(limit=40).apply(whole) is whole
    both = Selection(classes=("cat",), limit=3).apply(labelled())
    assert (both.samples.flatten() % 4 == 2).all()
    assert len(both) == 3


def test_source_images_are_selected_with_their_samples() -> None:
    whole = labelled()
    paired = dataclasses.replace(whole, sources=100 + whole.samples)
    for selection in (Selection(classes=("dog", "bee")), Selection(limit=7), Selection(("cat",), 3), Selection()):
        kept = selection.apply(paired)
        assert torch.equal(kept.sources, 100 + kept.samples)


@pytest.mark.parametrize(
    ("classes", "words"),
    [(("dgo",), "did you mean 'dog'"), ((), "at least one"), (("dog", "dog"), "once"), (("3",), "expected ant, bee")],
)
def test_wrong_classes_are_named(classes: tuple[str, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Selection(classes=classes).apply(labelled())
