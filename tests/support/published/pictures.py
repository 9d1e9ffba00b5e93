"""Images of known content, and the archives that they are published in."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image


class Split(NamedTuple):
    """A split as it must be loaded: images uint8 `[N, C, H, W]`, and the name of the class of each image.

    `names` is None if the split has no classes.
    """

    images: np.ndarray
    names: list[str] | None


def with_all(written: dict[str, Split]) -> dict[str, Split]:
    """Returns these splits and the split `all`: one after the other."""
    names = [name for split in written.values() for name in split.names or ()]
    return {**written, "all": Split(np.concatenate([split.images for split in written.values()]), names)}


def quadrants(number: int, height: int = 32, width: int = 32, channels: int = 3) -> np.ndarray:
    """Returns an image uint8 `[C, H, W]` of four colours, which depend on `number`."""
    colours = np.random.default_rng(number).integers(0, 256, (channels, 2, 2), dtype=np.uint8)
    return colours.repeat(height // 2, axis=1).repeat(width // 2, axis=2)


def many_quadrants(first: int, count: int, *size: int) -> np.ndarray:
    """Returns the images of `quadrants` with the numbers `first` and following, uint8 `[count, C, H, W]`."""
    return np.stack([quadrants(number, *size) for number in range(first, first + count)])


def encode(image: np.ndarray, kind: str = "JPEG") -> bytes:
    """Returns the bytes of an image file. `image` is uint8 `[3, H, W]`. The colours change by 3 at most."""
    stream = io.BytesIO()
    settings = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    Image.fromarray(image.transpose(1, 2, 0)).save(stream, kind, **settings)
    return stream.getvalue()


def write_file(path: Path, content: bytes | str) -> None:
    """Writes a file, and creates its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def lines(texts: Sequence[str]) -> bytes:
    """Returns a text file of these lines."""
    return "".join(f"{text}\n" for text in texts).encode()


def write_tar(path: Path, members: Mapping[str, bytes | tarfile.TarInfo]) -> None:
    """Writes a tar.gz. A member is the content of a file, or a header without content.

    As in most published archives, the headers of the folders of a file precede it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        folders: set[str] = set()
        for name, content in members.items():
            for folder in reversed(Path(name).parents[:-1]):
                if folder.as_posix() not in folders and not isinstance(content, tarfile.TarInfo):
                    folders.add(folder.as_posix())
                    tar.addfile(special_member(folder.as_posix(), tarfile.DIRTYPE))
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
            else:
                header = tarfile.TarInfo(name)
                header.size = len(content)
                tar.addfile(header, io.BytesIO(content))


def special_member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    """Returns the header of a folder, of a link to `target`, or of another member without content."""
    header = tarfile.TarInfo(name)
    header.type, header.linkname = kind, target
    header.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    return header


def read_tar(path: Path) -> dict[str, bytes]:
    """Returns the content of the files in a tar, by name."""
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar if member.isreg()}  # type: ignore[union-attr]


def write_zip(path: Path, members: Mapping[str, bytes]) -> None:
    """Writes a zip with an entry for each folder, as the programs of most publishers do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        folders = {f"{folder}/" for name in members for folder in Path(name).parents[:-1]}
        for folder in sorted(folders):
            archive.writestr(folder, b"")
        for name, content in members.items():
            archive.writestr(name, content)


def extract_archives(root: Path) -> None:
    """Replaces each archive and each gzip file below `root` by its content, as torchvision extracts them."""
    while archives := [path for path in sorted(root.rglob("*")) if path.suffix in (".gz", ".tgz", ".zip")]:
        for path in archives:
            if path.name.endswith((".tar.gz", ".tgz")):
                with tarfile.open(path) as tar:
                    tar.extractall(path.parent, filter="data")
            elif path.suffix == ".zip":
                with zipfile.ZipFile(path) as archive:
                    archive.extractall(path.parent)
            else:
                folder = path.parent.parent if path.parent.name == "gzip" else path.parent  # EMNIST
                (folder / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
            path.unlink()
