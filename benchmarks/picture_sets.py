"""Colour picture sets for benchmarks: drawn faces with known attributes, emoji, crops of photographs.

Each is a folder of PNGs and a `labels.csv`, as a person would bring it. What they are made of is not part of this
repository: `pip install dicebear-core dicebear-styles resvg-py` draws faces, `npm pack @iconify-json/noto
@iconify-json/twemoji` leaves the emoji as two archives, and `pip download --no-deps scikit-image` a wheel with
photographs. The archives and the wheel are expected in the folder `--sources`.

    python benchmarks/picture_sets.py toon-head --count 6000 --size 64 --to sets/toon-head-64
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import tarfile
import zipfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

EMOJI = ("noto", "twemoji")
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "motorcycle_left", "rocket", "brick", "grass", "gravel")
SKIN_TONES = ("light-skin-tone", "medium-skin-tone", "dark-skin-tone")
MOST_ATTRIBUTES = 4  # of a face: those with the most balanced values are told by `labels.csv`
Picture = tuple[str, Image.Image, dict[str, str]]  # its name, RGB, its attributes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="a style of DiceBear, noto, twemoji, or photographs")
    parser.add_argument("--count", type=int, default=6000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--first", type=int, default=0, help="seed of the first face")
    parser.add_argument("--sources", type=Path, default=Path("."), help="folder of the archives and the wheel")
    parser.add_argument("--to", type=Path, required=True)
    options = parser.parse_args()
    save(options.to, pictures(options.name, options.count, options.size, options.sources, options.first))


def pictures(name: str, count: int, size: int, sources: Path, first: int = 0) -> Iterator[Picture]:
    """At most `count` pictures of `size` x `size` pixels."""
    if name in EMOJI:
        return emoji(name, count, size, sources)
    if name == "photographs":
        return crops(count, size, sources)
    return faces(name, count, size, first)


def save(folder: Path, made: Iterator[Picture]) -> None:
    """Writes the pictures and their `labels.csv` into a new folder."""
    folder.mkdir(parents=True)
    rows = []
    for name, picture, attributes in made:
        picture.save(folder / name)
        rows.append({"file": name, **attributes})
    _save_labels(folder / "labels.csv", rows)


def _save_labels(path: Path, rows: list[dict[str, str]]) -> None:
    attributes = {name for row in rows for name in row} - {"file"}
    names = sorted(attributes, key=lambda name: (_imbalance([row.get(name, "none") for row in rows]), name))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["file", *names[:MOST_ATTRIBUTES]], restval="none", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def _imbalance(values: list[str]) -> float:
    """How far a column is from some eight values that are equally frequent."""
    _, counts = np.unique(values, return_counts=True)
    shares = counts / counts.sum()
    return abs(-(shares * np.log(shares)).sum() - np.log(8))


def faces(style: str, count: int, size: int, first: int) -> Iterator[Picture]:
    """Faces drawn by DiceBear, on white; their attributes are the parts and colours that were drawn."""
    from dicebear import Avatar, Style

    definition = Style(json.loads(files("dicebear_styles").joinpath(f"{style}.json").read_text("utf-8")))
    for seed in range(first, first + count):
        avatar = Avatar(definition, {"seed": str(seed), "size": size})
        yield f"{seed:06d}.png", _drawn(avatar.to_string(), size), _attributes(avatar.to_json())


def _attributes(described: dict[str, Any]) -> dict[str, str]:
    options = described.get("options", {})
    return {
        name: "-".join(map(str, value)) if isinstance(value, list) else str(value)
        for name, value in options.items()
        if name.endswith(("Variant", "Color")) and value
    }


def emoji(vendor: str, count: int, size: int, sources: Path) -> Iterator[Picture]:
    """A vendor's emoji, on white, without flags and skin tones; their attribute is the category."""
    archive = next(sources.glob(f"iconify-json-{vendor}-*.tgz"))
    with tarfile.open(archive) as tar:
        icons, metadata = (
            json.load(tar.extractfile(f"package/{name}.json") or io.BytesIO()) for name in ("icons", "metadata")
        )
    categories = {icon: group for group, icons in metadata["categories"].items() for icon in icons}
    names = [name for name in sorted(icons["icons"]) if name in categories and categories[name] != "Flags"]
    names = [name for name in names if not any(tone in name for tone in SKIN_TONES)]
    for name in names[:count]:
        icon = icons["icons"][name]
        width, height = icon.get("width", icons["width"]), icon.get("height", icons["height"])
        svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">{icon["body"]}</svg>'
        yield f"{name}.png", _drawn(svg, size), {"category": categories[name]}


def crops(count: int, size: int, sources: Path) -> Iterator[Picture]:
    """Square crops at random places and scales of the photographs that the wheel of scikit-image holds."""
    random = np.random.default_rng(0)
    with zipfile.ZipFile(next(sources.glob("scikit_image-*.whl"))) as wheel:
        held = {Path(name).stem: name for name in wheel.namelist() if name.startswith("skimage/data/")}
        photographs = [
            Image.open(io.BytesIO(wheel.read(held[name]))).convert("RGB") for name in PHOTOGRAPHS if name in held
        ]
    for number in range(count):
        chosen = int(random.integers(len(photographs)))
        photograph = photographs[chosen]
        side = int(random.integers(size, min(photograph.size) // 2 + 1))
        left, top = (int(random.integers(0, extent - side + 1)) for extent in photograph.size)
        crop = photograph.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.LANCZOS)
        yield f"{number:06d}.png", crop, {"photograph": PHOTOGRAPHS[chosen]}


def _drawn(svg: str, size: int) -> Image.Image:
    """An SVG as RGB on white, drawn at twice the size."""
    import resvg_py

    data = resvg_py.svg_to_bytes(svg_string=svg, width=2 * size, height=2 * size)
    with Image.open(io.BytesIO(bytes(data))) as drawn:
        rgba = drawn.convert("RGBA").resize((size, size), Image.Resampling.BOX)
    white = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(white, rgba).convert("RGB")


if __name__ == "__main__":
    main()
