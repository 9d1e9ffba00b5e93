"""Mutants of files that others may have made, given to the functions that read them, in one process for many.

With atheris (`pip install atheris`), which is optional, the mutants are guided by the lines that they reach. Without
it, `mutate` makes them at random. A function may refuse a file by an error of gan-cli; any other exception is a fault.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from torture.scenarios import finished_run
from torture.worker import Trial

BATCH = 5000  # mutants of a trial of the full set
QUICK = 300  # of the first trial of each target, which the quick set makes
TIMEOUT, MEMORY = 60, 2048  # seconds of a mutant, and MiB
NAMES = ("header", "metadata", "record", "picture", "options", "labels", "archive")
TOKENS = (
    b"\0", b"\xff" * 8, b"\x1b]0;x\x07", b"NaN", b"1e999", b"-1", b"9" * 5000, b"null", b"[[[[", b"{}", b'"', b",",
    b"\n", b"../", b"/", b"${", b"!!python/object", b"&a *a", b"\x80\x02", b"PK\x05\x06", b"sha256", b"__metadata__",
)  # fmt: skip
TRIALS = len(NAMES), len(NAMES) + 200
CASES = len(NAMES) * QUICK, len(NAMES) * QUICK + 200 * BATCH
WITHOUT = "at random, without atheris"
ROOT = Path(__file__).resolve().parents[2]


def mutate(seeds: Sequence[bytes], random: Random) -> bytes:
    """Returns one of the seeds after a few random changes."""
    content = bytearray(random.choice(seeds))
    for _ in range(1 << random.randrange(5)):
        place = random.randrange(len(content) + 1)
        size = random.choice((1, 2, 4, 8, random.randrange(len(content) + 1)))
        match random.randrange(6):
            case 0 if place < len(content):
                content[place] ^= 1 << random.randrange(8)
            case 1:
                content[place : place + size] = random.randbytes(min(size, 64))
            case 2:
                del content[place : place + size]
            case 3:
                content[place:place] = content[place : place + size]
            case 4:
                content[place:place] = random.choice(TOKENS)
            case 5:
                other = random.choice(seeds)
                content[place:] = other[random.randrange(len(other) + 1) :]
    return bytes(content[: 1 << 20])


def mutants(trial: Trial) -> None:
    """Gives mutants to one of the functions. The seed of the first trial of each gives QUICK of them."""
    name = NAMES[trial.index % len(NAMES)]
    trial.cases = QUICK if trial.index < len(NAMES) else BATCH
    seeds = trial.folder / "seeds"
    seeds.mkdir()
    for number, content in enumerate(seed_files(name, finished_run(trial))):
        (seeds / str(number)).write_bytes(content)
    quick, found = trial.index < len(NAMES), importlib.util.find_spec("atheris") is not None
    guided = found and not quick
    trial.note = f"{trial.cases} of {name}, {'by atheris' if guided else 'at random' if quick else WITHOUT}"
    last = trial.folder / "mutant"

    def try_all() -> int:
        from torture.fuzz_targets import target

        check = target(name, trial.here)
        contents = [path.read_bytes() for path in sorted(seeds.iterdir())]
        for _ in range(trial.cases):
            content = mutate(contents, trial.random)
            last.write_bytes(content)
            check(content)
        return 0

    ended = trial.call(_guided(trial, name, seeds) if guided else try_all)
    if ended.code and ended.code > 0:
        trial.fault("traceback", f"{name}: exit code {ended.code}, {ended.last_line}; the file is {last.name}")


def _guided(trial: Trial, name: str, seeds: Path) -> Callable[[], int]:
    """Returns the function that runs atheris, which must be loaded before gan_cli, in a new Python."""
    program = [sys.executable, "-m", "torture.fuzz_targets", name, str(trial.here), str(seeds)]
    program += [f"-runs={trial.cases}", f"-seed={trial.random.randrange(1, 1 << 31)}", f"-timeout={TIMEOUT}"]
    program += [f"-rss_limit_mb={MEMORY}", "-max_len=65536", "-verbosity=0", f"-artifact_prefix={trial.folder}/mutant-"]
    paths = [str(ROOT), str(ROOT / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    return lambda: subprocess.run(program, check=False, env=environment).returncode


def seed_files(name: str, run: Path) -> list[bytes]:
    """Returns valid files of the kind that a function reads."""
    from torture.hostile import pictures

    checkpoint = (run / "checkpoints" / "last.safetensors").read_bytes()
    match name:
        case "header":
            return [checkpoint[:20_000]]
        case "metadata":
            from gan_cli.storage.checksummed_file import parse_metadata

            return [json.dumps(parse_metadata(checkpoint)).encode()]
        case "record":
            return [(run / each).read_bytes() for each in ("config.json", "metrics.jsonl")]
        case "picture":
            return [pictures.picture(3, 9, kind) for kind in pictures.FORMATS]
        case "options":
            return [(ROOT / "configs" / each).read_bytes() for each in ("loss/hinge.yaml", "dataset/folder.yaml")]
        case "labels":
            csv = b"file,label,smiling\n0.png,cat,1\n1.png,dog,-1\n2.png,cat,1\n"
            return [csv, csv.replace(b",", b"\t"), b'{"labels": [["0.png", 0], ["1.png", 1], ["2.png", 0]]}',
                    b'{"file_name": "0.png", "label": 1}\n{"file_name": "1.png", "label": 2}\n']  # fmt: skip
    entries = {f"{letter}/{index}.png": pictures.picture(index, 8) for index, letter in enumerate("aabb")}
    return [pictures._zip(entries), pictures._tar(entries, ("l.png", b"2"))]
