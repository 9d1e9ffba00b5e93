"""Draws SVG images by resvg-py, an optional package. An image from a file of a stranger is checked before.

resvg reads the file that an `href` names, and never the network. So `check_svg` accepts only shapes, gradients and
references within the image.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from gan_cli.image_files.listing import BadImageError

if TYPE_CHECKING:
    import numpy as np

MOST_CHARACTERS = 1 << 20
MOST_ELEMENTS = 100_000  # where each reference counts as the elements that it repeats
MOST_DASHED = 10  # elements with dashed lines, of which each may become many lines
MOST_LEVELS = 50
ELEMENTS = {
    *("svg", "g", "defs", "symbol", "use", "clipPath", "linearGradient", "radialGradient", "stop"),
    *("path", "circle", "ellipse", "rect", "line", "polygon", "polyline"),
}
REFERENCE = re.compile(r"url\(\s*['\"]?\s*([^)'\"]*)")


def check_svg(svg: str) -> None:
    """Raises BadImageError if an SVG image is too large, or has anything but shapes that are drawn from itself."""
    if len(svg) > MOST_CHARACTERS:
        raise BadImageError(f"larger than {MOST_CHARACTERS >> 20} MiB")
    if "<!" in svg or "<?" in svg:  # a document type may define entities, which repeat text without limit
        raise BadImageError("has a document type or an instruction")
    try:
        root = ElementTree.fromstring(svg)
    except ElementTree.ParseError:
        raise BadImageError("is no SVG image") from None
    named = {element.get("id", ""): element for element in root.iter()}
    _count(root, named, {}, ())
    if sum("stroke-dasharray" in element.attrib for element in root.iter()) > MOST_DASHED:
        raise BadImageError("has too many dashed lines")


def _count(
    element: ElementTree.Element, named: dict[str, ElementTree.Element], counts: dict[str, int], above: tuple[str, ...]
) -> int:
    """Returns the number of elements drawn for `element`. `above` are the ids of the elements that led to it."""
    name = element.tag.rpartition("}")[2]
    if name not in ELEMENTS:
        raise BadImageError(f"has <{name[:40]}>, which is not drawn")
    if len(above) > MOST_LEVELS:
        raise BadImageError("is nested too deeply")
    total = 1
    for target in _references(element):
        if target in above:
            raise BadImageError("refers to itself")
        if target in named:
            if target not in counts:
                counts[target] = _count(named[target], named, counts, (*above, target))
            total += counts[target]
    for child in element:
        total += _count(child, named, counts, (*above, element.get("id", "")))
    if total > MOST_ELEMENTS:
        raise BadImageError("repeats too many elements")
    return total


def _references(element: ElementTree.Element) -> list[str]:
    """Returns the ids to which an element refers. Raises BadImageError if it refers to a file or an address."""
    found = []
    for key, value in element.attrib.items():
        name = key.rpartition("}")[2]
        targets = [value] if name in ("href", "src") else REFERENCE.findall(value)
        if len(targets) < value.count("url("):
            targets.append("")
        for target in targets:
            if not target.strip().startswith("#"):
                raise BadImageError("refers to a file or an address")
            found.append(target.strip()[1:])
    return found


def draw_svg(svg: str, size: tuple[int, int], background: str | None) -> np.ndarray:
    """Draws an SVG image, which keeps its proportions, in the middle of an image of `size`, (height, width).

    Returns uint8 `[3, H, W]`, or `[4, H, W]` with opacity if `background` is None. Fonts of the machine are not used.
    Raises BadImageError if the image cannot be drawn.
    """
    import numpy as np
    import resvg_py
    from PIL import Image

    height, width = size
    sized = re.sub(r"<svg\b(.*?)>", lambda found: _sized(found[1], height, width), svg, count=1, flags=re.S)
    try:
        png = resvg_py.svg_to_bytes(svg_string=sized, background=background, skip_system_fonts=True)
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":  # of the library's Rust
            raise BadImageError("cannot be drawn") from error
        raise
    with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
        pixels = np.asarray(image.convert("RGBA" if background is None else "RGB")).transpose(2, 0, 1)
    return np.ascontiguousarray(pixels)


def _sized(attributes: str, height: int, width: int) -> str:
    """Returns the opening tag with other sides in pixels."""
    kept = re.sub(r"""\s(?:width|height)\s*=\s*("[^"]*"|'[^']*')""", "", attributes)
    return f'<svg{kept} width="{width}" height="{height}">'
