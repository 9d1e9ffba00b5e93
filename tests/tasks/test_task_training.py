"""Runs of the tasks: what the networks get, what is learned, resume, and refused combinations."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn.functional import cosine_similarity

from gan_cli.data.datasets import downloaded_archives
from gan_cli.data.load_dataset import build_batches, build_dataset
from gan_cli.errors import UsageError
from gan_cli.models.build_networks import CompletedGenerator
from gan_cli.models.imagenet import load_efficientnet
from gan_cli.models.latents import LatentDistribution
from gan_cli.objectives.auxiliary import AUXILIARY, GeneratorPass
from gan_cli.state.train_state import TrainState, build_state, load_state_tensors, state_tensors
from gan_cli.tasks.condition import Condition
from gan_cli.training.discriminator_input import discriminator_inputs
from gan_cli.training.inputs import shown_inputs
from gan_cli.training.objective import build_objective
from gan_cli.training.steps import discriminator_step, generator_step, training_step
from support.commands import error_line
from support.configs import compose, without
from support.pretrained import needs_weights
from support.tasks import RUNS, TINY
from support.training import train_in_memory


@pytest.mark.parametrize("task", RUNS)
def test_a_run_trains_draws_and_logs(task: str, train: Callable[..., Path]) -> None:
    run = train(*RUNS[task], *TINY)
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["step"] == 3
    assert last["auxiliary/l1"] > 0
    assert (run / "samples/step_00000003.png").is_file()
    assert json.loads((run / "config.json").read_text())["config"]["task"]["name"] == task


@pytest.mark.parametrize("task", RUNS)
@pytest.mark.parametrize(
    "more",
    [
        (),
        ("training.reuse_fakes=false", "training.n_critic=2"),
        ("training.accumulate=2",),
        ("training.augment=[color,translation,cutout]", "training.ada_target=0.6"),
        ("loss=relativistic", "regularizer=r1_r2"),
        ("loss=hinge", "regularizer=none", "training.unroll_steps=1", "optimizer=sgd"),
        ("loss.weight=0", "auxiliary=[l2,gradient_difference]"),
        ("training.top_k=0.5",),
    ],
    ids=lambda more: more[0] if more else "default",
)
def test_an_interrupted_run_ends_as_an_unbroken_one(task: str, more: tuple[str, ...]) -> None:
    config = compose(*without([*RUNS[task], *TINY], "steps"), "steps=2", *more)
    unbroken = state_tensors(train_in_memory(config))
    dataset = build_dataset(config.dataset, config.image_size)
    batches = build_batches(config, dataset, torch.device("cpu"))
    objective = build_objective(config, batches)

    def continue_to(step: int, state: TrainState) -> TrainState:
        state.counters.total_steps = config.steps
        while state.counters.step < step:
            training_step(state, objective, batches)
        return state

    stopped = continue_to(1, build_state(config, torch.device("cpu")))
    resumed = build_state(config, torch.device("cpu"))
    load_state_tensors(resumed, {name: tensor.clone() for name, tensor in state_tensors(stopped).items()})
    resumed.counters.step, resumed.counters.d_updates = stopped.counters.step, stopped.counters.d_updates
    continue_to(2, resumed)
    ended = state_tensors(resumed)
    assert ended.keys() == unbroken.keys()
    assert all(torch.equal(ended[name], tensor) for name, tensor in unbroken.items())


def test_both_networks_get_what_the_task_gives() -> None:
    config = compose(*RUNS["inpainting"], *TINY, "training.reuse_fakes=false")
    dataset = build_dataset(config.dataset, config.image_size)
    batches = build_batches(config, dataset, torch.device("cpu"))
    state = build_state(config, torch.device("cpu"))
    state.counters.total_steps = 3
    assert isinstance(state.generator, CompletedGenerator)
    given: list[Condition] = []
    seen: list[torch.Tensor] = []
    state.generator.register_forward_hook(lambda module, inputs, output: given.append(inputs[1]))
    entry = next(module for module in state.discriminator.modules() if isinstance(module, torch.nn.Conv2d))
    entry.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    objective = build_objective(config, batches)
    discriminator_step(state, objective, batches)
    generator_step(state, objective, batches)
    batch = batches.draw(0)
    assert batch.condition is not None
    for condition in given:  # both updates are on the same batch, so that G can be compared with the truth
        assert all(
            torch.equal(one, other) for one, other in zip(condition, batch.condition, strict=True) if one is not None
        )
    assert {tensor.shape[1] for tensor in seen} == {4}
    assert torch.equal(seen[0][:8], torch.cat([batch.samples, batch.condition.mask], 1))  # type: ignore[list-item]


@pytest.mark.parametrize("policies", [("color", "translation", "cutout", "turn"), ("ada", "noise", "cutout")])
def test_images_of_a_condition_are_augmented_with_their_samples(policies: tuple[str, ...]) -> None:
    options: Any = SimpleNamespace(augment=policies, instance_noise=0.0, pack=1)
    config: Any = SimpleNamespace(training=options)
    state: Any = SimpleNamespace(augment_probability=torch.tensor(0.7))
    samples = torch.rand(16, 3, 8, 8) * 2 - 1
    mask = (torch.rand(16, 1, 8, 8) < 0.5).float()
    given = Condition(image=samples, mask=mask)
    (real, fake), condition = discriminator_inputs(
        (samples, samples), given, state, config, torch.Generator().manual_seed(0)
    )
    assert condition is not None
    assert condition.mask is not None
    assert not torch.equal(real, samples)
    assert torch.equal(real, fake)
    assert torch.equal(real, condition.image)  # type: ignore[arg-type]
    assert {*condition.mask.unique().tolist()} == {0.0, 1.0}
    assert not torch.equal(condition.mask, mask)


def pass_of(fake: torch.Tensor, real: torch.Tensor, discriminator: Any = None) -> GeneratorPass:
    """What a loss of the samples and their true images is given."""
    return GeneratorPass(fake, real, None, None, discriminator, LatentDistribution(1), torch.Generator(), {})


def test_auxiliary_losses_are_those_of_their_papers() -> None:
    real = torch.zeros(1, 1, 2, 2)
    fake = torch.tensor([[[[0.0, 1.0], [0.0, -3.0]]]])

    class Maps(torch.nn.Module):
        def feature_maps(self, samples: torch.Tensor, condition: object) -> list[torch.Tensor]:
            return [samples, samples * 2]

    given = pass_of(fake, real, Maps())
    paired = AUXILIARY.keys() - {"path_length", "perceptual"}
    values: dict[str, Any] = {name: AUXILIARY[name](given).item() for name in paired}
    assert values == {
        "l1": pytest.approx(1.0),
        "l2": pytest.approx(2.5),
        "gradient_difference": pytest.approx((0 + 4) / 2 + (1 + 3) / 2),
        "feature_matching": pytest.approx(1.5),
    }


@needs_weights
def test_the_perceptual_loss_is_a_distance_of_unit_vectors() -> None:
    """0 for equal images, and it does not change if all features of a position grow (1801.03924, equation 1)."""
    torch.manual_seed(0)
    real, fake = torch.rand(2, 2, 3, 64, 64) * 2 - 1

    def distance(one: torch.Tensor, other: torch.Tensor) -> float:
        return AUXILIARY["perceptual"](pass_of(one, other)).item()

    network = load_efficientnet("auxiliary=perceptual", torch.device("cpu"))
    angles = [cosine_similarity(one, other).mean() for one, other in zip(network(fake), network(real), strict=True)]
    expected = sum(2 - 2 * cosine for cosine in angles) / 4  # |a - b|^2 of unit vectors
    assert distance(fake, real) == pytest.approx(expected.item(), rel=1e-4)
    assert distance(real, real) == 0
    assert distance(real + 0.05 * (fake - real), real) < 0.5 * distance(fake, real)
    assert distance(fake[:, :1, :16, :16], real[:, :1, :16, :16]) > 0  # grey and small, enlarged


@needs_weights
def test_the_perceptual_loss_teaches_g_and_leaves_no_network_in_the_checkpoint() -> None:
    config = compose(*RUNS["inpainting"], *TINY, "auxiliary=[perceptual]", "loss.weight=0")
    state = train_in_memory(config, 2)
    assert state.generator_output is not None
    assert 0 < state.generator_output.auxiliary["perceptual"] < 2
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in state.generator.parameters())
    assert not any("stem" in name for name in state_tensors(state))


def test_inputs_that_are_shown_are_held_out_and_the_same_each_time() -> None:
    config = compose(*RUNS["super_resolution"], *TINY)
    dataset = build_dataset(config.dataset, config.image_size)
    first, second = (shown_inputs(config, dataset) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.held_out
    assert torch.equal(first.truth, second.truth)
    training = dataset.samples.float().div(127.5).sub(1).flatten(1)
    assert torch.cdist(first.truth.flatten(1), training).min() > 0.1
    assert shown_inputs(compose(*TINY, "architecture.generator.latent_dim=8"), dataset) is None


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("task=inpainting", "architecture=dcgan"), "takes no mask, use unet or gated_unet"),
        (
            ("task=translation", "task.source=edges", "architecture/generator=subpixel"),
            "takes no image, use unet, gated_unet or edsr",
        ),
        (("task=inpainting", "architecture/generator=edsr"), "takes no mask"),
        (("task=super_resolution", "architecture/generator=unet"), "does not enlarge, use edsr"),
        (("task=super_resolution", "image_size=30"), "not divisible by it"),
        (("task=inpainting", "dataset=ring"), "has points"),
        (("architecture/generator=unet",), "set task=translation"),
        (("auxiliary=l1",), "task=generation does not have"),
        (("loss.weight=0",), "nothing to learn"),
        (("task=inpainting", "auxiliary=none", "loss.weight=0"), "nothing to learn, set auxiliary=l1"),
        (
            ("task=inpainting", "auxiliary.l1.weight=0", "loss.weight=0"),
            "loss.weight=0 auxiliary.l1.weight=0: leaves the generator nothing to learn, give auxiliary.l1 a weight",
        ),
        (("task=inpainting", "training.pack=2"), "training.pack=2"),
        (("task=inpainting", "regularizer=consistency"), "consistency"),
        (("task=super_resolution", "conditioning=projection"), "takes no labels"),
        (
            ("task=super_resolution", "architecture/discriminator=resnet", "auxiliary=[feature_matching]"),
            "has no feature maps",
        ),
        (("task=inpainting", "architecture/discriminator=projected"), "takes no image beside the sample, use patch"),
        (("auxiliary=perceptual",), "task=generation does not have"),
        (("task=super_resolution", "task.factor=3"), "task.factor=3: expected 2, 4 or 8"),
        (("task=inpainting", "conditioning=acgan"), "patch has no class logits"),
        (("task=inpainting", "conditioning=tags"), "patch has no class logits"),
        (("dataset=ring", "architecture/generator=mlp", "architecture/discriminator=patch"), "has points"),
        (("task=inpainting", "architecture.generator.levels=8"), "levels=8: expected at most"),
        (("task=translation", "task.source=edges", "image_size=8"), "levels=3: expected at most 2 with instance norm"),
        (("task=inpainting", "image_size=16", "architecture.discriminator.levels=5"), "discriminator.levels=5"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(overrides: tuple[str, ...], message: str) -> None:
    named = any(each.startswith("dataset=") for each in overrides)
    with pytest.raises(UsageError, match=message):
        compose(*(() if named else ("dataset=shapes",)), *overrides)


def test_data_without_pairs_have_no_source_images(capsys: pytest.CaptureFixture[str]) -> None:
    line = error_line(capsys, "train", "task=translation", *TINY)
    assert line.startswith("gan-train: task=translation: dataset=shapes has no source images")
    assert "task.source=edges" in line


def test_data_without_pairs_are_refused_before_they_are_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(downloaded_archives, "download", lambda *arguments, **settings: pytest.fail("downloaded"))
    line = error_line(capsys, "train", "task=translation", "dataset=fashion_mnist", f"dataset.root={tmp_path}")
    assert line.startswith("gan-train: task=translation: dataset=fashion_mnist has no source images")


def test_top_k_selects_images_by_the_mean_of_their_patches() -> None:
    config = compose(*RUNS["inpainting"], *TINY, "training.top_k=0.5")
    dataset = build_dataset(config.dataset, config.image_size)
    objective = build_objective(config, build_batches(config, dataset, torch.device("cpu")))
    logits = torch.arange(4.0)[:, None, None].expand(4, 2, 3)
    selected, real = objective.select_top(logits, logits + 10, epochs=10**4)
    assert torch.equal(selected, logits[[3, 2]])
    assert real is not None
    assert torch.equal(real, logits[[3, 2]] + 10)
