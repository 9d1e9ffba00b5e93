"""Images that cannot be used, and files that are no regular files."""

from __future__ import annotations

import os
import socket
import threading
import time
import zipfile
import zlib
from pathlib import Path

import pytest
from PIL import Image

from gan_cli.data.decoding import decode
from gan_cli.errors import StorageError
from support.image_folders import folder_error, load_folder, load_single_file, pixel
from support.images import (
    GREEN,
    RED,
    count_bad_images,
    damaged_copies,
    encode_image,
    noise_image,
    png_bytes,
    png_chunk,
    write_class_folders,
    write_image,
    write_mixed_folder,
    zip_folder,
)

# --- bad pictures ----------------------------------------------------------------------------------------------------

FRAMES = [noise_image(16, 16, seed=seed) for seed in (1, 2, 3)]
JPEG = encode_image(noise_image(40, 40), "JPEG")
PNG = encode_image(noise_image(40, 40), "PNG")
WEBP = encode_image(noise_image(40, 40), "WEBP")
BMP = encode_image(noise_image(40, 40), "BMP")
BAD = {
    "text.png": (b"This is no image.", "not an image despite its name"),
    "page.jpg": (b"<!DOCTYPE html><html>not found</html>", "not an image despite its name"),
    "empty.png": (b"", "empty"),
    "zero.png": (bytes(1000), "not an image despite its name"),
    "cut.jpg": (JPEG[: len(JPEG) // 2], "truncated"),
    "cut.png": (PNG[: len(PNG) // 2], "truncated"),
    "cut.bmp": (BMP[: len(BMP) // 2], "truncated"),
    "cut.webp": (WEBP[: len(WEBP) // 2], "damaged"),
    "header.jpg": (JPEG[:15], "truncated"),
    "header.png": (PNG[:20], "truncated"),
    "moving.webp": (encode_image(FRAMES[0], "WEBP", save_all=True, append_images=FRAMES[1:]), "is animated, 3 frames"),
    "moving.png": (encode_image(FRAMES[0], "PNG", save_all=True, append_images=FRAMES[1:]), "is animated, 3 frames"),
    "moving.gif": (encode_image(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:]), "is animated, 3 frames"),
    "scan.TIFF": (encode_image(FRAMES[0], "TIFF", save_all=True, append_images=FRAMES[1:]), "has 3 pages"),
    "phone.HEIC": (b"", "heic is not read, convert it to png"),
    "phone.jpg": (b"\0\0\0\x18ftypheic" + bytes(99), "is a heic despite its name: convert it to png"),
    "scan.dcm": (b"", "dcm is not read, convert it to 16-bit png or npy"),
    "scan": (bytes(128) + b"DICM" + bytes(99), "is a DICOM file: convert it to 16-bit png or npy"),
    "metadata.png": (
        png_bytes(1, 1, 8, 0, b"0", png_chunk(b"zTXt", b"text\0\0" + zlib.compress(bytes(2_000_000)))),
        "its metadata are too large, save it without them",
    ),
    "frames.gif": (
        encode_image(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:]) + bytes(1 << 20),
        "is animated, many frames",
    ),
    "bomb.png": (
        png_bytes(60_000, 60_000, 1, 0, b""),
        "3,600,000,000 pixels, more than dataset.max_pixels=178956970 allows",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_pictures_are_named_with_a_reason(tmp_path: Path, name: str) -> None:
    content, reason = BAD[name]
    write_image(tmp_path / "good.png")
    (tmp_path / name).write_bytes(content)
    assert folder_error(tmp_path) == (
        f"dataset.path={tmp_path}: 1 of 2 images cannot be used: {name} ({reason});"
        " repair or remove them, or set dataset.on_bad=skip"
    )
    dataset = load_folder(tmp_path, on_bad="skip")
    assert len(dataset) == 1
    assert pixel(dataset) == RED
    assert dataset.source == f"1 image from {tmp_path}; 1 left out: {name} ({reason})"


def test_the_limit_of_pixels_can_be_raised(tmp_path: Path) -> None:
    content = png_bytes(1_000, 1_000, 1, 0, bytes(125))
    load_single_file(tmp_path, content, max_pixels=1_000_000)
    message = folder_error(tmp_path / "one", max_pixels=999_999)
    assert "a.png (1,000,000 pixels, more than dataset.max_pixels=999999 allows); repair" in message


def test_a_jpeg_counts_as_it_is_decoded(tmp_path: Path) -> None:
    image = noise_image(640, 640)
    whole = load_single_file(tmp_path, encode_image(image, "JPEG"), max_pixels=640**2)
    reduced = load_single_file(tmp_path, encode_image(image, "JPEG"), max_pixels=80**2)  # 1/8 of its side
    assert reduced.fingerprint == whole.fingerprint
    (tmp_path / "one" / "a.png").write_bytes(encode_image(image, "JPEG", progressive=True))
    assert "409,600 pixels, more than" in folder_error(tmp_path / "one", max_pixels=640**2 - 1)


def test_large_images_are_decoded_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "MOST_PIXELS_AT_ONCE", 10)
    budget, held = decode._PixelBudget(), threading.Event()

    def wait_for_room() -> None:
        with budget.hold(6):
            held.set()

    with budget.hold(100):
        thread = threading.Thread(target=wait_for_room)
        thread.start()
        assert not held.wait(0.05)
    thread.join(5)
    assert held.is_set()


def test_all_bad_pictures_are_counted_and_some_are_named(tmp_path: Path) -> None:
    write_image(tmp_path / "good.png")
    for index in range(17):
        (tmp_path / f"{index:02d}.png").write_text("?")
    why = "(not an image despite its name)"
    message = folder_error(tmp_path)
    assert f"17 of 18 images cannot be used: 00.png {why}, 01.png {why}, 02.png {why} and 14 more; repair" in message
    source = load_folder(tmp_path, on_bad="skip").source
    assert source.endswith(
        f"; 17 left out: 00.png {why}, 01.png {why}, 02.png {why}, 03.png {why}, 04.png {why} and 12 more"
    )


@pytest.mark.parametrize("on_bad", ["error", "skip"])
def test_nothing_but_bad_pictures_is_refused(tmp_path: Path, on_bad: str) -> None:
    for name in ("a.heic", "b.heic"):
        (tmp_path / name).touch()
    message = folder_error(tmp_path, on_bad=on_bad)
    assert "2 of 2 images cannot be used: a.heic (heic is not read, convert it to png)" in message
    assert ("dataset.on_bad=skip" in message) == (on_bad == "error")


def test_every_cut_of_a_picture_is_bad_or_good_but_never_a_traceback() -> None:
    target = decode.TargetFormat((8, 8), 3, "white")
    transparent = encode_image(Image.new("RGBA", (8, 8), (255, 0, 0, 128)), "PNG")
    palette = png_bytes(1, 1, 8, 3, bytes([1]), png_chunk(b"PLTE", bytes([*RED, *GREEN])))
    contents = [JPEG, PNG, WEBP, BMP, transparent, palette, encode_image(noise_image(9, 9, "L"), "JPEG")]
    assert count_bad_images(damaged_copies(contents, cuts=40, times=30), target) >= 280  # at the least all that are cut


def test_a_mixed_folder(tmp_path: Path) -> None:
    bad = write_mixed_folder(tmp_path)
    assert sum(path.is_file() for path in tmp_path.rglob("*")) == 300
    dataset = load_folder(tmp_path, size=(16, 24), on_bad="skip")
    assert dataset.samples.shape == (297, 3, 16, 24)
    assert dataset.source.startswith(f"297 images in 3 classes (bird 99, cat 99, dog 99) from {tmp_path}; ")
    reasons = ("truncated", "not an image despite its name", "is animated, 2 frames")
    named = ", ".join(f"{name} ({reason})" for name, reason in zip(bad, reasons, strict=True))
    assert dataset.source.endswith(f"; 3 left out: {named}")
    assert f"3 of 300 images cannot be used: {named};" in folder_error(tmp_path)
    assert zip_folder(tmp_path, tmp_path.parent / "mixed.zip").is_file()
    packed = load_folder(tmp_path.parent / "mixed.zip", size=(16, 24), on_bad="skip")
    assert packed.fingerprint == dataset.fingerprint
    assert packed.source == dataset.source.replace(str(tmp_path), f"{tmp_path.parent}/mixed.zip")


# --- what is no regular file -----------------------------------------------------------------------------------------


def test_pipes_devices_and_sockets_are_bad_and_do_not_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(tmp_path / "good.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket.png")
        started = time.monotonic()
        source = load_folder(tmp_path, on_bad="skip").source
    assert time.monotonic() - started < 5
    for name in ("pipe.png", "socket.png"):
        assert f"{name} (not a regular file)" in source
    assert "; 1 link to /dev, /proc, /sys or a folder that contains this one not followed (device.png);" in source


def test_a_pipe_as_the_path_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.zip")
    assert "neither a folder nor a file" in folder_error(tmp_path / "pipe.zip")


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "root", cat=1)
    write_class_folders(tmp_path / "elsewhere", x=2)
    (root / "dog").symlink_to(tmp_path / "elsewhere")
    (root / "cat" / "up").symlink_to(root)
    (root / "cat" / "self").symlink_to(root / "cat")
    (root / "cat" / "linked.png").symlink_to(tmp_path / "elsewhere" / "x" / "0.png")
    (root / "a").symlink_to(root / "cat")  # sorts before the real one, which yet names the class
    dataset = load_folder(root)
    assert dataset.classes == ("cat", "dog")
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [0, 0, 1, 1]


def test_links_out_of_the_folder_need_leave(tmp_path: Path) -> None:
    root, elsewhere = write_class_folders(tmp_path / "root", cat=2), write_class_folders(tmp_path / "elsewhere", x=2)
    (root / "cat" / "inside.png").symlink_to("0.png")
    (root / "again").symlink_to("cat")
    (root / "dog").symlink_to(elsewhere / "x")
    (root / "cat" / "out.png").symlink_to(elsewhere / "x" / "0.png")
    for name, target in {"all": "/", "above": tmp_path, "system": "/proc"}.items():
        (root / name).symlink_to(target)
    kept = load_folder(root, follow_links=False)
    assert kept.source == (
        f"3 images in 1 class (cat 3) from {root}; 5 links out of the folder not followed (above, all, dog and 2 more):"
        " dataset.follow_links=true follows them"
    )
    assert kept.changes["links_not_followed"] == ["above", "all", "dog", "system", "cat/out.png"]
    followed = load_folder(root, follow_links=True)
    assert followed.classes == ("cat", "dog")
    assert "; 3 links to /dev, /proc, /sys or a folder that contains this one not followed (above, " in followed.source
    (tmp_path / "link").symlink_to(root)
    assert len(load_folder(tmp_path / "link", follow_links=False)) == 3


def test_nothing_but_links_is_an_error_with_the_remedy(tmp_path: Path) -> None:
    train = write_class_folders(tmp_path / "all", a=2)
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "0.png").symlink_to(train / "a" / "0.png")
    remedy = "1 link out of the folder not followed (0.png): dataset.follow_links=true follows it; "
    assert f"no images in it; {remedy}" in folder_error(tmp_path / "links", follow_links=False)
    write_image(tmp_path / "split" / "test" / "0.png")
    (tmp_path / "split" / "train").symlink_to(train)
    message = folder_error(tmp_path / "split", follow_links=False)  # must not train on the test split
    assert "(train): dataset.follow_links=true follows it, or remove it" in message


def test_a_table_names_no_image_outside_of_the_folder(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "root", a=2)
    outside = write_image(tmp_path / "outside.png")
    (root / "labels.csv").write_text(f"file,label\na/0.png,x\na/1.png,y\n../outside.png,x\n{outside},y\n")
    dataset = load_folder(root, follow_links=False)
    assert len(dataset) == 2
    assert "2 of its rows are about other images" in dataset.source


def test_very_deep_paths_are_left_out(tmp_path: Path) -> None:
    write_image(tmp_path / "deep" / "0.png")
    folder = tmp_path / "deep" / "/".join("n" * 66)
    folder.mkdir(parents=True)
    write_image(folder / "1.png")
    assert load_folder(tmp_path / "deep").source.startswith(
        f"1 image from {tmp_path / 'deep'}; 1 path not read, more than 64 levels deep (n/n/"
    )
    with zipfile.ZipFile(tmp_path / "deep.zip", "w") as archive:
        for name in ("0.png", "n/" * 30_000 + "1.png"):
            archive.writestr(name, png_bytes(1, 1, 8, 0, b"0"))
    assert "; 1 path not read, more than 64 levels deep (n/n/" in load_folder(tmp_path / "deep.zip").source


def test_a_sub_folder_without_images_is_named(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path, cat=2, dog=2)
    (root / "bird").mkdir()
    (root / "cow").mkdir()
    (root / "cow" / "0.png").touch()
    assert "; no usable image in bird, cow; " in load_folder(root, on_bad="skip").source


def test_links_that_lead_nowhere_are_bad(tmp_path: Path) -> None:
    write_image(tmp_path / "good.png")
    (tmp_path / "broken.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "circle.png").symlink_to(tmp_path / "circle.png")
    message = folder_error(tmp_path)
    assert "broken.png (a broken link), circle.png (a broken link);" in message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read(tmp_path: Path) -> None:
    write_image(tmp_path / "good.png")
    write_image(tmp_path / "mine.png").chmod(0)
    assert "mine.png (cannot be read: Permission denied)" in folder_error(tmp_path)
    tmp_path.chmod(0)
    try:
        assert "cannot be read (Permission denied)" in folder_error(tmp_path)
    finally:
        tmp_path.chmod(0o700)


def test_a_file_that_may_not_be_read_is_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(tmp_path / "good.png")
    refuse_to_open(monkeypatch, write_image(tmp_path / "mine.png"), PermissionError(13, "Permission denied"))
    assert "mine.png (cannot be read: Permission denied);" in folder_error(tmp_path)


def test_a_disk_that_fails_is_not_a_bad_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(tmp_path / "good.png")
    refuse_to_open(monkeypatch, write_image(tmp_path / "mine.png"), OSError(5, "Input/output error"))
    with pytest.raises(StorageError, match=r"mine\.png: cannot be read \(Input/output error\)"):
        load_folder(tmp_path, on_bad="skip")


def refuse_to_open(monkeypatch: pytest.MonkeyPatch, refused: Path, error: OSError) -> None:
    real = os.open

    def opening(path, *rest, **options):
        if path == str(refused):
            raise error
        return real(path, *rest, **options)

    monkeypatch.setattr(os, "open", opening)
