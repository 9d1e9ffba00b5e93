"""How near exported generators come to their checkpoint: the largest difference of a sample, in every format.

Each architecture, as it is by default, is trained on digits for `--steps` (by default one) without and with classes,
exported, and compared at batches of 1, 2 and 5, as `gan-export` does before it keeps a file.

    python benchmarks/parity.py

Leaves outputs/bench/parity.json.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
from pathlib import Path
from typing import Any

from report import leave, table

from gan_cli.api import train
from gan_cli.cli.main import run_command

ARCHITECTURES = ("mlp", "dcgan", "resnet", "subpixel")


def measure(overrides: list[str], format: str) -> dict[str, float]:
    """The differences by batch of a run with these overrides."""
    with tempfile.TemporaryDirectory() as folder:
        told = io.StringIO()
        with contextlib.redirect_stdout(told):
            run = train([*overrides, f"output={folder}", "training.sample_every=0"])
            assert run_command("export", [f"ckpt={run}", f"format={format}"]) == 0
        exported = Path(told.getvalue().splitlines()[-1])
        return json.loads((exported / "parity.json").read_text())["differences"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1)
    steps = parser.parse_args().steps
    rows: list[dict[str, Any]] = []
    for format in ("onnx", "pt2"):
        for way in ("none", "projection"):
            for architecture in ARCHITECTURES:
                overrides = [f"architecture={architecture}", f"conditioning={way}", f"steps={steps}", "threads=1"]
                found = measure([*overrides, "dataset.download=false"], format)
                rows.append({"format": format, "conditioning": way, "architecture": architecture, **found})
                print(f"{format} {way} {architecture}: {max(found.values()):.1e}", flush=True)
    print(table(list(rows[0]), [[f"{v:.1e}" if isinstance(v, float) else v for v in row.values()] for row in rows]))
    leave("parity", {"steps": steps, "rows": rows})


if __name__ == "__main__":
    main()
