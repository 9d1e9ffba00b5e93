"""`gan-sample`: new samples from a checkpoint, and nothing else needed or left behind."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from gan_cli import checkpoint, pictures
from gan_cli.checkpoint import Checkpoint
from gan_cli.commands import SampleConfig
from gan_cli.data import known_modes
from gan_cli.data.dataset import to_bytes
from gan_cli.errors import StorageError, UsageError
from gan_cli.generation import OF_A_CLASS, SHOWN_CLASSES, generate
from gan_cli.labels import Asked, asked_by_index, asked_for, conditions_for, every_class, share_out
from gan_cli.machine import build_device, calm_threads
from gan_cli.runfolder import CHECKPOINTS
from gan_cli.state import build_generator, latent_of

MOST_SEEDS = 1_000_000
MOST_IN_GRID = 10_000
OF_ALL = 64  # samples where nobody says how many


def sample(config: SampleConfig) -> int:
    """Writes pictures or arrays and a sidecar `.json` that tells how to make them again; prints where."""
    if config.ckpt is None:
        raise UsageError("ckpt is missing: gan-sample ckpt=<a .safetensors file or a run's folder>")
    _check_count(config, expand_seeds(config, OF_ALL))
    device = build_device(config.device)
    calm_threads()
    found = checkpoint.find(Path(config.ckpt))
    rows = _rows(config, found)
    seeds = expand_seeds(config, OF_A_CLASS * len(rows) if len(rows) > 1 else OF_ALL)
    _check_count(config, seeds)
    if config.format == "images" and len(found.config.sample_shape) == 1:
        raise UsageError("format=images: this checkpoint makes points, use grid or npz")
    folder = Path(config.out) if config.out else _default_folder(found.path)
    stem = f"{found.path.stem}_{_kind(config)}seeds_{_label(seeds)}"
    if config.truncation is not None:
        stem += f"_truncation_{config.truncation:g}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        target = _fresh(folder, stem, {"grid": ".png", "images": "", "npz": ".npz"}[config.format])
        _write(config, found, share_out(rows, len(seeds)) if rows else [], seeds, device, target)
    except OSError as error:
        raise StorageError(f"{error.filename or folder}: cannot be written ({error.strerror})") from error
    print(target)
    return 0


def _check_count(config: SampleConfig, seeds: Sequence[int]) -> None:
    if config.format == "grid" and len(seeds) > MOST_IN_GRID:
        raise UsageError(f"n={len(seeds)}: a grid holds up to {MOST_IN_GRID}, use format=images or npz")


def _rows(config: SampleConfig, found: Checkpoint) -> list[Asked]:
    """What is asked of the checkpoint, each in a row of a grid: a class, several, or all (in a grid the first)."""
    classes = found.config.classes
    asked = f"label={config.label}" if config.label is not None else "label_index"
    if config.label is not None and config.label_index is not None:
        raise UsageError("label and label_index: each says what to make, give one")
    if config.label is None and config.label_index is None:
        return every_class(classes, SHOWN_CLASSES if config.format == "grid" else None)
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
            raise UsageError(f"seeds={config.seeds}: {part} runs backwards")
        if len(seeds) + len(span) > MOST_SEEDS:
            raise UsageError(f"seeds={config.seeds}: expected at most {MOST_SEEDS:,} seeds")
        seeds += span
    return seeds


def _write(
    config: SampleConfig,
    found: Checkpoint,
    asked: Sequence[Asked],
    seeds: Sequence[int],
    device: torch.device,
    target: Path,
) -> None:
    """The samples and their sidecar; `asked` says of each seed what it is to be, nothing if that cannot be said."""
    network = build_generator(found.config, found.tensors, device, ema=config.ema)
    whole = target
    target = whole.with_name(f".{whole.stem}.part{whole.suffix}")  # has its name when all of it is there
    batches = map(to_bytes, _made(config, found, network, asked, seeds))
    try:
        if config.format == "images":
            _write_images(batches, seeds, asked, target)
        elif config.format == "npz":
            arrays: dict[str, Iterable[np.ndarray]] = {
                "images" if len(found.config.sample_shape) == 3 else "points": map(_channels_last, batches)
            }
            if asked:
                parts = _conditions(config, found, asked, seeds)
                arrays["conditions"] = (part.to(torch.uint8).numpy() for part in parts)
            _write_arrays(arrays, len(seeds), target)
        else:
            rows = list(Counter(asked).values())
            drawn = pictures.draw_samples(torch.cat(list(batches)), known_modes(found.config.dataset), rows)
            pictures.save_picture(drawn, target)
    except BaseException:
        shutil.rmtree(target, ignore_errors=True) if target.is_dir() else target.unlink(missing_ok=True)
        raise
    target.rename(whole)
    sidecar = {
        "checkpoint": str(found.path.absolute()),
        "sha256": found.sha256,
        "step": found.counters.step,
        "seeds": config.seeds or f"{seeds[0]}-{seeds[-1]}",
        "n": len(seeds),
        "labels": [row.name for row in dict.fromkeys(asked)] or None,
        "classes": list(found.config.classes) or None,
        "truncation": config.truncation,
        "ema": config.ema and found.config.training.ema_decay > 0,
        "format": config.format,
        "gan_cli": found.provenance.gan_cli,
    }
    text = json.dumps(sidecar, indent=2) + "\n"
    whole.with_name(_without_suffix(whole) + ".json").write_text(text, encoding="utf-8")


def _made(
    config: SampleConfig, found: Checkpoint, network: nn.Module, asked: Sequence[Asked], seeds: Sequence[int]
) -> Iterator[Tensor]:
    """The samples, a batch at a time: what is asked for is worked out no earlier either, whose size grows with n."""
    latent, batch_size, conditions = (
        latent_of(found.config),
        config.batch_size,
        _conditions(config, found, asked, seeds),
    )
    for start in range(0, len(seeds), batch_size):
        some = seeds[start : start + batch_size]
        yield from generate(network, latent, some, batch_size, config.truncation, next(conditions, None))


def _conditions(
    config: SampleConfig, found: Checkpoint, asked: Sequence[Asked], seeds: Sequence[int]
) -> Iterator[Tensor]:
    """Of each batch, `[n, K]`; nothing if nothing is asked."""
    for start in range(0, len(asked), config.batch_size):
        part = slice(start, start + config.batch_size)
        yield conditions_for(found.config.classes, asked[part], seeds[part])


def _write_images(batches: Iterable[Tensor], seeds: Sequence[int], asked: Sequence[Asked], folder: Path) -> None:
    """`seed_000003.png`, of a conditional run `seed_000003_cat.png`."""
    folder.mkdir()
    kinds = [f"_{_plain(row.name)}" for row in asked] or [""] * len(seeds)
    names = (f"seed_{seed:06d}{kind}.png" for seed, kind in zip(seeds, kinds, strict=True))
    for batch in batches:
        for image in batch:
            pictures.draw_image(image).save(folder / next(names))


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
    return target.name.removesuffix(".png").removesuffix(".npz")


def _default_folder(path: Path) -> Path:
    run = path.parent.parent if path.parent.name == CHECKPOINTS else path.parent
    return run / "generated"


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


def _fresh(folder: Path, stem: str, suffix: str) -> Path:
    """A path that nothing has yet, by itself or as a sidecar: nothing a user made is overwritten."""
    for count in range(1, 100_000):
        name = stem if count == 1 else f"{stem}-{count}"
        if not (folder / f"{name}{suffix}").exists() and not (folder / f"{name}.json").exists():
            return folder / f"{name}{suffix}"
    raise StorageError(f"{folder}: holds 100,000 of these already")
