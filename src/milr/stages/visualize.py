"""`milr visualize`."""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from milr.stages.job import run_chained_stage
from milr.stages.runs import Run
from milr.stages.schema import Visualize
from milr.stages.sources import SourceRun
from milr.stages.store import store_schemas

store_schemas()


def draw(settings: Visualize, run: Run, source: SourceRun) -> float:
    raise NotImplementedError("this stage's body is being written")


@hydra.main(config_path="pkg://milr.conf", config_name="visualize", version_base="1.3")
def main(cfg: DictConfig) -> float:
    return run_chained_stage(cfg, Visualize, draw, source_stage="fit_milr", free=("dataset", "episode"))
