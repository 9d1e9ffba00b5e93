"""Reports in a real browser, from disk: nothing is fetched, nothing complains, what should move moves."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from gan_cli.reports.write_report import write_run_report, write_sweep_report
from gan_cli.storage.evaluation_file import EvaluationResult, MetricResult, save_evaluation
from support.browser import Browser, find_chromium
from support.reports import HOSTILE_TEXT, METRIC_LINES, write_run, write_sweep

CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium, or set CHROMIUM")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert CHROMIUM is not None
    started = Browser(CHROMIUM)
    yield started
    started.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    finding = {"name": "mode_collapse", "since": 200, "text": f"fakes are alike {HOSTILE_TEXT}"}
    long = "gan-train " + "dataset.path=/a/very/long/path/" * 20
    run = write_run(tmp_path_factory.mktemp("reports") / "a run" / "1", findings=[finding], command=long)
    (run / "evaluations").mkdir()
    figures = (
        MetricResult("frechet-classifier", 7.2, 2000, "lower", (6.6, 8.0), 0.2, 3.0, ""),
        MetricResult("precision-classifier", 0.86, 2000, "higher", (0.84, 0.88), 0.95, 3.0, "a note of some length"),
    )
    save_evaluation(EvaluationResult(figures, {"step": 400}), run / "evaluations" / "1.json")
    return write_run_report(run)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sweep_report(write_sweep(tmp_path_factory.mktemp("reports") / "sweep_1"))


def colour_of_background(browser: Browser) -> tuple[int, ...]:
    return Image.open(io.BytesIO(browser.screenshot())).convert("RGB").getpixel((3, 3))  # type: ignore[return-value]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("which", ["run", "sweep"])
def test_it_opens_from_disk_asks_for_nothing_and_fits(
    browser: Browser, request: pytest.FixtureRequest, which: str, width: int, dark: bool
) -> None:
    path: Path = request.getfixturevalue(which)
    browser.open(path, width, 800, dark)
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run("[...document.images].every((image) => image.complete && image.naturalWidth > 0)") is True
    assert browser.run("window.broken") is None
    asked = [address for address in browser.requests if not address.startswith("data:")]
    assert asked == [path.as_uri()]
    assert browser.errors == []
    brightness = sum(colour_of_background(browser)) / 3
    assert brightness < 60 if dark else brightness > 200


def test_words_stand_out_from_what_is_behind_them(browser: Browser, run: Path) -> None:
    """WCAG 2.1: a contrast of 4.5 at least, of every colour that text has, on both backgrounds."""
    script = """(() => {
      const style = getComputedStyle(document.documentElement);
      const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
      const light = (name) => {
        canvas.fillStyle = style.getPropertyValue(name);
        canvas.fillRect(0, 0, 1, 1);
        const parts = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((part) => part / 255)
          .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
      };
      const found = {};
      for (const text of ["--ink", "--soft", "--a", "--b", "--c", "--d", "--e", "--good", "--fair", "--bad", "--mark"])
        for (const behind of ["--page", "--raised"]) {
          const [low, high] = [light(text), light(behind)].sort((one, other) => one - other);
          found[text + behind] = (high + 0.05) / (low + 0.05);
        }
      return found;
    })()"""
    for dark in (False, True):
        browser.open(run, dark=dark)
        for pair, contrast in browser.run(script).items():
            assert contrast >= 4.5, (pair, dark, contrast)


def test_the_scrubber_moves_the_picture(browser: Browser, run: Path) -> None:
    browser.open(run)
    source, caption = "document.getElementById('generated').src", "document.getElementById('shown-step').textContent"
    shown = {browser.run(source)}
    assert browser.run(caption) == "step 400"
    browser.run("document.querySelector('.scrubber input').focus()")
    for step in (200, 0):
        browser.press("ArrowLeft")
        assert browser.run(caption) == f"step {step}"
        shown.add(browser.run(source))
    assert len(shown) == 3
    assert browser.run("document.querySelector('.now').getAttribute('x1')") == "0%"
    browser.press("End")
    assert browser.run(caption) == "step 400"
    assert browser.run(source) in shown
    browser.point(".chart .frame", share=0.45, click=True)  # of 450 steps: the grid of step 200 is nearest
    assert browser.run(caption) == "step 200"


def test_the_play_button_plays_to_the_end(browser: Browser, run: Path) -> None:
    browser.open(run)
    browser.run("document.querySelector('.play').focus()")
    browser.press(" ")
    caption, word = "document.getElementById('shown-step').textContent", "document.querySelector('.word').textContent"
    assert browser.run(caption) == "step 0"
    assert browser.run(word) == "Pause"
    waiting = f"""new Promise((done) => {{
      const seen = [], look = () => {{ seen.push({caption}); {word} === 'Play' ? done(seen) : setTimeout(look, 20); }};
      look();
    }})"""
    seen = list(dict.fromkeys(browser.run(waiting)))
    assert seen == ["step 0", "step 200", "step 400"]


def test_a_chart_tells_its_values(browser: Browser, run: Path) -> None:
    browser.open(run)
    tip = "document.querySelector('.chart .tip')"
    assert browser.run(f"{tip}.hidden") is True
    losses = "document.querySelectorAll('.chart')"
    index = browser.run(f"[...{losses}].findIndex((chart) => chart.textContent.includes('Losses'))")
    browser.run(f"{losses}[{index}].querySelector('.frame').id = 'losses'")
    browser.point("#losses", share=200 / 450)
    told = browser.run(f"{losses}[{index}].querySelector('.tip').innerText")
    assert told.split("\n") == ["step 200", "D 1.2", "G 1.1", "mode_collapse since step 200"]
    assert browser.run(f"{losses}[{index}].querySelector('.tip .b').textContent") == "G 1.1"
    browser.run("document.querySelector('#losses').focus()")
    browser.press("Home")
    browser.press("ArrowRight")
    assert browser.run(f"{losses}[{index}].querySelector('.tip .step').textContent") == "step 100"


def test_the_table_sorts(browser: Browser, sweep: Path) -> None:
    browser.open(sweep)
    column = "[...document.querySelectorAll('.sortable tbody tr')].map((row) => row.cells[{}].textContent.trim())"
    assert browser.run(column.format(1)) == ["hinge", "non_saturating", "wasserstein"]
    heads = browser.run("[...document.querySelectorAll('.sortable th')].map((head) => head.textContent.trim())")
    seconds, metric = heads.index("seconds"), heads.index("frechet-classifier")
    click = "document.querySelectorAll('.sortable th')[{}].querySelector('button').click()"
    order = "document.querySelectorAll('.sortable th')[{}].getAttribute('aria-sort')"
    browser.run(click.format(seconds))
    assert browser.run(order.format(seconds)) == "ascending"
    browser.run(click.format(seconds))
    assert browser.run(column.format(seconds)) == ["12", "11", "10"]
    assert browser.run(order.format(seconds)) == "descending"
    for direction, first in (("ascending", "hinge"), ("descending", "non_saturating")):
        browser.run(click.format(metric))
        assert browser.run(order.format(metric)) == direction
        assert browser.run(order.format(seconds)) is None
        names = browser.run(column.format(1))
        assert names[0] == first
        assert names[-1] == "wasserstein"  # which has none, either way


def test_a_command_is_copied(browser: Browser, sweep: Path) -> None:
    browser.open(sweep)
    browser.run("window.copied = []; navigator.clipboard.writeText = async (text) => { window.copied.push(text); }")
    browser.run("document.querySelector('.command .copy').click()")
    browser.run("document.querySelectorAll('.sortable .copy')[1].click()")
    assert browser.run("window.copied") == [
        "gan-train dataset=shapes loss=hinge seed=1",
        "gan-train dataset=shapes loss=non_saturating seed=1",
    ]
    assert browser.run("document.querySelector('.command .copy').textContent") == "Copied"


def test_without_scripts_all_is_there_but_what_needs_them(browser: Browser, run: Path) -> None:
    browser.open(run)
    words = browser.run("document.body.innerText.length")
    browser.open(run, scripts=False)
    assert browser.run("document.body.innerText.length") > words - 100
    assert browser.run("document.querySelector('.scrubber').offsetHeight") == 0
    assert browser.run("document.querySelector('.copy').offsetHeight") == 0
    assert browser.run("document.querySelectorAll('.curve').length") >= len(METRIC_LINES[0]) - 5


def test_the_policy_stops_what_would_act(browser: Browser, run: Path, tmp_path: Path) -> None:
    """Were anything of a folder to get into the page unescaped: it neither runs nor loads."""
    hostile = "<script>window.broken = 1</script><img src='https://localhost:9/x.png' onerror='window.broken = 2'>"
    path = tmp_path / "hostile.html"
    path.write_text(run.read_text().replace("<main>", f"<main>{hostile}<p style='color:red'>x</p>"))
    browser.open(path)
    assert browser.run("window.broken") is None
    assert len(browser.errors) >= 3
    assert all("Content Security Policy" in complaint for complaint in browser.errors)
