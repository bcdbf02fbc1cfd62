"""Going on in the folder of a run that was stopped: which run, with which settings, and that nothing else changed.

`resume=<run folder>` and `resume=latest` come through here; so does a sweep that finds its own folders again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import OmegaConf

from milr.errors import MilrError
from milr.fields import leaves
from milr.runs.disk import require_readable_runs
from milr.runs.find import read_run
from milr.runs.folder import CONFIG, MANIFEST, RUNNING, Run, now, open_log, plain, recorded, seconds_of
from milr.runs.manifests import counts_as_finished, is_done, may_differ, read_config, read_manifest
from milr.runs.sources import SourceRun
from milr.settings.paths import here
from milr.settings.saved import settings_from
from milr.settings.schema import StageSettings
from milr.settings.stages import cli_name

Settings = TypeVar("Settings", bound=StageSettings)

log = logging.getLogger("milr")


@contextmanager
def reopen_run(folder: Path, **session: Any) -> Iterator[Run]:
    """Go on in a run folder, as `open_run` does in a new one. `session`: plain values about this start of it.

    Errors: MilrError if it is no run folder, finished, or going on in another process.
    """
    manifest = read_manifest(folder)
    handler = open_log(folder)
    try:
        manifest = read_manifest(folder)  # again: only now it cannot change any more
        if is_done(folder):
            raise MilrError(f"the run {folder} is finished: there is nothing to resume")
        for unfinished in folder.glob(".*.tmp"):  # of a write that was killed
            unfinished.unlink()
    except BaseException:
        handler.close()
        raise
    if session.get("versions", manifest.get("versions")) != manifest.get("versions"):
        log.warning(
            "other package versions than this run was started with: it may not end bit for bit as it would have"
        )
    manifest.pop("error", None)
    run = Run(folder, manifest)
    sessions = [*manifest.get("resumed", ()), {"when": now(), **session}]
    run.record(state=RUNNING, finished=None, resumed=sessions)  # the one before is gone
    with recorded(run, handler):
        yield run


def run_to_resume(outputs: Path, stage: str, resume: str) -> Path:
    """The run folder that `resume=` names: the folder, or `latest` for the unfinished run of `stage` begun last.

    Errors: MilrError if there is none, or it is finished or of another stage.
    """
    folder = latest_unfinished(outputs / stage, stage) if resume == "latest" else Path(here(resume))
    manifest = read_manifest(folder)
    if manifest.get("stage") != stage:
        raise MilrError(
            f"resume={resume}: {folder} is a run of {cli_name(manifest.get('stage'))}, not of {cli_name(stage)}"
        )
    if is_done(folder):
        raise MilrError(f"resume={resume}: the run {folder} is finished: there is nothing to resume")
    return folder


def latest_unfinished(folder: Path, stage: str) -> Path:
    """The unfinished run in `folder` that was begun last; a sweep's are not: the sweep's own command goes on with them.

    Errors: MilrError if there is none, or one may not be read: it may be the one that is meant.
    """
    require_readable_runs(folder)
    runs = [read_run(path.parent) for path in folder.glob(f"*/{MANIFEST}")]
    if hidden := next((run for run in runs if run.forbidden), None):
        raise MilrError(str(hidden.problem))
    open_ones = [run for run in runs if not run.problem and not counts_as_finished(run.folder, run.manifest)]
    begun = [run for run in open_ones if run.created]
    if not begun:
        there = f"all {len(runs)} run(s) in {folder} are finished" if runs else f"{folder} holds no run"
        raise MilrError(f"resume=latest: {there}; leave resume= out to start a new one with `milr {cli_name(stage)}`")
    chosen = max(begun, key=lambda run: seconds_of(run.manifest.get("created"))).folder
    log.info("resume=latest is %s", chosen)
    return chosen


def settings_to_resume(settings: Settings, folder: Path, overrides: Iterable[str]) -> Settings:
    """The run's own settings, with what `overrides` (as typed) say of keys that change nothing in the result.

    Errors: MilrError that lists where another override differs from the run, or if the run is of another version.
    """
    typed = {override.lstrip("+~").partition("=")[0] for override in overrides}
    stored = read_config(folder)
    require_same(settings, folder, typed)
    known = dict(leaves(stored))
    merged = OmegaConf.create(stored)
    for key, value in leaves(settings):
        if may_differ(key) and (key in typed or key not in known):
            OmegaConf.update(merged, key, value)
    return settings_from(type(settings), merged, folder / CONFIG)


def require_same(settings: Any, folder: Path, typed: Iterable[str] | None = None) -> None:
    """MilrError that lists the settings in which a run would go on otherwise than it began.

    typed: the words before the `=` of the command line; the keys that they reach are compared. None: all are.
    """
    words = None if typed is None or "experiment" in typed else tuple(typed)
    before, differing = dict(leaves(read_config(folder))), []
    for key, value in leaves(settings):
        reached = words is None or any(key == word or key.startswith(f"{word}.") for word in words)
        if reached and not may_differ(key) and plain(value) != before.get(key):
            differing.append(f"{key}={value} (the run has {before.get(key, 'no such key')})")
    if differing:
        raise MilrError(
            f"the run {folder} was started with other settings: {'; '.join(differing)}; "
            "leave them out to resume it, or start a new run"
        )


def require_same_parent(run_manifest: Mapping[str, Any], source: SourceRun) -> None:
    """MilrError unless `source` has the very checkpoint that the run was started from."""
    parent, entry = run_manifest.get("parent") or {}, source.as_parent()
    if parent.get("sha256") != entry["sha256"]:
        raise MilrError(
            f"{source.checkpoint} is not the checkpoint that the run was started from "
            f"({parent.get('folder')}): start a new run, or name the right one with source="
        )
