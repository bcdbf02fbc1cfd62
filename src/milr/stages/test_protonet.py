"""`milr test-protonet`."""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from milr.stages.job import run_chained_stage
from milr.stages.runs import Run
from milr.stages.schema import TestProtonet
from milr.stages.sources import SourceRun
from milr.stages.store import store_schemas

store_schemas()


def measure_protonet(settings: TestProtonet, run: Run, source: SourceRun) -> float:
    raise NotImplementedError("this stage's body is being written")


@hydra.main(config_path="pkg://milr.conf", config_name="test_protonet", version_base="1.3")
def main(cfg: DictConfig) -> float:
    return run_chained_stage(
        cfg, TestProtonet, measure_protonet, source_stage="train_protonet", free=("dataset", "episode")
    )
