"""What `auto` stands for is settled once, said, recorded and kept."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gan_cli import device as machine
from gan_cli.api_arguments import read_overrides
from gan_cli.cli.main import run_command
from gan_cli.data.load_dataset import build_dataset
from gan_cli.device import configure_process
from gan_cli.distributed.process_group import ProcessGroup
from gan_cli.errors import UsageError
from gan_cli.launch import autotune, resume, saved_settings
from gan_cli.state import checkpoint
from gan_cli.storage.run_folder import CHECKPOINTS
from gan_cli.storage.run_record import RunRecord
from support.commands import write_text
from support.configs import TINY_IMAGES, compose, without

CPU = torch.device("cpu")
UNSET = without(TINY_IMAGES, "threads=")


@pytest.fixture(autouse=True)
def one_thread_again() -> object:
    yield
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize(("fast", "settled"), [(True, "bf16"), (False, "fp32")])
def test_images_take_bf16_where_it_is_fast(monkeypatch: pytest.MonkeyPatch, fast: bool, settled: str) -> None:
    monkeypatch.setattr(autotune, "computes_bf16_fast", lambda device: fast)
    assert autotune.resolve_precision(compose(*TINY_IMAGES), CPU).precision == settled


def test_points_and_a_given_precision_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autotune, "computes_bf16_fast", lambda device: True)
    assert autotune.resolve_precision(compose("experiment=ring"), CPU).precision == "fp32"
    assert autotune.resolve_precision(compose(*TINY_IMAGES, "precision=fp32"), CPU).precision == "fp32"


def test_apple_gpus_keep_fp32() -> None:
    assert not autotune.computes_bf16_fast(torch.device("mps"))


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], torch.device]:
    """Returns a function that lets PyTorch report a GPU of this compute capability, and returns the device."""

    def report(*capability: int) -> torch.device:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
        monkeypatch.setattr(
            torch.cuda,
            "is_bf16_supported",
            lambda including_emulation=True: including_emulation or capability >= (8, 0),
        )
        return torch.device("cuda", 0)

    return report


@pytest.mark.parametrize(
    ("capability", "chosen"),
    [((6, 1), "fp32"), ((7, 0), "fp16"), ((7, 5), "fp16"), ((8, 0), "bf16"), ((8, 6), "bf16"), ((9, 0), "bf16")],
)
def test_a_gpu_takes_the_precision_that_it_multiplies_in_hardware(
    gpu: Callable[..., torch.device], capability: tuple[int, int], chosen: str
) -> None:
    device = gpu(*capability)
    assert autotune.resolve_precision(compose(*TINY_IMAGES), device).precision == chosen
    assert autotune.resolve_precision(compose("experiment=ring"), device).precision == "fp32"


@pytest.mark.parametrize(
    ("capability", "precision", "line"),
    [
        (
            (7, 5),
            "fp16",
            "precision: fp16, with scaled losses: this GPU, of compute capability 7.5, does not multiply bf16 in"
            " hardware",
        ),
        (
            (7, 0),
            "bf16",
            "warning: precision=bf16: this GPU, of compute capability 7.0, does not multiply it in hardware; use"
            " precision=fp16 or fp32",
        ),
        (
            (6, 1),
            "fp16",
            "warning: precision=fp16: this GPU, of compute capability 6.1, does not multiply it in hardware; use"
            " precision=fp32",
        ),
        ((7, 5), "fp32", ""),
        ((8, 0), "fp16", ""),
        ((8, 0), "bf16", ""),
    ],
)
def test_a_line_says_why_a_precision_is_chosen_or_slow(
    gpu: Callable[..., torch.device], capability: tuple[int, int], precision: str, line: str
) -> None:
    config = compose(*TINY_IMAGES, f"precision={precision}")
    assert autotune.describe_precision(config, gpu(*capability)) == line


def settled(*overrides: str) -> tuple[int | str | None, str]:
    config = compose(*UNSET, *overrides)
    config, said = autotune.resolve_threads(config, build_dataset(config.dataset, config.image_size), CPU)
    assert torch.get_num_threads() == config.threads
    return config.threads, said


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[int, float], dict[int, float]], None]:
    """A machine of four cores on which steps, and probes, take what they are said to."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(4), raising=False)

    def set_times(steps: dict[int, float], probes: dict[int, float] | None = None) -> None:
        monkeypatch.setattr(autotune, "_step_seconds", lambda *_: steps[torch.get_num_threads()])
        monkeypatch.setattr(autotune, "time_threads", lambda count: (probes or {}).get(count, 1e-4))

    return set_times


@pytest.mark.parametrize(
    ("steps", "fastest"),
    [
        ({1: 0.4, 2: 0.2, 4: 0.1}, 4),
        ({1: 0.4, 2: 0.2, 4: 0.19}, 2),  # a gain so small is not worth the cores
        ({1: 0.1, 2: 0.2, 4: 0.01}, 1),  # where two are slower, four are not tried
    ],
)
def test_the_fastest_number_of_threads_is_taken(timed: Callable, steps: dict[int, float], fastest: int) -> None:
    timed(steps)
    count, said = settled()
    assert count == fastest
    assert "1: " in said
    assert " ms" in said


def test_a_busy_core_is_noticed_before_a_step_is_tried(timed: Callable) -> None:
    timed({1: 0.1}, {1: 1e-4, 2: 0.1})  # a step with two threads would be a KeyError
    count, said = settled()
    assert count == 1
    assert "busy" in said


def test_what_the_user_says_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autotune, "_fastest", None)
    assert settled("threads=1") == (1, "")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert settled() == (1, "")
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert settled("deterministic=true")[0] == 1


@pytest.mark.parametrize(
    ("variables", "processes", "count"),
    [
        ({}, 2, 4),  # a dry run
        ({"TORCHELASTIC_RUN_ID": "run", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "2"}, 8, 4),
        ({"TORCHELASTIC_RUN_ID": "run", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}, 8, 4),
        ({"GAN_CLI_PROCESS_STORE": "file", "WORLD_SIZE": "2"}, 2, 4),
        ({"GAN_CLI_PROCESS_STORE": "file", "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}, 2, 1),
    ],
)
def test_the_processes_of_a_machine_divide_its_cores(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], processes: int, count: int
) -> None:
    """Those of other machines take none of them. torchrun sets OMP_NUM_THREADS by itself."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(8), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for name, value in ({"RANK": "0"} | variables).items():
        monkeypatch.setenv(name, value)
    assert settled(f"device.processes={processes}")[0] == count


@pytest.mark.parametrize(
    ("first", "resumed", "threads"),
    [
        ([], [], [8, 8]),
        ([], ["device.processes=2"], [8, 4]),
        (["threads=3"], ["device.processes=2"], [3, 3]),
        (["experiment=three"], ["device.processes=2"], [3, 3]),
        (["experiment=three", "threads=null"], ["device.processes=2"], [8, 4]),
        ([], ["device.processes=2", "threads=3"], [8, 3]),
    ],
)
def test_threads_are_divided_anew_for_other_processes(
    train: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    first: list[str],
    resumed: list[str],
    threads: list[int],
) -> None:
    """But a number that the user gave stays, also one in a file of options."""
    write_text(Path("configs/experiment/three.yaml"), "# @package _global_\nthreads: 3\n")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(8), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(autotune, "_fastest", lambda *_: (8, ""))
    run = train(*UNSET, *first, "steps=1")
    saved, _ = checkpoint.load_newest(run / CHECKPOINTS)
    group = ProcessGroup()
    group.count = 2 if resumed else 1
    request = dataclasses.replace(read_overrides([f"resume={run}", "extra_steps=1", *resumed]), group=group)
    config = resume.restore_run(run, saved, resume.merge_configs(saved.config, request, run), 2, request).config
    assert [saved.config.threads, config.threads] == threads
    assert torch.get_num_threads() == config.threads


@pytest.mark.parametrize(
    ("auto", "commands", "chosen"),
    [
        (["precision", "threads"], ["gan-train threads=3"], True),
        ([], ["gan-train experiment=three"], False),
        ([], ["gan-train", "gan-train resume=run threads=auto"], True),
        ([], ["gan-train", "gan-train resume=run threads=null"], True),
        (["threads"], ["gan-train", "gan-train resume=run threads=3"], False),
        (["threads"], ["gan-train name=a", "gan-train name=a resume=auto threads=3"], True),  # keeps what there is
        (None, ["gan-train threads=3"], False),  # of an earlier version
        (None, ["gan-train"], True),
        (None, ["gan-train 'name=a"], True),
    ],
)
def test_who_chose_the_threads(auto: list[str] | None, commands: list[str], chosen: bool) -> None:
    record = {"command": commands[0], "resumed": [{"command": command} for command in commands[1:]], "auto": auto}
    assert saved_settings.chose_threads(RunRecord.model_validate(record)) == chosen


def test_a_trial_is_short_and_of_whole_parts() -> None:
    config = compose("dataset=shapes", "image_size=64", "batch_size=96", "training.accumulate=3", "compile=true")
    small = autotune._trial_config(config)
    assert not small.compile
    assert small.batch_size == 96 // 2 // 3 * 3 == 48  # one group of sixteen in each of three parts
    assert autotune._trial_config(compose("experiment=ring")).batch_size == compose("experiment=ring").batch_size


def test_a_trial_changes_nothing(train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(2), raising=False)
    monkeypatch.setattr(autotune, "time_threads", lambda count: 1e-4)  # nobody is in the way
    monkeypatch.setattr(autotune, "MIN_SPEEDUP", 1e9)  # it is timed, and one thread wins
    tried = train(*UNSET, "steps=3", "name=tried")
    given = train(*UNSET, "steps=3", "name=given", "threads=1")
    one, other = (checkpoint.load(run / CHECKPOINTS / "last.safetensors") for run in (tried, given))
    assert all(torch.equal(tensor, other.tensors[name]) for name, tensor in one.tensors.items())
    assert "a trial step takes" in (tried / "train.log").read_text()


def test_the_choice_is_recorded_and_kept_on_resume(
    train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, timed: Callable
) -> None:
    timed({1: 0.4, 2: 0.1, 4: 0.4})
    monkeypatch.setattr(autotune, "computes_bf16_fast", lambda device: True)
    run = train(*UNSET, "steps=2", "name=chosen")
    recorded = json.loads((run / "config.json").read_text())
    assert (recorded["config"]["precision"], recorded["config"]["threads"]) == ("bf16", 2)
    timed({1: 0.1, 2: 0.4})
    monkeypatch.setattr(autotune, "computes_bf16_fast", lambda device: False)
    train(f"resume={run}", "extra_steps=1")
    saved = checkpoint.load(run / CHECKPOINTS / "last.safetensors")
    assert (saved.config.precision, saved.config.threads, saved.provenance.threads) == ("bf16", 2, 2)
    assert train(*UNSET, "steps=4", "name=chosen", "resume=auto") == run  # auto is what the run had settled


def test_deterministic_runs_are_equal_and_say_so(train: Callable[..., Path]) -> None:
    runs = [train(*UNSET, "steps=3", "deterministic=true", f"name={name}") for name in ("one", "two")]
    first, second = (checkpoint.load(run / CHECKPOINTS / "last.safetensors") for run in runs)
    assert all(torch.equal(tensor, second.tensors[name]) for name, tensor in first.tensors.items())
    assert torch.are_deterministic_algorithms_enabled()
    assert "for deterministic=true" in (runs[0] / "train.log").read_text()


def test_deterministic_needs_a_number_of_steps(train: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["budget=2s"], ["experiment=fast"]):
        assert run_command("train", ["deterministic=true", "dataset=shapes", *command]) == 2
        assert "deterministic=true: budget=" in capsys.readouterr().err
    train("experiment=fast", *UNSET, "steps=1", "deterministic=true")


@pytest.mark.parametrize(("batch", "warned"), [(16, False), (24, False), (10, False), (17, True), (2, True)])
def test_batches_that_cannot_be_compared_are_warned_of(train: Callable[..., Path], batch: int, warned: bool) -> None:
    run = train(*without(TINY_IMAGES, "batch_size"), f"batch_size={batch}", "steps=1")
    assert ("too few for D to compare" in (run / "train.log").read_text()) is warned


@pytest.mark.parametrize(("kind", "variable", "language"), [("cpu", "CXX", "C++"), ("cuda", "CC", "C")])
def test_without_a_compiler_nothing_is_compiled(
    monkeypatch: pytest.MonkeyPatch, kind: str, variable: str, language: str
) -> None:
    monkeypatch.setattr(machine, "allow_tf32", lambda allowed: None)  # which would last
    monkeypatch.setenv(variable, "no-such-compiler")
    with pytest.raises(UsageError, match=re.escape(f"needs the {language} compiler no-such-compiler")):
        configure_process(compose(*TINY_IMAGES, "compile=true"), torch.device(kind))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_a_compiled_run_learns_as_a_plain_one_and_resumes(train: Callable[..., Path]) -> None:
    """To float32's digits; and to the last bit as itself, in the same process."""
    command = [*TINY_IMAGES, "precision=fp32", "training.lr_schedule=constant"]
    plain = train(*command, "training.reuse_fakes=false", "steps=3", "name=plain")
    whole = train(*command, "compile=true", "steps=3", "name=whole")
    parts = train(*command, "compile=true", "steps=2", "name=parts")
    train(f"resume={parts}", "extra_steps=1")
    one, two, other = (checkpoint.load(run / CHECKPOINTS / "last.safetensors").tensors for run in (plain, whole, parts))
    for name, tensor in two.items():
        assert torch.equal(tensor, other[name]), name
        if name.startswith("discriminator."):
            torch.testing.assert_close(tensor, one[name], rtol=0.05, atol=0.02)


@pytest.mark.parametrize(("slow", "threads"), [(2e-4, 2), (1.0, 1)])
def test_busy_cores_leave_one_thread_before_anything_is_done(
    monkeypatch: pytest.MonkeyPatch, slow: float, threads: int
) -> None:
    monkeypatch.setattr(machine, "time_threads", lambda count: slow if count > 1 else 1e-4)
    torch.set_num_threads(2)
    machine.limit_threads()
    assert torch.get_num_threads() == 2  # OMP_NUM_THREADS is the user's word
    monkeypatch.setenv("OMP_NUM_THREADS", "")  # which says nothing
    machine.limit_threads()
    assert torch.get_num_threads() == threads
    machine.limit_threads(3)
    assert torch.get_num_threads() == 3
