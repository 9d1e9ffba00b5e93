"""Sampling: a seed is an image, whatever the batch; nothing overwritten, nothing left behind."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_cli.cli.main import run_command
from gan_cli.config.commands import SampleConfig
from gan_cli.config.compose import compose_command
from gan_cli.config.validation import parse
from gan_cli.data.datasets.points import Modes
from gan_cli.errors import UsageError
from gan_cli.images.animation import save_progress_animation
from gan_cli.images.grid import draw_grid, draw_scatter
from gan_cli.models.build_networks import latent_of
from gan_cli.models.generate import generate, latents_from_seeds
from gan_cli.models.latents import LatentDistribution
from gan_cli.models.networks.subpixel import SubpixelGenerator
from gan_cli.sampling.requested_samples import expand_seeds
from gan_cli.state.checkpoint import LAST, load
from gan_cli.state.train_state import build_state, load_state_tensors
from support.commands import error_line
from support.configs import TINY_IMAGES, without
from support.preloaded_python import preloaded_python


@pytest.fixture
def run(trained: Callable[..., Path]) -> Path:
    return trained(*TINY_IMAGES, "steps=3", "name=run")


@pytest.fixture
def sample(here: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Path]:
    """Runs `gan-sample` and returns the path it printed."""

    def sampled(*overrides: str) -> Path:
        capsys.readouterr()
        assert run_command("sample", list(overrides)) == 0, capsys.readouterr().err
        return Path(capsys.readouterr().out.strip())

    return sampled


def test_one_seed_twice_is_equal_in_bytes_and_overwrites_nothing(run: Path, sample: Callable[..., Path]) -> None:
    one = sample(f"ckpt={run}", "n=16", "seed=5")
    two = sample(f"ckpt={run / 'checkpoints' / LAST}", "n=16", "seed=5", "out=elsewhere")
    three = sample(f"ckpt={run}", "n=16", "seed=5")
    assert one.read_bytes() == two.read_bytes() == three.read_bytes()
    assert len({one, two, three}) == 3
    assert one.parent == run / "generated"
    assert sample(f"ckpt={run}", "n=16", "seed=6").read_bytes() != one.read_bytes()


def test_sampling_while_the_run_goes_on(train: Callable[..., Path], here: Path, sample: Callable[..., Path]) -> None:
    """Between listing and reading, the run replaces last.safetensors and removes older files."""
    every = [*without(TINY_IMAGES, "training.checkpoint_every"), "training.checkpoint_every=1", "keep=1"]
    child = subprocess.Popen(
        [preloaded_python(), "-m", "gan_cli.cli", "train", *every, "steps=1e6", "name=live"], stdout=subprocess.DEVNULL
    )
    try:
        while not (found := list(here.glob(f"outputs/live/*/checkpoints/{LAST}"))):
            time.sleep(0.05)
        for index in range(12):
            source = found[0].parents[1] if index % 2 else found[0]
            sample(f"ckpt={source}", "n=1", f"out=made{index}")
    finally:
        child.terminate()
        assert child.wait(30) == 143


def test_a_folder_of_runs_means_its_newest(run: Path, train: Callable[..., Path], sample: Callable[..., Path]) -> None:
    newer = train(*TINY_IMAGES, "steps=1", "name=run")
    assert sample(f"ckpt={run.parent}", "n=4").parent == newer / "generated"


def test_the_last_grid_of_a_run_is_what_sampling_gives(run: Path, sample: Callable[..., Path]) -> None:
    grid = sample(f"ckpt={run}", "n=64", "seed=0")
    assert grid.read_bytes() == (run / "samples" / "step_00000003.png").read_bytes()


@pytest.mark.parametrize("normalization", ["batch", "spectral", "layer"])
def test_batch_size_changes_nothing(
    train: Callable[..., Path], sample: Callable[..., Path], normalization: str
) -> None:
    run = train(*TINY_IMAGES, f"architecture.generator.normalization={normalization}", "steps=3", "precision=bf16")
    found = load(run / "checkpoints" / LAST)
    state = build_state(found.config, torch.device("cpu"))
    load_state_tensors(state, found.tensors)
    latent = latent_of(found.config)
    one, many = (torch.cat(list(generate(state.sampler, latent, range(64), size))) for size in (1, 64))
    assert one.dtype == torch.float32
    torch.testing.assert_close(one, many, atol=1e-5, rtol=0)
    arrays = [np.load(sample(f"ckpt={run}", "format=npz", f"batch_size={size}"))["images"] for size in (1, 64)]
    assert np.abs(arrays[0].astype(int) - arrays[1].astype(int)).max() <= 1


def test_formats(run: Path, sample: Callable[..., Path]) -> None:
    images = sample(f"ckpt={run}", "seeds=0-2,7", "format=images")
    names = sorted(path.name for path in images.iterdir())
    assert names == ["seed_000000.png", "seed_000001.png", "seed_000002.png", "seed_000007.png"]
    array = np.load(sample(f"ckpt={run}", "seeds=0-2,7", "format=npz"))["images"]
    assert (array.shape, array.dtype) == ((4, 16, 16, 1), np.uint8)
    with Image.open(images / "seed_000007.png") as picture:
        assert np.array_equal(np.asarray(picture), array[3, :, :, 0])
    single = np.load(sample(f"ckpt={run}", "n=1", "seed=7", "format=npz"))["images"]
    assert np.array_equal(single[0], array[3])


def test_a_seed_that_is_listed_twice_gets_a_file_each_time(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run_command("sample", [f"ckpt={run}", "seeds=0-3,2", "format=images"]) == 0
    *said, folder = capsys.readouterr().out.splitlines()
    assert said == ["names: several samples have the same seed and class, so that the files are numbered"]
    files = sorted(Path(folder).glob("*.png"))
    assert [path.name for path in files] == [f"{n:06d}_seed_{seed:06d}.png" for n, seed in enumerate((0, 1, 2, 3, 2))]
    assert files[2].read_bytes() == files[4].read_bytes() != files[3].read_bytes()


def test_the_sidecar_tells_how_to_make_it_again(run: Path, sample: Callable[..., Path]) -> None:
    path = sample(f"ckpt={run}", "seeds=3,4", "truncation=0.7", "ema=false")
    told = json.loads(path.with_suffix(".json").read_text())
    found = load(run / "checkpoints" / LAST)
    assert told["sha256"] == found.sha256
    assert (told["seeds"], told["n"], told["truncation"], told["ema"], told["step"]) == ("3,4", 2, 0.7, False, 3)
    assert Path(told["checkpoint"]).is_file()


def test_ema_and_truncation_change_the_picture(run: Path, sample: Callable[..., Path]) -> None:
    pictures = [sample(f"ckpt={run}", "n=4", *more).read_bytes() for more in ([], ["ema=false"], ["truncation=0.5"])]
    assert len(set(pictures)) == 3


def test_latents() -> None:
    latents = latents_from_seeds([3, 4, 3], LatentDistribution(1000))
    assert torch.equal(latents[0], latents[2])
    assert not torch.equal(latents[0], latents[1])
    assert latents[0].std().item() == pytest.approx(1, abs=0.1)
    cut = latents_from_seeds(range(20), LatentDistribution(100), truncation=0.5)
    assert cut.abs().max() <= 0.5
    assert cut.std() > 0.2
    flat = latents_from_seeds(range(200), LatentDistribution(100, "uniform"))
    assert flat.abs().max() <= 1
    assert flat.std().item() == pytest.approx(3**-0.5, abs=0.01)
    assert latents_from_seeds([5], LatentDistribution(100, "uniform"), truncation=0.5).abs().max() <= 0.5


@pytest.mark.parametrize("truncation", [None, 0.5, 1.5])
@pytest.mark.parametrize(
    "latent",
    [
        LatentDistribution(7),
        LatentDistribution(128),
        LatentDistribution(5, "uniform"),
        LatentDistribution(100, "uniform"),
    ],
    ids=str,
)
def test_a_latent_is_that_of_a_generator_of_its_own(latent: LatentDistribution, truncation: float | None) -> None:
    seeds = [0, 2**62, 5, 5, 1]
    alone = [latent.fill(torch.empty(latent.dim), torch.Generator().manual_seed(seed), truncation) for seed in seeds]
    assert torch.equal(latents_from_seeds(seeds, latent, truncation), torch.stack(alone))


def test_latents_are_for_ever() -> None:
    """What a seed gave when the first checkpoints were written; the values are torch's own of randn and rand."""
    normal = torch.randn(128, generator=torch.Generator().manual_seed(3))
    assert torch.equal(latents_from_seeds([3], LatentDistribution(128))[0], normal)
    assert normal[:2].tolist() == pytest.approx([-0.0766, 0.3599], abs=1e-4)
    few = torch.randn(7, generator=torch.Generator().manual_seed(3))
    assert torch.equal(latents_from_seeds([3], LatentDistribution(7))[0], few)
    flat = (2 * torch.rand(100, generator=torch.Generator().manual_seed(3)) - 1) * 0.5
    assert torch.equal(latents_from_seeds([3], LatentDistribution(100, "uniform"), truncation=0.5)[0], flat)


def test_arrays_are_written_as_they_come(
    train: Callable[..., Path], sample: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never are more samples there than a batch, in any number of batches, with what was asked for of each."""
    run = train(*TINY_IMAGES, "conditioning=projection", "steps=1", "name=kinds")
    whole = np.load(sample(f"ckpt={run}", "n=10", "format=npz", "batch_size=10"))
    with monkeypatch.context() as patched:
        patched.setattr(torch, "cat", lambda *_: pytest.fail("was put together"))
        parts = np.load(sample(f"ckpt={run}", "n=10", "format=npz", "batch_size=3"))
    assert set(parts.files) == {"images", "conditions", "z", "generator", "ema"}
    assert np.array_equal(parts["conditions"], whole["conditions"])
    assert parts["conditions"].dtype == np.uint8
    assert parts["conditions"].sum(1).tolist() == [1] * 10
    assert parts["images"].shape == (10, 16, 16, 1)
    assert np.abs(parts["images"].astype(int) - whole["images"].astype(int)).max() <= 1


def test_sampling_needs_only_the_checkpoint_and_leaves_only_its_output(
    run: Path, sample: Callable[..., Path], here: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    moved = alone / "it's [a] ckpt=1, ünï.safetensors"
    moved.write_bytes((run / "checkpoints" / LAST).read_bytes())
    monkeypatch.chdir(alone)
    grid = sample(f"ckpt={moved.name}", "n=4", "out=the result")
    assert sorted(str(path.relative_to(alone)) for path in alone.rglob("*")) == sorted(
        [moved.name, "the result", f"the result/{grid.name}", f"the result/{grid.stem}.json"]
    )


def test_points_become_a_scatter_plot_and_arrays(train: Callable[..., Path], sample: Callable[..., Path]) -> None:
    run = train("experiment=ring", "steps=2", "dataset.size=1000", "threads=1")
    with Image.open(sample(f"ckpt={run}", "n=500")) as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 20) or []}
        assert any(red > 180 and blue < 120 for red, _, blue in colours)  # the real modes
        assert any(blue > red + 40 for red, _, blue in colours)  # the samples
    points = np.load(sample(f"ckpt={run}", "n=500", "format=npz"))["points"]
    assert (points.shape, points.dtype) == ((500, 2), np.float32)
    assert run_command("sample", [f"ckpt={run}", "format=images"]) == 2


def expand(*overrides: str) -> Sequence[int]:
    return expand_seeds(parse(SampleConfig, compose_command("sample", list(overrides)).data), 64)


def test_seeds() -> None:
    assert expand("seeds='0-3,12'") == [0, 1, 2, 3, 12]
    assert expand("n=3", "seed=10") == range(10, 13)
    with pytest.raises(UsageError, match="backwards"):
        expand("seeds='5-3'")
    with pytest.raises(UsageError, match="at most"):
        expand("seeds='0-99999999'")


@pytest.mark.parametrize(
    ("overrides", "code", "words"),
    [
        (["n=4"], 2, "ckpt is missing"),
        (["ckpt=nowhere"], 3, "no such checkpoint"),
        (["ckpt=nowhere.safetensors"], 3, "no such checkpoint"),
        (["ckpt=."], 3, "holds no checkpoint"),
        (["ckpt=x", "n=0"], 2, "n=0"),
        (["ckpt=x", "format=gif"], 2, "format=gif"),
        (["ckpt=x", "truncation=0"], 2, "truncation=0"),
        (["ckpt=x", "seeds=a-b"], 2, "seeds=a-b"),
        (["ckpt=x", "seeds=٣"], 2, "seeds=٣"),
        (["ckpt=x", "device=cuda", "device.index=1000"], 2, "device"),
        (["ckpt=x", "loss=hinge"], 2, "unknown key loss"),
        (["ckpt=x", "n=20000"], 2, "format=images"),
        (["ckpt=x", "n=4", "seeds=0-3"], 2, "n=4 and seeds=0-3"),
    ],
)
def test_refusals(here: Path, capsys: pytest.CaptureFixture[str], overrides: list[str], code: int, words: str) -> None:
    Path("x").touch()
    assert run_command("sample", overrides) == code
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert list(here.iterdir()) == [here / "x"]


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_grids_of_any_channels(channels: int) -> None:
    image = draw_grid(torch.randint(0, 256, (7, channels, 16, 16), dtype=torch.uint8))
    assert image.size == (3 * (48 + 2) + 2, 3 * (48 + 2) + 2)
    assert image.mode == {1: "L", 4: "RGBA"}.get(channels, "RGB")


def test_a_grid_holds_its_images_in_order() -> None:
    images = torch.stack([torch.full((1, 64, 64), 10 * index, dtype=torch.uint8) for index in range(4)])
    grid = np.asarray(draw_grid(images))
    assert [grid[34, 34], grid[34, 100], grid[100, 34], grid[100, 100]] == [0, 10, 20, 30]


def test_a_scatter_plot_without_known_modes() -> None:
    plot = draw_scatter(torch.tensor([[0.0, 0.0], [99.0, 0.0]]), Modes(torch.empty(0, 2), 0.0, extent=1.0))
    assert plot.size == (512, 512)
    assert plot.getpixel((256, 256)) != (255, 255, 255)
    assert plot.getpixel((511, 256)) != (255, 255, 255)  # what lies outside is drawn at the edge


def test_a_film_is_bounded(tmp_path: Path) -> None:
    frames = []
    for index in range(130):
        path = tmp_path / f"step_{index:08d}.png"
        Image.effect_noise((32, 32), 90).save(path)
        frames.append(path)
    save_progress_animation(frames, tmp_path / "film.webp")
    with Image.open(tmp_path / "film.webp") as film:
        assert film.n_frames == 120  # type: ignore[attr-defined]
    save_progress_animation([], tmp_path / "none.webp")
    assert not (tmp_path / "none.webp").exists()


@pytest.mark.parametrize("format", ["grid", "images", "npz", "interpolate", "walk"])
def test_samples_that_are_not_finite_are_refused(
    run: Path, here: Path, format: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        SubpixelGenerator, "forward", lambda self, latents, _: torch.full((len(latents), 1, 16, 16), torch.inf)
    )
    few = ["n=2"] if format in ("grid", "images", "npz") else ["n=2", "frames=1"]
    error = error_line(capsys, "sample", f"ckpt={run}", f"format={format}", *few, "out=made", code=3)
    assert "makes samples that are not finite" in error
    assert not (here / "made").exists()
