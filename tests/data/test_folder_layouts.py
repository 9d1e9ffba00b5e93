"""How a person's own images may lie: loose, in classes, in splits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gan_cli.data.selection import Selection
from support.image_folders import folder_error, load_folder
from support.images import (
    BLUE,
    GREEN,
    RED,
    write_class_folders,
    write_image,
    write_mixed_folder,
)

# --- layouts ---------------------------------------------------------------------------------------------------------


def test_loose_pictures_have_no_labels(tmp_path: Path) -> None:
    for name, colour in (("b.png", GREEN), ("a.png", RED), ("c.bmp", BLUE)):
        write_image(tmp_path / name, colour)
    dataset = load_folder(tmp_path)
    assert dataset.samples.dtype == torch.uint8
    assert dataset.samples.shape == (3, 3, 8, 8)
    assert dataset.samples[:, :, 4, 4].tolist() == [list(RED), list(GREEN), list(BLUE)]
    assert dataset.labels is None
    assert dataset.classes == ()
    assert dataset.source == f"3 images from {tmp_path}"


def test_sub_folders_are_classes_and_what_is_deeper_belongs_to_them(tmp_path: Path) -> None:
    write_class_folders(tmp_path, dog=2, bird=1)
    write_image(tmp_path / "cat" / "indoors" / "old" / "x.png")
    write_image(tmp_path / "cat" / "y.png")
    dataset = load_folder(tmp_path)
    assert dataset.classes == ("bird", "cat", "dog")
    assert dataset.labels is not None
    assert dataset.labels.dtype == torch.int64
    assert dataset.labels.tolist() == [0, 1, 1, 2, 2]
    assert dataset.source == f"5 images in 3 classes (bird 1, cat 2, dog 2) from {tmp_path}"


def test_a_single_sub_folder_is_one_class(tmp_path: Path) -> None:
    write_class_folders(tmp_path, cat=2)
    dataset = load_folder(tmp_path)
    assert dataset.classes == ("cat",)
    assert "2 images in 1 class (cat 2)" in dataset.source


def test_loose_pictures_beside_sub_folders_make_no_classes(tmp_path: Path) -> None:
    write_image(write_class_folders(tmp_path, cat=1, dog=1) / "loose.png")
    dataset = load_folder(tmp_path)
    assert len(dataset) == 3
    assert dataset.labels is None
    assert "images both loose and in sub-folders: no classes" in dataset.source


def test_a_stray_picture_of_a_foreign_format_does_not_undo_the_classes(tmp_path: Path) -> None:
    (write_class_folders(tmp_path, cat=1, dog=1) / "x.heic").touch()
    dataset = load_folder(tmp_path, on_bad="skip")
    assert dataset.classes == ("cat", "dog")
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [0, 1]
    assert dataset.source.endswith("; 1 left out: x.heic (heic is not read, convert it to png)")
    assert len(load_folder(tmp_path, selection=Selection(classes=("cat",)))) == 1  # x.heic is of no class


def test_one_wrapping_folder_is_taken_off(tmp_path: Path) -> None:
    write_class_folders(tmp_path / "pets", cat=1, dog=2)
    (tmp_path / "README.txt").write_text("pets")
    dataset = load_folder(tmp_path)
    assert dataset.classes == ("cat", "dog")
    assert dataset.source == f"3 images in 2 classes (cat 1, dog 2) from {tmp_path}/pets; 1 other file"


def test_what_is_no_picture_is_counted_and_rubbish_is_not(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    for name in ("notes.csv", "note.txt", "Thumbs.db", "desktop.ini", ".DS_Store", "._a.png", ".git/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("?")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "a.png").write_text("?")
    assert load_folder(tmp_path).source == f"1 image from {tmp_path}; 2 other files"


def test_suffixes_of_any_case_and_formats_by_their_content(tmp_path: Path) -> None:
    for name in ("a.PNG", "b.Jpg", "c.JPEG", "d.webp", "e.BMP"):
        write_image(tmp_path / name)
    (tmp_path / "f.jpg").write_bytes((tmp_path / "a.PNG").read_bytes())
    dataset = load_folder(tmp_path)
    assert len(dataset) == 6
    assert (dataset.samples.int() - torch.tensor(RED).view(1, 3, 1, 1)).abs().max() <= 2


def test_the_home_folder_may_be_written_as_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_image(tmp_path / "pictures" / "a.png")
    assert len(load_folder("~/pictures")) == 1


def test_the_order_is_that_of_the_paths_and_does_not_change(tmp_path: Path) -> None:
    write_mixed_folder(tmp_path)
    first, second = (load_folder(tmp_path, on_bad="skip") for _ in range(2))
    assert torch.equal(first.samples, second.samples)
    assert first.labels is not None
    assert first.labels.tolist() == [0] * 99 + [1] * 99 + [2] * 99
    write_class_folders(tmp_path / "pets", b=300)
    order = sorted(range(300), key=lambda index: f"{index}.png")
    assert load_folder(tmp_path / "pets").samples[:, 0, 0, 0].tolist() == [index % 256 for index in order]


# --- splits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("test_name", ["test", "TEST", "val", "Valid", "validation"])
def test_splits_are_sub_folders(tmp_path: Path, test_name: str) -> None:
    write_class_folders(tmp_path / "Train", cat=3, dog=2)
    write_class_folders(tmp_path / test_name, cat=1, dog=1)
    train, test = load_folder(tmp_path), load_folder(tmp_path, split="test")
    assert (len(train), len(test)) == (5, 2)
    assert train.classes == test.classes == ("cat", "dog")
    assert train.source.endswith(f"from {tmp_path}/Train")
    assert test.source.endswith(f"from {tmp_path}/{test_name}")


def test_test_is_preferred_to_val(tmp_path: Path) -> None:
    for count, name in enumerate(("train", "val", "test"), start=1):
        write_class_folders(tmp_path / "data" / name, cat=count)
    assert len(load_folder(tmp_path, split="test")) == 3


def test_a_split_that_is_missing_is_refused(tmp_path: Path) -> None:
    write_class_folders(tmp_path / "a", cat=1, dog=1)
    write_class_folders(tmp_path / "b" / "train", cat=1, dog=1)
    for name in ("a", "b"):
        assert f"dataset.split=test: {tmp_path / name} has no sub-folder test" in folder_error(
            tmp_path / name, split="test"
        )


def test_an_empty_split_is_refused(tmp_path: Path) -> None:
    write_class_folders(tmp_path / "test", cat=1)
    (tmp_path / "train").mkdir()
    assert f"dataset.path={tmp_path}/train: no images in it" in folder_error(tmp_path)


@pytest.mark.parametrize("names", [("test", "tube"), ("train", "car", "plane"), ("val", "valid")])
def test_classes_that_are_called_like_splits(tmp_path: Path, names: tuple[str, ...]) -> None:
    write_class_folders(tmp_path, **dict.fromkeys(names, 1))
    assert load_folder(tmp_path).classes == tuple(sorted(names))


def test_two_folders_of_one_split_are_refused(tmp_path: Path) -> None:
    write_class_folders(tmp_path, train=1, Train=1)
    if len(list(tmp_path.iterdir())) == 1:
        pytest.skip("this file system does not tell upper from lower case")
    assert "has both Train and train" in folder_error(tmp_path)
