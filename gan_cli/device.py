"""The device a run is on, and the record of machine, packages and code."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from gan_cli.config.train_config import Config
from gan_cli.errors import UsageError, counted
from gan_cli.extras import EXTRAS, require_extra

STALLED = 10  # times slower than one thread alone: its partners wait for cores that are busy
PACKAGES = ("torch", "numpy", "hydra-core", "omegaconf", "safetensors", "pillow", "rich")


def build_device(section: Any) -> torch.device:
    """The device a config section names; UsageError tells what is there instead."""
    present = available_devices()
    if section.name == "auto":
        return torch.device(present[0])
    if section.name not in present:
        raise UsageError(f"device={section.name}: not available here, use one of {', '.join(reversed(present))}")
    if section.name == "cuda":
        count = torch.cuda.device_count()
        if section.index >= count:
            raise UsageError(f"device.index={section.index}: this machine has {counted(count, 'GPU')}, numbered from 0")
        torch.cuda.set_device(section.index)  # whose generator is seeded where networks draw themselves
        return torch.device("cuda", section.index)
    return torch.device(section.name)


def make_ready(config: Config, device: torch.device) -> None:
    """Sets the process up for `deterministic`; UsageError if `compile` has no C++ compiler, or `logger` no package.

    Operations are chosen that give the same bits again, where there are such; PyTorch warns of any other.
    """
    if config.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it a GPU's matrix products may differ
    # As torch.use_deterministic_algorithms, which also imports the whole compiler to tell it: two seconds.
    torch.set_deterministic_debug_mode("warn" if config.deterministic else "default")
    for name in config.logger:
        if name in EXTRAS:  # the others need no package
            require_extra(name, f"logger={name}")
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if config.compile and device.type == "cpu" and shutil.which(compiler) is None:
        raise UsageError(f"compile=true: needs the C++ compiler {compiler}, install it or name another by CXX=")


def calm_threads(count: int | str | None = None) -> None:
    """Gives the process so many threads; without a number one, if several would wait for cores that are busy."""
    if isinstance(count, int):
        torch.set_num_threads(count)
    elif not threads_are_given() and torch.get_num_threads() > 1:
        several, alone = torch.get_num_threads(), probe_seconds(1)
        torch.set_num_threads(1 if probe_seconds(several) > STALLED * alone else several)


def threads_are_given() -> bool:
    """Whether the user has said by OMP_NUM_THREADS how many there are to be."""
    return os.environ.get("OMP_NUM_THREADS", "").strip().isdigit()


def probe_seconds(count: int) -> float:
    """Of ten short operations. Threads that wait for one whose core is busy take far longer than one thread alone."""
    torch.set_num_threads(count)
    values = torch.ones(200_000)
    values.add_(1)
    started = time.perf_counter()
    for _ in range(10):
        values.add_(1)
    return time.perf_counter() - started


def available_devices() -> list[str]:
    """Fastest first."""
    accelerators = [("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available())]
    return [name for name, there in accelerators if there] + ["cpu"]


def describe_device(device: torch.device) -> str:
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def environment() -> dict[str, Any]:
    """What else a repetition needs to know."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "git": git_state(Path(__file__).resolve().parent),
    }


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit of this code and whether it was changed since; None outside a checkout."""
    commit = _git(folder, "rev-parse", "HEAD")
    tracked = _git(folder, "ls-files", "--error-unmatch", "machine.py")
    if commit is None or tracked is None:
        return None
    return {"commit": commit, "changed": bool(_git(folder, "status", "--porcelain", "--untracked-files=no", "."))}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
