"""The parts of messages: numbers and lists as people read them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gan_cli.config.validation import format_value
from gan_cli.errors import first_few, format_number


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (2**63, "9,223,372,036,854,775,808"), (10**12, "1,000,000,000,000"), (1e6, "1,000,000"), (-12345.6, "-12,346"),
        (999.96, "1000"), (3.0, "3"), (0, "0"), (0.12345, "0.1235"), (1.5e-8, "1.5e-8"), (1e20, "1e20"),
        (math.inf, "inf"), (math.nan, "nan"), (np.float32(4095), "4,095"), (np.uint8(7), "7"),
    ],
)  # fmt: skip
def test_numbers(number: float, text: str) -> None:
    assert format_number(number) == text


def test_values_are_written_as_on_the_command_line() -> None:
    assert [format_value(value) for value in (1e-08, 1e20, [0.5, 1e-05], 10**6)] == [
        "1e-8", "1e20", "[0.5,1e-5]", "1000000",
    ]  # fmt: skip


def test_long_lists_are_cut() -> None:
    names = [*map(str, range(1005))]
    assert first_few(names) == "0, 1, 2 and 1,002 more"
    assert first_few(names[:3]) == "0, 1, 2"
