"""Keys that several commands have, and the keys of the shorter commands. Imports no torch."""

from typing import Annotated, Any, Literal

from pydantic import Field

from gan_cli.config.options.fields import Bool, Integer, Name, Number, OneOf, Several, Text, matching, section
from gan_cli.config.options.loop import DEVICE_OPTIONS

Overwrite = Annotated[Bool, Field(description="replace the file that out= names if it exists")]
Ema = Annotated[Bool, Field(description="use the averaged generator (EMA) if the checkpoint has one")]
Plugins = Annotated[
    Several[Name], Field(description="installed packages that the checkpoint's run had enabled, as [mypackage]")
]
Ckpt = Annotated[
    Text | None, Field(description="a checkpoint, or a run by its folder or name (the newest); RUN alone is ckpt=RUN")
]
Device = Annotated[Any, OneOf(DEVICE_OPTIONS), Field(description="where it runs")]

RANGES = r"[0-9]{1,40}(-[0-9]{1,40})?(,[0-9]{1,40}(-[0-9]{1,40})?)*"
NUMBER = r"-?[0-9]{1,18}(\.[0-9]{1,18})?"
Seeds = Annotated[
    Text | None,
    matching(RANGES, "seeds and ranges, as 0-7,12", description="the seeds, instead of n and seed"),
]
Latents = Annotated[
    Text | None,
    Field(description="instead of seeds: an npz file with the latents z or the styles w, as format=npz writes, or npy"),
]
Direction = Annotated[
    Text | None, Field(description="a file of gan-direction: shows each seed moved along it, by strength")
]
Strength = Annotated[
    Text | None,
    matching(
        rf"{NUMBER}:{NUMBER}(:[0-9]{{1,18}})?",
        "the ends, as -3:3, and the number of steps, as -3:3:7",
        description="how far along the direction, in standard deviations; -3:3:7 unless set",
    ),
]
MixedRows = Annotated[
    Text | None, matching(RANGES, "seeds and ranges, as 0-3", description="with format=mix: the seeds of the rows")
]
MixedColumns = Annotated[
    Text | None, matching(RANGES, "seeds and ranges, as 4-9", description="with format=mix: the seeds of the columns")
]
LAYERS = "coarse|middle|fine|[0-9]{1,40}(-[0-9]{1,40})?", "coarse, middle, fine, or sides of maps, as 4-8"
MixedLayers = Annotated[
    Text | None,
    matching(
        *LAYERS, description="with format=mix: the layers whose styles come from the column's seed; coarse unless set"
    ),
]
BatchSize = Annotated[Integer, Field(ge=1, le=100_000, description="samples generated at a time")]


# Formats that gan-export does not write; the text names an alternative.
UNSUPPORTED_FORMATS: dict[str, Any] = {
    "torchscript": "is not written; use format=pt2, which torch.export.load reads, or format=onnx",
    "coreml": "is not written; use format=onnx, which onnxruntime runs on Apple's devices too",
    "tflite": "is not written; use format=onnx, which onnxruntime runs on phones, or convert that by onnx2tf",
}


@section
class ExportConfig:
    """The config of `gan-export`."""

    ckpt: Ckpt
    format: Literal["safetensors", "onnx", "pt2"] = Field(
        json_schema_extra={"instead": UNSUPPORTED_FORMATS}, description="file format"
    )
    out: Text | None = Field(
        description="the file, as model.onnx, or a folder that receives a folder; <run>/exported unless set"
    )
    overwrite: Overwrite
    ema: Ema
    plugins: Plugins


@section
class ReportConfig:
    """The config of `gan-report`, which is called as gan-report RUN."""

    paths: Several[Name] = Field(description="a run or a sweep, by its folder or name (the newest)")
    out: Text | None = Field(
        description="the file, as demo.html, or a folder that receives it; the run's folder unless set"
    )
    overwrite: Overwrite


@section
class CompareConfig:
    """The config of `gan-compare`, which is called as gan-compare RUN RUN."""

    paths: Several[Name] = Field(description="runs or sweeps, each by its folder or name (the newest)")
    out: Text | None = Field(None, description="a .csv file for the table, a row for each run")
    overwrite: Overwrite = False


@section
class ProjectConfig:
    """The config of `gan-project`."""

    ckpt: Ckpt
    input: Text | None = Field(
        description="an image or a folder of images; held-out images of the run's data unless set"
    )
    n: Integer | None = Field(ge=1, le=1000, description="without input: number of held-out images; 8 unless set")
    label: Text | None = Field(
        description="the class of all images, as cat; that of the nearest sample unless set (conditional runs alone)"
    )
    space: Literal["auto", "z", "w", "w_plus"] = Field(
        description="what is found: latents z; styles w, or those of each layer w_plus; auto: w where there is one"
    )
    steps: Integer = Field(ge=1, le=100_000, description="updates of the latents")
    starts: Integer = Field(
        ge=1, le=64, description="starts for each image: the mean latent, then the nearest samples; the best is kept"
    )
    candidates: Integer = Field(
        ge=1, le=1_000_000, description="samples that are compared with each image, for the starts and for the report"
    )
    lr: Number = Field(gt=0, le=10, description="highest learning rate of Adam, in standard deviations of the latents")
    feature_weight: Number = Field(
        ge=0,
        le=1000,
        description="weight of the distance in features beside that of the pixels; each is 1 for the average sample",
    )
    extractor: Literal["auto", "classifier", "random", "pixels"] = Field(
        description="features in which images are compared; auto: the classifier of the run's data if it has labels,"
        " else random"
    )
    seed: Integer = Field(ge=0, le=2**62, description="seed of the first sample that is compared, and of the noise")
    frames: Integer = Field(ge=1, le=1000, description="frames of the animation")
    fps: Integer = Field(ge=1, le=60, description="frames per second")
    batch_size: BatchSize
    out: Text | None = Field(description="a folder that receives a folder; <run>/projections unless set")
    ema: Ema
    plugins: Plugins
    device: Device


@section
class DirectionConfig:
    """The config of `gan-direction`."""

    ckpt: Ckpt
    by: Text | None = matching(
        "sefa|label:.+",
        "sefa or label:NAME",
        description="label:NAME: from samples without this class of the run's data to those with it; sefa: what the"
        " weights of the first layer change most",
    )
    n: Integer | None = Field(ge=1, le=1000, description="with by=sefa: number of directions; 10 unless set")
    layers: Text | None = matching(
        *LAYERS, description="generators with styles: the layers whose styles are moved; all unless set"
    )
    samples: Integer = Field(ge=100, le=1_000_000, description="samples that are classified, or measured for sefa in w")
    seed: Integer = Field(ge=0, le=2**62, description="seed of the first sample")
    batch_size: BatchSize
    out: Text | None = Field(
        description="the file, as smile.npz, or a folder that receives it; <run>/directions unless set"
    )
    overwrite: Overwrite
    ema: Ema
    plugins: Plugins
    device: Device


@section
class DemoConfig:
    """The config of `gan-demo`."""

    ckpt: Ckpt
    port: Integer = Field(ge=0, le=65535, description="of the page at http://127.0.0.1:PORT/; 0: a free one")
    direction: Text | None = Field(
        description="a file of gan-direction: the page has a list of its directions, and a slider for the strength"
    )
    browser: Bool = Field(description="open the page in the browser")
    ema: Ema
    plugins: Plugins
    device: Device
