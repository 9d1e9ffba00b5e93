"""The page of `gan-demo`."""

from __future__ import annotations

from pathlib import Path

from gan_cli.data.labels import attributes_of
from gan_cli.models.styles import StyleGenerator
from gan_cli.reports.html_page import render
from gan_cli.sampling.directions import Directions
from gan_cli.sampling.load_generator import LoadedGenerator, normalizes_latent
from gan_cli.sampling.style_mixing import PARTS

MIN_SHOWN = 384  # pixels; smaller images are enlarged by whole factors
# lowest and highest value of the slider, and what it means
OF_STYLES = ("0.05", "2", "distance from the mean style; 1 changes nothing")
OF_LATENTS = ("0.1", "4", "latents within this many standard deviations")


def page_of(generator: LoadedGenerator, directions: Directions | None) -> str:
    """Returns the HTML text. The page loads images from its own server and nothing else."""
    height, width = generator.sample_shape[1:]
    scale = max(1, -(-MIN_SHOWN // max(height, width)))
    has_styles = isinstance(generator.network, StyleGenerator)
    classes = generator.classes
    values = {
        "title": f"{generator.path.parent.parent.name}: gan-demo",
        "dataset": generator.card.dataset,
        "step": f"{generator.step:,}",
        "width": width * scale,
        "height": height * scale,
        "attributes": [
            (attribute.name or "class", [(name, name.rpartition("=")[2]) for name in classes[attribute.columns]])
            for attribute in attributes_of(classes)
        ],
        "directions": [] if directions is None else list(directions.names),
        "parts": ("all", *PARTS) if has_styles else (),
        "truncation": () if normalizes_latent(generator) else OF_STYLES if has_styles else OF_LATENTS,
    }
    return render("page.html.jinja", values, Path(__file__).parent)


def page_policy() -> str:
    """Returns the page's policy (CSP) as a header. Only as such it also says that no page may show it in a frame."""
    return f"{render('policy.jinja', {}, Path(__file__).parent)}; frame-ancestors 'none'"
