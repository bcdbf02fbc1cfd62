"""`milr calibrate`: are the bits true? Pictures and networks whose information is known, against the estimate."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import asdict

from milr.checks.calibration import Calibration, Counts, calibrate_world, fits_wanted
from milr.checks.calibration_chart import draw_calibration
from milr.checks.planted import WORLDS
from milr.errors import MilrError
from milr.evaluation.tables import write_csv
from milr.explanation.settings import InfomaxSettings
from milr.fields import pick
from milr.information.estimators import ESTIMATORS
from milr.information.infomax import DENOMINATORS
from milr.runs.folder import Run
from milr.settings.schema import Calibrate
from milr.stages.devices import choose_device
from milr.text import aligned

log = logging.getLogger("milr")


def calibrate(settings: Calibrate, run: Run) -> float:
    """Returns the largest distance of a slope from 1, of the first estimator's sound readings."""
    section, device = settings.calibrate, choose_device(settings.device)
    for name, given, known in (
        ("worlds", section.worlds, WORLDS),
        ("estimators", section.estimators, ESTIMATORS),
        ("denominators", section.denominators, DENOMINATORS),
    ):
        unknown = [word for word in given if word not in known]
        if unknown or not given:
            raise MilrError(f"calibrate.{name}={unknown or given}: choose among {', '.join(known)}")
    counts = Counts(section.train_pictures, section.held_out_pictures, section.test_pictures)
    fits = fits_wanted(pick(InfomaxSettings, settings.infomax), section.estimators, section.denominators)
    seeds = range(settings.seed, settings.seed + section.seeds)
    points, rows = [], []
    for name in section.worlds:
        world = WORLDS[name]()
        for infomax in fits:
            own, summaries = calibrate_world(world, infomax, settings.critic, counts, seeds, device)
            points += own
            rows += summaries
            write_csv(run.path("places.csv"), points)  # after every estimator: minutes should not be lost
            write_csv(run.path("calibrate.csv"), rows)
    which = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]} to {seeds[-1]}"
    draw_calibration(run.path("calibration.png"), points, f"planted bits, {which}")
    log_rows(rows)
    for row in rows:
        run.metrics(**asdict(row))
    judged = [row for row in rows if row.estimator == section.estimators[0] and row.sound]
    result = result_of(judged)
    run.record(result={**result, "rows": len(rows)})
    log.info("open %s", run.path("calibration.png"))
    return max(abs(row.slope - 1) for row in judged)


def result_of(rows: Sequence[Calibration]) -> dict[str, float]:
    """The slope farthest from 1, the most bits where there are none, and the largest error of single places."""
    return {
        "slope": max((row.slope for row in rows), key=lambda slope: abs(slope - 1)),
        "intercept": max((row.intercept for row in rows), key=abs),
        "empty_bits": max((row.empty for row in rows), key=abs),
        "single_error_bits": max(row.single_error for row in rows),
    }


def log_rows(rows: Sequence[Calibration]) -> None:
    """One line a reading, its spread over seeds with it; and one an estimator, of its held-out value and its time."""
    head = ("world", "estimator", "denominator", "reading", "", "slope", "intercept", "empty", "error", "mean", "true")
    table: list[tuple[str, ...]] = [head]
    for row in rows:
        values = (
            *(with_spread(row.slope, row.slope_over_seeds), with_spread(row.intercept)),
            *(with_spread(row.empty, row.empty_over_seeds), with_spread(row.single_error, row.single_error_over_seeds)),
            *(with_spread(row.estimated_mean), with_spread(row.true_mean)),
        )
        table.append(
            (row.world, row.estimator, row.denominator, row.reading, "" if row.sound else "(not sound)", *values)
        )
    log.info("%s", "\n".join(aligned(table, right=range(5, len(head)))))
    fits = [("world", "estimator", "denominator", "held out", "over batches", "seconds")]
    for row in {(row.world, row.estimator, row.denominator): row for row in rows}.values():
        held_out = with_spread(row.held_out, row.held_out_over_seeds)
        numbers = held_out, with_spread(row.held_out_over_batches), f"{row.seconds:.1f}"
        fits.append((row.world, row.estimator, row.denominator, *numbers))
    log.info("%s", "\n".join(aligned(fits, right=range(3, len(fits[0])))))


def with_spread(value: float, deviation: float = math.nan) -> str:
    """A number, and its standard deviation where there is one."""
    return f"{value:.3f}" if math.isnan(deviation) else f"{value:.3f} ± {deviation:.3f}"
