"""Files and folders appear whole, under a name of their own, and nothing of a killed command stays."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from gan_cli.errors import StorageError
from gan_cli.storage import output_file
from gan_cli.storage.atomic_write import claim, replacing, temporary_folder
from gan_cli.storage.output_file import claim_unused, keep_as, writing_to
from gan_cli.storage.run_folder import clear_leftovers


def test_parts_of_killed_commands_go_and_those_of_live_ones_stay(tmp_path: Path) -> None:
    dead = tmp_path / ".gan-cli-abcd_123"
    dead.mkdir()
    (dead / "half").write_text("half")
    with temporary_folder(tmp_path) as live, replacing(tmp_path / "x") as part:
        part.write_text("whole")
        clear_leftovers(tmp_path)
        assert live.is_dir()
        assert part.is_file()
        assert not dead.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_name_taken_meanwhile_is_not_overwritten(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another command takes the name between its choice and its claim."""
    choose, taken = output_file.unused_path, []

    def choose_late(folder: Path, stem: str, ending: str, others: list[str]) -> Path:
        path = choose(folder, stem, ending, others)
        if not taken:
            taken.append(path)
            claim(make("other"), path)
        return path

    def make(name: str) -> Path:
        part = tmp_path / f".{name}"
        if kind == "folder":
            part.mkdir()
            part /= "content"
        part.write_text(name)
        return tmp_path / f".{name}"

    def read(path: Path) -> str:
        return (path / "content" if kind == "folder" else path).read_text()

    monkeypatch.setattr(output_file, "unused_path", choose_late)
    note = tmp_path / ".note"
    note.write_text("{}")
    target = claim_unused(make("mine"), tmp_path, "x", "", note)
    assert (target.name, read(target), read(taken[0])) == ("x-2", "mine", "other")
    assert (tmp_path / "x-2.json").is_file()
    assert not (tmp_path / "x.json").exists()


def test_an_error_without_a_name_gets_that_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left on device") as raised, replacing(tmp_path / "a.json"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert raised.value.filename == str(tmp_path / "a.json")
    with pytest.raises(OSError, match="No such file") as raised, replacing(tmp_path / "b.json") as part:
        assert not part.exists()  # so that the renaming fails
    assert raised.value.filename == str(tmp_path / "b.json")
    assert list(tmp_path.iterdir()) == []


def test_what_gan_cli_did_not_make_stays(tmp_path: Path) -> None:
    """Names that resemble those of temporary folders, files of such a name, and links."""
    names = (
        ".tmp-work",
        ".gan-cli-my_own_work",
        ".gan-cli-",
        ".gan-cli-WORKWORK",
        ".part-december",
        "xx.gan-cli-abcdefgh",
    )
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.txt").write_text("precious")
    (tmp_path / ".gan-cli-abcdefgh").write_text("precious")
    (tmp_path / ".gan-cli-12345678").symlink_to(tmp_path / ".tmp-work")
    before = sorted(tmp_path.rglob("*"))
    for path in before:
        os.utime(path, (0, 0), follow_symlinks=False)
    with replacing(tmp_path / "x") as part:
        part.touch()
    clear_leftovers(tmp_path)
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "x"])


def test_after_an_error_neither_of_two_files_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part, note = tmp_path / ".part", tmp_path / ".note"
    part.write_text("image")
    note.write_text("{}")
    link = os.link

    def full(source: Path, target: Path) -> None:
        if target.name == "x.png":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(source))
        link(source, target)

    monkeypatch.setattr(os, "link", full)
    monkeypatch.setattr(os, "replace", full)
    message = r"new: cannot be written \(No space left on device, [\d,]+ bytes free\)"
    refused = pytest.raises(StorageError, match=message)
    with refused, writing_to(tmp_path / "new"), temporary_folder(tmp_path) as folder:
        keep_as(part.rename(folder / "part"), tmp_path / "x.png", (note, tmp_path / "x.json"))
    assert [path.name for path in tmp_path.iterdir()] == [".note"]
