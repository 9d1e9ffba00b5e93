"""Running out of memory: a batch size that works is found and named, and samples are made in smaller batches."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gan_cli.data.load_dataset import build_dataset
from gan_cli.errors import is_out_of_memory
from gan_cli.launch import batch_trials, out_of_memory
from gan_cli.models.generate import run_in_batches
from gan_cli.training import steps
from support.commands import error_line, run_process, write_text
from support.configs import TINY_IMAGES, compose, without

LARGE = [*without(TINY_IMAGES, "dataset.size", "batch_size"), "dataset.size=4096", "precision=fp32"]
# sitecustomize.py of a process: it can use 150 MiB more address space than at its start
LIMITED = """
import os, resource
used = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
resource.setrlimit(resource.RLIMIT_AS, (used + (150 << 20),) * 2)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="limits of memory need Linux")
def test_the_named_batch_size_then_trains(here: Path) -> None:
    site = write_text(here / "site" / "sitecustomize.py", LIMITED).parent

    def train(*overrides: str) -> tuple[int, str]:
        done = run_process("train", *LARGE, *overrides, cwd=here, PYTHONPATH=str(site), PRELOADED_PATH="1")
        return done.returncode, done.stderr

    code, line = train("batch_size=4096", "steps=1")
    named = re.fullmatch(
        "gan-train: out of memory at batch_size=4096; (batch_size=[0-9]+) works here.*: add it.*\n", line
    )
    assert named is not None, line
    assert code == 2
    assert train(named[1], "steps=2") == (0, "")


@pytest.mark.parametrize(
    ("overrides", "found"),
    [
        (["batch_size=48"], {"batch_size": 6, "accumulate": 8}),
        (["batch_size=7"], {"batch_size": 3, "accumulate": 7}),
        (["batch_size=16", "training.accumulate=2", "training.pack=4"], {"batch_size": 8, "accumulate": 4}),
        (["batch_size=16", "training.pack=8"], {}),
    ],
)
def test_batches_are_halved_until_one_works_also_as_a_part(
    monkeypatch: pytest.MonkeyPatch, overrides: list[str], found: dict[str, int]
) -> None:
    config = compose(*without(TINY_IMAGES, "batch_size"), *overrides)
    monkeypatch.setattr(
        batch_trials, "_works", lambda config, dataset: config.batch_size // config.training.accumulate <= 6
    )
    dataset = build_dataset(config.dataset, config.image_size)
    assert batch_trials.find_batch(config, dataset) == found


@pytest.mark.parametrize(("key", "found"), [("works", {"checkpoint_activations": 1}), ("fails", {})])
def test_the_whole_batch_is_tried_with_activation_checkpointing(
    monkeypatch: pytest.MonkeyPatch, key: str, found: dict[str, int]
) -> None:
    config = compose(*TINY_IMAGES)
    monkeypatch.setattr(
        batch_trials,
        "_works",
        lambda tried, _: (
            key == "works" and tried.training.checkpoint_activations and tried.batch_size == config.batch_size
        ),
    )
    dataset = build_dataset(config.dataset, config.image_size)
    assert batch_trials.find_checkpointing(config, dataset) == found


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ({"batch_size": 4}, "; batch_size=4 works here: add it"),
        (
            {"batch_size": 4, "accumulate": 2},
            "; batch_size=4 works here, and so does training.accumulate=2 with the same batch_size: add it",
        ),
        (
            {"batch_size": 4, "accumulate": 2, "checkpoint_activations": 1},
            "; batch_size=4 works here, and so does training.accumulate=2 or training.checkpoint_activations=true with"
            " the same batch_size: add it",
        ),
        (
            {"checkpoint_activations": 1},
            "; training.checkpoint_activations=true with the same batch_size works here: add it",
        ),
        ({}, ", and no smaller one works here: choose a smaller image_size or network"),
    ],
)
def test_the_advice_names_each_way(found: dict[str, int], text: str) -> None:
    assert out_of_memory._advice(found, "add it") == text


def test_a_run_that_has_begun_can_be_resumed_with_less(
    train: Callable[..., Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: object) -> object:
        raise MemoryError

    run = train(*TINY_IMAGES, "steps=2")
    with monkeypatch.context() as patched:
        patched.setattr(steps, "generator_step", fails)
        patched.setattr(out_of_memory, "_find_batch", lambda config, dataset: {"batch_size": 4})
        line = error_line(capsys, "train", f"resume={run}", "extra_steps=1")
    assert re.search(f"; batch_size=4 works here: add it to gan-train resume={run}$", line), line
    train(f"resume={run}", "extra_steps=1", "batch_size=4")


def test_samples_are_made_in_batches_that_fit() -> None:
    sizes = []

    def network(latents: torch.Tensor, condition: object) -> torch.Tensor:
        sizes.append(len(latents))
        if len(latents) > 3:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory")
        return latents

    network.parameters = lambda: iter([torch.empty(0)])  # type: ignore[attr-defined]
    latents = torch.arange(20.0).view(10, 2)
    made = list(run_in_batches(network, latents, None, 8))  # type: ignore[arg-type]
    assert torch.equal(torch.cat(made), latents)
    assert sizes == [8, 4, 2, 2, 2, 2, 2]


def test_other_errors_are_not_taken_for_it() -> None:
    assert not is_out_of_memory(RuntimeError("could not create a primitive descriptor for a convolution"))
    assert is_out_of_memory(RuntimeError("could not create a primitive"))
