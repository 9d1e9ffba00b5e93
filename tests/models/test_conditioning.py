"""Asking for a kind of sample: from labels to conditions, networks, both updates, and what gan-sample makes."""

from __future__ import annotations

import json
import math
import shlex
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_cli.cli.main import run_command
from gan_cli.data.datasets import points
from gan_cli.data.labels import (
    all_classes_requested,
    attributes_of,
    distribute_evenly,
    encode_labels,
    encode_requested,
    evenly,
    parse_label_indices,
    parse_labels,
)
from gan_cli.data.load_dataset import build_batches, build_dataset, with_classes
from gan_cli.errors import UsageError
from gan_cli.models.build_networks import count_parameters
from gan_cli.models.conditioning import ConditionalNorm, classification_accuracy, classification_loss
from gan_cli.state.train_state import build_state
from gan_cli.tasks.condition import labels_of
from gan_cli.training import periodic_evaluation
from gan_cli.training.objective import build_objective
from support.configs import TINY_IMAGES, compose
from support.training import train_in_memory

WAYS = ("concat", "projection", "acgan", "tags")
ANIMALS = ("cat", "dog", "hen")
PAIRS = ("colour=blue", "colour=red", "size=large", "size=small")


# --- labels ------------------------------------------------------------------------------------------------------


def test_a_condition_has_a_one_for_each_known_label() -> None:
    assert encode_labels(torch.tensor([2, 0, -1]), 3).tolist() == [[0, 0, 1], [1, 0, 0], [0, 0, 0]]
    assert encode_labels(torch.tensor([[1, 2], [-1, 3]]), 4).tolist() == [[0, 1, 1, 0], [0, 0, 0, 1]]


def test_attributes_are_runs_of_one_name() -> None:
    assert [(each.name, each.first, each.size) for each in attributes_of(PAIRS)] == [("colour", 0, 2), ("size", 2, 2)]
    assert [(each.name, each.size) for each in attributes_of(ANIMALS)] == [("", 3)]
    assert attributes_of(()) == []


@pytest.mark.parametrize(
    ("label", "rows"),
    [("dog", [(1,)]), ("hen,cat", [(2,), (0,)]), (" dog , hen", [(1,), (2,)])],
)
def test_classes_are_asked_for_one_after_the_other(label: str, rows: list[tuple[int, ...]]) -> None:
    assert [row.columns for row in parse_labels(ANIMALS, label)] == rows


def test_capital_letters_matter_only_where_two_classes_differ_by_them() -> None:
    assert [row.columns for row in parse_labels(ANIMALS, "Dog")] == [(1,)]
    assert [row.columns for row in parse_labels(("A", "a"), "a")] == [(1,)]
    with pytest.raises(UsageError, match="no class"):
        parse_labels(("Ab", "aB"), "ab")


def test_a_text_with_many_commas_is_read_at_once() -> None:
    started = time.process_time()
    with pytest.raises(UsageError, match="no class of this checkpoint"):
        parse_labels((*ANIMALS, "a, b,c"), "," * 4000)
    rows = parse_labels((*ANIMALS, "a, b,c"), "cat,'a, b,c',dog")
    assert [row.columns for row in rows] == [(0,), (3,), (1,)]
    assert time.process_time() - started < 2  # 20 minutes if all commas are joined for each name


def test_combinations_are_counted_before_they_are_made() -> None:
    names = [f"attribute {number}={value}" for number in range(40) for value in range(4)]
    with pytest.raises(UsageError, match="more than 10,000 combinations, name fewer values"):
        parse_labels(names, ",".join(names))
    assert len(parse_labels(names, ",".join(names[:24]))) == 4**6


def test_values_of_several_attributes_are_asked_for_together() -> None:
    assert [row.columns for row in parse_labels(PAIRS, "red")] == [(1,)]
    assert [row.columns for row in parse_labels(PAIRS, "size=small,red,blue")] == [(1, 3), (0, 3)]
    assert parse_labels(PAIRS, "red,small")[0].name == "colour=red,size=small"
    assert parse_label_indices(PAIRS, (1, 3)) == parse_labels(PAIRS, "red,small")


def test_a_class_may_have_a_comma_in_its_name() -> None:
    assert [row.columns for row in parse_labels(("cat", "cat, black"), "cat, black")] == [(1,)]


@pytest.mark.parametrize(
    ("label", "names"),
    [
        ("a,b", ["a,b"]),
        ("a,b,plain", ["plain", "a,b"]),
        ("plain,a,b", ["plain", "a,b"]),
        ("'a','b'", ["a", "b"]),
        ("'a,b',a", ["a,b", "a"]),
        ('"a,b","it\'s"', ["a,b", "it's"]),
        ("it's,50%", ["50%", "it's"]),
    ],
)
def test_a_class_with_a_comma_is_asked_for_beside_others(label: str, names: list[str]) -> None:
    rows = parse_labels(("plain", "50%", "a,b", "a", "b", "it's"), label)
    assert sorted(row.name for row in rows) == sorted(names)
    assert [row.name for row in parse_labels(("c=red", "c=blue", "d=x,y", "d=z"), "red,x,y")] == ["c=red,d=x,y"]


@pytest.mark.parametrize(
    ("classes", "label", "says"),
    [
        (ANIMALS, "dgo", "'dog'"),
        (ANIMALS, "cat,cat", "once"),
        (("a=large", "b=large"), "large", "a=large or b=large"),
    ],
)
def test_what_cannot_be_asked_for(classes: tuple[str, ...], label: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_labels(classes, label)
    with pytest.raises(UsageError, match="0 to"):
        parse_label_indices(classes, (len(classes),))


def test_samples_are_shared_out_evenly_and_in_order() -> None:
    rows = distribute_evenly(all_classes_requested(ANIMALS), 7)
    assert [row.name for row in rows] == ["cat"] * 3 + ["dog"] * 2 + ["hen"] * 2
    conditions = evenly(ANIMALS, range(6))
    assert conditions is not None
    assert conditions.argmax(1).tolist() == [0, 0, 1, 1, 2, 2]
    assert evenly((), range(6)) is None


def test_an_attribute_left_open_is_drawn_from_the_seed() -> None:
    rows = [all_classes_requested(PAIRS)[1]] * 64  # red
    drawn = encode_requested(PAIRS, rows, range(64))
    assert drawn[:, 1].eq(1).all()
    assert drawn[:, 0].eq(0).all()
    assert 16 < drawn[:, 2].sum() < 48
    assert drawn[:, 2:].sum(1).eq(1).all()
    assert torch.equal(drawn[5:], encode_requested(PAIRS, rows[5:], range(5, 64)))


# --- networks ----------------------------------------------------------------------------------------------------


def conditional(*overrides: str):
    config = compose(*TINY_IMAGES, *overrides)
    dataset = build_dataset(config.dataset, config.image_size)
    return with_classes(config, dataset), dataset


SIZES = {
    "dcgan": (),
    "mlp": ("architecture.generator.width=16", "architecture.discriminator.width=16"),
    "resnet": ("architecture.generator.base_channels=4", "architecture.discriminator.base_channels=4"),
    "fastgan": ("architecture.generator.base_channels=4", "architecture.discriminator.base_channels=4"),
    "srresnet": ("architecture.generator.base_channels=4", "architecture.discriminator.base_channels=4"),
}
TINY = [override for override in TINY_IMAGES if not override.startswith("architecture")]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("architecture", SIZES)
@pytest.mark.parametrize("normalization", ["none", "batch", "spectral"])
def test_the_class_reaches_what_comes_out(way: str, architecture: str, normalization: str) -> None:
    """After some updates, the same latent and the same sample are another matter under another class."""
    config = compose(
        *TINY,
        f"architecture={architecture}",
        *SIZES[architecture],
        f"conditioning={way}",
        f"architecture.generator.normalization={normalization}",
        "architecture.discriminator.normalization=" + ("spectral" if normalization == "spectral" else "none"),
        "steps=3",
    )
    state = train_in_memory(config)
    one, other = torch.eye(8)[[0]].expand(4, -1), torch.eye(8)[[1]].expand(4, -1)
    latent = torch.randn(4, config.architecture.generator.latent_dim)
    state.generator.eval()
    sample = state.generator(latent, one)
    assert not torch.equal(sample, state.generator(latent, other))
    state.discriminator.eval()
    if way in ("acgan", "tags"):
        seen = state.discriminator.discriminate(sample)
        assert seen.class_logits.shape == (4, 8)
        assert torch.equal(seen.logits, state.discriminator(sample, one))
    else:
        assert not torch.equal(state.discriminator(sample, one), state.discriminator(sample, other))


def test_projection_is_the_product_of_features_and_class() -> None:
    config, _ = conditional("conditioning=projection", "architecture.discriminator.minibatch=none")
    network = build_state(config, torch.device("cpu")).discriminator
    sample, condition = torch.randn(5, 1, 16, 16), torch.eye(8)[:5]
    features = network.features(sample, condition)
    by_hand = network.score(features).squeeze(1) + torch.stack(
        [features[index] @ network.classes.weight[index] for index in range(5)]
    )
    assert torch.allclose(network(sample, condition), by_hand, atol=1e-6)


def test_modulation_starts_as_the_plain_normalization() -> None:
    norm = torch.nn.BatchNorm2d(3)
    layer = ConditionalNorm(norm, 3, 4)
    maps = torch.randn(6, 3, 5, 5)
    assert torch.equal(layer(maps, torch.eye(4)[[0, 1, 2, 3, 0, 1]]), norm(maps))


def test_an_unconditional_network_is_what_it_was() -> None:
    config = compose(*TINY_IMAGES)
    assert not any(
        "classes" in name or "entry" in name
        for name in build_state(config, torch.device("cpu")).discriminator.state_dict()
    )
    conditional_config, _ = conditional("conditioning=concat")
    for role in ("generator", "discriminator"):
        plain, asked = (getattr(build_state(each, torch.device("cpu")), role) for each in (config, conditional_config))
        assert count_parameters(asked) > count_parameters(plain)


def test_classification_loss_is_cross_entropy_of_each_attribute() -> None:
    logits = torch.tensor([[2.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.0, 3.0]])
    condition = torch.tensor([[1.0, 0, 0, 1], [0, 0, 0, 1]])  # of the second sample one attribute is not known
    colour = -math.log(math.exp(2) / (math.exp(2) + 1)) / 2
    size = (math.log(2) + -math.log(math.exp(3) / (math.exp(3) + 1))) / 2
    attributes = attributes_of(PAIRS)
    assert classification_loss(logits, condition, attributes).item() == pytest.approx(colour + size, abs=1e-6)
    assert classification_accuracy(logits, condition, attributes) == pytest.approx(2 / 3)


# --- training ----------------------------------------------------------------------------------------------------


def test_fakes_are_made_and_judged_under_the_classes_of_the_real_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    config, dataset = conditional("conditioning=projection", "loss=relativistic", "training.accumulate=2")
    state = build_state(config, torch.device("cpu"))
    batches = build_batches(config, dataset, state.device)
    seen: list[torch.Tensor] = []
    for network in (state.generator, state.discriminator):
        network.register_forward_hook(lambda module, given, out: seen.append(given[1]))
    from gan_cli.training.steps import discriminator_step, generator_step

    objective = build_objective(config, batches)
    discriminator_step(state, objective, batches)
    generator_step(state, objective, batches)
    parts = labels_of(batches.condition(0)).chunk(2)
    assert len(seen) == 2 * (1 + 2 + 1) + 2 * (1 + 2)  # of each part: made, judged twice, penalized; made, judged twice
    halves = [seen[:4], seen[4:8], seen[8:11], seen[11:]]
    for number, half in enumerate(halves):
        assert all(torch.equal(labels_of(condition), parts[number % 2]) for condition in half)


@pytest.mark.parametrize(
    "more",
    [
        ("conditioning=projection", "training.pack=2"),
        ("conditioning=acgan", "training.pack=2"),
        ("conditioning=tags", "training.pack=2"),
        ("conditioning=tags", "training.accumulate=2", "regularizer=dragan", "precision=bf16"),
        ("conditioning=concat", "training.pack=4", "training.accumulate=2"),
        ("conditioning=projection", "training.unroll_steps=2", "regularizer=none"),
        ("conditioning=projection", "loss=wasserstein"),
        ("conditioning=acgan", "loss=hinge", "training.top_k=0.5"),
        ("conditioning=projection", "regularizer=[r1_r2,consistency]"),
        ("conditioning=concat", "regularizer=js"),
    ],
)
def test_it_goes_with_everything_else(more: tuple[str, ...]) -> None:
    state = train_in_memory(compose(*TINY_IMAGES, "steps=2", *more))
    assert all(value.isfinite().all() for value in state.generator.state_dict().values())


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("experiment=swiss_roll", "conditioning=projection"), "has no classes"),
        ((*TINY_IMAGES, "conditioning=acgan", "regularizer=none", "training.unroll_steps=2"), "not acgan"),
        ((*TINY_IMAGES, "conditioning=tags", "regularizer=none", "training.unroll_steps=2"), "not tags"),
        ((*TINY_IMAGES, "conditioning=tags", "compile=true"), "not compiled"),
        ((*TINY_IMAGES, "conditioning=projection", "conditioning.classes=[cat,dog]"), "not to be set"),
        ((*TINY_IMAGES, "conditioning=tags", "conditioning.frequencies=[0.5,0.5]"), "conditioning.frequencies"),
        ((*TINY_IMAGES, "conditioning.embedding_dim=4"), "conditioning.embedding_dim"),
    ],
)
def test_refused_in_one_line(more: tuple[str, ...], says: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("train", [*more, "steps=1"]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not list(here.glob("outputs/*"))


def test_the_ring_learns_which_mode_is_which(train: Callable[..., Path]) -> None:
    run = train("experiment=ring", "conditioning=projection", "steps=600", "threads=1", "training.sample_every=0")
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["accuracy/class"] > 0.9


def test_labels_that_go_unused_are_told(train: Callable[..., Path]) -> None:
    assert "classes: 8, not used; conditioning=projection" in (train(*TINY_IMAGES, "steps=1") / "train.log").read_text()
    run = train(*TINY, "task=super_resolution", "architecture.generator.blocks=1", "steps=1")
    assert "classes: 8, not used; architecture.generator=edsr takes no labels" in (run / "train.log").read_text()


# --- from run to samples -----------------------------------------------------------------------------------------


@pytest.fixture
def run(trained: Callable[..., Path]) -> Path:
    return trained(*TINY_IMAGES, "conditioning=projection", "steps=4", "name=run", "training.evaluate_every=2")


def sampled(capsys: pytest.CaptureFixture[str], *overrides: str) -> Path:
    capsys.readouterr()
    assert run_command("sample", list(overrides)) == 0, capsys.readouterr().err
    return Path(capsys.readouterr().out.strip())


def test_a_run_records_its_classes_and_evaluates_itself(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())["config"]
    assert len(config["conditioning"]["classes"]) == 8
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "accuracy/class" in line] == [2, 4]
    assert "samples are classified as the requested class" in (run / "train.log").read_text()
    with Image.open(run / "samples" / "step_00000004.png") as grid:
        assert grid.size[0] == grid.size[1]  # eight classes, eight of each


def test_samples_of_a_class(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    classes = json.loads((run / "config.json").read_text())["config"]["conditioning"]["classes"]
    everything = np.load(sampled(capsys, f"ckpt={run}", "format=npz"))
    assert everything["images"].shape[0] == 64
    assert everything["conditions"].argmax(1).tolist() == [index // 8 for index in range(64)]
    one = np.load(sampled(capsys, f"ckpt={run}", f"label={classes[2]}", "format=npz", "seed=16", "n=8"))
    assert np.array_equal(one["images"], everything["images"][16:24])  # a seed and a class are a picture
    assert np.array_equal(
        one["images"],
        np.load(sampled(capsys, f"ckpt={run}", "label_index=2", "format=npz", "seed=16", "n=8"))["images"],
    )
    grid = sampled(capsys, f"ckpt={run}", f"label={classes[0]},{classes[5]}")
    assert json.loads(grid.with_suffix(".json").read_text())["labels"] == [classes[0], classes[5]]
    with Image.open(grid) as picture:
        assert picture.size[0] > 3 * picture.size[1]  # two rows of eight


def test_wrong_labels_are_told(run: Path, train: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    plain = train(*TINY_IMAGES, "steps=1", "name=plain")
    for ckpt, more, says in (
        (run, "label=elephant", "no class of this checkpoint"),
        (run, "label_index=99", "expected 0 to 7"),
        (plain, "label=cat", "takes no class"),
    ):
        capsys.readouterr()
        assert run_command("sample", [f"ckpt={ckpt}", more]) == 2
        error = capsys.readouterr().err
        assert says in error
        assert error.count("\n") == 1


@pytest.mark.parametrize("way", WAYS)
def test_resuming_is_exact(train: Callable[..., Path], way: str) -> None:
    tiny = (*TINY_IMAGES, f"conditioning={way}", "training.lr_schedule=constant")  # which knows no end
    whole = train(*tiny, "steps=4", "name=whole")
    train(*tiny, "steps=2", "name=parts")
    parts = train("resume=parts", "extra_steps=2")
    one, other = ((run / "checkpoints" / "last.safetensors").read_bytes()[-4096:] for run in (whole, parts))
    assert one == other


def test_resume_auto_finds_it(train: Callable[..., Path]) -> None:
    line = (*TINY_IMAGES, "conditioning=acgan", "name=auto", "resume=auto")
    assert train(*line, "steps=1") == train(*line, "steps=2")


def test_init_from_brings_the_classes_along(train: Callable[..., Path], run: Path) -> None:
    tuned = train(*TINY_IMAGES[:3], *TINY_IMAGES[6:], f"init_from={run}", "steps=1", "name=tuned")
    assert json.loads((tuned / "config.json").read_text())["config"]["conditioning"]["name"] == "projection"


def test_attributes_of_a_table_can_be_asked_for(
    here: Path, train: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "pictures").mkdir()
    rows = ["file,colour,size"]
    for number in range(24):
        colour, size = ("red", "blue")[number % 2], ("small", "large")[number // 2 % 2]
        picture = Image.new("RGB", (16, 16), "white")
        picture.paste(colour, (0, 0, 4 if size == "small" else 12, 4 if size == "small" else 12))
        picture.save(here / "pictures" / f"{number}.png")
        rows.append(f"{number}.png,{colour},{size}")
    (here / "labels.csv").write_text("\n".join(rows))
    tiny = [override for override in TINY_IMAGES if "dataset" not in override]
    run = train("dataset=folder", "dataset.path=pictures", *tiny, "conditioning=projection", "steps=2", "name=mine")
    both = np.load(sampled(capsys, f"ckpt={run}", "label=red,large", "n=4", "format=npz"))
    assert both["conditions"].tolist() == [[0, 1, 1, 0]] * 4
    one = np.load(sampled(capsys, f"ckpt={run}", "label=colour=blue", "n=16", "format=npz"))
    assert one["conditions"][:, :2].tolist() == [[1, 0]] * 16
    assert 0 < one["conditions"][:, 2].sum() < 16
    assert "accuracy/class" in (run / "metrics.jsonl").read_text()


def test_points_without_known_modes_are_judged_by_their_neighbours(
    train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of a plugin: no modes, yet classes."""
    monkeypatch.delitem(points.MODES, "ring")
    run = train("experiment=ring", "conditioning=concat", "steps=3", "threads=1", "name=plain")
    assert "accuracy/class" in (run / "metrics.jsonl").read_text()


def test_an_evaluation_that_fails_does_not_end_a_run(
    train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(periodic_evaluation, "_classes_to_find", fail)
    run = train(*TINY_IMAGES, "conditioning=projection", "steps=2")
    assert "warning: samples were not evaluated (boom)" in (run / "train.log").read_text()
    assert (run / "checkpoints" / "last.safetensors").exists()


def test_an_evaluation_counts_as_time_of_the_run_and_not_in_its_pace(
    train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def take_long(run: object) -> dict[str, float]:
        time.sleep(1)
        return {}

    monkeypatch.setattr("gan_cli.training.loop.evaluate", take_long)
    run = train(*TINY_IMAGES, "conditioning=projection", "steps=4", "training.evaluate_every=2")
    assert json.loads((run / "config.json").read_text())["ended"]["seconds"] >= 2
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["images_per_second"] > 2 * 8  # two steps of eight within the second of one evaluation


def test_g_is_asked_for_other_classes_at_each_of_its_updates() -> None:
    config, shapes = conditional("conditioning=projection")
    batches = build_batches(config, shapes, torch.device("cpu"))
    drawn = [labels_of(batches.sample_condition(step)) for step in range(8)]
    assert all(labels.sum(1).eq(1).all() for labels in drawn)
    assert len({tuple(labels.argmax(1).tolist()) for labels in drawn}) == 8
    assert torch.equal(labels_of(batches.sample_condition(3)), drawn[3])


def test_a_class_a_row_however_many(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    classes = json.loads((run / "config.json").read_text())["config"]["conditioning"]["classes"]
    with Image.open(sampled(capsys, f"ckpt={run}", f"label={','.join(classes[:3])}", "n=10")) as picture:
        assert picture.size[0] / 4 == pytest.approx(picture.size[1] / 3, abs=1)  # rows of 4, 3 and 3
        assert not np.asarray(picture.convert("L"))[picture.size[1] // 3 + 4 :, -30:].any()
    with Image.open(sampled(capsys, f"ckpt={run}", f"label={classes[0]}", "n=64")) as picture:
        assert picture.size[0] == picture.size[1]
    folder = sampled(capsys, f"ckpt={run}", f"label={classes[0]}", "n=2", "format=images")
    assert sorted(path.name for path in folder.iterdir()) == [
        f"seed_00000{number}_{classes[0].replace(' ', '-')}.png" for number in range(2)
    ]


def test_the_more_that_a_run_tells_can_be_typed(run: Path) -> None:
    hint = next(line for line in (run / "train.log").read_text().splitlines() if "more samples: gan-sample" in line)
    words = shlex.split(hint.partition("gan-sample ")[2])
    assert run_command("sample", words) == 0


def test_init_from_with_other_classes_takes_over_those_in_both(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny = [*TINY_IMAGES[:3], *TINY_IMAGES[6:], f"init_from={run}", "steps=1"]
    assert run_command("train", [*tiny, "conditioning=projection"]) == 0
    capsys.readouterr()
    classes = json.loads((run / "config.json").read_text())["config"]["conditioning"]["classes"]
    assert run_command("train", [*tiny, f"dataset.classes=[{classes[0]}]"]) == 0
    assert "taken over" not in capsys.readouterr().out  # every layer is


def test_stacked_digits_are_asked_for_with_two_classifiers(train: Callable[..., Path]) -> None:
    run = train(
        "dataset=stacked_mnist", "dataset.digits=2", "dataset.download=false", "dataset.size=300", "steps=2",
        "image_size=16", "conditioning=projection", "training.evaluate_every=1", "threads=1", "batch_size=8",
        "architecture.generator.base_channels=4", "architecture.discriminator.base_channels=4",
    )  # fmt: skip
    told = (run / "train.log").read_text()
    assert told.count("training one of these data, once") <= 2
    assert {"accuracy/class", "modes/covered"} <= json.loads(
        (run / "metrics.jsonl").read_text().splitlines()[-1]
    ).keys()
