"""Recognizes outputs of gan-cli by their files: runs, exports, samples, and pages of an evaluation."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import NamedTuple

from gan_cli.errors import count_noun, first_few
from gan_cli.image_files.formats import BadImageError, read_start

RUN, EXPORT, SAMPLES, IMAGE = "run", "export", "set of samples", "image"
MARKS = {RUN: ("config.json", "checkpoints"), EXPORT: ("config.json", "parity.json")}  # names in such a folder
CONFIG_KEY = b'"gan_cli"'  # in the config.json of a run or export
PAGE = "_memorization"  # end of the name of a page of an evaluation
# Keys of the JSON file that gan-sample and gan-eval write next to their output.
SIDECAR_KEYS = (b'"sha256"', b'"checkpoint"', b'"seeds"')
CACHE_SUFFIX = ".pictures"  # suffix of a cache file of decoded images, which is skipped without a word
EVALUATION_KEY = b'"extractor"'
HEAD = 1 << 12  # first bytes, which hold these keys
MOST_SIDECARS = 1000  # JSON files of a folder that are read


class OwnOutput(NamedTuple):
    """An output of gan-cli: its kind and its path."""

    kind: str
    parts: tuple[str, ...]


def output_kind(names: Collection[str], head: Callable[[str], bytes]) -> str | None:
    """Returns `run`, `export` or None for a folder of these `names`. `head` returns the first bytes of a file."""
    for kind, marks in MARKS.items():
        if all(mark in names for mark in marks):
            return kind if CONFIG_KEY in head(marks[0]) else None
    return None


def output_kind_at(folder: str) -> str | None:
    """Returns the result of `output_kind` for a folder that is not listed yet."""
    marks = {mark for each in MARKS.values() for mark in each}
    names = [mark for mark in marks if os.path.exists(os.path.join(folder, mark))]
    return output_kind(names, partial(read_head, folder))


def read_head(folder: str, name: str) -> bytes:
    """Returns the first bytes of a file, or no bytes if it is not a regular file or cannot be read."""
    try:
        return read_start(os.path.join(folder, name), HEAD)
    except (BadImageError, OSError):
        return b""


def files_with_sidecar(names: Collection[str], head: Callable[[str], bytes]) -> dict[str, str]:
    """Returns the kind of each file that gan-cli wrote, as a JSON file next to it says. `head` is as above."""
    stems = {name.removesuffix(".json") for name in names if name.endswith(".json")}
    with_sidecar: dict[str, list[str]] = {}
    for name in names if stems else ():
        stem = os.path.splitext(name)[0]
        for possible in {name, stem, stem.removesuffix(PAGE)} & stems:
            if name != f"{possible}.json":
                with_sidecar.setdefault(possible, []).append(name)
    found: dict[str, str] = {}
    for stem in sorted(with_sidecar)[:MOST_SIDECARS]:
        content = head(f"{stem}.json")
        has_page = any(os.path.splitext(name)[0].endswith(PAGE) for name in with_sidecar[stem])
        if all(key in content for key in SIDECAR_KEYS) or (EVALUATION_KEY in content and has_page):
            found |= {name: SAMPLES if name in (stem, f"{stem}.npz") else IMAGE for name in with_sidecar[stem]}
    return found


def outputs_in_archive(paths: Iterable[tuple[str, ...]], head: Callable[[tuple[str, ...]], bytes]) -> list[OwnOutput]:
    """Returns the outputs of gan-cli among the members of an archive. `head` returns the first bytes of a member."""
    folders: dict[tuple[str, ...], set[str]] = {}
    for parts in paths:
        for depth in range(len(parts)):
            folders.setdefault(parts[:depth], set()).add(parts[depth])
    found = []
    for folder, names in folders.items():

        def head_in_folder(name: str, folder: tuple[str, ...] = folder) -> bytes:
            return head((*folder, name))

        if folder and (kind := output_kind(names, head_in_folder)):
            found.append(OwnOutput(kind, folder))
        else:
            of_sidecars = files_with_sidecar(names, head_in_folder)
            found += [OwnOutput(each, (*folder, name)) for name, each in of_sidecars.items()]
    return found


def identifying_bytes(name: str, read_start: Callable[[int], bytes]) -> bytes:
    """Returns those keys in a file that identify an output of gan-cli, or no bytes if the file has none of them."""
    if not name.endswith(".json"):
        return b""
    start = read_start(HEAD)
    return b" ".join(mark for mark in (CONFIG_KEY, *SIDECAR_KEYS, EVALUATION_KEY) if mark in start)


def describe_outputs(own: Sequence[OwnOutput]) -> str:
    """Returns a text such as `2 runs and 1 image of gan-cli left out (a/b/c, a/b/d and 1 more)`; empty without any."""
    counts, plurals = Counter(each.kind for each in own), {SAMPLES: "sets of samples"}
    kinds = [kind for kind in (RUN, EXPORT, SAMPLES, IMAGE) if counts[kind]]
    counted = [count_noun(counts[kind], kind, plurals.get(kind)) for kind in kinds]
    names = ["/".join(each.parts) for each in own]
    return f"{' and '.join(counted)} of gan-cli left out ({first_few(names, 2)})" if own else ""
