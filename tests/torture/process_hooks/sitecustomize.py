"""Lets one process of a job fail once a file exists. Python imports this at its start if PYTHONPATH names this folder.

`PROCESS_FAULT` is `<rank> <kind> <file>`. Of the kinds, `full_disk` lets every write below the current folder fail,
`torn_write` kills the process when it has written half of a checkpoint, and `diverge` sets a weight to NaN. With
`slow_samples`, a network in evaluation mode waits before each layer, and writes the file when it begins.
"""

from __future__ import annotations

import errno
import importlib.util
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SHIM = Path(__file__).resolve().parents[1] / "shim.py"


def _load_shim() -> Any:
    """Imports the module that replaces the functions that change files. The tests are not on sys.path here."""
    spec = importlib.util.spec_from_file_location("torture_shim", SHIM)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _install_shim(kind: str, file: str) -> None:
    shim = _load_shim()

    def act(count: int, event: Any, write: Callable[[bytes], int] | None) -> None:
        if not os.path.exists(file):
            return
        if kind == "full_disk" and event.name in shim.FAILS[errno.ENOSPC]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), event.path)
        if kind == "torn_write" and write is not None and ".safetensors" in event.path:
            write(event.detail[: len(event.detail) // 2])
            os.kill(os.getpid(), signal.SIGKILL)

    shim.Shim(Path.cwd(), act).install()


def _diverge(file: str) -> None:
    """Waits for the file in a thread of its own, then spoils a weight after the next step of an optimizer."""

    def wait() -> None:
        while not os.path.exists(file):
            time.sleep(0.02)
        from torch.optim.optimizer import register_optimizer_step_post_hook

        register_optimizer_step_post_hook(spoil)

    def spoil(optimizer: Any, arguments: Any, keywords: Any) -> None:
        optimizer.param_groups[0]["params"][0].data.fill_(float("nan"))

    threading.Thread(target=wait, daemon=True).start()


def _slow_samples(file: str) -> None:
    from torch.nn.modules.module import register_module_forward_pre_hook

    def wait(layer: Any, arguments: Any) -> None:
        if not layer.training:
            Path(file).touch()
            time.sleep(2)

    register_module_forward_pre_hook(wait)


_rank, _kind, _file = os.environ.get("PROCESS_FAULT", "none none none").split(" ", 2)
if _rank == os.environ.get("RANK"):
    if _kind == "diverge":
        _diverge(_file)
    elif _kind == "slow_samples":
        _slow_samples(_file)
    else:
        _install_shim(_kind, _file)
