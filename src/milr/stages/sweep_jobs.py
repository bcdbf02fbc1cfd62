"""The jobs of a sweep: whether one is done already, how each one ended, and the table at the end.

A job may run in another process than the sweep, so what is told of it goes through files: its run folder, and a file
`jobs/<number>.json` in the sweep's folder.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from milr.errors import MilrError
from milr.stages.checkpoints import write_atomically
from milr.stages.limits import leaves
from milr.stages.runs import FINISHED, MANIFEST, plain
from milr.stages.schema import NetworkStageSettings
from milr.stages.sources import SourceRun, read_manifest
from milr.stages.sweep_folders import JOBS

log = logging.getLogger("milr")

DONE, SKIPPED, RESUMED, FAILED = "done", "skipped", "resumed", "failed"
SET_ASIDE = "set_aside"  # in a sweep's folder: what is left of jobs that had to begin anew
INDIFFERENT = ("device", "outputs", "train.log_every", "milr.log_every")  # keys that change no result

KEY_FIGURES = {  # of each stage's result
    "train_protonet": ("validation_accuracy",),
    "test_protonet": ("accuracy",),
    "fit_milr": (
        "validation.accuracy",
        "validation.untouched_accuracy",
        "validation.mask_mean",
        "validation.decision_bits",
        "validation.redundant_bits",
    ),
    "visualize": ("total_mean_bits",),
    "evaluate": ("decision_area",),
    "sanity": ("decision_repeatability",),
}


@dataclass(frozen=True)
class Job:
    """One job of a sweep, ended."""

    number: int
    folder: str  # its name in the sweep's
    overrides: list[str]
    state: str  # done | skipped | resumed | failed
    objective: float | None
    figures: dict[str, float | None]
    error: str | None
    code: int  # 0, or the exit code that its failure deserves


def objective_if_done(folder: Path, settings: NetworkStageSettings, source: SourceRun | None) -> float | None:
    """What a finished job returned when it ran (NaN if that was not kept); None if the folder's job is not finished.

    Errors: MilrError if it is finished, but with other settings or from another source than this job has.
    """
    manifest = manifest_if_any(folder)
    if manifest.get("state") != FINISHED:
        return None
    differences = changed_settings(folder, settings)
    theirs, ours = manifest.get("parent") or {}, source.as_parent() if source else {}
    if not differences and theirs.get("sha256") != ours.get("sha256"):
        differences = [f"the checkpoint of the source run {ours.get('folder')} was another"]
    if differences:
        raise MilrError(f"{folder} is done, but otherwise: {'; '.join(differences)}. Name another folder with "
                        "hydra.sweep.dir=, or move this one away")  # fmt: skip
    objective = manifest.get("objective")
    return math.nan if objective is None else float(objective)


def changed_settings(folder: Path, settings: NetworkStageSettings) -> list[str]:
    """The settings in which a run folder's differ from these, as text; those that cannot change the result are let be.

    Errors: MilrError if the run has no readable settings.
    """
    try:
        then = dict(leaves(OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))))
    except Exception as error:  # missing, unreadable or no YAML
        raise MilrError(f"{folder / 'config.yaml'} cannot be read ({type(error).__name__})") from error
    now = dict(leaves(OmegaConf.to_container(OmegaConf.create(OmegaConf.to_yaml(OmegaConf.structured(settings))))))
    keys = [key for key in sorted({*then, *now}) if key not in INDIFFERENT and then.get(key) != now.get(key)]
    return [f"{key} was {then.get(key, 'no key')} and would be {now.get(key, 'no key')}" for key in keys]


def set_aside(folder: Path) -> None:
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


def ended_job(
    number: int,
    overrides: list[str],
    objective: float | None,
    folder: Path,
    before: Mapping[str, Any],
    error: str | None,
    code: int,
) -> Job:
    """How a job ended. before: the manifest that its folder had when it began; error and code: of a failure."""
    if code:
        return Job(number, folder.name, overrides, FAILED, None, {}, error, code)
    after = manifest_if_any(folder)
    skipped = before.get("state") == FINISHED and before.get("finished") == after.get("finished")
    return Job(number, folder.name, overrides, SKIPPED if skipped else DONE, objective, key_figures(after), None, 0)


def key_figures(manifest: Mapping[str, Any]) -> dict[str, float | None]:
    """The figures of a run that stand in tables, under their last names."""
    found = {}
    for name in KEY_FIGURES.get(str(manifest.get("stage")), ()):
        value: Any = manifest.get("result") or {}
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        found[name.rpartition(".")[2]] = value
    return found


def write_job(sweep: Path, job: Job) -> None:
    """Keep how a job ended, for the process that runs the sweep."""
    (sweep / JOBS).mkdir(parents=True, exist_ok=True)
    text = json.dumps(plain(asdict(job)), indent=2) + "\n"
    write_atomically(sweep / JOBS / f"{job.number}.json", lambda file: file.write(text.encode()))


def read_jobs(sweep: Path) -> list[Job]:
    """The jobs that have ended since the sweep was started last, in their order."""
    jobs = [Job(**json.loads(path.read_text(encoding="utf-8"))) for path in (sweep / JOBS).glob("*.json")]
    return sorted(jobs, key=lambda job: job.number)


def table(jobs: Sequence[Job]) -> list[str]:
    """A line for each job: what is its own of the overrides, its state and its figures; then how many of each state."""
    shared = set.intersection(*(set(job.overrides) for job in jobs)) if len(jobs) > 1 else set()
    names = [" ".join(override for override in job.overrides if override not in shared) for job in jobs]
    figures = list(dict.fromkeys(name for job in jobs for name in job.figures))
    width = max(map(len, [*names, "job"]))
    lines = [f"{'job':<{width}}  {'state':<7}  {'objective':>10}" + "".join(f"  {name:>18}" for name in figures)]
    for name, job in zip(names, jobs, strict=True):
        cells = [f"{number(job.objective):>10}", *(f"{number(job.figures.get(figure)):>18}" for figure in figures)]
        lines.append(f"{name:<{width}}  {job.state:<7}  " + ("  ".join(cells) if not job.code else str(job.error)))
    counts = {state: sum(job.state == state for job in jobs) for state in (DONE, RESUMED, SKIPPED, FAILED)}
    return [*lines, f"{len(jobs)} jobs: " + ", ".join(f"{count} {state}" for state, count in counts.items() if count)]


def number(value: float | None) -> str:
    """A figure in a table; a dash where there is none."""
    return "-" if value is None else f"{value:.4g}"
