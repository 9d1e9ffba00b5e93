"""Every experiment comes to the same config, key for key, as when its figures were measured."""

import hashlib
import json

import pytest

from gan_cli.config.compose import compose_command, groups
from gan_cli.config.options.networks.architectures import networks_grow
from gan_cli.config.recipes import GROUP, USED_KEY
from support.configs import compose

# Keys that came later, and what all experiments have there.
NEWER = {
    "replay": None, "data": None, "on_changed_data": "auto", "resume_strict": False, "auxiliary": {},
    "task": {"name": "generation"},
}  # fmt: skip
NEWER_OF_DEVICE = {"processes": 1, "timeout": 300, "batch_norm": "synchronized"}
CONSTANT = {"to": None, "until": 1.0, "shape": "cosine"}  # of each schedule that does not change its value
NEWER_OF_DATASET = {"balance": False}
NEWER_OF_FOLDER = {
    "fit": "crop", "value_range": "auto", "bands": "colour", "profiles": "auto",
    "labels_file_column": None, "labels_columns": None, "labels_bins": None, "labels_version": 2,
    "follow_links": False, "max_pixels": 64_000_000, "pairs": "auto", "direction": "AtoB",
}  # fmt: skip
NEWER_OF_GENERATOR = {"output": "unfolded", "max_multiplier": 8}
# sha256 of each experiment's composed config as JSON, the recipe left out. A change here changes what a published
# name stands for: say so in CHANGELOG or README, and measure anew what is claimed of it.
CONFIGS = {
    "anime": "073ed8aa7625543d",
    "cure/mode_collapse_packing": "c820f27eb979b7fa",
    "cure/mode_collapse_r1": "003352a05e6b6f0e",
    "cure/mode_collapse_stddev": "2fdb26023450d199",
    "cure/mode_collapse_unrolled": "6e259b5b43a81efe",
    "cure/mode_collapse_wgan_gp": "3d7417a91f5f0e7b",
    "cure/non_convergence_momentum": "8be745bebc2540a9",
    "cure/non_convergence_r1": "bb35af99135ea3f6",
    "cure/non_convergence_r2": "087ffbbd3f399b84",
    "cure/non_convergence_zero_centered": "e7378d0be6d1eecb",
    "cure/vanishing_gradient_noise": "cfa72d3e76820c60",
    "cure/vanishing_gradient_non_saturating": "93e32613cd512321",
    "cure/vanishing_gradient_r1": "5e2b4489eb7844f0",
    "dcgan_mnist": "f1ad3a851abc61f7",
    "dragan_mnist": "1695281e4fd176f0",
    "failure/mode_collapse": "1c02cc2acea75896",
    "failure/non_convergence": "7884d414dab642a9",
    "failure/vanishing_gradient": "b6b112cc32d118a7",
    "fast": "afbbdec07235871b",
    "few_shot": "2f86d70067665447",
    "folder_64": "c402de83eefc1f18",
    "gan2014_mnist": "62b076b67aa120fa",
    "grid": "b7842ac16501e271",
    "lsgan_mnist": "5b54e75298cd15c7",
    "reference_colour_32": "85d8e73b7d5c3929",
    "reference_colour_64": "7591094279e20d8f",
    "reference_grey": "1f18ecc143120f21",
    "pggan_64": "66c7b624c9045215",
    "projected_folder": "ba6517e51ba5dd87",
    "r3gan_32": "ea6ddf6abf592d07",
    "r3gan_64": "91caa3a9e23fc2b3",
    "r3gan_small": "e473bc360cc0ff28",
    "ring": "6801ec1f180890c2",
    "sngan_cifar10": "c7b5d73793185a39",
    "stacked_mnist": "1f38bf7d5ce8adc7",
    "stylegan2_64": "5f9b86b8c9d0a9bf",
    "stylegan2_folder": "c643fd74a79f4d36",
    "swiss_roll": "dd93b5df9294e366",
    "wgan_gp_cifar10": "6d47719e8621d6ee",
    "wgan_gp_mnist": "6838f662840516d8",
    "wgan_mnist": "611f40dcaafe26a0",
}


def test_every_experiment_is_listed() -> None:
    assert groups()["experiment"] == sorted(CONFIGS)


@pytest.mark.parametrize("experiment", CONFIGS)
def test_an_experiment_comes_to_the_same_config(experiment: str) -> None:
    data = compose_command("train", [f"experiment={experiment}"]).data
    recipe = (data.pop(GROUP), data.pop(USED_KEY))
    assert {key: data.pop(key) for key in NEWER} == NEWER
    assert {key: data["device"].pop(key) for key in NEWER_OF_DEVICE} == NEWER_OF_DEVICE
    dataset = data["dataset"]
    newer = NEWER_OF_DATASET | (NEWER_OF_FOLDER if dataset["name"] == "folder" else {})
    assert {key: dataset.pop(key) for key in newer} == newer
    assert data["loss"].pop("weight") == 1.0
    if changing := {name: schedule for name, schedule in data.pop("schedule").items() if schedule != CONSTANT}:
        data["schedule"] = changing
    if data["training"]["augment_probability"] == 1.0:
        del data["training"]["augment_probability"]
    assert data["training"].pop("checkpoint_activations") is False
    assert data["evaluation"].pop("classify") is True
    generator = data["architecture"]["generator"]
    newer = NEWER_OF_GENERATOR if experiment == "fast" else {}
    assert {key: generator.pop(key) for key in newer} == newer
    for network in data["architecture"].values():  # networks of pggan, which grow where both are of that kind
        if network.get("grow") == "auto":
            network["grow"] = networks_grow(compose(f"experiment={experiment}", "dataset.path=.").architecture)
    assert recipe == (("auto" if experiment == "fast" else "none"), "none")
    assert hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16] == CONFIGS[experiment]
