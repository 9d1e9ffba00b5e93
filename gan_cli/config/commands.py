"""Declares the keys of every command except `gan-train`, and the function that runs each command. Imports no torch."""

from typing import Annotated, Literal, get_args

from pydantic import Field

from gan_cli.config.options import commands as keys
from gan_cli.config.options.commands import (
    Ckpt,
    CompareConfig,
    DemoConfig,
    Device,
    DirectionConfig,
    Ema,
    ExportConfig,
    Overwrite,
    Plugins,
    ProjectConfig,
    ReportConfig,
)
from gan_cli.config.options.datasets import Fit
from gan_cli.config.options.fields import Bool, Integer, Number, Several, Text, section
from gan_cli.config.options.loop import Extractor, Metric, metrics_of_other_tools
from gan_cli.config.search_path import options_of_groups
from gan_cli.config.train_config import Config
from gan_cli.config.validation import format_value
from gan_cli.errors import UsageError

# Keys of other tools that a command does not have; the text names an alternative.
UNSUPPORTED_KEYS = {
    ("sample", "project"): "is a command of its own, gan-project ckpt=RUN input=photo.png",
    ("sample", "mixing"): "is format=mix rows=0-3 columns=4-9 layers=coarse",
    ("export", "latents"): "an exported file takes latents as its input; gan-sample format=npz saves those of seeds",
}
AnimationFormat = Literal["interpolate", "walk", "progress"]
ANIMATION_FORMATS = get_args(AnimationFormat)
FRAMES_FOLDER = "frames"  # writes an animation as a folder of numbered images
Container = Literal["webp", "gif", "mp4", "frames"]
CONTAINERS = get_args(Container)
Side = Annotated[Integer, Field(ge=4, le=1024)]  # in pixels


@section
class SampleConfig:
    """The config of `gan-sample`."""

    ckpt: Ckpt
    n: Integer | None = Field(
        ge=1,
        le=1_000_000,
        description="number of samples, with seeds seed to seed+n-1; unless set 64, or 8 of each requested class",
    )
    seed: Integer = Field(ge=0, le=2**62, description="seed of the first sample")
    seeds: keys.Seeds
    latents: keys.Latents = None
    direction: keys.Direction = None
    strength: keys.Strength = None
    rows: keys.MixedRows = None
    columns: keys.MixedColumns = None
    layers: keys.MixedLayers = None
    batch_size: Integer = Field(ge=1, le=100_000, description="samples generated at a time; changes the speed only")
    truncation: Number | None = Field(
        gt=0,
        le=100,
        description="draw latents within this many standard deviations; with stylegan2, multiply the distance of styles"
        " from their mean by it; pggan and fastgan normalize latents and take none",
    )
    label: Text | None = Field(
        description="the requested class, as cat; cat,dog: a row of each; red,small: one class of each of two"
        " attributes"
    )
    label_index: Several[Annotated[Integer, Field(ge=0, le=10**6)]] | None = Field(
        description="the requested classes by number, from 0"
    )
    input: Text | None = Field(
        None,
        description="for a run with task=translation, inpainting or super_resolution: an image or a folder of images;"
        " held-out images of the run's data unless set",
    )
    mask: Text | None = Field(
        None,
        description="for task=inpainting: an image of the input's size, white where it is painted; drawn as in training"
        " unless set",
    )
    format: Literal["grid", "images", "npz", "mix", AnimationFormat, "frames"] = Field(
        description="grid: one image of all samples; images: a file each; npz: arrays, with the latents; mix: the table"
        " of rows, columns and layers; animations: interpolate from seed to seed, walk also back to the first, progress"
        " of the run's grids; frames: interpolate as numbered images"
    )
    frames: Integer | None = Field(
        ge=1, le=1000, description="frames of an animation from each seed to the next; 24 unless set"
    )
    fps: Integer | None = Field(
        ge=1, le=60, description="frames per second; 24 unless set, 5 with format=progress (gif: at most 50)"
    )
    container: Container | None = Field(
        description="file format of an animation; that of out=name.mp4, else webp (mp4 needs the extra video; frames:"
        " many png)"
    )
    tiles: Integer | None = Field(
        ge=1,
        le=1024,
        description="interpolations side by side in an animation, which share the seeds; unless set 1, for points as"
        " many as show them well",
    )
    through_labels: Bool = Field(
        description="let an animation go through the requested classes instead of showing each beside the others"
    )
    out: Text | None = Field(
        description="the file, as grid.png or walk.mp4, or a folder that receives it; <run>/generated unless set"
    )
    overwrite: Overwrite
    ema: Ema
    plugins: Plugins
    device: Device


@section
class EvalConfig:
    """The config of `gan-eval`."""

    ckpt: Ckpt
    real: Text | None = Field(description="without ckpt: a folder or zip of real images")
    fake: Text | None = Field(description="without ckpt: a folder or zip of generated images")
    data: Text | None = Field(description="with ckpt: the folder or zip of the run's data, if they were moved")
    image_size: Side | Annotated[tuple[Side, ...], Field(min_length=2, max_length=2)] | None = Field(
        description="without ckpt: side to which images are resized, or [height,width]; unless set that of the fakes,"
        " or of the real images if they are smaller"
    )
    fit: Fit = Field(description="without ckpt: images of other proportions are cut, padded with white, or stretched")
    follow_links: Bool = Field(description="read also what links name that lead out of a folder of images")
    max_pixels: Integer = Field(ge=1, le=2**40, description="without ckpt: most pixels of an image that can be read")
    metrics: Several[Metric] | None = Field(
        json_schema_extra={"instead": {**metrics_of_other_tools()}},
        description="the metrics to compute; unless set all that the data allow",
    )
    extractor: Extractor = Field(
        description="features in which images are compared; auto: classifier if there are labels, else random"
    )
    n: Integer | None = Field(
        ge=10,
        le=1_000_000,
        description="samples to evaluate, and held-out real ones to compare with; unless set 5,000, or all that exist",
    )
    reals: Literal["held_out", "train", "all"] = Field(
        description="the real samples to compare with: held_out (half of the data if they have no test split), train"
        " as papers do, or all"
    )
    n_real: Integer | None = Field(
        ge=10, le=10_000_000, description="number of real samples; unless set as many as samples if held out, else all"
    )
    seed: Integer = Field(ge=0, le=2**62, description="seed of the first sample")
    batch_size: Integer = Field(ge=1, le=100_000, description="samples generated at a time")
    resamples: Integer = Field(ge=0, le=10_000, description="random halves of samples for each 95 % interval; 0: none")
    ema: Ema
    standing: Bool = Field(description="recompute batch norm statistics for the weights that are evaluated")
    out: Text | None = Field(
        description="the file, as scores.json, or a folder that receives it; <run>/evaluations unless set"
    )
    overwrite: Overwrite
    plugins: Plugins
    device: Device


def check_evaluation_source(options: EvalConfig, missing: str) -> None:
    """Raises UsageError unless the options name a checkpoint or two folders, without options that only fit the other.

    `missing` is the message if they name neither.
    """
    if options.ckpt is not None:
        for name, unset in (("real", None), ("fake", None), ("image_size", None), ("fit", "crop")):
            if (value := getattr(options, name)) != unset:
                given = f"{name}={format_value(value)}"
                raise UsageError(f"{given}: is for two folders, without ckpt; give one or the other")
        return
    if options.real is None and options.fake is None:
        raise UsageError(missing)
    if options.data is not None:
        raise UsageError(f"data={options.data}: says where a checkpoint's data are, and there is none; use real=")
    if options.real is None or options.fake is None:
        absent, given = ("real", f"fake={options.fake}") if options.real is None else ("fake", f"real={options.real}")
        raise UsageError(f"{absent} is missing: {given} needs another folder to compare with, set {absent}=...")


SCHEMAS: dict[str, type] = {
    "train": Config,
    "sample": SampleConfig,
    "eval": EvalConfig,
    "export": ExportConfig,
    "project": ProjectConfig,
    "direction": DirectionConfig,
    "demo": DemoConfig,
    "report": ReportConfig,
    "compare": CompareConfig,
}
# The groups of each command; `gan-train` has all groups.
COMMAND_GROUPS = dict.fromkeys(("sample", "eval", "project", "direction", "demo"), ("device",))


def groups(command: str = "train") -> dict[str, list[str]]:
    """Returns the groups of a command, each with its options: those of gan-cli, the user's folders and plugins."""
    found = options_of_groups()
    return found if command == "train" else {group: found[group] for group in COMMAND_GROUPS.get(command, ())}


LIST_KEYS = ("paths",)  # keys that receive several arguments as a list
# The key that receives an argument without `=`.
OF_A_CHECKPOINT = ("sample", "eval", "export", "project", "direction", "demo")
POSITIONAL_KEY = dict.fromkeys(OF_A_CHECKPOINT, "ckpt") | {"report": "paths", "compare": "paths"}
# The function that runs each command. The function takes the config and returns the exit code.
RUNNERS = {
    "sample": "gan_cli.sampling.sample:sample",
    "eval": "gan_cli.evaluation.evaluate:evaluate",
    "export": "gan_cli.export.export:export",
    "project": "gan_cli.latent_space.project:project",
    "direction": "gan_cli.latent_space.find_direction:find_direction",
    "demo": "gan_cli.demo.serve:demo",
    "report": "gan_cli.reports.write_report:report",
    "compare": "gan_cli.sweeps.compare:compare",
}
