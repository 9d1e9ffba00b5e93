"""Films: they keep to the arc and the distribution, end where they began, and never hold many frames at once."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from gan_cli.cli.main import run_command
from gan_cli.config.commands import SampleConfig
from gan_cli.config.compose import compose_command
from gan_cli.config.overrides import quote_literals
from gan_cli.config.validation import parse
from gan_cli.data.dataset import to_uint8
from gan_cli.data.labels import all_classes_requested
from gan_cli.errors import UsageError
from gan_cli.images import animation
from gan_cli.images.animation import Animation, write_animation
from gan_cli.images.grid import draw_grid_or_scatter
from gan_cli.models.generate import latents_from_seeds
from gan_cli.models.latents import LatentDistribution
from gan_cli.sampling import interpolation
from gan_cli.sampling.interpolation import slerp
from gan_cli.sampling.load_generator import load_generator, sample
from support.configs import TINY_IMAGES, without

LATENTS = [
    (LatentDistribution(64), None),
    (LatentDistribution(64), 0.7),
    (LatentDistribution(64, "uniform"), None),
    (LatentDistribution(64, "uniform"), 0.5),
]


@pytest.fixture
def film(here: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Path]:
    """Runs `gan-sample` and returns the path it printed."""

    def made(*overrides: str) -> Path:
        capsys.readouterr()
        assert run_command("sample", list(overrides)) == 0, capsys.readouterr().err
        return Path(capsys.readouterr().out.strip())

    return made


@pytest.fixture
def run(trained: Callable[..., Path]) -> Path:
    tiny = without(TINY_IMAGES, "architecture.generator.latent_dim")
    return trained(*tiny, "conditioning=projection", "architecture.generator.latent_dim=32", "steps=3", "name=run")


def config(*overrides: str) -> SampleConfig:
    return parse(SampleConfig, compose_command("sample", [quote_literals(each) for each in overrides]).data)


def frames_of(path: Path) -> list[np.ndarray]:
    with Image.open(path) as picture:
        frames = []
        for index in range(getattr(picture, "n_frames", 1)):
            picture.seek(index)
            frames.append(np.asarray(picture.convert("RGB")).astype(int))
    return frames


def difference(one: np.ndarray, two: np.ndarray) -> float:
    return float(np.abs(one - two).mean())


# --- the way ------------------------------------------------------------------------------------------------------


def test_the_arc_between_two_directions() -> None:
    one, two = torch.tensor([[3.0, 0.0]]).double(), torch.tensor([[0.0, 3.0]]).double()
    third = slerp(one, two, 1 / 3)
    torch.testing.assert_close(third, torch.tensor([[3 * 0.75**0.5, 1.5]]).double())  # 30 degrees
    assert torch.equal(slerp(one, two, 0.0), one)
    torch.testing.assert_close(slerp(one, two, 1.0), two)
    torch.testing.assert_close(slerp(one, -one, 0.5), torch.zeros(1, 2).double())  # no one arc: the line
    torch.testing.assert_close(slerp(one, 2 * one, 0.5), 1.5 * one)
    assert slerp(one * 0, two, 0.5).isfinite().all()


@pytest.mark.parametrize(("latent", "truncation"), LATENTS, ids=str)
def test_a_way_keeps_to_the_distribution(latent: LatentDistribution, truncation: float | None) -> None:
    """In the middle of a leg values are spread as they are when drawn; those of the straight line are not."""
    drawn = latents_from_seeds(range(400), latent, truncation)
    normal = latent.to_normal(drawn, truncation)
    torch.testing.assert_close(latent.from_normal(normal, truncation), drawn, atol=2e-6, rtol=1e-5)
    assert normal.std().item() == pytest.approx(1, abs=0.02)
    middle = latent.from_normal(slerp(normal[:200], normal[200:], 0.5), truncation)
    assert middle.std().item() == pytest.approx(drawn.std().item(), rel=0.03)
    assert torch.lerp(drawn[:200], drawn[200:], 0.5).std().item() < 0.8 * drawn.std().item()
    if truncation is not None or latent.distribution == "uniform":
        assert middle.abs().max() <= drawn.abs().max() * 1.01
        assert middle.abs().max() <= (truncation or 1.0)


def test_a_film_shows_the_seeds_and_ends_where_it_began(run: Path) -> None:
    asked = config("ckpt=x", "format=walk", "frames=8", "tiles=2", "seeds=3,4,5,10-12", "truncation=0.8")
    generator = load_generator(run)
    path = interpolation._LatentPath.build(asked, generator, [], [3, 4, 5, 10, 11, 12], 2)
    assert path.total == 3 * 8
    for frame, seeds in ((0, [3, 10]), (8, [4, 11]), (16, [5, 12])):
        made = generator.latent.from_normal(path.at(frame)[0], 0.8)
        torch.testing.assert_close(made, latents_from_seeds(seeds, generator.latent, 0.8), atol=2e-6, rtol=1e-5)
    places = torch.stack([path.at(frame)[0] for frame in range(path.total)])
    steps = (places.roll(-1, 0) - places).flatten(1).norm(dim=1)  # the last of them leads back to the first
    assert steps.max() < 2 * steps.min()
    one_way = interpolation._LatentPath.build(
        config("ckpt=x", "format=interpolate", "frames=8"), generator, [], range(3), 1
    )
    assert one_way.total == 2 * 8 + 1
    torch.testing.assert_close(one_way.at(16)[0][0].float(), latents_from_seeds([2], generator.latent)[0])


# --- the files ----------------------------------------------------------------------------------------------------


def test_the_frames_at_seeds_are_those_samples(run: Path, film: Callable[..., Path]) -> None:
    path = film(f"ckpt={run}", "format=interpolate", "seeds=0-2", "frames=4", "label=outlined cross", "container=gif")
    frames = frames_of(path)
    assert len(frames) == 9
    made = to_uint8(sample(load_generator(run), range(3), "outlined cross"))
    for index, image in zip((0, 4, 8), made, strict=True):
        drawn = draw_grid_or_scatter(image.unsqueeze(0), None)
        enlarged = ImageOps.scale(drawn, interpolation.MIN_FRAME_SIDE // drawn.width, Image.Resampling.NEAREST)
        expected = np.asarray(enlarged.convert("RGB")).astype(int)
        assert difference(frames[index], expected) <= 0.5
    assert difference(frames[0], frames[4]) > 1
    told = json.loads(path.with_suffix(".json").read_text())
    assert (told["format"], told["frames"], told["fps"], told["tiles"], told["seeds"], told["labels"]) == (
        "interpolate", 9, 24, 1, "0-2", ["outlined cross"],
    )  # fmt: skip
    assert path.parent == run / "generated"


def test_a_loop_closes_and_moves_evenly(train: Callable[..., Path], film: Callable[..., Path]) -> None:
    """A conditional run shows each of its classes beside the others, whatever the batch."""
    run = train(*TINY_IMAGES, "conditioning=projection", "steps=50", "name=moving")
    path, other = (
        film(f"ckpt={run}", "format=walk", "n=3", "frames=6", "fps=10", f"batch_size={n}") for n in (5, 1000)
    )
    frames = frames_of(path)
    assert path.suffix == ".webp"
    assert len(frames) == 18
    steps = [difference(frames[index - 1], frames[index]) for index in range(18)]  # the first: from the last to it
    assert 0 < steps[0] <= 1.5 * max(steps[1:])
    assert difference(frames[0], frames[9]) > 2 * steps[0]
    assert max(map(difference, frames, frames_of(other))) < 0.5
    with Image.open(path) as picture:
        picture.load()
        assert picture.info["duration"] == 100
        assert picture.info["loop"] == 0
    assert len(json.loads(path.with_suffix(".json").read_text())["labels"]) == 8


def test_a_walk_through_labels(run: Path) -> None:
    generator = load_generator(run)
    asked = config("ckpt=x", "format=walk", "through_labels=true", "frames=4")
    rows = all_classes_requested(generator.classes)[:2]
    planned = interpolation.plan_animation(asked, generator, rows, range(4))
    assert planned.animation.total == 16
    path = interpolation._LatentPath.build(asked, generator, rows, range(4), 1)
    kinds = torch.stack([path.at(frame)[1][0, 0] for frame in range(16)])  # type: ignore[index]
    first, second = (row.columns[0] for row in rows)
    assert kinds[:, first].tolist() == [1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0, 0, 0, 0, 0, 0.25, 0.5, 0.75]
    torch.testing.assert_close(kinds[:, first] + kinds[:, second], torch.ones(16))


def test_points_move_as_a_cloud(train: Callable[..., Path], film: Callable[..., Path]) -> None:
    run = train("experiment=ring", "steps=2", "dataset.size=1000", "threads=1")
    path = film(f"ckpt={run}", "format=walk", "frames=2", "n=200", "out=cloud.gif")
    assert path == Path("cloud.gif")
    frames = frames_of(path)
    assert len(frames) == 8
    assert frames[0].shape == (512, 512, 3)
    assert json.loads(Path("cloud.json").read_text())["tiles"] == 50


def test_the_film_of_a_run(train: Callable[..., Path], film: Callable[..., Path]) -> None:
    overrides = [each for each in TINY_IMAGES if not each.startswith("training.sample_every")]
    run = train(*overrides, "training.sample_every=1", "steps=3")
    path = film(f"ckpt={run}", "format=progress", "container=gif", "fps=10")
    frames = frames_of(path)
    assert len(frames) == 4
    with Image.open(run / "samples" / "step_00000003.png") as last:
        assert difference(frames[-1], np.asarray(last.convert("RGB"))) < 3
    with Image.open(path) as picture:
        assert picture.info["duration"] == 100
        picture.seek(3)
        assert picture.info["duration"] == 100 + 1000 * animation.LAST_FRAME_SECONDS
    assert json.loads(path.with_suffix(".json").read_text())["seeds"] is None


def test_mp4(run: Path, film: Callable[..., Path]) -> None:
    import imageio_ffmpeg

    path = film(f"ckpt={run}", "format=walk", "label=filled cross", "n=2", "frames=12", "out=films/walk.mp4")
    assert path == Path("films/walk.mp4")
    raw = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path), "-f", "rawvideo", "-pix_fmt", "gray", "-"]
    done = subprocess.run(raw, capture_output=True)
    assert re.search(rb"Video: h264 .*yuv420p.* 208x208.* 24 fps", done.stderr), done.stderr
    shown = np.frombuffer(done.stdout, np.uint8).reshape(24, 208, 208).astype(int)
    assert np.abs(shown[0] - shown[12]).mean() > 1


@pytest.mark.parametrize("suffix", [".webp", ".mp4"])
def test_frames_are_drawn_as_they_are_written(tmp_path: Path, suffix: str) -> None:
    alive = 0
    most = 0

    class Counted(Image.Image):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def draw() -> Iterator[Image.Image]:
        nonlocal alive, most
        for index in range(40):
            picture = Counted()
            plain = Image.new("RGB", (65, 33), (6 * index, 0, 0))
            picture.im, picture._mode, picture._size = plain.im, plain.mode, plain.size
            alive += 1
            most = max(most, alive)
            yield picture
            del picture

    write_animation(Animation(draw(), 40, 20), tmp_path / f"film{suffix}")
    assert most <= 4
    if suffix == ".webp":
        reds = [frame[5, 5, 0] for frame in frames_of(tmp_path / "film.webp")]
        assert np.abs(np.array(reds) - 6 * np.arange(40)).max() <= 6


def test_one_frame_is_a_film_too(tmp_path: Path) -> None:
    for suffix in (".webp", ".gif", ".mp4"):
        write_animation(Animation([Image.new("L", (30, 31))], 1, 24), tmp_path / f"one{suffix}")
        assert (tmp_path / f"one{suffix}").stat().st_size > 0


def test_a_film_that_fails_leaves_nothing(
    run: Path, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(*_: object) -> Iterator[Image.Image]:
        yield Image.new("L", (8, 8))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(interpolation, "_draw_frames", draw)
    for container in ("webp", "gif", "mp4"):
        assert run_command("sample", [f"ckpt={run}", "format=walk", f"container={container}", "out=films"]) == 5
        assert "No space left" in capsys.readouterr().err
        assert not (here / "films").exists()


# --- mistakes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["frames=5"], "frames=5: is for format=interpolate or walk, leave it out"),
        (["format=npz", "fps=5"], "fps=5: is for format=interpolate or walk or progress"),
        (["format=images", "through_labels=true"], "through_labels=true: is for format=interpolate or walk"),
        (["format=progress", "seeds=0-3"], "seeds=0-3: is not used by format=progress"),
        (["format=progress", "tiles=3"], "tiles=3"),
        (["format=walk", "container=avi"], "container=avi"),
        (["format=walk", "container=gif", "out=a.webp"], "container=gif and out=a.webp"),
        (["format=walk", "container=gif", "fps=60"], "fps=60: a GIF has at most 50"),
        (["format=walk", "frames=0"], "frames=0"),
    ],
)
def test_a_key_that_does_not_fit_is_named(
    here: Path, capsys: pytest.CaptureFixture[str], overrides: list[str], words: str
) -> None:
    Path("x").touch()
    assert run_command("sample", ["ckpt=x", *overrides]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert list(here.iterdir()) == [here / "x"]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["n=1"], "1 seed for 1 walk side by side"),
        (["n=7", "tiles=2"], "7 seeds for 2 walks side by side"),
        (["n=100", "frames=1000"], "frames=1000: 100,000 in all, at most 5,000 of webp"),
        (["tiles=1024", "n=2048", "label_index=[0,1,2,3,4,5,6,7]", "frames=1"], None),
    ],
)
def test_seeds_that_do_not_fit_are_told(run: Path, overrides: list[str], words: str | None) -> None:
    generator = load_generator(run)
    asked = config("ckpt=x", "format=walk", *overrides)
    if words is None:
        planned = interpolation.plan_animation(asked, generator, [], ())
        assert planned.animation.total == 2
        return
    with pytest.raises(UsageError, match=words):
        interpolation.plan_animation(asked, generator, [], ())


def test_what_a_checkpoint_cannot_show(
    train: Callable[..., Path], here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train(*TINY_IMAGES, "steps=1")
    assert run_command("sample", [f"ckpt={run}", "format=walk", "through_labels=true"]) == 2
    assert "takes no class" in capsys.readouterr().err
    alone = here / "alone.safetensors"
    alone.write_bytes((run / "checkpoints" / "last.safetensors").read_bytes())
    assert run_command("sample", [f"ckpt={alone}", "format=progress"]) == 2
    assert "not in the folder of a run" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    assert run_command("sample", [f"ckpt={run}", "format=walk", "out=a.mp4"]) == 2
    told = capsys.readouterr().err
    assert told == "gan-sample: container=mp4 needs imageio-ffmpeg: pip install 'gan-cli[video]'\n"


def test_a_film_of_a_kind_that_is_not_made_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("sample", [f"ckpt={run}", "format=walk", "n=2", "out=w.avi"]) == 2
    assert "out=w.avi: an animation is webp, gif or mp4" in capsys.readouterr().err
    assert not Path("w.avi").exists()
