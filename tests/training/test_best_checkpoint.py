"""The best checkpoint: kept by a figure, taken by what reads a run, and the end of a run that gets no better."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gan_cli.cli.main import run_command
from gan_cli.errors import StorageError, UsageError
from gan_cli.runs.best_metrics import read_best_metrics
from gan_cli.runs.log import read_metrics
from gan_cli.state import checkpoint
from gan_cli.storage.run_folder import CHECKPOINTS, read_record, write_record
from gan_cli.training import best_checkpoint, loop
from gan_cli.training.run import Run
from support.configs import TINY_IMAGES, compose
from support.runs import logged_metrics

JUDGED = (*TINY_IMAGES, "training.evaluate_every=1", "evaluation.metrics=[frechet]")
BOTH = (*TINY_IMAGES, "training.evaluate_every=1", "evaluation.metrics=[frechet,precision_recall]")
# Of steps 1 to 6: better up to the third, and again at the fifth.
VALUES = {1: 5.0, 2: 4.0, 3: 2.0, 4: 3.0, 5: 1.0, 6: 9.0}


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> dict[int, float]:
    """Evaluations give these figures, by step."""
    values = dict(VALUES)

    def evaluate(run: Run) -> dict[str, float]:
        return {"frechet-classifier": values[run.state.counters.step], "recall-classifier": 0.5}

    monkeypatch.setattr(loop, "evaluate", evaluate)
    return values


def best_of(run: Path) -> tuple[int, str | None, float | None]:
    found = checkpoint.load(run / CHECKPOINTS / "best.safetensors")
    return found.counters.step, found.provenance.figure, found.provenance.value


def test_the_best_is_kept_and_taken(
    judged: dict[int, float], train: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(*JUDGED, "steps=6")
    assert best_of(run) == (5, "frechet-classifier", 1.0)
    assert checkpoint.load_newest(run / CHECKPOINTS)[0].counters.step == 6
    capsys.readouterr()
    assert run_command("sample", [f"ckpt={run}", "n=4"]) == 0
    printed = capsys.readouterr()
    told = printed.err
    assert len(printed.out.splitlines()) == 1  # where the samples are, for scripts
    assert "using best.safetensors: step 5, frechet-classifier 1" in told
    assert "step_00000006" not in told
    assert run_command("sample", [f"ckpt={run}/checkpoints/last.safetensors", "n=4"]) == 0
    assert "using" not in capsys.readouterr().err


def test_its_weights_are_those_of_its_step(judged: dict[int, float], train: Callable[..., Path]) -> None:
    run, short = (
        train(*JUDGED, "steps=6", "training.lr_schedule=constant", "name=long"),
        train(*TINY_IMAGES, "steps=5", "training.lr_schedule=constant", "name=short"),
    )
    kept, there = (
        checkpoint.load(run / CHECKPOINTS / "best.safetensors"),
        checkpoint.load_newest(short / CHECKPOINTS)[0],
    )
    assert kept.tensors.keys() == there.tensors.keys()
    assert all(kept.tensors[name].equal(there.tensors[name]) for name in kept.tensors)


def test_higher_is_better_of_some(judged: dict[int, float], train: Callable[..., Path]) -> None:
    run = train(*BOTH, "evaluation.best=recall", "steps=3")
    assert best_of(run) == (1, "recall-classifier", 0.5)  # equal is no better


def test_a_run_without_evaluations_on_the_way_has_no_best(judged: dict[int, float], train: Callable[..., Path]) -> None:
    run = train(*TINY_IMAGES, "evaluation.metrics=[frechet]", "steps=3")
    assert not (run / CHECKPOINTS / "best.safetensors").exists()
    assert logged_metrics(run)[-1]["frechet-classifier"] == 2.0


def test_patience_ends_a_run(
    judged: dict[int, float], train: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    judged[5] = 2.5
    run = train(*JUDGED, "evaluation.patience=2", "steps=6")
    assert checkpoint.load_newest(run / CHECKPOINTS)[0].counters.step == 5
    assert best_of(run) == (3, "frechet-classifier", 2.0)
    assert (run / "samples" / "step_00000005.png").exists()
    told = capsys.readouterr().out
    assert "stopping early: no better frechet-classifier in 2 evaluations" in told
    assert "the best is 2 at step 3" in told


def test_patience_begins_anew_with_each_better_one(judged: dict[int, float], train: Callable[..., Path]) -> None:
    run = train(*JUDGED, "evaluation.patience=2", "steps=6")
    assert checkpoint.load_newest(run / CHECKPOINTS)[0].counters.step == 6
    assert best_of(run)[0] == 5


def test_a_resumed_run_knows_its_best(judged: dict[int, float], train: Callable[..., Path]) -> None:
    run = train(*JUDGED, "steps=3")
    judged[5] = 2.5
    assert run_command("train", [f"resume={run}", "extra_steps=3", "evaluation.patience=2"]) == 0
    assert best_of(run) == (3, "frechet-classifier", 2.0)
    assert checkpoint.load_newest(run / CHECKPOINTS)[0].counters.step == 5  # 4 and 5 were no better


def test_another_figure_begins_another_best(
    judged: dict[int, float], train: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(*BOTH, "steps=3")
    assert run_command("train", [f"resume={run}", "extra_steps=1", "evaluation.best=recall"]) == 0
    assert "was chosen by frechet-classifier; from now on it is chosen by recall-classifier" in capsys.readouterr().out
    assert best_of(run) == (4, "recall-classifier", 0.5)


def test_a_damaged_best_is_told_and_replaced(
    judged: dict[int, float], train: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(*JUDGED, "steps=3")
    path = run / CHECKPOINTS / "best.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    capsys.readouterr()
    assert run_command("sample", [f"ckpt={run}", "n=4"]) == 0
    told = capsys.readouterr().err
    assert "warning:" in told
    assert "using the newest" in told
    assert run_command("train", [f"resume={run}", "extra_steps=1"]) == 0
    assert "another best will replace it" in capsys.readouterr().out
    assert best_of(run) == (4, "frechet-classifier", 3.0)


def test_one_that_cannot_be_written_ends_nothing(
    judged: dict[int, float],
    train: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*arguments: object) -> None:
        raise StorageError("best.safetensors: cannot be written (no space)")

    monkeypatch.setattr(best_checkpoint.checkpoint, "save_best", full)
    run = train(*JUDGED, "steps=2")
    assert "cannot be written (no space); going on" in capsys.readouterr().out
    assert checkpoint.load_newest(run / CHECKPOINTS)[0].counters.step == 2


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["evaluation.best=recal"], "evaluation.best=recal: expected one of .*recall"),
        (["evaluation.patience=3", "evaluation.metrics=[frechet]"], "set training.evaluate_every"),
        (["evaluation.patience=3", "training.evaluate_every=1"], r"set evaluation.metrics=\[frechet\]"),
        (["experiment=ring", "evaluation.metrics=[inception_score]"], "needs images of one class each"),
        (["evaluation.metrics=[memorization]"], "evaluation.metrics"),
    ],
)
def test_what_cannot_be(overrides: list[str], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        compose(*overrides)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["evaluation.best=recall", "evaluation.metrics=[frechet]"], r"set that too|metrics=\[precision_recall\]"),
        (["evaluation.best=frechet"], r"evaluation.metrics=\[frechet\]"),
        (["evaluation.best=accuracy/class"], "set conditioning=projection"),
        (["evaluation.best=modes/covered"], "modes of dataset=mnist are not known"),
    ],
)
def test_a_figure_that_nobody_works_out_is_refused(overrides: list[str], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        compose(*overrides)
    compose("experiment=ring", "evaluation.best=modes/covered")
    compose("evaluation.best=recall", "evaluation.metrics=[frechet,precision_recall]")


def test_what_ended_early_is_done_for_a_script_and_goes_on_if_asked(
    judged: dict[int, float], train: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    judged.update(dict.fromkeys(range(4, 20), 9.0))
    script = [*JUDGED, "evaluation.patience=2", "steps=12", "name=nightly"]
    run = train(*script)
    assert checkpoint.load_newest(run / CHECKPOINTS)[0].counters.step == 5
    assert run_command("train", [*script, "resume=auto"]) == 0
    assert "all 5 steps are done" in capsys.readouterr().out
    assert run_command("train", [f"resume={run}", "extra_steps=3", "evaluation.patience=9"]) == 0
    assert checkpoint.load_newest(run / CHECKPOINTS)[0].counters.step == 8


def test_a_signal_in_the_last_evaluation_ends_it_at_once_and_a_resume_makes_up_for_it(
    judged: dict[int, float], train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate = loop.evaluate

    def interrupted(run: Run) -> dict[str, float]:
        if run.state.counters.step == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return evaluate(run)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "evaluate", interrupted)
        run = train(*JUDGED, "steps=3", code=130)
    assert read_record(run)["ended"]["status"] == "stopped"
    assert checkpoint.load_newest(run / CHECKPOINTS)[0].counters.step == 3
    before = [line["step"] for line in read_metrics(run)]
    assert run_command("train", [f"resume={run}"]) == 0
    assert read_record(run)["ended"]["status"] == "done"
    assert [line["step"] for line in read_metrics(run)] == [*before, 3]


def test_a_run_killed_when_all_was_done_is_closed_by_resuming(
    judged: dict[int, float], train: Callable[..., Path]
) -> None:
    run = train(*JUDGED, "steps=2")
    record = read_record(run)
    del record["ended"]
    write_record(run, record)
    assert run_command("train", [f"resume={run}"]) == 0
    assert read_record(run)["ended"]["status"] == "done"


def test_a_best_that_was_measured_otherwise_is_replaced(
    judged: dict[int, float], train: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Fewer samples have larger distances, whatever the generator."""
    run = train(*JUDGED, "evaluation.n=20", "steps=3")
    judged[4] = 9.0
    assert run_command("train", [f"resume={run}", "extra_steps=1", "evaluation.n=30"]) == 0
    told = capsys.readouterr().out
    assert "was measured otherwise: number of samples (20, 30), number of real samples (20, 30)" in told
    assert best_of(run) == (4, "frechet-classifier", 9.0)
    assert read_best_metrics(run).metrics["frechet-classifier"] == 9.0


def test_a_best_of_other_data_is_none(
    judged: dict[int, float], train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it is not recorded what its metric was measured on, as in older runs."""
    folder, said = train(*JUDGED, "steps=1"), []
    monkeypatch.setattr(best_checkpoint, "measured_on", lambda run: {})
    own = checkpoint.load(folder / CHECKPOINTS / "best.safetensors").provenance
    for provenance, found in ((own, (1, 5.0)), (dataclasses.replace(own, fingerprint="other"), None)):
        run: Any = SimpleNamespace(folder=folder, provenance=provenance, log=SimpleNamespace(info=said.append))
        assert best_checkpoint._saved_best(run, "frechet-classifier") == found
    (line,) = said
    assert "best.safetensors was measured on the data as they were" in line


def test_a_score_that_is_not_finite_ends_the_run(judged: dict[int, float], train: Callable[..., Path]) -> None:
    judged[2] = float("nan")
    run = train(*JUDGED, "steps=3", code=4)
    assert "frechet-classifier is not finite at step 2" in (run / "train.log").read_text()
    assert best_of(run)[0] == 1
    assert [line["step"] for line in read_metrics(run) if "loss/generator" in line] == [1]
