"""Writes the images of a run: real samples, grids of generated samples with fixed seeds, and their animation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from gan_cli.config.options.tasks import RESULTS_SHOWN
from gan_cli.data.dataset import to_uint8
from gan_cli.data.labels import all_classes_requested
from gan_cli.errors import one_line
from gan_cli.image_labels.shown_classes import MAX_CLASSES_SHOWN
from gan_cli.images import animation, grid
from gan_cli.images.input_rows import draw_input_rows
from gan_cli.models.generate import SAMPLES_PER_CLASS
from gan_cli.randomness import generator_for
from gan_cli.state.train_state import require_finite
from gan_cli.storage.run_folder import SAMPLES
from gan_cli.training.inputs import ShownInputs
from gan_cli.training.run import Run

PROGRESS, REAL = "progress.webp", "real.png"
IMAGES_SHOWN, POINTS_SHOWN = 64, 1000
CHECKED = 2  # number of samples that are checked for NaN and infinity


def save_real_samples(run: Run) -> None:
    """Writes `samples/real.png`: random samples of the data set, the same ones in every run.

    Raises UsageError if one of them is in a shard and cannot be used, as the steps do that train on it.
    """
    samples = run.batches.dataset.samples
    some = torch.randperm(len(samples), generator=generator_for(0, "shown"))[: _shown(samples)]
    path, pixels = real_samples_path(run), samples[some]
    _write_or_log(run, path, lambda: grid.save_png(grid.draw_grid_or_scatter(pixels, run.modes), path))


def real_samples_path(run: Run) -> Path:
    return run.folder / SAMPLES / REAL


def save_samples(run: Run) -> None:
    """Writes `samples/step_*.png` with the samples of seeds 0, 1, 2 ..., as `gan-sample` does; each class has a row.

    If the task has images, each of the run's inputs has a row. Raises DivergedError if a sample has a NaN or infinite
    value.
    """
    if run.inputs is not None:
        return _save_input_rows(run, run.inputs)
    rows = all_classes_requested(run.config.classes, MAX_CLASSES_SHOWN)
    reals = run.batches.dataset.samples
    seeds = range(SAMPLES_PER_CLASS * len(rows) if rows and reals.ndim > 2 else _shown(reals))
    samples = run.generate(seeds, IMAGES_SHOWN, MAX_CLASSES_SHOWN)
    require_finite(run.state, {"a sample": samples})
    path = grid_path(run)
    lengths = [SAMPLES_PER_CLASS] * len(rows)
    pixels = to_uint8(samples)
    _write_or_log(run, path, lambda: grid.save_png(grid.draw_grid_or_scatter(pixels, run.modes, lengths), path))
    run.log.image(run.state.counters.step, path)


def _save_input_rows(run: Run, inputs: ShownInputs) -> None:
    count, seeds = len(inputs.truth), RESULTS_SHOWN if run.config.architecture.generator.latent_dim else 1
    # `generate` takes the inputs in turn: the first output of each comes from seed 0, as in `gan-sample`
    samples = run.generate([seed for seed in range(seeds) for _ in range(count)], IMAGES_SHOWN)
    require_finite(run.state, {"a sample": samples})
    outputs = samples.view(seeds, count, *samples.shape[1:]).transpose(0, 1)
    path = grid_path(run)
    pixels, lengths = draw_input_rows(inputs.condition, outputs, inputs.truth)
    _write_or_log(run, path, lambda: grid.save_png(grid.draw_grid(pixels, lengths, square=False), path))
    run.log.image(run.state.counters.step, path)


def grid_path(run: Run) -> Path:
    """Returns the path of the sample grid of the last step."""
    return run.folder / SAMPLES / f"step_{run.state.counters.step:08d}.png"


def is_written(path: Path) -> bool:
    """Returns whether a file exists and is not empty, as files may be after a power cut."""
    return path.is_file() and path.stat().st_size > 0


def require_finite_samples(run: Run) -> None:
    """Generates a few samples. Raises DivergedError if they have NaN or infinite values."""
    require_finite(run.state, {"a sample": run.generate(range(CHECKED), CHECKED, MAX_CLASSES_SHOWN)})


def _shown(samples: Tensor) -> int:
    """Returns how many samples are drawn: fewer images than points."""
    return IMAGES_SHOWN if samples.ndim > 2 else POINTS_SHOWN


def save_progress_animation(run: Run) -> None:
    """Writes `progress.webp`, an animation of all sample grids up to the last step."""
    frames = [path for _, path in animation.list_grids(run.folder, run.state.counters.step)]
    path = run.folder / PROGRESS

    def write() -> None:
        if left_out := animation.save_progress_animation(frames, path):
            run.log.info(f"warning: {path}: {left_out}")

    _write_or_log(run, path, write)


def remove_later_grids(run: Run, step: int) -> None:
    """Removes the sample grids of steps after `step`, because the run is rolled back to `step`."""
    for number, path in animation.list_grids(run.folder):
        if number > step:
            path.unlink(missing_ok=True)


def _write_or_log(run: Run, path: Path, write: Callable[[], None]) -> None:
    """Calls `write`. If the image cannot be written, logs a warning and adds `path` to `run.unwritten`.

    Any error is only logged, because an image must not make the run fail: a grid may be damaged or from a stranger.
    """
    run.unwritten.discard(path)
    try:
        write()
    except Exception as error:
        run.unwritten.add(path)
        run.log.info(f"warning: an image could not be written ({one_line(error, 200)})")
