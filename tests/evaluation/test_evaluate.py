"""`gan-eval`: every figure with its floor, files that overwrite nothing, and one line for every mistake."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

from gan_cli.api_arguments import parse_evaluation_options
from gan_cli.cli.main import run_command
from gan_cli.errors import CheckpointError
from gan_cli.evaluation import checkpoint_evaluation, evaluate, generated_samples
from gan_cli.evaluation.checkpoint_evaluation import evaluate_checkpoint
from gan_cli.state import checkpoint
from gan_cli.storage.evaluation_file import load_newest_evaluation
from gan_cli.tasks.condition import labels_of
from support.commands import error_line
from support.configs import TINY_IMAGES, without
from support.evaluations import metric_names
from support.images import write_image

FIGURES = [
    "frechet", "kernel", "precision", "recall", "density", "coverage", "inception_score", "modes/covered",
    "modes/reverse_kl",
]  # fmt: skip
PIXELS = ["memorized-pixels", "repeated-pixels", "nearest-pixels"]


@pytest.fixture
def run(trained: Callable[..., Path]) -> Path:
    return trained(*TINY_IMAGES, "steps=2", "name=run")


@pytest.fixture
def judged(here: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[dict[str, Any], str, Path]]:
    """Runs `gan-eval`: what the file says, what was printed, and the file."""

    def judge(*overrides: str) -> tuple[dict[str, Any], str, Path]:
        capsys.readouterr()
        given = [*overrides, *([] if any("resamples=" in each for each in overrides) else ["resamples=5"])]
        assert run_command("eval", given) == 0, capsys.readouterr().err
        printed = capsys.readouterr().out
        path = Path(printed.splitlines()[-1])
        return json.loads(path.read_text()), printed, path

    return judge


# --- what comes of it --------------------------------------------------------------------------------------------


def test_every_figure_with_floor_and_interval(run: Path, judged: Callable[..., Any]) -> None:
    data, printed, path = judged(f"ckpt={run}", "n=60")
    rows = {line.split()[0]: line.split() for line in printed.splitlines() if line}
    assert rows["metric"] == ["metric", "value", "95", "%", "interval", "floor", "n", "reals", "s", "better"]
    assert metric_names(data) == [*(f"{name}-classifier" for name in FIGURES), *PIXELS]
    for figure in data["figures"]:
        assert figure["n"] == 60
        assert figure["floor"] is not None
        assert figure["interval"][0] <= figure["value"] <= figure["interval"][1]
        assert "60" in rows[figure["name"]]
        assert rows[figure["name"]][-1] == (figure["better"] or f"{figure['seconds']:.1f}")
    assert path == run / "evaluations" / "step_00000002_classifier_n60.json"
    assert "classifier: accuracy " in printed
    assert "compared with: 60 of 200 held-out images; floor: 60 training images against these" in printed
    assert "warning: frechet-classifier: too few samples: a covariance of 128 features needs at least 256" in printed
    assert printed.count("memorization: ") == 1
    about = data["about"]
    assert (about["step"], about["extractor"], about["n"], about["ema"]) == (2, "classifier", 60, True)
    assert about["seeds"] == "1000000-1000059"
    assert 0 <= about["accuracy"] <= 1
    assert about["sha256"] == checkpoint.load_named(run).sha256
    newest = load_newest_evaluation(run)
    assert newest is not None
    assert [figure.name for figure in newest.figures] == metric_names(data)
    with Image.open(path.with_name(about["page"])) as page:
        assert page.width > 400


def test_all_training_images_are_compared_with(run: Path, judged: Callable[..., Any]) -> None:
    """As papers have it: any number of samples against all that the run was trained on."""
    asked = (f"ckpt={run}", "n=250", "metrics=[frechet,memorization]", "extractor=random", "resamples=0")
    data, printed, path = judged(*asked, "reals=train")
    assert "compared with: all 200 training images; floor: 200 held-out images against these" in printed
    frechet, memorized = data["figures"][:2]
    assert (frechet["n"], frechet["reals"], memorized["reals"]) == (250, 200, 200)
    assert frechet["floor"] is not None
    assert (data["about"]["n"], data["about"]["n_real"], data["about"]["reals"]) == (250, 200, "train")
    assert path.name == "step_00000002_random_n250_train.json"
    both = judged(*asked, "reals=all")[0]["figures"][0]
    assert (both["reals"], both["floor"]) == (400, None)


def test_the_same_again_is_equal_and_overwrites_nothing(run: Path, judged: Callable[..., Any]) -> None:
    one, _, first = judged(f"ckpt={run}", "n=40")
    other, _, second = judged(f"ckpt={run / 'checkpoints' / checkpoint.LAST}", "n=40")
    third = judged(f"ckpt={run}", "n=40")[2]
    assert second.name == "last_classifier_n40.json"
    assert third.name == "step_00000002_classifier_n40_v2.json"
    values = [[figure["value"] for figure in data["figures"]] for data in (one, other, json.loads(third.read_text()))]
    assert values[0] == pytest.approx(values[1], rel=1e-6)
    assert values[0] == pytest.approx(values[2], rel=1e-6)
    assert len(list(first.parent.glob("*_memorization.png"))) == 3


def test_a_checkpoint_alone_has_its_file_beside_it(run: Path, here: Path, judged: Callable[..., Any]) -> None:
    shutil.copy(run / "checkpoints" / checkpoint.LAST, here / "alone.safetensors")
    path = judged("ckpt=alone.safetensors", "n=20", "metrics=[frechet]", "extractor=pixels")[2]
    assert path.resolve() == here / "alone_pixels_n20.json"


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("metrics=[frechet]", ["frechet-classifier"]),
        ("metrics=kernel", ["kernel-classifier"]),
        ("metrics=[precision_recall]", ["precision-classifier", "recall-classifier"]),
        ("metrics=[density_coverage,frechet]", ["frechet-classifier", "density-classifier", "coverage-classifier"]),
        ("metrics=[inception_score]", ["inception_score-classifier"]),
        ("metrics=[modes]", ["modes/covered-classifier", "modes/reverse_kl-classifier"]),
        ("metrics=[memorization]", PIXELS),
        ("extractor=random", [*(f"{name}-random" for name in FIGURES[:6]), *PIXELS]),
        ("extractor=pixels", [*(f"{name}-pixels" for name in FIGURES[:6]), *PIXELS]),
    ],
)
def test_metrics_and_extractors(run: Path, judged: Callable[..., Any], option: str, expected: list[str]) -> None:
    assert metric_names(judged(f"ckpt={run}", "n=20", option, "resamples=0")[0]) == expected


def test_options_that_change_what_is_judged(run: Path, judged: Callable[..., Any]) -> None:
    """Each of them does something, and batch_size does not."""
    common = (f"ckpt={run}", "n=20", "metrics=[kernel]", "extractor=pixels")
    usual = judged(*common)[0]
    value = usual["figures"][0]["value"]
    assert usual["about"]["standing"] is True
    assert judged(*common, "batch_size=7")[0]["figures"][0]["value"] == pytest.approx(value, rel=1e-4)
    for option in ("seed=5", "ema=false", "standing=false"):
        assert abs(judged(*common, option)[0]["figures"][0]["value"] - value) > 1e-4 * abs(value), option
    assert judged(*common, "resamples=0")[0]["figures"][0]["interval"] is None
    assert judged(*common, "out=elsewhere", "device=cpu")[2].parent == Path("elsewhere")


def test_points(train: Callable[..., Path], judged: Callable[..., Any]) -> None:
    run = train("experiment=ring", "steps=2", "threads=1", "batch_size=8")
    data, printed, path = judged(f"ckpt={run}", "n=200")
    modes = ["modes/covered", "modes/reverse_kl", "modes/share"]
    assert metric_names(data) == [*(f"{name}-points" for name in FIGURES[:6]), *modes]
    assert "memorization" not in printed
    assert path.name == "step_00000002_points_n200.json"


def test_samples_of_a_conditional_run_are_as_frequent_as_the_data(
    train: Callable[..., Path], judged: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train(*TINY_IMAGES, "conditioning=projection", "dataset.limit=30", "steps=1")
    found, conditions = checkpoint.load_named(run), []
    original = generated_samples.generate
    monkeypatch.setattr(
        generated_samples,
        "generate",
        lambda *a, **named: conditions.append(labels_of(named["condition"])) or original(*a, **named),
    )
    evaluate_checkpoint(
        found, parse_evaluation_options(ckpt="run", metrics=["kernel"], n=100, resamples=0), torch.device("cpu")
    )
    dataset, _ = checkpoint_evaluation.data_of_checkpoint(found, None)
    assert dataset.labels is not None
    frequent = dataset.labels.bincount(minlength=8) / len(dataset)
    assert conditions[0].sum(1).eq(1).all()
    assert torch.allclose(conditions[0].mean(0), frequent, atol=0.15)


# --- data that were moved, or are others -------------------------------------------------------------------------


def pictures(folder: Path, count: int = 24) -> Path:
    for index in range(count):
        write_image(folder / f"{index}.png", (index * 9, 40, 255 - index * 9), (16, 16))
    return folder


OWN = (*without(TINY_IMAGES, "dataset"), "dataset=folder", "dataset.path=mine", "dataset.cache=none", "steps=1")
FEW = ("n=12", "metrics=[kernel]", "resamples=0")


def test_relative_paths_are_those_of_the_run(
    train: Callable[..., Path], here: Path, judged: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures(here / "mine")
    run = train(*OWN)
    (here / "other").mkdir()
    monkeypatch.chdir(here / "other")
    data, printed, _ = judged(f"ckpt={run}", *FEW)
    assert metric_names(data) == ["kernel-random"]
    assert "12 images of the data; floor: 12 others (no test split: " in printed


def test_data_that_were_moved_are_named(
    train: Callable[..., Path], here: Path, judged: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    pictures(here / "mine")
    run = train(*OWN)
    (here / "mine").rename(here / "moved, away")
    said = error_line(capsys, "eval", f"ckpt={run}", *FEW)
    assert "mine" in said
    assert "if they were moved, give the new path as data=..." in said
    assert metric_names(judged(f"ckpt={run}", *FEW, "data=moved, away")[0]) == ["kernel-random"]
    pictures(here / "others", 25)
    said = error_line(capsys, "eval", f"ckpt={run}", *FEW, "data=others")
    assert "was trained on other data than these (25 images from others" in said


def test_data_that_are_drawn_are_nowhere(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "data=x: dataset=shapes is synthetic, leave it out" in error_line(capsys, "eval", f"ckpt={run}", "data=x")


# --- mistakes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            (),
            "ckpt is missing: gan-eval RUN, by its folder or name, or a .safetensors file; or real=FOLDER",
        ),
        (("real=a",), "fake is missing: real=a needs another folder to compare with"),
        (("fake=a",), "real is missing: fake=a needs another folder to compare with"),
        (("ckpt=a", "real=b"), "real=b: is for two folders, without ckpt"),
        (("ckpt=a", "fake=b"), "fake=b: is for two folders, without ckpt"),
        (("ckpt=a", "image_size=16"), "image_size=16: is for two folders, without ckpt"),
        (("real=a", "fake=b", "data=c"), "data=c: says where a checkpoint's data are"),
        (("ckpt=a", "metrics=[fid]"), "metrics=[fid]: here it is metrics=[frechet]"),
        (
            ("ckpt=a", "extractor=resnet"),
            "extractor=resnet: expected one of auto, classifier, efficientnet, inception, pixels, random",
        ),
        (("ckpt=a", "n=9"), "n=9: expected a whole number at least 10"),
        (("ckpt=a", "resamples=-1"), "resamples=-1: expected"),
        (("ckpt=a", "standing=maybe"), "standing=maybe: expected true or false"),
        (("ckpt=a", "metric=[frechet]"), "metric"),
    ],
)
def test_mistakes_are_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], overrides: tuple[str, ...], words: str
) -> None:
    assert words in error_line(capsys, "eval", *overrides)


def test_a_checkpoint_that_is_not_there(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nothing.safetensors: no such checkpoint" in error_line(capsys, "eval", "ckpt=nothing.safetensors", code=3)


def test_more_samples_than_real_ones(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = error_line(capsys, "eval", f"ckpt={run}", "n=201")
    assert "n=201: there are 200 real samples on each side; use at most that many" in said


def test_what_the_data_do_not_allow(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said before samples are made."""
    monkeypatch.setattr(checkpoint_evaluation, "generate_evaluated", lambda *arguments: pytest.fail("made"))
    said = error_line(capsys, "eval", f"ckpt={run}", "n=20", "extractor=random", "metrics=[inception_score]")
    assert "metrics=[inception_score]: needs images of one class each with extractor=classifier" in said


def test_a_folder_that_cannot_be_written(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").write_text("")
    few = ("n=20", "extractor=pixels", "metrics=[kernel]")
    assert "cannot be written" in error_line(capsys, "eval", f"ckpt={run}", *few, "out=file/in", code=5)


def test_metrics_that_cannot_be_written_leave_no_empty_folder(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(evaluate, "save_evaluation", full)
    few = (f"ckpt={run}", "n=20", "extractor=pixels", "metrics=[kernel]", "out=there")
    assert "No space left on device" in error_line(capsys, "eval", *few, code=5)
    assert not Path("there").exists()


def test_samples_that_are_not_finite_are_refused(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(nn.Linear):
        def forward(self, latents: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
            return torch.full((len(latents), 1, 16, 16), torch.nan)

    monkeypatch.setattr(checkpoint_evaluation, "build_generator", lambda *a, **named: Broken(1, 1))
    options = parse_evaluation_options(ckpt="run", n=20, extractor="pixels", metrics=["kernel"])
    with pytest.raises(CheckpointError, match="makes samples that are not finite"):
        evaluate_checkpoint(checkpoint.load_named(run), options, torch.device("cpu"))


def test_no_metrics_at_all_are_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("x").touch()
    assert run_command("eval", ["ckpt=x", "metrics=[]"]) == 2
    assert "metrics=[]: name at least one" in capsys.readouterr().err
