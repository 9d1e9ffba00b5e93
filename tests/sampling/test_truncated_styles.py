"""The option truncation moves styles, in samples and in animations, and is refused where latents are normalized."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_cli.api import load_generator, sample
from gan_cli.cli.main import run_command
from gan_cli.data.dataset import to_uint8
from gan_cli.demo.page import page_of
from gan_cli.demo.shown_image import ImageRequest, png_of
from gan_cli.errors import UsageError
from gan_cli.models.generate import latents_from_seeds
from support.commands import error_line
from support.configs import TINY_IMAGES


def test_samples_and_animations_have_styles_nearer_to_the_mean(
    trained: Callable[..., Path], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained(*TINY_IMAGES, "architecture=stylegan2", "steps=3", "name=styles")
    loaded = load_generator(run)
    network, latents = loaded.network, latents_from_seeds(range(4), loaded.latent)
    assert network.mean_style.abs().sum() > 0
    with torch.no_grad():
        styles = network.map(latents)
        expected = network.synthesize(network.mean_style + 0.3 * (styles - network.mean_style))
        full = network(latents)
    torch.testing.assert_close(sample(loaded, range(4), truncation=0.3), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(sample(loaded, range(4), truncation=1), full, atol=1e-5, rtol=1e-5)
    assert (expected - full).abs().max() > 0.01

    capsys.readouterr()
    assert run_command("sample", [f"ckpt={run}", "n=4", "format=npz", "truncation=0.3", "out=s.npz"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "truncation=0.3: of styles w, towards their mean"
    assert run_command("sample", [f"ckpt={run}", "truncation=2", "out=far.png"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "truncation=2: of styles w, away from their mean"
    images = np.load("s.npz")["images"]
    assert np.abs(images.transpose(0, 3, 1, 2).astype(int) - to_uint8(expected).numpy()).max() <= 1
    frames = ["format=interpolate", "container=frames", "seeds=0,1", "frames=2", "truncation=0.3", "out=way"]
    assert run_command("sample", [f"ckpt={run}", *frames]) == 0
    first = np.asarray(Image.open(sorted(Path(capsys.readouterr().out.splitlines()[-1]).glob("*.png"))[0]))
    factor = len(first) // 52  # a pixel has 3 x 3 in a grid, which has a border of 2 and is then enlarged
    shown = first[2 * factor : -2 * factor : 3 * factor, 2 * factor : -2 * factor : 3 * factor].astype(int)
    shown = shown.reshape(16, 16, -1)[..., 0]
    assert np.abs(shown - to_uint8(expected).numpy()[0, 0]).max() <= 1


def test_other_generators_say_nothing_of_styles(
    trained: Callable[..., Path], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained(*TINY_IMAGES, "steps=1", "name=plain")
    capsys.readouterr()
    assert run_command("sample", [f"ckpt={run}", "n=2", "truncation=0.5"]) == 0
    assert "styles" not in capsys.readouterr().out


@pytest.mark.parametrize("architecture", ["pggan", "fastgan"])
def test_normalized_latents_cannot_be_truncated(
    trained: Callable[..., Path], here: Path, capsys: pytest.CaptureFixture[str], architecture: str
) -> None:
    """The length of a latent, which truncation makes shorter, does not reach these networks."""
    run = trained(*TINY_IMAGES, f"architecture={architecture}", "steps=1", f"name={architecture}")
    loaded = load_generator(run)
    latents = latents_from_seeds(range(2), loaded.latent)
    with torch.no_grad():
        torch.testing.assert_close(loaded.network(latents), loaded.network(0.1 * latents), atol=1e-4, rtol=1e-4)
    expected = "truncation=0.5: this generator scales each latent to the same length, leave it out"
    assert expected in error_line(capsys, "sample", f"ckpt={run}", "truncation=0.5")
    with pytest.raises(UsageError, match="same length"):
        sample(loaded, [0], truncation=0.5)
    with pytest.raises(UsageError, match="same length"):
        png_of(loaded, None, ImageRequest(truncation=0.5))
    assert "Truncation" not in page_of(loaded, None)
    assert error_line(capsys, "sample", f"ckpt={run}", "format=walk", "truncation=0.5").count("same length") == 1
