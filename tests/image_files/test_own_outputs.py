"""What gan-cli wrote among a person's images is no data: runs, samples, exports, pages of evaluations."""

from __future__ import annotations

import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gan_cli.cli.main import run_command
from gan_cli.data import image_store, mapped_file
from gan_cli.export import export, model_card
from gan_cli.image_files import own_outputs
from gan_cli.image_files.folder_reader import path_signature
from gan_cli.storage import run_folder
from support.configs import TINY_IMAGES, without
from support.image_folders import folder_error, load_folder
from support.images import write_class_folders, write_image, zip_folder

SIDECAR = json.dumps({"checkpoint": "/x.safetensors", "sha256": "0" * 64, "step": 1, "seeds": "0-3", "n": 4})


def write_run(folder: Path) -> Path:
    write_image(folder / "samples" / "real.png")
    (folder / "checkpoints").mkdir()
    (folder / "config.json").write_text('{"gan_cli": "1.0"}')
    return folder


def write_samples(folder: Path) -> Path:
    for number in range(3):
        write_image(folder / f"seed_{number:06d}.png", (number, 0, 0))
    folder.with_name(f"{folder.name}.json").write_text(SIDECAR)
    return folder


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    return write_class_folders(tmp_path / "pets", cat=3, dog=2)


def test_a_run_has_the_files_that_it_is_known_by() -> None:
    assert own_outputs.MARKS[own_outputs.RUN] == (run_folder.RECORD, run_folder.CHECKPOINTS)
    assert own_outputs.MARKS[own_outputs.EXPORT] == (model_card.CARD, export.PARITY)
    assert own_outputs.CACHE_SUFFIX == mapped_file.SUFFIX


def tarred(folder: Path, path: Path) -> Path:
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        tar.add(folder, folder.name)
    return path


@pytest.mark.parametrize("pack", [None, zip_folder, tarred], ids=["folder", "zip", "tar"])
def test_runs_samples_and_exports_among_the_pictures_are_left_out(
    tmp_path: Path, pets: Path, pack: Callable[[Path, Path], Path] | None
) -> None:
    plain = load_folder(pets)
    write_run(pets / "outputs" / "o1" / "2026-01-01_000000")
    write_run(pets / "cat" / "o2" / "sweep_2026-01-01_000000" / "0")
    write_samples(pets / "step_4_seeds_0-2")
    write_image(pets / "step_4_seeds_0-3.png")
    (pets / "step_4_seeds_0-3.json").write_text(SIDECAR)
    write_image(pets / "cat" / "step_4_random_n10_memorization.png")
    (pets / "cat" / "step_4_random_n10.json").write_text('{"extractor": "random", "n": 10}')
    write_image(pets / "hub" / "samples.png")
    for name in ("config.json", "parity.json"):
        (pets / "hub" / name).write_text('{"gan_cli": "1.0"}')
    data = load_folder(pets if pack is None else pack(pets, tmp_path / f"pets.{pack.__name__}"))
    assert data.classes == ("cat", "dog")
    assert data.fingerprint == plain.fingerprint
    assert "2 runs and 1 export and 1 set of samples and 2 images of gan-cli left out (" in data.source


def test_pictures_of_a_person_s_own_that_have_json_beside_them_stay(pets: Path) -> None:
    (pets / "cat" / "0.json").write_text('{"boxes": []}')
    (pets / "dog.json").write_text('{"checkpoint": "no"}')
    (pets / "dog" / "config.json").write_text('{"camera": "no"}')
    (pets / "dog" / "checkpoints").mkdir()
    assert len(load_folder(pets)) == 5


def test_samples_that_are_meant_are_read(tmp_path: Path, pets: Path) -> None:
    made = write_samples(tmp_path / "generated" / "step_4_seeds_0-2")
    write_image(made.parent / "grid.png")
    (made.parent / "grid.json").write_text(SIDECAR)
    assert len(load_folder(made)) == 3
    assert len(load_folder(made.parent)) == 3  # nothing else is there; its grid is left out
    assert "1 image of gan-cli left out (grid.png)" in load_folder(made.parent).source
    assert len(load_folder(zip_folder(made.parent, tmp_path / "made.zip"))) == 3
    assert len(load_folder(tarred(made.parent, tmp_path / "made.tgz"))) == 3


def test_an_array_of_samples_is_read_where_it_is_meant(tmp_path: Path, pets: Path) -> None:
    for folder in (tmp_path / "made", pets):
        folder.mkdir(exist_ok=True)
        np.savez(folder / "step_4_seeds_0-3.npz", samples=np.zeros((4, 8, 8, 3), np.uint8))
        (folder / "step_4_seeds_0-3.json").write_text(SIDECAR)
    assert len(load_folder(tmp_path / "made" / "step_4_seeds_0-3.npz")) == len(load_folder(tmp_path / "made")) == 4
    assert len(load_folder(pets)) == 5
    assert "1 set of samples of gan-cli left out (step_4_seeds_0-3.npz)" in load_folder(pets).source


def test_a_run_is_no_folder_of_pictures(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    assert f"dataset.path={run}: is a run of gan-train, whose images are grids; gan-sample" in folder_error(run)
    write_run(tmp_path / "outputs" / "a" / "b")
    message = folder_error(tmp_path / "outputs")
    assert "no images in it; 1 run of gan-cli left out (a/b)" in message


def test_a_run_beside_does_not_make_the_cache_stale(pets: Path) -> None:
    before = path_signature(str(pets))
    write_run(pets / "outputs" / "o1")
    (pets / "outputs").rename(pets / "cat" / "outputs")
    write_run(pets / "cat" / "outputs" / "o2")
    after = path_signature(str(pets))
    (pets / "cat" / "outputs" / "o1" / "samples" / "more.png").touch()
    assert path_signature(str(pets)) == after
    assert before != after  # the folder that holds the runs is new


def test_working_in_the_folder_of_pictures(
    train: Callable[..., Path], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_class_folders(here, cats=12, dogs=12)
    command = [*without(TINY_IMAGES, "dataset"), "dataset=folder", "dataset.cache=none", "dataset.path=.", "steps=2"]
    first = train(*command, "name=o1")
    assert "24 images in 2 classes (cats 12, dogs 12)" in capsys.readouterr().out
    assert run_command("sample", [f"ckpt={first}", "n=4", "out=."]) == 0
    train(*command, "name=o2", "output=cats")
    said = capsys.readouterr().out
    assert "24 images in 2 classes (cats 12, dogs 12)" in said
    assert "1 run and 1 image of gan-cli left out" in said
    train("resume=o1", "extra_steps=1")
    assert "2 runs and 1 image of gan-cli left out" in capsys.readouterr().out


def test_a_cache_among_the_pictures_is_found_again(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_store, "MIN_CACHE_BYTES", 0)
    (pets / "cache").mkdir()
    assert "images written to" in load_folder(pets, cache=pets / "cache").notes[0]
    assert "images from" in load_folder(pets, cache=pets / "cache").notes[0]
    assert "other file" not in load_folder(pets).source


def test_an_archive_s_sidecars_may_be_damaged(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.json", b"\0" * 100)
        archive.write(write_image(tmp_path / "a.png"), "a.png")
    assert len(load_folder(tmp_path / "a.zip")) == 1
