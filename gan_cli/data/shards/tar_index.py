"""Lists the samples of one tar in the format of WebDataset: members of the same name before the first dot.

`dog/0001.jpg`, `dog/0001.cls` and `dog/0001.json` are one sample, if they follow each other. A name that comes again
after other samples is a fault, as for the library `webdataset`, whose reader wants each name once in a tar. Nothing is
extracted, so names such as `../0001.jpg` or absolute ones do no harm.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tarfile
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gan_cli.errors import StorageError, UsageError, one_line
from gan_cli.image_files import formats
from gan_cli.image_files.archive_members import size_problem
from gan_cli.storage.archive_errors import DAMAGED

BLOCK = 1 << 20  # bytes that are read at once
END_MARK = bytes(tarfile.BLOCKSIZE)
MOST_LABEL_BYTES = 1 << 20  # of the member that holds the label
MOST_CLASSES = 10_000
MOST_NAMED = 100  # bad samples of a shard that are named
MOST_FIELDS = 50  # of a sample that are listed
AGAIN = "its name comes again after other samples"
NO_LABEL, CLS, JSON = "none", "cls", "json"


class TarOptions(NamedTuple):
    """Which member of a sample is its image, by suffix, and which holds its class; None: found out.

    `label` is a suffix, as `cls` or `txt`, a key of the JSON member, as `json.class`, or `none`.
    """

    image: str | None = None
    label: str | None = None


def _numbers() -> array[int]:
    return array("q")


@dataclass
class TarContent:
    """The samples of a tar: where each image is, and its label as a position in `texts`; -1 without labels.

    Numbers take 64 bits each.
    """

    offsets: array[int] = field(default_factory=_numbers)
    sizes: array[int] = field(default_factory=_numbers)
    labels: array[int] = field(default_factory=_numbers)
    names: array[int] = field(default_factory=_numbers)  # hashes of the samples' names
    texts: list[str] = field(default_factory=list)
    unlabelled: int = 0  # samples without the label that `TarOptions` names
    fields: list[str] = field(default_factory=list)  # what the first of these could be labelled by
    bad: list[str] = field(default_factory=list)  # the first samples that cannot be used, each with the reason
    bad_count: int = 0
    sha256: str = ""  # of the tar


class _BadSampleError(Exception):
    """A sample that cannot be used. The text gives the reason in a few words."""


class _NoLabelError(_BadSampleError):
    """A sample that lacks the field `dataset.label`."""


Members = dict[str, tarfile.TarInfo]  # of a sample, by suffix in lower case


def read_tar(path: str, shown: str, options: TarOptions) -> TarContent:
    """Reads the headers and the labels of a tar, and computes its sha256.

    Raises UsageError if it is compressed, truncated or no tar, StorageError if it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(512)
            if packing := next((name for magic, name in formats.PACKED_MAGIC.items() if start.startswith(magic)), None):
                raise UsageError(
                    f"dataset.path: {shown}: is compressed ({packing}), so that no image in it can be read alone;"
                    " unpack it to a .tar"
                )
            file.seek(0)
            content = _read_members(file, shown, options)
            file.seek(0)
            content.sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            return content
    except OSError as error:
        raise StorageError(f"{shown}: cannot be read ({error.strerror or error})") from error
    except DAMAGED as error:
        what = "is truncated, get it again" if "unexpected end" in str(error) else "is no tar or a damaged one"
        raise UsageError(f"dataset.path: {shown}: {what}") from None


def _read_members(file: Any, shown: str, options: TarOptions) -> TarContent:
    content = TarContent()
    known: dict[str, int] = {}
    names: set[int] = set()
    with tarfile.open(fileobj=file, mode="r:") as tar:
        for key, members, problem in _samples(tar):
            name = _hash_of(key)
            try:
                if problem or name in names:
                    raise _BadSampleError(problem or AGAIN)
                image = _image_of(members, options.image)
                if not formats.is_image(_read(file, image, formats.HEADER_BYTES)):
                    raise _BadSampleError("empty" if not image.size else "not an image despite its name")
                label = _label_of(file, members, options.label)
            except _BadSampleError as error:
                if isinstance(error, _NoLabelError):
                    content.unlabelled += 1
                    content.fields = content.fields or _fields_of(file, members)
                content.bad_count += 1
                if len(content.bad) < MOST_NAMED:
                    content.bad.append(f"{one_line(key, 120)} ({error})")
                continue
            finally:
                names.add(name)
            content.names.append(name)
            content.offsets.append(image.offset_data)
            content.sizes.append(image.size)
            content.labels.append(-1 if label is None else known.setdefault(label, len(known)))
            if len(known) > MOST_CLASSES:
                raise UsageError(
                    f"dataset.label={options.label or CLS}: {shown} has more than {MOST_CLASSES:,} different values, so"
                    " they are no classes; dataset.label=none leaves them out"
                )
        end = tar.offset
    content.texts = list(known)
    file.seek(min(end, max(0, os.fstat(file.fileno()).st_size - len(END_MARK))))
    if file.read(len(END_MARK)) != END_MARK:
        raise UsageError(f"dataset.path: {shown}: is truncated, it lacks the mark of its end; get it again")
    while rest := file.read(BLOCK):
        if rest.count(0) < len(rest):
            raise UsageError(
                f"dataset.path: {shown}: has more after the mark of its end, as tars joined by cat have; name the tars"
                " one by one, or unpack it by tar --ignore-zeros and pack it again"
            )
    return content


def _samples(tar: tarfile.TarFile) -> Iterator[tuple[str, Members, str | None]]:
    """Yields the name of each sample, its members, and why one of them cannot be read, or None."""
    key, members, problem = "", Members(), None
    while (info := tar.next()) is not None:
        tar.members.clear()  # type: ignore[attr-defined]  # else all of them are kept
        if info.isdir():
            continue
        folder, _, name = info.name.rpartition("/")
        stem, _, suffix = name.partition(".")
        if not stem or folder.startswith("__MACOSX"):
            continue
        if members and f"{folder}/{stem}" != key:
            yield key.lstrip("/"), members, problem
            members, problem = Members(), None
        key = f"{folder}/{stem}"
        problem = problem or _why_unreadable(info, twice=suffix.lower() in members)
        members[suffix.lower()] = info
    if members:
        yield key.lstrip("/"), members, problem


def _why_unreadable(info: tarfile.TarInfo, *, twice: bool) -> str | None:
    if twice:
        return "twice in the tar"
    if not info.isreg():
        return "a link or device in the tar"
    return "packed in an unusual way, pack it again" if info.issparse() else size_problem(info.name, info.size)


def _image_of(members: Members, suffix: str | None) -> tarfile.TarInfo:
    """Returns the member of a sample that is its image."""
    if suffix is not None:
        if (found := members.get(suffix.lower())) is None:
            raise _BadSampleError(f"has no .{suffix}")
        return found
    images = [name for name in members if f".{name}".endswith(formats.READ_SUFFIXES)]
    if len(images) != 1:
        suffixes = ", .".join(images)
        several = f"has several images (.{suffixes}), choose by dataset.image={images[-1]}" if images else ""
        raise _BadSampleError(one_line(several or f"has no image, only .{', .'.join(members)}", 200))
    return members[images[0]]


def _label_of(file: Any, members: Members, label: str | None) -> str | None:
    """Returns the label of a sample as a text; None without labels."""
    if label == NO_LABEL or (label is None and CLS not in members):
        return None
    suffix, _, key = (label or CLS).partition(".") if (label or CLS).startswith(f"{JSON}.") else (label or CLS, "", "")
    info = members.get(suffix.lower())
    if info is None:
        raise _NoLabelError(f"has no label .{suffix}")
    if info.size > MOST_LABEL_BYTES:
        raise _BadSampleError(f"its .{suffix} is larger than {MOST_LABEL_BYTES >> 10} KiB")
    try:
        text = _read(file, info, info.size).decode()
        value = json.loads(text) if key else text.strip()
    except (ValueError, RecursionError):
        raise _BadSampleError(f"its .{suffix} is no {'JSON' if key else 'text'}") from None
    for part in key.split(".") if key else ():
        if not isinstance(value, dict) or part not in value:
            raise _NoLabelError(f"its .{suffix} has no {one_line(key, 60)}")
        value = value[part]
    if isinstance(value, dict) or (suffix.lower() == JSON and not key and value.startswith(("{", "["))):
        raise _NoLabelError(f"its {one_line('.'.join(filter(None, (suffix, key))), 60)} holds no class")
    if not isinstance(value, str | int) or (found := one_line(value, 100)) == "":
        raise _BadSampleError(f"its .{suffix} holds no class")
    return found


def _fields_of(file: Any, members: Members) -> list[str]:
    """Returns what a sample could be labelled by, as `dataset.label` names it: `cls`, `json.kind`."""
    found = [name for name in members if not f".{name}".endswith(formats.READ_SUFFIXES) and name != JSON]
    info = members.get(JSON)
    if info is not None and info.size <= MOST_LABEL_BYTES:
        with contextlib.suppress(ValueError, RecursionError):
            found += _keys_of(json.loads(_read(file, info, info.size)), JSON)
    return [one_line(name, 60) for name in found[:MOST_FIELDS]]


def _keys_of(value: Any, path: str) -> list[str]:
    """Returns the keys of texts and whole numbers in a JSON, with `path` in front."""
    if isinstance(value, dict):
        return [key for name, each in value.items() for key in _keys_of(each, f"{path}.{name}")]
    return [path] if isinstance(value, str | int) else []


def _hash_of(name: str) -> int:
    digest = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def _read(file: Any, info: tarfile.TarInfo, most: int) -> bytes:
    """Reads at most `most` first bytes of a member, without moving the position in the tar."""
    return os.pread(file.fileno(), min(most, info.size), info.offset_data)


def name_at(path: str, offset: int) -> str:
    """Returns the name of the member whose bytes begin at `offset`, for messages."""
    try:
        with open(path, "rb") as file:
            file.seek(offset - tarfile.BLOCKSIZE)
            header = file.read(tarfile.BLOCKSIZE)
        return one_line(tarfile.TarInfo.frombuf(header, tarfile.ENCODING, "surrogateescape").name, 120)
    except (OSError, *DAMAGED):
        return f"the image at byte {offset:,}"
