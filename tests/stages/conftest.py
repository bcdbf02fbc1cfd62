"""The outputs of all four stages, to be added to."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def copy(pipeline: Path, tmp_path: Path) -> Path:
    """The same outputs, to be added to or spoiled."""
    return Path(shutil.copytree(pipeline, tmp_path / "outputs"))
