"""ICC colour profiles: converts images of other colour spaces to sRGB."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

from PIL import Image, ImageCms, features

SPACE_OF_MODE = {"RGB": "RGB", "CMYK": "CMYK", "L": "GRAY"}  # image mode: colour space of its profile
HEADER_BYTES = 128  # length of the header of a profile


@lru_cache(maxsize=64)
def _space_of(profile: bytes) -> str | None:
    """Returns the colour space of a profile. Returns None for sRGB and for a damaged profile."""
    try:
        opened = ImageCms.getOpenProfile(io.BytesIO(profile))
        if "srgb" in str(ImageCms.getProfileDescription(opened)).lower():
            return None
        return str(opened.profile.xcolor_space).strip()
    except Exception:  # a damaged profile does not make the image unusable
        return None


@lru_cache(maxsize=64)
def _transform(profile: bytes, mode: str) -> Any:
    opened = ImageCms.getOpenProfile(io.BytesIO(profile))
    return ImageCms.buildTransform(opened, ImageCms.createProfile("sRGB"), mode, "RGB")


def find_other_profile(image: Image.Image) -> bytes | None:
    """Returns the colour profile to convert from; None if it is missing, unusable or sRGB, or Pillow cannot convert."""
    profile = image.info.get("icc_profile")
    if not isinstance(profile, bytes) or len(profile) < HEADER_BYTES or not features.check("littlecms2"):
        return None
    return None if _space_of(profile) is None else profile


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image | None:
    """Returns an 8-bit image converted to sRGB, with its opacity. Returns None if the image cannot be converted."""
    if image.has_transparency_data:
        whole = image.convert("RGBA")
        colours = to_srgb(whole.convert("RGB"), profile)
        if colours is not None:
            colours.putalpha(whole.getchannel("A"))
        return colours
    if image.mode in ("P", "YCbCr"):
        image = image.convert("RGB")
    if SPACE_OF_MODE.get(image.mode) != _space_of(profile):
        return None
    try:
        return ImageCms.applyTransform(image, _transform(profile, image.mode))
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
