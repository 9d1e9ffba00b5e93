"""What `out=` means, one rule for every command: a file of that name, or a folder that receives what is written.

A name with the ending of what is written is that file; one that is there already is refused unless `overwrite=true`.
Any other name is a folder, in which files get names of our own that nothing has yet. Imports no torch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from gan_cli.errors import StorageError, UsageError

MOST_BYTES = 64 << 20  # of such a note
# Of a file; any other ending may be part of a folder's name, as in runs.v2.
ENDINGS = frozenset(
    f".{name}"
    for names in (
        "png jpg jpeg bmp tif tiff webp gif apng svg pdf mp4 avi mov mkv webm mpg mpeg",
        "npz npy zip tar json jsonl csv md txt html htm safetensors onnx pt2 pt pth pkl ckpt",
    )
    for name in names.split()
)


def file_of(out: str | None, ending: str, what: str, others: Mapping[str, str] | None = None) -> Path | None:
    """The file that `out` names; None where it is a folder, or nothing.

    `ending` is that of what is written, empty of a folder of files. UsageError for another one, with the way to it
    from `others`, a text by ending.
    """
    if out is None or out.endswith("/") or os.path.isdir(out):
        return None
    path = Path(out)
    found = path.suffix.lower()
    if ending and found == ending:
        return path
    if found not in ENDINGS:
        return None
    way = f"; {found} is {others[found]}" if others and found in others else ""
    if not ending:
        raise UsageError(f"out={out}: {what} writes a folder, whose name does not end in {found}{way}")
    raise UsageError(f"out={out}: {what} writes a file that ends in {ending}, not {found}{way}")


def check_free(file: Path | None, beside: Iterable[Path], overwrite: bool) -> None:
    """UsageError if the file that `out` names, or one that goes with it, is there already and may not be replaced.

    A JSON file beside it stays, unless a command of ours wrote it with the file that is replaced.
    """
    if file is None:
        if overwrite:
            raise UsageError("overwrite=true: is for a file that out= names; files in a folder get names of their own")
        return
    for path in (file, *beside):
        if not os.path.lexists(path):
            continue
        if not overwrite:
            raise UsageError(f"out={file}: {path} is there already; give another name, or overwrite=true")
        if path.is_dir() or (path != file and path.suffix == ".json" and not (is_note(path) and file.is_file())):
            raise UsageError(f"out={file}: {path} would be replaced, and does not belong to it; give another name")


def is_note(path: Path) -> bool:
    """Whether it is a JSON file that `gan-sample` or `gan-export` wrote beside another."""
    try:
        note = json.loads(path.read_bytes()) if path.stat().st_size <= MOST_BYTES else None
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(note, dict) and "gan_cli" in note


def fresh(folder: Path, stem: str, ending: str, beside: Iterable[str] = ()) -> Path:
    """A path that nothing has yet, by itself or with an ending of `beside`: `<stem>-2` where `<stem>` is taken."""
    for count in range(1, 100_000):
        name = stem if count == 1 else f"{stem}-{count}"
        if not any(os.path.lexists(folder / f"{name}{end}") for end in (ending, *beside)):
            return folder / f"{name}{ending}"
    raise StorageError(f"{folder}: holds 100,000 of these already")
