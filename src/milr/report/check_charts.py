"""Charts of the checks of an estimate and of a sweep: likeness of maps, planted bits, figures along beta."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from milr.checks.calibration import PlacePoint
from milr.checks.sanity import SanityRow
from milr.evaluation.sweep_chart import PANELS, SweepPoint
from milr.report.tables import Chart, Table, interval, number
from milr.report.vega import OWN, colour_of, data, panels, shape_of, spec_of, tooltip, tooltips, zoom


def likeness(rows: Sequence[SanityRow]) -> Chart:
    """How alike maps are after each change of `milr sanity`."""
    names, variants = list(dict.fromkeys(row.map for row in rows)), list(dict.fromkeys(row.variant for row in rows))
    values = [{"changed": r.variant, "map": r.map, "value": r.value, "low": r.low, "high": r.high} for r in rows]
    base = alt.Chart().encode(
        y=alt.Y("changed:N", sort=variants, title=None),
        yOffset="map:N",
        color=colour_of(names),
        tooltip=["changed:N", "map:N", tooltip("value", "rank correlation"), *tooltips("low", "high")],
    )
    x = alt.X("value:Q", title="rank correlation", scale=alt.Scale(domain=[-0.2, 1]))
    layers = [
        base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q"), x2="high:Q"),
        base.mark_point(filled=True, size=60).encode(x=x, shape=shape_of(names)).add_params(zoom("x")),
    ]
    drawn = alt.layer(*layers, data=data(values)).properties(width=560, height=alt.Step(12))
    title = "How alike the maps are after a change"
    description = "Rank correlation of the maps with those of fits with other seeds, wrong labels and random weights."
    cells = [[row.variant, row.map, number(row.value), interval(row.low, row.high), row.wanted] for row in rows]
    head = ["what was changed", "map", "rank correlation", "95 % interval", "wanted"]
    return Chart(spec_of(drawn), title, description, Table(title, head, cells))


def truth(points: Sequence[PlacePoint]) -> Chart:
    """Estimated against planted bits, a point a place."""
    names = ("world", "row", "column", "seed", "true", "estimated", "low", "high")
    values = [{name: getattr(point, name) for name in names} for point in points]
    most = max(max(point.true, point.estimated) for point in points)
    base = alt.Chart(data(values)).encode(
        x=alt.X("true:Q", title="planted bits"),
        color=alt.Color("world:N", scale=alt.Scale(range=[OWN["total"], OWN["decision"]])),
        tooltip=["world:N", "row:Q", "column:Q", "seed:Q", *tooltips("true", "estimated", "low", "high")],
    )
    same = alt.Chart(data([{"true": 0, "estimated": 0}, {"true": most, "estimated": most}]))
    estimated = alt.Y("estimated:Q", title="estimated bits")
    drawn = alt.layer(
        same.mark_line(strokeDash=[8, 4]).encode(x="true:Q", y=estimated),
        base.mark_rule(opacity=0.3).encode(y=alt.Y("low:Q"), y2="high:Q"),
        base.mark_point(filled=True).encode(y=estimated, shape="world:N").add_params(zoom("x", "y")),
    ).properties(width=420, height=300)
    title = "Estimated against planted bits"
    description = "A point a place, with the 10 % and 90 % of single pictures; on the broken line they are the same."
    cells = [
        [f"{p.world}, {p.row + 1}, {p.column + 1}, {p.seed}", *map(number, (p.true, p.estimated, p.low, p.high))]
        for p in points
    ]
    table = Table(title, ["world, row, column, seed", "planted", "estimated", "10 %", "90 %"], cells)
    return Chart(spec_of(drawn), title, description, table)


def along_beta(points: Sequence[SweepPoint]) -> Chart:
    """What a sweep's fits came to along beta, a line for each alpha, a panel for each figure."""
    values = [
        {"panel": label, "alpha": f"{p.alpha:g}", "beta": p.beta, "value": getattr(p, field)}
        for field, label in PANELS
        for p in points
    ]
    scale = alt.Scale(type="symlog" if any(p.beta == 0 for p in points) else "log")
    base = alt.Chart().encode(
        x=alt.X("beta:Q", scale=scale, axis=alt.Axis(format="~g")),
        y=alt.Y("value:Q", title=None, scale=alt.Scale(zero=False)),
        color=alt.Color("alpha:N", scale=alt.Scale(scheme="viridis")),
        tooltip=["alpha:N", "beta:Q", tooltip("value")],
    )
    layers = [
        base.mark_line(),
        base.mark_point(filled=True, size=60).encode(shape="alpha:N").add_params(zoom("x", "y")),
    ]
    drawn = panels(layers, values, "panel", 2, (260, 180)).resolve_scale(y="independent")
    title = "The fits along beta"
    cells = [[f"{p.alpha:g}", f"{p.beta:g}", *(number(getattr(p, field)) for field, _ in PANELS)] for p in points]
    table = Table(title, ["alpha", "beta", *(label for _, label in PANELS)], cells)
    return Chart(spec_of(drawn), title, "A panel for each figure, a line for each alpha.", table)
