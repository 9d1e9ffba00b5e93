"""Projection: own samples come back, held-out images get nearer, and what is written can be used."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from gan_cli.cli.main import run_command
from gan_cli.data.dataset import to_uint8
from gan_cli.evaluation.metrics.feature_extractors import build_random_extractor
from gan_cli.latent_space import projection
from gan_cli.latent_space.latent_variables import find_space
from gan_cli.latent_space.projection import Search, make_candidates, project_images
from gan_cli.sampling.load_generator import load_generator, sample
from gan_cli.tasks.condition import Condition
from support.commands import error_line
from support.configs import TINY_IMAGES
from support.styles import SIDES, STYLE_SIZE, train_toy

Train = Callable[..., Path]
ErrorOf = Callable[..., str]
QUICK = ("candidates=50", "steps=60", "frames=4", "extractor=random")


@pytest.fixture
def run(trained: Train) -> Path:
    return trained(*TINY_IMAGES, "steps=3", "name=run")


@pytest.fixture
def error_of(capsys: pytest.CaptureFixture[str]) -> ErrorOf:
    return partial(error_line, capsys)


@pytest.fixture
def project(capsys: pytest.CaptureFixture[str]) -> Callable[..., Path]:
    """Runs `gan-project` and returns the folder that it printed last."""

    def projected(*overrides: str) -> Path:
        capsys.readouterr()
        assert run_command("project", list(overrides)) == 0, capsys.readouterr().err
        return Path(capsys.readouterr().out.splitlines()[-1])

    return projected


def test_own_samples_come_back(train: Train, here: Path, project: Callable[..., Path]) -> None:
    run = train(*TINY_IMAGES, "steps=60", "name=longer")
    assert run_command("sample", [str(run), "seeds=7000-7002", "format=images", "out=own"]) == 0
    (samples,) = (each for each in Path("own").iterdir() if each.is_dir())
    folder = project(str(run), f"input={samples}", "steps=300", "candidates=200", "extractor=random")
    record = json.loads((folder / "projection.json").read_text())
    errors = [image["psnr"] for image in record["images"]]
    assert [image["name"] for image in record["images"]] == ["seed_007000", "seed_007001", "seed_007002"]
    assert min(errors) >= 30
    assert all(image["psnr"] > image["psnr_of_best_sample"] for image in record["images"])
    arrays = np.load(folder / "latents.npz")
    assert arrays["z"].shape == (3, 8)
    assert arrays["psnr"] == pytest.approx(errors)
    assert run_command("sample", [str(run), f"latents={folder / 'latents.npz'}", "format=images", "out=again"]) == 0
    (again,) = (each for each in Path("again").iterdir() if each.is_dir())
    for own, back, error in zip(sorted(samples.iterdir()), sorted(again.iterdir()), errors, strict=True):
        with Image.open(own) as one, Image.open(back) as other:
            squared = (np.asarray(one).astype(float) - np.asarray(other).astype(float)) ** 2
        assert 10 * np.log10(255**2 / squared.mean()) == pytest.approx(error, abs=1e-3)
    with Image.open(folder / "way.webp") as film:
        assert 1 < film.n_frames <= 48  # equal frames are one
    with Image.open(folder / "projection.png") as picture:
        assert picture.size == (3 * 50 + 2, 3 * 50 + 2)


@pytest.mark.parametrize("space", ["auto", "w_plus", "z"])
def test_styles(
    train: Train, here: Path, monkeypatch: pytest.MonkeyPatch, project: Callable[..., Path], space: str
) -> None:
    """One style has 6 numbers and those of all layers 24, so these come nearer to an image of other data."""
    run = train_toy(train, here, monkeypatch)
    folder = project(str(run), "n=3", f"space={space}", *QUICK)
    arrays = np.load(folder / "latents.npz")
    if space == "z":
        assert arrays["z"].shape == (3, 8)
        return
    assert arrays["w"].shape == (3, len(SIDES), STYLE_SIZE)
    alike = bool((arrays["w"] == arrays["w"][:, :1]).all())
    assert alike == (space == "auto")
    again = [str(run), f"latents={folder / 'latents.npz'}", "format=npz", "out=again.npz"]
    assert run_command("sample", again) == 0
    assert np.load("again.npz")["images"].shape == (3, 16, 16, 1)


def test_a_conditional_generator_finds_the_class_or_is_told(
    train: Train, here: Path, project: Callable[..., Path], error_of: ErrorOf
) -> None:
    run = train(*TINY_IMAGES, "conditioning=projection", "steps=3", "name=kinds")
    classes = load_generator(run).classes
    found = np.load(project(str(run), "n=4", *QUICK) / "latents.npz")["conditions"]
    assert found.sum(1).tolist() == [1] * 4
    folder = project(str(run), "n=4", f"label={classes[1]}", *QUICK)
    named = np.load(folder / "latents.npz")["conditions"]
    assert named.argmax(1).tolist() == [1] * 4
    assert run_command("sample", [str(run), f"latents={folder / 'latents.npz'}"]) == 0
    assert "label=hexagon: no class" in error_of("project", str(run), "label=hexagon", *QUICK)
    both = f"label={classes[0]},{classes[1]}"
    assert f"{both}: names 2 classes, give the one of all images" in error_of("project", str(run), both, *QUICK)


def test_what_is_cut_is_told(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = ("candidates=2", "starts=9", "steps=1", "frames=2", "extractor=random")
    assert run_command("project", [str(run), "n=70", *few]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "starts: 3, the mean latent and each of candidates=2" in lines
    assert "projection.png: shows the first 64 of 70 images" in lines
    assert "way.webp: shows the first 16 of 70 images" in lines
    record = json.loads((Path(lines[-1]) / "projection.json").read_text())
    assert (record["starts"], record["candidates"]) == (3, 2)
    assert record["shown"] == {"projection.png": 64, "way.webp": 16}
    assert str(np.load(Path(lines[-1]) / "latents.npz")["generator"]) == record["sha256"]


def test_a_search_is_reproducible_and_ends_nearer_than_it_starts(run: Path) -> None:
    generator, extractor = load_generator(run), build_random_extractor(1)
    space = find_space(generator, "auto")
    candidates = make_candidates(space, extractor, range(100), None, 64)
    images = to_uint8(sample(generator, range(900, 904)))
    search = Search(steps=40, starts=3, rate=0.1, feature_weight=0.2, seed=0, frames=5, batch_size=64)
    found, again = (project_images(images, space, extractor, candidates, search) for _ in range(2))
    assert torch.equal(found.latents, again.latents)
    assert found.way.shape == (5, 4, 8)
    assert torch.equal(found.way[-1], found.latents)
    assert (found.psnr > found.nearest_psnr).all()
    nearest = (candidates.samples[None].float() - images[:, None].float()).square().flatten(2).mean(2)
    assert torch.equal(found.nearest, candidates.samples[nearest.argmin(1)])


def test_a_candidate_that_is_the_image_stays_as_it_is(run: Path) -> None:
    generator, extractor = load_generator(run), build_random_extractor(1)
    space = find_space(generator, "auto")
    candidates = make_candidates(space, extractor, range(50), None, 64)
    images = candidates.samples[[3, 41]]
    search = Search(steps=10, starts=3, rate=0.1, feature_weight=0.2, seed=0, frames=4, batch_size=64)
    found = project_images(images, space, extractor, candidates, search)
    assert torch.equal(found.samples, images)
    assert torch.equal(found.latents, candidates.latents[[3, 41]])
    assert torch.equal(found.way, found.latents.expand_as(found.way))


@pytest.mark.parametrize("space", ["z", "w", "w_plus"])
def test_noise_is_a_twentieth_of_the_distance_of_one_latent_from_the_mean(
    train: Train, here: Path, monkeypatch: pytest.MonkeyPatch, space: str
) -> None:
    """1912.04958, appendix D: its deviation is 0.05 sqrt(E |w - mean|^2), also if each layer has a style."""
    generator, extractor = load_generator(train_toy(train, here, monkeypatch)), build_random_extractor(1)
    searched = find_space(generator, space)
    candidates = make_candidates(searched, extractor, range(500), None, 64)
    seen: list[Tensor] = []
    run = projection._run

    def record(network: torch.nn.Module, inputs: Tensor, condition: Condition | None) -> Tensor:
        seen.append(inputs.detach())
        return run(network, inputs, condition)

    monkeypatch.setattr(projection, "_run", record)
    search = Search(steps=1, starts=1, rate=0.1, feature_weight=0.0, seed=0, frames=1, batch_size=64)
    project_images(candidates.samples[:400], searched, extractor, candidates, search)  # all start from the mean
    noise = (seen[0] - searched.mean()).square().mean().sqrt().item()
    latents, mean = candidates.latents.view(500, -1, candidates.latents.shape[-1])[:, 0], searched.mean().view(-1)
    distance = (latents - mean[: latents.shape[1]]).square().sum(1).mean().sqrt().item()
    assert noise == pytest.approx(0.05 * distance, rel=0.05)


@pytest.mark.parametrize("distribution", ["normal", "uniform"])
def test_latents_stay_in_their_range(train: Train, distribution: str) -> None:
    run = train(*TINY_IMAGES, f"architecture.generator.latent={distribution}", "steps=1", "name=range")
    generator, extractor = load_generator(run), build_random_extractor(1)
    space = find_space(generator, "z")
    candidates = make_candidates(space, extractor, range(20), None, 64)
    search = Search(steps=30, starts=1, rate=5.0, feature_weight=0.0, seed=0, frames=1, batch_size=64)
    found = project_images(torch.full((1, 1, 16, 16), 255, dtype=torch.uint8), space, extractor, candidates, search)
    limit = 1.0 if distribution == "uniform" else 4.0
    assert found.latents.abs().max() == limit


def test_features_have_gradients() -> None:
    images = torch.rand(2, 1, 16, 16).mul(2).sub(1).requires_grad_()
    features: Tensor = build_random_extractor(1).extract_batch(images).features
    (gradient,) = torch.autograd.grad(features.square().sum(), [images])
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("input=nowhere.png",), "input=nowhere.png: "),
        (("input=text.png",), "text.png"),
        (("input=text.png", "n=2"), "n=2: is the number of held-out images"),
        (("space=w",), "space=w: this generator has no styles w; use space=z"),
        (("label=a",), "label=a: this checkpoint is unconditional"),
        (("out=x.npz",), "out=x.npz: gan-project writes a folder, whose name does not end in .npz"),
        (("extractor=inception",), "extractor=inception: expected one of"),
        (("steps=0",), "steps=0: expected a whole number"),
    ],
)
def test_wrong_options(run: Path, error_of: ErrorOf, arguments: tuple[str, ...], words: str) -> None:
    Path("text.png").write_text("hello")
    assert words in error_of("project", str(run), *arguments)
    assert not (run / "projections").exists()


def test_what_has_no_images_or_no_latents_is_refused(train: Train, error_of: ErrorOf) -> None:
    ring = train("experiment=ring", "steps=1", "threads=1", "name=points")
    assert "makes points; it is for images" in error_of("project", str(ring))
    painted = train(*TINY_IMAGES, "task=inpainting", "steps=1", "name=painted")
    assert "makes images from images" in error_of("project", str(painted))
    assert "makes images from images" in error_of("direction", str(painted), "by=sefa")
    assert "latents=x.npz: is for generators that make samples from latents alone" in error_of(
        "sample", str(painted), "latents=x.npz"
    )
