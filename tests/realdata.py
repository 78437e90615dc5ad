"""Where the folder of real instances is, for tests that measure on it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("APPORTION_DATA", Path(__file__).parents[2] / "shared" / "data"))


def data_file(relative: str) -> Path:
    """Return a file of the folder, or skip the test and say why."""
    path = DATA / relative
    if not path.exists():
        pytest.skip(f"needs the folder of real instances (APPORTION_DATA): {relative} is not there")
    return path
