"""Makes the image that the page of `gan-demo` asks for."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from gan_cli.data.dataset import to_uint8
from gan_cli.data.labels import parse_labels
from gan_cli.errors import UsageError, one_line
from gan_cli.images.grid import draw_image
from gan_cli.models.generate import latents_from_seeds, run_generator
from gan_cli.models.styles import StyleGenerator
from gan_cli.sampling.directions import Directions
from gan_cli.sampling.given_latents import Synthesis
from gan_cli.sampling.interpolation import slerp
from gan_cli.sampling.load_generator import MAX_SEED, LoadedGenerator, check_truncation, require_finite
from gan_cli.sampling.style_mixing import PARTS, layers_between
from gan_cli.tasks.condition import Condition

KEYS = ("seed", "second", "mix", "layers", "truncation", "label", "direction", "strength")
MIN_TRUNCATION, MAX_TRUNCATION, MAX_STRENGTH = 0.001, 100.0, 1000.0


class ImageRequest(NamedTuple):
    """What an image is made of. `mix` is the share of the second seed, 0 to 1, and `strength` is in deviations."""

    seed: int = 0
    second: int = 1
    mix: float = 0.0
    layers: str = "all"  # whose styles come from the second seed: all, coarse, middle or fine
    truncation: float | None = None
    label: str | None = None
    direction: int | None = None
    strength: float = 0.0


def parse_request(query: Mapping[str, str]) -> ImageRequest:
    """Converts the fields of a query. A field that is empty has its default. Raises UsageError for a wrong value."""
    given = {key: text for key, text in query.items() if text != ""}
    if unknown := given.keys() - set(KEYS):
        raise UsageError(f"{one_line(min(unknown), 40)}: unknown, expected {', '.join(KEYS)}")
    if given.get("layers", "all") not in ("all", *PARTS):
        raise UsageError(f"layers={one_line(given['layers'], 40)}: expected all, {', '.join(PARTS)}")
    return ImageRequest(
        seed=_whole(given, "seed", 0),
        second=_whole(given, "second", 1),
        mix=_number(given, "mix", 0.0, 1.0) or 0.0,
        layers=given.get("layers", "all"),
        truncation=_number(given, "truncation", MIN_TRUNCATION, MAX_TRUNCATION),
        label=given.get("label"),
        direction=_whole(given, "direction", 0) if "direction" in given else None,
        strength=_number(given, "strength", -MAX_STRENGTH, MAX_STRENGTH) or 0.0,
    )


def _whole(given: Mapping[str, str], key: str, default: int) -> int:
    text = given.get(key, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= MAX_SEED):
        raise UsageError(f"{key}={one_line(text, 40)}: expected a whole number from 0 to 2**62")
    return int(text)


def _number(given: Mapping[str, str], key: str, low: float, high: float) -> float | None:
    """Returns the number, or None if there is none."""
    if key not in given:
        return None
    try:
        value = float(given[key])
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise UsageError(f"{key}={one_line(given[key], 40)}: expected a number from {low:g} to {high:g}")
    return value


def png_of(generator: LoadedGenerator, directions: Directions | None, request: ImageRequest) -> bytes:
    """Returns the image as PNG, in the size of the generator's samples.

    Raises UsageError if the request does not fit the generator, CheckpointError if values are not finite.
    """
    image = to_uint8(require_finite(generator, _sample(generator, directions, request)))[0]
    buffer = io.BytesIO()
    draw_image(image).save(buffer, format="PNG")
    return buffer.getvalue()


def _sample(generator: LoadedGenerator, directions: Directions | None, request: ImageRequest) -> Tensor:
    """Returns the sample `[1, C, H, W]`."""
    check_truncation(generator, request.truncation)
    step = _step_of(directions, request)
    condition = _condition_of(generator, request)
    network = generator.network
    if isinstance(network, StyleGenerator):
        styles = _mixed_styles(network, generator, request, condition, step)
        return run_generator(Synthesis(network), styles, condition)
    if request.layers != "all":
        raise UsageError(f"layers={request.layers}: this generator has no styles, leave it out")
    latents = latents_from_seeds([request.seed, request.second], generator.latent, request.truncation)
    normals = generator.latent.to_normal(latents, request.truncation)
    between = slerp(normals[:1], normals[1:], request.mix)
    mixed = latents[:1] if request.mix == 0 else generator.latent.from_normal(between, request.truncation)
    return run_generator(network, mixed + step.to(mixed), condition)


def _mixed_styles(
    network: StyleGenerator,
    generator: LoadedGenerator,
    request: ImageRequest,
    condition: Condition | None,
    step: Tensor,
) -> Tensor:
    """Returns the styles w `[1, L, D]`; in the chosen layers they are interpolated linearly to the second seed's."""
    latents = latents_from_seeds([request.seed, request.second], generator.latent)
    if step.ndim == 2:
        latents = latents + step.to(latents)
    device = network.mean_style.device
    both = None if condition is None else condition.rows(torch.tensor([0, 0])).to(device)
    with torch.no_grad():
        styles = network.map(latents.to(device), both)
        if request.truncation is not None:
            styles = network.truncate(styles, request.truncation)
    text = None if request.layers == "all" else request.layers
    layers = range(len(network.sides)) if text is None else layers_between(network.sides, text)
    mixed = styles[:1].clone()
    mixed[:, list(layers)] = torch.lerp(styles[:1], styles[1:], request.mix)[:, list(layers)]
    return mixed + step.to(mixed) if step.ndim == 3 else mixed


def _step_of(directions: Directions | None, request: ImageRequest) -> Tensor:
    """Returns the step along the direction: z `[1, D]` or w `[1, L or 1, D]`; zeros `[1, 1]` without a direction."""
    if request.direction is None:
        if request.strength:
            raise UsageError(f"strength={request.strength:g}: needs a direction, as direction=0")
        return torch.zeros(1, 1)
    count = 0 if directions is None else len(directions.values)
    if directions is None or request.direction >= count:
        raise UsageError(f"direction={request.direction}: there are {count}, numbered from 0")
    return directions.values[request.direction][None] * request.strength


def _condition_of(generator: LoadedGenerator, request: ImageRequest) -> Condition | None:
    """Returns the condition of the class that is asked for; None for a generator without classes."""
    if not generator.classes:
        if request.label is not None:
            raise UsageError(f"label={one_line(request.label, 40)}: this generator takes no class, leave it out")
        return None
    requested = parse_labels(generator.classes, request.label or generator.classes[0])
    if len(requested) > 1:
        raise UsageError(f"label={one_line(request.label, 40)}: names {len(requested)} classes, give one")
    return Condition(generator.encode(requested, [request.seed]))
