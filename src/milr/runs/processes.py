"""The processes that `torchrun` starts for one training, as the environment tells them. No torch here."""

from __future__ import annotations

import os
from collections.abc import Sequence

from milr.errors import MilrError
from milr.settings.stages import Stage


def launched_processes() -> int:
    """How many there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def launched_rank() -> int:
    """Which one this is, from 0: the first alone writes."""
    return int(os.environ.get("RANK", "0")) if launched_processes() > 1 else 0


def launched_local_rank() -> int:
    """Which one of this machine's, from 0: the number of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0")) if launched_processes() > 1 else 0


def check_processes(stage: Stage, words: Sequence[str]) -> None:
    """MilrError for what several processes would each do anew: a sweep, or a stage that is for one."""
    if launched_processes() == 1:
        return
    started = f"torchrun started {launched_processes()} processes (WORLD_SIZE)"
    if stage.helper is None:
        raise MilrError(f"{started}, and {stage.cli_name} is for one: call `milr {stage.cli_name}` without torchrun")
    if any(word in ("-m", "--multirun") or word.startswith("hydra.mode=") for word in words):
        raise MilrError(
            f"{started} for one training, and --multirun is for several: leave one out; "
            "hydra/launcher=joblib or slurm spreads a sweep (docs/scaling.md)"
        )
    if any(word.startswith("resume=") for word in words):
        raise MilrError(f"{started}, and a training of several processes cannot be resumed yet: leave resume= out")
