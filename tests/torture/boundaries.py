"""Stops runs of all kinds of options after a random update, and resumes them: the end must be equal to the byte."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any

import pytest

from torture.hostile.pictures import make_healthy
from torture.scenarios import TINY
from torture.verify import differences, state_of
from torture.worker import Trial

STEPS = 6
GROUPS = ("loss", "regularizer", "conditioning", "optimizer", "architecture/generator", "architecture/discriminator")
# Values of keys beside those of the groups, some with overrides that they need. Each is tried, with random others.
KEYS = {
    "task": ("translation task.source=edges", "inpainting", "super_resolution"),
    "auxiliary": (
        "[l2,gradient_difference] task=inpainting",
        "[l1,feature_matching] task=super_resolution",
        "path_length architecture/generator=stylegan2",
    ),
    "training.n_critic": (2, 3),
    "training.generator_updates": (2,),
    "training.accumulate": (2, 4),
    "training.augment": ("[color,translation,cutout]", "[ada,noise,cutout]"),
    "training.ada_target": ("0.6 training.augment=[color]",),
    "training.lr_schedule": ("cosine", "linear"),
    "training.ema_decay": (0, 0.9),
    "training.clip_grad_norm": (0.5,),
    "training.instance_noise": (0.3,),
    "training.label_smoothing": (0.1,),
    "training.pack": (2,),
    "training.top_k": (0.5,),
    "training.unroll_steps": ("2 regularizer=none loss=minimax",),
    "training.critic_warmup": (2,),
    "training.alternate": ("epoch",),
    "training.reuse_fakes": ("false",),
    "precision": ("bf16",),
    "dataset.flip": ("true",),
    "dataset": tuple(f"{name} architecture=mlp" for name in ("ring", "grid", "swiss_roll")),
    "architecture.generator.latent": ("uniform",),
    "architecture.generator.dropout": (0.3,),
    "architecture.discriminator.normalization": ("batch regularizer=none", "spectral", "none"),
    "architecture.discriminator.minibatch": ("stddev", "discrimination", "none"),
    "training.evaluate_every": (2,),
    "training.sample_every": (1,),
    "evaluation.patience": (
        "1 training.evaluate_every=1 evaluation.metrics=[frechet] evaluation.extractor=pixels evaluation.n=20",
    ),
    "health.on_collapse": ("stop",),
    "keep": (1,),
    "logger": ("[csv]",),
    "deterministic": ("true",),
    "dataset.balance": ("true conditioning=projection",),
    "dataset.limit": (50,),
}
SITUATION = "situation"
NEEDED_TASKS = {  # by generator
    "unet": "task=translation task.source=edges", "gated_unet": "task=inpainting", "edsr": "task=super_resolution",
}  # fmt: skip


@dataclass(frozen=True)
class Situation:
    """A run that needs more than overrides: work in the folder before it, or something that happens in each process."""

    overrides: tuple[str, ...]
    prepare: Callable[[Trial], object] = lambda trial: None
    before: Callable[[], None] = lambda: None


def diverge() -> None:
    """Fills a parameter of G with NaN after the fourth step, unless the run was rolled back before."""
    from torch import no_grad

    from support import training

    def poisoned(step: Callable[..., object], state: Any, *arguments: Any) -> object:
        outcome = step(state, *arguments)
        if state.counters.step == 4 and state.counters.retries == 0:
            with no_grad():
                next(state.generator.parameters()).fill_(float("nan"))
        return outcome

    training.wrap_updates(pytest.MonkeyPatch(), poisoned)


def train_first(trial: Trial, *overrides: str) -> None:
    """Trains the run from which the others start."""
    ended = trial.run("train", *TINY, *overrides, "name=first")
    if ended.code:
        trial.fault("wrong", f"the first run: exit code {ended.code}, {ended.last_line}")


SITUATIONS = {
    "rollback": Situation(("health.on_nonfinite=rollback", "health.retries=3"), before=diverge),
    "pictures": Situation(
        ("dataset=folder", "dataset.path=pictures", "dataset.flip=both", "training.augment=[color,turn]"),
        prepare=lambda trial: make_healthy(trial.here),
    ),
    "init_from": Situation(("init_from=first",), prepare=lambda trial: train_first(trial, "steps=2")),
    "freeze": Situation(
        ("init_from=first", "training.freeze_discriminator_layers=1"),
        prepare=lambda trial: train_first(trial, "steps=2"),
    ),
    "replay": Situation(("replay=first",), prepare=lambda trial: train_first(trial, "budget=1s")),
}
NOTHING = Situation(())
OF_NETWORKS = ("architecture", "conditioning", "dataset", "task", "auxiliary", "training.pack")


@cache
def choices(seed: int) -> list[tuple[str, str]]:
    """Returns SITUATIONS, every option of the groups and every value of KEYS: a new option is tried without a line.

    `seed` orders them.
    """
    from gan_cli.config.compose import groups

    known = groups("train")
    listed = [(group, option) for group in GROUPS for option in known[group]]
    listed += [(key, str(value)) for key, values in KEYS.items() for value in values]
    listed += [(SITUATION, name) for name in SITUATIONS]
    Random(seed).shuffle(listed)
    return listed


def options_of(seed: int, index: int) -> list[str]:
    """Returns the overrides of a config: choice number `index` modulo their count, with two random others that fit.

    Choices that clash are left out, the random ones first.
    """
    known, random = choices(seed), Random(index)
    chosen = known[index % len(known)]
    others = [each for each in random.sample(known, 2) if each[0] not in (SITUATION, chosen[0])]
    if chosen == (SITUATION, "replay"):
        others = []  # all settings are those of the first run
    if chosen[0] == SITUATION:  # the networks are those of the first run
        others = [each for each in others if not each[0].startswith(OF_NETWORKS)]
    if chosen[0] == "dataset":  # points have no extractor
        others = [each for each in others if "evaluation.extractor" not in each[1]]
    if chosen[1].startswith("swiss_roll"):  # which has no classes
        others = [each for each in others if "conditioning" not in " ".join(each)]
    for kept in ([chosen, *others], [chosen, *others[:1]], [chosen]):
        overrides = [*_base(chosen), *(word for choice in kept for word in _words(*choice))]
        if _is_valid([each for each in overrides if not each.startswith(("init_from=", "training.freeze"))]):
            return overrides
    raise ValueError(f"{chosen[0]}={chosen[1]} does not fit the base config")


def _words(key: str, value: str) -> tuple[str, ...] | list[str]:
    if key == SITUATION:
        return SITUATIONS[value].overrides
    needed = NEEDED_TASKS.get(value, "") if key == "architecture/generator" else ""
    return f"{needed} {key}={value}".split()


def _base(chosen: tuple[str, str]) -> list[str]:
    """Returns the overrides of a tiny run that the choice fits: points, multilayer perceptrons, or images."""
    if chosen[0] == "dataset":
        return ["recipe=none", "threads=1", "batch_size=8", "training.log_every=1", "training.checkpoint_every=2"]
    if chosen == (SITUATION, "replay"):
        return [*TINY]
    if chosen == (SITUATION, "pictures"):
        return [each for each in _base(("", "")) if not each.startswith("dataset")]
    without = [each for each in TINY if not (chosen[1] == "mlp" and each.startswith(f"{chosen[0].replace('/', '.')}."))]
    return [each.replace("checkpoint_every=1", "checkpoint_every=2") for each in without]


def _is_valid(overrides: list[str]) -> bool:
    from gan_cli.api_arguments import read_overrides
    from gan_cli.errors import GanCliError

    try:
        read_overrides(overrides)
    except GanCliError:
        return False
    return True


def stop_after(updates: int, number: signal.Signals = signal.SIGINT) -> None:
    """Sends a signal to this process, which ends after the trial, during the update of this number."""
    from support import training  # imports torch, which only the process of a trial may do

    training.stop_after(updates, pytest.MonkeyPatch(), number)


def boundary(trial: Trial) -> None:
    """Trains a run as a whole, and a second one that is stopped after a random update and resumed."""
    known = choices(trial.seed)
    key, name = known[trial.index % len(known)]
    situation = SITUATIONS[name] if key == SITUATION else NOTHING
    overrides = [*options_of(trial.seed, trial.index), *([] if name == "replay" else [f"steps={STEPS}"])]
    fewest = STEPS + STEPS // 2 if "training.generator_updates=2" in overrides else 2 * STEPS  # updates of the run
    fewest = 4 if any("evaluation.patience=1" in each for each in overrides) else fewest
    updates = trial.random.randint(1, fewest - 1)
    trial.note = f"stopped after update {updates}: {' '.join(each for each in overrides if each not in TINY)}"
    situation.prepare(trial)
    whole = trial.run("train", *overrides, "name=whole", before=situation.before)
    if whole.code:
        trial.fault("wrong", f"the unbroken run: exit code {whole.code}, {whole.last_line}")
        return
    stopped = trial.run("train", *overrides, "name=stopped", before=lambda: (situation.before(), stop_after(updates)))
    if stopped.code != 130:
        trial.fault("wrong", f"exit code {stopped.code} after SIGINT: {stopped.last_line}")
    (one,), (other,) = ((trial.here / "outputs" / name).iterdir() for name in ("whole", "stopped"))
    resumed = trial.run("train", f"resume={other}", before=situation.before)
    if resumed.code:
        trial.fault("wrong", f"resumed: exit code {resumed.code}, {resumed.last_line}")
    trial.faults += differences(state_of(other), state_of(one), older=False)
