"""Several processes compute the gradients, the state and the outputs of one process, for each loss and penalty."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.paths import ROOT
from support.process_equality import CASES, DOUBLE_ONLY, SINGLE

DOUBLE, FLOAT = 1e-9, 1e-5  # largest relative differences
WORKER = ROOT / "tests" / "support" / "process_equality.py"


def differences(count: int, bits: int, store: Path, *cases: str) -> dict[str, tuple[float, str]]:
    """Returns the largest relative difference of each case between `count` processes and one, and where it is."""
    local = {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "tests")}
    workers = [
        subprocess.Popen(
            [sys.executable, "-P", str(WORKER), str(rank), str(count), str(store), str(bits), *cases],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, **local},
        )
        for rank in range(count)
    ]  # fmt: skip
    found = {}
    for worker in workers:
        text, errors = worker.communicate(timeout=1200)
        assert worker.returncode == 0, errors
        for line in text.splitlines():
            name, difference, tensor = line.split("\t")
            found[name] = float(difference), tensor
    return found


def require_equal(found: dict[str, tuple[float, str]], cases: set[str], least: float) -> None:
    assert found.keys() == cases
    for name, (difference, tensor) in found.items():
        limit = FLOAT if name.removeprefix("augment=").startswith(SINGLE) else least
        assert difference < limit, f"{name}: {difference:.3g} in {tensor}"


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    require_equal(differences(2, 64, tmp_path / "store"), {*CASES}, DOUBLE)


FEW = (
    "loss=relativistic", "lecam from the first update", "unrolled", "top_k of pairs", "minibatch=deviations",
    "accumulate",
)  # fmt: skip


def test_four_processes_train_as_one(tmp_path: Path) -> None:
    require_equal(differences(4, 64, tmp_path / "store", *FEW), {*FEW}, DOUBLE)


def test_in_float32_too(tmp_path: Path) -> None:
    require_equal(differences(2, 32, tmp_path / "store", *FEW[:3]), {*FEW[:3]}, FLOAT)


@pytest.mark.slow
@pytest.mark.parametrize(("bits", "least"), [(64, DOUBLE), (32, FLOAT)])
def test_four_processes_train_all_cases_as_one(tmp_path: Path, bits: int, least: float) -> None:
    cases = [name for name in CASES if bits == 64 or name not in DOUBLE_ONLY]
    require_equal(differences(4, bits, tmp_path / "store", *cases), {*cases}, least)


def test_a_wrong_share_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison itself: without the average of gradients the results differ."""
    monkeypatch.setenv("SKIP_AVERAGE", "1")
    difference, _ = differences(2, 64, tmp_path / "store", "loss=hinge")["loss=hinge"]
    assert difference > 1e-3
