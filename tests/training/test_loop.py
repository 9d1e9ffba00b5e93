"""The loop: every experiment runs, every pair stays finite, equal seeds give equal runs, a budget is kept."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from gan_cli.cli.main import run_command
from gan_cli.config import train_config
from gan_cli.config.options.objectives import REGULARIZER_OPTIONS
from gan_cli.data.datasets.points import known_modes
from gan_cli.errors import UsageError
from gan_cli.evaluation.metrics.mode_coverage import count_modes
from gan_cli.models.build_networks import latent_of
from gan_cli.models.generate import generate
from gan_cli.objectives import losses
from gan_cli.objectives.losses import LOSSES
from gan_cli.state.train_state import build_state, state_tensors
from gan_cli.training.run import Run
from gan_cli.training.throughput import RunTimer
from support.configs import NEEDED_BY, TINY_IMAGES, compose, without
from support.runs import assert_equal_runs, last_checkpoint, logged_metrics
from support.training import plant_nan, train_in_memory, wrap_updates

CPU = torch.device("cpu")
ALL = [name for name in REGULARIZER_OPTIONS if name != "weight_clip"]  # which gradient_penalty cannot go with
OTHERS = [name for name in REGULARIZER_OPTIONS if name != "gradient_penalty"]
SINGLES = [(), *((name,) for name in REGULARIZER_OPTIONS)]
MIXES = [(loss, subset) for loss in LOSSES for subset in SINGLES]
QUICK_MIXES = [(loss, ()) for loss in LOSSES]
QUICK_MIXES += [([*LOSSES][index % len(LOSSES)], (name,)) for index, name in enumerate(REGULARIZER_OPTIONS)]
QUICK_MIXES += [(loss, subset) for loss in ("wasserstein", "relativistic") for subset in (ALL, OTHERS)]


@pytest.mark.parametrize(("loss", "subset"), QUICK_MIXES)
def test_every_loss_and_every_regularizer(loss: str, subset: tuple[str, ...]) -> None:
    assert_both_networks_move(loss, subset, updates=10)


@pytest.mark.slow
@pytest.mark.parametrize(("loss", "subset"), MIXES)
def test_every_loss_with_every_regularizer(loss: str, subset: tuple[str, ...]) -> None:
    assert_both_networks_move(loss, subset, updates=50)


def test_penalties_that_do_not_go_together_are_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"regularizer=\[gradient_penalty,weight_clip\]"):
        compose(*TINY_IMAGES, "regularizer=[gradient_penalty,weight_clip]")


def assert_both_networks_move(loss: str, subset: tuple[str, ...], updates: int) -> None:
    """Trains for some updates of D: both networks move and stay finite."""
    networks = [*NEEDED_BY["reconstruction"]] if "reconstruction" in subset else []
    if networks and "weight_clip" in subset:
        networks.append("architecture.discriminator.spectral=false")  # which clipped weights cannot go with
    config = compose(*TINY_IMAGES, *networks, f"loss={loss}", f"regularizer=[{','.join(subset)}]", f"steps={updates}")
    before = {name: tensor.clone() for name, tensor in state_tensors(build_state(config, CPU)).items()}
    state = train_in_memory(config, updates // config.training.n_critic)
    after = state_tensors(state)
    assert all(tensor.isfinite().all() for tensor in after.values())
    for network in ("generator", "discriminator", "generator_ema"):
        moved = [
            name for name in before if name.startswith(f"{network}.") and not torch.equal(before[name], after[name])
        ]
        assert len(moved) >= 4, network


def test_equal_seeds_give_equal_runs_and_others_do_not(train: Callable[..., Path]) -> None:
    one = train(*TINY_IMAGES, "steps=6", "name=one")
    torch.manual_seed(99)  # nothing outside a run may reach into it
    assert_equal_runs(one, train(*TINY_IMAGES, "steps=6", "name=two"))
    assert logged_metrics(one) != logged_metrics(train(*TINY_IMAGES, "steps=6", "seed=1", "name=three"))


def test_pictures_and_log_lines_do_not_change_training(train: Callable[..., Path]) -> None:
    quiet = train(*TINY_IMAGES, "steps=6", "name=quiet")
    looked_at = without(TINY_IMAGES, "training.sample_every", "training.checkpoint_every")
    busy = train(*looked_at, "training.sample_every=1", "training.checkpoint_every=1", "steps=6", "name=busy")
    assert_equal_runs(quiet, busy)


def test_what_a_run_leaves(train: Callable[..., Path]) -> None:
    overrides = [
        *without(TINY_IMAGES, "training.sample_every"),
        "training.sample_every=2",
        "loss=wasserstein",
        "regularizer=gradient_penalty",
        "precision=fp32",
        "optimizer.lr=0.05",  # no two pictures are alike
    ]
    run = train(*overrides, "steps=4", "name=it's a name, [really]")
    assert run.parent.name == "it's a name, [really]"
    assert compose(*overrides).run_name == "shapes-subpixel-wasserstein"
    assert "=" not in str(run.relative_to(run.parents[2]))
    assert sorted(path.name for path in run.iterdir()) == [
        ".lock",
        "checkpoints",
        "config.json",
        "metrics.jsonl",
        "progress.webp",
        "report.html",
        "samples",
        "train.log",
    ]
    assert sorted(path.name for path in (run / "samples").iterdir()) == [
        "real.png",
        "step_00000000.png",
        "step_00000002.png",
        "step_00000004.png",
    ]
    record = json.loads((run / "config.json").read_text())
    assert record["config"]["training"]["n_critic"] == 5
    assert record["brought_along"]["training.n_critic"] == 5
    assert record["data"]["source"] == "drawn by gan-cli"
    assert record["data"]["complete"] is True
    assert record["command"].startswith("gan-train ")
    assert {"gan_cli", "python", "packages", "git", "device", "threads", "started", "directory"} <= record.keys()
    again = shlex.split(record["command"])[1:]
    assert train_config.to_dict(compose(*again)) == record["config"]
    line = logged_metrics(run)[-1]
    assert line["step"] == 4
    assert line["images_seen"] == 4 * 5 * 8
    for key in (
        "loss/generator", "loss/discriminator", "logits/real", "logits/fake", "accuracy/real", "accuracy/fake",
        "penalty/gradient_penalty", "grad_norm/generator", "grad_norm/discriminator", "learning_rate/generator",
        "learning_rate/discriminator",
    ):  # fmt: skip
        assert isinstance(line[key], float), key
    log = (run / "train.log").read_text()
    assert "also set:" in log
    assert "training.n_critic=5" in log
    with Image.open(run / "progress.webp") as film:
        assert film.n_frames == 3  # type: ignore[attr-defined]


def test_the_bundled_digits_are_recorded_as_what_they_are(train: Callable[..., Path]) -> None:
    tiny = [override for override in TINY_IMAGES if not override.startswith(("dataset", "image_size"))]
    run = train(*tiny, "dataset.download=false", "steps=1")
    record = json.loads((run / "config.json").read_text())
    assert record["data"]["complete"] is False
    assert record["data"]["samples"] == 5000
    assert "NOT the full MNIST" in record["data"]["source"]
    assert "WARNING: NOT the full MNIST" in (run / "train.log").read_text()


def test_the_same_second_gets_a_number(train: Callable[..., Path], here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gan_cli.storage import run_folder

    class Frozen(run_folder.datetime):
        @classmethod
        def now(cls, tz: object = None) -> run_folder.datetime:
            return cls(2026, 1, 2, 3, 4, 5)

    monkeypatch.setattr(run_folder, "datetime", Frozen)
    for _ in range(3):
        train(*TINY_IMAGES, "steps=1", "name=same")
    names = sorted(path.name for path in (here / "outputs" / "same").iterdir())
    assert names == ["2026-01-02_030405", "2026-01-02_030405-2", "2026-01-02_030405-3"]
    assert [path.name for path in run_folder.runs_in(here / "outputs" / "same")] == names[::-1]


def test_numbers_that_are_not_finite_stop_the_run_and_never_reach_a_file(
    train: Callable[..., Path], here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plant_nan(monkeypatch, after_step=3)
    every = [*without(TINY_IMAGES, "training.checkpoint_every"), "training.checkpoint_every=1"]
    assert run_command("train", [*every, "steps=6", "name=nan"]) == 4
    error = capsys.readouterr().err
    assert "diverged" in error
    assert "step 3" in error
    run = next(here.glob("outputs/nan/*"))
    assert last_checkpoint(run).counters.step == 2
    assert "diverged" in (run / "train.log").read_text()
    assert json.loads((run / "config.json").read_text())["ended"]["status"] == "diverged"
    assert "NaN" not in (run / "metrics.jsonl").read_text()


@pytest.mark.parametrize(("every", "kept"), [(0, 0), (1, 2)])
def test_samples_that_are_not_finite_stop_the_run(
    train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, every: int, kept: int
) -> None:
    """Neither their picture nor a checkpoint of the step is written, though the weights are finite."""
    generate = Run.generate

    def broken(run: Run, *arguments: Any) -> torch.Tensor:
        return generate(run, *arguments) * (torch.nan if run.state.counters.step == 3 else 1)

    monkeypatch.setattr(Run, "generate", broken)
    changed = ("training.checkpoint_every", "training.sample_every", "training.log_every")
    rates = [f"training.checkpoint_every={every}", "training.sample_every=3", "training.log_every=100"]
    run = train(*without(TINY_IMAGES, *changed), *rates, "steps=6", code=4)
    assert last_checkpoint(run).counters.step == kept
    assert "diverged: a sample is not finite at step 3" in (run / "train.log").read_text()
    assert not (run / "samples" / "step_00000003.png").exists()


def test_a_loss_that_is_not_finite_stops_the_run_at_its_next_line(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Long before the next checkpoint: nothing is gained by training on."""

    def poisoned(step, state, *arguments):
        if state.counters.step == 3:
            with torch.no_grad():
                next(state.discriminator.parameters()).fill_(float("inf"))
        return step(state, *arguments)

    wrap_updates(monkeypatch, poisoned)
    assert run_command("train", [*TINY_IMAGES, "steps=500", "name=nan"]) == 4
    assert re.search(r"diverged: .* is not finite at step [45];", capsys.readouterr().err)
    for line in next(here.glob("outputs/nan/*/metrics.jsonl")).read_text().splitlines():
        assert json.loads(line, parse_constant=pytest.fail)


def test_logs_on_a_full_disk_end_no_run(
    here: Path, train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from gan_cli.runs import log as runlog

    real = runlog.open_to_append
    monkeypatch.setattr(
        runlog, "open_to_append", lambda path: open("/dev/full", "a") if path.name == "metrics.jsonl" else real(path)
    )
    run = train(*TINY_IMAGES, "steps=3")
    assert capsys.readouterr().out.count("/metrics.jsonl: cannot be written (No space left on device") == 1
    assert last_checkpoint(run).counters.step == 3


def test_a_full_disk_on_the_way_is_told_and_survived_but_not_at_the_end(
    train: Callable[..., Path], here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from gan_cli.state import checkpoint

    real, calls = checkpoint._write, 0

    def full_once(*arguments):
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError(28, "No space left on device")
        real(*arguments)

    every = [*without(TINY_IMAGES, "training.checkpoint_every"), "training.checkpoint_every=1"]
    monkeypatch.setattr(checkpoint, "_write", full_once)
    run = train(*every, "steps=3", "name=full")
    assert "warning" in (run / "train.log").read_text()
    assert last_checkpoint(run).counters.step == 3

    def always_full(*arguments, **settings):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "_write", always_full)
    capsys.readouterr()
    assert run_command("train", [*every, "steps=2", "name=never"]) == 5
    assert "No space left on device" in capsys.readouterr().err


# --- budgets -----------------------------------------------------------------------------------------------------


def test_a_budget_becomes_a_number_of_steps(train: Callable[..., Path]) -> None:
    run = train(*TINY_IMAGES, "budget=2s", "training.lr_schedule=linear")
    found = last_checkpoint(run)
    assert found.counters.total_steps == found.counters.step > 4
    assert 1.5 < found.provenance.seconds < 5
    assert "steps, estimated from the first 5 %" in (run / "train.log").read_text()
    assert logged_metrics(run)[-1]["learning_rate/generator"] < 0.3 * 1e-3  # the schedule knew its end
    record = json.loads((run / "config.json").read_text())
    assert record["ended"]["total_steps"] == found.counters.total_steps


def test_a_run_says_once_that_it_has_become_slow() -> None:
    timer = RunTimer(build_state(compose(*TINY_IMAGES), CPU))
    assert [timer.slowdown_warning(rate) for rate in (100.0, 1000.0, 900.0, 200.0, 900.0, 0.0, 200.0)] == [None] * 7
    told = timer.slowdown_warning(100.0)
    assert told is not None
    assert "10 times as long" in told
    assert "threads=1" in told
    assert timer.slowdown_warning(100.0) is None


# --- the ring ----------------------------------------------------------------------------------------------------


QUICK = "steps=400"  # a fifteenth of the experiment's


def ring_modes(seed: int, *overrides: str) -> tuple[int, float]:
    """Modes that hold a sample within 3 sigma, and the share of such samples, of 2,500."""
    config = compose("experiment=ring", f"seed={seed}", *overrides)
    state = train_in_memory(config)
    modes = known_modes(config.dataset)
    assert modes is not None
    samples = torch.cat(list(generate(state.sampler, latent_of(config), range(10_000, 12_500), 2500)))
    counted = count_modes(samples, modes.centres, modes.std)
    return counted.covered, counted.share


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_ring_is_covered_in_nine_of_ten_seeds() -> None:
    results = [ring_modes(seed) for seed in range(10)]
    print(results)
    assert sum(modes == 8 for modes, _ in results) >= 9
    assert sum(share for _, share in results) / 10 > 0.5


def test_the_ring_is_covered_and_with_the_sign_of_a_loss_flipped_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    right = losses.LOSSES["non_saturating"]

    def flipped(*, fake_logits: torch.Tensor) -> torch.Tensor:
        return -right.generator(fake_logits=fake_logits)

    modes, share = ring_modes(0, QUICK)
    assert modes == 8
    assert share > 0.12
    monkeypatch.setitem(losses.LOSSES, "non_saturating", right._replace(generator=flipped))
    modes, share = ring_modes(0, QUICK)
    assert modes < 8
    assert share < 0.01


def test_modes_are_logged_and_told(train: Callable[..., Path]) -> None:
    run = train("experiment=ring", "steps=20", "batch_size=16", "training.log_every=10", "threads=1")
    lines = logged_metrics(run)
    assert [line["step"] for line in lines] == [10, 20]
    for line in lines:
        assert line["modes/covered"] in range(9)
        assert 0 <= line["modes/share"] <= 1
        assert 0 <= line["modes/reverse_kl"] <= 2.08
    assert re.search(r"done: 20 steps .* \d of 8 modes, .*reverse KL", (run / "train.log").read_text())
    assert not any("modes/covered" in line for line in logged_metrics(train(*TINY_IMAGES, "steps=1")))


@pytest.mark.parametrize(
    ("overrides", "warned"),
    [
        (["regularizer=none"], True),
        (["regularizer=[orthogonal,lecam]"], True),
        (["regularizer=r1"], False),
        (["regularizer=weight_clip"], False),
        (["regularizer=none", "architecture.discriminator.normalization=spectral"], False),
        (["regularizer=none", "architecture=fastgan"], False),
        (["regularizer=none", "architecture=fastgan", "architecture.discriminator.spectral=false"], True),
    ],
)
def test_an_unbounded_slope_is_warned_of(train: Callable[..., Path], overrides: list[str], warned: bool) -> None:
    run = train(*TINY_IMAGES, "loss=wasserstein", "steps=1", *overrides)
    assert ("leaves D's slope unbounded" in (run / "train.log").read_text()) == warned
