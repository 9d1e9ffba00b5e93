"""Reports: one file that loads nothing, whatever is in the folder; what a run and a sweep leave, and the command."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from gan_cli.cli.main import run_command
from gan_cli.config.compose import compose_command
from gan_cli.errors import StorageError
from gan_cli.launch import finish
from gan_cli.reports import html_page as pages
from gan_cli.reports.html_page import LARGEST_PAGE
from gan_cli.reports.write_report import write_run_report, write_sweep_report
from gan_cli.storage.evaluation_file import EvaluationResult, MetricResult, save_evaluation
from support.configs import TINY_IMAGES
from support.reports import HOSTILE_TEXT, METRIC_LINES, recorded_config, write_run, write_sweep
from support.training import plant_nan


class Page(HTMLParser):
    """What a browser would find: elements with their attributes, and all text outside of script and style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            del self._open[len(self._open) - 1 - self._open[::-1].index(tag) :]

    def handle_data(self, data: str) -> None:
        if self._open[-1:] not in (["script"], ["style"]):
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def opened(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


# --- a run -------------------------------------------------------------------------------------------------------


def test_what_the_report_of_a_run_tells(tmp_path: Path) -> None:
    finding = {"name": "mode_collapse", "since": 200, "text": "fakes are alike since step 200"}
    brought = {"training.n_critic": 5}
    config = recorded_config(
        "dataset=shapes", "loss=wasserstein", "regularizer=gradient_penalty", "seed=7", "threads=1"
    )
    run = write_run(tmp_path / "run", findings=[finding], brought_along=brought, config=config)
    (run / "evaluations").mkdir()
    figure = MetricResult("kernel-random", 0.031, 500, "lower", (0.02, 0.045), 0.004, 1.5, "n is small")
    about = {"extractor": "random", "verdict": "nothing was learned by heart", "page": "pairs.png"}
    save_evaluation(EvaluationResult((figure,), about), run / "evaluations" / "one.json")
    Image.new("L", (64, 64), 128).save(run / "evaluations" / "pairs.png")
    path = write_run_report(run)
    assert path == run / "report.html"
    page = opened(path)
    for words in (
        "shapes-subpixel-wasserstein", "done", "450", "61 s", "drawn by gan-cli", "cpu, 1 thread",
        "mode_collapse", "fakes are alike since step 200", "Losses", "Gradient norms logarithmic", "Accuracy of D",
        "Learning rates", "frechet-classifier", "kernel-random", "0.031", "0.02 to 0.045", "0.004", "n is small",
        "extractor random",
        "nothing was learned by heart", "torch", "2.14.1", "0123abc, changed since",
        "gan-train dataset=shapes loss=hinge",
    ):  # fmt: skip
        assert words in page.text, words
    assert re.search(r"training\.n_critic 5 1 implied by another setting", page.text)
    assert re.search(r"seed 7 0 given", page.text)
    assert re.search(r"regularizer \[gradient_penalty\] \[r1\]", page.text)
    assert "threads 1 auto chosen at the start" in page.text
    assert re.search(r"dataset\.image_channels 1 implied by another setting", page.text)
    assert "training.ema_decay 0.999" not in page.text.split("The whole config")[0]
    assert "training.ema_decay=0.999" in page.text
    pictures = [picture["src"] or "" for picture in page.all("img")]
    assert len(pictures) == 3
    assert all(source.startswith("data:image/") for source in pictures)
    addresses = {link["href"] for link in page.all("a")}
    assert addresses >= {"./checkpoints/last.safetensors", "./metrics.jsonl", "./train.log", "./evaluations/one.json"}
    assert all((run / (address or "")).exists() for address in addresses)


@pytest.mark.parametrize(
    ("overrides", "columns"),
    [
        (["task=inpainting"], "known pixels, mask, result of seed 0, result of seed 1, result of seed 2, true image."),
        (["task=translation", "task.source=edges"], "source image, result, true image."),
        (["task=super_resolution"], "small image, result, true image."),
    ],
)
def test_the_report_of_a_task_tells_its_columns_and_settings(
    tmp_path: Path, overrides: list[str], columns: str
) -> None:
    command = "gan-train dataset=shapes " + " ".join(overrides)
    given = ["dataset=shapes", "image_size=16", *overrides]
    brought = compose_command("train", given, "none").implied
    page = opened(
        write_run_report(
            write_run(tmp_path / "run", command=command, config=recorded_config(*given), brought_along=brought)
        )
    )
    task = overrides[0]
    assert f"shapes-{task.removeprefix('task=')}-" in page.text
    assert f"The columns, from the left: {columns}" in page.text
    assert ("input=photo.png mask=m.png" in page.text) == (task == "task=inpainting")
    assert "input=photo.png" in page.text
    assert not re.search(r"task\.\w+ \S+ implied", page.text)
    assert "n=64" not in page.text
    assert f"optimizer.lr 0.001 0.003 set by {task}" in page.text
    assert f"auxiliary.l1.weight 10.0 set by {task}" in page.text
    assert "optimizer.generator.lr 0.001" not in page.text
    assert re.search(r"image_size 16 \S+ given", page.text)


def test_a_learning_rate_of_a_task_that_the_user_set_is_given(tmp_path: Path) -> None:
    given = ["dataset=shapes", "image_size=16", "task=inpainting", "optimizer.generator.lr=0.001"]
    page = opened(
        write_run_report(
            write_run(tmp_path / "run", command=" ".join(["gan-train", *given]), config=recorded_config(*given))
        )
    )
    assert "optimizer.generator.lr 0.001 0.003 given" in page.text
    assert "optimizer.discriminator.lr 0.001" not in page.text


def test_the_figures_at_the_top_are_those_of_the_best_checkpoint(tmp_path: Path) -> None:
    lines = [line | {"frechet-classifier": 3.0 if line["step"] == 200 else 7.5} for line in METRIC_LINES]
    config = recorded_config("dataset=shapes", "evaluation.metrics=[frechet]", "training.evaluate_every=50")
    run = write_run(tmp_path / "run", lines, config=config)
    assert "7.5 frechet-classifier" in opened(write_run_report(run)).text
    (run / "checkpoints" / "best.safetensors").touch()
    text = opened(write_run_report(run)).text
    assert "3 frechet-classifier" in text
    assert "best step 200, frechet-classifier 3" in text
    assert "steps 450" in text


def test_the_same_folder_gives_the_same_page(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    once = write_run_report(run).read_bytes()
    assert write_run_report(run).read_bytes() == once
    sweep = write_sweep(tmp_path / "sweep")
    once = write_sweep_report(sweep).read_bytes()
    assert write_sweep_report(sweep).read_bytes() == once


def test_nothing_is_loaded_and_nothing_but_our_own_script_may_run(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "sweep")
    for path in (write_run_report(write_run(tmp_path / "run")), write_sweep_report(sweep)):
        page = opened(path)
        policy = next(meta["content"] for meta in page.all("meta") if meta.get("http-equiv"))
        assert policy is not None
        assert policy.startswith("default-src 'none'; img-src data:; ")
        assert not re.search("unsafe|https?:|\\*", policy)
        assert [script.get("type") for script in page.all("script")].count(None) == 1
        for _, attributes in page.elements:
            assert not any(name.startswith("on") or name == "style" for name in attributes)
            for name in ("src", "href"):
                assert (attributes.get(name) or "data:").startswith(("data:", "./"))


def test_text_from_a_folder_stays_text(tmp_path: Path) -> None:
    config = recorded_config("dataset=shapes")
    config["name"], config[HOSTILE_TEXT] = HOSTILE_TEXT, HOSTILE_TEXT
    lines = [{**line, f"frechet-{HOSTILE_TEXT}": 1.0, f"penalty/{HOSTILE_TEXT}": 2.0} for line in METRIC_LINES]
    run = write_run(
        tmp_path / f"{HOSTILE_TEXT.replace('/', '')}",
        lines=lines,
        config=config,
        command=HOSTILE_TEXT,
        device=HOSTILE_TEXT,
        data={"source": HOSTILE_TEXT},
        findings=[{"name": HOSTILE_TEXT, "since": 100, "text": HOSTILE_TEXT}],
        packages={HOSTILE_TEXT: HOSTILE_TEXT},
    )
    (run / "checkpoints" / f"{HOSTILE_TEXT.replace('/', '')}.safetensors").write_text("")
    (run / "evaluations").mkdir()
    figure = MetricResult(HOSTILE_TEXT, 1.0, 10, HOSTILE_TEXT, (0.5, 2.0), 0.1, 1.0, HOSTILE_TEXT)
    save_evaluation(EvaluationResult((figure,), {HOSTILE_TEXT: HOSTILE_TEXT}), run / "evaluations" / "one.json")
    page = opened(write_run_report(run))
    clean = opened(write_run_report(write_run(tmp_path / "clean")))
    assert page.all("img")[2:] == []
    assert len(page.all("script")) == len(clean.all("script")) + 2  # two charts more: the two figures
    assert page.text.count("window.broken=1") >= 8
    assert "49" not in re.findall(r"</textarea>(\S+)", page.text)
    sweep = write_sweep(tmp_path / "sweep", metric=HOSTILE_TEXT, command=HOSTILE_TEXT, varied=[HOSTILE_TEXT])
    assert len(opened(write_sweep_report(sweep)).all("script")) == 1


def test_a_run_of_which_little_is_left(tmp_path: Path) -> None:
    """Each of these was met: a run killed at its start, a full disk, a folder somebody tidied."""
    run = write_run(tmp_path / "run", lines=[], grids=())
    (run / "samples" / "real.png").unlink()
    page = opened(write_run_report(run))
    assert page.all("img") == []
    assert "There are no metrics yet" in page.text
    (run / "config.json").write_text("{")
    assert "run not ended" in opened(write_run_report(run)).text
    shutil.rmtree(run)
    run.mkdir()
    assert write_run_report(run).is_file()


def test_a_metric_that_is_better_without_the_network_is_named(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / "evaluations").mkdir()
    metrics = (
        MetricResult("psnr", 20.0, 10, without_network=21.5, method="ridge regression"),
        MetricResult("ssim", 0.9, 10, without_network=0.5, method="ridge regression"),
    )
    save_evaluation(EvaluationResult(metrics, {}), run / "evaluations" / "one.json")
    page = opened(write_run_report(run)).text
    assert "psnr 20 does not beat ridge regression without a network, 21.5" in page
    assert "ssim 0.9 does not beat" not in page


def test_lines_count_by_their_steps(tmp_path: Path) -> None:
    """Not by their order: somebody may have put files together."""
    run = write_run(tmp_path / "run")
    page = write_run_report(run).read_bytes()
    write_run(tmp_path / "run", lines=METRIC_LINES[::-1])
    assert write_run_report(run).read_bytes() == page


@pytest.mark.parametrize("page", ["../samples/real.png", "/etc/passwd", "..", "", 3, "nowhere.png", "x" * 5000])
def test_a_page_of_pairs_is_looked_for_in_its_folder_alone(tmp_path: Path, page: Any) -> None:
    run = write_run(tmp_path / "run")
    (run / "evaluations").mkdir()
    save_evaluation(
        EvaluationResult((MetricResult("frechet-random", 1.0, 10),), {"page": page}), run / "evaluations" / "one.json"
    )
    assert len(opened(write_run_report(run)).all("img")) == 2


def test_torn_and_senseless_lines_are_passed_over(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    senseless = [
        '{"step": 100, "loss/generator": NaN, "loss/discriminator": Infinity}',
        '{"step": "60", "loss/generator": 5}',
        '{"step": NaN, "loss/generator": 5}',
        '{"step": 1e999, "loss/generator": 5}',
        "[1, 2]", "null", "[" * 100_000, '{"step": 500, "loss/gen',
        '{"step": -5, "loss/generator": true, "findings": ["odd", 3], "text": ["x"]}',
        '{"step": 470, "findings": ["nonfinite"], "text": "a number was not finite"}',
    ]  # fmt: skip
    with open(run / "metrics.jsonl", "ab") as file:
        file.write("\n".join(senseless).encode() + b"\n\xff\xfe\n")
    page = opened(write_run_report(run))
    assert "nonfinite" in page.text
    assert "a number was not finite" in page.text
    curve = re.search(r'"name": "G", "points": (\[\[.*?\]\])', (run / "report.html").read_text())
    assert curve is not None
    assert [50, 0.8] in json.loads(curve[1])
    assert not re.search("NaN|Infinity", curve[1])


@pytest.mark.parametrize(
    "record",
    [
        {"config": []},
        {"config": {"regularizer": 3, "dataset": [], "architecture": {"generator": 1}, "name": {"a": 1}}},
        {"ended": "x", "findings": "y", "data": 3, "packages": [], "git": 5, "threads": {}, "resumed": 7},
        {"ended": {"status": ["x"], "step": 1e400, "total_steps": "many", "seconds": -1}},
        {"findings": [3, {"name": 5, "since": "x"}, {"since": 10**400, "name": "x" * 100_000}]},
        {"config": {"seed": 10**5000, "deep": json.loads("[" * 500 + "]" * 500)}},
        {"command": ["a"], "started": 5, "brought_along": "all"},
    ],
)
def test_a_record_that_no_run_wrote_does_no_harm(tmp_path: Path, record: dict[str, Any]) -> None:
    sys.set_int_max_str_digits(0)
    try:
        run = write_run(tmp_path / "run", **record)
    finally:
        sys.set_int_max_str_digits(4300)
    page = opened(write_run_report(run))
    assert len(page.all("img")) == 2
    assert len(page.text) < 20_000


def test_many_large_grids_stay_below_the_limit(tmp_path: Path) -> None:
    """Noise, which no format makes smaller: 90 grids of 600 kB in their files."""
    run = write_run(tmp_path / "run", grids=())
    noise = Image.effect_noise((500, 400), 100)
    grid = Image.merge("RGB", [noise, noise.transpose(Image.Transpose.ROTATE_180), noise])
    grid.save(run / "samples" / "real.png", compress_level=0)
    for step in range(90):
        (run / "samples" / f"step_{step:08d}.png").hardlink_to(run / "samples" / "real.png")
    assert (run / "samples" / "real.png").stat().st_size > 500_000
    path = write_run_report(run)
    assert 3_000_000 < path.stat().st_size <= LARGEST_PAGE
    frames = json.loads(re.search(r'class="frames">(.*?)</script>', path.read_text()).group(1))  # type: ignore[union-attr]
    assert len(frames["steps"]) == 60
    assert (frames["steps"][0], frames["steps"][-1]) == (0, 89)


@pytest.mark.parametrize(("words", "budget"), [(1_000_000, 11_000_000), (5_000_000, 4_000_000), (12_000_000, 0)])
def test_pictures_get_what_words_leave(words: int, budget: int) -> None:
    page = pages.fit_page_size(lambda pictures: "x" * (words + pictures))
    assert len(page) == words + budget <= LARGEST_PAGE


def test_a_page_of_somebody_else_stays(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / "report.html").write_text("<html>my notes</html>")
    assert write_run_report(run) == run / "report-2.html"
    assert write_run_report(run) == run / "report-2.html"
    assert (run / "report.html").read_text() == "<html>my notes</html>"
    (run / "report.html").unlink()
    (run / "report.html").symlink_to(tmp_path / "nowhere")
    assert write_run_report(run) == run / "report-2.html"
    assert sorted(path.name for path in run.iterdir() if path.name.startswith(".")) == []


def test_links_are_right_from_another_folder(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a b" / "javascript:alert(1)")
    path = tmp_path / "elsewhere.html"
    assert run_command("report", [str(run), f"out={path}"]) == 0
    addresses = [link["href"] or "" for link in opened(path).all("a")]
    assert "./a%20b/javascript%3Aalert%281%29/metrics.jsonl" in addresses


# --- a sweep -----------------------------------------------------------------------------------------------------


def test_what_the_report_of_a_sweep_tells(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "sweep_1")
    write_run_report(sweep / "0")
    page = opened(write_sweep_report(sweep))
    for words in (
        "sweep_1", "ranked by frechet-classifier, lower is better", "loss=hinge: frechet-classifier 3 (2 to 4.5)",
        "gan-train dataset=shapes loss=hinge seed=1", "mode_collapse", "killed by SIGKILL", "2 of 3", "0 of 3",
        "9, 4 failed or did not finish", "gan-train -m dataset=shapes", "losses",
    ):  # fmt: skip
        assert words in page.text, words
    assert len(page.all("img")) == 2  # a grid of each row that has one
    addresses = [link["href"] for link in page.all("a")]
    assert {"./0/report.html", "./1", "./leaderboard.json"} <= {*addresses}
    assert len([svg for svg in page.all("svg") if svg.get("class") == "spread"]) == 2


def test_a_leaderboard_leads_nowhere_else(tmp_path: Path) -> None:
    """Images and curves of folders that are not the sweep's own are not taken into a page that one may send."""
    write_run(tmp_path / "secret")
    sweep = write_sweep(tmp_path / "sweep")
    board = json.loads((sweep / "leaderboard.json").read_text())
    (sweep / "there").symlink_to(tmp_path / "secret")
    for row in board["rows"]:
        row["folders"] = ["../secret", str(tmp_path / "secret"), "there", "", "a\0b", 3, "nowhere"]
    (sweep / "leaderboard.json").write_text(json.dumps(board))
    page = opened(write_sweep_report(sweep))
    assert page.all("img") == []
    assert "secret" not in " ".join(link["href"] or "" for link in page.all("a"))


@pytest.mark.parametrize(
    "changed",
    [
        {"rows": []},
        {"rows": [3, None, {}, {"config": 3, "values": "x", "interval": [1], "mean": "1", "failures": [4]}]},
        {"metric": None},
        {"metric": 7, "better": [], "command": {}, "varied": 3},
    ],
)
def test_a_leaderboard_of_another_form_does_no_harm(tmp_path: Path, changed: dict[str, Any]) -> None:
    assert "Leaderboard" in opened(write_sweep_report(write_sweep(tmp_path / "sweep", **changed))).text


def test_a_sweep_without_a_leaderboard_has_a_row_for_each_job(tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    for job, status in enumerate(("done", "failed")):
        write_run(sweep / str(job))
        outcome = {
            "job": job, "varied": f"loss=hinge seed={job + 1}", "overrides": f"loss=hinge seed={job + 1}",
            "status": status, "reason": "killed by SIGKILL" * job, "findings": "", "seconds": 3.0,
        }  # fmt: skip
        (sweep / str(job) / "outcome.json").write_text(json.dumps(outcome))
    page = opened(write_sweep_report(sweep))
    assert len(page.all("tr")) == 1 + 2 + 2
    assert "killed by SIGKILL" in page.text


# --- at the end of a run, and the command ------------------------------------------------------------------------


def test_every_run_ends_with_a_report(train: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    run = train(*TINY_IMAGES, "steps=4")
    assert capsys.readouterr().out.count(f"report: {run.relative_to(Path.cwd())}/report.html\n") == 1
    page = opened(run / "report.html")
    assert "4" in page.text
    assert len(page.all("img")) == 2
    assert (run / "report.html").stat().st_size < 500_000


def test_a_run_that_diverged_has_a_report_too(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant_nan(monkeypatch, after_step=3)
    assert run_command("train", [*TINY_IMAGES, "steps=6", "name=nan"]) == 4
    page = opened(next(here.glob("outputs/nan/*/report.html")))
    assert "diverged" in page.text
    assert "nonfinite" in page.text


def test_a_report_that_cannot_be_written_ends_no_run(
    train: Callable[..., Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(run: Path) -> Path:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(finish, "write_run_report", refuse)
    run = train(*TINY_IMAGES, "steps=1")
    assert "warning: the report was not written (a bug)" in capsys.readouterr().out
    assert not (run / "report.html").exists()


def test_a_dry_run_leaves_none(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("train", [*TINY_IMAGES, "dry_run=true"]) == 0
    assert "report:" not in capsys.readouterr().out
    assert list(here.iterdir()) == []


def test_the_command_finds_runs_and_sweeps(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for stamp in ("2026-01-01_000000", "2026-01-02_000000"):
        write_run(here / "outputs" / "demo" / stamp)
    assert run_command("report", ["outputs/demo/2026-01-01_000000"]) == 0
    assert capsys.readouterr().out == "report: outputs/demo/2026-01-01_000000/report.html\n"
    assert run_command("report", ["outputs/demo"]) == 0
    assert capsys.readouterr().out == "report: outputs/demo/2026-01-02_000000/report.html\n"
    sweep = write_sweep(here / "outputs" / "other" / "sweep_2026-01-01_000000")
    assert run_command("report", ["outputs/other", "outputs/demo"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "report: outputs/other/sweep_2026-01-01_000000/report.html",
        "report: outputs/demo/2026-01-02_000000/report.html",
    ]
    assert sorted(path.parent.name for path in sweep.glob("*/report.html")) == ["0", "1", "2", "4", "5"]
    addresses = {link["href"] for link in opened(sweep / "report.html").all("a")}
    assert "./4/report.html" in addresses
    for count in (9, 10):
        write_sweep(here / "outputs" / "other" / f"sweep_2026-01-01_000000-{count}")
    assert run_command("report", ["outputs/other"]) == 0
    assert capsys.readouterr().out == "report: outputs/other/sweep_2026-01-01_000000-10/report.html\n"
    assert run_command("report", ["outputs/demo", "out=new/it's.html"]) == 0
    assert (here / "new" / "it's.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "no run is given"),
        (["nowhere"], 2, "nowhere: no run there"),
        (["empty"], 2, "empty: no run there"),
        (["run", "other", "run", "out=x.html"], 2, "out=x.html: is one file, but 2 folders are given"),
        (["run", "out=notes.html"], 2, "out=notes.html: notes.html is there already; give another name, or overwrite"),
        (["run", "out=page.pdf"], 2, "out=page.pdf: gan-report writes a file that ends in .html, not .pdf"),
        (["run", "out=notes.html/x.html"], 5, "notes.html"),
    ],
)
def test_mistakes_are_told_in_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, words: str
) -> None:
    write_run(here / "run")
    write_run(here / "other")
    (here / "empty").mkdir()
    (here / "notes.html").write_text("mine")
    assert run_command("report", arguments) == code
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert (here / "notes.html").read_text() == "mine"
    assert not (here / "run" / "report.html").exists()


def test_a_folder_that_cannot_be_written_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_run(tmp_path / "run")

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pages.os, "replace", full)
    with pytest.raises(StorageError, match=r"report\.html: cannot be written"):
        write_run_report(run)
    assert not list(run.glob(".*"))


def test_two_processes_may_write_one_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one is done while this one has yet to give its page the name."""
    run = write_run(tmp_path / "run")
    replace, pid = os.replace, os.getpid()

    def after_the_other(temporary: Path, path: Path) -> None:
        monkeypatch.setattr(pages.os, "replace", replace)
        monkeypatch.setattr(pages.os, "getpid", lambda: pid + 1)
        pages.write_page(b"other", path)
        replace(temporary, path)

    monkeypatch.setattr(pages.os, "replace", after_the_other)
    assert "Losses" in opened(write_run_report(run)).text
    assert not list(run.glob(".*"))


def test_reports_need_no_torch_and_templates_no_start(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    code = (
        "import sys; from pathlib import Path; from gan_cli.reports.write_report import write_run_report;"
        "assert 'jinja2' not in sys.modules;"
        f"write_run_report(Path({str(run)!r}));"
        "assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_folder_receives_pages_under_names_that_nothing_has(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(here / "run")
    for _ in range(2):
        assert run_command("report", ["run", "out=pages"]) == 0
    assert capsys.readouterr().out == "report: pages/report.html\nreport: pages/report-2.html\n"
    assert run_command("report", ["run", "out=pages/report.html", "overwrite=true"]) == 0
