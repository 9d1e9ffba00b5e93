"""What a run's lines of metrics say about it: each failure told once, with what was seen, what it means, what helps.

The watch is a function of the lines alone, so a resumed run rebuilds it from `metrics.jsonl`. Thresholds were set on
some data sets and seeds, and tried on others (tests/test_watch.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any, NamedTuple

from gan_cli.config.train_config import Config
from gan_cli.errors import DivergedError
from gan_cli.health.remedies import cures_for

Line = Mapping[str, Any]
Lines = Sequence[Line]  # oldest first; the last is the one to judge

KEPT = 250  # lines that are remembered
NEEDED = (  # figures without which a line is not judged
    "step",
    "loss/discriminator",
    "logits/auc",
    "grad_norm/generator",
    "health/gradient_least",
    "health/diversity",
    "health/duplicates",
    "health/duplicates_real",
    "health/shift",
)
SURE = 0.999  # a separation (AUC) from which D is never wrong on its batch
RUNAWAY = 5.0  # of the mean distance between two reals: no data, and no picture, are there
FLAT = 1e-3  # a gradient that is this much shorter than usual, or than 1, teaches nothing
WRONG = 10.0  # a loss of D that only logits far on the wrong side give; guessing costs 2 log 2 at most
BLANK = 0.02  # of the reals' contrast
NARROW = 0.1  # of the reals' diversity
TIMES, COPIES = 1.5, 0.05  # a share of near pairs above so many times the reals', and this, is one of few modes
COVERED = 0.5  # of the reals
WIDE = 1.5  # of the reals' diversity: fakes that miss reals because they are spread too far are not too few
LONG, LONG_STEPS = 10, 500  # lines, and steps, over which a lasting state is told from a moment
GROWING = 1.2  # times better than then: fakes that begin alike, and spread or come nearer, are no failure
STUCK = 0.97  # of the distance to the reals that was there so many lines ago
AFAR, SWING = 0.3, 0.18  # of the mean distance between two reals


@dataclass(frozen=True)
class Finding:
    """What is told, once: its name, the step since which it shows, and a sentence."""

    name: str
    since: int
    text: str


class Sign(NamedTuple):
    """How a failure shows: in which lines, in how many of the last `within`, and what to say of it.

    While a sign holds, those after it in the table are its consequences and are not told.
    """

    name: str
    shows: Callable[[Lines], bool]
    needs: int
    within: int
    saw: Callable[[Lines], str]
    means: str


def _lasting(lines: Lines, count: int = LONG) -> Lines:
    """The last lines, as many and over as many steps as it takes to call something lasting; none if too few."""
    now = lines[-1]["step"]
    for start in range(len(lines) - count, -1, -1):
        if now - lines[start]["step"] >= LONG_STEPS:
            return lines[start:]
    return []


def _diverges(lines: Lines) -> bool:
    away = lines[-1]["health/shift"] > max(RUNAWAY, lines[0]["health/shift"])  # narrow data are far from the start
    return bool(lines[-1]["loss/discriminator"] > WRONG or away)


def _blank(lines: Lines) -> bool:
    return float(lines[-1].get("health/contrast", 1.0)) < BLANK


def _vanishes(lines: Lines) -> bool:
    line = lines[-1]
    usual = median(earlier["health/gradient_least"] for earlier in lines)
    short = line["grad_norm/generator"] < FLAT or line["health/gradient_least"] < FLAT * usual
    return bool(short and line["logits/auc"] >= SURE)


def _few_modes(line: Line, copies: float) -> bool:
    near = line["health/duplicates"] > TIMES * line["health/duplicates_real"] + copies
    missed = line.get("health/coverage", 1.0) < COVERED and line["health/diversity"] < WIDE
    return bool(near or line["health/diversity"] < NARROW or missed)


def _collapses(lines: Lines) -> bool:
    """Fakes that were diverse are few modes now; or they have never been, are worse, and get no better."""
    if any(not _few_modes(line, COPIES / 2) for line in lines):
        return _few_modes(lines[-1], COPIES)
    long = _lasting(lines, 2 * LONG)
    if not long or not _few_modes(lines[-1], 5 * COPIES):
        return False
    halves = long[: len(long) // 2], long[len(long) // 2 :]
    diversity = [median(line["health/diversity"] for line in half) for half in halves]
    away = [median(line["health/shift"] for line in half) for half in halves]
    return diversity[1] < GROWING * diversity[0] and away[1] * GROWING > away[0]


def _overpowers(lines: Lines) -> bool:
    long = _lasting(lines)
    if not long or any(line["logits/auc"] < SURE for line in long):
        return False
    sooner, now = long[0]["health/shift"], long[-1]["health/shift"]
    return bool(now > AFAR and now > STUCK * sooner)


def _oscillates(lines: Lines) -> bool:
    away = [line["health/shift"] for line in lines[-LONG:]]
    moves = [abs(later - sooner) for sooner, later in pairwise(away)]
    return len(away) == LONG and median(moves) > SWING


def _saw_divergence(lines: Lines) -> str:
    loss, away = lines[-1]["loss/discriminator"], lines[-1]["health/shift"]
    if loss > WRONG:
        return f"D's loss was as high as {loss:.3g}, where guessing costs less than 2,"
    return f"fakes are {away:.3g} times the reals' spread away from them"


def _saw_gradient(lines: Lines) -> str:
    least = lines[-1]["health/gradient_least"]
    usual = median(line["health/gradient_least"] for line in lines)
    if least < FLAT * usual:
        return f"generator gradients fell to {least / usual:.0e} of their median while D separates perfectly"
    return f"generator gradients are {lines[-1]['grad_norm/generator']:.0e} long while D separates perfectly"


def _saw_copies(lines: Lines) -> str:
    line = lines[-1]
    if line.get("health/coverage", 1.0) < COVERED:
        return f"only {line['health/coverage']:.0%} of the reals have a fake near them"
    return (
        f"fakes are {line['health/diversity']:.0%} as diverse as reals, {line['health/duplicates']:.0%} of their pairs"
        f" near duplicates ({line['health/duplicates_real']:.0%} of reals)"
    )


SIGNS = (
    Sign(
        "divergence",
        _diverges,
        needs=2,
        within=4,
        saw=_saw_divergence,
        means="divergence: steps too large for the slope, each overshoots the last",
    ),
    Sign(
        "blank_output",
        _blank,
        needs=2,
        within=2,
        saw=lambda lines: f"within a fake pixels differ {lines[-1]['health/contrast']:.1%} as much as within a real",
        means="blank output: G's last layer is saturated or dead",
    ),
    Sign(
        "vanishing_gradient",
        _vanishes,
        needs=2,
        within=2,
        saw=_saw_gradient,
        means="vanishing gradient: D is so sure that G learns nothing from it",
    ),
    Sign(
        "mode_collapse",
        _collapses,
        needs=2,
        within=2,
        saw=_saw_copies,
        means="mode collapse: G makes the few samples that D holds most real",
    ),
    Sign(
        "discriminator_overpowered",
        _overpowers,
        needs=1,
        within=1,
        saw=lambda lines: f"D separates perfectly, and fakes came no nearer to the reals for {LONG} lines and more",
        means="discriminator overpowered: it learns faster than G can answer",
    ),
    Sign(
        "oscillation",
        _oscillates,
        needs=1,
        within=1,
        saw=lambda lines: f"the fakes' mean moves by {SWING:.0%} and more of the reals' spread from line to line",
        means="oscillation: G and D run after each other and neither settles",
    ),
)


def nonfinite(error: DivergedError, step: int, config: Config) -> Finding:
    """The finding that needs no watch."""
    return Finding("nonfinite", step, f"{error}. Try {' or '.join(cures_for('nonfinite', config))}")


class Health:
    """The watch over a run. `findings` are those told so far."""

    def __init__(self, config: Config, lines: Iterable[Line] = ()) -> None:
        self._config = config
        self._lines: deque[Line] = deque(maxlen=KEPT)
        self._shown: dict[str, deque[int | None]] = {sign.name: deque(maxlen=sign.within) for sign in SIGNS}
        self.findings: list[Finding] = []
        for line in lines:
            self.observe(line)
            if "text" in line:  # an event, as going back
                self.findings += [Finding(name, line["step"], line["text"]) for name in line.get("findings", ())]

    def observe(self, line: Line) -> list[Finding]:
        """What is new with this line of metrics; nothing in one of a run that was not watched, or of an event."""
        if not all(isinstance(line.get(name), int | float) for name in NEEDED):
            return []
        self._lines.append(line)
        lines = list(self._lines)
        new = []
        hidden = False
        for sign in SIGNS:
            shown = self._shown[sign.name]
            shown.append(line["step"] if sign.shows(lines) else None)
            steps = [step for step in shown if step is not None]
            holds = shown[-1] is not None and len(steps) >= sign.needs
            if holds and not hidden and all(sign.name != told.name for told in self.findings):
                new.append(Finding(sign.name, steps[0], self._sentence(sign, lines, steps[0])))
            hidden = hidden or holds
        self.findings += new
        return new

    def _sentence(self, sign: Sign, lines: Lines, since: int) -> str:
        cures = " or ".join(cures_for(sign.name, self._config))
        return f"{sign.saw(lines)} since step {since:,}: {sign.means}. Try {cures}"
