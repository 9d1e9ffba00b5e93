"""The files of shards: local ones, and those that are downloaded into a folder of bounded size when they are needed."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from gan_cli.data.shards.download_shards import NEVER, ShardDownloads
from gan_cli.errors import StorageError, one_line
from gan_cli.image_files.formats import BadImageError
from gan_cli.image_labels.shard_paths import is_address

MOST_OPEN = 64  # shards that are open at once
START_AGAIN = "start again with shards that no one writes to"
MOST_REMOVED = 5  # times that a download is made again because it was removed before it was open


class _OpenFile:
    """A file that stays open while any thread reads from it, even after the path was removed."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY)
        self._state = self._read_state()

    def has_changed(self) -> bool:
        """Returns whether the file was written to since it was opened."""
        return self._read_state() != self._state

    def _read_state(self) -> tuple[int, int]:
        found = os.fstat(self.descriptor)
        return found.st_size, found.st_mtime_ns

    def __del__(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            os.close(self.descriptor)


class ShardFiles:
    """Reads parts of shards. Threads may call its methods at once.

    `names` are paths or addresses. `cache` is the folder of indexes and downloads, None for none. At most `most_bytes`
    of downloads are kept. The event `stopped` of a call, once set, ends its download by a StorageError.
    """

    def __init__(self, names: Sequence[str], cache: Path | None, most_bytes: int) -> None:
        self.names, self.cache = tuple(names), cache
        self._downloads = ShardDownloads(cache, most_bytes) if any(map(is_address, names)) else None
        self._sizes: dict[int, int] = {}
        self._digests: dict[int, str] = {}
        self._open: OrderedDict[int, _OpenFile] = OrderedDict()  # the one used last comes last
        self._choosing = threading.Lock()  # among the open ones
        self._locks = [threading.Lock() for _ in range(MOST_OPEN)]

    def state(self, number: int) -> tuple[object, ...]:
        """Returns what changes if a local shard is written or replaced. Raises StorageError if it cannot be read."""
        name = self.names[number]
        if is_address(name):
            return (name,)
        try:
            status = os.stat(name)
        except OSError as error:
            raise StorageError(f"{one_line(name)}: cannot be read ({error.strerror})") from error
        return (os.path.realpath(name), status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns)

    def expect(self, sizes: Sequence[int], digests: Sequence[str]) -> None:
        """Sets the size and the sha256 of every shard, as its index has them. Downloads must have them."""
        self._sizes, self._digests = dict(enumerate(sizes)), dict(enumerate(digests))

    def open_path(self, number: int, stopped: threading.Event = NEVER) -> Path:
        """Returns the path of a shard, downloaded if necessary. Raises StorageError if that fails."""
        name = self.names[number]
        if self._downloads is None or not is_address(name):
            return Path(name)
        return self._downloads.fetch(name, self._digests.get(number), stopped)

    def require_unchanged(self, number: int) -> None:
        """Raises StorageError if a local shard was written to since it was opened."""
        file = self.find_open(number)
        if file is not None and not is_address(self.names[number]) and file.has_changed():
            raise StorageError(f"{one_line(self.names[number])}: has changed while it was read; {START_AGAIN}")

    def discard_download(self, number: int) -> None:
        """Removes a downloaded shard; a local one stays."""
        if self._downloads is not None and is_address(self.names[number]):
            self._downloads.discard(self.names[number])

    def read(self, number: int, offset: int, size: int, stopped: threading.Event = NEVER) -> bytes:
        """Returns `size` bytes of a shard. Raises BadImageError if it is shorter, StorageError if it has changed."""
        try:
            file = self.open(number, stopped)
            content = os.pread(file.descriptor, size, offset)
        except OSError as error:
            raise StorageError(f"{one_line(self.names[number])}: cannot be read ({error.strerror or error})") from error
        if len(content) < size:
            raise BadImageError("truncated")
        return content

    def open(self, number: int, stopped: threading.Event = NEVER) -> _OpenFile:
        """Returns a shard, downloaded and opened unless it is open."""
        with self._locks[number % MOST_OPEN]:  # else several threads open or download the same shard
            if (known := self.find_open(number)) is not None:
                return known
            file = self._open_file(number, stopped)
            with self._choosing:
                self._close_removed()
                self._open[number] = file
                if len(self._open) > MOST_OPEN:
                    self._open.popitem(last=False)
            return file

    def find_open(self, number: int) -> _OpenFile | None:
        """Returns a shard if it is open, and notes the time of its use: those used least recently are removed."""
        with self._choosing:
            file = self._open.get(number)
            if file is None:
                return None
            self._open.move_to_end(number)
        if is_address(self.names[number]):
            with contextlib.suppress(OSError):
                os.utime(file.descriptor)
        return file

    def _close_removed(self) -> None:
        """Closes downloads that were removed, whose space is free as soon as no thread reads from them."""
        for number, file in [*self._open.items()]:
            if is_address(self.names[number]) and os.fstat(file.descriptor).st_nlink == 0:
                del self._open[number]

    def _open_file(self, number: int, stopped: threading.Event) -> _OpenFile:
        remote = is_address(self.names[number])
        file = self._open_download(number, stopped) if remote else _OpenFile(self.open_path(number))
        expected, found = self._sizes.get(number), os.fstat(file.descriptor).st_size
        if expected not in (None, found):
            raise StorageError(
                f"{one_line(self.names[number])}: has changed, it has {found:,} bytes in place of {expected:,};"
                f" {START_AGAIN}"
            )
        return file

    def _open_download(self, number: int, stopped: threading.Event) -> _OpenFile:
        """Downloads and opens a shard, again if others removed it in between."""
        for _ in range(MOST_REMOVED):
            with contextlib.suppress(FileNotFoundError):
                return _OpenFile(self.open_path(number, stopped))
        return _OpenFile(self.open_path(number, stopped))


class ShardsAhead:
    """Downloads shards in a thread of its own before they are read: those of the window that comes next.

    The thread ends if nothing is left to download. Errors are dropped, because whoever reads the shard gets them too.
    """

    def __init__(self, files: ShardFiles) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._wanted: list[int] = []
        self._left: list[int] = []
        self._stopped = NEVER
        self._running = False

    def fetch(self, numbers: Sequence[int], stopped: threading.Event) -> None:
        """Begins to download these shards, in place of those of an earlier call that were not begun.

        Does nothing if they are those of the earlier call and `stopped` is the same. Once that is set, downloads end.
        """
        with self._lock:
            if self._wanted == numbers and self._stopped is stopped:
                return
            self._left, self._stopped = [*numbers], stopped
            if not self._running:
                threading.Thread(target=self._run, name="shards ahead", daemon=True).start()
                self._running = True
            self._wanted = [*numbers]  # last, so that a call that was interrupted is made again

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._left or self._stopped.is_set():
                    self._running = False
                    return
                number, stopped = self._left.pop(0), self._stopped
            with contextlib.suppress(Exception):
                if self._files.find_open(number) is None:
                    # not under the lock of `open`, for which reading would have to wait
                    self._files.open_path(number, stopped)
                    self._files.open(number, stopped)
