"""Turns plain data into a validated `Config`. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gan_cli.config.compatibility import validate
from gan_cli.config.train_config import Config, parse_unvalidated


def parse_config(data: Mapping[str, Any]) -> Config:
    """Returns the `Config` for `data`. Raises UsageError if a value is invalid or if values do not fit together."""
    config = parse_unvalidated(data)
    validate(config)
    return config
