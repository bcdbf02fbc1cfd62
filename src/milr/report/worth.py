"""What the maps of a fit are worth: everything that was measured of them as findings, each with a plain sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from milr.evaluation.metrics import METRIC_KINDS, Metric
from milr.evaluation.summary import SHARE, of_layer
from milr.evaluation.tables import Result
from milr.explanation.dataset_decisions import ROWS
from milr.report import charts
from milr.report.checks import calibration_finding, sanity_finding
from milr.report.convergence import convergence_finding
from milr.report.evaluated import (
    Evaluated,
    against_control,
    area_sentence,
    difference,
    read_evaluated,
    verdict_of,
)
from milr.report.pointing import TITLE, pointing_of
from milr.report.reading import read_rows
from milr.report.steps import next_step
from milr.report.tables import NO, UNDECIDED, YES, Finding, between, not_measured, number, percent
from milr.runs.find import RunInfo
from milr.runs.manifests import read_config

KEPT = 0.9  # of the untouched accuracy: so much through the mask counts as kept
AS_RANDOM = 0.05  # of accuracy: what removing by the redundant map may cost beside removing at random
REMOVAL = "removal"  # the key of the finding about what is redundant


def mask_finding(fit: RunInfo) -> Finding:
    """Does the decision survive the mask? Else what is called redundant was needed."""
    title = "Does the decision survive the mask?"
    validation = (fit.manifest.get("result") or {}).get("validation") or {}
    through, untouched = (validation.get(name) for name in ("accuracy", "untouched_accuracy"))
    if through is None or not untouched:
        return Finding(title, ["The fit does not tell."])
    share = through / untouched
    sentence = (
        f"Through the mask {accuracy_word(fit)} is {number(through, 2)} on the fit's validation pictures, "
        f"{percent(share)} of the untouched {number(untouched, 2)} on the same pictures (a fit records no interval; "
        f"{percent(KEPT)} or more count as kept)."
    )
    if share >= KEPT:
        return Finding(title, [sentence], YES)
    warning = "So the mask takes away more than what is redundant, and the maps say what this mask does."
    return Finding(title, [sentence, warning], NO)


def accuracy_word(fit: RunInfo) -> str:
    """What "accuracy" is of the decision that was fitted."""
    return ROWS[str((read_config(fit.folder).get("decision") or {}).get("name", "prototypes"))].score


def decision_finding(evaluated: Evaluated | None, fit: RunInfo, again: str) -> Finding:
    """Keep and remove curves: do the places that the map marks suffice, and are they needed?"""
    title = "Does the decision rest on what the decision map marks?"
    if evaluated is None:
        return not_measured(title, next_step("evaluate", fit), again)
    word, results = accuracy_word(fit), evaluated.results
    if not (keep := of_layer([metric for name, metric in results if name == "decision"], "keep")):
        return Finding(title, ["The evaluation holds no curve of the decision map."])
    own = results["decision", keep]
    beats_random, of_random = against_random(evaluated, keep, word)
    beats_control, of_control = against_control(evaluated, keep, word)
    sentences = [
        f"All numbers here are of the same {own.n} decisions about pictures of {own.data_set}.",
        keep_sentence(evaluated, keep, word),
        of_random,
        of_control,
        removal_sentence(evaluated, "decision", replace(keep, kind="remove"), word),
        area_sentence(evaluated),
    ]
    verdict = UNDECIDED if beats_random is None else verdict_of(beats_random, beats_control)
    drawn = charts.curves([*results.values()], word)
    return Finding(title, [sentence for sentence in sentences if sentence], verdict, drawn)


def keep_sentence(evaluated: Evaluated, keep: Metric, word: str) -> str:
    """ "With only the 20 % of the places that the decision map marks highest, ..."."""
    results = evaluated.results
    own, random = results["decision", keep], results.get(("random", keep))
    text = (
        f"With only the {percent(keep.share or 0)} of the places that the decision map marks highest, {word} is "
        f"{number(own.value, 2)}{between(own.low, own.high)}"
    )
    if random:
        text += f"; with as many random places it is {number(random.value, 2)}"
    if whole := results.get(("decision", Metric("untouched", "", "accuracy"))):
        text += f"; with all places, {number(whole.value, 2)}"
    chance = f" An answer that knows nothing has {number(own.chance, 2)}." if not math.isnan(own.chance) else ""
    return f"{text}.{chance}"


def against_random(evaluated: Evaluated, metric: Metric, word: str) -> tuple[bool | None, str]:
    """Whether the decision map's places are better than random ones on the same pictures; None: not compared."""
    if (row := evaluated.pairs.get(("decision", "random", metric))) is None:
        return None, "Random places were not measured on the same pictures."
    said = "lies above 0" if row.low > 0 else "does not lie above 0"
    return row.low > 0, (
        f"On the same {row.n} pictures the decision map's places have {difference(row, word, 'random ones')}: the "
        f"interval {said}."
    )


def removal_sentence(evaluated: Evaluated, map: str, remove: Metric, word: str) -> str:
    """ "Without the 20 % ... accuracy is 0.18; without as many random places 0.80."; or nothing."""
    own, random = evaluated.results.get((map, remove)), evaluated.results.get(("random", remove))
    if own is None or random is None:
        return ""
    return (
        f"Without the {percent(remove.share or 0)} that the {map} map marks highest {word} is {number(own.value, 2)}"
        f"{between(own.low, own.high)}; without as many random places {number(random.value, 2)}."
    )


def redundant_finding(evaluated: Evaluated | None, fit: RunInfo, again: str) -> Finding:
    """Can the places that the redundant map marks be removed at no more cost than any others?"""
    title = "Can what the redundant map marks be taken away?"
    if evaluated is None:
        return not_measured(title, next_step("evaluate", fit), again, key=REMOVAL)
    word = accuracy_word(fit)
    rows = {metric: row for (*maps, metric), row in evaluated.pairs.items() if maps == ["redundant", "random"]}
    if not (measured := of_layer(rows, "remove")):
        return Finding(title, ["The evaluation removed nothing by the redundant map."], key=REMOVAL)
    row = rows[measured]
    compared = (
        f"On the same {row.n} pictures it leaves {difference(row, word, 'removing random places')}; up to "
        f"{number(AS_RANDOM, 2)} less counts as no cost."
    )
    verdict = YES if row.low >= -AS_RANDOM else NO if row.high < -AS_RANDOM else UNDECIDED
    return Finding(title, [removal_sentence(evaluated, "redundant", measured, word), compared], verdict, key=REMOVAL)


def findings(
    fit: RunInfo, followers: Mapping[str, RunInfo], calibration: RunInfo | None, again: str = "milr report latest"
) -> list[Finding]:
    """All of them, measured or not. again: the command that makes this report, after one that measures more."""
    run = followers.get("evaluate")
    evaluated = read_evaluated(run.folder) if run else None
    return [
        mask_finding(fit),
        decision_finding(evaluated, fit, again),
        redundant_finding(evaluated, fit, again),
        pointing_of(evaluated) if evaluated else not_measured(TITLE, next_step("evaluate", fit), again),
        sanity_finding(followers.get("sanity"), fit, again),
        convergence_finding(fit),
        calibration_finding(calibration, fit, again),
    ]


def key_results(folder: Path) -> list[Result]:
    """The numbers by which runs are compared: the decision map's, of the summaries and of keeping."""
    results = [result for result in read_rows(folder / "results.csv", Result) if result.map == "decision"]
    kept = Metric("keep", "", "accuracy", SHARE)
    kinds = {name for name, kind in METRIC_KINDS.items() if kind.summary and kind.over != "parts"}
    return [result for result in results if result.metric.kind in kinds or result.metric == kept]
