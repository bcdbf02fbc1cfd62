"""The fits in a folder of `fit-milr --multirun`, finished or not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from milr.errors import MilrError
from milr.evaluation.sweep_chart import SweepPoint
from milr.fields import leaves
from milr.runs.disk import require_readable_runs
from milr.runs.folder import CONFIG, MANIFEST
from milr.runs.manifests import is_done, may_differ, read_config, read_manifest
from milr.runs.sources import SourceRun, find_source
from milr.sweeps.jobs import JOB_FAILED, read_jobs

FIELDS = ("untouched_accuracy", "accuracy", "mask_mean", "decision_bits", "redundant_bits", "total_bits")
AXES = ("milr.alpha", "milr.beta")


@dataclass(frozen=True)
class Fit:
    """One job of a sweep of fits."""

    name: str
    state: str  # finished, failed, interrupted, running, or broken
    settings: dict[str, Any]  # dotted key -> value; of a job that could not begin, what was asked
    run: SourceRun | None  # if it is finished
    error: str = ""
    others: str = ""  # what the sweep varies beside alpha and beta

    @property
    def pair(self) -> tuple[float, float]:
        """alpha and beta; NaN where it is not known."""
        alpha, beta = (float(self.settings.get(key, math.nan)) for key in AXES)
        return alpha, beta


def is_sweep(folder: Path) -> bool:
    """Whether the folder holds run folders and is none itself."""
    return not (folder / MANIFEST).exists() and any(folder.glob(f"*/{MANIFEST}"))


def sweep_fits(folder: Path) -> list[Fit]:
    """Every job of the sweep by name, finished or not. MilrError if there is none, or they are of another stage."""
    if not is_sweep(folder):
        what = "is one run: name the folder of a sweep" if (folder / MANIFEST).exists() else "holds no run folders"
        raise MilrError(f"{folder} {what}" if folder.is_dir() else f"there is no folder {folder}")
    require_readable_runs(folder)
    fits = [read_fit(path.parent) for path in sorted(folder.glob(f"*/{MANIFEST}"))]
    for job in read_jobs(folder):
        if job.state == JOB_FAILED and job.folder not in {fit.name for fit in fits}:
            asked = dict(override.lstrip("+").split("=", 1) for override in job.overrides if "=" in override)
            fits.append(Fit(job.folder, JOB_FAILED, asked, None, job.error or ""))
    varied = {
        key
        for key in {key for fit in fits if fit.run for key in fit.settings} - {*AXES}
        if (key == "source" or not may_differ(key))
        and len({repr(fit.settings.get(key)) for fit in fits if fit.run}) > 1
    }
    return [
        replace(fit, others=",".join(f"{key}={fit.settings[key]}" for key in sorted(varied) if key in fit.settings))
        for fit in fits
    ]


def read_fit(folder: Path) -> Fit:
    """A job with a run folder. MilrError if it is of another stage than fit-milr, or its files cannot be read."""
    manifest = read_manifest(folder)
    if manifest.get("stage") != "fit_milr":
        raise MilrError(f"{folder.parent} is a sweep of {manifest.get('stage')}; needed is one of fit_milr")
    state, error, run = str(manifest.get("state")), str(manifest.get("error") or ""), None
    if is_done(folder):
        try:
            run = find_source(folder.parent, "fit_milr", str(folder))
        except MilrError as problem:
            state, error = "broken", str(problem)
    settings = dict(leaves(read_config(folder))) if (folder / CONFIG).is_file() else {}
    return Fit(folder.name, state, settings, run, error)


def point_of(fit: Fit) -> SweepPoint:
    """The key figures that a finished fit wrote about its validation episodes."""
    assert fit.run
    terms = fit.run.manifest["result"]["validation"]
    return SweepPoint(fit.name, *fit.pair, *(terms[name] for name in FIELDS))


def title_of(fits: Sequence[Fit]) -> str:
    """What stands over a figure of finished fits."""
    rest = f", {fits[0].others}" if fits[0].others else ""
    return f"{len(fits)} fits, validation episodes, {fits[0].settings['dataset.name']}{rest}"
