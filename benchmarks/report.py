"""What the benchmarks share: a table to read, a file for programs, and on which machine it was."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from gan_cli import device

LEFT = Path("outputs/bench")


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Markdown, its columns as wide as their widest cell; numbers stand on the right. A None is an empty cell."""
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    columns = list(zip(headers, *cells, strict=True))
    widths = [max(3, *map(len, column)) for column in columns]
    numeric = [any(column[1:]) and all(map(_is_number, column[1:])) for column in columns]

    def line(row: Sequence[str]) -> str:
        aligned = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ]
        return "| " + " | ".join(aligned) + " |"

    rule = ["-" * (width - 1) + (":" if right else "-") for width, right in zip(widths, numeric, strict=True)]
    return "\n".join([line(headers), line(rule), *map(line, cells)])


def _is_number(cell: str) -> bool:
    """Also with a unit behind it, as `3.1 ms`, and an empty cell."""
    return not cell or cell.lstrip("+-")[:1].isdigit()


def leave(name: str, data: Mapping[str, Any]) -> Path:
    """`outputs/bench/<name>.json`: the data, with the date, the command and the machine. An older one is replaced."""
    path = LEFT / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    date = datetime.now().astimezone().isoformat(timespec="seconds")
    command = " ".join(["python", *(os.path.relpath(word) if word == sys.argv[0] else word for word in sys.argv)])
    text = json.dumps({"date": date, "command": command, "machine": machine(), **data}, indent=2) + "\n"
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
    return path


def load(name: str) -> dict[str, Any]:
    """What `leave` left under this name; empty if there is nothing."""
    path = LEFT / f"{name}.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def machine() -> dict[str, Any]:
    """The processor and its cores, how busy they were, and the versions and the commit that were measured."""
    git = device.git_state(Path(device.__file__).resolve().parent) or {}
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),  # the last minute's: figures of a busy machine are not of this code
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": importlib.metadata.version("torch"),
        "commit": git.get("commit"),
        "changed": git.get("changed"),
    }


def _cpu() -> str:
    """Its model as Linux tells it, elsewhere its kind."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
