"""Two equal commands at once both keep what they made, and the one after a killed command does not notice it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gan_cli.cli.main import run_command
from support.configs import TINY_IMAGES

COMMANDS = (("sample", "n=3", "format=images"), ("sample", "n=1"), ("export",))
MOVES = ("link", "rename", "replace")  # the calls by which what is complete gets its name


@pytest.fixture
def run(trained: Callable[..., Path]) -> Path:
    return trained(*TINY_IMAGES, "steps=1")


def before_naming(monkeypatch: pytest.MonkeyPatch, folder: Path, act: Callable[[], object]) -> None:
    """Calls `act` once, before the first file or folder in `folder` gets its name."""
    done = []

    def acting(real: Callable[..., Any], source: Any, target: Any, **settings: Any) -> Any:
        if Path(target).parent == folder and not done:
            done.append(target)
            act()
        return real(source, target, **settings)

    for name in MOVES:
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda source, target, _real=real, **more: acting(_real, source, target, **more))


def made_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".json")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_two_equal_commands_at_once_make_two_results(
    run: Path, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, *options = command
    folder = run / ("exported" if name == "export" else "generated")
    codes: list[int] = []
    before_naming(monkeypatch, folder, lambda: codes.append(run_command(name, [f"ckpt={run}", *options])))
    codes.append(run_command(name, [f"ckpt={run}", *options]))
    assert codes == [0, 0]
    assert len(made_in(folder)) == 2
    assert not [each for each in made_in(folder) if each.startswith(".")]


class Killed(BaseException):
    """Stands for a kill: nothing is removed after it."""


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_after_a_kill_the_same_command_succeeds_and_leaves_nothing_hidden(
    run: Path, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, *options = command
    folder = run / ("exported" if name == "export" else "generated")

    def kill() -> None:
        raise Killed

    with monkeypatch.context() as patch:
        before_naming(patch, folder, kill)
        for module, function in ((shutil, "rmtree"), (os, "unlink"), (Path, "unlink")):
            patch.setattr(module, function, lambda *given, **settings: None)
        with pytest.raises(Killed):
            run_command(name, [f"ckpt={run}", *options])
    assert any(each.startswith(".") for each in made_in(folder))
    assert run_command(name, [f"ckpt={run}", *options]) == 0
    (made,) = made_in(folder)
    assert not made.startswith(".")
