"""Directions: known ones are found, weights give their eigenvectors, and samples move along them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch import nn

from gan_cli.cli.main import run_command
from gan_cli.config.options.networks.architectures import GENERATOR_OPTIONS
from gan_cli.config.options.networks.network_keys import GeneratorOptions
from gan_cli.data.labels import Attribute
from gan_cli.errors import UsageError
from gan_cli.evaluation.metrics.classifier import Classifier
from gan_cli.images.grid import draw_grid_or_scatter
from gan_cli.latent_space import find_direction, label_direction, project
from gan_cli.latent_space.label_direction import mean_difference
from gan_cli.latent_space.latent_variables import find_space
from gan_cli.latent_space.sefa import eigenvectors, input_weights
from gan_cli.models.registry import GENERATORS
from gan_cli.sampling.directions import strengths_of
from gan_cli.sampling.interpolation import MIN_FRAME_SIDE
from gan_cli.sampling.load_generator import load_generator
from support.commands import error_line, write_text
from support.configs import TINY_IMAGES, without
from support.styles import SIDES, STYLE_SIZE, ToyStyles, train_toy

Train = Callable[..., Path]
ErrorOf = Callable[..., str]


@pytest.fixture
def run(trained: Train) -> Path:
    return trained(*TINY_IMAGES, "steps=3", "name=run")


@pytest.fixture
def error_of(capsys: pytest.CaptureFixture[str]) -> ErrorOf:
    return partial(error_line, capsys)


def test_eigenvectors_are_those_of_numpy() -> None:
    weight = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
    _, _, vectors = np.linalg.svd(weight.double().numpy())  # the right singular vectors, largest first
    found = eigenvectors(weight, 4).numpy()
    assert np.abs((found * vectors[:4]).sum(1)) == pytest.approx(np.ones(4), abs=1e-6)
    assert (found[range(4), np.abs(found).argmax(1)] > 0).all()


@pytest.mark.parametrize("network", ["subpixel", "dcgan", "resnet", "r3gan", "fastgan", "mlp"])
def test_the_weights_are_those_of_the_first_layer(trained: Train, here: Path, network: str) -> None:
    """Two latents differ in the layer's output by the weight times their difference."""
    tiny = without(TINY_IMAGES, "architecture")
    run = trained(f"architecture={network}", *tiny, "conditioning=concat", "steps=1", f"name={network}")
    generator = load_generator(run)
    assert run_command("direction", [str(run), "by=sefa", "n=5", "out=sefa.npz"]) == 0
    arrays = np.load("sefa.npz")
    directions = arrays["z_directions"]
    assert arrays["names"].tolist() == [f"sefa_{number}" for number in range(5)]
    dim = generator.latent.dim
    deviation = 1 if generator.latent.distribution == "normal" else 3**-0.5
    assert directions @ directions.T == pytest.approx(np.eye(5) * deviation**2, abs=1e-5)
    first = next(layer for layer in generator.network.modules() if takes_latent(layer, dim))
    weight = first.weight.detach()
    assert isinstance(weight, torch.Tensor)
    matrix = weight.transpose(0, 1) if isinstance(first, nn.ConvTranspose2d) else weight
    matrix = matrix[:, :dim].movedim(1, -1).reshape(-1, dim).numpy()
    gains = np.linalg.norm(matrix @ directions.T / deviation, axis=0)
    assert gains == pytest.approx(np.linalg.svd(matrix, compute_uv=False)[:5], rel=1e-4)


def takes_latent(layer: nn.Module, dim: int) -> bool:
    """Whether it is a linear layer with at least as many inputs as latents have numbers: the first is their layer."""
    inputs = getattr(layer, "in_features", getattr(layer, "in_channels", 0))
    embeds = isinstance(layer, nn.Linear) and layer.bias is None and layer.in_features < dim  # a class
    return isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d) and inputs >= dim and not embeds


def test_directions_of_styles_are_those_of_all_layers(
    train: Train, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train_toy(train, here, monkeypatch)
    assert run_command("direction", [str(run), "by=sefa", "n=3", "out=sefa.npz"]) == 0
    network = load_generator(run).network
    assert isinstance(network, ToyStyles)
    weight = torch.cat([layer.weight for layer in network.layers]).detach().numpy()  # type: ignore[misc]
    _, _, vectors = np.linalg.svd(weight)
    directions = np.load("sefa.npz")["w_directions"]
    assert directions.shape == (3, STYLE_SIZE)
    units = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    assert np.abs((units * vectors[:3]).sum(1)) == pytest.approx(np.ones(3), abs=1e-5)
    assert run_command("sample", [str(run), "n=5000", "format=npz", "out=w.npz"]) == 0
    styles = np.load("w.npz")["w"][:, 0]
    assert np.linalg.norm(directions, axis=1) == pytest.approx((styles @ units.T).std(0), rel=0.01)
    moved = [str(run), "direction=sefa.npz", "n=1", "strength=0:2:3", "format=npz", "out=m.npz"]
    assert run_command("sample", moved) == 0
    w = np.load("m.npz")["w"]
    assert w.shape == (9, len(SIDES), STYLE_SIZE)
    steps = np.broadcast_to(np.arange(3)[:, None, None] * directions[0], (3, len(SIDES), STYLE_SIZE))
    assert w[:3] - styles[0] == pytest.approx(steps, abs=1e-5)


def test_directions_of_some_layers_leave_the_others(train: Train, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = train_toy(train, here, monkeypatch)
    assert run_command("direction", [str(run), "by=sefa", "n=2", "layers=8", "out=sefa.npz"]) == 0
    network = load_generator(run).network
    assert isinstance(network, ToyStyles)
    chosen = [number for number, side in enumerate(SIDES) if side == 8]
    assert 0 < len(chosen) < len(SIDES)
    directions = np.load("sefa.npz")["w_directions"]
    assert directions.shape == (2, len(SIDES), STYLE_SIZE)
    assert [bool(directions[:, layer].any()) for layer in range(len(SIDES))] == [side == 8 for side in SIDES]
    weight = torch.cat([network.layers[layer].weight for layer in chosen]).detach().numpy()  # type: ignore[arg-type]
    _, _, vectors = np.linalg.svd(weight)
    units = directions[:, chosen[0]] / np.linalg.norm(directions[:, chosen[0]], axis=1, keepdims=True)
    assert np.abs((units * vectors[:2]).sum(1)) == pytest.approx(np.ones(2), abs=1e-5)
    assert json.loads(Path("sefa.json").read_text())["layers"] == chosen
    assert (
        run_command("sample", [str(run), "direction=sefa.npz", "n=1", "strength=0:2:3", "format=npz", "out=m.npz"]) == 0
    )
    moved = np.load("m.npz")["w"][:3]
    assert moved[2] - moved[0] == pytest.approx(2 * directions[0], abs=1e-5)


def test_a_network_whose_first_layer_takes_something_else() -> None:
    network = nn.Sequential(nn.Tanh(), nn.Linear(8, 3))
    latent = torch.randn(1, 8)
    with pytest.raises(UsageError, match="no linear layer of this generator takes the latent itself"):
        input_weights(_WithCondition(network), latent, latent, None)


class _WithCondition(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, latent: torch.Tensor, condition: object = None) -> torch.Tensor:
        return self.network(latent)


class Brightness(nn.Module):
    """Images whose brightness is a number of the latent, and whose upper half another."""

    def __init__(self, sample_shape: tuple[int, ...], latent_dim: int) -> None:
        super().__init__()
        self.sample_shape, self.scale = sample_shape, nn.Parameter(torch.ones(()))

    def forward(self, latent: torch.Tensor, condition: object = None) -> torch.Tensor:
        images = latent[:, 2].view(-1, 1, 1, 1).expand(-1, *self.sample_shape).clone()
        images[:, :, 8:] = latent[:, 5].view(-1, 1, 1, 1)
        return torch.tanh(self.scale * images)


class _Bright(nn.Module):
    """Logits `[N, classes]`: the first class is that of images whose lower part is bright."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(len(images), self.classes)
        logits[:, 0] = images[:, :, 20:].mean((1, 2, 3))
        return logits


def test_the_direction_of_a_class_is_found(
    train: Train, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The class is a number of the latent, so the direction is that axis; nothing else changes along it."""
    monkeypatch.setitem(GENERATOR_OPTIONS, "bright", GeneratorOptions)
    monkeypatch.setitem(GENERATORS, "bright", Brightness)
    write_text(here / "configs/architecture/generator/bright.yaml", "name: bright\nlatent_dim: 8\n")
    tiny = without(TINY_IMAGES, "architecture.generator")
    run = train("architecture/generator=bright", *tiny, "steps=1", "name=bright", "conditioning=none")

    def load(data: label_direction.LabelledImages, *_: object) -> tuple[Classifier, str]:
        return Classifier(nn.Sequential(_Bright(data.classes), nn.Identity()), 1.0), ""

    monkeypatch.setattr(label_direction, "load_assessed_classifier", load)
    capsys.readouterr()
    arguments = [str(run), "by=label:filled circle", "samples=5000", "out=circle.npz"]
    assert run_command("direction", arguments) == 0, capsys.readouterr().err
    direction = np.load("circle.npz")["z_directions"]
    assert direction.shape == (1, 8)
    assert direction[0, 5] > 0.99
    record = json.loads(Path("circle.json").read_text())
    assert record["success"][-1]["changed"] > 0.95
    assert record["success"][-1]["backward"] > 0.95
    assert "strength 3:" in capsys.readouterr().out
    along = [str(run), "direction=circle.npz", "n=2"]
    assert run_command("sample", [*along, "strength=-3:3:3", "format=interpolate", "frames=2", "out=film.gif"]) == 0
    assert json.loads(Path("film.json").read_text())["frames"] == 5
    assert run_command("sample", [*along, "format=npz", "out=moved.npz"]) == 0
    images = np.load("moved.npz")["images"].reshape(2, 7, 16, 16)
    assert (np.diff(images[:, :, 15, 0].astype(int), axis=1) >= 0).all()
    assert (images[:, -1, 15, 0] > images[:, 0, 15, 0]).all()
    assert np.abs(images[:, -1, 0, 0].astype(int) - images[:, 0, 0, 0]).max() <= 12  # of 255: found from 5,000 samples


def test_the_direction_of_a_class_in_some_layers(
    train: Train, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is that of all layers, but samples are moved in these alone, also to measure its success."""
    run = train_toy(train, here, monkeypatch)

    def load(data: label_direction.LabelledImages, *_: object) -> tuple[Classifier, str]:
        return Classifier(nn.Sequential(_Bright(data.classes), nn.Identity()), 1.0), ""

    monkeypatch.setattr(label_direction, "load_assessed_classifier", load)
    arguments = [str(run), "by=label:filled circle", "samples=1000"]
    assert run_command("direction", [*arguments, "out=all.npz"]) == 0, capsys.readouterr().err
    assert run_command("direction", [*arguments, "layers=16", "out=fine.npz"]) == 0, capsys.readouterr().err
    of_all, of_fine = (np.load(name)["w_directions"] for name in ("all.npz", "fine.npz"))
    assert of_fine.shape == (1, len(SIDES), STYLE_SIZE)
    assert not of_fine[:, :3].any()
    assert of_fine[:, 3] == pytest.approx(of_all)
    changed = [json.loads(Path(name).read_text())["success"][0]["changed"] for name in ("all.json", "fine.json")]
    assert changed[0] > changed[1]


@pytest.mark.parametrize(
    ("bright", "success", "words"),
    [
        (0.0, (0.0, None), "strength 1: 0% of other samples become a, none of the 4 tested samples is a; 100% of"),
        (1.0, (None, 0.0), "strength 1: all of the 4 tested samples are a, 0% of a become others by -1"),
    ],
)
def test_a_share_of_no_samples_is_none(
    run: Path, monkeypatch: pytest.MonkeyPatch, bright: float, success: tuple[float | None, ...], words: str
) -> None:
    """All samples, or none of them, have the class, whatever the direction."""
    monkeypatch.setattr(label_direction, "TESTED", 4)
    logits = torch.tensor([bright, 0.5, 0.0, 1.0])

    class Known:
        def logits(self, samples: torch.Tensor) -> torch.Tensor:
            return logits.repeat(len(samples), 1)

    attributes = [Attribute("b", 0, 2), Attribute("c", 2, 2)]
    found = label_direction.LabelledClass("a", 0, attributes, Known())  # type: ignore[arg-type]
    space = find_space(load_generator(run), "z")
    results = label_direction.measure_success(space, found, torch.zeros(8), range(4), None, 4)
    assert (results[0].changed, results[0].backward) == success
    assert json.loads(json.dumps([each._asdict() for each in results], allow_nan=False))[0]["strength"] == 1
    assert results[0].describe("a").startswith(words)
    assert results[0].kept == (1.0 if bright == 0 else None)


@pytest.mark.parametrize("command", ["direction", "project"])
def test_a_folder_that_cannot_be_written_is_told_before_the_search(
    run: Path, error_of: ErrorOf, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    def search(*_: object) -> None:
        raise AssertionError("searched")

    monkeypatch.setattr(find_direction, "_by_weights", search)
    monkeypatch.setattr(project, "_prepare", search)
    Path("file").write_text("")
    arguments = ["by=sefa"] if command == "direction" else []
    line = error_of(command, str(run), "out=file/inside", *arguments, code=5)
    assert "file/inside: cannot be written" in line


def test_mean_difference() -> None:
    latents = torch.randn(4000, 5, generator=torch.Generator().manual_seed(1))
    axis = torch.tensor([0.6, 0.0, -0.8, 0.0, 0.0])
    assert mean_difference(latents, latents @ axis > 1, "x") @ axis > 0.99
    with pytest.raises(UsageError, match=r"by=label:x: 3 samples of 4,000 are x, too few; give more samples="):
        mean_difference(latents, torch.arange(4000) < 3, "x")


def test_strengths() -> None:
    assert strengths_of(None) == [-3, -2, -1, 0, 1, 2, 3]
    assert strengths_of("0:1:5") == [0, 0.25, 0.5, 0.75, 1]
    with pytest.raises(UsageError, match="expected two ends and at least 2 steps"):
        strengths_of("1:1")
    assert len(strengths_of("1:2:32", "grid")) == 32
    with pytest.raises(UsageError, match="strength=1:2:33: a row of a grid has up to 32 steps"):
        strengths_of("1:2:33", "grid")


@pytest.mark.parametrize(
    ("strength", "words"),
    [
        ("1:2:100000", "1:2:100000: 100,000 steps, at most 999 are allowed"),
        ("1:2:1000", "1,000 steps, at most 999"),
        ("1:2:0", "expected two ends and at least 2 steps"),
        ("-3:1000000", "expected ends from -1000 to 1000"),
        ("-1000.5:3", "expected ends from -1000 to 1000"),
    ],
)
def test_a_strength_out_of_range(strength: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        strengths_of(strength)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "by is missing: by=sefa, or by=label:NAME"),
        (("by=sefa", "n=9"), "n=9: the latents have 8 numbers"),
        (("by=pca",), "by=pca: expected sefa or label:NAME"),
        (("by=label:circle", "n=2"), "n=2: is the number of directions of by=sefa"),
        (("by=label:hexagon",), "by=label:hexagon: no class of the run's data, which has filled circle"),
        (("by=sefa", "layers=8"), "layers=8: are of generators with styles"),
        (("by=sefa", "layers=wide"), "layers=wide: expected coarse, middle, fine, or sides of maps, as 4-8"),
        (("by=sefa", "out=x.csv"), "gan-direction writes a file that ends in .npz, not .csv"),
    ],
)
def test_wrong_options(run: Path, error_of: ErrorOf, arguments: tuple[str, ...], words: str) -> None:
    assert words in error_of("direction", str(run), *arguments)
    assert not (run / "directions").exists()


def test_a_direction_of_another_checkpoint_is_used_with_a_warning(
    run: Path, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("direction", [str(run), "by=sefa", "n=2", "out=sefa.npz"]) == 0
    other = train(*TINY_IMAGES, "steps=1", "seed=5", "name=other")
    for ckpt, warned in ((run, False), (other, True)):
        capsys.readouterr()
        assert run_command("sample", [str(ckpt), "direction=sefa.npz", "n=1", "out=m.png", "overwrite=true"]) == 0
        error = capsys.readouterr().err
        assert (error.count("\n"), "direction=sefa.npz: was found with another checkpoint" in error) == (warned, warned)
    averaged = load_generator(run).ema
    arrays = dict(np.load("sefa.npz")) | {"ema": np.array(not averaged)}
    np.savez("of_ema.npz", **arrays)
    assert run_command("sample", [str(run), "direction=of_ema.npz", "n=1", "out=m.png", "overwrite=true"]) == 0
    assert f"was found with ema={str(not averaged).lower()}, and may change" in capsys.readouterr().err
    assert run_command("export", [str(run), "out=exported"]) == 0
    [exported] = Path("exported").iterdir()
    capsys.readouterr()
    assert run_command("sample", [str(exported), "direction=sefa.npz", "n=1", "out=m.png", "overwrite=true"]) == 0
    assert capsys.readouterr().err == ""


def assert_frames_are_the_samples(ckpt: Path, *options: str) -> None:
    """Moves a sample by three strengths, in frames and in arrays, and compares all pixels."""
    moved = [str(ckpt), "direction=d.npz", "n=1", "strength=-3:3:3", *options]
    assert run_command("sample", [*moved, "format=npz", "out=arrays.npz", "overwrite=true"]) == 0
    assert run_command("sample", [*moved, "format=frames", "frames=1", "out=film"]) == 0
    images = torch.from_numpy(np.load("arrays.npz")["images"]).permute(0, 3, 1, 2)
    frames = sorted(Path("film").glob("*/*.png"))
    assert len(frames) == len(images) == 3
    for path, image in zip(frames, images, strict=True):
        drawn = draw_grid_or_scatter(image[None], None)
        enlarged = ImageOps.scale(drawn, MIN_FRAME_SIDE // drawn.width, Image.Resampling.NEAREST)
        with Image.open(path) as shown:
            assert np.array_equal(np.asarray(shown.convert("RGB")), np.asarray(enlarged.convert("RGB")))
    assert (images[0] != images[2]).any()


@pytest.mark.parametrize("truncation", [(), ("truncation=0.5",)])
@pytest.mark.parametrize("latent", ["normal", "uniform"])
def test_an_animation_shows_the_samples_of_the_grid(
    trained: Train, here: Path, latent: str, truncation: tuple[str, ...]
) -> None:
    """A moved latent may be outside of the truncation, and of the range of uniform latents."""
    run = trained(*TINY_IMAGES, f"architecture.generator.latent={latent}", "steps=3", f"name={latent}")
    np.savez("d.npz", z_directions=np.eye(8)[:1] * 2)
    assert_frames_are_the_samples(run, *truncation)


@pytest.mark.parametrize("label", [(), ("label_index=[3]",), ("label=outlined circle",)])
def test_samples_of_an_animation_keep_their_class(trained: Train, here: Path, label: tuple[str, ...]) -> None:
    run = trained(*TINY_IMAGES, "conditioning=projection", "steps=3", "name=kinds")
    np.savez("d.npz", z_directions=np.eye(8)[:1])
    assert_frames_are_the_samples(run, *label)


@pytest.mark.parametrize("space", ["z", "w"])
def test_styles_of_an_animation_keep_their_class(
    train: Train, here: Path, monkeypatch: pytest.MonkeyPatch, space: str
) -> None:
    run = train_toy(train, here, monkeypatch, "conditioning=concat")
    np.savez("d.npz", **{f"{space}_directions": np.eye(8 if space == "z" else STYLE_SIZE)[:1]})
    for label in ((), ("label_index=[3]",)):
        shutil.rmtree("film", ignore_errors=True)
        assert_frames_are_the_samples(run, *label)


def test_a_frame_between_two_strengths_is_the_sample_of_the_strength_between(run: Path, here: Path) -> None:
    np.savez("d.npz", z_directions=np.eye(8)[:1])
    moved = [str(run), "direction=d.npz", "n=1", "format=frames"]
    for options in (["strength=0:4:2", "frames=4", "out=between"], ["strength=0:4:5", "frames=1", "out=steps"]):
        assert run_command("sample", [*moved, *options]) == 0
    between, steps = (sorted(Path(name).glob("*/*.png")) for name in ("between", "steps"))
    assert len(between) == 5
    assert [path.read_bytes() for path in between] == [path.read_bytes() for path in steps]


def test_a_direction_and_a_way_through_the_classes_are_refused_together(train: Train, error_of: ErrorOf) -> None:
    run = train(*TINY_IMAGES, "conditioning=projection", "steps=1", "name=kinds")
    np.savez("d.npz", z_directions=np.eye(8)[:1])
    line = error_of("sample", str(run), "direction=d.npz", "format=walk", "through_labels=true", "n=2")
    assert "through_labels=true: samples keep their class along direction=" in line


def test_wrong_files(run: Path, error_of: ErrorOf) -> None:
    np.savez("other.npz", z_directions=np.ones((2, 9)))
    np.savez("styles.npz", w_directions=np.ones((2, 8)))
    np.savez("zero.npz", z_directions=np.eye(8)[:2] * [[1], [0]])
    np.savez("names.npz", z_directions=np.eye(8)[:2], names=["a", "b", "c"])
    np.savez("none.npz", names=np.array(["a"]))
    np.savez("fine.npz", z_directions=np.ones((2, 8)))
    np.savez("latents.npz", z=np.ones((2, 8)), generator=np.array("a"))
    np.savez("w.npz", w=np.ones((2, 8)))
    np.savez("images.npz", images=np.ones((2, 8)))
    refused = {
        "direction=other.npz": "is [2, 9], expected [K, 8]; is it of another generator?",
        "direction=styles.npz": "is in the space of styles w, and this generator has none",
        "direction=zero.npz": "a direction is 0 everywhere",
        "direction=names.npz": "2 directions and 3 names, expected one for each",
        "direction=none.npz": "holds no directions, gan-direction writes such files",
        "direction=nowhere.npz": "No such file",
        "direction=latents.npz": "expected an array called z_directions or w_directions or names, it has z, generator",
        "direction=w.npz": "expected an array called z_directions or w_directions or names, it has w",
        "direction=images.npz": "expected an array called z_directions or w_directions or names, it has images",
    }
    for argument, words in refused.items():
        assert words in error_of("sample", str(run), argument)
    assert "expected the ends" in error_of("sample", str(run), "direction=fine.npz", "strength=3")
    assert "tiles=2: " in error_of("sample", str(run), "direction=fine.npz", "tiles=2", "format=walk")
    assert "at most 10,000; give fewer" in error_of("sample", str(run), "direction=fine.npz", "n=1000")


def test_a_conditional_generator_needs_no_direction_of_a_class(train: Train, error_of: ErrorOf) -> None:
    run = train(*TINY_IMAGES, "conditioning=projection", "steps=1", "name=kinds")
    assert "use gan-sample label=circle, or by=sefa" in error_of("direction", str(run), "by=label:circle")
