"""Generates the text of `--help` from the tables and dataclasses of options."""

from __future__ import annotations

import typing

from gan_cli.cli.keys import list_keys
from gan_cli.config.commands import LIST_KEYS, POSITIONAL_KEY, groups
from gan_cli.errors import one_line

EXAMPLES = {
    "train": (
        ("gan-train", "the default: digits, in about a minute"),
        ("gan-train dataset=mnist loss=wasserstein", "a loss with the penalty that it needs"),
        ("gan-train experiment=ring", "8 Gaussians, whose modes can be counted"),
        ("gan-train budget=20m batch_size=128", "as many steps as fit into the time"),
        ("gan-train dataset=folder dataset.path=~/cats", "your own images"),
        ("gan-train dataset=folder dataset.path=[cats,dogs] dataset.balance=true", "two folders, drawn equally often"),
        ("gan-train dataset=folder dataset.path=dogs dataset.labels=breeds.csv", "with labels from a table"),
        ("gan-train loss=hinge dry_run=true", "audit the data, try each part, estimate the time"),
        ("gan-train explain=wasserstein", "explain an option: how it works, when it fails"),
        ("gan-train resume=outputs/NAME/DATE", "continue a run where it stopped"),
        ("gan-train -m loss=hinge,minimax seed=1,2,3 jobs=2", "a sweep: every combination, two at a time"),
        ("gan-train -m seed=1,2,3 hydra/launcher=submitit_slurm", "on Slurm; also joblib, submitit_local and ray"),
    ),
    "sample": (
        ("gan-sample NAME", "64 new samples of the newest run of that name, as one image"),
        ("gan-sample ckpt=outputs/NAME/DATE out=grid.png", "samples of this run, in this file"),
        ("gan-sample ckpt=RUN n=1000 format=images", "one file per sample"),
        ("gan-sample ckpt=RUN seeds=0-7,12 truncation=0.7", "these seeds, with truncated latents"),
        ("gan-sample ckpt=RUN latents=mean.npz", "samples of these latents, as n=8 format=npz saves them"),
        ("gan-sample ckpt=RUN format=mix rows=0-3 columns=4-9 layers=coarse", "styles of two seeds in one image"),
        ("gan-sample ckpt=RUN format=walk out=walk.mp4", "an animation from seed to seed and back to the first"),
    ),
    "eval": (
        ("gan-eval ckpt=outputs/NAME/DATE", "every metric that the data allow, each with its value for real samples"),
        ("gan-eval ckpt=RUN metrics=[frechet,kernel] n=2000", "these two metrics, on 2,000 samples"),
        ("gan-eval ckpt=RUN metrics=[frechet] reals=train n=5000", "against all training images, as papers do"),
        ("gan-eval ckpt=RUN data=~/pictures", "the data of the run were moved there"),
        ("gan-eval real=cats fake=made_cats", "compare two folders of images, without a checkpoint"),
    ),
    "export": (
        ("gan-export ckpt=outputs/NAME/DATE", "the generator as safetensors, with config and model card"),
        ("gan-export ckpt=RUN format=onnx out=model.onnx", "for onnxruntime, checked against the checkpoint"),
        ("gan-export ckpt=RUN format=pt2", "for torch.export.load, without gan-cli"),
    ),
    "project": (
        ("gan-project ckpt=outputs/NAME/DATE input=photo.png", "the latents of an image, and the way to them"),
        ("gan-project RUN input=faces space=w_plus steps=1000", "of each image in a folder, one style for each layer"),
        ("gan-project RUN n=16", "of held-out images of the run's data"),
    ),
    "direction": (
        ("gan-direction RUN by=sefa n=10 out=sefa.npz", "ten directions from the weights of the first layer"),
        ("gan-direction RUN by=label:Dress out=dress.npz", "from samples without the class to those with it"),
        ("gan-sample RUN direction=dress.npz strength=-3:3", "shows samples moved along it"),
    ),
    "demo": (
        ("gan-demo outputs/NAME/DATE", "a local page that shows samples while their inputs are changed"),
        ("gan-demo RUN direction=dress.npz port=0", "with sliders for directions, at a free port"),
    ),
    "report": (
        ("gan-report outputs/NAME/DATE", "one HTML file of a run"),
        ("gan-report outputs/NAME/sweep_DATE", "of a sweep and each of its runs"),
    ),
    "compare": (
        ("gan-compare RUN RUN", "the differences of their configs, and their metrics"),
        ("gan-compare outputs/NAME/sweep_DATE", "all runs of a sweep"),
    ),
}
FLAGS = (
    ("-m", "run every combination of comma-separated values"),
    ("--config-dir DIR", "use options in a folder of yours, as those in ./configs"),
    ("--cfg job", "print the composed config and exit"),
    ("--schema", "print the JSON Schema of the config{} and exit"),
    ("--version", "print the version and exit"),
)


def help_text(command: str) -> str:
    """Returns the help of a command: examples, groups with their options, keys with their descriptions, and flags."""
    words = " RUN ..." if POSITIONAL_KEY.get(command) in LIST_KEYS else " [RUN]" if command in POSITIONAL_KEY else ""
    lines = [f"usage: gan-{command}{words} [key=value ...]", "", "Examples"]
    lines += _columns(EXAMPLES[command])
    if groups(command):
        lines += ["", "Groups, chosen as group=option"]
        lines += _columns((group, one_line(", ".join(options), 10_000)) for group, options in groups(command).items())
    lines += ["", "Keys, set as key=value"]
    keys = list_keys(command).items()
    lines += _columns((key * (each is same[0]), each.line) for key, same in keys for each in same)
    group = "dataset" if command == "train" else next(iter(groups(command)), None)
    of_group = f", or of a group's files (--schema={group})," if group else ""
    flags = [(flag, text.format(of_group)) for flag, text in (FLAGS if command == "train" else FLAGS[2:])]
    return "\n".join([*lines, "", "Flags", *_columns(flags), ""])


def _columns(rows: typing.Iterable[tuple[str, str]]) -> list[str]:
    """Returns an indented line for each row, with the right texts aligned in a column."""
    rows = list(rows)
    width = max(len(left) for left, _ in rows)
    return [f"  {left:<{width}}  {right}" for left, right in rows]
