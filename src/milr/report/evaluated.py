"""The tables of a run of `milr evaluate`, and how its maps stand beside the controls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from milr.baselines.methods import CONTROLS
from milr.errors import MilrError
from milr.evaluation.metrics import Metric
from milr.evaluation.tables import Comparison, Result
from milr.report.reading import read_rows
from milr.report.tables import NO, PART, YES, interval, more_or_less, number


@dataclass(frozen=True)
class Evaluated:
    """What was measured of each map, and of two maps on the same pictures."""

    results: Mapping[tuple[str, Metric], Result]
    pairs: Mapping[tuple[str, str, Metric], Comparison]

    def best_control(self, metric: Metric) -> str:
        """Of the maps that know nothing of the decision, but for random places, the one with the highest value."""
        measured = [name for name in CONTROLS if name != "random" and (name, metric) in self.results]
        return max(measured, key=lambda name: self.results[name, metric].value, default="")


def read_evaluated(folder: Path) -> Evaluated:
    """The tables of a run folder. MilrError where the results are gone: a page without them would look whole."""
    results = {(row.map, row.metric): row for row in read_rows(folder / "results.csv", Result)}
    if not results:
        raise MilrError(f"{folder / 'results.csv'} is gone or empty: `milr rerun {folder}` makes it again")
    rows = read_rows(folder / "paired.csv", Comparison)
    return Evaluated(results, {(row.map, row.other, row.metric): row for row in rows})


def difference(row: Comparison, word: str, than: str) -> str:
    """ "0.04 less accuracy than centre (difference ...)", with its sign and interval."""
    exactly = f"{number(row.difference, 2)} {interval(row.low, row.high)}".rstrip()
    return f"{more_or_less(row.difference, word)} than {than} (difference {exactly})"


def against_control(evaluated: Evaluated, metric: Metric, word: str) -> tuple[bool, str]:
    """Whether the decision map is shown to beat the best control, and a sentence about it."""
    if not (best := evaluated.best_control(metric)):
        return False, "No other map that knows nothing of the decision was measured."
    value = number(evaluated.results[best, metric].value, 2)
    head = f"Of the maps that know nothing of the decision {best} has most {word}, {value}"
    if (row := evaluated.pairs.get(("decision", best, metric))) is None:
        return False, f"{head}; the two were not compared on the same pictures."
    said = "it says more" if row.low > 0 else "it says less" if row.high < 0 else "it is not shown to say more"
    return row.low > 0, f"{head}; the decision map has {difference(row, word, best)}: {said}."


def verdict_of(beats_chance: bool, beats_control: bool) -> str:
    """Better than chance alone is half an answer: a map that is no better than the simplest control says no more."""
    return NO if not beats_chance else YES if beats_control else PART


def area_sentence(evaluated: Evaluated) -> str:
    """Which maps lie above the decision map by the area between its curves, and which below; or nothing."""
    metric = Metric("area", measure="accuracy")
    areas = {name: row.value for (name, each), row in evaluated.results.items() if each == metric}
    if len(areas) < 2 or "decision" not in areas:
        return ""
    own, order = areas.pop("decision"), sorted(areas, key=lambda name: -areas[name])
    above, below = ([name for name in order if (areas[name] > own) is higher] for higher in (True, False))
    over, under = (", ".join(f"{name} ({number(areas[name], 2)})" for name in names) for names in (above, below))
    rows = [evaluated.pairs.get(("decision", name, metric)) for name in above]
    beyond = [row.other for row in rows if row and row.high < 0]
    sure = f" (by more than the interval of the difference: {', '.join(beyond) or 'none'})" if any(rows) else ""
    return (
        f"By the area between keeping and removing, over all shares, it has {number(own, 2)}: above it "
        f"{f'lie {over}{sure}' if above else 'lies no map'}, below it {under or 'none'}."
    )
