"""Collects what the report of a run shows from its folder. Missing and invalid files are left out."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gan_cli.config import train_config
from gan_cli.config.compose import compose_default
from gan_cli.config.metric_names import EVALUATIONS
from gan_cli.config.options import DATASET_OPTIONS
from gan_cli.config.options.datasets import PointOptions
from gan_cli.config.validation import format_value
from gan_cli.errors import count_noun
from gan_cli.reports.charts import health_charts, sample_metric_charts, sample_metric_keys, training_charts
from gan_cli.reports.curves import Scale, percent, steps_scale
from gan_cli.reports.embedded_images import EmbeddedImage, embed_frames, embed_image, list_grids
from gan_cli.reports.evaluation_table import read_newest_evaluation
from gan_cli.reports.html_page import fit_page_size, render
from gan_cli.reports.safe_values import (
    as_int,
    as_list,
    as_mapping,
    empty_on_error,
    format_duration,
    format_number,
    format_size,
    link,
    none_on_error,
    number,
    read_json,
    text,
)
from gan_cli.runs.best_metrics import read_best_metrics
from gan_cli.runs.log import read_metrics
from gan_cli.storage.run_folder import CHECKPOINTS, LOG, METRICS, RECORD, SAMPLES

MOST_CLASSES = 32  # rows of a grid
MOST_FINDINGS, MOST_CONFIG, MOST_LINKS = 30, 1000, 60
# The last grid, the real samples and the image of pairs: largest side in pixels, and share of the budget each.
STILL_SIDE, STILL_SHARE = 1600, 0.1
AUTOMATIC = "chosen at the start of the run"
NOT_SHOWN = ("output", "resume", "extra_steps", "dry_run")


class Row(NamedTuple):
    name: str
    value: str
    before: str = ""
    note: str = ""


class Link(NamedTuple):
    address: str
    name: str
    note: str = ""


class FindingMark(NamedTuple):
    """A finding of the health monitor, and its position in the charts, in per cent."""

    name: str
    since: int
    text: str
    position: float


def build_run_page(run: Path, home: Path) -> bytes:
    """Returns the HTML page of a run. Its links are relative to the folder `home`."""
    record = as_mapping(read_json(run / RECORD))
    lines = empty_on_error(lambda: [line for line in read_metrics(run) if "step" in line])
    lines.sort(key=lambda line: line["step"])
    values = none_on_error(lambda: _values(run, home, record, lines)) or _bare(run, home)

    def build(budget: int) -> str:
        real, last, frames = _embed_images(run, _last_step(record), budget)
        pairs = values["evaluation"].pairs if values["evaluation"] is not None else None
        images = {
            "real": real,
            "last": last,
            "frames": frames,
            "frame_steps": [frame.step for frame in frames],
            "pairs": embed_image(pairs, int(STILL_SHARE * budget), STILL_SIDE) if pairs is not None else None,
        }
        return render("run.html.jinja", values | images)

    return fit_page_size(build)


def _bare(run: Path, home: Path) -> dict[str, Any]:
    """Returns the values for the page of a run whose record is invalid."""
    return _values(run, home, {}, [])


def _values(run: Path, home: Path, record: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    config, ended = as_mapping(record.get("config")), as_mapping(record.get("ended"))
    done = number(ended.get("step")) or max((line["step"] for line in lines), default=0)
    steps = steps_scale([done, *(line["step"] for line in lines[-1:])])
    marks = findings_of(record, lines, steps)
    return {
        "title": title_of(run, config),
        "folder": text(str(run), 300),
        "status": text(ended.get("status"), 30) or "not ended",
        "facts": [*_facts(record, config, ended, done), *empty_on_error(lambda: _best(run))],
        "tiles": empty_on_error(lambda: _tiles(lines, run)),
        "classes": [text(name, 40) for name in as_list(as_mapping(config.get("conditioning")).get("classes"))][
            :MOST_CLASSES
        ],
        "points": _of_points(config),
        "marks": marks,
        "training": empty_on_error(lambda: training_charts(lines, steps)),
        "quality": empty_on_error(lambda: sample_metric_charts(lines, steps)),
        "health": empty_on_error(lambda: health_charts(lines, steps)),
        "evaluation": none_on_error(lambda: read_newest_evaluation(run)),
        "changed": empty_on_error(lambda: _changed(config, record)),
        "config": empty_on_error(lambda: _all_settings(config)),
        "environment": empty_on_error(lambda: _environment(record)),
        "commands": _commands(run, record, ended),
        "links": empty_on_error(lambda: _links(run, home)),
    }


def title_of(run: Path, config: Mapping[str, Any]) -> str:
    """Returns the name of the run as `Config.run_name` does, but from a config that may be invalid."""
    parts = [as_mapping(config.get("dataset")), as_mapping(as_mapping(config.get("architecture")).get("generator"))]
    names = [text(part.get("name"), 60) for part in (*parts, as_mapping(config.get("loss")))]
    return text(config.get("name"), 100) or "-".join(name for name in names if name) or text(run.absolute().name, 100)


def _of_points(config: Mapping[str, Any]) -> bool:
    options = DATASET_OPTIONS.get(text(as_mapping(config.get("dataset")).get("name")))
    return options is not None and issubclass(options, PointOptions)


def _last_step(record: Mapping[str, Any]) -> float | None:
    return number(as_mapping(record.get("ended")).get("step"))


def _facts(record: Mapping[str, Any], config: Mapping[str, Any], ended: Mapping[str, Any], done: float) -> list[Row]:
    data, total = as_mapping(record.get("data")), number(ended.get("total_steps"))
    of_all = f" of {format_number(total)}" if total is not None and total != done else ""
    count = as_int(data.get("samples"))
    samples = count_noun(count, "sample") if count is not None else ""
    threads = as_int(record.get("threads"))
    on = f", {threads} thread{'' if threads == 1 else 's'}" if threads else ""
    found = [
        Row("steps", f"{done:,.0f}{of_all}"),
        Row("time", format_duration(number(ended.get("seconds")))),
        Row(
            "data",
            ", ".join(part for part in (text(as_mapping(config.get("dataset")).get("name"), 60), samples) if part),
        ),
        Row("device", f"{text(record.get('device'), 80)}{on}" if record.get("device") else ""),
        Row("seed", text(config.get("seed"), 30)),
        Row("started", text(record.get("started"), 40)[:16].replace("T", " ")),
        Row("from", text(data.get("source"), 300), note="" if data.get("complete", True) else "warning"),
    ]
    return [row for row in found if row.value]


def _best(run: Path) -> list[Row]:
    """Returns a row about the best checkpoint, or no row if the page shows the metrics of the last checkpoint."""
    chosen = read_best_metrics(run)
    if chosen.best is None:
        return []
    step, value = chosen.metrics["step"], chosen.metrics[chosen.best]
    return [Row("best", f"step {step:,.0f}, {text(chosen.best)} {format_number(value)}")]


def _tiles(lines: Sequence[Mapping[str, Any]], run: Path) -> list[Row]:
    """Returns the metrics for the top of the page: those of the best checkpoint, else the last ones."""
    metrics = read_best_metrics(run).metrics
    tiles = []
    for key in [key for key in sample_metric_keys(lines) if key in metrics][:6]:
        value = metrics[key]
        if key == "modes/covered" and metrics.get("modes/possible"):
            tiles.append(Row("modes covered", f"{value:.0f} of {metrics['modes/possible']:.0f}"))
        elif key in ("modes/share", "accuracy/class"):
            name = "samples at a mode" if key == "modes/share" else "of the requested class"
            tiles.append(Row(name, f"{100 * value:.1f} %"))
        else:
            tiles.append(Row(key.replace("modes/reverse_kl", "reverse KL of modes"), format_number(value)))
    return tiles


def findings_of(record: Mapping[str, Any], lines: Iterable[Mapping[str, Any]], steps: Scale) -> list[FindingMark]:
    """Returns the findings in the record, and those in `metrics.jsonl` that a killed run did not put in the record."""
    found: dict[tuple[str, int], str] = {}
    for each in map(as_mapping, as_list(record.get("findings"))):
        found[text(each.get("name"), 60), as_int(each.get("since")) or 0] = text(each.get("text"), 600)
    names = {name for name, _ in found}
    for line in lines:
        for name in as_list(line.get("findings")):
            if text(name, 60) not in names:
                found[text(name, 60), as_int(line["step"]) or 0] = text(line.get("text"), 600)
                names.add(text(name, 60))
    marks = [
        FindingMark(name, since, sentence, percent(min(max(steps.position(since), 0.0), 1.0)))
        for (name, since), sentence in sorted(found.items(), key=lambda item: item[0][1])
        if name
    ]
    return marks[:MOST_FINDINGS]


def _embed_images(
    run: Path, last: float | None, budget: int
) -> tuple[EmbeddedImage | None, EmbeddedImage | None, list[EmbeddedImage]]:
    """Returns the image of real samples, the last grid, and the grids during training."""
    if not budget:
        return None, None, []
    still = int(STILL_SHARE * budget)
    grids = list_grids(run, last)
    real = embed_image(run / SAMPLES / "real.png", still, STILL_SIDE)
    final = embed_image(grids[-1][1], still, STILL_SIDE) if grids else None
    frames = embed_frames(grids, budget - 3 * still)
    if final is not None:
        final = EmbeddedImage(final.uri, final.width, final.height, grids[-1][0])
    return real, final, frames if len(frames) > 1 else []


def _changed(config: Mapping[str, Any], record: Mapping[str, Any]) -> list[Row]:
    """Returns the settings that differ from the defaults: first the given ones, then implied, then automatic ones."""
    default = train_config.to_dict(train_config.parse_unvalidated(compose_default("train")))
    recorded = as_mapping(record.get("brought_along"))
    before, command = dict(train_config.flatten(default)), str(record.get("command"))
    given, implied, automatic = [], [], []
    penalties, usual = _penalties(config), _penalties(default)
    if penalties != usual:
        given.append(Row("regularizer", penalties, usual))
    for key, value in train_config.flatten(config):
        if key in NOT_SHOWN or (key in before and before[key] == value):
            continue
        old = format_value(before[key]) if key in before else ""
        if (
            key in (*train_config.AUTO_KEYS, train_config.RECORDED_KEY)
            and key not in recorded
            and before.get(key) in ("auto", None)
        ):
            automatic.append(_row(key, value, old, AUTOMATIC))
        elif key in recorded or (key not in before and f"{key}=" not in command):  # a key of the given option alone
            implied.append(_row(key, value, old, "implied by another setting"))
        else:
            given.append(_row(key, value, old, "given"))
    return [*given, *implied, *automatic][:MOST_CONFIG]


def _row(key: str, value: Any, before: str = "", note: str = "") -> Row:
    return Row(text(key, 100), text(format_value(value)) or "…", before, note)


def _penalties(config: Mapping[str, Any]) -> str:
    return text("[" + ",".join(map(str, as_mapping(config.get("regularizer")))) + "]").replace("[]", "none")


def _all_settings(config: Mapping[str, Any]) -> list[Row]:
    return [_row(key, value) for key, value in train_config.flatten(config)][:MOST_CONFIG]


def _environment(record: Mapping[str, Any]) -> list[Row]:
    git, data = as_mapping(record.get("git")), as_mapping(record.get("data"))
    changed = ", changed since" if git.get("changed") else ""
    commit = text(git.get("commit"), 60)
    found = [
        Row("gan-cli", text(record.get("gan_cli"), 40)),
        Row("commit", f"{commit}{changed}" if commit else ""),
        Row("Python", text(record.get("python"), 40)),
        *(
            Row(text(name, 60), text(version, 60))
            for name, version in list(as_mapping(record.get("packages")).items())[:40]
        ),
        Row("platform", text(record.get("platform"))),
        Row("device", text(record.get("device"))),
        Row("threads", text(record.get("threads"), 20)),
        Row("started in folder", text(record.get("directory"), 300)),
        Row("data fingerprint", text(data.get("fingerprint"), 100)),
        Row("weights from", text(record.get("init_from"), 300)),
    ]
    for each in map(as_mapping, as_list(record.get("resumed"))[:20]):
        found.append(Row(f"resumed at step {text(each.get('step'), 20)}", text(each.get("when"), 40)))
    return [row for row in found if row.value]


def _commands(run: Path, record: Mapping[str, Any], ended: Mapping[str, Any]) -> list[Row]:
    command = text(record.get("command"), 4000)
    sample, resume = (shlex.quote(f"{key}={text(str(run), 1000)}") for key in ("ckpt", "resume"))
    stopped = ended.get("status") not in ("done", None)
    found = [
        Row("Repeat", command),
        Row("Generate samples", f"gan-sample {sample} n=64"),
        Row("Resume", f"gan-train {resume}" if stopped else f"gan-train {resume} extra_steps=1000"),
    ]
    return [row for row in found if row.value]


def _links(run: Path, home: Path) -> list[Link]:
    """Returns links to the existing files of the run, relative to the folder `home` of the page."""
    named = {
        METRICS: "metrics of training",
        LOG: "log",
        RECORD: "config and environment",
        "progress.webp": "the grids as an animation",
        SAMPLES: "all grids",
        "generated": "samples of gan-sample",
        "exported": "files of gan-export",
    }
    checkpoints = sorted(
        (run / CHECKPOINTS).glob("*.safetensors"), key=lambda path: (path.name[:5] == "step_", path.name)
    )
    evaluations = sorted(path for path in (run / EVALUATIONS).glob("*") if not path.name.startswith("."))
    found = [(path, format_size(path.stat().st_size)) for path in checkpoints if path.is_file()]
    found += [(run / name, note) for name, note in named.items() if (run / name).exists()]
    found += [(path, "result of gan-eval") for path in evaluations]
    return [
        Link(link(path, home), text(path.relative_to(run).as_posix(), 120) + ("/" if path.is_dir() else ""), note)
        for path, note in found[:MOST_LINKS]
    ]
