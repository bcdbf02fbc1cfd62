"""What the maps of a fit are worth by `milr sanity` and `milr calibrate`: numbers as findings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from milr.checks.calibration import Calibration, PlacePoint
from milr.checks.sanity import SanityRow
from milr.report.check_charts import likeness, truth
from milr.report.reading import read_rows
from milr.report.steps import next_step
from milr.report.tables import (
    NO,
    NOTHING,
    PART,
    UNMEASURED,
    YES,
    Finding,
    Table,
    between,
    interval,
    not_measured,
    number,
)
from milr.runs.find import RunInfo
from milr.runs.manifests import read_config

REFITS = ("seeds", "labels", "cascade")  # checks that hold this fit's maps against those of another
RANKS = "rank correlation"
NEAR = 0.1  # of a slope to 1


def sanity_finding(sanity: RunInfo | None, fit: RunInfo, again: str) -> Finding:
    """Do the maps depend on what was learned, and do they come out the same again?"""
    title = "Do the maps come out the same again, and change when what was learned does?"
    if sanity is None:
        return not_measured(title, next_step("sanity", fit), again)
    rows = read_rows(sanity.folder / "sanity.csv", SanityRow)
    alike = [row for row in rows if row.check in REFITS and row.measure == RANKS]
    met = [is_met(row, alike) for row in rows]
    sentences = [sanity_sentence(check, alike) for check in REFITS]
    asked = [state for state in met if state is not None]
    sentences.append(f"Of {len(asked)} numbers that say what they should be, {sum(asked)} are so.")
    words = {True: "yes", False: "no", None: NOTHING}
    cells = [
        [row.variant, row.map, row.measure, number(row.value), interval(row.low, row.high), row.wanted, words[state]]
        for row, state in zip(rows, met, strict=True)
    ]
    head = ["what was changed", "map", "measure", "value", "95 % interval", "wanted", "is it so"]
    table = Table("Every check of milr sanity", head, cells)
    verdict = UNMEASURED if not asked else YES if all(asked) else PART if any(asked) else NO
    shown = [likeness(alike)] if alike else []
    return Finding(title, [sentence for sentence in sentences if sentence], verdict, shown, [table])


def sanity_sentence(check: str, alike: Sequence[SanityRow]) -> str:
    """How alike the decision maps are after a change."""
    rows = [row for row in alike if row.check == check and row.map == "decision"]
    if not rows:
        return ""
    row = min(rows, key=lambda row: row.value)
    what = {
        "seeds": "Another seed gives decision maps whose places have the same order to",
        "labels": "Wrong labels give decision maps that agree to",
        "cascade": f"With random weights ({row.variant}) decision maps agree to",
    }[check]
    aim = "at least 0.8 is wanted" if check == "seeds" else "much less than of seeds is wanted"
    return f"{what} {number(row.value, 2)}{between(row.low, row.high)} (1: the same, 0: unrelated; {aim})."


def is_met(row: SanityRow, alike: Sequence[SanityRow]) -> bool | None:
    """Whether a number is what was wanted; None where nothing is, or nothing can be said."""
    bound = re.fullmatch(r"(at least|at most|under) ([\d.]+)", row.wanted)
    if bound:
        edge = float(bound[2])
        return {"at least": row.value >= edge, "at most": row.value <= edge, "under": row.value < edge}[bound[1]]
    if around := re.fullmatch(r"([\d.]+) ± ([\d.]+)", row.wanted):
        return abs(row.value - float(around[1])) <= float(around[2])
    seeds = [each.low for each in alike if each.check == "seeds" and each.map == row.map]
    if row.wanted.startswith("well under the seeds") and seeds:
        return row.high < min(seeds)
    return None


def calibration_finding(calibrate: RunInfo | None, fit: RunInfo, again: str) -> Finding:
    """Are the bits true, where the truth is known?"""
    title = "Are the bits true?"
    if calibrate is None:
        return not_measured(title, next_step("calibrate", fit), again)
    infomax: Mapping[str, Any] = read_config(fit.folder).get("infomax") or {}
    rows = read_rows(calibrate.folder / "calibrate.csv", Calibration)
    sound = [row for row in rows if row.sound]
    same = [
        row
        for row in sound
        if (row.estimator, row.denominator, row.reading)
        == (infomax.get("estimator"), infomax.get("denominator"), infomax.get("map"))
    ]
    judged = same or sound or rows
    worst = max(judged, key=lambda row: abs(row.slope - 1))
    fits = max((row.seeds for row in judged), default=1)
    sentences = [
        "On planted pictures and networks whose information is known at every place (not those of this run), the "
        f"estimate finds {number(worst.slope, 2)} bits for each true bit in the worst case, and "
        f"{number(max((row.empty for row in judged), key=abs), 2)} bits where there are none (both without interval: "
        f"{'one fit' if fits == 1 else f'the mean of {fits} fits'} each).",
        f"It is the same estimator, denominator and reading as in this run; a slope within {NEAR} of 1 counts as true."
        if same
        else f"It is another estimate ({worst.estimator}, {worst.denominator}, {worst.reading}) than this run's.",
    ]
    points = read_rows(calibrate.folder / "places.csv", PlacePoint)
    keys = {(row.world, row.estimator, row.denominator, row.reading) for row in judged}
    chosen = [p for p in points if (p.world, p.estimator, p.denominator, p.reading) in keys]
    near = [abs(row.slope - 1) <= NEAR for row in same]
    verdict = UNMEASURED if not same else YES if all(near) else PART if any(near) else NO
    return Finding(title, sentences, verdict, [truth(chosen)] if chosen else [], [calibration_table(rows)])


def calibration_table(rows: Sequence[Calibration]) -> Table:
    """Every reading of every fit."""
    cells = [
        [
            row.world,
            row.estimator,
            row.denominator,
            row.reading,
            "yes" if row.sound else "no",
            *(number(value) for value in (row.slope, row.intercept, row.empty, row.single_error)),
        ]
        for row in rows
    ]
    head = ["world", "estimator", "denominator", "reading", "sound", "slope", "intercept", "empty places", "error"]
    return Table("Every fit of milr calibrate; bits but for the slope", head, cells)
