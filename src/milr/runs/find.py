"""The run folders under an outputs folder, those in sweeps too, from their manifests; nothing else is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from milr.errors import MilrError
from milr.runs.disk import require_listable
from milr.runs.folder import FAILED, FINISHED, INTERRUPTED, LOG, MANIFEST, NO_RUNS, RUNNING, moment, seconds_of
from milr.runs.locks import is_locked
from milr.runs.manifests import counts_as_finished, read_manifest
from milr.settings.stages import STAGES, cli_name

STOPPED, BROKEN = "stopped", "broken"
STATES = (FINISHED, RUNNING, STOPPED, FAILED, INTERRUPTED, BROKEN)


@dataclass(frozen=True)
class RunInfo:
    """A run folder with what its manifest says; `problem` says why nothing could be read."""

    folder: Path  # absolute
    manifest: Mapping[str, Any]
    locked: bool = False  # its log, as it is by the process of a run that is going on
    problem: str | None = None
    forbidden: bool = False  # the problem is one of the disk's, such as a permission

    @property
    def stage(self) -> str:
        """As the settings have it (fit_milr); of a broken run, what its place says."""
        return str(self.manifest.get("stage") or stage_of_place(self.folder) or "?")

    @property
    def state(self) -> str:
        """The manifest's word; but a run that ended without saying so, or without its marker, is "stopped"."""
        if self.problem:
            return BROKEN
        state = str(self.manifest.get("state"))
        if state not in (RUNNING, FINISHED) or counts_as_finished(self.folder, self.manifest):
            return state
        return RUNNING if self.locked else STOPPED

    @property
    def created(self) -> datetime | None:
        """When it began; None where that is not known."""
        return moment(self.manifest.get("created"))


def read_run(folder: Path) -> RunInfo:
    """The run in a folder, broken or not."""
    locked = is_locked(folder / LOG)  # before the manifest: a run that just ends is not listed as stopped
    try:
        return RunInfo(folder.absolute(), read_manifest(folder), locked)
    except MilrError as error:
        return RunInfo(folder.absolute(), {}, locked, str(error), isinstance(error.__cause__, OSError))


def find_runs(outputs: Path) -> list[RunInfo]:
    """Every run under `outputs`, the oldest first, broken ones before them.

    MilrError if there is no such folder, or if one on the way to the runs may not be read.
    """
    if not outputs.is_dir():
        raise MilrError(f"there is no folder {outputs}: name the one that holds the runs with outputs=")
    require_listable(outputs)
    for stage in STAGES:
        for place in (outputs / stage, outputs / f"{stage}_sweeps", *outputs.glob(f"{stage}_sweeps/*/")):
            require_listable(place)
    folders = {path.parent for depth in ("*/*", "*/*/*") for path in outputs.glob(f"{depth}/{MANIFEST}")}
    for stage in STAGES:  # run folders whose manifest is gone, or was never written
        folders |= {path for path in outputs.glob(f"{stage}/*") if path.is_dir()}
        jobs = outputs.glob(f"{stage}_sweeps/*/*")
        folders |= {path for path in jobs if path.is_dir() and path.name not in NO_RUNS}
    folders = {folder for folder in folders if folder.parent not in folders}  # not what a run keeps inside
    runs = [read_run(folder) for folder in sorted(folders)]
    return sorted(runs, key=lambda run: seconds_of(run.manifest.get("created")))


def newest(runs: Iterable[RunInfo]) -> RunInfo | None:
    """The finished run that ended last: what `latest` means. MilrError if one may not be read: it may be that one."""
    runs = list(runs)
    if hidden := next((run for run in runs if run.forbidden), None):
        raise MilrError(f"{hidden.problem}; give yourself the permission, or name the run")
    done = [run for run in runs if run.state == FINISHED]
    return max(done, key=lambda run: seconds_of(run.manifest.get("finished")), default=None)


def named_run(outputs: Path, word: str) -> RunInfo:
    """The run that a word means: a run folder; a stage, for its finished run that ended last; or a run's name.

    Errors: MilrError with the nearest names, or with all that a name fits; for a run of a stage that there is not.
    """
    if (Path(word).expanduser() / MANIFEST).is_file():
        return require_stage(read_run(Path(word).expanduser()))
    runs = find_runs(outputs)
    stage = word.replace("-", "_")
    if stage in STAGES or word == "latest":
        runs = [run for run in runs if word == "latest" or run.stage == stage]
        if chosen := newest(runs):
            return chosen
        raise MilrError(f"{outputs} holds no finished run{'' if word == 'latest' else f' of {cli_name(stage)}'}")
    fitting = [run for run in runs if word.rstrip("/") in (run.folder.name, name_of(run, outputs))]
    if len(fitting) == 1:
        return require_stage(fitting[0])
    if fitting:
        raise MilrError(f"{word!r} fits several runs: {', '.join(name_of(run, outputs) for run in fitting)}")
    names = [*(cli_name(stage) for stage in STAGES), *(name_of(run, outputs) for run in runs)]
    near = get_close_matches(word, names, n=3, cutoff=0.4) or get_close_matches(
        word, [run.folder.name for run in runs], n=3, cutoff=0.4
    )
    end = f"did you mean {' or '.join(map(repr, near))}?" if near else "`milr runs` lists them"
    raise MilrError(f"there is no run {word!r} in {outputs}: {end}")


def require_stage(run: RunInfo) -> RunInfo:
    """The run. MilrError if its stage is none: it is of another version, or its manifest was edited."""
    if not run.problem and run.stage not in STAGES:
        raise MilrError(f"{run.folder / MANIFEST} is of a stage {run.stage!r}, which this version of milr has not")
    return run


def name_of(run: RunInfo, outputs: Path) -> str:
    """The run's folder, from the outputs folder on where it lies below."""
    try:
        return run.folder.relative_to(outputs.absolute()).as_posix()
    except ValueError:
        return str(run.folder)


def stage_of_place(folder: Path) -> str | None:
    """The stage whose folder a run lies in: outputs/<stage>/<run> or outputs/<stage>_sweeps/<sweep>/<run>."""
    places = (folder.parent.name, folder.parent.parent.name.removesuffix("_sweeps"))
    return next((place for place in places if place in STAGES), None)
