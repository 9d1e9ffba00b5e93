"""Answers without a network: an exact linear map, the nearest training image, and the input itself."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from gan_cli.data.dataset import Dataset, to_signed_unit
from gan_cli.evaluation.metrics.paired import psnr_of_each
from gan_cli.evaluation.paired_inputs import PairedInputs, paired_inputs
from gan_cli.evaluation.real_data import RealData
from gan_cli.evaluation.without_network import (
    IDENTITY,
    NEAREST,
    RIDGE,
    answers_without_network,
    kernel_ridge,
    nearest_rows,
)
from support.configs import compose
from support.tasks import RUNS, TINY


def noise(seed: int, *shape: int) -> Tensor:
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def inputs_of(*overrides: str, train: Dataset, held_out: Dataset | None, n: int = 10) -> PairedInputs:
    own = "dataset=" in " ".join(overrides)
    unused = ("dataset",) if own else ("dataset.image_channels",)
    config = compose(*overrides, *(each for each in TINY if not each.startswith(unused)))
    found = paired_inputs(config, RealData(train, train, held_out, "they have no test split"), n)
    assert found is not None
    return found


def answers(inputs: PairedInputs) -> dict[str, Tensor]:
    return dict(answers_without_network(inputs))


TRAIN, HELD_OUT = Dataset(noise(0, 80, 1, 16, 16), "noise"), Dataset(noise(1, 20, 1, 16, 16), "noise")


def test_kernel_ridge_finds_a_linear_map() -> None:
    random = torch.Generator().manual_seed(0)
    examples, inputs = torch.randn(300, 20, generator=random), torch.randn(40, 20, generator=random)
    weights, bias = torch.randn(20, 5, generator=random), torch.randn(5, generator=random)
    found = kernel_ridge(examples, examples @ weights + bias, inputs)
    assert torch.allclose(found, inputs @ weights + bias, atol=1e-3)


def test_kernel_ridge_finds_a_curve_that_no_line_fits() -> None:
    random = torch.Generator().manual_seed(1)
    examples, inputs = (torch.rand(count, 1, generator=random) * 6 - 3 for count in (400, 50))
    found = kernel_ridge(examples, examples.sin() * examples, inputs)
    assert (found - inputs.sin() * inputs).abs().max() < 0.1


def test_kernel_ridge_does_not_fit_noise() -> None:
    """Of targets that do not depend on the inputs, it predicts about their mean."""
    random = torch.Generator().manual_seed(2)
    examples, targets = torch.randn(400, 3, generator=random), 5 + torch.randn(400, 1, generator=random)
    found = kernel_ridge(examples, targets, torch.randn(100, 3, generator=random))
    assert (found - 5).abs().mean() < 0.3


def test_kernel_ridge_of_equal_inputs_and_of_few() -> None:
    same = kernel_ridge(torch.ones(10, 4), torch.full((10, 2), 3.0), torch.ones(3, 4))
    assert torch.allclose(same, torch.tensor(3.0))
    assert kernel_ridge(torch.rand(10, 4), torch.rand(10, 2), torch.rand(3, 4)).isfinite().all()


def test_the_nearest_row_is_found_by_the_known_values() -> None:
    examples = torch.tensor([[0.0, 9.0], [1.0, 0.0]])
    inputs = torch.tensor([[0.2, 0.1], [0.2, 0.1]])
    assert nearest_rows(inputs, examples).tolist() == [1, 1]
    assert nearest_rows(inputs, examples, torch.tensor([[1.0, 0.0], [1.0, 1.0]])).tolist() == [0, 1]


@pytest.mark.parametrize("task", [*RUNS, "hole"])
def test_a_training_input_gets_its_own_true_image(task: str) -> None:
    """Held-out images that are training images: their nearest training input is their own."""
    overrides = (*RUNS["inpainting"], "task.mask=[centre]") if task == "hole" else RUNS[task]
    copies = dataclasses.replace(TRAIN, samples=TRAIN.samples[30:60])
    inputs = inputs_of(*overrides, train=TRAIN, held_out=copies)
    assert torch.equal(answers(inputs)[NEAREST], to_signed_unit(inputs.truth))


def test_the_input_itself() -> None:
    edges = inputs_of(*RUNS["translation"], train=TRAIN, held_out=HELD_OUT)
    assert edges.condition.image is not None
    assert torch.equal(answers(edges)[IDENTITY], edges.condition.image)
    small = answers(inputs_of(*RUNS["super_resolution"], train=TRAIN, held_out=HELD_OUT))[IDENTITY]
    assert small.shape == (10, 1, 16, 16)
    colours = [Dataset(noise(seed, 30, 3, 16, 16), "noise") for seed in (0, 1)]
    assert [*answers(inputs_of(*RUNS["translation"], train=colours[0], held_out=colours[1]))] == [NEAREST, RIDGE]


def test_the_hidden_part_gets_the_mean_of_the_known_pixels() -> None:
    flat = Dataset(torch.full((20, 1, 16, 16), 200, dtype=torch.uint8), "flat")
    inputs = inputs_of(*RUNS["inpainting"], train=TRAIN, held_out=flat)
    assert torch.allclose(answers(inputs)[IDENTITY], to_signed_unit(inputs.truth), atol=1e-6)


def test_known_pixels_stay_and_ridge_needs_equal_masks() -> None:
    varied = answers(inputs_of(*RUNS["inpainting"], train=TRAIN, held_out=HELD_OUT))
    assert [*varied] == [IDENTITY, NEAREST]
    inputs = inputs_of(*RUNS["inpainting"], "task.mask=[centre]", train=TRAIN, held_out=HELD_OUT)
    assert inputs.condition.mask is not None
    known, truth = inputs.condition.mask < 0.5, to_signed_unit(inputs.truth)
    found = answers(inputs)
    assert [*found] == [IDENTITY, NEAREST, RIDGE]
    for samples in found.values():
        assert torch.equal(samples[known], truth[known])
        assert not torch.equal(samples, truth)


def test_ridge_learns_pairs_that_are_an_exact_map() -> None:
    """Sources that are the negatives of the samples."""
    many = Dataset(noise(2, 900, 1, 16, 16), "noise")
    train, held_out = (dataclasses.replace(each, sources=255 - each.samples) for each in (many, HELD_OUT))
    pairs = ("dataset=folder", "dataset.path=pairs", "dataset.image_channels=1")
    inputs = inputs_of("task=translation", *pairs, "architecture.generator.levels=2", train=train, held_out=held_out)
    found = answers(inputs)
    assert psnr_of_each(found[RIDGE], to_signed_unit(inputs.truth)).min() > 50
    assert psnr_of_each(found[NEAREST], to_signed_unit(inputs.truth)).max() < 15


# --- the inputs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", RUNS)
def test_inputs_are_held_out_images_and_the_same_ones_each_time(task: str) -> None:
    inputs = inputs_of(*RUNS[task], train=TRAIN, held_out=HELD_OUT)
    again = inputs_of(*RUNS[task], train=TRAIN, held_out=HELD_OUT)
    assert inputs.source == "10 held-out images"
    assert inputs.digest == again.digest != inputs.first(9).digest
    held_out = {image.numpy().tobytes() for image in HELD_OUT.samples}
    assert {image.numpy().tobytes() for image in inputs.truth} <= held_out
    assert len({image.numpy().tobytes() for image in inputs.truth}) == 10
    assert inputs.settings.name == task


def test_without_a_test_split_the_examples_are_other_images_than_the_inputs() -> None:
    inputs = inputs_of(*RUNS["translation"], train=TRAIN, held_out=None, n=40)
    assert inputs.source == "40 training images (they have no test split)"
    assert len(inputs.example_index) == 40
    examples = {image.numpy().tobytes() for image in TRAIN.samples[inputs.example_index]}
    assert not examples & {image.numpy().tobytes() for image in inputs.truth}


def test_labels_of_inputs_are_in_the_order_of_the_runs_classes() -> None:
    train = dataclasses.replace(TRAIN, labels=torch.arange(80) % 3, classes=("a", "b", "c"))
    held_out = dataclasses.replace(HELD_OUT, labels=torch.arange(20) % 2, classes=("c", "b"))
    config = compose(
        *RUNS["inpainting"],
        *(each for each in TINY if "image_channels" not in each),
        "conditioning=projection",
        "conditioning.classes=[a,b,c]",
    )
    inputs = paired_inputs(config, RealData(train, train, held_out), 10)
    assert inputs is not None
    assert inputs.condition.labels is not None
    for image, row in zip(inputs.truth, inputs.condition.labels, strict=True):
        number = int((HELD_OUT.samples == image).flatten(1).all(1).nonzero())
        assert row.tolist() == ([0, 0, 1] if number % 2 == 0 else [0, 1, 0])
    assert inputs.source == "10 held-out images"
    unlabelled = paired_inputs(config, RealData(train, train, HELD_OUT), 10)
    assert unlabelled is not None
    assert unlabelled.condition.labels is not None
    assert unlabelled.condition.labels.sum(1).tolist() == [1] * 10
    assert unlabelled.source == "10 held-out images, with labels of random training images"
    assert unlabelled.digest == inputs.digest  # metrics of runs with and without classes can be compared
