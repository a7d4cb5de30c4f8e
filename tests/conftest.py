"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared data; the environment variable DFF_SHARED names it, ../shared is the default."""
    folder = Path(os.environ.get("DFF_SHARED", Path(__file__).parents[2] / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"no shared data at {folder}: set DFF_SHARED")
    return folder
