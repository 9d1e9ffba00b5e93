"""A sweep on data too few to compare samples with: unranked with a line, or refused before its first job."""

from __future__ import annotations

from pathlib import Path

import pytest

from gan_cli.cli.main import run_command
from support.images import write_class_folders
from support.sweeps import FakeJobs

SWEEP = ["-m", "dataset=folder", "dataset.path=tiny", "dataset.cache=none", "seed=1,2", "steps=3", "batch_size=4"]


def test_it_runs_unranked_with_one_line(fake_jobs: FakeJobs, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_class_folders(here, tiny=15)
    fake_jobs.metric = "loss/generator"
    assert run_command("train", SWEEP) == 0
    said = capsys.readouterr().out
    assert said.count("not ranked: 15 samples are too few to compare with, at least 20") == 1
    assert "also set" not in said
    assert [any("evaluation" in word for word in request["arguments"]) for request in fake_jobs.requests] == [
        False,
        False,
    ]


def test_metrics_that_were_named_are_refused_before_the_first_job(
    fake_jobs: FakeJobs, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_class_folders(here, tiny=15)
    assert run_command("train", [*SWEEP, "evaluation.metrics=[kernel]"]) == 2
    error = capsys.readouterr().err
    assert "evaluation.metrics=[kernel]: 15 samples are too few to compare with, at least 20" in error
    assert "evaluation.metrics=[] trains without" in error
    assert run_command("train", [*SWEEP, "evaluation.best=frechet"]) == 2
    error = capsys.readouterr().err
    assert "evaluation.best=frechet: 15 samples are too few to compare with, at least 20; without it the runs" in error
    assert not fake_jobs.requests
    assert not (here / "outputs").exists()


@pytest.mark.parametrize("folders", [{"twenty": 20}, {"cut/train": 12, "cut/test": 10}])
def test_enough_samples_are_ranked(
    fake_jobs: FakeJobs, here: Path, capsys: pytest.CaptureFixture[str], folders: dict[str, int]
) -> None:
    for name, count in folders.items():
        write_class_folders((here / name).parent, **{Path(name).name: count})
    place = next(iter(folders)).partition("/")[0]
    command = [word.replace("tiny", place) for word in SWEEP]
    assert run_command("train", [*command, "dataset.limit=5"]) == 0
    assert "also set: evaluation.metrics=[frechet]" in capsys.readouterr().out
