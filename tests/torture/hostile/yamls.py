"""A folder `configs` in the current folder, or a file of it, made by a stranger."""

from __future__ import annotations

from pathlib import Path
from random import Random

EXPERIMENT = "# @package _global_\n"
ALIASES = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
TEXTS = {
    "aliases that explode": ALIASES,
    "a Python tag": EXPERIMENT + "name: !!python/object/apply:os.system ['touch canary']\n",
    "a target": EXPERIMENT + "loss:\n  _target_: os.system\n  command: touch canary\n",
    "an environment variable": EXPERIMENT + "name: ${oc.env:HOME}\n",
    "an output elsewhere": EXPERIMENT + "output: ../elsewhere\n",
    "a cache elsewhere": EXPERIMENT + "defaults:\n- override /dataset: folder\ndataset:\n  cache: ../elsewhere\n",
    "another package": "# @package _global_.dataset\nroot: ../elsewhere\n",
    "keys of another section": EXPERIMENT + "defaults:\n- /architecture/generator/evil@_global_\n",
    "a text of another key": EXPERIMENT + "name: wandb\nlogger: ['${name}']\n",
    "a tracker": EXPERIMENT + "logger: [wandb]\n",
    "a plugin": EXPERIMENT + "plugins: [evil]\n",
    "keys of Hydra": EXPERIMENT + "hydra:\n  run:\n    dir: ../elsewhere\n  sweeper:\n    _target_: os.system\n",
    "defaults that lead out": EXPERIMENT + "defaults:\n  - /../../victim\n  - ../../x: y\n",
    "deep nesting": EXPERIMENT + "a: " + "[" * 20_000,
    "terminal escapes": EXPERIMENT + '"\\e]0;x\\a": 1\nname: "\\e[31m"\n',
    "bytes that are no text": EXPERIMENT + "\udcff\udcfe\0",
    "50,000 keys": EXPERIMENT + "".join(f"k{n}: {n}\n" for n in range(50_000)),
    "an interpolation of itself": EXPERIMENT + "name: ${name}\nsteps: ${steps}\n",
}
FILES = ("experiment/evil.yaml", "train.yaml", "loss/hinge.yaml", "hydra/launcher/basic.yaml", "dataset/evil.yaml")


def make(here: Path, random: Random) -> str:
    """Writes a hostile option file below `here`/configs, and modules that must not be imported. Returns a note."""
    kind, name = random.choice([*TEXTS]), random.choice((FILES[0], *FILES))
    for each in {name, FILES[0]}:
        path = here / "configs" / each
        path.parent.mkdir(parents=True, exist_ok=True)
        text = TEXTS[kind] if each == name else EXPERIMENT + "steps: 1\n"
        path.write_bytes(text.encode(errors="surrogateescape"))
    for module in ("evil", "torch", "statistics", "yaml", "sitecustomize", "hubconf"):
        (here / f"{module}.py").write_text("raise SystemExit('executed')\n")
    return f"configs/{name} with {kind}"
