"""Folders and archives of pictures with a hostile entry among healthy ones."""

from __future__ import annotations

import io
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random

from torture.hostile.run_folders import bomb_png

FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")


def picture(index: int, side: int = 24, kind: str = "PNG") -> bytes:
    """Returns the bytes of a small picture of one colour."""
    from PIL import Image

    stream = io.BytesIO()
    Image.new("RGB", (side, side), (index * 8 % 256, index * 5 % 256, 77)).save(stream, kind)
    return stream.getvalue()


def make_healthy(here: Path) -> Path:
    """Makes 30 pictures in the folder `here`/pictures and in `here`/pictures.zip. Returns the folder."""
    folder = here / "pictures"
    folder.mkdir(exist_ok=True)
    for index in range(30):
        (folder / f"{index}.png").write_bytes(picture(index))
    (here / "pictures.zip").write_bytes(_zip({path.name: path.read_bytes() for path in sorted(folder.iterdir())}))
    return folder


def _deep_folder(path: Path) -> None:
    here = os.getcwd()
    path.mkdir()
    os.chdir(path)
    try:
        for _ in range(300):
            os.mkdir("n")
            os.chdir("n")
    finally:
        os.chdir(here)


def _flipped(random: Random) -> bytes:
    content = bytearray(picture(1, 64, random.choice(FORMATS)))
    for _ in range(random.randint(1, 20)):
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    return bytes(content[: random.randint(1, len(content))])


ENTRIES: dict[str, Callable[[Path, Random], object]] = {
    "a PNG of 900 million pixels": lambda path, random: path.write_bytes(bomb_png()),
    "8 PNG of 13,000 x 13,000": lambda path, random: [
        path.with_name(f"{number}{path.name}").write_bytes(bomb_png(13_000)) for number in range(8)
    ],
    "a damaged picture": lambda path, random: path.write_bytes(_flipped(random)),
    "EPS as PNG": lambda path, random: path.write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(x) (w) file\n"
    ),
    "a FIFO": lambda path, random: os.mkfifo(path),
    "a link to /dev/zero": lambda path, random: path.symlink_to("/dev/zero"),
    "a link out of the folder": lambda path, random: path.with_suffix("").symlink_to("/usr/share"),
    "a link to its own folder": lambda path, random: path.with_suffix("").symlink_to(path.parent),
    "300 nested folders": lambda path, random: _deep_folder(path.with_suffix("")),
    "a name with escapes": lambda path, random: path.with_name("\x1b]0;x\x07\n.png").write_bytes(b"no picture"),
    "a sparse PNG of 2 GiB": lambda path, random: (path.touch(), os.truncate(path, 2 << 30)),
    "a TIFF of a huge size": lambda path, random: path.write_bytes(
        b"II*\0\x08\0\0\0\x02\0" + struct.pack("<HHIIHHII", 256, 4, 1, 1 << 31, 257, 4, 1, 1 << 31)[:24] + bytes(4)
    ),
    "a labels file of escapes": lambda path, random: (path.parent / "labels.csv").write_text(
        "file,label\n0.png,\x1b]0;x\x07\n../../victim,a\n/etc/passwd,b\n"
    ),
}


def make_images(here: Path, random: Random) -> str:
    """Makes a folder of pictures with a hostile entry. Returns what it is."""
    folder, kind = make_healthy(here), random.choice([*ENTRIES])
    ENTRIES[kind](folder / "evil.png", random)
    return f"pictures with {kind}"


def make_archive(here: Path, random: Random) -> str:
    """Makes `here`/pictures.zip with a hostile entry. Returns what it is."""
    kind = random.choice([*ARCHIVES])
    pictures = {f"{index}.png": picture(index) for index in range(30)}
    (here / "pictures.zip").write_bytes(ARCHIVES[kind](pictures, random))
    return f"archive with {kind}"


def _zip(entries: dict[str, bytes], more: Callable[[zipfile.ZipFile], object] = lambda archive: None) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
        more(archive)
    return stream.getvalue()


def _zip_link(archive: zipfile.ZipFile) -> None:
    entry = zipfile.ZipInfo("link.png")
    entry.external_attr = 0o120777 << 16
    archive.writestr(entry, "/etc/passwd")


def _tar(entries: dict[str, bytes], *links: tuple[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in entries.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for name, kind in links:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "../victim"
            archive.addfile(entry)
    return stream.getvalue()


def _flip(content: bytes, random: Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(random.randint(1, 30)):
        damaged[random.randrange(len(damaged))] ^= 1 << random.randrange(8)
    return bytes(damaged)


ESCAPING = {"../../victim": b"evil", "/tmp/victim": b"evil", "a/../../../victim.png": b"evil"}
ARCHIVES: dict[str, Callable[[dict[str, bytes], Random], bytes]] = {
    "names that lead out": lambda entries, random: _zip(entries | ESCAPING),
    "an entry of 1 GB of zeros": lambda entries, random: _zip(entries | {"bomb.png": bytes(1 << 30)}),
    "a picture bomb": lambda entries, random: _zip(entries | {"bomb.png": bomb_png()}),
    "an archive in it": lambda entries, random: _zip(entries | {"inner.zip": _zip(entries)}),
    "a link": lambda entries, random: _zip(entries, _zip_link),
    "20,000 empty entries": lambda entries, random: _zip(entries | {f"e{n}.png": b"" for n in range(20_000)}),
    "one name twice": lambda entries, random: _zip(entries, lambda archive: archive.writestr("a/./0.png", b"x")),
    "flipped bits": lambda entries, random: _flip(_zip(entries), random),
    "its end cut off": lambda entries, random: _zip(entries)[: -random.randint(1, 3000)],
    "names with escapes": lambda entries, random: _zip(entries | {"\x1b]0;x\x07/0.png": b"x"}),
    "tar names that lead out": lambda entries, random: _tar(entries | ESCAPING),
    "tar links and devices": lambda entries, random: _tar(
        entries, ("a.png", tarfile.SYMTYPE), ("b.png", tarfile.LNKTYPE), ("c.png", tarfile.CHRTYPE)
    ),
}
