"""The commands beside `gan-train`, each with its keys, and where it is found. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gan_cli.config.options import DEVICES
from gan_cli.config.options.evaluation import EXTRACTORS, METRICS
from gan_cli.config.schema import key, option_of
from gan_cli.config.train_config import Config

# Formats that are asked for and not written, each with the way to it.
CONVERTED = {
    "torchscript": "is not written; take format=pt2, which torch.export.load reads, or format=onnx",
    "coreml": "is not written; take format=onnx, which onnxruntime runs on Apple's devices too",
    "tflite": "is not written; take format=onnx, which onnxruntime runs on phones, or convert that by onnx2tf",
}
# Keys that users of other tools try, each with what there is.
UNSUPPORTED = {
    ("sample", "project"): "no picture is searched for among the latents; n=64 seed=0 shows what seeds give",
    ("sample", "latents"): "latents are not given; a seed is one, as seeds=0-7, and gan_cli.api takes arrays of them:"
    " load_generator(RUN).network(latents, condition)",
    ("sample", "mixing"): "the networks have no styles to mix; format=interpolate goes from seed to seed",
}
FILMS = ("interpolate", "walk", "progress")
NUMBERED = "frames"  # a film as numbered pictures
CONTAINERS = ("webp", "gif", "mp4", NUMBERED)
OVERWRITE = "replace the file that out= names, if it is there already"


@dataclass(frozen=True)
class SampleConfig:
    """A whole `gan-sample` command."""

    ckpt: str | None = key("a checkpoint, or a run by its folder or name (the newest); RUN alone is ckpt=RUN")
    n: int | None = key(
        "number of samples, of seeds seed to seed+n-1; 64 unless set, or 8 of each class asked for",
        at_least=1,
        at_most=1_000_000,
    )
    seed: int = key("seed of the first sample", at_least=0, at_most=2**62)
    seeds: str | None = key(
        "the seeds themselves, in place of n and seed",
        pattern=r"[0-9]{1,18}(-[0-9]{1,18})?(,[0-9]{1,18}(-[0-9]{1,18})?)*",
        pattern_means="seeds and ranges, as 0-7,12",
    )
    batch_size: int = key("samples made at once; changes speed, not pictures", at_least=1, at_most=100_000)
    truncation: float | None = key("latents are drawn within this many standard deviations", above=0, at_most=100)
    label: str | None = key("the class asked for, as cat; cat,dog: a row of each; red,small: of two attributes")
    label_index: tuple[int, ...] | None = key("the same by number, counted from 0", at_least=0, at_most=10**6)
    format: str = key(
        "one picture, a folder of pictures, arrays, or a film: from seed to seed, also back to the first (walk), or of"
        " the run's grids (progress); frames: interpolate, as numbered pictures",
        choices=("grid", "images", "npz", *FILMS, NUMBERED),
    )
    frames: int | None = key("of a film from each seed to the next; 24 unless set", at_least=1, at_most=1000)
    fps: int | None = key(
        "frames a second; 24 unless set, 5 of format=progress (gif: at most 50)", at_least=1, at_most=60
    )
    container: str | None = key(
        "the film's kind of file; that of out=name.mp4, else webp (mp4 needs the extra video; frames: many png)",
        choices=CONTAINERS,
    )
    tiles: int | None = key(
        "walks side by side in a film, among which the seeds are shared out; 1 unless set, of points as many as show"
        " where they lie",
        at_least=1,
        at_most=1024,
    )
    through_labels: bool = key("a film goes through the classes asked for, instead of showing each beside the others")
    out: str | None = key("the file, as grid.png or walk.mp4, or a folder that receives it; <run>/generated unless set")
    overwrite: bool = key(OVERWRITE)
    ema: bool = key("use the averaged generator if the checkpoint has one")
    plugins: tuple[str, ...] = key("installed packages that the checkpoint's run had enabled, as [mypackage]")
    device: Any = option_of(DEVICES, "where it runs")


@dataclass(frozen=True)
class EvalConfig:
    """A whole `gan-eval` command."""

    ckpt: str | None = key("a checkpoint, or a run by its folder or name (the newest); RUN alone is ckpt=RUN")
    real: str | None = key("without ckpt: a folder or zip of real pictures")
    fake: str | None = key("without ckpt: a folder or zip of made pictures")
    data: str | None = key("with ckpt: the folder or zip where its data are now, if they were moved")
    image_size: int | tuple[int, ...] | None = key(
        "without ckpt: pixels of a side that pictures get, or [height,width]; unless set those of the fakes, or of the"
        " real ones if these are smaller",
        at_least=4,
        at_most=1024,
        length=2,
    )
    metrics: tuple[str, ...] | None = key("which figures; all that the data allow unless set", choices=METRICS)
    extractor: str = key(
        "what pictures are compared by; auto: classifier where there are labels, else random",
        choices=("auto", *EXTRACTORS),
    )
    n: int | None = key(
        "samples to judge, and held-out real ones beside them; 5,000 unless set, or as many as there are",
        at_least=10,
        at_most=1_000_000,
    )
    reals: str = key(
        "the real samples that they are compared with: those held out (half of data without a test split), all training"
        " ones, as in papers, or both",
        choices=("held_out", "train", "all"),
    )
    n_real: int | None = key(
        "how many of these; of held-out ones as many as samples unless set, else all", at_least=10, at_most=10_000_000
    )
    seed: int = key("seed of the first sample", at_least=0, at_most=2**62)
    batch_size: int = key("samples made at once", at_least=1, at_most=100_000)
    resamples: int = key("random halves behind each 95 % interval; 0: no intervals", at_least=0, at_most=10_000)
    ema: bool = key("use the averaged generator if the checkpoint has one")
    standing: bool = key("work out batch norm's statistics anew for the weights that are judged")
    out: str | None = key("the file, as scores.json, or a folder that receives it; <run>/evaluations unless set")
    overwrite: bool = key(OVERWRITE)
    plugins: tuple[str, ...] = key("installed packages that the checkpoint's run had enabled, as [mypackage]")
    device: Any = option_of(DEVICES, "where it runs")


@dataclass(frozen=True)
class ExportConfig:
    """A whole `gan-export` command."""

    ckpt: str | None = key("a checkpoint, or a run by its folder or name (the newest); RUN alone is ckpt=RUN")
    format: str = key("what is written", choices=("safetensors", "onnx", "pt2"), instead=CONVERTED)
    out: str | None = key("the file, as model.onnx, or a folder that receives a folder; <run>/exported unless set")
    overwrite: bool = key(OVERWRITE)
    ema: bool = key("use the averaged generator if the checkpoint has one")
    plugins: tuple[str, ...] = key("installed packages that the checkpoint's run had enabled, as [mypackage]")


@dataclass(frozen=True)
class ReportConfig:
    """A whole `gan-report` command, as gan-report RUN."""

    paths: tuple[str, ...] = key("a run or a sweep, by its folder or name (the newest)")
    out: str | None = key("the file, as demo.html, or a folder that receives it; the run's own unless set")
    overwrite: bool = key(OVERWRITE)


@dataclass(frozen=True)
class CompareConfig:
    """A whole `gan-compare` command, as gan-compare RUN RUN."""

    paths: tuple[str, ...] = key("runs or sweeps, each by its folder or name (the newest)")
    out: str | None = key("a .csv file that receives the table too, a row for each run", absent=None)
    overwrite: bool = key(OVERWRITE, absent=False)


SCHEMAS: dict[str, type] = {
    "train": Config,
    "sample": SampleConfig,
    "eval": EvalConfig,
    "export": ExportConfig,
    "report": ReportConfig,
    "compare": CompareConfig,
}
MANY = ("paths",)  # keys of which several words are values
GROUPS = {"sample": ("device",), "eval": ("device",)}  # all of them belong to train
# What a word without = is a value of.
POSITIONAL = {"sample": "ckpt", "eval": "ckpt", "export": "ckpt", "report": "paths", "compare": "paths"}
# Each is a function of its config that returns the exit code.
RUNNERS = {
    "sample": "gan_cli.sampling.sample:sample",
    "eval": "gan_cli.evaluation.evaluate:evaluate",
    "export": "gan_cli.export.export:export",
    "report": "gan_cli.reports.report:report",
    "compare": "gan_cli.sweeps.compare:compare",
}
