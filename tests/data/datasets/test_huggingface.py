"""The data set `huggingface`: data of the library `datasets`, local ones."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image as PilImage

from gan_cli.data.dataset import Dataset
from gan_cli.data.load_dataset import build_dataset, build_held_out
from support.configs import dataset_section
from support.errors import refused
from support.shards import encoded, number_of, numbered_image

datasets = pytest.importorskip("datasets")
NAMES = ["cat", "dog"]


def columns(first: int, count: int) -> dict[str, list[Any]]:
    numbers = range(first, first + count)
    images = [{"bytes": encoded(numbered_image(number)), "path": None} for number in numbers]
    return {
        "picture": images,
        "animal": [number % 2 for number in numbers],
        "name": [f"n{number % 3}" for number in numbers],
        "score": [0.5] * count,
    }


def features() -> Any:
    label, text = datasets.ClassLabel(names=NAMES), datasets.Value("string")
    kinds = {"picture": datasets.Image(), "animal": label, "name": text, "score": datasets.Value("float32")}
    return datasets.Features(kinds)


def split(first: int, count: int) -> Any:
    return datasets.Dataset.from_dict(columns(first, count), features=features())


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "library")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def load(path: Path | str, **options: Any) -> Dataset:
    section = dataset_section("huggingface", **{"path": str(path), "cache": "none", **options})
    return build_dataset(section, 8)


def numbers(dataset: Dataset) -> list[int]:
    return [number_of(image) for image in dataset.samples]


def test_a_folder_of_save_to_disk(tmp_path: Path) -> None:
    datasets.DatasetDict(train=split(0, 7), validation=split(100, 12)).save_to_disk(tmp_path / "data")
    found = load(tmp_path / "data")
    assert numbers(found) == list(range(7))
    assert found.classes == ("cat", "dog")
    assert found.labels is not None
    assert found.labels.tolist() == [0, 1, 0, 1, 0, 1, 0]
    assert "7 images in 2 classes (cat 4, dog 3) from" in found.source
    assert numbers(load(tmp_path / "data", split="validation")) == list(range(100, 112))
    section = dataset_section("huggingface", path=str(tmp_path / "data"), cache="none")
    assert numbers(build_held_out(section, 8, found)) == list(range(100, 112))
    refused(lambda: load(tmp_path / "data", split="extra"), "dataset.split=extra", "train, validation")


def test_one_split_alone(tmp_path: Path) -> None:
    split(0, 3).save_to_disk(tmp_path / "data")
    assert numbers(load(tmp_path / "data")) == [0, 1, 2]
    refused(lambda: load(tmp_path / "data", split="test"), "is not divided into splits")


def test_parquet(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    split(0, 4).to_parquet(tmp_path / "data/train-00000-of-00002.parquet")
    split(4, 3).to_parquet(tmp_path / "data/train-00001-of-00002.parquet")
    split(50, 11).to_parquet(tmp_path / "data/test-00000-of-00001.parquet")
    assert numbers(load(tmp_path / "data")) == list(range(7))
    assert numbers(load(tmp_path / "data", split="test")) == list(range(50, 61))
    assert numbers(load(tmp_path / "data/test-00000-of-00001.parquet")) == list(range(50, 61))


def test_parquet_in_folders_of_splits(tmp_path: Path) -> None:
    """As the hub converts data. The name of a file counts before that of its folder, and none above the data does."""
    data = tmp_path / "test/data"
    for name, rows in {
        "default/train/0000": split(0, 4),
        "default/train/0001": split(4, 3),
        "default/test/0000": split(50, 11),
        "default/test/train-0002": split(7, 2),
        "training-2024/0003": split(9, 1),
    }.items():
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        rows.to_parquet(data / f"{name}.parquet")
    found = load(data)
    assert sorted(numbers(found)) == list(range(10))
    assert numbers(load(data, split="test")) == list(range(50, 61))
    section = dataset_section("huggingface", path=str(data), cache="none")
    assert numbers(build_held_out(section, 8, found)) == list(range(50, 61))


def files_of(names: list[str]) -> Any:
    """Rows that name files in place of their bytes, as the library prepares data of image files."""
    rows = {"image": [{"bytes": None, "path": name} for name in names]}
    return datasets.Dataset.from_dict(rows, features=datasets.Features({"image": datasets.Image()}))


def test_image_files_that_the_library_has_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of this data set, or unpacked ones; links lead from snapshots to files of the same data set."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(datasets.config, "DOWNLOADED_DATASETS_PATH", tmp_path / "downloads")
    names = ["hub/datasets--a--b/blobs/0", "downloads/extracted/x/1.png", "hub/datasets--a--c/2.png", "3.png"]
    for number, name in enumerate(names):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(encoded(numbered_image(number)))
    links = {"hub/datasets--a--b/snapshots/0.png": names[0], "hub/datasets--a--b/snapshots/3.png": names[3]}
    for link, target in links.items():
        (tmp_path / link).parent.mkdir(exist_ok=True)
        (tmp_path / link).symlink_to(tmp_path / target)
    given = [str(tmp_path / name) for name in ("downloads/none.png", *names[:2], *links, *names[2:])]
    monkeypatch.setattr(datasets, "load_dataset", lambda *_: {"train": files_of(given)})
    text = refused(lambda: load("a/b"), "4 of 7 images", "not in the folder of the data; save_to_disk")
    assert f"row 0 (names a file that cannot be read: {tmp_path}/downloads/none.png: No such file" in text
    assert numbers(load("a/b", on_bad="skip")) == [0, 1, 0]


def test_image_files_of_a_local_folder(tmp_path: Path) -> None:
    """Those inside of the folder that was named, and no others."""
    (tmp_path / "data/images").mkdir(parents=True)
    for number, name in enumerate(["data/images/0.png", "data/images/1.png", "2.png"]):
        (tmp_path / name).write_bytes(encoded(numbered_image(number)))
    names = ["images/0.png", str(tmp_path / "data/images/1.png"), "../2.png", str(tmp_path / "2.png"), "images"]
    plain = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    rows = {"image": [{"bytes": None, "path": name} for name in names]}
    datasets.Dataset.from_dict(rows, features=datasets.Features({"image": plain})).to_parquet(
        tmp_path / "data/train.parquet"
    )
    assert numbers(load(tmp_path / "data", on_bad="skip")) == [0, 1]
    refused(lambda: load(tmp_path / "data"), "3 of 5 images", "names a file in place of its bytes")


def write_names(path: Path, names: list[str], plain: bool = False) -> Path:
    """Writes a parquet file whose column `image` names files: as texts if `plain`, else in pairs of bytes and path."""
    rows = {"image": names if plain else [{"bytes": None, "path": name} for name in names]}
    pair = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    kinds = datasets.Features({"image": datasets.Value("string") if plain else pair})
    datasets.Dataset.from_dict(rows, features=kinds).to_parquet(path)
    return path


@pytest.mark.parametrize("plain", [False, True])
def test_image_files_beside_a_parquet_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: bool) -> None:
    """Their names are relative to its folder. Those that are missing are named with the place where they should be."""
    (tmp_path / "data/images").mkdir(parents=True)
    for number in range(3):
        (tmp_path / f"data/images/{number}.png").write_bytes(encoded(numbered_image(number)))
    (tmp_path / "3.png").write_bytes(encoded(numbered_image(3)))
    path = write_names(tmp_path / "data/one.parquet", [f"images/{number}.png" for number in range(3)], plain)
    chosen = {"image": "image"} if plain else {}
    assert numbers(load(path, **chosen)) == [0, 1, 2]
    monkeypatch.chdir(tmp_path / "data")
    assert numbers(load("one.parquet", **chosen)) == [0, 1, 2]
    write_names(path, ["images/0.png", "images/none.png", "../3.png", "images/never.png"], plain)
    text = refused(lambda: load(path, **chosen), "3 of 4 images", "train/row 1 (names a file that cannot be read: ")
    assert f"{tmp_path}/data/images/none.png: No such file or directory)" in text
    assert "row 2 (names a file in place of its bytes, which is not in the folder of the data" in text
    assert numbers(load(path, on_bad="skip", **chosen)) == [0]


@pytest.mark.parametrize("plain", [False, True])
def test_image_files_beside_a_parquet_file_are_decoded_again_after_a_change(tmp_path: Path, plain: bool) -> None:
    """Which the state of the parquet file alone does not tell."""
    names = [f"{number}.png" for number in range(400)]
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(encoded(numbered_image(number)))
    path = write_names(tmp_path / "one.parquet", [*names, "none.png", "/"], plain)
    section = dataset_section(
        "huggingface", path=str(path), cache=str(tmp_path / "cache"), image="image", on_bad="skip"
    )
    build_dataset(section, 64)
    assert build_dataset(section, 64).mapped is not None
    (tmp_path / "7.png").write_bytes(encoded(numbered_image(999)))
    changed = build_dataset(section, 64)
    assert numbers(changed) == [*range(7), 999, *range(8, 400)]


def test_parquet_of_another_writer(tmp_path: Path) -> None:
    """Plain columns of bytes and of texts, without the features that the library writes."""
    import pyarrow
    from pyarrow import parquet

    table = {"image": [encoded(numbered_image(number)) for number in range(3)], "kind": ["b", "a", None]}
    parquet.write_table(pyarrow.table(table), tmp_path / "a.parquet")
    found = load(tmp_path / "a.parquet", label="kind")
    assert numbers(found) == [0, 1, 2]
    assert found.classes == ("a", "b")
    assert found.labels is not None
    assert found.labels.tolist() == [1, 0, -1]


def test_columns_are_chosen(tmp_path: Path) -> None:
    split(0, 6).save_to_disk(tmp_path / "data")
    named = load(tmp_path / "data", label="name")
    assert named.classes == ("n0", "n1", "n2")
    assert named.labels is not None
    assert named.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert load(tmp_path / "data", label="none").labels is None
    refused(lambda: load(tmp_path / "data", label="score"), "dataset.label=score", "names or whole numbers")
    refused(lambda: load(tmp_path / "data", label="breed"), "dataset.label=breed", "picture, animal, name, score")
    refused(lambda: load(tmp_path / "data", image="image"), "dataset.image=image", "no column")
    both = {"a": columns(0, 2)["picture"], "b": columns(5, 2)["picture"]}
    kinds = datasets.Features({"a": datasets.Image(), "b": datasets.Image()})
    datasets.Dataset.from_dict(both, features=kinds).save_to_disk(tmp_path / "both")
    refused(lambda: load(tmp_path / "both"), "has 2 columns of images", "dataset.image=...", "a, b")
    assert numbers(load(tmp_path / "both", image="b")) == [5, 6]
    datasets.Dataset.from_dict({"x": [1]}).save_to_disk(tmp_path / "none")
    refused(lambda: load(tmp_path / "none"), "has no column of images")


def test_classes_and_a_limit_select(tmp_path: Path) -> None:
    split(0, 9).save_to_disk(tmp_path / "data")
    assert numbers(load(tmp_path / "data", classes=("dog",))) == [1, 3, 5, 7]
    assert len(load(tmp_path / "data", limit=4)) == 4


def test_bad_images_are_named_or_left_out(tmp_path: Path) -> None:
    given = columns(0, 4)
    given["picture"][1] = {"bytes": b"no image", "path": None}
    given["picture"][2] = {"bytes": None, "path": "/etc/passwd"}
    plain = datasets.Features({"bytes": datasets.Value("binary"), "path": datasets.Value("string")})
    kinds = datasets.Features({**features(), "picture": plain})
    datasets.Dataset.from_dict(given, features=kinds).save_to_disk(tmp_path / "data")
    text = refused(lambda: load(tmp_path / "data"), "2 of 4 images", "train/row 1 (not an image despite its name)")
    assert "train/row 2 (names a file in place of its bytes, which" in text
    assert numbers(load(tmp_path / "data", on_bad="skip")) == [0, 3]


def test_decoded_images_are_mapped_by_the_next_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = datasets.Dataset.from_dict(columns(0, 400), features=features())
    large.save_to_disk(tmp_path / "data")
    section = dataset_section("huggingface", path=str(tmp_path / "data"), cache=str(tmp_path / "cache"))
    first = build_dataset(section, 64)
    monkeypatch.setattr("gan_cli.data.datasets.huggingface._open_split", None)  # not opened again
    second = build_dataset(section, 64)
    assert second.mapped is not None
    assert torch.equal(first.samples, second.samples)
    assert torch.equal(first.labels, second.labels)  # type: ignore[arg-type]
    assert first.fingerprint == second.fingerprint


def test_images_are_turned_as_their_exif_data_ask(tmp_path: Path) -> None:
    buffer, exif = io.BytesIO(), PilImage.Exif()
    exif[0x0112] = 3
    half = numbered_image(0)
    half[:4] = 255
    PilImage.fromarray(half).save(buffer, "png", exif=exif)
    rows = {"image": [{"bytes": buffer.getvalue(), "path": None}]}
    kinds = datasets.Features({"image": datasets.Image()})
    datasets.Dataset.from_dict(rows, features=kinds).save_to_disk(tmp_path / "data")
    assert load(tmp_path / "data").samples[0, 0, :, 0].tolist() == [0] * 4 + [255] * 4


def test_other_paths(tmp_path: Path) -> None:
    refused(lambda: load(tmp_path / "nothing"), "not found", "owner/name")
    refused(lambda: load("./nothing"), "not found")
    (tmp_path / "empty").mkdir()
    refused(lambda: load(tmp_path / "empty"), "holds no data of save_to_disk", "dataset=folder")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nothing")
    refused(lambda: load(tmp_path / "bad.parquet"), "cannot be read")


def test_a_name_on_the_hub_without_a_network(capfd: pytest.CaptureFixture[str]) -> None:
    refused(lambda: load("gan-cli-tests/nothing"), "cannot be had from the hub", "gan-cli-tests/nothing")
    assert "Retrying" not in "".join(capfd.readouterr())
