"""Data sets by their config: selection and splits work for every kind."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gan_cli.data.datasets import downloaded_archives
from gan_cli.data.datasets.points import known_modes
from gan_cli.data.load_dataset import build_dataset, with_sources
from gan_cli.errors import UsageError
from gan_cli.evaluation.real_data import find_real_data
from gan_cli.storage.download import DownloadError
from gan_cli.training.inputs import shown_inputs
from support.configs import compose
from support.published.digits import write_mnist


def test_data_without_classes_say_so() -> None:
    with pytest.raises(UsageError, match="no classes"):
        build_dataset(compose("experiment=swiss_roll", "dataset.classes=[0]").dataset, None)


def test_selection_reaches_every_kind_of_data() -> None:
    config = compose("dataset.download=false", "dataset.classes=[3,5]", "dataset.limit=700")
    dataset = build_dataset(config.dataset, config.image_size)
    assert dataset.samples.shape == (700, 1, 28, 28)
    assert dataset.classes == ("3", "5")
    assert set(dataset.labels.tolist()) == {0, 1}
    config = compose("experiment=ring", "dataset.classes=[1,4,7]", "dataset.limit=99")
    points, modes = build_dataset(config.dataset, None).samples, known_modes(config.dataset)
    assert modes is not None
    assert modes.centres.shape == (3, 2)
    assert torch.cdist(points, modes.centres).min(1).values.max() < 0.2


@pytest.mark.parametrize("name", ["ring", "grid", "swiss_roll", "shapes"])
def test_the_test_split_of_drawn_data_is_other_samples(name: str) -> None:
    architecture = [] if name == "shapes" else ["architecture=mlp"]
    configs = [compose(f"dataset={name}", *architecture, f"dataset.split={split}") for split in ("train", "test")]
    train, test = (build_dataset(config.dataset, config.image_size) for config in configs)
    assert train.samples.shape == test.samples.shape
    assert train.fingerprint != test.fingerprint


def test_a_download_that_failed_is_not_tried_again_in_the_same_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def fail(mirrors: object, name: str, *arguments: object, **settings: object) -> None:
        tried.append(name)
        raise DownloadError("no network")

    monkeypatch.setattr(downloaded_archives, "download", fail)
    config = compose("task=inpainting", "dataset=mnist", f"dataset.root={tmp_path}", "dataset.limit=20")
    dataset = build_dataset(config.dataset, config.image_size)
    assert len(tried) == 1
    inputs = shown_inputs(config, dataset)
    assert inputs is not None
    assert not inputs.held_out
    real = find_real_data(config.dataset, config.image_size, dataset)
    assert (len(real.train_unlimited), real.held_out) == (5000, None)
    assert len(tried) == 1


def test_a_test_split_that_was_not_found_is_not_sought_again_in_the_same_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The inputs that are shown and the evaluation need the same files."""
    write_mnist(tmp_path)
    for path in (tmp_path / "MNIST" / "raw").glob("t10k*"):
        path.unlink()
    tried = []

    def fail(mirrors: object, name: str, *arguments: object, **settings: object) -> None:
        tried.append(name)
        raise DownloadError("no network")

    monkeypatch.setattr(downloaded_archives, "download", fail)
    config = compose("task=inpainting", "dataset=mnist", f"dataset.root={tmp_path}", "image_size=16")
    dataset = with_sources(config, build_dataset(config.dataset, config.image_size))
    assert tried == []
    inputs = shown_inputs(config, dataset)
    assert inputs is not None
    assert not inputs.held_out
    real = find_real_data(config.dataset, config.image_size, dataset)
    assert real.held_out is None
    assert "no test split: dataset.root=" in real.why
    assert len(tried) == 1
