"""The device of a run, on machines that seem to have GPUs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from gan_cli import device
from gan_cli.errors import UsageError
from gan_cli.state.train_state import build_state
from gan_cli.training import throughput
from support.configs import TINY_IMAGES, compose


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Two GPUs of NVIDIA, as PyTorch reports them; lists the numbers of those that were made the current one."""
    chosen: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    return chosen


@pytest.mark.parametrize(
    ("overrides", "index"), [([], 0), (["device=cuda"], 0), (["device=cuda", "device.index=1"], 1)]
)
def test_a_gpu_is_chosen_by_its_number_and_by_auto_the_first(
    two_gpus: list[int], overrides: list[str], index: int
) -> None:
    assert device.build_device(compose(*overrides).device) == torch.device("cuda", index)
    assert two_gpus == [index]


@pytest.fixture
def tf32() -> Iterator[Callable[[], tuple[bool, bool]]]:
    """Returns a function that reads whether products and convolutions may use TF32; restores PyTorch's defaults."""
    device.allow_tf32(False)
    torch.backends.cudnn.allow_tf32 = True
    yield lambda: (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)
    device.allow_tf32(False)
    torch.backends.cudnn.allow_tf32 = True


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("overrides", "before", "in_training", "flags"),
    [
        ([], (False, True), (True, True), "matmul=high"),
        (["device=cuda"], (False, True), (True, True), "matmul=high"),
        (["device=cuda", "device.tf32=true"], (True, True), (True, True), "matmul=high"),
        (["device=cuda", "device.tf32=false"], (False, False), (False, False), "convolutions=highest"),
        (["device=cuda", "deterministic=true"], (False, True), (False, False), "convolutions=highest"),
        (["device=cuda", "deterministic=true", "device.tf32=true"], (True, True), (True, True), "matmul=high"),
    ],
)
def test_tf32_is_used_in_training_unless_the_key_or_deterministic_says_otherwise(
    tf32: Callable[[], tuple[bool, bool]],
    monkeypatch: pytest.MonkeyPatch,
    overrides: list[str],
    before: tuple[bool, bool],
    in_training: tuple[bool, bool],
    flags: str,
) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    config = compose(*overrides)
    gpu = device.build_device(config.device)
    assert tf32() == before  # as other commands have it
    device.configure_process(config, gpu)
    torch.set_deterministic_debug_mode("default")
    assert tf32() == in_training
    assert flags in device.describe_flags(gpu).split()
    torch.get_float32_matmul_precision()  # raises where the two interfaces of PyTorch were mixed


def test_the_cpu_is_chosen_if_it_is_named(two_gpus: list[int]) -> None:
    assert device.build_device(compose("device=cpu").device) == torch.device("cpu")
    assert two_gpus == []


@pytest.mark.parametrize(
    ("name", "built", "words"),
    [
        (
            "cuda",
            "13.0",
            "device=cuda: PyTorch finds no GPU of NVIDIA or AMD with a driver that works; here is device=cpu",
        ),
        (
            "cuda",
            None,
            f"device=cuda: PyTorch {torch.__version__} as installed computes on CPUs only; here is device=cpu",
        ),
        ("mps", None, "device=mps: needs a Mac with Apple's own chip; here is device=cpu"),
    ],
)
def test_a_device_that_is_missing_is_refused_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, name: str, built: str | None, words: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", built)
    monkeypatch.setattr(torch.version, "hip", None)
    with pytest.raises(UsageError) as error:
        device.build_device(compose(f"device={name}").device)
    assert str(error.value) == words


def test_a_number_without_a_gpu_is_refused(two_gpus: list[int]) -> None:
    with pytest.raises(UsageError, match=r"device\.index=2: this machine has 2 GPUs, numbered from 0"):
        device.build_device(compose("device=cuda", "device.index=2").device)


def test_a_pause_begins_when_the_gpu_has_done_its_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def finish_updates(_: torch.device) -> None:
        nonlocal now
        now += 5.0

    monkeypatch.setattr(throughput.time, "perf_counter", lambda: now)
    monkeypatch.setattr(throughput, "synchronize", finish_updates)
    state = build_state(compose(*TINY_IMAGES), torch.device("meta"))
    timer = throughput.RunTimer(state)
    with timer.pause("log"):
        now += 2.0
    assert timer.pause_seconds == {"log": 2.0}
    assert state.seconds == 7.0
