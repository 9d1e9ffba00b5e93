"""What samples are worth, beside real ones: every figure with its floor and interval. Knows no run and prints nothing.

real = find_real(config.dataset, config.image_size, dataset)
reference = build_reference(real, build_extractor("auto", real), n=2000)
figures = compute_figures(reference, samples, ["frechet", "precision_recall"], resamples=0)
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gan_cli.config.metric_names import Figure
from gan_cli.errors import UsageError
from gan_cli.evaluation.metrics.distances import frechet_distances, kernel_distances
from gan_cli.evaluation.metrics.extractors import Seen
from gan_cli.evaluation.metrics.memorization import RARE, Memorization, find_memorized
from gan_cli.evaluation.metrics.modes import count_labels, count_modes
from gan_cli.evaluation.metrics.neighbours import neighbour_shares
from gan_cli.evaluation.metrics.resampling import halves, interval, share_interval
from gan_cli.evaluation.metrics.scores import inception_scores
from gan_cli.evaluation.reference import QUADRATIC, Reference, Told, untold

FEW_SAID = "too few samples"
FEW = 100  # of which a share is not known to within some hundredths
WIDE, WIDE_RESAMPLES = 512, 20  # features whose covariances are too large to be taken apart often
MEMORIZED = 1000  # samples that are looked up among all training pictures
PIXELS = "pixels"  # what memorization goes by, whatever the extractor


class Raw(NamedTuple):
    """A figure of all samples and of each half of them, `[1 + resamples]`, and what it can be at all."""

    name: str
    values: Tensor
    better: str
    least: float = -math.inf
    most: float = math.inf


def _frechet(reference: Reference, made: Seen, chosen: Tensor) -> list[Raw]:
    if made.features.shape[1] > WIDE:
        chosen = chosen[: 1 + WIDE_RESAMPLES]
    return [Raw("frechet", frechet_distances(reference.gaussian, made.features, chosen), "lower", 0)]


def _kernel(reference: Reference, made: Seen, chosen: Tensor) -> list[Raw]:
    return [Raw("kernel", kernel_distances(reference.real.features[:QUADRATIC], made.features, chosen), "lower")]


def _neighbours(reference: Reference, made: Seen, chosen: Tensor) -> list[Raw]:
    real = reference.real.features[:QUADRATIC].float()
    shares = neighbour_shares(real, reference.radii, made.features.float(), chosen)
    return [
        Raw(name, values, "higher", 0, math.inf if name == "density" else 1)
        for name, values in shares._asdict().items()
    ]


def _inception_score(reference: Reference, made: Seen, chosen: Tensor) -> list[Raw]:
    assert made.probabilities is not None
    most = made.probabilities.shape[1]
    return [Raw("inception_score", inception_scores(made.probabilities, chosen), "higher", 1, most)]


def _modes(reference: Reference, made: Seen, chosen: Tensor) -> list[Raw]:
    """Of points the modes that are known; of pictures the classes that a classifier sees in them."""
    modes = reference.data.modes
    if modes is not None:
        counts = [count_modes(made.features[row], modes.centres, modes.std) for row in chosen]
    else:
        assert made.probabilities is not None
        labels, possible = made.probabilities.argmax(1), made.probabilities.shape[1]
        counts = [count_labels(labels[row], possible) for row in chosen]
    possible = counts[0].possible
    covered, share, reverse_kl = torch.tensor(
        [(count.covered, count.share, count.reverse_kl) for count in counts], dtype=torch.float64
    ).T
    found = [
        Raw("modes/covered", covered, "higher", 0, possible),
        Raw("modes/reverse_kl", reverse_kl, "lower", 0, math.log(possible)),
    ]
    return [*found, Raw("modes/share", share, "higher", 0, 1)] if modes is not None else found


class Family(NamedTuple):
    """What is worked out together: the metrics that ask for it, of how many samples at most, whether beside reals."""

    work: Callable[[Reference, Seen, Tensor], list[Raw]]
    most: int
    names: dict[str, tuple[str, ...]]  # by metric, the figures
    compares: bool = True


FAMILIES = (
    Family(_frechet, 10**9, {"frechet": ("frechet",)}),
    Family(_kernel, QUADRATIC, {"kernel": ("kernel",)}),
    Family(
        _neighbours,
        QUADRATIC,
        {"precision_recall": ("precision", "recall"), "density_coverage": ("density", "coverage")},
    ),
    Family(_inception_score, 10**9, {"inception_score": ("inception_score",)}, compares=False),
    Family(_modes, 10**9, {"modes": ("modes/covered", "modes/share", "modes/reverse_kl")}, compares=False),
)


def possible_metrics(reference: Reference) -> tuple[str, ...]:
    """Those that these data and this extractor allow."""
    names = ["frechet", "kernel", "precision_recall", "density_coverage"]
    points, sure = reference.data.whole.samples.ndim == 2, reference.real.probabilities is not None
    if sure:
        names.append("inception_score")
    known = reference.data.modes is not None and len(reference.data.modes.centres) > 0
    if known or (sure and reference.extractor.name == "classifier"):
        names.append("modes")
    return tuple(names if points else [*names, "memorization"])


WHY = {
    "inception_score": "needs pictures of one class each with extractor=classifier, or extractor=inception",
    "modes": "needs points whose modes are known, or pictures of one class each with extractor=classifier",
    "memorization": "is of pictures, these are points",
}


def check_metrics(reference: Reference, names: Sequence[str]) -> None:
    """UsageError for a metric that these data or this extractor do not allow."""
    for name in names:
        if name not in possible_metrics(reference):
            why = reference.extractor.why
            raise UsageError(f"metrics=[{name}]: {WHY[name]}" + (f"; {why}" if why else ""))


class Judged(NamedTuple):
    figures: list[Figure]
    memorized: Memorization | None


def compute_figures(
    reference: Reference, samples: Tensor, names: Sequence[str], *, resamples: int = 200, told: Told = untold
) -> list[Figure]:
    """The figures of `names`, of uint8 samples `[N, C, H, W]` or points `[N, 2]`, in METRICS' order.

    Each name carries its extractor, as `frechet-classifier`; memorization is of pixels in any case, and the modes of
    points need none. Intervals are of so many `resamples`, none of fewer than 2. Floors are of `reference.n` samples
    unless fewer are left, so N should be that. UsageError for a name that these data do not allow.
    """
    return judge(reference, samples, names, resamples=resamples, told=told).figures


def judge(
    reference: Reference, samples: Tensor, names: Sequence[str], *, resamples: int = 200, told: Told = untold
) -> Judged:
    """The figures, and which samples are copies if that was asked."""
    check_metrics(reference, names)
    wanted = [family for family in FAMILIES if set(family.names) & set(names)]
    figures: list[Figure] = []
    if wanted:
        made = reference.extractor.see(samples, lambda done, count: told("features", done, count))
    for number, family in enumerate(wanted):
        told("figures", number, len(wanted))
        figures += _of_family(family, reference, made, names, resamples)
    if "memorization" not in names:
        return Judged(figures, None)
    started = time.perf_counter()
    found = find_copies(reference, samples, told)
    figures += memorization_figures(found, time.perf_counter() - started, resamples, len(reference.data.train))
    return Judged(figures, found)


def _of_family(family: Family, reference: Reference, made: Seen, names: Sequence[str], resamples: int) -> list[Figure]:
    started, count = time.perf_counter(), min(len(made.features), family.most)
    found = family.work(reference, _first(made, count), halves(count, resamples))
    if reference.other is not None and not {_full(raw.name, reference) for raw in found} <= reference.floors.keys():
        others = min(len(reference.other.features), family.most)
        for raw in family.work(reference, _first(reference.other, others), halves(others, 0)):
            reference.floors[_full(raw.name, reference)] = raw.values[0].item()
        reference.keep()
    asked = {name for metric in names for name in family.names.get(metric, ())}
    seconds = (time.perf_counter() - started) / len(found)
    reals = min(len(reference.real.features), family.most) if family.compares else 0
    figures = []
    for raw in found:
        if raw.name in asked:
            name, note = _full(raw.name, reference), _note(raw, min(count, reals or count), made.features.shape[1])
            figures.append(_figure(raw, name, count, reference.floors.get(name), seconds, note, reals))
    return figures


def _first(seen: Seen, count: int) -> Seen:
    return Seen(seen.features[:count], None if seen.probabilities is None else seen.probabilities[:count])


def _full(name: str, reference: Reference) -> str:
    """With the extractor behind it; the modes of points are known without."""
    return (
        name if name.startswith("modes/") and reference.data.modes is not None else f"{name}-{reference.extractor.name}"
    )


def _figure(
    raw: Raw, name: str, count: int, floor: float | None, seconds: float, note: str = "", reals: int = 0
) -> Figure:
    span = interval(raw.values, raw.least, raw.most)
    return Figure(name, raw.values[0].item(), count, raw.better, span, floor, round(seconds, 3), note, reals)


def _note(raw: Raw, count: int, features: int) -> str:
    """A warning of too few samples; else, of modes covered, of how many."""
    if raw.name == "frechet" and count < 2 * features:
        return f"{FEW_SAID}: a covariance of {features:,} features needs at least {2 * features:,}"
    if count < FEW:
        return f"{FEW_SAID}: at least {FEW}"
    return f"of {raw.most:,.0f}" if raw.name == "modes/covered" else ""


# --- memorization ------------------------------------------------------------------------------------------------


def find_copies(reference: Reference, samples: Tensor, told: Told = untold) -> Memorization:
    """Which of at most MEMORIZED pictures, uint8 `[N, C, H, W]`, are training pictures, and which repeat each other."""
    data = reference.data
    count = min(MEMORIZED, len(samples), len(data.train if data.held_out is None else data.held_out))
    held_out, own = data.unseen(count)
    return find_memorized(
        samples[:count],
        data.train.samples,
        held_out,
        own,
        lambda done, among: told("looking among training images", done, among),
    )


def memorization_figures(found: Memorization, seconds: float, resamples: int = 200, among: int = 0) -> list[Figure]:
    """Shares of samples that are copies of training pictures or of each other, and how near the nearest ones are.

    `nearest-pixels` is the median distance to the nearest training picture over that of held-out pictures. `among` is
    how many training pictures there are.
    """
    count = len(found.copies)
    chosen = halves(count, resamples)
    repeats = (chosen.double() @ found.repeats.double()) / chosen.sum(1)
    usual = found.held_out_distance.median().clamp_min(1e-12)
    ratios = torch.stack([found.distance[row].median() for row in chosen]) / usual
    note = f"{FEW_SAID}: at least {FEW}" if count < FEW else ""
    each, share = seconds / 3, found.copies.double().mean().item()
    span = share_interval(share, count) if resamples > 1 else None
    return [
        Figure(f"memorized-{PIXELS}", share, count, "lower", span, RARE, round(each, 3), note, among),
        _figure(Raw("repeated", repeats, "lower", 0, 1), f"repeated-{PIXELS}", count, RARE, each, note),
        _figure(Raw("nearest", ratios, "", 0), f"nearest-{PIXELS}", count, 1.0, each, note, among),
    ]
