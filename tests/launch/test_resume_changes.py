"""What a run may change when it goes on: settings, where its data are, other data; each is said and recorded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gan_cli.data.dataset import batch_indices
from gan_cli.launch.resume_changes import changed_keys
from support.commands import error_line
from support.configs import TINY_IMAGES, compose, without
from support.images import write_class_folders
from support.runs import assert_equal_runs, last_checkpoint, logged_metrics
from support.tasks import RUNS, TINY
from support.training import stop_after

FLAT = ["dataset=folder", "dataset.cache=none", "recipe=none", "training.lr_schedule=constant"]
OWN = [*without(TINY_IMAGES, "dataset"), *FLAT]


def record_of(run: Path) -> dict:
    return json.loads((run / "config.json").read_text())


@pytest.fixture
def short(trained: Callable[..., Path]) -> Path:
    return trained(*TINY_IMAGES, "training.lr_schedule=constant", "steps=3", "name=short")


@pytest.fixture
def own(train: Callable[..., Path], here: Path) -> Path:
    write_class_folders(here, pets=10)
    return train(*OWN, "dataset.path=pets", "steps=2", "name=own")


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    return error_line(capsys, "train", *arguments)


# --- settings ----------------------------------------------------------------------------------------------------


def test_batch_size_rate_and_parts_change_and_are_recorded(
    train: Callable[..., Path], short: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(f"resume={short}", "batch_size=4", "optimizer.lr=0.0005", "training.accumulate=2", "extra_steps=2")
    said = capsys.readouterr().out
    assert "changed from step 3 on: batch_size=4 (was 8), " in said
    assert "training.accumulate=2 (was 1)" in said
    config = last_checkpoint(short).config
    assert (config.batch_size, config.training.accumulate) == (4, 2)
    assert (config.optimizer.lr, config.optimizer.generator.lr, config.optimizer.discriminator.lr) == (0.0005,) * 3
    assert logged_metrics(short)[-1]["learning_rate/generator"] == 0.0005
    assert [line["images_seen"] for line in logged_metrics(short)] == [8, 16, 24, 28, 32]
    entry = record_of(short)["resumed"][0]
    assert entry["step"] == 3
    assert entry["changed"]["batch_size"] == {"from": 8, "to": 4}
    assert entry["changed"]["optimizer.generator.lr"]["to"] == 0.0005
    assert record_of(short)["config"]["batch_size"] == 4


def test_a_changed_run_goes_on_bit_for_bit(train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = (train(*TINY_IMAGES, "steps=3", "name=run") for _ in range(2))
    train(f"resume={one}", "batch_size=4", "steps=6")
    with monkeypatch.context() as patch:
        stop_after(3, patch)
        train(f"resume={two}", "batch_size=4", "steps=6", code=130)
    train(f"resume={two}")
    assert_equal_runs(one, two)


def test_a_change_outlives_a_kill(train: Callable[..., Path], short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gan_cli.launch import run_training

    def killed(run: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run_training, "train", killed)
        train(f"resume={short}", "batch_size=4", "extra_steps=2", code=130)
    assert last_checkpoint(short).config.batch_size == 4


def test_the_order_of_samples_goes_on_where_it_was() -> None:
    whole = torch.cat([batch_indices(0, 30, 8, update) for update in range(5)])
    before = torch.cat([batch_indices(0, 30, 8, update) for update in range(3)])
    after = torch.cat([batch_indices(0, 30, 4, update, 3 * (8 - 4)) for update in range(3, 7)])
    assert torch.equal(torch.cat([before, after]), whole)


def test_a_rate_of_its_own_is_not_taken_for_the_common_one(
    train: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(*TINY_IMAGES, "optimizer.discriminator.lr=0.01", "steps=1", "name=two")
    train(f"resume={run}", "optimizer.lr=0.002", "extra_steps=1")
    config = last_checkpoint(run).config
    assert (config.optimizer.generator.lr, config.optimizer.discriminator.lr) == (0.002, 0.01)
    train(f"resume={run}", "optimizer.generator.lr=0.003", "extra_steps=1")
    assert "set optimizer.generator.lr= or" in refused([f"resume={run}", "optimizer.lr=1", "extra_steps=1"], capsys)


def test_threads_may_change(train: Callable[..., Path], short: Path) -> None:
    train(f"resume={short}", "threads=2", "extra_steps=1")
    assert (last_checkpoint(short).config.threads, last_checkpoint(short).provenance.threads) == (2, 2)
    assert record_of(short)["resumed"][0]["changed"] == {"threads": {"from": 1, "to": 2}}
    torch.set_num_threads(1)


def test_what_is_so_already_is_no_change(train: Callable[..., Path], short: Path) -> None:
    train(f"resume={short}", "dataset=shapes", "dataset.size=200", "batch_size=8", "seed=0", "steps=4")
    assert "changed" not in record_of(short)["resumed"][0]
    assert last_checkpoint(short).counters.step == 4


def test_a_refusal_names_what_is_there_and_the_way_out(short: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = refused(["resume=short", "loss=hinge"], capsys)
    where = short.relative_to(Path.cwd())
    assert f"loss: cannot change on resume={where} (non_saturating there), only batch_size, " in error
    assert "steps, threads, training.accumulate and *_every" in error
    assert f"init_from={where} dataset=shapes loss=hinge" in error


def test_a_script_goes_on_with_a_run_that_was_changed(
    train: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    line = [*TINY_IMAGES, "name=nightly", "resume=auto"]
    run = train(*line, "steps=2")
    train(f"resume={run}", "batch_size=4", "steps=3")
    assert train(*line, "steps=4") == run
    assert last_checkpoint(run).config.batch_size == 4
    other = [*without(line, "batch_size"), "batch_size=16", "steps=5"]
    error = refused(other, capsys)
    assert "batch_size=16 (was 4)" in error
    assert f"resume={run.relative_to(Path.cwd())} batch_size=16" in error


def test_a_changed_run_is_not_replayed(train: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    run = train(*TINY_IMAGES, "budget=0.1s", "name=timed")
    train(f"resume={run}", "batch_size=4", "extra_steps=1")
    assert "a replay cannot do that" in refused([*TINY_IMAGES, f"replay={run}"], capsys)


# --- data elsewhere ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["data=moved", "dataset.path=moved", "dataset=folder dataset.path=moved"])
def test_moved_data_are_known_by_their_fingerprint(
    train: Callable[..., Path], own: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    shutil.move("pets", "moved")
    train(f"resume={own}", *how.split(), "extra_steps=1")
    assert "dataset.path=moved (was pets)" in capsys.readouterr().out
    assert last_checkpoint(own).config.dataset.path == "moved"
    train(f"resume={own}", "extra_steps=1")
    assert last_checkpoint(own).counters.step == 4


def test_several_folders_that_were_moved(
    train: Callable[..., Path], here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_class_folders(here, cats=5, dogs=5)
    line = [*OWN, "name=own"]
    run = train(*line, "dataset.path=[cats,dogs]", "steps=1")
    error = refused([f"resume={run}", "seed=3"], capsys)
    assert f"init_from={run} dataset=folder 'dataset.path=[cats,dogs]' seed=3" in error
    assert train(*line, f"dataset.path=[./cats,{here}/dogs]", "steps=2", "resume=auto") == run
    for words in ([f"resume={run}", "extra_steps=1"], [*line, "steps=3", "resume=auto"]):
        error = refused([*words, "dataset.path=[dogs,cats]"], capsys)
        assert "; dataset.path names its folders in another order, it was [" in error
    (here / "new").mkdir()
    for name in ("cats", "dogs"):
        shutil.move(name, here / "new" / name)
    train(f"resume={run}", "dataset.path=[new/cats,new/dogs]", "extra_steps=1")
    assert "dataset.path=[new/cats,new/dogs] (was [./cats," in capsys.readouterr().out
    monkeypatch.chdir(here / "new")
    train(f"resume={run.absolute()}", "data=[cats,dogs]", "extra_steps=1")
    assert last_checkpoint(run).config.dataset.path == (f"{here}/new/cats", f"{here}/new/dogs")


def test_a_run_whose_data_are_gone_names_the_way_on(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.move("pets", "moved")
    error = refused([f"resume={own}", "extra_steps=1"], capsys)
    assert "dataset.path=pets: not found" in error
    assert error.rstrip().endswith(f"; if the data of {own} were moved, data=... says where to")
    assert "were moved" not in refused([f"resume={own}", "data=mvoed", "extra_steps=1"], capsys)


def test_moved_data_that_are_other_ones_are_refused(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_class_folders(Path(), others=11)
    error = refused([f"resume={own}", "data=others", "extra_steps=1"], capsys)
    assert "the data are not those of the run (11 images" in error
    assert "it had 10); put them back, continue with these by on_changed_data=go_on" in error


def test_a_script_finds_a_run_whose_data_were_moved(train: Callable[..., Path], own: Path) -> None:
    shutil.move("pets", "moved")
    assert train(*OWN, "dataset.path=moved", "steps=3", "name=own", "resume=auto") == own
    assert last_checkpoint(own).config.dataset.path == "moved"


def test_messages_know_the_run_s_data_set(own: Path, short: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = refused([f"resume={short}", "dataset.path=pets", "extra_steps=1"], capsys)
    assert "dataset.path: dataset=shapes has " in error
    assert "image_channels" in error
    assert "root" not in error
    assert "dataset=shapes is synthetic" in refused([f"resume={short}", "data=pets", "extra_steps=1"], capsys)
    error = refused([f"resume={own}", "dataset=cifar10"], capsys)
    assert "dataset: cannot change on resume=" in error
    assert "(folder there)" in error
    assert f"init_from={own} dataset=folder dataset.path=pets seed=3" in refused([f"resume={own}", "seed=3"], capsys)


def test_data_are_of_a_run_that_goes_on(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "dataset=folder dataset.path=" in refused([*TINY_IMAGES, "data=pets"], capsys)


# --- other data --------------------------------------------------------------------------------------------------


def test_an_added_picture_is_refused_with_each_way_out(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_class_folders(Path(), pets=11)
    error = refused([f"resume={own}", "extra_steps=1"], capsys)
    assert "it had 10); put them back, continue with these by on_changed_data=go_on, or begin a new run" in error
    assert f"init_from={own}" in error


def test_an_added_picture_can_be_learned_too(
    train: Callable[..., Path], own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_class_folders(Path(), pets=11)
    train(f"resume={own}", "extra_steps=1", "on_changed_data=go_on")
    said = capsys.readouterr().out
    assert "WARNING: the data have changed since step 2" in said
    assert "10 samples before, 11 now" in said
    record = record_of(own)
    assert record["data"]["samples"] == 11
    assert record["resumed"][0]["changed"]["data"]["from"]["samples"] == 10
    train(f"resume={own}", "extra_steps=1")  # they are the run's from now on
    assert last_checkpoint(own).provenance.fingerprint == record["data"]["fingerprint"]
    next(iter(Path("pets").iterdir())).unlink()
    assert "it had 11); put them back" in refused([f"resume={own}", "extra_steps=1"], capsys)  # not agreed to for good


def test_a_script_goes_on_when_pictures_are_added_and_stops_when_some_are_gone(
    train: Callable[..., Path], own: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = [*OWN, "dataset.path=pets", "name=own", "resume=auto"]
    write_class_folders(here, pets=11)
    assert train(*line, "steps=3") == own
    assert "10 samples before, 11 now" in capsys.readouterr().out
    next(iter((here / "pets").iterdir())).unlink()
    assert "it had 11)" in refused([*line, "steps=4"], capsys)
    assert train(*line, "steps=4", "on_changed_data=go_on") == own
    write_class_folders(here, pets=12)
    assert "it had 10)" in refused([*line, "steps=5", "on_changed_data=stop"], capsys)


def test_new_classes_need_a_new_run(train: Callable[..., Path], here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_class_folders(here / "kinds", cat=6, dog=6)
    run = train(*OWN, "dataset.path=kinds", "conditioning=projection", "steps=1", "name=kinds")
    write_class_folders(here / "kinds", fox=6)
    error = refused([f"resume={run}", "extra_steps=1", "on_changed_data=go_on"], capsys)
    assert "its classes were different, now [cat,dog,fox]" in error
    assert f"init_from={run}" in error


def test_a_run_is_a_start_by_its_name_too(train: Callable[..., Path], short: Path) -> None:
    data = without(TINY_IMAGES, "architecture", "image_size")
    run = train(*data, "init_from=short", "steps=1", "name=new")
    assert f"weights: from {short.relative_to(Path.cwd())}" in (run / "train.log").read_text()


def test_a_path_that_is_spelled_otherwise_is_no_change(tmp_path: Path) -> None:
    before = {"dataset": {"path": "pets"}, "batch_size": 4}
    now = {"dataset": {"path": str(Path("pets").resolve())}, "batch_size": 8}
    assert changed_keys(before, now) == {"batch_size": {"from": 4, "to": 8}}
    assert "dataset.path" in changed_keys(before, {"dataset": {"path": str(tmp_path)}, "batch_size": 4})


@pytest.mark.parametrize("change", ["task.mask=[half]", "auxiliary.l1.weight=3"])
def test_a_run_that_is_given_images_is_advised_with_its_task(
    change: str, train: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(*RUNS["inpainting"], *TINY, "name=painter")
    error = refused([f"resume={run}", change], capsys)
    advice = f"init_from={run} dataset=shapes task=inpainting {change}"
    assert error.endswith(f"; a new run with its weights may: {advice}\n")
    compose(*TINY, "task=inpainting", change, "architecture.generator.levels=2")  # is accepted


@pytest.mark.parametrize("change", ["task=inpainting", "architecture=mlp", "architecture.generator.latent_dim=7"])
def test_weights_of_other_networks_are_not_advised(
    change: str, short: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = refused([f"resume={short}", change], capsys)
    assert error.endswith("; other networks start from scratch: leave resume out\n")
