"""Shards that are downloaded when they are needed, from a server on this machine."""

from __future__ import annotations

import dataclasses
import os
import shlex
import time
from pathlib import Path

import pytest
import torch

from gan_cli.cli.main import run_command
from gan_cli.config.train_config import to_dict
from gan_cli.data import moved_data
from gan_cli.data.dataset import Batches, Dataset
from gan_cli.data.moved_data import absolute_paths, without_untrusted_folders
from gan_cli.data.shards.download_shards import NEVER, SUFFIX, ShardDownloads
from gan_cli.data.shards.shard_files import ShardsAhead
from gan_cli.data.streamed_images import stop_decoding
from gan_cli.errors import StorageError, UsageError
from gan_cli.evaluation.checkpoint_evaluation import data_of_checkpoint
from gan_cli.evaluation.metrics import feature_extractors
from gan_cli.evaluation.metrics.feature_extractors import SampleSubset, build_random_extractor
from gan_cli.launch import saved_settings
from gan_cli.launch.request import Request
from gan_cli.launch.saved_settings import resume_command
from gan_cli.reports import run_page
from gan_cli.storage.run_record import RunRecord
from gan_cli.sweeps.jobs import _request_to_resume
from gan_cli.sweeps.outcomes import Job
from support.configs import TINY_IMAGES, compose, dataset_section, without
from support.errors import refused
from support.runs import last_checkpoint
from support.shard_server import COUNTS, Server, emptied, reading_threads, wait_for
from support.shards import load_shards, number_of, write_numbered
from support.training import stop_after


def load(server: Server, cache: Path, **options: object):
    return load_shards(f"{server.address}/train-{{0000..0003}}.tar", cache=str(cache), **options)


def test_downloaded_shards_give_the_same_batches_as_local_ones(server: Server, tmp_path: Path) -> None:
    found, local = load(server, tmp_path / "cache", buffer=15), load_shards(tmp_path / "served", buffer=15)
    assert found.fingerprint == local.fingerprint
    assert [number_of(image) for image in found.samples] == list(range(40))
    assert found.order is not None
    assert local.order is not None
    assert torch.equal(found.order.rows(0, 0, 100), local.order.rows(0, 0, 100))
    assert len(server.requests) == 4
    load(server, tmp_path / "cache")
    assert len(server.requests) == 4  # nothing is downloaded twice


def test_the_folder_of_downloads_stays_below_its_size(server: Server, tmp_path: Path) -> None:
    size = (tmp_path / "served/train-0000.tar").stat().st_size
    found = load(server, tmp_path / "cache", buffer=10, cache_size=2.5 * size / 1e9)
    kept = [path.stat().st_size for path in (tmp_path / "cache").glob(f"*{SUFFIX}")]
    assert len(kept) == 2
    assert [number_of(found.samples[row]) for row in (0, 39, 11, 0, 25)] == [0, 39, 11, 0, 25]
    assert len(list((tmp_path / "cache").glob(f"*{SUFFIX}"))) == 2
    refused(
        lambda: load(server, tmp_path / "cache", cache_size=2.5 * size / 1e9), "dataset.buffer=100000", "cache_size"
    )
    with pytest.raises(StorageError, match=r"more than dataset.cache_size"):
        load(server, tmp_path / "other", buffer=10, cache_size=0.5 * size / 1e9)


@pytest.mark.parametrize("fault", ["busy"])
def test_a_download_is_tried_again(server: Server, tmp_path: Path, fault: str) -> None:
    server.faults["train-0002.tar"] = fault
    assert len(load(server, tmp_path / "cache")) == 40
    assert server.requests.count("train-0002.tar") == 2


@pytest.mark.parametrize(("fault", "tries"), [("gone", 1), ("cut off", 3)])
def test_a_download_that_fails_leaves_nothing(server: Server, tmp_path: Path, fault: str, tries: int) -> None:
    server.faults["train-0001.tar"] = fault
    with pytest.raises(StorageError, match=r"train-0001.tar: cannot be downloaded") as caught:
        load(server, tmp_path / "cache")
    assert "\n" not in str(caught.value)
    assert server.address in str(caught.value)
    assert ("HTTP status 404: " in str(caught.value)) == (fault == "gone")
    assert server.requests.count("train-0001.tar") == tries
    assert len(list((tmp_path / "cache").glob(f"*{SUFFIX}"))) == 1
    server.faults.clear()
    assert len(load(server, tmp_path / "cache")) == 40


def test_a_damaged_download_is_not_kept(server: Server, tmp_path: Path) -> None:
    """The file at its address was cut off, and is whole later."""
    path = tmp_path / "served/train-0001.tar"
    content = path.read_bytes()
    path.write_bytes(content[:3000])
    with pytest.raises(UsageError, match="is truncated, get it again"):
        load(server, tmp_path / "cache")
    path.write_bytes(content)
    assert len(load(server, tmp_path / "cache")) == sum(COUNTS)


def test_a_shard_that_is_another_one_when_it_is_downloaded_again(server: Server, tmp_path: Path) -> None:
    size = (tmp_path / "served/train-0000.tar").stat().st_size
    found = load(server, tmp_path / "cache", buffer=10, cache_size=1.5 * size / 1e9)
    write_numbered(tmp_path / "served", 9, 9, 9, 9)
    with pytest.raises(StorageError, match="is not the file that was read before"):
        found.samples[torch.tensor([0])]


def test_addresses_of_a_strangers_run_are_not_read(server: Server) -> None:
    section = dataset_section("webdataset", path=f"{server.address}/train-0000.tar")
    refused(lambda: without_untrusted_folders(section, ()), "are downloaded", "data=...")
    assert without_untrusted_folders(section, ("data",)).path == section.path
    local = dataset_section("webdataset", path="x.tar", test_path=f"{server.address}/train-0000.tar")
    assert without_untrusted_folders(local, ()).test_path is None
    refused(lambda: without_untrusted_folders(dataset_section("huggingface", path="a/b"), ()), "data=...")


def test_a_run_on_addresses_is_resumed_if_the_command_names_them(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    address = f"{server.address}/train-{{0000..0003}}.tar"
    data = ["dataset=webdataset", f"dataset.path={address}", f"dataset.cache={tmp_path}/cache"]
    command = [*without(TINY_IMAGES, "dataset"), *data, "dataset.buffer=10", f"output={tmp_path}/runs", "name=a"]
    assert run_command("train", [*command, "steps=1"]) == 0
    (run,) = (tmp_path / "runs/a").iterdir()
    assert run_command("train", [f"resume={run}", "extra_steps=1"]) == 2
    assert "are downloaded" in capsys.readouterr().err
    assert run_command("train", [f"resume={run}", "extra_steps=1", f"data={address}"]) == 0
    assert last_checkpoint(run).counters.step == 2
    assert run_command("train", ["dataset=webdataset", "dataset.path=https://x.org/a.zip"]) == 2
    assert "URLs are not read" in capsys.readouterr().err


def test_a_stopped_run_names_a_command_that_resumes_it(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So does its sweep, whose job names the addresses. The folder of the cache is elsewhere, and of another user."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(moved_data, "_is_own_folder", lambda path: False)
    address = f"{server.address}/train-{{0000..0001}}.tar"
    held_out = f"dataset.test_path={server.address}/train-{{0002..0003}}.tar"
    data = ["dataset=webdataset", f"dataset.path={address}", held_out, f"dataset.cache={tmp_path}/cache"]
    with pytest.MonkeyPatch.context() as patch:
        stop_after(4, patch)
        code = run_command("train", [*without(TINY_IMAGES, "dataset"), *data, "name=a", "steps=9"])
    assert code == 130
    (run,) = Path("outputs/a").iterdir()
    command = shlex.split(capsys.readouterr().out.partition("to resume: gan-train ")[2].splitlines()[0])
    job = Job(config={}, overrides=["steps=9", *data])
    assert run_command("train", [*command, "steps=3"]) == 0
    assert last_checkpoint(run).config.dataset.test_path == held_out.partition("=")[2]
    assert run_command("train", [*_request_to_resume(job, run)["arguments"], "extra_steps=1"]) == 0
    assert last_checkpoint(run).counters.step == 4


def test_a_run_that_is_done_names_commands_that_work(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that add steps, evaluate it, or change a setting of it."""
    monkeypatch.chdir(tmp_path)
    address = f"{server.address}/train-{{0000..0001}}.tar"
    data = ["dataset=webdataset", f"dataset.path={address}", "dataset.cache=cache"]
    command = [*without(TINY_IMAGES, "dataset"), *data, "name=a run", "steps=1"]
    assert run_command("train", command) == 0
    (run,) = Path("outputs/a run").iterdir()
    words = shlex.split(capsys.readouterr().out.partition("evaluate: gan-eval ")[2].splitlines()[0])
    assert words == [f"ckpt={run}", f"data={address}"]
    assert len(data_of_checkpoint(last_checkpoint(run), words[1].partition("=")[2])[0]) == 20
    assert run_command("train", [f"resume={run}"]) == 0
    words = shlex.split(capsys.readouterr().out.partition("; add some by gan-train ")[2])
    assert words.pop() == "extra_steps=..."
    assert run_command("train", [*words, "extra_steps=1"]) == 0
    assert last_checkpoint(run).counters.step == 2
    capsys.readouterr()
    assert run_command("train", [*without(command, "batch_size"), "batch_size=4", "resume=auto"]) == 2
    error = capsys.readouterr().err
    words = shlex.split(error.partition("; or change them in that run: ")[2])
    assert words == [f"resume={run}", f"dataset.path={address}", "batch_size=4"], error
    assert run_command("train", [*words, "extra_steps=1"]) == 0
    assert last_checkpoint(run).config.batch_size == 4


def test_the_page_of_a_run_names_its_downloaded_data(tmp_path: Path) -> None:
    for path, named in (("owner/name", " dataset.path=owner/name"), (str(tmp_path), "")):
        config = to_dict(compose("dataset=huggingface", f"dataset.path={path}"))
        rows = {row.name: row.value for row in run_page._commands(Path("run"), RunRecord(config=config))}
        assert rows["Resume"] == f"gan-train resume=run{named} extra_steps=1000"


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (
            ("dataset=webdataset", "dataset.path=[https://x.org/a.tar,b c.tar]"),
            ["dataset.path=[https://x.org/a.tar,b c.tar]"],
        ),
        (("dataset=huggingface", "dataset.path=owner/name"), ["dataset.path=owner/name"]),
        (("dataset=webdataset", "dataset.path=here.tar"), []),
        (("dataset=fashion_mnist", "dataset.root=x"), []),
        (("dataset=fashion_mnist", "dataset.root=/elsewhere"), ["dataset.root=/elsewhere"]),
        (("dataset=fashion_mnist", "dataset.root=/elsewhere", "dataset.download=false"), []),
        (("dataset=folder", "dataset.path=x", "dataset.cache=/else where"), ["dataset.cache=/else where"]),
        (("dataset=folder", "dataset.path=x", "dataset.cache=x"), []),
        (("dataset=folder", "dataset.path=x", "dataset.cache=none"), []),
        (("dataset=folder", "dataset.path=x"), []),
        (("logger=[csv,wandb]",), ["logger=[csv,wandb]"]),
        (("logger=[csv]", "output=/elsewhere", "device=cpu"), []),
        (("threads=1000",), ["threads=1000"]),
        (("threads=2",), []),
    ],
)
def test_what_a_command_that_resumes_names(
    data: tuple[str, ...], named: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved_settings, "count_cores", lambda: 8)
    config = compose(*data)
    words = shlex.split(resume_command(config, Path("a run"), Request(config)))
    assert words == ["gan-train", "resume=a run", *named]


def test_a_command_that_resumes_names_nothing_that_the_user_did_not_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for addresses, without which the command would end."""
    monkeypatch.setattr(saved_settings, "count_cores", lambda: 8)
    config = compose(
        "dataset=webdataset",
        "dataset.path=https://x.org/a.tar",
        "dataset.test_path=https://x.org/b.tar",
        "dataset.cache=/elsewhere",
        "logger=[csv,wandb]",
        "threads=1000",
    )
    resumed = dataclasses.replace(compose(), resume="run")
    for named, more in (((), []), (("dataset.cache", "threads"), ["dataset.cache=/elsewhere", "threads=1000"])):
        words = shlex.split(resume_command(config, Path("run"), Request(resumed, named=named)))
        assert words == ["gan-train", "resume=run", "dataset.path=https://x.org/a.tar", *more]


def test_a_name_on_the_hub_is_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    assert absolute_paths("owner/name", "huggingface") == "owner/name"
    assert absolute_paths("here", "huggingface") == str(tmp_path / "here")
    assert absolute_paths("owner/name", "folder") == str(tmp_path / "owner/name")


def test_downloads_need_a_folder(server: Server) -> None:
    refused(lambda: load_shards(f"{server.address}/train-0000.tar"), "dataset.cache=none")


def test_the_next_window_is_downloaded_while_one_is_read(server: Server, tmp_path: Path) -> None:
    """At the first batch, whose window has 10 samples, none of which is in the next shard."""
    found, local = load(server, tmp_path / "cache", buffer=10), load_shards(tmp_path / "served", buffer=10)
    batches = emptied(found, tmp_path / "cache")
    server.requests.clear()
    same = Batches(local, seed=0, batch_size=2, device=torch.device("cpu"))
    assert torch.equal(batches.draw(0).samples, same.draw(0).samples)
    assert found.order is not None
    windows = [found.order.shards_at(0, position).item() for position in (0, 10)]
    assert wait_for(lambda: {*server.requests} == {f"train-{shard:04d}.tar" for shard in windows})
    for update in (*range(1, 45), 7):  # two epochs, and back
        assert torch.equal(batches.draw(update).samples, same.draw(update).samples)
    assert sorted(server.requests) == [f"train-{shard:04d}.tar" for shard in range(4)]  # each once, as all stay open


def test_a_folder_too_small_for_two_windows_gets_only_what_is_read(server: Server, tmp_path: Path) -> None:
    size = (tmp_path / "served/train-0000.tar").stat().st_size
    assert load(server, tmp_path / "cache", buffer=10, cache_size=1.9 * size / 1e9).fetch_shards is None
    assert load(server, tmp_path / "cache", buffer=10, cache_size=2.1 * size / 1e9).fetch_shards is not None
    assert load_shards(tmp_path / "served", buffer=10).fetch_shards is None


def test_a_download_ahead_that_fails_is_told_by_whoever_reads_it(server: Server, tmp_path: Path) -> None:
    found = load(server, tmp_path / "cache", buffer=10)
    assert found.order is not None
    first, second = (found.order.shards_at(0, position).item() for position in (0, 10))
    batches = emptied(found, tmp_path / "cache")
    server.requests.clear()
    server.faults[f"train-{second:04d}.tar"] = "gone"
    batches.draw(0)
    assert wait_for(lambda: f"train-{second:04d}.tar" in server.requests)
    with pytest.raises(StorageError, match="HTTP status 404"):
        batches.draw(5)
    server.faults.clear()
    batches.draw(6)
    assert first != second


def test_balance_needs_all_shards_at_once(server: Server, tmp_path: Path) -> None:
    size = (tmp_path / "served/train-0000.tar").stat().st_size
    small = {"buffer": 10, "balance": True, "cache_size": 3.5 * size / 1e9}
    refused(lambda: load(server, tmp_path / "cache", **small), "dataset.balance=true", "all shards at once")
    assert len(load(server, tmp_path / "cache", **small | {"cache_size": 4.5 * size / 1e9})) == 40
    assert len(load(server, tmp_path / "cache", **small | {"balance": False})) == 40
    assert len(load_shards(tmp_path / "served", buffer=10, balance=True, cache_size=1e-9)) == 40


def test_downloads_end_with_the_run(server: Server, tmp_path: Path) -> None:
    """Of batches that are decoded ahead, and of the next window: those that come byte by byte."""
    earlier = reading_threads()
    found = load(server, tmp_path / "cache", buffer=10)
    assert found.order is not None
    second = f"train-{found.order.shards_at(0, 10).item():04d}.tar"
    batches = emptied(found, tmp_path / "cache")
    server.requests.clear()
    server.faults[second] = "slow"
    first = batches.draw(2).samples  # the batches ahead are of the second window, too
    assert wait_for(lambda: second in server.requests)
    stop_decoding(found.samples)
    ended = wait_for(lambda: reading_threads() <= earlier)
    kept = len(list((tmp_path / "cache").glob("*.shard*")))
    server.faults.clear()  # else the server would go on to write
    assert ended
    assert kept == len(COUNTS) + 1  # the indexes, and the first shard
    assert torch.equal(batches.draw(2).samples, first)
    batches.draw(6)
    stop_decoding(found.samples)


def open_downloads(found: Dataset) -> int:
    """The bytes of downloads that this process has open, in the folder or removed from it."""
    files = found.samples.decoder.source._files  # type: ignore[attr-defined]
    return sum(os.fstat(file.descriptor).st_size for file in files._open.values())


def test_removed_downloads_take_no_space(server: Server, tmp_path: Path) -> None:
    size = (tmp_path / "served/train-0000.tar").stat().st_size
    found = load(server, tmp_path / "cache", buffer=10, cache_size=2.5 * size / 1e9)
    for row in range(0, 40, 5):
        assert number_of(found.samples[row]) == row
        assert open_downloads(found) <= 2.5 * size
    server.requests.clear()
    for row in (20, 0, 20, 30, 20, 10, 20):
        time.sleep(0.02)  # the clock of files is coarse
        assert number_of(found.samples[row]) == row
    assert "train-0002.tar" not in server.requests  # it is the one used last, each time another is removed
    files = found.samples.decoder.source._files  # type: ignore[attr-defined]
    server.requests.clear()
    ShardsAhead(files).fetch([2], NEVER)
    assert wait_for(lambda: not any(each.name == "shards ahead" for each in reading_threads()))
    assert server.requests == []


def test_a_download_that_is_removed_before_it_is_open_is_made_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, removed = load(server, tmp_path / "cache"), []
    fetch = ShardDownloads.fetch

    def fetch_and_remove(self: ShardDownloads, *arguments: object) -> Path:
        path = fetch(self, *arguments)  # type: ignore[arg-type]
        if not removed:
            removed.append(path.unlink())
        return path

    monkeypatch.setattr(ShardDownloads, "fetch", fetch_and_remove)
    assert number_of(found.samples[0]) == 0
    assert removed


def test_samples_in_random_order_are_read_shard_by_shard(server: Server, tmp_path: Path) -> None:
    """With one shard in the folder at a time. The features are those of data in memory, to the bit."""
    size = (tmp_path / "served/train-0000.tar").stat().st_size
    found = load(server, tmp_path / "cache", buffer=10, cache_size=1.5 * size / 1e9)
    local = load_shards(tmp_path / "served")
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    extractor = build_random_extractor(3)
    expected = extractor.extract(local.samples[order]).features
    server.requests.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feature_extractors, "BATCH_SIZE", 10)
        assert torch.equal(extractor.extract(SampleSubset((found.samples,), order)).features, expected)
    assert len(server.requests) <= 4
    half = SampleSubset((local.samples, found.samples), torch.cat([order, 40 + order])[torch.randperm(80)])
    images = torch.cat([local.samples[:], local.samples[:]])
    assert torch.equal(half[:50], images[half.index[:50]])
    assert torch.equal(extractor.extract(half).features, extractor.extract(images[half.index]).features)
