"""Declares the keys of every command except `gan-train`, and the function that runs each command. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gan_cli.config.options import DEVICE_OPTIONS
from gan_cli.config.options.datasets import FITS
from gan_cli.config.options.evaluation import EXTRACTORS, METRICS
from gan_cli.config.schema import key, option_of
from gan_cli.config.train_config import Config

# Formats that gan-export does not write; the text names an alternative.
UNSUPPORTED_FORMATS = {
    "torchscript": "is not written; use format=pt2, which torch.export.load reads, or format=onnx",
    "coreml": "is not written; use format=onnx, which onnxruntime runs on Apple's devices too",
    "tflite": "is not written; use format=onnx, which onnxruntime runs on phones, or convert that by onnx2tf",
}
# Keys of other tools that gan-cli does not have, by command and key; the text names an alternative.
UNSUPPORTED_KEYS = {
    ("sample", "project"): "images are not projected to latents; n=64 seed=0 shows samples of 64 seeds",
    ("sample", "latents"): "latents cannot be given here; a seed stands for one, as seeds=0-7; from Python,"
    " load_generator(RUN).network(latents, condition) of gan_cli.api accepts arrays",
    ("sample", "mixing"): "the networks have no styles to mix; format=interpolate shows the way from seed to seed",
}
ANIMATION_FORMATS = ("interpolate", "walk", "progress")
FRAMES_FOLDER = "frames"  # writes an animation as a folder of numbered images
CONTAINERS = ("webp", "gif", "mp4", FRAMES_FOLDER)
OVERWRITE_HELP = "replace the file that out= names if it exists"


@dataclass(frozen=True)
class SampleConfig:
    """The config of `gan-sample`."""

    ckpt: str | None = key("a checkpoint, or a run by its folder or name (the newest); RUN alone is ckpt=RUN")
    n: int | None = key(
        "number of samples, with seeds seed to seed+n-1; unless set 64, or 8 of each requested class",
        at_least=1,
        at_most=1_000_000,
    )
    seed: int = key("seed of the first sample", at_least=0, at_most=2**62)
    seeds: str | None = key(
        "the seeds, instead of n and seed",
        pattern=r"[0-9]{1,18}(-[0-9]{1,18})?(,[0-9]{1,18}(-[0-9]{1,18})?)*",
        pattern_means="seeds and ranges, as 0-7,12",
    )
    batch_size: int = key("samples generated at a time; changes the speed only", at_least=1, at_most=100_000)
    truncation: float | None = key("draw latents within this many standard deviations", above=0, at_most=100)
    label: str | None = key(
        "the requested class, as cat; cat,dog: a row of each; red,small: one class of each of two attributes"
    )
    label_index: tuple[int, ...] | None = key("the requested classes by number, from 0", at_least=0, at_most=10**6)
    format: str = key(
        "grid: one image of all samples; images: a file each; npz: arrays; animations: interpolate from seed to seed,"
        " walk also back to the first, progress of the run's grids; frames: interpolate as numbered images",
        choices=("grid", "images", "npz", *ANIMATION_FORMATS, FRAMES_FOLDER),
    )
    frames: int | None = key(
        "frames of an animation from each seed to the next; 24 unless set", at_least=1, at_most=1000
    )
    fps: int | None = key(
        "frames per second; 24 unless set, 5 with format=progress (gif: at most 50)", at_least=1, at_most=60
    )
    container: str | None = key(
        "file format of an animation; that of out=name.mp4, else webp (mp4 needs the extra video; frames: many png)",
        choices=CONTAINERS,
    )
    tiles: int | None = key(
        "walks side by side in an animation, which share the seeds; unless set 1, for points as many as show them well",
        at_least=1,
        at_most=1024,
    )
    through_labels: bool = key(
        "let an animation go through the requested classes instead of showing each beside the others"
    )
    out: str | None = key("the file, as grid.png or walk.mp4, or a folder that receives it; <run>/generated unless set")
    overwrite: bool = key(OVERWRITE_HELP)
    ema: bool = key("use the averaged generator (EMA) if the checkpoint has one")
    plugins: tuple[str, ...] = key("installed packages that the checkpoint's run had enabled, as [mypackage]")
    device: Any = option_of(DEVICE_OPTIONS, "where it runs")


@dataclass(frozen=True)
class EvalConfig:
    """The config of `gan-eval`."""

    ckpt: str | None = key("a checkpoint, or a run by its folder or name (the newest); RUN alone is ckpt=RUN")
    real: str | None = key("without ckpt: a folder or zip of real images")
    fake: str | None = key("without ckpt: a folder or zip of generated images")
    data: str | None = key("with ckpt: the folder or zip of the run's data, if they were moved")
    image_size: int | tuple[int, ...] | None = key(
        "without ckpt: side to which images are resized, or [height,width]; unless set that of the fakes, or of the"
        " real images if they are smaller",
        at_least=4,
        at_most=1024,
        length=2,
    )
    fit: str = key(
        "without ckpt: how images of other proportions are fitted: cut in the middle, padded with white (fit=pad),"
        " or stretched",
        choices=FITS,
    )
    metrics: tuple[str, ...] | None = key("the metrics to compute; unless set all that the data allow", choices=METRICS)
    extractor: str = key(
        "features in which images are compared; auto: classifier if there are labels, else random",
        choices=("auto", *EXTRACTORS),
    )
    n: int | None = key(
        "samples to evaluate, and held-out real ones to compare with; unless set 5,000, or all that exist",
        at_least=10,
        at_most=1_000_000,
    )
    reals: str = key(
        "the real samples to compare with: held_out (half of the data if they have no test split), train as papers do,"
        " or all",
        choices=("held_out", "train", "all"),
    )
    n_real: int | None = key(
        "number of real samples; unless set as many as samples if held out, else all", at_least=10, at_most=10_000_000
    )
    seed: int = key("seed of the first sample", at_least=0, at_most=2**62)
    batch_size: int = key("samples generated at a time", at_least=1, at_most=100_000)
    resamples: int = key("random halves of samples for each 95 % interval; 0: none", at_least=0, at_most=10_000)
    ema: bool = key("use the averaged generator (EMA) if the checkpoint has one")
    standing: bool = key("recompute batch norm statistics for the weights that are evaluated")
    out: str | None = key("the file, as scores.json, or a folder that receives it; <run>/evaluations unless set")
    overwrite: bool = key(OVERWRITE_HELP)
    plugins: tuple[str, ...] = key("installed packages that the checkpoint's run had enabled, as [mypackage]")
    device: Any = option_of(DEVICE_OPTIONS, "where it runs")


@dataclass(frozen=True)
class ExportConfig:
    """The config of `gan-export`."""

    ckpt: str | None = key("a checkpoint, or a run by its folder or name (the newest); RUN alone is ckpt=RUN")
    format: str = key("file format", choices=("safetensors", "onnx", "pt2"), instead=UNSUPPORTED_FORMATS)
    out: str | None = key("the file, as model.onnx, or a folder that receives a folder; <run>/exported unless set")
    overwrite: bool = key(OVERWRITE_HELP)
    ema: bool = key("use the averaged generator (EMA) if the checkpoint has one")
    plugins: tuple[str, ...] = key("installed packages that the checkpoint's run had enabled, as [mypackage]")


@dataclass(frozen=True)
class ReportConfig:
    """The config of `gan-report`, which is called as gan-report RUN."""

    paths: tuple[str, ...] = key("a run or a sweep, by its folder or name (the newest)")
    out: str | None = key("the file, as demo.html, or a folder that receives it; the run's folder unless set")
    overwrite: bool = key(OVERWRITE_HELP)


@dataclass(frozen=True)
class CompareConfig:
    """The config of `gan-compare`, which is called as gan-compare RUN RUN."""

    paths: tuple[str, ...] = key("runs or sweeps, each by its folder or name (the newest)")
    out: str | None = key("a .csv file for the table, a row for each run", absent=None)
    overwrite: bool = key(OVERWRITE_HELP, absent=False)


SCHEMAS: dict[str, type] = {
    "train": Config,
    "sample": SampleConfig,
    "eval": EvalConfig,
    "export": ExportConfig,
    "report": ReportConfig,
    "compare": CompareConfig,
}
LIST_KEYS = ("paths",)  # keys that receive several arguments as a list
COMMAND_GROUPS = {"sample": ("device",), "eval": ("device",)}  # the groups of each command; `gan-train` has all groups
# The key that receives an argument without `=`.
POSITIONAL_KEY = {"sample": "ckpt", "eval": "ckpt", "export": "ckpt", "report": "paths", "compare": "paths"}
# The function that runs each command. The function takes the config and returns the exit code.
RUNNERS = {
    "sample": "gan_cli.sampling.sample:sample",
    "eval": "gan_cli.evaluation.evaluate:evaluate",
    "export": "gan_cli.export.export:export",
    "report": "gan_cli.reports.write_report:report",
    "compare": "gan_cli.sweeps.compare:compare",
}
