"""How near `gan-sample` comes to the bare network, and that its memory does not grow with what it makes.

Each row is a process of its own with one thread. Bare is the generator's forward pass alone, of the same batches, its
latents drawn before: measured before and after, since a machine's pace changes. The other is all that the command does
once torch is imported: loading, drawing latents, making, rounding and writing. Seconds are the
processor's, so that others on the machine do not count.

    python benchmarks/sampling.py                      # the default network, n of 1,000, 10,000 and 100,000
    python benchmarks/sampling.py image_size=64        # another one: overrides of gan-train

Leaves outputs/bench/sampling.json.
"""

from __future__ import annotations

import contextlib
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean

from report import leave, table

COUNTS = (1_000, 10_000, 100_000)
FEW = 1_000  # for the formats that a person looks at
BARE = 20_000  # images for each measurement of the network alone
MEASURE = "--measure"


def measure(ckpt: str, count: int, kind: str, out: str) -> dict[str, float]:
    """In this process: images a second by the bare network and by the command, and the most memory at any time."""
    import torch

    from gan_cli.config.commands import SampleConfig
    from gan_cli.config.compose import compose_command
    from gan_cli.config.validation import parse
    from gan_cli.models.build_networks import build_generator, latent_of
    from gan_cli.models.generate import latents_from_seeds
    from gan_cli.sampling.sample import sample
    from gan_cli.state import checkpoint

    torch.set_num_threads(1)
    command = [f"ckpt={ckpt}", f"n={count}", f"format={kind}", f"out={out}", "device=cpu"]
    config = parse(SampleConfig, compose_command("sample", command).data)
    found = checkpoint.load_named(Path(ckpt))
    network = build_generator(found.config, found.tensors, torch.device("cpu"), ema=config.ema).eval()
    latents = latents_from_seeds(range(config.batch_size), latent_of(found.config))

    def bare() -> float:
        batches = max(1, min(count, BARE) // config.batch_size)
        started = time.process_time()
        with torch.no_grad():
            for _ in range(batches):
                network(latents, None)
        return batches * config.batch_size / (time.process_time() - started)

    bare()
    before = bare()
    started = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        sample(config)
    made = count / (time.process_time() - started)
    forward = mean((before, bare()))
    return {
        "format": kind,
        "n": count,
        "batch_size": config.batch_size,
        "bare": round(forward, 1),
        "gan_sample": round(made, 1),
        "ratio": round(made / forward, 3),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10, 1),
    }


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        train = ["dataset.download=false", *sys.argv[1:], "steps=1", "threads=1", f"output={scratch}", "name=run"]
        run([sys.executable, "-m", "gan_cli.cli", "train", *train])
        for kind, count in [*(("npz", count) for count in COUNTS), ("images", FEW), ("grid", FEW)]:
            point = [f"{scratch}/run", str(count), kind, f"{scratch}/{kind}-{count}"]
            rows.append(json.loads(run([sys.executable, __file__, MEASURE, *point])))
    headers = ["format", "n", "batch", "bare network, images/s", "gan-sample, images/s", "ratio", "peak memory, MB"]
    print(table(headers, [list(row.values()) for row in rows]))
    print(leave("sampling", {"threads": 1, "rows": rows}))


def run(command: list[str]) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    if MEASURE in sys.argv:
        _, _, path, number, kind, out = sys.argv
        print(json.dumps(measure(path, int(number), kind, out)))
    else:
        main()
