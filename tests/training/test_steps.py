"""One half learns while the other keeps every byte; penalties fire when due with the weight that is due."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from gan_cli.config.options.objectives import WITHOUT_BOUNDARY
from gan_cli.config.train_config import Config
from gan_cli.data.dataset import Batches, Dataset, batch_indices
from gan_cli.data.load_dataset import build_batches, build_dataset, with_classes
from gan_cli.models.build_networks import latent_of
from gan_cli.models.freezing import frozen
from gan_cli.objectives.losses import LOSSES
from gan_cli.state import optimizers
from gan_cli.state.train_state import Counters, DiscriminatorStepOutput, GeneratorStepOutput, TrainState, build_state
from gan_cli.training.alternation import Alternation, next_network
from gan_cli.training.discriminator_input import ADA_RAMP
from gan_cli.training.objective import Objective, build_objective
from gan_cli.training.steps import discriminator_step, draw_latents, generator_step, training_step
from support.configs import TINY_IMAGES, compose, without

CPU = torch.device("cpu")


def prepared(*overrides: str) -> tuple[Config, TrainState, Dataset]:
    """Each half makes fakes of its own unless a test says otherwise."""
    own = [] if any(each.startswith("training.reuse_fakes") for each in overrides) else ["training.reuse_fakes=false"]
    config = compose(*TINY_IMAGES, *own, *overrides)
    state = build_state(config, CPU)
    state.counters.total_steps = config.steps
    return config, state, build_dataset(config.dataset, config.image_size)


def bytes_of(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def objective_of(config: Config, dataset: Dataset | None = None) -> Objective:
    dataset = build_dataset(config.dataset, config.image_size) if dataset is None else dataset
    return build_objective(config, Batches(dataset, config.seed, config.batch_size, CPU))


def update_discriminator(config: Config, state: TrainState, dataset: Dataset) -> DiscriminatorStepOutput:
    batches = Batches(dataset, config.seed, config.batch_size, CPU)
    return discriminator_step(state, build_objective(config, batches), batches)


def update_generator(config: Config, state: TrainState, dataset: Dataset) -> GeneratorStepOutput:
    batches = Batches(dataset, config.seed, config.batch_size, CPU)
    return generator_step(state, build_objective(config, batches), batches)


@pytest.mark.parametrize("normalization", ["none", "batch", "layer", "instance", "pixel", "spectral"])
def test_each_half_leaves_every_byte_of_the_other(normalization: str) -> None:
    config, state, dataset = prepared(
        "regularizer=none",
        f"architecture.discriminator.normalization={normalization}",
        f"architecture.generator.normalization={normalization}",
    )
    generator, discriminator = bytes_of(state.generator), bytes_of(state.discriminator)
    update_discriminator(config, state, dataset)
    assert same(generator, bytes_of(state.generator))
    assert not same(discriminator, bytes_of(state.discriminator))

    discriminator = bytes_of(state.discriminator)
    gradients = [parameter.grad.clone() for parameter in state.discriminator.parameters()]
    update_generator(config, state, dataset)
    assert same(discriminator, bytes_of(state.discriminator))
    assert not same(generator, bytes_of(state.generator))
    left = [parameter.grad for parameter in state.discriminator.parameters()]
    assert all(torch.equal(one, other) for one, other in zip(gradients, left, strict=True))


@pytest.mark.parametrize("normalization", ["none", "batch", "spectral"])
def test_reused_fakes_move_no_weight_of_the_generator(normalization: str) -> None:
    config, state, dataset = prepared(
        f"architecture.generator.normalization={normalization}", "training.reuse_fakes=true"
    )
    before = {name: parameter.detach().clone() for name, parameter in state.generator.named_parameters()}
    update_discriminator(config, state, dataset)
    assert state.fakes is not None
    assert all(torch.equal(before[name], now) for name, now in state.generator.named_parameters())
    assert all(parameter.grad is None for parameter in state.generator.parameters())


def test_reused_fakes_are_those_that_the_generator_would_make_again() -> None:
    """A generator whose fakes are lost, as when a run is stopped between the halves, learns the very same."""
    states = []
    for lost in (False, True):
        config, state, dataset = prepared("training.reuse_fakes=true", "architecture.generator.dropout=0.2")
        update_discriminator(config, state, dataset)
        if lost:
            state.fakes = None
        update_generator(config, state, dataset)
        assert state.fakes is None
        states.append(bytes_of(state.generator))
    assert same(*states)


def test_fakes_are_made_once_if_reused_and_twice_if_not() -> None:
    for reused, made in (("true", 1), ("false", 2)):
        config, state, dataset = prepared(f"training.reuse_fakes={reused}")
        calls: list[int] = []
        state.generator.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        update_discriminator(config, state, dataset)
        update_generator(config, state, dataset)
        assert len(calls) == made


def test_fakes_are_reused_by_the_first_update_of_a_turn_alone() -> None:
    config, state, dataset = prepared("training.reuse_fakes=true", "training.generator_updates=2")
    update_discriminator(config, state, dataset)
    update_generator(config, state, dataset)
    judged = [state.counters.step]
    update_generator(config, state, dataset)
    assert judged == [1]
    assert state.counters.step == 2
    update_discriminator(config, state, dataset)
    assert state.fakes is not None
    parted, other, _ = prepared("training.reuse_fakes=true", "training.accumulate=2")
    update_discriminator(parted, other, dataset)
    assert other.fakes is None  # one part's fakes at a time


def test_of_several_updates_of_d_the_last_alone_prepares_its_fakes_for_g() -> None:
    config, state, dataset = prepared("training.reuse_fakes=true", "training.n_critic=3")
    kept = []
    for _ in range(3):
        update_discriminator(config, state, dataset)
        kept.append(state.fakes is not None)
    assert kept == [False, False, True]
    compiled = compose(*TINY_IMAGES, "training.reuse_fakes=true", "compile=true")
    assert not objective_of(compiled).reuse_fakes  # whose fakes could not be made again to the last bit


def test_a_network_that_does_not_say_how_it_mixes_is_given_real_and_fake_apart() -> None:
    _, state, _ = prepared("architecture=subpixel", "architecture.discriminator.minibatch=none")
    assert state.discriminator.can_concatenate_real_and_fake(8)
    state.discriminator.batch_dependence_is_declared = False  # as a plugin's that does not say
    assert not state.discriminator.can_concatenate_real_and_fake(8)


@pytest.mark.parametrize("conditioning", ["none", "projection", "acgan", "tags"])
def test_one_pass_judges_as_two_do(monkeypatch: pytest.MonkeyPatch, conditioning: str) -> None:
    outcomes = []
    for alone in (True, False):
        config = compose(
            *without(TINY_IMAGES, "batch_size"), "batch_size=16", f"conditioning={conditioning}", "precision=fp32"
        )
        dataset = build_dataset(config.dataset, config.image_size)
        config = with_classes(config, dataset)
        state = build_state(config, CPU)
        assert state.discriminator.can_concatenate_real_and_fake(config.batch_size)
        state.discriminator.can_concatenate_real_and_fake = lambda count, alone=alone: alone
        calls: list[int] = []
        state.discriminator.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        batches = build_batches(config, dataset, CPU)
        made = discriminator_step(state, build_objective(config, batches), batches)
        outcomes.append((made, [parameter.grad for parameter in state.discriminator.parameters()]))
    (one, gradients), (two, others) = outcomes
    assert torch.allclose(one.real_logits, two.real_logits, atol=1e-6)
    assert torch.allclose(one.fake_logits, two.fake_logits, atol=1e-6)
    assert torch.allclose(one.loss, two.loss, atol=1e-6)
    for mine, other in zip(gradients, others, strict=True):
        assert torch.allclose(mine, other, atol=1e-6)


@pytest.mark.parametrize(
    ("chosen", "alone"),
    [
        ("normalization=none", True),
        ("normalization=spectral", True),
        ("normalization=batch", False),
        ("minibatch=stddev", False),
        ("minibatch=discrimination", False),
        ("minibatch=deviations", True),  # in groups of sixteen
    ],
)
def test_what_mixes_a_batch_is_given_real_and_fake_apart(chosen: str, alone: bool) -> None:
    other = "minibatch" if chosen.startswith("normalization") else "normalization"
    plain = [f"architecture.discriminator.{other}=none"]
    _, state, _ = prepared("regularizer=none", f"architecture.discriminator.{chosen}", *plain)
    assert state.discriminator.can_concatenate_real_and_fake(32) is alone
    assert state.discriminator.can_concatenate_real_and_fake(24) is (alone and chosen != "minibatch=deviations")


def test_freezing_ends_with_the_block_even_on_an_error() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))

    def fail_inside() -> None:
        with frozen(network):
            assert not any(parameter.requires_grad for parameter in network.parameters())
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        fail_inside()
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert network[1].track_running_stats


def test_freezing_thaws_only_what_was_learning() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    network[0].requires_grad_(False)
    with frozen(network):
        pass
    assert [parameter.requires_grad for parameter in network.parameters()] == [False, False, True, True]


def test_the_average_of_a_spectrally_normalized_generator_is_normalized_too() -> None:
    config, state, dataset = prepared("architecture.generator.normalization=spectral", "training.ema_decay=0.99")
    for _ in range(150):
        update_discriminator(config, state, dataset)
        update_generator(config, state, dataset)
    assert state.generator_ema is not None
    for network in (state.generator, state.generator_ema.eval()):
        assert torch.linalg.matrix_norm(network.project.weight, ord=2).item() == pytest.approx(1, abs=0.15)


def test_counters_and_the_average() -> None:
    config, state, dataset = prepared("training.ema_decay=0.5")
    assert state.generator_ema is not None
    before = bytes_of(state.generator_ema)
    update_discriminator(config, state, dataset)
    assert (state.counters.step, state.counters.d_updates) == (0, 1)
    assert same(before, bytes_of(state.generator_ema))
    update_generator(config, state, dataset)
    assert (state.counters.step, state.counters.d_updates) == (1, 1)
    assert not same(before, bytes_of(state.generator_ema))
    assert prepared("training.ema_decay=0")[1].generator_ema is None


def test_a_penalty_is_lazy_by_itself_on_images_alone() -> None:
    assert due_every(compose(*TINY_IMAGES, "regularizer=r1_lazy")) == 8
    assert due_every(compose("dataset=ring", "architecture=mlp", "regularizer=r1_lazy")) == 1
    assert due_every(compose(*TINY_IMAGES, "regularizer=r1_lazy", "regularizer.r1.every=3")) == 3


def due_every(config: Config) -> int:
    """Updates from one R1 penalty to the next, by whose number its weight is multiplied."""
    objective = objective_of(config)
    due = [update for update in range(33) if objective.due_penalties(update)]
    (penalty,) = objective.penalties
    counters = Counters(step=0, d_updates=0, total_steps=None)
    assert objective.penalty_weight(penalty, counters) == config.regularizer["r1"].weight * due[1]
    return due[1]


def test_lazy_penalties_fire_when_due_with_weight_times_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    config, state, dataset = prepared("regularizer.r1.every=3", "regularizer.r1.weight=2")
    objective = objective_of(config, dataset)
    due = [objective.due_penalties(update) for update in range(5)]
    assert [[penalty.name for penalty in penalties] for penalties in due] == [["r1"], [], [], ["r1"], []]
    assert objective.penalty_weight(due[0][0], state.counters) == 6
    values = []
    for _ in range(7):
        update_discriminator(config, state, dataset)
        values.append(state.last_penalties["r1"])
    assert [one is other for one, other in itertools.pairwise(values)] == [True, True, False, True, True, False]


def test_the_weight_reaches_the_gradient() -> None:
    """Twice the weight, or three times the interval: as many times the part of the gradient that the penalty adds."""

    def gradient(weight: float, every: int = 1) -> Tensor:
        config, state, dataset = prepared(f"regularizer.r1.weight={weight}", f"regularizer.r1.every={every}")
        update_discriminator(config, state, dataset)
        return torch.cat([parameter.grad.flatten() for parameter in state.discriminator.parameters()])

    nothing, once, twice, lazy = gradient(0), gradient(1), gradient(2), gradient(1, every=3)
    assert (once - nothing).norm() > 0
    torch.testing.assert_close(twice - nothing, 2 * (once - nothing), rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(lazy - nothing, 3 * (once - nothing), rtol=1e-3, atol=1e-6)


def test_a_paired_loss_judges_fakes_beside_the_batch_d_has_just_seen() -> None:
    config, state, dataset = prepared("loss=relativistic", "regularizer=none")
    update_discriminator(config, state, dataset)
    batches = Batches(dataset, config.seed, config.batch_size, CPU)
    fake = state.generator(draw_latents(objective_of(config, dataset), "generator", 0), None)
    real = batches.draw(0).samples
    expected = torch.nn.functional.softplus(state.discriminator(real, None) - state.discriminator(fake, None)).mean()
    assert update_generator(config, state, dataset).loss.item() == pytest.approx(expected.item(), rel=1e-4)


def test_weight_clip_acts_after_d_s_update() -> None:
    config, state, dataset = prepared("loss=wasserstein", "regularizer=weight_clip")
    update_discriminator(config, state, dataset)
    assert max(parameter.abs().max().item() for parameter in state.discriminator.parameters()) <= 0.01 + 1e-9


def test_the_learning_rate_follows_its_schedule_and_its_network() -> None:
    config, state, dataset = prepared(
        "steps=10", "training.lr_schedule=linear", "optimizer.lr=0.1", "optimizer.generator.lr=0.2"
    )
    state.counters.step = 5
    update_discriminator(config, state, dataset)
    update_generator(config, state, dataset)
    assert state.discriminator_optimizer.param_groups[0]["lr"] == pytest.approx(0.05)
    assert state.generator_optimizer.param_groups[0]["lr"] == pytest.approx(0.1)


def test_bf16_runs_in_bf16_and_learns_in_fp32() -> None:
    seen = []
    config, state, dataset = prepared("precision=bf16", "loss=non_saturating", "regularizer=none")
    state.discriminator.layers[1].register_forward_hook(lambda module, given, out: seen.append(out.dtype))
    outcome = update_discriminator(config, state, dataset)
    assert seen == [torch.bfloat16, torch.bfloat16]
    assert outcome.real_logits.dtype == torch.float32
    assert all(parameter.dtype == torch.float32 for parameter in state.discriminator.parameters())
    assert outcome.loss.isfinite()


@pytest.mark.parametrize(("n_critic", "generator_updates"), [(1, 1), (2, 1), (5, 1), (1, 2), (3, 4)])
def test_turns(n_critic: int, generator_updates: int) -> None:
    counters, order = Counters(step=0, d_updates=0, total_steps=None), ""
    for _ in range(3 * (n_critic + generator_updates)):
        if next_network(counters, Alternation(n_critic, generator_updates)) == "discriminator":
            counters.d_updates += 1
            order += "d"
        else:
            counters.step += 1
            order += "g"
    assert order == ("d" * n_critic + "g" * generator_updates) * 3


def test_draws_differ_by_purpose_and_count_and_repeat() -> None:
    objective = objective_of(compose(*TINY_IMAGES))
    draws = [draw_latents(objective, purpose, count) for purpose in ("generator", "discriminator") for count in (0, 1)]
    assert len({tuple(draw.flatten().tolist()) for draw in draws}) == 4
    assert torch.equal(draws[0], draw_latents(objective, "generator", 0))
    other = objective_of(compose(*without(TINY_IMAGES), "seed=1"))
    assert not torch.equal(draws[0], draw_latents(other, "generator", 0))


def test_the_weights_are_a_function_of_the_seed_alone() -> None:
    torch.manual_seed(123)
    one = prepared()[1]
    torch.rand(7)
    before = torch.get_rng_state()
    other = prepared()[1]
    assert torch.equal(before, torch.get_rng_state())
    assert same(bytes_of(one.generator), bytes_of(other.generator))
    assert not same(bytes_of(one.generator), bytes_of(prepared("seed=1")[1].generator))


# --- what a turn may be ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["non_saturating", "relativistic", "hinge"])
def test_a_batch_in_parts_gives_the_gradient_of_the_whole(loss: str) -> None:
    def gradients(parts: int) -> list[Tensor]:
        config, state, dataset = prepared(
            f"loss={loss}",
            "regularizer=r1",
            f"training.accumulate={parts}",
            "architecture.generator.normalization=none",
            "architecture.discriminator.minibatch=none",
        )
        outcome = update_discriminator(config, state, dataset)
        learned = [parameter.grad.clone() for parameter in state.discriminator.parameters()]
        assert outcome.real_logits.shape == outcome.fake_logits.shape == (8,)
        loss_of_g = update_generator(config, state, dataset).loss
        return [
            *learned,
            *(parameter.grad for parameter in state.generator.parameters()),
            outcome.loss,
            outcome.real_logits,
            loss_of_g,
            state.last_penalties["r1"],
        ]

    for one, other in zip(gradients(1), gradients(4), strict=True):
        torch.testing.assert_close(one, other, rtol=2e-3, atol=2e-5)  # Adam's first update magnifies the last bits


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_lecam_moves_its_anchors_once_an_update_whatever_the_parts(parts: int) -> None:
    config, state, dataset = prepared(
        "regularizer=lecam",
        "regularizer.lecam.decay=0.5",
        "regularizer.lecam.start=2",
        f"training.accumulate={parts}",
        "architecture.discriminator.minibatch=none",
    )
    anchors: dict[str, Tensor] = {}
    values = []
    for update in range(4):
        output = update_discriminator(config, state, dataset)
        for name, logits in (("real", output.real_logits), ("fake", output.fake_logits)):
            anchors[name] = logits.mean().lerp(anchors[name], 0.5) if name in anchors else logits.mean()
            torch.testing.assert_close(state.penalty_state["lecam"][name], anchors[name])
        assert state.penalty_state["lecam"]["updates"] == update + 1
        values.append(state.last_penalties["lecam"].item())
    assert [value > 0 for value in values] == [False, False, True, True]


def test_clipping_shortens_long_gradients_alone() -> None:
    def norms(limit: str) -> tuple[float, float]:
        config, state, dataset = prepared(f"training.clip_grad_norm={limit}")
        update_discriminator(config, state, dataset)
        update_generator(config, state, dataset)
        both = (state.discriminator, state.generator)
        return tuple(torch.cat([value.grad.flatten() for value in each.parameters()]).norm().item() for each in both)

    free, short, wide = norms("null"), norms("0.001"), norms("1000")
    assert min(free) > 0.01
    assert short == pytest.approx((0.001, 0.001), rel=1e-3)
    assert wide == pytest.approx(free)


def test_whole_epochs_take_turns() -> None:
    config, state, dataset = prepared(
        "training.alternate=epoch", "training.n_critic=2", "dataset.limit=20", "regularizer=none"
    )
    batches = build_batches(config, dataset, CPU)
    assert batches.per_epoch == 3  # 20 samples in batches of 8
    objective = build_objective(config, batches)
    assert objective.alternation == Alternation(6, 3)
    order = ""
    for _ in range(18):
        order += "d" if training_step(state, objective, batches) is None else "g"
    assert order == ("d" * 6 + "g" * 3) * 2
    seen = torch.cat([batch_indices(config.seed, 20, 8, update) for update in range(3)])
    assert seen.unique().numel() == 20


def test_dropout_is_a_function_of_the_update_and_differs_between_updates() -> None:
    def logits(noise: int) -> list[Tensor]:
        config, state, dataset = prepared("architecture.discriminator.dropout=0.5", "optimizer.lr=0")
        found = []
        for _ in range(2):
            torch.manual_seed(noise)  # what was drawn outside has no say
            found.append(update_discriminator(config, state, dataset).real_logits)
            state.counters.d_updates = 0
        state.counters.d_updates = 25  # an epoch later, in another order
        found.append(update_discriminator(config, state, dataset).real_logits)
        return found

    one, other = logits(1), logits(2)
    assert torch.equal(one[0], one[1])
    assert all(torch.equal(first, second) for first, second in zip(one, other, strict=True))
    assert not torch.equal(one[0], one[2])


def test_each_network_has_its_own_optimizer() -> None:
    config, state, dataset = prepared(
        "optimizer/generator=sgd", "optimizer.generator.lr=0.5", "optimizer.generator.momentum=0.25"
    )
    assert type(state.generator_optimizer) is torch.optim.SGD
    assert type(state.discriminator_optimizer) is torch.optim.Adam
    update_discriminator(config, state, dataset)
    before = bytes_of(state.generator)
    update_generator(config, state, dataset)
    for name, parameter in state.generator.named_parameters():
        torch.testing.assert_close(parameter, before[name] - 0.5 * parameter.grad)
    assert state.discriminator_optimizer.param_groups[0]["lr"] == config.optimizer.lr


def test_uniform_latents_reach_the_game_and_the_pictures() -> None:
    config = compose(*TINY_IMAGES, "architecture.generator.latent=uniform")
    objective = objective_of(config)
    drawn = torch.cat([draw_latents(objective, "generator", count) for count in range(100)])
    assert drawn.abs().max() <= 1
    assert drawn.std().item() == pytest.approx(3**-0.5, abs=0.02)
    assert latent_of(config) == (8, "uniform")


def test_flipping_mirrors_half_of_the_batch() -> None:
    config = compose(*without(TINY_IMAGES, "batch_size"), "dataset.flip=true", "batch_size=200")
    dataset = build_dataset(config.dataset, config.image_size)
    flipped, plain = (Batches(dataset, 0, 200, CPU, flip).draw(3).samples for flip in (True, False))
    same_ones = (flipped == plain).flatten(1).all(1)
    mirrored = (flipped.flip(-1) == plain).flatten(1).all(1)
    assert (same_ones | mirrored).all()
    assert 60 < (mirrored & ~same_ones).sum() < 140
    assert torch.equal(flipped, build_batches(config, dataset, CPU).draw(3).samples)


# --- what D gets to see ------------------------------------------------------------------------------------------


def seen_by_d(state: TrainState) -> list[Tensor]:
    seen: list[Tensor] = []
    state.discriminator.can_concatenate_real_and_fake = lambda count: False  # real and fake one after the other
    state.discriminator.register_forward_pre_hook(lambda module, given: seen.append(given[0].detach()))
    return seen


def test_noise_is_on_all_that_d_sees_and_falls_to_nothing() -> None:
    config, state, dataset = prepared("training.instance_noise=0.5", "steps=10", "regularizer=none")
    seen = seen_by_d(state)
    plain = Batches(dataset, config.seed, 8, CPU).draw(0).samples
    update_discriminator(config, state, dataset)
    assert (seen[0] - plain).std().item() == pytest.approx(0.5, rel=0.1)
    update_generator(config, state, dataset)
    assert seen[2].abs().max() > 1  # G's tanh cannot do that
    state.counters.step, state.counters.d_updates = 5, 0
    update_discriminator(config, state, dataset)
    assert (seen[3] - plain).std().item() == pytest.approx(0.25, rel=0.1)
    state.counters.step, state.counters.d_updates = 10, 0
    update_discriminator(config, state, dataset)
    assert torch.equal(seen[5], plain)


@pytest.mark.parametrize("count", [2, 4])
def test_packing_shows_samples_together(count: int) -> None:
    config, state, dataset = prepared(f"training.pack={count}", "dataset.image_channels=3", "recipe=none")
    seen = seen_by_d(state)
    outcome = update_discriminator(config, state, dataset)
    assert outcome.real_logits.shape == (8 // count,)
    assert seen[0].shape == (8 // count, 3 * count, 16, 16)
    plain = Batches(dataset, config.seed, 8, CPU).draw(0).samples
    assert torch.equal(seen[0][1, 3:6], plain[count + 1])
    update_generator(config, state, dataset)
    assert state.counters.step == 1


def test_augmentation_reaches_real_and_fake_and_both_updates() -> None:
    config, state, dataset = prepared("training.augment=[cutout]", "regularizer=none")
    seen = seen_by_d(state)
    update_discriminator(config, state, dataset)
    update_generator(config, state, dataset)
    assert len(seen) == 3
    for images in seen:
        assert (images == 0).flatten(1).float().mean(1).min() > 0.05  # a hole in each
    assert all(parameter.grad is not None for parameter in state.generator.parameters())


def test_ada_augments_more_while_d_is_sure() -> None:
    config, state, dataset = prepared("training.augment=[color]", "training.ada_target=0.6")
    assert state.augment_probability == 0
    for parameter in state.discriminator.parameters():
        torch.nn.init.zeros_(parameter)
    torch.nn.init.constant_(state.discriminator.score.bias, 5.0)  # all is real, says D
    update_discriminator(config, state, dataset)
    assert state.augment_probability.item() == pytest.approx(8 / ADA_RAMP)
    torch.nn.init.constant_(state.discriminator.score.bias, -5.0)
    update_discriminator(config, state, dataset)
    assert state.augment_probability.item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("logit", "expected"), [(0.4, 0.5 - 8 / ADA_RAMP), (0.6, 0.5 + 8 / ADA_RAMP)])
def test_ada_compares_with_the_middle_of_the_targets_of_least_squares(logit: float, expected: float) -> None:
    """They are 0 and 1, so a D that knows nothing answers 0.5."""
    config, state, dataset = prepared("training.augment=[color]", "training.ada_target=0.6", "loss=least_squares")
    assert state.augment_probability is not None
    state.augment_probability.fill_(0.5)
    for parameter in state.discriminator.parameters():
        torch.nn.init.zeros_(parameter)
    torch.nn.init.constant_(state.discriminator.score.bias, logit)
    update_discriminator(config, state, dataset)
    assert state.augment_probability.item() == pytest.approx(expected, abs=1e-7)


def test_the_losses_without_a_boundary_are_those_that_the_config_names() -> None:
    assert {name for name, loss in LOSSES.items() if loss.boundary is None} == {*WITHOUT_BOUNDARY}


def test_label_smoothing_moves_the_target_for_real_samples_alone() -> None:
    config = compose(*TINY_IMAGES, "training.label_smoothing=0.1")
    real = torch.tensor([2.0], requires_grad=True)
    fake = torch.tensor([-1.0], requires_grad=True)
    discriminator_loss = objective_of(config).discriminator_loss
    loss = discriminator_loss(real, fake)
    probability = torch.sigmoid(real)
    expected = -0.9 * probability.log() - 0.1 * (1 - probability).log() - (1 - torch.sigmoid(fake)).log()
    torch.testing.assert_close(loss, expected.squeeze())
    best = torch.tensor(0.9).logit()
    (slope,) = torch.autograd.grad(discriminator_loss((at := best.clone().requires_grad_()), fake), at)
    assert slope.item() == pytest.approx(0, abs=1e-6)  # D is done where it says 0.9


def test_top_k_learns_from_what_d_likes_best() -> None:
    config, state, dataset = prepared(
        "training.top_k=0.5", "regularizer=none", "architecture.generator.normalization=none"
    )
    batches = build_batches(config, dataset, CPU)
    objective = build_objective(config, batches)
    assert objective.top_share(0) == 1
    assert objective.top_share(10) == pytest.approx(0.99**10)
    assert objective.top_share(400) == 0.5
    update_discriminator(config, state, dataset)
    state.counters.d_updates = 10_000
    latent = draw_latents(objective_of(config, dataset), "generator", 0)
    logits = state.discriminator(state.generator(latent, None), None)
    best = logits.topk(4).values
    assert update_generator(config, state, dataset).loss.item() == pytest.approx(
        torch.nn.functional.softplus(-best).mean().item(), rel=1e-5
    )


def test_the_critic_warms_up_as_in_wgan_s_code() -> None:
    counters, made = Counters(step=0, d_updates=0, total_steps=None), []
    for _ in range(502):
        before = counters.d_updates
        while next_network(counters, Alternation(5, 1, warmup=100)) == "discriminator":
            counters.d_updates += 1
        made.append(counters.d_updates - before)
        counters.step += 1
    assert made == [100] * 25 + [5] * 475 + [100, 5]


@pytest.mark.parametrize("loss", ["non_saturating", "minimax", "wasserstein", "relativistic", "hinge"])
def test_looking_ahead_changes_g_s_gradient_and_leaves_d_every_byte(loss: str) -> None:
    def gradient(unroll: int) -> Tensor:
        config, state, dataset = prepared(
            f"loss={loss}", "regularizer=none", f"training.unroll_steps={unroll}", "training.n_critic=1",
            "architecture.discriminator.normalization=none", "optimizer.discriminator.lr=0.01",
        )  # fmt: skip
        update_discriminator(config, state, dataset)
        before, gradients = bytes_of(state.discriminator), [p.grad.clone() for p in state.discriminator.parameters()]
        memory = {name: value.clone() for name, value in optimizer_memory(state).items()}
        update_generator(config, state, dataset)
        assert same(before, bytes_of(state.discriminator))
        left = [parameter.grad for parameter in state.discriminator.parameters()]
        assert all(torch.equal(one, other) for one, other in zip(gradients, left, strict=True))
        assert all(torch.equal(memory[name], value) for name, value in optimizer_memory(state).items())
        return torch.cat([parameter.grad.flatten() for parameter in state.generator.parameters()])

    plain, ahead = gradient(0), gradient(3)
    assert ahead.isfinite().all()
    assert (plain - ahead).norm() > 0.01 * plain.norm()


def optimizer_memory(state: TrainState) -> dict[str, Tensor]:
    return optimizers.state_tensors(state.discriminator_optimizer, state.discriminator)
