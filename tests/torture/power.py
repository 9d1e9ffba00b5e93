"""States of a folder after a power cut: what was synced is there, of the rest any part that a file system may keep.

The model: writes of a file since its last fsync are kept up to a random one, which may be torn; names changed in a
folder since its last fsync are kept up to a random one, in their order. Files and folders are independent.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from pathlib import Path, PurePosixPath
from random import Random

from torture.kills import SAVES
from torture.scenarios import SCENARIOS, complete, copy_run, reference
from torture.shim import Event
from torture.worker import Trial

TORN = 512  # bytes of a disk's sector


class Disk:
    """A folder as a disk holds it: files by number, with synced and unsynced content, and the names in each folder."""

    def __init__(self, folder: Path) -> None:
        self.contents: dict[int, list[bytes]] = {}  # by file, the states since the last fsync: the first is synced
        self.names: dict[str, int] = {}  # as the running system sees them, by path
        self.synced: dict[str, int] = {}
        self.changes: dict[str, list[tuple[str, int | None]]] = defaultdict(list)  # by folder, not yet synced
        self.folders: set[str] = set()
        numbers: dict[int, int] = {}
        for path in sorted(folder.rglob("*")):
            name = str(path.relative_to(folder))
            if path.is_dir():
                self.folders.add(name)
                continue
            number = numbers.setdefault(path.stat().st_ino, len(numbers))
            self.contents.setdefault(number, [path.read_bytes()])
            self.names[name] = self.synced[name] = number

    def apply(self, event: Event) -> None:
        """Lets an event happen."""
        path, other = event.path, event.other
        match event.name:
            case "open":
                if path not in self.names:
                    self.contents[len(self.contents)] = [b""]
                    self._rename(path, len(self.contents) - 1)
                elif "w" in str(event.detail):
                    self.contents[self.names[path]].append(b"")
            case "write" if path in self.names and isinstance(event.detail, bytes):
                self._content(path).append(self._content(path)[-1] + event.detail)  # all our writes append
            case "truncate" if path in self.names and isinstance(event.detail, int):
                self._content(path).append(self._content(path)[-1][: event.detail])
            case "fsync" if path in self.names:
                self.contents[self.names[path]] = self._content(path)[-1:]
            case "fsync":
                self._sync_folder(path)
            case "link":
                self._rename(other, self.names[path])
            case "replace" | "rename" if path in self.names:
                number = self.names[path]
                self._rename(other, number)
                if self.names.get(path) == number and path != other:
                    self._rename(path, None)
            case "unlink" if path in self.names:
                self._rename(path, None)
            case "mkdir":
                self.folders.add(path)

    def _content(self, path: str) -> list[bytes]:
        return self.contents[self.names[path]]

    def _rename(self, path: str, number: int | None) -> None:
        if number is None:
            self.names.pop(path, None)
        else:
            self.names[path] = number
        self.changes[str(PurePosixPath(path).parent)].append((path, number))

    def _sync_folder(self, folder: str) -> None:
        for path, number in self.changes.pop(folder, []):
            _set(self.synced, path, number)

    def write_cut(self, folder: Path, random: Random) -> None:
        """Writes a state that a power cut may leave."""
        names = dict(self.synced)
        for changes in self.changes.values():
            kept = changes[: random.randint(0, len(changes))]
            for path, number in kept:
                _set(names, path, number)
        contents = {number: _cut(states, random) for number, states in sorted(self.contents.items())}
        for name in sorted(self.folders):
            (folder / name).mkdir(parents=True, exist_ok=True)
        first: dict[int, Path] = {}
        for name, number in names.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if number in first:
                path.hardlink_to(first[number])
            else:
                path.write_bytes(contents[number])
                first[number] = path


def _set(names: dict[str, int], path: str, number: int | None) -> None:
    if number is None:
        names.pop(path, None)
    else:
        names[path] = number


def _cut(states: list[bytes], random: Random) -> bytes:
    """Returns one of the states of a file since its last fsync; if longer than the one before, maybe torn.

    A torn state is never shorter than the one before: the sector that both share holds the bytes of either.
    """
    index = random.choice((0, len(states) - 1, random.randrange(len(states))))
    content = states[index]
    before = len(states[index - 1]) if index else len(content)
    if len(content) > before and random.random() < 0.3:
        return content[: max(before, TORN * random.randint(before // TORN, len(content) // TORN))]
    return content


def power_cut(trial: Trial) -> None:
    """Cuts the power at a random call of a resumed run, and resumes it again from what the disk then holds."""
    scenario = SCENARIOS[SAVES]
    events = reference(trial, SAVES, scenario).events
    run = copy_run(trial)
    disk, n = Disk(trial.here), trial.random.randint(1, len(events))
    for event in events[:n]:
        disk.apply(event)
    last = events[n - 1]
    trial.note = f"power cut after call {n} of {len(events)}: {last.name} {last.path}"
    shutil.rmtree(run)
    disk.write_cut(trial.here, trial.random)
    complete(trial, SAVES, scenario, older=False)
