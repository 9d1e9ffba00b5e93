"""The Python interface: four functions that do what the commands do. Importing this module imports no torch.

    from gan_cli.api import evaluate, load_generator, sample, train

Errors are `gan_cli.errors.GanCliError`: UsageError for a wrong key or value, CheckpointError for a file that cannot be
loaded, DivergedError and CollapsedError for a run that failed, StorageError for a file or folder that cannot be read or
written. The message is one line that says what to change. No function raises SystemExit.
"""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_cli.api_arguments import (
    config_to_overrides,
    parse_evaluation_options,
    parse_overrides,
    read_overrides,
    resolve_config,
)
from gan_cli.config import train_config
from gan_cli.config.compatibility import validate
from gan_cli.config.recipes import GROUP, check_recorded_recipe
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
STOPPED_BY_USER = 128 + signal.SIGINT


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
        resolved, typed = resolve_config(config), config_to_overrides(config)
    else:
        from gan_cli.plugins.option_sources import print_used_files, read_option_sources

        typed = parse_overrides(config)
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
    options = parse_evaluation_options(
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
