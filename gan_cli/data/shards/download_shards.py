"""Downloads shards into a folder that holds at most so many bytes of them; the ones used least recently are removed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from gan_cli.errors import StorageError, UsageError, one_line
from gan_cli.storage.atomic_write import create_folder_or_undo, replacing
from gan_cli.storage.locks import one_at_a_time

TIMEOUT = 20  # seconds without data
PAUSES = (1, 4)  # seconds before a further try
CHUNK = 1 << 18
SUFFIX = ".shard"
NEVER = threading.Event()  # of what is not to be stopped: it stays unset


class ShardDownloads:
    """The downloaded shards in `folder`, at most `most_bytes` of them. Processes may share the folder."""

    def __init__(self, folder: Path | None, most_bytes: int) -> None:
        if folder is None:
            raise UsageError("dataset.cache=none: shards of an address are kept in a folder, name one")
        self._folder, self._most_bytes = folder, most_bytes

    def fetch(self, address: str, sha256: str | None, stopped: threading.Event = NEVER) -> Path:
        """Returns the path of a shard, downloaded unless it is there. `sha256` is the expected one, if it is known.

        Raises StorageError if it cannot be downloaded, if it has another content than expected, or if `stopped` is set.
        """
        path = self._path(address)
        if _in_use(path):
            return path
        with one_at_a_time(path, stopped=stopped):  # processes on one machine download it once
            if not _in_use(path):
                self._try_download(address, path, sha256, stopped)
                self._remove_oldest(path)
        return path

    def discard(self, address: str) -> None:
        """Removes a shard if it is there."""
        with contextlib.suppress(OSError):
            self._path(address).unlink()

    def _path(self, address: str) -> Path:
        return self._folder / f"{hashlib.sha256(address.encode()).hexdigest()[:32]}{SUFFIX}"

    def _try_download(self, address: str, path: Path, sha256: str | None, stopped: threading.Event) -> None:
        """Downloads a shard, and tries again after PAUSES. Raises StorageError."""
        for pause in (*PAUSES, None):
            try:
                return self._download(address, path, sha256, stopped)
            except (OSError, HTTPException, ValueError) as error:
                why = _reason(error)
                if pause is None or getattr(error, "code", 500) in (401, 403, 404, 410):
                    where = f"{one_line(address, 200)}: cannot be downloaded to {one_line(self._folder)}"
                    raise StorageError(f"{where} ({why})") from error
                stopped.wait(pause)

    def _download(self, address: str, path: Path, sha256: str | None, stopped: threading.Event) -> None:
        """Downloads to a temporary file, which is renamed if it is complete. Leaves nothing behind otherwise."""
        _require_going(address, stopped)
        with (
            create_folder_or_undo(path.parent),
            replacing(path) as part,
            urllib.request.urlopen(address, timeout=TIMEOUT) as response,
        ):
            digest, expected = hashlib.sha256(), response.length
            if expected is not None and expected > self._most_bytes:
                raise StorageError(f"{one_line(address, 200)}: has {expected:,} bytes, {self._limit()}")
            with open(part, "wb") as file:
                while chunk := response.read1(CHUNK):  # what has arrived, so that a slow download can be stopped
                    _require_going(address, stopped)
                    file.write(chunk)
                    digest.update(chunk)
                    if file.tell() > self._most_bytes:
                        more = f"{one_line(address, 200)}: has more than {file.tell():,} bytes"
                        raise StorageError(f"{more}, {self._limit()}")
                received = file.tell()
            if expected is not None and received < expected:
                raise ValueError(f"the connection ended after {received:,} of {expected:,} bytes")
            if sha256 not in (None, digest.hexdigest()):
                raise StorageError(
                    f"{one_line(address, 200)}: is not the file that was read before, its sha256 is another;"
                    f" remove the .shard-index files in {one_line(self._folder)} to read the new ones"
                )

    def _limit(self) -> str:
        return f"more than dataset.cache_size={self._most_bytes / 1e9:g} (GB) allows"

    def _remove_oldest(self, kept: Path) -> None:
        """Removes shards until at most `most_bytes` are there. Open ones can still be read."""
        found = []
        for path in self._folder.glob(f"*{SUFFIX}"):
            with contextlib.suppress(OSError):
                status = path.stat()
                found.append((status.st_mtime_ns, status.st_size, path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= self._most_bytes:
                break
            if path != kept:
                with contextlib.suppress(OSError):
                    path.unlink()
                total -= size


def _require_going(address: str, stopped: threading.Event) -> None:
    if stopped.is_set():
        raise StorageError(f"{one_line(address, 200)}: the download was stopped")


def _reason(error: Exception) -> str:
    """Returns why a download failed. A server may word its answer in any way, so the status comes first."""
    reason: Any = getattr(error, "reason", None) or error
    why = one_line(getattr(reason, "strerror", None) or reason, 120)
    if not isinstance(error, HTTPError):
        return why
    error.close()  # the answer, which nobody reads
    return f"HTTP status {error.code}: {why}"


def _in_use(path: Path) -> bool:
    """Returns whether a download is there, and notes the time of its use."""
    with contextlib.suppress(OSError):
        os.utime(path)
        return True
    return False
