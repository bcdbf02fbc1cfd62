"""The jobs of a sweep: whether one is done already, how each one ended, and the table at the end.

A job may run in another process than the sweep, so what is known of it goes through files: its run folder, and a file
`job-<number>.json` in the sweep's folder.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from milr.errors import MilrError
from milr.fields import leaves
from milr.files import write_atomically
from milr.runs.folder import CONFIG, MANIFEST, SET_ASIDE, plain
from milr.runs.manifests import read_manifest
from milr.runs.resume import require_same, require_same_parent
from milr.runs.sources import SourceRun
from milr.settings.schema import NetworkStageSettings
from milr.settings.stages import STAGES
from milr.sweeps.folders import JOBS
from milr.text import aligned

log = logging.getLogger("milr")

JOB_DONE, JOB_SKIPPED, JOB_RESUMED, JOB_FAILED = "done", "skipped", "resumed", "failed"


@dataclass(frozen=True)
class JobSummary:
    """One job of a sweep, ended."""

    number: int
    folder: str  # its name in the sweep's
    overrides: list[str]
    state: str  # done | skipped | resumed | failed
    objective: float | None
    figures: dict[str, float | None]
    error: str | None
    code: int  # 0, or the exit code that its failure deserves


def folder_to_go_on(folder: Path, settings: NetworkStageSettings, source: SourceRun | None) -> Path | None:
    """The folder of a sweep's job if it is done or can be resumed; None if the job is to begin in a new one.

    Errors: MilrError if what is there was made with other settings, or from another checkpoint of the source.
    """
    if not folder.is_dir():
        return None
    if not ((folder / MANIFEST).is_file() and (folder / CONFIG).is_file()):  # killed before it had begun
        move_aside(folder)
        return None
    try:
        require_same(settings, folder)
        if source:
            require_same_parent(read_manifest(folder), source)
    except MilrError as error:
        raise MilrError(
            f"{error}. In a sweep: name another folder with hydra.sweep.dir=, or move {folder} away"
        ) from error
    return folder


def objective_of(folder: Path) -> float:
    """What a finished job returned; NaN if that was not recorded."""
    objective = read_manifest(folder).get("objective")
    return math.nan if objective is None else float(objective)


def move_aside(folder: Path) -> None:
    """Move what is left of a job that begins anew out of the way: nothing is deleted."""
    if not folder.exists():
        return
    number, place = 1, folder.parent / SET_ASIDE
    place.mkdir(exist_ok=True)
    while (place / f"{folder.name}-{number}").exists():
        number += 1
    folder.rename(place / f"{folder.name}-{number}")
    log.info("begun anew, since it was not finished: %s (its files are in %s)", folder.name, place)


def manifest_if_any(folder: Path) -> dict[str, Any]:
    """The manifest of a run folder; empty where there is none that can be read."""
    try:
        return read_manifest(folder) if (folder / MANIFEST).is_file() else {}
    except MilrError:
        return {}


def summary_of(
    number: int,
    overrides: list[str],
    objective: float | None,
    folder: Path,
    before: Mapping[str, Any],
    error: str | None,
    code: int,
) -> JobSummary:
    """How a job ended. before: the manifest that its folder had when it began; error and code: of a failure."""
    if code:
        return JobSummary(number, folder.name, overrides, JOB_FAILED, None, {}, error, code)
    after = manifest_if_any(folder)
    state = JOB_DONE
    if before.get("finished") and before["finished"] == after.get("finished"):
        state = JOB_SKIPPED
    elif len(after.get("resumed", ())) > len(before.get("resumed", ())):
        state = JOB_RESUMED
    return JobSummary(number, folder.name, overrides, state, objective, key_figures(after), None, 0)


def key_figures(manifest: Mapping[str, Any]) -> dict[str, float | None]:
    """The figures of a run that stand in tables, under their last names."""
    stage, numbers = STAGES.get(str(manifest.get("stage"))), dict(leaves(manifest.get("result") or {}))
    return {name.rpartition(".")[2]: numbers.get(name) for name in (stage.columns if stage else ())}


def write_job(sweep: Path, job: JobSummary) -> None:
    """Keep how a job ended, for the process that runs the sweep."""
    sweep.mkdir(parents=True, exist_ok=True)
    text = json.dumps(plain(asdict(job)), indent=2) + "\n"
    write_atomically(
        sweep / JOBS.replace("*", str(job.number)), lambda file: file.write(text.encode(errors="backslashreplace"))
    )


def read_jobs(sweep: Path) -> list[JobSummary]:
    """The jobs that have ended since the sweep was started last, in their order."""
    jobs = [JobSummary(**json.loads(path.read_text(encoding="utf-8"))) for path in sweep.glob(JOBS)]
    return sorted(jobs, key=lambda job: job.number)


def table(jobs: Sequence[JobSummary]) -> list[str]:
    """A line for each job: what is its own of the overrides, its state and its figures; then how many of each state."""
    shared = set.intersection(*(set(job.overrides) for job in jobs)) if len(jobs) > 1 else set()
    names = [" ".join(override for override in job.overrides if override not in shared) for job in jobs]
    figures = list(dict.fromkeys(name for job in jobs for name in job.figures))
    rows = [["job", "state", "objective", *figures, ""]]
    for name, job in zip(names, jobs, strict=True):
        numbers = map(number, [job.objective, *map(job.figures.get, figures)])
        rows.append([name, job.state, *([str(job.error)] if job.code else [*numbers, ""])])
    lines = aligned(rows, right=range(2, len(rows[0])))
    counts = {
        state: sum(job.state == state for job in jobs) for state in (JOB_DONE, JOB_RESUMED, JOB_SKIPPED, JOB_FAILED)
    }
    return [*lines, f"{len(jobs)} jobs: " + ", ".join(f"{count} {state}" for state, count in counts.items() if count)]


def number(value: float | None) -> str:
    """A figure in a table; a dash where there is none."""
    return "-" if value is None or math.isnan(value) else f"{value:.4g}"
