"""Emoji for tests: 300 pairs as pixels, and small npm packages of SVG images."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from support.paths import ROOT

FOLDER, SIDE = ROOT / "tests/data/emoji", 32
# Of each emoji: code points, name, category, and a colour.
FEW = [
    ("1f468", "man", "People & Body", "red"),
    ("1f468-1f3fb", "man-light-skin-tone", "People & Body", "orange"),
    ("1f469", "woman", "People & Body", "green"),
    ("1f9d1-200d-1f680", "astronaut", "People & Body", "blue"),
    *((f"1f60{number}", f"face-{number}", "Smileys & Emotion", f"#0000{number}0") for number in range(1, 10)),
    ("1f34e", "red-apple", "Food & Drink", "#ff00ff"),
]


class Pairs(NamedTuple):
    """The pairs in tests/data/emoji: images uint8 `[300, 3, 32, 32]` by noto and twemoji, names, and categories."""

    noto: Tensor
    twemoji: Tensor
    names: list[str]
    categories: list[str]


def load_pairs() -> Pairs:
    """Returns the pairs in tests/data/emoji."""
    emoji = json.loads((FOLDER / "emoji.json").read_text())
    return Pairs(_cut("noto"), _cut("twemoji"), [each["name"] for each in emoji], [each["category"] for each in emoji])


def _cut(vendor: str) -> Tensor:
    with Image.open(FOLDER / f"{vendor}.png") as image:
        sheet = torch.from_numpy(np.asarray(image.convert("RGB")).copy())
    rows, columns = sheet.shape[0] // SIDE, sheet.shape[1] // SIDE
    return sheet.view(rows, SIDE, columns, SIDE, 3).permute(0, 2, 4, 1, 3).reshape(-1, 3, SIDE, SIDE).contiguous()


def icon_files(vendor: str, **bodies: str) -> dict[str, Any]:
    """Returns the files of a package with the emoji FEW, each a square or, for some names, one of `bodies`."""
    square = '<path d="M{0} {0}h60v60h-60z" fill="{1}"/>'
    place = 10 if vendor == "noto" else 50
    icons = {
        name: {"body": bodies.get(name.replace("-", "_"), square.format(place, colour))} for _, name, _, colour in FEW
    }
    categories: dict[str, list[str]] = {}
    for _, name, category, _ in FEW:
        categories.setdefault(category, []).append(name)
    return {
        "icons.json": {"prefix": vendor, "icons": icons, "width": 128, "height": 128},
        "chars.json": {code: name for code, name, _, _ in FEW},
        "metadata.json": {"categories": categories},
        "info.json": {
            "prefix": vendor,
            "name": f"{vendor.title()} Emoji",
            "author": {"name": "An artist"},
            "license": {"title": "Apache 2.0", "url": "https://example.org/licence"},
        },
        "package.json": {"version": "1.2.3"},
    }


def write_folder(folder: Path, files: dict[str, Any]) -> Path:
    """Writes a package as a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    return folder


def write_tarball(path: Path, files: dict[str, Any]) -> Path:
    """Writes a package as the tarball that `npm pack` leaves."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            data = json.dumps(content).encode()
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path
