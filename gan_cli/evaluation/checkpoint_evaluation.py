"""Evaluates a checkpoint against its data set, or one folder of images against another. Used by `gan-eval`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from gan_cli import __version__
from gan_cli.config.commands import EvalConfig
from gan_cli.config.metric_names import check_metric_names, check_metrics_of_run
from gan_cli.config.options.loop import PAIRED_METRICS
from gan_cli.config.options.networks.pretrained import warning_of_extractor
from gan_cli.config.train_config import Config
from gan_cli.data.dataset import Dataset
from gan_cli.data.load_dataset import build_dataset
from gan_cli.data.moved_data import relocate_data, resolve_data_paths, without_untrusted_folders
from gan_cli.errors import CheckpointError, DivergedError, UsageError, count_noun, one_line
from gan_cli.evaluation.callbacks import LogCallback, ProgressCallback, ignore
from gan_cli.evaluation.compute import available_metrics, check_metrics, evaluate_samples
from gan_cli.evaluation.generated_samples import (
    STANDING_BATCHES,
    EvaluatedSamples,
    SampleSource,
    generate_evaluated,
    recompute_batch_norm_statistics,
)
from gan_cli.evaluation.image_folders import read_folders
from gan_cli.evaluation.metrics.memorization import Memorization
from gan_cli.evaluation.paired_inputs import paired_inputs
from gan_cli.evaluation.paired_metrics import compare_without_network
from gan_cli.evaluation.real_data import DEFAULT_PROTOCOL, MIN_SAMPLES, Protocol, RealData, find_real_data
from gan_cli.evaluation.reference import Reference, build_extractor, build_reference, check_metrics_of_data
from gan_cli.images import grid
from gan_cli.models.build_networks import build_generator
from gan_cli.models.standing_statistics import has_running_statistics
from gan_cli.randomness import generator_for
from gan_cli.state.checkpoint import Checkpoint
from gan_cli.storage.evaluation_file import EvaluationResult
from gan_cli.storage.run_record import start_folder
from gan_cli.tasks.tasks import task_of

DEFAULT_SAMPLES = 5000  # number of samples if `n` is not given; fewer if the data have fewer real samples
SHOWN_PAIRS = 32  # most pairs in each part of the image of nearest training images


def evaluate_checkpoint(
    found: Checkpoint,
    options: EvalConfig,
    device: torch.device,
    log: LogCallback = ignore,
    progress: ProgressCallback = ignore,
) -> tuple[EvaluationResult, Image.Image | None]:
    """Evaluates samples of a checkpoint's generator. Returns the metrics, and an image if memorization is one of them.

    The image shows samples above their nearest training images.

    `options` are those of `gan-eval`; its `ckpt` and `device` are not used. The data set is the one the checkpoint was
    trained on. With `standing`, the batch norm statistics of the generator are first recomputed from its own samples
    (standing statistics). Writes no files except caches.

    Raises UsageError if the data are missing, have changed or do not allow the given options. Raises CheckpointError
    if a sample is not finite.
    """
    check_metrics_of_run(options.metrics or (), options.extractor, found.config)
    dataset, real = data_of_checkpoint(found, options.data, follow_links=options.follow_links)
    log(f"data: {dataset.source}")
    if warning := warning_of_extractor(found.config, options.extractor):
        log(warning)
    reference = _reference(real, options, DEFAULT_SAMPLES, device, log, progress, found.config)
    names = options.metrics or available_metrics(reference)
    generator = build_generator(found.config, found.tensors, device, ema=options.ema)
    standing = options.standing and has_running_statistics(generator)
    if standing:
        generator = recompute_batch_norm_statistics(generator, found.config, dataset)
        log(f"batch norm: statistics recomputed from {STANDING_BATCHES} batches of samples, for the evaluated weights")
    source = SampleSource(generator, found.config, dataset, options.seed, options.batch_size)
    try:
        generated = generate_evaluated(reference, source, reference.n, names, progress)
    except DivergedError as error:
        raise CheckpointError(f"{found.path}: {error}") from error
    about = {
        "checkpoint": str(found.path.absolute()),
        "sha256": found.sha256,
        "step": found.counters.step,
        "data": dataset.source,
        "fingerprint": dataset.fingerprint,
        "seeds": f"{options.seed}-{options.seed + reference.n - 1}",
        "ema": options.ema and found.config.training.ema_decay > 0,
        "standing": standing,
    }
    if reference.inputs is not None:
        about |= {"seeds": f"{options.seed} for each input", "inputs": reference.inputs.source}
    return _Evaluation(reference, names, options.resamples, log, progress).evaluate(generated, about)


def data_of_checkpoint(found: Checkpoint, data: str | None, *, follow_links: bool = False) -> tuple[Dataset, RealData]:
    """Returns the training data set of the checkpoint, and the real data for the comparison.

    With `follow_links`, links out of a folder of images are followed even if the run did not follow them.

    Raises UsageError if the data are missing or have changed.
    """
    config, away = found.config, ""
    if data is not None:
        section = relocate_data(config.dataset, data)
    else:
        section = resolve_data_paths(config.dataset, start_folder(found.path.parent.parent))
        if hasattr(section, "path") or hasattr(section, "root"):
            away = "; if they were moved, give the new path as data=..."
    section = without_untrusted_folders(section, () if data is None else ("data",))
    if follow_links and hasattr(section, "follow_links"):
        section = dataclasses.replace(section, follow_links=True)
    try:
        dataset = build_dataset(section, config.image_size)
    except UsageError as error:
        raise UsageError(f"the data of {found.path}: {error}{away}") from None
    if dataset.fingerprint != found.provenance.fingerprint:
        raise UsageError(
            f"{found.path}: was trained on other data than these ({one_line(dataset.source, 120)}); restore those"
            f"{away}, or compare folders of images by real= and fake="
        )
    return dataset, find_real_data(section, config.image_size, dataset)


def _reference(
    real: RealData,
    options: EvalConfig,
    default_n: int,
    device: torch.device,
    log: LogCallback,
    progress: ProgressCallback,
    config: Config | None = None,
) -> Reference:
    """Returns the reference: the features of the real samples that `n` samples are compared with.

    If `n` is not given, these are `default_n` samples, or fewer if there are fewer real samples. If `config` is that of
    a task, the reference has its inputs. Raises UsageError if there are fewer real samples or inputs than requested, or
    if the data do not allow a metric.
    """
    n, protocol = options.n, Protocol(options.reals, options.n_real)
    if n is not None and n > real.max_per_side and protocol == DEFAULT_PROTOCOL:
        half = "" if real.held_out is not None else f", half of {len(real.train_unlimited):,}, as {real.why}"
        raise UsageError(
            f"n={n}: there are {real.max_per_side:,} real samples on each side{half}; use at most that many, or"
            f" reals=train to compare with all {len(real.train_unlimited):,} training samples"
        )
    if protocol.n is not None and protocol.n > real.available(protocol):
        most = real.available(protocol)
        raise UsageError(f"n_real={protocol.n}: reals={protocol.reals} are {most:,} samples, use at most that many")
    for line in (*(f"data: {note}" for note in real.notes), *real.duplicates):
        log(line)
    check_metrics_of_data(options.metrics or (), options.extractor, real)
    extractor = build_extractor(options.extractor, real, log, metrics=options.metrics or (), device=device)
    with_inputs = config is not None and task_of(config.task).make_condition is not None
    n = n or (min(default_n, real.max_inputs) if with_inputs else default_n)
    reference = build_reference(real, extractor, n, progress, protocol)
    reference.inputs = None if config is None else paired_inputs(config, real, reference.n)
    reference.requested = config is not None and bool(config.classes)
    if reference.inputs is not None:
        log(f"inputs: {reference.inputs.source}")
    check_metrics(reference, options.metrics or ())
    log(f"compared with: {reference.describe()}")
    return reference


def evaluate_folders(
    options: EvalConfig, device: torch.device, log: LogCallback = ignore, progress: ProgressCallback = ignore
) -> tuple[EvaluationResult, Image.Image | None]:
    """Compares the images of the folder or zip `fake` with those of `real`. Raises UsageError for too few images.

    The other arguments and the result are as in `evaluate_checkpoint`.
    """
    n, fake = options.n, options.fake
    if paired := [name for name in options.metrics or () if name in PAIRED_METRICS]:
        raise UsageError(f"metrics=[{paired[0]}]: compares pairs, which folders are not; give a run of a task as ckpt=")
    check_metric_names(options.metrics or (), options.extractor, points=False, paired=False, requested=False)
    data, fakes, lines, fake_files = read_folders(options, n or DEFAULT_SAMPLES)
    for line in lines:
        log(line)
    if len(fakes) < MIN_SAMPLES:
        raise UsageError(f"fake={fake}: {count_noun(len(fakes), 'image')}, at least {MIN_SAMPLES} are needed")
    if n is not None and n > len(fakes):
        raise UsageError(f"n={n}: fake={fake} has {len(fakes):,} images, use at most that many")
    reference = _reference(data, options, len(fakes), device, log, progress)
    unused = fake_files - reference.n
    if unused > 0:
        more = "; n= takes more" if reference.n == len(fakes) else "; reals=train compares all with all real ones"
        log(f"fakes: {unused:,} of {fake_files:,} are not used{more if n is None else ''}")
    order = torch.randperm(len(fakes), generator=generator_for(0, "fakes"))  # the files may be sorted by class
    about = {
        "real": options.real,
        "fake": fake,
        "fingerprint": data.train_unlimited.fingerprint,
        "shape": list(fakes.samples.shape[1:]),
        "fit": options.fit,
        "told": lines[2:],
        "unused": max(unused, 0),
    }
    names = options.metrics or available_metrics(reference)
    generated = EvaluatedSamples(fakes.samples[order[: reference.n]])
    return _Evaluation(reference, names, options.resamples, log, progress).evaluate(generated, about)


class _Evaluation(NamedTuple):
    """What samples are compared with, the names of the metrics, and the number of resamples for their intervals."""

    reference: Reference
    names: Sequence[str]
    resamples: int
    log: LogCallback
    progress: ProgressCallback

    def evaluate(
        self, generated: EvaluatedSamples, about: dict[str, Any]
    ) -> tuple[EvaluationResult, Image.Image | None]:
        """Returns the metrics of samples, and an image if memorization is one of them. `about` is of the samples."""
        reference, samples = self.reference, generated.samples
        how: dict[str, Any] = {"resamples": self.resamples, "progress": self.progress}
        how |= {"repeats": generated.repeats, "labels": generated.labels}
        metrics, copies = evaluate_samples(reference, samples, self.names, **how)
        metrics = compare_without_network(metrics, reference, self.log)
        about |= {"n": len(samples), **_describe_reference(reference)}
        result = EvaluationResult(tuple(metrics), about)
        if copies is None:
            return result, None
        about |= {"memorized": copies.flagged, "verdict": copies.verdict}
        return result, _draw_nearest(copies, samples, reference)


def _describe_reference(reference: Reference) -> dict[str, Any]:
    about: dict[str, Any] = {
        "extractor": reference.extractor.name,
        "accuracy": reference.extractor.accuracy,
        "n_real": len(reference.real.features),
        "reals": reference.protocol.reals,
        "compared_with": reference.describe(),
        "basis": reference.basis,
        "gan_cli": __version__,
    }
    if reference.extractor.why:
        about["why"] = reference.extractor.why
    if left_out := [*reference.data.notes, *reference.data.duplicates]:
        about["notes"] = left_out
    return about


def _draw_nearest(found: Memorization, samples: Tensor, reference: Reference) -> Image.Image:
    """Returns an image of two parts: samples and held-out images, each above its nearest training image.

    Each part shows at most SHOWN_PAIRS pairs, those with the smallest relative distance.
    """
    train = reference.data.train.samples
    held_out, _ = reference.data.held_out_images(len(found.copies))
    blocks = []
    for title, shown, nearest in (
        ("samples that are most like a training image, each above it", samples, found.nearest),
        ("the same of real images that were held out", held_out, found.held_out_nearest),
    ):
        rows = nearest.relative_distance.argsort()[:SHOWN_PAIRS]
        blocks.append((title, shown[rows], train[nearest.index[rows]]))
    return grid.draw_pairs(blocks)
