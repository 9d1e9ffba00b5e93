"""What the page of a run shows, read from its folder. Whatever is missing or odd there is left out."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gan_cli.config import train_config
from gan_cli.config.compose import compose_default
from gan_cli.config.metric_names import EVALUATIONS
from gan_cli.config.options import DATASETS
from gan_cli.config.options.datasets import PointOptions
from gan_cli.config.schema import shown
from gan_cli.errors import counted
from gan_cli.reports.charts import quality_charts, quality_keys, training_charts, vital_charts
from gan_cli.reports.curves import Scale, percent, steps_scale
from gan_cli.reports.frames import Picture, embed_frames, embed_picture, grids_of
from gan_cli.reports.judged import judged_of
from gan_cli.reports.page import fit, render
from gan_cli.reports.reading import (
    duration,
    figure,
    link,
    listed,
    mapping,
    number,
    or_empty,
    or_none,
    read_json,
    size,
    text,
    whole,
)
from gan_cli.runs.best_metrics import chosen_figures
from gan_cli.runs.log import read_metrics
from gan_cli.storage.run_folder import CHECKPOINTS, LOG, METRICS, RECORD, SAMPLES

MOST_CLASSES = 32  # rows of a grid
MOST_FINDINGS, MOST_CONFIG, MOST_LINKS = 30, 1000, 60
STILL_SIDE, STILL_SHARE = (
    1600,
    0.1,
)  # of the last grid, the real ones and a page of pairs: pixels, and share of the budget
SETTLED = "settled when the run started"
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


class Mark(NamedTuple):
    """A finding of the health watch, and where it stands in a chart, in per cent."""

    name: str
    since: int
    text: str
    place: float


def build_run_page(run: Path, home: Path) -> bytes:
    """The page of a run's folder, its links as seen from the folder `home`."""
    record = mapping(read_json(run / RECORD))
    lines = or_empty(lambda: [line for line in read_metrics(run) if "step" in line])
    lines.sort(key=lambda line: line["step"])
    values = or_none(lambda: _values(run, home, record, lines)) or _bare(run, home)

    def build(budget: int) -> str:
        real, last, frames = _pictures(run, _last_step(record), budget)
        pairs = values["judged"].pairs if values["judged"] is not None else None
        shown = {
            "real": real,
            "last": last,
            "frames": frames,
            "frame_steps": [frame.step for frame in frames],
            "pairs": embed_picture(pairs, int(STILL_SHARE * budget), STILL_SIDE) if pairs is not None else None,
        }
        return render("run.html.jinja", values | shown)

    return fit(build)


def _bare(run: Path, home: Path) -> dict[str, Any]:
    """The page of a folder in which not even the record makes sense."""
    return _values(run, home, {}, [])


def _values(run: Path, home: Path, record: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    config, ended = mapping(record.get("config")), mapping(record.get("ended"))
    done = number(ended.get("step")) or max((line["step"] for line in lines), default=0)
    steps = steps_scale([done, *(line["step"] for line in lines[-1:])])
    marks = findings_of(record, lines, steps)
    return {
        "title": title_of(run, config),
        "folder": text(str(run), 300),
        "status": text(ended.get("status"), 30) or "not ended",
        "facts": [*_facts(record, config, ended, done), *or_empty(lambda: _best(run))],
        "tiles": or_empty(lambda: _tiles(lines, run)),
        "classes": [text(name, 40) for name in listed(mapping(config.get("conditioning")).get("classes"))][
            :MOST_CLASSES
        ],
        "points": _of_points(config),
        "marks": marks,
        "training": or_empty(lambda: training_charts(lines, steps)),
        "quality": or_empty(lambda: quality_charts(lines, steps)),
        "vital": or_empty(lambda: vital_charts(lines, steps)),
        "judged": or_none(lambda: judged_of(run)),
        "changed": or_empty(lambda: _changed(config, record)),
        "config": or_empty(lambda: _whole(config)),
        "environment": or_empty(lambda: _environment(record)),
        "commands": _commands(run, record, ended),
        "links": or_empty(lambda: _links(run, home)),
    }


def title_of(run: Path, config: Mapping[str, Any]) -> str:
    """As `Config.run_name` has it, for a config that need not be one."""
    parts = [mapping(config.get("dataset")), mapping(mapping(config.get("architecture")).get("generator"))]
    names = [text(part.get("name"), 60) for part in (*parts, mapping(config.get("loss")))]
    return text(config.get("name"), 100) or "-".join(name for name in names if name) or text(run.absolute().name, 100)


def _of_points(config: Mapping[str, Any]) -> bool:
    options = DATASETS.get(text(mapping(config.get("dataset")).get("name")))
    return options is not None and issubclass(options, PointOptions)


def _last_step(record: Mapping[str, Any]) -> float | None:
    return number(mapping(record.get("ended")).get("step"))


def _facts(record: Mapping[str, Any], config: Mapping[str, Any], ended: Mapping[str, Any], done: float) -> list[Row]:
    data, total = mapping(record.get("data")), number(ended.get("total_steps"))
    of_all = f" of {figure(total)}" if total is not None and total != done else ""
    count = whole(data.get("samples"))
    samples = counted(count, "sample") if count is not None else ""
    threads = whole(record.get("threads"))
    on = f", {threads} thread{'' if threads == 1 else 's'}" if threads else ""
    found = [
        Row("steps", f"{done:,.0f}{of_all}"),
        Row("time", duration(number(ended.get("seconds")))),
        Row(
            "data", ", ".join(part for part in (text(mapping(config.get("dataset")).get("name"), 60), samples) if part)
        ),
        Row("device", f"{text(record.get('device'), 80)}{on}" if record.get("device") else ""),
        Row("seed", text(config.get("seed"), 30)),
        Row("started", text(record.get("started"), 40)[:16].replace("T", " ")),
        Row("from", text(data.get("source"), 300), note="" if data.get("complete", True) else "warning"),
    ]
    return [row for row in found if row.value]


def _best(run: Path) -> list[Row]:
    """Of which checkpoint the figures at the top are, if not of the last."""
    chosen = chosen_figures(run)
    if chosen.best is None:
        return []
    return [
        Row("best", f"step {chosen.figures['step']:,.0f}, {text(chosen.best)} {figure(chosen.figures[chosen.best])}")
    ]


def _tiles(lines: Sequence[Mapping[str, Any]], run: Path) -> list[Row]:
    """What the last evaluation on the way found, or the best if that was kept, for the top of the page."""
    told = chosen_figures(run).figures
    tiles = []
    for key in [key for key in quality_keys(lines) if key in told][:6]:
        value = told[key]
        if key == "modes/covered" and told.get("modes/possible"):
            tiles.append(Row("modes covered", f"{value:.0f} of {told['modes/possible']:.0f}"))
        elif key in ("modes/share", "accuracy/class"):
            name = "samples at a mode" if key == "modes/share" else "of the class asked for"
            tiles.append(Row(name, f"{100 * value:.1f} %"))
        else:
            tiles.append(Row(key.replace("modes/reverse_kl", "reverse KL of modes"), figure(value)))
    return tiles


def findings_of(record: Mapping[str, Any], lines: Iterable[Mapping[str, Any]], steps: Scale) -> list[Mark]:
    """Those of the record, or of a run that did not come to write them there, those of its lines."""
    found: dict[tuple[str, int], str] = {}
    for each in map(mapping, listed(record.get("findings"))):
        found[text(each.get("name"), 60), whole(each.get("since")) or 0] = text(each.get("text"), 600)
    told = {name for name, _ in found}
    for line in lines:
        for name in listed(line.get("findings")):
            if text(name, 60) not in told:
                found[text(name, 60), whole(line["step"]) or 0] = text(line.get("text"), 600)
                told.add(text(name, 60))
    marks = [
        Mark(name, since, said, percent(min(max(steps.place(since), 0.0), 1.0)))
        for (name, since), said in sorted(found.items(), key=lambda item: item[0][1])
        if name
    ]
    return marks[:MOST_FINDINGS]


def _pictures(run: Path, last: float | None, budget: int) -> tuple[Picture | None, Picture | None, list[Picture]]:
    """Real samples, the last grid, and those on the way to it."""
    if not budget:
        return None, None, []
    still = int(STILL_SHARE * budget)
    grids = grids_of(run, last)
    real = embed_picture(run / SAMPLES / "real.png", still, STILL_SIDE)
    final = embed_picture(grids[-1][1], still, STILL_SIDE) if grids else None
    frames = embed_frames(grids, budget - 3 * still)
    if final is not None:
        final = Picture(final.uri, final.width, final.height, grids[-1][0])
    return real, final, frames if len(frames) > 1 else []


def _changed(config: Mapping[str, Any], record: Mapping[str, Any]) -> list[Row]:
    """The keys that differ from the defaults: those that were chosen, then what came along, then what was settled."""
    default = train_config.to_dict(train_config.read(compose_default("train")))
    brought = mapping(record.get("brought_along"))
    before, command = dict(train_config.flatten(default)), str(record.get("command"))
    chosen, along, settled = [], [], []
    penalties, usual = _penalties(config), _penalties(default)
    if penalties != usual:
        chosen.append(Row("regularizer", penalties, usual))
    for key, value in train_config.flatten(config):
        if key in NOT_SHOWN or (key in before and before[key] == value):
            continue
        old = shown(before[key]) if key in before else ""
        if (
            key in (*train_config.AUTO, train_config.RECORDED)
            and key not in brought
            and before.get(key) in ("auto", None)
        ):
            settled.append(_row(key, value, old, SETTLED))
        elif key in brought or (key not in before and f"{key}=" not in command):  # a key of the chosen option alone
            along.append(_row(key, value, old, "came along with a choice"))
        else:
            chosen.append(_row(key, value, old, "chosen"))
    return [*chosen, *along, *settled][:MOST_CONFIG]


def _row(key: str, value: Any, before: str = "", note: str = "") -> Row:
    return Row(text(key, 100), text(shown(value)) or "…", before, note)


def _penalties(config: Mapping[str, Any]) -> str:
    return text("[" + ",".join(map(str, mapping(config.get("regularizer")))) + "]").replace("[]", "none")


def _whole(config: Mapping[str, Any]) -> list[Row]:
    return [_row(key, value) for key, value in train_config.flatten(config)][:MOST_CONFIG]


def _environment(record: Mapping[str, Any]) -> list[Row]:
    git, data = mapping(record.get("git")), mapping(record.get("data"))
    changed = ", changed since" if git.get("changed") else ""
    commit = text(git.get("commit"), 60)
    found = [
        Row("gan-cli", text(record.get("gan_cli"), 40)),
        Row("commit", f"{commit}{changed}" if commit else ""),
        Row("Python", text(record.get("python"), 40)),
        *(
            Row(text(name, 60), text(version, 60))
            for name, version in list(mapping(record.get("packages")).items())[:40]
        ),
        Row("platform", text(record.get("platform"))),
        Row("device", text(record.get("device"))),
        Row("threads", text(record.get("threads"), 20)),
        Row("folder it was started in", text(record.get("directory"), 300)),
        Row("fingerprint of the data", text(data.get("fingerprint"), 100)),
        Row("weights from", text(record.get("init_from"), 300)),
    ]
    for each in map(mapping, listed(record.get("resumed"))[:20]):
        found.append(Row(f"resumed at step {text(each.get('step'), 20)}", text(each.get("when"), 40)))
    return [row for row in found if row.value]


def _commands(run: Path, record: Mapping[str, Any], ended: Mapping[str, Any]) -> list[Row]:
    command = text(record.get("command"), 4000)
    sample, resume = (shlex.quote(f"{key}={text(str(run), 1000)}") for key in ("ckpt", "resume"))
    stopped = ended.get("status") not in ("done", None)
    found = [
        Row("Repeat it", command),
        Row("Make samples", f"gan-sample {sample} n=64"),
        Row("Go on", f"gan-train {resume}" if stopped else f"gan-train {resume} extra_steps=1000"),
    ]
    return [row for row in found if row.value]


def _links(run: Path, home: Path) -> list[Link]:
    """Files that are there, as seen from the page."""
    named = {
        METRICS: "every figure of training",
        LOG: "what the run said",
        RECORD: "config and environment",
        "progress.webp": "the grids as a film",
        SAMPLES: "all grids",
        "generated": "what gan-sample made",
        "exported": "what gan-export made",
    }
    checkpoints = sorted(
        (run / CHECKPOINTS).glob("*.safetensors"), key=lambda path: (path.name[:5] == "step_", path.name)
    )
    evaluations = sorted(path for path in (run / EVALUATIONS).glob("*") if not path.name.startswith("."))
    found = [(path, size(path.stat().st_size)) for path in checkpoints if path.is_file()]
    found += [(run / name, note) for name, note in named.items() if (run / name).exists()]
    found += [(path, "what gan-eval found") for path in evaluations]
    return [
        Link(link(path, home), text(path.relative_to(run).as_posix(), 120) + ("/" if path.is_dir() else ""), note)
        for path, note in found[:MOST_LINKS]
    ]
