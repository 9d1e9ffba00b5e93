"""The section `evaluation`: how samples are evaluated during training and at its end."""

from __future__ import annotations

from dataclasses import dataclass

from gan_cli.config.schema import key

# Metrics that compare samples with real samples. For example, `frechet` is reported as `frechet-<extractor>`.
METRICS = ("frechet", "kernel", "precision_recall", "density_coverage", "inception_score", "modes", "memorization")
TRAINING_METRICS = METRICS[:5]
EXTRACTORS = ("classifier", "random", "pixels", "inception")


@dataclass(frozen=True)
class EvaluationOptions:
    """The keys of the section `evaluation`."""

    metrics: tuple[str, ...] = key(
        "metrics computed at each evaluation, as [frechet]", absent=(), choices=TRAINING_METRICS
    )
    extractor: str = key(
        "features in which images are compared; auto: classifier if there are labels, else random",
        absent="auto",
        choices=("auto", *EXTRACTORS),
    )
    n: int = key("samples of an evaluation, and real ones to compare with", absent=2000, at_least=10, at_most=1_000_000)
    best: str | None = key(
        "the metric that selects best.safetensors and ranks a sweep, as recall or modes/covered; the first of metrics"
        " unless set",
        absent=None,
    )
    patience: int | None = key(
        "evaluations without improvement after which the run stops", absent=None, at_least=1, at_most=10**6
    )


# The values for checkpoints that were saved before this section existed.
EVALUATION_IF_ABSENT = EvaluationOptions(metrics=(), extractor="auto", n=2000, best=None, patience=None)
