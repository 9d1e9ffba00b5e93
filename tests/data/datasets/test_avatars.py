"""Avatars: labels are what was drawn; splits, backgrounds, cache, licences; a missing package is one line."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from gan_cli import extras
from gan_cli.cli.early_checks import check_training
from gan_cli.config.options.drawn_datasets import Style
from gan_cli.data.dataset import Dataset
from gan_cli.data.datasets import avatars
from gan_cli.data.labels import attributes_of, encode_labels
from gan_cli.data.load_dataset import build_dataset
from gan_cli.errors import UsageError
from gan_cli.launch.request import Request
from support.configs import compose, dataset_section

STYLE = "identicon"  # the smallest


def load(size: int = 24, image_size: int | tuple[int, int] = 20, **options: Any) -> Dataset:
    """Returns avatars of a style that is drawn fast, uncached unless `options` say otherwise."""
    return build_dataset(
        dataset_section("avatars", **{"style": STYLE, "size": size, "cache": "none", **options}), image_size
    )


@pytest.fixture(autouse=True)
def _installed(request: pytest.FixtureRequest) -> None:
    if "missing" not in request.node.name:
        for name in ("dicebear", "dicebear_styles", "resvg_py"):
            pytest.importorskip(name)


def attribute_values(dataset: Dataset, name: str) -> list[str | None]:
    """Returns the value of an attribute of each avatar; None if it is unknown."""
    names = [attribute.name for attribute in attributes_of(dataset.classes)]
    assert dataset.labels is not None
    column = dataset.labels[:, names.index(name)].tolist()
    return [None if label < 0 else dataset.classes[label].rpartition("=")[2] for label in column]


def test_labels_are_what_was_drawn() -> None:
    dataset = load(image_size=5)
    assert dataset.samples.shape == (24, 3, 5, 5)
    assert dataset.samples.dtype == torch.uint8
    for row in range(5):  # a pixel for each letter of the row
        patterns = attribute_values(dataset, f"row0{row + 1}")
        for image, pattern in zip(dataset.samples, patterns, strict=True):
            assert pattern is not None
            assert "".join("o" if pixel == 255 * 3 else "x" for pixel in image[:, row].int().sum(0)) in (
                pattern,
                pattern.translate(str.maketrans("xo", "ox")),
            )
    for image, colour in zip(dataset.samples, attribute_values(dataset, "rowColor"), strict=True):
        assert colour is not None
        drawn = image.flatten(1).T
        assert torch.tensor([*bytes.fromhex(colour)]) in drawn[drawn.int().sum(1) < 765]
    assert dataset.labels is not None
    assert encode_labels(dataset.labels, len(dataset.classes)).sum(1).eq(6).all()


def test_a_split_is_other_seeds_and_the_same_classes() -> None:
    train, more, test = load(8), load(12), load(8, split="test")
    assert torch.equal(train.samples, more.samples[:8])
    assert train.classes == more.classes == test.classes
    assert train.fingerprint != test.fingerprint
    assert "seeds 0 to 7" in train.source
    assert "seeds 1,000,000 to 1,000,007" in test.source


def test_the_background_is_a_colour_or_that_of_the_style() -> None:
    assert load(2, background="style").samples[:, :, 0, 0].eq(255).all(1).any()  # this style has none
    blue = load(6, background="#0000fe").samples
    assert (blue.flatten(2) == torch.tensor([0, 0, 254]).view(1, 3, 1)).all(1).any(1).all()
    assert load(1, image_size=(10, 20), background="black").samples[0, :, :, 0].sum() == 0  # beside the avatar


def test_drawn_images_are_cached_for_the_next_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(cache=str(tmp_path))
    monkeypatch.setattr(avatars, "draw_images", None)  # nothing is drawn again
    again = load(cache=str(tmp_path))
    assert torch.equal(first.samples, again.samples)
    assert again.labels is not None
    assert torch.equal(first.labels, again.labels)
    assert (again.classes, again.source, again.changes) == (first.classes, first.source, first.changes)
    assert again.fingerprint == first.fingerprint == load_uncached(monkeypatch).fingerprint
    monkeypatch.setattr(avatars, "draw_images", None)
    for other in ({"size": 25}, {"image_size": 21}, {"split": "test"}, {"background": "black"}, {"style": "rings"}):
        with pytest.raises(TypeError):
            load(cache=str(tmp_path), **other)
    monkeypatch.setattr(avatars, "version", lambda name: "another")
    with pytest.raises(TypeError):
        load(cache=str(tmp_path))


def load_uncached(monkeypatch: pytest.MonkeyPatch) -> Dataset:
    monkeypatch.undo()
    return load()


def test_the_licence_is_shown_and_recorded() -> None:
    dataset = load(1)
    assert "CC0 1.0" in dataset.notes[0]
    assert "DiceBear" in dataset.notes[0]
    assert dataset.changes["licence"] in dataset.notes[0]
    assert dataset.changes["packages"].keys() == {"dicebear-core", "dicebear-styles", "resvg-py"}


@pytest.mark.parametrize(
    ("style", "merged", "left_out"),
    [
        ("pixel-art", {"clothes": ("variant14", "variant05")}, {"backgroundColor"}),
        ("avataaars", {"top": ("theCaesarAndSidePart", "theCaesar")}, {"nose", "backgroundColor"}),
    ],
)
def test_variants_that_look_alike_are_one_class(
    style: str, merged: dict[str, tuple[str, str]], left_out: set[str]
) -> None:
    definition = json.loads(files("dicebear_styles").joinpath(f"{style}.json").read_text("utf-8"))
    found = {each.name: each for each in avatars.find_attributes(definition, {}, avatars._drawer(definition))}
    assert left_out & found.keys() == set()
    for name, component in definition["components"].items():
        if name in found:
            same = sorted({*merged.get(name, ("", ""))} - {""})
            assert len({*found[name].values} - {avatars.NONE}) == len(component["variants"]) - max(0, len(same) - 1)
            assert len({found[name].value_of[variant] for variant in same}) <= 1
    assert found["hairColor"].value({"hairColor": []}) is None
    assert found["eyes"].value({}) == avatars.NONE
    optional = "hat" if style == "pixel-art" else "clothesGraphic"  # the second is a part of a variant
    assert found[optional].values[0] == avatars.NONE
    assert len(found[optional].values) == 11


def test_every_style_but_those_of_letters_can_be_chosen() -> None:
    installed = {path.name.removesuffix(".json") for path in files("dicebear_styles").iterdir()}
    assert {*get_args(Style)} == {name for name in installed if not name.startswith("_")} - {"initials", "initial-face"}
    with pytest.raises(UsageError, match=r"dataset\.style=pixelart.*did you mean 'pixel-art'"):
        compose("dataset=avatars", "dataset.style=pixelart")
    for override in ("dataset.classes=['hair=long11']", "dataset.balance=true"):
        with pytest.raises(UsageError, match=r"dataset\.(classes|balance): avatars have several attributes"):
            compose("dataset=avatars", override)


def test_a_missing_package_is_one_line_before_data_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "_is_installed", lambda name: name == "dicebear")
    words = r"dataset=avatars needs dicebear-styles, resvg-py: pip install 'gan-cli\[avatars\]'"
    with pytest.raises(UsageError, match=words):
        load()
    with pytest.raises(UsageError, match=words):
        check_training(Request(compose("dataset=avatars")))
