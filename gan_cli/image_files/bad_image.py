"""The error for one image that cannot be used."""

from __future__ import annotations


class BadImageError(Exception):
    """An image that cannot be used. The text gives the reason in a few words."""
