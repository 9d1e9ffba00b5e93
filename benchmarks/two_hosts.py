"""Two network namespaces stand for two machines: `sudo python benchmarks/two_hosts.py`. Linux, needs `ip` and root.

Each has its own network stack and its own current folder; a virtual cable connects them. `torchrun --nnodes=2` trains
one model on both. Then the cable is cut in mid-run: both must end by themselves, which is timed. With the cable back,
`resume=` continues the run, which must equal one that was never cut, byte for byte.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from report import leave, table
from safetensors.torch import load_file

SCRIPTS = Path(sys.executable).parent
TINY = (
    "dataset=shapes", "dataset.size=60", "image_size=8", "batch_size=8", "threads=1", "precision=fp32", "recipe=none",
    "architecture.generator.base_channels=2", "architecture.discriminator.base_channels=2", "training.log_every=5",
    "training.sample_every=0", "training.checkpoint_every=5", "training.lr_schedule=constant", "device=cpu",
)  # fmt: skip
PORT = 29500
START_SECONDS = 300  # that the first steps may take on a busy machine
POLL = 0.1


class Host(NamedTuple):
    """A network namespace with one end of the cable, its address, and a folder that the other host does not see."""

    name: str
    interface: str
    address: str
    folder: Path

    def start(self, *overrides: str, first: str, job: str) -> subprocess.Popen[str]:
        """Starts this host's part of a job; `first` is the address of the first host."""
        command = [
            "ip", "netns", "exec", self.name, str(SCRIPTS / "torchrun"), "--nnodes=2", "--nproc-per-node=1",
            f"--node-rank={int(self.address != first)}", f"--master-addr={first}", f"--master-port={PORT}",
            "--no-python", str(SCRIPTS / "gan-train"), *overrides,
        ]  # fmt: skip
        environment = os.environ | {"GLOO_SOCKET_IFNAME": self.interface, "OMP_NUM_THREADS": "1"}
        with open(self.folder / f"{job}.log", "w") as log:
            return subprocess.Popen(command, cwd=self.folder, env=environment, stdout=log, stderr=log, text=True)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


@contextlib.contextmanager
def two_hosts(folder: Path) -> Iterator[tuple[Host, Host]]:
    """Makes the namespaces and the cable, and removes them."""
    unique = os.getpid() % 10_000
    hosts = [
        Host(f"gan-{letter}-{unique}", f"gan{letter}{unique}", f"10.77.0.{number}", folder / letter)
        for number, letter in enumerate("ab", 1)
    ]
    try:
        for host in hosts:
            ip("netns", "add", host.name)
            host.folder.mkdir()
        ip("link", "add", hosts[0].interface, "type", "veth", "peer", "name", hosts[1].interface)
        for host in hosts:
            ip("link", "set", host.interface, "netns", host.name)
            ip("-n", host.name, "addr", "add", f"{host.address}/24", "dev", host.interface)
            ip("-n", host.name, "link", "set", "lo", "up")
            ip("-n", host.name, "link", "set", host.interface, "up")
        yield hosts[0], hosts[1]
    finally:
        for host in hosts:
            subprocess.run(["ip", "netns", "del", host.name], check=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--timeout", type=int, default=10, help="device.timeout, seconds")
    parser.add_argument("--steps", type=int, default=400)
    given = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("two_hosts.py makes network namespaces: run it as root")
    with tempfile.TemporaryDirectory() as folder, two_hosts(Path(folder)) as hosts:
        rows = measured(hosts, given.timeout, given.steps)
    print(table(["what", "result"], [[name, str(value)] for name, value in rows.items()]))
    print(leave("two_hosts", rows))


def measured(hosts: tuple[Host, Host], timeout: int, steps: int) -> dict[str, object]:
    """Trains a run unbroken and a run that is cut, and compares them."""
    numbers = [f"device.timeout={timeout}", f"steps={steps}"]
    codes = finish(start(hosts, "whole", *TINY, *numbers, "name=whole"), START_SECONDS + steps)
    rows: dict[str, object] = {"unbroken: exit codes": codes}
    jobs = start(hosts, "cut", *TINY, *numbers, "name=run")
    wait_for_checkpoint(hosts[0].folder, jobs)
    set_cable(hosts[1], "down")
    rows["seconds until training and torchrun ended on each host"] = ends_of(hosts, jobs, timeout + 60)
    rows["cut off: exit codes of torchrun"] = finish(jobs, 1)
    rows["cut off: last lines"] = [last_line(host.folder / "cut.log") for host in hosts]
    set_cable(hosts[1], "up")
    rows["continued from"] = newest_checkpoint(hosts[0].folder)
    again = start(hosts, "again", "resume=outputs/run", numbers[0])
    rows["resumed: exit codes"] = finish(again, START_SECONDS + steps)
    whole, run = (load_file(last_of(hosts[0].folder, name)) for name in ("whole", "run"))
    rows["tensors that differ from those of the unbroken run"] = sum(not torch.equal(whole[k], run[k]) for k in whole)
    return rows


def start(hosts: tuple[Host, Host], job: str, *overrides: str) -> list[subprocess.Popen[str]]:
    return [host.start(*overrides, first=hosts[0].address, job=job) for host in hosts]


def set_cable(host: Host, state: str) -> None:
    ip("-n", host.name, "link", "set", host.interface, state)


def finish(jobs: list[subprocess.Popen[str]], seconds: float) -> list[int]:
    return [job.wait(timeout=seconds) for job in jobs]


def last_of(folder: Path, name: str) -> Path:
    (path,) = folder.glob(f"outputs/{name}/*/checkpoints/last.safetensors")
    return path


def newest_checkpoint(folder: Path) -> str:
    return max(path.stem for path in folder.glob("outputs/run/*/checkpoints/step_*.safetensors"))


def wait_for_checkpoint(folder: Path, jobs: list[subprocess.Popen[str]]) -> None:
    until = time.monotonic() + START_SECONDS
    while not [*folder.glob("outputs/run/*/checkpoints/step_00000005*")]:
        if time.monotonic() > until or any(job.poll() is not None for job in jobs):
            raise SystemExit("the run has not started, see --help")
        time.sleep(POLL)


def ends_of(hosts: tuple[Host, Host], jobs: list[subprocess.Popen[str]], most: float) -> list[float]:
    """Returns the seconds until no process of each host is left."""
    started, ends = time.monotonic(), [0.0, 0.0]
    while not all(ends):
        for number, host in enumerate(hosts):
            if not ends[number] and jobs[number].poll() is not None and not processes_of(host):
                ends[number] = round(time.monotonic() - started, 1)
        if time.monotonic() - started > most:
            raise SystemExit(f"a host still has processes {most:.0f} s after the cable was cut")
        time.sleep(POLL)
    return ends


def processes_of(host: Host) -> list[str]:
    done = subprocess.run(["ip", "netns", "pids", host.name], capture_output=True, text=True, check=True)
    return done.stdout.split()


def last_line(path: Path) -> str:
    lines = [line for line in path.read_text().splitlines() if line.startswith("gan-train:")]
    return lines[-1] if lines else "-"


if __name__ == "__main__":
    main()
