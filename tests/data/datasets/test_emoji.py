"""Emoji and pairs of emoji from npm packages: where packages are found, splits, labels, licences, hostile packages."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gan_cli.cli.early_checks import check_training
from gan_cli.data.dataset import Dataset
from gan_cli.data.datasets import emoji
from gan_cli.data.datasets.emoji import group_of, is_test
from gan_cli.data.load_dataset import build_dataset
from gan_cli.errors import GanCliError, UsageError
from gan_cli.image_files import icon_packages
from gan_cli.launch.request import Request
from support.configs import compose, dataset_section
from support.emoji import FEW, icon_files, load_pairs, write_folder, write_tarball

VENDORS = ("noto", "twemoji")


@pytest.fixture(autouse=True)
def _installed() -> None:
    pytest.importorskip("resvg_py")


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    for vendor in VENDORS:
        write_tarball(tmp_path / f"iconify-json-{vendor}-1.2.3.tgz", icon_files(vendor))
    return tmp_path


def load(path: Path | tuple[str, ...], name: str = "emoji_pairs", **options: Any) -> Dataset:
    """Returns a data set of emoji at 16 px, uncached unless `options` say otherwise."""
    place = path if isinstance(path, tuple) else str(path)
    return build_dataset(dataset_section(name, **{"path": place, "cache": "none", **options}), 16)


def names_of(split: str) -> list[str]:
    """Returns the names of the emoji FEW in a split, without skin tones, in the order of their code points."""
    names = [name for _, name, _, _ in sorted(FEW) if "skin-tone" not in name]
    return [name for name in names if is_test(group_of(name)) == (split == "test")]


def test_pairs_are_the_same_emoji_by_two_vendors(packages: Path) -> None:
    for split in ("train", "test"):
        dataset = load(packages, split=split)
        assert dataset.sources is not None
        assert dataset.sources.shape == dataset.samples.shape == (len(names_of(split)), 3, 16, 16)
        # Both drew the same square, at another place.
        assert torch.equal(dataset.sources[:, :, 2:8, 2:8], dataset.samples[:, :, 7:13, 7:13])
        assert dataset.sources[:, :, 12:, 12:].eq(255).all()
        category = {name: text.split()[0].lower() for _, name, text, _ in FEW}
        assert dataset.labels is not None
        assert [dataset.classes[label] for label in dataset.labels] == [category[name] for name in names_of(split)]
    assert dataset.classes == ("food", "people", "smileys")
    turned = load(packages, source="twemoji", target="noto", split="test")
    assert turned.sources is not None
    assert torch.equal(turned.sources, dataset.samples)
    assert turned.fingerprint != dataset.fingerprint


def test_one_vendor_has_no_source_images(packages: Path) -> None:
    dataset = load(packages, "emoji", vendor="twemoji", background="#00ff00")
    assert dataset.sources is None
    assert len(dataset) == len(names_of("train"))
    assert dataset.samples[:, :, 0, 0].tolist() == [[0, 255, 0]] * len(dataset)
    assert "Twemoji Emoji 1.2.3 (train) from" in dataset.source
    assert load(packages, "emoji", classes=["smileys"], limit=2).samples.shape == (2, 3, 16, 16)


def test_twins_are_in_the_same_split() -> None:
    twins = ["man-pilot", "woman-pilot", "person-pilot", "man-pilot-facing-right", "pilot"]
    assert {group_of(name) for name in twins} == {"pilot"}
    assert group_of("men-wrestling") == group_of("people-wrestling")
    groups = [group_of(name) for name in load_pairs().names]
    assert len(set(groups)) == 300
    assert 45 <= sum(map(is_test, groups)) <= 75  # a fifth
    assert not is_test("health-worker")  # never changes


@pytest.mark.parametrize(
    "write",
    [
        lambda folder, files: write_tarball(folder / "iconify-json-noto-1.2.10.tgz", files),
        lambda folder, files: write_folder(folder, files),
        lambda folder, files: write_folder(folder / "noto", files),
        lambda folder, files: write_folder(folder / "package", files),
        lambda folder, files: write_folder(folder / "@iconify-json/noto", files),
        lambda folder, files: write_folder(folder / "node_modules/@iconify-json/noto", files),
    ],
)
def test_packages_are_found_where_people_have_them(tmp_path: Path, write: Callable[..., Path]) -> None:
    written = write(tmp_path, icon_files("noto"))
    assert icon_packages.find_package([str(tmp_path)], "noto") == written
    assert icon_packages.find_package(["nowhere", str(written)], "noto") == written
    with pytest.raises(UsageError, match=r"no package of twemoji there.*npm pack @iconify-json/twemoji"):
        icon_packages.find_package([str(tmp_path)], "twemoji")


def test_the_newest_tarball_is_used_and_tarballs_can_be_named(packages: Path) -> None:
    newest = write_tarball(packages / "iconify-json-noto-1.10.0.tgz", icon_files("noto"))
    assert icon_packages.find_package([str(packages)], "noto") == newest
    both = tuple(str(packages / f"iconify-json-{vendor}-1.2.3.tgz") for vendor in VENDORS)
    assert torch.equal(load(both).samples, load(packages).samples)


def test_drawn_images_are_cached_for_the_next_run(packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = str(packages / "cache")
    first = load(packages, cache=cache)
    monkeypatch.setattr(emoji, "read_svgs", None)  # nothing is drawn again
    again = load(packages, cache=cache)
    assert again.fingerprint == first.fingerprint
    assert load(packages, cache=cache, split="test").fingerprint != first.fingerprint
    write_tarball(packages / "iconify-json-noto-1.2.3.tgz", icon_files("noto", red_apple="<g/>"))
    with pytest.raises(TypeError):
        load(packages, cache=cache)


def test_licences_are_shown_and_recorded(packages: Path) -> None:
    dataset = load(packages)
    assert [note.partition(";")[2] for note in dataset.notes] == [
        " Noto Emoji by An artist",
        " Twemoji Emoji by An artist",
    ]
    assert dataset.notes[0] == f"licence: {dataset.changes['licences'][0]}"


def test_emoji_that_look_alike_are_used_once(packages: Path) -> None:
    same = '<path d="M0 0h20v20z"/>'
    for vendor in VENDORS:
        files = icon_files(vendor, face_1=same, face_2=same)
        write_tarball(packages / f"iconify-json-{vendor}-1.2.3.tgz", files)
    assert sum(len(load(packages, split=split)) for split in ("train", "test")) == len(FEW) - 2  # and no skin tone


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"icons.json": {"icons": {"red-apple": {"body": '<image href="/etc/passwd"/>'}}}}, "red-apple has <image>"),
        ({"icons.json": {"icons": {"man": {"body": "<g/>", "width": float("inf")}}}}, "man has no valid size"),
        ({"icons.json": {"icons": {"man": {"body": "<g/>", "left": '"'}}}}, "man has no valid size"),
        ({"icons.json": {"icons": {"man": {"body": 7}, "woman": []}, "aliases": [1]}}, "has no images"),
        ({"icons.json": [[]]}, "has no images"),
        ({"chars.json": {"zz": "man", "1f468": "a/b", "1f469": 3}}, "chars.json names no emoji"),
        ({"chars.json": None}, "chars.json names no emoji"),
    ],
)
def test_a_hostile_package_is_one_line(packages: Path, change: dict[str, Any], words: str) -> None:
    write_tarball(packages / "iconify-json-noto-1.2.3.tgz", icon_files("noto") | change)
    with pytest.raises(UsageError, match=words) as error:
        load(packages, "emoji")
    assert "\n" not in str(error.value)


def test_invalid_parts_are_left_out(packages: Path) -> None:
    files = icon_files("noto") | {"metadata.json": [], "package.json": {"version": "../x"}}
    files["info.json"] |= {"author": 3, "license": "free", "name": "a\nb"}
    write_tarball(packages / "iconify-json-noto-1.2.3.tgz", files)
    dataset = load(packages, "emoji")
    assert dataset.labels is None
    assert "unknown licence (no address); a b by an unknown author" in dataset.notes[0]


def test_sizes_are_limited(packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_folder(packages / "folder", icon_files("noto"))
    for path in (folder, packages):
        monkeypatch.setattr(icon_packages, "MOST_BYTES_OF_ICONS", 100)
        with pytest.raises(GanCliError, match="larger than"):
            load(path, "emoji")
        monkeypatch.undo()
    path = packages / "iconify-json-noto-1.2.3.tgz"
    with tarfile.open(path, "w:gz") as tar:
        member = tarfile.TarInfo("package/other")
        member.size = icon_packages.MOST_BYTES_OF_TAR + 1
        tar.fileobj.write(member.tobuf())  # only the header
    with pytest.raises(UsageError, match="no package of noto"):
        load(path, "emoji")
    path.write_bytes(b"\x1f\x8b" + bytes(50))
    with pytest.raises(UsageError, match="no package of noto"):
        load(path, "emoji")


def test_a_link_in_a_tarball_is_not_followed(packages: Path) -> None:
    path = packages / "iconify-json-noto-1.2.3.tgz"
    with tarfile.open(path, "w:gz") as tar:
        member = tarfile.TarInfo("package/info.json")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(member, io.BytesIO())
    with pytest.raises(UsageError, match="no package of noto"):
        load(path, "emoji")


def test_what_is_missing_is_said_before_data_are_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"dataset\.path is missing: run npm pack @iconify-json/noto @iconify"):
        compose("dataset=emoji_pairs")
    with pytest.raises(UsageError, match="are both noto"):
        compose("dataset=emoji_pairs", "dataset.target=noto", f"dataset.path={tmp_path}")
    with pytest.raises(UsageError, match="no package of noto there"):
        check_training(Request(compose("dataset=emoji", f"dataset.path={tmp_path}")))


def test_an_image_of_the_test_split_is_not_in_the_training_data(packages: Path) -> None:
    held_out, trained = names_of("test")[0], names_of("train")[0]
    same = '<path d="M0 0h20v20z"/>'
    bodies = {name.replace("-", "_"): same for name in (held_out, trained)}
    write_tarball(packages / "iconify-json-twemoji-1.2.3.tgz", icon_files("twemoji", **bodies))  # noto's differ
    assert len(load(packages)) == len(names_of("train")) - 1
    assert len(load(packages, split="test")) == len(names_of("test"))
