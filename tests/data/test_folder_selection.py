"""Paths that hold no images, and images chosen by class and number."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gan_cli.data import folder, image_store
from gan_cli.data.selection import Selection
from support.image_folders import folder_error, load_folder
from support.images import (
    write_class_folders,
    write_image,
)

# --- paths that hold nothing -----------------------------------------------------------------------------------------


def test_a_path_that_is_missing(tmp_path: Path) -> None:
    wanted = "not found, expected a folder, zip or tar of images"
    for path in (tmp_path / "nowhere", tmp_path / "a\0b", write_image(tmp_path / "a.png") / "b"):
        assert wanted in folder_error(path)


EXTRACT_FRAMES = "mp4 is not read, extract its frames, as by `ffmpeg -i film.mp4 frames/%06d.png`"


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("pets.zip", "is a damaged zip, expected a folder, zip or tar of images"),
        ("pets.npz", "is a damaged npz, expected a folder, zip or tar of images"),
        ("pets.tar.gz", "is a damaged tar, expected a folder, zip or tar of images"),
        ("pets.txt", "neither a folder, a zip, a tar nor an image, expected a folder, zip or tar of images"),
        ("pets.h5", "h5 is not read, write its images out as files or as an npy"),
        ("pets.mp4", EXTRACT_FRAMES),
    ],
)
def test_a_file_that_is_not_read(tmp_path: Path, name: str, what: str) -> None:
    (tmp_path / name).write_text("?")
    assert folder_error(tmp_path / name) == f"dataset.path={tmp_path / name}: {what}"


def test_a_folder_without_pictures(tmp_path: Path) -> None:
    assert folder_error(tmp_path).startswith(
        f"dataset.path={tmp_path}: no images in it; png, jpg, webp, bmp, gif, tif,"
    )
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "note.txt").touch()
    (tmp_path / "notes.csv").touch()
    assert "no images in it, only 2 other files; png, jpg," in folder_error(tmp_path)


def test_names_are_made_one_line(tmp_path: Path) -> None:
    write_image(tmp_path / "a\nb" / "c\x1b[31m.png")
    write_image(tmp_path / "a\nb" / os.fsdecode(b"\xff.png"))
    (tmp_path / "a\nb" / "bad\r\n.png").touch()
    dataset = load_folder(tmp_path, on_bad="skip")
    assert dataset.classes == ("a b",)
    assert len(dataset) == 2
    assert dataset.source.isprintable()
    assert dataset.source.endswith("; 1 left out: a b/bad .png (empty)")
    assert "a b/bad .png (empty)" in folder_error(tmp_path)
    write_image(tmp_path / "a b" / "c.png")
    assert "several sub-folders would be the class 'a b'" in folder_error(tmp_path, on_bad="skip")


def test_a_class_is_named_alike_by_every_system(tmp_path: Path) -> None:
    write_class_folders(tmp_path, **{"cafe\u0301": 1, "bar": 1})
    assert load_folder(tmp_path).classes == ("bar", "caf\u00e9")


# --- choosing --------------------------------------------------------------------------------------------------------


def test_only_what_is_chosen_by_class_is_read(tmp_path: Path) -> None:
    write_class_folders(tmp_path, bird=2, cat=3, dog=1)
    (tmp_path / "dog" / "bad.png").touch()
    (tmp_path / "dog" / "bad.heic").touch()
    selection = Selection(classes=("cat", "bird"))
    dataset = load_folder(tmp_path, selection=selection)
    assert dataset.classes == ("cat", "bird")
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [1, 1, 0, 0, 0]
    assert dataset.source == f"5 images in 2 classes (bird 2, cat 3) from {tmp_path}; 5 of 8 selected"
    assert selection.apply(dataset) is dataset
    assert "3 images in 1 class (cat 3) from" in load_folder(tmp_path, selection=Selection(classes=("cat",))).source
    assert "2 of 3 images cannot be used" in folder_error(tmp_path, selection=Selection(classes=("dog",)))
    assert "'cow' is no class of these data" in folder_error(tmp_path, selection=Selection(classes=("cow",)))


def test_only_what_is_chosen_by_number_is_read(tmp_path: Path) -> None:
    write_class_folders(tmp_path, cat=20, dog=20)
    chosen = Selection(limit=10).indices(None, (), 40).tolist()
    files = sorted(tmp_path.rglob("*.png"))
    for index, file in enumerate(files):
        if index not in chosen:
            file.write_text("?")
    dataset = load_folder(tmp_path, selection=Selection(limit=10))
    assert len(dataset) == 10
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [index // 20 for index in chosen]
    assert Selection(limit=10).apply(dataset) is dataset


def test_labels_stay_with_their_pictures_when_bad_ones_are_left_out(tmp_path: Path) -> None:
    for index in range(100):
        path = write_image(tmp_path / f"{index // 10}" / f"{index:02d}.png", (index, 0, 0))
        if index % 3 == 0:
            path.write_text("?")
    dataset = load_folder(tmp_path, on_bad="skip")
    kept = [index for index in range(100) if index % 3]
    assert dataset.samples[:, 0, 0, 0].tolist() == kept
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [index // 10 for index in kept]


def test_a_class_of_nothing_but_bad_pictures_is_seen_in_the_counts(tmp_path: Path) -> None:
    write_class_folders(tmp_path, cat=2, dog=1)
    (tmp_path / "dog" / "0.png").write_text("?")
    assert "2 images in 2 classes (cat 2, dog 0)" in load_folder(tmp_path, on_bad="skip").source


def test_many_classes_are_not_all_named(tmp_path: Path) -> None:
    write_class_folders(tmp_path, **{f"c{index:02d}": 1 for index in range(13)})
    assert "in 13 classes (c00 1, c01 1, " in load_folder(tmp_path).source
    assert "c09 1 and 3 more) from" in load_folder(tmp_path).source


def test_more_than_the_memory_holds_is_refused_before_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_class_folders(tmp_path, cat=3)
    monkeypatch.setattr(image_store, "MOST_BYTES", 2 * 3 * 8 * 8)
    monkeypatch.setattr(folder, "decode_all", lambda *_: pytest.fail("has read"))
    message = folder_error(tmp_path)
    assert "3 images of 3 channels, 8 x 8" in message
    assert "set dataset.limit or a smaller image_size" in message
    monkeypatch.undo()
    monkeypatch.setattr(image_store, "MOST_BYTES", 2 * 3 * 8 * 8)
    assert len(load_folder(tmp_path, selection=Selection(limit=2))) == 2
