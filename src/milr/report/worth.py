"""What the maps of a fit are worth by `milr evaluate`: its tables as findings, each with a plain sentence."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from milr.baselines.methods import CONTROLS
from milr.evaluation.metrics import METRIC_KINDS, Metric
from milr.evaluation.tables import Comparison, Result
from milr.explanation.asked import ROWS
from milr.report import charts
from milr.report.checks import calibration_finding, convergence_finding, sanity_finding
from milr.report.reading import read_rows
from milr.report.tables import FAILS, HOLDS, OPEN, Finding, between, not_measured, number, percent
from milr.runs.find import RunInfo
from milr.runs.manifests import read_config

KEPT = 0.9  # of the untouched accuracy: so much through the mask counts as kept
SHARE = 0.2  # of the places: the sentence about keeping is of the measured share nearest to it
AS_RANDOM = 0.05  # of accuracy: what removing by the redundant map may cost beside removing at random
MARKED = {
    "bird": "the bird",
    "box": "the official box",
    "defining": "a part that defines the species",
    "other": "a part that does not define it",
}


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
        return Finding(title, [sentence], HOLDS)
    warning = "So the mask takes away more than what is redundant, and the maps say what this mask does."
    return Finding(title, [sentence, warning], FAILS)


def accuracy_word(fit: RunInfo) -> str:
    """What "accuracy" is of the decision that was fitted."""
    return ROWS[str((read_config(fit.folder).get("decision") or {}).get("name", "prototypes"))].score


def decision_finding(evaluate: RunInfo | None, fit: RunInfo) -> Finding:
    """Keep and remove curves: do the places that the map marks suffice, and are they needed?"""
    title = "Does the decision rest on what the decision map marks?"
    if evaluate is None:
        return not_measured(title, f"milr evaluate source={fit.folder}")
    results = read_rows(evaluate.folder / "results.csv", Result)
    differences = read_rows(evaluate.folder / "paired.csv", Comparison)
    word = accuracy_word(fit)
    table = {(result.map, result.metric): result for result in results}
    if not (keep := of_layer([result.metric for result in results if result.map == "decision"], "keep")):
        return Finding(title, ["The evaluation holds no curve of the decision map."])
    own, random = table["decision", keep], table.get(("random", keep))
    whole = table.get(("decision", Metric("untouched", "", "accuracy")))
    sentences = [measured_on(own), keep_sentence(word, own, random, whole)]
    verdict, compared = against_random(word, keep, differences)
    sentences += [
        compared,
        removal_sentence(word, "decision", table, keep),
        against_control(word, table, keep, differences),
    ]
    return Finding(title, [sentence for sentence in sentences if sentence], verdict, charts.curves(results, word))


def measured_on(result: Result) -> str:
    """Of which pictures the numbers of an evaluation are, the untouched network's too."""
    return f"All numbers here are of the same {result.n} decisions about pictures of {result.data_set}."


def of_layer(metrics: Iterable[Metric], kind: str) -> Metric | None:
    """The accuracy with places of the layer kept or removed, filled as the module does: at the share nearest SHARE."""
    those = [m for m in metrics if (m.kind, m.measure, m.at, m.fill) == (kind, "accuracy", "layer", "")]
    return min(those, key=lambda metric: abs((metric.share or 0) - SHARE), default=None)


def removal_sentence(word: str, map: str, table: Mapping[tuple[str, Metric], Result], keep: Metric) -> str:
    """ "Without them accuracy is 0.18; without as many random places 0.80.", of the share of `keep`; or nothing."""
    remove = replace(keep, kind="remove")
    own, random = table.get((map, remove)), table.get(("random", remove))
    if own is None or random is None:
        return ""
    return (
        f"Without the {percent(remove.share or 0)} that the {map} map marks highest {word} is {number(own.value, 2)}"
        f"{between(own.low, own.high)}; without as many random places {number(random.value, 2)}."
    )


def against_control(
    word: str, table: Mapping[tuple[str, Metric], Result], keep: Metric, differences: Sequence[Comparison]
) -> str:
    """How the decision map stands beside the best map that knows nothing of the decision; or nothing."""
    measured = [name for name in CONTROLS if name != "random" and (name, keep) in table]
    if not measured:
        return ""
    best = max(measured, key=lambda name: table[name, keep].value)
    for row in differences:
        if (row.map, row.other, row.metric) == ("decision", best, keep):
            said = (
                "more than it" if row.low > 0 else "less than it" if row.high < 0 else "not shown to say more than it"
            )
            return (
                f"Of the maps that know nothing of the decision {best} keeps most, "
                f"{number(table[best, keep].value, 2)}; the decision map has {number(row.difference, 2)} more {word}"
                f"{between(row.low, row.high)}: {said}."
            )
    return ""


def redundant_finding(evaluate: RunInfo | None, fit: RunInfo) -> Finding:
    """Can the places that the redundant map marks be removed at no more cost than any others?"""
    title = "Can what the redundant map marks be taken away?"
    if evaluate is None:
        return not_measured(title, f"milr evaluate source={fit.folder}")
    word, differences = accuracy_word(fit), read_rows(evaluate.folder / "paired.csv", Comparison)
    table = {(result.map, result.metric): result for result in read_rows(evaluate.folder / "results.csv", Result)}
    rows = {row.metric: row for row in differences if (row.map, row.other) == ("redundant", "random")}
    if not (measured := of_layer(rows, "remove")):
        return Finding(title, ["The evaluation removed nothing by the redundant map."])
    row = rows[measured]
    compared = (
        f"That is {number(row.difference, 2)} beside random places on the same {row.n} pictures"
        f"{between(row.low, row.high)}; {number(-AS_RANDOM, 2)} or more counts as no cost."
    )
    verdict = HOLDS if row.low >= -AS_RANDOM else FAILS if row.high < -AS_RANDOM else OPEN
    return Finding(title, [removal_sentence(word, "redundant", table, row.metric), compared], verdict)


def keep_sentence(word: str, own: Result, random: Result | None, whole: Result | None) -> str:
    """ "With only the 20 % of the places that the decision map marks highest, ..."."""
    share = percent(own.metric.share or 0)
    text = (
        f"With only the {share} of the places that the decision map marks highest, {word} is {number(own.value, 2)}"
        f"{between(own.low, own.high)}"
    )
    if whole and whole.value > 0:
        text += f", {percent(own.value / whole.value)} of what it is with all places ({number(whole.value, 2)})"
    if random:
        text += f"; with as many random places {number(random.value, 2)}"
        text += f", {percent(random.value / whole.value)}" if whole and whole.value > 0 else ""
    chance = f" An answer that knows nothing has {number(own.chance, 2)}." if not math.isnan(own.chance) else ""
    return f"{text}.{chance}"


def against_random(word: str, metric: Metric, differences: Sequence[Comparison]) -> tuple[str, str]:
    """The verdict, and the difference to random places on the same pictures."""
    for row in differences:
        if (row.map, row.other, row.metric) == ("decision", "random", metric):
            better = row.low > 0
            text = (
                f"On the same {row.n} pictures the decision map's places have {number(row.difference, 2)} more {word} "
                f"than random ones{between(row.low, row.high)}: "
            )
            text += "the interval lies above 0." if better else "the interval does not lie above 0."
            return (HOLDS if better else FAILS), text
    return OPEN, "Random places were not measured on the same pictures."


def pointing_finding(evaluate: RunInfo | None, fit: RunInfo) -> Finding:
    """Where the maps point."""
    title = "Where do the maps point?"
    if evaluate is None:
        return not_measured(title, f"milr evaluate source={fit.folder}")
    results = read_rows(evaluate.folder / "results.csv", Result)
    marked = [result for result in results if METRIC_KINDS[result.metric.kind].over == "regions"]
    if not marked:
        return Finding(title, ["Nothing is marked on these pictures: neither a box nor a segmentation nor parts."])
    hits = [r for r in marked if r.map == "decision" and r.metric.kind == "pointing" and not r.metric.small]
    sentences = [
        f"The decision map's highest place lies on {MARKED.get(hit.metric.subject, hit.metric.subject)} in "
        f"{percent(hit.value)} of {hit.n} pictures{between(hit.low, hit.high)}; a place at random would in "
        f"{percent(hit.chance)}."
        for hit in hits
    ]
    judged = next((hit for hit in hits if hit.metric.subject == "defining"), hits[0] if hits else None)
    verdict = OPEN if judged is None else HOLDS if judged.low > judged.chance else FAILS
    return Finding(title, sentences, verdict, charts.places(results))


def findings(fit: RunInfo, followers: Mapping[str, RunInfo], calibration: RunInfo | None) -> list[Finding]:
    """All of them, measured or not."""
    evaluate = followers.get("evaluate")
    return [
        mask_finding(fit),
        decision_finding(evaluate, fit),
        redundant_finding(evaluate, fit),
        pointing_finding(evaluate, fit),
        sanity_finding(followers.get("sanity"), fit),
        convergence_finding(fit),
        calibration_finding(calibration, fit),
    ]


def key_results(folder: Path) -> list[Result]:
    """The numbers by which runs are compared: the decision map's, of the summaries and of keeping."""
    results = [result for result in read_rows(folder / "results.csv", Result) if result.map == "decision"]
    kept = Metric("keep", "", "accuracy", SHARE)
    kinds = {name for name, kind in METRIC_KINDS.items() if kind.summary and kind.over != "parts"}
    return [result for result in results if result.metric.kind in kinds or result.metric == kept]
