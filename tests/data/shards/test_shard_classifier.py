"""The classifier of images in shards: it reads each of them once, and equals that of the same images in memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from gan_cli.data.dataset import Dataset
from gan_cli.data.labels import attributes_of
from gan_cli.data.shards.webdataset import ShardImages
from gan_cli.data.streamed_images import stop_decoding
from gan_cli.evaluation.metrics import classifier as classifiers
from gan_cli.evaluation.metrics.classifier import Classifier, LabelledImages, split_of_classifier, train_classifier
from support.shard_server import Server
from support.shards import load_shards, write_numbered


def labelled(dataset: Dataset, images: Tensor | None = None) -> LabelledImages:
    assert dataset.labels is not None
    return LabelledImages(dataset.samples if images is None else images, dataset.labels, attributes_of(dataset.classes))


def same(first: Classifier, second: Classifier) -> bool:
    weights = zip(first.network.state_dict().values(), second.network.state_dict().values(), strict=True)
    return first.accuracy == second.accuracy and all(torch.equal(one, other) for one, other in weights)


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the images that were decoded so far."""
    found: list[int] = []
    decode = ShardImages._decode
    monkeypatch.setattr(
        ShardImages, "_decode", lambda self, row, stopped: found.append(row) or decode(self, row, stopped)
    )
    return found


@pytest.mark.parametrize("side", [16, 28])
@pytest.mark.parametrize(("count", "steps"), [(45, 3), (300, 2), (300, 7)])
def test_it_equals_that_of_images_in_memory(tmp_path: Path, rows: list[int], side: int, count: int, steps: int) -> None:
    """With steps that reach all images, or a part, and more than one epoch."""
    data = load_shards(write_numbered(tmp_path, *[count // 3] * 3), side)
    in_memory = train_classifier(labelled(data, data.samples[:]), steps)
    rows.clear()
    assert same(train_classifier(labelled(data), steps), in_memory)
    assert len(rows) == len({*rows}) == min(count, count // 10 + 100 * steps)
    stop_decoding(data.samples)


@pytest.mark.parametrize("side", [16, 28])
def test_each_shard_is_downloaded_once(server: Server, tmp_path: Path, side: int) -> None:
    """With one shard in the folder at a time."""
    size = (tmp_path / "served/train-0000.tar").stat().st_size
    address, cache = f"{server.address}/train-{{0000..0003}}.tar", str(tmp_path / "cache")
    data = load_shards(address, side, cache=cache, buffer=10, cache_size=1.5 * size / 1e9)
    server.requests.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifiers, "PREDICTED_AT_ONCE", 10)
        train_classifier(labelled(data), steps=6)
    assert len(server.requests) <= 4  # the last of the index may still be there
    stop_decoding(data.samples)


def test_of_many_images_a_part_is_read(tmp_path: Path, rows: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    data, logged = load_shards(write_numbered(tmp_path, *[100] * 4), 16), list[str]()
    monkeypatch.setattr(classifiers, "MOST_HELD", 4 * 3 * 28 * 28 * 50)
    monkeypatch.setattr(classifiers, "MOST_TESTED", 12)
    trained = train_classifier(labelled(data), 5, logged.append)
    tested, learned = split_of_classifier(400)
    assert sorted(rows) == sorted([*tested[:12].tolist(), *learned[:50].tolist()])
    assert trained.accuracy * 12 == pytest.approx(round(trained.accuracy * 12))
    assert logged == ["classifier: reads 62 images once, in the order of the shards"]
    stop_decoding(data.samples)
