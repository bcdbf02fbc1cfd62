"""From a stage's words to its job: Hydra puts the settings together, and the job begins. Torch comes with the job."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from typing import Any
from warnings import catch_warnings, filterwarnings

import hydra
from omegaconf import DictConfig, OmegaConf

from milr.command.mistakes import explain, is_user_error
from milr.command.words import hydra_words
from milr.errors import MilrError
from milr.fields import check, load
from milr.settings.stages import Stage
from milr.settings.store import store_schemas

RUN_JOB = "milr.stages.job:run_job"  # imported once Hydra has read the settings

Instead = Callable[[Any], float]  # what is done with a job in place of carrying it out


def hydra_main(stage: Stage, instead: Instead | None = None) -> Callable[[], None]:
    """Hydra's entry point of a stage: it reads sys.argv."""
    store_schemas()

    @hydra.main(config_path="pkg://milr.conf", config_name=stage.name, version_base="1.3")
    def main(cfg: DictConfig) -> float:
        if not OmegaConf.missing_keys(cfg):
            check(OmegaConf.to_object(cfg))  # before torch is imported
        objective: float = load(RUN_JOB)(cfg, stage, instead)
        return objective

    return main


def run_stage(stage: Stage, words: Sequence[str], instead: Instead | None = None) -> int:
    """Let Hydra read `words`, carry out the stage's job or jobs, and return the exit code.

    instead: is given the job that would be carried out. Errors: MilrError for what a user can correct.
    """
    with hydra_environment(hydra_words(stage, words)), catch_warnings():
        filterwarnings("error", message="provider=.* is not available")  # a folder of configs that is not there
        try:
            hydra_main(stage, instead)()
        except SystemExit as leaving:
            return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
        except Exception as error:
            line = None if traceback_wanted() else error_line(error, stage, words)
            if line is None:
                raise
            raise MilrError(line) from error
    return 0


def error_line(error: Exception, stage: Stage, words: Sequence[str]) -> str | None:
    """The line for an error that came through Hydra; None if it is none of the user's."""
    if isinstance(error, BrokenExecutor):  # joblib then stops the sweep's other processes too
        return "a process of the sweep was killed, for want of memory or by hand: the same command goes on"
    if is_user_error(error) and getattr(error, "errno", None) is None:  # some of Hydra's own are OSErrors
        return explain(error, stage, words)
    return f"{error.filename or 'file'}: {error.strerror or error}" if isinstance(error, OSError) else None


def traceback_wanted() -> bool:
    """Whether the user asked for tracebacks (Hydra's own variable is set here, so the wish is kept under another)."""
    return os.environ.get("MILR_TRACEBACK") == "1"


@contextmanager
def hydra_environment(words: Sequence[str], **variables: str) -> Iterator[None]:
    """The process as Hydra shall see it, put back afterwards: argv without the stage, and errors raised, not printed.

    A user who set HYDRA_FULL_ERROR=1 wants tracebacks; MILR_TRACEBACK keeps that wish.
    """
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        variables["MILR_TRACEBACK"] = "1"
    variables["HYDRA_FULL_ERROR"] = "1"
    program = "milr" if sys.argv[0].endswith(".py") else sys.argv[0]  # Hydra would complete `python`
    argv, before = sys.argv, {name: os.environ.get(name) for name in variables}
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level  # --info adds one of its own
    sys.argv = [program, *words]
    os.environ.update(variables)
    try:
        yield
    finally:
        sys.argv, root.handlers[:] = argv, handlers
        root.setLevel(level)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
