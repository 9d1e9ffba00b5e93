"""What reports are drawn from: thinned curves, ticks a person can read, images that fit."""

from __future__ import annotations

import base64
import io
import itertools
import math
import random
from pathlib import Path

import pytest
from PIL import Image

from gan_cli.images.animation import list_grids
from gan_cli.reports.charts import health_charts, sample_metric_charts, sample_metric_keys, training_charts
from gan_cli.reports.curves import MOST_POINTS, Scale, Series, draw_chart, fit_scale, steps_scale, thin_points
from gan_cli.reports.embedded_images import embed_frames, embed_image
from gan_cli.reports.safe_values import format_duration, format_number, inside, link


@pytest.mark.parametrize("count", [1, 2, 499, 500, 501, 1003, 20_000])
def test_thinning_keeps_the_ends_and_every_spike(count: int) -> None:
    spikes = {count // 3: 1e6, count // 2: -1e6}
    points = [(float(step), spikes.get(step, math.sin(step))) for step in range(count)]
    kept = thin_points(points)
    assert len(kept) <= MOST_POINTS
    assert kept == sorted(kept)
    assert {points[0], points[-1], *((float(step), value) for step, value in spikes.items())} <= {*kept}
    assert {*kept} <= {*points}


def test_thinning_keeps_the_shape() -> None:
    draw = random.Random(0)
    points = [(float(step), draw.gauss(0, 1)) for step in range(50_000)]
    kept = thin_points(points)
    for first in range(0, 50_000, 5_000):
        whole = [value for step, value in points if first <= step < first + 5_000]
        thinned = [value for step, value in kept if first <= step < first + 5_000]
        assert max(thinned) == max(whole)
        assert min(thinned) == min(whole)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 3000, [0, 1000, 2000, 3000]),
        (-1.2, 0.3, [-1, -0.5, 0]),
        (0.0011, 0.0014, [0.0011, 0.0012, 0.0013, 0.0014]),
    ],
)
def test_ticks_are_round_numbers(low: float, high: float, ticks: list[float]) -> None:
    assert Scale(low, high).ticks(5) == pytest.approx(ticks)


@pytest.mark.parametrize("low", [1e-12, 1e-3, 1.0, 12345.0, 1e200])
@pytest.mark.parametrize("times", [1.0001, 3, 1e4, 1e80])
def test_every_scale_has_some_ticks_inside(low: float, times: float) -> None:
    scale = fit_scale([low, low * times])
    ticks = scale.ticks(5)
    assert 1 <= len(ticks) <= 6
    for tick in ticks:
        assert -1e-6 <= scale.position(tick) <= 1 + 1e-6


def test_values_that_span_decades_are_drawn_on_a_logarithmic_scale() -> None:
    assert fit_scale([0.01, 2.0]).log
    assert fit_scale([0.01, 2.0]).ticks(5) == pytest.approx([0.01, 0.1, 1])
    for linear in ([0.01, 0.5], [0.0, 1000.0], [-1.0, 1e6]):
        assert not fit_scale(linear).log
    assert not fit_scale([1e-9, 1.0], (0.0, 1.0)).log
    same = fit_scale([3.0, 3.0])
    assert same.low < 3 < same.high


def test_a_chart_places_its_values() -> None:
    chart = draw_chart("Losses", [Series("D", "a", [(0, 0.0), (50, 10.0)]), Series("G", "b", [])], Scale(0, 100))
    assert chart is not None
    assert [curve.name for curve in chart.curves] == ["D"]
    (x0, y0), (x1, y1) = chart.curves[0].dots
    assert (x0, x1) == (0, 50)
    assert y0 > 90 > 10 > y1
    assert chart.summary == "D from 0 to 10, between 0 and 10"
    assert draw_chart("Losses", [Series("D", "a", [])], Scale(0, 100)) is None


def test_figures_are_grouped_by_what_they_say() -> None:
    line = {
        "step": 10, "images_seen": 320, "seconds": 1.0, "loss/generator": 1.0, "loss/discriminator": 1.0,
        "penalty/r1": 0.1, "health/shift": 1.0, "images_per_second": 100.0, "frechet-random": 5.0,
        "precision-random": 0.5, "recall-random": 0.4, "modes/covered": 8, "modes/possible": 8, "modes/share": 0.9,
        "accuracy/class": 0.98, "mine/figure": 3.0, "findings": ["x"], "text": "y",
    }  # fmt: skip
    lines, steps = [line, {**line, "step": 20}], steps_scale([20])
    assert [chart.title for chart in training_charts(lines, steps)] == ["Losses", "Penalty r1, unweighted"]
    assert [chart.title for chart in sample_metric_charts(lines, steps)] == [
        "Modes covered, of 8", "Share of samples at a mode", "Share of samples of the requested class",
        "frechet-random", "Precision and recall random",
    ]  # fmt: skip
    assert len(sample_metric_charts(lines, steps)[-1].curves) == 2
    assert "mine/figure" in [chart.title for chart in health_charts(lines, steps)]
    assert "frechet-random" in sample_metric_keys(lines)
    crowd = [{"step": 1, **{f"key {index}": 1.0 for index in range(5000)}}]
    assert len(sample_metric_charts(crowd, steps)) < 100


# --- pictures ----------------------------------------------------------------------------------------------------


def shown(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_a_small_grid_is_kept_as_it_is_and_a_large_one_shrunk(tmp_path: Path) -> None:
    small, large = tmp_path / "small.png", tmp_path / "large.png"
    Image.effect_noise((60, 40), 80).save(small)
    Image.effect_noise((3000, 2000), 80).save(large)
    kept = embed_image(small, 10_000)
    assert kept is not None
    assert base64.b64decode(kept.uri.removeprefix("data:image/png;base64,")) == small.read_bytes()
    assert (kept.width, kept.height) == (60, 40)
    for most in (300_000, 50_000, 3_000):
        shrunk = embed_image(large, most)
        assert shrunk is not None
        assert len(shrunk.uri) <= most + 50
        image = shown(shrunk.uri)
        assert image.format == "WEBP"
        assert max(image.size) <= 1280
        assert image.width / image.height == pytest.approx(1.5, rel=0.05)


def test_a_picture_of_few_bytes_and_many_pixels_is_shrunk_too(tmp_path: Path) -> None:
    Image.new("L", (3000, 2000)).save(tmp_path / "black.png")
    shrunk = embed_image(tmp_path / "black.png", 300_000)
    assert shrunk is not None
    assert shown(shrunk.uri).size == (1280, 853)
    assert (shrunk.width, shrunk.height) == (3000, 2000)


def test_what_is_no_picture_is_left_out(tmp_path: Path) -> None:
    good = tmp_path / "good.png"
    Image.effect_noise((2000, 2000), 80).save(good)
    cases = {"text.png": b"hello", "empty.png": b"", "torn.png": good.read_bytes()[:5000]}
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
    Image.new("RGB", (8, 8)).save(tmp_path / "other.png", format="GIF")
    (tmp_path / "svg.png").write_text("<svg onload='alert(1)'/>")
    for path in (
        *map(tmp_path.joinpath, cases),
        tmp_path / "other.png",
        tmp_path / "svg.png",
        tmp_path,
        tmp_path / "x",
    ):
        assert embed_image(path, 1_000) is None, path


def test_frames_are_chosen_evenly_and_share_their_budget(tmp_path: Path) -> None:
    folder = tmp_path / "samples"
    folder.mkdir()
    for step in range(0, 1300, 10):
        Image.effect_noise((100, 100), 80).save(folder / f"step_{step:08d}.png")
    (folder / "step_x.png").write_text("")
    (folder / "step_00000005.txt").write_text("")
    grids = list_grids(tmp_path, last=1200)
    assert [step for step, _ in grids] == [*range(0, 1201, 10)]
    frames = embed_frames(grids, 200_000)
    assert len(frames) == 60
    assert (frames[0].step, frames[-1].step) == (0, 1200)
    gaps = [later.step - sooner.step for sooner, later in itertools.pairwise(frames)]
    assert {*gaps} <= {20, 30}
    assert 100_000 < sum(len(frame.uri) for frame in frames) <= 204_000
    assert embed_frames(grids, 0) == []
    assert embed_frames([], 200_000) == []


# --- words -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "0"), (1234.0, "1,234"), (0.01234, "0.0123"), (-0.5, "−0.5"), (2.5e-5, "2.5e−5"), (1e7, "1e7"),
        (123.456, "123"), (999.6, "1,000"), (1234.56, "1,235"), (None, ""),
    ],
)  # fmt: skip
def test_numbers_are_written_for_people(value: float | None, words: str) -> None:
    assert format_number(value) == words


def test_thousands_are_marked_however_many_digits() -> None:
    texts = [format_number(value, 4) for value in (1568.9, 156.89, 0.12345)]
    assert texts == ["1,569", "156.9", "0.1235"]


def test_durations_are_written_for_people() -> None:
    assert [format_duration(seconds) for seconds in (0.42, 58.2, 730, 12_000, None, -1)] == [
        "0.4 s", "58 s", "12 min", "3 h 20 min", "", "",
    ]  # fmt: skip


def test_links_have_no_scheme_and_lead_where_they_say(tmp_path: Path) -> None:
    assert link(tmp_path / "javascript:x" / "a?b#c.txt", tmp_path) == "./javascript%3Ax/a%3Fb%23c.txt"
    assert link(tmp_path / "a" / "b", tmp_path / "c") == "./../a/b"
    (tmp_path / "in").mkdir()
    (tmp_path / "out").symlink_to("/")
    assert inside(tmp_path, "in") == tmp_path / "in"
    for name in ("..", "out", "../x", "/", "", "nowhere", "a\0", 3):
        assert inside(tmp_path, name) is None
