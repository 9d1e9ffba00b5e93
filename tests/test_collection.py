"""Every process collects the same names, which pytest-xdist checks itself whenever it starts workers."""

from __future__ import annotations

import pytest


def test_bytes_name_no_test(request: pytest.FixtureRequest) -> None:
    name = request.config.hook.pytest_make_parametrize_id
    assert name(config=request.config, val="text", argname="content") is None
    with pytest.raises(pytest.Collector.CollectError, match="content: bytes name no test"):
        name(config=request.config, val=b"bytes", argname="content")
