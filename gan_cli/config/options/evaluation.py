"""How a run is judged while it trains and when it ends."""

from __future__ import annotations

from dataclasses import dataclass

from gan_cli.config.schema import key

# Of samples, next to real ones; `frechet` is reported as `frechet-<extractor>`.
METRICS = ("frechet", "kernel", "precision_recall", "density_coverage", "inception_score", "modes", "memorization")
WHILE_TRAINING = METRICS[:5]
EXTRACTORS = ("classifier", "random", "pixels", "inception")


@dataclass(frozen=True)
class Evaluation:
    metrics: tuple[str, ...] = key(
        "figures of samples worked out at each evaluation, as [frechet]", absent=(), choices=WHILE_TRAINING
    )
    extractor: str = key(
        "what pictures are compared by; auto: classifier where there are labels, else random",
        absent="auto",
        choices=("auto", *EXTRACTORS),
    )
    n: int = key("samples of an evaluation, and real ones beside them", absent=2000, at_least=10, at_most=1_000_000)
    best: str | None = key(
        "the figure that best.safetensors and a sweep's ranking go by, as recall or modes/covered; the first of metrics"
        " unless set",
        absent=None,
    )
    patience: int | None = key(
        "evaluations without a better figure after which the run stops", absent=None, at_least=1, at_most=10**6
    )


UNEVALUATED = Evaluation(metrics=(), extractor="auto", n=2000, best=None, patience=None)  # as runs were before
