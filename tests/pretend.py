"""Stages whose work only pretends, behind the real command line, configuration and run folders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hydra
import pytest
from omegaconf import DictConfig

from milr import cli
from milr.settings.schema import FitMilr, TrainProtonet
from milr.settings.store import store_schemas
from milr.stages.job import run_chained_stage, run_stage

Work = Callable[..., float]


def pretend(monkeypatch: pytest.MonkeyPatch, train: Work, fit: Work) -> None:
    """`milr train-protonet` does `train(settings, run)`, and `milr fit-milr` does `fit(settings, run, source)`."""
    store_schemas()

    @hydra.main(config_path="pkg://milr.conf", config_name="train_protonet", version_base="1.3")
    def train_main(cfg: DictConfig) -> float:
        return run_stage(cfg, TrainProtonet, train)

    @hydra.main(config_path="pkg://milr.conf", config_name="fit_milr", version_base="1.3")
    def fit_main(cfg: DictConfig) -> float:
        return run_chained_stage(cfg, FitMilr, fit, source_stage="train_protonet")

    stages: dict[str, Any] = {"train_protonet": train_main, "fit_milr": fit_main}
    monkeypatch.setattr(cli, "import_stage", stages.__getitem__)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
