"""Lists the members of an archive, for the readers of zip and tar."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from gan_cli.image_files import formats, own_outputs
from gan_cli.image_files.listing import MOST_LEVELS, TOO_DEEP, Listing, ReadStart, is_junk
from gan_cli.image_files.own_outputs import OwnOutput


class Member(NamedTuple):
    """A member of an archive."""

    parts: tuple[str, ...]
    is_dir: bool
    location: Any
    size: int
    read_start: ReadStart
    bad: str | None  # why it cannot be read


def member_path(name: str) -> tuple[str, ...]:
    """Returns the path parts of a member, with backslashes as separators and without `.` and `..`."""
    return tuple(part for part in name.replace("\\", "/").split("/") if part not in ("", ".", ".."))


def size_problem(name: str, size: int) -> str | None:
    """Returns why a member of `size` bytes is too large to be an image, or None if it is not. Arrays may be larger."""
    too_large = size > formats.MOST_FILE_BYTES and not name.lower().endswith(".npy")
    return f"larger than {formats.MOST_FILE_BYTES >> 20} MiB" if too_large else None


def list_archive(
    shown: str, kind: str, members: Callable[[], Iterable[Member]], head: Callable[[tuple[str, ...]], bytes]
) -> Listing:
    """Returns the listing of a zip or tar without the outputs of gan-cli, unless it holds nothing but samples of it.

    `members` is called for each pass over the archive. `head` returns the bytes of a member that identify an output,
    after the first pass.
    """
    paths: set[tuple[str, ...]] = set()

    def listed(ours: list[OwnOutput]) -> Listing:
        listing = Listing(shown, zipped=True, own=ours)
        left_out, seen = {each.parts for each in ours}, set()
        for member in members():
            parts = member.parts
            folders = (parts[:depth] for depth in range(1, len(parts) + 1))
            if not parts or any(map(is_junk, parts)) or (left_out and not left_out.isdisjoint(folders)):
                continue
            if len(parts) > MOST_LEVELS + 1:
                listing.skip(TOO_DEEP, parts[:MOST_LEVELS])
                continue
            paths.add(parts)
            if member.is_dir:
                listing.folders.update({parts[:1], parts[:2]})
                continue
            bad = f"twice in the {kind}" if parts in seen else member.bad
            listing.add(parts, member.location, member.size, member.read_start, bad)
            seen.add(parts)
        return listing

    listing = listed([])
    ours = own_outputs.outputs_in_archive(paths, head)
    if ours:  # they are known only after the whole archive was listed
        listing = listed(ours)
        if not listing.files and any(each.kind == own_outputs.SAMPLES for each in ours):
            listing = listed([each for each in ours if each.kind != own_outputs.SAMPLES])  # the user wants the samples
    return listing
