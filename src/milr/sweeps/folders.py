"""The folders of a sweep and of its jobs, which the same command finds again, and the source run of all its jobs."""

from __future__ import annotations

from pathlib import Path
from typing import IO, cast

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from milr.errors import MilrError
from milr.runs.locks import lock
from milr.runs.sources import find_source
from milr.settings.paths import home, quoted
from milr.settings.stages import STAGES
from milr.sweeps.names import sweep_name

LOCK = ".lock"
JOBS = "job-*.json"  # in a sweep's folder: one for each job that has ended since it was started last

locks: dict[Path, IO[str]] = {}  # of the sweeps that this process runs


def start_sweep(config: DictConfig) -> Path:
    """Name the sweep's folder after its overrides, pin `source=latest`, and make the folder this process's own.

    config: of the whole sweep; from it Hydra makes those of the jobs. A folder that the user named stays as it is.
    Errors: MilrError if there is no source, or another process runs this very sweep.
    """
    stage, outputs = str(config.hydra.job.config_name), str(config.outputs)
    typed = overrides_as_typed(config.hydra)
    task = [pinned(override, stage, Path(outputs)) for override in typed]
    hydra = [str(override) for override in config.hydra.overrides.hydra]
    folder = home(str(config.hydra.sweep.dir))
    if not any(override.startswith("hydra.sweep.dir=") for override in hydra):
        folder = str(Path(folder) / sweep_name(task, left_out=["outputs"]))
        hydra.append(f"hydra.sweep.dir={quoted(folder)}")
    if any(is_swept_source(override) for override in task):  # else all jobs have the same, and the sweep is named by it
        hydra.append("hydra.job.config.override_dirname.exclude_keys=[outputs]")
    with read_write(config), open_dict(config):
        config.hydra.sweep.dir = folder
        config.hydra.overrides.hydra, config.hydra.overrides.task = hydra, task
    claim(Path(folder))
    for file in Path(folder).glob(JOBS):
        file.unlink()
    return Path(folder)


def pinned(override: str, stage: str, outputs: Path) -> str:
    """`source=latest` as the run that it is now: while a sweep runs, another run may become the latest."""
    needed = STAGES[stage].source if stage in STAGES else None
    if override == "source=none":  # each job would make a network of its own
        raise MilrError("source=none in a sweep: `milr train-protonet train.episodes=0 ...` first, then source=latest")
    if override.lstrip("+") != "source=latest" or needed is None:
        return override
    return f"source={quoted(str(find_source(outputs, needed, 'latest').folder))}"


def is_swept_source(override: str) -> bool:
    """Whether the jobs have several sources."""
    return (
        override.lstrip("+").startswith("source=")
        and OverridesParser.create().parse_override(override).is_sweep_override()
    )


def claim(folder: Path) -> None:
    """Hold the lock of a sweep's folder until `release_all`. MilrError if another process holds it."""
    path = folder.absolute()
    if path in locks:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("w", encoding="utf-8")
    except OSError as error:
        reason = error.strerror or error
        raise MilrError(f"cannot write a sweep in {folder}: {reason}; name another place with outputs=") from error
    if not lock(file):
        file.close()
        raise MilrError(
            f"another process runs this sweep: {folder}; wait for it, or name another folder with hydra.sweep.dir="
        )
    locks[path] = file


def release_all() -> None:
    """Let others run the sweeps of this process: the command line calls it whichever way a sweep ended."""
    while locks:
        locks.popitem()[1].close()


def in_sweep() -> bool:
    """Whether this is a job of a sweep."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def overrides_as_typed(hydra: DictConfig | HydraConf) -> list[str]:
    """The overrides of a job or a sweep, `${...}` in them as it stands."""
    typed = OmegaConf.to_container(cast(DictConfig, hydra.overrides.task), resolve=False)
    return [str(override) for override in cast(list[object], typed)]


def job_folder() -> Path:
    """The run folder of this job of a sweep: named after its overrides, so that they find it again."""
    hydra = HydraConfig.get()
    left_out = [str(key) for key in hydra.job.config.override_dirname.exclude_keys]
    return Path(hydra.sweep.dir) / sweep_name(overrides_as_typed(hydra), left_out)
