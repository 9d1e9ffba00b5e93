"""Downloads, writes and extracts files in a safe way: after an error, no incomplete file or folder is left."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tarfile
import urllib.request
import zipfile
from collections.abc import Iterator, Sequence
from functools import partial
from http.client import HTTPException
from pathlib import Path, PurePosixPath

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from gan_cli.errors import one_line
from gan_cli.storage.archive_errors import DAMAGED
from gan_cli.storage.atomic_write import create_folder_or_undo, replacing, temporary_folder

TIMEOUT = 20  # seconds without data
CHUNK = 1 << 18
MOST_BYTES = 1 << 30  # default limit


class DownloadError(Exception):
    """A file could not be downloaded. The message gives the reasons in one line."""


def download(mirrors: Sequence[str], name: str, md5: str, folder: Path, *, most_bytes: int = MOST_BYTES) -> Path:
    """Downloads the file `name` to `folder` from the first mirror whose copy has this md5, and returns its path.

    Shows a progress bar on a terminal. If no mirror has the file, leaves no file behind and raises DownloadError, whose
    message gives the reason for each mirror. `most_bytes` limits the size of the file.
    """
    reasons = []
    for mirror in mirrors:
        try:
            return _download_once(mirror + name, md5, folder / name, most_bytes)
        except (OSError, HTTPException, ValueError, DownloadError) as error:
            reason = getattr(error, "reason", None) or error
            reasons.append(one_line(f"{mirror}: {getattr(reason, 'strerror', None) or reason}", 120))
    raise DownloadError("; ".join(reasons))


def download_from_drive(file_id: str, name: str, md5: str, folder: Path) -> Path:
    """Downloads a file from Google Drive to `folder` under the name `name`, and returns its path.

    Leaves no partial file. Raises DownloadError if gdown is missing, if Google refuses, or if the md5 is another one.
    """
    try:
        import gdown
    except ImportError:
        raise DownloadError("its download needs gdown (pip install 'gan-cli[celeba]')") from None
    try:
        with _checked(md5, folder / name) as path:
            gdown.download(id=file_id, output=str(path), quiet=not sys.stdout.isatty(), timeout=TIMEOUT)
        return folder / name
    except Exception as error:  # gdown raises errors of many kinds
        raise DownloadError(f"{name}: {one_line(error, 200)}") from error


def file_md5(path: Path) -> str:
    """Returns the md5 of a file in hex digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, partial(hashlib.md5, usedforsecurity=False)).hexdigest()


def _download_once(url: str, md5: str, target: Path, most_bytes: int) -> Path:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    hidden = not sys.stdout.isatty()
    bar = Progress(*columns, TimeRemainingColumn(), console=Console(), transient=True, disable=hidden)
    with urllib.request.urlopen(url, timeout=TIMEOUT) as response, bar, _checked(md5, target) as part:
        task = bar.add_task(target.name, total=response.length)
        with open(part, "wb") as file:
            while chunk := response.read(CHUNK):
                if file.tell() > most_bytes:
                    raise DownloadError(f"the file is larger than {most_bytes >> 20} MiB")
                file.write(chunk)
                bar.update(task, completed=file.tell())
    return target


@contextlib.contextmanager
def _checked(md5: str, target: Path) -> Iterator[Path]:
    """Yields a temporary path to write a file to, which replaces `target` if it has this md5; else DownloadError."""
    with create_folder_or_undo(target.parent), replacing(target) as part:
        yield part
        if (found := file_md5(part)) != md5:
            raise DownloadError(f"the file has md5 {found}, expected {md5}")


# --- archives -----------------------------------------------------------------------------------------------------


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
    with temporary_folder(archive.parent) as part:
        try:
            _extract(archive, part)
        except DAMAGED as error:
            raise ArchiveError(f"damaged archive ({error})") from error
        if not (part / name).is_dir():
            raise ArchiveError(f"has no folder {name}")
        try:
            os.rename(part / name, target)
        except OSError:
            if not target.is_dir():  # else another process has extracted it meanwhile
                raise
    return target


def _extract(archive: Path, into: Path) -> None:
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
