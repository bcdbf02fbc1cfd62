"""Runs that never ran."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import made_runs
import pytest

MakeRun = Callable[..., Path]


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    return tmp_path / "outputs"


@pytest.fixture
def make_run(outputs: Path) -> MakeRun:
    """Makes a finished run: make_run(stage, name, parent=folder, result=..., settings={dotted key: value})."""
    return partial(made_runs.make_run, outputs)
