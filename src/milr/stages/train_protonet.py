"""`milr train-protonet`."""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from milr.stages.job import run_stage
from milr.stages.runs import Run
from milr.stages.schema import TrainProtonet
from milr.stages.store import store_schemas

store_schemas()


def train_protonet(settings: TrainProtonet, run: Run) -> float:
    raise NotImplementedError("this stage's body is being written")


@hydra.main(config_path="pkg://milr.conf", config_name="train_protonet", version_base="1.3")
def main(cfg: DictConfig) -> float:
    return run_stage(cfg, TrainProtonet, train_protonet)
