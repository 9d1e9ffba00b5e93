"""torchvision takes a second to import, so only a data set that needs it imports it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support.configs import TINY_IMAGES, without
from support.images import write_class_folders

PROGRAM = """
import sys
from gan_cli.cli.main import run_command

for arguments in {commands!r}:
    code = run_command("train", arguments)
    assert code == 0, (arguments, code)
    assert "torchvision" not in sys.modules, arguments
"""


def test_help_the_default_and_folders_import_no_torchvision(tmp_path: Path) -> None:
    write_class_folders(tmp_path / "pets", cat=5, dog=5)
    tiny = [*without(TINY_IMAGES, "dataset", "image_size"), "steps=1"]
    commands = [
        ["--help"],
        [*tiny, "dataset.download=false", f"dataset.root={tmp_path}"],
        [*tiny, "dataset=folder", "dataset.path=pets", "dataset.cache=none", "image_size=16"],
    ]
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(commands=commands)], cwd=tmp_path, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
