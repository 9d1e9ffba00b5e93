"""Declares the keys of the group `device` and of the sections `training`, `evaluation` and `health`."""

from collections.abc import Sequence
from typing import Literal, get_args

from pydantic import Field

from gan_cli.config.options.fields import Bool, Integer, Number, OptionName, Several, Text, section

# Metrics that compare samples with real samples. For example, `frechet` is reported as `frechet-<extractor>`.
DistributionMetric = Literal["frechet", "kernel", "precision_recall", "density_coverage", "inception_score"]
# Metrics of tasks, which compare each sample with its true image.
PairedMetric = Literal["psnr", "ssim", "l1", "sharpness", "paired", "class_kept", "diversity"]
TrainingMetric = DistributionMetric | PairedMetric
PAIRED_METRICS: tuple[str, ...] = get_args(PairedMetric)
Metric = TrainingMetric | Literal["modes", "class_accuracy", "memorization"]
WITHOUT_FEATURES = ("psnr", "ssim", "l1", "sharpness", "diversity", "memorization")  # metrics of pixels alone
Extractor = Literal["auto", "classifier", "random", "pixels", "inception", "efficientnet"]
# What a metric needs, besides samples and real ones.
REQUIREMENTS = {
    "inception_score": "needs images of one class each with extractor=classifier, or extractor=inception or"
    " efficientnet",
    "modes": "needs points whose modes are known, or images of one class each with extractor=classifier",
    "class_accuracy": "needs a run with conditioning, images of it, and extractor=classifier",
    "memorization": "needs images, these data are points",
    "class_kept": "needs images of one class each with extractor=classifier",
    "diversity": "needs a generator with a latent, whose samples of one input differ",
}
Augmentation = Literal[
    "color", "translation", "cutout", "turn",
    "flip", "scale", "rotation", "brightness", "contrast", "hue", "saturation", "noise", "ada",
]  # fmt: skip
# Words of other tools for a metric, and what to write in gan-cli; `{}` is the section of the key, as `evaluation.`.
METRICS_OF_OTHER_TOOLS = {
    "fid": "{0}metrics=[frechet] {0}extractor=inception", "kid": "{0}metrics=[kernel] {0}extractor=inception",
    "frechet_inception_distance": "{0}metrics=[frechet] {0}extractor=inception", "mmd": "{0}metrics=[kernel]",
    "is": "{0}metrics=[inception_score]", "precision": "{0}metrics=[precision_recall]",
    "recall": "{0}metrics=[precision_recall]", "prdc": "{0}metrics=[density_coverage]",
    "density": "{0}metrics=[density_coverage]", "coverage": "{0}metrics=[density_coverage]",
}  # fmt: skip


# Metrics of gan-eval alone, and what to do in their place during a run.
METRICS_OF_EVAL = {
    "class_accuracy": "is of gan-eval; a conditional run measures accuracy/class at each evaluation by itself",
    "modes": "is of gan-eval; a run on data of known modes measures modes/covered by itself",
    "memorization": "is of gan-eval: gan-eval RUN metrics=[memorization]",
}


def metrics_of_other_tools(section: str = "") -> dict[str, str]:
    """Returns a dict from the word of another tool for a metric to a text that says what to write here."""
    return {word: f"here it is {way.format(section)}" for word, way in METRICS_OF_OTHER_TOOLS.items()}


@section
class Device:
    """The CPU, the GPU of a Mac, or the fastest device: auto, cpu or mps."""

    name: OptionName
    processes: Integer = Field(
        1, ge=1, le=4096, description="processes that train one model on this machine, each with a part of the batch"
    )
    timeout: Integer = Field(
        300, ge=1, le=86_400, description="seconds after which a run ends if one of its processes does not answer"
    )
    batch_norm: Literal["synchronized", "process"] = Field(
        "synchronized",
        description="statistics of batch normalization with several processes: of the whole batch, or of each"
        " process's part",
    )


@section
class Cuda(Device):
    """An NVIDIA or AMD GPU."""

    index: Integer = Field(
        ge=0,
        le=1023,
        json_schema_extra={
            "instead": {"[]": "a process uses one GPU; device.processes=2 uses two from device.index on"}
        },
        description="number of the GPU, from 0",
    )
    tf32: Literal["auto"] | Bool = Field(
        "auto",
        description="round factors of products in float32 to 10 bits (TF32), which later GPUs than V100 and T4 compute"
        " faster; auto: in training unless deterministic=true, else in convolutions only",
    )


DEVICE_OPTIONS: dict[str, type] = {"auto": Device, "cpu": Device, "cuda": Cuda, "mps": Device}


@section
class TrainingOptions:
    """The keys of the section `training`. A turn is `n_critic` updates of D, then `generator_updates` of G."""

    n_critic: Integer = Field(ge=1, le=1000, description="discriminator updates per turn; epochs with alternate=epoch")
    generator_updates: Integer = Field(
        1, ge=1, le=1000, description="generator updates per turn; epochs with alternate=epoch"
    )
    alternate: Literal["step", "epoch"] = Field(
        "step", description="a turn is a number of updates (step), or of epochs (epoch)"
    )
    critic_warmup: Integer = Field(
        0,
        ge=0,
        le=10_000,
        description="discriminator updates in each of the first 25 turns and every 500th, as in WGAN's code; 0:"
        " n_critic",
    )
    unroll_steps: Integer = Field(
        0,
        ge=0,
        le=100,
        description="discriminator updates that are unrolled for a G update, and differentiated through (1611.02163)",
    )
    top_k: Number | None = Field(
        None,
        gt=0,
        lt=1,
        description="train G on the fakes with the largest logits, in the end this share of them (2002.06224); all"
        " unless set",
    )
    label_smoothing: Number = Field(
        0.0, ge=0, lt=1, description="D's target for real samples is 1 minus this (1606.03498)"
    )
    instance_noise: Number = Field(
        0.0,
        ge=0,
        le=10,
        description="standard deviation of noise on D's inputs, falling to 0 over the run (1610.04490)",
    )
    augment: Several[Augmentation] = Field(
        (),
        description="differentiable augmentation of D's inputs, as [color,translation,cutout] (2006.10738) or [ada]"
        " (2006.06676), all but color, noise and cutout; turn: by quarters; scale, rotation: about the centre",
    )
    ada_target: Number | None = Field(
        None,
        gt=0,
        lt=1,
        description="adapt the probability of augmentation to keep the mean sign of D's real logits here, as 0.6"
        " (2006.06676), by at most 1 in 100,000 images; augment_probability unless set",
    )
    augment_probability: Number = Field(
        1.0, ge=0, le=1, description="probability of each augmentation of a sample, unless ada_target adapts it"
    )
    pack: Integer = Field(1, ge=1, le=64, description="samples that D gets as one, concatenated (PacGAN, 1712.04086)")
    reuse_fakes: Bool = Field(False, description="update G with the fakes of the last D update instead of new ones")
    accumulate: Integer = Field(
        1, ge=1, le=10_000, description="microbatches per batch, whose gradients are accumulated, to save memory"
    )
    checkpoint_activations: Bool = Field(
        False,
        description="keep only the inputs of each block of layers for the backward pass, and compute the rest again"
        " there (1604.06174), to save memory; results stay the same",
    )
    clip_grad_norm: Number | None = Field(
        None, gt=0, description="largest norm of a network's gradient; a longer one is scaled down; no limit unless set"
    )
    freeze_discriminator_layers: Integer = Field(
        0, ge=0, le=1000, description="number of D's first layers whose weights stay fixed (2002.10964)"
    )
    ema_decay: Number = Field(
        ge=0,
        lt=1,
        description="decay per step of the averaged generator (EMA), which generates the samples; at most"
        " (1 + step) / (10 + step), unless schedule.ema_decay.to or init_from is set; 0: no average",
    )
    lr_schedule: Literal["constant", "linear", "cosine", "late_linear"] = Field(
        description="learning rates over the run: constant, linear or cosine to 0, or constant at first and then"
        " linear to 0; schedule.lr changes them otherwise"
    )
    log_every: Integer = Field(ge=0, description="steps between lines of metrics.jsonl; 0: never")
    sample_every: Integer = Field(ge=0, description="steps between sample grids; 0: only at the end")
    evaluate_every: Integer = Field(
        0,
        ge=0,
        description="steps between evaluations of samples: evaluation.metrics, and classes and stacked digits by a"
        " classifier of the data; 0: only the last",
    )
    checkpoint_every: Integer = Field(ge=0, description="steps between checkpoints; 0: only the first and the last")


@section
class EvaluationOptions:
    """The keys of the section `evaluation`."""

    metrics: Several[TrainingMetric] = Field(
        (),
        json_schema_extra={"instead": {**metrics_of_other_tools("evaluation."), **METRICS_OF_EVAL}},
        description="metrics computed at each evaluation, as [frechet]",
    )
    classify: Bool = Field(
        True,
        description="find the classes of samples at each evaluation, for accuracy/class of conditional runs and"
        " modes/covered of stacked digits, by a classifier that is trained on the data",
    )
    extractor: Extractor = Field(
        "auto", description="features in which images are compared; auto: classifier if there are labels, else random"
    )
    n: Integer = Field(2000, ge=10, le=1_000_000, description="samples of an evaluation, and real ones to compare with")
    best: Text | None = Field(
        None,
        description="the metric that selects best.safetensors and ranks a sweep, as recall or modes/covered; the"
        " first of metrics unless set",
    )
    patience: Integer | None = Field(
        None, ge=1, le=10**6, description="evaluations without improvement after which the run stops"
    )


@section
class HealthOptions:
    """The keys of the section `health`."""

    on_collapse: Literal["warn", "stop"] = Field(
        "warn", description="on a finding of the health monitor: warn, or also stop the run"
    )
    on_nonfinite: Literal["stop", "rollback"] = Field(
        "stop",
        description="on NaN or Inf: stop the run, or roll back to the newest checkpoint and continue with another seed",
    )
    retries: Integer = Field(0, ge=0, le=1000, description="how often a run may roll back")


def unused_augmentations(augment: Sequence[str], channels: int) -> tuple[str, ...]:
    """Returns the names in `augment` of what changes no image with so many channels."""
    colours = channels - (channels == 4)  # a 4th channel is opacity
    unused = {"hue": colours != 3, "saturation": colours == 1}
    return tuple(name for name in augment if unused.get(name, False))
