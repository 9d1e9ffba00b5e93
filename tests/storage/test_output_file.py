"""`out=`: one rule for every command. Nothing that is there already is lost."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gan_cli.cli.main import run_command
from gan_cli.errors import UsageError
from gan_cli.sampling.load_generator import load_generator
from gan_cli.storage.output_file import check_overwrite, claim_unused, output_file, unused_path
from support.configs import TINY_IMAGES


@pytest.mark.parametrize(
    ("out", "ending", "file"),
    [
        ("grid.png", ".png", True),
        ("GRID.PNG", ".png", True),
        ("deep/er/x.npz", ".npz", True),
        ("made", ".png", False),
        ("runs.v2", ".png", False),
        ("made.png/", ".png", False),
        (None, ".png", False),
        ("made", "", False),
    ],
)
def test_a_name_with_the_right_ending_is_a_file_and_others_are_folders(
    here: Path, out: str | None, ending: str, file: bool
) -> None:
    assert output_file(out, ending, "this") == (Path(str(out)) if file else None)


def test_what_is_there_and_is_no_folder_is_refused_before_anything_is_computed(here: Path) -> None:
    Path("notes").touch()
    for out in ("notes", "/dev/null"):
        with pytest.raises(UsageError, match="is there already and is no folder"):
            output_file(out, ".json", "this")


def test_a_folder_that_is_there_is_one_whatever_its_name(here: Path) -> None:
    Path("old.png").mkdir()
    assert output_file("old.png", ".png", "this") is None


@pytest.mark.parametrize(
    ("out", "ending", "words"),
    [
        ("x.npz", ".png", "out=x.npz: this writes a file that ends in .png, not .npz; .npz is of format=npz"),
        ("x.jpg", ".png", "out=x.jpg: this writes a file that ends in .png, not .jpg"),
        ("x.png", "", "out=x.png: this writes a folder, whose name does not end in .png"),
    ],
)
def test_an_ending_that_does_not_fit_is_refused_with_the_way(here: Path, out: str, ending: str, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        output_file(out, ending, "this", {".npz": "of format=npz"})
    assert str(refused.value) == words


def test_what_is_there_is_replaced_only_if_asked(here: Path) -> None:
    file, note = Path("film.mp4"), Path("film.json")
    check_overwrite(file, [note], overwrite=False)
    note.write_text('{"mine": 1}')
    with pytest.raises(UsageError, match=r"film.json is there already; give another name, or overwrite=true"):
        check_overwrite(file, [note], overwrite=False)
    with pytest.raises(UsageError, match=r"film.json would be replaced, and does not belong to it"):
        check_overwrite(file, [note], overwrite=True)
    note.write_text('{"gan_cli": "1"}')
    with pytest.raises(UsageError, match="does not belong to it"):  # it tells of film.webp
        check_overwrite(file, [note], overwrite=True)
    file.write_bytes(b"")
    check_overwrite(file, [note], overwrite=True)
    with pytest.raises(UsageError, match="is for a file that out= names"):
        check_overwrite(None, [], overwrite=True)
    assert unused_path(here, "film", ".mp4", [".json"]) == here / "film-2.mp4"
    (here / "seeds_0-2.png").touch()
    assert unused_path(here, "seeds_0-2", ".png") == here / "seeds_0-2_v2.png"


@pytest.fixture
def run(trained: Callable[..., Path]) -> Path:
    return trained(*TINY_IMAGES, "steps=1", "name=run")


def test_every_command_writes_the_file_that_is_named(run: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = ["n=20", "extractor=pixels", "metrics=[kernel]", "resamples=0"]
    for command, arguments in [
        ("sample", ["n=9", "out=new/grid.png"]),
        ("sample", ["n=2", "format=npz", "out=x.npz"]),
        ("sample", ["n=2", "format=walk", "frames=1", "out=w.gif"]),
        ("eval", [*few, "out=scores.json"]),
        ("export", ["out=model.safetensors"]),
        ("direction", ["by=sefa", "out=sefa.npz"]),
        ("report", ["out=demo.html"]),
    ]:
        out = Path(arguments[-1].removeprefix("out="))
        assert run_command(command, [str(run), *arguments]) == 0, capsys.readouterr().err
        assert out.is_file()
        before = out.read_bytes()
        assert run_command(command, [str(run), *arguments]) == 2
        assert f"{out} is there already; give another name, or overwrite=true" in capsys.readouterr().err
        assert out.read_bytes() == before
        out.write_bytes(b"old")
        assert run_command(command, [str(run), *arguments, "overwrite=true"]) == 0
        assert out.read_bytes() != b"old"
    assert sorted(path.name for path in here.iterdir() if path.is_file()) == [
        "demo.html", "model.json", "model.safetensors", "scores.json", "sefa.json", "sefa.npz", "w.gif", "w.json",
        "x.json", "x.npz",
    ]  # fmt: skip
    assert json.loads(Path("model.json").read_text())["parity"]["differences"]["1"] == 0
    assert load_generator("model.safetensors").step == 1
    assert run_command("train", ["init_from=model.safetensors"]) == 2
    assert "no discriminator" in capsys.readouterr().err


def test_one_image_is_the_bare_sample(run: Path, here: Path) -> None:
    assert run_command("sample", [str(run), "n=1", "seed=3", "out=one.png"]) == 0
    assert run_command("sample", [str(run), "n=1", "seed=3", "format=npz", "out=one.npz", "overwrite=true"]) == 2
    assert run_command("sample", [str(run), "n=1", "seed=3", "format=npz", "out=two.npz"]) == 0
    with Image.open("one.png") as picture:
        assert picture.size == (16, 16)
        assert np.array_equal(np.asarray(picture).reshape(16, 16, -1), np.load("two.npz")["images"][0])


@pytest.mark.parametrize(
    ("command", "arguments", "words"),
    [
        ("sample", ["out=x.npz"], "format=grid writes a file that ends in .png, not .npz; .npz is of format=npz"),
        ("sample", ["out=walk.mp4"], ".mp4 is an animation, of format=interpolate, walk or progress"),
        ("sample", ["format=images", "out=x.png"], "format=images writes a folder"),
        ("sample", ["format=walk", "out=frames.png"], "container=frames writes a folder of png"),
        ("sample", ["format=frames", "container=gif"], "format=frames: is container=frames already, not gif"),
        ("sample", ["overwrite=true"], "overwrite=true: is for a file that out= names"),
        ("export", ["out=model.onnx"], "ends in .safetensors, not .onnx; .onnx is of format=onnx"),
        ("direction", ["by=sefa", "out=scores.csv"], "gan-direction writes a file that ends in .npz, not .csv"),
        ("project", ["out=x.npz"], "gan-project writes a folder, whose name does not end in .npz"),
        ("eval", ["out=scores.csv"], "gan-eval writes a file that ends in .json, not .csv"),
    ],
)
def test_names_that_do_not_fit(
    here: Path, capsys: pytest.CaptureFixture[str], command: str, arguments: list[str], words: str
) -> None:
    Path("x").touch()
    assert run_command(command, ["ckpt=x", *arguments]) == 2
    assert words in capsys.readouterr().err
    assert list(here.iterdir()) == [here / "x"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_name_that_cannot_be_given_is_left_unused(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a folder, or of a file on a disk without hard links, whose renaming fails; and of its sidecar."""
    part, note = tmp_path / ".part", tmp_path / ".note"
    part.mkdir() if kind == "folder" else part.write_text("x")
    note.write_text("{}")
    for name, real in (("link", os.link), ("replace", os.replace)):

        def fail_for_part(source: Path, target: Path, real: Callable[..., None] = real) -> None:
            if source == part:
                raise OSError(errno.ENOSPC, "No space left on device")
            real(source, target)

        monkeypatch.setattr(os, name, fail_for_part)
    with pytest.raises(OSError, match="No space"):
        claim_unused(part, tmp_path, "x", "", note)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".note", ".part"]
