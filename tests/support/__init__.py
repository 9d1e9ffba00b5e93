"""Helpers that several test modules use."""

import pkgutil

import pytest

for module in pkgutil.iter_modules(__path__):  # a failing `assert` in a helper shows its values, as in a test
    pytest.register_assert_rewrite(f"{__name__}.{module.name}")
