"""Where a run happens and how its loop goes."""

from __future__ import annotations

from dataclasses import dataclass

from gan_cli.config.schema import key


@dataclass(frozen=True)
class Device:
    name: str = key("the option's name")


@dataclass(frozen=True)
class Cuda:
    name: str = key("the option's name")
    index: int = key(
        "which GPU",
        at_least=0,
        at_most=1023,
        instead={"[]": "a run uses one card; start one run for each, as device.index=0 and device.index=1"},
    )


AUGMENTATIONS = ("color", "translation", "cutout", "turn")
DEVICES: dict[str, type] = {"auto": Device, "cpu": Device, "cuda": Cuda, "mps": Device}


@dataclass(frozen=True)
class Training:
    n_critic: int = key("discriminator updates of a turn; epochs with alternate=epoch", at_least=1, at_most=1000)
    generator_updates: int = key(
        "generator updates of a turn; epochs with alternate=epoch", absent=1, at_least=1, at_most=1000
    )
    alternate: str = key("a turn is a number of updates, or of whole epochs", absent="step", choices=("step", "epoch"))
    critic_warmup: int = key(
        "discriminator updates of each of the first 25 turns and of every 500th, as in WGAN's code; 0: as all others",
        absent=0,
        at_least=0,
        at_most=10_000,
    )
    unroll_steps: int = key(
        "discriminator updates that G looks ahead, and learns through (1611.02163)", absent=0, at_least=0, at_most=100
    )
    top_k: float | None = key(
        "G learns from the fakes that D likes best, in the end from this share of them (2002.06224); all unless set",
        absent=None,
        above=0,
        below=1,
    )
    label_smoothing: float = key(
        "what D's target for real samples is below 1 (1606.03498)", absent=0.0, at_least=0, below=1
    )
    instance_noise: float = key(
        "standard deviation of noise on all that D sees, falling to 0 over the run (1610.04490)",
        absent=0.0,
        at_least=0,
        at_most=10,
    )
    augment: tuple[str, ...] = key(
        "what is done to all images that D sees, as [color,translation,cutout] (2006.10738); turn: by quarters",
        absent=(),
        choices=AUGMENTATIONS,
    )
    ada_target: float | None = key(
        "augment as often as keeps the mean sign of D's real logits here, as 0.6 (2006.06676); always unless set",
        absent=None,
        above=0,
        below=1,
    )
    pack: int = key("samples that D judges together, as one (PacGAN, 1712.04086)", absent=1, at_least=1, at_most=64)
    reuse_fakes: bool = key("G learns from the fakes that D has just judged, instead of making others", absent=False)
    accumulate: int = key(
        "parts in which a batch is worked on, one after the other, to save memory", absent=1, at_least=1, at_most=10_000
    )
    clip_grad_norm: float | None = key(
        "gradients longer than this are shortened to it; never unless set", absent=None, above=0
    )
    freeze_discriminator_layers: int = key(
        "D's first layers that keep their weights (2002.10964)", absent=0, at_least=0, at_most=1000
    )
    ema_decay: float = key(
        "decay a step of the averaged generator, which makes the pictures; 0: none", at_least=0, below=1
    )
    lr_schedule: str = key(
        "how learning rates go over the run: constant, to 0 in a line or cosine, or constant at first and then to 0",
        choices=("constant", "linear", "cosine", "late_linear"),
    )
    log_every: int = key("steps between lines of metrics.jsonl; 0: never", at_least=0)
    sample_every: int = key("steps between sample grids; 0: only the last", at_least=0)
    evaluate_every: int = key(
        "steps between evaluations of samples: evaluation.metrics, and classes and stacked digits by a classifier of"
        " the data; 0: only the last",
        absent=0,
        at_least=0,
    )
    checkpoint_every: int = key("steps between checkpoints; 0: only the first and the last", at_least=0)
