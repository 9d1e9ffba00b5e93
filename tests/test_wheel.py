"""The wheel: built from the tree, installed elsewhere, it trains from another folder."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from support.configs import TINY_IMAGES
from support.paths import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by the backend itself: no build environment, so no network."""
    folder = tmp_path_factory.mktemp("dist")
    code = f"from hatchling.build import build_wheel; build_wheel({str(folder)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("gan_cli-*.whl"))


@pytest.fixture(scope="module")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts of a new environment that holds the wheel, and borrows its dependencies from this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    pip = [sys.executable, "-m", "pip", "--python", str(folder), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True)
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def test_the_wheel_holds_every_config_and_the_digits(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    shipped = {name.removeprefix("gan_cli/configs/") for name in names if name.startswith("gan_cli/configs/")}
    configs = [path for path in (ROOT / "configs").rglob("*") if path.suffix in (".yaml", ".json")]
    assert shipped == {path.relative_to(ROOT / "configs").as_posix() for path in configs}
    assert "gan_cli/data/datasets/mnist5k.npz" in names
    parts = [path for path in (ROOT / "gan_cli").rglob("*") if path.suffix in (".jinja", ".css", ".js")]
    assert len(parts) >= 7
    assert {path.relative_to(ROOT).as_posix() for path in parts} <= {*names}
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert any(name.endswith("mnist5k.LICENSE.txt") for name in names)
    assert not any(name.startswith(("tests", "outputs", "configs/")) for name in names)


def test_the_installed_commands_train_and_sample(elsewhere: Path, tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment["HOME"] = str(tmp_path / "home")

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = run(str(elsewhere / "python"), "-c", "import gan_cli; print(gan_cli.__file__)")
    assert str(elsewhere.parent) in where
    assert str(ROOT) not in where
    digits = [override for override in TINY_IMAGES if not override.startswith(("dataset", "image_size"))]
    run(str(elsewhere / "gan-train"), *digits, "dataset.download=false", "steps=2", "loss=wasserstein")
    (trained,) = tmp_path.glob("outputs/*/*")
    assert (trained / "report.html").is_file()
    printed = run(str(elsewhere / "gan-sample"), f"ckpt={trained}", "n=4")
    assert Path(printed.strip()).suffix == ".png"
    assert (tmp_path / printed.strip()).is_file()
