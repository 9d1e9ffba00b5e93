"""Wrong mixes and values, chosen by someone who had not seen the code: one line, the right code, nothing written."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest

from gan_cli.cli.main import run_command
from support.commands import error_line
from support.images import write_class_folders

# "pets" has two classes of 6 pictures each, "one" a single picture, "flat" pictures and no classes.
WRONG = {
    "lose=wasserstein": 2,
    "loss=[hinge,minimax]": 2,
    "regularizer=r1,weight_clip": 2,
    "regularizer=[gradient_penalty,weight_clip]": 2,
    "steps=null": 2,
    "steps=" + "9" * 5000: 2,
    "budget=1m steps=5": 2,
    "image_size=3 dataset=shapes": 2,
    "dataset=swiss_roll architecture=mlp dataset.classes=[1]": 2,
    "dataset.classes=[3,3] dataset.download=false": 2,
    "dataset.split=validation": 2,
    "dataset=cifar10 dataset.root=empty dataset.download=false": 2,
    "dataset=folder": 2,
    "dataset=folder dataset.path=empty": 2,
    "dataset=folder dataset.path=texts": 2,
    "dataset=folder dataset.path=hidden": 2,
    "dataset=folder dataset.path=one batch_size=8": 2,
    "dataset=folder dataset.path=flat/0.png": 2,
    "dataset=folder dataset.path=notazip.zip": 2,
    "dataset=folder dataset.path=nopics.zip": 2,
    "dataset=folder dataset.path=bad dataset.on_bad=skip": 2,
    "dataset=folder dataset.path=pets,flat": 2,
    "dataset=folder dataset.path=flat dataset.classes=[cat]": 2,
    "dataset=folder dataset.path=pets dataset.classes=[cta]": 2,
    "dataset=folder dataset.path=pets dataset.split=test": 2,
    "init_from=empty": 2,
    "init_from=nope": 2,
    "replay=nope": 2,
    "dataset.root={a:1}": 2,
    "dataset.root=[a,b]": 2,
    "plugins=[nope]": 2,
    "explain=hinge steps=5": 2,
    "explain=wassertein": 2,
    "--config-dir nope": 2,
    "--config-dir ~nobody_here/nope": 2,
    "--cfg nope": 2,
    "--info": 2,
    "--package x dataset=shapes steps=2": 2,
    "--resolve steps=2": 2,
    "dataset=ring architecture=mlp steps=1 threads=1 output=" + "deep/" * 1500: 5,
    "init_from=" + "x" * 5000: 5,
    "dataset.name=ring": 2,
    "steps = 5": 2,
    "device=gpu": 2,
    "output=a_file steps=1 dataset.download=false": 5,
    "-m seed=1,2 dry_run=true": 2,
    "-m seed=range(1,1e9)": 2,
    "-m hydra/launcher=nope seed=1,2": 2,
    "-m hydra.sweeper._target_=os.system seed=1,2": 2,
}


@pytest.fixture
def place(here: Path) -> Path:
    write_class_folders(here / "pets", cat=6, dog=6)
    write_class_folders(here, flat=4, one=1)
    for name in ("empty", "texts", "hidden", "bad"):
        (here / name).mkdir()
    (here / "texts/notes.txt").write_text("no image")
    (here / "hidden/.cat.png").write_bytes((here / "flat/0.png").read_bytes())
    (here / "bad/cat.png").write_text("no image")
    (here / "notazip.zip").write_text("no zip")
    (here / "a_file").write_text("a file")
    with zipfile.ZipFile(here / "nopics.zip", "w") as archive:
        archive.writestr("notes.txt", "no image")
    return here


def test_there_are_thirty() -> None:
    assert len(WRONG) >= 30


@pytest.mark.parametrize("line", WRONG)
def test_one_line_the_right_code_and_nothing_written(
    place: Path, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    before = sorted(place.rglob("*"))
    arguments = ["steps = 5"] if line == "steps = 5" else line.split()
    assert run_command("train", arguments) == WRONG[line]
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1, captured.err
    assert captured.err.startswith("gan-train: ")
    assert "Traceback" not in captured.err
    assert len(captured.err) < 500
    assert sorted(place.rglob("*")) == before


# Mistakes that need no network to be seen, with the exit code and words of the message.
WITHOUT_TORCH = {
    "sample": (2, "ckpt is missing"),
    "eval": (2, "ckpt is missing"),
    "eval real=one": (2, "fake is missing"),
    "export": (2, "ckpt is missing"),
    "project": (2, "ckpt is missing"),
    "direction": (2, "ckpt is missing"),
    "sample nope": (3, "no such checkpoint"),
    "eval nope": (3, "no such checkpoint"),
    "export nope": (3, "no such checkpoint"),
    "project nope": (3, "no such checkpoint"),
    "direction nope by=sefa": (3, "no such checkpoint"),
    "direction nope by=pca": (2, "expected sefa or label:NAME"),
    "sample empty": (3, "holds no checkpoint"),
    "train init_from=nope": (2, "init_from=nope: no such checkpoint"),
    "train replay=nope": (2, "no run there"),
    "train resume=nope": (2, "no run there"),
    "train dataset=folder dataset.path=nope": (2, "not found"),
    "train dataset=folder dataset.path=pets dataset.classes=[cta]": (2, "did you mean 'cat'"),
    "train dataset=lsun dataset.classes=[kitchn]": (2, "did you mean 'kitchen'"),
    "train resume=auto dry_run=true": (2, "give only one"),
    "train steps=5 budget=1m": (2, "steps and budget: each says when to stop"),
    "train output=/proc/x": (5, "choose another place by output="),
    "train -m seed=1,2 output=/proc/x": (5, "choose another place by output="),
    "eval real=nope fake=one": (2, "real=nope: not found"),
}


@pytest.mark.parametrize("line", WITHOUT_TORCH)
def test_what_is_not_there_is_told_before_torch_is_imported(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    for module in ("sampling.sample", "evaluation.evaluate", "export.export", "launch.start_run"):
        monkeypatch.setitem(sys.modules, f"gan_cli.{module}", None)  # importing it, and with it torch, is an error
    command, *arguments = line.split()
    code, words = WITHOUT_TORCH[line]
    assert words in error_line(capsys, command, *arguments, code=code)
