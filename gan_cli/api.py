"""The Python interface: four functions that do what the commands do. Importing this module imports no torch.

    from gan_cli.api import evaluate, load_generator, sample, train

Errors are `gan_cli.errors.GanCliError`: UsageError for a wrong key or value, CheckpointError for a file that cannot be
loaded, DivergedError and CollapsedError for a run that failed, StorageError for a file or folder that cannot be read or
written. The message is one line that says what to change. No function raises SystemExit.
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
from gan_cli.config.compatibility import validate
from gan_cli.config.recipes import AUTO, GROUP, NO_RECIPE, NONE, USED_KEY, RecipeChoice, check_recorded_recipe
from gan_cli.config.train_config import Config
from gan_cli.errors import UsageError, one_line

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from gan_cli.config.commands import EvalConfig
    from gan_cli.config.metric_names import EvaluationResult
    from gan_cli.sampling.load_generator import Labels, LoadedGenerator

__all__ = ["evaluate", "load_generator", "sample", "train"]

EVALUATION_OPTIONS = ("metrics", "extractor", "n", "reals", "n_real", "resamples")  # for checkpoints and for folders
UNQUOTED = re.compile(r"[\w./+-]+")  # values that need no quotes in Hydra's grammar
STOPPED_BY_USER = 128 + signal.SIGINT


class ResolvedConfig(NamedTuple):
    """A validated config and where its values come from.

    `named` are the dotted keys that the user set, `implied` the values that other choices set, `from_recipe` the keys
    of `implied` that the recipe set. `recipe` is the recipe and the reason for it. `overrides` compose to this config;
    None if there are none.
    """

    config: Config
    named: tuple[str, ...]
    implied: dict[str, Any]
    recipe: RecipeChoice = NO_RECIPE
    overrides: tuple[str, ...] | None = ()
    from_recipe: tuple[str, ...] = ()


def train(config: Sequence[str] | Mapping[str, Any] | Config = ()) -> Path:
    """Trains as `gan-train` does and returns the run's folder.

    `config` is a list of overrides as on the command line, `["experiment=ring", "steps=500"]`; a mapping of the same
    keys, `{"experiment": "ring", "training.ema_decay": 0.99}`, in which sections may be mappings too; or a whole
    `Config`, such as that of a loaded generator. Keys that are not given have their defaults; nothing is read from
    `sys.argv`. The run logs to the standard output and to its folder.

    UsageError, before anything is written, for a wrong key or value. DivergedError or CollapsedError if the run fails.
    KeyboardInterrupt after Ctrl-C; the state is saved, and `["resume=<its folder>"]` continues. After TERM or USR1 the
    state is saved too and the folder is returned; `ended` in its `config.json` is then `stopped`.
    """
    if isinstance(config, Config):
        from gan_cli.config.compose import groups

        train_config.refuse_sweep_keys(config)
        validate(config)
        check_recorded_recipe(train_config.to_dict(config), groups()[GROUP])
        resolved, typed = _resolve(config), _overrides_of(config)
    else:
        from gan_cli.plugins.option_sources import print_used_files, read_option_sources

        typed = _overrides(config)
        resolved = read_overrides(read_option_sources(typed))
        print_used_files("train")
    if resolved.config.dry_run:
        raise UsageError("dry_run=true: trains nothing, it is for gan-train, which prints a summary; leave it out")
    from gan_cli.launch.launch import Request, launch

    ended = launch(Request(*resolved, command="" if typed is None else shlex.join(["gan-train", *typed])))
    if ended.code == STOPPED_BY_USER:
        raise KeyboardInterrupt
    assert ended.folder is not None
    return ended.folder


def load_generator(
    path: str | os.PathLike[str], *, ema: bool = True, device: str | torch.device = "cpu"
) -> LoadedGenerator:
    """Loads the generator of a checkpoint, of a run by its folder or name (the newest checkpoint), or of an export.

    Its `network(latents, condition)` takes float32 latents `[N, latent.dim]` and a condition: None if `classes` is
    empty, else `[N, len(classes)]` with a 1 in the column of each requested class. It returns images `[N, C, H, W]` in
    [-1, 1] or points `[N, 2]`. Exports are those of `gan-export format=safetensors`.

    `ema` takes the averaged generator if there is one. The file is verified first; nothing in it can run code.

    CheckpointError for a file that is missing, damaged, foreign or of another shape; UsageError for `ema=False` if an
    export holds only the averaged generator.
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
    """Generates one sample per seed: float32 images `[len(seeds), C, H, W]` in [-1, 1] or points `[len(seeds), 2]`.

    The samples are on the CPU. A seed (0 to 2**62) always gives the same sample, with any `batch_size`, in
    `gan-sample` too. `labels` are the requested classes: one label for all seeds, in the syntax of `label=` ("cat";
    "red,small" for two attributes; "cat,dog" divides the seeds between both) or the number of a class, counted from 0;
    or a sequence with one label for each seed. Without `labels` the seeds are divided evenly among all classes.
    `truncation` is the largest absolute value of a latent, in standard deviations.

    UsageError for labels that the generator does not have, or invalid seeds.
    """
    from gan_cli.sampling import load_generator as loading

    return loading.sample(generator, seeds, labels, truncation=truncation, batch_size=batch_size)


def evaluate(
    path: str | os.PathLike[str] | None = None,
    *,
    real: str | os.PathLike[str] | None = None,
    fake: str | os.PathLike[str] | None = None,
    image_size: int | tuple[int, int] | None = None,
    fit: str = "crop",
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
) -> EvaluationResult:
    """Evaluates samples of a checkpoint against its data, as `gan-eval ckpt=` does; writes nothing but caches.

    `path` is a checkpoint, or a run by its folder or name. `metrics` are names such as `["frechet", "modes"]`, None for
    all that the data allow. `extractor` is classifier, random, pixels, inception or auto. `n` samples of the seeds from
    `seed` on are compared with as many held-out ones, or with `n_real` of `reals` (held_out, train, all). Intervals
    come from `resamples` random halves; 0 for none. `data` is the place of data that were moved. The result has
    `figures`, each with `name`, `value`, 95 % `interval`, `floor` (the value of real samples), `n` and `reals`, and
    `about`, which describes the evaluation.

    Without `path`, the images of a folder or zip `fake` are compared with those of `real` at the size `image_size`,
    brought to it by `fit` (crop, pad, stretch), as by `gan-eval real= fake=`; `seed`, `ema`, `data` and `device` are
    for checkpoints only.

    CheckpointError for a file that cannot be loaded; UsageError for data that are missing or do not allow a metric, and
    for names and numbers that the command would refuse.
    """
    options = _parse_evaluation_options(
        ckpt=path, real=real, fake=fake, image_size=image_size, fit=fit, metrics=metrics, extractor=extractor, n=n,
        reals=reals, n_real=n_real, seed=seed, resamples=resamples, ema=ema, data=data,
    )  # fmt: skip
    return _evaluate(options, device)


def _evaluate(options: EvalConfig, device: str | torch.device) -> EvaluationResult:
    """Evaluates a checkpoint, or compares two folders of images if there is none."""
    import torch

    from gan_cli.evaluation.checkpoint_evaluation import evaluate_checkpoint, evaluate_folders
    from gan_cli.evaluation.image_folders import check_folders
    from gan_cli.sampling.load_generator import find_checkpoint

    shared: dict[str, Any] = {name: getattr(options, name) for name in EVALUATION_OPTIONS}
    if options.ckpt is None:
        folders = check_folders(options.real, options.fake)
        return evaluate_folders(*folders, image_size=options.image_size, fit=options.fit, **shared)
    try:
        device = torch.device(device)
    except RuntimeError as error:
        raise UsageError(f"device={one_line(device, 60)}: is none that PyTorch knows") from error
    found = find_checkpoint(options.ckpt, "eval")
    return evaluate_checkpoint(found, seed=options.seed, ema=options.ema, data=options.data, device=device, **shared)


def _parse_evaluation_options(**given: Any) -> EvalConfig:
    """Parses the arguments of `evaluate` as options of `gan-eval`; UsageError as the command would give it."""
    from gan_cli.config import schema
    from gan_cli.config.commands import EvalConfig
    from gan_cli.config.compose import compose_default

    for name, value in given.items():
        if isinstance(value, os.PathLike):
            given[name] = os.fspath(value)
        elif hasattr(value, "tolist"):  # NumPy or PyTorch
            given[name] = value.tolist()
        elif isinstance(value, Iterable) and not isinstance(value, str):
            given[name] = list(value)
    options: EvalConfig = schema.parse(EvalConfig, {**compose_default("eval"), **given})
    others = [name for name in ("real", "fake", "image_size") if getattr(options, name) is not None]
    others += ["fit"] if options.fit != "crop" else []
    if options.ckpt is not None and others:
        raise UsageError(
            f"{others[0]}={given[others[0]]}: is for two folders, without a checkpoint; give one or the other"
        )
    if options.ckpt is None and options.real is None and options.fake is None:
        raise UsageError("path is missing: a checkpoint or a run's folder; or give two folders, real= and fake=")
    if options.ckpt is None and options.data is not None:
        raise UsageError(f"data={options.data}: says where a checkpoint's data are, and there is none; use real=")
    return options


def read_overrides(overrides: Sequence[str]) -> ResolvedConfig:
    """Composes and validates the config of a `gan-train` command line, as far as that is possible without its data."""
    from gan_cli.config.compose import compose_command
    from gan_cli.launch import resume_changes

    resumed = resume_changes.overrides_for_resume(overrides)
    if resumed is not None:
        composed = compose_command("train", resumed.overrides, recipe=NONE)
        named = tuple(key for key in composed.named if key not in resumed.added)
        parsed = train_config.parse_unvalidated(composed.data)
        train_config.refuse_sweep_keys(parsed)
        return ResolvedConfig(parsed, named, {}, NO_RECIPE, tuple(resumed.overrides))
    composed = compose_command("train", overrides)
    parsed = train_config.parse_unvalidated(composed.data)
    train_config.refuse_sweep_keys(parsed)
    if parsed.init_from is None:  # else its networks are not known yet
        validate(parsed)
    origin = (composed.named, composed.implied, composed.recipe, tuple(overrides), composed.from_recipe)
    return ResolvedConfig(parsed, *origin)


def _resolve(config: Config) -> ResolvedConfig:
    """Returns a whole config with overrides that compose to it; these are needed only to resume or replay a run."""
    from gan_cli.config.overrides import quote_literals

    typed = _overrides_of(config, config.recipe_used) if config.resume == "auto" or config.replay else None
    overrides = None if typed is None else tuple(map(quote_literals, typed))
    return ResolvedConfig(config, (), {}, RecipeChoice(config.recipe_used, ""), overrides)


def _overrides(config: Any) -> list[str]:
    """Converts a list or mapping of overrides to a list as on the command line; UsageError if it is neither."""
    if isinstance(config, Mapping):
        return [_typed(key, value) for key, value in train_config.flatten(config)]
    if isinstance(config, str) or not isinstance(config, Iterable):
        raise UsageError(f"config={one_line(config, 60)}: expected a list of overrides, as ['loss=hinge', 'steps=500']")
    overrides = list(config)
    for override in overrides:
        if not isinstance(override, str):
            raise UsageError(f"config: {one_line(repr(override), 60)} is no override such as 'loss=hinge'")
    return overrides


def _overrides_of(config: Config, recipe: str | None = None) -> list[str] | None:
    """Returns overrides that compose to this config: its options, then single values; None if no overrides do.

    `recipe` is the recipe that `recipe=auto` stands for; None chooses it by the data as they are now.
    """
    from gan_cli.config.compose import compose_command, compose_default
    from gan_cli.config.overrides import quote_literals

    target = train_config.to_dict(config)
    default = train_config.to_dict(train_config.parse_unvalidated(compose_default("train")))
    defaults = dict(train_config.flatten(default))
    chosen = {
        key.removesuffix(".name").replace(".", "/"): value
        for key, value in train_config.flatten(target)
        if key.endswith(".name") and defaults.get(key) != value
    }
    if target["regularizer"].keys() != default["regularizer"].keys():
        chosen["regularizer"] = list(target["regularizer"]) or "none"
    if target["recipe"] != AUTO:
        chosen["recipe"] = target["recipe"]
    left_out = {train_config.RECORDED_KEY, USED_KEY} | (
        set() if config.budget is None else {"steps"}
    )  # a command sets one of both
    changed: dict[str, Any] = {}
    for _ in range(3):  # setting a key may change the defaults of other keys
        typed = [_typed(key, value) for key, value in {**chosen, **changed}.items()]
        try:
            overrides = list(map(quote_literals, typed))
            composed = train_config.to_dict(
                train_config.parse_unvalidated(compose_command("train", overrides, recipe).data)
            )
        except UsageError:
            return None  # an option of a file or plugin that is missing
        found = dict(train_config.flatten(composed))
        leaves = {key: value for key, value in train_config.flatten(target) if key not in left_out}
        differing = {key: value for key, value in leaves.items() if key not in found or found[key] != value}
        if not differing:
            return typed if found.keys() - left_out == leaves.keys() else None
        changed |= differing
    return None


def _typed(key: str, value: Any) -> str:
    """Formats one override as on the command line."""
    from gan_cli.config.overrides import LITERAL_KEYS

    return f"{key}={value}" if key in LITERAL_KEYS and isinstance(value, str | Path) else f"{key}={_value(value)}"


def _value(value: Any) -> str:
    """Formats a value in Hydra's grammar, in quotes if it needs them."""
    from gan_cli.config.overrides import quote_for_hydra

    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return "[" + ",".join(_value(item) for item in value) + "]"
    if isinstance(value, int | float):
        return repr(value)
    text = str(value)
    return text if UNQUOTED.fullmatch(text) else quote_for_hydra(text)
