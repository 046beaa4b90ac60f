"""Inputs that others wrote, beside this checkout: of many distributions, and of AWS."""

from pathlib import Path

import pytest

REAL_INPUTS = Path(__file__).parents[3] / "shared" / "data"


def real_folder(name: str) -> Path:
    """Return one folder of them; skip the test that asks, saying so, where they are not."""
    if not REAL_INPUTS.is_dir():
        pytest.skip("NOT RUN: there are no real inputs in ../shared/data")
    return REAL_INPUTS / name
