"""Charts of what `milr evaluate` measured: keep and remove curves, where maps point, runs side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import altair as alt

from milr.baselines.methods import METHODS
from milr.evaluation.charts import BARS
from milr.evaluation.metrics import MEASURES, METRIC_KINDS
from milr.evaluation.tables import Result, without_repeated
from milr.report.tables import Chart, Table, interval, number, percent
from milr.report.vega import OWN, colour_of, panels, readable, shape_of, spec_of, tooltip, tooltips, zoom

DASHES = {"milr": [1, 0], "baseline": [6, 3], "control": [2, 3]}
LABELS = {"layer": "places of the layer", "pixels": "pixels"}
CURVES = ("keep", "remove")
NUMBERS = ("value", "low", "high", "chance", "n")  # of a result


def curves(results: Sequence[Result], word: str) -> list[Chart]:
    """Keep and remove, a chart for each measure and each kind of places that was measured. word: what accuracy is."""
    made = []
    for measure in MEASURES:
        here = [row for row in results if row.metric.measure == measure]
        untouched = next((row.value for row in here if row.metric.kind == "untouched"), None)
        for at, fill in dict.fromkeys((row.metric.at, row.metric.fill) for row in here if row.metric.kind in CURVES):
            rows = [r for r in here if (r.metric.at, r.metric.fill) == (at, fill) and r.metric.kind in CURVES]
            where = LABELS[at] + (f" filled with {fill}" if fill else "")
            made.append(curve(rows, untouched, word if measure == "accuracy" else measure, where))
    return made


def curve(rows: Sequence[Result], untouched: float | None, word: str, where: str) -> Chart:
    """One measure along the share of places that is kept, and that is removed."""
    names = list(dict.fromkeys(row.map for row in rows))
    values = [
        {
            "map": readable(row.map),
            "kind": row.method,
            "panel": f"{row.metric.kind} these {where}",
            "share": 100 * (row.metric.share or 0),
            **{field: getattr(row, field) for field in NUMBERS},
        }
        for row in rows
    ]
    chosen = alt.selection_point(fields=["map"], bind="legend")
    base = alt.Chart().encode(
        x=alt.X("share:Q", title=f"% of the {where}, highest first", axis=alt.Axis(tickCount=5)),
        color=colour_of(names),
        opacity=alt.condition(chosen, alt.value(1), alt.value(0.08)),
        tooltip=["map:N", tooltip("share", "% of places"), tooltip("value", word), *tooltips("low", "high", "n")],
    )
    band = alt.Y("low:Q", title=word, scale=alt.Scale(zero=False))
    faint = alt.condition(chosen, alt.value(0.12), alt.value(0))
    kinds = [kind for kind in DASHES if any(row.method == kind for row in rows)]
    lines = alt.Scale(domain=kinds, range=[DASHES[kind] for kind in kinds])
    dashes = alt.StrokeDash("kind:N", scale=lines, title="kind")
    layers = [
        base.transform_filter("datum.kind == 'milr'").mark_area().encode(y=band, y2="high:Q", opacity=faint),
        base.mark_line().encode(y="value:Q", strokeDash=dashes).add_params(chosen, zoom("x", "y")),
        base.mark_point(filled=True, size=40).encode(y="value:Q", shape=shape_of(names)),
    ]
    if untouched is not None:
        layers.append(alt.Chart().mark_rule(strokeDash=[8, 4], aria=False).encode(y=alt.datum(untouched)))
    title = f"Keep and remove: {word} along {where}"
    description = (
        f"Two panels, {word} when only the {where} that a map marks highest are kept and when they are removed: a line "
        f"for each of {len(names)} maps, with the 95 % intervals of MI-LR's own. The broken line is the whole network "
        "on the same pictures."
    )
    drawn = panels(layers, values, "panel", 2, (330, 260))
    return Chart(spec_of(drawn), title, description, curve_table(rows, names, title))


def curve_table(rows: Sequence[Result], names: Sequence[str], title: str) -> Table:
    """A row for each share, a column for each map."""
    values = {(row.map, row.metric.kind, row.metric.share): row for row in rows}
    shares = list(dict.fromkeys((row.metric.kind, row.metric.share) for row in rows))
    cells = [
        [f"{kind} {percent(share or 0)}", *(number(values[name, kind, share].value) for name in names)]
        for kind, share in shares
    ]
    return Table(title, ["places", *map(readable, names)], cells)


def places(results: Sequence[Result]) -> list[Chart]:
    """Where the maps point: a panel for each metric of regions; and of MI-LR's own maps one for each part."""
    shown = [result for result in without_repeated(results) if METRIC_KINDS[result.metric.kind].summary]
    regions = [(row.map, row) for row in shown if METRIC_KINDS[row.metric.kind].over == "regions"]
    parts = [(row.map, row) for row in shown if METRIC_KINDS[row.metric.kind].over == "parts"]
    parts = [(name, row) for name, row in parts if METHODS[name].family == "milr"]
    first = [(name, row) for name, row in regions if row.metric in BARS["location"]]
    titled = {"Where the maps point": first, "Parts under the maps": parts, "Every region and metric": regions}
    return [dots(rows, "map", title) for title, rows in titled.items() if rows]


def compared(results: Mapping[str, Sequence[Result]]) -> Chart:
    """The decision map's key numbers, a panel for each metric, a dot for each run."""
    rows = without_repeated([replace(row, map=run) for run, own in results.items() for row in own])
    return dots([(row.map, row) for row in rows], "run", "The decision map of each run")


def dots(rows: Sequence[tuple[str, Result]], what: str, title: str) -> Chart:
    """A panel for each metric, a dot with its interval for each map, or run; an upright broken line for chance."""
    names = list(dict.fromkeys(name for name, _ in rows))
    values = [
        {
            "metric": row.metric.name,
            what: readable(name),
            "tick": row.value if math.isnan(row.chance) else row.chance,
            **{field: getattr(row, field) for field in NUMBERS},
        }
        for name, row in rows
    ]
    base = alt.Chart().encode(
        y=alt.Y(f"{what}:N", sort=[*map(readable, names)], title=None),
        tooltip=[f"{what}:N", *tooltips(*NUMBERS)],
    )
    coloured = base.encode(color=colour_of(names, legend=None) if what == "map" else alt.value(OWN["decision"]))
    room = alt.Scale(zero=False, nice=False, padding=9)  # pixels beside the outermost marks, which would be cut
    x = alt.X("value:Q", title=None, scale=room, axis=alt.Axis(tickCount=4))
    known = alt.condition("isValid(datum.chance)", alt.value(1), alt.value(0))  # an axis must not be of no number
    layers = [
        coloured.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", title=None), x2="high:Q"),
        coloured.mark_point(filled=True, size=60).encode(x=x).add_params(zoom("x")),
        base.mark_tick(thickness=2, height=14).encode(x="tick:Q", opacity=known),
    ]
    drawn = panels(layers, values, "metric", 3, (230, alt.Step(20))).resolve_scale(x="independent")
    kinds = ", ".join(dict.fromkeys(row.metric.kind for _, row in rows))
    description = (
        f"A panel for each metric ({kinds}): a dot with its 95 % interval for each {what}; the upright broken line is "
        "chance."
    )
    return Chart(spec_of(drawn), title, description, dots_table(rows, what, title))


def dots_table(rows: Sequence[tuple[str, Result]], what: str, title: str) -> Table:
    """A row for each dot."""
    cells = [
        [r.metric.name, readable(name), number(r.value), interval(r.low, r.high), number(r.chance), r.metric.unit]
        for name, r in rows
    ]
    return Table(title, ["metric", what, "value", "95 % interval", "chance", "unit"], cells)
