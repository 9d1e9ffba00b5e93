"""Images in arrays and tars, single files, and archives that lie in the folder."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from gan_cli.errors import UsageError
from gan_cli.image_files import arrays, formats
from gan_cli.image_files.folder_reader import path_signature
from support.image_folders import folder_error, load_folder, pixel
from support.images import RED, encode_image, noise_image, write_class_folders, write_image, zip_folder

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
CHANNELS_FIRST = torch.from_numpy(PIXELS).permute(0, 3, 1, 2)


def same(data: object) -> bool:
    return torch.equal(data.samples, CHANNELS_FIRST)  # type: ignore[attr-defined]


# --- arrays ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["alone", "in a folder", "in a zip", "in a tar"])
@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_an_array_is_read_wherever_it_lies(tmp_path: Path, kind: str, place: str) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    if kind == "npy":
        np.save(folder / "a.npy", PIXELS)
    else:
        np.savez_compressed(folder / "a.npz", images=PIXELS, features=np.eye(12, dtype=np.uint8))
    path = {"alone": folder / f"a.{kind}", "in a folder": folder}.get(place, tmp_path / "packed")
    if place == "in a zip":
        zip_folder(folder, path)
    if place == "in a tar":
        with tarfile.open(path, "w:gz") as tar:
            tar.add(folder / f"a.{kind}", f"a.{kind}")
    if kind == "npz" and place in ("in a zip", "in a tar"):
        assert "it holds a.npz: unpack it and use that" in folder_error(path)
        return
    data = load_folder(path)
    assert same(data)
    assert " taken as NHWC [12,8,8,3]" in data.source
    assert ("; array not used (" in data.source) == (kind == "npz")


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (PIXELS, "NHWC [12,8,8,3]"),
        (PIXELS.transpose(0, 3, 1, 2), "NCHW [12,3,8,8]"),
        (PIXELS[0], "one image, HWC [8,8,3]"),
        (PIXELS[0].transpose(2, 0, 1), "one image, CHW [3,8,8]"),
        (PIXELS[..., 0], "NHW [12,8,8]"),
        (PIXELS[:5, ..., 0], "NHW [5,8,8]"),
        (np.asfortranarray(PIXELS), "NHWC [12,8,8,3]"),
        (PIXELS.astype(np.int64), "NHWC [12,8,8,3]"),
    ],
    ids=["NHWC", "NCHW", "HWC", "CHW", "NHW", "few", "fortran", "int64"],
)
def test_which_axis_is_what(tmp_path: Path, values: np.ndarray, shown: str) -> None:
    np.save(tmp_path / "a.npy", values)
    data = load_folder(tmp_path / "a.npy", value_range="auto")
    assert f"a.npy taken as {shown}" in data.source
    grey = shown.startswith("NHW ")
    wanted = CHANNELS_FIRST[: len(data)]
    assert torch.equal(data.samples, wanted[:, :1].expand(-1, 3, -1, -1) if grey else wanted)


def test_a_table_of_numbers_beside_pictures_is_said_to_be_taken_as_a_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode_image(noise_image(8, 8), "PNG"))
    np.save(tmp_path / "vectors.npy", np.zeros((20, 100), np.uint8))
    data = load_folder(tmp_path)
    assert "vectors.npy taken as one image, HW [20,100]" in data.source
    assert data.changes["arrays"] == ["vectors.npy taken as one image, HW [20,100]"]


def test_a_folder_of_arrays_in_classes(tmp_path: Path) -> None:
    for index, values in enumerate(PIXELS):
        (tmp_path / f"{index % 2}").mkdir(exist_ok=True)
        np.save(tmp_path / f"{index % 2}" / f"{index:02d}.npy", values)
    data = load_folder(tmp_path)
    assert data.classes == ("0", "1")
    assert torch.equal(data.samples, torch.cat([CHANNELS_FIRST[::2], CHANNELS_FIRST[1::2]]))


@pytest.mark.parametrize("labels", [[1, 0, 1, 0], [[1], [0], [1], [0]], [1.0, 0.0, 1.0, 0.0], [[0, 1], [1, 0]] * 2])
def test_labels_in_an_array_beside_the_pictures(tmp_path: Path, labels: list) -> None:
    pictures = np.arange(4 * 192, dtype=np.uint8).reshape(4, 8, 8, 3)
    np.savez(tmp_path / "a.npz", images=pictures, labels=np.array(labels))
    data = load_folder(tmp_path / "a.npz")
    assert (data.labels.tolist(), data.classes) == ([1, 0, 1, 0], ("0", "1"))
    assert "a.npz/labels.npy: label (0 2, 1 2)" in data.source
    assert "not used" not in data.source
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "0.png").write_bytes(encode_image(noise_image(8, 8), "PNG"))
    both = load_folder((str(tmp_path / "a.npz"), str(tmp_path / "more")))
    assert both.classes == ("0", "1", "more")
    assert "not used" not in both.source


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (np.arange(3), "3 labels for 4 images"),
        (np.ones((4, 2)), "[4,2] is not one label for each image"),
        (np.array([{}] * 4), "holds Python objects, which are not loaded"),
    ],
)
def test_labels_in_an_array_that_cannot_be_used_are_told(tmp_path: Path, labels: np.ndarray, says: str) -> None:
    np.savez(tmp_path / "a.npz", images=np.zeros((4, 8, 8, 3), np.uint8), labels=labels)
    data = load_folder(tmp_path / "a.npz", on_bad="skip")
    assert (data.labels, len(data)) == (None, 4)
    assert says in data.source


def test_labels_in_several_npz_of_a_folder(tmp_path: Path) -> None:
    for name, conditions in (("one", [[1, 0], [0, 1]]), ("two", [[0, 1], [0, 1]])):
        np.savez(tmp_path / f"{name}.npz", images=np.zeros((2, 8, 8, 3), np.uint8), conditions=conditions)
    data = load_folder(tmp_path)
    assert (data.labels.tolist(), data.classes) == ([0, 1, 1, 1], ("0", "1"))
    assert "not used" not in data.source


def test_arrays_of_a_test_split_are_not_trained_on(tmp_path: Path) -> None:
    train, test = np.zeros((4, 8, 8, 3), np.uint8), np.full((2, 8, 8, 3), 255, np.uint8)
    np.savez(tmp_path / "a.npz", x_train=train, y_train=[5, 7, 5, 7], x_test=test, y_test=[7, 5])
    data = load_folder(tmp_path / "a.npz")
    assert (len(data), data.labels.tolist(), data.classes) == (4, [0, 1, 0, 1], ("5", "7"))
    held_out = load_folder(tmp_path / "a.npz", split="test")
    assert (len(held_out), held_out.labels.tolist()) == (2, [1, 0])


def test_true_and_false_are_white_and_black(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", PIXELS[0, ..., 0] > 100)
    assert load_folder(tmp_path, channels=1).samples.unique().tolist() == [0, 255]


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("opened",)


def test_no_object_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "a.npy", np.array([Bomb(), None], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "b.npz", images=np.array([Bomb(), None], dtype=object))
    os.rename("opened", "saved") if os.path.isdir("opened") else None
    for path in ("a.npy", "b.npz", "."):
        assert "holds Python objects, which are not loaded" in folder_error(path)
    assert not os.path.exists("opened")


def npy(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


NPY = npy(PIXELS)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (NPY[:-1], "a.npy (truncated)"),
        (NPY[:50], "a.npy (damaged array)"),
        (b"", "a.npy (damaged array)"),
        (NPY.replace(b"12, 8, 8, 3", b"12, 8, 8,-3"), "a.npy (damaged array)"),
        (NPY.replace(b"(12, 8, 8, 3)", b"(10**30, 8  )"), "a.npy (damaged array)"),
        (NPY.replace(b"12, 8, 8, 3", b"99999,9,9,3"), "a.npy (truncated)"),
        (npy(np.zeros((3, 2), "U5")), "array not used (a)"),
        (npy(np.zeros(100)), "array not used (a)"),
        (npy(np.zeros((2, 2, 2, 2, 2))), "array not used (a)"),
    ],
    ids=["cut", "header", "empty", "negative", "code", "size", "text", "labels", "5 axes"],
)
def test_arrays_that_cannot_be_used(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    assert says in folder_error(tmp_path)


def test_an_array_that_is_too_large_to_hold_says_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "a.npz", PIXELS)
    np.save(tmp_path / "b.npy", PIXELS)
    monkeypatch.setattr(arrays, "MOST_BYTES", 100)
    assert "larger than 0 GiB, unpack it: a separate npy file is memory-mapped" in folder_error(tmp_path / "a.npz")
    assert same(load_folder(tmp_path / "b.npy"))


# --- tars --------------------------------------------------------------------------------------------------------


def tarred(source: Path, target: Path, mode: str = "w", prefix: str = "") -> Path:
    with tarfile.open(target, mode) as tar:  # type: ignore[call-overload]
        for path in sorted(source.rglob("*")):
            tar.add(path, prefix + path.relative_to(source).as_posix(), recursive=False)
    return target


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tgz", "a.tar.bz2", "a.tar.xz", "without"])
@pytest.mark.parametrize("prefix", ["", "./", "pets/", "../", "/"])
def test_a_tar_is_as_the_folder(tmp_path: Path, name: str, prefix: str) -> None:
    root = write_class_folders(tmp_path / "root", cat=3, dog=2)
    packing = {"gz": "w:gz", "tgz": "w:gz", "bz2": "w:bz2", "xz": "w:xz"}.get(name.rpartition(".")[2], "w")
    data = load_folder(tarred(root, tmp_path / name, packing, prefix))
    assert data.classes == ("cat", "dog")
    assert data.fingerprint == load_folder(root).fingerprint
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "root"])


def test_links_devices_and_doubles_in_a_tar_are_bad(tmp_path: Path) -> None:
    content = encode_image(noise_image(8, 8), "PNG")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, kind in (
            ("a.png", tarfile.REGTYPE), ("a.png", tarfile.REGTYPE), ("link.png", tarfile.SYMTYPE),
            ("pipe.png", tarfile.FIFOTYPE),
        ):  # fmt: skip
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            info.size = len(content) if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(content) if info.size else None)
    source = load_folder(tmp_path / "a.tar", on_bad="skip").source
    assert source.endswith(
        "3 left out: a.png (twice in the tar), link.png (a link or device in the tar),"
        " pipe.png (a link or device in the tar)"
    )


def test_damaged_tars_are_refused_and_never_a_traceback(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "root", cat=2, dog=2)
    random = np.random.default_rng(0)
    for packing, name in (("w", "a.tar"), ("w:gz", "a.tar.gz")):
        content = tarred(root, tmp_path / name, packing).read_bytes()
        for _ in range(40):
            damaged = bytearray(content[: random.integers(1, len(content))])
            damaged[random.integers(0, len(damaged))] ^= 255
            (tmp_path / name).write_bytes(damaged)
            try:
                assert load_folder(tmp_path / name, on_bad="skip").source.isprintable()
            except UsageError as error:
                assert str(error).isprintable()  # noqa: PT017


@pytest.mark.parametrize(("packing", "place"), [("gz", -8), ("bz2", -5)])
def test_a_wrong_checksum_at_the_end_of_a_packed_tar_is_damage(tmp_path: Path, packing: str, place: int) -> None:
    path = tarred(write_class_folders(tmp_path / "root", cat=2), tmp_path / f"a.tar.{packing}", f"w:{packing}")
    content = bytearray(path.read_bytes())
    content[place] ^= 255
    path.write_bytes(content)
    assert "damaged" in folder_error(path)


def test_a_member_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tarred(write_image(tmp_path / "root" / "a.png").parent, tmp_path / "a.tar")
    monkeypatch.setattr(formats, "MOST_FILE_BYTES", 10)
    assert "a.png (larger than 0 MiB)" in folder_error(path)


# --- what else a path may be -------------------------------------------------------------------------------------


def test_a_zip_member_without_a_name_is_left_out(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in ("0.png", "", "1.png"):
            archive.writestr(zipfile.ZipInfo(name), encode_image(noise_image(8, 8), "PNG"))
    assert len(load_folder(tmp_path / "x.zip").samples) == 2


@pytest.mark.parametrize("name", ["a.png", "a", "a.x"])
def test_a_single_picture(tmp_path: Path, name: str) -> None:
    data = load_folder(write_image(tmp_path / name, format="PNG"))
    assert data.source == f"1 image from {tmp_path / name}"
    assert pixel(data) == RED


def test_an_archive_in_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "box").mkdir()
    zip_folder(write_class_folders(tmp_path / "root", cat=1), tmp_path / "box" / "sg.zip")
    message = folder_error(tmp_path / "box")
    assert f"only 1 other file (1 zip); it holds sg.zip: use that, dataset.path={tmp_path}/box/sg.zip; png," in message


@pytest.mark.parametrize(
    ("name", "way"), [("a.mp4", "ffmpeg"), ("a.h5", "npy"), ("a.pt", "may hold code"), ("a.rar", "unpack")]
)
def test_other_kinds_are_named_with_a_way(tmp_path: Path, name: str, way: str) -> None:
    (tmp_path / name).write_bytes(b"?")
    kind = name.partition(".")[2]
    for path in (tmp_path, tmp_path / name):
        assert f"{kind} is not read, " in folder_error(path)
        assert way in folder_error(path)


def test_pipes_without_an_ending_do_not_block(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    for name in ("pipe", "pipe.npy", "pipe.npz"):
        os.mkfifo(tmp_path / name)
    source = load_folder(tmp_path, on_bad="skip").source
    assert "1 other file; 2 left out: pipe.npy (not a regular file), pipe.npz (damaged npz)" in source


# --- the cache ---------------------------------------------------------------------------------------------------


def test_folders_that_are_exchanged_are_seen_though_sizes_and_times_are_equal(tmp_path: Path) -> None:
    for name, colour in (("red", RED), ("blue", (0, 0, 255))):
        path = write_image(tmp_path / "a" / name / "0.bmp", colour)
        os.utime(path, (1, 1))
    before, first = path_signature(str(tmp_path / "a")), load_folder(tmp_path / "a")
    assert path_signature(str(tmp_path / "a")) == before
    (tmp_path / "a" / "red").rename(tmp_path / "a" / "x")
    (tmp_path / "a" / "blue").rename(tmp_path / "a" / "red")
    (tmp_path / "a" / "x").rename(tmp_path / "a" / "blue")
    assert path_signature(str(tmp_path / "a")) != before
    assert not torch.equal(load_folder(tmp_path / "a").samples, first.samples)


def test_a_file_that_is_overwritten_is_seen_though_its_time_is_set_back(tmp_path: Path) -> None:
    path = zip_folder(write_image(tmp_path / "a" / "0.bmp", RED).parent, tmp_path / "a.zip")
    os.utime(path, (1, 1))
    before, content = path_signature(str(path)), path.read_bytes()
    path.write_bytes(content)
    os.utime(path, (1, 1))
    assert path_signature(str(path)) != before
    assert zipfile.is_zipfile(path)
