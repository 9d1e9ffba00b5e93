"""What gan-cli itself wrote, found again by its files: runs, exports, samples, pages of an evaluation."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

RUN, EXPORT, SAMPLES, PICTURE = "run", "export", "set of samples", "picture"
MARKS = {RUN: ("config.json", "checkpoints"), EXPORT: ("config.json", "parity.json")}  # names that a folder has
OF_US = b'"gan_cli"'  # a key of their config.json
PAGE = "_memorization"  # at the end of the name of a page that an evaluation left
OF_SIDECARS = (
    b'"sha256"',
    b'"checkpoint"',
    b'"seeds"',
)  # keys of the JSON file beside what gan-sample and gan-eval write
CACHED = ".pictures"  # at the end of the name of a file of decoded pictures, which is left out without a word
OF_EVALUATIONS = b'"extractor"'
HEAD = 1 << 12  # bytes in which they are
MOST_SIDECARS = 1000  # of a folder that are looked at


class Own(NamedTuple):
    """Something of ours: what it is, and where."""

    kind: str
    parts: tuple[str, ...]


def kind_of(names: Collection[str], head: Callable[[str], bytes]) -> str | None:
    """What a folder with files and folders of these names is, if it is a run or an export.

    `head` gives the beginning of a file.
    """
    for kind, marks in MARKS.items():
        if all(mark in names for mark in marks):
            return kind if OF_US in head(marks[0]) else None
    return None


def kind_at(folder: str) -> str | None:
    """As `kind_of`, of a folder that is not listed yet."""
    marks = dict.fromkeys(mark for each in MARKS.values() for mark in each)
    names = [mark for mark in marks if os.path.exists(os.path.join(folder, mark))]
    return kind_of(names, lambda name: head_in(folder, name)) if len(names) > 1 else None


def head_in(folder: str, name: str) -> bytes:
    """The beginning of a file, nothing of what is none."""
    try:
        path = os.path.join(folder, name)
        if not stat.S_ISREG(os.stat(path).st_mode):
            return b""
        with open(path, "rb") as file:
            return file.read(HEAD)
    except OSError:
        return b""


def beside_sidecars(names: Collection[str], head: Callable[[str], bytes]) -> dict[str, str]:
    """Which of the names in a folder have a JSON file beside them that says we wrote them, and what each is.

    `head` gives the beginning of a file.
    """
    stems = {name[: -len(".json")] for name in names if name.endswith(".json")}
    if not stems:
        return {}
    with_sidecar: dict[str, list[str]] = {}
    for name in names:
        stem = os.path.splitext(name)[0]
        for possible in {name, stem, stem.removesuffix(PAGE)} & stems:
            if name != f"{possible}.json":
                with_sidecar.setdefault(possible, []).append(name)
    found: dict[str, str] = {}
    for stem in sorted(with_sidecar)[:MOST_SIDECARS]:
        content = head(f"{stem}.json")
        if all(key in content for key in OF_SIDECARS) or (OF_EVALUATIONS in content and _has_page(with_sidecar[stem])):
            found |= {name: SAMPLES if name in (stem, f"{stem}.npz") else PICTURE for name in with_sidecar[stem]}
    return found


def _has_page(names: Iterable[str]) -> bool:
    return any(os.path.splitext(name)[0].endswith(PAGE) for name in names)


def in_archive(paths: Iterable[tuple[str, ...]], head: Callable[[tuple[str, ...]], bytes]) -> list[Own]:
    """What of an archive's members is ours, by their paths."""
    folders: dict[tuple[str, ...], set[str]] = {}
    for parts in paths:
        for depth in range(len(parts)):
            folders.setdefault(parts[:depth], set()).add(parts[depth])
    found = []
    for folder, names in folders.items():
        kind = kind_of(names, lambda name, folder=folder: head((*folder, name))) if folder else None  # type: ignore[misc]
        if kind is not None:
            found.append(Own(kind, folder))
        else:
            of_sidecars = beside_sidecars(names, lambda name, folder=folder: head((*folder, name)))  # type: ignore[misc]
            found += [Own(each, (*folder, name)) for name, each in of_sidecars.items()]
    return found


def marks_of(name: str, begins: Callable[[int], bytes]) -> bytes:
    """What `head` need give of a file of an archive that is read but once; `begins` gives its first bytes."""
    if not name.endswith(".json"):
        return b""
    start = begins(HEAD)
    return b" ".join(mark for mark in (OF_US, *OF_SIDECARS, OF_EVALUATIONS) if mark in start)


def is_below(parts: tuple[str, ...], left_out: Collection[tuple[str, ...]]) -> bool:
    return bool(left_out) and any(parts[:depth] in left_out for depth in range(1, len(parts) + 1))


def but_samples(own: Sequence[Own]) -> list[Own]:
    return [each for each in own if each.kind != SAMPLES]


def told(own: Sequence[Own]) -> str:
    """`2 runs and 1 picture of gan-cli left out (outputs/a/2026-01-01_120000, ...)`; an empty text for none."""
    if not own:
        return ""
    counts = Counter(each.kind for each in own)
    plural = {SAMPLES: "sets of samples"}
    counted = [
        f"{counts[kind]:,} {kind if counts[kind] == 1 else plural.get(kind, f'{kind}s')}"
        for kind in (RUN, EXPORT, SAMPLES, PICTURE)
        if counts[kind]
    ]
    names = ["/".join(each.parts) for each in own]
    some = ", ".join(names[:2]) + (", ..." if len(names) > 2 else "")
    return f"{' and '.join(counted)} of gan-cli left out ({some})"
