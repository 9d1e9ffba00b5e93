"""How many samples the user's own data have, by their names alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from gan_cli.config.compose import compose_command
from gan_cli.config.recipes import USED_KEY
from gan_cli.image_labels.count_samples import count_in_shards
from support.shards import encoded, numbered_image, write_numbered, write_shard

PNG = encoded(numbered_image(1))


def test_samples_of_shards_are_counted_up_to_a_number(tmp_path: Path) -> None:
    path = str(write_numbered(tmp_path, 7, 5))
    assert [count_in_shards(path, most) for most in (100, 13, 12, 5)] == [12, 12, 12, 5]
    write_numbered(tmp_path, 9, prefix="val")
    assert count_in_shards(str(tmp_path), 50) == 12


def test_a_sample_of_two_images_counts_once(tmp_path: Path) -> None:
    members = [(f"x/{n}.{kind}.png", PNG) for n in range(3) for kind in ("seg", "input")]
    assert count_in_shards(str(write_shard(tmp_path / "a.tar", [*members, ("x/9.txt", b"")])), 50) == 3


def test_no_number_is_known_of_addresses_and_damaged_shards(tmp_path: Path) -> None:
    assert count_in_shards("https://x.org/{0..3}.tar", 50) is None
    assert count_in_shards(str(tmp_path / "nothing.tar"), 50) is None
    (tmp_path / "a.tar").write_bytes(b"x" * 5000)
    assert count_in_shards(str(tmp_path / "a.tar"), 50) is None


@pytest.mark.parametrize(
    ("count", "options", "recipe", "reason"),
    [
        (12, (), "colour_32_few", "12 images of 3x16x16 and loss"),
        (12, ("dataset.on_bad=skip",), "colour_32_few", "up to 12 images of 3x16x16 and loss"),
        (1000, (), "colour_32", "at least 1,000 images of 3x16x16 and loss"),
        (1000, ("dataset.limit=200",), "colour_32_few", "200 images of 3x16x16 and loss"),
        (12, ("dataset.classes=[1]",), "colour_32", "3x16x16 (how many is not known before they are read) and loss"),
    ],
)
def test_a_recipe_is_chosen_by_the_number_in_shards(
    tmp_path: Path, count: int, options: tuple[str, ...], recipe: str, reason: str
) -> None:
    members = [(f"{n}.{kind}", content) for n in range(count) for kind, content in (("png", PNG), ("cls", b"1"))]
    path = write_shard(tmp_path / "a.tar", members)
    composed = compose_command("train", ["dataset=webdataset", f"dataset.path={path}", "image_size=16", *options])
    assert composed.data[USED_KEY] == recipe
    assert reason in composed.recipe.reason


def test_of_addresses_the_recipe_says_that_the_number_is_not_known() -> None:
    composed = compose_command("train", ["dataset=webdataset", "dataset.path=https://x.org/a.tar", "image_size=64"])
    assert composed.recipe.name == "colour_64"
    assert "how many is not known before they are read" in composed.recipe.reason
