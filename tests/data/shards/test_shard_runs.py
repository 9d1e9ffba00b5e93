"""Runs on shards: equal to runs on the same images in memory, resumed to the bit, in memory that does not grow."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gan_cli.cli.main import run_command
from gan_cli.data.dataset import Batches
from gan_cli.data.moved_data import absolute_paths, resolve_data_paths
from gan_cli.distributed.batch_share import Share, sharing
from gan_cli.tasks.condition import labels_of
from support.configs import TINY_IMAGES, dataset_section, without
from support.runs import assert_equal_runs, last_checkpoint
from support.shards import encoded, load_shards, numbered_image, write_numbered, write_shard

SHORT = (*without(TINY_IMAGES, "dataset"), "deterministic=true", "recipe=none", "training.lr_schedule=constant")


def train(folder: Path, name: str, *overrides: str) -> Path:
    named = [override.partition("=")[0] + "=" for override in overrides]
    arguments = [*without(SHORT, *named), f"output={folder}", f"name={name}", *overrides]
    assert run_command("train", arguments) == 0
    return next((folder / name).iterdir())


def shards(folder: Path, *options: str) -> list[str]:
    return ["dataset=webdataset", f"dataset.path={folder}", "dataset.cache=none", *options]


def test_a_run_equals_that_on_the_same_images_in_memory(tmp_path: Path) -> None:
    """With a buffer that holds all, on two epochs and a conditional run."""
    for number in range(48):
        content, name = encoded(numbered_image(number)), f"{number:02d}"
        write_shard(tmp_path / f"shards/{name}.tar", [("x.png", content), ("x.cls", name.encode())])
        path = tmp_path / f"images/{name}/x.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    more = ["steps=12", "conditioning=projection", "dataset.flip=true"]
    one = train(tmp_path, "one", *shards(tmp_path / "shards"), *more)
    images = ["dataset=folder", f"dataset.path={tmp_path}/images", "dataset.cache=none", "dataset.labels=folders"]
    other = train(tmp_path, "other", *images, *more)
    first, second = last_checkpoint(one), last_checkpoint(other)
    assert first.tensors.keys() == second.tensors.keys()
    assert all(torch.equal(tensor, second.tensors[name]) for name, tensor in first.tensors.items())


@pytest.mark.parametrize("count", [2, 4])
def test_processes_decode_their_shares_of_a_batch(tmp_path: Path, count: int) -> None:
    """In two epochs, and ahead of their use too."""
    data = load_shards(write_numbered(tmp_path, 10, 10, 10), buffer=12)
    batches = Batches(data, seed=3, batch_size=8, device=torch.device("cpu"), flip=True, conditional=True)
    whole = [batches.draw(update) for update in range(8)]
    parts = []
    for rank in range(count):
        with sharing(Share(None, rank, count)):
            parts.append([batches.draw(update) for update in range(8)])
    for update, batch in enumerate(whole):
        assert torch.equal(torch.cat([part[update].samples for part in parts]), batch.samples)
        labels = [labels_of(part[update].condition) for part in parts]
        assert torch.equal(torch.cat(labels), labels_of(batch.condition))


def test_a_run_is_resumed_in_mid_epoch_to_the_bit(tmp_path: Path) -> None:
    """25 updates of 8 are one epoch of 200, in windows of 60 samples; the runs stop after 11, in the second window."""
    write_numbered(tmp_path / "shards", 30, 30, 30, 30, 30, 30, 20)
    data = shards(tmp_path / "shards", "dataset.buffer=50")
    unbroken = train(tmp_path, "unbroken", *data, "steps=30", "training.checkpoint_every=11")
    broken = train(tmp_path, "broken", *data, "steps=11", "training.checkpoint_every=11")
    assert run_command("train", [f"resume={broken}", "steps=30"]) == 0
    assert_equal_runs(broken, unbroken)


def test_all_commands_work_on_a_run_of_shards(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_numbered(tmp_path / "shards", 60, 60)
    data = shards(tmp_path / "shards", "dataset.buffer=50")
    evaluated = ["steps=2", "evaluation.metrics=[frechet]", "evaluation.n=20", "training.evaluate_every=2"]
    run = train(tmp_path, "run", *data, *evaluated, "evaluation.extractor=random", "training.sample_every=1")
    assert (run / "samples/real.png").exists()
    record = json.loads((run / "config.json").read_text())
    assert record["data"]["samples"] == 120
    assert [shard["samples"] for shard in record["data"]["changes"]["shards"]] == [60, 60]
    assert run_command("eval", [f"ckpt={run}", "n=30", "extractor=pixels"]) == 0
    assert "memorization" in capsys.readouterr().out
    assert run_command("train", [*SHORT, *data, "dry_run=true", f"output={tmp_path}", "steps=3"]) == 0
    assert "duplicates" in capsys.readouterr().out
    assert run_command("train", [*SHORT, *shards(tmp_path / "shards", "dataset.limit=7"), "steps=1"]) == 2
    assert "batch_size=8: the data set has 7 samples" in capsys.readouterr().err
    (tmp_path / "shards/train-0001.tar").unlink()
    assert run_command("train", [f"resume={run}", "extra_steps=1"]) == 2
    assert "the data are not those of the run" in capsys.readouterr().err


def test_a_bad_image_ends_a_run_with_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shard = write_numbered(tmp_path / "shards", 40) / "train-0000.tar"
    content = bytearray(shard.read_bytes())
    position = content.find(b"IDAT", 30_000)
    content[position + 6 : position + 16] = bytes(10)  # the pixels of one image
    shard.write_bytes(content)
    arguments = [*SHORT, *shards(tmp_path / "shards"), f"output={tmp_path}", "steps=9"]
    assert run_command("train", arguments) == 2
    out, error = capsys.readouterr()
    assert error.count("\n") == 1
    assert "train-0000.tar: cannot be used (" in error
    assert "cannot be used" not in out
    run = next(path for path in tmp_path.rglob("checkpoints")).parent
    assert run_command("train", [f"resume={run}", "dataset.on_bad=skip"]) == 0
    assert last_checkpoint(run).counters.step == 9


MEMORY = """
import sys
import torch
from gan_cli.data.dataset import Batches
from support.shards import load_shards

def anonymous():
    with open("/proc/self/status") as file:
        return int(next(line.split()[1] for line in file if line.startswith("RssAnon")))

data = load_shards(sys.argv[1], 128, buffer=200)
batches = Batches(data, 0, 50, torch.device("cpu"))
for update in range(20):
    batches.draw(update)
before = anonymous()
for update in range(20, 120):
    batches.draw(update)
print(len(data) * 128 * 128 * 3 // 1024, anonymous() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_images_that_were_read(tmp_path: Path) -> None:
    """5,000 images of 128 x 128 are 240 MB; after a fifth of them, memory grows by less than a tenth of that.

    Freed blocks go back to the system, so that what is counted is in use.
    """
    write_numbered(tmp_path, *[500] * 10)
    command = [sys.executable, "-c", MEMORY, str(tmp_path)]
    allocator = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
    environment = {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1", **allocator}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    whole, growth = map(int, done.stdout.split())
    assert growth < whole / 10


def test_paths_of_a_run_that_was_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_numbered(tmp_path / "start/shards", 3, 3)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    section = dataset_section("webdataset", path="shards/train-{0000..0001}.tar", cache="none")
    found = resolve_data_paths(section, tmp_path / "start")
    assert found.path == str(tmp_path / "start/shards/train-{0000..0001}.tar")
    assert len(load_shards(found.path)) == 6
    for pattern in ("shards/train-*.tar", "shards/*-{0000..0001}.tar", "*/train-000?.tar", "{shards,none}/*.tar"):
        there = resolve_data_paths(dataset_section("webdataset", path=pattern, cache="none"), tmp_path / "start").path
        assert there == str(tmp_path / "start" / pattern)
    (tmp_path / "a[1]").symlink_to(tmp_path / "start")
    odd = resolve_data_paths(dataset_section("webdataset", path="shards/*.tar", cache="none"), tmp_path / "a[1]").path
    assert len(load_shards(odd)) == 6
    nowhere = dataset_section("webdataset", path="shards/val-*.tar", cache="none")
    assert resolve_data_paths(nowhere, tmp_path / "start") == nowhere
    assert absolute_paths("https://x.org/{0..3}.tar", "webdataset") == "https://x.org/{0..3}.tar"
