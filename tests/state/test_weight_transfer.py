"""`init_from` where not everything fits: layers are taken over by name and shape, classes by their names."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from gan_cli.cli.main import run_command
from gan_cli.config.options.conditioning import CONDITIONING_OPTIONS
from gan_cli.config.train_config import Config
from gan_cli.data.load_dataset import build_dataset, with_classes
from gan_cli.errors import UsageError
from gan_cli.launch.fine_tune import adopt_networks
from gan_cli.models.growing import GrowingNetwork
from gan_cli.models.registry import GENERATORS
from gan_cli.state import checkpoint, weight_transfer
from gan_cli.state.checkpoint import Checkpoint, Provenance
from gan_cli.state.train_state import Counters, TrainState, build_state, state_tensors
from gan_cli.tasks.condition import Condition
from gan_cli.tasks.tasks import example_condition
from support.configs import NEEDED_BY, TINY_IMAGES, compose, without
from support.runs import assert_equal_runs, last_checkpoint
from support.training import stop_after

CPU = torch.device("cpu")
DATA = [override for override in TINY_IMAGES if not override.startswith(("architecture", "image_size"))]


def settled(*overrides: str) -> Config:
    config = compose(*overrides)
    return with_classes(config, build_dataset(config.dataset, config.image_size))


def made(config: Config) -> Checkpoint:
    """What a run of this config would leave, of weights as they are drawn with another seed."""
    state = build_state(dataclasses.replace(config, seed=77), CPU)
    provenance = Provenance(
        gan_cli="0", torch="0", threads=1, device="cpu", fingerprint="0", seconds=0.0, budget_start=0.0
    )
    tensors = {name: tensor.detach().clone() for name, tensor in state_tensors(state).items()}
    return Checkpoint(
        Path("old"), config, Counters(step=5, d_updates=0, total_steps=None), provenance, {}, "0" * 64, tensors
    )


def taken_over(old: Config, *overrides: str) -> tuple[TrainState, Checkpoint, dict[str, weight_transfer.Transfer]]:
    base = made(old)
    named = tuple(override.partition("=")[0].replace("/", ".") for override in overrides)
    config = adopt_networks(compose(*overrides, "init_from=old"), old, named)
    config = with_classes(config, build_dataset(config.dataset, config.image_size))
    state = build_state(config, CPU)
    return state, base, weight_transfer.transfer_weights(state, config, base)


def same(state: TrainState, base: Checkpoint, name: str, old: str | None = None) -> bool:
    return torch.equal(state_tensors(state)[name], base.tensors[old or name])


def test_all_is_taken_where_all_fits() -> None:
    state, base, taken = taken_over(settled(*TINY_IMAGES), *DATA)
    assert not any(each.new for each in taken.values())
    assert weight_transfer.describe_transfers(taken) == ""
    assert not state.counters.new_layers
    assert all(same(state, base, name) for name in state_tensors(state))


@pytest.mark.parametrize("architecture", ["subpixel", "dcgan", "resnet", "r3gan"])
def test_another_size_keeps_the_layers_that_make_and_judge_pixels(architecture: str) -> None:
    chosen = [*without(TINY_IMAGES, "image_size"), f"architecture={architecture}"]
    state, base, taken = taken_over(settled(*chosen, "image_size=32"), *DATA, "image_size=64")
    layers = [len(state.generator.layers), len(build_state(base.config, CPU).generator.layers)]
    number = max(
        int(name.split(".")[2]) for name in base.tensors if name.startswith("generator.layers.") and "weight" in name
    )
    last_layer = f"generator.layers.{number + layers[0] - layers[1]}.weight"
    assert same(state, base, last_layer, f"generator.layers.{number}.weight")
    assert taken["generator"].new
    assert taken["generator"].share > 0.1
    first = next(name for name in base.tensors if name.startswith("discriminator.layers"))
    assert same(state, base, first)
    assert state.counters.new_layers
    assert "taken over: generator " in weight_transfer.describe_transfers(taken)
    assert "of its weights; new: " in weight_transfer.describe_transfers(taken)


@pytest.mark.parametrize(
    ("architecture", "layers"),
    [
        (
            "fastgan",
            {
                f"{new}.parametrizations.weight.original": f"{old}.parametrizations.weight.original"
                for new, old in (
                    ("generator.blocks.3.1", "generator.blocks.2.1"),
                    ("generator.blocks.1.1", "generator.blocks.0.1"),
                    ("generator.to_image.0", "generator.to_image.0"),
                    ("discriminator.blocks.1.main.0", "discriminator.blocks.1.main.0"),
                )
            },
        ),
        (
            "pggan",
            {
                f"{new}.parametrizations.weight.original": f"{old}.parametrizations.weight.original"
                for new, old in (
                    ("generator.project.1", "generator.project.1"),
                    ("generator.blocks.0.2", "generator.blocks.0.2"),
                    ("generator.blocks.2.1", "generator.blocks.1.1"),
                    ("generator.blocks.4.4", "generator.blocks.3.4"),
                    ("generator.to_image.4", "generator.to_image.3"),
                    ("discriminator.from_image.4.0", "discriminator.from_image.3.0"),
                    ("discriminator.blocks.3.2", "discriminator.blocks.2.2"),
                    ("discriminator.last.1", "discriminator.last.1"),
                )
            },
        ),
    ],
)
def test_lists_of_blocks_correspond_by_the_layers_next_to_the_pixels(architecture: str, layers: dict[str, str]) -> None:
    few = [f"architecture.{role}.max_multiplier=4" for role in ("generator", "discriminator")]
    chosen = [*without(TINY_IMAGES, "image_size"), f"architecture={architecture}", *few]
    state, base, taken = taken_over(settled(*chosen, "image_size=32"), *DATA, "image_size=64")
    for new, old in layers.items():
        assert same(state, base, new, old), new
    assert taken["generator"].share > 0.5
    assert taken["discriminator"].share > (0.25 if architecture == "fastgan" else 0.4)  # its coarsest block is new


@pytest.mark.parametrize(("old", "new"), [(16, 32), (32, 16), (32, 32)])
def test_networks_that_do_not_grow_are_fully_grown_at_each_size(old: int, new: int) -> None:
    stays = [f"architecture.{role}.grow=false" for role in ("generator", "discriminator")]
    chosen = [*without(TINY_IMAGES, "image_size"), "architecture=pggan", *stays]
    state, _, taken = taken_over(settled(*chosen, f"image_size={old}"), *DATA, f"image_size={new}")
    for network in (state.generator, state.discriminator, state.generator_ema):
        assert isinstance(network, GrowingNetwork)
        assert network.growth.item() == network.level == network.levels == {16: 2, 32: 3}[new]
    assert state.generator(torch.randn(2, 8)).shape == (2, 1, new, new)
    assert not any("growth" in layer for each in taken.values() for layer in (*each.taken, *each.new))


def test_stylegan2_of_another_size_keeps_its_mapping_network_and_the_layers_next_to_the_pixels() -> None:
    chosen = [*without(TINY_IMAGES, "image_size"), "architecture=stylegan2"]
    state, base, taken = taken_over(settled(*chosen, "image_size=32"), *DATA, "image_size=64")
    weight = "parametrizations.weight.original"
    for new, old in (
        ("mapping.0.0", "mapping.0.0"),
        ("layers.8.convolution.convolution", "layers.6.convolution.convolution"),
        ("layers.3.convolution.scales", "layers.1.convolution.scales"),
        ("to_image.4.convolution.convolution", "to_image.3.convolution.convolution"),
    ):
        assert same(state, base, f"generator.{new}.{weight}", f"generator.{old}.{weight}")
    for layer in ("blocks.0", "blocks.2.second.0", "project.0", "score"):
        assert same(state, base, f"discriminator.{layer}.{weight}")
    assert taken["generator"].share > 0.3
    assert taken["discriminator"].share > 0.6
    taken = taken_over(settled(*chosen, "image_size=32"), *DATA, "image_size=40")[2]
    assert "project.0" in taken["discriminator"].new  # of 4 x 4 positions, and now of 5 x 5


@pytest.mark.parametrize("architecture", ["subpixel", "dcgan", "resnet", "r3gan", "pggan", "stylegan2", "mlp"])
def test_grey_becomes_colour_that_is_grey_at_first(architecture: str) -> None:
    chosen = TINY_IMAGES if architecture != "mlp" else without(TINY_IMAGES, "architecture")
    old = settled(*chosen, f"architecture={architecture}")
    state, base, taken = taken_over(old, *DATA, "dataset.image_channels=3")
    assert not taken["generator"].new
    latent = torch.randn(4, old.architecture.generator.latent_dim)
    before = build_state(old, CPU)
    weight_transfer.transfer_weights(before, old, base)
    grey, colour = (each.generator.eval()(latent, None) for each in (before, state))
    torch.testing.assert_close(colour, grey.expand(-1, 3, -1, -1))
    if architecture != "mlp":
        assert not taken["discriminator"].new
        logits = [each.discriminator.eval()(image, None) for each, image in ((before, grey), (state, colour))]
        torch.testing.assert_close(*logits)


def test_between_tasks_all_layers_of_the_u_net_but_that_of_the_input_are_taken() -> None:
    networks = ["architecture=gated_unet", "architecture.generator.levels=2", "architecture.generator.base_channels=4"]
    colour = [*without(DATA, "batch_size"), "dataset.image_channels=3"]
    inpainting = settled(*colour, "image_size=16", "task=inpainting", *networks)
    edges = ["task=translation", "task.source=edges"]
    state, base, taken = taken_over(inpainting, *colour, *edges, "image_size=32")
    assert taken["generator"].new == ["first.convolution"]  # of 1 channel, not of 4
    assert same(state, base, "generator.project.weight", "generator.network.project.weight")
    assert state.generator_ema is not None
    average = state.generator_ema.state_dict()["up.0.convolution.weight"]
    assert torch.equal(average, base.tensors["generator_ema.network.up.0.convolution.weight"])
    back, base, taken = taken_over(settled(*colour, "image_size=16", *edges, *networks), *colour, "task=inpainting")
    assert taken["generator"].new == ["network.first.convolution"]
    assert same(back, base, "generator.network.last.weight", "generator.last.weight")


def test_super_resolution_of_another_size_keeps_its_generator() -> None:
    small = ["task=super_resolution", "task.factor=2"]
    networks = ["architecture.generator.blocks=2", "architecture.generator.base_channels=4"]
    taken = taken_over(settled(*DATA, "image_size=32", *small, *networks), *DATA, *small, "image_size=40")[2]
    assert not taken["generator"].new


def test_colour_to_grey_has_new_first_and_last_layers() -> None:
    state, base, taken = taken_over(settled(*TINY_IMAGES, "dataset.image_channels=3"), *DATA)
    assert [len(each.new) for each in taken.values()] == [1, 1]
    assert same(state, base, "generator.project.weight")
    assert state.generator_ema is not None
    assert torch.equal(state.generator_ema.project.weight, base.tensors["generator_ema.project.weight"])


@pytest.mark.parametrize("architecture", ["dcgan", "mlp"])
def test_a_layer_whose_places_lie_otherwise_is_new_though_its_shape_is_the_same(architecture: str) -> None:
    """36 x 64 is made from 5 x 8 places of 16 channels, 60 x 80 from 4 x 5 of 32; 32 x 64 has the pixels of 64 x 32."""
    sizes = ["[36,64]", "[60,80]"] if architecture == "dcgan" else ["[32,64]", "[64,32]"]
    chosen = without(TINY_IMAGES, "image_size", *([] if architecture == "dcgan" else ["architecture"]))
    old = settled(*chosen, f"architecture={architecture}", f"image_size={sizes[0]}")
    state, base, taken = taken_over(old, *DATA, f"image_size={sizes[1]}")
    first, last = ("project", "score") if architecture == "dcgan" else ("output.0", "hidden.0")
    for role, layer in (("generator", first), ("discriminator", last)):
        assert state_tensors(state)[f"{role}.{layer}.weight"].shape == base.tensors[f"{role}.{layer}.weight"].shape
        assert layer in taken[role].new


TWO = "dataset.classes=[filled circle,outlined circle]"
OTHER = "dataset.classes=[outlined circle,filled cross]"


@pytest.mark.parametrize("way", ["projection", "acgan", "concat"])
def test_classes_in_both_keep_their_weights_whatever_their_number(way: str) -> None:
    old = settled(*TINY_IMAGES, f"conditioning={way}", TWO)
    state, base, taken = taken_over(old, *DATA, OTHER)
    has = [build_dataset(old.dataset, 16).classes, ("outlined circle", "filled cross")]
    tensors = state_tensors(state)
    checked = 0
    for name, side in (
        ("discriminator.classes.weight", 0), ("discriminator.classes.bias", 0), ("generator.entry.embed.weight", 1),
        *((name, 1) for name in tensors if name.startswith("generator.") and name.endswith("scale.weight")),
    ):  # fmt: skip
        if name in tensors:
            old_part, new_part = (each.select(side, 0) if each.ndim > side else each for each in (
                base.tensors[name].transpose(0, side)[[has[0].index("outlined circle")]].transpose(0, side),
                tensors[name].transpose(0, side)[[has[1].index("outlined circle")]].transpose(0, side),
            ))  # fmt: skip
            assert torch.equal(old_part, new_part), name
            assert not torch.equal(base.tensors[name], tensors[name]) or "scale" in name
            checked += 1
    assert checked
    assert not any(each.new for each in taken.values())


def tagged(generator: str, *overrides: str) -> Config:
    needed = NEEDED_BY.get(generator, ())
    judge = ["architecture/discriminator=dcgan"] if needed else []
    line = [*needed, *judge, f"architecture/generator={generator}", "conditioning=tags", *overrides]
    return settled(*DATA, "image_size=16", *line)


def with_names(old: Config, base: Checkpoint, classes: Sequence[str]) -> torch.nn.Module:
    """Returns the generator of a run with these classes that takes over the weights of `base`."""
    config = dataclasses.replace(
        old, init_from="old", conditioning=dataclasses.replace(old.conditioning, classes=(*classes,), frequencies=None)
    )
    state = build_state(config, CPU)
    weight_transfer.transfer_weights(state, config, base)
    assert state.generator_ema is not None
    return state.generator_ema.eval()


@torch.no_grad()
@pytest.mark.parametrize(
    ("generator", "normalization"),
    [*((name, None) for name in GENERATORS if name != "edsr"), ("dcgan", "spectral"), ("fastgan", "spectral")],
)
def test_tags_keep_their_weights_in_the_generator(generator: str, normalization: str | None) -> None:
    """Another order of tags, some of them new, changes no sample with a known tag; so does another number of them."""
    chosen = [] if normalization is None else [f"architecture.generator.normalization={normalization}"]
    without_spectral = ["architecture.generator.spectral=false"] if generator == "fastgan" else []
    old = tagged(generator, *chosen, *without_spectral)
    base = made(old)
    before, names = with_names(old, base, old.classes), old.classes
    latent = torch.randn(3, old.architecture.generator.latent_dim)
    given = example_condition(old.task, old.sample_shape) or Condition()
    given = given.map(lambda part: torch.rand(3, *part.shape[1:]))
    changed = ((*names[:1:-1], "new", "newer"), ("new", *names[:2:-1]))
    for classes in changed if normalization is None else [names[::-1]]:  # new columns change a spectral norm
        after = with_names(old, base, classes)
        if len(classes) < len(names) and generator in ("stylegan2", "pggan"):  # which divide tags by their norm
            continue
        for name in ("filled cross", names[-1]):
            samples = [
                network(latent, given._replace(labels=torch.eye(len(each))[[each.index(name)] * 3]))
                for network, each in ((before, names), (after, classes))
            ]
            torch.testing.assert_close(samples[1], samples[0])


def test_equalized_tags_of_another_number_keep_their_weights() -> None:
    """The first layer's weight, as it multiplies the latent and the tags, keeps its columns."""
    for generator, layer in (("stylegan2", "mapping.0.0"), ("pggan", "project.1")):
        old = tagged(generator)
        base, dim = made(old), old.architecture.generator.latent_dim
        before = with_names(old, base, old.classes).get_submodule(layer).weight
        after = with_names(old, base, ("new", old.classes[5], old.classes[3])).get_submodule(layer).weight
        torch.testing.assert_close(
            after[:, [*range(dim), dim + 1, dim + 2]], before[:, [*range(dim), dim + 5, dim + 3]]
        )


@pytest.mark.parametrize("way", [way for way in CONDITIONING_OPTIONS if way != "none"])
def test_the_conditioning_of_the_other_run_is_taken_without_its_data(way: str) -> None:
    """The command need not name it; classes and frequencies are those of the new data."""
    old = settled(*TINY_IMAGES, f"conditioning={way}")
    adopted = adopt_networks(compose(*DATA, TWO, "init_from=old"), old, ())
    adopted = with_classes(adopted, build_dataset(adopted.dataset, adopted.image_size))
    assert adopted.conditioning.name == way
    assert adopted.classes == ("filled circle", "outlined circle")
    assert adopted.frequencies is None or sum(adopted.frequencies) == pytest.approx(1)


def test_tags_and_an_embedding_of_as_many_numbers_are_not_confused() -> None:
    old = settled(*TINY_IMAGES, "conditioning=concat", "conditioning.embedding_dim=8")
    taken = taken_over(old, *DATA, "conditioning=tags")[2]
    assert "mapping.0" in taken["generator"].new


def test_it_is_told_which_classes_are_new_and_which_are_left_out() -> None:
    assert weight_transfer.describe_classes(("a", "b"), ("b", "a")) == ""
    told = weight_transfer.describe_classes(("cats", "dogs"), ("birds", "cats", "fish"))
    assert told == "classes of init_from: known cats; new birds, fish; left out dogs"
    assert weight_transfer.describe_classes(("cats", "dogs"), ()) == "classes of init_from: left out cats, dogs"
    many = [str(number) for number in range(9)]
    assert weight_transfer.describe_classes((), many) == "classes of init_from: new 0, 1, 2, 3, 4, 5 and 3 more"


def test_a_new_run_says_which_classes_are_new(train: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    old = train(*TINY_IMAGES, "steps=1", "name=old")
    line = [*DATA, f"init_from={old}", OTHER, "conditioning=projection", "dry_run=true"]
    assert run_command("train", line) == 0
    assert "classes of init_from: new outlined circle, filled cross" in capsys.readouterr().out


def test_the_same_classes_in_another_order_are_not_mixed_up() -> None:
    old = settled(*TINY_IMAGES, "conditioning=projection", TWO)
    base = made(old)
    turned = dataclasses.replace(
        old, init_from="old", conditioning=dataclasses.replace(old.conditioning, classes=old.classes[::-1])
    )
    state = build_state(turned, CPU)
    weight_transfer.transfer_weights(state, turned, base)
    assert torch.equal(
        state_tensors(state)["discriminator.classes.weight"], base.tensors["discriminator.classes.weight"].flip(0)
    )


def test_nothing_is_new_where_only_the_order_of_classes_is() -> None:
    old = settled(*TINY_IMAGES, "conditioning=projection", TWO, "architecture.discriminator.normalization=spectral")
    base = made(old)
    conditioning = dataclasses.replace(old.conditioning, classes=old.classes[::-1])
    state = build_state(dataclasses.replace(old, conditioning=conditioning), CPU)
    taken = weight_transfer.transfer_weights(state, dataclasses.replace(old, conditioning=conditioning), base)
    assert not any(each.new for each in taken.values())
    name = "discriminator.classes.parametrizations.weight.0._"
    now = state_tensors(state)
    assert torch.equal(now[f"{name}u"], base.tensors[f"{name}u"].flip(0))
    assert torch.equal(now[f"{name}v"], base.tensors[f"{name}v"])


def test_conditioning_may_come_and_go() -> None:
    bare, asked = settled(*TINY_IMAGES), settled(*TINY_IMAGES, "conditioning=projection")
    state, base, taken = taken_over(bare, *DATA, "conditioning=projection")
    assert "classes" in taken["discriminator"].new
    assert all(layer.endswith(("scale", "shift")) for layer in taken["generator"].new)
    assert same(state, base, "generator.project.weight")
    state, base, taken = taken_over(asked, *DATA, "conditioning=none")
    assert not any(each.new for each in taken.values())
    assert same(state, base, "discriminator.score.weight")


def test_a_new_layer_is_not_frozen() -> None:
    colour = settled(*TINY_IMAGES, "dataset.image_channels=3")
    with pytest.raises(UsageError, match=r"freeze_discriminator_layers=1: layers\.1 is new here"):
        taken_over(colour, *DATA, "training.freeze_discriminator_layers=1")


def test_nothing_that_fits_is_refused() -> None:
    base = made(settled("dataset=shapes", "image_size=16", "architecture=mlp"))
    config = settled(*TINY_IMAGES)
    with pytest.raises(UsageError, match="none of its layers fits"):
        weight_transfer.transfer_weights(build_state(config, CPU), config, base)


def test_a_run_says_and_records_it_and_goes_on_bit_for_bit(
    train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old = train(*TINY_IMAGES, "steps=2", "name=old")
    line = [*DATA, f"init_from={old}", "image_size=32", "steps=4"]
    assert run_command("train", [*line, "dry_run=true"]) == 0
    assert "taken over: generator " in capsys.readouterr().out
    whole = train(*line, "name=whole")
    assert "taken over: generator " in (whole / "train.log").read_text()
    record = json.loads((whole / "config.json").read_text())["taken_over"]
    assert "project" in record["generator"]["new"]
    assert record["discriminator"]["taken"]
    assert last_checkpoint(whole).config.image_size == 32
    assert last_checkpoint(whole).counters.new_layers
    with monkeypatch.context() as patch:
        stop_after(3, patch)
        broken = train(*line, "name=broken", code=130)
    train(f"resume={broken}")
    assert_equal_runs(whole, broken)
    assert train(*line, "name=broken", "resume=auto") == broken
    assert checkpoint.load(broken / "checkpoints/last.safetensors").counters.step == 4
