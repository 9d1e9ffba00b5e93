"""The command `gan-project`: writes the latents of given images, a film of the way to them, and how near they are."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from gan_cli.config.commands import ProjectConfig
from gan_cli.data.labels import all_classes_requested, distribute_evenly, parse_labels
from gan_cli.device import build_device, limit_threads
from gan_cli.errors import GanCliError, UsageError, count_noun, one_line
from gan_cli.evaluation.checkpoint_evaluation import data_of_checkpoint
from gan_cli.evaluation.metrics.feature_extractors import Extractor, build_pixel_extractor, build_random_extractor
from gan_cli.evaluation.real_data import RealData
from gan_cli.evaluation.reference import build_extractor
from gan_cli.images import grid
from gan_cli.images.animation import Animation, write_animation
from gan_cli.latent_space.latent_variables import LatentSpace, W, Z, find_space
from gan_cli.latent_space.projection import Projections, Search, draw_samples, make_candidates, project_images
from gan_cli.sampling.given_latents import origin_arrays
from gan_cli.sampling.interpolation import MIN_FRAME_SIDE
from gan_cli.sampling.load_generator import LoadedGenerator, default_folder, find_checkpoint, load_generator
from gan_cli.sampling.read_inputs import InputImage, read_images
from gan_cli.sampling.requested_samples import file_name_part
from gan_cli.storage.output_file import claim_unused, output_file, output_folder
from gan_cli.storage.run_folder import write_json

DEFAULT_HELD_OUT = 8
COLUMNS, MOST_SHOWN, MOST_IN_FILM = 16, 64, 16
LATENTS, OVERVIEW, FILM, RECORD = "latents.npz", "projection.png", "way.webp", "projection.json"


class _Task(NamedTuple):
    """What is searched for, and with what."""

    images: Sequence[InputImage]
    extractor: Extractor
    space: LatentSpace
    labels: Tensor | None  # of the candidates


def project(config: ProjectConfig) -> int:
    """Writes a folder with the latents as npz, an overview, an animation and a JSON record. Returns the exit code 0.

    Raises UsageError if an option is wrong, or an image cannot be used.
    """
    if config.input is not None and config.n is not None:
        raise UsageError(f"n={config.n}: is the number of held-out images, without input; leave it out")
    output_file(config.out, "", "gan-project")  # raises UsageError for the name of a file
    if config.starts > config.candidates + 1:
        config = dataclasses.replace(config, starts=config.candidates + 1)
        print(f"starts: {config.starts}, the mean latent and each of candidates={config.candidates}", flush=True)
    assert config.ckpt is not None  # `check_named_files` has seen to it
    device = build_device(config.device)
    limit_threads()
    generator = load_generator(config.ckpt, ema=config.ema, device=device)
    parent = Path(config.out) if config.out else default_folder(generator.path, "projections")
    with output_folder(parent) as temporary:
        task = _prepare(config, generator)
        found = _search(config, task)
        part = temporary / "projection"
        part.mkdir()
        _write(config, generator, task, found, part)
        given = config.input
        source = task.images[0].name.rpartition("_")[0] if given is None else file_name_part(Path(given).stem)
        target = claim_unused(part, parent, f"{generator.path.stem}_{source}_{task.space.name}", "")
    best = f"the best of {count_noun(config.candidates, 'sample')}"
    for image, own, nearest in zip(task.images, found.psnr.tolist(), found.nearest_psnr.tolist(), strict=True):
        print(f"{one_line(image.name, 60)}: {own:.1f} dB; {best} {nearest:.1f} dB")
    own, nearest = found.psnr.mean().item(), found.nearest_psnr.mean().item()
    if len(task.images) > 1:
        print(f"mean of {len(task.images)}: {own:.1f} dB; {best} {nearest:.1f} dB")
    print(target)
    return 0


def _prepare(config: ProjectConfig, generator: LoadedGenerator) -> _Task:
    """Reads the images, and builds the extractor. Raises UsageError if they do not fit the generator."""
    if len(generator.sample_shape) == 1:
        raise UsageError("this checkpoint makes points; it is for images")
    if generator.has_image_input:
        raise UsageError("this generator makes images from images, not from latents alone")
    space = find_space(generator, config.space)
    if config.label is not None and not generator.classes:
        raise UsageError(f"label={config.label}: this checkpoint is unconditional and takes no class, leave it out")
    if config.label is not None and len(named := parse_labels(generator.classes, config.label)) > 1:
        raise UsageError(f"label={config.label}: names {len(named)} classes, give the one of all images")
    images, lines = ([], []) if config.input is None else read_images(generator, config.input)
    for line in lines:
        print(line, flush=True)
    real = _real_data(config, generator)
    if config.input is None:
        assert real is not None
        count = config.n or DEFAULT_HELD_OUT
        held_out, own = real.held_out_images(min(count, real.max_per_side))
        kind = "held_out" if own is None else "training"
        images = [InputImage(f"{kind}_{number:03d}", pixels) for number, pixels in enumerate(held_out)]
        print(f"input: {count_noun(len(images), kind.replace('_', '-') + ' image')} of the run's data", flush=True)
    channels = generator.sample_shape[0]
    if config.extractor == "pixels":
        extractor = build_pixel_extractor()
    elif real is None or config.extractor == "random":
        extractor = build_random_extractor(channels)
    else:
        extractor = build_extractor(config.extractor, real, lambda line: print(line, flush=True))
    print(f"features: {extractor.name}", flush=True)
    return _Task(images, extractor, space, _labels_of_candidates(config, generator))


def _real_data(config: ProjectConfig, generator: LoadedGenerator) -> RealData | None:
    """Returns the data of the run if they are needed: for held-out images, or for the classifier.

    With extractor=auto and given images, returns None if the data cannot be read.
    """
    needed = config.input is None or config.extractor == "classifier"
    if not needed and config.extractor != "auto":
        return None
    if generator.config is None:
        if not needed:
            return None
        key = "input is missing" if config.input is None else "extractor=classifier"
        raise UsageError(f"{key}: an export has no data; give input=an image, and extractor=random")
    try:
        return data_of_checkpoint(find_checkpoint(generator.path), None)[1]
    except GanCliError as error:
        if needed:
            raise
        print(f"features: random, as the run's data cannot be read ({one_line(error, 200)})", file=sys.stderr)
        return None


def _labels_of_candidates(config: ProjectConfig, generator: LoadedGenerator) -> Tensor | None:
    """Returns the labels of the samples that are compared: of the class that is named, or of all classes evenly."""
    if not generator.classes:
        return None
    named = config.label
    rows = all_classes_requested(generator.classes) if named is None else parse_labels(generator.classes, named)
    seeds = range(config.seed, config.seed + config.candidates)
    return generator.encode(distribute_evenly(rows, config.candidates), seeds)


def _search(config: ProjectConfig, task: _Task) -> Projections:
    """Searches for the images in batches, and joins what was found."""
    seeds, parts = range(config.seed, config.seed + config.candidates), list[Projections]()
    search = Search(
        config.steps, config.starts, config.lr, config.feature_weight, config.seed, config.frames, config.batch_size
    )
    candidates = make_candidates(task.space, task.extractor, seeds, task.labels, config.batch_size)
    pixels = torch.stack([image.pixels for image in task.images])
    batches = pixels.split(max(1, config.batch_size // config.starts))
    for number, images in enumerate(batches):
        print(f"searching: batch {number + 1} of {len(batches)}", flush=True)
        parts.append(project_images(images, task.space, task.extractor, candidates, search))
    joined = {name: [getattr(part, name) for part in parts] for name in Projections._fields}
    labels = None if parts[0].labels is None else torch.cat(joined.pop("labels"))
    joined.pop("labels", None)
    return Projections(
        labels=labels, **{name: torch.cat(values, 1 if name == "way" else 0) for name, values in joined.items()}
    )


def _write(config: ProjectConfig, generator: LoadedGenerator, task: _Task, found: Projections, folder: Path) -> None:
    """Writes all files of the folder."""
    name = Z if task.space.name == Z else W
    arrays: dict[str, Any] = {name: task.space.network_input(found.latents).numpy(), "psnr": found.psnr.numpy()}
    if found.labels is not None:
        arrays["conditions"] = found.labels.to(torch.uint8).numpy()
    np.savez(folder / LATENTS, **arrays | origin_arrays(generator))
    pixels = torch.stack([image.pixels for image in task.images])
    for file, most in ((OVERVIEW, MOST_SHOWN), (FILM, MOST_IN_FILM)):
        if len(pixels) > most:
            print(f"{file}: shows the first {most} of {count_noun(len(pixels), 'image')}", flush=True)
    rows = [pixels[:MOST_SHOWN], found.nearest[:MOST_SHOWN], found.samples[:MOST_SHOWN]]
    blocks = [part for parts in zip(*(row.split(COLUMNS) for row in rows), strict=True) for part in parts]
    grid.save_png(grid.draw_grid(torch.cat(blocks), [*map(len, blocks)], square=False), folder / OVERVIEW)
    frames = _draw_frames(config, task, pixels[:MOST_IN_FILM], found)
    write_animation(Animation(frames, config.frames, config.fps, last_frame_seconds=1.0), folder / FILM)
    errors = zip(task.images, found.psnr.tolist(), found.nearest_psnr.tolist(), strict=True)
    record = {
        "checkpoint": str(generator.path.absolute()),
        "sha256": generator.sha256,
        "step": generator.step,
        "ema": generator.ema,
        "gan_cli": generator.card.gan_cli,
        "input": config.input,
        "label": config.label,
        "space": task.space.name,
        "extractor": task.extractor.name,
        "shown": {OVERVIEW: min(len(pixels), MOST_SHOWN), FILM: min(len(pixels), MOST_IN_FILM)},
        **{key: getattr(config, key) for key in ("steps", "starts", "candidates", "lr", "feature_weight", "seed")},
        "images": [
            {"name": image.name, "sha256": image.sha256, "psnr": own, "psnr_of_best_sample": nearest}
            for image, own, nearest in errors
        ],
    }
    write_json(folder / RECORD, record)


def _draw_frames(config: ProjectConfig, task: _Task, images: Tensor, found: Projections) -> Iterator[Image.Image]:
    """Yields the frames of the way: the images in the first row, and below them where the search is."""
    labels, count = None if found.labels is None else found.labels[: len(images)], len(images)
    columns = math.ceil(count / math.ceil(count / 8))
    for latents in found.way[:, :count]:
        samples = draw_samples(task.space, latents, labels, config.batch_size)
        parts = zip(images.split(columns), samples.split(columns), strict=True)
        rows = [row for pair in parts for row in pair]
        frame = grid.draw_grid(torch.cat(rows), [*map(len, rows)], square=False)
        yield ImageOps.scale(frame, max(MIN_FRAME_SIDE // max(frame.size), 1), Image.Resampling.NEAREST)
