"""The health monitor: finds failures of training in the lines of `metrics.jsonl`.

Each failure is reported once, with the evidence, an explanation and overrides that help. The monitor depends on the
lines alone, so a resumed run rebuilds it from `metrics.jsonl`. Thresholds were chosen on some data sets and seeds, and
tested on others (tests/health/test_thresholds.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile
from statistics import median
from typing import Any, NamedTuple

from gan_cli.config.train_config import Config
from gan_cli.errors import DivergedError, format_number
from gan_cli.health.remedies import remedies_for

Line = Mapping[str, Any]
Lines = Sequence[Line]  # oldest first; the last is the current one

MAX_LINES = 250  # number of latest lines that are kept
REQUIRED_KEYS = (  # a line without these is ignored
    "step", "loss/discriminator", "logits/auc", "grad_norm/generator", "health/gradient_least", "health/diversity",
    "health/duplicates", "health/duplicates_real", "health/shift",
)  # fmt: skip
# Distances (shift) are in units of the mean distance between two real samples.
PERFECT_AUC = 0.999  # D separates real from fake without error on its batch
DIVERGED_SHIFT = 5.0  # distance of the fakes' mean from the reals'
DIVERGED_D_LOSS = 10.0  # only logits far on the wrong side give this; guessing costs 2 log 2 at most
HUGE_D_LOSS = 1000.0  # after such an overshoot the next line counts as diverged, whatever is left of D and G
SMALL_GRADIENT = 1e-3  # relative to the median of the run, or absolute
BLANK_CONTRAST = 0.02  # relative to the reals' contrast
FEW_UNSATURATED = 0.1  # share of the fakes' pixels that are not saturated, relative to that of the reals
LOW_DIVERSITY = 0.1  # relative to the reals' diversity
DUPLICATES_FACTOR, DUPLICATES_MARGIN = 1.5, 0.05  # few modes: near pairs above factor * (those of reals) + margin
DIVERSE_LINES = 4  # new fakes may be alike for some lines, after the noise of the first ones and before they differ
LOW_COVERAGE = 0.5  # share of reals with a fake near them
WIDE_DIVERSITY = 1.5  # relative to the reals': such fakes have low coverage because they are too far spread
SMALL_EFFECT = 1.0  # of the condition on outputs, relative to that of the latent or a tenth of the reals' difference
SMALL_LATENT_EFFECT = 0.005  # difference of outputs of two latents for one input, relative to that of two real images
COPIED = 0.1  # distance of outputs from their inputs, relative to that of the real images
LONG, LONG_STEPS = 10, 500  # a state that lasts for so many lines and so many steps is not momentary
IMPROVEMENT = 1.2  # factor: fakes that were alike from the start but improve this much are no failure
NO_PROGRESS = 0.97  # relative to the shift at the start of the period
ADVICE = ("ignores_latent", "fully_augmented")  # findings that are no failures
FAR_SHIFT, SWING = 0.3, 0.18  # the fakes are far from the reals; change of the shift between two lines


@dataclass(frozen=True)
class Finding:
    """A failure that was found: its name, the step since which it is visible, and the text for the user."""

    name: str
    since: int
    text: str

    @property
    def is_advice(self) -> bool:
        """Whether it may be in the nature of the data, so that it stops no run."""
        return self.name in ADVICE


class Rule(NamedTuple):
    """A rule that detects a failure: `detect` must return evidence for at least `min_hits` of the last `window` lines.

    `detect` takes the lines so far. It returns the evidence as the first part of the text for the user, or None.
    `explanation` is the second part, `without_d` that for runs whose generator gets nothing from D; an empty text: the
    rule is not for these. `holds` says whether a line by itself shows a failure that must last to be found. While a
    rule holds, later rules in the table describe its consequences and are not reported.
    """

    name: str
    detect: Callable[[Lines], str | None]
    min_hits: int
    window: int
    explanation: str
    without_d: str | None = None  # None: the same
    holds: Callable[[Line], bool] | None = None

    def since(self, lines: Lines, hits: Sequence[int]) -> int:
        """Returns the step since which it is visible without a break. `hits` are the steps of the last evidence."""
        if self.holds is None:
            return hits[0]
        return [line["step"] for line in takewhile(self.holds, reversed(lines))][-1]


def _lasting(lines: Lines, count: int = LONG) -> Lines:
    """Returns the last lines: at least `count` lines, over at least LONG_STEPS steps. Empty if there are too few."""
    now = lines[-1]["step"]
    for start in range(len(lines) - count, -1, -1):
        if now - lines[start]["step"] >= LONG_STEPS:
            return lines[start:]
    return []


def _divergence(lines: Lines) -> str | None:
    loss, shift = lines[-1]["loss/discriminator"], lines[-1]["health/shift"]
    before = lines[-2]["loss/discriminator"] if len(lines) > 1 else loss
    if before > HUGE_D_LOSS:
        loss = max(loss, before)
    if loss > DIVERGED_D_LOSS:
        return f"D's loss was as high as {format_number(loss, 3)}, where guessing costs less than 2,"
    # Data of small spread are far from the first fakes, in these units.
    if shift > max(DIVERGED_SHIFT, lines[0]["health/shift"]):
        return f"fakes are {format_number(shift, 3)} times the reals' spread away from them"
    return None


def _saturated_generator(lines: Lines) -> str | None:
    fakes, reals = (lines[-1].get(f"health/saturated{of}", 0.0) for of in ("", "_real"))
    if 1 - fakes >= FEW_UNSATURATED * (1 - reals):
        return None
    return f"{fakes:.1%} of the pixels of fakes are -1 or 1 ({reals:.0%} of reals)"


def _blank_output(lines: Lines) -> str | None:
    contrast = lines[-1].get("health/contrast", 1.0)
    return f"pixels within a fake differ {contrast:.1%} as much as in a real" if contrast < BLANK_CONTRAST else None


def _vanishing_gradient(lines: Lines) -> str | None:
    line = lines[-1]
    least, norm = line["health/gradient_least"], line["grad_norm/generator"]
    usual = median(earlier["health/gradient_least"] for earlier in lines)
    if norm == 0:
        return "generator gradients are 0"
    if line["logits/auc"] < PERFECT_AUC:
        return None
    if least == 0:
        size = "are 0 in a layer"
    elif least < SMALL_GRADIENT * usual:
        size = f"fell to {format_number(least / usual, 1)} of their median"
    elif norm < SMALL_GRADIENT:
        size = f"are {format_number(norm, 1)} long"
    else:
        return None
    return f"generator gradients {size} while D separates perfectly"


def _is_below(metric: str, limit: float, line: Line) -> bool:
    return bool(line.get(metric, limit) < limit)


def _lasts_below(lines: Lines, metric: str, limit: float) -> bool:
    """Returns whether a metric, which only some tasks have, was below the limit for long."""
    long = _lasting(lines)
    return bool(long) and all(_is_below(metric, limit, line) for line in long)


def _copied_input(lines: Lines) -> str | None:
    if not _lasts_below(lines, "health/copies_input", COPIED):
        return None
    return f"outputs differ from their inputs {lines[-1]['health/copies_input']:.1%} as much as the real images do"


def _ignored_condition(lines: Lines) -> str | None:
    if not _lasts_below(lines, "health/condition_effect", SMALL_EFFECT):
        return None
    effect = format_number(lines[-1]["health/condition_effect"], 2)
    return (
        f"outputs for two inputs differ {effect} times as much as those of two latents, or as a tenth of the"
        " difference of the real images,"
    )


def _ignored_latent(lines: Lines) -> str | None:
    if not _lasts_below(lines, "health/latent_effect", SMALL_LATENT_EFFECT):
        return None
    effect = lines[-1]["health/latent_effect"]
    return f"outputs of two latents for one input differ {effect:.1%} as much as two real images"


def _few_modes(line: Line, margin: float) -> bool:
    near = line["health/duplicates"] > DUPLICATES_FACTOR * line["health/duplicates_real"] + margin
    missed = line.get("health/coverage", 1.0) < LOW_COVERAGE and line["health/diversity"] < WIDE_DIVERSITY
    return bool(near or line["health/diversity"] < LOW_DIVERSITY or missed)


def _collapses(lines: Lines) -> bool:
    """Returns True if fakes were diverse and now have few modes, or never were diverse for long and do not improve."""
    if sum(not _few_modes(line, DUPLICATES_MARGIN / 2) for line in lines) >= DIVERSE_LINES:
        return _few_modes(lines[-1], DUPLICATES_MARGIN)
    long = _lasting(lines, 2 * LONG)
    if not long or not _few_modes(lines[-1], 5 * DUPLICATES_MARGIN):
        return False
    halves = long[: len(long) // 2], long[len(long) // 2 :]
    diversity = [median(line["health/diversity"] for line in half) for half in halves]
    shift = [median(line["health/shift"] for line in half) for half in halves]
    return diversity[1] <= IMPROVEMENT * diversity[0] and shift[1] * IMPROVEMENT > shift[0]


def _mode_collapse(lines: Lines) -> str | None:
    line = lines[-1]
    if _is_below("health/condition_effect", SMALL_EFFECT, line):  # outputs are alike as the input has no effect
        return None
    if not _collapses(lines):
        return None
    if line.get("health/coverage", 1.0) < LOW_COVERAGE:
        return f"only {line['health/coverage']:.0%} of the reals have a fake near them"
    return (
        f"fakes are {line['health/diversity']:.0%} as diverse as reals, {line['health/duplicates']:.0%} of their pairs"
        f" near duplicates ({line['health/duplicates_real']:.0%} of reals)"
    )


def _overpowered(lines: Lines) -> str | None:
    long = _lasting(lines)
    if not long or any(line["logits/auc"] < PERFECT_AUC for line in long):
        return None
    first, last = long[0]["health/shift"], long[-1]["health/shift"]
    if last <= FAR_SHIFT or last <= NO_PROGRESS * first:
        return None
    return f"D separates perfectly, and fakes come no nearer to the reals in {LONG} lines"


def _oscillation(lines: Lines) -> str | None:
    shifts = [line["health/shift"] for line in lines[-LONG:]]
    if len(shifts) < LONG or median(abs(later - earlier) for earlier, later in pairwise(shifts)) <= SWING:
        return None
    return f"the fakes' mean moves by at least {SWING:.0%} of the reals' spread from line to line"


def _fully_augmented(lines: Lines) -> str | None:
    return "every sample is augmented" if lines[-1].get("schedule/augment_probability", 0.0) >= 1 else None


RULES = (
    Rule("divergence", _divergence, 2, 4, "the update steps are too large, each overshoots the last"),
    Rule(
        "saturated_generator", _saturated_generator, 2, 2, "the tanh of G's last layer lets hardly any gradient through"
    ),
    Rule("blank_output", _blank_output, 2, 2, "G's last layer is saturated or dead"),
    Rule("vanishing_gradient", _vanishing_gradient, 2, 2, "G learns nothing from D", "G learns nothing"),
    Rule(
        "ignores_condition", _ignored_condition, 1, 1, "G's outputs hardly depend on the input",
        holds=lambda line: _is_below("health/condition_effect", SMALL_EFFECT, line),
    ),
    Rule(
        "copies_input", _copied_input, 1, 1, "G returns its input in place of what is to be made of it",
        holds=lambda line: _is_below("health/copies_input", COPIED, line),
    ),
    Rule(
        "mode_collapse", _mode_collapse, 2, 2, "G generates only the few samples that D rates most real",
        "G's outputs for different inputs are nearly the same",
    ),
    Rule(
        "discriminator_overpowered", _overpowered, 1, 1, "it learns faster than G can follow", "",
        holds=lambda line: bool(line["logits/auc"] >= PERFECT_AUC),
    ),
    Rule("oscillation", _oscillation, 1, 1, "G and D keep reacting to each other and neither converges", ""),
    Rule(
        "ignores_latent", _ignored_latent, 1, 1, "the input leaves little open, or G answers with one result",
        holds=lambda line: _is_below("health/latent_effect", SMALL_LATENT_EFFECT, line),
    ),
    Rule(
        "fully_augmented", _fully_augmented, 2, 2,
        "training.ada_target is not reached, D still overfits; more images help, and earlier checkpoints may be better",
    ),
)  # fmt: skip


def nonfinite_finding(error: DivergedError, step: int, config: Config) -> Finding:
    """Returns the finding for NaN or infinite values. It comes from `error`, not from the health monitor."""
    return Finding("nonfinite", step, f"{error}. Try {' or '.join(remedies_for('nonfinite', config))}")


class HealthMonitor:
    """Monitors a run. `findings` has the findings so far. `lines` are earlier lines of the run's `metrics.jsonl`."""

    def __init__(self, config: Config, lines: Iterable[Line] = ()) -> None:
        self._config = config
        self._learns_from_d = getattr(config.loss, "weight", 1.0) > 0
        adaptive = config.training.ada_target is not None  # otherwise all samples may be augmented on purpose
        self._rules = [rule for rule in RULES if adaptive or rule.name != "fully_augmented"]
        self._lines: deque[Line] = deque(maxlen=MAX_LINES)
        self._hits: dict[str, deque[int | None]] = {rule.name: deque(maxlen=rule.window) for rule in RULES}
        self.findings: list[Finding] = []
        for line in lines:
            self.observe(line)
            if "text" in line:  # an event, for example a rollback
                self.findings += [Finding(name, line["step"], line["text"]) for name in line.get("findings", ())]

    def observe(self, line: Line) -> list[Finding]:
        """Takes a line of metrics and returns the new findings. Returns none for a line without health metrics."""
        if not all(isinstance(line.get(name), int | float) for name in REQUIRED_KEYS):
            return []
        self._lines.append(line)
        lines, known = list(self._lines), {found.name for found in self.findings}
        new: list[Finding] = []
        explained = False  # by an earlier rule
        for rule in self._rules:
            words = rule.explanation if self._learns_from_d or rule.without_d is None else rule.without_d
            evidence = rule.detect(lines) if words else None
            hits = self._hits[rule.name]
            hits.append(None if evidence is None else line["step"])
            steps = [step for step in hits if step is not None]
            if evidence is None or len(steps) < rule.min_hits:
                continue
            if not explained and rule.name not in known:
                remedies = " or ".join(remedies_for(rule.name, self._config))
                since, explanation = rule.since(lines, steps), f"{rule.name.replace('_', ' ')}: {words}"
                text = f"{evidence} since step {since:,}: {explanation}" + (f". Try {remedies}" if remedies else "")
                new = [Finding(rule.name, since, text)]
            explained = True
        self.findings += new
        return new
