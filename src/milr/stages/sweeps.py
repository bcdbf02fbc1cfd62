"""A folder of `fit-milr --multirun`, as one table and one figure."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from milr.errors import MilrError
from milr.stages.runs import MANIFEST, Run
from milr.stages.schema import Visualize
from milr.stages.sources import SourceRun, find_run, is_done

if TYPE_CHECKING:
    from milr.evaluation.sweep_chart import SweepPoint

log = logging.getLogger("milr")

FIELDS = ("untouched_accuracy", "accuracy", "mask_mean", "decision_bits", "redundant_bits", "total_bits")


def is_sweep(folder: Path) -> bool:
    """Whether the folder holds run folders and is none itself."""
    return not (folder / MANIFEST).exists() and any(folder.glob(f"*/{MANIFEST}"))


def sweep_runs(folder: Path) -> list[SourceRun]:
    """The finished fits in it, by name; the others are named. MilrError if none is finished."""
    runs = []
    for path in sorted(entry.parent for entry in folder.glob(f"*/{MANIFEST}")):
        if is_done(path):
            runs.append(find_run(folder, "fit_milr", str(path)))
        else:
            log.warning("left out, since it is not finished: %s", path.name)
    if not runs:
        raise MilrError(f"no fit in {folder} is finished")
    return runs


def point_of(run: SourceRun) -> SweepPoint:
    """The key figures that the fit wrote about its validation episodes."""
    from milr.evaluation.sweep_chart import SweepPoint

    terms, settings = run.manifest["result"]["validation"], run.config["milr"]
    return SweepPoint(run.folder.name, settings["alpha"], settings["beta"], *(terms[name] for name in FIELDS))


def draw_sweep_of(settings: Visualize, run: Run) -> float:
    """sweep.csv and sweep.png; returns the best accuracy through a mask."""
    from milr.evaluation.sweep_chart import draw_sweep
    from milr.evaluation.tables import write_csv

    run.promise("sweep.csv", "sweep.png")
    runs = sweep_runs(Path(settings.source))
    points = [point_of(fitted) for fitted in runs]
    if len({(point.alpha, point.beta) for point in points}) < len(points):
        raise MilrError(
            f"{settings.source} varies more than milr.alpha and milr.beta: its figure would mix the rest up"
        )
    write_csv(run.path("sweep.csv"), points)
    log.info("%8s %8s " + "%10s " * len(FIELDS), "alpha", "beta", *(name[:10] for name in FIELDS))
    for point in points:
        numbers = [getattr(point, name) for name in FIELDS]
        log.info("%8g %8g " + "%10.3f " * len(FIELDS), point.alpha, point.beta, *numbers)
    episode = runs[0].config["episode"]
    title = f"{len(points)} fits, validation episodes, {runs[0].config['dataset']['name']}"
    draw_sweep(run.path("sweep.png"), points, 1 / episode["way"], title)
    best = max(point.accuracy for point in points)
    run.record(result={"fits": len(points), "best_accuracy": best})
    log.info("open %s", run.path("sweep.png"))
    return best
