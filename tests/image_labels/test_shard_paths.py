"""The shards that a path names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gan_cli.image_labels.shard_paths import expand_braces, find_shards, has_addresses
from support.configs import compose
from support.errors import refused


def files(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def names(*found: str) -> list[str]:
    return [os.path.basename(path) for path in found]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a-{0008..0011}.tar", ["a-0008.tar", "a-0009.tar", "a-0010.tar", "a-0011.tar"]),
        ("{a,b}/{0..1}.tar", ["a/0.tar", "a/1.tar", "b/0.tar", "b/1.tar"]),
        ("https://x.org/{9..10}.tar", ["https://x.org/9.tar", "https://x.org/10.tar"]),
        ("plain.tar", ["plain.tar"]),
        ("odd{.tar", ["odd{.tar"]),
    ],
)
def test_braces(pattern: str, expected: list[str]) -> None:
    assert expand_braces(pattern) == expected


def test_a_file_with_braces_in_its_name_is_itself(tmp_path: Path) -> None:
    files(tmp_path, "a{1..2}.tar")
    assert find_shards(str(tmp_path / "a{1..2}.tar")) == (str(tmp_path / "a{1..2}.tar"),)


def test_folders_lists_and_stars(tmp_path: Path) -> None:
    files(tmp_path, "b.tar", "a.tar", "notes.txt", ".hidden.tar", "c.tar.gz")
    assert names(*find_shards(str(tmp_path))) == ["a.tar", "b.tar", "c.tar.gz"]
    assert names(*find_shards((str(tmp_path / "b.tar"), str(tmp_path / "a.tar")))) == ["b.tar", "a.tar"]
    assert names(*find_shards(f"[{tmp_path}/b.tar,{tmp_path}/a.tar]")) == ["b.tar", "a.tar"]
    assert names(*find_shards(str(tmp_path / "?.tar").replace("?", "*"))) == ["a.tar", "b.tar"]


def test_the_names_in_a_folder_give_the_split(tmp_path: Path) -> None:
    files(tmp_path, "imagenet-train-0.tar", "imagenet-val-0.tar", "latest-0.tar")
    assert names(*find_shards(str(tmp_path))) == ["imagenet-train-0.tar", "latest-0.tar"]
    assert names(*find_shards(str(tmp_path), "test")) == ["imagenet-val-0.tar"]
    (tmp_path / "imagenet-val-0.tar").unlink()
    refused(lambda: find_shards(str(tmp_path), "test"), "has no shards of a test split")
    files(tmp_path / "other", "val-0.tar")
    refused(lambda: find_shards(str(tmp_path / "other")), "shards of a test split alone")


def test_what_is_refused(tmp_path: Path) -> None:
    files(tmp_path, "a.tar")
    refused(lambda: find_shards(str(tmp_path / "b.tar")), "b.tar: not found")
    refused(lambda: find_shards(str(tmp_path / "{0..1}.tar")), "0.tar: not found")
    refused(lambda: find_shards(str(tmp_path / "x*.tar")), "matches no file")
    refused(lambda: find_shards((str(tmp_path / "a.tar"), str(tmp_path / "*.tar"))), "named twice")
    refused(lambda: find_shards("{0..999999999}.tar"), "more than 100,000")
    refused(lambda: find_shards("{0..999}{0..999}.tar"), "at most 100,000")
    refused(lambda: find_shards("{5..2}.tar"), "first..last")
    refused(lambda: find_shards(()), "name the shards")
    (tmp_path / "empty").mkdir()
    refused(lambda: find_shards(str(tmp_path / "empty")), "no .tar file")


def test_addresses() -> None:
    assert find_shards("https://x.org/a.tar") == ("https://x.org/a.tar",)
    assert has_addresses(("a.tar", "http://x.org/a.tar"))
    assert not has_addresses("httpd/a.tar")
    assert not has_addresses(None)


def test_a_pattern_that_the_shell_expanded() -> None:
    expanded = ["dataset=webdataset", "dataset.path=a-0.tar", "dataset.path=a-1.tar"]
    refused(lambda: compose(*expanded), "dataset.path is given twice; quote {0..9}, a shell expands it")
