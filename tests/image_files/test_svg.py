"""SVG images of strangers: what is refused before it is drawn; drawing."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gan_cli.image_files.listing import BadImageError
from gan_cli.image_files.svg import check_svg, draw_svg

SVG = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 8 4">{}</svg>'
SQUARE = '<path d="M0 0h4v4h-4z" fill="#ff0000"/>'


def doubled(levels: int, attribute: str = '<use href="#{0}"/>') -> str:
    """Returns shapes that each repeat the one before twice."""
    parts = ['<g id="a0"><path d="M0 0h1v1z"/></g>']
    for level in range(1, levels):
        parts.append(f'<g id="a{level}">{attribute.format(f"a{level - 1}") * 2}</g>')
    return "".join(parts)


@pytest.mark.parametrize(
    "body",
    [
        SQUARE,
        f'<defs><g id="a">{SQUARE}</g></defs><use xlink:href="#a" x="2"/><use href="#a"/>',
        '<linearGradient id="a"><stop offset="0"/></linearGradient><circle r="2" fill="url(#a)"/>',
        '<clipPath id="c"><circle r="3"/></clipPath><g clip-path="url( \'#c\' )"><rect width="3" height="3"/></g>',
        doubled(10),
    ],
)
def test_shapes_are_accepted(body: str) -> None:
    check_svg(SVG.format(body))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('<image href="/etc/passwd"/>', "<image>"),
        ('<use href="other.svg#a"/>', "a file or an address"),
        ('<use xlink:href="https://example.org/a.svg"/>', "a file or an address"),
        ('<path fill="url(file:///etc/passwd#a)"/>', "a file or an address"),
        ("<path style=\"fill:url('a.svg#a')\"/>", "a file or an address"),
        ('<path style="fill:url("/>', "a file or an address"),
        ('<path fill="url( )"/>', "a file or an address"),
        ("<style>@import 'a.css';</style>", "<style>"),
        ("<script/>", "<script>"),
        ("<foreignObject/>", "<foreignObject>"),
        ('<filter id="a"><feImage href="#b"/></filter>', "<filter>"),
        ("<text>a</text>", "<text>"),
        ("<!-- a -->", "document type"),
        ("<?xml version='1.0'?>", "document type"),
        ("<g>", "no SVG"),
        ("\0", "no SVG"),
        ('<g id="a"><use href="#a"/></g>', "refers to itself"),
        ('<g id="a"><use href="#b"/></g><g id="b"><use href="#a"/></g>', "refers to itself"),
        (doubled(40), "too many elements"),
        (doubled(40, '<clipPath id="c{0}"><path clip-path="url(#{0})"/></clipPath>'), "too many elements"),
        ("<g>" * 60 + "</g>" * 60, "nested too deeply"),
        (SQUARE * 40_000, "larger than"),
        ('<path stroke-dasharray="1" d="M0 0h9"/>' * 11, "dashed"),
    ],
)
def test_what_is_not_shapes_alone_is_refused(body: str, words: str) -> None:
    with pytest.raises(BadImageError, match=words):
        check_svg(SVG.format(body))


def test_entities_are_refused() -> None:
    with pytest.raises(BadImageError, match="document type"):
        check_svg('<!DOCTYPE svg [<!ENTITY a "aaaa">]>' + SVG.format("<g>&a;</g>"))


def test_an_image_is_drawn_in_the_middle_of_the_background() -> None:
    pytest.importorskip("resvg_py")
    image = draw_svg(SVG.format(SQUARE), (8, 8), "#0000ff")
    assert image.shape == (3, 8, 8)
    assert image.dtype == np.uint8
    red, blue = [255, 0, 0], [0, 0, 255]
    assert image[:, 0, 0].tolist() == image[:, 7, 7].tolist() == image[:, 3, 6].tolist() == blue
    assert image[:, 3, 1].tolist() == red  # the view box is wide: drawn in the rows 2 to 5
    clear = draw_svg(SVG.format(SQUARE).replace("<svg", '<svg width="3" height="900"'), (8, 16), None)
    assert clear.shape == (4, 8, 16)
    assert clear[:, 3, 3].tolist() == [*red, 255]
    assert clear[:, 3, 12].tolist() == [0, 0, 0, 0]


def test_an_image_that_cannot_be_drawn_is_an_error() -> None:
    pytest.importorskip("resvg_py")
    with pytest.raises(BadImageError, match="cannot be drawn"):
        draw_svg("<svg", (8, 8), "white")


def test_the_library_would_read_the_file_that_is_refused(tmp_path: Path) -> None:
    """Shows that the check is needed: without it, pixels of another file would be in the data."""
    pytest.importorskip("resvg_py")
    Image.new("RGB", (4, 4), (0, 255, 0)).save(tmp_path / "secret.png")
    body = f'<image href="{tmp_path}/secret.png" width="8" height="4"/>'
    assert draw_svg(SVG.format(body), (8, 8), "white")[:, 3, 3].tolist() == [0, 255, 0]
    with pytest.raises(BadImageError):
        check_svg(SVG.format(body))
    inline = base64.b64encode((tmp_path / "secret.png").read_bytes()).decode()
    with pytest.raises(BadImageError):
        check_svg(SVG.format(f'<use href="data:image/png;base64,{inline}"/>'))
