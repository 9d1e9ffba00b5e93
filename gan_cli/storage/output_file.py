"""Decides whether the option `out=` names a file or a folder, by the same rule for every command.

A name that ends like the files that the command writes (for example `.png`) is a file. If it exists, it is replaced
only with `overwrite=true`. Any other name is a folder, in which the command chooses unused names. Imports no torch.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from gan_cli.errors import StorageError, UsageError, describe_reason
from gan_cli.storage.atomic_write import claim, create_folder_or_undo, named_file, sync, temporary_folder
from gan_cli.storage.json_files import load_json

# Endings that mean a file. Any other ending may be part of a folder's name, for example runs.v2.
ENDINGS = frozenset(
    f".{name}"
    for names in (
        "png jpg jpeg bmp tif tiff webp gif apng svg pdf mp4 avi mov mkv webm mpg mpeg",
        "npz npy zip tar json jsonl csv md txt html htm safetensors onnx pt2 pt pth pkl ckpt",
    )
    for name in names.split()
)


def output_file(out: str | None, ending: str, what: str, others: Mapping[str, str] | None = None) -> Path | None:
    """Returns the file that `out` names, or None if `out` names a folder or is None.

    `ending` is the ending of the file that the command writes; it is empty if the command writes a folder of files.
    `what` describes the command in messages. `others` maps other endings to a text that says how to write such files.
    Raises UsageError if `out` has a file ending other than `ending`, or is to be a folder and is something else.
    """
    if out is None or out.endswith("/") or os.path.isdir(out):
        return None
    path = Path(out)
    found = path.suffix.lower()
    if ending and found == ending:
        return path
    if found not in ENDINGS:
        if os.path.lexists(out):
            raise UsageError(f"out={out}: is there already and is no folder; give another name")
        return None
    way = f"; {found} is {others[found]}" if others and found in others else ""
    if not ending:
        raise UsageError(f"out={out}: {what} writes a folder, whose name does not end in {found}{way}")
    raise UsageError(f"out={out}: {what} writes a file that ends in {ending}, not {found}{way}")


def check_overwrite(file: Path | None, sidecars: Iterable[Path], overwrite: bool) -> None:
    """Raises UsageError if the file that `out` names must not be replaced, or one of the `sidecars` written with it.

    Without `overwrite`, no existing file is replaced. With `overwrite`, a JSON sidecar is replaced only if
    `gan-sample` or `gan-export` wrote it and `file` exists. Also raises UsageError for `overwrite` without a file.
    """
    if file is None:
        if overwrite:
            raise UsageError("overwrite=true: is for a file that out= names; files in a folder get names of their own")
        return
    for path in (file, *sidecars):
        if not os.path.lexists(path):
            continue
        if not overwrite:
            raise UsageError(f"out={file}: {path} is there already; give another name, or overwrite=true")
        if path.is_dir() or (path != file and path.suffix == ".json" and not (_is_sidecar(path) and file.is_file())):
            raise UsageError(f"out={file}: {path} would be replaced, and does not belong to it; give another name")


def _is_sidecar(path: Path) -> bool:
    """Returns True if the path is a JSON file that `gan-sample` or `gan-export` wrote together with another file."""
    content = load_json(path)
    return isinstance(content, dict) and "gan_cli" in content


@contextlib.contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Turns an OSError of the block into a StorageError that names the file, or `path` if that is a temporary one."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{named_file(error, path)}: cannot be written ({describe_reason(error, path)})") from error


@contextlib.contextmanager
def output_folder(folder: Path) -> Iterator[Path]:
    """Creates the folder and yields a temporary folder in it. Turns an OSError of the block into a StorageError.

    After an error, leaves no new folder behind.
    """
    with writing_to(folder), create_folder_or_undo(folder), temporary_folder(folder) as temporary:
        yield temporary


def unused_path(folder: Path, stem: str, ending: str, other_endings: Iterable[str] = ()) -> Path:
    """Returns the first unused path of `<folder>/<stem><ending>`, `<stem>-2<ending>` ... for all these endings.

    After a digit, as in `seeds_0-2`, it is `_v2`, which reads as no part of these numbers. Raises StorageError if about
    100,000 paths are in use.
    """
    mark = "_v" if stem[-1:].isdigit() else "-"
    for count in range(1, 100_000):
        name = stem if count == 1 else f"{stem}{mark}{count}"
        if not any(os.path.lexists(folder / f"{name}{end}") for end in (ending, *other_endings)):
            return folder / f"{name}{ending}"
    raise StorageError(f"{folder}: holds 100,000 of these already")


def keep_as(part: Path, path: Path, companion: tuple[Path, Path] | None = None, *, overwrite: bool = False) -> None:
    """Gives a complete file or folder its final name, after the file `companion[0]` got the name `companion[1]`.

    Without `overwrite`, raises FileExistsError if a name is in use. After an error then neither has its name.
    """
    if overwrite:
        for source, target in filter(None, (companion, (part, path))):
            sync(source)
            os.replace(source, target)
        return
    if companion is not None:
        claim(*companion)
    try:
        claim(part, path)
    except OSError:
        if companion is not None:
            if companion[0].exists():  # as another hard link
                companion[1].unlink()
            else:
                companion[1].replace(companion[0])
        raise


def claim_unused(part: Path, folder: Path, stem: str, ending: str, sidecar: Path | None = None) -> Path:
    """Moves a complete file or folder to the first unused name in `folder`, as `unused_path` counts. Returns its path.

    `sidecar` is a complete JSON file that gets the same name with `.json`, first. Several commands at once each get
    names of their own.
    """
    while True:
        path = unused_path(folder, stem, ending, [".json"] if sidecar else [])
        note = folder / f"{path.name.removesuffix(ending)}.json"
        with contextlib.suppress(FileExistsError):
            keep_as(part, path, None if sidecar is None else (sidecar, note))
            return path
