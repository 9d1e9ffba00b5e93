"""An interrupted run goes on bit for bit as if unbroken, wherever and however it was stopped."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gan_cli import stop_signals
from gan_cli.cli.main import run_command
from gan_cli.launch import start_run
from gan_cli.state import checkpoint
from gan_cli.state.checkpoint import LAST
from gan_cli.stop_signals import Interrupted, StopSignals
from gan_cli.storage import locks
from gan_cli.storage.run_folder import CHECKPOINTS, lock
from gan_cli.training import loop
from gan_cli.training.run import Run
from support.configs import TINY_IMAGES, without
from support.runs import assert_equal_runs, last_checkpoint, logged_metrics
from support.training import stop_after

RECIPES = {
    "non_saturating with r1": ["loss=non_saturating", "regularizer=r1"],
    "wasserstein with n_critic 5": ["loss=wasserstein", "regularizer=gradient_penalty"],
    "hinge with batch norm, lazily": [
        "loss=hinge",
        "regularizer=none",
        "architecture.discriminator.normalization=batch",
    ],
    "lazy r1, cosine, no average": ["regularizer.r1.every=4", "training.lr_schedule=cosine", "training.ema_decay=0"],
    "dropout in both": [
        "architecture.generator.dropout=0.3",
        "architecture.discriminator.dropout=0.3",
        "regularizer=r1",
    ],
    "mirrored, in parts, clipped": ["dataset.flip=true", "training.accumulate=4", "training.clip_grad_norm=0.5"],
    "two optimizers, uniform latents": [
        "optimizer/generator=sgd",
        "optimizer/discriminator=adamw",
        "architecture.generator.latent=uniform",
        "architecture.discriminator.initialization=orthogonal",
    ],
    "resnet with attention": ["architecture=resnet", "architecture.generator.attention=8"],
    "r3gan with classes": ["architecture=r3gan", "loss=relativistic", "regularizer=r1_r2", "conditioning=projection"],
    "schedules": [
        "schedule.lr.to=0.0001",
        "schedule.lr.shape=linear",
        "schedule.penalty.to=0.1",
        "schedule.beta2.to=0.9",
        "schedule.ema_decay.to=0.5",
        "schedule.ema_decay.until=0.75",
        "training.augment=[translation,cutout]",
        "training.augment_probability=0",
        "schedule.augment_probability.to=0.9",
    ],
    "pggan with classes, reusing no fakes": [
        "architecture=pggan",
        "loss=wasserstein",
        "regularizer=[zero_centered,drift]",
        "conditioning=acgan",
        "training.reuse_fakes=false",
        "training.augment=[translation,cutout]",
    ],
    "pggan, looking ahead": ["architecture=pggan", "regularizer=none", "training.unroll_steps=2", "loss=minimax"],
    "fastgan, augmented as ADA": [
        "architecture=fastgan",
        "architecture.discriminator.normalization=batch",
        "regularizer=reconstruction",
        "training.augment=[ada,noise]",
        "training.ada_target=0.6",
    ],
    "stylegan2 with classes, mixed styles and path lengths": [
        "architecture=stylegan2",
        "conditioning=projection",
        "auxiliary=path_length",
        "auxiliary.path_length.every=3",
        "precision=fp32",
        "architecture.generator.style_mixing=0.9",
        "architecture.discriminator.residual=true",
    ],
    "stylegan2, fakes not reused": [
        "architecture=stylegan2",
        "auxiliary=path_length",
        "training.reuse_fakes=false",
        "training.accumulate=2",
        "architecture.generator.style_mixing=0.5",
        "precision=bf16",
    ],
    "projected": [
        "architecture=projected",
        "regularizer=none",
        "loss=hinge",
        "training.augment=[color,translation]",
    ],
    "srresnet with tags": ["architecture=srresnet", "conditioning=tags", "regularizer=dragan"],
    "noisy, augmented, packed": [
        "training.instance_noise=0.3",
        "training.augment=[color,translation,cutout]",
        "training.ada_target=0.6",
        "training.pack=2",
        "training.label_smoothing=0.1",
        "training.top_k=0.5",
        "architecture.discriminator.minibatch=stddev",
    ],
    "penalties with a memory": [
        "regularizer=[lecam,consistency,orthogonal]",
        "regularizer.lecam.start=5",
        "training.critic_warmup=1",
        "architecture.discriminator.minibatch=discrimination",
    ],
    "looking ahead": ["regularizer=none", "training.unroll_steps=2", "loss=minimax"],
    "js": ["regularizer=js"],
    "spectral norm": ["regularizer=none", "architecture.discriminator.normalization=spectral"],
    "bf16": ["precision=bf16", "architecture.generator.normalization=spectral"],
}
TURNS = {
    "two of D, three of G": ["training.n_critic=2", "training.generator_updates=3", "loss=relativistic"],
    "whole epochs, lazily": ["training.alternate=epoch", "dataset.limit=30", "regularizer.r1.every=3"],
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_twelve_steps_equal_seven_the_half_of_one_and_the_rest(
    train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, recipe: str
) -> None:
    """The first stop is between two steps, the second after an update of D: the fakes of G's half are made again."""
    overrides = [*TINY_IMAGES, *RECIPES[recipe], "steps=12"]
    whole = train(*overrides, "name=whole")
    per_step = last_checkpoint(whole).config.training.n_critic + 1
    with monkeypatch.context() as patch:
        stop_after(7 * per_step, patch)
        broken = train(*overrides, "name=broken", code=130)
    assert last_checkpoint(broken).counters.step == 7
    with monkeypatch.context() as patch:
        stop_after(per_step - 1, patch)
        assert train(f"resume={broken}", code=130) == broken
    counters = last_checkpoint(broken).counters
    assert (counters.step, counters.d_updates) == (7, 8 * (per_step - 1))
    train(f"resume={broken}")
    assert_equal_runs(whole, broken)


@pytest.mark.parametrize("updates", [1, 5, 6, 8])
def test_a_run_may_stop_after_any_update(
    train: Callable[..., Path], trained: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, updates: int
) -> None:
    overrides = [*TINY_IMAGES, "loss=wasserstein", "regularizer=gradient_penalty", "steps=2"]
    whole = trained(*overrides, "name=whole")
    with monkeypatch.context() as patch:
        stop_after(updates, patch)
        broken = train(*overrides, "name=broken", code=130)
    counters = last_checkpoint(broken).counters
    assert counters.step + counters.d_updates == updates
    train(f"resume={broken}")
    assert_equal_runs(whole, broken)


@pytest.mark.parametrize("updates", [1, 3, 5, 9])  # and stops again after the next
@pytest.mark.parametrize("recipe", TURNS)
def test_a_run_may_stop_anywhere_in_a_long_turn(
    train: Callable[..., Path],
    trained: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    recipe: str,
    updates: int,
) -> None:
    """Its lines of metrics too are those of an unbroken run: each tells what D saw at the end of its updates."""
    overrides = [*TINY_IMAGES, *TURNS[recipe], "steps=9"]
    whole = trained(*overrides, "name=whole")
    with monkeypatch.context() as patch:
        stop_after(updates, patch)
        broken = train(*overrides, "name=broken", code=130)
    assert last_checkpoint(broken).counters.step + last_checkpoint(broken).counters.d_updates == updates
    with monkeypatch.context() as patch:
        stop_after(1, patch)
        assert train(f"resume={broken}", code=130) == broken
    train(f"resume={broken}")
    assert_equal_runs(whole, broken)
    assert all("loss/discriminator" in line for line in logged_metrics(broken))


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 138), (signal.SIGHUP, 129)],
    ids=lambda value: str(value),
)
def test_the_exit_code_tells_the_signal(
    train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    stop_after(4, monkeypatch, number)
    run = train(*TINY_IMAGES, "steps=30", code=code)
    assert last_checkpoint(run).counters.step == 2
    assert "to resume: gan-train resume=" in (run / "train.log").read_text()


def test_a_signal_of_the_same_request_is_ignored_and_a_later_one_leaves_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before, raised = signal.getsignal(signal.SIGTERM), []
    monkeypatch.setattr(signal, "raise_signal", lambda number: raised.append((number, signal.getsignal(number))))
    with StopSignals() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert (stop.received, raised) == (signal.SIGTERM, [])
        monkeypatch.setattr(stop_signals, "REPEAT_SECONDS", 0.0)
        os.kill(os.getpid(), signal.SIGTERM)
        assert raised == [(signal.SIGTERM, signal.SIG_DFL)]
    assert signal.getsignal(signal.SIGTERM) == before


def test_stopping_again_at_once_between_the_halves_loses_nothing(
    train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = [*TINY_IMAGES, "steps=5"]
    whole = train(*overrides, "name=whole")
    with monkeypatch.context() as patch:
        stop_after(5, patch)
        broken = train(*overrides, "name=broken", code=130)
    with monkeypatch.context() as patch:
        stop = StopSignals()
        stop.received = signal.SIGTERM
        patch.setattr(loop, "StopSignals", lambda: stop)
        train(f"resume={broken}", code=143)
    train(f"resume={broken}")
    assert_equal_runs(whole, broken)


# --- what may and may not change ---------------------------------------------------------------------------------


@pytest.fixture
def short(trained: Callable[..., Path]) -> Path:
    return trained(*TINY_IMAGES, "training.lr_schedule=constant", "steps=3", "name=short")


def test_steps_and_extra_steps(train: Callable[..., Path], short: Path) -> None:
    whole = train(*TINY_IMAGES, "training.lr_schedule=constant", "steps=8", "name=whole")
    train(f"resume={short}", "extra_steps=2")
    assert last_checkpoint(short).counters.step == 5
    train(f"resume={short}", "steps=8", "keep=1", "training.log_every=1")
    assert last_checkpoint(short).tensors.keys() == last_checkpoint(whole).tensors.keys()
    assert_equal_runs(whole, short)
    assert len(checkpoint.list_checkpoints(short / CHECKPOINTS)) == 1


def test_a_finished_run_is_left_alone(
    train: Callable[..., Path], short: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (short / "metrics.jsonl").read_bytes()
    train(f"resume={short}")
    assert "are done" in capsys.readouterr().out
    assert (short / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("optimizer.beta1=0.1", "optimizer.beta1: cannot change"),
        ("loss=hinge", "loss: cannot change"),
        ("image_size=32", "image_size: cannot change"),
        ("seed=4", "seed: cannot change"),
        ("training.accumulate=3", "cannot be split"),
        ("name=other", "name: cannot change"),
        ("steps=2", "the run has done 3 already"),
        ("steps=4 extra_steps=2", "give one"),
    ],
)
def test_what_may_not_accompany_resume_is_refused_by_name(
    short: Path, capsys: pytest.CaptureFixture[str], override: str, words: str
) -> None:
    capsys.readouterr()
    assert run_command("train", [f"resume={short}", *override.split()]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_resume_by_name_takes_the_newest_run(train: Callable[..., Path], short: Path) -> None:
    newer = train(*TINY_IMAGES, "steps=3", "name=short")
    assert newer != short
    train("resume=short", "extra_steps=1")
    assert (last_checkpoint(newer).counters.step, last_checkpoint(short).counters.step) == (4, 3)


def test_too_many_extra_steps_are_refused_not_saved(short: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run_command("train", [f"resume={short}", "extra_steps=1e12"]) == 2
    assert "at most 1,000,000,000,000 steps" in capsys.readouterr().err


def test_a_budget_goes_on_being_measured(train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        stop_after(4, patch)
        run = train(*TINY_IMAGES, "budget=40s", code=130)
    assert last_checkpoint(run).counters.total_steps is None
    assert run_command("train", [f"resume={run}", "budget=null"]) == 2
    train(f"resume={run}", "budget=1s")
    found = last_checkpoint(run)
    assert found.counters.step == found.counters.total_steps
    assert 0.5 < found.provenance.seconds < 10


def test_a_new_budget_holds_scheduled_values_until_its_end_is_known(
    train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    moving = ["schedule.lr.to=0.00001", "schedule.lr.until=0.5", "training.instance_noise=0.1"]
    run = train(*TINY_IMAGES, "steps=4", *moving)
    for budget in (["budget=40s"], []):  # the second time, the end is still not known
        capsys.readouterr()
        with monkeypatch.context() as patch:
            stop_after(2, patch)
            train(f"resume={run}", *budget, "training.log_every=1", code=130)
        found = last_checkpoint(run).counters
        assert (found.total_steps, found.held_progress) == (None, 1)
        assert logged_metrics(run)[-1]["learning_rate/generator"] == pytest.approx(1e-5)
        stay = "values stay until the new end is known, and then move to it, by schedule.lr, training.instance_noise"
        assert (stay in capsys.readouterr().out) == bool(budget)
    train(f"resume={run}", "steps=20")
    found = last_checkpoint(run).counters
    assert (found.total_steps, found.held_progress) == (20, 0)


def test_a_lazy_penalty_is_in_every_line(train: Callable[..., Path]) -> None:
    overrides = [*without(TINY_IMAGES, "training.log_every"), "training.log_every=2", "regularizer.r1.every=4"]
    run = train(*overrides, "steps=8")
    assert all("penalty/r1" in line for line in logged_metrics(run))


def test_a_fallback_never_loses_the_checkpoint_it_makes(
    train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Newer files are damaged: what is saved then has a lower number than they, and must not be pruned for it."""
    run = train(*without(TINY_IMAGES, "training.checkpoint_every"), "steps=9", "training.checkpoint_every=1", "keep=4")
    for step in (7, 8, 9):
        damaged = run / CHECKPOINTS / f"step_{step:08d}.safetensors"
        damaged.unlink()
        damaged.write_bytes(b"gone")
    (run / CHECKPOINTS / LAST).unlink()
    with monkeypatch.context() as patch:
        stop_after(1, patch)
        train(f"resume={run}", "keep=1", code=130)
    assert last_checkpoint(run).counters.step == 6
    assert (run / CHECKPOINTS / "step_00000009.safetensors.damaged").read_bytes() == b"gone"
    train(f"resume={run}")
    assert last_checkpoint(run).counters.step == 9


def test_last_alone_is_enough(train: Callable[..., Path], short: Path) -> None:
    for path in checkpoint.list_checkpoints(short / CHECKPOINTS):
        path.unlink()
    train(f"resume={short}", "extra_steps=1")
    assert last_checkpoint(short).counters.step == 4


def test_resume_auto_says_what_it_passes_over(train: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    run = train(*TINY_IMAGES, "name=auto", "steps=2")
    for path in (run / CHECKPOINTS).iterdir():
        path.write_bytes(b"gone")
    assert train(*TINY_IMAGES, "name=auto", "steps=2", "resume=auto") != run
    assert "resume=auto skips" in capsys.readouterr().out


def test_a_script_s_line_is_satisfied_by_a_run_that_did_more(train: Callable[..., Path]) -> None:
    run = train(*TINY_IMAGES, "name=auto", "steps=4")
    assert train(*TINY_IMAGES, "name=auto", "steps=2", "resume=auto") == run
    assert last_checkpoint(run).counters.step == 4


def test_a_record_that_was_damaged_is_no_obstacle(train: Callable[..., Path], short: Path) -> None:
    (short / "config.json").write_text('{"directory": 5, "resumed": 7}')
    with open(short / "metrics.jsonl", "a") as stream:
        stream.write('{"step": "x"}\n[]\n{"step": 3')
    train(f"resume={short}", "extra_steps=1")
    assert len(json.loads((short / "config.json").read_text())["resumed"]) == 1
    assert [line["step"] for line in logged_metrics(short)] == [1, 2, 3, 4]


def test_resume_auto(train: Callable[..., Path], here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [*TINY_IMAGES, "name=auto", "resume=auto"]
    first = train(*command, "steps=3")
    assert train(*command, "steps=5") == first
    assert last_checkpoint(first).counters.step == 5
    assert run_command("train", [*command, "steps=5", "seed=1"]) == 2
    error = capsys.readouterr().err
    assert "seed=1 (was 0)" in error
    assert len(list(here.glob("outputs/auto/*"))) == 1
    other = train(*without(command, "name="), "name=other", "steps=3")
    assert other != first


def test_resume_auto_starts_a_run_once(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same command again, and one with another seed, while the first one has no checkpoint yet."""
    command, log_setup, codes = [*TINY_IMAGES, "name=auto", "steps=1", "resume=auto"], start_run.log_setup, []

    def twice(*arguments: Any) -> None:
        monkeypatch.setattr(start_run, "log_setup", log_setup)
        codes.extend(run_command("train", [*command, seed]) for seed in ("seed=0", "seed=1"))
        log_setup(*arguments)

    monkeypatch.setattr(start_run, "log_setup", twice)
    assert run_command("train", command) == 0
    assert codes == [5, 0]
    assert "is being trained by another command" in capsys.readouterr().err
    assert len(list(here.glob("outputs/auto/*/checkpoints/last.safetensors"))) == 2


def test_resume_auto_works_where_folders_cannot_be_locked(
    train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on NFS, where an exclusive lock needs a file that is open for writing."""
    lock_file = locks.lock_file

    def files_only(file: Any, **settings: Any) -> None:
        if isinstance(file, int) and stat.S_ISDIR(os.fstat(file).st_mode):
            raise OSError(errno.EBADF, "Bad file descriptor")
        lock_file(file, **settings)

    monkeypatch.setattr(locks, "lock_file", files_only)
    run = train(*TINY_IMAGES, "name=auto", "steps=1", "resume=auto")
    assert train(*TINY_IMAGES, "name=auto", "steps=2", "resume=auto") == run


def test_resume_auto_passes_over_a_newer_run_that_differs(train: Callable[..., Path]) -> None:
    first = train(*TINY_IMAGES, "name=auto", "steps=2")
    second = train(*TINY_IMAGES, "name=auto", "steps=2", "seed=1")
    assert train(*TINY_IMAGES, "name=auto", "steps=3", "resume=auto") != second
    assert last_checkpoint(first).counters.step == 3


def test_other_data_are_refused(train: Callable[..., Path], short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gan_cli.data.datasets import shapes

    monkeypatch.setattr(shapes, "SEEDS", {"train": 5})
    assert run_command("train", [f"resume={short}", "extra_steps=1"]) == 2


def test_a_relative_data_root_is_found_from_another_folder(
    train: Callable[..., Path], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from support.published.digits import write_digits

    write_digits(here / "data")
    tiny = [override for override in TINY_IMAGES if not override.startswith(("dataset", "image_size"))]
    run = train(*tiny, "dataset=fashion_mnist", "dataset.root=data", "dataset.download=false", "steps=1")
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    assert run_command("train", [f"resume={run}", "extra_steps=1"]) == 0
    assert last_checkpoint(run).config.dataset.root == "data"


def test_a_damaged_newest_checkpoint_falls_back_and_says_so(train: Callable[..., Path]) -> None:
    often = [*without(TINY_IMAGES, "training.checkpoint_every"), "training.checkpoint_every=2", "keep=0", "steps=6"]
    whole, run = train(*often, "name=whole"), train(*often, "name=run")
    newest = run / CHECKPOINTS / "step_00000006.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    train(f"resume={run}")
    assert "damaged" in (run / "train.log").read_text() or "not a readable" in (run / "train.log").read_text()
    assert_equal_runs(whole, run)


def test_a_run_folder_is_never_shared(
    train: Callable[..., Path], short: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with lock(short):
        capsys.readouterr()
        assert run_command("train", [f"resume={short}", "extra_steps=1"]) == 5
        error = capsys.readouterr().err
    assert f"in use by process {os.getpid()}" in error
    train(f"resume={short}", "extra_steps=1")


def test_a_lock_ends_with_its_process(short: Path) -> None:
    code = (
        "import os; from pathlib import Path; from gan_cli.storage.run_folder import lock;"
        f" lock(Path({str(short)!r})); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    lock(short).close()


# --- kill -9 -----------------------------------------------------------------------------------------------------


def test_ten_kills_at_random_instants_lose_nothing(train: Callable[..., Path], here: Path) -> None:
    """A run that saves at every step, killed and resumed 10 times, ends as the unbroken one does."""
    every_step = [*without(TINY_IMAGES, "training.checkpoint_every"), "training.checkpoint_every=1", "keep=2"]
    every_step.append("training.lr_schedule=constant")  # which does not know how many steps there will be
    steps = "steps=100000"
    rng = random.Random(0)
    kills, run, done = 0, None, 0
    while kills < 10 or (done <= 5 and kills < 400):  # a busy machine makes no step between most of them
        arguments = [f"resume={run}"] if run else [*every_step, steps, "name=killed"]
        child = os.fork()
        if child == 0:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            os._exit(run_command("train", arguments))
        if run is None:
            while not (found := list(here.glob(f"outputs/killed/*/{CHECKPOINTS}/{LAST}"))):
                time.sleep(0.01)
            run = found[0].parent.parent
        time.sleep(rng.uniform(0.02, 0.6))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), f"the run ended by itself with {os.waitstatus_to_exitcode(status)}"
        kills += 1
        done = checkpoint.load(run / CHECKPOINTS / LAST).counters.step
    done = last_checkpoint(run).counters.step
    assert done > 5
    for name in (CHECKPOINTS, "samples"):
        (run / name / ".gan-cli-ab3de_f1").mkdir()
        (run / name / ".gan-cli-ab3de_f1" / "part").write_bytes(b"half a file")
    train(f"resume={run}", f"steps={done + 3}")
    whole = train(*every_step, f"steps={done + 3}", "name=whole")
    assert_equal_runs(whole, run)
    assert [path.name for path in run.rglob(".*")] == [".lock"]


# --- stopped or killed amid an evaluation -------------------------------------------------------------------------

JUDGED = [
    *without(TINY_IMAGES, "training.log_every", "training.checkpoint_every", "training.sample_every"), "steps=4",
    "training.log_every=1", "training.evaluate_every=2", "training.checkpoint_every=2",
    "training.sample_every=2", "evaluation.metrics=[kernel]", "evaluation.extractor=pixels", "evaluation.n=20",
    "evaluation.best=kernel", "training.lr_schedule=constant",
]  # fmt: skip


def grids_in(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (run / "samples").glob("*.png")}


class Killed(BaseException):
    pass


@pytest.mark.parametrize(
    ("step", "amid"),
    [(2, "evaluate"), (4, "keep_best"), (4, "save_samples"), (4, "save_progress_animation")],
)
def test_killed_after_a_checkpoint_nothing_that_was_due_is_lost(
    train: Callable[..., Path],
    trained: Callable[..., Path],
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
    amid: str,
) -> None:
    whole = trained(*JUDGED, "name=whole")

    def killed(run: Run, *more: object) -> Any:
        if run.state.counters.step == step:
            raise Killed
        return plain(run, *more)

    plain = getattr(loop, amid)
    with monkeypatch.context() as patch:
        patch.setattr(loop, amid, killed)
        with pytest.raises(Killed):
            train(*JUDGED, "name=broken")
    broken = next((here / "outputs" / "broken").iterdir())
    assert last_checkpoint(broken).counters.step == step  # saved before it was judged and drawn
    train(f"resume={broken}")
    assert_equal_runs(whole, broken)
    assert grids_in(broken) == grids_in(whole)
    assert [(run / "progress.webp").is_file() for run in (whole, broken)] == [True, True]
    best = [checkpoint.load(run / CHECKPOINTS / "best.safetensors").counters for run in (whole, broken)]
    assert best[0] == best[1]
    assert json.loads((broken / "config.json").read_text())["ended"]["status"] == "done"


@pytest.mark.parametrize("step", [4])
def test_a_signal_breaks_an_evaluation_off_and_the_resumed_run_makes_up_for_it(
    train: Callable[..., Path], trained: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    whole = trained(*JUDGED, "name=whole")
    plain = loop.evaluate

    def judged(run: Run) -> dict[str, float]:
        if run.state.counters.step == step:
            os.kill(os.getpid(), signal.SIGTERM)
            for _ in range(1000):
                time.sleep(0.001)
            raise AssertionError("the signal was not heard")
        return plain(run)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "evaluate", judged)
        broken = train(*JUDGED, "name=broken", code=143)
    assert (
        f"stopped by SIGTERM at step {step}, its evaluation and grid left for the resumed run"
        in (broken / "train.log").read_text()
    )
    train(f"resume={broken}")
    assert_equal_runs(whole, broken)
    assert grids_in(broken) == grids_in(whole)


def judge(stop: StopSignals) -> None:
    with stop.interruptible():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)


def test_a_signal_breaks_off_what_may_be_broken_off_and_nothing_is_begun_after_it() -> None:
    with StopSignals() as stop:
        with pytest.raises(Interrupted):
            judge(stop)
        assert stop.received == signal.SIGTERM
        with pytest.raises(Interrupted), stop.interruptible():
            raise AssertionError("begun after the signal")
    with StopSignals() as stop:
        with stop.interruptible():
            pass
        os.kill(os.getpid(), signal.SIGTERM)  # amid an update: noted, and obeyed after it
        assert stop.received == signal.SIGTERM
