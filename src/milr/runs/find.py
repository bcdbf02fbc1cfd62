"""The run folders under an outputs folder, those in sweeps too, as their manifests tell; nothing else is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from milr.errors import MilrError
from milr.runs.disk import require_listable
from milr.runs.facts import is_alive
from milr.runs.folder import FAILED, FINISHED, INTERRUPTED, MANIFEST, REPORT, RUNNING, SET_ASIDE, SUBMITIT
from milr.runs.sources import read_manifest
from milr.settings.stages import STAGES, cli_name

STOPPED, UNSURE, BROKEN = "stopped", "running?", "broken"
STATES = (FINISHED, RUNNING, UNSURE, STOPPED, FAILED, INTERRUPTED, BROKEN)
NO_RUNS = (REPORT, SET_ASIDE, SUBMITIT)


@dataclass(frozen=True)
class FoundRun:
    """A run folder with what its manifest says; `problem` tells why nothing could be read."""

    folder: Path  # absolute
    manifest: Mapping[str, Any]
    problem: str | None = None
    forbidden: bool = False  # the problem is one of the disk's, such as a permission

    @property
    def stage(self) -> str:
        """As the settings have it (fit_milr); of a broken run, what its place says."""
        return str(self.manifest.get("stage") or stage_of_place(self.folder) or "?")

    @property
    def state(self) -> str:
        """The manifest's word; but a run that cannot say any more that it ended is "stopped".

        "running?": the process ran on another machine, in another container or before a restart.
        """
        if self.problem:
            return BROKEN
        state = str(self.manifest.get("state"))
        if state != RUNNING:
            return state
        return {True: RUNNING, False: STOPPED, None: UNSURE}[is_alive(self.manifest.get("process"))]

    @property
    def created(self) -> datetime | None:
        """When it began; None where that is not told."""
        return moment(self.manifest.get("created"))


def read_run(folder: Path) -> FoundRun:
    """The run in a folder, broken or not."""
    try:
        return FoundRun(folder.absolute(), read_manifest(folder))
    except MilrError as error:
        return FoundRun(folder.absolute(), {}, str(error), isinstance(error.__cause__, OSError))


def find_runs(outputs: Path) -> list[FoundRun]:
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
    return sorted(runs, key=lambda run: run.created.timestamp() if run.created else 0.0)


def named_run(outputs: Path, word: str) -> FoundRun:
    """The run that a word means: a run folder; a stage, for its finished run that ended last; or a run's name.

    Errors: MilrError with the nearest names, or with all that a name fits.
    """
    if (Path(word).expanduser() / MANIFEST).is_file():
        return read_run(Path(word).expanduser())
    runs = find_runs(outputs)
    stage = word.replace("-", "_")
    if stage in STAGES or word == "latest":
        runs = [run for run in runs if word == "latest" or run.stage == stage]
        if hidden := next((run for run in runs if run.forbidden), None):  # it may be the one that is meant
            raise MilrError(f"{hidden.problem}; give yourself the permission, or name the run")
        wanted = [run for run in runs if run.state == FINISHED]
        if not wanted:
            raise MilrError(f"{outputs} holds no finished run{'' if word == 'latest' else f' of {cli_name(stage)}'}")
        return max(wanted, key=lambda run: str_moment(run.manifest.get("finished")))
    fitting = [run for run in runs if word.rstrip("/") in (run.folder.name, name_of(run, outputs))]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise MilrError(f"{word!r} fits several runs: {', '.join(name_of(run, outputs) for run in fitting)}")
    names = [*(cli_name(stage) for stage in STAGES), *(name_of(run, outputs) for run in runs)]
    near = get_close_matches(word, names, n=3, cutoff=0.4) or get_close_matches(
        word, [run.folder.name for run in runs], n=3, cutoff=0.4
    )
    end = f"did you mean {' or '.join(map(repr, near))}?" if near else "`milr runs` lists them"
    raise MilrError(f"there is no run {word!r} in {outputs}: {end}")


def name_of(run: FoundRun, outputs: Path) -> str:
    """The run's folder, from the outputs folder on where it lies below."""
    try:
        return run.folder.relative_to(outputs.absolute()).as_posix()
    except ValueError:
        return str(run.folder)


def stage_of_place(folder: Path) -> str | None:
    """The stage whose folder a run lies in: outputs/<stage>/<run> or outputs/<stage>_sweeps/<sweep>/<run>."""
    places = (folder.parent.name, folder.parent.parent.name.removesuffix("_sweeps"))
    return next((place for place in places if place in STAGES), None)


def moment(text: object) -> datetime | None:
    """A time as manifests have it."""
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None


def str_moment(text: object) -> float:
    """The same as seconds, for sorting; 0 where there is none."""
    found = moment(text)
    return found.timestamp() if found else 0.0
