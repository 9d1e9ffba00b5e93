"""Hostile exports, caches, sweeps and databases of a search, given to the commands that read them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import struct
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from random import Random

from torture import in_jobs
from torture.hostile import check_command
from torture.hostile.checkpoints import VALUES, change_file, change_value
from torture.hostile.run_folders import KINDS
from torture.inputs import (
    CACHED,
    EVAL,
    SWEEP,
    cache_everything,
    make_evaluation_cache,
    make_export,
    make_image_cache,
    make_study,
    make_sweep,
    run_once,
    study,
)
from torture.scenarios import TINY
from torture.worker import Trial

OF_EXPORT = ("export/config.json", "export/model.safetensors", "model.json", "model.safetensors")
FOREIGN = ("model.onnx", "model.pt2")
ON_EXPORT = (
    ("sample", ["export", "n=2"]), ("sample", ["model.safetensors", "n=2"]), ("sample", ["export", "format=walk",
    "seeds=0-1", "frames=2"]), ("export", ["export"]), ("eval", ["export"]),
    ("train", [*TINY, "init_from=export", "steps=1", "name=n"]),
)  # fmt: skip
ON_FOREIGN = tuple((command, [file]) for file in FOREIGN for command in ("sample", "export"))
OF_SWEEP = (
    "sweep.json", "leaderboard.json", "leaderboard.csv", "leaderboard.md", "report.html", "0/outcome.json",
    "1/outcome.json", "0/config.json", "0/metrics.jsonl", "0", "0-2", "0-3", "0-2/outcome.json", "9" * 100, ".stopped",
    "multirun.yaml", "optimization_results.yaml", ".lock", "0/checkpoints/last.safetensors",
)  # fmt: skip
ON_SWEEP = (("report", ["sweep"]), ("compare", ["sweep"]), ("train", list(SWEEP)), ("train", list(SWEEP)))
CARD = struct.Struct("<32sQ16s")  # the trailer of a file of decoded images
Commands = Sequence[tuple[str, list[str]]]


def _replace(path: Path, random: Random) -> str:
    """Puts something else at a path."""
    kind = random.choice([*KINDS])
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    KINDS[kind](path)
    return f"is {kind}"


def _flip(path: Path, random: Random) -> str:
    """Flips bits of a file, or cuts it off."""
    content = bytearray(path.read_bytes())
    if random.random() < 0.3:
        content = content[: random.randrange(len(content))]
    for _ in range(random.randint(1, 8) if content else 0):
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    path.write_bytes(content)
    return f"has flipped bits, {len(content)} bytes"


def _change_json(path: Path, random: Random) -> str:
    content = json.loads(path.read_text())
    note = change_value(content, random)
    path.write_text(json.dumps(content))
    return f"has {note}"


def _change_card(path: Path, random: Random) -> str:
    """Changes the description in a file of decoded images, with a right checksum."""
    content = path.read_bytes()
    _, length, magic = CARD.unpack(content[-CARD.size :])
    begin = len(content) - CARD.size - length
    card = json.loads(content[begin : -CARD.size])
    if random.random() < 0.3:
        card["samples"] = [random.choice((0, 1, 29, 31, 2**20, 2**47)) for _ in range(4)]
        note = f"samples={card['samples']}"
    else:
        note = change_value(card, random)
    text = json.dumps(card).encode()
    pixels = min(begin, 30 * 3 * 16 * 16)  # labels and text begin at a multiple of 64
    start = -(-pixels // 64) * 64
    digest = hashlib.sha256(content[start:begin] + text).digest()
    path.write_bytes(content[:begin] + text + CARD.pack(digest, len(text), magic))
    return f"has a card with {note}"


def _change_database(path: Path, random: Random) -> str:
    """Sets a value of a random table of a search's database, or removes a table."""
    with sqlite3.connect(path) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type='table'")]
        table = random.choice([name for name in tables if database.execute(f"SELECT 1 FROM {name}").fetchone()])
        if random.random() < 0.1:
            database.execute(f"DROP TABLE {table}")
            return f"lacks {table}"
        columns = list(database.execute(f"PRAGMA table_info({table})"))
        _, column, kind, _, _, is_key = random.choice(columns)
        values = [each for each in VALUES if isinstance(each, str | float | None) or each in (-1, 0)]
        if is_key and kind == "INTEGER":  # the number of the row, which SQLite lets be no other value
            values = [-1, 0]
        value = random.choice(values)
        database.execute(f"UPDATE OR IGNORE {table} SET {column} = ?", (value,))
        return f"has {table}.{column}={str(value)[:40]!a}"


def _hostile_export(trial: Trial) -> tuple[str, Commands]:
    make_export(trial)
    if trial.random.random() < 0.2:
        name = trial.random.choice((*FOREIGN, "model.json"))
        for each in FOREIGN:
            (trial.here / each).write_bytes(b"\x08\x07\x12\x07pytorch" * 100)
        return f"{name} {_replace(trial.here / name, trial.random)}", ON_FOREIGN
    name = trial.random.choice(OF_EXPORT)
    change = trial.random.choice((_replace, _flip, change_file if name.endswith("safetensors") else _change_json))
    return f"{name} {change(trial.here / name, trial.random)}", ON_EXPORT


def _hostile_images(trial: Trial) -> tuple[str, Commands]:
    path = make_image_cache(trial)
    if trial.random.random() < 0.15:
        path = path.with_name(trial.random.choice((".pictures-part-abcdefgh", f"{path.name[:33]}x.pictures")))
        return f"{path.name} {_replace(path, trial.random)}", (("train", list(CACHED)),)
    change = trial.random.choice((_replace, _flip, _change_card, _change_card))
    return f"decoded images: {change(path, trial.random)}", (("train", list(CACHED)),)


def _hostile_features(trial: Trial) -> tuple[str, Commands]:
    path = trial.random.choice(make_evaluation_cache(trial))
    change = trial.random.choice((_replace, _flip, change_file, change_file))
    return f"{path.parent.name}: {change(path, trial.random)}", (("eval", [*EVAL, "extractor=classifier"]),)


def _hostile_sweep(trial: Trial) -> tuple[str, Commands]:
    folder = make_sweep(trial)
    name = trial.random.choice(OF_SWEEP)
    path = folder / name
    readable = path.suffix == ".json" and path.is_file()
    change = trial.random.choice((_replace, _change_json, _change_json) if readable else (_replace,))
    return f"{name[:40]} {change(path, trial.random)}", ON_SWEEP


def _hostile_study(trial: Trial) -> tuple[str, Commands]:
    path = make_study(trial)
    change = trial.random.choice((_replace, _flip, _change_database, _change_database))
    return f"study.db {change(path, trial.random)}", (("train", study(2)),)


MAKERS: dict[str, Callable[[Trial], tuple[str, Commands]]] = {
    "export": _hostile_export,
    "sweep": _hostile_sweep,
    "images": _hostile_images,
    "features": _hostile_features,
    "study": _hostile_study,
}
HEALTHY: dict[str, Callable[[Trial], object]] = {
    "export": make_export,
    "sweep": make_sweep,
    "images": make_image_cache,
    "features": make_evaluation_cache,
    "study": make_study,
}
ORDER = ("export", "sweep", "images", "features", "study", "export", "sweep", "export", "sweep")


def hostile_file(trial: Trial) -> None:
    """Gives a hostile export, cache, sweep or database to a command that reads it; checked as by `hostile_input`."""
    name = ORDER[trial.index % len(ORDER)]
    (trial.folder / "victim").write_text("precious")
    note, commands = MAKERS[name](trial)
    command, arguments = commands[trial.random.randrange(len(commands))]
    trial.note = f"{note}; gan-{command} {' '.join(each for each in arguments if each not in TINY)[:100]}"
    key = ("healthy", name, command, *arguments)
    cpu, memory = trial.bench.once(key, partial(_healthy, make=HEALTHY[name], command=command, arguments=arguments))
    check_command(
        trial,
        command,
        arguments,
        cpu,
        memory,
        before=lambda: (cache_everything(), in_jobs.install(trial.folder, f"watch({str(trial.folder)!r})")),
        programs=("git", "uname", "file", "lscpu", os.path.basename(sys.executable), "python"),
    )


def _healthy(
    shared: Trial, make: Callable[[Trial], object], command: str, arguments: Sequence[str]
) -> tuple[float, float]:
    """Returns the CPU seconds and the memory of a command on a healthy input, whatever it says of it."""
    make(shared)
    if arguments[0] in FOREIGN:
        arguments, command = ["export", "n=2"], "sample"
    if command in ("export", "eval", "train") and "export" in " ".join(arguments):  # always refused
        ended = shared.run(command, *arguments, before=cache_everything)
        return ended.cpu, ended.memory
    run_once(shared, command, *arguments)
    return shared.cpu, shared.memory
