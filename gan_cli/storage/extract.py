"""Extracts archives in a safe way: nothing is written outside of the target, and no half-extracted folder is left."""

from __future__ import annotations

import lzma
import os
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from gan_cli.storage.download import file_md5

DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    EOFError,
    ValueError,
    KeyError,
    RuntimeError,
    zlib.error,
    lzma.LZMAError,
)


class ArchiveError(Exception):
    """An archive is damaged or has unsafe members. The message gives the reason in one line."""


def extract_folder(archive: Path, md5: str, name: str) -> Path:
    """Extracts the folder `name` of a zip or tar into the folder of the archive. Returns the path of the new folder.

    The md5 of the archive is compared first. The members are extracted into a temporary folder, from which `name` is
    moved in a single step. Raises ArchiveError if the md5 is another one, if the archive is damaged, or if a member
    would lie outside of the target. Raises OSError if reading or writing fails.
    """
    if (found := file_md5(archive)) != md5:
        raise ArchiveError(f"has md5 {found}, expected {md5}")
    target = archive.parent / name
    with tempfile.TemporaryDirectory(dir=archive.parent, prefix=".part-") as part:
        try:
            _extract(archive, part)
        except DAMAGED as error:
            raise ArchiveError(f"damaged archive ({error})") from error
        if not (Path(part) / name).is_dir():
            raise ArchiveError(f"has no folder {name}")
        try:
            os.rename(Path(part) / name, target)
        except OSError:
            if not target.is_dir():  # else another process has extracted it meanwhile
                raise
    return target


def _extract(archive: Path, into: str) -> None:
    if archive.suffix != ".zip":
        with tarfile.open(archive) as tar:
            tar.extractall(into, filter="data")
        return
    with zipfile.ZipFile(archive) as opened:
        for member in opened.namelist():
            path = PurePosixPath(member)
            if path.is_absolute() or ".." in path.parts:
                raise ValueError(f"{member!r} lies outside of the folder")
        opened.extractall(into)
