"""Declares the keys of each option of the groups `loss`, `regularizer` and `auxiliary`."""

from typing import Annotated, Any, Literal

from pydantic import Field

from gan_cli.config.options.fields import Integer, Number, OptionName, section
from gan_cli.config.options.image_sizes import padded_size
from gan_cli.config.options.networks.architectures import DISCRIMINATOR_OPTIONS, GENERATOR_OPTIONS
from gan_cli.config.options.tasks import WITH_IMAGE
from gan_cli.errors import UsageError

MIN_RECONSTRUCTED_SIDE = 16


@section
class LossOptions:
    """The keys of every loss of this package."""

    name: OptionName
    weight: Number = Field(
        1.0, ge=0, le=1000, description="weight of the adversarial loss in G's loss; 0: auxiliary losses alone"
    )


LOSS_OPTIONS: dict[str, type] = dict.fromkeys(
    ("non_saturating", "minimax", "wasserstein", "hinge", "least_squares", "relativistic"), LossOptions
)


# Losses that compare the logits of real samples with those of fakes, so that a logit alone says nothing.
WITHOUT_BOUNDARY = ("wasserstein", "relativistic")


def _gradient_penalty(formula: str) -> type:
    """Returns the class of the keys of a penalty on D's gradient. `formula` says what the weight is."""

    @section
    class GradientPenalty:
        weight: Number = Field(ge=0, description=formula)
        every: Literal["auto"] | Annotated[Integer, Field(ge=1, le=1000)] = Field(
            description="D updates between penalties; the weight is multiplied by it; auto: 8 for images, 1 for points"
        )

    return GradientPenalty


@section
class LeCam:
    weight: Number = Field(ge=0, description="lambda of the squared distances to the averages of the other logits")
    decay: Number = Field(ge=0, lt=1, description="decay of these averages per D update")
    start: Integer = Field(ge=0, le=10**9, description="D updates before the penalty starts")


@section
class Consistency:
    weight: Number = Field(ge=0, description="lambda of E|D(x) - D(T(x))|^2 on real and fake; T mirrors and shifts")


@section
class Orthogonal:
    weight: Number = Field(ge=0, description="beta of |W'W (1 - I)|^2 over D's layers")


@section
class Reconstruction:
    weight: Number = Field(ge=0, description="weight of the mean distance of real images to those that D reconstructs")


@section
class Drift:
    weight: Number = Field(ge=0, description="epsilon of epsilon E D(real)^2")


@section
class WeightClip:
    limit: Number = Field(gt=0, description="clamp D's weights to [-limit, limit] after each update")


GRADIENT_PENALTIES: dict[str, type] = {
    "gradient_penalty": _gradient_penalty("lambda of lambda E(|grad D| - 1)^2"),
    "r1": _gradient_penalty("gamma of gamma/2 E|grad D(real)|^2"),
    "r2": _gradient_penalty("gamma of gamma/2 E|grad D(fake)|^2"),
    "dragan": _gradient_penalty("lambda of lambda E(|grad D| - 1)^2 around real samples"),
    "zero_centered": _gradient_penalty("lambda of lambda E|grad D|^2 between real and fake"),
    "js": _gradient_penalty("gamma, the variance of the noise that the penalty replaces"),
}
REGULARIZER_OPTIONS: dict[str, type] = GRADIENT_PENALTIES | {
    "lecam": LeCam,
    "consistency": Consistency,
    "orthogonal": Orthogonal,
    "reconstruction": Reconstruction,
    "drift": Drift,
    "weight_clip": WeightClip,
}


# Regularizers that a run cannot have together, and why.
CLASHING = ((("gradient_penalty", "weight_clip"), "both bound D's slope"),)


@section
class PixelLoss:
    weight: Number = Field(ge=0, description="weight of the distance of the sample's pixels to the real image's")


@section
class GradientDifference:
    weight: Number = Field(ge=0, description="weight of the distance of the sample's edges to the real image's")


@section
class FeatureMatching:
    weight: Number = Field(ge=0, description="weight of the distance of D's features of the sample and the real image")


@section
class PathLength:
    weight: Number = Field(ge=0, description="weight of the squared deviations of path lengths from their mean")
    every: Integer = Field(ge=1, le=1000, description="G updates between losses; the weight is multiplied by it")
    decay: Number = Field(ge=0, lt=1, description="decay of the mean path length, for each of these losses")


@section
class Perceptual:
    weight: Number = Field(
        ge=0, description="weight of the distance of a frozen network's features of the sample and the real image"
    )


AUXILIARY_OPTIONS: dict[str, type] = {
    "l1": PixelLoss,
    "l2": PixelLoss,
    "gradient_difference": GradientDifference,
    "feature_matching": FeatureMatching,
    "path_length": PathLength,
    "perceptual": Perceptual,
}
WITHOUT_REAL = ("path_length",)  # auxiliary losses that compare a sample with no real image


def check_generator_learns(config: Any) -> None:
    """Raises UsageError if the weight of each loss of the generator is 0."""
    paired = {name: section.weight for name, section in config.auxiliary.items() if name not in WITHOUT_REAL}
    if getattr(config.loss, "weight", 1.0) > 0 or any(paired.values()):
        return
    if config.task.name not in WITH_IMAGE:
        raise UsageError("loss.weight=0: leaves the generator nothing to learn; leave it out")
    typed = "".join(f" auxiliary.{name}.weight=0" for name in paired)
    instead = f"give auxiliary.{next(iter(paired))} a weight" if paired else "set auxiliary=l1 or another"
    raise UsageError(f"loss.weight=0{typed}: leaves the generator nothing to learn, {instead}")


def check_path_length(config: Any) -> None:
    """Raises UsageError if the generator has no styles."""
    generator = config.architecture.generator
    if "path_length" in config.auxiliary and not getattr(generator, "styles", False):
        able = [name for name, options in GENERATOR_OPTIONS.items() if getattr(options, "styles", False)]
        raise UsageError(
            f"auxiliary=path_length: architecture.generator={generator.name} has no styles, use {' or '.join(able)}"
        )


def spectral_setting(discriminator: Any) -> str:
    """Returns the setting that normalizes D's weights spectrally (1802.05957), or an empty text if there is none."""
    if getattr(discriminator, "spectral", False):
        return "spectral=true"
    return "normalization=spectral" if getattr(discriminator, "normalization", "none") == "spectral" else ""


def check_regularizers(config: Any) -> None:
    """Raises UsageError if the penalties do not fit D's normalization, the kind of data or each other."""
    chosen = config.regularizer
    normalization = getattr(config.architecture.discriminator, "normalization", "none")
    for name in [name for name in GRADIENT_PENALTIES if name in chosen]:
        if normalization == "batch":
            raise UsageError(
                f"architecture.discriminator.normalization=batch clashes with regularizer={name}, whose gradient"
                " would go through the statistics of the batch: use none, layer, instance or spectral"
            )
        if len(config.sample_shape) == 1 and getattr(chosen[name], "every", 1) not in (1, "auto"):
            raise UsageError(
                f"regularizer.{name}.every={chosen[name].every}: lazy penalties fail on points"
                f" (2501.05441, appendix E), use regularizer.{name}.every=1"
            )
    if "reconstruction" in chosen:
        _check_reconstruction(config)
    for together, reason in CLASHING:
        if chosen.keys() >= {*together}:
            raise UsageError(f"regularizer=[{','.join(together)}]: {reason}, choose one")
    discriminator = config.architecture.discriminator
    of_stored = [name for name in ("weight_clip", "orthogonal") if name in chosen]
    if of_stored and getattr(discriminator, "equalized", False):
        raise UsageError(
            f"regularizer={of_stored[0]}: is for weights as they are used; those of"
            f" architecture.discriminator={discriminator.name} are near 1 and scaled in each pass: leave it out, or use"
            " gradient_penalty or r1"
        )
    if "weight_clip" in chosen and (spectral := spectral_setting(discriminator)):
        raise UsageError(f"architecture.discriminator.{spectral} undoes regularizer=weight_clip: choose one of the two")


def _check_reconstruction(config: Any) -> None:
    """Raises UsageError if the discriminator has no decoders, or no maps of 8 x 8 to reconstruct from."""
    discriminator = config.architecture.discriminator
    if not getattr(discriminator, "reconstructs", False):
        able = [name for name, options in DISCRIMINATOR_OPTIONS.items() if getattr(options, "reconstructs", False)]
        raise UsageError(
            f"regularizer=reconstruction: architecture.discriminator={discriminator.name} has no decoders, use"
            f" {' or '.join(able)}"
        )
    if min(padded_size(*config.sample_shape[1:])) < MIN_RECONSTRUCTED_SIDE:
        raise UsageError(
            f"regularizer=reconstruction: reconstructs images of {MIN_RECONSTRUCTED_SIDE} pixels and more, set a larger"
            " image_size"
        )
