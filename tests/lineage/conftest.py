"""Runs that never ran, and two that did."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from milr import cli
from milr.data.records import Catalogue
from milr.lineage.differences import defaults
from milr.runs.checkpoints import save_checkpoint
from milr.runs.folder import open_run
from milr.runs.sources import find_run

MakeRun = Callable[..., Path]

DRAWN = ["dataset.species=12", "dataset.images_per_species=8", "dataset.picture_size=64", "dataset.size=32"]
TRAIN = ["backbone=resnet10", "device=cpu", "episode.way=3", "episode.query=2", "train.log_every=1"]
TRAIN += ["train.episodes=2", "train.validate_every=1", "train.validation_episodes=20", "train.learning_rate=1e-4"]
TRAIN += ["train.batch_norm=eval", "seed=1"]  # so that a trained step is kept, which a repetition has to hit
FIT = ["milr.steps=2", "milr.validate_every=1", "milr.validation_episodes=1", "infomax.bank_size=512"]


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    return tmp_path / "outputs"


@pytest.fixture
def make_run(outputs: Path) -> MakeRun:
    """Makes a finished run: make_run(stage, name, parent=folder, result=..., settings={dotted key: value})."""

    def make(stage: str, name: str = "run", parent: Path | None = None, **entries: Any) -> Path:
        config = OmegaConf.create()
        for key, value in {**default_settings(stage), **entries.pop("settings", {})}.items():
            OmegaConf.update(config, key, value)
        kept = {"source": str(parent)} if parent else {}
        entry = find_run(outputs, parent.parent.name, str(parent)).as_parent() if parent else None
        with open_run(outputs / stage, stage, name, {"parent": entry, **entries}) as run:
            save_checkpoint(run.path("best.pt"), {"kind": "protonet", "weight": torch.rand(2)})
            run.record_checkpoint("best.pt")
            OmegaConf.save(OmegaConf.merge(config, kept), run.path("config.yaml"), resolve=True)
        return run.folder

    return make


@cache
def default_settings(stage: str) -> dict[str, Any]:
    """Put together by Hydra once: that takes half a second."""
    return defaults(stage, {"dataset": {"name": "synthetic"}, "backbone": {"name": "conv4"}})


@pytest.fixture(scope="session")
def real(birds: Catalogue, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The outputs folder after a small training and a small fit."""
    outputs = tmp_path_factory.mktemp("real") / "outputs"
    where = [f"outputs={outputs}"]
    assert cli.main(["train-protonet", *where, f"dataset.root={birds.root}", *DRAWN, *TRAIN]) == 0
    assert cli.main(["fit-milr", *where, "source=latest", *FIT]) == 0
    return outputs
