"""Training, resuming, sampling and exporting on an NVIDIA GPU: `make test-gpu`. Skipped where there is none.

On the CPU and on the GPU a step draws the same random numbers, so the losses of the first steps agree up to rounding.
"""

from __future__ import annotations

import gc
import json
import os
import re
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn

from gan_cli.cli.main import run_command
from gan_cli.data.datasets.mnist_family import MNIST, load_digits
from gan_cli.data.labels import Attribute
from gan_cli.data.load_dataset import build_batches, build_dataset, with_classes
from gan_cli.device import build_device
from gan_cli.distributed.batch_norm import share_statistics
from gan_cli.distributed.batch_share import Share, sharing
from gan_cli.evaluation.metrics.classifier import LabelledImages, train_classifier
from gan_cli.evaluation.real_data import RealData
from gan_cli.evaluation.reference import build_extractor
from gan_cli.launch.autotune import resolve_precision
from gan_cli.state.train_state import TrainState, build_state
from gan_cli.training.objective import Objective, build_objective
from gan_cli.training.steps import training_step
from support.commands import error_line, run_process
from support.configs import TINY_IMAGES, compose, without
from support.runs import assert_equal_runs, last_checkpoint, logged_metrics
from support.training import stop_after

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU here")]

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
POINTS = ["dataset=ring", "dataset.size=400", "architecture=mlp", "batch_size=16", "threads=1"]
DCGAN_NORM = ["architecture=dcgan", "regularizer=none", "architecture.discriminator.normalization=batch"]
CHOICES = {
    **{f"loss {name}": [f"loss={name}", "regularizer=none"] for name in ("bce", "hinge", "least_squares", "minimax")},
    **{f"loss {name}": [f"loss={name}"] for name in ("non_saturating", "relativistic", "wasserstein")},
    **{
        f"regularizer {name}": [f"regularizer={name}"]
        for name in (
            "r1", "r2", "r1_r2", "gradient_penalty", "dragan", "zero_centered", "js", "lecam", "consistency",
            "orthogonal", "weight_clip",
        )
    },
    **{
        f"augmentation {name}": [f"training.augment=[{name}]", "training.ada_target=0.6"]
        for name in ("color", "translation", "cutout", "turn", "ada", "noise")
    },
    "architecture dcgan": DCGAN_NORM,
    "architecture mlp": ["architecture=mlp"],
    "architecture resnet": ["architecture=resnet", "architecture.generator.attention=8"],
    "architecture r3gan": ["architecture=r3gan", "loss=relativistic", "regularizer=r1_r2"],
    "architecture stylegan2": [
        "architecture=stylegan2",
        "auxiliary=path_length",
        "auxiliary.path_length.every=2",
        "architecture.generator.style_mixing=0.9",
    ],
    "architecture fastgan": ["architecture=fastgan", "regularizer=reconstruction"],
    "architecture pggan": ["architecture=pggan", "loss=wasserstein", "regularizer=[gradient_penalty,drift]"],
    "architecture projected": ["architecture=projected", "loss=hinge", "regularizer=none"],
    "architecture srresnet": ["architecture=srresnet", "conditioning=tags", "regularizer=dragan"],
    "architecture subpixel": ["architecture.generator.output=blurred"],
    **{f"conditioning {name}": [f"conditioning={name}"] for name in ("acgan", "concat", "projection", "tags")},
    **{
        f"minibatch {name}": [f"architecture.discriminator.minibatch={name}"]
        for name in ("stddev", "deviations", "discrimination")
    },
    **{f"optimizer {name}": [f"optimizer={name}"] for name in ("adamw", "rmsprop", "sgd")},
    "spectral normalization": ["regularizer=none", "architecture.discriminator.normalization=spectral"],
    "layer and instance normalization": [
        "architecture.discriminator.normalization=layer",
        "architecture.generator.normalization=instance",
    ],
    "noise, packing, top k, smoothing, clipping": [
        "training.instance_noise=0.3", "training.pack=2", "training.top_k=0.5", "training.label_smoothing=0.1",
        "training.clip_grad_norm=0.5", "architecture.generator.latent=uniform",
    ],
    "accumulation, flips, two updates of D": [
        "training.accumulate=2", "dataset.flip=both", "training.n_critic=2", "training.reuse_fakes=false",
    ],
    "unrolling": ["regularizer=none", "training.unroll_steps=2", "loss=minimax"],
    "activation checkpointing": [
        "architecture=resnet", "training.checkpoint_activations=true", "regularizer=none",
        "architecture.discriminator.normalization=spectral", "architecture.generator.normalization=batch",
    ],
    "task translation": ["task=translation", "task.source=edges", "conditioning=projection"],
    "task inpainting": ["task=inpainting", "auxiliary=[l1,gradient_difference,perceptual]"],
    "task super_resolution": ["task=super_resolution", "auxiliary=[l2,feature_matching]", "task.factor=2"],
}  # fmt: skip
READS_COUNTS = ("unrolling",)  # reads the number of D's updates in each step
RESUMED = {
    "default, bf16": ["precision=bf16"],
    "default, fp16": ["precision=fp16"],
    "activation checkpointing, dropout": [
        "architecture.generator.dropout=0.3", "architecture.discriminator.dropout=0.3",
        "training.checkpoint_activations=true",
    ],
    "batch norm, augmented": [*DCGAN_NORM, "training.augment=[color,translation,cutout]"],
    "dropout, consistency": [
        "architecture.generator.dropout=0.3", "architecture.discriminator.dropout=0.3",
        "regularizer=[lecam,consistency]",
    ],
    "resnet, spectral norm, two optimizers": [
        "architecture=resnet", "regularizer=none", "architecture.discriminator.normalization=spectral",
        "optimizer/generator=sgd", "optimizer/discriminator=rmsprop", "training.n_critic=2",
    ],
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def reproducible_products() -> None:
    """Matrix products that repeat to the last bit. cuBLAS reads this once in a process, before its first product."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def refuse_waits(refused: bool) -> None:
    """Sets whether an operation for which the CPU waits for the GPU raises RuntimeError."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Synchronization debug mode is a prototype")
        torch.cuda.set_sync_debug_mode("error" if refused else "default")


@pytest.fixture(autouse=True)
def default_modes() -> Iterator[None]:
    """Restores the process-wide modes that a test or a run changes."""
    in_products, in_convolutions = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    yield
    refuse_waits(False)
    torch.set_deterministic_debug_mode("default")
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = in_products, in_convolutions


def prepared(device: torch.device, *overrides: str) -> tuple[TrainState, Objective, Any]:
    """Returns a new state, objective and batches of small images, or of points where `overrides` say so."""
    basis = [] if "dataset=ring" in overrides else TINY_IMAGES
    basis = without(basis, "architecture.") if "architecture=mlp" in overrides else basis
    precision = [] if any(each.startswith("precision=") for each in overrides) else ["precision=fp32"]
    config = compose(*basis, *precision, *overrides)
    dataset = build_dataset(config.dataset, config.image_size)
    config = with_classes(config, dataset)
    state, batches = build_state(config, device), build_batches(config, dataset, device)
    state.counters.total_steps = config.steps
    return state, build_objective(config, batches), batches


def losses(device: torch.device, *overrides: str, steps: int = 3) -> list[float]:
    """Returns the losses of D, the sums of its penalties and the losses of G of the first steps, update by update."""
    state, objective, batches = prepared(device, *overrides)
    found = []
    while state.counters.step < steps:
        output = training_step(state, objective, batches)
        if output is None:
            assert state.discriminator_output is not None
            penalties = state.discriminator_output.penalties.values()
            found += [state.discriminator_output.loss.item(), sum(value.item() for value in penalties)]
        else:
            found.append(output.loss.item())
    assert all(parameter.device == device for parameter in state.generator.parameters())
    return found


@pytest.mark.parametrize("choice", CHOICES)
def test_the_first_losses_equal_those_of_the_cpu(choice: str) -> None:
    torch.backends.cudnn.allow_tf32 = False  # TF32 keeps 10 bits of a factor
    ours, expected = losses(GPU, *CHOICES[choice]), losses(CPU, *CHOICES[choice])
    assert ours[:2] == pytest.approx(expected[:2], rel=1e-4, abs=1e-5)
    assert ours == pytest.approx(expected, rel=2e-2, abs=5e-3)  # Adam's first updates amplify differences


def test_points_equal_those_of_the_cpu() -> None:
    assert losses(GPU, *POINTS) == pytest.approx(losses(CPU, *POINTS), rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_fewer_digits_change_little(precision: str) -> None:
    """fp32 is with TF32 in convolutions, as PyTorch sets it."""
    ours, expected = losses(GPU, f"precision={precision}"), losses(CPU)
    assert ours[0] == pytest.approx(expected[0], rel=0.02)
    assert ours == pytest.approx(expected, rel=0.2, abs=0.2)


@pytest.mark.parametrize("choice", [choice for choice in CHOICES if choice not in READS_COUNTS])
def test_a_step_does_not_wait_for_the_gpu(choice: str) -> None:
    state, objective, batches = prepared(GPU, *CHOICES[choice])
    while state.counters.step < 1:
        training_step(state, objective, batches)
    refuse_waits(True)
    while state.counters.step < 3:
        training_step(state, objective, batches)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("architecture", ["dcgan", "resnet", "stylegan2"])
def test_a_step_in_any_precision_does_not_wait_for_the_gpu(architecture: str, precision: str) -> None:
    """The scaler of fp16 neither, with Adam, whose kernel skips an update by itself."""
    overrides = [f"architecture={architecture}", f"precision={precision}", "regularizer=[r1,lecam]", "image_size=32"]
    state, objective, batches = prepared(GPU, *overrides, "training.clip_grad_norm=1", "training.ada_target=0.6")
    while state.counters.step < 1:
        training_step(state, objective, batches)
    refuse_waits(True)
    while state.counters.step < 3:
        training_step(state, objective, batches)


def test_the_scaler_skips_an_overflow_on_the_gpu() -> None:
    state, objective, batches = prepared(GPU, "precision=fp16", "regularizer=none")
    scaler = state.scalers["discriminator"]
    scaler.load({"scale": torch.tensor(2.0**126), "growth": torch.tensor(0.0), "skipped": torch.tensor(0.0)})
    before = [parameter.clone() for parameter in state.discriminator.parameters()]
    training_step(state, objective, batches)
    assert scaler.skipped.item() == 1
    assert scaler.tensors()["scale"].item() == 2.0**125
    assert all(torch.equal(*pair) for pair in zip(before, state.discriminator.parameters(), strict=True))


@pytest.mark.filterwarnings("default")  # the compiler's advice
def test_compiled_networks_have_nearly_the_same_losses() -> None:
    torch.backends.cudnn.allow_tf32 = False
    assert losses(GPU, "compile=true") == pytest.approx(losses(GPU), rel=2e-2, abs=5e-3)


# --- runs ------------------------------------------------------------------------------------------------------------


def text_of(run: Path) -> str:
    return (run / "train.log").read_text()


@pytest.fixture
def gpu_run(trained: Callable[..., Path]) -> Path:
    """A run of two steps with the default device."""
    return trained(*TINY_IMAGES, "steps=2", "conditioning=projection", "name=gpu")


def test_auto_takes_the_gpu_and_the_log_names_it(gpu_run: Path) -> None:
    name = f"cuda:0 ({torch.cuda.get_device_name(0)})"
    precision = resolve_precision(compose(*TINY_IMAGES), GPU).precision
    assert f"device: {name}, {precision}" in text_of(gpu_run)
    assert json.loads((gpu_run / "config.json").read_text())["device"] == name
    assert last_checkpoint(gpu_run).provenance.device == name
    peaks = [json.loads(line)["memory/peak_mb"] for line in (gpu_run / "metrics.jsonl").read_text().splitlines()]
    assert peaks[-1] > 0
    assert build_device(compose("device=cuda").device) == GPU


@pytest.mark.parametrize("recipe", RESUMED)
def test_a_deterministic_run_resumes_bit_for_bit(
    recipe: str, train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = [*TINY_IMAGES, *RESUMED[recipe], "device=cuda", "deterministic=true"]
    unbroken = train(*overrides, "steps=5", "name=unbroken")
    with monkeypatch.context() as patch:
        stop_after(5, patch)
        stopped = train(*overrides, "steps=5", "name=stopped", code=128 + signal.SIGINT)
    assert last_checkpoint(stopped).counters.step < 5
    train(f"resume={stopped}")
    assert_equal_runs(unbroken, stopped)


def test_a_deterministic_process_repeats_without_a_warning(here: Path) -> None:
    command = [*TINY_IMAGES, "device=cuda", "deterministic=true", "steps=3", "training.augment=[translation]"]
    runs = []
    for name in ("one", "other"):
        done = run_process("train", *command, f"name={name}", cwd=here)
        assert (done.returncode, done.stderr) == (0, "")
        runs += here.glob(f"outputs/{name}/*")
    assert_equal_runs(*runs)


@pytest.mark.parametrize(("first", "second"), [("cuda", "cpu"), ("cpu", "cuda")])
def test_a_run_moves_between_gpu_and_cpu(first: str, second: str, train: Callable[..., Path]) -> None:
    overrides = [*TINY_IMAGES, "precision=fp32", "regularizer=[r1,lecam]"]
    run = train(*overrides, f"device={first}", "steps=2", "name=moved")
    expected = last_checkpoint(train(*overrides, "device=cpu", "steps=4", "name=cpu"))
    train(f"resume={run}", f"device={second}", "extra_steps=2")
    assert "warning: device was" in text_of(run)
    moved = last_checkpoint(run)
    assert moved.counters.step == 4
    assert moved.tensors.keys() == expected.tensors.keys()
    assert [line["step"] for line in logged_metrics(run)] == [1, 2, 3, 4]


def test_grids_and_evaluations_work_on_the_gpu(train: Callable[..., Path]) -> None:
    run = train(
        *without(TINY_IMAGES, "training.sample_every"),
        "device=cuda", "steps=4", "conditioning=acgan", "training.sample_every=2", "training.evaluate_every=2",
        "evaluation.metrics=[frechet,precision_recall]", "evaluation.n=100",
        "architecture.generator.normalization=batch",
    )  # fmt: skip
    lines = logged_metrics(run)
    assert any(key.startswith("frechet") for key in lines[-1])
    assert (run / "samples" / "step_00000004.png").is_file()


@pytest.mark.parametrize("name", ["random", "classifier"])
def test_features_of_the_gpu_are_those_of_the_cpu(name: str) -> None:
    """Without TF32, which would change the third digit."""
    data = load_digits(MNIST, root="nowhere", download=False, fallback="bundled", image_size=(28, 28), split="train")
    assert data.labels is not None
    known = train_classifier(LabelledImages(data.samples, data.labels, [Attribute("", 0, 10)]), steps=20)
    real = RealData(data, data)
    on_cpu, on_gpu = (
        build_extractor(name, real, load=lambda *_: (known, ""), device=device).extract(data.samples[:700])
        for device in (CPU, GPU)
    )
    assert on_gpu.features.device == CPU
    torch.testing.assert_close(on_gpu.features, on_cpu.features, rtol=1e-4, atol=1e-4)
    assert (on_gpu.probabilities is None) == (name == "random")


def test_samples_of_the_gpu_are_those_of_the_cpu(gpu_run: Path, here: Path, capsys: pytest.CaptureFixture) -> None:
    images = []
    for device in ("cpu", "cuda"):
        out = here / f"{device}.npz"
        command = [f"ckpt={gpu_run}", f"device={device}", "format=npz", "seeds=0-15", f"out={out}"]
        assert run_command("sample", command) == 0, capsys.readouterr().err
        images.append(np.load(out)["images"].astype(int))
    assert abs(images[0] - images[1]).max() <= 2  # of 255; convolutions on the GPU are in TF32


def test_a_run_of_the_gpu_is_evaluated_and_exported(gpu_run: Path, here: Path, capsys: pytest.CaptureFixture) -> None:
    for command, *arguments in (
        ["eval", "n=50", "device=cuda"],
        ["eval", "n=50", "device=cpu"],
        ["project", "n=2", "steps=5", "candidates=20", "extractor=random", "device=cuda"],
        ["direction", "by=sefa", "n=2", "device=cuda"],
        ["export", f"out={here / 'one.safetensors'}"],
        ["export", f"out={here / 'two.pt2'}", "format=pt2"],
    ):
        code = run_command(command, [f"ckpt={gpu_run}", *arguments])
        assert code == 0, capsys.readouterr().err


def free_memory() -> None:
    """Gives the memory of earlier networks back to the GPU."""
    gc.collect()
    torch.cuda.empty_cache()


@pytest.fixture
def little_memory() -> Iterator[None]:
    """A GPU of which other tensors use all but 3 GiB; a process needs some 0.5 GiB of them before its first tensor."""
    free_memory()
    free, _ = torch.cuda.mem_get_info()
    taken = torch.empty(free - (3 << 30), dtype=torch.uint8, device="cuda")
    yield
    del taken
    free_memory()


@pytest.mark.usefixtures("little_memory")
def test_too_little_memory_names_a_batch_size_that_then_trains(
    train: Callable[..., Path], capsys: pytest.CaptureFixture
) -> None:
    small = ("batch_size", "image_size", "dataset.size", "architecture.generator.base_channels")
    large = [*without(TINY_IMAGES, *small), "image_size=128", "dataset.size=4000", "device=cuda", "steps=1"]
    large += ["architecture=dcgan", "architecture.generator.base_channels=64", "precision=fp32"]
    line = error_line(capsys, "train", *large, "batch_size=4000")
    named = re.search("out of memory at batch_size=4000; (batch_size=[0-9]+) works here", line)
    assert named is not None, line
    free_memory()
    train(*large, named[1])


@pytest.mark.usefixtures("little_memory")
def test_too_little_memory_names_activation_checkpointing_where_it_then_trains(
    train: Callable[..., Path], capsys: pytest.CaptureFixture
) -> None:
    """A ResNet whose activations take some 3.8 GiB at this size, and 0.5 with checkpoints beside those of a block."""
    large = [*without(TINY_IMAGES, "batch_size", "image_size", "architecture"), "architecture=resnet", "device=cuda"]
    large += ["image_size=64", "dataset.image_channels=3", "regularizer=none", "precision=fp32", "steps=1"]
    line = error_line(capsys, "train", *large, "batch_size=160")
    assert "training.checkpoint_activations=true with the same batch_size" in line
    free_memory()
    train(*large, "batch_size=160", "training.checkpoint_activations=true")


@pytest.mark.usefixtures("little_memory")
def test_samples_are_made_in_batches_that_fit(gpu_run: Path, capsys: pytest.CaptureFixture) -> None:
    sample = ["sample", [f"ckpt={gpu_run}", "device=cuda", "format=npz", "n=100000", "batch_size=100000"]]
    assert run_command(*sample) == 0, capsys.readouterr().err  # type: ignore[arg-type]


def test_a_gpu_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture, here: Path) -> None:
    count = torch.cuda.device_count()
    line = error_line(capsys, "train", *TINY_IMAGES, "device=cuda", f"device.index={count}")
    assert f"device.index={count}: this machine has {count} GPU" in line


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_batch_normalization_of_several_processes_works_on_the_gpu(dtype: torch.dtype) -> None:
    """Of one process, so that one GPU is enough: output and gradients are those of PyTorch's layer."""
    dist.init_process_group("nccl", store=dist.HashStore(), rank=0, world_size=1)
    random = torch.Generator().manual_seed(0)
    drawn, factors = (torch.randn(8, 3, 5, 5, generator=random).to(GPU) for _ in range(2))
    found = []
    try:
        for shared in (False, True):
            layer, values = nn.BatchNorm2d(3).to(GPU), (3 + drawn).to(dtype).requires_grad_()
            if shared:
                share_statistics(layer)
            with sharing(Share(dist.group.WORLD, 0, 1)):
                output = layer(values)
                (output.float() * factors).sum().backward()
            found.append([output, values.grad, layer.weight.grad, layer.bias.grad, layer.running_var])
    finally:
        dist.destroy_process_group()
    for expected, tensor in zip(*found, strict=True):
        torch.testing.assert_close(tensor, expected, rtol=2e-2, atol=2e-2 if dtype == torch.bfloat16 else 1e-5)


def test_each_process_needs_a_gpu(here: Path) -> None:
    """The error of the process without a GPU, printed once, ends the others."""
    count = torch.cuda.device_count()
    command = [sys.executable, "-m", "gan_cli", "train", *TINY_IMAGES, "device=cuda", f"device.processes={count + 1}"]
    sized = f"batch_size={8 * (count + 1)}"
    done = subprocess.run([*command, "steps=1", sized], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 2
    assert f"device.processes={count + 1}: each process needs a GPU, this machine has {count} GPU" in done.stderr


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_gpus_train_as_one(here: Path, train: Callable[..., Path]) -> None:
    overrides = [*TINY_IMAGES, "device=cuda", "steps=3", "precision=fp32", "optimizer=sgd"]
    expected = last_checkpoint(train(*overrides, "name=one"))
    command = [sys.executable, "-m", "gan_cli", "train", *overrides, "device.processes=2", "name=two"]
    subprocess.run(command, check=True, timeout=300)
    (folder,) = Path("outputs/two").iterdir()
    found = last_checkpoint(folder)
    for name, tensor in expected.tensors.items():
        assert torch.allclose(tensor, found.tensors[name], rtol=1e-3, atol=1e-4), name
