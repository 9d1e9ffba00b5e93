"""The model of `cluster_model.py` beside runs of 1, 2 and 4 processes on this CPU, each with one thread.

Fitted to this machine: seconds of a step's fixed part and for each image, from runs of one process with 256, 128 and 64
images; the latency and the bandwidth of transfers, from all-reduces of several sizes between idle processes. The steps
of several processes are then predicted, and measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.distributed as dist
from cluster_model import Link, Processor, all_transfers, fit_line, processor_step
from report import leave, table
from scaling import DCGAN, RUNS, Kind, process_rows, run_rate
from update_work import count_work
from updates import replaced

from gan_cli.device import count_cores

BATCH, SMALLER = 256, (128, 64)
SIZES = (1 << 10, 1 << 14, 1 << 18, 1 << 20, 1 << 22, 1 << 24)  # bytes
REPEATS = 30
COUNTS = (2, 4)


def time_transfers(rank: int, count: int, store: str) -> dict[int, float]:
    """In one of `count` processes: the median seconds of an all-reduce of each size, by gloo as in a run."""
    torch.set_num_threads(1)
    file = dist.FileStore(store, count)
    dist.init_process_group("gloo", store=file, rank=rank, world_size=count, timeout=timedelta(seconds=120))
    found = {}
    for size in SIZES:
        tensor, seconds = torch.zeros(size // 4), []
        for _ in range(REPEATS):
            dist.barrier()
            started = time.perf_counter()
            dist.all_reduce(tensor)
            seconds.append(time.perf_counter() - started)
        found[size] = median(seconds[REPEATS // 3 :])
    return found


def measured_link(count: int) -> tuple[Link, dict[int, float]]:
    """Returns the link of a ring of `count` processes here, and the seconds by size that it is fitted to."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, str(count), str(Path(folder) / "store")]
        modules = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
        environment = {**os.environ, "PYTHONPATH": modules, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
        workers = [
            subprocess.Popen([*command, str(rank)], stdout=subprocess.PIPE, text=True, env=environment)
            for rank in range(count)
        ]
        texts = [worker.communicate(timeout=600)[0] for worker in workers]
    seconds = {int(size): value for size, value in json.loads(texts[0].splitlines()[-1]).items()}
    # 2 (n - 1) messages, each of a latency and of 1 / n of the bytes
    messages = 2 * (count - 1)
    latency, per_byte = fit_line([(size / count, value / messages) for size, value in seconds.items()])
    return Link(latency, 1 / max(per_byte, 1e-15)), seconds


def measured_processor(overrides: Sequence[str], steps: int, whole: float) -> tuple[Processor, dict[int, float]]:
    """Returns the processor, and the seconds of a step of one process by its batch; `whole` are those of BATCH."""
    seconds = {BATCH: whole}
    for batch in SMALLER:
        rate = run_rate(replaced(overrides, f"batch_size={batch}"), 1, 1, steps * BATCH // batch, 10 * BATCH // batch)
        seconds[batch] = batch / rate
    fixed, per_image = fit_line(list(seconds.items()))
    return Processor(fixed, per_image, count_cores()), seconds


def tell_measured(rounds: int, steps: int, override: Sequence[str]) -> None:
    """Measures, predicts, prints a table and leaves outputs/bench/cluster_measured.json."""
    overrides = replaced(DCGAN, *override)
    names = {count: next(name for name, kind in RUNS.items() if kind == Kind(count, 1)) for count in (1, *COUNTS)}
    rows = {row["run"]: row for row in process_rows(overrides, rounds, steps, 10, list(names.values()))}
    seconds = {processes: BATCH / rows[name]["images_per_second"] for processes, name in names.items()}
    processor, by_batch = measured_processor(overrides, steps, seconds[1])
    print(f"a step: {1000 * processor.fixed:.1f} ms + {1000 * processor.per_image:.3f} ms an image,"
          f" {processor.cores} cores; measured {_rounded(by_batch)}")  # fmt: skip
    links: dict[int, Any] = {}
    work = count_work(overrides)
    told: list[list[Any]] = [[1, f"{1000 * seconds[1]:.0f}", f"{1000 * seconds[1]:.0f}", "", 0, "fitted"]]
    for count in COUNTS:
        link, by_size = measured_link(count)
        links[count] = link._asdict()
        sent = work.transfers(count, BATCH // count)
        transfers = all_transfers(sent, count, link, tree=False) / work.steps
        step = processor_step(processor, count, BATCH, transfers)
        ratio = f"{step / seconds[count]:.2f}"
        told.append([count, f"{1000 * step:.0f}", f"{1000 * seconds[count]:.0f}", ratio, f"{1000 * transfers:.1f}", ""])
        print(f"{count} processes: a message {1e6 * link.latency:.0f} us, {link.bandwidth / 1e9:.2f} GB/s;"
              f" all-reduces {_rounded(by_size)}; {len(sent) / work.steps:.0f} transfers a step")  # fmt: skip
    headers = ["processes", "step by the model, ms", "measured, ms", "model / measured", "of it transfers, ms", ""]
    print(table(headers, told))
    facts = {"processor": processor._asdict(), "by_batch": by_batch, "links": links, "seconds": seconds}
    print(leave("cluster_measured", {"overrides": overrides, **facts, "rows": list(rows.values())}))


def _rounded(seconds: dict[int, float]) -> str:
    return ", ".join(f"{key}: {1000 * value:.3g} ms" for key, value in seconds.items())


if __name__ == "__main__":
    count, store, rank = sys.argv[1:]
    print(json.dumps(time_transfers(int(rank), int(count), store)))
