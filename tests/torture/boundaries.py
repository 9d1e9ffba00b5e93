"""Stops runs of all kinds of options after a random update, and resumes them: the end must be equal to the byte."""

from __future__ import annotations

import signal
from functools import cache, partial
from random import Random

import pytest

from torture.scenarios import TINY
from torture.verify import differences, state_of
from torture.worker import Trial

STEPS = 6
GROUPS = ("loss", "regularizer", "conditioning", "optimizer", "architecture/generator", "architecture/discriminator")
# Values of keys beside those of the groups, some with overrides that they need. Each is tried, with random others.
KEYS = {
    "training.n_critic": (2, 3),
    "training.generator_updates": (2,),
    "training.accumulate": (2, 4),
    "training.augment": ("[color,translation,cutout]",),
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
}


@cache
def choices() -> list[tuple[str, str]]:
    """Returns every option of the groups, and every value of KEYS: a new option is tried without a line here."""
    from gan_cli.config.compose import groups

    known = groups("train")
    listed = [(group, option) for group in GROUPS for option in known[group]]
    return listed + [(key, str(value)) for key, values in KEYS.items() for value in values]


def options_of(index: int) -> list[str]:
    """Returns the overrides of a config: choice number `index` modulo their count, with two random others that fit.

    Choices that clash are left out, the random ones first.
    """
    chosen, random = choices()[index % len(choices())], Random(index)
    others = [each for each in random.sample(choices(), 2) if each[0] != chosen[0]]
    for kept in ([chosen, *others], [chosen, *others[:1]], [chosen]):
        overrides = [*_base(chosen), *(word for key, value in kept for word in f"{key}={value}".split())]
        if _is_valid(overrides):
            return overrides
    raise ValueError(f"{chosen[0]}={chosen[1]} does not fit the base config")


def _base(chosen: tuple[str, str]) -> list[str]:
    """Returns the overrides of a tiny run that the choice fits: points, multilayer perceptrons, or images."""
    if chosen[0] == "dataset":
        return ["recipe=none", "threads=1", "batch_size=8", "training.log_every=1", "training.checkpoint_every=2"]
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
    overrides = [*options_of(trial.index), f"steps={STEPS}"]
    updates = trial.random.randint(1, 2 * STEPS - 1)
    trial.note = f"stopped after update {updates}: {' '.join(each for each in overrides if each not in TINY)}"
    whole = trial.run("train", *overrides, "name=whole")
    if whole.code:
        trial.fault("wrong", f"the unbroken run: exit code {whole.code}, {whole.last_line}")
        return
    stopped = trial.run("train", *overrides, "name=stopped", before=partial(stop_after, updates))
    if stopped.code != 130:
        trial.fault("wrong", f"exit code {stopped.code} after SIGINT: {stopped.last_line}")
    (one,), (other,) = ((trial.here / "outputs" / name).iterdir() for name in ("whole", "stopped"))
    resumed = trial.run("train", f"resume={other}")
    if resumed.code:
        trial.fault("wrong", f"resumed: exit code {resumed.code}, {resumed.last_line}")
    trial.faults += differences(state_of(other), state_of(one), older=False)
