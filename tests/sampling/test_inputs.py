"""`gan-sample input= mask=`: the images and masks of a user, what is written for them, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gan_cli.cli.main import run_command
from gan_cli.config.options.tasks import Translation
from gan_cli.data.dataset import to_signed_unit
from gan_cli.data.decoding import open_image
from gan_cli.errors import CheckpointError, UsageError
from gan_cli.sampling import input_samples
from gan_cli.sampling.load_generator import load_generator
from gan_cli.sampling.load_generator import sample as sample_tensors
from gan_cli.sampling.read_inputs import read_inputs
from gan_cli.tasks.tasks import task_of
from support.commands import error_line
from support.configs import TINY_IMAGES
from support.images import noise_image, write_image, zip_folder
from support.tasks import RUNS, TINY

Trained = Callable[..., Path]


@pytest.fixture
def run_of(trained: Trained) -> Trained:
    return lambda task, *more: trained(*RUNS[task], *TINY, *more, f"name={task}")


@pytest.fixture
def sample(here: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Path]:
    """Runs `gan-sample` and returns the path that it printed last."""

    def sampled(*overrides: str) -> Path:
        capsys.readouterr()
        assert run_command("sample", list(overrides)) == 0, capsys.readouterr().err
        return Path(capsys.readouterr().out.splitlines()[-1])

    return sampled


def write_mask(path: str, size: tuple[int, int] = (24, 24), box: tuple[int, int, int, int] = (6, 6, 18, 18)) -> None:
    """Writes a mask that is white in the box."""
    mask = Image.new("L", size)
    mask.paste(255, box)
    mask.save(path)


def pixels_of(path: Path | str) -> np.ndarray:
    """Returns the pixels of an image file, uint8 `[H, W, C]`."""
    with Image.open(path) as image:
        return np.array(image)


# --- what is read ------------------------------------------------------------------------------------------------


def test_a_file_a_folder_and_a_zip_give_the_same_inputs(run_of: Trained, here: Path) -> None:
    for seed, name in enumerate(["b/photo.png", "a/photo.png", "other.png"]):
        (here / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        noise_image(16 + seed, 16, seed=seed).save(here / "photos" / name)
    zip_folder(here / "photos", here / "photos.zip")
    generator = load_generator(run_of("translation"))
    folder, archive = (read_inputs(generator, path, None).images for path in ("photos", "photos.zip"))
    (single,) = read_inputs(generator, "photos/other.png", None).images
    assert len(folder) == 3
    assert [image.name for image in folder] == [image.name for image in archive]
    assert len({image.sha256 for image in folder}) == 3
    for one, other in zip(folder, archive, strict=True):
        assert one.sha256 == other.sha256
        assert torch.equal(one.condition.image, other.condition.image)  # type: ignore[arg-type]
    same = next(image for image in folder if image.name == "other")
    assert torch.equal(same.condition.image, single.condition.image)  # type: ignore[arg-type]


def test_equal_names_are_told_apart(run_of: Trained, here: Path, sample: Callable[..., Path]) -> None:
    for name in ("a/photo.png", "b/photo.png", "b/other.png"):
        write_image(here / "photos" / name, size=(16, 16))
    folder = sample(f"ckpt={run_of('inpainting')}", "input=photos", "seeds=1,5", "format=images")
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == 6
    assert {name.partition("_seed_")[2] for name in names} == {"000001.png", "000005.png"}
    assert sum(name.endswith("_photo_seed_000001.png") for name in names) == 2
    assert sum(name.endswith("_other_seed_000005.png") for name in names) == 1


def test_no_file_overwrites_another(run_of: Trained, here: Path, sample: Callable[..., Path]) -> None:
    """A number in front of equal names may be the name of another input; some file systems ignore the case."""
    long = "x" * 240
    for name in ("a/photo.png", "b/PHOTO.png", "0000_photo.png", "0001_photo.png", f"a/{long}y.png", f"a/{long}z.png"):
        write_image(here / "photos" / name, size=(16, 16))
    folder = sample(f"ckpt={run_of('inpainting')}", "input=photos", "n=2", "format=images")
    assert len({path.name.casefold() for path in folder.iterdir()}) == 12


def test_a_seed_that_is_listed_twice_gets_a_file_each_time(
    run_of: Trained, here: Path, sample: Callable[..., Path]
) -> None:
    for name in ("a/photo.png", "b/photo.png", "b/other.png"):
        write_image(here / "photos" / name, size=(16, 16))
    folder = sample(f"ckpt={run_of('inpainting')}", "input=photos", "seeds=3,1,3", "format=images")
    assert len([*folder.iterdir()]) == 9


def test_inputs_are_kept_as_bytes(run_of: Trained, here: Path) -> None:
    """Of 1,000 large images, float values would be four times as large, and masks are as many again."""
    noise_image(16, 16).save("photo.png")
    (given,) = read_inputs(load_generator(run_of("inpainting")), "photo.png", None).images
    kept = [part for part in given.make_condition.args if isinstance(part, torch.Tensor)]  # type: ignore[attr-defined]
    assert [part.dtype for part in kept] == [torch.uint8]
    assert given.condition.image is not None
    assert given.condition.image.dtype == torch.float32


def test_known_pixels_of_a_photo_are_kept_to_the_bit(run_of: Trained, here: Path, sample: Callable[..., Path]) -> None:
    noise_image(16, 16, seed=1).save("photo.png")
    write_mask("m.png", (16, 16), (4, 4, 12, 12))
    path = sample(f"ckpt={run_of('inpainting')}", "input=photo.png", "mask=m.png", "n=3", "format=npz")
    with np.load(path) as arrays:
        images, names = arrays["images"], arrays["names"]
    assert images.shape == (3, 16, 16, 3)
    assert names.tolist() == ["photo"]
    photo = pixels_of("photo.png")
    hidden = np.zeros((16, 16), bool)
    hidden[4:12, 4:12] = True
    assert (images[:, ~hidden] == photo[~hidden]).all()
    assert (images[:, hidden] != photo[hidden]).any()
    assert (images[0] != images[1]).any()  # the latent has an effect


def test_a_small_image_is_enlarged_in_its_own_size(run_of: Trained, here: Path, sample: Callable[..., Path]) -> None:
    run = run_of("super_resolution")
    (here / "photos").mkdir()
    noise_image(5, 7, seed=1).save("photos/one.png")
    noise_image(9, 4, seed=2).save("photos/two.png")
    folder = sample(f"ckpt={run}", "input=photos", "format=images")
    sizes = {path.name: pixels_of(path).shape for path in folder.iterdir()}
    assert sizes == {"one_seed_000000.png": (28, 20, 3), "two_seed_000000.png": (16, 36, 3)}
    assert sample(f"ckpt={run}", "input=photos/one.png").suffix == ".png"


def test_each_file_is_decoded_once(run_of: Trained, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = load_generator(run_of("super_resolution"))
    (here / "photos").mkdir()
    for number, sides in enumerate([(5, 7), (9, 4), (5, 7), (6, 6)]):
        noise_image(*sides, seed=number).save(f"photos/{number}.png")
    real, decoded = open_image.decode_pixels, []
    monkeypatch.setattr(open_image, "decode_pixels", lambda image: (decoded.append(image.size), real(image))[1])
    given = read_inputs(generator, "photos", None).images
    assert sorted(decoded) == [(5, 7), (5, 7), (6, 6), (9, 4)]
    for number, image in enumerate(given):
        pixels = torch.from_numpy(pixels_of(f"photos/{number}.png")).permute(2, 0, 1)[None]
        assert image.name == str(number)
        assert torch.equal(image.condition.image, to_signed_unit(pixels))  # type: ignore[arg-type]


def test_dark_16_bit_images_of_two_sizes_are_scaled_alike(run_of: Trained, here: Path) -> None:
    (here / "photos").mkdir()
    for side, brightest in ((6, 1000), (8, 2000)):
        values = np.linspace(0, brightest, side * side).reshape(side, side).astype(np.uint16)
        Image.fromarray(values).save(f"photos/{side}.png")
    dim, bright = (
        float(image.condition.image.max() + 1)  # type: ignore[union-attr]
        for image in read_inputs(load_generator(run_of("super_resolution")), "photos", None).images
    )
    assert bright == pytest.approx(2, abs=0.1)
    assert dim == pytest.approx(bright / 2, abs=0.02)


def test_images_are_written_as_they_come_and_none_is_left_after_an_error(
    run_of: Trained, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, real, written = run_of("translation"), input_samples.sample_in_batches, []
    (here / "photos").mkdir()
    for name in "abc":
        noise_image(16, 16).save(f"photos/{name}.png")
    before = sorted(run.rglob("*"))

    def fail_at_the_third(*arguments: Any) -> Iterator[torch.Tensor]:
        written.append(len([*run.rglob("*_seed_*.png")]))
        if len(written) == 3:
            raise CheckpointError("of the test")
        return real(*arguments)

    monkeypatch.setattr(input_samples, "sample_in_batches", fail_at_the_third)
    assert "of the test" in error_line(capsys, "sample", f"ckpt={run}", "input=photos", "format=images", code=3)
    assert written == [0, 1, 2]
    assert sorted(run.rglob("*")) == before


def test_a_generator_without_latent_gives_one_result(
    run_of: Trained, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise_image(16, 16).save("photo.png")
    assert run_command("sample", [f"ckpt={run_of('translation')}", "input=photo.png", "n=3", "format=images"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert any(line.startswith("one result for each input") for line in told)
    assert [path.name for path in Path(told[-1]).iterdir()] == ["photo_seed_000000.png"]


def test_seeds_masks_and_the_sidecar_repeat_a_result(run_of: Trained, here: Path, sample: Callable[..., Path]) -> None:
    run = run_of("inpainting")
    noise_image(20, 20).save("photo.png")
    one, two = (sample(f"ckpt={run}", "input=photo.png", "seed=7", "n=2") for _ in range(2))
    assert one.name == "step_00000003_photo_seeds_7-8.png"
    assert one.read_bytes() == two.read_bytes()
    assert sample(f"ckpt={run}", "input=photo.png", "seed=8", "n=2").read_bytes() != one.read_bytes()
    told = json.loads(one.with_suffix(".json").read_text())
    assert (told["seeds"], told["input"], told["mask"]) == ("7-8", "photo.png", None)
    assert [image["name"] for image in told["inputs"]] == ["photo"]
    assert len(told["inputs"][0]["sha256"]) == 64


@pytest.mark.parametrize("task", RUNS)
def test_without_input_the_grid_is_that_of_the_run(run_of: Trained, sample: Callable[..., Path], task: str) -> None:
    run = run_of(task)
    grids = [pixels_of(path).astype(int) for path in (sample(f"ckpt={run}"), run / "samples/step_00000003.png")]
    assert np.abs(grids[0] - grids[1]).max() <= 1


def test_what_is_taken_in_place_of_an_option_is_said(
    run_of: Trained, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise_image(16, 16).save("photo.png")
    write_mask("m.png", (16, 16), (4, 4, 12, 12))
    drawn = "mask: drawn for each image as in training (centre, brush), as mask= is not given"
    edges = "input: the edges of each image are the source image, as in training (task.source=edges)"
    shown = "input: 8 images of the run's data, as input= is not given"
    masked = run_of("inpainting", "task.mask=[centre,brush]")
    for run, options, expected in [
        (masked, ["input=photo.png"], [drawn]),
        (masked, ["input=photo.png", "mask=m.png"], []),
        (masked, [], [shown, drawn]),
        (run_of("translation"), ["input=photo.png"], [edges]),
        (run_of("super_resolution"), ["input=photo.png"], []),
    ]:
        capsys.readouterr()
        assert run_command("sample", [f"ckpt={run}", *options]) == 0
        assert capsys.readouterr().out.splitlines()[:-1] == expected
    of_pairs = Translation(name="translation", source="data")
    assert task_of(of_pairs).describe_added(of_pairs) == ""


def lines_of(capsys: pytest.CaptureFixture[str], *overrides: str) -> list[str]:
    """Runs `gan-sample` and returns what it printed before the path."""
    capsys.readouterr()
    assert run_command("sample", list(overrides)) == 0, capsys.readouterr().err
    return capsys.readouterr().out.splitlines()[:-1]


def test_what_is_changed_in_the_inputs_is_said(run_of: Trained, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, sides in {"wide": (30, 20), "small": (8, 8), "same": (16, 16)}.items():
        write_image(here / "photos" / f"{name}.png", (200, 30, 30), size=sides)
    said = lines_of(capsys, f"ckpt={run_of('translation')}", "input=photos")
    assert said[0] == (
        "input: 2 of 3 images resized to 16 x 16; 1 cropped to 1:1, up to 33 % removed;"
        " 1 smaller than 16 x 16, enlarged"
    )


def train_on_pairs(train: Callable[..., Path], path: str, *more: str) -> Path:
    tiny = [each for each in TINY if not each.startswith("dataset")]
    return train("task=translation", "dataset=folder", f"dataset.path={path}", *tiny, *more)


def test_of_pairs_the_source_images_are_inputs(
    train: Callable[..., Path], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(9):
        write_image(here / "pairs" / "A" / f"{number}.png", (200, 0, 0), size=(16, 16))
        write_image(here / "pairs" / "B" / f"{number}.png", (0, 0, 200), size=(16, 16))
    run = train_on_pairs(train, "pairs")
    write_image(here / "pairs" / "A" / "alone.png", (200, 0, 0), size=(16, 16))
    assert lines_of(capsys, f"ckpt={run}", "input=pairs") == [
        "input: 9 pairs, the images of A are given, those of B are the true ones; 1 without a partner is left out"
        " (A/alone.png)"
    ]
    given = read_inputs(load_generator(run), "pairs", None).images
    assert all(float(image.condition.image[0, 0].min()) > 0.5 for image in given)  # type: ignore[index]
    assert all(image.truth is not None and int(image.truth[2].min()) == 200 for image in given)
    assert lines_of(capsys, f"ckpt={run}", "input=pairs/A") == []


def test_of_files_side_by_side_the_source_halves_are_inputs(
    train: Callable[..., Path], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(8):
        image = Image.new("RGB", (32, 16), (200, 0, 0))
        image.paste((0, 0, 200), (16, 0, 32, 16))
        (here / "joined").mkdir(exist_ok=True)
        image.save(here / "joined" / f"{number}.png")
    run = train_on_pairs(train, "joined", "dataset.pairs=side_by_side", "dataset.direction=BtoA")
    line = "input: 8 files side by side, the right half is given, the left half is true"
    assert line in lines_of(capsys, f"ckpt={run}", "input=joined")
    given = read_inputs(load_generator(run), "joined/0.png", None).images[0]
    assert float(given.condition.image[0, 2].min()) > 0.5  # type: ignore[index]
    assert given.truth is not None
    assert int(given.truth[0].min()) == 200
    write_image(here / "plain.png", (0, 0, 200), size=(16, 16))
    assert lines_of(capsys, f"ckpt={run}", "input=plain.png") == []
    (here / "plain.png").rename(here / "joined" / "plain.png")
    said = error_line(capsys, "sample", f"ckpt={run}", "input=joined")
    assert "8 of 9 images are source and target side by side" in said


def test_a_mask_of_zeros_and_ones_is_that_of_black_and_white(
    run_of: Trained, here: Path, sample: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    noise_image(24, 24, seed=1).save("photo.png")
    write_mask("white.png")
    Image.fromarray(pixels_of("white.png") // 255).save("ones.png")
    run = run_of("inpainting")
    first, second = (
        sample(f"ckpt={run}", "input=photo.png", f"mask={mask}.png", "format=npz") for mask in ("white", "ones")
    )
    assert np.array_equal(np.load(first)["images"], np.load(second)["images"])
    line = "mask: has the values 0 and 1, which are read as black and white"
    assert line in lines_of(capsys, f"ckpt={run}", "input=photo.png", "mask=ones.png")


def test_truncation_needs_a_latent(run_of: Trained, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, words = run_of("translation"), "truncation=0.5: this generator has no latent to truncate, leave it out"
    assert words in error_line(capsys, "sample", f"ckpt={run}", "truncation=0.5")
    with pytest.raises(UsageError, match=words):
        sample_tensors(load_generator(run), [0], images=torch.zeros(1, 3, 16, 16), truncation=0.5)
    said = lines_of(capsys, f"ckpt={run}", "seed=7")
    assert any(line.startswith("one result for each input: this generator has no latent") for line in said)


def test_without_a_latent_there_is_a_result_for_each_class(
    trained: Trained, here: Path, sample: Callable[..., Path]
) -> None:
    run = trained(*RUNS["translation"], *TINY, "conditioning=concat", "name=conditional")
    noise_image(16, 16).save("photo.png")
    first, second = load_generator(run).classes[:2]
    both = np.load(sample(f"ckpt={run}", "input=photo.png", f"label={first},{second}", "format=npz"))["images"]
    each = [
        np.load(sample(f"ckpt={run}", "input=photo.png", f"label={name}", "format=npz"))["images"]
        for name in (first, second)
    ]
    assert np.array_equal(both, np.concatenate(each))


def test_a_requested_class_replaces_those_of_held_out_inputs(run_of: Trained, sample: Callable[..., Path]) -> None:
    run = run_of("inpainting", "conditioning=concat")
    first, second = (
        np.load(sample(f"ckpt={run}", f"label={name}", "n=1", "format=npz"))["images"]
        for name in load_generator(run).classes[:2]
    )
    assert (first != second).any()


@pytest.mark.parametrize("mode", ["projection", "concat"])
def test_a_class_is_requested_beside_the_image(
    run_of: Trained, here: Path, sample: Callable[..., Path], mode: str
) -> None:
    run = run_of("inpainting", f"conditioning={mode}")
    noise_image(16, 16).save("photo.png")
    classes = load_generator(run).classes
    path = sample(f"ckpt={run}", "input=photo.png", f"label={classes[0]}", "n=2", "format=npz")
    assert np.load(path)["images"].shape == (2, 16, 16, 3)
    assert sample(f"ckpt={run}").is_file()


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "overrides", "words"),
    [
        (
            "inpainting",
            ("input=photo.png", "mask=small.png"),
            "mask=small.png: is 12 x 12 pixels, photo.png is 24 x 24",
        ),
        ("inpainting", ("input=photo.png", "mask=photo.png"), "mask=photo.png: is no mask"),
        ("inpainting", ("input=photo.png", "mask=black.png"), "mask=black.png: is black everywhere"),
        ("inpainting", ("input=photo.png", "mask=dark.png"), "black everywhere (its highest value is 3 of 255)"),
        ("inpainting", ("input=wide.jpg", "mask=edge.png"), "mask=edge.png: its white part is cropped off: the run"),
        ("inpainting", ("input=wide.jpg", "mask=edge.png"), "16 x 16 pixels, for which the middle 90 x 90 are used"),
        ("inpainting", ("input=wide.jpg", "mask=dot.png"), "its white part, 1 pixel of 90 x 90, is lost at 16 x 16"),
        (
            "inpainting",
            ("input=photos",),
            "input=photos: 2 of 3 images cannot be used: 2.png (not an image despite its name), 3.jpg (truncated);"
            " repair or remove them",
        ),
        (
            "inpainting",
            ("input=photo.png", "mask=m.png,black.png"),
            "mask=m.png,black.png: not found; one mask is given for all inputs, so use a command for each",
        ),
        ("inpainting", ("input=photo.png,m.png",), "not found; several images are given as a folder"),
        ("inpainting", ("input=photo.png", "mask=masks"), "2 images, give one mask for all inputs"),
        ("inpainting", ("mask=m.png",), "mask: is for the image that input= names"),
        ("inpainting", ("input=nowhere.png",), "input=nowhere.png: not found, expected an image, or a folder"),
        ("inpainting", ("input=note.txt",), "input=note.txt"),
        ("inpainting", ("input=empty",), "input=empty"),
        ("inpainting", ("input=cut.png",), "input=cut.png: 1 of 1 image cannot be used: cut.png"),
        ("inpainting", ("input=photo.png", "format=walk"), "format=walk: is for generators without input"),
        (
            "translation",
            ("input=photo.png", "mask=m.png"),
            "mask: only task=inpainting takes one, this generator has",
        ),
        ("super_resolution", ("input=wide.png",), "more than 1,024 pixels"),
        ("super_resolution", ("input=mixed",), "the inputs have 2 sizes, use format=images"),
    ],
)
def test_a_wrong_input_is_refused_in_one_line(
    run_of: Trained, here: Path, capsys: pytest.CaptureFixture[str], task: str, overrides: tuple[str, ...], words: str
) -> None:
    noise_image(24, 24).save("photo.png")
    write_mask("m.png")
    write_mask("small.png", (12, 12), (3, 3, 9, 9))
    write_mask("black.png", box=(0, 0, 0, 0))
    Image.new("L", (24, 24), 3).save("dark.png")
    noise_image(120, 90).save("wide.jpg")
    write_mask("edge.png", (120, 90), (0, 0, 10, 90))
    write_mask("dot.png", (120, 90), (60, 40, 61, 41))
    for folder in ("masks", "empty", "mixed", "photos"):
        (here / folder).mkdir()
    for name in ("masks/1.png", "masks/2.png"):
        write_mask(name)
    noise_image(4, 4).save("mixed/1.png")
    noise_image(5, 4).save("mixed/2.png")
    write_image(here / "wide.png", size=(1025, 4))
    noise_image(24, 24).save("photos/1.png")
    Path("photos/2.png").write_text("no image")
    Path("photos/3.jpg").write_bytes(Path("wide.jpg").read_bytes()[:100])
    Path("note.txt").write_text("This is no image.\n")
    Path("cut.png").write_bytes(Path("photo.png").read_bytes()[:-200])
    run = run_of(task)
    before = sorted(run.rglob("*"))
    line = error_line(capsys, "sample", f"ckpt={run}", *overrides)
    assert words in line
    assert "dataset." not in line
    assert sorted(run.rglob("*")) == before


def test_a_generator_from_noise_takes_no_input(
    trained: Trained, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained(*TINY_IMAGES, "steps=1", "name=run")
    noise_image(16, 16).save("photo.png")
    line = error_line(capsys, "sample", f"ckpt={run}", "input=photo.png")
    assert "input: this checkpoint generates from noise and takes no image" in line


# --- from Python -------------------------------------------------------------------------------------------------


def test_the_api_takes_images_and_masks(run_of: Trained, sample: Callable[..., Path]) -> None:
    from gan_cli import api
    from gan_cli.data.dataset import to_uint8

    run = run_of("inpainting")
    generator = api.load_generator(run)
    noise_image(16, 16, seed=1).save("photo.png")
    write_mask("m.png", (16, 16), (4, 4, 12, 12))
    images = to_signed_unit(torch.from_numpy(pixels_of("photo.png")).permute(2, 0, 1)[None])
    masks = torch.zeros(1, 1, 16, 16)
    masks[..., 4:12, 4:12] = 1
    made = api.sample(generator, range(3), images=images, masks=masks)
    with np.load(sample(f"ckpt={run}", "input=photo.png", "mask=m.png", "n=3", "format=npz")) as arrays:
        assert np.array_equal(to_uint8(made).permute(0, 2, 3, 1).numpy(), arrays["images"])
    arrays = {"images": images.numpy()[..., ::-1].astype(float)[..., ::-1], "masks": masks.bool().numpy()}
    assert torch.equal(api.sample(generator, range(3), **arrays), made)
    assert api.sample(generator, range(2), images=images.expand(2, -1, -1, -1)).shape == (2, 3, 16, 16)
    for wrong in ("photo.png", [[1.0], [1.0, 2.0]], object()):
        with pytest.raises(UsageError, match="images: expected a tensor or an array of numbers"):
            api.sample(generator, [0], images=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("task", "given", "words"),
    [
        ("inpainting", {}, "images: task=inpainting needs an image for each seed"),
        ("inpainting", {"images": (3, 1, 16, 16)}, "images: expected a tensor"),
        ("inpainting", {"images": (1, 3, 16, 16), "masks": (1, 3, 16, 16)}, "masks: expected a tensor"),
        ("inpainting", {"images": (1, 3, 16, 16), "masks": (1, 1, 8, 8)}, "masks: expected the sides of images"),
        (
            "translation",
            {"images": (1, 3, 16, 16), "masks": (1, 1, 16, 16)},
            "masks: only task=inpainting takes one",
        ),
    ],
)
def test_the_api_refuses_what_does_not_fit(
    run_of: Trained, task: str, given: dict[str, tuple[int, ...]], words: str
) -> None:
    from gan_cli import api
    from gan_cli.errors import UsageError

    generator = api.load_generator(run_of(task))
    with pytest.raises(UsageError, match=words):
        api.sample(generator, [0, 1], **{name: torch.zeros(shape) for name, shape in given.items()})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("image", "mask", "message"),
    [
        (torch.full((1, 3, 16, 16), 1.5), None, r"images: expected float values in \[-1, 1\]"),
        (torch.full((1, 3, 16, 16), float("nan")), None, "without NaN"),
        (torch.zeros(1, 3, 16, 16, dtype=torch.uint8), None, "images: expected float"),
        (torch.zeros(1, 3, 16, 16), torch.full((1, 1, 16, 16), 0.5), "masks: expected zeros and ones"),
        (torch.zeros(1, 3, 16, 16), torch.zeros(1, 1, 16, 16), "with a 1 where the generator paints"),
    ],
)
def test_the_api_refuses_values_that_are_no_image_or_mask(
    image: torch.Tensor, mask: torch.Tensor | None, message: str, run_of: Trained
) -> None:
    from gan_cli import api

    generator = api.load_generator(run_of("inpainting"))
    with pytest.raises(UsageError, match=message):
        api.sample(generator, [0], images=image, masks=mask)


def test_one_input_is_one_row(run_of: Trained, sample: Callable[..., Path]) -> None:
    noise_image(16, 16, seed=1).save("photo.png")
    height, width, _ = pixels_of(sample(f"ckpt={run_of('inpainting')}", "input=photo.png", "n=3")).shape
    assert width > 4 * height  # the image, the mask and three results


def test_what_is_transparent_in_a_mask_is_kept(run_of: Trained, here: Path) -> None:
    pixels = np.zeros((16, 16, 4), np.uint8)
    pixels[4:8, 4:8] = 255
    Image.fromarray(np.full((16, 16, 3), 90, np.uint8)).save(here / "grey.png")
    Image.fromarray(pixels).save(here / "layer.png")
    paths = str(here / "grey.png"), str(here / "layer.png")
    (given,) = read_inputs(load_generator(run_of("inpainting")), *paths).images
    assert given.condition.mask is not None
    assert given.condition.mask.sum() == 16
    assert given.condition.mask[0, 0, 4:8, 4:8].all()
