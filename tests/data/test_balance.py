"""Classes of unequal size: drawn equally often if wanted, and told of."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gan_cli.cli.main import run_command
from gan_cli.data.balance import class_balance_note, group_by_class
from gan_cli.data.dataset import Batches, Dataset, batch_indices
from gan_cli.data.load_dataset import build_batches, build_dataset
from gan_cli.errors import UsageError
from gan_cli.state import checkpoint
from gan_cli.tasks.condition import labels_of
from support.configs import TINY_IMAGES, compose, without
from support.images import write_class_folders

LABELS = torch.tensor([0] * 3 + [1] * 45 + [3] * 12 + [-1])
CLASSES = ("few", "many", "none", "some")
FOLDER = [*without(TINY_IMAGES, "dataset"), "dataset=folder", "dataset.cache=none", "dataset.path=pets"]


def batches(size: int = 8, seed: int = 0) -> Batches:
    samples = torch.arange(len(LABELS)).view(-1, 1, 1, 1).to(torch.uint8)
    data = Dataset(samples, "here", LABELS, CLASSES)
    return Batches(data, seed, size, torch.device("cpu"), conditional=True, groups=group_by_class(LABELS, CLASSES))


def test_the_order_goes_on_where_it_was_with_other_batches() -> None:
    groups = group_by_class(LABELS, CLASSES)
    whole = torch.cat([groups.indices(0, 8, update) for update in range(5)])
    before = torch.cat([groups.indices(0, 8, update) for update in range(3)])
    after = torch.cat([groups.indices(0, 4, update, 3 * (8 - 4)) for update in range(3, 7)])
    assert torch.equal(torch.cat([before, after]), whole)
    moved = dataclasses.replace(batches(4), offset=12)
    assert torch.equal(moved.draw(3).samples, batches(8).draw(3).samples[:4])


def test_each_class_comes_equally_often_and_each_of_its_samples_too() -> None:
    drawn = torch.cat([batches()._indices(update) for update in range(45 * 4 // 8 * 4)])
    rounds = drawn[: len(drawn) // 4 * 4].view(-1, 4)
    assert all(sorted(LABELS[each].tolist()) == [-1, 0, 1, 3] for each in rounds)
    many = drawn[LABELS[drawn] == 1]
    assert all(len(set(part.tolist())) == 45 for part in many[:90].view(2, 45))
    few = drawn[LABELS[drawn] == 0].bincount(minlength=3)[:3]
    assert int(few.max() - few.min()) <= 1
    assert batches().per_epoch == -(-4 * 45 // 8)


def test_a_batch_is_a_function_of_seed_and_update_alone() -> None:
    kept = batches()
    assert torch.equal(kept._indices(40), batches()._indices(40))
    assert torch.equal(kept._indices(3), batches()._indices(3))
    assert not torch.equal(kept._indices(3), batches(seed=1)._indices(3))
    halves = torch.cat([batches(size=4)._indices(update) for update in (6, 7)])
    assert torch.equal(kept._indices(3), halves)


def test_what_the_generator_is_asked_for_is_even_too() -> None:
    asked = torch.cat([labels_of(batches(size=64).sample_condition(step)) for step in range(60)])
    shares = asked.mean(0)
    assert shares.tolist() == pytest.approx([0.25, 0.25, 0, 0.25], abs=0.03)
    assert torch.equal(*(labels_of(batches().sample_condition(3)) for _ in range(2)))


def test_without_it_batches_are_as_they_were() -> None:
    plain = dataclasses.replace(batches(), groups=None)
    assert torch.equal(plain._indices(5), batch_indices(0, len(LABELS), 8, 5))
    config = compose(*TINY_IMAGES)
    built = build_batches(config, build_dataset(config.dataset, 16), torch.device("cpu"))
    assert built.groups is None


def test_data_that_cannot_be_balanced() -> None:
    with pytest.raises(UsageError, match="no classes to draw equally often"):
        group_by_class(None, ())
    with pytest.raises(UsageError, match=r"several attributes; choose one by dataset\.labels_columns"):
        group_by_class(torch.zeros(3, 2), ("a=1", "b=1"))


def test_what_is_said_of_unequal_classes() -> None:
    said = class_balance_note(LABELS, CLASSES, balance=False, conditional=True)
    assert said == (
        "warning: classes are very unequal (few 3, many 45): the rare ones are seldom seen;"
        " dataset.balance=true draws each equally often"
    )
    assert class_balance_note(LABELS, CLASSES, balance=False, conditional=False) is None
    assert class_balance_note(LABELS[3:], CLASSES, balance=False, conditional=True) is None
    assert "15 times as often" in str(class_balance_note(LABELS, CLASSES, balance=True, conditional=False))


def test_a_balanced_run_goes_on_to_the_same_bits(
    train: Callable[..., Path], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_class_folders(here / "pets", few=2, many=30)
    command = [*FOLDER, "training.lr_schedule=constant"]
    whole = train(*command, "name=whole", "steps=4", "dataset.balance=true")
    (said,) = re.findall("^balance: each class is drawn equally often.*\n", capsys.readouterr().out, re.M)
    assert run_command("train", [*command, "steps=4", "dataset.balance=true", "dry_run=true"]) == 0
    assert f"\n{said}" in capsys.readouterr().out
    train(*command, "name=parts", "steps=2", "dataset.balance=true")
    parts = train("resume=parts", "extra_steps=2")
    one, other = (checkpoint.load_newest(run / "checkpoints")[0].tensors for run in (whole, parts))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert run_command("train", [*FOLDER, "dataset.balance=true", "dataset.labels=shards"]) == 2
    assert "these data have no classes to draw equally often" in capsys.readouterr().err
