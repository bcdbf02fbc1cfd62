"""What several test modules share: drawn birds, the four stages run on them, the real photographs where they lie."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from hypothesis import settings
from small import DRAWN, FIT, TRAIN

from milr import cli
from milr.data.records import Catalogue
from milr.data.synthetic import read_synthetic

MadeOnce = Callable[[str, Callable[[Path], object]], Path]

settings.register_profile("milr", max_examples=60, deadline=None, derandomize=True)  # the same examples everywhere
settings.load_profile("milr")
if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)  # the processes share the cores


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test draws the same numbers at every run."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> MadeOnce:
    """made_once(name, make): the folder that make(folder) fills, once for all of xdist's processes. Only to be read."""
    base = tmp_path_factory.getbasetemp()
    place = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def once(name: str, make: Callable[[Path], object]) -> Path:
        folder, made = place / name, place / f"{name}.made"
        with FileLock(place / f"{name}.lock"):
            if not made.exists():
                folder.mkdir()
                make(folder)
                made.touch()
        return folder

    return once


def read_birds(folder: Path) -> Catalogue:
    return read_synthetic(folder / "drawn", species=12, images_per_species=8, picture_size=64, seed=0)


@pytest.fixture(scope="session")
def birds(made_once: MadeOnce) -> Catalogue:
    """12 species of drawn birds, 8 pictures each, 64 px."""
    return read_birds(made_once("birds", read_birds))


@pytest.fixture(scope="session")
def pipeline(birds: Catalogue, made_once: MadeOnce) -> Path:
    """The outputs folder after all four stages have run."""

    def run_stages(outputs: Path) -> None:
        here = [f"outputs={outputs}"]
        assert cli.main(["train-protonet", *here, f"dataset.root={birds.root}", *DRAWN, *TRAIN]) == 0
        assert cli.main(["test-protonet", *here, "source=latest", "test.episodes=40"]) == 0
        assert cli.main(["fit-milr", *here, "source=latest", *FIT]) == 0
        assert cli.main(["visualize", *here, "source=latest"]) == 0

    return made_once("outputs", run_stages)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever goes on from trained networks, needs other processes' work or reads photographs is slow."""
    for item in items:
        if {"pipeline", "ended", "installed", "shared"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real photographs and weights that the environment variable MILR_SHARED names."""
    folder = os.environ.get("MILR_SHARED")
    if not folder:
        pytest.skip("MILR_SHARED names no folder with cub-crops, cub-frames and weights")
    return Path(folder)
