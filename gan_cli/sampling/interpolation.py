"""Films of what a generator makes: the way from seed to seed, a walk that ends where it began, a run's progress."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from gan_cli.config.commands import CONTAINERS, FILMS, NUMBERED, SampleConfig
from gan_cli.data.dataset import to_bytes
from gan_cli.data.labels import Asked, conditions_for, share_out
from gan_cli.errors import UsageError, counted
from gan_cli.extras import require_extra
from gan_cli.images.animation import RUN_FPS, Film, film_of
from gan_cli.images.grid import draw_samples
from gan_cli.models.generate import latents_of, respond
from gan_cli.sampling.load_generator import LoadedGenerator
from gan_cli.storage.run_folder import CHECKPOINTS, SAMPLES

FRAMES, FPS = 24, 24
KEYS, POINT_KEYS = 8, 4  # seeds that a walk goes by, where nobody says how many
POINTS = 500  # shown at once, where nobody says how many
MOST_FRAMES = {"webp": 5000, "gif": 1000, "mp4": 50_000, NUMBERED: 50_000}  # Pillow holds a GIF whole
MOST_SHOWN = 10_000  # samples in a frame
SMALLEST_FRAME = 256  # smaller ones are enlarged by whole factors
OTHER_FILMS = ("avi", "mov", "mkv", "webm", "mpg", "mpeg", "apng", "png", "jpg")  # that a person may ask for
OF_FILMS = ("frames", "fps", "container", "tiles", "through_labels")
NOT_OF_PROGRESS = ("frames", "tiles", "through_labels", "n", "seeds", "label", "label_index", "truncation")


class Planned(NamedTuple):
    """A film, the seeds that it goes by, and what its sidecar tells of it."""

    film: Film
    seeds: Sequence[int]
    about: dict[str, Any]


def as_film(config: SampleConfig) -> SampleConfig:
    """`format=frames` is an interpolation as numbered pictures."""
    if config.format != NUMBERED:
        return config
    if config.container not in (None, NUMBERED):
        raise UsageError(f"format=frames: is container=frames already, not {config.container}; give one")
    return dataclasses.replace(config, format="interpolate", container=NUMBERED)


def container_of(config: SampleConfig) -> str:
    """webp, gif, mp4 or frames, as `container` or the ending of `out` says; UsageError if they differ."""
    if config.container == NUMBERED:
        return NUMBERED
    ending = Path(config.out or "").suffix.lower().removeprefix(".")
    if ending in OTHER_FILMS:
        raise UsageError(f"out={config.out}: a film is webp, gif or mp4; container=frames writes a folder of png")
    named = ending if ending in CONTAINERS else None
    if named and config.container and named != config.container:
        raise UsageError(f"container={config.container} and out={config.out}: each says what to write, give one")
    return config.container or named or "webp"


def ending_of(config: SampleConfig) -> str:
    """That of a film's file; empty of a folder of frames."""
    container = container_of(config)
    return "" if container == NUMBERED else f".{container}"


def check_keys(config: SampleConfig) -> None:
    """UsageError for a key that this format has no use for, or a film that needs what is not installed."""
    useless = NOT_OF_PROGRESS if config.format == "progress" else () if config.format in FILMS else OF_FILMS
    for name in useless:
        value = getattr(config, name)
        if value not in (None, False):
            films = [each for each in FILMS if each != "progress" or name in ("fps", "container")]
            instead = f"is for format={' or '.join(films)}" if name in OF_FILMS else "means nothing to format=progress"
            raise UsageError(f"{name}={str(value).lower()}: {instead}, leave it out")
    if config.format in FILMS:
        container = container_of(config)
        if container == "mp4":
            require_extra("video", "container=mp4")
        if container == "gif" and config.fps is not None and config.fps > 50:
            raise UsageError(f"fps={config.fps}: a GIF has at most 50, use container=webp or mp4")


def plan(config: SampleConfig, generator: LoadedGenerator, rows: Sequence[Asked], seeds: Sequence[int]) -> Planned:
    """The film that is asked for; `seeds` are those that were named, if any were. UsageError if they do not fit."""
    if config.format == "progress":
        return _plan_progress(config, generator)
    points = len(generator.sample_shape) == 1
    shown = 1 if config.through_labels else max(len(rows), 1)
    given = len(seeds) or config.n
    cloud = max(given // POINT_KEYS if given else POINTS // shown, 1)
    tiles = config.tiles or (cloud if points else 1)
    keys = POINT_KEYS if points else max(KEYS, len(rows) if config.through_labels else 0)
    seeds = seeds or range(config.seed, config.seed + (given or tiles * keys))
    if config.through_labels and not rows:
        raise UsageError("through_labels=true: this checkpoint cannot be asked for a class, leave it out")
    if len(seeds) % tiles or len(seeds) < 2 * tiles:
        raise UsageError(
            f"format={config.format}: {counted(len(seeds), 'seed')} for {counted(tiles, 'walk')} side by side; each"
            " needs 2 or more, and all need as many"
        )
    if tiles * shown > MOST_SHOWN:
        raise UsageError(f"tiles={tiles}: {counted(tiles * shown, 'sample')} in a frame, at most {MOST_SHOWN:,}")
    path = _Path.build(config, generator, rows, seeds, tiles)
    most = MOST_FRAMES[container_of(config)]
    if path.total > most:
        raise UsageError(f"frames={path.frames}: {path.total:,} in all, at most {most:,} of {container_of(config)}")
    ground = _background(config, generator)
    film = Film(_draw(config, generator, path), path.total, config.fps or FPS, background=ground or "white")
    about: dict[str, Any] = {
        "frames": path.total,
        "fps": film.fps,
        "tiles": tiles,
        "through_labels": config.through_labels,
    }
    about |= {} if ground is None else {"background": ground}
    return Planned(film, seeds, about)


def _plan_progress(config: SampleConfig, generator: LoadedGenerator) -> Planned:
    inside = generator.path.parent.name == CHECKPOINTS
    grids = sorted((generator.path.parent.parent / SAMPLES).glob("step_*.png")) if inside else []
    if not grids:
        raise UsageError("format=progress: there are no grids of the run beside this checkpoint")
    ground = _background(config, generator)
    film = film_of(grids, MOST_FRAMES[container_of(config)], config.fps or RUN_FPS)
    about: dict[str, Any] = {"frames": film.total, "fps": film.fps}
    about |= {} if ground is None else {"background": ground}
    return Planned(film._replace(background=ground or "white"), (), about)


def _background(config: SampleConfig, generator: LoadedGenerator) -> str | None:
    """What an MP4 of samples with opacity puts them on, which is said: it has none itself. None of other films."""
    with_opacity = len(generator.sample_shape) == 3 and generator.sample_shape[0] == 4
    if not with_opacity or container_of(config) not in ("mp4", "gif"):
        return None
    if container_of(config) == "gif":
        print("opacity: a GIF shows what is at least half opaque; container=webp keeps it", file=sys.stderr)
        return None
    ground = getattr(generator.config and generator.config.dataset, "background", "white")
    print(f"opacity: put on {ground}, as an MP4 has none; container=webp or frames keeps it", file=sys.stderr)
    return ground


class _Path(NamedTuple):
    """Where a film leads: from key to key, in `frames` steps each.

    `keys` `[keys, tiles, latent_dim]` are standard normal, float64; `conditions` `[keys, rows, tiles, K]` go with them.
    """

    keys: Tensor
    conditions: Tensor | None
    frames: int
    total: int

    @staticmethod
    def build(
        config: SampleConfig, generator: LoadedGenerator, rows: Sequence[Asked], seeds: Sequence[int], tiles: int
    ) -> _Path:
        latent, per_tile = generator.latent, len(seeds) // tiles
        drawn = latent.to_normal(latents_of(seeds, latent, config.truncation), config.truncation)
        keys = drawn.view(tiles, per_tile, -1).transpose(0, 1)
        conditions = None
        if rows:
            through = share_out(rows, per_tile) * tiles
            asked = [through] if config.through_labels else [[row] * len(seeds) for row in rows]
            each = torch.stack([conditions_for(generator.classes, kinds, seeds) for kinds in asked])
            conditions = each.view(len(asked), tiles, per_tile, -1).permute(2, 0, 1, 3)
        frames = config.frames or FRAMES
        count = per_tile * frames if config.format == "walk" else (per_tile - 1) * frames + 1
        return _Path(keys, conditions, frames, count)

    def at(self, frame: int) -> tuple[Tensor, Tensor | None]:
        """`[tiles, latent_dim]`, and `[rows, tiles, K]` or None; after the last key comes the first."""
        leg, done = divmod(frame, self.frames)
        following, share = (leg + 1) % len(self.keys), done / self.frames
        here = slerp(self.keys[leg], self.keys[following], share)
        kinds = None if self.conditions is None else torch.lerp(self.conditions[leg], self.conditions[following], share)
        return here, kinds


def slerp(start: Tensor, end: Tensor, share: float) -> Tensor:
    """`[N, D]`, part of the way from `start` to `end` along the arc between them (1609.04468).

    The straight line leads past vectors much shorter than any that are drawn. It is taken where there is no one arc:
    between vectors of one direction, or of opposite ones.
    """
    cosine = torch.cosine_similarity(start, end, dim=1).clamp(-1, 1).unsqueeze(1)
    angle = torch.arccos(cosine)
    sine = torch.sin(angle)
    arc = (torch.sin((1 - share) * angle) * start + torch.sin(share * angle) * end) / sine.clamp(min=1e-6)
    return torch.where(sine > 1e-6, arc, torch.lerp(start, end, share))


def _draw(config: SampleConfig, generator: LoadedGenerator, path: _Path) -> Iterator[Image.Image]:
    """The frames, as many made at once as make a batch."""
    rows = 1 if path.conditions is None else path.conditions.shape[1]
    tiles = path.keys.shape[1]
    at_once = max(config.batch_size // (rows * tiles), 1)
    for first in range(0, path.total, at_once):
        places = [path.at(frame) for frame in range(first, min(first + at_once, path.total))]
        normals = torch.cat([here.repeat(rows, 1) for here, _ in places])
        latents = generator.latent.from_normal(normals, config.truncation)
        kinds = [kinds.flatten(0, 1) for _, kinds in places if kinds is not None]
        conditions = torch.cat(kinds) if kinds else None
        parts = [slice(start, start + config.batch_size) for start in range(0, len(latents), config.batch_size)]
        made = [
            respond(generator.network, latents[part], None if conditions is None else conditions[part])
            for part in parts
        ]
        for samples in to_bytes(torch.cat(made)).split(rows * tiles):
            picture = draw_samples(samples, generator.modes, [tiles] * rows if tiles > 1 else ())
            yield _enlarged(picture)


def _enlarged(picture: Image.Image) -> Image.Image:
    factor = SMALLEST_FRAME // max(picture.size)
    if factor < 2:
        return picture
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
