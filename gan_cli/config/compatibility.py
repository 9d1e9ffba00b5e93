"""Checks whether the values of a config, each valid by itself, fit together, before anything is built. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gan_cli.config.metric_names import BETTER_DIRECTION, better_direction, check_metrics_of_run, metric_option
from gan_cli.config.options.conditioning import CLASSIFYING
from gan_cli.config.options.image_sizes import MIN_IMAGE_SIDE, downsampling_levels, padded_size
from gan_cli.config.options.loop import unused_augmentations
from gan_cli.config.options.networks.architectures import CONVOLUTIONAL, FOR_IMAGES, GENERATOR_OPTIONS
from gan_cli.config.options.networks.pretrained import check_pretrained
from gan_cli.config.options.objectives import (
    WITHOUT_BOUNDARY,
    WITHOUT_REAL,
    check_generator_learns,
    check_path_length,
    check_regularizers,
)
from gan_cli.config.options.published_datasets import WITHOUT_SOURCES
from gan_cli.config.options.schedules import check_growth, check_schedules
from gan_cli.config.options.tasks import NEEDS_SOURCES, WITH_IMAGE, needed_part, suits
from gan_cli.config.train_config import Config, parse_unvalidated, wrong_value
from gan_cli.config.validation import format_value
from gan_cli.errors import UsageError, count_noun, did_you_mean

MAX_UPDATES_WITH_BUDGET = 10  # with more generator updates per turn, a budget cannot measure the speed of a turn
DATASETS_WITH_MODES = ("ring", "grid", "stacked_mnist")  # data sets whose modes are known and counted
CROSS_ENTROPIES = ("non_saturating", "minimax")


def parse_config(data: Mapping[str, Any]) -> Config:
    """Returns the `Config` for `data`. Raises UsageError if a value is invalid or if values do not fit together."""
    config = parse_unvalidated(data)
    validate(config)
    return config


def validate(config: Config) -> None:
    """Raises UsageError if values of different keys do not fit together."""
    _validate_task(config)
    check_pretrained(config)
    _validate_shapes(config)
    check_generator_learns(config)
    check_regularizers(config)
    check_path_length(config)
    check_growth(config)
    check_schedules(config)
    _validate_training(config)
    _validate_evaluation(config)


def _validate_shapes(config: Config) -> None:
    """Checks the keys that define the samples, and whether the networks can produce samples of this shape."""
    if getattr(config.dataset, "classes", None) == ():
        raise UsageError("dataset.classes=[]: name at least one class, or leave it out")
    shape = config.sample_shape
    if len(shape) == 1 and config.image_size is not None:
        raise wrong_value(config, "image_size", f"dataset={config.dataset.name} has points, leave image_size out")
    for role in ("generator", "discriminator"):
        network = getattr(config.architecture, role)
        if network.name in FOR_IMAGES and len(shape) == 1:
            raise UsageError(
                f"architecture.{role}={network.name} works on images, but dataset={config.dataset.name} has points:"
                " use architecture=mlp"
            )
        if network.name in CONVOLUTIONAL:
            _validate_sides(config, role, network, *shape[1:])
        elif hasattr(network, "levels"):
            _validate_levels(config, role, network, min(shape[1:]))
    conditioning = config.conditioning.name
    if conditioning in CLASSIFYING and not getattr(config.architecture.discriminator, "classifies", True):
        name = config.architecture.discriminator.name
        raise UsageError(
            f"conditioning={conditioning}: architecture.discriminator={name} has no class logits, use projection or"
            " concat, or another discriminator"
        )


def _validate_sides(config: Config, role: str, network: Any, height: int, width: int) -> None:
    """Checks that a network can produce images of this size, and has a feature map of the height of its attention."""
    if min(height, width) < MIN_IMAGE_SIDE:
        nearest = [[max(side, least) for side in (height, width)] for least in (MIN_IMAGE_SIDE, MIN_IMAGE_SIDE + 1)]
        first, second = (format_value(sides[0] if sides[0] == sides[1] else sides) for sides in nearest)
        reason = f"architecture.{role}={network.name} makes sides from {MIN_IMAGE_SIDE} on"
        nearest_sides = f"the nearest are {first} and {second}; architecture=mlp makes any"
        raise wrong_value(config, "image_size", f"{reason}, {nearest_sides}")
    base, _, levels = downsampling_levels(*padded_size(height, width))
    attention = getattr(network, "attention", None)
    used = range(levels + 1) if role == "generator" else range(min(levels - 1, 1), levels)
    heights = [base << level for level in used]
    if attention is not None and attention not in heights:
        expected = f"expected the height of one of its maps, {', '.join(map(str, heights))}"
        raise wrong_value(config, f"architecture.{role}.attention", expected)


def _validate_levels(config: Config, role: str, network: Any, side: int) -> None:
    """Checks that the coarsest maps have a pixel, and several if they are normalized by their own statistics."""
    smallest = 2 if network.normalization == "instance" else 1
    most = (side // smallest).bit_length() - 1
    if network.levels > most:
        if most < 1:
            raise wrong_value(config, "image_size", f"architecture.{role}={network.name} makes sides from 4 on")
        of = " with instance norm" if smallest == 2 else ""
        expected = f"expected at most {most}{of} for sides of {side} pixels, which each level halves"
        raise wrong_value(config, f"architecture.{role}.levels", expected)


def _validate_task(config: Config) -> None:
    """Checks that the networks, the data and the training techniques fit the task."""
    name, network = config.task.name, config.architecture.generator
    parts: frozenset[str] = getattr(network, "condition_parts", frozenset())
    if name not in WITH_IMAGE:
        if "image" in parts:
            raise UsageError(
                f"architecture.generator={network.name} makes an image from an image: set task=translation, inpainting"
                " or super_resolution"
            )
        if compared := [each for each in config.auxiliary if each not in WITHOUT_REAL]:
            raise UsageError(
                f"auxiliary=[{','.join(compared)}]: compares a sample with the real image of its condition,"
                " which task=generation does not have; set task=inpainting or another"
            )
        return
    if len(config.sample_shape) == 1:
        raise UsageError(f"task={name}: dataset={config.dataset.name} has points, choose a data set of images")
    if getattr(config.task, "source", None) == "data" and config.dataset.name in WITHOUT_SOURCES:
        raise UsageError(f"task={name}: dataset={config.dataset.name} {NEEDS_SOURCES}")
    if not suits(name, network):
        lacks = "does not enlarge" if (needed := needed_part(name)) in parts else f"takes no {needed}"
        able = [each for each, options in GENERATOR_OPTIONS.items() if suits(name, options)]
        raise UsageError(f"task={name}: architecture.generator={network.name} {lacks}, use {_either(able)}")
    if "labels" not in parts and config.conditioning.name != "none":
        raise UsageError(
            f"conditioning={config.conditioning.name}: architecture.generator={network.name} takes no labels, use none"
        )
    if "feature_matching" in config.auxiliary and not config.architecture.discriminator.feature_maps:
        raise UsageError(
            f"auxiliary=feature_matching: architecture.discriminator={config.architecture.discriminator.name} has no"
            " feature maps, use patch, dcgan or subpixel"
        )
    _validate_techniques_with_image(config, name)


def _either(names: list[str]) -> str:
    return " or ".join([*([", ".join(names[:-1])] if names[:-1] else []), names[-1]])


def _validate_techniques_with_image(config: Config, name: str) -> None:
    """Checks that what changes D's input or the batch also works with an image in the condition."""
    sides = config.sample_shape[1:]
    if config.training.pack > 1:
        raise wrong_value(config, "training.pack", f"packs samples alone, not the images of task={name}; use 1")
    if "consistency" in config.regularizer:
        raise UsageError(f"regularizer=consistency: mirrors samples alone, not the images of task={name}; use r1")
    if name == "super_resolution" and config.task.factor not in (2, 4, 8):
        raise wrong_value(config, "task.factor", "expected 2, 4 or 8")
    if name == "super_resolution" and any(side % config.task.factor for side in sides):
        reason = f"images of {'x'.join(map(str, sides))} are not divisible by it, change image_size"
        raise wrong_value(config, "task.factor", reason)


def _validate_training_techniques(config: Config) -> None:
    """Checks that unrolling, label smoothing and augmentation fit the loss, the penalties and the data."""
    training, points = config.training, len(config.sample_shape) == 1
    penalties = [name for name in config.regularizer if name != "weight_clip"]
    if training.unroll_steps and penalties:
        reason = f"unrolls D's loss only, use regularizer=none, not {penalties[0]}"
        raise wrong_value(config, "training.unroll_steps", reason)
    if training.label_smoothing and config.loss.name not in CROSS_ENTROPIES:
        reason = f"loss={config.loss.name} has no targets, use {' or '.join(CROSS_ENTROPIES)}"
        raise wrong_value(config, "training.label_smoothing", reason)
    if points and (training.augment or "consistency" in config.regularizer):
        key = f"training.augment=[{','.join(training.augment)}]" if training.augment else "regularizer=consistency"
        raise UsageError(f"{key}: is for images, dataset={config.dataset.name} has points")
    if not points and training.augment == unused_augmentations(training.augment, config.sample_shape[0]) != ():
        channels = count_noun(config.sample_shape[0], "channel")
        raise UsageError(
            f"training.augment=[{','.join(training.augment)}]: changes nothing on images of {channels}, use brightness,"
            " contrast or others"
        )
    if training.unroll_steps and config.conditioning.name in CLASSIFYING:
        use = f"use conditioning=projection or concat, not {config.conditioning.name}"
        reason = f"unrolls D's adversarial loss only, {use}"
        raise wrong_value(config, "training.unroll_steps", reason)
    if training.ada_target is not None and not training.augment:
        reason = "sets how often to augment, which needs training.augment=[color,translation,cutout]"
        raise wrong_value(config, "training.ada_target", reason)
    if training.ada_target is not None and config.loss.name in WITHOUT_BOUNDARY:
        reason = f"loss={config.loss.name} has no logit from which on D takes a sample for real"
        raise wrong_value(config, "training.ada_target", f"{reason}, set training.augment_probability instead")


def _validate_training(config: Config) -> None:
    """Checks that the keys of the training loop fit each other and batch_size, budget and conditioning."""
    training = config.training
    if config.batch_size % (training.accumulate * training.pack):
        raise UsageError(
            f"training.accumulate={training.accumulate} training.pack={training.pack}: batch_size={config.batch_size}"
            " cannot be split into so many equal parts"
        )
    _validate_parts(config)
    if training.critic_warmup and (training.alternate == "epoch" or training.critic_warmup < training.n_critic):
        expected = f"expected at least n_critic={training.n_critic} updates, and training.alternate=step"
        raise wrong_value(config, "training.critic_warmup", expected)
    _validate_training_techniques(config)
    if config.compile and config.conditioning.name in CLASSIFYING:
        raise UsageError("compile=true: D's classification is not compiled, use conditioning=projection or concat")
    if config.compile and training.checkpoint_activations:
        raise UsageError("compile=true: its layers are not computed again, set training.checkpoint_activations=false")
    if training.alternate == "epoch" and config.budget is not None:
        raise UsageError("training.alternate=epoch: its speed is unknown before a whole turn, give steps, no budget")
    if training.generator_updates > MAX_UPDATES_WITH_BUDGET and config.budget is not None:
        reason = "the speed of turns this long cannot be measured, give steps, no budget"
        raise wrong_value(config, "training.generator_updates", reason)
    if training.freeze_discriminator_layers and config.init_from is None:
        reason = "keeps weights that were trained before, which needs init_from="
        raise wrong_value(config, "training.freeze_discriminator_layers", reason)


def _validate_evaluation(config: Config) -> None:
    """Checks the metrics, the metric that selects the best checkpoint, and the patience."""
    evaluation, points = config.evaluation, len(config.sample_shape) == 1
    if evaluation.best is not None and not better_direction(evaluation.best):
        expected = f"expected one of {', '.join(sorted(BETTER_DIRECTION))}"
        raise wrong_value(config, "evaluation.best", expected + did_you_mean(evaluation.best, BETTER_DIRECTION))
    if config.resume is not None:  # the config of the resumed run is not merged in yet
        return
    _validate_best(config)
    check_metrics_of_run(evaluation.metrics, evaluation.extractor, config, "evaluation.")
    if evaluation.patience is not None and not config.training.evaluate_every:
        raise wrong_value(config, "evaluation.patience", "counts evaluations, set training.evaluate_every")
    if evaluation.patience is not None and config.selection_metric is None:
        other = " or evaluation.best=modes/covered" if points else ""
        raise wrong_value(config, "evaluation.patience", f"needs a metric, set evaluation.metrics=[frechet]{other}")


def _validate_best(config: Config) -> None:
    """Checks that the run computes the metric that selects its best checkpoint."""
    best, metrics = config.evaluation.best, config.evaluation.metrics
    if (maker := metric_option(best)) not in (None, *metrics):
        raise wrong_value(config, "evaluation.best", f"is computed by evaluation.metrics=[{maker}], set that too")
    if best is not None and best.endswith("/hole") and config.task.name != "inpainting":
        raise wrong_value(config, "evaluation.best", "is for task=inpainting, which has hidden parts")
    if best == "accuracy/class" and config.conditioning.name == "none":
        raise wrong_value(config, "evaluation.best", "is for conditional runs, set conditioning=projection")
    classified = best == "accuracy/class" or (str(best).startswith("modes/") and config.dataset.name == "stacked_mnist")
    if classified and not config.evaluation.classify:
        raise wrong_value(config, "evaluation.best", "needs evaluation.classify=true")
    if best is not None and best.startswith("modes/") and config.dataset.name not in DATASETS_WITH_MODES:
        raise wrong_value(config, "evaluation.best", f"the modes of dataset={config.dataset.name} are not known")


def _validate_parts(config: Config) -> None:
    """Checks that an MLP with batch norm gets at least two samples at a time."""
    part = config.batch_size // config.training.accumulate
    for role, samples in (("generator", part), ("discriminator", part // config.training.pack)):
        network = getattr(config.architecture, role)
        if network.name == "mlp" and network.normalization == "batch" and samples == 1:
            reason = f"batch_size={config.batch_size} leaves one sample at a time, which has no statistics"
            way_out = "use a larger batch_size, or normalization=none"
            raise wrong_value(config, f"architecture.{role}.normalization", f"{reason}; {way_out}")
