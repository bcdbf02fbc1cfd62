"""The run that a stage goes on from: found, finished, of the right stage, and with its checkpoint unchanged."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from milr.errors import MilrError
from milr.files import sha256_of
from milr.runs.disk import require_readable_runs
from milr.runs.folder import CONFIG, FINISHED, MANIFEST, MARKER, seconds_of
from milr.settings.paths import here
from milr.settings.stages import cli_name

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SourceRun:
    """A finished run whose checkpoint is the one its manifest names."""

    folder: Path  # absolute
    manifest: dict[str, Any]
    config: dict[str, Any]

    @property
    def checkpoint(self) -> Path:
        return self.folder / str(self.manifest["checkpoint"]["file"])

    def as_parent(self) -> dict[str, str]:
        """The entry `parent` of the manifest of a run that goes on from this one."""
        entry = self.manifest["checkpoint"]
        stage = str(self.manifest["stage"])
        return {"folder": str(self.folder), "stage": stage, "checkpoint": entry["file"], "sha256": entry["sha256"]}


def find_source(outputs: Path, stage: str, source: str) -> SourceRun:
    """The run that `source` names: a run folder, or `latest` for the finished run of `stage` that ended last.

    Errors: MilrError if there is none, or it is not finished, of another stage, or its checkpoint was changed.
    """
    folder = latest_run(outputs / stage, stage) if source == "latest" else Path(here(source))
    manifest = read_manifest(folder)
    if manifest.get("stage") != stage:
        raise MilrError(f"{folder} is a run of {cli_name(manifest.get('stage'))}; needed is one of {cli_name(stage)}")
    if not counts_as_finished(folder, manifest):
        raise MilrError(f"the run {folder} is not finished (its state is {manifest.get('state')!r}): name another")
    return SourceRun(folder, manifest, verified_config(folder, manifest))


def find_parent(run: SourceRun) -> SourceRun:
    """The run that `run` itself went on from; it is looked for beside `run` too, should both have been moved.

    Errors: MilrError as in `find_source`, or if the parent's checkpoint is not the one that `run` was made with.
    """
    parent = run.manifest.get("parent")
    if not parent:
        raise MilrError(f"the manifest of {run.folder} names no parent run")
    folder = parent_folder(run.folder, parent)
    source = find_source(folder.parent, parent["stage"], str(folder))
    if source.manifest["checkpoint"]["sha256"] != parent["sha256"]:
        raise MilrError(f"{source.checkpoint} is not the checkpoint that {run.folder} was made with")
    return source


def parent_folder(child: Path, parent: Mapping[str, Any]) -> Path:
    """Where the parent that the manifest of `child` names lies: at its old place, else in the outputs of `child`.

    Either may lie in outputs/<stage>/<run> or in outputs/<stage>_sweeps/<sweep>/<run>.
    """
    folder, stage = Path(parent["folder"]), str(parent["stage"])
    names = (Path(stage, folder.name), Path(f"{stage}_sweeps", *folder.parts[-2:]))
    moved = (outputs / name for outputs in child.parents[1:3] for name in names)
    return next((place for place in (folder, *moved) if place.is_dir()), folder)


def latest_run(folder: Path, stage: str) -> Path:
    """The finished run in `folder` that ended last. Errors: MilrError if there is none, or it may not be looked for."""
    chosen, number = newest(folder, "finished", finished=True)
    if chosen is None:
        there = f"{number} run(s), none finished" if number else "no run"
        raise MilrError(f"source=latest: {folder} holds {there}; run `milr {cli_name(stage)}` first, or name a folder")
    log.info("source=latest is %s", chosen)
    return chosen


def newest(folder: Path, time: str, finished: bool) -> tuple[Path | None, int]:
    """The run in `folder`, finished or not, with the last `time` (a key of its manifest), and how many runs there are.

    Errors: MilrError if one may not be read: it may be the one that is meant.
    """
    require_readable_runs(folder)
    runs, fitting = [path.parent for path in folder.glob(f"*/{MANIFEST}")], []
    for run in runs:
        try:
            manifest = read_manifest(run)
        except MilrError as error:
            if isinstance(error.__cause__, OSError):
                raise
            continue
        if counts_as_finished(run, manifest) == finished and (seconds := seconds_of(manifest.get(time))):
            fitting.append((seconds, run.name, run))
    return (max(fitting)[2].absolute() if fitting else None), len(runs)


def counts_as_finished(folder: Path, manifest: Mapping[str, Any]) -> bool:
    """Whether the run's manifest says finished and its marker is there."""
    return manifest.get("state") == FINISHED and (folder / MARKER).is_file()


def is_done(folder: Path) -> bool:
    """Whether this is the folder of a finished run."""
    try:
        return counts_as_finished(folder, read_manifest(folder))
    except MilrError:
        return False


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a run folder. Errors: MilrError if there is none or it cannot be read."""
    path = folder / MANIFEST
    try:
        if not path.is_file():
            raise MilrError(
                f"{folder} is no run folder: it has no {MANIFEST}" if folder.is_dir() else f"no folder {folder}"
            )
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MilrError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise MilrError(f"{path} cannot be read: {error}") from error
    if not isinstance(manifest, dict):
        raise MilrError(f"{path} is no manifest of milr")
    return manifest


def verified_config(folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """The settings of a run whose checkpoint is unchanged. Errors: MilrError if it is not, or settings are missing."""
    entry = manifest.get("checkpoint")
    if not isinstance(entry, dict) or not {"file", "sha256"} <= entry.keys():
        raise MilrError(f"the manifest of {folder} names no checkpoint")
    checkpoint = folder / str(entry["file"])
    if not checkpoint.is_file():
        raise MilrError(f"the checkpoint {checkpoint} is missing")
    if sha256_of(checkpoint) != entry["sha256"]:
        raise MilrError(f"{checkpoint} is not the file that was saved: its sha256 differs from the manifest's")
    return read_config(folder)


def read_config(folder: Path) -> dict[str, Any]:
    """The saved settings of a run. Errors: MilrError where they are missing or cannot be read."""
    path = folder / CONFIG
    try:
        config = OmegaConf.to_container(OmegaConf.load(path))
    except Exception as error:  # missing, unreadable or no YAML
        raise MilrError(f"{path} cannot be read ({type(error).__name__})") from error
    if not isinstance(config, dict):
        raise MilrError(f"{path} holds no settings")
    return {str(key): value for key, value in config.items()}
