"""Every file of `configs/` is tried: every experiment trains two steps, and so does every option of every group."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from gan_cli.cli.main import run_command
from gan_cli.config import recipes, train_config
from gan_cli.config.compatibility import parse_config
from gan_cli.config.compose import compose_command, groups
from gan_cli.state.train_state import state_tensors
from support.configs import NEEDED_BY, TINY_IMAGES, compose, without
from support.images import write_class_folders, write_mixed_folder
from support.paths import ROOT
from support.published import WRITERS, PublishedFiles
from support.published.arrays import write_cifar10
from support.published.checksums import use_small_copies
from support.runs import last_checkpoint, logged_metrics
from support.shards import write_numbered, write_parquet
from support.training import train_in_memory

CASES = [(group, option) for group, options in groups().items() for option in options]
POINTS = ("ring", "grid", "swiss_roll")
LAB = ("failure/", "cure/")  # all of these are on the ring
OF_DATA = [
    pair for pair in CASES
    if pair[0] in ("dataset", "experiment") and not pair[1].startswith((*LAB, "emoji"))  # emoji: see data/datasets
]  # fmt: skip
OTHERS = [pair for pair in CASES if pair not in OF_DATA and not pair[1].startswith("emoji")]
OWN = ("few_shot", "folder", "folder_64", "pggan_64", "projected_folder", "r3gan_64", "stylegan2_folder")
SMALL = ("architecture.generator.base_channels=4", "architecture.discriminator.base_channels=4")
ADAMS = {
    "adam_fast": (0.003, 0.0, 0.99),
    "adam_r1": (0.002, 0.0, 0.99),
    "adam_wgan_gp": (0.0001, 0.0, 0.9),
    "adam_dragan": (0.0001, 0.5, 0.999),
}
PENALTIES = {
    "none": [],
    "r1_r2": ["r1", "r2"],
    "r1_lazy": ["r1"],
    "zero_centered_lazy": ["zero_centered"],
}  # of the presets
NS, W = "non_saturating", "wasserstein"
EXPERIMENTS = {  # data, networks, loss, penalties, optimizer, rate, D updates
    "anime": ("avatars", "srresnet", "subpixel", NS, ["dragan"], "adam", 0.002, 1),
    "dcgan_mnist": ("mnist", "dcgan", "dcgan", NS, [], "adam", 0.0002, 1),
    "dragan_mnist": ("mnist", "dcgan", "dcgan", NS, ["dragan"], "adam", 0.0001, 1),
    "fast": ("mnist", "subpixel", "subpixel", NS, ["r1"], "adam", 0.003, 1),
    "few_shot": ("folder", "fastgan", "fastgan", "hinge", ["reconstruction"], "adam", 0.0002, 1),
    "folder_64": ("folder", "dcgan", "dcgan", NS, ["r1"], "adam", 0.001, 1),
    "gan2014_mnist": ("mnist", "mlp", "mlp", NS, [], "adam", 0.0002, 1),
    "grid": ("grid", "mlp", "mlp", NS, ["r1"], "adam", 0.002, 1),
    "lsgan_mnist": ("mnist", "dcgan", "dcgan", "least_squares", [], "adam", 0.0002, 1),
    "reference_colour_32": ("mnist", "subpixel", "subpixel", NS, ["r1"], "adam", 0.001, 1),
    "reference_colour_64": ("mnist", "subpixel", "subpixel", NS, ["r1"], "adam", 0.001, 1),
    "reference_grey": ("mnist", "subpixel", "subpixel", NS, ["r1"], "adam", 0.003, 1),
    "pggan_64": ("folder", "pggan", "pggan", W, ["drift", "gradient_penalty"], "adam", 0.001, 1),
    "projected_folder": ("folder", "fastgan", "projected", "hinge", [], "adam", 0.0005, 1),
    "r3gan_32": ("cifar10", "r3gan", "r3gan", "relativistic", ["r1", "r2"], "adam", 0.0002, 1),
    "r3gan_small": ("fashion_mnist", "r3gan", "r3gan", "relativistic", ["r1", "r2"], "adam", 0.003, 1),
    "r3gan_64": ("folder", "r3gan", "r3gan", "relativistic", ["r1", "r2"], "adam", 0.0002, 1),
    "ring": ("ring", "mlp", "mlp", NS, ["r1"], "adam", 0.002, 1),
    "sngan_cifar10": ("cifar10", "resnet", "resnet", "hinge", [], "adam", 0.0002, 5),
    "stacked_mnist": ("stacked_mnist", "dcgan", "dcgan", "relativistic", ["r1", "r2"], "adam", 0.002, 1),
    "stylegan2_64": ("avatars", "stylegan2", "stylegan2", NS, ["r1"], "adam", 0.01, 1),
    "stylegan2_folder": ("folder", "stylegan2", "stylegan2", NS, ["r1"], "adam", 0.01, 1),
    "swiss_roll": ("swiss_roll", "mlp", "mlp", NS, ["r1"], "adam", 0.002, 1),
    "failure/mode_collapse": ("ring", "mlp", "mlp", NS, [], "adam", 0.0002, 1),
    "failure/vanishing_gradient": ("ring", "mlp", "mlp", "minimax", [], "adam", 0.0002, 5),
    "failure/non_convergence": ("ring", "mlp", "mlp", NS, [], "sgd", 0.03, 1),
    "cure/non_convergence_momentum": ("ring", "mlp", "mlp", NS, [], "sgd", 0.03, 1),
    "cure/non_convergence_r1": ("ring", "mlp", "mlp", NS, ["r1"], "sgd", 0.03, 1),
    "cure/non_convergence_r2": ("ring", "mlp", "mlp", NS, ["r2"], "sgd", 0.03, 1),
    "cure/non_convergence_zero_centered": ("ring", "mlp", "mlp", NS, ["zero_centered"], "sgd", 0.03, 1),
    "cure/mode_collapse_wgan_gp": ("ring", "mlp", "mlp", "wasserstein", ["gradient_penalty"], "adam", 0.0002, 5),
    "cure/mode_collapse_packing": ("ring", "mlp", "mlp", NS, [], "adam", 0.0002, 1),
    "cure/mode_collapse_r1": ("ring", "mlp", "mlp", NS, ["r1"], "adam", 0.0002, 1),
    "cure/mode_collapse_stddev": ("ring", "mlp", "mlp", NS, [], "adam", 0.0002, 1),
    "cure/mode_collapse_unrolled": ("ring", "mlp", "mlp", NS, [], "adam", 0.0002, 1),
    "cure/vanishing_gradient_noise": ("ring", "mlp", "mlp", "minimax", [], "adam", 0.0002, 5),
    "cure/vanishing_gradient_non_saturating": ("ring", "mlp", "mlp", NS, [], "adam", 0.0002, 5),
    "cure/vanishing_gradient_r1": ("ring", "mlp", "mlp", "minimax", ["r1"], "adam", 0.0002, 5),
    "wgan_gp_cifar10": ("cifar10", "resnet", "resnet", W, ["gradient_penalty"], "adam", 0.0002, 5),
    "wgan_gp_mnist": ("mnist", "dcgan", "dcgan", W, ["gradient_penalty"], "adam", 0.0001, 5),
    "wgan_mnist": ("mnist", "dcgan", "dcgan", W, ["weight_clip"], "rmsprop", 5e-5, 5),
}
ABSENT = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}


@pytest.fixture(scope="module")
def root(published: PublishedFiles, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a small copy of every published data set, each in its own format."""
    folder = tmp_path_factory.mktemp("root")
    for name in WRITERS:
        published.copy(name, folder, extracted=name == "lsun")
    write_class_folders(folder / "pets", cat=6, dog=6)
    write_numbered(folder / "webdataset", 12, 12)
    write_parquet(folder / "huggingface", 24)
    with pytest.MonkeyPatch.context() as patch:
        use_small_copies(patch, {file: md5 for name in WRITERS for file, md5 in published.md5(name).items()})
        yield folder


def test_every_file_is_a_case() -> None:
    folders = [path for path in (ROOT / "configs").iterdir() if path.is_dir() and path.name != "hydra"]
    files = [path for folder in folders for path in folder.rglob("*.yaml")]
    assert len(CASES) == len(set(CASES)) == len(files)
    assert len(files) > 60


def data_of(option: str, root: Path) -> list[str]:
    """Where the data of a data set or of an experiment are, so that nothing is fetched."""
    if option in OWN:
        return [f"dataset.path={root / 'pets'}"]
    if option in ("webdataset", "huggingface"):
        return [f"dataset.path={root / option}", "dataset.cache=none"]
    return (
        []
        if option in (*POINTS, "shapes", "avatars", "stylegan2_64", "anime") or option.startswith(LAB)
        else [f"dataset.root={root}", "dataset.download=false"]
    )


ARCHITECTURES = {
    "pix2pix": ("unet", "patch"),
    "gated_unet": ("gated_unet", "patch"),
    "edsr": ("edsr", "patch"),
    "projected": ("fastgan", "projected"),
}


def assert_chosen(config: dict[str, Any], group: str, option: str) -> None:
    """The option is what was trained with, by its name or, where it is another's settings, by these."""
    architecture = config["architecture"]
    if group == "experiment":
        found = [config["dataset"]["name"], architecture["generator"]["name"], architecture["discriminator"]["name"]]
        found += [config["loss"]["name"], sorted(config["regularizer"]), config["optimizer"]["name"]]
        assert (*found, config["optimizer"]["lr"], config["training"]["n_critic"]) == EXPERIMENTS[option]
    elif group == "architecture":
        generator, discriminator = ARCHITECTURES.get(option, (option, option))
        assert (architecture["generator"]["name"], architecture["discriminator"]["name"]) == (generator, discriminator)
    elif group == "recipe":
        assert config["recipe"] == option
    elif group in ("regularizer", "auxiliary"):
        assert sorted(config[group]) == PENALTIES.get(option, [option])
    else:
        section = config
        for part in group.split("/"):
            section = section[part]
        assert section["name"] == ("non_saturating" if option == "bce" else "adam" if option in ADAMS else option)
    if option in ADAMS:
        assert tuple(config["optimizer"][key] for key in ("lr", "beta1", "beta2")) == ADAMS[option]


def command_for(group: str, option: str, root: Path) -> list[str]:
    """The least that must be said beside the option."""
    short = ["steps=2", "batch_size=2", "threads=1"]
    if group == "experiment":
        small = () if EXPERIMENTS[option][1] == "mlp" else SMALL
        drawn = ["dataset.size=50", "dataset.cache=none"] if EXPERIMENTS[option][0] == "avatars" else []
        return [f"experiment={option}", *data_of(option, root), *short, *small, *drawn]
    if group == "dataset":
        shape = ["architecture=mlp"] if option in POINTS else [*SMALL]
        more = (
            ["dataset.size=50"]
            if option in ("stacked_mnist", "avatars")
            else ["image_size=16"]
            if option in WRITERS
            else []
        )
        more += ["image_size=16", "dataset.cache=none"] if option == "avatars" else []
        return [f"dataset={option}", *data_of(option, root), *shape, *more, *short]
    tiny = [override for override in TINY_IMAGES if not override.startswith(("batch_size", "threads"))]
    if group.startswith("architecture"):
        tiny = without(tiny, "architecture")
    if group in ("task", "auxiliary") or (option in NEEDED_BY and group != "regularizer"):
        tiny = without(tiny, "architecture.generator.latent_dim")
    return [f"{group}={option}", *NEEDED_BY.get(option, ()), *tiny, *short]


@pytest.mark.parametrize(("group", "option"), OF_DATA, ids=[f"{group}={option}" for group, option in OF_DATA])
def test_every_data_set_and_every_experiment_is_a_run(
    train: Callable[..., Path], root: Path, group: str, option: str
) -> None:
    run = train(*command_for(group, option, root))
    found = last_checkpoint(run)
    assert found.counters.step == 2
    assert {path.name for path in run.iterdir()} >= {"config.json", "metrics.jsonl", "train.log", "progress.webp"}
    assert_chosen(json.loads((run / "config.json").read_text())["config"], group, option)
    assert all(tensor.isfinite().all() for tensor in found.tensors.values())
    assert logged_metrics(run)[-1]["step"] == 2


@pytest.mark.parametrize(("group", "option"), OTHERS, ids=[f"{group}={option}" for group, option in OTHERS])
def test_every_other_option_trains(
    here: Path, root: Path, capsys: pytest.CaptureFixture[str], group: str, option: str
) -> None:
    command = command_for(group, option, root)
    if group == "device" and not ABSENT.get(option, True):
        assert run_command("train", command) == 2  # this machine has none: said, and nothing trained elsewhere
        assert f"device={option}" in capsys.readouterr().err
        return
    data = compose_command("train", command).data
    config = parse_config(data)
    assert_chosen({**train_config.to_dict(config), recipes.GROUP: data[recipes.GROUP]}, group, option)
    state = train_in_memory(config)
    assert state.counters.step == 2
    assert all(tensor.isfinite().all() for tensor in state_tensors(state).values())


@pytest.mark.parametrize("on_bad", ["skip", "error"])
def test_a_folder_of_300_mixed_pictures(
    train: Callable[..., Path], here: Path, capsys: pytest.CaptureFixture[str], on_bad: str
) -> None:
    """Mixed sizes, modes and formats in three classes, with a cut one, a text named .png and an animated gif."""
    pictures = here.parent / "pictures"
    bad = write_mixed_folder(pictures)
    assert len([path for path in pictures.rglob("*") if path.is_file()]) == 300
    assert len(bad) == 3
    command = ["experiment=folder_64", f"dataset.path={pictures}", f"dataset.on_bad={on_bad}", "steps=2", "threads=1"]
    command += ["batch_size=8", *SMALL]
    if on_bad == "error":
        assert run_command("train", command) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert "3 of 300 images cannot be used" in error
        assert all(name in error for name in bad)
        assert not (here / "outputs").exists()
        return
    run = train(*command)
    said = (run / "train.log").read_text()
    assert "297 images in 3 classes" in said
    assert "3 left out" in said
    assert all(name in said for name in bad)
    record = json.loads((run / "config.json").read_text())
    assert record["data"]["samples"] == 297
    assert last_checkpoint(run).config.sample_shape == (3, 64, 64)


@pytest.mark.slow
def test_sngan_starts_from_a_local_archive_at_its_full_size(train: Callable[..., Path], here: Path) -> None:
    archive = here.parent / "data"
    write_cifar10(archive)
    assert [path.name for path in archive.iterdir()] == ["cifar-10-binary.tar.gz"]
    run = train("experiment=sngan_cifar10", f"dataset.root={archive}", "steps=1", "batch_size=2", "threads=1")
    record = json.loads((run / "config.json").read_text())
    assert record["data"]["samples"] == 100
    assert last_checkpoint(run).counters.d_updates == 5


def test_sngan_has_the_settings_of_its_paper() -> None:
    config = compose("experiment=sngan_cifar10")
    assert config.training.n_critic == 5
    assert config.architecture.discriminator.normalization == "spectral"
    assert config.architecture.generator.base_channels == 256
    assert (config.optimizer.beta1, config.optimizer.beta2) == (0.0, 0.9)
