"""Training on images in shards, which are decoded while it runs, beside training on the same number in memory.

    python benchmarks/shards.py                      # 20,000 pictures of 16 px, in a few minutes
    python benchmarks/shards.py --count 1000000 --steps 500 --networks dcgan

Steps on shards and steps on a tensor of as many pictures alternate in one process, with the same networks: each ratio
is of two neighbours, and the median is told. RssAnon (memory that is the process's own) is read in another process,
over one epoch on shards alone: it trains for at most --steps steps, and draws the other batches of the epoch without
training on them. Last, a run is killed in mid-epoch and resumed, and its weights are compared with those of a run that
was not. A million pictures take about 3 GB of disk. Leaves outputs/bench/shards.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from statistics import median

from report import leave, table
from scaling import _anonymous

CONTENTS = 2000  # pictures that differ; a decoder does not mind seeing one again
NETWORKS = {
    "default": [],
    "dcgan": [
        "architecture=dcgan", "architecture.generator.base_channels=64", "architecture.discriminator.base_channels=64",
        "recipe=none",
    ],
}  # fmt: skip


def write_shards(folder: Path, count: int, each: int, side: int, kind: str) -> None:
    """So many pictures of `side` pixels, drawn as smooth colours, with one of ten classes each."""
    import numpy as np
    from PIL import Image

    random, contents = np.random.default_rng(0), []
    for _ in range(CONTENTS):
        coarse = Image.fromarray(random.integers(0, 256, (3, 3, 3), dtype=np.uint8))
        stream = io.BytesIO()
        coarse.resize((side, side), Image.Resampling.BICUBIC).save(stream, kind)
        contents.append(stream.getvalue())
    folder.mkdir(parents=True, exist_ok=True)
    for shard, start in enumerate(range(0, count, each)):
        with open(folder / f"train-{shard:04d}.tar", "wb") as tar:
            for index in range(start, min(count, start + each)):
                tar.write(tar_member(f"{index:08d}.{kind}", contents[index % CONTENTS]))
                tar.write(tar_member(f"{index:08d}.cls", str(index % 10).encode()))
            tar.write(bytes(2 * tarfile.BLOCKSIZE))


def tar_member(name: str, content: bytes) -> bytes:
    """A member of a tar: its header and its content, in whole blocks."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return info.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % tarfile.BLOCKSIZE)


def measure(overrides: list[str], steps: int, rounds: int, *, alone: bool) -> dict[str, object]:
    """In this process: the start, then alternating steps on shards and in memory; `alone`: shards, and RssAnon."""
    import torch

    from gan_cli.config.compatibility import parse_config
    from gan_cli.config.compose import compose_command
    from gan_cli.data.load_dataset import build_batches, build_dataset
    from gan_cli.launch.autotune import resolve_precision
    from gan_cli.state.train_state import build_state
    from gan_cli.training.objective import build_objective
    from gan_cli.training.steps import training_step

    config = resolve_precision(parse_config(compose_command("train", overrides).data), torch.device("cpu"))
    torch.set_num_threads(int(config.threads))
    started = time.perf_counter()
    dataset = build_dataset(config.dataset, config.image_size)
    found: dict[str, object] = {"start_seconds": round(time.perf_counter() - started, 2), "samples": len(dataset)}
    state = build_state(config, torch.device("cpu"))
    state.counters.total_steps = 10**9
    streamed = build_batches(config, dataset, state.device)
    if alone:
        objective, anonymous = build_objective(config, streamed), []
        epoch, clock = len(dataset) // config.batch_size, time.perf_counter()
        for step in range(epoch):
            if step < steps:
                training_step(state, objective, streamed)
            else:
                streamed.draw(step)
            if step % max(1, epoch // 8) == max(1, epoch // 8) - 1:
                anonymous.append(_anonymous())
        spent = round(time.perf_counter() - clock)
        return {**found, "trained_steps": min(steps, epoch), "epoch": epoch, "seconds": spent, "anon_mb": anonymous}
    whole = torch.randint(0, 256, dataset.samples.shape, dtype=torch.uint8)
    in_memory = build_batches(config, dataclasses.replace(dataset, samples=whole, order=None), state.device)
    seconds: dict[str, list[float]] = {"shards": [], "memory": []}
    processor: dict[str, list[float]] = {"shards": [], "memory": []}
    for block in range(2 * rounds + 2):
        name, batches = (("memory", in_memory), ("shards", streamed))[block % 2]
        objective = build_objective(config, batches)
        for _ in range(5):  # fills the batches that are decoded ahead
            training_step(state, objective, batches)
        clock, cpu = time.perf_counter(), time.process_time()
        for _ in range(steps):
            training_step(state, objective, batches)
        if block >= 2:  # the first two warm up
            seconds[name].append((time.perf_counter() - clock) / steps / config.batch_size)
            processor[name].append((time.process_time() - cpu) / steps / config.batch_size)
    ratios = [memory / shards for memory, shards in zip(seconds["memory"], seconds["shards"], strict=True)]
    found |= {f"{name}_images_per_second": round(1 / median(times), 1) for name, times in seconds.items()}
    found |= {f"{name}_cpu_ms_per_image": round(1000 * median(times), 3) for name, times in processor.items()}
    return {**found, "ratio": round(median(ratios), 3), "ratios": [round(each, 3) for each in ratios]}


def child(mode: str, steps: int, rounds: int, overrides: list[str]) -> dict:
    command = [sys.executable, __file__, mode, str(steps), str(rounds), *overrides]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def resumed_equals_unbroken(overrides: list[str], folder: Path, steps: int) -> bool:
    """Trains twice; the second run is killed after its first checkpoint, and resumed."""
    import torch

    from gan_cli.state import checkpoint

    train = [sys.executable, "-m", "gan_cli.cli", "train", *overrides, f"steps={steps}", f"output={folder}"]
    train += [f"training.checkpoint_every={steps // 3}", "training.sample_every=0", "deterministic=true"]
    subprocess.run([*train, "name=unbroken"], check=True, stdout=subprocess.DEVNULL)
    running = subprocess.Popen([*train, "name=killed"], stdout=subprocess.DEVNULL)
    last = "killed/*/checkpoints/last.safetensors"
    while running.poll() is None and not any(checkpoint.load(path).counters.step for path in folder.glob(last)):
        time.sleep(0.05)
    running.send_signal(signal.SIGKILL)
    running.wait()
    (run,) = folder.glob("killed/*")
    done = checkpoint.load(run / "checkpoints/last.safetensors").counters.step
    if not 0 < done < steps:
        raise RuntimeError(f"killed at step {done} of {steps}: choose more steps")
    subprocess.run([*train[:4], f"resume={run}"], check=True, stdout=subprocess.DEVNULL)
    (other,) = folder.glob("unbroken/*")
    one, two = (checkpoint.load(each / "checkpoints/last.safetensors") for each in (run, other))
    same = one.tensors.keys() == two.tensors.keys() and one.counters == two.counters
    return same and all(torch.equal(tensor, two.tensors[name]) for name, tensor in one.tensors.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--each", type=int, default=10_000, help="pictures of a shard")
    parser.add_argument("--side", type=int, default=16)
    parser.add_argument("--kind", choices=("png", "jpeg", "webp"), default="png")
    parser.add_argument("--steps", type=int, default=2000, help="steps of the process whose memory is read")
    parser.add_argument("--block", type=int, default=15, help="steps between two changes of the store")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--networks", nargs="*", choices=NETWORKS, default=[*NETWORKS])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, started = Path(name), time.perf_counter()
        write_shards(folder / "shards", given.count, given.each, given.side, given.kind)
        print(f"{given.count:,} pictures written in {time.perf_counter() - started:.0f} s", file=sys.stderr)
        data = ["dataset=webdataset", f"dataset.path={folder}/shards", f"dataset.cache={folder}/cache"]
        data += [f"image_size={given.side}", f"threads={given.threads}", "batch_size=64"]
        rows: list[dict] = []
        for networks in given.networks:
            overrides = [*data, *NETWORKS[networks]]
            rows.append({"networks": networks, **child("--compare", given.block, given.rounds, overrides)})
            print(rows[-1], file=sys.stderr)
        alone = child("--alone", given.steps, 0, [*data, *NETWORKS["dcgan"]])
        print(alone, file=sys.stderr)
        equal = resumed_equals_unbroken([*data, *NETWORKS["dcgan"]], folder / "runs", 45)
    keys = ("memory_images_per_second", "shards_images_per_second", "ratio")
    print(
        table(
            ["networks", "in memory, images/s", "shards", "ratio"],
            [[r["networks"], *(r[k] for k in keys)] for r in rows],
        )
    )
    print(f"first start {rows[0]['start_seconds']} s, later {alone['start_seconds']} s; RssAnon {alone['anon_mb']} MB")
    print(f"killed and resumed equals unbroken: {equal}")
    settings = {key: value for key, value in vars(given).items() if key != "networks"}
    print(leave("shards", {**settings, "cores": os.cpu_count(), "rows": rows, "alone": alone, "resumed_equal": equal}))


if __name__ == "__main__":
    if sys.argv[1:2] in (["--compare"], ["--alone"]):
        mode, steps, rounds, *overrides = sys.argv[1:]
        print(json.dumps(measure(overrides, int(steps), int(rounds), alone=mode == "--alone")))
    else:
        main()
