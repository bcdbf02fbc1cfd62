"""What several test modules share: a small set of drawn birds, and the real photographs where they lie."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from milr.data.records import Catalogue
from milr.data.synthetic import read_synthetic

settings.register_profile("milr", max_examples=60, deadline=None, derandomize=True)  # the same examples everywhere
settings.load_profile("milr")


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test draws the same numbers at every run."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def birds(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """12 species of drawn birds, 8 pictures each, 64 px."""
    root = tmp_path_factory.mktemp("birds") / "drawn"
    return read_synthetic(root, species=12, images_per_species=8, picture_size=64, seed=0)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real photographs and weights that the environment variable MILR_SHARED names."""
    folder = os.environ.get("MILR_SHARED")
    if not folder:
        pytest.skip("MILR_SHARED names no folder with cub-crops, cub-frames and weights")
    return Path(folder)
