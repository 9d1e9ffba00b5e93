"""The command `gan-export`: writes the generator of a checkpoint as a file that other programs can run.

The exported file is run, and its samples are compared with the samples of the checkpoint. Only then does the file get
its final name.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from gan_cli.config.options.commands import ExportConfig
from gan_cli.data.dataset import to_uint8
from gan_cli.data.labels import all_classes_requested, distribute_evenly
from gan_cli.device import limit_threads
from gan_cli.errors import StorageError, UsageError, format_number
from gan_cli.export.format_writers import EXPORTERS, NamedInputs, write_and_run
from gan_cli.export.model_card import README, SAMPLE_IMAGE, model_card_text, model_config_json
from gan_cli.extras import require_extra
from gan_cli.image_labels.shown_classes import MAX_CLASSES_SHOWN
from gan_cli.images.grid import draw_grid_or_scatter, save_png
from gan_cli.models.generate import SAMPLES_PER_CLASS, latents_from_seeds
from gan_cli.sampling.input_samples import batches_of_input, draw_rows
from gan_cli.sampling.load_generator import LoadedGenerator, default_folder, load_generator, sample
from gan_cli.sampling.read_inputs import GivenImage, held_out_inputs
from gan_cli.storage.json_files import load_json
from gan_cli.storage.locate import CARD, EXPORTED
from gan_cli.storage.output_file import check_overwrite, claim_unused, keep_as, output_file, output_folder, unused_path
from gan_cli.storage.run_folder import write_json
from gan_cli.tasks.tasks import condition_of_samples
from gan_cli.training.inputs import SHOWN

BATCH_SIZES = (1, 2, 5)  # the exported file is compared with the checkpoint once for each of these batch sizes
MAX_DIFFERENCE = 1e-4  # between samples in [-1, 1]: an eightieth of a grey level
PARITY = "parity.json"
SUFFIX_MEANINGS = {Path(file).suffix: f"of format={format}" for format, file in EXPORTED.items()}
IMAGES_SHOWN, POINTS_SHOWN = 64, 1000


def export(config: ExportConfig) -> int:
    """Writes a folder with the exported file, `config.json`, a model card, an image of samples and `parity.json`.

    If `out` names a file, writes only that file and one JSON file with the content of `config.json` and `parity.json`,
    the result of the comparison. Returns the exit code 0.

    Raises StorageError and deletes everything it wrote if the samples of the exported file differ from the samples of
    the checkpoint. Raises UsageError if an option is wrong or the format cannot hold this generator.
    """
    assert config.ckpt is not None  # `check_named_files` has seen to it
    if config.format == "onnx":
        require_extra("onnx", "format=onnx")
    file = EXPORTED[config.format]
    named = output_file(config.out, Path(file).suffix, f"format={config.format}", SUFFIX_MEANINGS)
    check_overwrite(named, [] if named is None else [named.with_suffix(".json")], config.overwrite)
    limit_threads()
    generator = load_generator(config.ckpt, ema=config.ema)
    parent = named.parent if named else Path(config.out) if config.out else default_folder(generator.path, "exported")
    with output_folder(parent) as temporary:
        target = named or unused_path(parent, f"{generator.path.stem}_{config.format}", "")
        part = temporary / "export"
        part.mkdir()
        parity = _write(generator, config.format, part, target.name)
        if named is None:
            target = claim_unused(part, parent, f"{generator.path.stem}_{config.format}", "")
        else:
            _keep_file(part, file, named, overwrite=config.overwrite)
    for batch, difference in parity["differences"].items():
        largest = f"largest difference from the checkpoint {format_number(difference, 2)}"
        print(f"batch {batch}: {largest}, run by {parity['run_by']}")
    print(target)
    return 0


def _keep_file(part: Path, file: str, named: Path, *, overwrite: bool) -> None:
    """Moves the exported file from the temporary folder `part` to `named`, and its JSON file next to it.

    Raises UsageError if the weights are split into several files.
    """
    needed = {file, CARD, README, SAMPLE_IMAGE, PARITY}
    if any(path.name not in needed for path in part.glob("[!.]*")):
        raise UsageError(f"out={named}: the weights need more than one file; give a folder")
    write_json(part / CARD, load_json(part / CARD) | {"file": named.name, "parity": load_json(part / PARITY)})
    keep_as(part / file, named, (part / CARD, named.with_suffix(".json")), overwrite=overwrite)


def _write(generator: LoadedGenerator, format: str, folder: Path, name: str) -> dict[str, Any]:
    """Writes all files of the folder. Returns the content of `parity.json`, the result of the comparison."""
    inputs = [example_inputs(generator, range(batch_size)) for batch_size in BATCH_SIZES]
    expected = [NamedInputs(generator.network, [*each]).run(each) for each in inputs]
    example = example_inputs(generator, range(3))  # exporters treat a batch of 1 as a special case
    (folder / CARD).write_text(model_config_json(generator.card, format), encoding="utf-8")
    (folder / README).write_text(model_card_text(generator.card, format, name), encoding="utf-8")
    _save_samples(generator, folder / SAMPLE_IMAGE)
    outputs = write_and_run(format, generator, example, folder, inputs)
    parity = {
        "format": format,
        "checkpoint": generator.sha256,
        "run_by": EXPORTERS[format].runtime,
        "allowed": MAX_DIFFERENCE,
        "differences": compare_samples(expected, outputs, format),
        "torch": torch.__version__,
    }
    write_json(folder / PARITY, parity)
    return parity


def example_inputs(generator: LoadedGenerator, seeds: Sequence[int]) -> dict[str, Tensor]:
    """Returns an input of each name for these seeds: the latents, labels of the classes in turn, and random images.

    Parts that the generator does not take are left out. A seed requests the class number `seed % len(classes)`.
    """
    inputs = {}
    if generator.latent.dim:
        inputs["latent"] = latents_from_seeds(seeds, generator.latent)
    if classes := all_classes_requested(generator.classes):
        requested = [classes[seed % len(classes)] for seed in seeds]
        inputs["condition"] = generator.encode(requested, seeds)
    if generator.has_image_input:
        samples = torch.stack([_random_image(generator.sample_shape, seed) for seed in seeds])
        condition = condition_of_samples(generator.card.task, samples)
        inputs |= {name: part for name in ("image", "mask") if (part := getattr(condition, name)) is not None}
    return inputs


def _draw_inputs(generator: LoadedGenerator) -> Image.Image:
    try:
        given = held_out_inputs(generator, SHOWN)
    except UsageError:
        samples = torch.stack([_random_image(generator.sample_shape, seed) for seed in range(SHOWN)])
        condition = condition_of_samples(generator.card.task, samples)
        given = [GivenImage(str(row), partial(condition.rows, slice(row, row + 1))) for row in range(SHOWN)]
    return draw_rows(given, [next(batches_of_input(generator, image, [0])) for image in given])


def _random_image(shape: tuple[int, ...], seed: int) -> Tensor:
    """Returns an image of random values in [-1, 1]."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def compare_samples(expected: Sequence[Tensor], outputs: Sequence[Tensor], format: str) -> dict[str, float]:
    """Returns the largest absolute difference between the checkpoint's samples and the outputs, by batch size.

    Raises StorageError if a difference is above `MAX_DIFFERENCE`, is not finite, or the shapes differ.
    """
    differences = {}
    for reference, output in zip(expected, outputs, strict=True):
        if output.shape != reference.shape:
            shapes = f"{tuple(output.shape)}, not {tuple(reference.shape)}"
            raise StorageError(f"format={format}: the exported generator makes samples of {shapes}; nothing was kept")
        difference = (output - reference).abs().max().item()
        if not difference <= MAX_DIFFERENCE:
            shown = format_number(difference, 2) if math.isfinite(difference) else "numbers that are not finite"
            raise StorageError(
                f"format={format}: the exported generator differs from the checkpoint's by {shown} at batch"
                f" {len(reference)}, at most {format_number(MAX_DIFFERENCE)} is allowed; nothing was kept"
            )
        differences[str(len(reference))] = difference
    return differences


def _save_samples(generator: LoadedGenerator, path: Path) -> None:
    """Draws samples of the seeds from 0 on, as in the sample grids of a run; images have a row for each class.

    A generator that takes images is shown on held-out images, or on random values if the run's data are not at hand.
    """
    if generator.has_image_input:
        return save_png(_draw_inputs(generator), path)
    images = len(generator.sample_shape) == 3
    rows = all_classes_requested(generator.classes, MAX_CLASSES_SHOWN)
    count = SAMPLES_PER_CLASS * len(rows) if rows and images else IMAGES_SHOWN if images else POINTS_SHOWN
    samples = sample(generator, range(count), distribute_evenly(rows, count) or None)
    lengths = [SAMPLES_PER_CLASS] * len(rows)
    save_png(draw_grid_or_scatter(to_uint8(samples), generator.modes, lengths), path)
