"""Labels of images from a table beside them."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from gan_cli.data.selection import Selection
from support.image_folders import folder_error, load_folder
from support.images import (
    write_image,
)


def coloured(folder: Path, names: tuple[str, ...] = ("a.png", "b.png", "c.png")) -> Path:
    for name in names:
        write_image(folder / name)
    return folder


TABLE = "file,colour,size\nb.png,red,small\na.png,blue,large\nc.png,red,\n"


def test_a_table_gives_attributes(tmp_path: Path) -> None:
    pictures = coloured(tmp_path / "pictures")
    (pictures / "labels.csv").write_text(TABLE)
    data = load_folder(pictures)
    assert data.classes == ("colour=blue", "colour=red", "size=large", "size=small")
    assert data.labels is not None
    assert data.labels.tolist() == [[0, 2], [1, 3], [1, -1]]  # of c the size is not known
    assert "colour (blue 1, red 2); size (large 1, small 1)" in data.source
    assert "other file" not in data.source


@pytest.mark.parametrize(
    "table",
    [
        "\ufeff" + TABLE,
        TABLE.replace(",", ";"),
        TABLE.replace(",", "\t").replace("\n", "\r\n"),
        TABLE.replace("b.png", "./b.png").replace("a.png", "deep\\a.png".removeprefix("deep\\")),
        TABLE + "elsewhere.png,red,small\n\n",
    ],
)
def test_tables_of_many_makers(tmp_path: Path, table: str) -> None:
    pictures = coloured(tmp_path / "pictures")
    (pictures / "labels.csv").write_text(table, encoding="utf-8")
    labels = load_folder(pictures).labels
    assert labels is not None
    assert labels.tolist() == [[0, 2], [1, 3], [1, -1]]


def test_one_attribute_makes_plain_classes(tmp_path: Path) -> None:
    pictures = coloured(tmp_path / "pictures")
    (pictures / "labels.csv").write_text("picture,grade\na.png,10\nb.png,9\nc.png,10\n")
    data = load_folder(pictures)
    assert data.classes == ("9", "10")
    assert data.labels is not None
    assert data.labels.tolist() == [1, 0, 1]
    assert load_folder(pictures, selection=Selection(classes=("9",))).samples.shape[0] == 1


def test_where_a_table_is_looked_for(tmp_path: Path) -> None:
    pictures = coloured(tmp_path / "pictures", ("cats/a.png", "dogs/b.png"))
    assert load_folder(pictures).classes == ("cats", "dogs")
    (tmp_path / "labels.csv").write_text("file,colour\nother.png,red\n")
    assert load_folder(pictures).classes == ("cats", "dogs")  # it is about other pictures
    (tmp_path / "labels.csv").write_text("file,colour\na.png,red\ncats/b.png,blue\nb.png,green\n")
    assert load_folder(pictures).classes == ("green", "red")
    (pictures / "labels.csv").write_text("file,colour\ncats/a.png,black\ndogs/b.png,white\n")
    assert load_folder(pictures).classes == ("black", "white")
    (tmp_path / "mine.csv").write_text("file,colour\na.png,one\nb.png,two\n")
    assert load_folder(pictures, labels=tmp_path / "mine.csv").classes == ("one", "two")


def test_a_table_in_a_zip(tmp_path: Path) -> None:
    pictures = coloured(tmp_path / "pictures")
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
        for path in pictures.iterdir():
            archive.write(path, f"top/{path.name}")
        archive.writestr("top/labels.csv", TABLE)
    labels = load_folder(tmp_path / "pictures.zip").labels
    assert labels is not None
    assert labels.tolist() == [[0, 2], [1, 3], [1, -1]]


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("", "expected a header"),
        ("file\na.png\n", "expected a header"),
        ("file,colour,colour\na.png,1,2\n", "letters that differ"),
        ("file,col=our\na.png,1\n", "no '='"),
        ("file,colour\na.png,red\n", "no row for 2 of 3 images, as b.png"),
        ("file,colour\na.png,red\na.png,blue\n", "line 3 is about a.png again"),
        ("file,colour\na.png,red,large\n", "line 2 has 3 cells, its header 2"),
        ("file,colour\na.png,\nb.png,\nc.png,\n", "'colour' is empty"),
        ("file,colour\na.png,x=1\nb.png,y\nc.png,z\n", "without '='"),
        ('file,colour\n"a.png', "line 2 has 1 cells"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, table: str, says: str) -> None:
    pictures = coloured(tmp_path / "pictures")
    (pictures / "labels.csv").write_text(table)
    message = folder_error(pictures)
    assert says in message
    assert "labels.csv" in message


def test_a_table_that_is_no_text_or_not_there(tmp_path: Path) -> None:
    pictures = coloured(tmp_path / "pictures")
    (tmp_path / "noise.csv").write_bytes(b"\xff\xfe\x00\x81")
    assert "UTF-8" in folder_error(pictures, labels=tmp_path / "noise.csv")
    assert "not found" in folder_error(pictures, labels=tmp_path / "none.csv")
    assert "not found" in folder_error(pictures, labels=tmp_path)


def test_attributes_are_no_classes_to_keep(tmp_path: Path) -> None:
    pictures = coloured(tmp_path / "pictures")
    (pictures / "labels.csv").write_text(TABLE)
    assert "several attributes" in folder_error(pictures, selection=Selection(classes=("red",)))
    limited = load_folder(pictures, selection=Selection(limit=2))
    assert limited.labels is not None
    assert limited.labels.shape == (2, 2)


def test_a_table_speaks_for_its_own_folder_alone(tmp_path: Path) -> None:
    """Two tables, each of images of the same names: neither is about the whole, so sub-folders are the classes."""
    pictures = coloured(tmp_path / "pictures", ("x/a.png", "y/a.png"))
    for name in ("x", "y"):
        (pictures / name / "labels.csv").write_text(f"file,colour\na.png,{name}\n")
    assert load_folder(pictures).classes == ("x", "y")
    (pictures / "labels.csv").write_text("file,colour\na.png,red\n")
    assert "2 images are called a.png" in folder_error(pictures)
    (pictures / "labels.csv").write_text("file,colour\nx/a.png,red\ny/a.png,blue\nz/a.png,green\n")
    data = load_folder(pictures)
    assert data.labels is not None
    assert data.labels.tolist() == [1, 0]
    assert "not its 2 sub-folders" in data.source
    assert "1 of its rows are about other images" in data.source


@pytest.mark.parametrize("value", ["²", "①", "9" * 5000])
def test_cells_that_look_like_numbers(tmp_path: Path, value: str) -> None:
    pictures = coloured(tmp_path / "pictures")
    (pictures / "labels.csv").write_text(f"file,colour\na.png,{value}\nb.png,10\nc.png,9\n")
    if len(value) > 100:
        assert "1 to 100 letters" in folder_error(pictures) or "100 letters" in folder_error(pictures)
    else:
        assert load_folder(pictures).classes == ("9", "10", value)


def test_a_table_beside_that_is_about_something_else(tmp_path: Path) -> None:
    pictures = coloured(tmp_path / "pictures")
    for content in ("id;price\n1;2;3\n", "file\n", "\x00\x01"):
        (tmp_path / "labels.csv").write_text(content)
        assert load_folder(pictures).labels is None
    (pictures / "labels.csv").write_text("boxes\n1\n")
    assert "dataset.labels=none" in folder_error(pictures)
    assert load_folder(pictures, labels="none").labels is None


def test_names_in_a_header_are_printable(tmp_path: Path) -> None:
    pictures = coloured(tmp_path / "pictures")
    for name in ("col\x1b[31mour", "c" * 200):
        (pictures / "labels.csv").write_text(f"file,{name},size\na.png,1,2\nb.png,1,2\nc.png,1,2\n")
        assert "in its header" in folder_error(pictures)
