"""Decoded images that are kept: found again, never wrong, never in the way."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_cli.data import folder, image_store, mapped_file
from gan_cli.data.dataset import Batches, Dataset
from gan_cli.data.selection import Selection
from gan_cli.errors import StorageError, UsageError
from support.commands import write_text
from support.configs import TINY_IMAGES, without
from support.image_folders import load_folder
from support.images import write_class_folders, write_image, zip_folder


@pytest.fixture(autouse=True)
def _keep_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_store, "MIN_CACHE_BYTES", 0)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    return write_class_folders(tmp_path / "pets", bird=9, cat=20, dog=11)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "pictures"


@pytest.fixture
def found(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., bool]:
    """Whether the cache has what is asked for; nothing is decoded."""

    class Decoded(Exception):
        pass

    def stop(*_: object) -> None:
        raise Decoded

    def look(path: Path, **options: object) -> bool:
        with monkeypatch.context() as patched:
            patched.setattr(folder, "decode_all", stop)
            try:
                load_folder(path, cache=cache, **options)  # type: ignore[arg-type]
            except Decoded:
                return False
            return True

    return look


def same(one: Dataset, other: Dataset) -> bool:
    labels = [dataset.labels.tolist() if dataset.labels is not None else None for dataset in (one, other)]
    return (
        torch.equal(one.samples, other.samples)
        and labels[0] == labels[1]
        and (one.classes, one.source, one.fingerprint) == (other.classes, other.source, other.fingerprint)
        and (one.changes, one.value_range) == (other.changes, other.value_range)
    )


def files(cache: Path) -> list[Path]:
    return sorted(cache.iterdir()) if cache.exists() else []


# --- kept and found ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True])
def test_what_was_decoded_is_found_again(
    pets: Path, cache: Path, found: Callable[..., bool], tmp_path: Path, packed: bool
) -> None:
    path = zip_folder(pets, tmp_path / "pets.zip") if packed else pets
    plain, built = load_folder(path), load_folder(path, cache=cache)
    again = load_folder(path, cache=cache)
    assert found(path)
    assert same(plain, built)
    assert same(plain, again)
    assert Dataset(again.samples, "", again.labels).fingerprint == plain.fingerprint  # counted anew
    (file,) = files(cache)
    assert built.notes == (f"cache: 0.0 MB of images written to {file}",)
    assert again.notes == (f"cache: 0.0 MB of images from {file}",)
    assert plain.notes == ()


def test_deep_pictures_are_kept_as_they_were_scaled(tmp_path: Path, cache: Path) -> None:
    for index in range(3):
        values = np.random.default_rng(index).integers(0, 4096, (8, 8)).astype(np.uint16)
        Image.fromarray(values).save(write_image(tmp_path / "deep" / f"{index}.png"))
    plain, built, again = (
        load_folder(tmp_path / "deep", cache=place, value_range="auto") for place in ("none", cache, cache)
    )
    assert same(plain, built)
    assert same(plain, again)
    assert again.value_range == (0.0, 4095.0)
    assert len(files(cache)) == 1


def test_pictures_without_classes_and_with_several_attributes(
    tmp_path: Path, cache: Path, found: Callable[..., bool]
) -> None:
    for name in "abc":
        write_image(tmp_path / "loose" / f"{name}.png")
    assert load_folder(tmp_path / "loose", cache=cache).labels is None
    assert load_folder(tmp_path / "loose", cache=cache).labels is None
    table = tmp_path / "loose" / "labels.csv"
    table.write_text("file,colour,size\na.png,red,\nb.png,red,small\nc.png,blue,large\n")
    assert not found(tmp_path / "loose")
    plain, _, again = (
        load_folder(tmp_path / "loose"),
        load_folder(tmp_path / "loose", cache=cache),
        load_folder(tmp_path / "loose", cache=cache),
    )
    assert same(plain, again)
    assert again.labels is not None
    assert again.labels.shape == (3, 2)


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_pixels_and_labels_are_mapped_and_not_read(pets: Path, cache: Path) -> None:
    load_folder(pets, cache=cache)
    dataset = load_folder(pets, cache=cache)
    (file,) = files(cache)
    ranges = [
        line.split()[0].split("-") for line in Path("/proc/self/maps").read_text().splitlines() if str(file) in line
    ]
    assert dataset.labels is not None
    for tensor in (dataset.samples, dataset.labels, dataset.samples[3:]):
        assert any(int(start, 16) <= tensor.data_ptr() < int(end, 16) for start, end in ranges)


def test_choosing_copies_nothing_that_is_mapped(pets: Path, cache: Path, found: Callable[..., bool]) -> None:
    for selection in (Selection(classes=("dog", "bird")), Selection(limit=7)):
        built = load_folder(pets, cache=cache, selection=selection)
        assert found(pets, selection=selection)
        again = load_folder(pets, cache=cache, selection=selection)
        assert same(load_folder(pets, selection=selection), again)
        assert same(built, again)
        assert selection.apply(again) is again


def test_bad_pictures_leave_no_holes(pets: Path, cache: Path) -> None:
    for index in (0, 7, 19):
        (pets / "cat" / f"{index}.png").write_text("?")
    with pytest.raises(UsageError, match="3 of 40 images"):
        load_folder(pets, cache=cache)
    assert files(cache) == []
    plain, built = load_folder(pets, on_bad="skip"), load_folder(pets, cache=cache, on_bad="skip")
    assert len(built) == 37
    assert same(plain, built)
    assert same(plain, load_folder(pets, cache=cache, on_bad="skip"))
    with pytest.raises(UsageError, match="3 of 40 images"):
        load_folder(pets, cache=cache)


def test_few_pictures_are_not_kept_and_none_if_not_wanted(
    pets: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_folder(pets, cache="none")
    monkeypatch.setattr(image_store, "MIN_CACHE_BYTES", 40 * 3 * 8 * 8 + 1)
    assert load_folder(pets, cache=cache).notes == ()
    assert not cache.exists()
    assert not Path("none").exists()


def test_what_is_kept_need_not_fit_into_memory(pets: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_store, "MOST_BYTES", 100)
    assert len(load_folder(pets, cache=cache)) == 40
    with pytest.raises(UsageError, match=r"store them on disk by dataset\.cache"):
        load_folder(pets)
    (cache.parent / "file").touch()
    with pytest.raises(UsageError, match=r"held in memory, and dataset\.cache cannot be written \(Not a directory\)"):
        load_folder(pets, cache=cache.parent / "file" / "cache")


# --- other pictures ----------------------------------------------------------------------------------------------


def touch(path: Path) -> None:
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


CHANGES: dict[str, Callable[[Path], object]] = {
    "another time": lambda pets: touch(pets / "cat" / "3.png"),
    "another name": lambda pets: (pets / "cat" / "3.png").rename(pets / "cat" / "x.png"),
    "another folder": lambda pets: (pets / "cat" / "3.png").rename(pets / "dog" / "x.png"),
    "another size": lambda pets: (pets / "cat" / "3.png").write_bytes(b"?"),
    "one more": lambda pets: write_image(pets / "cat" / "x.png"),
    "one less": lambda pets: (pets / "cat" / "3.png").unlink(),
    "an empty folder": lambda pets: (pets / "train").mkdir(),
    "a table": lambda pets: (pets / "labels.csv").write_text(
        "file,colour\n" + "".join(f"{path.relative_to(pets)},red\n" for path in pets.rglob("*.png"))
    ),
    "a table beside": lambda pets: (pets.parent / "labels.csv").write_text("file,colour\n"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_pictures_are_not_found(pets: Path, cache: Path, found: Callable[..., bool], change: str) -> None:
    load_folder(pets, cache=cache)
    assert found(pets)
    CHANGES[change](pets)
    assert not found(pets)


def test_a_zip_that_was_touched_is_not_found(
    pets: Path, cache: Path, found: Callable[..., bool], tmp_path: Path
) -> None:
    path = zip_folder(pets, tmp_path / "pets.zip")
    load_folder(path, cache=cache)
    assert found(path)
    touch(path)
    assert not found(path)


def test_the_file_of_pictures_that_were_changed_goes_and_others_stay(pets: Path, cache: Path, tmp_path: Path) -> None:
    write_class_folders(tmp_path / "others", cat=3)
    load_folder(tmp_path / "others", cache=cache)
    load_folder(pets, cache=cache)
    before, old = files(cache), load_folder(pets, cache=cache)
    write_image(pets / "cat" / "x.png")
    load_folder(pets, cache=cache)
    load_folder(pets, cache=cache, size=(4, 4))
    assert len(files(cache)) == 3
    assert len(set(before) & set(files(cache))) == 1
    assert old.samples.sum() == load_folder(pets).samples.sum() - write_sum(
        pets / "cat" / "x.png"
    )  # its mapping is good


def write_sum(path: Path) -> int:
    with Image.open(path) as picture:
        return int(np.asarray(picture).sum())


@pytest.mark.parametrize(
    "options",
    [
        {"size": (4, 4)},
        {"channels": 1},
        {"background": "black"},
        {"on_bad": "skip"},
        {"labels": "none"},
        {"selection": Selection(limit=5)},
        {"selection": Selection(classes=("cat", "dog"))},
    ],
    ids=str,
)
def test_what_pictures_become_is_a_part_of_the_name(
    pets: Path, cache: Path, found: Callable[..., bool], options: dict
) -> None:
    load_folder(pets, cache=cache)
    assert not found(pets, **options)
    assert same(load_folder(pets, cache=cache, **options), load_folder(pets, **options))
    assert found(pets, **options)
    assert found(pets)


# --- damage ------------------------------------------------------------------------------------------------------


def test_a_damaged_file_is_built_anew(pets: Path, cache: Path, found: Callable[..., bool]) -> None:
    plain = load_folder(pets, cache=cache)
    (file,) = files(cache)
    good = file.read_bytes()
    pixels = plain.samples.numel()
    flips = [0, 1, pixels // 2, pixels - 1, pixels + 64, len(good) - 300, len(good) - 50, len(good) - 20, len(good) - 1]
    damaged = [good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :] for at in flips]
    damaged += [good[:cut] for cut in (0, 1, pixels // 2, pixels, len(good) - 100, len(good) - 1)]
    damaged += [good + b"?", b"?" + good, good + good, bytes(len(good)), os.urandom(len(good))]
    for content in damaged:
        file.unlink()
        file.write_bytes(content)
        assert not found(pets)
    assert same(load_folder(pets, cache=cache), plain)
    assert found(pets)
    assert files(cache) == [file]
    assert file.read_bytes() == good


def test_of_many_pictures_some_are_checked(
    pets: Path, cache: Path, found: Callable[..., bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped_file, "CHECKED_BYTES", 1000)
    monkeypatch.setattr(mapped_file, "CHECKED_IMAGES", 10)
    load_folder(pets, cache=cache)
    (file,) = files(cache)
    good, each = file.read_bytes(), 3 * 8 * 8
    assert found(pets)
    for first, expected in ((1, True), (4, False), (36, False)):
        file.write_bytes(good[: first * each] + bytes([9] * each) + good[(first + 1) * each :])
        assert found(pets) == expected
    file.write_bytes(bytes(40 * each) + good[40 * each :])  # as after a copy that lost its pages
    assert not found(pets)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_change_is_not_used(
    pets: Path, cache: Path, found: Callable[..., bool], mode: int
) -> None:
    load_folder(pets, cache=cache)
    (file,) = files(cache)
    file.chmod(0o644)
    assert found(pets)
    file.chmod(mode)
    assert not found(pets)


def test_nor_is_one_of_another_user_or_behind_a_link(
    pets: Path, cache: Path, found: Callable[..., bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    load_folder(pets, cache=cache)
    (file,) = files(cache)
    with monkeypatch.context() as patched:
        status = os.stat_result((0o100600, 0, 0, 1, os.geteuid() + 1, 0, 0, 0, 0, 0))
        patched.setattr(os, "fstat", lambda _: status)
        assert not found(pets)
    assert found(pets)
    file.symlink_to(file.rename(cache / "elsewhere"))
    assert not found(pets)
    file.unlink()
    os.mkfifo(file)
    assert not found(pets)


@pytest.mark.parametrize(
    "changes",
    [
        {"samples": [-40, -3, 8, 8]},
        {"samples": [40, 3, 64]},
        {"samples": "40"},
        {"labels": [40.5]},
        {"classes": [1]},
        {"source": ["a"]},
        {"fingerprint": "f"},
        {"changes": []},
        {"value_range": [0]},
    ],
    ids=str,
)
def test_a_card_with_invalid_values_is_refused(
    pets: Path, cache: Path, found: Callable[..., bool], changes: dict[str, object]
) -> None:
    load_folder(pets, cache=cache)
    rewrite_card(files(cache)[0], changes)
    assert not found(pets)


def test_the_text_of_a_card_cannot_control_the_terminal(pets: Path, cache: Path) -> None:
    load_folder(pets, cache=cache)
    rewrite_card(files(cache)[0], {"source": "pets\x1b]0;title\x07\ndone: all is well"})
    assert load_folder(pets, cache=cache).source == "pets ]0;title  done: all is well"


def rewrite_card(file: Path, changes: dict[str, object]) -> None:
    """Changes entries of a cache file's card, and the checksum of labels and card."""
    content = file.read_bytes()
    body, trailer = content[: -mapped_file.TRAILER.size], content[-mapped_file.TRAILER.size :]
    _, length, magic = mapped_file.TRAILER.unpack(trailer)
    before, card = body[:-length], json.dumps({**json.loads(body[-length:]), **changes}).encode()
    digest = hashlib.sha256(before[40 * 3 * 8 * 8 :] + card).digest()
    file.write_bytes(before + card + mapped_file.TRAILER.pack(digest, len(card), magic))


def test_a_file_that_is_cut_off_while_in_use_is_an_error_and_not_a_crash(pets: Path, cache: Path) -> None:
    written, mapped = load_folder(pets, cache=cache), load_folder(pets, cache=cache)
    for dataset in (written, mapped):
        Batches(dataset, 0, 4, torch.device("cpu")).draw(0)
    os.truncate(files(cache)[0], 100)
    for dataset in (written, mapped):
        with pytest.raises(StorageError, match="was cut off while in use"):
            Batches(dataset, 0, 4, torch.device("cpu")).draw(1)


# --- a disk that does not want it --------------------------------------------------------------------------------


def test_a_place_that_cannot_be_written_to_is_no_error(pets: Path, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    dataset = load_folder(pets, cache=tmp_path / "file" / "cache")
    assert same(dataset, load_folder(pets))
    (note,) = dataset.notes
    assert note.startswith(f"warning: dataset.cache={tmp_path / 'file' / 'cache'}: images cannot be cached there (Not")
    assert note.endswith("), they are held in memory")


def test_a_disk_without_room_is_no_error(pets: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(pets)._replace(free=40 * 3 * 8 * 8 - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    dataset = load_folder(pets, cache=cache)
    assert same(dataset, load_folder(pets))
    assert "(No space left on device), they are held in memory" in dataset.notes[0]
    assert not cache.exists()


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_a_disk_that_fills_on_the_way_is_no_error(
    pets: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    written, write_all = [], mapped_file.write_at

    def failing(fd: int, content: memoryview, offset: int) -> None:
        written.append(offset)
        if len(written) > after:
            write_all(fd, content[:10], offset)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_all(fd, content, offset)

    monkeypatch.setattr(mapped_file, "write_at", failing)  # the card comes after three chunks of pictures
    dataset = load_folder(pets, cache=cache)
    assert same(dataset, load_folder(pets))
    assert len(dataset.notes) == 1
    assert "(No space left on device), they " in dataset.notes[0]
    assert files(cache) == []


def test_a_build_that_is_broken_off_leaves_nothing(pets: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(mapped_file.os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_folder(pets, cache=cache)
    assert files(cache) == []


# --- others at the same time -------------------------------------------------------------------------------------


def test_two_that_build_at_once_both_get_theirs(pets: Path, cache: Path) -> None:
    plain, made, together = load_folder(pets), [], threading.Barrier(4)

    def build() -> None:
        together.wait()
        made.append(load_folder(pets, cache=cache))

    threads = [threading.Thread(target=build) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4
    assert all(same(dataset, plain) for dataset in made)
    assert [file.suffix for file in files(cache)] == [".pictures"]


def test_what_a_killed_builder_left_is_removed_and_that_of_a_living_one_stays(pets: Path, cache: Path) -> None:
    cache.mkdir(parents=True)
    dead, alive, foreign = (cache / name for name in (f"{mapped_file.PART}a", f"{mapped_file.PART}b", ".part-c"))
    for path in (dead, alive, foreign):
        path.touch()
    with open(alive, "rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        load_folder(pets, cache=cache)
    assert not dead.exists()
    assert alive.exists()
    assert foreign.exists()


# --- a run -------------------------------------------------------------------------------------------------------


def test_a_run_says_where_its_pictures_are_kept(train: Callable[..., Path], here: Path, pets: Path) -> None:
    folder_of = [*without(TINY_IMAGES, "dataset"), "dataset=folder", f"dataset.path={pets}", "steps=1"]
    kept, again = (train(*folder_of, f"name={name}") for name in "ab")
    (file,) = (here.parent / "home" / ".cache" / "gan-cli" / "pictures").iterdir()
    assert f"cache: 0.0 MB of images written to {file}" in (kept / "train.log").read_text()
    assert f"cache: 0.0 MB of images from {file}" in (again / "train.log").read_text()
    off = train(*folder_of, "name=c", "dataset.cache=none")
    assert "cache: " not in (off / "train.log").read_text()
    lines = [(run / "metrics.jsonl").read_text().splitlines()[-1].split('"memory')[0] for run in (kept, again, off)]
    assert len({line.split('"images_per_second')[0] for line in lines}) == 1
    file.unlink()
    train(f"resume={kept}", "extra_steps=1")
    assert file.exists()


def test_a_set_of_which_nothing_can_be_read_is_one_line(tmp_path: Path, cache: Path) -> None:
    for number in range(3):
        write_text(tmp_path / "bad" / f"{number}.png", "no image")
    with pytest.raises(UsageError) as raised:
        load_folder(tmp_path / "bad", cache=cache, on_bad="skip")
    assert "0.png" in str(raised.value)
