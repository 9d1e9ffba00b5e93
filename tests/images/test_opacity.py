"""Images with opacity: kept where a kind of file has it, else put on a background that is said."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from gan_cli.cli.main import run_command
from gan_cli.config.commands import SampleConfig
from gan_cli.config.compose import compose_command
from gan_cli.config.validation import parse
from gan_cli.images.animation import Animation, animation_of_grids, remove_opacity, write_animation
from gan_cli.images.grid import draw_pairs
from gan_cli.sampling import interpolation
from gan_cli.sampling.load_generator import load_generator
from support.configs import TINY_IMAGES

COUNT = 6


@pytest.fixture
def frames() -> list[Image.Image]:
    """A red square that moves, a blue one of little opacity, on nothing whose hidden colour is green."""
    pictures = []
    for index in range(COUNT):
        picture = Image.new("RGBA", (64, 64), (0, 255, 0, 0))
        draw = ImageDraw.Draw(picture)
        draw.rectangle((8 * index, 10, 8 * index + 15, 25), fill=(200, 20, 20, 255))
        draw.rectangle((8 * index, 40, 8 * index + 5, 45), fill=(0, 0, 250, 100))
        pictures.append(picture)
    return pictures


def read(path: Path) -> list[np.ndarray]:
    shown = []
    with Image.open(path) as film:
        for index in range(getattr(film, "n_frames", 1)):
            film.seek(index)
            shown.append(np.asarray(film.convert("RGBA")).astype(int))
    return shown


def test_a_gif_shows_what_is_half_opaque_and_takes_each_frame_away(frames: list[Image.Image], tmp_path: Path) -> None:
    write_animation(Animation(frames, COUNT, 10), tmp_path / "film.gif")
    shown = read(tmp_path / "film.gif")
    assert len(shown) == COUNT
    for index, frame in enumerate(shown):
        wanted = np.asarray(frames[index])[..., 3] >= 128
        assert np.array_equal(frame[..., 3] > 0, wanted)
        assert np.abs(frame[wanted][:, :3] - [200, 20, 20]).max() <= 4


def test_a_webp_keeps_opacity_and_frames_are_exact(frames: list[Image.Image], tmp_path: Path) -> None:
    write_animation(Animation(frames, COUNT, 10), tmp_path / "film.webp")
    for frame, made in zip(read(tmp_path / "film.webp"), frames, strict=True):
        assert np.abs(frame[..., 3] - np.asarray(made)[..., 3]).max() <= 2
    write_animation(Animation(frames, COUNT, 10), tmp_path / "frames")
    names = [path.name for path in sorted((tmp_path / "frames").iterdir())]
    assert names == [f"frame_{number:06d}.png" for number in range(1, COUNT + 1)]
    for name, made in zip(names, frames, strict=True):
        with Image.open(tmp_path / "frames" / name) as picture:
            assert picture.mode == "RGBA"
            assert np.array_equal(np.asarray(picture), np.asarray(made))


def test_an_mp4_stands_on_its_background(frames: list[Image.Image], tmp_path: Path) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    path = tmp_path / "film.mp4"
    write_animation(Animation(frames, COUNT, 10, background="#8090ff"), path)
    raw = [ffmpeg, "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    first = np.frombuffer(subprocess.run(raw, capture_output=True).stdout, np.uint8)[: 64 * 64 * 3].reshape(64, 64, 3)
    assert np.abs(first[60, 60].astype(int) - [0x80, 0x90, 0xFF]).max() < 12
    assert np.abs(first[18, 8].astype(int) - [200, 20, 20]).max() < 30


def test_the_film_of_a_run_keeps_opacity(frames: list[Image.Image], tmp_path: Path) -> None:
    grids = [tmp_path / f"step_{index}.png" for index in range(COUNT)]
    for picture, path in zip(frames, grids, strict=True):
        picture.save(path)
    write_animation(animation_of_grids(grids), tmp_path / "progress.webp")
    for frame, made in zip(read(tmp_path / "progress.webp"), frames, strict=True):
        assert np.array_equal(frame[..., 3] >= 128, np.asarray(made)[..., 3] >= 128)


def test_a_page_of_pairs_shows_no_hidden_colours() -> None:
    hidden = torch.zeros(1, 4, 64, 64, dtype=torch.uint8)
    hidden[:, 1] = 255
    page = draw_pairs([("nearest", hidden, hidden)])
    assert page.getpixel((30, 60)) == (255, 255, 255)
    assert remove_opacity(Image.new("RGBA", (1, 1), (0, 0, 0, 0)), "#102030").getpixel((0, 0)) == (16, 32, 48)


def test_what_becomes_of_opacity_is_said(
    train: Callable[..., Path], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(*TINY_IMAGES, "steps=1")
    generator = load_generator(run)
    generator = dataclasses.replace(generator, card=dataclasses.replace(generator.card, sample_shape=(4, 16, 16)))
    capsys.readouterr()
    for more, words in [
        (["container=gif"], "opacity: a GIF shows what is at least half opaque; container=webp keeps it\n"),
        (["out=w.mp4"], "opacity: put on white, as an MP4 has none; container=webp or frames keeps it\n"),
        (["container=webp"], ""),
    ]:
        data = compose_command("sample", ["ckpt=x", "format=walk", "n=2", *more]).data
        planned = interpolation.plan_animation(parse(SampleConfig, data), generator, [], ())
        assert capsys.readouterr().err == words
        assert planned.sidecar_fields.get("background") == ("white" if "mp4" in more[0] else None)


def test_frames_are_a_format_and_a_container(
    train: Callable[..., Path], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(*TINY_IMAGES, "steps=1")
    capsys.readouterr()
    assert run_command("sample", [str(run), "format=frames", "n=2", "frames=3", "out=made"]) == 0
    folder = Path(capsys.readouterr().out.strip())
    assert folder == Path("made/step_00000001_interpolate_seeds_0-1")
    assert len(list(folder.glob("frame_*.png"))) == 4
    note = json.loads(Path(f"{folder}.json").read_text())
    assert (note["format"], note["frames"]) == ("interpolate", 4)
    assert run_command("sample", [str(run), "format=walk", "container=frames", "n=2", "frames=3", "out=made"]) == 0
    assert len(list(Path(capsys.readouterr().out.strip()).iterdir())) == 6
