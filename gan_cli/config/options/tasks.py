"""Options of the group `task`: what the generator is given, and what it makes of it."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from gan_cli.config.options.fields import Integer, OptionName, Several, section


@section
class Generation:
    """Samples from noise. The networks get no image."""

    name: OptionName


@section
class Translation:
    """An image from its source image, learned from pairs (pix2pix, 1611.07004)."""

    name: OptionName
    source: Literal["data", "edges"] = Field(
        description="the source images: those of the data set's pairs, or the edges of each image (Sobel)"
    )


MaskKind = Literal["centre", "box", "brush", "half"]


@section
class Inpainting:
    """The hidden part of an image from its known part (1604.07379, 1806.03589)."""

    name: OptionName
    mask: Several[MaskKind] = Field(
        min_length=1,
        description="the hidden parts, one drawn for each image: the middle half of each side (centre), a random box,"
        " random brush strokes, or half of the image",
    )


@section
class SuperResolution:
    """A large image from a small one (1609.04802)."""

    name: OptionName
    factor: Integer = Field(
        ge=2, le=8, description="sides of the large image as multiples of those of the small one: 2, 4 or 8"
    )


TASK_OPTIONS: dict[str, type] = {
    "generation": Generation,
    "translation": Translation,
    "inpainting": Inpainting,
    "super_resolution": SuperResolution,
}
GIVEN_IMAGE = {"translation": "source image", "inpainting": "known pixels", "super_resolution": "small image"}
WITH_IMAGE = tuple(GIVEN_IMAGE)  # tasks whose condition has an image
WITH_MASK = ("inpainting",)
RESULTS_SHOWN = 3  # for each input, if they depend on the latent


def needed_part(task: str) -> str:
    """Returns the part of the condition that a generator of this task, which is given an image, must take."""
    return "mask" if task in WITH_MASK else "image"


def suits(task: str, generator: Any) -> bool:
    """Returns whether a generator's section, or the class of its keys, takes what the task gives and makes its samples.

    Samples of super_resolution are larger than what is given.
    """
    parts = getattr(generator, "condition_parts", ())
    if task not in WITH_IMAGE:
        return "image" not in parts
    return needed_part(task) in parts and (task != "super_resolution" or getattr(generator, "enlarges", False))


def suiting_options(task: str, generators: Mapping[str, Any]) -> list[str]:
    """Returns the names of those generators that suit a task. If none does, all, each with the tasks that it suits."""
    tasks = {name: [each for each in TASK_OPTIONS if suits(each, section)] for name, section in generators.items()}
    suiting = [name for name, suited in tasks.items() if task in suited]
    return suiting or [f"{name} (task={', '.join(suited)})" for name, suited in tasks.items()]


def example_options(task: str) -> str:
    """Returns the options of `gan-sample` by which a user gives an image, as an example."""
    return "input=photo.png" + (" mask=m.png" if task in WITH_MASK else "")


def join_names(dataset: Any, task: Any, generator: Any, loss: Any) -> str:
    """Returns the names of these options as the default name of a run. That of generation is left out."""
    return "-".join((dataset.name, *([task.name] if task.name in WITH_IMAGE else []), generator.name, loss.name))


# Why a metric that compares pairs is refused for a task whose condition has no image.
NEEDS_TRUE_IMAGE = (
    "compares each sample with its true image: task=generation has none, use it with task=translation, inpainting or"
    " super_resolution"
)
# Why a data set is refused for task=translation.
NEEDS_SOURCES = "has no source images: use pairs, as explain=translation shows, or task.source=edges"
