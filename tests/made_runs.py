"""Runs that never ran."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from milr.lineage.differences import defaults
from milr.runs.checkpoints import save_checkpoint
from milr.runs.folder import open_run
from milr.runs.sources import find_source


def make_run(outputs: Path, stage: str, name: str = "run", parent: Path | None = None, **entries: Any) -> Path:
    """A finished run: make_run(outputs, stage, name, parent=folder, result=..., settings={dotted key: value})."""
    config = OmegaConf.create()
    for key, value in {**default_settings(stage), **entries.pop("settings", {})}.items():
        OmegaConf.update(config, key, value)
    kept = {"source": str(parent)} if parent else {}
    entry = find_source(outputs, parent.parent.name, str(parent)).as_parent() if parent else None
    with open_run(outputs / stage, stage, name, {"parent": entry, **entries}) as run:
        save_checkpoint(run.path("best.pt"), {"kind": "protonet", "weight": torch.rand(2)})
        run.record_checkpoint("best.pt")
        OmegaConf.save(OmegaConf.merge(config, kept), run.path("config.yaml"), resolve=True)
    return run.folder


@cache
def default_settings(stage: str) -> Mapping[str, Any]:
    """Put together by Hydra once: that takes half a second."""
    return defaults(stage, {"dataset": {"name": "synthetic"}, "backbone": {"name": "conv4"}})
