"""Tags: independent outputs of D for each value, their loss, and values that a request leaves open."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gan_cli.cli.main import run_command
from gan_cli.data.labels import (
    RequestedCondition,
    attributes_of,
    class_frequencies,
    encode_labels,
    encode_requested,
    evenly,
    parse_labels,
)
from gan_cli.data.load_dataset import build_batches, build_dataset, with_classes
from gan_cli.errors import UsageError
from gan_cli.models.build_networks import build_networks
from gan_cli.models.conditioning import ConcatLabels, ConditioningSpec, concat_condition, start_at_frequencies, tag_loss
from gan_cli.models.layers import DiscriminatorOutput
from gan_cli.state.train_state import build_state
from gan_cli.tasks.condition import Condition
from gan_cli.training.objective import build_objective
from gan_cli.training.steps import discriminator_step
from support.configs import TINY_IMAGES, compose, without

CPU = torch.device("cpu")
CLASSES = ("glasses=no", "glasses=yes", "hair=black", "hair=blonde", "hair=red")
TINY = (*TINY_IMAGES, "architecture=srresnet", "conditioning=tags", "regularizer=dragan", "conditioning.weight=3")


# --- the loss ----------------------------------------------------------------------------------------------------


def test_the_loss_is_the_mean_binary_cross_entropy_of_all_tags() -> None:
    logits = torch.tensor([[2.0, -1.0, 0.0, 3.0, -2.0]])
    labels = torch.tensor([[0.0, 1, 1, 0, 0]])
    chances = [1 / (1 + math.exp(-logit)) for logit in logits[0].tolist()]
    by_hand = [-math.log(chance if label else 1 - chance) for chance, label in zip(chances, labels[0], strict=True)]
    assert tag_loss(logits, labels, attributes_of(CLASSES)).item() == pytest.approx(sum(by_hand) / 5, rel=1e-6)


def test_an_unknown_attribute_adds_nothing() -> None:
    logits, attributes = torch.tensor([[0.0, 0, 5, -5, 1]], requires_grad=True), attributes_of(CLASSES)
    loss = tag_loss(logits, torch.tensor([[0.0, 1, 0, 0, 0]]), attributes)  # the colour of the hair is not known
    assert loss.item() == pytest.approx(2 * math.log(2) / 5)
    loss.backward()
    assert logits.grad is not None
    assert logits.grad[0, 2:].tolist() == [0, 0, 0]


def test_the_tags_are_independent() -> None:
    """The slope of a tag's loss does not depend on the other tags of its attribute, unlike that of a softmax."""
    labels, slopes = torch.tensor([[1.0, 0, 1, 0, 0]]), []
    for other in (-4.0, 4.0):
        logits = torch.tensor([[0.0, 0, 0, other, 0]], requires_grad=True)
        tag_loss(logits, labels, attributes_of(CLASSES)).backward()
        assert logits.grad is not None
        slopes.append(logits.grad[0, 2].item())
    assert slopes == [pytest.approx(-0.5 / 5)] * 2


def test_the_latent_gets_the_zeros_and_ones_themselves() -> None:
    entry = concat_condition(ConditioningSpec("tags", 2), ("tags",))
    assert isinstance(entry, ConcatLabels)
    assert not list(entry.parameters())
    joined = entry(torch.tensor([[7.0, 8, 9]]), Condition(torch.tensor([[0.0, 1]])))
    assert joined.tolist() == [[7, 8, 9, 0, 1]]
    assert entry.added_features == 2


@pytest.mark.parametrize("classify_fakes", [True, False])
def test_both_networks_minimize_the_weighted_loss_of_the_tags(classify_fakes: bool) -> None:
    """D's is that of real and of fake samples, under the tags of the real batch, or of real ones alone."""
    config = compose(*TINY, f"conditioning.classify_fakes={str(classify_fakes).lower()}")
    dataset = build_dataset(config.dataset, config.image_size)
    config = with_classes(config, dataset)
    state = build_state(config, torch.device("cpu"))
    batches = build_batches(config, dataset, state.device)
    objective = build_objective(config, batches)
    attributes, condition = attributes_of(config.classes), batches.draw(0).condition
    assert condition is not None
    assert condition.labels is not None
    logits = torch.randn(len(condition.labels), len(config.classes))
    loss = tag_loss(logits, condition.labels, attributes)
    of_generator = objective.classification_loss(DiscriminatorOutput(logits[:, 0], logits), condition)
    assert of_generator == pytest.approx(3 * loss.item(), rel=1e-6)
    seen: list[torch.Tensor] = []
    discriminate = state.discriminator.discriminate
    state.discriminator.discriminate = lambda *given: (
        seen.append(discriminate(*given).class_logits) or discriminate(*given)
    )
    output = discriminator_step(state, objective, batches)
    both = torch.cat([part.detach() for part in seen])[: 2 * len(condition.labels)].float().chunk(2)
    learned_from = both if classify_fakes else both[:1]
    expected = sum(tag_loss(part, condition.labels, attributes) for part in learned_from)
    assert output.penalties["classification"].item() == pytest.approx(expected.item(), rel=1e-2)
    assert {each.name: each.weight for each in objective.penalties} == {"dragan": 10.0, "classification": 3.0}


@pytest.mark.parametrize("pack", [1, 2])
@pytest.mark.parametrize("network", ["srresnet", "dcgan", "resnet", "r3gan", "fastgan", "pggan", "stylegan2"])
def test_outputs_for_tags_start_at_their_frequencies(network: str, pack: int) -> None:
    """By hand: half of the samples have a known colour of hair, of which 4 of 10 are black and 6 of 10 blonde."""
    others = without(TINY, "architecture", "regularizer")
    config = compose(*others, f"architecture/discriminator={network}", f"training.pack={pack}")
    known = replace(config.conditioning, classes=CLASSES, frequencies=(0.75, 0.25, 0.2, 0.3, 0.0))
    _, discriminator = build_networks(replace(config, conditioning=known), CPU)
    expected = [math.log(3), -math.log(3), math.log(0.4 / 0.6), math.log(0.6 / 0.4), math.log(1e-4 / (1 - 1e-4))]
    assert discriminator.classes.bias.tolist() == pytest.approx(expected * pack, rel=1e-5)
    without_any = replace(config, conditioning=replace(known, frequencies=None))
    before = build_networks(without_any, CPU)[1].state_dict()
    after = discriminator.state_dict().items()
    assert [name for name, value in after if not torch.equal(value, before[name])] == ["classes.bias"]


def test_a_value_that_is_rarer_than_one_in_ten_thousand_or_always_given_starts_at_a_finite_logit() -> None:
    layer, attributes = torch.nn.Linear(1, 4), attributes_of(("a=x", "a=y", "b=x", "c=x"))
    start_at_frequencies(layer, (0.00001, 0.99999, 1.0, 0.0), attributes)
    assert layer.bias.tolist() == pytest.approx([-9.21024, 9.21024, 9.21024, -9.21024], rel=1e-5)


def test_d_starts_with_the_entropy_of_the_tags_as_its_loss() -> None:
    """With inputs that its features ignore; at even chances the loss of 8 tags would be log 2."""
    config = compose(*TINY)
    dataset = build_dataset(config.dataset, config.image_size)
    config = with_classes(config, dataset)
    _, discriminator = build_networks(config, CPU)
    labels = encode_labels(dataset.labels, len(config.classes))
    logits = discriminator.classes(torch.zeros(len(labels), discriminator.classes.in_features))
    assert config.frequencies is not None
    entropy = [-p * math.log(p) - (1 - p) * math.log(1 - p) for p in config.frequencies]
    loss = tag_loss(logits, labels, attributes_of(config.classes)).item()
    assert loss == pytest.approx(sum(entropy) / len(entropy), rel=1e-3)
    assert loss < math.log(2) - 0.2


# --- requests ----------------------------------------------------------------------------------------------------


def test_frequencies_are_shares_of_all_samples() -> None:
    labels = torch.tensor([[0, 2], [0, 3], [1, 2], [0, -1]])
    assert class_frequencies(labels, 5) == (0.75, 0.25, 0.5, 0.25, 0.0)
    assert class_frequencies(torch.tensor([1, 1, 0]), 2) == (0.333333, 0.666667)


def test_what_is_not_requested_has_the_frequencies_of_the_data() -> None:
    frequencies = (0.9, 0.1, 0.5, 0.2, 0.0)  # 30 % of the samples have no hair
    red = [RequestedCondition("hair=red", (4,))] * 2000
    drawn = encode_requested(CLASSES, red, range(2000), frequencies)
    assert drawn[:, 4].eq(1).all()
    assert drawn[:, 2:4].eq(0).all()
    assert drawn[:, 1].mean().item() == pytest.approx(0.1, abs=0.03)
    assert drawn[:, :2].sum(1).eq(1).all()
    hair = encode_requested(CLASSES, [RequestedCondition("glasses=yes", (1,))] * 2000, range(2000), frequencies)
    assert hair[:, 2:].mean(0).tolist() == pytest.approx([0.5, 0.2, 0.0], abs=0.04)
    assert torch.equal(drawn[5:], encode_requested(CLASSES, red[5:], range(5, 2000), frequencies))


def test_rounded_frequencies_always_draw_a_value() -> None:
    third = (0.333333,) * 3
    drawn = evenly(("a=1", "b=x", "b=y", "b=z"), range(3000), most=1, frequencies=(1.0, *third))
    assert drawn is not None
    assert drawn[:, 1:].sum(1).eq(1).all()


@pytest.mark.parametrize(
    ("label", "says"),
    [
        ("glasses=maybe", "expected one of glasses=no, glasses=yes"),
        ("hair=blond", "did you mean 'hair=blonde'?"),
        ("hat=yes", "which has glasses=no"),
    ],
)
def test_a_wrong_tag_is_answered_by_the_nearest_ones(label: str, says: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_labels(CLASSES, label)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_many_attributes_are_named_without_their_values() -> None:
    many = tuple(f"{name}={value}" for name in ("hair", "eyes") for value in range(30))
    with pytest.raises(UsageError, match="has the attributes hair, eyes, as hair=0"):
        parse_labels(many, "nose=1")


# --- from run to samples -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_records_frequencies_and_samples_with_them(
    train: Callable[..., Path], precision: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(*TINY, "steps=2", "name=run", f"precision={precision}")
    section = json.loads((run / "config.json").read_text())["config"]["conditioning"]
    assert len(section["frequencies"]) == len(section["classes"]) == 8
    assert sum(section["frequencies"]) == pytest.approx(1, abs=1e-4)
    capsys.readouterr()
    assert run_command("sample", [f"ckpt={run}", f"label={section['classes'][3]}", "n=4", "format=npz"]) == 0
    written = np.load(capsys.readouterr().out.strip())
    assert written["conditions"].argmax(1).tolist() == [3] * 4
    train("resume=run", "extra_steps=1")


def test_a_checkpoint_with_frequencies_of_other_classes_is_refused() -> None:
    with pytest.raises(UsageError, match="one for each"):
        compose(*TINY, "conditioning.classes=[a,b]", "conditioning.frequencies=[1]")
