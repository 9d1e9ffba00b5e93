"""`gan-sample`: new samples from a checkpoint, and nothing else needed or left behind."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gan_cli.config.commands import FILMS, SampleConfig
from gan_cli.data.dataset import to_bytes
from gan_cli.data.labels import Asked, asked_by_index, asked_for, conditions_for, every_class, share_out
from gan_cli.device import build_device, calm_threads
from gan_cli.errors import StorageError, UsageError
from gan_cli.images import grid
from gan_cli.images.animation import write_film
from gan_cli.models.generate import OF_A_CLASS, SHOWN_CLASSES
from gan_cli.sampling import interpolation
from gan_cli.sampling import load_generator as loading
from gan_cli.sampling.load_generator import LoadedGenerator, load_generator
from gan_cli.storage.links import refuse_link, without_link
from gan_cli.storage.output_file import check_free, file_of, fresh
from gan_cli.storage.run_folder import CHECKPOINTS

SUFFIXES = {"grid": ".png", "images": "", "npz": ".npz"}
A_FILM = "a film, of format=interpolate, walk or progress"
OTHERS = {".png": "of format=grid", ".npz": "of format=npz", ".webp": A_FILM, ".gif": A_FILM, ".mp4": A_FILM}
WRITTEN = (".png", ".npz", ".webp", ".gif", ".mp4")
MOST_SEEDS = 1_000_000
MOST_IN_GRID = 10_000
OF_ALL = 64  # samples where nobody says how many


def sample(config: SampleConfig) -> int:
    """Writes pictures, arrays or a film and a sidecar `.json` that tells how to make them again; prints where."""
    if config.ckpt is None:
        raise UsageError("ckpt is missing: gan-sample RUN, by its folder or name, or a .safetensors file")
    ckpt, config = config.ckpt, interpolation.as_film(config)
    _check_count(config, expand_seeds(config, OF_ALL))
    suffix = SUFFIXES[config.format] if config.format in SUFFIXES else interpolation.ending_of(config)
    interpolation.check_keys(config)
    named = file_of(config.out, suffix, f"format={config.format}", OTHERS)
    check_free(named, [] if named is None else [named.with_suffix(".json")], config.overwrite)
    device = build_device(config.device)
    calm_threads()
    generator = load_generator(ckpt, ema=config.ema, device=device)
    rows = _rows(config, generator)
    if config.format == "images" and len(generator.sample_shape) == 1:
        raise UsageError("format=images: this checkpoint makes points, use grid or npz")
    film, about, asked = None, dict[str, Any](), rows
    if config.format in FILMS:
        typed = expand_seeds(config, OF_ALL) if config.seeds is not None else ()
        film, seeds, about = interpolation.plan(config, generator, rows, typed)
    else:
        seeds = expand_seeds(config, OF_A_CLASS * len(rows) if len(rows) > 1 else OF_ALL)
        _check_count(config, seeds)
        asked = share_out(rows, len(seeds)) if rows else []
    folder, stem = _place(config, generator, seeds) if named is None else (named.parent, "")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        target = named or fresh(folder, stem, suffix, [".json"])
        with _appearing_whole(target) as part:
            if film is not None:
                write_film(film, part)
            else:
                _write(config, generator, asked, seeds, part)
        _write_sidecar(config, generator, asked, seeds, about, target)
    except OSError as error:
        raise StorageError(f"{error.filename or folder}: cannot be written ({error.strerror or error})") from error
    print(target)
    return 0


def _place(config: SampleConfig, generator: LoadedGenerator, seeds: Sequence[int]) -> tuple[Path, str]:
    """The folder, and a name in it without an ending."""
    folder = Path(config.out) if config.out else _default_folder(generator.path)
    if config.format == "progress":
        return folder, f"{generator.path.stem}_progress"
    kind = f"{config.format}_" if config.format in FILMS else ""
    stem = f"{generator.path.stem}_{kind}{_kind(config)}seeds_{_label(seeds)}"
    return folder, stem if config.truncation is None else f"{stem}_truncation_{config.truncation:g}"


def _check_count(config: SampleConfig, seeds: Sequence[int]) -> None:
    if config.format == "grid" and len(seeds) > MOST_IN_GRID:
        raise UsageError(f"n={len(seeds)}: a grid holds up to {MOST_IN_GRID}, use format=images or npz")


def _rows(config: SampleConfig, generator: LoadedGenerator) -> list[Asked]:
    """What is asked of the checkpoint, each in a row of a grid: a class, several, or all (in a grid the first)."""
    classes = generator.classes
    asked = f"label={config.label}" if config.label is not None else "label_index"
    if config.label is not None and config.label_index is not None:
        raise UsageError("label and label_index: each says what to make, give one")
    if config.label is None and config.label_index is None:
        return every_class(classes, SHOWN_CLASSES if config.format in ("grid", *FILMS) else None)
    if not classes:
        raise UsageError(
            f"{asked}: this checkpoint cannot be asked for a class; train one with conditioning=projection, or leave"
            " it out"
        )
    if config.label is not None:
        return asked_for(classes, config.label)
    return asked_by_index(classes, config.label_index or ())


def expand_seeds(config: SampleConfig, count: int) -> Sequence[int]:
    """Those of `seeds=0-7,12`, or n seeds from `seed`, `count` unless `n` is set."""
    if config.seeds is not None and config.n is not None:
        raise UsageError(f"n={config.n} and seeds={config.seeds}: each says how many samples, give one")
    if config.seeds is None:
        return range(config.seed, config.seed + (config.n or count))
    seeds: list[int] = []
    for part in config.seeds.split(","):
        first, _, last = part.partition("-")
        span = range(int(first), int(last or first) + 1)
        if not span:
            raise UsageError(f"seeds={config.seeds}: {part} goes backwards")
        if len(seeds) + len(span) > MOST_SEEDS:
            raise UsageError(f"seeds={config.seeds}: expected at most {MOST_SEEDS:,} seeds")
        seeds += span
    return seeds


@contextlib.contextmanager
def _appearing_whole(target: Path) -> Iterator[Path]:
    """A hidden path to write to, which gets its name `target` when all of it is there, and goes when that fails."""
    part = without_link(target.with_name(f".{target.stem}.part{target.suffix}"))
    try:
        yield part
        part.rename(target)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True) if part.is_dir() else part.unlink(missing_ok=True)
        raise


def _write(
    config: SampleConfig, generator: LoadedGenerator, asked: Sequence[Asked], seeds: Sequence[int], target: Path
) -> None:
    """The samples; `asked` says of each seed what it is to be, nothing if that cannot be said."""
    batches = map(to_bytes, _made(config, generator, asked, seeds))
    if config.format == "images":
        _write_images(batches, seeds, asked, target)
    elif config.format == "npz":
        arrays: dict[str, Iterable[np.ndarray]] = {
            "images" if len(generator.sample_shape) == 3 else "points": map(_channels_last, batches)
        }
        if asked:
            parts = (conditions_for(generator.classes, asked[part], seeds[part]) for part in _parts(config, seeds))
            arrays["conditions"] = (part.to(torch.uint8).numpy() for part in parts)
        _write_arrays(arrays, len(seeds), target)
    else:
        grid.save_picture(_drawn(torch.cat(list(batches)), generator, list(Counter(asked).values())), target)


def _drawn(samples: Tensor, generator: LoadedGenerator, rows: Sequence[int]) -> Image.Image:
    """A grid or plot; one image alone is itself, without a frame and at its own size."""
    if len(samples) == 1 and samples.ndim == 4:
        return grid.draw_image(samples[0])
    return grid.draw_samples(samples, generator.modes, rows)


def _write_sidecar(
    config: SampleConfig,
    generator: LoadedGenerator,
    asked: Sequence[Asked],
    seeds: Sequence[int],
    about: dict[str, Any],
    whole: Path,
) -> None:
    """Of a film, `about` says more."""
    sidecar = {
        "checkpoint": str(generator.path.absolute()),
        "sha256": generator.sha256,
        "step": generator.step,
        "seeds": (config.seeds or f"{seeds[0]}-{seeds[-1]}") if seeds else None,
        "n": len(seeds),
        "labels": [row.name for row in dict.fromkeys(asked)] or None,
        "classes": list(generator.classes) or None,
        "truncation": config.truncation,
        "ema": generator.ema,
        "format": config.format,
        "gan_cli": generator.card.gan_cli,
        **about,
    }
    text = json.dumps(sidecar, indent=2) + "\n"
    whole.with_name(_without_suffix(whole) + ".json").write_text(text, encoding="utf-8")


def _made(
    config: SampleConfig, generator: LoadedGenerator, asked: Sequence[Asked], seeds: Sequence[int]
) -> Iterator[Tensor]:
    """The samples, a batch at a time: what is asked for is worked out no earlier either, whose size grows with n."""
    for part in _parts(config, seeds):
        yield loading.sample(
            generator,
            seeds[part],
            asked[part] or None,
            truncation=config.truncation,
            batch_size=config.batch_size,
        )


def _parts(config: SampleConfig, seeds: Sequence[int]) -> Iterator[slice]:
    """Of a batch each."""
    return (slice(start, start + config.batch_size) for start in range(0, len(seeds), config.batch_size))


def _write_images(batches: Iterable[Tensor], seeds: Sequence[int], asked: Sequence[Asked], folder: Path) -> None:
    """`seed_000003.png`, of a conditional run `seed_000003_cat.png`."""
    folder.mkdir()
    kinds = [f"_{_plain(row.name)}" for row in asked] or [""] * len(seeds)
    names = (f"seed_{seed:06d}{kind}.png" for seed, kind in zip(seeds, kinds, strict=True))
    for batch in batches:
        for image in batch:
            grid.draw_image(image).save(folder / next(names))


def _channels_last(samples: Tensor) -> np.ndarray:
    """Images `[N, C, H, W]` as `[N, H, W, C]`, points as they are."""
    return (samples.permute(0, 2, 3, 1) if samples.ndim == 4 else samples).numpy()


def _write_arrays(arrays: dict[str, Iterable[np.ndarray]], count: int, path: Path) -> None:
    """What `np.load` reads: each array of `count` rows, written as its parts come, so that none is ever held whole.

    Not compressed: that would be more work for each sample, and hold up a small network.
    """
    with zipfile.ZipFile(path, "w", allowZip64=True) as archive:
        for name, parts in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                for number, part in enumerate(parts):
                    if number == 0:
                        header = {"descr": part.dtype.str, "fortran_order": False, "shape": (count, *part.shape[1:])}
                        np.lib.format.write_array_header_1_0(member, header)
                    member.write(np.ascontiguousarray(part).data)


def _without_suffix(target: Path) -> str:
    return target.name.removesuffix(target.suffix if target.suffix.lower() in WRITTEN else "")


def _default_folder(path: Path) -> Path:
    run = path.parent.parent if path.parent.name == CHECKPOINTS else path.parent
    return refuse_link(run / "generated")


def _plain(name: str) -> str:
    """What may stand in a file's name."""
    return re.sub(r"[^\w=,.-]+", "-", name)[:60]


def _kind(config: SampleConfig) -> str:
    """What was asked for, as a part of a file's name."""
    if config.label is not None:
        return _plain(config.label) + "_"
    return "" if config.label_index is None else ",".join(map(str, config.label_index))[:60] + "_"


def _label(seeds: Sequence[int]) -> str:
    consecutive = isinstance(seeds, range) or list(seeds) == list(range(seeds[0], seeds[0] + len(seeds)))
    return f"{seeds[0]}-{seeds[-1]}" if consecutive else f"{seeds[0]}-and-{len(seeds) - 1}-more"
