"""gan-cli from Python, in the four functions that its commands use too. Importing this imports no torch.

    from gan_cli.api import evaluate, load_generator, sample, train

Errors are `gan_cli.errors.GanCliError`: UsageError for a wrong key or value, CheckpointError for a file that cannot be
taken, DivergedError and CollapsedError for a run that failed, StorageError for a file or folder. Their text is one line
that says what to mend. They are never a SystemExit.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gan_cli.config import train_config
from gan_cli.config.recipes import AUTO, GROUP, NO_RECIPE, NONE, USED, Choice, check_whole
from gan_cli.config.train_config import Config
from gan_cli.errors import UsageError, one_line

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from gan_cli.config.commands import EvalConfig
    from gan_cli.config.metric_names import Evaluated
    from gan_cli.sampling.load_generator import Labels, LoadedGenerator

__all__ = ["evaluate", "load_generator", "sample", "train"]

HOW = ("metrics", "extractor", "n", "reals", "n_real", "resamples")  # to evaluate, of checkpoints and of folders
LEAF = re.compile(r"[\w./+-]+")  # what means itself in Hydra's grammar
STOPPED_BY_USER = 128 + signal.SIGINT


class Asked(NamedTuple):
    """A validated config, the dotted keys that were named, what came along with them, and why this recipe.

    `overrides` are those that came to it, None if none do; `of_recipe` are the keys of `brought` that the recipe set.
    """

    config: Config
    named: tuple[str, ...]
    brought: dict[str, Any]
    recipe: Choice = NO_RECIPE
    overrides: tuple[str, ...] | None = ()
    of_recipe: tuple[str, ...] = ()


def train(config: Sequence[str] | Mapping[str, Any] | Config = ()) -> Path:
    """Trains as `gan-train` does and returns the run's folder.

    `config` is a list of overrides as they are typed, `["experiment=ring", "steps=500"]`; a mapping of the same keys,
    `{"experiment": "ring", "training.ema_decay": 0.99}`, in which sections may be mappings too; or a whole `Config`, as
    that of a loaded generator. What is not named has its default; nothing is read from `sys.argv`. The run is told on
    the standard output, and in the folder.

    UsageError before anything is written if a key or value is wrong. DivergedError or CollapsedError if the run fails.
    KeyboardInterrupt after a Ctrl-C, when its state is saved: `["resume=<its folder>"]` goes on. Stopped by TERM or
    USR1 it has saved too, and the folder is returned; `ended` in its `config.json` says `stopped`.
    """
    if isinstance(config, Config):
        from gan_cli.config.compose import groups

        train_config.refuse_keys_of_sweeps(config)
        train_config.validate(config)
        check_whole(train_config.to_dict(config), groups()[GROUP])
        asked, typed = _asked_of(config), _overrides_of(config)
    else:
        from gan_cli.plugins.option_sources import open_sources, tell_taken

        typed = _overrides(config)
        asked = read_overrides(open_sources(typed))
        tell_taken("train")
    if asked.config.dry_run:
        raise UsageError("dry_run=true: trains nothing, gan-train shows what it would; leave it out")
    from gan_cli.launch.launch import Request, launch

    ended = launch(Request(*asked, command="" if typed is None else shlex.join(["gan-train", *typed])))
    if ended.code == STOPPED_BY_USER:
        raise KeyboardInterrupt
    assert ended.folder is not None
    return ended.folder


def load_generator(
    path: str | os.PathLike[str], *, ema: bool = True, device: str | torch.device = "cpu"
) -> LoadedGenerator:
    """The generator of a checkpoint, of a run by its folder or name (the newest of it), or of an export.

    Its `network(latents, condition)` takes float32 `[N, latent.dim]` and, of one that can be asked for `classes`,
    `[N, len(classes)]` with a 1 in each column that is asked for, else None; it gives images `[N, C, H, W]` in [-1, 1]
    or points `[N, 2]`. Exports are those of `gan-export format=safetensors`.

    `ema` takes the averaged generator where there is one. The file is verified first, and nothing in it can run code.

    CheckpointError for a file that is missing, damaged, foreign or of another shape; UsageError for `ema=False` of an
    export of the average.
    """
    from gan_cli.sampling import load_generator as loading

    return loading.load_generator(path, ema=ema, device=device)


def sample(
    generator: LoadedGenerator,
    seeds: Sequence[int],
    labels: Labels = None,
    *,
    truncation: float | None = None,
    batch_size: int = 64,
) -> Tensor:
    """float32 images `[len(seeds), C, H, W]` in [-1, 1], or points `[len(seeds), 2]`, on the CPU.

    A seed (0 to 2**62) is a sample, the same from one call to the next, whatever the `batch_size`, and as `gan-sample`
    makes it. `labels` say what each is to be: one for all, as `label=` takes it ("cat"; "red,small" of two attributes;
    "cat,dog" shares the seeds out) or a number counted from 0; or a sequence with one for each seed. Without them the
    seeds are shared out among all classes. `truncation` draws latents within so many standard deviations.

    UsageError for labels that the generator does not know, or seeds that are none.
    """
    from gan_cli.sampling import load_generator as loading

    return loading.sample(generator, seeds, labels, truncation=truncation, batch_size=batch_size)


def evaluate(
    path: str | os.PathLike[str] | None = None,
    *,
    real: str | os.PathLike[str] | None = None,
    fake: str | os.PathLike[str] | None = None,
    image_size: int | tuple[int, int] | None = None,
    metrics: Sequence[str] | None = None,
    extractor: str = "auto",
    n: int | None = None,
    reals: str = "held_out",
    n_real: int | None = None,
    seed: int = 1_000_000,
    resamples: int = 200,
    ema: bool = True,
    data: str | os.PathLike[str] | None = None,
    device: str | torch.device = "cpu",
) -> Evaluated:
    """What samples of a checkpoint are worth beside its data, as `gan-eval ckpt=` says it; writes nothing but caches.

    `path` is a checkpoint, or a run by its folder or name. `metrics` are names as `["frechet", "modes"]`, None all
    that the data allow; `extractor` is classifier, random, pixels, inception or auto; `n` samples of seeds from `seed`
    are judged beside as many held-out ones, or beside `n_real` of `reals` (held_out, train, all); `resamples` random
    halves make each interval, 0 none; `data` says where the data were moved to. The result's `figures` have a name,
    `value`, 95 % `interval`, `floor` (what real samples score), `n` and `reals` each, its `about` says what was judged.

    Without `path`, `fake` is a folder or zip of pictures that is compared with another, `real`, as `gan-eval real=
    fake=` does, both brought to `image_size`; `seed`, `ema`, `data` and `device` are of checkpoints alone.

    CheckpointError for a file that cannot be taken, UsageError for data that are gone or do not allow what is asked,
    and for names and numbers that the command would refuse.
    """
    asked = _asked_of_eval(
        ckpt=path, real=real, fake=fake, image_size=image_size, metrics=metrics, extractor=extractor, n=n, reals=reals,
        n_real=n_real, seed=seed, resamples=resamples, ema=ema, data=data,
    )  # fmt: skip
    import torch

    from gan_cli.evaluation.checkpoint_evaluation import evaluate_checkpoint, evaluate_folders
    from gan_cli.evaluation.image_folders import check_folders
    from gan_cli.sampling.load_generator import find_checkpoint

    how: dict[str, Any] = {name: getattr(asked, name) for name in HOW}
    if path is None:
        return evaluate_folders(*check_folders(asked.real, asked.fake), image_size=asked.image_size, **how)
    try:
        where = torch.device(device)
    except RuntimeError as error:
        raise UsageError(f"device={one_line(device, 60)}: is none that PyTorch knows") from error
    return evaluate_checkpoint(
        find_checkpoint(path, "eval"), seed=asked.seed, ema=asked.ema, data=asked.data, device=where, **how
    )


def _asked_of_eval(**given: Any) -> EvalConfig:
    """The arguments of `evaluate` as `gan-eval` would take them, in its words where it would not."""
    from gan_cli.config import schema
    from gan_cli.config.commands import EvalConfig
    from gan_cli.config.compose import compose_default

    for name, value in given.items():
        if isinstance(value, os.PathLike):
            given[name] = os.fspath(value)
        elif hasattr(value, "tolist"):  # of NumPy or PyTorch
            given[name] = value.tolist()
        elif isinstance(value, Iterable) and not isinstance(value, str):
            given[name] = list(value)
    asked: EvalConfig = schema.parse(EvalConfig, {**compose_default("eval"), **given})
    others = [name for name in ("real", "fake", "image_size") if getattr(asked, name) is not None]
    if asked.ckpt is not None and others:
        raise UsageError(
            f"{others[0]}={given[others[0]]}: is for two folders, without a checkpoint; give one or the other"
        )
    if asked.ckpt is None and asked.real is None and asked.fake is None:
        raise UsageError("path is missing: a checkpoint or a run's folder; or give two folders, real= and fake=")
    if asked.ckpt is None and asked.data is not None:
        raise UsageError(f"data={asked.data}: says where a checkpoint's data are, and there is none; use real=")
    return asked


def read_overrides(overrides: Sequence[str]) -> Asked:
    """What a `gan-train` command line comes to, validated as far as it can be without its data."""
    from gan_cli.config.compose import compose_command
    from gan_cli.launch import changes

    resumed = changes.on_resuming(overrides)
    if resumed is not None:
        composed = compose_command("train", resumed.overrides, recipe=NONE)
        named = tuple(key for key in composed.named if key not in resumed.added)
        parsed = train_config.read(composed.data)
        train_config.refuse_keys_of_sweeps(parsed)
        return Asked(parsed, named, {}, NO_RECIPE, tuple(resumed.overrides))
    composed = compose_command("train", overrides)
    parsed = train_config.read(composed.data)
    train_config.refuse_keys_of_sweeps(parsed)
    if parsed.init_from is None:  # else its networks are yet to be known
        train_config.validate(parsed)
    return Asked(parsed, composed.named, composed.brought, composed.recipe, tuple(overrides), composed.of_recipe)


def _asked_of(config: Config) -> Asked:
    """A whole config, with the overrides that come to it under the recipe that it has."""
    from gan_cli.config.overrides import quote_literals

    typed = _overrides_of(config, config.recipe_used) if config.resume == "auto" or config.replay else None
    overrides = None if typed is None else tuple(map(quote_literals, typed))
    return Asked(config, (), {}, Choice(config.recipe_used, ""), overrides)


def _overrides(config: Any) -> list[str]:
    """A list of overrides, or a mapping of them, as they would be typed."""
    if isinstance(config, Mapping):
        return [_typed(key, value) for key, value in _leaves(config)]
    if isinstance(config, str) or not isinstance(config, Iterable):
        raise UsageError(f"config={one_line(config, 60)}: expected a list of overrides, as ['loss=hinge', 'steps=500']")
    overrides = list(config)
    for override in overrides:
        if not isinstance(override, str):
            raise UsageError(f"config: {one_line(repr(override), 60)} is no override, as 'loss=hinge'")
    return overrides


def _overrides_of(config: Config, recipe: str | None = None) -> list[str] | None:
    """The overrides that come to this config: its options, then what is not as they have it; None if none do.

    `recipe` is what `recipe=auto` stands for; None has it chosen by the data of today.
    """
    from gan_cli.config.compose import compose_command, compose_default
    from gan_cli.config.overrides import quote_literals

    wanted = train_config.to_dict(config)
    default = train_config.to_dict(train_config.read(compose_default("train")))
    usual = dict(train_config.flatten(default))
    chosen = {
        key.removesuffix(".name").replace(".", "/"): value
        for key, value in train_config.flatten(wanted)
        if key.endswith(".name") and usual.get(key) != value
    }
    if wanted["regularizer"].keys() != default["regularizer"].keys():
        chosen["regularizer"] = list(wanted["regularizer"]) or "none"
    if wanted["recipe"] != AUTO:
        chosen["recipe"] = wanted["recipe"]
    left = {train_config.RECORDED, USED} | ({"steps"} if config.budget is not None else set())  # a command says one end
    set_: dict[str, Any] = {}
    for _ in range(3):  # to set a key may change those that follow it
        typed = [_typed(key, value) for key, value in {**chosen, **set_}.items()]
        try:
            overrides = list(map(quote_literals, typed))
            composed = train_config.to_dict(train_config.read(compose_command("train", overrides, recipe).data))
        except UsageError:
            return None  # options of a file, or of a plugin, that is not here
        found = dict(train_config.flatten(composed))
        leaves = {key: value for key, value in train_config.flatten(wanted) if key not in left}
        differing = {key: value for key, value in leaves.items() if key not in found or found[key] != value}
        if not differing:
            return typed if found.keys() - left == leaves.keys() else None
        set_ |= differing
    return None


def _leaves(config: Mapping[str, Any], path: str = "") -> list[tuple[str, Any]]:
    leaves: list[tuple[str, Any]] = []
    for name, value in config.items():
        dotted = f"{path}.{name}" if path else str(name)
        leaves += _leaves(value, dotted) if isinstance(value, Mapping) else [(dotted, value)]
    return leaves


def _typed(key: str, value: Any) -> str:
    from gan_cli.config.overrides import LITERAL_KEYS

    return f"{key}={value}" if key in LITERAL_KEYS and isinstance(value, str | Path) else f"{key}={_value(key, value)}"


def _value(key: str, value: Any) -> str:
    from gan_cli.config.overrides import quote

    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return "[" + ",".join(_value(key, item) for item in value) + "]"
    if isinstance(value, int | float):
        return repr(value)
    text = str(value)
    return text if LEAF.fullmatch(text) else quote(text)
