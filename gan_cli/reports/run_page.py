"""Collects what the report of a run shows from its folder. Missing and invalid files are left out."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from rich import filesize

from gan_cli.config import recipes, train_config
from gan_cli.config.compose import compose_command, compose_default
from gan_cli.config.options.datasets import PointOptions
from gan_cli.config.options.published_datasets import DATASET_OPTIONS
from gan_cli.config.options.tasks import GIVEN_IMAGE, RESULTS_SHOWN, WITH_IMAGE, WITH_MASK, example_options
from gan_cli.config.options.untrusted_files import NEEDED, words_to_name
from gan_cli.config.validation import format_value
from gan_cli.errors import count_noun
from gan_cli.image_labels.shown_classes import describe_shown, shown_columns
from gan_cli.images.animation import list_grids
from gan_cli.reports.charts import (
    health_charts,
    logged_lines,
    sample_metric_charts,
    sample_metric_keys,
    training_charts,
)
from gan_cli.reports.curves import Scale, percent, steps_scale
from gan_cli.reports.embedded_images import embed_frames, embed_image
from gan_cli.reports.evaluation_table import read_newest_evaluation
from gan_cli.reports.html_page import fit_page_size, render
from gan_cli.reports.safe_values import empty_on_error, format_duration, format_number, link, none_on_error
from gan_cli.runs.best_metrics import read_best_metrics
from gan_cli.storage.evaluation_file import EVALUATIONS
from gan_cli.storage.json_files import text
from gan_cli.storage.run_folder import CHECKPOINTS, LOG, METRICS, RECORD, SAMPLES
from gan_cli.storage.run_record import RecordedFinding, RunRecord, load_record

MOST_FINDINGS, MOST_CONFIG, MOST_LINKS = 30, 1000, 60
# The last grid, the real samples and the image of pairs: largest side in pixels, and share of the budget of each.
STILL_SIDE, STILL_SHARE = 1600, 0.1
GIVEN, IMPLIED, AUTOMATIC = "given", "implied by another setting", "chosen at the start of the run"
RATE, RATES = "optimizer.lr", ("optimizer.generator.lr", "optimizer.discriminator.lr")
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


def build_run_page(run: Path, home: Path) -> bytes:
    """Returns the HTML page of a run. Its links are relative to the folder `home`."""
    record, lines = load_record(run), logged_lines(run)
    values = none_on_error(lambda: _values(run, home, record, lines)) or _values(run, home, RunRecord(), [])
    pairs = values["evaluation"].pairs if values["evaluation"] is not None else None

    def build(budget: int) -> str:
        still = int(STILL_SHARE * budget)
        grids = list_grids(run, record.step) if budget else []
        frames = embed_frames(grids, budget - 3 * still)
        last = [embed_image(path, still, STILL_SIDE, step) for step, path in grids[-1:]]
        images = {
            "real": embed_image(run / SAMPLES / "real.png", still, STILL_SIDE),
            "last": last[0] if last else None,
            "frames": frames if len(frames) > 1 else [],
            "frame_steps": [frame.step for frame in frames],
            "pairs": embed_image(pairs, still, STILL_SIDE) if pairs is not None else None,
        }
        return render("run.html.jinja", values | images)

    return fit_page_size(build)


def _values(run: Path, home: Path, record: RunRecord, lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    done = record.step or max((line["step"] for line in lines), default=0)
    steps = steps_scale([done, *(line["step"] for line in lines[-1:])])
    options = DATASET_OPTIONS.get(record.dataset)
    return {
        "title": _title(run, record),
        "folder": text(str(run), 300),
        "status": record.status or "not ended",
        "facts": [*_facts(record, done), *empty_on_error(lambda: _best(run))],
        "tiles": empty_on_error(lambda: _tiles(lines, run)),
        "classes": [record.classes[column] for column in shown_columns(record.classes)],
        "shown_classes": describe_shown(record.classes),
        "columns": _columns(record),
        "points": options is not None and issubclass(options, PointOptions),
        "marks": _findings(record, lines, steps),
        "training": empty_on_error(lambda: training_charts(lines, steps)),
        "quality": empty_on_error(lambda: sample_metric_charts(lines, steps)),
        "health": empty_on_error(lambda: health_charts(lines, steps)),
        "evaluation": none_on_error(lambda: read_newest_evaluation(run)),
        "changed": empty_on_error(lambda: _changed(record)),
        "config": empty_on_error(lambda: [_row(*leaf) for leaf in train_config.flatten(record.config)])[:MOST_CONFIG],
        "environment": _environment(record),
        "commands": _commands(run, record),
        "links": empty_on_error(lambda: _links(run, home)),
    }


def _title(run: Path, record: RunRecord) -> str:
    """Returns the name of the run as `Config.run_name` does, but from a config that may be invalid."""
    task = record.task if record.task in WITH_IMAGE else ""
    options = "-".join(name for name in (record.dataset, task, record.generator, record.loss) if name)
    return record.name or options or text(run.absolute().name, 100)


def _columns(record: RunRecord) -> list[str]:
    """Returns what each column of the grids shows, for a task whose condition has an image."""
    if record.task not in WITH_IMAGE:
        return []
    given = [GIVEN_IMAGE[record.task], *(["mask"] if record.task in WITH_MASK else [])]
    results = [f"result of seed {seed}" for seed in range(RESULTS_SHOWN)] if record.latent_dim else ["result"]
    return [*given, *results, "true image"]


def _facts(record: RunRecord, done: float) -> list[Row]:
    total = record.total_steps
    of_all = f" of {format_number(total)}" if total is not None and total != done else ""
    samples = count_noun(record.samples, "sample") if record.samples is not None else ""
    on = f", {count_noun(record.threads, 'thread')}" if record.threads else ""
    return [
        Row("steps", f"{done:,.0f}{of_all}"),
        Row("time", format_duration(record.seconds)),
        Row("data", ", ".join(part for part in (record.dataset, samples) if part)),
        Row("device", f"{record.device}{on}" if record.device else ""),
        Row("seed", record.seed),
        Row("started", record.started[:16].replace("T", " ")),
        Row("from", record.source, note="" if record.complete else "warning"),
    ]


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
    names = {"modes/share": "samples at a mode", "accuracy/class": "of the requested class"}
    tiles = []
    for key in [key for key in sample_metric_keys(lines) if key in metrics][:6]:
        value = metrics[key]
        if key == "modes/covered" and metrics.get("modes/possible"):
            tiles.append(Row("modes covered", f"{value:.0f} of {metrics['modes/possible']:.0f}"))
        elif key in names:
            tiles.append(Row(names[key], f"{100 * value:.1f} %"))
        else:
            tiles.append(Row(key.replace("modes/reverse_kl", "reverse KL of modes"), format_number(value)))
    return tiles


def _findings(
    record: RunRecord, lines: Iterable[Mapping[str, Any]], steps: Scale
) -> list[tuple[RecordedFinding, float]]:
    """Returns the findings in the record, and those in `metrics.jsonl` that a killed run did not put in the record.

    With each comes its position in the charts, in per cent.
    """
    found = {(each.name, each.since): each for each in record.findings}
    names = {"", *(name for name, _ in found)}
    for line in lines:
        for name in line.get("findings", ()):
            finding = RecordedFinding(name=name, since=int(line["step"]), text=line.get("text", ""))
            if finding.name not in names:
                found[finding.name, finding.since] = finding
                names.add(finding.name)
    marks = sorted((each for each in found.values() if each.name), key=attrgetter("since"))
    return [(each, percent(min(max(steps.position(each.since), 0.0), 1.0))) for each in marks[:MOST_FINDINGS]]


def _changed(record: RunRecord) -> list[Row]:
    """Returns the settings that differ from the defaults: first the given ones, then implied, then automatic ones.

    The learning rate of a network is left out if it is `optimizer.lr`.
    """
    default = train_config.to_dict(train_config.parse_unvalidated(compose_default("train")))
    before = dict(train_config.flatten(default))
    penalties, usual = _penalties(record.penalties), _penalties(default["regularizer"])
    rows = [Row("regularizer", penalties, usual)] if penalties != usual else []
    values, of_task = dict(train_config.flatten(record.config)), _settings_of(record.task)
    by_task = f"set by task={record.task}"
    for key, value in values.items():
        follows = key in RATES and value == values.get(RATE) and f"{key}=" not in record.command
        if key in NOT_SHOWN or follows or (key in before and before[key] == value):
            continue
        is_new = key not in before and f"{key}=" not in record.command  # a key of the given option alone
        may_be_automatic = key in (*train_config.AUTO_KEYS, *train_config.RECORDED_KEYS)
        is_automatic = may_be_automatic and before.get(key) in ("auto", None)
        if (key in of_task and of_task[key] == record.implied.get(key)) or (is_new and key.startswith("task.")):
            note = by_task
        else:
            note = IMPLIED if key in record.implied else AUTOMATIC if is_automatic else IMPLIED if is_new else GIVEN
        rows.append(_row(key, value, format_value(before[key]) if key in before else "", note))
    return sorted(rows, key=lambda row: ("", GIVEN, by_task, IMPLIED, AUTOMATIC).index(row.note))[:MOST_CONFIG]


def _settings_of(task: str) -> dict[str, Any]:
    """Returns the settings that `task=...` changes, with their values."""
    if task not in WITH_IMAGE:
        return {}
    return compose_command("train", [f"task={task}"], recipes.NONE).implied


def _row(key: str, value: Any, before: str = "", note: str = "") -> Row:
    return Row(text(key, 100), text(format_value(value)) or "…", before, note)


def _penalties(section: Mapping[str, Any]) -> str:
    return text("[" + ",".join(section) + "]").replace("[]", "none")


def _environment(record: RunRecord) -> list[Row]:
    changed = ", changed since" if record.uncommitted else ""
    return [
        Row("gan-cli", record.gan_cli),
        Row("commit", f"{record.commit}{changed}" if record.commit else ""),
        Row("Python", record.python),
        *(Row(name, version) for name, version in record.packages.items()),
        Row("platform", record.platform),
        Row("device", record.device),
        Row("threads", text(record.threads)),
        Row("started in folder", text(record.directory, 300)),
        Row("data fingerprint", text(record.fingerprint)),
        Row("weights from", record.init_from),
        *(Row(f"resumed at step {each.step}", each.when) for each in record.resumed[:20]),
    ]


def _commands(run: Path, record: RunRecord) -> list[Row]:
    words = {key: text(word, 1000) for key, word in words_to_name(record.config).items() if key in NEEDED}
    plugins = [word for key, word in words.items() if key == "plugins"]
    sample = shlex.join([f"ckpt={text(str(run), 1000)}", *plugins])
    resume = shlex.join([f"resume={text(str(run), 1000)}", *words.values()])
    stopped = record.status not in ("done", "")
    options = example_options(record.task) if record.task in WITH_IMAGE else "n=64"
    return [
        Row("Repeat", text(record.command, 4000)),
        Row("Generate samples", f"gan-sample {sample} {options}"),
        Row("Resume", f"gan-train {resume}" if stopped else f"gan-train {resume} extra_steps=1000"),
    ]


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
    files = (run / CHECKPOINTS).glob("*.safetensors")
    checkpoints = sorted(files, key=lambda path: (path.name.startswith("step_"), path.name))
    evaluations = sorted(path for path in (run / EVALUATIONS).glob("*") if not path.name.startswith("."))
    found = [(path, filesize.decimal(path.stat().st_size)) for path in checkpoints if path.is_file()]
    found += [(run / name, note) for name, note in named.items() if (run / name).exists()]
    found += [(path, "result of gan-eval") for path in evaluations]
    return [
        Link(link(path, home), text(path.relative_to(run).as_posix(), 120) + ("/" if path.is_dir() else ""), note)
        for path, note in found[:MOST_LINKS]
    ]
