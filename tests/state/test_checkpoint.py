"""Checkpoints: whole or refused, never half; every flipped bit is seen; what an old version wrote still loads."""

from __future__ import annotations

import dataclasses
import errno
import os
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest
import torch
from safetensors.torch import save_file

from gan_cli.config import train_config
from gan_cli.config.compatibility import parse_config
from gan_cli.config.train_config import Config
from gan_cli.errors import CheckpointError, StorageError
from gan_cli.state import checkpoint, checkpoint_file
from gan_cli.state.checkpoint import LAST, Provenance, list_checkpoints, load, load_newest, save
from gan_cli.state.train_state import TrainState, build_state, load_state_tensors, state_tensors
from gan_cli.storage.checksummed_file import decode_checksummed, encode_checksummed
from support.configs import TINY_IMAGES, compose
from support.training import train_in_memory

CPU = torch.device("cpu")
PROVENANCE = Provenance(
    gan_cli="0", torch="0", threads=1, device="cpu", fingerprint="f" * 64, seconds=1.5, budget_start=0.0,
    figure=None, value=None,
)  # fmt: skip
GOLDEN = Path(__file__).parent / "golden.safetensors"


def trained(*overrides: str, steps: int = 2) -> tuple[Config, TrainState]:
    config = compose(*TINY_IMAGES, *overrides)
    return config, train_in_memory(config, steps)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    config, state = trained()
    return save(state, config, tmp_path, PROVENANCE)


RECIPES = [
    [],
    ["loss=wasserstein"],
    ["loss=wasserstein", "regularizer=weight_clip"],
    ["training.ema_decay=0"],
    ["regularizer=none", "architecture.discriminator.normalization=spectral"],
    ["regularizer=none", "architecture.discriminator.normalization=batch"],
]


@pytest.mark.parametrize("steps", [0, 2])
@pytest.mark.parametrize("recipe", RECIPES, ids=" ".join)
def test_a_round_trip_is_bit_equal(tmp_path: Path, recipe: list[str], steps: int) -> None:
    config, state = trained(*recipe, steps=steps)
    path = save(state, config, tmp_path, PROVENANCE, {"loss/discriminator": 0.1})
    found = load(path)
    assert found.config == config
    assert found.counters == state.counters
    assert found.provenance == PROVENANCE
    assert found.metrics == {"loss/discriminator": 0.1}
    again = build_state(found.config, CPU)
    load_state_tensors(again, found.tensors)
    before, after = state_tensors(state), state_tensors(again)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_same_state_gives_the_same_bytes(tmp_path: Path) -> None:
    paths = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        config, state = trained()
        paths.append(save(state, config, tmp_path / name, PROVENANCE))
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_last_is_another_name_of_the_newest_and_old_ones_go(tmp_path: Path) -> None:
    config, state = trained("keep=2")
    for step in (1, 2, 30, 4):
        state.counters.step = step
        save(state, config, tmp_path, PROVENANCE)
        assert load(tmp_path / LAST).counters.step == step
    assert [path.name for path in list_checkpoints(tmp_path)] == [
        "step_00000030.safetensors",
        "step_00000004.safetensors",
    ]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_last_is_a_copy_where_links_do_not_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    config, state = trained()
    path = save(state, config, tmp_path, PROVENANCE)
    assert (tmp_path / LAST).read_bytes() == path.read_bytes()
    assert (tmp_path / LAST).stat().st_ino != path.stat().st_ino


def test_keep_zero_keeps_all_and_foreign_files_are_never_touched(tmp_path: Path) -> None:
    (tmp_path / "step_best.safetensors").write_text("mine")
    (tmp_path / "step_1.safetensors").write_text("mine")
    (tmp_path / "step_00000001.safetensors.bak").write_text("mine")
    config, state = trained("keep=0")
    for step in range(5):
        state.counters.step = step
        save(state, config, tmp_path, PROVENANCE)
    assert len(list_checkpoints(tmp_path)) == 5
    checkpoint.prune(tmp_path, 1, spare=tmp_path / "step_00000002.safetensors")
    assert [path.name for path in list_checkpoints(tmp_path)] == [
        "step_00000004.safetensors",
        "step_00000002.safetensors",
    ]
    assert (tmp_path / "step_best.safetensors").read_text() == "mine"
    assert (tmp_path / "step_1.safetensors").read_text() == "mine"
    assert (tmp_path / "step_00000001.safetensors.bak").exists()


# --- damage ------------------------------------------------------------------------------------------------------


def refused(path: Path, words: str = ".") -> None:
    with pytest.raises(CheckpointError, match=words) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == 3


def test_five_hundred_flipped_bits_are_all_refused(saved: Path) -> None:
    whole = saved.read_bytes()
    rng = random.Random(0)
    places = {rng.randrange(len(whole) * 8) for _ in range(500)}
    header = struct.unpack("<Q", whole[:8])[0]
    places |= set(range(0, (8 + header) * 8, 97))  # the header holds counters, config and digest
    for place in places:
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        saved.write_bytes(damaged)
        refused(saved)
    assert len(places) >= 500
    saved.write_bytes(whole)
    load(saved)


def test_every_truncation_is_refused(saved: Path) -> None:
    whole = saved.read_bytes()
    for length in [*range(0, 64), *range(64, len(whole), len(whole) // 300)]:
        saved.write_bytes(whole[:length])
        refused(saved)
    saved.write_bytes(whole + b"\0")
    refused(saved)


def resealed(path: Path, change: Callable[[dict, dict], None]) -> None:
    """Rewrites a checkpoint as somebody would who knows the digest's rule."""
    tensors, metadata, _ = decode_checksummed(path.read_bytes())
    del metadata["sha256"]
    change(metadata, tensors)
    path.write_bytes(encode_checksummed(tensors, metadata))


def rename(tensors: dict, old: str, new: str) -> None:
    tensors[new] = tensors.pop(old)


RING = {"name": "ring", "size": 10, "modes": 8, "radius": 2.0, "std": 0.02}
FORGED: dict[str, tuple[Callable[[dict, dict], object], str]] = {
    "a newer format": (lambda m, t: m.update(format=99), "format 99"),
    "another width": (
        lambda m, t: m["config"]["architecture"]["generator"].update(base_channels=8),
        "by its config it would be",
    ),
    "a huge network": (
        lambda m, t: m["config"]["architecture"]["generator"].update(base_channels=10**9),
        "base_channels=1000000000",
    ),
    "an unknown network": (
        lambda m, t: m["config"]["architecture"]["generator"].update(name="os.system"),
        "generator=os.system",
    ),
    "a target to run": (lambda m, t: m["config"]["loss"].update(_target_="os.system"), "unknown key loss._target_"),
    "an interpolation": (lambda m, t: m["config"].update(output="${oc.env:HOME}"), ""),
    "a config that clashes": (
        lambda m, t: m["config"]["architecture"]["discriminator"].update(normalization="batch"),
        "clashes",
    ),
    "no config": (lambda m, t: m.pop("config"), "config"),
    "a config that is a list": (lambda m, t: m.update(config=[1]), "section"),
    "NaN in the config": (lambda m, t: m["config"]["optimizer"].update(lr=float("nan")), "finite"),
    "counters below zero": (lambda m, t: m["counters"].update(step=-1), "counters.step=-1"),
    "counters of words": (lambda m, t: m["counters"].update(step="many"), "counters.step=many"),
    "metrics of words": (lambda m, t: m.update(metrics={"loss/a": "b"}), "metrics"),
    "metrics that are not a number": (lambda m, t: m.update(metrics={"loss/a": float("nan")}), "metrics"),
    "metrics of another name": (lambda m, t: m.update(metrics={"step": -77}), "metrics"),
    "a number of hundreds of digits": (lambda m, t: m["config"].update(steps=10**400), "steps=1000"),
    "a metric of hundreds of digits": (lambda m, t: m.update(metrics={"penalty/r1": 10**400}), "metrics"),
    "a plugin": (lambda m, t: m["config"].update(plugins=["os"]), r"add plugins=\[os\] if you trust them"),
    "a plugin that is no list": (lambda m, t: m["config"].update(plugins="os"), r"add plugins=\[os\]"),
    "a plugin that is no name": (lambda m, t: m["config"].update(plugins=[["x"], {}]), "not enabled"),
    "a class that is no mode": (
        lambda m, t: m["config"].update(dataset=RING | {"classes": ["zz"]}),
        "'zz' is no mode",
    ),
    "no class": (lambda m, t: m["config"].update(dataset={**RING, "classes": []}), "at least one class"),
    "a class of many digits": (
        lambda m, t: m["config"].update(dataset=RING | {"classes": ["9" * 5000]}),
        "is no mode",
    ),
    "threads without number": (lambda m, t: m["provenance"].update(threads=10**6), "provenance.threads"),
    "more parameters than memory": (
        lambda m, t: m["config"]["architecture"].update(
            generator={"name": "mlp", "latent_dim": 8, "width": 8192, "depth": 32, "normalization": "none"}
        ),
        "at most 500,000,000",
    ),
    "a missing tensor": (lambda m, t: t.pop("generator.project.bias"), "does not fit its config"),
    "an extra tensor": (lambda m, t: t.update(extra=torch.zeros(1)), "does not fit its config"),
    "a renamed tensor": (lambda m, t: rename(t, "generator.project.bias", "module.bias"), "does not fit its config"),
    "another shape": (
        lambda m, t: t.update({"generator.project.bias": t["generator.project.bias"][:-1].clone()}),
        "by its config it would be",
    ),
    "another dtype": (
        lambda m, t: t.update({"generator.project.bias": t["generator.project.bias"].double()}),
        "float64",
    ),
    "not a number": (lambda m, t: t["generator.project.bias"].fill_(float("nan")), "not finite"),
}


@pytest.mark.parametrize("forgery", FORGED)
def test_a_forged_checkpoint_with_a_right_digest_is_refused_or_harmless(saved: Path, forgery: str) -> None:
    change, words = FORGED[forgery]
    resealed(saved, change)
    if words:
        refused(saved, words)
    else:
        assert load(saved).config.output == "${oc.env:HOME}"  # a text, never looked up


def test_what_is_no_checkpoint_is_refused_by_name(tmp_path: Path) -> None:
    refused(tmp_path / "absent.safetensors", "no such checkpoint")
    (tmp_path / "model.pt").write_bytes(b"PK")
    refused(tmp_path / "model.pt", "can run code")
    (tmp_path / "folder.safetensors").mkdir()
    refused(tmp_path / "folder.safetensors", "not a regular file")
    save_file({"a": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    refused(tmp_path / "foreign.safetensors", "not one that gan-train wrote")
    for name, content in {
        "empty": b"",
        "huge": struct.pack("<Q", 1 << 60),
        "deep": struct.pack("<Q", 100_000) + b"[" * 100_000,
        "list": struct.pack("<Q", 2) + b"[]",
        "escape": struct.pack("<Q", 40) + b'{"__metadata__": {"\x1b[31mred": "text"}}'.ljust(40),
    }.items():
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(content)
        refused(path)


def test_a_sparse_file_is_refused_before_it_is_read(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes no room on the disk, and its header is that of an honest checkpoint, or none at all."""
    os.truncate(saved, 8 << 30)

    def explode(content: bytes) -> None:
        raise AssertionError("read as a whole")

    monkeypatch.setattr(checkpoint_file, "decode_checksummed", explode)
    refused(saved, "has 8,589,934,592 bytes, its config describes ")
    (saved.parent / "zeros.safetensors").write_bytes(b"")
    os.truncate(saved.parent / "zeros.safetensors", 8 << 30)
    refused(saved.parent / "zeros.safetensors", "its header is cut off or too long")


def test_loading_runs_no_hydra_and_no_yaml(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import hydra.utils
    from omegaconf import OmegaConf

    def explode(*arguments: object, **settings: object) -> None:
        raise AssertionError("a checkpoint's content reached Hydra")

    monkeypatch.setattr(hydra.utils, "instantiate", explode)
    monkeypatch.setattr(OmegaConf, "create", explode)
    load(saved)


# --- the newest one ----------------------------------------------------------------------------------------------


def test_a_newer_one_that_may_not_be_read_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, state = trained()
    for step in (1, 2):
        state.counters.step = step
        save(state, config, tmp_path, PROVENANCE)

    def open_older(path: Path, **options: bool) -> IO[bytes]:
        if "step_00000002" in path.name:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return path.open("rb")

    monkeypatch.setattr(checkpoint_file, "open_to_read", open_older)
    with pytest.raises(CheckpointError, match=r"step_00000002.safetensors: cannot be read \(Permission denied\)"):
        load_newest(tmp_path)


def test_the_newest_that_verifies_is_taken_and_the_others_are_told(tmp_path: Path) -> None:
    config, state = trained()
    for step in (1, 2, 3):
        state.counters.step = step
        save(state, config, tmp_path, PROVENANCE)
    third = tmp_path / "step_00000003.safetensors"
    whole = third.read_bytes()
    third.unlink()  # last.safetensors is another name of the same bytes, which stay whole
    third.write_bytes(whole[:-5])
    found, reasons = load_newest(tmp_path)
    assert found.counters.step == 2
    assert len(reasons) == 1
    assert "step_00000003" in str(reasons[third])
    (line,) = checkpoint.set_aside(found, reasons)
    assert "step_00000003.safetensors.damaged" in line
    assert third.with_name(f"{third.name}.damaged").exists()
    assert load_newest(tmp_path)[1] == {}
    for path in list_checkpoints(tmp_path):
        path.unlink()
    assert load_newest(tmp_path)[0].counters.step == 3  # last.safetensors alone: another name of the third, whole
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        load_newest(tmp_path / "empty")


# --- when writing fails ------------------------------------------------------------------------------------------


def test_what_was_verified_is_what_is_used(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that goes on replaces last.safetensors at any moment, also between our reading and our checking."""
    other_config, other = trained("seed=1")
    (saved.parent / "other").mkdir()
    replacement = save(other, other_config, saved.parent / "other", PROVENANCE).read_bytes()
    honest = load(saved)

    def replace_first(content: bytes) -> object:
        saved.write_bytes(replacement)
        return decode_checksummed(content)

    monkeypatch.setattr(checkpoint_file, "decode_checksummed", replace_first)
    found = load(saved)
    assert found.sha256 == honest.sha256
    assert all(torch.equal(found.tensors[name], honest.tensors[name]) for name in honest.tensors)


@pytest.mark.parametrize("call", ["fsync", "replace", "link"])
@pytest.mark.parametrize("when", [1, 2, 3])
def test_a_save_that_fails_anywhere_leaves_the_last_one_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, when: int
) -> None:
    config, state = trained()
    state.counters.step = 1
    save(state, config, tmp_path, PROVENANCE)
    state.counters.step = 2
    real, count = getattr(os, call), 0

    def fail(*arguments: object, **settings: object) -> object:
        nonlocal count
        count += 1
        if count == when:
            raise OSError(28, "No space left on device")
        return real(*arguments, **settings)

    monkeypatch.setattr(os, call, fail)
    try:
        save(state, config, tmp_path, PROVENANCE)
    except StorageError as error:
        assert "needs" in str(error)  # noqa: PT017
        assert "bytes free" in str(error)  # noqa: PT017
    monkeypatch.undo()
    found, reasons = load_newest(tmp_path)
    assert found.counters.step in (1, 2)
    assert reasons == {}
    assert load(tmp_path / LAST).counters.step in (1, 2)
    save(state, config, tmp_path, PROVENANCE)
    assert load(tmp_path / LAST).counters.step == 2


def test_the_order_of_a_save_survives_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes are forced to disk before they get their name, the name before anything older is removed."""
    config, state = trained("keep=1")
    state.counters.step = 1
    save(state, config, tmp_path, PROVENANCE)
    state.counters.step = 2
    events: list[str] = []
    fsync, replace, unlink = os.fsync, os.replace, Path.unlink

    def note_fsync(descriptor: int) -> None:
        events.append("sync " + Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        fsync(descriptor)

    def note_replace(source: Path, target: Path) -> None:
        events.append(f"name {Path(target).name}")
        replace(source, target)

    def note_unlink(path: Path, missing_ok: bool = False) -> None:
        if path.exists():
            events.append(f"remove {path.name}")
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    monkeypatch.setattr(Path, "unlink", note_unlink)
    save(state, config, tmp_path, PROVENANCE)
    folder, target = f"sync {tmp_path.name}", "step_00000002.safetensors"
    assert events == [
        f"sync {target}",
        f"name {target}",
        folder,
        f"name {LAST}",
        folder,
        "remove step_00000001.safetensors",
    ]


# --- for ever after ----------------------------------------------------------------------------------------------


def test_a_checkpoint_of_the_first_version_still_loads() -> None:
    found = load(GOLDEN)
    assert found.counters.step == 3
    assert found.config.dataset.name == "shapes"
    state = build_state(found.config, CPU)
    load_state_tensors(state, found.tensors)
    assert dataclasses.asdict(found.counters)["d_updates"] == 3
    image = state.sampler(torch.zeros(1, found.config.architecture.generator.latent_dim), None)
    assert image.shape == (1, 1, 16, 16)
    assert parse_config(train_config.to_dict(found.config)) == found.config
