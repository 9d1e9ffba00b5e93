"""Plans and draws the animations that `gan-sample` writes.

format=interpolate interpolates from the sample of one seed to the sample of the next seed. format=walk also returns
from the last seed to the first. format=progress shows the sample grids that a training run has saved.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image, ImageOps
from torch import Tensor

from gan_cli.config.commands import ANIMATION_FORMATS, CONTAINERS, FRAMES_FOLDER, SampleConfig
from gan_cli.data.dataset import to_uint8
from gan_cli.data.labels import RequestedCondition, distribute_evenly
from gan_cli.errors import UsageError, count_noun
from gan_cli.extras import require_extra
from gan_cli.images.animation import GRID_ANIMATION_FPS, Animation, animation_of_grids
from gan_cli.images.grid import draw_grid_or_scatter
from gan_cli.models.generate import latents_from_seeds, run_in_batches
from gan_cli.models.styles import with_truncation
from gan_cli.sampling.given_latents import GivenLatents, network_for
from gan_cli.sampling.load_generator import LoadedGenerator, require_finite
from gan_cli.sampling.planned_samples import classes_of_latents
from gan_cli.storage.run_folder import CHECKPOINTS, SAMPLES
from gan_cli.tasks.condition import Condition

DEFAULT_FRAMES, DEFAULT_FPS = 24, 24  # frames from one keyframe to the next, and frames a second
DEFAULT_KEYFRAMES, DEFAULT_POINT_KEYFRAMES = 8, 4  # seeds of one walk, of images and of points
DEFAULT_POINTS = 500  # in a frame
MAX_FRAMES = {"webp": 5000, "gif": 1000, "mp4": 50_000, FRAMES_FOLDER: 50_000}  # Pillow holds all frames of a GIF
MAX_SAMPLES_PER_FRAME = 10_000
MIN_FRAME_SIDE = 256  # pixels; smaller frames are enlarged by whole factors
UNSUPPORTED_SUFFIXES = ("avi", "mov", "mkv", "webm", "mpg", "mpeg", "apng", "png", "jpg")
ANIMATION_OPTIONS = ("frames", "fps", "container", "tiles", "through_labels")
NOT_FOR_PROGRESS = (
    "frames", "tiles", "through_labels", "n", "seeds", "latents", "direction", "label", "label_index", "truncation",
)  # fmt: skip


class PlannedAnimation(NamedTuple):
    """An animation, the seeds of its keyframes, the classes that it shows, and the fields to add to its JSON file."""

    animation: Animation
    seeds: Sequence[int]
    requested: Sequence[RequestedCondition]
    sidecar_fields: dict[str, Any]


def resolve_frames_format(config: SampleConfig) -> SampleConfig:
    """Replaces format=frames by format=interpolate and container=frames. UsageError for another container."""
    if config.format != FRAMES_FOLDER:
        return config
    if config.container not in (None, FRAMES_FOLDER):
        raise UsageError(f"format=frames: is container=frames already, not {config.container}; give one")
    return dataclasses.replace(config, format="interpolate", container="frames")


def container_of(config: SampleConfig) -> str:
    """Returns webp, gif, mp4 or frames: the option `container`, or the suffix of `out`, or webp by default.

    Raises UsageError if `container` and the suffix of `out` disagree, or if the suffix is not supported.
    """
    if config.container == FRAMES_FOLDER:
        return FRAMES_FOLDER
    suffix = Path(config.out or "").suffix.lower().removeprefix(".")
    if suffix in UNSUPPORTED_SUFFIXES:
        raise UsageError(f"out={config.out}: an animation is webp, gif or mp4; container=frames writes a folder of png")
    named = suffix if suffix in CONTAINERS else None
    if named and config.container and named != config.container:
        raise UsageError(f"container={config.container} and out={config.out}: each says what to write, give one")
    return config.container or named or "webp"


def animation_suffix(config: SampleConfig) -> str:
    """Returns the file suffix of the animation, such as `.webp`; empty for a folder of frames."""
    return "" if container_of(config) == FRAMES_FOLDER else f".{container_of(config)}"


def check_animation_options(config: SampleConfig) -> None:
    """Raises UsageError if an option is not used by the format, or if a needed package is not installed."""
    unused = {"interpolate": (), "walk": (), "progress": NOT_FOR_PROGRESS}.get(config.format, ANIMATION_OPTIONS)
    for name in unused:
        value = getattr(config, name)
        if value not in (None, False):
            formats = [each for each in ANIMATION_FORMATS if each != "progress" or name in ("fps", "container")]
            only = f"is for format={' or '.join(formats)}"
            reason = only if name in ANIMATION_OPTIONS else "is not used by format=progress"
            raise UsageError(f"{name}={str(value).lower()}: {reason}, leave it out")
    if config.format in ANIMATION_FORMATS:
        container = container_of(config)
        if container == "mp4":
            require_extra("video", "container=mp4")
        if container == "gif" and config.fps is not None and config.fps > 50:
            raise UsageError(f"fps={config.fps}: a GIF has at most 50, use container=webp or mp4")


def plan_animation(
    config: SampleConfig,
    generator: LoadedGenerator,
    rows: Sequence[RequestedCondition],
    seeds: Sequence[int],
    given: GivenLatents | None = None,
    tiles: int | None = None,
) -> PlannedAnimation:
    """Plans the animation of a `gan-sample` command from the requested classes and the listed seeds, if any.

    `given` are latents in place of seeds, and `tiles` the number of walks side by side if it is known. Raises
    UsageError if there are too few seeds, or too many samples in a frame, or too many frames.
    """
    if config.format == "progress":
        return _plan_progress(config, generator, rows)
    if config.through_labels and not generator.classes:
        raise UsageError("through_labels=true: this checkpoint is unconditional and takes no class, leave it out")
    if given is not None:
        config = dataclasses.replace(config, truncation=None)  # that of seeds, before they were moved
    labels, own = (None, ()) if given is None else _labels_of_keyframes(config, generator, given)
    rows = () if labels is not None or (given is not None and given.are_styles) else rows
    points = len(generator.sample_shape) == 1
    row_count = 1 if config.through_labels else max(len(rows), 1)
    seeds = seeds if given is None else range(len(given.values))
    tiles, seeds = (tiles, seeds) if tiles else _tiles_and_seeds(config, rows, seeds, points, row_count)
    if len(seeds) % tiles or len(seeds) < 2 * tiles:
        noun = "seed" if given is None else "latent"
        raise UsageError(
            f"format={config.format}: {count_noun(len(seeds), noun)} for {count_noun(tiles, 'walk')} side by side;"
            " each needs 2 or more, and all the same number"
        )
    if tiles * row_count > MAX_SAMPLES_PER_FRAME:
        samples = count_noun(tiles * row_count, "sample")
        raise UsageError(f"tiles={tiles}: {samples} in a frame, at most {MAX_SAMPLES_PER_FRAME:,}")
    path = _LatentPath.build(config, generator, rows, seeds, tiles, given)
    if labels is not None:
        path = path._replace(labels=labels.view(tiles, 1, len(seeds) // tiles, -1).permute(2, 1, 0, 3))
    max_frames = MAX_FRAMES[container_of(config)]
    if path.total > max_frames:
        raise UsageError(
            f"frames={path.frames}: {path.total:,} in all, at most {max_frames:,} of {container_of(config)}"
        )
    background = _background(config, generator)
    animation = Animation(_draw_frames(config, generator, path), path.total, config.fps or DEFAULT_FPS, **background)
    fields = {"frames": path.total, "fps": animation.fps, "tiles": tiles, "through_labels": config.through_labels}
    shown = own or (distribute_evenly(rows, len(seeds) // tiles) if config.through_labels else rows)
    return PlannedAnimation(animation, seeds if given is None else (), shown, fields | background)


def _labels_of_keyframes(
    config: SampleConfig, generator: LoadedGenerator, given: GivenLatents
) -> tuple[Tensor | None, Sequence[RequestedCondition]]:
    """Returns the labels `[N, K]` of given latents, and their classes if the file has none; None if some are named.

    Latents that were moved along a direction have the labels of the samples, also of named ones. Raises UsageError for
    a way through the classes of latents that have their own.
    """
    if config.direction is not None:
        return given.labels, ()
    named = config.label is not None or config.label_index is not None
    if config.through_labels and given.are_styles:
        raise UsageError("through_labels=true: styles w have their class in them, leave it out")
    if config.through_labels and given.labels is not None and not named:
        raise UsageError("through_labels=true: the latents have conditions and keep them; leave it out, or give label=")
    if (named or config.through_labels) and not given.are_styles:
        return None, ()
    requested = classes_of_latents(generator, given, (), named=named)
    return generator.encode(requested, range(len(requested))) if requested else given.labels, requested


def _tiles_and_seeds(
    config: SampleConfig, rows: Sequence[RequestedCondition], seeds: Sequence[int], points: bool, row_count: int
) -> tuple[int, Sequence[int]]:
    """Returns the number of tiles and the seeds of all tiles. Options that are not set get default values.

    A tile is one position of a frame; it shows one sample, which moves through its own seeds.
    """
    given = len(seeds) or config.n
    default_points = max(given // DEFAULT_POINT_KEYFRAMES if given else DEFAULT_POINTS // row_count, 1)
    tiles = config.tiles or (default_points if points else 1)
    classes = len(rows) if config.through_labels else 0
    keyframes = DEFAULT_POINT_KEYFRAMES if points else max(DEFAULT_KEYFRAMES, classes)
    return tiles, seeds or range(config.seed, config.seed + (given or tiles * keyframes))


def _plan_progress(
    config: SampleConfig, generator: LoadedGenerator, rows: Sequence[RequestedCondition]
) -> PlannedAnimation:
    """Plans the animation of the sample grids that the checkpoint's run has saved. UsageError if there are none."""
    inside = generator.path.parent.name == CHECKPOINTS
    grids = sorted((generator.path.parent.parent / SAMPLES).glob("step_*.png")) if inside else []
    if not grids:
        raise UsageError("format=progress: this checkpoint is not in the folder of a run with sample grids")
    background = _background(config, generator)
    animation = animation_of_grids(grids, MAX_FRAMES[container_of(config)], config.fps or GRID_ANIMATION_FPS)
    fields = {"frames": animation.total, "fps": animation.fps}
    return PlannedAnimation(animation._replace(**background), (), rows, fields | background)


def _background(config: SampleConfig, generator: LoadedGenerator) -> dict[str, Any]:
    """Returns the field `background` of an animation of samples with opacity in an MP4 file; {} for any other.

    If the samples have opacity, prints to stderr how an MP4 or a GIF file shows it, because neither stores it in full.
    """
    if len(generator.sample_shape) != 3 or generator.sample_shape[0] != 4:
        return {}
    if container_of(config) == "gif":
        print("opacity: a GIF shows what is at least half opaque; container=webp keeps it", file=sys.stderr)
    if container_of(config) != "mp4":
        return {}
    background = getattr(generator.config and generator.config.dataset, "background", "white")
    print(f"opacity: put on {background}, as an MP4 has none; container=webp or frames keeps it", file=sys.stderr)
    return {"background": background}


class _LatentPath(NamedTuple):
    """The latents and conditions of an animation."""

    keyframes: Tensor  # float64 `[keyframes, tiles, D]`: standard normal values; if `linear`, latents or styles (L * D)
    labels: Tensor | None  # of the keyframes, `[keyframes, rows, tiles, K]`; None if unconditional
    frames: int  # from each keyframe to the next
    total: int  # frames of the whole animation
    layers: int = 0  # L of styles; 0 for latents
    linear: bool = False  # whether values are interpolated linearly, else on the sphere

    @staticmethod
    def build(
        config: SampleConfig,
        generator: LoadedGenerator,
        rows: Sequence[RequestedCondition],
        seeds: Sequence[int],
        tiles: int,
        given: GivenLatents | None = None,
    ) -> _LatentPath:
        """Builds the path. `seeds` holds all seeds of the first tile, then all of the second tile, and so on.

        Given latents have the numbers `seeds`. Along a direction they are interpolated linearly, and so are uniform
        ones outside of -1 to 1, which have no quantiles.
        """
        latent, per_tile = generator.latent, len(seeds) // tiles
        _, truncation = with_truncation(generator.network, config.truncation)
        values = latents_from_seeds(seeds, latent, truncation) if given is None else given.values
        layers = values.shape[1] if values.ndim == 3 else 0
        outside = latent.distribution == "uniform" and bool((values.abs() > 1).any())
        linear = layers > 0 or config.direction is not None or outside
        points = values.double().flatten(1) if linear else latent.to_normal(values, truncation)
        keyframes = points.view(tiles, per_tile, -1).transpose(0, 1)
        labels = None
        if rows:
            class_sequence = distribute_evenly(rows, per_tile) * tiles
            requested = [class_sequence] if config.through_labels else [[row] * len(seeds) for row in rows]
            encoded = [generator.encode(row, seeds) for row in requested]
            by_row = torch.stack(encoded)
            labels = by_row.view(len(requested), tiles, per_tile, -1).permute(2, 0, 1, 3)
        frames = config.frames or DEFAULT_FRAMES
        total = per_tile * frames if config.format == "walk" else (per_tile - 1) * frames + 1
        return _LatentPath(keyframes, labels, frames, total, layers, linear)

    def at(self, frame: int) -> tuple[Tensor, Tensor | None]:
        """Returns the values `[tiles, D]`, as those of keyframes, and the labels `[rows, tiles, K]` of a frame.

        After the last keyframe, the frames interpolate to the first keyframe.
        """
        start, steps = divmod(frame, self.frames)
        end, fraction = (start + 1) % len(self.keyframes), steps / self.frames
        between = torch.lerp if self.linear else slerp  # styles are interpolated linearly (1812.04948, section 4.1)
        values = between(self.keyframes[start], self.keyframes[end], fraction)
        if self.labels is None:
            return values, None
        return values, torch.lerp(self.labels[start], self.labels[end], fraction)


def slerp(start: Tensor, end: Tensor, fraction: float) -> Tensor:
    """Returns the spherical linear interpolation of vectors `[N, D]` (1609.04468).

    `fraction` 0 gives `start` and `fraction` 1 gives `end`. Linear interpolation would give vectors that are much
    shorter than random vectors. It is used only if two vectors have the same direction or opposite directions, because
    the arc between them is then zero or not unique.
    """
    cosine = torch.cosine_similarity(start, end, dim=1).clamp(-1, 1).unsqueeze(1)
    angle = torch.arccos(cosine)
    sine = torch.sin(angle)
    arc = (torch.sin((1 - fraction) * angle) * start + torch.sin(fraction * angle) * end) / sine.clamp(min=1e-6)
    return torch.where(sine > 1e-6, arc, torch.lerp(start, end, fraction))


def _draw_frames(config: SampleConfig, generator: LoadedGenerator, path: _LatentPath) -> Iterator[Image.Image]:
    """Yields the frames as images. Generates several frames at once if their samples fit into a batch."""
    rows = 1 if path.labels is None else path.labels.shape[1]
    tiles = path.keyframes.shape[1]
    _, truncation = with_truncation(generator.network, config.truncation)
    frames_at_once = max(config.batch_size // (rows * tiles), 1)
    for first in range(0, path.total, frames_at_once):
        frames = [path.at(frame) for frame in range(first, min(first + frames_at_once, path.total))]
        values = torch.cat([frame_values.repeat(rows, 1) for frame_values, _ in frames])
        latents = values.float() if path.linear else generator.latent.from_normal(values, truncation)
        if path.layers:
            latents = latents.unflatten(1, (path.layers, -1))
        by_frame = [labels.flatten(0, 1) for _, labels in frames if labels is not None]
        condition = Condition(torch.cat(by_frame)) if by_frame else None
        network = network_for(generator.network, latents, config.truncation)
        samples = list(run_in_batches(network, latents, condition, config.batch_size))
        for frame_samples in to_uint8(require_finite(generator, torch.cat(samples))).split(rows * tiles):
            image = draw_grid_or_scatter(frame_samples, generator.modes, [tiles] * rows if tiles > 1 else ())
            factor = MIN_FRAME_SIDE // max(image.size)
            yield ImageOps.scale(image, max(factor, 1), Image.Resampling.NEAREST)
