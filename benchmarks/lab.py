"""The lab: methods against mode collapse, on data whose modes can be counted, over seeds.

Each run is a `gan-train` command in a process of its own, with one thread, as many at once as there are cores.
`outputs/lab/table.md` and `outputs/lab/pictures.png` come of it. A run that is done is not done again unless its folder
is removed.

    python benchmarks/lab.py             # the plain and the recommended config with 10 seeds, the others with 3
    python benchmarks/lab.py --full      # all with 10
    python benchmarks/lab.py ring        # these data alone
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple

from PIL import Image, ImageDraw

LAB = Path("outputs/lab")
RESULTS = LAB / "results.jsonl"
FEW, MANY = 3, 10
PLAIN, RECOMMENDED = "plain", "recommended"
COMMON = ("threads=1", "training.checkpoint_every=0", "keep=1")


class Method(NamedTuple):
    """`overrides` make it, `on` names the data it is run on."""

    name: str
    paper: str
    overrides: tuple[str, ...]


def cures(*more: str) -> list[Method]:
    """The plain config and what changes one thing in it; `more` puts all of them on other data."""

    def cure(name: str, paper: str, option: str) -> Method:
        return Method(name, paper, (f"experiment={option}", *more))

    return [
        cure(PLAIN, "1406.2661", "failure/mode_collapse"),
        cure("unrolled, 5 updates", "1611.02163", "cure/mode_collapse_unrolled"),
        cure("PacGAN, 2 together", "1712.04086", "cure/mode_collapse_packing"),
        cure("minibatch standard deviation", "1710.10196", "cure/mode_collapse_stddev"),
        cure("R1", "1801.04406", "cure/mode_collapse_r1"),
        cure("WGAN-GP", "1704.00028", "cure/mode_collapse_wgan_gp"),
    ]


STACK = ("experiment=stacked_mnist", "dataset.download=false", "dataset.digits=2", "steps=1500")
METHODS = {
    "ring": [*cures(), Method(RECOMMENDED, "1801.04406", ("experiment=ring",))],
    "grid": [*cures("dataset=grid"), Method(RECOMMENDED, "1801.04406", ("experiment=grid",))],
    "stacked": [
        Method(PLAIN, "1406.2661", (*STACK, "loss=non_saturating", "regularizer=none")),
        Method(
            "PacGAN, 2 together", "1712.04086", (*STACK, "loss=non_saturating", "regularizer=none", "training.pack=2")
        ),
        Method("R1", "1801.04406", (*STACK, "loss=non_saturating", "regularizer=r1")),
        Method(RECOMMENDED, "2501.05441", STACK),
    ],
}
MODES = {"ring": 8, "grid": 25, "stacked": 100}
TITLES = {
    "ring": "Ring: 8 Gaussians, radius 2, standard deviation 0.02",
    "grid": "Grid: 25 Gaussians, spacing 2, standard deviation 0.05, all divided by 2.828",
    "stacked": "Two stacked digits: 100 modes, told apart by a classifier",
}
# Other networks, trained for longer, on the same data up to a factor, counted in the same way.
PUBLISHED = {
    "ring": [
        ("GAN", "VEEGAN, table 1", "1", "99.3 %", ""),
        ("Unrolled GAN", "VEEGAN, table 1", "7.6", "35.6 %", ""),
        ("VEEGAN", "VEEGAN, table 1", "8", "52.9 %", ""),
        ("GAN", "PacGAN, table 1", "6.3 ± 0.5", "98.2 ± 0.2 %", "0.45 ± 0.09"),
        ("PacGAN, 2 together", "PacGAN, table 1", "7.9 ± 0.1", "95.6 ± 2.0 %", "0.07 ± 0.03"),
    ],
    "grid": [
        ("GAN", "VEEGAN, table 1", "3.3", "0.5 %", ""),
        ("Unrolled GAN", "VEEGAN, table 1", "23.6", "16 %", ""),
        ("VEEGAN", "VEEGAN, table 1", "24.6", "40 %", ""),
        ("GAN", "PacGAN, table 1", "17.3 ± 0.8", "94.8 ± 0.7 %", "0.70 ± 0.07"),
        ("PacGAN, 2 together", "PacGAN, table 1", "23.8 ± 0.7", "91.3 ± 0.8 %", "0.13 ± 0.04"),
        ("PacGAN, 4 together", "PacGAN, table 1", "24.8 ± 0.2", "93.6 ± 0.6 %", "0.04 ± 0.01"),
    ],
    "stacked": [],
}


class Job(NamedTuple):
    data: str
    method: Method
    seed: int

    @property
    def name(self) -> str:
        return f"{self.data}-{self.method.name}-{self.seed}".replace(" ", "_").replace(",", "")

    @property
    def command(self) -> list[str]:
        return [*self.method.overrides, *COMMON, f"seed={self.seed}"]


# --- running -----------------------------------------------------------------------------------------------------


def run(job: Job) -> None:
    """Trains and adds a line to the results: what was counted in the end, and the seconds of CPU it took."""
    command = [
        sys.executable,
        "-m",
        "gan_cli.cli.main",
        "train",
        *job.command,
        f"name={job.name}",
        f"output={LAB}/runs",
    ]
    with open(LAB / "lab.log", "a") as log:
        child = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        print(f"{job.name}: ended with {child.returncode}, see {LAB}/lab.log", flush=True)
        return
    folder = max((LAB / "runs" / job.name).iterdir())
    last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    result = {
        "name": job.name,
        "command": job.command,
        "covered": last["modes/covered"],
        "share": last.get("modes/share"),
        "reverse_kl": last["modes/reverse_kl"],
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "folder": str(folder),
    }
    with open(RESULTS, "a") as file:
        file.write(json.dumps(result) + "\n")
    print(f"{job.name}: {result['covered']} modes, {result['cpu_seconds']} s", flush=True)


def results() -> dict[str, dict]:
    """What is done, by name, if it was by the command that would do it now and its run is still there."""
    if not RESULTS.exists():
        return {}
    now = {
        job.name: job.command
        for data in METHODS
        for m in METHODS[data]
        for job in [Job(data, m, s) for s in range(MANY)]
    }
    found = [json.loads(line) for line in RESULTS.read_text().splitlines()]
    return {
        result["name"]: result
        for result in found
        if Path(result["folder"]).exists() and now.get(result["name"]) == result["command"]
    }


# --- telling -----------------------------------------------------------------------------------------------------


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and its standard error, which one value has not."""
    return mean(values), stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan


def told(values: Sequence[float], digits: int, unit: str = "") -> str:
    middle, error = spread(values)
    return f"{middle:.{digits}f} ± {error:.{digits}f}{unit}" if not math.isnan(error) else f"{middle:.{digits}f}{unit}"


def row_of(method: Method, found: Sequence[dict], plain: Sequence[dict], possible: int) -> str:
    covered = [result["covered"] for result in found]
    shares = [100 * result["share"] for result in found if result["share"] is not None]
    cells = [
        method.name,
        method.paper,
        f"`{' '.join(method.overrides)}`",
        str(len(found)),
        told(covered, 1),
        f"{sum(value == possible for value in covered)}",
        f"{told(shares, 1, ' %')}, {min(shares):.1f} %" if shares else "",
        f"{told([result['reverse_kl'] for result in found], 3)}, {max(r['reverse_kl'] for r in found):.3f}",
        better([result["covered"] for result in plain], covered) if method.name != PLAIN and plain else "",
        f"{max(result['cpu_seconds'] for result in found):.0f}",
    ]
    return "| " + " | ".join(cells) + " |"


def better(plain: Sequence[float], cured: Sequence[float]) -> str:
    """By how many standard errors of the difference more modes are covered."""
    (low, one), (high, other) = spread(plain), spread(cured)
    error = math.hypot(*(0.0 if math.isnan(each) else each for each in (one, other)))
    return f"{(high - low) / error:.1f}" if error > 0 else ("all" if high > low else "0.0")


def write_table(chosen: Sequence[str], done: dict[str, dict]) -> None:
    lines = ["# The lab", "", "Means ± standard errors over seeds. `python benchmarks/lab.py` repeats them.", ""]
    for data in chosen:
        lines += [f"## {TITLES[data]}", ""]
        lines.append(
            f"| method | paper | `gan-train` | seeds | modes of {MODES[data]} | with all | high quality, least |"
            " reverse KL, most | standard errors above plain | CPU seconds, most |"
        )
        lines.append("|" + "---|" * 10)
        per_method = {
            method.name: [done[job.name] for seed in range(MANY) if (job := Job(data, method, seed)).name in done]
            for method in METHODS[data]
        }
        plain = per_method[PLAIN]
        lines += [row_of(m, found, plain, MODES[data]) for m in METHODS[data] if (found := per_method[m.name])]
        lines += [
            f"| published: {name} | {source} | other networks, longer | | {modes} | | {share} | {divergence} | | |"
            for name, source, modes, share, divergence in PUBLISHED[data]
        ]
        lines.append("")
    (LAB / "table.md").write_text("\n".join(lines))


def draw_page(chosen: Sequence[str], done: dict[str, dict], side: int = 240) -> None:
    """A row for each data set: what each method makes in the end with seed 0."""
    most = max(len(METHODS[data]) for data in chosen)
    page = Image.new("RGB", (most * side, len(chosen) * (side + 20)), "white")
    for row, data in enumerate(chosen):
        for column, method in enumerate(METHODS[data]):
            result = done.get(Job(data, method, 0).name)
            if result is None:
                continue
            place = (column * side, row * (side + 20))
            ImageDraw.Draw(page).text((place[0] + 6, place[1] + 4), f"{data}: {method.name}", fill="black")
            newest = max((Path(result["folder"]) / "samples").glob("step_*.png"))
            with Image.open(newest) as picture:
                page.paste(picture.convert("RGB").resize((side - 6, side - 6)), (place[0] + 3, place[1] + 20))
    page.save(LAB / "pictures.png")


def main() -> None:
    full = "--full" in sys.argv
    named = [word for word in sys.argv[1:] if word != "--full"]
    if set(named) - METHODS.keys():
        sys.exit(f"expected data among {', '.join(METHODS)}, and --full")
    chosen = [data for data in METHODS if data in named] or list(METHODS)
    seeds = {PLAIN: MANY, RECOMMENDED: MANY}
    jobs = [
        Job(data, method, seed)
        for data in chosen
        for method in METHODS[data]
        for seed in range(MANY if full else seeds.get(method.name, FEW))
    ]
    LAB.mkdir(parents=True, exist_ok=True)
    done = results()
    missing = [job for job in jobs if job.name not in done]
    for job in missing:
        shutil.rmtree(LAB / "runs" / job.name, ignore_errors=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(run, missing))
    done = results()
    write_table(chosen, done)
    draw_page(chosen, done)
    print(f"{LAB}/table.md, {LAB}/pictures.png")
    failed = [job.name for job in jobs if job.name not in done]
    if failed:
        sys.exit(f"{len(failed)} runs failed, as {failed[0]}: see {LAB}/lab.log")


if __name__ == "__main__":
    main()
