"""Data sets: the idx reader, where MNIST comes from, downloads, drawn data, batches without a sampler's state."""

from __future__ import annotations

import gzip
import hashlib
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gan_cli.data.dataset import Batches, Dataset, batch_indices, check_batch_size, to_signed_unit, to_uint8
from gan_cli.data.datasets import digits
from gan_cli.data.datasets.digits import FASHION_MNIST, IMAGES, KMNIST, LABELS, MNIST, load_digits
from gan_cli.data.datasets.idx import read_idx
from gan_cli.data.datasets.shapes import build_shapes
from gan_cli.data.datasets.stacked import build_stacked_mnist
from gan_cli.data.decoding.resize import crop_and_resize_batch, crop_box
from gan_cli.data.load_dataset import build_dataset, known_modes
from gan_cli.data.selection import Selection
from gan_cli.errors import StorageError, UsageError
from gan_cli.storage.download import DownloadError, download
from support.configs import compose
from support.datasets import idx_bytes, write_digits
from support.paths import ROOT

SHARED = ROOT.parent / "shared" / "data"


def load(
    source: digits.Source,
    root: Path,
    *,
    download: bool = False,
    fallback: str = "error",
    image_size: int = 28,
    split: str = "train",
):
    size = (image_size, image_size)
    return load_digits(source, root=str(root), download=download, fallback=fallback, image_size=size, split=split)


# --- idx ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compress", [False, True])
def test_idx_files_raw_or_gzipped(tmp_path: Path, compress: bool) -> None:
    images, labels = write_digits(tmp_path / "MNIST" / "raw", compress=compress)
    dataset = load(MNIST, tmp_path)
    assert torch.equal(dataset.samples, torch.from_numpy(images).unsqueeze(1))
    assert dataset.labels is not None
    assert dataset.labels.tolist() == labels.tolist()
    assert dataset.complete
    assert "30 images" in dataset.source


def test_the_siblings_have_folders_of_their_own(tmp_path: Path) -> None:
    for source in (FASHION_MNIST, KMNIST):
        write_digits(tmp_path / source.folder)
        assert source.title in load(source, tmp_path).source
    section = compose("dataset=kmnist", f"dataset.root={tmp_path}", "dataset.download=false").dataset
    assert build_dataset(section, 28).classes[0] == "o"


def test_idx_files_straight_in_the_root(tmp_path: Path) -> None:
    write_digits(tmp_path)
    assert len(load(FASHION_MNIST, tmp_path)) == 30


GOOD = idx_bytes(np.zeros((2, 28, 28), np.uint8))
DAMAGED = {
    "empty": b"",
    "two bytes": b"\0\0",
    "wrong magic": b"\x89PNG" + GOOD[4:],
    "floats": struct.pack(">I", 0x0D03) + GOOD[4:],
    "no dimensions": struct.pack(">I", 0x0800),
    "header cut": GOOD[:10],
    "data cut": GOOD[:-1],
    "data too long": GOOD + b"\0",
    "a page of HTML": b"<!DOCTYPE html><html>not found</html>",
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
@pytest.mark.parametrize("compress", [False, True])
def test_damaged_idx_files_are_refused_by_name(tmp_path: Path, content: bytes, compress: bool) -> None:
    path = tmp_path / ("broken.gz" if compress else "broken")
    path.write_bytes(gzip.compress(content) if compress else content)
    with pytest.raises(UsageError, match="broken"):
        read_idx(path)


@pytest.mark.parametrize(
    "content",
    [gzip.compress(GOOD)[:-9], b"not gzip at all", gzip.compress(GOOD)[:30]],
    ids=["checksum cut", "not gzip", "data cut"],
)
def test_damaged_gzip_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.gz"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"broken\.gz: damaged gzip"):
        read_idx(path)


def test_a_flipped_bit_in_gzip_is_refused(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(idx_bytes(np.arange(784, dtype=np.uint8).reshape(1, 28, 28))))
    content[len(content) // 2] ^= 1
    path = tmp_path / "broken.gz"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="broken"):
        read_idx(path)


def test_an_unreadable_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="nowhere"):
        read_idx(tmp_path / "nowhere")


def test_images_that_do_not_fit_their_labels_are_refused(tmp_path: Path) -> None:
    write_digits(tmp_path)
    (tmp_path / LABELS).write_bytes(idx_bytes(np.zeros(29, np.uint8)))
    with pytest.raises(UsageError, match="do not fit"):
        load(MNIST, tmp_path)


# --- where it comes from -----------------------------------------------------------------------------------------


def test_mnist_falls_back_to_the_bundled_digits_and_says_so(tmp_path: Path) -> None:
    dataset = load(MNIST, tmp_path, fallback="bundled")
    assert dataset.samples.shape == (5000, 1, 28, 28)
    assert not dataset.complete
    assert "NOT the full MNIST" in dataset.source
    assert dataset.labels is not None
    assert dataset.labels.bincount().tolist() == [500] * 10


def test_the_fallback_can_be_forbidden_and_fashion_has_none(tmp_path: Path) -> None:
    for source in (MNIST, FASHION_MNIST):
        with pytest.raises(UsageError) as caught:
            load(source, tmp_path)
        for word in (source.title, f"{IMAGES}.gz", f"{LABELS}.gz", str(tmp_path / source.folder)):
            assert word in str(caught.value)


def test_resizing(tmp_path: Path) -> None:
    assert load(MNIST, tmp_path, fallback="bundled", image_size=32).samples.shape == (5000, 1, 32, 32)
    flat = torch.full((2, 3, 28, 28), 77, dtype=torch.uint8)
    assert (crop_and_resize_batch(flat, (16, 16)) == 77).all()


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared data beside the checkout")
def test_the_real_fashion_mnist() -> None:
    dataset = load(FASHION_MNIST, SHARED)
    assert dataset.samples.shape == (60_000, 1, 28, 28)
    assert dataset.labels is not None
    assert dataset.labels.bincount().tolist() == [6000] * 10


# --- downloads ---------------------------------------------------------------------------------------------------


def mirrored(server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> digits.Source:
    address, folder = server
    write_digits(folder, compress=True)
    md5 = {name: hashlib.md5((folder / f"{name}.gz").read_bytes()).hexdigest() for name in (IMAGES, LABELS)}
    return replace(MNIST, mirrors=("http://127.0.0.1:9/", address), md5=md5)


def test_a_download_takes_the_first_mirror_that_works_and_is_kept(
    server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = mirrored(server, monkeypatch)
    dataset = load(source, tmp_path / "root", download=True)
    assert len(dataset) == 30
    assert "downloaded" in dataset.source
    again = load(source, tmp_path / "root", download=False)
    assert again.fingerprint == dataset.fingerprint
    assert sorted(path.name for path in (tmp_path / "root/MNIST/raw").iterdir()) == [f"{IMAGES}.gz", f"{LABELS}.gz"]


def test_a_download_with_the_wrong_md5_leaves_nothing(server: tuple[str, Path], tmp_path: Path) -> None:
    address, folder = server
    (folder / "file").write_bytes(b"not what was promised")
    with pytest.raises(DownloadError, match="md5"):
        download([address], "file", "0" * 32, tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_a_download_that_stops_half_way_leaves_nothing(server: tuple[str, Path], tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="File not found"):
        download([server[0]], "absent", "0" * 32, tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_without_a_network_every_mirror_is_named(tmp_path: Path) -> None:
    source = replace(MNIST, mirrors=("http://127.0.0.1:9/one/", "http://127.0.0.1:9/two/"))
    with pytest.raises(UsageError, match=r"cannot be downloaded.*one.*two"):
        load(source, tmp_path, download=True)
    assert list(tmp_path.iterdir()) == []


# --- drawn data --------------------------------------------------------------------------------------------------


def test_the_ring_has_as_many_modes_as_it_says() -> None:
    config = compose("experiment=ring")
    dataset, modes = build_dataset(config.dataset, None), known_modes(config.dataset)
    assert modes is not None
    assert modes.centres.shape == (8, 2)
    assert torch.cdist(modes.centres, modes.centres).fill_diagonal_(9).min() > 1  # none twice
    torch.testing.assert_close(modes.centres.norm(dim=1), torch.full((8,), 2.0))
    distance, nearest = torch.cdist(dataset.samples, modes.centres).min(1)
    assert nearest.bincount().tolist() == [12_500] * 8
    assert (distance < 3 * modes.std).float().mean().item() == pytest.approx(0.9889, abs=0.002)
    assert known_modes(compose().dataset) is None


def test_the_grid_has_as_many_modes_as_it_says() -> None:
    config = compose("experiment=grid")
    dataset, modes = build_dataset(config.dataset, None), known_modes(config.dataset)
    assert modes is not None
    assert modes.centres.shape == (25, 2)
    torch.testing.assert_close(modes.centres.mean(0), torch.zeros(2), atol=1e-6, rtol=0)
    assert torch.pdist(modes.centres).min().item() == pytest.approx(0.7071)
    distance, nearest = torch.cdist(dataset.samples, modes.centres).min(1)
    assert nearest.bincount().tolist() == [4000] * 25
    assert (distance < 3 * modes.std).float().mean().item() == pytest.approx(0.9889, abs=0.002)


def test_the_swiss_roll_is_a_spiral() -> None:
    config = compose("experiment=swiss_roll", "dataset.std=0")
    points = build_dataset(config.dataset, None).samples
    radius = points.norm(dim=1) * 7.5
    assert radius.min().item() == pytest.approx(1.5 * torch.pi, abs=0.01)
    assert radius.max().item() == pytest.approx(4.5 * torch.pi, abs=0.01)
    angle = torch.atan2(points[:, 1], points[:, 0])
    turns = (radius - angle) / (2 * torch.pi)
    torch.testing.assert_close(turns, turns.round(), atol=1e-3, rtol=0)  # the radius is the angle it has turned
    modes = known_modes(config.dataset)
    assert modes is not None
    assert len(modes.centres) == 0
    assert points.abs().max() <= modes.extent


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("side", [16, 28, 64])
def test_shapes_have_equal_modes_that_differ(channels: int, side: int) -> None:
    dataset = build_shapes(size=240, image_channels=channels, image_size=(side, side), split="train")
    count = 24 if channels == 3 else 8
    assert dataset.samples.shape == (240, channels, side, side)
    assert dataset.samples.dtype == torch.uint8
    assert dataset.labels is not None
    assert dataset.labels.bincount().tolist() == [240 // count] * count
    assert len(set(dataset.classes)) == count
    means = torch.stack([dataset.samples[dataset.labels == label].float().mean(0) for label in range(count)])
    assert torch.pdist(means.flatten(1)).min() > 5  # no two modes look alike on average
    assert dataset.samples.flatten(1).amax(1).min() > 150  # each picture has ink


# --- batches -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "batch_size"), [(10, 4), (7, 7), (5, 3), (9, 1), (3, 8)])
def test_every_epoch_shows_each_sample_once(count: int, batch_size: int) -> None:
    epochs = 6
    updates = -(-count * epochs // batch_size)
    stream = torch.cat([batch_indices(1, count, batch_size, update) for update in range(updates)])
    seen = [stream[epoch * count : (epoch + 1) * count].tolist() for epoch in range(epochs)]
    assert all(sorted(epoch) == list(range(count)) for epoch in seen)
    assert count < 5 or len({tuple(epoch) for epoch in seen}) > 1  # orders differ


def test_a_batch_depends_on_its_number_alone() -> None:
    in_order = [batch_indices(3, 100, 8, update).tolist() for update in range(40)]
    assert [batch_indices(3, 100, 8, update).tolist() for update in reversed(range(40))] == in_order[::-1]
    assert batch_indices(4, 100, 8, 0).tolist() != in_order[0]


def test_batches_are_in_the_networks_range() -> None:
    dataset = build_shapes(size=50, image_channels=1, image_size=(16, 16), split="train")
    batch = Batches(dataset, 0, 8, torch.device("cpu")).draw(0)
    assert batch.samples.shape == (8, 1, 16, 16)
    assert batch.samples.min() == -1
    assert batch.samples.max() <= 1
    assert batch.condition is None


def test_bytes_and_units_are_inverses() -> None:
    every = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(to_uint8(to_signed_unit(every)), every)
    points = torch.randn(3, 2)
    assert to_signed_unit(points) is points


def test_a_batch_larger_than_the_data_is_refused() -> None:
    dataset = build_shapes(size=5, image_channels=1, image_size=(16, 16), split="train")
    check_batch_size(dataset, 5)
    with pytest.raises(UsageError, match="batch_size=6: the data set has 5"):
        check_batch_size(dataset, 6)


def test_the_fingerprint_tells_data_apart() -> None:
    one, same = (build_shapes(size=9, image_channels=1, image_size=(16, 16), split="train") for _ in range(2))
    assert one.fingerprint == same.fingerprint
    assert one.fingerprint != build_shapes(size=9, image_channels=1, image_size=(28, 28), split="train").fingerprint
    assert one.labels is not None
    assert replace(one, labels=one.labels.flip(0)).fingerprint != one.fingerprint


# --- what is kept of a data set ----------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    ("classes", "words"),
    [(("dgo",), "did you mean 'dog'"), ((), "at least one"), (("dog", "dog"), "once"), (("3",), "expected ant, bee")],
)
def test_wrong_classes_are_named(classes: tuple[str, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Selection(classes=classes).apply(labelled())


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


def test_the_test_split_of_digits_is_its_own_file(tmp_path: Path) -> None:
    folder = tmp_path / "MNIST" / "raw"
    write_digits(folder)
    with pytest.raises(UsageError, match="t10k-images-idx3-ubyte"):
        load(MNIST, tmp_path, split="test", fallback="bundled")  # the stand-in has no test split
    images = np.full((4, 28, 28), 9, np.uint8)
    (folder / "t10k-images-idx3-ubyte").write_bytes(idx_bytes(images))
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(np.arange(4, dtype=np.uint8)))
    assert (load(MNIST, tmp_path, split="test").samples == 9).all()
    assert len(load(MNIST, tmp_path)) == 30


def test_a_label_out_of_range_is_refused(tmp_path: Path) -> None:
    write_digits(tmp_path)
    (tmp_path / LABELS).write_bytes(idx_bytes(np.full(30, 10, np.uint8)))
    with pytest.raises(UsageError, match="has label 10, of 10 classes"):
        load(MNIST, tmp_path)


# --- sizes and stacks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("height", "width", "size", "box"),
    [
        (100, 100, (64, 64), (0, 0, 100, 100)),
        (100, 200, (64, 64), (0, 50, 100, 100)),
        (218, 178, (64, 64), (20, 0, 178, 178)),
        (100, 100, (64, 96), (16, 0, 67, 100)),
        (1, 500, (64, 64), (0, 249, 1, 1)),
        (3, 2, (1024, 1), (0, 0, 3, 1)),
    ],
)
def test_the_middle_is_cut_to_the_wanted_proportions(
    height: int, width: int, size: tuple[int, int], box: tuple[int, int, int, int]
) -> None:
    assert crop_box(height, width, size) == box


def test_fit_cuts_before_it_resizes() -> None:
    wide = torch.zeros(2, 1, 10, 30, dtype=torch.uint8)
    wide[..., 10:20] = 200
    assert (crop_and_resize_batch(wide, (5, 5)) == 200).all()


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


@pytest.mark.parametrize(("flip", "sides"), [("vertical", [(), (-2,)]), ("both", [(), (-1,), (-2,), (-2, -1)])])
def test_images_may_be_mirrored_top_to_bottom_too(flip: str, sides: list[tuple[int, ...]]) -> None:
    dataset = Dataset(torch.arange(40 * 12, dtype=torch.int64).to(torch.uint8).view(40, 1, 3, 4), "numbers")
    plain, mirrored, usual = (
        Batches(dataset, 0, 40, torch.device("cpu"), chosen).draw(0).samples for chosen in (False, flip, True)
    )
    found = torch.stack([(mirrored == plain.flip(each)).flatten(1).all(1) for each in sides])
    assert found.any(0).all()
    assert (found.sum(1) > 2).all()
    if flip == "both":  # left to right as by itself
        left = (usual != plain).flatten(1).any(1)
        assert torch.equal(left, found[1] | found[3])
