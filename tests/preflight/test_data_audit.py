"""The audit of a dry run counts exactly what was planted in a folder of images."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_cli.config.train_config import Config
from gan_cli.data.load_dataset import build_dataset
from gan_cli.preflight import data_audit
from support.configs import compose


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """20 colour images of two classes, 14 others of different modes, and 2 broken files."""
    random = np.random.default_rng(0)

    def save(name: str, *shape: int, most: int = 256, kind: type = np.uint8) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(random.integers(0, most, shape).astype(kind)).save(path)
        return path

    for index in range(20):
        path = save(f"dog/{index:02}.png", 20 + index, 30, 3)
    for index in range(5):
        save(f"cat/grey{index}.png", 8, 8)
    for index in range(3):
        shutil.copyfile(path, tmp_path / f"dog/copy{index}.png")
    for index in range(2):
        save(f"cat/alpha{index}.png", 64, 64, 4)
    save("dog/deep.png", 30, 30, most=65536, kind=np.uint16)
    Image.new("RGB", (32, 32), "red").save(tmp_path / "cat/red.png")
    Image.new("RGB", (32, 32), "blue").quantize().save(tmp_path / "cat/palette.png")
    save("dog/dark.png", 32, 32, 3, most=3)
    (tmp_path / "dog/empty.jpg").touch()
    (tmp_path / "dog/broken.png").write_bytes(path.read_bytes()[:200])
    return tmp_path


def settings(folder: Path, *more: str) -> Config:
    return compose("dataset=folder", f"dataset.path={folder}", "dataset.on_bad=skip", "image_size=16", *more)


def rows_of(config: Config) -> dict[str, str]:
    rows = data_audit.audit(config, build_dataset(config.dataset, config.image_size))
    return {row.name: f"{'! ' if row.alarming else ''}{row.text}" for row in rows}


def test_the_counts_are_exact(planted: Path) -> None:
    assert rows_of(settings(planted, "dataset.cache=none")) == {
        "images": "34 of 3 x 16 x 16",
        "unreadable": "! 2 of 36 left out: dog/broken.png (truncated), dog/empty.jpg (empty)",
        "sizes": "8 x 8 to 64 x 64, median 31 x 30",
        "enlarged": "5 of 34, smaller than 16 x 16",
        "modes": "27 colour, 6 grey, 1 palette; 2 with transparency; 1 of more than 8 bits",
        "classes": "! 2, smallest cat 9, largest dog 25; 1 with fewer than 10 samples",
        "duplicates": (
            "! 3 of 34 are copies of another: dog/copy0.png = dog/19.png, dog/copy1.png = dog/19.png, dog/copy2.png ="
            " dog/19.png"
        ),
        "nearly constant": "! 3 of 34 are of one colour: cat/palette.png, cat/red.png, dog/dark.png",
    }


def test_it_audits_what_is_selected(planted: Path) -> None:
    rows = rows_of(settings(planted, "dataset.classes=[cat]"))
    assert rows["images"] == "9 of 3 x 16 x 16"
    assert rows["unreadable"] == "none"
    assert rows["duplicates"] == "none of 9 images"
    assert rows["modes"] == "5 grey, 3 colour, 1 palette; 2 with transparency"
    assert rows["classes"] == "! 1 class of 9 samples; 1 with fewer than 10 samples"


def test_large_data_are_sampled_and_it_says_so(planted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = settings(planted)
    monkeypatch.setattr(data_audit, "MOST_FILES", 10)
    monkeypatch.setattr(data_audit, "MOST_BYTES", 34 * 16 * 16 * 3 // 3)
    rows = rows_of(config)
    assert rows["sizes"].endswith(" files)")
    assert rows["nearly constant"].endswith(" images examined") or " of 12 examined " in rows["nearly constant"]
    monkeypatch.setattr(data_audit, "MOST_SECONDS", -1.0)
    assert "sizes" not in rows_of(config)


def test_arrays_points_and_named_data_have_the_rows_that_make_sense(tmp_path: Path) -> None:
    np.save(tmp_path / "set.npy", np.random.default_rng(0).integers(0, 65536, (12, 20, 24)).astype(np.uint16))
    config = settings(tmp_path / "set.npy", "dataset.image_channels=1")
    rows = rows_of(config)
    assert rows["sizes"] == "all 20 x 24"
    assert rows["modes"] == "12 grey; 12 of more than 8 bits"
    assert [*rows_of(compose("experiment=ring", "dataset.size=500"))] == ["points", "classes", "coordinates"]
    shapes = rows_of(compose("dataset=shapes", "dataset.size=80", "image_size=16"))
    assert shapes["classes"] == "8 classes of 10 samples"
    assert shapes["nearly constant"] == "none of 80 images"


def test_nearly_constant_is_measured_in_each_channel() -> None:
    images = torch.zeros(4, 3, 16, 16, dtype=torch.uint8)
    images[0, 0] = 200  # one colour
    images[1, 2, 4:12, 4:12] = 60
    images[2] = torch.randint(100, 104, (3, 16, 16))
    images[3, 1, ::2] = 40
    assert data_audit._nearly_constant(images).tolist() == [True, False, True, False]


def test_linked_images_are_audited_if_the_run_reads_them(tmp_path: Path) -> None:
    for name, count, side in (("mine", 12, 20), ("elsewhere", 3, 40)):
        (tmp_path / name).mkdir()
        for index in range(count):
            Image.new("RGB", (side, side), (index * 9, 0, side)).save(tmp_path / name / f"{index}.png")
    (tmp_path / "mine" / "more").symlink_to(tmp_path / "elsewhere")
    rows = rows_of(settings(tmp_path / "mine", "dataset.follow_links=true", "dataset.cache=none"))
    assert (rows["images"], rows["unreadable"]) == ("15 of 3 x 16 x 16", "none")
    assert rows["sizes"] == "20 x 20 to 40 x 40, median 20 x 20"
