"""The end of a run is completed by resuming it, whatever was done of it and whatever was lost."""

from __future__ import annotations

import errno
import json
import os
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gan_cli.cli.main import run_command
from gan_cli.images import animation, grid
from gan_cli.launch import finish
from gan_cli.state import checkpoint
from gan_cli.storage.run_folder import CHECKPOINTS, LAST, read_record, write_record
from gan_cli.training import steps
from support.configs import TINY_IMAGES, without
from support.runs import assert_equal_runs, last_checkpoint

EVALUATED = [
    *without(TINY_IMAGES, "training.checkpoint_every", "training.sample_every"), "steps=3",
    "training.checkpoint_every=2", "training.sample_every=2", "evaluation.metrics=[kernel]",
    "evaluation.extractor=pixels", "evaluation.n=20",
]  # fmt: skip
LAST_STEP = "step_00000003"


def images_in(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in [*run.glob("samples/*.png"), run / "progress.webp"]}


def assert_complete(run: Path, whole: Path, capsys: pytest.CaptureFixture[str], train: Callable[..., Path]) -> None:
    """Compares a run with an unbroken one in all that its end leaves, and resumes it once more: nothing is left."""
    assert_equal_runs(whole, run)
    assert images_in(run) == images_in(whole)
    ended = read_record(run)["ended"]
    assert (ended["status"], ended["step"], ended.get("missing")) == ("done", 3, None)
    assert '"missing"' not in (run / "config.json").read_text()
    assert (run / "report.html").is_file()
    names = [sorted(path.name for path in (each / CHECKPOINTS).iterdir()) for each in (run, whole)]
    assert names[0] == names[1]
    capsys.readouterr()
    train(f"resume={run}")
    assert "all 3 steps are done; add some" in capsys.readouterr().out


def lose_all_but_the_checkpoint(run: Path) -> None:
    """Leaves what a power cut may leave of a run that was finished: old files, empty files, and no files."""
    record = read_record(run)
    write_record(run, record | {"ended": record["ended"] | {"status": "done", "step": 2}})
    (run / CHECKPOINTS / LAST).unlink()
    os.link(run / CHECKPOINTS / "step_00000002.safetensors", run / CHECKPOINTS / LAST)
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(lines[:-1]))
    (run / "samples" / f"{LAST_STEP}.png").write_bytes(b"")
    for name in ("progress.webp", "report.html", "samples/real.png"):
        (run / name).unlink()


def lose_the_last_line(run: Path) -> None:
    (run / "metrics.jsonl").write_text((run / "metrics.jsonl").read_text()[:-9])


@pytest.mark.parametrize("lose", [lose_all_but_the_checkpoint, lose_the_last_line])
def test_what_a_power_cut_took_of_the_end_is_made_again(
    train: Callable[..., Path],
    trained: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    lose: Callable[[Path], None],
) -> None:
    whole, run = trained(*EVALUATED, "name=whole"), trained(*EVALUATED, "name=run")
    lose(run)
    train(f"resume={run}")
    assert "all 3 steps are done; completing the end of the run: " in (run / "train.log").read_text()
    assert_complete(run, whole, capsys, train)


def full_disk(*arguments: Any, **settings: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("module", "function", "missing"),
    [
        (grid, "save_png", [f"samples/{LAST_STEP}.png"]),
        (animation, "save_progress_animation", ["progress.webp"]),
        (finish, "write_run_report", ["report.html"]),
    ],
)
def test_what_a_full_disk_prevented_is_made_again(
    train: Callable[..., Path],
    trained: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    module: Any,
    function: str,
    missing: list[str],
) -> None:
    whole, plain = trained(*EVALUATED, "name=whole"), getattr(module, function)

    def full_at_the_end(*arguments: Any) -> Any:
        return (
            plain(*arguments) if Path(arguments[-1]).stem in ("real", "step_00000000", "step_00000002") else full_disk()
        )

    with monkeypatch.context() as patch:
        patch.setattr(module, function, full_at_the_end)
        run = train(*EVALUATED, "name=run")
    assert read_record(run)["ended"]["missing"] == missing
    train(f"resume={run}")
    assert_complete(run, whole, capsys, train)


def test_a_run_whose_last_save_failed_is_finished_by_the_next_command(
    train: Callable[..., Path],
    trained: Callable[..., Path],
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole, replace = trained(*EVALUATED, "name=whole"), os.replace

    def full_at_last(source: Path, target: Path, **settings: Any) -> None:
        if Path(target).name == LAST and (Path(target).parent / f"{LAST_STEP}.safetensors").exists():
            full_disk()
        replace(source, target, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full_at_last)
        train(*EVALUATED, "name=broken", code=5)
    (broken,) = (here / "outputs" / "broken").iterdir()
    assert read_record(broken)["ended"]["status"] == "failed"
    assert last_checkpoint(broken).counters.step == 2
    train(f"resume={broken}")
    assert_complete(broken, whole, capsys, train)


def test_the_reason_of_the_end_is_said_though_it_cannot_be_recorded(
    train: Callable[..., Path],
    trained: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The disk is full when the last checkpoint is saved, and stays so."""
    run = trained(*EVALUATED, "name=run")
    monkeypatch.setattr(finish, "write_record", full_disk)
    monkeypatch.setattr(checkpoint, "replacing", full_disk)
    train(f"resume={run}", "extra_steps=1", code=5)
    captured = capsys.readouterr()
    assert re.fullmatch(
        r"gan-train: \S*step_00000004.safetensors: cannot be written \(No space left on device\);"
        r" needs [\d,]+ bytes, [\d,]+ bytes free\n",
        captured.err,
    )
    assert "warning: how the run ended was not recorded ([Errno 28] No space left on device)" in captured.out


def test_a_folder_that_a_full_disk_prevents_is_named_with_the_free_bytes(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Path, "mkdir", full_disk)
    assert run_command("train", [*TINY_IMAGES, "name=run"]) == 5
    assert re.search(r"cannot be made \(No space left on device, [\d,]+ bytes free\)\n", capsys.readouterr().err)


def test_a_run_that_goes_on_has_not_ended(
    train: Callable[..., Path], trained: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(*EVALUATED, "name=run")

    def killed(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(steps, "generator_step", killed)
    train(f"resume={run}", "extra_steps=1", code=130)
    assert "ended" not in read_record(run)


def test_no_image_fails_a_run(train: Callable[..., Path], trained: Callable[..., Path]) -> None:
    """A grid that a stranger left declares 60,000 x 60,000 pixels."""
    run = trained(*EVALUATED, "name=run")
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(header)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (run / "samples" / "step_00000001.png").write_bytes(bomb)
    train(f"resume={run}", "extra_steps=1")
    ended = json.loads((run / "config.json").read_text())["ended"]
    assert (ended["status"], ended.get("missing")) == ("done", None)  # the animation is of the other grids
    assert (run / "progress.webp").is_file()


@pytest.mark.parametrize(("lines", "words"), [(slice(None), None), (slice(1), "2 lines"), (slice(1, None), "1 line")])
def test_lines_of_metrics_that_are_lost_are_said(
    train: Callable[..., Path],
    trained: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    lines: slice,
    words: str | None,
) -> None:
    run = trained(*without(TINY_IMAGES, "training.checkpoint_every"), "steps=4", "training.checkpoint_every=0")
    kept = (run / "metrics.jsonl").read_text().splitlines(keepends=True)[lines]
    (run / "metrics.jsonl").write_text("".join(kept))
    capsys.readouterr()
    train(f"resume={run}", "extra_steps=1")
    said = [line for line in capsys.readouterr().out.splitlines() if "metrics.jsonl lacks" in line]
    assert len(said) == (words is not None)
    assert words is None or f"lacks {words} (cut off or edited)" in said[0]


def test_a_record_that_cannot_be_written_is_an_error_and_the_report_is_made(
    train: Callable[..., Path], here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    replace = os.replace

    def full_at_the_end(source: Path, target: Path, **settings: Any) -> None:
        if Path(target).name == "config.json" and list(here.glob(f"outputs/*/*/{CHECKPOINTS}/{LAST_STEP}*")):
            raise OSError(errno.ENOSPC, "No space left on device", str(source))
        replace(source, target, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full_at_the_end)
        assert run_command("train", [*EVALUATED, "name=run"]) == 5
    (run,) = (here / "outputs" / "run").iterdir()
    assert "config.json: No space left on device" in capsys.readouterr().err
    assert (run / "report.html").is_file()
    assert "ended" not in read_record(run)
    train(f"resume={run}")
    assert read_record(run)["ended"]["status"] == "done"
