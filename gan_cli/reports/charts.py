"""Which figures of `metrics.jsonl` a run's page draws, and which of them together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gan_cli.reports.curves import Chart, Point, Scale, Series, draw_chart

MOST_KEYS = 80  # of a file; a run writes about thirty
COLOURS = "abcde"
Bounds = tuple[float | None, float | None]
FREE: Bounds = (None, None)
SHARE: Bounds = (0.0, 1.0)
FROM_ZERO: Bounds = (0.0, None)


@dataclass(frozen=True)
class Plan:
    """A chart: its title and what its curves are called, by key. The first is red, for D and reals, then blue."""

    title: str
    names: Mapping[str, str]
    bounds: Bounds = FREE


TRAINING = (
    Plan("Losses", {"loss/discriminator": "D", "loss/generator": "G"}),
    Plan("Logits", {"logits/real": "real", "logits/fake": "fake"}),
    Plan(
        "Accuracy of D",
        {"accuracy/real": "on real", "accuracy/fake": "on fake", "logits/auc": "separation (AUC)"},
        SHARE,
    ),
    Plan("Gradient norms", {"grad_norm/discriminator": "D", "grad_norm/generator": "G"}),
    Plan("Learning rates", {"learning_rate/discriminator": "D", "learning_rate/generator": "G"}, FROM_ZERO),
)
VITAL = (
    Plan("Diversity of fakes, 1 as reals", {"health/diversity": "diversity", "health/contrast": "contrast"}, FROM_ZERO),
    Plan("Distance of fakes from reals", {"health/shift": "shift"}, FROM_ZERO),
    Plan(
        "Near duplicates",
        {"health/duplicates_real": "among reals", "health/duplicates": "among fakes"},
        FROM_ZERO,
    ),
    Plan("Reals with a fake near", {"health/coverage": "coverage"}, SHARE),
    Plan("Shortest gradient in a layer of G", {"health/gradient_least": "G"}),
    Plan("Images a second", {"images_per_second": "images"}, FROM_ZERO),
    Plan("Peak memory, MiB", {"memory/peak_mb": "memory"}, FROM_ZERO),
)
QUALITY = {
    "modes/share": Plan("Samples at a mode", {"modes/share": "share"}, SHARE),
    "modes/reverse_kl": Plan("Reverse KL of modes", {"modes/reverse_kl": "reverse KL"}, FROM_ZERO),
    "accuracy/class": Plan("Of the class asked for", {"accuracy/class": "share"}, SHARE),
}
TOGETHER = (("precision", "recall"), ("density", "coverage"))  # figures that are read as a pair
NO_CURVE = {"step", "images_seen", "seconds", "modes/possible", "modes/covered"}


def known_keys(lines: Iterable[Mapping[str, Any]]) -> list[str]:
    """Of the figures in all lines, in the order of their first appearance."""
    keys: dict[str, None] = {}
    for line in lines:
        if keys.keys() >= line.keys():
            continue
        keys |= dict.fromkeys(key for key, value in line.items() if not isinstance(value, list | str))
    return list(keys)[:MOST_KEYS]


def metric_points(lines: Iterable[Mapping[str, Any]], key: str) -> list[Point]:
    """(step, value) of each line that holds the figure."""
    return [(float(line["step"]), float(line[key])) for line in lines if key in line]


def training_charts(lines: Sequence[Mapping[str, Any]], steps: Scale) -> list[Chart]:
    penalties = [key for key in known_keys(lines) if key.startswith("penalty/")][: len(COLOURS)]
    names = {key: key.partition("/")[2] for key in penalties}
    title = f"Penalty {names[penalties[0]]}, unweighted" if len(penalties) == 1 else "Penalties, unweighted"
    plans = [*TRAINING, Plan(title, names)]
    return _draw(plans, lines, steps)


def quality_charts(lines: Sequence[Mapping[str, Any]], steps: Scale) -> list[Chart]:
    """What evaluations on the way found; nothing of what was found once, at the end."""
    keys = [key for key in quality_keys(lines) if len(metric_points(lines, key)) > 1]
    possible = max((value for _, value in metric_points(lines, "modes/possible")), default=None)
    plans = []
    for key in keys:
        head, _, extractor = key.partition("-")
        pair = next((pair for pair in TOGETHER if head in pair), None)
        if key == "modes/covered":
            plans.append(Plan(f"Modes covered, of {possible:.0f}" if possible else "Modes covered", {key: "modes"}))
        elif pair is not None:
            names = {f"{part}-{extractor}" if extractor else part: part for part in pair}
            plan = Plan(f"{pair[0].capitalize()} and {pair[1]} {extractor}".rstrip(), names, SHARE)
            plans += [plan] if plan not in plans else []
        else:
            plans.append(QUALITY.get(key) or Plan(key, {key: key}))
    bounded = [
        Plan(plan.title, plan.names, (0.0, possible)) if "modes/covered" in plan.names else plan for plan in plans
    ]
    return _draw(bounded, lines, steps)


def quality_keys(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """Figures of samples, rather than of training: those of `modes/`, of classes, and all without a `/`."""
    drawn = {key for plan in (*TRAINING, *VITAL) for key in plan.names}
    keys = known_keys(lines)
    named = [key for key in ("modes/covered", *QUALITY) if key in keys]
    return named + [key for key in keys if "/" not in key and key not in drawn | NO_CURVE]


def health_charts(lines: Sequence[Mapping[str, Any]], steps: Scale) -> list[Chart]:
    """The watch's figures, and whatever a plugin or a later version may have added."""
    told = {key for plan in (*TRAINING, *VITAL) for key in plan.names} | NO_CURVE | {*quality_keys(lines)}
    others = [key for key in known_keys(lines) if key not in told and not key.startswith("penalty/")]
    return _draw([*VITAL, *(Plan(key, {key: key}) for key in others)], lines, steps)


def _draw(plans: Iterable[Plan], lines: Sequence[Mapping[str, Any]], steps: Scale) -> list[Chart]:
    charts = []
    for plan in plans:
        colours = COLOURS if len(plan.names) > 1 else COLOURS[1:]
        series = [
            Series(name, colour, metric_points(lines, key))
            for (key, name), colour in zip(plan.names.items(), colours, strict=False)
        ]
        chart = draw_chart(plan.title, series, steps, plan.bounds)
        charts += [chart] if chart is not None else []
    return charts
