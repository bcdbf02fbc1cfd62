"""What every stage does around its own work: read the settings, open the run folder, go on from a source.

A stage module looks like this, whole:

    \"\"\"milr fit-milr: ...\"\"\"

    from __future__ import annotations

    import hydra
    from omegaconf import DictConfig

    from milr.stages.job import run_chained_stage
    from milr.runs.folder import Run
    from milr.settings.schema import FitMilr
    from milr.runs.sources import SourceRun
    from milr.settings.store import store_schemas

    store_schemas()


    def fit_milr(settings: FitMilr, run: Run, source: SourceRun) -> float:
        import torch  # heavy imports stand in here: the command line's help and completion import this module

        ...  # typed functions of the library, never `settings` or `run` below this level
        run.metrics(step=1, loss=0.5)
        run.record(result={"accuracy": 0.9})
        save_checkpoint(run.path("milr.pt"), {...})
        run.record_checkpoint("milr.pt")
        return 0.9  # what a sweeper may optimise


    @hydra.main(config_path="pkg://milr.conf", config_name="fit_milr", version_base="1.3")
    def main(cfg: DictConfig) -> float:
        return run_chained_stage(cfg, FitMilr, fit_milr, source_stage="train_protonet")

The manifest's `data` and `split` are for the stage to record (`milr.data.catalogues` has both); everything else that
is known from the settings or the source is there already.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from milr import __version__
from milr.command.mistakes import unknown_key
from milr.errors import MilrError
from milr.files import sha256_of, write_atomically
from milr.networks.settings import BackboneSettings
from milr.runs.disk import disk_errors
from milr.runs.facts import git_state, host, process, versions
from milr.runs.folder import CONFIG, Run, open_run, timestamp
from milr.runs.inherit import inherit
from milr.runs.interrupts import terminable
from milr.runs.resume import (
    reopen_run,
    require_same_parent,
    run_to_resume,
    settings_to_resume,
)
from milr.runs.sources import SourceRun, find_run, is_done, read_config
from milr.settings.limits import check_limits, check_names, check_paths
from milr.settings.paths import here, home
from milr.settings.schema import STAGES, ChainedStageSettings, NetworkStageSettings, StageSettings
from milr.settings.stages import spoken
from milr.settings.values import leaves
from milr.stages.devices import divide_threads
from milr.streams import lossy_streams
from milr.sweeps.folders import in_sweep, job_folder, overrides_as_typed
from milr.sweeps.jobs import folder_to_go_on, objective_of

Settings = TypeVar("Settings", bound=StageSettings)
NetworkSettings = TypeVar("NetworkSettings", bound=NetworkStageSettings)
ChainedSettings = TypeVar("ChainedSettings", bound=ChainedStageSettings)

Work = Callable[[Any, Run], float]
Rehearsal = Callable[[Any, "SourceRun | None", Work], float]

# What `milr check` and `milr rerun` tell a job beside its settings.
REHEARSAL: ContextVar[Rehearsal | None] = ContextVar("rehearsal", default=None)  # done in place of the run
REPEATED: ContextVar[str | None] = ContextVar("repeated", default=None)  # the folder of the run that is repeated

log = logging.getLogger("milr")


def run_stage(cfg: DictConfig, kind: type[NetworkSettings], work: Callable[[NetworkSettings, Run], float]) -> float:
    """Carry out `work` in a run folder of its own, or in the one to resume; what it returns is the job's objective."""
    with console(), terminable(), disk_errors():
        settings = typed_settings(cfg, kind)
        folder = folder_to_resume(cfg, kind)
        if folder:
            settings = settings_to_resume(settings, folder, command_overrides())
        check_limits(settings)
        return carry_out(settings, None, work, folder)


def run_chained_stage(
    cfg: DictConfig,
    kind: type[ChainedSettings],
    work: Callable[[ChainedSettings, Run, SourceRun], float],
    source_stage: str,
    free: Sequence[str] = (),
) -> float:
    """As `run_stage`, for a stage that goes on from a run of `source_stage`.

    free: the sections of the settings in which an override wins over the source run (see `inherit`).
    """
    with console(), terminable(), disk_errors():
        folder = folder_to_resume(cfg, kind)
        if folder and OmegaConf.is_missing(cfg, "source"):
            cfg.source = read_config(folder)["source"]
        settings = typed_settings(cfg, kind)
        source = find_run(Path(settings.outputs), source_stage, settings.source)
        settings = replace(inherit(settings, source, command_overrides(), free), source=str(source.folder))
        if folder:
            settings = settings_to_resume(settings, folder, command_overrides())
        check_limits(settings)
        return carry_out(settings, source, lambda settings, run: work(settings, run, source), folder)


def carry_out(settings: NetworkStageSettings, source: SourceRun | None, work: Work, folder: Path | None) -> float:
    """Do the work in its run folder, and keep the objective there; a sweep's job that is done already is skipped.

    folder: of the run to resume; a sweep's job finds its own. `milr check` rehearses in place of all this.
    """
    rehearsal = REHEARSAL.get()
    if rehearsal is not None:
        return rehearsal(settings, source, work)
    if in_sweep():
        folder = folder_to_go_on(job_folder(), settings, source)
        if folder and is_done(folder):
            log.info("skipped, since it is done: %s", folder)
            return objective_of(folder)
        divide_threads()
    with open_stage_run(settings, source, folder) as run:
        objective = work(settings, run)
        run.record(objective=objective)
    return objective


def checked_settings(cfg: DictConfig, kind: type[Settings]) -> Settings:
    """The settings of a stage without a source, as it may use them. Errors: MilrError for a value out of its limits."""
    settings = typed_settings(cfg, kind)
    check_limits(settings)
    return settings


def typed_settings(cfg: DictConfig, kind: type[Settings]) -> Settings:
    """The settings as a dataclass, their paths made absolute: a later stage may be called from another folder."""
    settings = OmegaConf.to_object(cfg)
    known = {key for key, _ in leaves(settings)}
    for key, _ in leaves(OmegaConf.to_container(cfg)):
        if key not in known:  # added with a +, which Hydra lets past the schema
            raise MilrError(unknown_key(key, stage_of(kind), command_overrides()))
    if not isinstance(settings, kind):
        raise MilrError(f"the config is not one of {spoken(stage_of(kind))}: leave --config-name out")
    check_paths(settings)
    check_names(settings)
    settings.outputs = home(settings.outputs)
    settings.dataset.root = here(settings.dataset.root)
    backbone: BackboneSettings | None = getattr(settings, "backbone", None)
    if backbone and backbone.weights not in ("none", "imagenet"):
        backbone.weights = here(backbone.weights)
    if hasattr(settings, "images"):
        settings.images = [here(path) for path in settings.images]
    return settings


@contextmanager
def open_stage_run(
    settings: NetworkStageSettings, source: SourceRun | None, resumed: Path | None = None
) -> Iterator[Run]:
    """The run folder of this job, with its config and everything its manifest can say beforehand; or a resumed one."""
    stage = stage_of(type(settings))
    if resumed:
        with reopen_run(resumed, **this_session(settings, stage)) as run:
            if source:
                require_same_parent(run.manifest, source)
            log.info("%s, resumed: %s", spoken(stage), run.folder)
            yield run
        return
    parent, name = run_place(settings, stage)
    with open_run(parent, stage, name, first_entries(settings, stage, source)) as run:
        text = OmegaConf.to_yaml(OmegaConf.structured(settings))
        run.promise(CONFIG)
        write_atomically(run.path(CONFIG), lambda file: file.write(text.encode()))
        log.info("%s: %s", spoken(stage), run.folder)
        yield run


def run_place(settings: StageSettings, stage: str) -> tuple[Path, str]:
    """The folder that holds the run's folder, and the run's name: in a sweep, the sweep's folder and the overrides."""
    if in_sweep():
        return job_folder().parent, job_folder().name
    return Path(settings.outputs) / stage, timestamp()


def folder_to_resume(cfg: DictConfig, kind: type[StageSettings]) -> Path | None:
    """The run folder that `resume=` names; None for a stage that cannot be resumed, or where a new run is wanted."""
    resume = str(cfg.get("resume") or "")
    return run_to_resume(Path(home(str(cfg.outputs))), stage_of(kind), resume) if resume else None


def first_entries(settings: NetworkStageSettings, stage: str, source: SourceRun | None) -> Mapping[str, Any]:
    """The manifest's entries that are known before the work begins."""
    return {
        **this_session(settings, stage),
        "seed": settings.seed,
        "repeats": REPEATED.get(),
        "parent": source.as_parent() if source else None,
        "weights": None if source else weights_entry(settings.backbone),
        "data": None,
        "split": None,
        "backbone": asdict(settings.backbone),
        "episode": asdict(settings.episode),
        "metric": asdict(settings.metric),
        "result": None,
        "checkpoint": None,
    }


def weights_entry(backbone: BackboneSettings) -> dict[str, str] | None:
    """The manifest's `weights`: the user's file of first weights, with its sha256; None where there is none."""
    file = Path(backbone.weights)
    return {"file": str(file), "sha256": sha256_of(file)} if file.is_absolute() and file.is_file() else None


def this_session(settings: StageSettings, stage: str) -> dict[str, Any]:
    """By what command, with what software and on what machine a run is begun or resumed."""
    return {
        "milr": __version__,
        "command": shlex.join(["milr", spoken(stage), *command_overrides()]),
        "versions": versions(),
        "git": git_state(),
        "host": host(settings.device),
        "process": process(),
    }


def command_overrides() -> list[str]:
    """This job's own overrides as they were typed (in a sweep: the job's, one value each), without Hydra's."""
    return overrides_as_typed(HydraConfig.get()) if HydraConfig.initialized() else []


def stage_of(kind: type[StageSettings]) -> str:
    """The name of the stage that has these settings."""
    return next(name for name, settings in STAGES.items() if settings is kind)


class ConsoleHandler(logging.Handler):
    """Shows a message on standard output, above a progress bar where there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message."""
        tqdm.write(self.format(record))


@contextmanager
def console() -> Iterator[None]:
    """Show what milr logs while the body runs; who reads it may leave, in the processes of a sweep too."""
    handler, level = ConsoleHandler(logging.INFO), log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)  # the run's log.txt takes more than the console
    try:
        with lossy_streams():
            yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
