"""The run that a stage goes on from: found, finished, of the right stage, and with its checkpoint unchanged."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from milr.errors import MilrError
from milr.fields import nearest
from milr.files import sha256_of
from milr.runs.find import find_runs, name_of, newest
from milr.runs.folder import FINISHED, MARKER
from milr.runs.manifests import counts_as_finished, parent_folder, read_config, read_manifest
from milr.settings.paths import here
from milr.settings.stages import cli_name
from milr.text import first_few

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
    """The run that `source` names: a run folder, or `latest` for the finished run of `stage` that ended last, of
    those that `milr runs` lists.

    Errors: MilrError if there is none, or it is not finished, of another stage, or its checkpoint was changed.
    """
    folder = latest_run(outputs, stage) if source == "latest" else Path(here(source))
    try:
        manifest = read_manifest(folder)
    except MilrError as error:
        if isinstance(error.__cause__, OSError) or folder.is_dir():
            raise
        raise MilrError(f"{error}{meant(outputs, stage, source)}") from error
    if manifest.get("stage") != stage:
        raise MilrError(f"{folder} is a run of {cli_name(manifest.get('stage'))}; needed is one of {cli_name(stage)}")
    if not counts_as_finished(folder, manifest):
        state = manifest.get("state")
        lacks = f"it has no {MARKER}" if state == FINISHED else f"its state is {state!r}"
        raise MilrError(f"the run {folder} is not finished ({lacks}): name another")
    return SourceRun(folder, manifest, verified_config(folder, manifest))


def meant(outputs: Path, stage: str, source: str) -> str:
    """What may have been meant instead of a folder that is not there: `latest`, or one of the newest runs."""
    runs = [run for run in find_runs(outputs) if run.stage == stage] if outputs.is_dir() else []
    newest_first = [str(outputs / name_of(run, outputs)) for run in reversed(runs) if run.state == FINISHED]
    near = nearest(source, ["latest", *newest_first, *(Path(name).name for name in newest_first)])
    listed = f"; the newest runs of {cli_name(stage)}: {first_few(newest_first)}" if newest_first else ""
    return f"{near}{listed}"


def find_parent(run: SourceRun) -> SourceRun:
    """The run that `run` itself went on from; it is looked for beside `run` too, should both have been moved.

    Errors: MilrError as in `find_source`, or if the parent's checkpoint is not the one that `run` was made with.
    """
    parent = run.manifest.get("parent")
    if not parent or not {"folder", "stage", "sha256"} <= parent.keys():
        raise MilrError(f"the manifest of {run.folder} names no parent run")
    folder = parent_folder(run.folder, parent)
    if not folder.exists():
        raise MilrError(
            f"the run {run.folder} goes on from {folder}, which is gone: put it back there, or beside it as "
            f"{Path(run.folder.parent.parent, str(parent['stage']), folder.name)}"
        )
    source = find_source(folder.parent, parent["stage"], str(folder))
    if source.manifest["checkpoint"]["sha256"] != parent["sha256"]:
        raise MilrError(f"{source.checkpoint} is not the checkpoint that {run.folder} was made with")
    return source


def latest_run(outputs: Path, stage: str) -> Path:
    """The finished run of `stage` under `outputs` that ended last. Errors: MilrError if there is none."""
    runs = [run for run in find_runs(outputs) if run.stage == stage] if outputs.is_dir() else []
    chosen = newest(runs)
    if chosen is None:
        there = f"{len(runs)} run(s) of {cli_name(stage)}, none finished" if runs else f"no run of {cli_name(stage)}"
        raise MilrError(f"source=latest: {outputs} holds {there}; run `milr {cli_name(stage)}` first, or name a folder")
    log.info("source=latest is %s", chosen.folder)
    return chosen.folder


def verified_config(folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """The settings of a run whose checkpoint is unchanged.

    Errors: MilrError if it is not, or if the settings are missing or others than those that the run was made with.
    """
    entry = manifest.get("checkpoint")
    if not isinstance(entry, dict) or not {"file", "sha256"} <= entry.keys():
        raise MilrError(f"the manifest of {folder} names no checkpoint")
    checkpoint = folder / str(entry["file"])
    if not checkpoint.is_file():
        raise MilrError(f"the checkpoint {checkpoint} is missing")
    if sha256_of(checkpoint) != entry["sha256"]:
        raise MilrError(f"{checkpoint} is not the file that was saved: its sha256 differs from the manifest's")
    return read_config(folder)
