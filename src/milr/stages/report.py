"""How a failed job is told, in place of Hydra's own words: one line for what the user can mend, else the traceback."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from milr.errors import MilrError
from milr.stages.mistakes import explain

MENDABLE, UNEXPECTED = 2, 1  # exit codes


class JobReport(Callback):
    """Hydra's callback (`conf/common.yaml`): a sweep goes on after a failed job, and says so in its exit code."""

    def __init__(self) -> None:
        self.code = 0

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Tell the failure and mark it as told, or Hydra tells it again; a sweeper is given NaN for the objective."""
        if job_return.status != JobStatus.FAILED:
            return
        error = job_return._return_value
        mendable = isinstance(error, (MilrError, OmegaConfBaseException))
        if not mendable or traceback_wanted():
            traceback.print_exception(error)
        else:
            line = str(error) if isinstance(error, MilrError) else explain(error, config.hydra.job.config_name, [])
            print(f"error: {line}", file=sys.stderr)
        self.code = self.code if self.code == UNEXPECTED else MENDABLE if mendable else UNEXPECTED
        job_return.status, job_return.return_value = JobStatus.COMPLETED, float("nan")

    def on_run_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Leave with the exit code."""
        self.leave()

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Leave with the exit code of the worst job."""
        self.leave()

    def leave(self) -> None:
        if self.code:
            raise SystemExit(self.code)


def traceback_wanted() -> bool:
    """Whether the user asked for tracebacks (the dispatcher sets Hydra's own variable, so it keeps the wish here)."""
    return os.environ.get("MILR_TRACEBACK") == "1"
