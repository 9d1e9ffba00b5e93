"""Whether two versions of this program train to the same bits; for changes that must alter no number.

    python tests/bit_equality.py record before.json --python ../before/.venv/bin/python --root DATA
    python tests/bit_equality.py check before.json --root DATA

`record` trains every experiment and 30 random valid configs for 20 steps each, deterministic, on one thread, and keeps
the sha256 of the final tensors and the metrics that do not measure time; it goes on where it was stopped. `check`
repeats the recorded commands and names what differs; its exit code is 1 if anything does. MNIST and Fashion-MNIST lie
below `--root`; experiments on other images train on drawn shapes instead. Only the command line is used, so that
versions of any layout can be compared.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from safetensors import safe_open

RANDOM_CONFIGS = 30
STEPS = 20
USAGE_ERROR, DIVERGED = 2, 4  # exit codes
SHORT = [
    f"steps={STEPS}", "training.log_every=1", "training.sample_every=0", "deterministic=true", "threads=1",
    "device=cpu", "output=.", "name=run",
]  # fmt: skip
SHAPES = ["dataset=shapes", "dataset.size=400", "dataset.image_channels=3", "conditioning=none"]
TIMED = re.compile(r"second|memory|time|throughput")  # in names of metrics that measure the machine

# Choices of the random configs. What does not go together is refused by the program and drawn again.
DATA = [
    ["dataset=shapes", "dataset.size=400", "image_size=16"],
    ["dataset=shapes", "dataset.size=400", "image_size=24", "dataset.image_channels=3"],
    ["dataset=ring"],
    ["dataset=grid"],
    ["dataset=swiss_roll"],
]
NETWORKS = ["architecture=dcgan", "architecture=mlp", "architecture=resnet", "architecture=subpixel"]
LOSSES = ["hinge", "least_squares", "minimax", "non_saturating", "relativistic", "wasserstein"]
PENALTIES = [
    "r1", "r1_lazy", "[r1,r2]", "[r1,lecam]", "gradient_penalty", "dragan", "consistency", "js", "orthogonal",
    "weight_clip", "zero_centered", "zero_centered_lazy", "none",
]  # fmt: skip
EXTRAS = [
    "conditioning=acgan", "conditioning=projection", "conditioning=concat", "training.n_critic=3",
    "training.generator_updates=2", "training.critic_warmup=4", "training.alternate=epoch", "training.accumulate=2",
    "training.pack=2", "training.instance_noise=0.1", "training.augment=[flip,translation]",
    "training.augment=[color,cutout] training.ada_target=0.6", "training.top_k=0.5", "training.unroll_steps=2",
    "training.label_smoothing=0.1", "training.reuse_fakes=false", "training.clip_grad_norm=1.0",
    "training.lr_schedule=linear", "training.lr_schedule=cosine", "training.ema_decay=0", "precision=bf16",
    "optimizer=rmsprop", "optimizer=sgd", "optimizer=adamw", "training.freeze_discriminator_layers=1",
    "training.evaluate_every=10",
]  # fmt: skip


def experiments(python: Path) -> list[list[str]]:
    """One command a published experiment, as `gan-train --help` lists them."""
    text = _run(python, ["--help"]).stdout
    listed = re.search(r"^ +experiment +(\S.*)$", text, re.MULTILINE)
    assert listed is not None
    return [[f"experiment={name}"] for name in listed[1].split(", ")]


def on_local_data(python: Path, command: list[str], root: Path) -> list[str]:
    """The command on data that lie here, of one batch size for all images."""
    shown = _run(python, [*command, "--cfg", "job"]).stdout
    dataset = re.search(r"^dataset:(?:\n  .*)*?\n  name: (\w+)", shown, re.MULTILINE)
    assert dataset is not None
    if "mnist" in dataset[1]:
        local = [f"dataset.root={root.absolute()}", "dataset.download=false", "dataset.limit=1000", "batch_size=16"]
    else:
        local = [*SHAPES, "batch_size=16"] if dataset[1] in ("folder", "cifar10") else []
    budget = ["budget=null"] if command == ["experiment=fast"] else []
    return [*command, *local, *budget]


def draw(seed: int) -> list[str]:
    """A random config of small networks, which need not be valid."""
    choose = random.Random(seed)
    chosen = [
        *choose.choice(DATA),
        f"loss={choose.choice(LOSSES)}",
        f"seed={choose.randrange(1000)}",
        "batch_size=16",
        *choose.choice([[], [f"regularizer={choose.choice(PENALTIES)}"]]),
        *(part for extra in choose.sample(EXTRAS, choose.randrange(4)) for part in extra.split()),
    ]
    points = not any("shapes" in part for part in chosen)
    network = "architecture=mlp" if points else choose.choice(NETWORKS)
    base = "architecture.generator.base_channels=8 architecture.discriminator.base_channels=8"
    return [network, *chosen, *([] if network.endswith("mlp") else base.split())]


def trained(python: Path, command: list[str]) -> dict[str, Any]:
    """Exit code, and digests of the last checkpoint's tensors and of the metrics, by name."""
    with tempfile.TemporaryDirectory() as folder:
        done = _run(python, [*command, *SHORT], folder)
        result: dict[str, Any] = {"exit": done.returncode}
        if done.returncode not in (0, DIVERGED):
            return {**result, "error": done.stderr.strip()[-300:]}
        for path in Path(folder).glob("run/*/checkpoints/last.safetensors"):
            result["tensors"] = _tensors(path)
        for path in Path(folder).glob("run/*/metrics.jsonl"):
            result["metrics"] = _metrics(path)
        return result


def _tensors(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name).contiguous() for name in file.keys()}  # noqa: SIM118
    return {
        name: hashlib.sha256(
            repr((tensor.shape, tensor.dtype)).encode() + tensor.view(-1).numpy().tobytes()
        ).hexdigest()
        for name, tensor in tensors.items()
    }


def _metrics(path: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [{key: value for key, value in line.items() if not TIMED.search(key)} for line in lines]


def differing(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Names of what is not equal."""
    found = [key for key in ("exit", "metrics") if before.get(key) != now.get(key)]
    tensors, others = before.get("tensors", {}), now.get("tensors", {})
    return found + sorted(name for name in tensors.keys() | others.keys() if tensors.get(name) != others.get(name))


def _run(python: Path, command: list[str], folder: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    program = str(python.absolute().with_name("gan-train"))
    return subprocess.run([program, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False)


def record(file: Path, python: Path, root: Path) -> None:
    """Keeps commands and digests in `file`, a JSON list, one entry after the other."""
    rows = json.loads(file.read_text()) if file.exists() else []
    known = {tuple(row["command"]) for row in rows}
    commands = [on_local_data(python, command, root) for command in experiments(python)]
    for command in commands:
        if tuple(command) not in known:
            _keep(rows, file, command, trained(python, command))
    seed = max((row.get("draw", -1) for row in rows), default=-1) + 1
    while sum("draw" in row for row in rows) < RANDOM_CONFIGS:
        command = draw(seed)
        result = trained(python, command)
        if result["exit"] != USAGE_ERROR:
            _keep(rows, file, command, result, draw=seed)
        seed += 1


def _keep(rows: list[dict[str, Any]], file: Path, command: list[str], result: dict[str, Any], **more: int) -> None:
    rows.append({"command": command, **more, "result": result})
    file.write_text(json.dumps(rows))
    print(f"exit {result['exit']}, {len(result.get('tensors', ()))} tensors: {' '.join(command)}", flush=True)
    if "error" in result:
        print(f"  {result['error']}", flush=True)


def check(file: Path, python: Path, root: Path) -> int:
    """How many recorded commands come to other bits now; each is named with what differs first."""
    changed = 0
    for row in json.loads(file.read_text()):
        command = [
            f"dataset.root={root.absolute()}" if part.startswith("dataset.root=") else part for part in row["command"]
        ]
        result = trained(python, command)
        names = differing(row["result"], result)
        changed += bool(names)
        verdict = f"{len(names)} differ, first {names[0]}" if names else "equal"
        print(f"{verdict} ({len(result.get('tensors', ()))} tensors): {' '.join(command)}", flush=True)
        if "error" in result and names:
            print(f"  {result['error']}", flush=True)
    return changed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["record", "check"])
    parser.add_argument("file", type=Path)
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="of the version to train with")
    parser.add_argument("--root", type=Path, required=True, help="folder of MNIST and Fashion-MNIST")
    options = parser.parse_args()
    if options.action == "record":
        record(options.file, options.python, options.root)
    else:
        sys.exit(1 if check(options.file, options.python, options.root) else 0)


if __name__ == "__main__":
    main()
