"""Latents in place of seeds: the same bits, films of them, and files that are refused in a line."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gan_cli.cli.main import run_command
from gan_cli.sampling.load_generator import load_generator
from support import styles
from support.commands import error_line
from support.configs import TINY_IMAGES
from support.styles import SIDES, STYLE_SIZE, train_toy

Sample = Callable[..., Path]
ErrorOf = Callable[..., str]


@pytest.fixture
def sample(here: Path, capsys: pytest.CaptureFixture[str]) -> Sample:
    """Runs `gan-sample` and returns the path it printed."""

    def sampled(*overrides: str) -> Path:
        capsys.readouterr()
        assert run_command("sample", list(overrides)) == 0, capsys.readouterr().err
        return Path(capsys.readouterr().out.splitlines()[-1])

    return sampled


@pytest.fixture
def run(trained: Callable[..., Path]) -> Path:
    return trained(*TINY_IMAGES, "steps=3", "name=run")


@pytest.mark.parametrize("truncation", [(), ("truncation=0.5",)])
def test_latents_of_seeds_give_their_bits(run: Path, sample: Sample, truncation: tuple[str, ...]) -> None:
    of_seeds = (str(run), "seeds=3-11,2", *truncation)
    arrays = sample(*of_seeds, "format=npz", "out=a.npz")
    assert np.load(arrays)["z"].shape == (10, 8)
    again = sample(str(run), "latents=a.npz", "format=npz", "out=b.npz")
    assert (np.load(again)["images"] == np.load(arrays)["images"]).all()
    assert (np.load(again)["z"] == np.load(arrays)["z"]).all()
    grids = sample(*of_seeds), sample(str(run), "latents=a.npz")
    assert grids[0].read_bytes() == grids[1].read_bytes()
    assert grids[1].name.endswith("_a.png")
    record = json.loads(grids[1].with_suffix(".json").read_text())
    assert (record["latents"], record["seeds"], record["n"]) == ("a.npz", None, 10)


def test_films_of_latents_are_those_of_their_seeds(run: Path, sample: Sample) -> None:
    sample(str(run), "seeds=0-3", "format=npz", "out=a.npz")
    for format in ("format=interpolate", "format=walk"):
        films = [sample(str(run), format, "frames=3", which) for which in ("seeds=0-3", "latents=a.npz")]
        assert films[0].read_bytes() == films[1].read_bytes()


def test_classes_are_those_of_the_file_or_named(train: Callable[..., Path], sample: Sample, error_of: ErrorOf) -> None:
    run = train(*TINY_IMAGES, "conditioning=projection", "steps=3", "name=kinds")
    arrays = np.load(sample(str(run), "n=10", "format=npz", "out=a.npz"))
    again = np.load(sample(str(run), "latents=a.npz", "format=npz"))
    assert (again["images"] == arrays["images"]).all()
    assert (again["conditions"] == arrays["conditions"]).all()
    named = [sample(str(run), "label_index=[1]", which) for which in ("n=10", "latents=a.npz")]
    assert named[0].read_bytes() == named[1].read_bytes()
    films = [
        sample(str(run), "label_index=[1]", "format=walk", "frames=2", which) for which in ("n=10", "latents=a.npz")
    ]
    assert films[0].read_bytes() == films[1].read_bytes()
    np.savez("sevens.npz", z=arrays["z"], conditions=arrays["conditions"] * 7)
    assert "conditions has values outside of 0 to 1" in error_of("sample", str(run), "latents=sevens.npz")
    np.savez("plain.npz", z=arrays["z"])
    plain = np.load(sample(str(run), "latents=plain.npz", "format=npz"))
    assert (plain["images"] == arrays["images"]).all()
    np.savez("half.npz", z=arrays["z"], conditions=arrays["conditions"] * 0.5)
    assert "through_labels=true: the latents have conditions and keep them" in error_of(
        "sample", str(run), "latents=half.npz", "format=walk", "through_labels=true"
    )


def test_latents_without_classes_get_the_same_ones_in_all_formats(
    train: Callable[..., Path], sample: Sample, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(*TINY_IMAGES, "conditioning=projection", "steps=3", "name=kinds")
    classes = load_generator(run).classes
    arrays = np.load(sample(str(run), "seeds=0-3", "format=npz", "out=a.npz"))
    np.savez("plain.npz", z=arrays["z"])
    taken = [classes[number * len(classes) // 4] for number in range(4)]
    assert [classes[column] for column in arrays["conditions"].argmax(1)] == taken
    said = f"classes: plain.npz has no conditions, taken are {', '.join(taken)}, evenly; label=NAME takes another"
    for format in ("grid", "images", "npz", "walk"):
        options = [str(run), f"format={format}", *(["frames=2"] if format == "walk" else [])]
        paths = []
        for file in ("a.npz", "plain.npz"):
            capsys.readouterr()
            assert run_command("sample", [*options, f"latents={file}"]) == 0
            *lines, path = capsys.readouterr().out.splitlines()
            assert lines == ([said] if file == "plain.npz" else [])
            paths.append(Path(path))
        if format in ("grid", "walk"):
            assert paths[0].read_bytes() == paths[1].read_bytes()
        records = [json.loads((path.parent / f"{path.stem}.json").read_text())["labels"] for path in paths]
        assert records == [None, taken]
    np.savez("d.npz", z_directions=np.eye(8)[:1])
    moved = sample(str(run), "latents=plain.npz", "direction=d.npz", "strength=-1:1:2")
    assert json.loads(moved.with_suffix(".json").read_text())["labels"] == taken


def test_a_record_names_the_classes_that_are_drawn(train: Callable[..., Path], sample: Sample) -> None:
    run = train(*TINY_IMAGES, "conditioning=projection", "steps=3", "name=kinds")
    classes = load_generator(run).classes
    np.savez("d.npz", z_directions=np.eye(8)[:1])
    np.savez("z.npz", z=np.zeros((2, 8)))
    kinds = "label_index=[0,1,2,3]"
    for drawn, options in {
        (0, 2): ("n=2", "format=walk", "through_labels=true", kinds),
        (0, 1): ("n=2", "direction=d.npz", "strength=0:1:2", kinds),
        (0, 2, None): ("latents=z.npz", kinds),
        (0, 1, 2, 3): ("n=2", "format=walk", kinds),
    }.items():
        frames = ["frames=1"] if "format=walk" in options else []
        record = json.loads(sample(str(run), *options, *frames).with_suffix(".json").read_text())
        assert record["labels"] == [classes[number] for number in drawn if number is not None]


def test_a_file_of_another_generator_is_used_with_a_warning(
    train: Callable[..., Path], sample: Sample, here: Path, monkeypatch: pytest.MonkeyPatch, error_of: ErrorOf,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run = train_toy(train, here, monkeypatch)
    arrays = dict(np.load(sample(str(run), "n=3", "format=npz", "out=a.npz")))
    assert (str(arrays["generator"]), bool(arrays["ema"])) == (load_generator(run).sha256, load_generator(run).ema)
    other = train_toy(train, here, monkeypatch, "seed=5")
    for ckpt, file, words in (
        (run, arrays, None),
        (other, arrays, "was saved with another checkpoint"),
        (run, arrays | {"ema": np.array(not arrays["ema"])}, f"was saved with ema={str(not arrays['ema']).lower()}"),
        (run, {name: arrays[name] for name in "zw"}, None),  # of an earlier version
    ):
        np.savez("b.npz", **file)
        capsys.readouterr()
        assert run_command("sample", [str(ckpt), "latents=b.npz", "out=b.png", "overwrite=true"]) == 0
        printed = capsys.readouterr()
        assert "latents=b.npz: w is not used, z is" in printed.out
        assert printed.err.count("\n") == (words is not None)
        assert (words or "") in printed.err
    assert "z and w are of different samples" in error_of("sample", str(other), "latents=b.npz")


def test_a_changed_style_beside_latents_is_refused(
    train: Callable[..., Path], sample: Sample, here: Path, monkeypatch: pytest.MonkeyPatch, error_of: ErrorOf
) -> None:
    run = train_toy(train, here, monkeypatch, "conditioning=concat")
    arrays = dict(np.load(sample(str(run), "n=200", "format=npz", "out=a.npz")))
    for size, refused in ((1e-6, False), (1e-3, True)):
        w = arrays["w"].copy()
        w[7, 2, 3] += size * np.abs(w[7, 2]).max()
        np.savez("b.npz", **arrays | {"w": w, "z": arrays["z"]})
        if refused:
            assert "z and w are of different samples" in error_of("sample", str(run), "latents=b.npz")
        else:
            sample(str(run), "latents=b.npz", "batch_size=7")
    np.savez("b.npz", z=arrays["z"], w=arrays["w"])
    assert "has z and w without conditions, on which w depends" in error_of("sample", str(run), "latents=b.npz")
    np.savez("w.npz", w=arrays["w"])
    assert "through_labels=true: styles w have their class in them" in error_of(
        "sample", str(run), "latents=w.npz", "format=walk", "through_labels=true"
    )


def test_an_array_that_may_be_z_or_w_is_refused(
    train: Callable[..., Path], sample: Sample, here: Path, monkeypatch: pytest.MonkeyPatch, error_of: ErrorOf
) -> None:
    monkeypatch.setattr(styles, "STYLE_SIZE", 8)  # as many numbers as a latent has
    run = train_toy(train, here, monkeypatch)
    np.save("x.npy", np.ones((3, 8)))
    np.savez("other.npz", mine=np.ones((3, 8)))
    for file in ("x.npy", "other.npz"):
        line = error_of("sample", str(run), f"latents={file}")
        assert "could be latents z or styles w by its shape, save an npz in which the array is called z or w" in line
        assert "could be z_directions or w_directions by its shape" in error_of("sample", str(run), f"direction={file}")
    np.save("layers.npy", np.ones((3, len(SIDES), 8)))
    sample(str(run), "latents=layers.npy")


def test_a_grid_of_latents_has_as_many_as_one_of_seeds(run: Path, error_of: ErrorOf) -> None:
    np.savez("many.npz", z=np.zeros((10_001, 8), np.float32))
    assert "latents=many.npz: 10,001 latents, a grid holds up to 10,000" in error_of(
        "sample", str(run), "latents=many.npz"
    )


def read_image(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_arithmetic_is_two_lines_of_numpy(run: Path, sample: Sample) -> None:
    z = np.load(sample(str(run), "n=3", "format=npz"))["z"]
    np.savez("sum.npz", z=[z[0] - z[1] + z[2]])
    assert read_image(sample(str(run), "latents=sum.npz")).shape == (16, 16)


def test_styles_give_the_bits_of_their_latents(
    train: Callable[..., Path], sample: Sample, here: Path, monkeypatch: pytest.MonkeyPatch, error_of: ErrorOf
) -> None:
    run = train_toy(train, here, monkeypatch)
    arrays = np.load(sample(str(run), "n=6", "format=npz", "out=a.npz"))
    assert arrays["w"].shape == (6, len(SIDES), STYLE_SIZE)
    np.savez("w.npz", w=arrays["w"])
    np.save("w.npy", arrays["w"])
    np.savez("same_in_all_layers.npz", w=arrays["w"][:, 0])
    for file in ("a.npz", "w.npz", "w.npy", "same_in_all_layers.npz"):
        again = np.load(sample(str(run), f"latents={file}", "format=npz"))
        assert (again["images"] == arrays["images"]).all()
        assert (again["w"] == arrays["w"]).all()
    np.savez("w.npz", w=arrays["w"][[0, 1]])
    np.savez("mean.npz", w=arrays["w"][[0, 1]].mean(0, keepdims=True))
    film = sample(str(run), "latents=w.npz", "format=frames", "frames=2")
    middle = read_image(sorted(film.iterdir())[1])[12:-8:12, 12:-8:12]  # each pixel is enlarged to 12 x 12
    assert (middle == read_image(sample(str(run), "latents=mean.npz"))).all()
    np.savez("changed.npz", z=arrays["z"], w=arrays["w"] + 1)
    assert "z and w are of different samples" in error_of("sample", str(run), "latents=changed.npz")


def test_truncated_styles_are_saved_without_their_latents(
    train: Callable[..., Path], sample: Sample, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train_toy(train, here, monkeypatch)
    whole = np.load(sample(str(run), "n=4", "format=npz"))
    arrays = np.load(sample(str(run), "n=4", "truncation=0.5", "format=npz", "out=a.npz"))
    assert "z" not in arrays
    assert not np.allclose(arrays["w"], whole["w"])
    mean = load_generator(run).network.mean_style
    np.testing.assert_allclose(arrays["w"] - mean.numpy(), 0.5 * (whole["w"] - mean.numpy()), atol=1e-6)
    again = np.load(sample(str(run), "latents=a.npz", "format=npz"))
    assert (again["images"] == arrays["images"]).all()
    grids = [sample(str(run), "n=4", "truncation=0.5"), sample(str(run), "latents=a.npz")]
    assert grids[0].read_bytes() == grids[1].read_bytes()
    films = [sample(str(run), "format=walk", "frames=2", "n=4", key) for key in ("truncation=0.5", "truncation=0.6")]
    assert films[0].read_bytes() != films[1].read_bytes()


def test_styles_have_their_class_in_them(
    train: Callable[..., Path], sample: Sample, here: Path, monkeypatch: pytest.MonkeyPatch, error_of: ErrorOf
) -> None:
    run = train_toy(train, here, monkeypatch, "conditioning=concat")
    arrays = np.load(sample(str(run), "n=16", "format=npz", "out=a.npz"))
    again = np.load(sample(str(run), "latents=a.npz", "format=npz"))
    assert (again["images"] == arrays["images"]).all()
    np.savez("w.npz", w=arrays["w"])
    again = np.load(sample(str(run), "latents=w.npz", "format=npz"))
    assert (again["images"] == arrays["images"]).all()
    assert "styles w have their class in them" in error_of("sample", str(run), "latents=w.npz", "label_index=[1]")


@pytest.fixture
def error_of(capsys: pytest.CaptureFixture[str]) -> ErrorOf:
    """Runs a command that must fail, and returns its line."""
    return partial(error_line, capsys)


Z = np.zeros((3, 8), np.float32)
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "of another generator": ({"z": np.zeros((3, 9))}, "is [3, 9], this generator takes z [N, 8]; is it of another"),
    "styles": ({"w": np.zeros((3, 4, 6))}, "holds styles w, and this generator has none"),
    "not finite": ({"z": Z + np.nan}, "z has values that are NaN or infinite"),
    "too large": ({"z": np.full((3, 8), 1e300)}, "or too large for float32"),
    "objects": ({"z": np.array([{}] * 8)}, "holds Python objects, which are not loaded"),
    "text": ({"z": np.array(["a"] * 8)}, "z is <U1 [8], expected numbers"),
    "empty": ({"z": np.zeros((0, 8))}, "z is float64 [0, 8], expected numbers"),
    "a number": ({"z": np.float32(3)}, "z is float32 [], expected numbers"),
    "other arrays": ({"a": Z, "b": Z}, "expected an array called z or w or conditions, it has a, b"),
    "conditions": ({"z": Z, "conditions": np.ones((3, 2))}, "has conditions, and this checkpoint is unconditional"),
    "images": ({"images": np.zeros((3, 8))}, "expected an array called z or w or conditions, it has images"),
    "directions": ({"z_directions": Z}, "expected an array called z or w or conditions, it has z_directions"),
    "conditions alone": ({"conditions": Z, "b": Z}, "holds conditions, but no latents z or styles w"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_wrong_file_is_refused(run: Path, error_of: ErrorOf, kind: str) -> None:
    arrays, words = REFUSED[kind]
    np.savez("x.npz", **arrays)
    line = error_of("sample", str(run), "latents=x.npz")
    assert "latents=x.npz: " in line
    assert words in line
    assert not (run / "generated").exists()


def test_a_damaged_file_is_refused(run: Path, error_of: ErrorOf) -> None:
    np.save("z.npy", Z)
    whole = Path("z.npy").read_bytes()
    np.savez("z.npz", z=Z)
    archive = Path("z.npz").read_bytes()
    huge = whole.replace(b"(3, 8)", b"(3000000000000, 8)")
    damaged = {"": "can be read", "cut": "truncated", "text": "can be read", "huge": "", "zip": "can be read"}
    contents = [b"", whole[:-4], b"hello" * 50, huge, archive[:60] + b"xxxx" + archive[64:]]
    for content, words in zip(contents, damaged.values(), strict=True):
        Path("x.npy").write_bytes(content)
        assert words in error_of("sample", str(run), "latents=x.npy")
    assert "No such file" in error_of("sample", str(run), "latents=none.npz")
    assert "latents=.: " in error_of("sample", str(run), "latents=.")


def test_options_that_say_the_same_are_refused(run: Path, error_of: ErrorOf) -> None:
    np.savez("z.npz", z=Z)
    for other, words in {
        "n=3": "n=3 and latents=z.npz: each says which samples",
        "seeds=1": "seeds=1 and latents=z.npz",
        "seed=1": "seed=1 and latents=z.npz",
        "truncation=0.5": "given latents are used as they are",
        "format=progress": "latents=z.npz: is not used by format=progress",
        "label=a": "is unconditional and takes no class",
        "strength=-1:1": "strength=-1:1: says how far along a direction, give direction=FILE too",
        "rows=0-3": "rows=0-3: is for format=mix",
        "format=mix": "format=mix takes its seeds from rows and columns",
    }.items():
        assert words in error_of("sample", str(run), "latents=z.npz", other)
