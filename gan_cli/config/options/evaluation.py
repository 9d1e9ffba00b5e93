"""The section `evaluation`: how samples are evaluated during training and at its end."""

from typing import Literal

from pydantic import Field

from gan_cli.config.options.fields import Integer, Several, Text, section

# Metrics that compare samples with real samples. For example, `frechet` is reported as `frechet-<extractor>`.
TrainingMetric = Literal["frechet", "kernel", "precision_recall", "density_coverage", "inception_score"]
Metric = TrainingMetric | Literal["modes", "memorization"]
Extractor = Literal["auto", "classifier", "random", "pixels", "inception"]


@section
class EvaluationOptions:
    """The keys of the section `evaluation`."""

    metrics: Several[TrainingMetric] = Field((), description="metrics computed at each evaluation, as [frechet]")
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
