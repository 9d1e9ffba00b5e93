"""`--help`, written from the tables and dataclasses, so that it cannot lag behind them."""

from __future__ import annotations

import typing

from gan_cli.config.commands import MANY, POSITIONAL, SCHEMAS
from gan_cli.config.compose import groups
from gan_cli.config.schema import key_lines
from gan_cli.errors import one_line

EXAMPLES = {
    "train": (
        ("gan-train", "the default: digits, in about a minute"),
        ("gan-train dataset=mnist loss=wasserstein", "a loss brings its penalty along"),
        ("gan-train experiment=ring", "8 Gaussians: see the modes"),
        ("gan-train budget=20m batch_size=128", "as much as fits the time"),
        ("gan-train dataset=folder dataset.path=~/cats", "your own pictures"),
        (
            "gan-train dataset=folder dataset.path=[cats,dogs] dataset.balance=true",
            "two folders, each seen equally often",
        ),
        ("gan-train dataset=folder dataset.path=dogs dataset.labels=breeds.csv", "their labels are in a table"),
        ("gan-train loss=hinge dry_run=true", "what it would train, and one step of it"),
        ("gan-train explain=wasserstein", "what an option is, when it works and when not"),
        ("gan-train resume=outputs/NAME/DATE", "go on where a run stopped"),
        ("gan-train -m loss=hinge,minimax seed=1,2,3 jobs=2", "a sweep: every combination, two at a time"),
    ),
    "sample": (
        ("gan-sample NAME", "64 new samples as one picture, of the newest run of that name"),
        ("gan-sample ckpt=outputs/NAME/DATE out=grid.png", "of this run, as this file"),
        ("gan-sample ckpt=RUN n=1000 format=images", "a file for each"),
        ("gan-sample ckpt=RUN seeds=0-7,12 truncation=0.7", "these seeds, more typical samples"),
        ("gan-sample ckpt=RUN format=walk out=walk.mp4", "a film from seed to seed and back to the first"),
    ),
    "eval": (
        ("gan-eval ckpt=outputs/NAME/DATE", "every figure that the data allow, each with its floor"),
        ("gan-eval ckpt=RUN metrics=[frechet,kernel] n=2000", "these two, of 2,000 samples"),
        ("gan-eval ckpt=RUN metrics=[frechet] reals=train n=5000", "against all training images, as papers do"),
        ("gan-eval ckpt=RUN data=~/pictures", "its data were moved there"),
        ("gan-eval real=cats fake=made_cats", "two folders of pictures, and no checkpoint"),
    ),
    "export": (
        ("gan-export ckpt=outputs/NAME/DATE", "the generator as safetensors, with config and model card"),
        ("gan-export ckpt=RUN format=onnx out=model.onnx", "for onnxruntime, compared with the checkpoint"),
        ("gan-export ckpt=RUN format=pt2", "for torch.export.load, without gan-cli"),
    ),
    "report": (
        ("gan-report outputs/NAME/DATE", "one HTML file of a run"),
        ("gan-report outputs/NAME/sweep_DATE", "of a sweep, and of each of its runs"),
    ),
    "compare": (
        ("gan-compare RUN RUN", "what differs in their configs, and how each came out"),
        ("gan-compare outputs/NAME/sweep_DATE", "all runs of a sweep"),
    ),
}
FLAGS = (
    ("-m", "run every combination of comma-separated values"),
    ("--config-dir DIR", "know the options in a folder of your own, as in configs/ where you stand"),
    ("--cfg job", "print the composed config and exit"),
    ("--version", "print the version and exit"),
)


def help_text(command: str) -> str:
    """Examples, then groups and their options, then every key with its line."""
    schema = SCHEMAS[command]
    words = " RUN ..." if POSITIONAL.get(command) in MANY else " [RUN]" if command in POSITIONAL else ""
    lines = [f"usage: gan-{command}{words} [key=value ...]", "", "Examples"]
    lines += _columns(EXAMPLES[command])
    if groups(command):
        lines += ["", "Groups, chosen as group=option"]
        lines += _columns((group, one_line(", ".join(options), 10_000)) for group, options in groups(command).items())
    lines += ["", "Keys, set as key=value"]
    lines += _columns(key_lines(schema))
    flags = FLAGS if command == "train" else FLAGS[2:]
    return "\n".join([*lines, "", "Flags", *_columns(flags), ""])


def _columns(rows: typing.Iterable[tuple[str, str]]) -> list[str]:
    rows = list(rows)
    width = max(len(left) for left, _ in rows)
    return [f"  {left:<{width}}  {right}" for left, right in rows]
