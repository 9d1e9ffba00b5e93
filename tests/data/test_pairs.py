"""Pairs of images in a folder: how they may lie, what is left out, and what is refused."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import pytest
import torch
from PIL import Image

from gan_cli.data import image_store
from gan_cli.data.dataset import Dataset
from gan_cli.data.load_dataset import build_dataset, with_sources
from gan_cli.data.selection import Selection
from gan_cli.errors import UsageError
from gan_cli.evaluation.real_data import find_real_data
from support.commands import error_line
from support.configs import compose
from support.image_folders import folder_error, load_folder
from support.images import BLUE, RED, write_class_folders, write_image, zip_folder

LAYOUTS = {
    "A": ("A", "B"),
    "trainA": ("trainA", "trainB"),
    "train/A": ("train/A", "train/B"),
    "A/train": ("A/train", "B/train"),
}


def write_pairs(root: Path, a: str = "A", b: str = "B", count: int = 3) -> Path:
    """Writes `count` images into both folders, each pair with a brightness of its own: red in `a`, blue in `b`."""
    for index in range(count):
        write_image(root / a / f"{index:02d}.png", (50 + index, 0, 0))
        write_image(root / b / f"{index:02d}.bmp", (0, 0, 50 + index))
    return root


def pairs_of(path: Path | str, pairs: str = "auto", **options: object) -> Dataset:
    return load_folder(path, pairs=pairs, **options)  # type: ignore[arg-type]


def shades(dataset: Dataset) -> tuple[list[list[int]], list[list[int]]]:
    assert dataset.sources is not None
    return dataset.sources[:, :, 4, 4].tolist(), dataset.samples[:, :, 4, 4].tolist()


# --- layouts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_pairs_are_found_in_every_layout(layout: str, kind: str, tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "data", *LAYOUTS[layout])
    if kind == "zip":
        path = zip_folder(path, tmp_path / "data.zip", prefix="around/all/")
    if kind == "tar":
        with tarfile.open(tmp_path / "data.tar", "w") as archive:
            archive.add(path, "data")
        path = tmp_path / "data.tar"
    dataset = pairs_of(path)
    assert shades(dataset) == ([[50, 0, 0], [51, 0, 0], [52, 0, 0]], [[0, 0, 50], [0, 0, 51], [0, 0, 52]])
    one, other = LAYOUTS[layout]
    assert dataset.source == f"3 pairs of {one} and {other} from {path}"
    assert dataset.labels is None
    assert dataset.changes["pairs"]["sources"] == one


def test_the_direction_is_chosen(tmp_path: Path) -> None:
    dataset = pairs_of(write_pairs(tmp_path), direction="BtoA")
    assert shades(dataset)[1] == [[50, 0, 0], [51, 0, 0], [52, 0, 0]]
    assert dataset.source == f"3 pairs of B and A from {tmp_path}"
    assert dataset.fingerprint != pairs_of(tmp_path).fingerprint


def test_without_pairs_a_folder_is_as_before(tmp_path: Path) -> None:
    dataset = load_folder(write_pairs(tmp_path))
    assert dataset.sources is None
    assert dataset.classes == ("A", "B")
    write_class_folders(tmp_path / "cats", cat=2, dog=1)
    assert pairs_of(tmp_path / "cats").source == load_folder(tmp_path / "cats").source
    write_image(tmp_path / "C" / "00.png")  # three classes named by letters
    assert pairs_of(tmp_path).classes == ("A", "B", "C", "cats")


def test_images_side_by_side_are_cut_apart_before_they_are_fitted(tmp_path: Path) -> None:
    for index, kind in enumerate(("png", "jpg")):
        image = Image.new("RGB", (2 * 40, 20), RED)
        image.paste(Image.new("RGB", (40, 20), BLUE), (40, 0))
        image.save(tmp_path / f"{index}.{kind}", quality=95)
    dataset = pairs_of(tmp_path, "side_by_side")
    assert dataset.sources is not None
    for images, colour in ((dataset.sources, RED), (dataset.samples, BLUE)):
        expected = torch.tensor(colour).view(1, 3, 1, 1).expand(2, 3, 8, 8)
        assert (images.int() - expected).abs().max() < 20  # of JPEG, which blurs the seam
        assert torch.equal(images[0].int(), expected[0])
    assert dataset.source == f"2 pairs side by side from {tmp_path}; 4 cropped to 1:1, up to 50 % removed"
    assert torch.equal(pairs_of(tmp_path, "side_by_side", direction="BtoA").samples, dataset.sources)


def test_files_side_by_side_keep_their_classes_and_splits(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            write_image(tmp_path / split / name / "1.png", RED, (16, 8))
    dataset = pairs_of(tmp_path, "side_by_side", split="test")
    assert (len(dataset), dataset.classes) == (2, ("cat", "dog"))
    assert "2 pairs side by side in 2 classes" in dataset.source


# --- what is left out ----------------------------------------------------------------------------------------------


def test_images_without_a_partner_are_left_out_and_named(tmp_path: Path) -> None:
    write_image(write_pairs(tmp_path) / "A" / "sub" / "00.png")
    write_image(tmp_path / "B" / "extra.png")
    dataset = pairs_of(tmp_path)
    assert len(dataset) == 3
    assert dataset.source.endswith("; 2 without a partner are left out (A/sub/00.png, B/extra.png)")


def test_a_pair_is_left_out_if_either_image_is_unusable(tmp_path: Path) -> None:
    write_pairs(tmp_path, count=5)
    (tmp_path / "A" / "01.png").write_bytes(b"no image")
    (tmp_path / "B" / "03.bmp").write_bytes(b"no image")
    assert "2 of 10 images cannot be used: A/01.png" in folder_error(tmp_path, pairs="auto")
    dataset = pairs_of(tmp_path, on_bad="skip")
    assert [shade[0] for shade in shades(dataset)[0]] == [shade[2] for shade in shades(dataset)[1]] == [50, 52, 54]
    assert "3 pairs of A and B" in dataset.source
    assert "2 pairs with an unusable image left out; 2 left out: A/01.png" in dataset.source
    assert dataset.changes["pairs"]["used"] == 3
    for path in (tmp_path / "A").iterdir():
        path.write_bytes(b"no image")
    assert "no pair has two usable images: A/00.png" in folder_error(tmp_path, pairs="auto", on_bad="skip")


def test_limit_and_size_of_images_hold_for_pairs(tmp_path: Path) -> None:
    write_pairs(tmp_path, count=9)
    dataset = pairs_of(tmp_path, selection=Selection(limit=4))
    assert [shade[0] for shade in shades(dataset)[0]] == [shade[2] for shade in shades(dataset)[1]]
    assert "4 pairs of A and B" in dataset.source
    assert "4 of 9 pairs selected" in dataset.source
    assert "cannot be used" in folder_error(tmp_path, pairs="auto", max_pixels=10)


def test_links_out_of_the_folder_are_no_pairs_unless_followed(tmp_path: Path) -> None:
    write_pairs(tmp_path / "data", count=3)
    (tmp_path / "data" / "B" / "00.bmp").rename(tmp_path / "00.bmp")
    (tmp_path / "data" / "B" / "00.bmp").symlink_to(tmp_path / "00.bmp")
    assert len(pairs_of(tmp_path / "data", follow_links=False)) == 2
    assert len(pairs_of(tmp_path / "data", follow_links=True)) == 3


def test_both_sides_come_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_store, "MIN_CACHE_BYTES", 1)
    write_pairs(tmp_path / "data", count=4)
    (tmp_path / "data" / "A" / "02.png").write_bytes(b"no image")
    plain = pairs_of(tmp_path / "data", on_bad="skip")
    first, second = (pairs_of(tmp_path / "data", on_bad="skip", cache=tmp_path / "cache") for _ in range(2))
    assert "written to" in first.notes[0]
    assert "from" in second.notes[0]
    for dataset in (first, second):
        assert shades(dataset) == shades(plain)
        assert dataset.fingerprint == plain.fingerprint
        assert (dataset.source, dataset.changes) == (plain.source, plain.changes)
    (cached,) = (tmp_path / "cache").glob("*.pictures")
    content = bytearray(cached.read_bytes())
    content[0] ^= 1  # a pixel of a source image
    cached.write_bytes(content)
    assert "written to" in pairs_of(tmp_path / "data", on_bad="skip", cache=tmp_path / "cache").notes[0]


# --- what is refused -----------------------------------------------------------------------------------------------


def task_error(root: Path, *overrides: str) -> str:
    config = compose(
        "task=translation",
        "architecture.generator.levels=2",
        "dataset=folder",
        f"dataset.path={root}",
        "image_size=8",
        "dataset.cache=none",
        *overrides,
    )
    with pytest.raises(UsageError) as caught:
        with_sources(config, build_dataset(config.dataset, config.image_size))
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_translation_says_why_there_are_no_pairs(tmp_path: Path) -> None:
    write_class_folders(tmp_path / "classes", cat=1)
    message = task_error(tmp_path / "classes")
    assert message.startswith(
        f"task=translation: dataset.path={tmp_path / 'classes'}: no sub-folders A and B; known are"
    )
    assert "dataset.pairs=side_by_side" in message
    assert "dataset.pairs=none" in task_error(write_pairs(tmp_path / "none"), "dataset.pairs=none")
    write_image(tmp_path / "other" / "A" / "1.png")
    assert "1 image in A and none in a folder B beside it" in task_error(tmp_path / "other")
    write_image(tmp_path / "other" / "B" / "2.png")
    assert "missing pair: none of 1 image in A has a partner" in task_error(tmp_path / "other")
    write_image(write_pairs(tmp_path / "more") / "loose.png")
    assert "1 image outside of A and B, as loose.png" in task_error(tmp_path / "more")


def test_unclear_pairs_are_refused_in_one_line(tmp_path: Path) -> None:
    write_image(write_pairs(tmp_path) / "A" / "00.jpg")
    assert "A/00.jpg and A/00.png have the same name but for the suffix" in folder_error(tmp_path, pairs="auto")
    write_image(tmp_path / "odd" / "1.png", RED, (15, 8))
    assert "1.png (of odd width, 15 pixels" in folder_error(tmp_path / "odd", pairs="side_by_side")


def test_the_line_says_what_a_task_makes_of_the_pairs(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    of_folder = ("dataset=folder", f"dataset.path={tmp_path}", "image_size=16", "dataset.cache=none")
    for task, text in (
        ("translation", "; the images of B are generated from those of A"),
        (
            "generation",
            "; task=generation trains on the images of B alone; dataset.pairs=none takes A and B as classes",
        ),
    ):
        config = compose(f"task={task}", *of_folder)
        assert with_sources(config, build_dataset(config.dataset, config.image_size)).source.endswith(text)


def test_held_out_pairs_are_those_of_the_test_split(tmp_path: Path) -> None:
    write_pairs(tmp_path, "trainA", "trainB", 12)
    config = compose(
        "task=translation", "dataset=folder", f"dataset.path={tmp_path}", "image_size=16", "dataset.cache=none"
    )
    dataset = build_dataset(config.dataset, config.image_size)
    real = find_real_data(config.dataset, config.image_size, dataset)
    assert real.held_out is None
    assert "no testA and testB" in real.why
    write_pairs(tmp_path, "testA", "testB", 11)
    held_out = find_real_data(config.dataset, config.image_size, dataset).held_out
    assert held_out is not None
    assert held_out.sources is not None
    assert len(held_out.sources) == len(held_out) == 11
    shutil.rmtree(tmp_path / "testB")
    assert "11 images in testA and none" in find_real_data(config.dataset, config.image_size, dataset).why


# --- images that do not fit each other ----------------------------------------------------------------------------


def write_wide(path: Path, size: tuple[int, int], **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.linear_gradient("L").resize(size).convert("RGB").save(path, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_pairs_of_other_proportions_are_refused_by_name(fit: str, tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "data", count=2)
    for folder, size in (("A", (30, 20)), ("B", (20, 20))):
        write_wide(root / folder / "wide.png", size)
    error = folder_error(root, pairs="auto", fit=fit)
    assert "1 of 3 pairs have images of different proportions, as A/wide.png of 30 x 20 and B/wide.png of 20" in error
    assert f"of which dataset.fit={fit} takes different parts" in error
    dataset = pairs_of(root, on_bad="skip", fit=fit)
    assert len(dataset) == 2
    assert "1 pair with an unusable image left out" in dataset.source
    assert "B/wide.png (of other proportions than A/wide.png)" in dataset.source
    assert len(pairs_of(root, fit="stretch")) == 3


@pytest.mark.parametrize(
    ("one", "other"),
    [((64, 48), (32, 24)), ((1001, 751), (500, 375)), ((1001, 751), (501, 376)), ((33, 32), (33, 32))],
)
def test_pairs_that_differ_by_rounding_are_used(one: tuple[int, int], other: tuple[int, int], tmp_path: Path) -> None:
    write_wide(tmp_path / "A" / "a.jpg", one)
    write_wide(tmp_path / "B" / "a.png", other)
    assert len(pairs_of(tmp_path)) == 1


def test_the_sides_of_a_pair_are_those_after_rotation_and_before_reduction(tmp_path: Path) -> None:
    """The JPEG decoder reduces a large file by 8, which rounds its sides; EXIF data swap them."""
    exif = Image.Exif()
    exif[0x0112] = 6
    write_wide(tmp_path / "A" / "a.jpg", (801, 599), exif=exif)
    write_wide(tmp_path / "B" / "a.png", (599, 801))
    assert len(pairs_of(tmp_path)) == 1
    write_wide(tmp_path / "B" / "a.png", (600, 900))
    assert "A/a.jpg of 599 x 801 and B/a.png of 600 x 900" in folder_error(tmp_path, pairs="auto")


def test_a_folder_without_pairs_is_refused_before_its_images_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_class_folders(tmp_path / "data", cat=3, dog=3)
    monkeypatch.setattr("gan_cli.data.folder.decode_all", lambda *arguments: pytest.fail("images were decoded"))
    line = error_line(capsys, "train", "task=translation", "dataset=folder", f"dataset.path={tmp_path}/data")
    assert "task=translation: dataset.path=" in line
    assert "no sub-folders A and B" in line


def test_few_pairs_are_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pairs(tmp_path / "data", count=4)
    (tmp_path / "data" / "B" / "00.bmp").rename(tmp_path / "data" / "B" / "other.bmp")
    chosen = ("dataset=folder", f"dataset.path={tmp_path}/data", "image_size=16", "batch_size=4")
    line = error_line(capsys, "train", "task=translation", *chosen)
    assert "batch_size=4: the data set has 3 samples, use at most that many (3 pairs of A and B from " in line
    assert "2 without a partner are left out (A/00.png, B/other.bmp)" in line
