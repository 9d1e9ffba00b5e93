"""What a saved run, which may come from a stranger, makes a resumed run do; and what `resume_strict` refuses."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gan_cli import device
from gan_cli.cli.main import run_command
from gan_cli.data.load_dataset import build_dataset
from gan_cli.data.moved_data import without_untrusted_folders
from gan_cli.distributed.process_group import ProcessGroup
from gan_cli.errors import UsageError
from gan_cli.launch import saved_settings, train_together
from gan_cli.launch.request import Request
from gan_cli.launch.several_processes import let_others_prepare
from gan_cli.runs import log
from gan_cli.runs.trackers import Tracker
from gan_cli.state.checkpoint import Provenance
from gan_cli.storage.checksummed_file import decode_checksummed, encode_checksummed
from support.commands import error_line, write_text
from support.configs import TINY_IMAGES, compose, dataset_section, without
from support.errors import refused
from support.runs import last_checkpoint

CPU = torch.device("cpu")


@pytest.fixture
def run(trained: Callable[..., Path]) -> Path:
    return trained(*TINY_IMAGES, "steps=1", "name=theirs")


def forge(run: Path, section: str, **values: Any) -> None:
    """Writes the run's checkpoint anew, with other values in a section of its metadata."""
    path = run / "checkpoints/last.safetensors"
    tensors, metadata, _ = decode_checksummed(path.read_bytes())
    del metadata["sha256"]
    metadata[section] |= values
    for each in path.parent.glob("*.safetensors"):
        each.unlink()
        each.write_bytes(encode_checksummed(tensors, metadata))


def provenance(**changed: Any) -> Provenance:
    now = {**device.numeric_environment(CPU), **changed}
    return Provenance(fingerprint="f", seconds=0.0, budget_start=0.0, **now)


# --- settings of a stranger --------------------------------------------------------------------------------------


def test_threads_of_a_stranger_are_limited(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = torch.get_num_threads()
    monkeypatch.setattr(saved_settings, "count_cores", lambda: 1)
    try:
        forge(run, "provenance", threads=1024)
        capsys.readouterr()
        assert run_command("train", [f"resume={run}", "extra_steps=1"]) == 0
        said = "warning: threads was 1024, is 16 (threads=1024 uses them): results may differ in their last bits"
        assert said in capsys.readouterr().out
        assert last_checkpoint(run).provenance.threads == 16
        saved_settings.use_saved_threads(300, 300)
        assert torch.get_num_threads() == 300
    finally:
        torch.set_num_threads(before)


def test_threads_that_a_file_of_the_command_sets_are_not_limited(
    train: Callable[..., Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By `resume=auto`, whose command is that of the start."""
    before = torch.get_num_threads()
    monkeypatch.setattr(saved_settings, "MOST_THREADS", 1)
    monkeypatch.setattr(saved_settings, "count_cores", lambda: 0)
    write_text(Path("configs/experiment/three.yaml"), "# @package _global_\nthreads: 3\n")
    command = [*without(TINY_IMAGES, "threads"), "experiment=three", "name=run", "resume=auto"]
    try:
        train(*command, "steps=1")
        run = train(*command, "steps=2")
        assert "results may differ" not in capsys.readouterr().out
        assert last_checkpoint(run).provenance.threads == 3
    finally:
        torch.set_num_threads(before)


def test_a_tracker_that_sends_data_is_typed_again(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []

    class Fake(Tracker):
        def __init__(self, *given: Any) -> None:
            opened.append(given[0].run_name)

    monkeypatch.setattr(log, "OPENERS", dict.fromkeys(("wandb", "mlflow", "csv"), Fake))
    monkeypatch.setattr(device, "require_extra", lambda *names: None)
    forge(run, "config", logger=["csv", "wandb"], output="/elsewhere")
    capsys.readouterr()
    assert run_command("train", [f"resume={run}", "extra_steps=1"]) == 0
    said = capsys.readouterr().out
    assert said.count("warning: logger=wandb of the run is not used") == 1
    assert "type logger=[csv,wandb] to use it" in said
    assert len(opened) == 1
    config = last_checkpoint(run).config
    assert (config.logger, config.output) == (("csv",), "outputs")
    assert run_command("train", [f"resume={run}", "extra_steps=1", "logger=[csv,wandb]"]) == 0
    assert "is not used" not in capsys.readouterr().out
    assert len(opened) == 3


def test_a_stranger_chooses_no_folder_to_write_to(here: Path) -> None:
    (here / "mine").mkdir()
    mnist, folder = compose("dataset=mnist").dataset, compose("dataset=folder", "dataset.path=x").dataset
    elsewhere = str(here.parent / "elsewhere")
    forged = dataclasses.replace(mnist, root=elsewhere)
    assert without_untrusted_folders(mnist, ()) == mnist
    assert not without_untrusted_folders(forged, ()).download
    assert without_untrusted_folders(forged, ("data",)).download
    for cache, kept in (("none", "none"), ("mine", "mine"), (elsewhere, "none"), (str(here.parent), str(here.parent))):
        forged = dataclasses.replace(folder, cache=cache)
        assert without_untrusted_folders(forged, ("dataset.path",)).cache == kept
        assert without_untrusted_folders(forged, ("dataset.cache",)).cache == cache
    ring = dataset_section("ring")
    assert without_untrusted_folders(ring, ()) == ring


# --- resume_strict -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", device.numeric_environment(CPU))
def test_each_difference_is_told_and_refused_if_strict(key: str) -> None:
    now = device.numeric_environment(CPU)
    saved = provenance(**{key: 2 if key == "threads" else "another"})
    changes = saved_settings.environment_changes(saved, now, strict=False)
    remedy = " (threads=2 uses them)" if key == "threads" else ""
    assert changes == [f"{key} was {getattr(saved, key)}, is {now[key]}{remedy}"]
    refused(
        lambda: saved_settings.environment_changes(saved, now, strict=True), f"resume_strict=true: {changes[0]}; leave"
    )
    assert saved_settings.environment_changes(provenance(), now, strict=True) == []


def test_an_older_checkpoint_does_not_say_everything() -> None:
    now, old = device.numeric_environment(CPU), provenance(python=None, cpu=None, flags=None)
    assert saved_settings.environment_changes(old, now, strict=False) == []
    refused(lambda: saved_settings.environment_changes(old, now, strict=True), "does not say its python, cpu, flags")


def test_settings_of_torch_are_part_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*device.FLAGS, *device.CUDA_FLAGS):
        monkeypatch.delenv(name, raising=False)
    assert device.describe_flags(CPU) == "none"
    monkeypatch.setenv("MKL_CBWR", "AVX2")
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "high")
    assert device.describe_flags(CPU) == "MKL_CBWR=AVX2 matmul=high"


def test_a_strict_resume(run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    strict = [f"resume={run}", "extra_steps=1", "resume_strict=true"]
    assert run_command("train", strict) == 0
    assert not last_checkpoint(run).config.resume_strict
    monkeypatch.setattr(device.platform, "python_version", lambda: "3.99")
    before = sorted((path, path.stat().st_mtime_ns) for path in run.rglob("*") if path.name != ".lock")
    line = error_line(capsys, "train", *strict)
    assert line.startswith("gan-train: resume_strict=true: python was 3.")
    assert "is 3.99; leave resume_strict out to continue nevertheless" in line
    assert sorted((path, path.stat().st_mtime_ns) for path in run.rglob("*") if path.name != ".lock") == before
    assert run_command("train", strict[:2]) == 0
    assert "is 3.99: results may differ in their last bits" in capsys.readouterr().out
    assert json.loads((run / "config.json").read_text())["config"]["resume_strict"] is False
    assert "needs resume=" in error_line(capsys, "train", *TINY_IMAGES, "resume_strict=true")
    assert run_command("train", ["explain=resume_strict"]) == 0
    assert "with resume" in capsys.readouterr().out


def test_another_process_downloads_what_was_named_in_process_0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may lack the run's folder, and then leaves the keys of the data out of its own command."""
    small = build_dataset(compose(*TINY_IMAGES).dataset, 8)
    config = compose("dataset=webdataset", "dataset.path=https://example.org/a.tar", "image_size=8", "threads=1")
    opened: list[str] = []
    monkeypatch.setattr(train_together, "build_dataset", lambda section, _: opened.append(section.path) or small)
    sent: list[Any] = []

    class Group(ProcessGroup):
        rank, count, device = 0, 2, torch.device("cpu")

        def send_text(self, command: int, content: Any) -> None:
            sent.append(json.loads(json.dumps(content)))

    for named in (("resume", "dataset.path"), ("resume",)):
        request = Request(dataclasses.replace(config, resume="run"), named=named, group=Group())
        let_others_prepare(request, small)
    follower = dataclasses.replace(request, named=("resume",))
    train_together._prepare(sent[0], follower, Group())
    assert opened == ["https://example.org/a.tar"]
    with pytest.raises(UsageError, match="are downloaded"):
        train_together._prepare(sent[1], follower, Group())
