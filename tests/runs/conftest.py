"""Runs that tests go on from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from milr.runs.checkpoints import save_checkpoint
from milr.runs.folder import open_run

MakeRun = Callable[..., Path]

CONFIG: dict[str, Any] = {
    "dataset": {
        "name": "cub",
        "root": "/birds",
        "crop": "bbox",
        "size": 96,
        "split": "novel",
        "classes": 0,
        "pictures": 0,
    },
    "backbone": {"name": "resnet18", "weights": "none"},
    "episode": {"way": 4, "shot": 2, "query": 3},
    "metric": {"distance": "cosine", "temperature": 0.1, "centre": True},
}


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Makes a finished run `outputs/<stage>/<name>` of a network on CUB: make_run(stage, name, **changed sections)."""

    def make(stage: str = "train_protonet", name: str = "run", **sections: Any) -> Path:
        with open_run(tmp_path / "outputs" / stage, stage, name, {"parent": sections.pop("parent", None)}) as run:
            save_checkpoint(run.path("best.pt"), {"kind": "protonet", "weight": torch.ones(2)})
            run.record_checkpoint("best.pt")
            OmegaConf.save(OmegaConf.create({**CONFIG, **sections}), run.path("config.yaml"))
        return run.folder

    return make
