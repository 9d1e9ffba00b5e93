"""The Python interface: four functions that do what the commands do. Importing this module imports no torch.

    from gan_cli.api import evaluate, load_generator, sample, train

All errors are subclasses of `gan_cli.errors.GanCliError`. UsageError means that a key or value is wrong.
CheckpointError means that a file cannot be loaded. DivergedError and CollapsedError mean that a run failed.
StorageError means that a file or folder cannot be read or written. The message of an error is one line that says what
to change. No function raises SystemExit.
"""

from __future__ import annotations

import dataclasses
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
    from numpy.typing import ArrayLike
    from torch import Tensor

    from gan_cli.sampling.image_arguments import Images
    from gan_cli.sampling.load_generator import LoadedGenerator
    from gan_cli.sampling.requested_classes import Labels
    from gan_cli.storage.evaluation_file import EvaluationResult

__all__ = ["evaluate", "load_generator", "sample", "train"]

STOPPED_BY_USER = 128 + signal.SIGINT


def train(config: Sequence[str] | Mapping[str, Any] | Config = ()) -> Path:
    """Trains as `gan-train` does and returns the run's folder.

    `config` may be a list of overrides as on the command line, such as `["experiment=ring", "steps=500"]`. It may be a
    mapping of the same keys, such as `{"experiment": "ring", "training.ema_decay": 0.99}`, and a section in the mapping
    may be a mapping too. Or it is a complete `Config`, such as `config` of a loaded generator. Keys that are not given
    have their defaults. The function does not read `sys.argv`. The run logs to the standard output and to its folder.

    Raises UsageError, before it writes anything, if a key or value is wrong. Raises DivergedError or CollapsedError if
    the run fails. Raises KeyboardInterrupt after Ctrl-C: the run has then saved its state, and
    `train(["resume=<folder of the run>"])` continues it. After the signals TERM, USR1 or HUP the function saves the
    state and returns the folder; the value of `ended` in `config.json` of the folder is then `stopped`.
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
    from gan_cli.launch.start_run import launch

    command = "" if typed is None else shlex.join(["gan-train", *typed])
    ended = launch(dataclasses.replace(resolved, command=command))
    if ended.code == STOPPED_BY_USER:
        raise KeyboardInterrupt
    assert ended.folder is not None
    return ended.folder


def load_generator(
    path: str | os.PathLike[str], *, ema: bool = True, device: str | torch.device = "cpu"
) -> LoadedGenerator:
    """Loads a generator from a checkpoint, from a run, or from an export that `gan-export format=safetensors` wrote.

    A run is named by its folder or by its name. The function then loads the best checkpoint of the run, or the newest
    one if the run has no best checkpoint. If `ema` is true and the checkpoint has an averaged generator, the function
    loads the averaged generator. It verifies the file before it loads it, and nothing in the file can run code.

    Returns a LoadedGenerator. Its `network(latents, condition)` takes float32 latents `[N, latent.dim]` and a
    condition. The condition is None if `classes` is empty; otherwise it is `[N, len(classes)]` with a 1 in the column
    of each requested class. The network returns images `[N, C, H, W]` in [-1, 1], or points `[N, 2]`. The networks
    r3gan, pggan, stylegan2 and edsr do not bound their values: some may be outside of [-1, 1].

    Raises CheckpointError if the file is missing, is damaged, was not written by gan-cli, or holds tensors of other
    shapes. Raises UsageError if `ema` is false and an export holds only the averaged generator.
    """
    from gan_cli.sampling import load_generator as loading

    return loading.load_generator(path, ema=ema, device=device)


def sample(
    generator: LoadedGenerator,
    seeds: Sequence[int] | None = None,
    labels: Labels = None,
    *,
    latents: ArrayLike | None = None,
    images: Images | None = None,
    masks: Images | None = None,
    truncation: float | None = None,
    batch_size: int = 64,
) -> Tensor:
    """Generates one sample for each seed, or for each of `latents`.

    Returns float32 images `[len(seeds), C, H, W]` in [-1, 1], or points `[len(seeds), 2]`, on the CPU. Some values of
    r3gan, pggan, stylegan2 and edsr may be outside; a value x is the pixel clamp(round((x + 1) * 127.5), 0, 255). A
    seed, from 0 to 2**62, always gives the same sample, with any `batch_size`, and also in `gan-sample`.

    `labels` is one label for all seeds, or a sequence with one label for each seed. A label is the number of a class,
    counted from 0, or a text in the syntax of the option `label=`: "cat" is one class, "red,small" is one class of each
    of two attributes, and "cat,dog" uses `cat` for the first half of the seeds and `dog` for the second half. If
    `labels` is None, the seeds are divided evenly among all classes. `truncation` is the largest absolute value of a
    latent, in standard deviations if the latents are normal; of a generator with styles, as stylegan2, the factor by
    which the distance of a style from the mean style is multiplied. None truncates nothing, as pggan and fastgan need.

    `latents` in place of seeds are latents z `[N, latent.dim]`, or of a generator with a mapping network its styles w
    `[N, layers, D]` or `[N, D]`, as numbers of NumPy or PyTorch. They are used as they are, so without `truncation`.
    Styles have their class in them, so without `labels`.

    A generator of task=translation, inpainting or super_resolution needs `images`, float `[len(seeds), C, H, W]` in
    [-1, 1], or `[1, C, H, W]` for all seeds: the source images, the images to paint in, or the small images. `masks` of
    task=inpainting are `[len(seeds), 1, H, W]` or `[1, 1, H, W]`, 1 where the generator paints; without them, masks are
    drawn as in training. Both are tensors or NumPy arrays.

    Raises UsageError if the generator does not have the requested classes, or if a seed or another value is invalid.
    Raises CheckpointError if a sample has NaN or infinite values.
    """
    from gan_cli.sampling import load_generator as loading

    if latents is not None:
        from gan_cli.sampling.given_latents import sample_latents

        for name, value in {"seeds": seeds, "images": images, "masks": masks, "truncation": truncation}.items():
            if value is not None:
                raise UsageError(f"{name} and latents: latents are used as they are, leave {name} out")
        return sample_latents(generator, latents, labels, batch_size=batch_size)
    if seeds is None:
        raise UsageError("seeds is missing: several whole numbers, as range(64), or latents")
    return loading.sample(
        generator, seeds, labels, images=images, masks=masks, truncation=truncation, batch_size=batch_size
    )


def evaluate(
    path: str | os.PathLike[str] | None = None,
    *,
    real: str | os.PathLike[str] | None = None,
    fake: str | os.PathLike[str] | None = None,
    image_size: int | tuple[int, int] | None = None,
    fit: str = "crop",
    follow_links: bool = False,
    max_pixels: int = 64_000_000,
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
    """Compares samples of a checkpoint with real samples, as `gan-eval ckpt=` does. Writes only cache files.

    `path` is a checkpoint, or the folder or name of a run. `metrics` lists names such as `["frechet", "modes"]`; None
    computes all that the data allow. `extractor` is one of `gan-eval`. The `n` samples have the seeds from `seed` on.
    They are compared with `n_real` (by default `n`) real samples, chosen by `reals`: held_out, train or all. Intervals
    come from `resamples` random halves of the samples; 0: none. `data` is the new path of data that were moved. Links
    out of a folder of images are read only if `follow_links` is True.
    Without `path`, compares the images of `fake`, a folder or zip, with those of `real`, as `gan-eval real= fake=`
    does, of at most `max_pixels`. They get the size `image_size` by the method `fit` (crop, pad or stretch).
    Returns a result with `figures` and `about`, which describes the evaluation. Each figure has a `name`, a `value`,
    a 95 % `interval`, a `floor` (the value that real samples would have), `n` and `reals`.
    Raises CheckpointError for a file that cannot be loaded, UsageError for missing or unsuitable data or a wrong value.
    """
    import torch

    from gan_cli.evaluation.checkpoint_evaluation import evaluate_checkpoint, evaluate_folders
    from gan_cli.sampling.load_generator import find_checkpoint

    options = parse_evaluation_options(
        ckpt=path, real=real, fake=fake, image_size=image_size, fit=fit, follow_links=follow_links,
        max_pixels=max_pixels, metrics=metrics, extractor=extractor, n=n, reals=reals, n_real=n_real, seed=seed,
        resamples=resamples, ema=ema, data=data,
    )  # fmt: skip
    try:
        device = torch.device(device)
    except RuntimeError as error:
        raise UsageError(f"device={one_line(device, 60)}: is none that PyTorch knows") from error
    if options.ckpt is None:
        return evaluate_folders(options, device)[0]
    return evaluate_checkpoint(find_checkpoint(options.ckpt, "eval"), options, device)[0]
