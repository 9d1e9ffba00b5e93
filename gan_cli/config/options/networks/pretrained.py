"""Checks what uses the frozen network with ImageNet weights: a discriminator, an auxiliary loss, an extractor."""

from typing import Any

from gan_cli.errors import UsageError

EXTRA = "projected"  # which has the weights
CHANNELS = (1, 3)  # of the images that the network takes


def uses_of_training(config: Any) -> list[str]:
    """Returns each `key=value` by which a run trains with the network."""
    discriminator = config.architecture.discriminator.name == "projected"
    return [
        *(["architecture.discriminator=projected"] if discriminator else []),
        *(["auxiliary=perceptual"] if "perceptual" in config.auxiliary else []),
    ]


def uses_of_evaluation(extractor: str) -> list[str]:
    """Returns the `key=value` by which an evaluation uses the network, if it does."""
    return ["extractor=efficientnet"] if extractor == "efficientnet" else []


def describe_other_objective(config: Any) -> str:
    """Returns a line of advice for a `projected` discriminator without its authors' loss, or with a penalty."""
    losses = [config.loss.name, *config.regularizer]
    if config.architecture.discriminator.name != "projected" or losses == ["hinge"]:
        return ""
    penalties = f"[{','.join(config.regularizer)}]" if config.regularizer else "none"
    return (
        "advice: architecture.discriminator=projected is made for loss=hinge regularizer=none (2111.01007), this run"
        f" has loss={config.loss.name} regularizer={penalties}"
    )


def check_pretrained(config: Any) -> None:
    """Raises UsageError if the network cannot take the images, or its discriminator cannot take the condition."""
    uses = uses_of_training(config)
    if uses and len(config.sample_shape) > 1 and config.sample_shape[0] not in CHANNELS:
        raise UsageError(
            f"{uses[0]}: its frozen network takes images of 1 or 3 channels, these have {config.sample_shape[0]}"
        )
    if config.architecture.discriminator.name != "projected":
        return
    if config.task.name in ("translation", "inpainting"):
        raise UsageError(
            f"task={config.task.name}: architecture.discriminator=projected takes no image beside the sample, use patch"
        )
    if config.conditioning.name not in ("none", "projection"):
        raise UsageError(
            f"conditioning={config.conditioning.name}: architecture.discriminator=projected takes classes by"
            " conditioning=projection alone"
        )
    if "weight_clip" in config.regularizer:
        raise UsageError(
            "regularizer=weight_clip: architecture.discriminator=projected is spectrally normalized, which undoes it;"
            " use regularizer=none"
        )
    if config.training.pack > 1:
        raise UsageError(
            f"training.pack={config.training.pack}: architecture.discriminator=projected takes one image, use 1"
        )


def warning_of_extractor(config: Any, extractor: str) -> str:
    """Returns a line if a run was trained with the features in which its samples are compared, else an empty text."""
    uses = uses_of_training(config) if uses_of_evaluation(extractor) else []
    if not uses:
        return ""
    return (
        f"warning: extractor=efficientnet: the run learned from these features ({uses[0]}), so that its values are too"
        " good (2203.06026); compare in others, as extractor=random"
    )
