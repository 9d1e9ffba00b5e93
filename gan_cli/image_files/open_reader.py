"""Opens a folder, zip, tar or single file of images, by what it is."""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from gan_cli.errors import StorageError, UsageError, one_line
from gan_cli.image_files import formats, own_outputs
from gan_cli.image_files.folder_reader import FolderReader
from gan_cli.image_files.formats import READ_SUFFIXES
from gan_cli.image_files.listing import EXPECTED, Reader
from gan_cli.image_files.tar_reader import open_tar
from gan_cli.image_files.zip_reader import open_zip


@contextmanager
def open_reader(path: str, *, follow_links: bool = False) -> Iterator[Reader]:
    """Yields the reader of a folder, walked as by `walk`, a zip, tar or single file. Else raises UsageError."""
    expanded = os.path.expanduser(path)
    shown, mode = one_line(expanded), existing_mode(path)
    if stat.S_ISDIR(mode):
        if own_outputs.output_kind_at(expanded) == own_outputs.RUN:
            raise UsageError(
                f"dataset.path={shown}: is a run of gan-train, whose images are grids; gan-sample ckpt=... "
                "format=images writes a folder of single images"
            )
        yield FolderReader(expanded, shown, follow_links=follow_links)
    elif stat.S_ISREG(mode):
        with _opened_file(expanded, shown) as reader:
            yield reader
    else:
        raise UsageError(f"dataset.path={shown}: neither a folder nor a file, {EXPECTED}")


def existing_mode(path: str, key: str = "dataset.path") -> int:
    """Returns the mode of the file or folder at `key`. Raises UsageError if it does not exist or cannot be read."""
    expanded = os.path.expanduser(path)
    try:
        return os.stat(expanded).st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise UsageError(f"{key}={one_line(expanded)}: not found, {EXPECTED}") from None
    except OSError as error:
        raise UsageError(f"{key}={one_line(expanded)}: cannot be read ({error.strerror})") from None


def _opened_file(path: str, shown: str) -> AbstractContextManager[Reader]:
    """Returns the reader of a file, chosen by the suffix and the first bytes of the file."""
    try:
        with open(path, "rb") as file:
            start = file.read(512)
    except PermissionError as error:
        raise UsageError(f"dataset.path={shown}: cannot be read ({error.strerror})") from None
    except OSError as error:
        raise StorageError(f"{shown}: cannot be read ({error.strerror})") from error
    name = shown.lower()
    if name.endswith((".zip", ".npz")) or start.startswith(formats.ZIP_MAGIC):
        return open_zip(path, shown)
    if name.endswith(READ_SUFFIXES) or formats.is_image(start) or start.startswith(formats.NPY_MAGIC):
        return nullcontext(FolderReader(path, shown, alone=True))
    if name.endswith(formats.TARS) or formats.is_tar(start):
        return open_tar(path, shown)
    if zipfile.is_zipfile(path):  # a self-extracting zip begins with a program
        return open_zip(path, shown)
    advice = formats.DICOM if formats.is_dicom(start) else formats.conversion_advice(name)
    raise UsageError(f"dataset.path={shown}: {advice or f'neither a folder, a zip, a tar nor an image, {EXPECTED}'}")
