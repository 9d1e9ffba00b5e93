"""The key under which pytest's config keeps the names of the collected tests."""

from __future__ import annotations

import pytest

COLLECTED = pytest.StashKey[list[str]]()
