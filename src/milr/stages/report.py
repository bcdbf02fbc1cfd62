"""How jobs end on the console: a failed one with one line if the user can correct it, a sweep with a table."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from milr.command.config_files import named_file
from milr.command.entry import traceback_wanted
from milr.command.mistakes import explain
from milr.console import console, log
from milr.errors import USER_ERROR, MilrError
from milr.runs.disk import disk_error, disk_message
from milr.settings.stages import STAGES
from milr.streams import lossy_streams
from milr.sweeps.folders import in_sweep, job_folder, overrides_as_typed, start_sweep
from milr.sweeps.jobs import manifest_if_any, read_jobs, summary_of, table, write_job
from milr.text import one_line

UNEXPECTED = 1  # an exit code


class JobReport(Callback):
    """Hydra's callback (`conf/common.yaml`): a sweep goes on after a failed job, and says so in its exit code.

    With several jobs at once each process has a copy of this object; what they tell each other stands in files.
    """

    def __init__(self) -> None:
        self.code = 0
        self.before: Mapping[str, Any] = {}  # the manifest that the job's folder had

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse a run folder of Hydra's."""
        refuse_run_folder(config)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Find the sweep's folder."""
        refuse_run_folder(config)
        try:
            with console():
                start_sweep(config)
        except (MilrError, OmegaConfBaseException) as error:  # Hydra would go on after any other
            leave(error_line(error, config))

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """See how far a sweep's job is already."""
        os.chdir(config.hydra.runtime.cwd)  # with hydra.job.chdir=true too, paths are from where the command was typed
        self.code, self.before = 0, manifest_if_any(job_folder()) if in_sweep() else {}

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Show a failure, and hide it from Hydra, which would show it too; a sweeper is given no objective for it."""
        error = None
        if job_return.status == JobStatus.FAILED:
            error = self.print_error(job_return._return_value, config)
            job_return.status, job_return.return_value = JobStatus.COMPLETED, None
        if in_sweep():
            job = config.hydra.job.num, overrides_as_typed(config.hydra)
            summary = summary_of(*job, job_return.return_value, job_folder(), self.before, error, self.code)
            write_job(Path(config.hydra.sweep.dir), summary)

    def print_error(self, error: BaseException, config: DictConfig) -> str:
        """Print what went wrong, and return it in one line."""
        if isinstance(error, OSError) and (cause := disk_error(error)):
            error = MilrError(disk_message(cause))
        user_error = isinstance(error, (MilrError, OmegaConfBaseException))
        self.code = USER_ERROR if user_error else UNEXPECTED
        line = one_line(error_line(error, config) if user_error else f"{type(error).__name__}: {error}")
        with lossy_streams():  # this may be another process than the one that the command line began in
            if not user_error or traceback_wanted():
                traceback.print_exception(error)
            else:
                print(f"error: {line}", file=sys.stderr)
        return line

    def on_run_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Leave with the exit code."""
        if self.code:
            raise SystemExit(self.code)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Show how each job ended, and leave with the exit code of the worst."""
        sweep = Path(config.hydra.sweep.dir)
        jobs = read_jobs(sweep)
        if not jobs:
            typed = " ".join(overrides_as_typed(config.hydra)) or "no overrides"
            leave(f"there is nothing to sweep over: a range or a pattern among {typed} holds no value")
        with console():
            log.info("%s\n%s", sweep, "\n".join(table(jobs)))
        if codes := {job.code for job in jobs} - {0}:
            raise SystemExit(min(codes))  # a bug's before a mistake's


def refuse_run_folder(config: DictConfig) -> None:
    """End the process where the user names a run folder of Hydra's: it would be made and stay empty."""
    folder = str(config.hydra.run.dir)
    if Path(folder).absolute() != Path.cwd():
        leave(f"hydra.run.dir={folder}: no run goes there; name the folder of runs with outputs=")


def leave(line: str) -> NoReturn:
    """End the process with what the user can correct."""
    print(f"error: {one_line(line)}", file=sys.stderr)
    raise SystemExit(USER_ERROR)


def error_line(error: BaseException, config: DictConfig) -> str:
    """The line for an error that the user can correct."""
    typed = overrides_as_typed(config.hydra)
    known = isinstance(error, MilrError)
    line = str(error) if known else explain(error, STAGES[config.hydra.job.config_name], typed)
    return named_file(line, config.hydra, typed)
