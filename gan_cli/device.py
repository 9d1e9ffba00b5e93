"""Chooses the device of a run and the number of CPU threads; describes the machine, the packages and the code."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gan_cli import __version__
from gan_cli.config.train_config import Config
from gan_cli.errors import UsageError, count_noun, one_line
from gan_cli.extras import EXTRAS, require_extra

STALL_FACTOR = 10  # several threads are stalled by busy cores if they are this many times slower than one
COMPILERS = {  # that torch.compile starts: the variable that names it, its language, and its usual name
    "cpu": ("CXX", "C++", "clang++" if sys.platform == "darwin" else "g++"),
    "cuda": ("CC", "C", "gcc"),
}
MISSING_DEVICE = {
    "cuda": "PyTorch finds no GPU of NVIDIA or AMD with a driver that works",
    "mps": "needs a Mac with Apple's own chip",
}
# Variables that change the operations that PyTorch's libraries use.
FLAGS = ("MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE")
CUDA_FLAGS = ("CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE")
PACKAGES = ("torch", "numpy", "hydra-core", "omegaconf", "safetensors", "pillow", "rich")


def build_device(section: Any, number: int = 0) -> torch.device:
    """Returns the device that the section `device` names. Raises UsageError if this machine does not have it.

    Each process of a run has a GPU of its own: `number` is that of the process on this machine.
    """
    accelerators = [("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available())]
    available = [*(name for name, there in accelerators if there), "cpu"]  # the fastest first
    name = available[0] if section.name == "auto" else section.name
    if name not in available:
        built = name == "mps" or torch.version.cuda or torch.version.hip
        missing = MISSING_DEVICE[name] if built else f"PyTorch {torch.__version__} as installed computes on CPUs only"
        raise UsageError(f"device={name}: {missing}; here is device={' and device='.join(available)}")
    if name != "cuda":
        return torch.device(name)
    index, count = getattr(section, "index", 0) + number, torch.cuda.device_count()
    if index >= count and number > 0:
        raise UsageError(
            f"device.processes={section.processes}: each process needs a GPU, this machine has"
            f" {count_noun(count, 'GPU')} and the first one used is number {index - number}"
        )
    if index >= count:
        raise UsageError(f"device.index={index}: this machine has {count_noun(count, 'GPU')}, numbered from 0")
    torch.cuda.set_device(index)  # networks that draw noise use the generator of the current device
    if isinstance(tf32 := getattr(section, "tf32", "auto"), bool):
        allow_tf32(tf32)
    return torch.device("cuda", index)


def allow_tf32(allowed: bool) -> None:
    """Sets whether GPUs may use TF32 in products and convolutions of float32, by the interface that all of torch reads.

    After `torch.backends.cuda.matmul.fp32_precision`, the newer one, some of the compiler's readers raise RuntimeError.
    """
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


@contextlib.contextmanager
def without_tf32(device: torch.device) -> Iterator[None]:
    """A context in which float32 has its full precision on a GPU. Nothing changes for another device."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    if device.type == "cuda":
        allow_tf32(False)
    try:
        yield
    finally:
        if device.type == "cuda":
            torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Moves a tensor of the CPU to the device. A copy to a GPU is from pinned memory, so that it waits for nothing."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def synchronize(device: torch.device) -> None:
    """Waits until a GPU has done all work that it was given. A CPU never lags behind."""
    if device.type != "cpu":
        getattr(torch, device.type).synchronize()


def configure_process(config: Config, device: torch.device) -> None:
    """Configures PyTorch for `deterministic` and `device.tf32`, and checks what the keys `compile` and `logger` need.

    With `deterministic`, PyTorch uses operations that repeat to the last bit, and warns where such operations do not
    exist. Raises UsageError if `compile` needs a C or C++ compiler, or a logger a package, that is missing.
    """
    if config.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it a GPU's matrix products may differ
    # torch.use_deterministic_algorithms does the same, but also imports torch's compiler, which takes two seconds.
    torch.set_deterministic_debug_mode("warn" if config.deterministic else "default")
    if device.type == "cuda" and getattr(config.device, "tf32", "auto") == "auto":
        allow_tf32(not config.deterministic)
    for name in config.logger:
        if name in EXTRAS:  # the other loggers need no package
            require_extra(name, f"logger={name}")
    variable, language, usual = COMPILERS.get(device.type, COMPILERS["cpu"])
    compiler = os.environ.get(variable, usual)
    if config.compile and device.type in COMPILERS and shutil.which(compiler) is None:
        raise UsageError(
            f"compile=true: needs the {language} compiler {compiler}, install it or name another by {variable}="
        )


def limit_threads(count: int | str | None = None) -> None:
    """Sets the number of threads to an int; otherwise to one if busy cores stall several and the user set no number."""
    if isinstance(count, int):
        torch.set_num_threads(count)
    elif not threads_set_by_user() and torch.get_num_threads() > 1:
        several, alone = torch.get_num_threads(), time_threads(1)
        torch.set_num_threads(1 if time_threads(several) > STALL_FACTOR * alone else several)


def count_cores() -> int:
    """Returns the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_set_by_user() -> bool:
    """Returns whether OMP_NUM_THREADS sets the number of threads."""
    return os.environ.get("OMP_NUM_THREADS", "").strip().isdigit()


def time_threads(count: int) -> float:
    """Sets the number of threads to `count` and returns the time in seconds of ten short operations.

    If a core is busy, all threads wait for the thread on this core, and take far longer than one thread alone.
    """
    torch.set_num_threads(count)
    values = torch.ones(200_000)
    values.add_(1)
    started = time.perf_counter()
    for _ in range(10):
        values.add_(1)
    return time.perf_counter() - started


def describe_device(device: torch.device) -> str:
    """Returns the name of the device; for a CUDA device, the model of the GPU too."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def describe_cpu() -> str:
    """Returns the model of the CPU and the instruction set that PyTorch uses of it, as AVX2."""
    models: list[str] = []
    with contextlib.suppress(OSError):  # only Linux has this file
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
        models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    model = models[0] if models else platform.processor() or platform.machine()
    return f"{model}, {torch.backends.cpu.get_cpu_capability()}"


def describe_flags(device: torch.device) -> str:
    """Returns the settings, of PyTorch and in the environment, that change how PyTorch computes; `none` if none is."""
    names = [*FLAGS, *(CUDA_FLAGS if device.type == "cuda" else ())]
    found = [f"{name}={one_line(os.environ[name], 40)}" for name in names if os.environ.get(name)]
    precision = torch.get_float32_matmul_precision()
    found += [] if precision == "highest" else [f"matmul={precision}"]
    if device.type == "cuda" and not torch.backends.cudnn.allow_tf32:
        found.append("convolutions=highest")
    return " ".join(found) or "none"


def numeric_environment(device: torch.device) -> dict[str, Any]:
    """Returns the versions, the machine and the settings on which the last bits of results depend."""
    return {
        "gan_cli": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": describe_device(device),
        "cpu": describe_cpu(),
        "threads": torch.get_num_threads(),
        "flags": describe_flags(device),
    }


def environment() -> dict[str, Any]:
    """Returns the versions of Python, the system, the packages and the code, which a run records."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "git": git_state(Path(__file__).resolve().parent),
    }


def git_state(folder: Path) -> dict[str, Any] | None:
    """Returns the commit of the code in `folder` and whether its files changed since; None without git's history."""
    commit = _git(folder, "rev-parse", "HEAD")
    tracked = _git(folder, "ls-files", "--error-unmatch", Path(__file__).name)
    if commit is None or tracked is None:
        return None
    return {"commit": commit, "changed": bool(_git(folder, "status", "--porcelain", "--untracked-files=no", "."))}


def _git(folder: Path, *arguments: str) -> str | None:
    """Returns the output of a git command in `folder`; None if the command fails or takes over 10 seconds."""
    try:
        command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]  # else a kill leaves index.lock there
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
