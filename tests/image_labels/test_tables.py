"""Labels as people have them: StyleGAN archives, tables of Kaggle and Hugging Face, dialects, numbers, many folders."""

from __future__ import annotations

import json
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest

from gan_cli import api_arguments
from gan_cli.cli.main import run_command
from gan_cli.config import train_config
from gan_cli.config.compatibility import parse_config
from gan_cli.config.overrides import quote_literals, unquote_literals
from gan_cli.data.dataset import Dataset
from gan_cli.data.labels import parse_labels
from gan_cli.data.moved_data import relocate_data, resolve_data_paths
from gan_cli.data.selection import Selection
from gan_cli.errors import UsageError
from gan_cli.image_files.folder_reader import FolderReader
from gan_cli.image_labels import find_labels
from gan_cli.image_labels.attributes import LabelOptions, natural_key
from gan_cli.image_labels.folder_classes import read_layout
from gan_cli.image_labels.image_paths import open_images
from support.configs import compose
from support.image_folders import folder_error, load_folder
from support.images import write_class_folders, write_image, zip_folder


def pictures(folder: Path, names: list[str]) -> Path:
    for name in names:
        write_image(folder / name)
    return folder


def named(dataset: Dataset) -> list[str]:
    """The class of each image."""
    assert dataset.labels is not None
    return [dataset.classes[label] for label in dataset.labels.tolist()]


# --- StyleGAN's archives and shards ------------------------------------------------------------------------------


def stylegan(folder: Path, labels: object, count: int = 8) -> Path:
    names = [f"{number // 4:05d}/img{number:08d}.png" for number in range(count)]
    pictures(folder, names)
    table = [[name, number % 2] for number, name in enumerate(names)] if labels == "numbers" else labels
    (folder / "dataset.json").write_text(json.dumps({"labels": table}))
    return folder


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_dataset_json_is_a_table(tmp_path: Path, packed: bool) -> None:
    path = stylegan(tmp_path / "sg", "numbers")
    path = zip_folder(path, tmp_path / "sg.zip") if packed else path
    for data in (load_folder(path), load_folder(path, labels="dataset.json")):
        assert data.classes == ("0", "1")
        assert named(data) == ["0", "1"] * 4
        assert f"labels of {path}/dataset.json: label (0 4, 1 4)" in data.source
        assert "other file" not in data.source
    assert "not found, expected a table such as labels.csv" in folder_error(path, labels="dataset.jsn")
    assert "did you mean 'dataset.json'?" in folder_error(path, labels="dataset.jsn")


@pytest.mark.parametrize("labels", [None, [["00000/img00000000.png", [0.5, 1.0]]]], ids=["null", "vectors"])
def test_a_dataset_json_without_classes(tmp_path: Path, labels: object) -> None:
    """Its folders are parts, however their files are called."""
    path = stylegan(tmp_path / "sg", labels)
    pictures(path, ["00000/a.png", "00001/a.png"])
    data = load_folder(path)
    assert data.labels is None
    assert "its labels are " in data.source


def test_numbered_folders_whose_files_are_numbered_on_are_parts(tmp_path: Path) -> None:
    ffhq = pictures(
        tmp_path / "ffhq", [f"{number:02d}000/{number:02d}{last:03d}.png" for number in range(3) for last in (0, 7)]
    )
    data = load_folder(ffhq)
    assert data.labels is None
    assert "sub-folders 00000 to 02000 are numbered parts, no classes (dataset.labels=folders makes" in data.source
    assert load_folder(ffhq, labels="folders").classes == ("00000", "01000", "02000")
    running = pictures(tmp_path / "running", [f"{number // 3:05d}/img{number:08d}.png" for number in range(7)])
    assert load_folder(running).labels is None
    assert load_folder(running, labels_version=1).classes == ("00000", "00001", "00002")


def test_numbered_classes_are_no_parts(tmp_path: Path) -> None:
    """As of the traffic signs: the files begin again in each folder. Digits are classes whatever their files."""
    signs = pictures(tmp_path / "signs", [f"{sign:05d}/{number:05d}.png" for sign in range(3) for number in range(2)])
    data = load_folder(signs)
    assert data.classes == ("00000", "00001", "00002")
    assert "if 00000, 00001, 00002 are parts and no classes: dataset.labels=shards" in data.source
    assert load_folder(signs, labels="shards").labels is None
    digits = pictures(tmp_path / "digits", [f"{number // 2}/{number:04d}.png" for number in range(6)])
    assert load_folder(digits).classes == ("0", "1", "2")


# --- which picture a row is about --------------------------------------------------------------------------------


def test_ids_without_endings_beside_the_folder(tmp_path: Path) -> None:
    train = pictures(tmp_path / "dog" / "train", ["0000.jpg", "0001.jpg", "0002.jpg"])
    (tmp_path / "dog" / "labels.csv").write_text("id,breed\n0001,pug\n0000,boxer\n0002,pug\n")
    data = load_folder(train)
    assert named(data) == ["boxer", "pug", "pug"]
    assert "3 found by their names without their endings" in data.source


def test_ids_whose_zeros_a_spreadsheet_took_off(tmp_path: Path) -> None:
    train = pictures(tmp_path / "train", ["0000.jpg", "0001.jpg", "0010.jpg"])
    (tmp_path / "mine.csv").write_text("id,breed\n0,pug\n1,boxer\n10,pug\n")
    data = load_folder(train, labels=tmp_path / "mine.csv")
    assert named(data) == ["pug", "boxer", "pug"]
    assert "3 found by their names without ending and zeros in front" in data.source
    write_image(train / "001.jpg")
    assert "has no row for 2 of 4 images, as 0001.jpg" in folder_error(train, labels=tmp_path / "mine.csv")


def test_an_id_that_two_pictures_have_is_not_guessed(tmp_path: Path) -> None:
    train = pictures(tmp_path / "train", ["0.jpg", "0.png", "1.jpg"])
    (tmp_path / "mine.csv").write_text("id,breed\n0,pug\n1,boxer\n")
    assert "has no row for 2 of 3 images, as 0.jpg" in folder_error(train, labels=tmp_path / "mine.csv")


@pytest.mark.parametrize(
    "table",
    [
        "label,file\ncat,a.png\ncat,b.png\ndog,c.png\n",
        "file,label\nA.PNG,cat\nB.png,cat\nc.Png,dog\n",
        "file,label\na.jpeg,cat\nb.jpeg,cat\nc.jpeg,dog\n",
        "file,label\n/home/me/pets/a.png,cat\n/home/me/pets/b.png,cat\n/home/me/other/c.png,dog\n",
        "file,label\nC:\\pets\\a.png,cat\nC:\\pets\\b.png,cat\nC:\\pets\\c.png,dog\n",
        "file,label\nimages/all/a.png,cat\nimages/all/b.png,cat\nimages/all/c.png,dog\n",
        "a.png,cat\nb.png,cat\nc.png,dog\n",
        "a,cat\nb,cat\nc,dog\n",
        "cat;a.png\ncat;b.png\ndog;c.png\n",
        "a.png cat\nb.png cat\nc.png dog\n",
        "sep=;\nfile;label\na.png;cat\nb.png;cat\nc.png;dog\n",
        "file|label\na.png|cat\nb.png|cat\nc.png|dog\n",
        "file;label;;\na.png;cat;;\nb.png;cat;;\nc.png;dog;;\n",
        ",file,label\n0,a.png,cat\n1,b.png,cat\n2,c.png,dog\n",
        '{"file": "a.png", "label": "cat"}\n{"file": "b.png", "label": "cat"}\n{"label": "dog", "file": "c.png"}\n',
        '[{"file": "a.png", "label": "cat"}, {"file": "b.png", "label": "cat"}, {"file": "c.png", "label": "dog"}]',
        '{"a.png": "cat", "b.png": "cat", "c.png": "dog"}',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_tables_that_say_the_same(tmp_path: Path, table: str, encoding: str) -> None:
    path = pictures(tmp_path / "pets", ["a.png", "b.png", "c.png"])
    (tmp_path / "mine.csv").write_bytes(table.encode(encoding))
    data = load_folder(path, labels=tmp_path / "mine.csv")
    assert data.classes == ("cat", "dog")
    assert named(data) == ["cat", "cat", "dog"]
    assert ("read as UTF-16" in data.source) == encoding.startswith("utf-16")
    assert ("line 1 is about" in data.source) == (not table.startswith(("file", "label", "sep", ",", "{", "[")))


def test_a_table_of_excel_in_europe(tmp_path: Path) -> None:
    path = pictures(tmp_path / "pets", ["a.png", "b.png"])
    (tmp_path / "mine.csv").write_bytes("Datei;Größe\na.png;groß\nb.png;klein\n".encode("cp1252"))
    data = load_folder(path, labels=tmp_path / "mine.csv")
    assert data.classes == ("groß", "klein")
    assert "mine.csv (read as Windows-1252, not UTF-8): Größe (groß 1, klein 1)" in data.source
    (tmp_path / "mine.xlsx").write_bytes(b"PK\x03\x04" + bytes(100))
    assert "is an Excel file or a zip, save it as CSV" in folder_error(path, labels=tmp_path / "mine.xlsx")


def test_a_table_of_other_pictures_is_not_taken_for_one_of_these(tmp_path: Path) -> None:
    """Its names are the same, the folders before them are not."""
    val = pictures(tmp_path / "val", ["0.png", "1.png"])
    pictures(tmp_path / "train", ["0.png", "1.png"])
    for where in ("train", "/data/train"):
        (tmp_path / "labels.csv").write_text(f"file,label\n{where}/0.png,cat\n{where}/1.png,dog\n")
        data = load_folder(val)
        assert data.labels is None
        assert "not used" in data.source
        assert "searched for 0.png and '0', it has file" in data.source
        assert named(load_folder(tmp_path / "train")) == ["cat", "dog"]


def test_a_table_by_another_name_is_told_of(tmp_path: Path) -> None:
    path = pictures(tmp_path / "dog" / "train", ["0000.jpg", "0001.jpg"])
    (tmp_path / "dog" / "meta.csv").write_text("id,breed\n0001,pug\n0000,boxer\n0002,pug\n0003,boxer\n")
    (tmp_path / "dog" / "prices.csv").write_text("id,price\nx,1\n")
    (tmp_path / "dog" / "other.csv").write_text("id,price\n0001,1\n")
    pictures(path, ["0002.jpg", "0003.jpg"])
    data = load_folder(path)
    assert data.labels is None
    meta = tmp_path / "dog" / "meta.csv"
    assert f"{meta} names these images and is not used: dataset.labels={meta} uses it" in data.source
    assert "prices" not in data.source
    assert "other.csv" not in data.source
    assert load_folder(path, labels=meta).classes == ("boxer", "pug")


def test_labels_of_webdataset_and_coco_are_said_not_to_be_read(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "shard", [f"{number:04d}.png" for number in range(6)])
    for number in range(6):
        (folder / f"{number:04d}.cls").write_text("3")
    coco = {"info": {}, "images": [{"id": 1, "file_name": "0000.png"}], "annotations": []}
    (tmp_path / "instances.json").write_text(json.dumps(coco))
    way = "write the labels into a table as file,label and name it by dataset.labels"
    source = load_folder(folder).source
    assert f"; 6 cls files with labels not read: {way};" in source
    assert f"; {tmp_path}/instances.json has annotations in COCO's form, which are not read: {way};" in source
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        tar.add(folder, "")
        tar.add(tmp_path / "instances.json", "instances.json")
    source = load_folder(tmp_path / "0.tar").source
    assert "; 6 cls files with labels not read: " in source
    assert "; instances.json has annotations in COCO's form" in source
    (folder / "labels.csv").write_text("file,label\n" + "".join(f"{number:04d}.png,a\n" for number in range(6)))
    assert "not read" not in load_folder(folder).source


def test_columns_are_chosen_by_their_names(tmp_path: Path) -> None:
    path = pictures(tmp_path / "pets", ["a.png", "b.png"])
    table = tmp_path / "mine.csv"
    table.write_text("a.png.id,image,breed,age\nb.png,a.png,pug,3\na.png,b.png,boxer,4\n")
    assert named(load_folder(path, labels=table, labels_columns=("breed",))) == [
        "boxer",
        "pug",
    ]  # the first column fits, too
    assert named(load_folder(path, labels=table, labels_file_column="image", labels_columns=("Breed",))) == [
        "pug",
        "boxer",
    ]
    assert load_folder(path, labels=table, labels_columns=("breed", "age")).classes == (
        "breed=boxer", "breed=pug", "age=3", "age=4",
    )  # fmt: skip
    for key in ("labels_file_column", "labels_columns"):
        value = "race" if key == "labels_file_column" else ("race",)
        message = folder_error(path, labels=table, **{key: value})
        assert f"dataset.{key}: {table} has no column 'race', only a.png.id, image, breed, age" in message


def test_a_table_in_a_zip_by_its_name(tmp_path: Path) -> None:
    pictures(tmp_path / "pets", ["all/a.png", "all/b.png"])
    (tmp_path / "pets" / "val.txt").write_text("a.png 3\nb.png 12\n")
    data = load_folder(zip_folder(tmp_path / "pets", tmp_path / "pets.zip"), labels="val.txt")
    assert data.classes == ("3", "12")
    assert "pets.zip/val.txt names these images" not in data.source
    told = load_folder(tmp_path / "pets.zip")
    assert told.labels is None
    assert "val.txt names these images and is not used: dataset.labels=val.txt uses it" in told.source


def test_a_table_about_none_of_the_pictures_says_what_was_looked_for(tmp_path: Path) -> None:
    path = pictures(tmp_path / "pets", ["0000.jpg"])
    (tmp_path / "meta.csv").write_text("L,id,breed\nL0,x1,pug\n")
    message = folder_error(path, labels=tmp_path / "meta.csv")
    assert "searched for 0000.jpg and '0000', it has L (as 'L0'), id (as 'x1'), breed (as 'pug')" in message


def test_a_row_without_a_name_beside_names_in_folders(tmp_path: Path) -> None:
    path = pictures(tmp_path / "pets", ["0.png", "1.png"])
    (path / "labels.csv").write_text("file,kind\na/b/0.png,cat\n,dog\na/b/1.png,dog\n")
    assert named(load_folder(path)) == ["cat", "dog"]


# --- Hugging Face ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
def test_metadata_of_hugging_face(tmp_path: Path, name: str) -> None:
    path = pictures(tmp_path / "pets", ["train/a.png", "train/b.png"])
    rows = [
        {"file_name": "a.png", "label": "cat", "boxes": [1, 2]},
        {"file_name": "b.png", "label": "dog", "boxes": []},
    ]
    text = "\n".join(map(json.dumps, rows)) if name.endswith("l") else "file_name,label\na.png,cat\nb.png,dog\n"
    (path / "train" / name).write_text(text)
    data = load_folder(path)
    assert named(data) == ["cat", "dog"]
    assert ("boxes left out, as it holds lists" in data.source) == name.endswith("l")
    assert load_folder(path, labels_version=1).labels is None


def test_metadata_that_does_not_fit_stops_nothing(tmp_path: Path) -> None:
    path = pictures(tmp_path / "pets", ["a.png", "b.png"])
    (path / "metadata.csv").write_text("file_name,text\na.png,a cat\n")
    data = load_folder(path)
    assert data.labels is None
    assert "not used: " in data.source
    assert "has no row for 1 of 2 images, as b.png" in data.source


# --- order -------------------------------------------------------------------------------------------------------


def test_numbered_classes_are_in_their_natural_order_in_folders_and_tables(tmp_path: Path) -> None:
    numbers = [str(number) for number in range(12)]
    path = write_class_folders(tmp_path / "num", **dict.fromkeys(numbers, 1))
    assert load_folder(path).classes == tuple(numbers)
    assert load_folder(path, labels_version=1).classes == ("0", "1", "10", "11", *numbers[2:10])
    (tmp_path / "mine.csv").write_text("file,label\n" + "".join(f"{each}/0.png,{each}\n" for each in numbers))
    assert load_folder(path, labels=tmp_path / "mine.csv").classes == tuple(numbers)
    assert load_folder(write_class_folders(tmp_path / "words", class10=1, class2=1, b=1)).classes == (
        "b",
        "class2",
        "class10",
    )


def test_the_natural_order_of_names() -> None:
    names = ["b", "10", "1.5", "-2", "2", "a 1", "a1", "a10", "a2", "A"]
    assert sorted(names, key=natural_key) == ["-2", "1.5", "2", "10", "A", "a 1", "a1", "a2", "a10", "b"]


def test_the_order_of_before_is_told_of(tmp_path: Path) -> None:
    path = write_class_folders(tmp_path, **dict.fromkeys(map(str, range(11)), 1))
    layout = read_layout(str(path), LabelOptions(version=1), FolderReader(str(path), "here"), "train")
    assert layout.classes[:3] == ("0", "1", "10")
    assert layout.remarks == (
        "classes as when the run began (dataset.labels_version=1): 0, 1, 10, 2 and 7 more; a new run has"
        " 0, 1, 2, 3 and 7 more",
    )
    assert not read_layout(
        str(path / "0"), LabelOptions(version=1), FolderReader(str(path / "0"), "here"), "train"
    ).remarks


# --- numbers as labels -------------------------------------------------------------------------------------------


def ages(tmp_path: Path, values: list[str]) -> Path:
    path = pictures(tmp_path / "age", [f"{number:04d}.png" for number in range(len(values))])
    rows = "".join(f"{number:04d}.png,{value}\n" for number, value in enumerate(values))
    (path / "labels.csv").write_text(f"file,age\n{rows}")
    return path


def test_numbers_that_are_each_a_class_are_told(tmp_path: Path) -> None:
    path = ages(tmp_path, [f"{20 + number}.5" for number in range(12)])
    said = "; age: 12 values for 12 images, each its own class; dataset.labels_bins=5 makes ranges"
    assert said in load_folder(path).source
    data = load_folder(path, labels_bins=3)
    assert data.classes == ("20.5..23.5", "24.5..27.5", "28.5..31.5")
    assert named(data)[4] == "24.5..27.5"
    assert "12 numbers in 3 ranges" in data.source


def test_equal_numbers_are_in_one_range(tmp_path: Path) -> None:
    assert load_folder(ages(tmp_path, ["1"] * 6 + ["2", "3", ""]), labels_bins=2).classes == ("1", "2..3")


def test_many_values_do_not_stop_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gan_cli.image_labels.attributes.MOST_CLASSES", 10)
    data = load_folder(ages(tmp_path, [str(number) for number in range(12)]))
    assert data.labels is None
    assert "age has 12 values, more than 10, and makes no classes; dataset.labels_bins=10 makes ranges" in data.source


def test_a_column_that_differs_for_each_picture_is_left_out_beside_others(tmp_path: Path) -> None:
    path = pictures(tmp_path / "pets", [f"{number}.png" for number in range(30)])
    rows = "".join(f"{number}.png,x{number},{number % 2},\n" for number in range(30))
    (path / "labels.csv").write_text("file,id,kind,empty\n" + rows)
    data = load_folder(path)
    assert data.classes == ("0", "1")
    assert "id left out, it differs for each image" in data.source
    assert "the column 'empty' is empty: left out" in data.source


# --- several folders ---------------------------------------------------------------------------------------------


def test_several_folders_are_a_class_each_or_have_their_own(tmp_path: Path) -> None:
    many = pictures(tmp_path / "many", ["a.png", "b.png"])
    tiny = pictures(tmp_path / "tiny", ["a.png"])
    data = load_folder((str(tiny), str(many)))
    assert data.classes == ("many", "tiny")
    assert named(data) == ["tiny", "many", "many"]
    assert data.source == f"3 images in 2 classes (many 2, tiny 1) from {tiny} and {many}; each folder a class"
    pets = write_class_folders(tmp_path / "pets", cat=2, dog=1)
    more = zip_folder(write_class_folders(tmp_path / "more", cat=1, bird=1), tmp_path / "more.zip")
    data = load_folder((str(pets), str(more), str(tiny)))
    assert data.classes == ("bird", "cat", "dog", "tiny")
    assert named(data) == ["cat", "cat", "dog", "bird", "cat", "tiny"]
    assert load_folder(f"[{pets},'{more}']").classes == ("bird", "cat", "dog")
    one = load_folder((str(pets), str(more)), selection=Selection(classes=("cat",)))
    assert len(one) == 3
    table = "file,label\n" + "".join(f"{name}.png,{name}\n" for name in "ab")
    (tmp_path / "mine.csv").write_text(table)
    assert "2 images are called a.png" in folder_error((str(many), str(tiny)), labels=tmp_path / "mine.csv")


def test_several_folders_tars_and_arrays(tmp_path: Path) -> None:
    cats = pictures(tmp_path / "cats", ["a.png", "b.png"])
    with tarfile.open(tmp_path / "dogs.tar.gz", "w:gz") as tar:
        tar.add(pictures(tmp_path / "dogs", ["a.png"]) / "a.png", "a.png")
    np.save(tmp_path / "birds.npy", np.zeros((3, 8, 8, 3), np.uint8))
    paths = (str(cats), str(tmp_path / "dogs.tar.gz"), str(tmp_path / "birds.npy"))
    (cats / "film.mp4").touch()
    data = load_folder(paths)
    assert (data.classes, len(data)) == (("birds", "cats", "dogs"), 6)
    assert "birds.npy taken as" in data.source
    assert "1 other file (1 mp4)" in data.source
    with open_images(paths) as found:
        assert [len(found.read_image(file)) > 0 for file in found.listing.files] == [True] * 6


def test_several_folders_that_do_not_fit(tmp_path: Path) -> None:
    one, other = pictures(tmp_path / "one", ["a.png"]), pictures(tmp_path / "other", ["b.png"])
    (one / "labels.csv").write_text("file,colour,size\na.png,red,big\n")
    assert "some of these images have colour, size, some plain classes" in folder_error(f"[{one},{other}]")
    assert "named twice" in folder_error(f"[{one},{one}/]")
    assert "inside another" in folder_error(f"[{tmp_path},{one}]")
    assert f"{tmp_path}/none: not found" in folder_error(f"[{one},{tmp_path}/none]")
    message = folder_error(f"{one},{other}")
    assert f"several folders as one data set are dataset.path=[{one},{other}]" in message
    (other / "labels.csv").write_text("file,colour,size\nb.png,blue,big\n")
    assert load_folder(f"[{one},{other}]").classes == ("colour=blue", "colour=red", "size=big")


def test_splits_of_several_folders(tmp_path: Path) -> None:
    one, other = pictures(tmp_path / "one", ["train/x/a.png", "test/x/b.png"]), pictures(tmp_path / "other", ["c.png"])
    assert load_folder(f"[{one},{other}]").classes == ("other", "x")
    assert len(load_folder(f"[{one},{other}]", split="test")) == 1
    assert "has no sub-folder test" in folder_error(f"[{other},{one}/train]", split="test")


def test_a_sweep_looks_at_its_paths_before_its_first_job(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures(here / "many", ["a.png"])
    pictures(here / "tiny", ["a.png"])
    for typed in ("many,tiny", "'many','tiny'"):
        assert run_command("train", ["-m", "dataset=folder", f"dataset.path={typed}", "seed=1,2"]) == 2
        said = capsys.readouterr().err
        assert "several folders as one data set are dataset.path=[many,tiny], and paths are not swept" in said
    for typed in ("[many,tiny],many", "[many],[tiny]", "many,[many,tiny]"):
        assert run_command("train", ["-m", "dataset=folder", f"dataset.path={typed}", "seed=1,2"]) == 2
        said = capsys.readouterr().err
        assert f"dataset.path={typed}: paths are not swept: use a command for each" in said
    assert run_command("train", ["-m", "dataset=folder", "dataset.path=[many,none]", "seed=1,2"]) == 2
    assert "dataset.path=none: not found" in capsys.readouterr().err
    assert not (here / "outputs").exists()


@pytest.mark.parametrize(
    ("typed", "paths"),
    [
        ("[many,tiny]", ("many", "tiny")),
        ("[ many , 'with, comma' ]", ("many", "with, comma")),
        ('["it\'s",many]', ("it's", "many")),
        ("many,tiny", "many,tiny"),
    ],
)
def test_several_folders_as_they_are_typed(typed: str, paths: tuple[str, ...] | str) -> None:
    (override,) = (quote_literals(f"dataset.path={typed}"),)
    config = compose("dataset=folder", f"dataset.path={typed}")
    assert config.dataset.path == paths
    assert parse_config(train_config.to_dict(config)) == config
    assert quote_literals(unquote_literals(override)) == override
    if isinstance(paths, tuple) and "it's" not in paths:
        given = api_arguments.parse_overrides({"dataset": "folder", "dataset.path": list(paths)})
        assert compose(*given).dataset.path == paths


def test_data_of_several_folders_that_were_moved(here: Path) -> None:
    section = compose("dataset=folder", "dataset.path=[a,b]").dataset
    write_image(here / "old" / "a" / "0.png")
    assert resolve_data_paths(section, here / "old").path == (f"{here}/old/a", "b")
    assert relocate_data(section, "[c,d]").path == ("c", "d")
    assert relocate_data(section, "c").path == "c"


def test_a_number_that_is_no_class_names_the_nearest() -> None:
    for classes, name, near in (
        (("20.1", "30.2", "37.0"), "30.0", "30.2"),
        (("18..24", "25..33"), "24.6", "25..33"),
        (("age=3", "age=10", "kind=x"), "9", "age=10"),
        (("cat", "dog"), "cats", "cat"),
    ):
        with pytest.raises(UsageError, match=re.escape(f"(did you mean {near!r}?)")):
            parse_labels(classes, name)


@pytest.mark.parametrize("name", ["labels.csv", "other.jsonl"])
def test_a_table_of_many_more_rows_than_images_is_not_read(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = pictures(tmp_path / "dog", [f"{number}.png" for number in range(4)])
    rows = ["file,label"] + [f"{number % 4}.png,a" for number in range(199)]
    if name.endswith("jsonl"):
        rows = [json.dumps({"file_name": f"{number % 4}.png", "label": "a"}) for number in range(200)]
    (folder / name).write_text("\n".join(rows) + "\n")
    monkeypatch.setattr(find_labels, "MOST_ROWS", 100)
    error = folder_error(folder, labels=str(folder / name))
    assert f"{name}: has 200 rows for 4 images, at most 180 are read" in error
