"""What a run costs against the batch, the image, the width of its networks and the size of its data set.

Each point is a process of its own with one thread: milliseconds of a step for each image of its batch, RssAnon (memory
that is the process's own, so not what it has mapped of the cache) after the last step, and the most it ever had in
memory. The data sets are zips of small pictures, decoded once; what is measured is a later run, through the cache.

    python benchmarks/scaling.py              # up to 100,000 pictures, in some minutes
    python benchmarks/scaling.py --full       # up to 1,000,000, which take 12 GB of disk for the cache
    python benchmarks/scaling.py --processes  # one run by 1, 2 and 4 processes, on an idle machine

`--processes` takes the images per second of whole runs from their metrics.jsonl: the median of the lines after the
first two, without samples, evaluations and checkpoints. A round has a run of each kind; a ratio is to one process with
one thread in the same round, and the median of the rounds' is told. `--override` changes all runs alike. Two runs that
have nothing to do with each other show what two processes could reach at most on this machine.

Leaves outputs/bench/scaling.json, or processes.json.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import NamedTuple

from report import leave, table
from updates import replaced

STEPS, WARM_UP = 12, 3
SHAPES = ("dataset=shapes", "dataset.size=2000", "dataset.image_channels=3")
AXES = {
    "batch": [(f"batch_size={size}", "image_size=32") for size in (16, 32, 64, 128, 256)],
    "image": [(f"image_size={side}", "batch_size=32") for side in (16, 32, 64, 128)],
    "width": [
        (f"architecture.generator.base_channels={width}", f"architecture.discriminator.base_channels={width}")
        for width in (16, 32, 64, 128)
    ],
}
DATA = (10_000, 30_000, 100_000)
FULL_DATA = (10_000, 100_000, 1_000_000)
MEASURE = "--measure"
DCGAN = (
    "dataset=shapes", "dataset.image_channels=3", "dataset.size=2000", "image_size=32", "batch_size=256",
    "architecture=dcgan", "architecture.generator.base_channels=64", "architecture.discriminator.base_channels=64",
    "architecture.generator.latent_dim=100", "architecture.discriminator.normalization=batch", "regularizer=none",
)  # fmt: skip


class Kind(NamedTuple):
    """So many runs side by side, each of so many processes with so many threads."""

    processes: int
    threads: int
    overrides: tuple[str, ...] = ()
    runs: int = 1


RUNS = {
    "1 process, 1 thread": Kind(1, 1),
    "1 process, 2 threads": Kind(1, 2),
    "2 processes, 1 thread each": Kind(2, 1),
    "2 processes, 1 thread each, batch_norm=process": Kind(2, 1, ("device.batch_norm=process",)),
    "2 runs side by side, each 1 thread and half the batch": Kind(1, 1, ("batch_size=128",), 2),
    "4 processes, 1 thread each": Kind(4, 1),
}
FIRST_LINES = 2  # of metrics, which are not of steps at full speed


def measure(overrides: list[str]) -> dict[str, float]:
    """In this process: what a run does from its data to its steps."""
    import torch

    from gan_cli.config.compatibility import parse_config
    from gan_cli.config.compose import compose_command
    from gan_cli.data.load_dataset import build_batches, build_dataset
    from gan_cli.launch.autotune import resolve_precision
    from gan_cli.state.train_state import build_state
    from gan_cli.training.objective import build_objective
    from gan_cli.training.steps import training_step

    torch.set_num_threads(1)
    config = resolve_precision(parse_config(compose_command("train", overrides).data), torch.device("cpu"))
    started = time.perf_counter()
    dataset = build_dataset(config.dataset, config.image_size)
    dataset.fingerprint  # noqa: B018 - a run records it
    loaded = time.perf_counter() - started
    state = build_state(config, torch.device("cpu"))
    state.counters.total_steps = STEPS
    batches = build_batches(config, dataset, state.device)
    objective = build_objective(config, batches)
    clock = 0.0
    while state.counters.step < STEPS:
        if state.counters.step == WARM_UP and not clock:
            clock = time.process_time()  # others on this machine shall not count
        training_step(state, objective, batches)
    spent = (time.process_time() - clock) / (STEPS - WARM_UP) / config.batch_size
    return {
        "ms_per_image": round(1000 * spent, 3),
        "data_seconds": round(loaded, 2),
        "anon_mb": _anonymous(),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10, 1),
    }


def _anonymous() -> float | None:
    """MB of RssAnon; Linux alone tells."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return round(int(next(line.split()[1] for line in lines if line.startswith("RssAnon"))) / 2**10, 1)


def write_zip(path: Path, count: int, side: int = 64) -> Path:
    """So many PNGs of `side` pixels: few that differ, since a decoder does not mind seeing one twice."""
    from PIL import Image

    chance, contents = random.Random(0), []
    for _ in range(50):
        stream = io.BytesIO()
        Image.new("RGB", (side, side), tuple(chance.randbytes(3))).save(stream, "PNG")
        contents.append(stream.getvalue())
    with zipfile.ZipFile(path, "w") as archive:
        for index in range(count):
            archive.writestr(f"{index % 10}/{index:07d}.png", contents[index % len(contents)])
    return path


def point(*overrides: str) -> dict[str, float]:
    command = [sys.executable, __file__, MEASURE, "threads=1", *overrides]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def data_points(counts: tuple[int, ...]) -> list[dict]:
    """Of each size the run that builds the cache, and one that finds it."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for count in counts:
            path = write_zip(Path(folder) / f"{count}.zip", count)
            data = ("dataset=folder", f"dataset.path={path}", f"dataset.cache={folder}/cache", "batch_size=32")
            for axis in ("data, built", "data, cached"):
                rows.append({"axis": axis, "point": f"{count:,} pictures of 64x64", **point(*data)})
                print(rows[-1], file=sys.stderr)
            path.unlink()
    return rows


def run_rate(overrides: Sequence[str], processes: int, threads: int, steps: int, every: int) -> float:
    """Returns the images per second of a run of `gan-train` on the CPU: the median of lines of `every` steps."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            str(Path(sys.executable).with_name("gan-train")), *overrides, f"steps={steps}", "device=cpu",
            f"device.processes={processes}", f"threads={threads}", f"training.log_every={every}",
            "training.sample_every=0", "training.checkpoint_every=0", f"output={folder}", "name=speed",
        ]  # fmt: skip
        environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
        (path,) = Path(folder).glob("speed/*/metrics.jsonl")
        lines = [json.loads(line) for line in path.read_text().splitlines()]
    return median([line["images_per_second"] for line in lines if "images_per_second" in line][FIRST_LINES:])


def process_rows(
    overrides: Sequence[str], rounds: int, steps: int, every: int, runs: Sequence[str] = tuple(RUNS)
) -> list[dict]:
    """Measures the named rows of RUNS in turn. The first of `runs` is that which the others are compared with."""

    def rate(kind: Kind) -> float:
        changed = replaced(overrides, *kind.overrides)
        with ThreadPoolExecutor(kind.runs) as pool:
            started = [pool.submit(run_rate, changed, *kind[:2], steps, every) for _ in range(kind.runs)]
        return sum(each.result() for each in started)

    rates: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds):
        for name in runs[:: -1 if number % 2 else 1]:  # there and back, so that a slow drift cancels
            rates[name].append(rate(RUNS[name]))
            print(f"round {number + 1}: {name}: {rates[name][-1]:.0f} images/s", file=sys.stderr, flush=True)
    rows = []
    for name, measured in rates.items():
        ratios = [one / base for one, base in zip(measured, rates[runs[0]], strict=True)]
        rows.append({
            "run": name, "images_per_second": round(median(measured), 1), "ratio": round(median(ratios), 3),
            "lowest": round(min(ratios), 3), "highest": round(max(ratios), 3), "all": measured,
        })  # fmt: skip
    return rows


def tell_processes(given: argparse.Namespace) -> None:
    overrides = replaced(DCGAN, *given.override)
    rows = process_rows(overrides, given.rounds, given.steps, given.every)
    headers = ["run", "images/s", "x 1 process", "lowest", "highest"]
    print(table(headers, [list(row.values())[:-1] for row in rows]))
    print(leave("processes", {"overrides": overrides, "steps": given.steps, "rows": rows}))


def tell_sizes(full: bool) -> None:
    rows = []
    for axis, points in AXES.items():
        for overrides in points:
            rows.append({"axis": axis, "point": " ".join(overrides), **point(*SHAPES, *overrides)})
            print(rows[-1], file=sys.stderr)
    rows += data_points(FULL_DATA if full else DATA)
    headers = ["axis", "point", "CPU ms an image", "data ready, s", "RssAnon, MB", "peak, MB"]
    print(table(headers, [list(row.values()) for row in rows]))
    print(leave("scaling", {"full": full, "threads": 1, "rows": rows}))


def main() -> None:
    parser = argparse.ArgumentParser(description="what a run costs, or how fast several processes are")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--processes", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--every", type=int, default=10, help="steps of each line of metrics")
    parser.add_argument("--override", nargs="+", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    if given.processes:
        tell_processes(given)
    else:
        tell_sizes(given.full)


if __name__ == "__main__":
    if MEASURE in sys.argv:
        print(json.dumps(measure(sys.argv[2:])))
    else:
        main()
