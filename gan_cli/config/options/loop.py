"""Declares the keys of the group `device` and of the section `training` (the training loop)."""

from __future__ import annotations

from dataclasses import dataclass

from gan_cli.config.schema import key


@dataclass(frozen=True)
class Device:
    """A device without keys: auto, cpu or mps."""

    name: str = key("the option's name")


@dataclass(frozen=True)
class Cuda:
    """An NVIDIA or AMD GPU."""

    name: str = key("the option's name")
    index: int = key(
        "number of the GPU, from 0",
        at_least=0,
        at_most=1023,
        instead={"[]": "a run uses one GPU; start one run for each, as device.index=0 and device.index=1"},
    )


AUGMENTATIONS = ("color", "translation", "cutout", "turn")
DEVICE_OPTIONS: dict[str, type] = {"auto": Device, "cpu": Device, "cuda": Cuda, "mps": Device}


@dataclass(frozen=True)
class TrainingOptions:
    """The keys of the section `training`. A turn is `n_critic` updates of D, then `generator_updates` of G."""

    n_critic: int = key("discriminator updates per turn; epochs with alternate=epoch", at_least=1, at_most=1000)
    generator_updates: int = key(
        "generator updates per turn; epochs with alternate=epoch", absent=1, at_least=1, at_most=1000
    )
    alternate: str = key(
        "a turn is a number of updates (step), or of epochs (epoch)", absent="step", choices=("step", "epoch")
    )
    critic_warmup: int = key(
        "discriminator updates in each of the first 25 turns and every 500th, as in WGAN's code; 0: n_critic",
        absent=0,
        at_least=0,
        at_most=10_000,
    )
    unroll_steps: int = key(
        "discriminator updates that are unrolled for a G update, and differentiated through (1611.02163)",
        absent=0,
        at_least=0,
        at_most=100,
    )
    top_k: float | None = key(
        "train G on the fakes with the largest logits, in the end this share of them (2002.06224); all unless set",
        absent=None,
        above=0,
        below=1,
    )
    label_smoothing: float = key(
        "D's target for real samples is 1 minus this (1606.03498)", absent=0.0, at_least=0, below=1
    )
    instance_noise: float = key(
        "standard deviation of noise on D's inputs, falling to 0 over the run (1610.04490)",
        absent=0.0,
        at_least=0,
        at_most=10,
    )
    augment: tuple[str, ...] = key(
        "differentiable augmentation of D's inputs, as [color,translation,cutout] (2006.10738); turn: by quarters",
        absent=(),
        choices=AUGMENTATIONS,
    )
    ada_target: float | None = key(
        "adapt the probability of augmentation to keep the mean sign of D's real logits here, as 0.6 (2006.06676);"
        " always augment unless set",
        absent=None,
        above=0,
        below=1,
    )
    pack: int = key("samples that D gets as one, concatenated (PacGAN, 1712.04086)", absent=1, at_least=1, at_most=64)
    reuse_fakes: bool = key("update G with the fakes of the last D update instead of new ones", absent=False)
    accumulate: int = key(
        "microbatches per batch, whose gradients are accumulated, to save memory", absent=1, at_least=1, at_most=10_000
    )
    clip_grad_norm: float | None = key(
        "largest norm of a network's gradient; a longer one is scaled down; no limit unless set", absent=None, above=0
    )
    freeze_discriminator_layers: int = key(
        "number of D's first layers whose weights stay fixed (2002.10964)", absent=0, at_least=0, at_most=1000
    )
    ema_decay: float = key(
        "decay per step of the averaged generator (EMA), which generates the samples; 0: no average",
        at_least=0,
        below=1,
    )
    lr_schedule: str = key(
        "learning rates over the run: constant, linear or cosine to 0, or constant at first and then linear to 0",
        choices=("constant", "linear", "cosine", "late_linear"),
    )
    log_every: int = key("steps between lines of metrics.jsonl; 0: never", at_least=0)
    sample_every: int = key("steps between sample grids; 0: only at the end", at_least=0)
    evaluate_every: int = key(
        "steps between evaluations of samples: evaluation.metrics, and classes and stacked digits by a classifier of"
        " the data; 0: only the last",
        absent=0,
        at_least=0,
    )
    checkpoint_every: int = key("steps between checkpoints; 0: only the first and the last", at_least=0)
