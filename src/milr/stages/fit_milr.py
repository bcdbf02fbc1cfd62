"""`milr fit-milr`."""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from milr.stages.job import run_chained_stage
from milr.stages.runs import Run
from milr.stages.schema import FitMilr
from milr.stages.sources import SourceRun
from milr.stages.store import store_schemas

store_schemas()


def fit_milr(settings: FitMilr, run: Run, source: SourceRun) -> float:
    raise NotImplementedError("this stage's body is being written")


@hydra.main(config_path="pkg://milr.conf", config_name="fit_milr", version_base="1.3")
def main(cfg: DictConfig) -> float:
    return run_chained_stage(cfg, FitMilr, fit_milr, source_stage="train_protonet")
