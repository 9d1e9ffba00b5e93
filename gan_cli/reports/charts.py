"""Selects the metrics of `metrics.jsonl` that a run's report draws, and groups them into charts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from gan_cli.reports.curves import UNBOUNDED, Bounds, Chart, Point, Scale, Series, draw_chart
from gan_cli.reports.safe_values import empty_on_error
from gan_cli.runs.log import read_metrics

MOST_KEYS = 80  # that are read from a file; a run writes about 30
COLOURS = "abcde"
SHARE: Bounds = (0.0, 1.0)
FROM_ZERO: Bounds = (0.0, None)


class ChartSpec(NamedTuple):
    """A chart to draw: its title, the name of each curve by metric key, and the range that the axis must include.

    The first of several curves is red (D and real samples), the second blue (G and fakes).
    """

    title: str
    names: Mapping[str, str]
    bounds: Bounds = UNBOUNDED


TRAINING = (
    ChartSpec("Losses", {"loss/discriminator": "D", "loss/generator": "G"}),
    ChartSpec("Logits", {"logits/real": "real", "logits/fake": "fake"}),
    ChartSpec(
        "Accuracy of D",
        {"accuracy/real": "on real", "accuracy/fake": "on fake", "logits/auc": "separation (AUC)"},
        SHARE,
    ),
    ChartSpec("Gradient norms", {"grad_norm/discriminator": "D", "grad_norm/generator": "G"}),
    ChartSpec("Learning rates", {"learning_rate/discriminator": "D", "learning_rate/generator": "G"}, FROM_ZERO),
)
HEALTH = (
    ChartSpec(
        "Diversity of fakes relative to reals",
        {"health/diversity": "diversity", "health/contrast": "contrast"},
        FROM_ZERO,
    ),
    ChartSpec("Distance of fakes from reals", {"health/shift": "shift"}, FROM_ZERO),
    ChartSpec(
        "Near duplicates", {"health/duplicates_real": "among reals", "health/duplicates": "among fakes"}, FROM_ZERO
    ),
    ChartSpec("Share of reals with a fake near them", {"health/coverage": "coverage"}, SHARE),
    ChartSpec(
        "Share of saturated pixels",
        {"health/saturated_real": "of reals", "health/saturated": "of fakes"},
        SHARE,
    ),
    ChartSpec("Effect of the input on outputs", {"health/condition_effect": "effect"}, FROM_ZERO),
    ChartSpec("Effect of the latent on outputs", {"health/latent_effect": "effect"}, FROM_ZERO),
    ChartSpec("Distance of outputs from their inputs", {"health/copies_input": "distance"}, FROM_ZERO),
    ChartSpec("Smallest gradient norm of a layer of G", {"health/gradient_least": "G"}),
    ChartSpec("Images per second", {"images_per_second": "images"}, FROM_ZERO),
    ChartSpec("Peak memory, MiB", {"memory/peak_mb": "memory"}, FROM_ZERO),
)
EVALUATION = {
    "modes/share": ChartSpec("Share of samples at a mode", {"modes/share": "share"}, SHARE),
    "modes/reverse_kl": ChartSpec("Reverse KL of modes", {"modes/reverse_kl": "reverse KL"}, FROM_ZERO),
    "accuracy/class": ChartSpec("Share of samples of the requested class", {"accuracy/class": "share"}, SHARE),
}
PAIRS = (("precision", "recall"), ("density", "coverage"))  # metrics that are drawn in one chart
NO_CURVE = {"step", "images_seen", "seconds", "modes/possible", "modes/covered"}
NOT_OF_SAMPLES = NO_CURVE.union(*(spec.names for spec in (*TRAINING, *HEALTH)))


def logged_lines(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's `metrics.jsonl` by step; none if the file cannot be read."""
    return empty_on_error(lambda: sorted(read_metrics(run), key=itemgetter("step")))


def known_keys(lines: Iterable[Mapping[str, Any]]) -> list[str]:
    """The keys of metrics in all lines, in the order of their first appearance."""
    keys: dict[str, None] = {}
    for line in lines:
        if not keys.keys() >= line.keys():
            keys |= dict.fromkeys(key for key, value in line.items() if not isinstance(value, list | str))
    return list(keys)[:MOST_KEYS]


def metric_points(lines: Iterable[Mapping[str, Any]], key: str) -> list[Point]:
    """(step, value) of each line that has this metric."""
    return [(float(line["step"]), float(line[key])) for line in lines if key in line]


def training_charts(lines: Sequence[Mapping[str, Any]], steps: Scale) -> list[Chart]:
    """Charts of losses, logits, accuracies, gradient norms, learning rates and penalties."""
    penalties = [key for key in known_keys(lines) if key.startswith("penalty/")][: len(COLOURS)]
    names = {key: key.partition("/")[2] for key in penalties}
    title = f"Penalty {names[penalties[0]]}, unweighted" if len(penalties) == 1 else "Penalties, unweighted"
    return _draw([*TRAINING, ChartSpec(title, names)], lines, steps)


def sample_metric_charts(lines: Sequence[Mapping[str, Any]], steps: Scale) -> list[Chart]:
    """Charts of the evaluations during training; none of metrics that have a single value."""
    keys = [key for key in sample_metric_keys(lines) if len(metric_points(lines, key)) > 1]
    possible = max((value for _, value in metric_points(lines, "modes/possible")), default=None)
    specs = []
    for key in keys:
        head, _, extractor = key.partition("-")
        pair = next((pair for pair in PAIRS if head in pair), None)
        if key == "modes/covered":
            title = f"Modes covered, of {possible:.0f}" if possible else "Modes covered"
            specs.append(ChartSpec(title, {key: "modes"}, (0.0, possible)))
        elif pair is not None:
            names = {f"{part}-{extractor}" if extractor else part: part for part in pair}
            spec = ChartSpec(f"{pair[0].capitalize()} and {pair[1]} {extractor}".rstrip(), names, SHARE)
            specs += [spec] if spec not in specs else []
        else:
            specs.append(EVALUATION.get(key) or ChartSpec(key, {key: key}))
    return _draw(specs, lines, steps)


def sample_metric_keys(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys of metrics of samples, not of training: `modes/*`, `accuracy/class`, and all without a `/`."""
    keys = known_keys(lines)
    named = [key for key in ("modes/covered", *EVALUATION) if key in keys]
    return named + [key for key in keys if "/" not in key and key not in NOT_OF_SAMPLES]


def health_charts(lines: Sequence[Mapping[str, Any]], steps: Scale) -> list[Chart]:
    """Charts of health, speed and memory, and of any other metric, such as a plugin's."""
    drawn = NOT_OF_SAMPLES.union(sample_metric_keys(lines))
    others = [key for key in known_keys(lines) if key not in drawn and not key.startswith("penalty/")]
    return _draw([*HEALTH, *(ChartSpec(key, {key: key}) for key in others)], lines, steps)


def _draw(specs: Iterable[ChartSpec], lines: Sequence[Mapping[str, Any]], steps: Scale) -> list[Chart]:
    charts = []
    for spec in specs:
        colours = COLOURS if len(spec.names) > 1 else COLOURS[1:]
        series = [
            Series(name, colour, metric_points(lines, key))
            for (key, name), colour in zip(spec.names.items(), colours, strict=False)
        ]
        charts.append(draw_chart(spec.title, series, steps, spec.bounds))
    return [chart for chart in charts if chart is not None]
