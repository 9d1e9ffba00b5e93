"""Reads the npm packages `@iconify-json/*`, which hold SVG images of emoji, from a folder or from their tarballs.

The files may come from a stranger: sizes are limited, and invalid parts are left out.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gan_cli.errors import StorageError, UsageError, one_line
from gan_cli.image_files.listing import BadImageError
from gan_cli.image_files.svg import check_svg
from gan_cli.storage.archive_errors import DAMAGED
from gan_cli.storage.run_files import read_bytes

ICONS, CHARS, INFO, METADATA, PACKAGE = "icons.json", "chars.json", "info.json", "metadata.json", "package.json"
MOST_BYTES, MOST_BYTES_OF_ICONS, MOST_BYTES_OF_TAR = 4 << 20, 64 << 20, 256 << 20
MOST_ICONS, MOST_SIDE = 20_000, 100_000
CODE_POINTS = re.compile("[0-9a-f]{1,6}(-[0-9a-f]{1,6}){0,15}")
NAME = re.compile("[a-z0-9-]{1,100}")
VERSION = re.compile(r"\d[0-9A-Za-z.+-]{0,30}")
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="{box}" width="16"'
    ' height="16">{body}</svg>'
)


class IconPackage(NamedTuple):
    """A package of emoji by one vendor.

    `names` maps the code points of an emoji, as `1f469-200d-1f680`, to its name. `categories` maps names to the name of
    their category. `title`, `version`, `author` and `licence` are texts of one line.
    """

    path: Path
    title: str
    version: str
    author: str
    licence: str
    names: dict[str, str]
    categories: dict[str, str]


def find_package(paths: Iterable[str], vendor: str) -> Path:
    """Returns the folder or the tarball of a vendor's package at one of `paths`. Raises UsageError if there is none.

    Each path is a tarball, the folder of the package, or a folder that holds packages, tarballs or `node_modules`.
    """
    for path in (Path(os.path.expanduser(each)) for each in paths):
        for inside in ("", "package", vendor, f"@iconify-json/{vendor}", f"node_modules/@iconify-json/{vendor}"):
            if _prefix(path / inside) == vendor:
                return path / inside
        with contextlib.suppress(OSError):
            tarballs = [path] if path.is_file() else sorted(path.glob(f"iconify-json-{vendor}-*.tgz"), key=_version_of)
            if tarballs and _prefix(tarballs[-1]) == vendor:
                return tarballs[-1]
    shown = one_line(",".join(paths), 200)
    raise UsageError(
        f"dataset.path={shown}: no package of {vendor} there, neither a tarball nor a folder; in that folder, run:"
        f" npm pack @iconify-json/{vendor}"
    )


def read_package(path: Path) -> IconPackage:
    """Reads what a package says about its emoji, without the images. Raises UsageError if the package is damaged."""
    files = _read_files(path, {CHARS: MOST_BYTES, INFO: MOST_BYTES, METADATA: MOST_BYTES, PACKAGE: MOST_BYTES})
    content = {name: _section(_parse(files.get(name))) for name in (CHARS, INFO, METADATA, PACKAGE)}
    names = {code: name for code, name in _texts(content[CHARS]) if CODE_POINTS.fullmatch(code) and _is_name(name)}
    if not names:
        raise UsageError(f"dataset.path={one_line(path)}: {CHARS} names no emoji; get the package again")
    info, licence = content[INFO], _section(content[INFO].get("license"))
    version = content[PACKAGE].get("version")
    return IconPackage(
        path,
        title=_line(info.get("name")) or path.name,
        version=version if isinstance(version, str) and VERSION.fullmatch(version) else "",
        author=_line(_section(info.get("author")).get("name")),
        licence=f"{_line(licence.get('title')) or 'unknown licence'} ({_line(licence.get('url')) or 'no address'})",
        names=dict(sorted(names.items())[:MOST_ICONS]),
        categories={
            name: category
            for category, members in sorted(_section(content[METADATA].get("categories")).items())
            for name in (members if isinstance(members, list) else ())
            if isinstance(name, str)
        },
    )


def read_svgs(package: IconPackage, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yields the checked SVG images of those `names` that the package has, each with its name.

    Raises UsageError if the package is damaged or if an image is refused.
    """
    content = _section(_parse(_read_files(package.path, {ICONS: MOST_BYTES_OF_ICONS}).get(ICONS)))
    icons, aliases = _section(content.get("icons")), _section(content.get("aliases"))
    for name in names:
        icon = _section(icons.get(name) or icons.get(str(_section(aliases.get(name)).get("parent"))))
        if not isinstance(icon.get("body"), str):
            continue
        sides = [{**content, **icon}.get(key, default) for key, default in SIDES.items()]
        try:
            if not all(_is_length(side) for side in sides) or min(sides[2:]) <= 0:
                raise BadImageError("has no valid size")
            svg = SVG.format(box=" ".join(map(str, sides)), body=icon["body"])
            check_svg(svg)
        except BadImageError as error:
            raise UsageError(f"dataset.path={one_line(package.path)}: {name} {error}; get the package again") from None
        yield name, svg


SIDES = {"left": 0, "top": 0, "width": 16, "height": 16}  # of an icon's view box, with iconify's default values


# --- files -------------------------------------------------------------------------------------------------------


def _read_files(path: Path, most_bytes: dict[str, int]) -> dict[str, bytes]:
    """Returns those files of a package that it has, each of at most as many bytes as `most_bytes` says.

    Raises StorageError if a file cannot be read or is larger, and UsageError if the tarball is damaged.
    """
    try:
        if path.is_dir():
            existing = [name for name in most_bytes if (path / name).is_file()]
            return {name: read_bytes(path / name, most_bytes[name]) for name in existing}
        return dict(_members(path, most_bytes))
    except DAMAGED as error:
        raise UsageError(f"dataset.path={one_line(path)}: damaged ({one_line(error, 100)}); get it again") from None
    except OSError as error:
        raise StorageError(f"{one_line(path)}: cannot be read ({error.strerror or error})") from error


def _members(path: Path, most_bytes: dict[str, int]) -> Iterator[tuple[str, bytes]]:
    """Yields the files of a tarball by their names in its folder `package`. Raises OSError if one is too large."""
    left = {f"package/{name}": name for name in most_bytes}
    with tarfile.open(path, "r|*") as tar:
        for member in tar:
            if member.offset_data + member.size > MOST_BYTES_OF_TAR:
                raise OSError(f"more than {MOST_BYTES_OF_TAR >> 20} MiB unpacked")
            name = left.pop(member.name, None)
            if name is None or not member.isreg():
                continue
            if member.size > most_bytes[name]:
                raise OSError(f"{name} is larger than {most_bytes[name] >> 20} MiB")
            content = tar.extractfile(member)
            assert content is not None
            yield name, content.read()
            if not left:
                return


def _prefix(path: Path) -> str | None:
    """Returns the vendor of the package at `path`, None if there is no package."""
    with contextlib.suppress(UsageError, StorageError, OSError):
        return _section(_parse(_read_files(path, {INFO: MOST_BYTES}).get(INFO))).get("prefix")
    return None


def _version_of(path: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d{1,9}", path.name)]


# --- values ------------------------------------------------------------------------------------------------------


def _parse(content: bytes | None) -> Any:
    try:
        return None if content is None else json.loads(content)
    except (ValueError, RecursionError):
        return None


def _section(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _texts(section: dict[str, Any]) -> Iterator[tuple[str, str]]:
    return ((key, value) for key, value in section.items() if isinstance(value, str))


def _is_name(value: str) -> bool:
    return NAME.fullmatch(value) is not None


def _line(value: Any) -> str:
    return one_line(value, 120) if isinstance(value, str) else ""


def _is_length(value: Any) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and abs(value) < MOST_SIDE
    )
