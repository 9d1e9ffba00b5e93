"""The watch over a run: what it finds in which figures, that it says so once, and what a run then does."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gan_cli.cli.main import run_command
from gan_cli.config import train_config
from gan_cli.config.compatibility import parse_config
from gan_cli.config.compose import groups
from gan_cli.health.monitor import RULES, HealthMonitor
from gan_cli.health.remedies import REMEDIES, remedies_for
from gan_cli.runs.log import read_metrics
from gan_cli.state.train_state import TrainState
from gan_cli.training.rollback import retry_seed
from gan_cli.training.step_metrics import auc, compare, compare_pixels
from support.configs import TINY_IMAGES, compose, without
from support.runs import assert_equal_runs, last_checkpoint, logged_metrics
from support.training import stop_after, wrap_updates

FINE = {
    "loss/discriminator": 1.3,
    "logits/auc": 0.8,
    "grad_norm/generator": 0.5,
    "health/gradient_least": 0.05,
    "health/diversity": 0.9,
    "health/duplicates": 0.0,
    "health/duplicates_real": 0.0,
    "health/shift": 0.15,
    "health/contrast": 0.95,
}
SURE = {"logits/auc": 1.0, "loss/discriminator": 0.01}
# What shows in the figures, again and again, and the first words of what is said of it.
SHOWN: dict[str, tuple[str, dict[str, float], str]] = {
    "D far on the wrong side": ("divergence", {"loss/discriminator": 300.0}, "D's loss was as high as 300"),
    "fakes run away": ("divergence", {"health/shift": 30.0}, "fakes are 30 times the reals' spread away"),
    "no contrast": ("blank_output", {"health/contrast": 0.001, "health/diversity": 0.0}, "pixels within a fake differ"),
    "saturated": (
        "saturated_generator",
        {"health/saturated": 1.0, "health/saturated_real": 0.5, "health/contrast": 0.0},
        "100.0% of the pixels of fakes are -1 or 1 (50% of reals)",
    ),
    "no gradient at all": ("vanishing_gradient", {"grad_norm/generator": 0.0}, "generator gradients are 0"),
    "a layer without a gradient": (
        "vanishing_gradient",
        {**SURE, "health/gradient_least": 0.0},
        "generator gradients are 0 in a layer while D separates perfectly",
    ),
    "short gradients": (
        "vanishing_gradient",
        {**SURE, "health/gradient_least": 1.5e-8},
        "generator gradients fell to 3e-7 of their median while D separates perfectly",
    ),
    "no gradient to speak of": (
        "vanishing_gradient",
        {**SURE, "grad_norm/generator": 2e-5},
        "generator gradients are 2e-5 long",
    ),
    "inputs do not matter": (
        "ignores_condition",
        {"health/condition_effect": 0.25},
        "outputs for two inputs differ 0.25 times as much as those of two latents",
    ),
    "latents do not matter": (
        "ignores_latent",
        {"health/latent_effect": 0.002},
        "outputs of two latents for one input differ 0.2% as much as two real images",
    ),
    "inputs given back": (
        "copies_input",
        {"health/copies_input": 0.02, "health/condition_effect": 9.0},
        "outputs differ from their inputs 2.0% as much as the real images do",
    ),
    "copies": ("mode_collapse", {"health/duplicates": 0.34}, "fakes are 90% as diverse as reals, 34% of their pairs"),
    "all alike": ("mode_collapse", {"health/diversity": 0.03}, "fakes are 3% as diverse as reals"),
    "few modes of points": ("mode_collapse", {"health/coverage": 0.2}, "only 20% of the reals have a fake near them"),
    "nothing learned": (
        "discriminator_overpowered",
        {**SURE, "health/shift": 0.8},
        "D separates perfectly, and fakes come no nearer",
    ),
}


def lines_of(*parts: tuple[int, dict[str, float]]) -> list[dict[str, Any]]:
    """Lines of metrics, 50 steps apart: so many of each part, which differs from a healthy line as given."""
    figures = [changes for count, changes in parts for _ in range(count)]
    return [{"step": 50 * (index + 1), **FINE, **changes} for index, changes in enumerate(figures)]


def told(lines: list[dict[str, Any]], *overrides: str) -> list[tuple[str, int, int]]:
    """(name, since, step at which it was told) of all findings."""
    health = HealthMonitor(compose(*overrides))
    return [(found.name, found.since, line["step"]) for line in lines for found in health.observe(line)]


@pytest.mark.parametrize("case", SHOWN)
def test_a_failure_is_named_once_since_its_step_with_what_was_seen(case: str) -> None:
    name, changes, words = SHOWN[case]
    lines = lines_of((20, {}), (12, changes), (5, {}), (12, changes))
    lasting = name in ("discriminator_overpowered", "ignores_condition", "ignores_latent", "copies_input")
    assert told(lines) == [(name, 1050, 1550) if lasting else (name, 1050, 1100)]
    config = compose("task=inpainting") if name == "ignores_latent" else compose()
    (found,) = HealthMonitor(config, lines).findings
    assert found.text.startswith(words)
    assert f"since step {found.since:,}: " in found.text
    assert found.text.endswith("Try " + " or ".join(remedies_for(name, config)))
    assert remedies_for(name, config)


def test_what_lasts_from_early_on_is_told_since_its_first_line() -> None:
    copied = {"health/copies_input": 0.02, "health/condition_effect": 9.0}
    assert told(lines_of((1, {}), (20, copied))) == [("copies_input", 100, 600)]
    assert told(lines_of((1, copied), (2, {}), (20, copied))) == [("copies_input", 200, 700)]


def test_outputs_that_are_alike_as_the_input_has_no_effect_are_no_mode_collapse() -> None:
    alike = {"health/diversity": 0.01, "health/condition_effect": 0.1}
    assert told(lines_of((5, {}), (20, alike))) == [("ignores_condition", 300, 800)]
    assert told(lines_of((5, {}), (20, alike | {"health/condition_effect": 1.5})))[0][0] == "mode_collapse"


def test_a_generator_that_gets_nothing_from_d_is_explained_without_d() -> None:
    config = compose("dataset=shapes", "task=inpainting", "loss.weight=0")
    (found,) = HealthMonitor(config, lines_of((20, {}), (3, {"health/diversity": 0.03}))).findings
    assert "mode collapse: G's outputs for different inputs are nearly the same. Try auxiliary.l1" in found.text
    assert not re.search(r"discriminator|regularizer|\bD\b", found.text.partition(": ")[2])
    far = lines_of((20, SURE | {"health/shift": 0.8}))
    assert HealthMonitor(config, far).findings == []
    swinging = [{**line, "health/shift": 0.1 + 0.5 * (number % 2)} for number, line in enumerate(far)]
    assert HealthMonitor(config, swinging).findings == []
    assert HealthMonitor(compose(), swinging).findings


def test_a_tiny_learning_rate_is_not_made_smaller() -> None:
    for finding in REMEDIES:
        assert not any("lr=" in cure for cure in remedies_for(finding, compose("optimizer.lr=1e-9")))
    assert "optimizer.lr=1e-6" in remedies_for("divergence", compose("optimizer.lr=1e-5"))


def test_every_sign_is_tried_and_has_a_cure() -> None:
    tried = {name for name, *_ in SHOWN.values()} | {"oscillation", "fully_augmented"}
    assert tried == {rule.name for rule in RULES} == REMEDIES.keys() - {"nonfinite"}


def test_fakes_that_jump_about_oscillate_and_one_jump_is_none() -> None:
    lines = lines_of(*[(1, {"health/shift": 0.2 + 0.4 * (index % 2)}) for index in range(12)])
    assert told(lines) == [("oscillation", 500, 500)]
    assert told(lines_of((10, {}), (20, {"health/shift": 0.9}))) == []


def test_augmentation_that_cannot_grow_is_told_if_it_adapts() -> None:
    full = {"schedule/augment_probability": 1.0}
    lines, adaptive = lines_of((5, {}), (4, full)), ("training.augment=[color]", "training.ada_target=0.6")
    assert told(lines, *adaptive) == [("fully_augmented", 300, 350)]
    assert told(lines, "training.augment=[color]") == []
    assert told(lines_of((5, {}), (4, {"schedule/augment_probability": 0.99})), *adaptive) == []


def test_what_shows_in_one_line_is_no_finding() -> None:
    for name, changes, _ in SHOWN.values():
        assert told(lines_of((20, {}), (1, changes), (20, {}))) == [], name


def test_consequences_are_not_told_beside_their_cause() -> None:
    grey = {"health/contrast": 0.0, "health/diversity": 0.0, "grad_norm/generator": 0.0, **SURE}
    assert told(lines_of((20, {}), (30, grey))) == [("blank_output", 1050, 1100)]


def test_what_looks_odd_and_is_well() -> None:
    """A D that is always right while G comes nearer; a gradient that fades as both come to rest."""
    coming = [(1, {**SURE, "health/shift": 0.9 * 0.97**index}) for index in range(40)]
    assert told(lines_of(*coming)) == []
    assert told(lines_of((20, {}), (20, {"health/gradient_least": 1e-6, "grad_norm/generator": 1e-5}))) == []


def test_fakes_that_begin_alike_have_time_to_spread() -> None:
    alike = {"health/duplicates": 0.6}
    growing = [(1, {**alike, "health/diversity": 0.1 * 1.05**index}) for index in range(30)]
    assert told(lines_of(*growing, (20, {}))) == []
    coming = [(1, {**alike, "health/diversity": 0.1, "health/shift": 0.95**index}) for index in range(30)]
    assert told(lines_of(*coming, (20, {}))) == []
    assert told(lines_of((30, {**alike, "health/diversity": 0.1}))) == [("mode_collapse", 1000, 1050)]
    assert told(lines_of((30, {"health/duplicates": 0.12}), (5, {}))) == []  # not yet diverse, and no longer alike


def test_a_watch_that_read_the_lines_knows_what_one_knows_that_saw_them() -> None:
    lines = lines_of((15, {}), (4, SHOWN["copies"][1]), (10, {"loss/discriminator": 50.0}))
    seen = HealthMonitor(compose())
    for line in lines[:17]:
        seen.observe(line)
    again = HealthMonitor(compose(), lines[:17])
    assert again.findings == seen.findings != []
    assert [again.observe(line) for line in lines[17:]] == [seen.observe(line) for line in lines[17:]]
    assert [found.name for found in seen.findings] == ["mode_collapse", "divergence"]


def test_lines_of_runs_that_were_not_watched_are_passed_over() -> None:
    assert HealthMonitor(compose(), [{"step": 50, "loss/discriminator": 1e9}, {"step": 100}] * 20).findings == []
    texts = [{**line, "health/shift": "far"} for line in lines_of((20, {"loss/discriminator": 50.0}))]
    assert HealthMonitor(compose(), texts).findings == []


def test_lines_close_to_each_other_tell_nothing_of_what_lasts() -> None:
    """At every step a line: ten lines are no time to learn in."""
    stuck = [{**line, "step": index + 1} for index, line in enumerate(lines_of((400, SHOWN["nothing learned"][1])))]
    assert told(stuck) == []


# --- cures -------------------------------------------------------------------------------------------------------

COMMANDS = {
    "images": (),
    "batch norm": ("regularizer=none", "architecture.discriminator.normalization=batch", "batch_size=33"),
    "clipped": ("loss=wasserstein", "regularizer=weight_clip", "training.clip_grad_norm=1"),
    "points, unpenalized": ("experiment=ring", "regularizer=none", "optimizer.discriminator.lr=0.01"),
    "looking ahead": ("experiment=cure/mode_collapse_unrolled",),
    "vanishing": ("experiment=failure/vanishing_gradient",),
    "its own optimizer": ("optimizer/generator=sgd",),
    "resnet": ("architecture=resnet", "loss=hinge"),
    **{name: (f"architecture={name}",) for name in ("dcgan", "r3gan", "fastgan", "pggan", "stylegan2", "srresnet")},
    "projected": ("architecture/discriminator=projected", "loss=hinge", "regularizer=none"),
    "translation": ("task=translation", "task.source=edges"),
    "inpainting with a latent": ("task=inpainting", "auxiliary=[l2]", "architecture.generator.latent_dim=8"),
    "super-resolution by D alone": ("task=super_resolution", "auxiliary=[feature_matching]"),
}


TASK_OF = {  # of networks that make an image from an image
    "edsr": ("task=super_resolution",),
    "gated_unet": ("task=inpainting",),
    "pix2pix": ("task=translation", "task.source=edges"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_each_cure_is_an_override_that_goes_with_the_command_and_changes_something(command: str) -> None:
    given = COMMANDS[command]
    config = compose(*given)
    for finding in REMEDIES:
        offered = remedies_for(finding, config)
        assert offered or finding == "ignores_latent", finding  # which only tasks have
        for cure in offered:
            overrides = cure.split()
            kept = without(given, *(override.partition("=")[0] + "=" for override in overrides))
            cured = compose(*kept, *overrides)
            assert train_config.differing_keys(cured, config) or cured.health != config.health, (finding, cure)


@pytest.mark.parametrize("architecture", groups()["architecture"])
def test_each_remedy_goes_with_the_architecture(architecture: str) -> None:
    given = (f"architecture={architecture}", "batch_size=32", *TASK_OF.get(architecture, ()))
    for more in ((), ("regularizer=none",)):
        config = compose(*given, *more)
        for remedy in {each for finding in REMEDIES for each in remedies_for(finding, config)}:
            overrides = remedy.split()
            compose(
                *without((*given, *more), *(override.partition("=")[0] + "=" for override in overrides)), *overrides
            )


def test_the_wasserstein_loss_is_no_remedy_where_augmentation_adapts() -> None:
    adaptive = compose("loss=minimax", "training.augment=[color]", "training.ada_target=0.6")
    assert not any("wasserstein" in remedy for finding in REMEDIES for remedy in remedies_for(finding, adaptive))


def test_the_vanishing_gradient_s_first_cure_is_that_of_the_lab() -> None:
    assert (
        remedies_for("vanishing_gradient", compose("experiment=failure/vanishing_gradient"))[0] == "loss=non_saturating"
    )
    second = remedies_for("vanishing_gradient", compose("loss=minimax"))[1]
    assert second == "loss=wasserstein regularizer=gradient_penalty"


# --- health metrics ----------------------------------------------------------------------------------------------


def test_how_fakes_compare_to_reals() -> None:
    random = torch.Generator().manual_seed(0)
    reals = torch.rand(128, 1, 8, 8, generator=random) * 2 - 1
    others = torch.rand(128, 1, 8, 8, generator=random) * 2 - 1
    same = compare(others, reals)
    assert same["health/diversity"].item() == pytest.approx(1, abs=0.05)
    assert same["health/duplicates"] == same["health/duplicates_real"] == 0
    assert compare_pixels(others, reals)["health/contrast"].item() == pytest.approx(1, abs=0.05)
    assert "health/coverage" not in same
    few = compare(others[:4].repeat(32, 1, 1, 1), reals)
    assert few["health/duplicates"].item() == pytest.approx(31 / 127)
    grey = torch.zeros_like(reals)
    assert compare_pixels(grey, reals)["health/contrast"] == compare(grey, reals)["health/diversity"] == 0
    assert compare(reals + 1, reals)["health/shift"].item() == pytest.approx(8 / torch.pdist(reals.flatten(1)).mean())


def test_contrast_and_saturation_are_of_the_painted_pixels() -> None:
    reals = torch.rand(16, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 1.8 - 0.9
    reals[:, :, :4] = -1.0
    mask = torch.zeros(16, 1, 8, 8)
    mask[:, :, 4:] = 1
    black = torch.where(mask > 0.5, torch.full_like(reals, -0.9999), reals.flip(0))
    whole, painted = compare_pixels(black, reals), compare_pixels(black, reals, mask)
    assert (whole["health/saturated"], whole["health/saturated_real"]) == (1, 0.5)
    assert (painted["health/saturated"], painted["health/saturated_real"]) == (1, 0)
    assert painted["health/contrast"].item() == pytest.approx(0, abs=1e-5)
    half = torch.where(mask > 0.5, reals / 2, black)
    assert compare_pixels(half, reals, mask)["health/contrast"].item() == pytest.approx(0.5)


def test_data_that_are_mostly_black_do_not_saturate_g() -> None:
    for fakes, reals in ((0.9, 0.81), (0.95, 0.95), (1.0, 1.0), (0.4, 0.0)):
        black = {"health/saturated": fakes, "health/saturated_real": reals}
        assert told(lines_of((20, {}), (30, black))) == [], (fakes, reals)
    almost = {"health/saturated": 0.985, "health/saturated_real": 0.81}
    assert told(lines_of((20, {}), (30, almost))) == [("saturated_generator", 1050, 1100)]


def test_fakes_that_are_equal_from_the_start_have_collapsed() -> None:
    equal = {"health/duplicates": 1.0, "health/diversity": 0.0}
    assert told(lines_of((30, equal))) == [("mode_collapse", 1000, 1050)]


def test_reals_that_do_not_differ_are_no_measure() -> None:
    reals = torch.ones(3, 1, 4, 4)
    assert compare(torch.zeros_like(reals), reals) == compare(reals[:1], reals[:1]) == {}


def test_points_are_asked_for_coverage() -> None:
    centres = torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 2.0], [0.0, -2.0]])
    reals = centres.repeat(32, 1) + 0.01 * torch.randn(128, 2, generator=torch.Generator().manual_seed(0))
    assert compare(reals.flip(0), reals)["health/coverage"] == 1
    assert compare(centres[:1].repeat(128, 1), reals)["health/coverage"] == 0.25


@pytest.mark.parametrize(
    ("real", "fake", "expected"),
    [([1.0, 2.0], [0.0, -1.0], 1), ([0.0], [1.0, 2.0], 0), ([1.0, 1.0], [1.0, 1.0], 0.5), ([3.0, 1.0], [2.0], 0.5)],
)
def test_separation_is_the_share_of_pairs_in_the_right_order(
    real: list[float], fake: list[float], expected: float
) -> None:
    assert auc(torch.tensor(real), torch.tensor(fake)) == expected


@pytest.mark.parametrize(
    "recipe",
    [
        [],
        ["architecture.generator.dropout=0.3", "architecture.discriminator.dropout=0.3"],
        ["loss=hinge", "regularizer=none", "architecture.discriminator.normalization=spectral"],
        ["architecture=resnet", "training.augment=[color]", "training.n_critic=2"],
        ["conditioning=concat"],
    ],
)
def test_watching_changes_nothing(train: Callable[..., Path], recipe: list[str]) -> None:
    """Seen at every step, or at the last alone: each bit of the state is the same."""
    rare = [*without(TINY_IMAGES, "training.log_every"), "training.log_every=0", *recipe, "steps=9"]
    unseen, seen = train(*rare, "name=unseen"), train(*TINY_IMAGES, *recipe, "steps=9", "name=seen")
    assert len(logged_metrics(unseen)) == 1
    assert len(logged_metrics(seen)) == 9
    one, other = last_checkpoint(unseen).tensors, last_checkpoint(seen).tensors
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


# --- what a run does ---------------------------------------------------------------------------------------------

Act = Callable[[TrainState], None]


def plant(monkeypatch: pytest.MonkeyPatch, act: Act, when: Callable[[TrainState], bool]) -> None:
    """Before an update: `act`, if `when` says so."""

    def planted(step: Callable[..., object], state: TrainState, *arguments: Any) -> object:
        if when(state):
            act(state)
        return step(state, *arguments)

    wrap_updates(monkeypatch, planted)


def make_constant(state: TrainState) -> None:
    def hook(module: Any, inputs: tuple[Tensor, ...]) -> tuple[Any, ...]:
        return (torch.ones_like(inputs[0]), *inputs[1:])

    state.generator.register_forward_pre_hook(hook)


def poison(state: TrainState) -> None:
    with torch.no_grad():
        next(state.generator.parameters()).fill_(math.nan)


def after_step(step: int) -> Callable[[TrainState], bool]:
    """Once, with one update of D a step."""
    return lambda state: state.counters.step == state.counters.d_updates == step


def record(run: Path) -> dict[str, Any]:
    return json.loads((run / "config.json").read_text())


def test_a_finding_is_in_all_places_and_ends_the_run_if_it_is_to(
    train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        plant(patch, make_constant, after_step(5))
        run = train(*TINY_IMAGES, "steps=12", "health.on_collapse=stop", code=4)
    complaint = capsys.readouterr()
    assert complaint.err.count("\n") == 1
    assert "mode_collapse at step 7, and health.on_collapse=stop: fakes are" in complaint.err
    assert "\nhealth: fakes are" in complaint.out
    assert last_checkpoint(run).counters.step == 7
    assert (run / "progress.webp").is_file()
    assert [line.get("findings") for line in logged_metrics(run)] == [None] * 6 + [["mode_collapse"]]
    assert record(run)["ended"]["status"] == "collapsed"
    (found,) = record(run)["findings"]
    assert (found["name"], found["since"]) == ("mode_collapse", 6)
    with monkeypatch.context() as patch:
        plant(patch, make_constant, after_step(7))
        train(f"resume={run}")  # told already: the run may go on
    assert last_checkpoint(run).counters.step == 12
    assert (run / "train.log").read_text().count("health: ") == 1
    assert record(run)["findings"] == [found]
    assert record(run)["ended"]["status"] == "done"


def test_a_finding_is_only_said_unless_asked_for_more(
    train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, make_constant, after_step(5))
    run = train(*TINY_IMAGES, "steps=10")
    assert record(run)["ended"] == {**record(run)["ended"], "status": "done", "step": 10}
    assert (run / "train.log").read_text().count("health: fakes are") == 1


OFTEN = [
    *without(TINY_IMAGES, "training.checkpoint_every"),
    "training.checkpoint_every=2",
    "architecture.generator.dropout=0.2",
    "training.instance_noise=0.1",
    "regularizer=dragan",
    "health.on_nonfinite=rollback",
]


def at_step_five(state: TrainState) -> bool:
    return state.counters.step == 5 and state.counters.retries == 0


def test_numbers_that_are_not_finite_send_the_run_back_and_on_with_another_seed(
    train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        plant(patch, poison, at_step_five)
        run = train(*OFTEN, "steps=8", "name=back")
    out = capsys.readouterr().out
    assert "health: diverged: " in out
    assert "back at step 4, continuing with another seed: 1 of health.retries=2" in out
    assert last_checkpoint(run).counters.retries == 1
    assert last_checkpoint(run).config.seed == 0
    lines = logged_metrics(run)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 4, 5, 6, 7, 8]
    assert [line["findings"] for line in lines if "findings" in line] == [["nonfinite"]]
    assert [found["name"] for found in record(run)["findings"]] == ["nonfinite"]
    whole = train(*OFTEN, "steps=8", "name=whole")
    assert logged_metrics(whole)[:4] == lines[:4]
    assert logged_metrics(whole)[4] != lines[5]  # other latents and other batches


@pytest.mark.parametrize("updates", [13, 14, 17])
def test_a_run_that_went_back_resumes_bit_for_bit(
    train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, updates: int
) -> None:
    """Stopped within its first step after it went back, after that step, and later; it goes back after 12 updates."""
    with monkeypatch.context() as patch:
        plant(patch, poison, at_step_five)
        whole = train(*OFTEN, "steps=8", "name=whole")
    with monkeypatch.context() as patch:
        stop_after(updates, patch)
        plant(patch, poison, at_step_five)
        broken = train(*OFTEN, "steps=8", "name=broken", code=130)
    assert last_checkpoint(broken).counters.retries == 1
    train(f"resume={broken}")
    assert_equal_runs(whole, broken)


def test_after_its_retries_a_run_fails_as_without(
    train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(monkeypatch, poison, lambda state: state.counters.step == 5)
    run = train(*OFTEN, "steps=8", "health.retries=3", code=4)
    assert "diverged: " in capsys.readouterr().err
    assert record(run)["ended"]["status"] == "diverged"
    assert [found["name"] for found in record(run)["findings"]] == ["nonfinite"] * 4
    assert last_checkpoint(run).counters.retries == 3
    assert logged_metrics(run)[-1]["findings"] == ["nonfinite"]


def test_nobody_goes_back_unasked(train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, poison, at_step_five)
    run = train(*without(OFTEN, "health."), "steps=8", code=4)
    assert last_checkpoint(run).counters.retries == 0


def test_each_retry_has_a_seed_of_its_own() -> None:
    assert len({retry_seed(3, retries) for retries in range(5)}) == 5
    assert retry_seed(3, 0) == 3
    assert retry_seed(3, 1) != retry_seed(4, 1)


# --- configs -----------------------------------------------------------------------------------------------------


def test_what_is_done_may_change_on_resume(train: Callable[..., Path]) -> None:
    run = train(*TINY_IMAGES, "steps=2", "health.retries=5")
    train(f"resume={run}", "extra_steps=1", "health.on_collapse=stop")
    health = last_checkpoint(run).config.health
    assert (health.on_collapse, health.on_nonfinite, health.retries) == ("stop", "stop", 5)
    assert train_config.differing_keys(compose("health.on_collapse=stop"), compose()) == {}


def test_a_checkpoint_from_before_the_watch_loads() -> None:
    data = train_config.to_dict(compose())
    del data["health"]
    assert parse_config(data).health.on_nonfinite == "stop"


@pytest.mark.parametrize("override", ["health.on_collapse=rollback", "health.retries=-1", "health.on_nonfinite=warn"])
def test_wrong_values_are_refused(here: Path, capsys: pytest.CaptureFixture[str], override: str) -> None:
    assert run_command("train", [override]) == 2
    assert override.partition("=")[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    [
        '{"step": 1, "health/contrast": "abc"}',
        '{"step": 1, "health/coverage": [1]}',
        '{"step": 1, "findings": 5, "text": "x"}',
        '{"step": ' + "9" * 400 + "}",
        "[" * 100_000,
        '{"step": 1, "loss/discriminator": 1' + "0" * 400 + "}",
    ],
    ids=["text", "list", "findings", "long step", "nested", "large"],
)
def test_lines_that_no_run_writes_are_passed_over(tmp_path: Path, line: str) -> None:
    (tmp_path / "metrics.jsonl").write_text(line + "\n" + line + "\n")
    assert HealthMonitor(compose(*TINY_IMAGES), read_metrics(tmp_path)).findings == []


def test_fakes_spread_too_far_are_not_too_few_and_narrow_data_are_far_from_the_start() -> None:
    wide = {"health/coverage": 0.3, "health/diversity": 3.0}
    assert told(lines_of((5, {}), (30, wide))) == []
    arriving = [(1, {"health/shift": 60.0 / step}) for step in range(1, 100)]
    assert [name for name, _, _ in told(lines_of(*arriving)) if name == "divergence"] == []
