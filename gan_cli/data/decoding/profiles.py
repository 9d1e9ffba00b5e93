"""Colour profiles: pictures that bring one of another colour space are converted to sRGB."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

from PIL import Image, ImageCms, features

OF_MODES = {"RGB": "RGB", "CMYK": "CMYK", "L": "GRAY"}  # a mode, and the colour space that its profile is of
FEWEST_BYTES = 128  # of a profile: its header


@lru_cache(maxsize=64)
def _space_of(profile: bytes) -> str | None:
    """The colour space of a profile that is not sRGB; None of sRGB and of a damaged one."""
    try:
        opened = ImageCms.getOpenProfile(io.BytesIO(profile))
        if "srgb" in str(ImageCms.getProfileDescription(opened)).lower():
            return None
        return str(opened.profile.xcolor_space).strip()
    except Exception:  # a damaged profile says nothing about the picture itself
        return None


@lru_cache(maxsize=64)
def _transform(profile: bytes, mode: str) -> Any:
    opened = ImageCms.getOpenProfile(io.BytesIO(profile))
    return ImageCms.buildTransform(opened, ImageCms.createProfile("sRGB"), mode, "RGB")


def foreign(image: Image.Image) -> bytes | None:
    """The profile that a picture is to be converted by; None if it is sRGB, as those without one are taken for."""
    profile = image.info.get("icc_profile")
    if not isinstance(profile, bytes) or len(profile) < FEWEST_BYTES or not features.check("littlecms2"):
        return None
    return None if _space_of(profile) is None else profile


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image | None:
    """An 8-bit picture in sRGB, with its opacity; None if the profile is not one of its kind."""
    if image.has_transparency_data:
        whole = image.convert("RGBA")
        colours = to_srgb(whole.convert("RGB"), profile)
        if colours is not None:
            colours.putalpha(whole.getchannel("A"))
        return colours
    if image.mode in ("P", "YCbCr"):
        image = image.convert("RGB")
    if OF_MODES.get(image.mode) != _space_of(profile):
        return None
    try:
        return ImageCms.applyTransform(image, _transform(profile, image.mode))
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
