"""Options of the group `conditioning`: how samples are conditioned on a class."""

from typing import Annotated

from pydantic import Field

from gan_cli.config.options.fields import Integer, Name, Number, OptionName, Several, matching, section
from gan_cli.errors import UsageError


@section
class Unconditional:
    """No conditioning. The networks get no class, and samples may be of any class."""

    name: OptionName


PRINTABLE = r"[^\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\ud800-\udfff]{1,300}"
CLASSIFY_FAKES = "whether D also learns to classify fakes, as in the paper; without, it learns from real samples alone"
EmbeddingDim = Annotated[Integer, Field(ge=1, le=4096, description="size of the class embedding")]


@section
class Projection:
    """Projection discriminator. All other conditional options have its keys too."""

    name: OptionName
    classes: Several[Annotated[Name, matching(PRINTABLE, "names of printable characters")]] | None = Field(
        description="the classes; recorded from the data, not to be set"
    )


@section
class Concat(Projection):
    """The class embedding is concatenated to the inputs of both networks."""

    embedding_dim: EmbeddingDim


@section
class AuxiliaryClassifier(Projection):
    """AC-GAN: D also classifies, and both networks minimize the classification loss."""

    embedding_dim: EmbeddingDim
    weight: Number = Field(ge=0, le=1000, description="weight of the classification loss in both networks' losses")
    classify_fakes: bool = Field(True, description=CLASSIFY_FAKES)


@section
class Tags(Projection):
    """D has an independent output for each tag, a column of the labels; both networks minimize its cross-entropy."""

    frequencies: Several[Annotated[Number, Field(ge=0, le=1)]] | None = Field(
        None, description="the share of the samples that have each class; recorded from the data, not to be set"
    )
    weight: Number = Field(
        ge=0,
        le=1000,
        description="weight of the mean cross-entropy of the tags in both networks' losses; 1: as in the paper, which"
        " adds them up and multiplies the adversarial loss by their number",
    )
    classify_fakes: bool = Field(True, description=CLASSIFY_FAKES)

    def __post_init__(self) -> None:
        if self.frequencies is not None and len(self.frequencies) != len(self.classes or ()):
            raise UsageError("conditioning.frequencies: expected one for each of conditioning.classes")


CLASSIFYING = ("acgan", "tags")  # the options with which D also predicts the classes
CONDITIONING_OPTIONS: dict[str, type] = {
    "none": Unconditional,
    "concat": Concat,
    "projection": Projection,
    "acgan": AuxiliaryClassifier,
    "tags": Tags,
}
