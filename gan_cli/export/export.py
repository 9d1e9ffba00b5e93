"""`gan-export`: the generator of a checkpoint for other programs, compared with it before it gets its name."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gan_cli.config.commands import ExportConfig
from gan_cli.data.dataset import to_bytes
from gan_cli.data.labels import conditions_for, every_class, share_out
from gan_cli.device import calm_threads
from gan_cli.errors import StorageError, UsageError
from gan_cli.export.format_writers import EXPORTERS, write_and_run
from gan_cli.export.model_card import PICTURE, README, card_text, readme_text
from gan_cli.extras import require_extra
from gan_cli.images.grid import draw_samples, save_picture
from gan_cli.models.generate import OF_A_CLASS, SHOWN_CLASSES, latents_of, respond
from gan_cli.sampling.load_generator import LoadedGenerator, load_generator, sample
from gan_cli.storage.links import refuse_link, without_link
from gan_cli.storage.locate import CARD, EXPORTED
from gan_cli.storage.output_file import check_free, file_of, fresh
from gan_cli.storage.run_folder import CHECKPOINTS

BATCHES = (1, 2, 5)
LARGEST_DIFFERENCE = 1e-4  # of samples in [-1, 1]: an eightieth of a grey level
PARITY = "parity.json"
OTHERS = {Path(file).suffix: f"of format={format}" for format, file in EXPORTED.items()}
SHOWN_IMAGES, SHOWN_POINTS = 64, 1000


def export(config: ExportConfig) -> int:
    """Writes a folder with the file, its `config.json`, model card, samples and `parity.json`; prints where.

    Where `out` names a file: that, and what `config.json` and `parity.json` say as a JSON file beside it.

    StorageError, and nothing left, if the file's samples are not those of the checkpoint.
    """
    if config.ckpt is None:
        raise UsageError("ckpt is missing: gan-export RUN, by its folder or name, or a .safetensors file")
    if config.format == "onnx":
        require_extra("onnx", "format=onnx")
    file = EXPORTED[config.format]
    named = file_of(config.out, Path(file).suffix, f"format={config.format}", OTHERS)
    check_free(named, [] if named is None else [named.with_suffix(".json")], config.overwrite)
    calm_threads()
    generator = load_generator(config.ckpt, ema=config.ema)
    parent = named.parent if named else Path(config.out) if config.out else _default_folder(generator.path)
    missing = [folder for folder in (parent, *parent.parents) if not folder.exists()]
    try:
        parent.mkdir(parents=True, exist_ok=True)
        target = named or fresh(parent, f"{generator.path.stem}_{config.format}", "")
        part = target.with_name(f".{target.name}.part-{os.getpid()}")
        part.mkdir()
        try:
            parity = _write(generator, config.format, part, target.name)
            part.rename(target) if named is None else _keep_file(part, file, named)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            with contextlib.suppress(OSError):
                for folder in missing:
                    folder.rmdir()
            raise
    except OSError as error:
        raise StorageError(f"{error.filename or parent}: cannot be written ({error.strerror or error})") from error
    for batch, difference in parity["differences"].items():
        print(f"batch {batch}: largest difference from the checkpoint {difference:.1e}, run by {parity['run_by']}")
    print(target)
    return 0


def _keep_file(part: Path, file: str, named: Path) -> None:
    """The file alone, as `named`, and its card beside it; the rest of the folder goes."""
    needed = {file, CARD, README, PICTURE, PARITY}
    if any(path.name not in needed for path in part.iterdir()):
        raise UsageError(f"out={named}: the weights are too many for one file; give a folder")
    card = {**json.loads((part / CARD).read_text(encoding="utf-8")), "file": named.name}
    card["parity"] = json.loads((part / PARITY).read_text(encoding="utf-8"))
    (part / CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    os.replace(part / CARD, without_link(named.with_suffix(".json")))
    os.replace(part / file, named)
    shutil.rmtree(part)


def _write(generator: LoadedGenerator, format: str, folder: Path, name: str) -> dict[str, Any]:
    """All files of the folder; what the comparison found."""
    inputs = [inputs_of(generator, range(batch)) for batch in BATCHES]
    expected = [respond(generator.network, latent, condition) for latent, condition in inputs]
    example = inputs_of(generator, range(3))  # a number that is no special case to an exporter
    latent = {
        "shape": ["batch", generator.latent.dim],
        "distribution": generator.latent.distribution,
        **({"range": [-1, 1]} if generator.latent.distribution == "uniform" else {}),
    }
    (folder / CARD).write_text(card_text(generator.card, latent, format), encoding="utf-8")
    text = readme_text(generator.card, generator.latent.distribution, format, name)
    (folder / README).write_text(text, encoding="utf-8")
    _save_samples(generator, folder / PICTURE)
    made = write_and_run(format, generator, example, folder, inputs)
    parity = {
        "format": format,
        "checkpoint": generator.sha256,
        "run_by": EXPORTERS[format].run_by,
        "allowed": LARGEST_DIFFERENCE,
        "differences": compare(expected, made, format),
        "torch": torch.__version__,
    }
    (folder / PARITY).write_text(json.dumps(parity, indent=2) + "\n", encoding="utf-8")
    return parity


def inputs_of(generator: LoadedGenerator, seeds: Sequence[int]) -> tuple[Tensor, Tensor | None]:
    """The latents of these seeds and, if it can be asked, conditions of all classes in turn."""
    rows = every_class(generator.classes)
    asked = [rows[seed % len(rows)] for seed in seeds] if rows else []
    condition = conditions_for(generator.classes, asked, seeds) if rows else None
    return latents_of(seeds, generator.latent), condition


def compare(expected: Sequence[Tensor], made: Sequence[Tensor], format: str) -> dict[str, float]:
    """The largest absolute difference at each batch size; StorageError if it is not small, or shapes differ."""
    differences = {}
    for wanted, found in zip(expected, made, strict=True):
        if found.shape != wanted.shape:
            shapes = f"{tuple(found.shape)}, not {tuple(wanted.shape)}"
            raise StorageError(f"format={format}: the exported generator makes samples of {shapes}; nothing was kept")
        difference = (found - wanted).abs().max().item()
        if not difference <= LARGEST_DIFFERENCE:
            shown = f"{difference:.1e}" if math.isfinite(difference) else "numbers that are not finite"
            raise StorageError(
                f"format={format}: the exported generator differs from the checkpoint's by {shown} at batch"
                f" {len(wanted)}, at most {LARGEST_DIFFERENCE:g} is allowed; nothing was kept"
            )
        differences[str(len(wanted))] = difference
    return differences


def _save_samples(generator: LoadedGenerator, path: Path) -> None:
    """As the last grid of its run."""
    images = len(generator.sample_shape) == 3
    rows = every_class(generator.classes, SHOWN_CLASSES)
    count = OF_A_CLASS * len(rows) if rows and images else SHOWN_IMAGES if images else SHOWN_POINTS
    made = sample(generator, range(count), share_out(rows, count) if rows else None)
    lengths = [OF_A_CLASS] * len(rows)
    save_picture(draw_samples(to_bytes(made), generator.modes, lengths), path)


def _default_folder(path: Path) -> Path:
    run = path.parent.parent if path.parent.name == CHECKPOINTS else path.parent
    return refuse_link(run / "exported")
