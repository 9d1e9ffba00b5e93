"""What is wrong with one picture."""

from __future__ import annotations


class BadPicture(Exception):
    """A picture that cannot be used; the text says why in a few words."""
