"""Checks of the errors that users see."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gan_cli.errors import UsageError


def refused(action: Callable[[], object], *words: str) -> str:
    """Runs `action`, which must raise a UsageError of one line with all these words. Returns the line."""
    with pytest.raises(UsageError) as caught:
        action()
    text = str(caught.value)
    assert "\n" not in text
    for word in words:
        assert word in text, text
    return text
