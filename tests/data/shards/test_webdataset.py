"""The data set `webdataset`: right images, labels and refusals."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from gan_cli.data.balance import group_by_class
from gan_cli.data.dataset import Batches
from gan_cli.data.load_dataset import build_held_out
from gan_cli.errors import StorageError
from support.configs import dataset_section
from support.errors import refused
from support.image_folders import load_folder
from support.shards import encoded, load_shards, number_of, numbered_image, write_numbered, write_shard

CPU = torch.device("cpu")
PNG = encoded(numbered_image(1))


def test_images_and_labels_are_those_in_the_shards(tmp_path: Path) -> None:
    found = load_shards(write_numbered(tmp_path, 300, 20, 5))
    assert found.samples.shape == (325, 3, 8, 8)
    rows = torch.tensor([0, 299, 300, 319, 324, 7])
    assert [number_of(image) for image in found.samples[rows]] == rows.tolist()
    assert found.labels is not None
    assert found.labels.tolist() == [number % 3 for number in range(325)]
    assert found.classes == ("0", "1", "2")
    assert "325 images in 3 classes (0 109, 1 108, 2 108) from 3 shards" in found.source


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_images_are_converted_as_those_of_a_folder(tmp_path: Path, kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (5, 40, 30, 3), dtype=np.uint8)
    contents = [encoded(each, kind) for each in noise]
    write_shard(tmp_path / "a.tar", [(f"{number}.{kind}", content) for number, content in enumerate(contents)])
    folder = tmp_path / "folder"
    folder.mkdir()
    for number, content in enumerate(contents):
        (folder / f"{number}.{kind}").write_bytes(content)
    for options in ({}, {"fit": "pad"}, {"image_channels": 1}):
        found = load_shards(tmp_path / "a.tar", 16, **options)
        channels = options.get("image_channels", 3)
        expected = load_folder(
            folder, size=(16, 16), channels=channels, profiles="convert", fit=options.get("fit", "crop")
        )
        assert torch.equal(found.samples[torch.arange(5)], expected.samples)


def test_the_image_and_the_label_of_a_sample_are_chosen_by_suffix_and_key(tmp_path: Path) -> None:
    members = []
    for number in range(4):
        facts = {"kind": {"name": ["cat", "dog"][number % 2]}, "year": 2000 + number}
        members += [
            (f"deep/{number}.seg.png", encoded(numbered_image(100 + number))),
            (f"deep/{number}.input.png", encoded(numbered_image(number))),
            (f"deep/{number}.json", json.dumps(facts).encode()),
            (f"deep/{number}.txt", f" {number}\n".encode()),
        ]
    path = write_shard(tmp_path / "a.tar", members)
    refused(lambda: load_shards(path), "has several images (.seg.png, .input.png), choose by dataset.image=input.png")
    found = load_shards(path, image="input.png", label="json.kind.name")
    assert [number_of(image) for image in found.samples] == [0, 1, 2, 3]
    assert found.classes == ("cat", "dog")
    assert found.labels is not None
    assert found.labels.tolist() == [0, 1, 0, 1]
    assert load_shards(path, image="seg.png", label="json.year").classes == ("2000", "2001", "2002", "2003")
    assert load_shards(path, image="seg.png", label="txt").classes == ("0", "1", "2", "3")
    assert load_shards(path, image="seg.png").labels is None
    there = "the samples have no such class, they have txt, json.kind.name, json.year"
    for wrong in ("json.size", "json.kind", "cls", "json", "json.", "json.kind.name.x", ".txt"):
        for on_bad in ("error", "skip"):
            refused(
                lambda wrong=wrong, on_bad=on_bad: load_shards(path, image="seg.png", label=wrong, on_bad=on_bad),
                f"dataset.label={wrong}: {there}",
                "dataset.label=none",
            )
    refused(lambda: load_shards(path, image="seg.png", label="json.yaer"), "did you mean 'json.year'?")
    refused(lambda: load_shards(path, image="jpg"), "has no .jpg")


def test_a_wrong_label_is_found_at_the_first_shard(tmp_path: Path) -> None:
    write_numbered(tmp_path / "data", 5)
    (tmp_path / "data/train-0001.tar").write_bytes(b"x" * 5000)  # would be refused when it is read
    refused(lambda: load_shards(tmp_path / "data", label="clss"), "dataset.label=clss", "they have cls", "mean 'cls'")
    first = write_shard(tmp_path / "mixed/a.tar", [("1.png", PNG)]).parent  # without any label
    write_shard(tmp_path / "mixed/b.tar", [("2.png", PNG), ("2.cls", b"1")])
    assert len(load_shards(first, label="cls", on_bad="skip")) == 1
    refused(lambda: load_shards(first, label="cls"), "they have nothing but images")


def test_texts_that_differ_in_each_sample_are_told(tmp_path: Path) -> None:
    members = [(f"{n}.{kind}", content) for n in range(4) for kind, content in (("png", PNG), ("txt", b"a %d" % n))]
    path = write_shard(tmp_path / "a.tar", members)
    assert "each image a class of its own" in load_shards(path, label="txt").source
    assert "of its own" not in load_shards(write_numbered(tmp_path / "b", 4)).source


def test_names_that_several_shards_have_are_told(tmp_path: Path) -> None:
    """The format leaves such names open, so the samples are read."""
    for name, first, last in (("a", 0, 6), ("b", 4, 9), ("c", 20, 22)):
        members = [(f"{n}.png", encoded(numbered_image(n + 100 * ord(name)))) for n in range(first, last)]
        write_shard(tmp_path / f"{name}.tar", members)
    found = load_shards(tmp_path, cache=str(tmp_path / "cache"))
    assert len(found) == 6 + 5 + 2
    told = f"4 samples have the name of one in another shard, the first in {tmp_path}/a.tar and {tmp_path}/b.tar"
    assert told in found.source
    assert told in load_shards(tmp_path, cache=str(tmp_path / "cache")).source  # from the index
    (tmp_path / "d.tar").write_bytes((tmp_path / "c.tar").read_bytes())
    assert f"{tmp_path}/d.tar has the content of {tmp_path}/c.tar" in load_shards(tmp_path).source
    assert "another shard" not in load_shards(write_numbered(tmp_path / "usual", 9, 9)).source


def test_classes_and_a_limit_select(tmp_path: Path) -> None:
    write_numbered(tmp_path, 30, 30)
    two = load_shards(tmp_path, classes=("2", "0"))
    assert two.classes == ("2", "0")
    assert two.labels is not None
    numbers = [number_of(image) for image in two.samples]
    assert numbers == [number for number in range(60) if number % 3 != 1]
    assert two.labels.tolist() == [0 if number % 3 == 2 else 1 for number in numbers]
    some = load_shards(tmp_path, limit=17)
    assert len(some) == 17 == len({number_of(image) for image in some.samples})
    assert "17 of 60 selected" in some.source
    assert some.order is not None
    assert sorted(some.order.rows(0, 0, 17).tolist()) == list(range(17))
    assert len({each.fingerprint for each in (two, some, load_shards(tmp_path), load_shards(tmp_path, limit=16))}) == 4


def test_the_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    first = load_shards(write_numbered(tmp_path / "a", 5, 5)).fingerprint
    assert load_shards(write_numbered(tmp_path / "b", 5, 5), buffer=3).fingerprint == first
    assert load_shards(write_numbered(tmp_path / "c", 5, 6)).fingerprint != first
    assert load_shards(tmp_path / "a", 16).fingerprint != first


def test_each_class_is_drawn_equally_often(tmp_path: Path) -> None:
    members = [
        (f"{n}.{kind}", content) for n in range(40) for kind, content in (("png", PNG), ("cls", b"01"[n < 4 :][:1]))
    ]
    found = load_shards(write_shard(tmp_path / "a.tar", members))
    groups = group_by_class(found.labels, found.classes)
    assert found.labels is not None
    drawn = Batches(found, 0, 10, CPU, groups=groups, conditional=True)
    labels = torch.cat([drawn.condition(update).labels for update in range(4)])  # type: ignore[union-attr]
    assert labels.sum(0).tolist() == [20, 20]


def test_a_folder_may_hold_both_splits(tmp_path: Path) -> None:
    write_numbered(tmp_path, 20, prefix="train")
    write_numbered(tmp_path, 12, prefix="val")
    section = dataset_section("webdataset", path=str(tmp_path), cache="none")
    assert len(load_shards(tmp_path)) == 20
    assert len(build_held_out(section, 8, load_shards(tmp_path))) == 12
    named = dataset_section("webdataset", path=str(tmp_path / "train-0000.tar"), cache="none")
    refused(lambda: build_held_out(named, 8, load_shards(tmp_path)), "dataset.test_path")
    named = dataset_section("webdataset", path="x", test_path=str(tmp_path / "val-{0000..0000}.tar"), cache="none")
    assert len(build_held_out(named, 8, load_shards(tmp_path))) == 12


def test_the_index_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_numbered(tmp_path / "data", 20, 20)
    first = load_shards(tmp_path / "data", cache=str(tmp_path / "cache"))
    monkeypatch.setattr("gan_cli.data.shards.shard_index.read_tar", None)  # not called again
    second = load_shards(tmp_path / "data", cache=str(tmp_path / "cache"))
    assert second.fingerprint == first.fingerprint
    assert torch.equal(second.samples[torch.arange(40)], first.samples[torch.arange(40)])
    assert torch.equal(second.labels, first.labels)  # type: ignore[arg-type]
    assert len(list((tmp_path / "cache").iterdir())) == 2
    monkeypatch.undo()
    write_shard(tmp_path / "data/train-0001.tar", [("x.png", PNG), ("x.cls", b"1")])
    assert len(load_shards(tmp_path / "data", cache=str(tmp_path / "cache"))) == 21
    for file in (tmp_path / "cache").iterdir():
        file.write_bytes(file.read_bytes()[:-40])  # damaged: made again
    assert len(load_shards(tmp_path / "data", cache=str(tmp_path / "cache"))) == 21


# --- broken shards -----------------------------------------------------------------------------------------------


def link(tar: tarfile.TarFile, name: str, kind: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/passwd"
    tar.addfile(info)


BAD = [
    ([("1.cls", b"3")], "1 of 1 sample cannot be used", "1 (has no image, only .cls)"),
    ([("1.png", b"")], "1 (empty)", "write the shards again"),
    ([("1.png", b"hello, no image")], "1 (not an image despite its name)", "dataset.on_bad=skip"),
    ([("1.png", PNG), ("1.png", PNG)], "1 (twice in the tar)", ""),
    ([("1.png", PNG), ("2.png", PNG), ("1.png", PNG)], "1 of 3 samples", "1 (its name comes again after other samples"),
    ([("1.png", PNG), ("2.png", PNG), ("1.cls", b"1")], "1 (its name comes again after other samples)", ""),
    ([("1.png", PNG), ("1.cls", b"")], "1 (its .cls holds no class)", ""),
    ([("1.png", PNG), ("1.cls", b"\xff\xfe")], "1 (its .cls is no text)", ""),
    ([], "hold no sample", ""),
]


@pytest.mark.parametrize(("members", "one", "other"), BAD, ids=range(len(BAD)))
def test_a_bad_sample_is_named(tmp_path: Path, members: list[tuple[str, bytes]], one: str, other: str) -> None:
    refused(lambda: load_shards(write_shard(tmp_path / "a.tar", members)), one, other)


@pytest.mark.parametrize("kind", ["SYMTYPE", "LNKTYPE", "FIFOTYPE", "CHRTYPE"])
def test_a_link_or_device_is_refused(tmp_path: Path, kind: str) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        link(tar, "1.png", getattr(tarfile, kind))
    refused(lambda: load_shards(tmp_path / "a.tar"), "1 (a link or device in the tar)")


def test_names_that_lead_out_of_the_folder_write_nothing(tmp_path: Path) -> None:
    members = [("../../up.png", PNG), ("/etc/absolute.png", PNG), ("c:\\x\\windows.png", PNG)]
    found = load_shards(write_shard(tmp_path / "in/a.tar", members))
    assert [number_of(image) for image in found.samples] == [1, 1, 1]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.tar", "in"]


def test_a_shard_that_is_cut_off_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    whole = write_shard(tmp_path / "a.tar", [(f"{n}.png", PNG) for n in range(3)]).read_bytes()
    last = 3 * (512 + 512 * -(-len(PNG) // 512))  # where the mark of the end begins
    for length in (0, 100, 512, 700, 1024, last // 3, last - 1, last):
        path = tmp_path / f"{length}.tar"
        path.write_bytes(whole[:length])
        refused(lambda path=path: load_shards(path), path.name)  # type: ignore[misc]
    (tmp_path / "z.tar").write_bytes(whole[: last + 512])
    assert len(load_shards(tmp_path / "z.tar")) == 3


def test_joined_tars_are_refused(tmp_path: Path) -> None:
    """Zeros after the end are padding."""
    whole = [write_shard(tmp_path / f"{name}.tar", [(f"{name}.png", PNG)]).read_bytes() for name in ("1", "2")]
    (tmp_path / "joined.tar").write_bytes(b"".join(whole))
    refused(lambda: load_shards(tmp_path / "joined.tar"), "joined.tar: has more after the mark of its end")
    (tmp_path / "joined.tar").write_bytes(whole[0] + bytes(1 << 21))
    assert len(load_shards(tmp_path / "joined.tar")) == 1


def test_a_header_that_declares_more_than_there_is(tmp_path: Path) -> None:
    info = tarfile.TarInfo("1.png")
    info.size = 1 << 40
    (tmp_path / "a.tar").write_bytes(info.tobuf() + PNG + bytes(2048))
    refused(lambda: load_shards(tmp_path / "a.tar"), "a.tar", "truncated")


def test_compressed_tars_and_other_files_are_refused(tmp_path: Path) -> None:
    plain = write_shard(tmp_path / "a.tar", [("1.png", PNG)]).read_bytes()
    (tmp_path / "b.tar.gz").write_bytes(gzip.compress(plain))
    refused(lambda: load_shards(tmp_path / "b.tar.gz"), "is compressed (gz)", "unpack it")
    (tmp_path / "c.tar").write_bytes(gzip.compress(plain))
    refused(lambda: load_shards(tmp_path / "c.tar"), "is compressed (gz)")
    (tmp_path / "d.tar").write_bytes(b"x" * 5000)
    refused(lambda: load_shards(tmp_path / "d.tar"), "d.tar: is no tar or a damaged one")


def test_an_image_that_cannot_be_decoded_is_named_or_replaced_by_one_of_its_class(tmp_path: Path) -> None:
    members: list[tuple[str, bytes]] = []
    for number in range(6):
        content = encoded(numbered_image(number, 64))
        content = content[: len(content) // 2] if number == 2 else content
        members += [(f"{number}.png", content), (f"{number}.cls", str(number % 2).encode())]
    path = write_shard(tmp_path / "a.tar", members)
    text = refused(lambda: load_shards(path).samples[torch.arange(6)], "2.png in ", "a.tar", "dataset.on_bad=skip")
    assert "truncated" in text or "damaged" in text
    found = load_shards(path, on_bad="skip")
    assert [number_of(image) for image in found.samples] == [0, 1, 4, 3, 4, 5]


def test_too_many_pixels_are_refused(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "a.tar", [("1.png", encoded(numbered_image(1, 64)))])
    refused(lambda: load_shards(path, max_pixels=4000).samples[:1].float(), "4,096 pixels", "1.png")


def test_samples_that_cannot_be_used_are_left_out(tmp_path: Path) -> None:
    members = [("0.png", PNG), ("1.txt", b"x"), ("2.png", b"no"), ("3.png", encoded(numbered_image(3)))]
    found = load_shards(write_shard(tmp_path / "a.tar", members), on_bad="skip")
    assert [number_of(image) for image in found.samples] == [1, 3]
    assert "2 left out" in found.source
    assert len(found.changes["left_out"]) == 2


def test_labels_are_all_there_or_none(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "a.tar", [("1.png", PNG), ("1.cls", b"1"), ("2.png", PNG)])
    refused(lambda: load_shards(path), "1 of 2 samples lack a label .cls", "dataset.label=none")
    assert load_shards(path, label="none").labels is None
    assert len(load_shards(path, label="cls", on_bad="skip")) == 1


def test_a_shard_that_changes_while_it_is_in_use(tmp_path: Path) -> None:
    found = load_shards(write_numbered(tmp_path, 5))
    write_numbered(tmp_path, 50)
    with pytest.raises(StorageError, match="has changed"):
        found.samples[torch.tensor([0])]


@pytest.mark.parametrize("on_bad", ["error", "skip"])
@pytest.mark.parametrize("left", [0.0, 1.0])  # the share of the shard's bytes, all of them replaced by zeros
def test_an_open_shard_that_is_written_to(tmp_path: Path, on_bad: str, left: float) -> None:
    path = write_numbered(tmp_path, 5)
    (shard,) = tmp_path.glob("*.tar")
    found = load_shards(path, on_bad=on_bad)
    assert number_of(found.samples[torch.tensor([0])][0]) == 0
    shard.write_bytes(bytes(int(left * shard.stat().st_size)))
    with pytest.raises(StorageError, match="has changed while it was read; start again"):
        found.samples[torch.tensor([1])]


def test_damage_to_the_middle_of_a_shard_is_no_traceback(tmp_path: Path) -> None:
    """A header with a wrong checksum in the middle, as of a flipped bit."""
    path = write_shard(tmp_path / "a.tar", [(f"{n}.png", PNG) for n in range(3)])
    content = bytearray(path.read_bytes())
    second = 512 + 512 * -(-len(PNG) // 512)
    content[second] ^= 1
    path.write_bytes(content)
    refused(lambda: load_shards(path), "a.tar")


def test_a_member_that_spans_two_headers_for_its_long_name(tmp_path: Path) -> None:
    for kind in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with tarfile.open(tmp_path / "a.tar", "w", format=kind) as tar:
            for number in range(2):
                info = tarfile.TarInfo(f"{'d' * 90}/{'é' * 60}{number}.png")
                content = encoded(numbered_image(number))
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        assert [number_of(image) for image in load_shards(tmp_path / "a.tar").samples] == [0, 1]
