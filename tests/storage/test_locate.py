"""What a person names: one rule for every command, and what was taken is said where there was a choice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gan_cli.cli.main import run_command
from gan_cli.errors import CheckpointError, UsageError
from gan_cli.storage.locate import find_checkpoint, find_run, find_run_or_sweep, locate, location_kind


def write_run(folder: Path, status: str = "done", steps: tuple[int, ...] = (0, 4)) -> Path:
    (folder / "checkpoints").mkdir(parents=True)
    for step in steps:
        (folder / "checkpoints" / f"step_{step:08d}.safetensors").write_bytes(b"x")
    if steps:
        (folder / "checkpoints" / "last.safetensors").hardlink_to(
            folder / "checkpoints" / f"step_{steps[-1]:08d}.safetensors"
        )
    (folder / "config.json").write_text(json.dumps({"ended": {"status": status}}))
    return folder


def write_export(folder: Path, file: str = "model.safetensors") -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / file).write_bytes(b"x")
    return folder


@pytest.fixture
def runs(here: Path) -> tuple[Path, Path]:
    """Two runs of the name `b95`, the older one first."""
    name = here / "outputs" / "b95"
    return write_run(name / "2026-01-01_000000"), write_run(name / "2026-01-02_000000")


@pytest.mark.parametrize("named", ["b95", "outputs/b95", "outputs/b95/"])
def test_a_name_is_the_same_run_to_every_command(
    runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str], named: str
) -> None:
    newest = runs[1].relative_to(Path.cwd())
    assert find_run(named) == find_run(named, key="replay") == find_run_or_sweep(named) == newest
    assert find_checkpoint(named, "ckpt") == find_checkpoint(named, "init_from") == newest / "checkpoints"
    told = "outputs/b95: using 2026-01-02_000000, the newest of 2 runs\n"
    assert capsys.readouterr().err == told * 5


def test_a_run_that_diverged_is_told_with_the_one_before(
    runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    bad = write_run(Path("outputs/b95/2026-01-03_000000"), "diverged", (0,))
    assert find_checkpoint("b95", "ckpt") == bad / "checkpoints"
    assert capsys.readouterr().err == (
        "warning: outputs/b95: its newest run, 2026-01-03_000000, diverged, and its newest checkpoint is step_00000000;"
        " the one before it: outputs/b95/2026-01-02_000000\n"
    )


def test_a_run_without_a_checkpoint_is_passed_over_and_told(
    runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(Path("outputs/b95/2026-01-03_000000"), "failed", ())
    assert find_run("b95") == Path("outputs/b95/2026-01-02_000000")
    assert capsys.readouterr().err == (
        "outputs/b95: using 2026-01-02_000000; without a checkpoint: 2026-01-03_000000\n"
    )


def test_a_path_goes_before_a_name_and_both_are_told(
    runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    own = write_run(Path("b95"))
    assert find_run("b95") == own
    assert capsys.readouterr().err == "b95: taken as the path b95; there is outputs/b95, too\n"
    Path("pictures").mkdir()
    Path("outputs/pictures").mkdir()
    write_run(Path("outputs/pictures/2026-01-01_000000"))
    assert find_run("pictures") == Path("outputs/pictures/2026-01-01_000000")  # a folder of other things is none


def test_a_checkpoint_stands_for_its_run(runs: tuple[Path, Path]) -> None:
    folder = runs[0] / "checkpoints"
    for named in (folder, folder / "last.safetensors", folder / "step_00000004.safetensors"):
        assert find_run(str(named)) == find_run_or_sweep(str(named)) == runs[0]
    with pytest.raises(UsageError, match=r"goes on at its newest checkpoint, .* by init_from=.*step_00000000"):
        find_run(str(folder / "step_00000000.safetensors"))
    assert find_run_or_sweep(str(folder / "step_00000000.safetensors")) == runs[0]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["train", "init_from=export"], 2, "an exported generator alone, with no discriminator to start from"),
        (["train", "resume=export"], 2, "with no discriminator and no optimizers to go on with"),
        (["train", "replay=export"], 2, "with no record of a run to repeat"),
        (["eval", "export"], 3, "with no record of its data to compare with; make samples with gan-sample"),
        (["report", "export"], 2, "with no record of a run to show"),
        (["compare", "export", "export"], 2, "with no record of a run to show"),
        (["sample", "onnx"], 3, "is an export for other programs"),
        (["export", "onnx"], 3, "is an export for other programs"),
        (["project", "onnx"], 3, "is an export for other programs"),
        (["direction", "onnx", "by=sefa"], 3, "is an export for other programs"),
        (["sample", "swept"], 3, "a sweep; name one of its runs: ckpt=outputs/swept/sweep_2026-01-01_000000/0"),
        (["train", "resume=swept"], 2, "a sweep; name one of its runs: resume=outputs/swept/sweep_2026-01-01_000000/0"),
        (["sample", "b59"], 3, "no run of this name in outputs (did you mean 'b95'?)"),
        (["train", "resume=b59"], 2, "no run there, give a run's folder, a name under outputs, or auto (did you mean"),
        (["report", "b59"], 2, "(did you mean 'b95'?)"),
        (["sample", "b95", "b96"], 2, "b96: gan-sample takes one run or checkpoint, and b95 is given already"),
        (["sample", "b95", "ckpt=b95"], 2, "ckpt is given twice"),
    ],
)
def test_what_cannot_be_taken_says_what_is_lacking(
    runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, words: str
) -> None:
    write_export(Path("export"))
    write_export(Path("onnx"), "model.onnx")
    sweep = Path("outputs/swept/sweep_2026-01-01_000000")
    write_run(sweep / "0")
    (sweep / "sweep.json").write_text("{}")
    assert run_command(arguments[0], arguments[1:]) == code
    error = capsys.readouterr().err.splitlines()[-1]
    assert words in error


def test_a_folder_of_one_export_stands_for_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_export(Path("out/step_00000004_safetensors"))
    place = locate("out")
    assert place is not None
    assert place == ("export", Path("out/step_00000004_safetensors"))
    assert "out: using step_00000004_safetensors, the export in it" in capsys.readouterr().err
    with pytest.raises(UsageError, match="is an exported generator alone"):
        find_checkpoint("out", "init_from")
    write_export(Path("out/step_00000004_onnx"), "model.onnx")
    assert locate("out") is None
    with pytest.raises(
        CheckpointError, match="out: holds no checkpoint, but 2 exports: name one, out/step_00000004_on"
    ):
        find_checkpoint("out", "ckpt")


def test_kinds_of_places(here: Path) -> None:
    assert location_kind(here) is None
    assert location_kind(write_export(here / "e")) == "export"
    assert location_kind(here / "e" / "model.safetensors") == "export"
    alone = here / "mine.safetensors"
    alone.write_bytes(b"x")
    assert location_kind(alone) == "file"
    with pytest.raises(UsageError, match=r"mine\.safetensors: is not in a run's folder; .* by init_from=.*/mine"):
        find_run(str(alone))
    alone.with_suffix(".json").write_text("{}")
    assert location_kind(alone) == "export"
    (here / "empty").mkdir()
    write_run(here / "run")
    (here / "run/checkpoints").rename(here / "kept")
    with pytest.raises(UsageError, match=r"^resume=kept: is not in a run's folder$"):
        find_run("kept")
    with pytest.raises(CheckpointError, match=r"^empty: holds no checkpoint"):
        find_checkpoint("empty", "ckpt")
