"""What all charts share: Vega-Lite specifications hovered, zoomed with shift, on dark and light pages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import altair as alt

OWN = {"decision": "#d55e00", "total": "#0072b2", "redundant": "#009e73", "kept": "#56b4e9"}  # Okabe and Ito
OTHERS = ("#8a8a8a", "#7f6bb3", "#c2649a", "#9c755f", "#e69f00", "#5b8c5a", "#9467bd", "#c08a00", "#6d8fa8", "#a05a5a")
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")
INK = "currentColor"  # the page's own, on a light and on a dark screen
WORDS = {"labelFontSize": 12, "titleFontSize": 12, "labelColor": INK, "titleColor": INK}
LINES = {"gridColor": INK, "gridOpacity": 0.15, "domainColor": INK, "tickColor": INK}
CONFIG = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "axis": {
        **WORDS,
        **LINES,
        "titleFontWeight": "normal",
        "labelLimit": 240,
        "labelOverlap": "greedy",
        "labelSeparation": 6,
    },
    "legend": {
        **WORDS,
        "symbolOpacity": 1,
        "symbolBaseFillColor": INK,
        "symbolBaseStrokeColor": INK,
        "labelLimit": 240,
    },
    "header": {"labelFontSize": 13, "labelColor": INK, "labelLimit": 320},
    "view": {"stroke": None},
    **{mark: {"color": INK} for mark in ("rule", "tick", "line")},
}


def zoom(*axes: Literal["x", "y"]) -> Any:
    """What makes axes zoom and move with shift held: without it the wheel and the finger are the page's."""
    return alt.selection_interval(
        bind="scales",
        encodings=axes,
        translate="[pointerdown[event.shiftKey], window:pointerup] > window:pointermove!",
        zoom="wheel![event.shiftKey]",
    )


def spec_of(chart: Any) -> Mapping[str, Any]:
    """A chart as plain values."""
    spec: Mapping[str, Any] = chart.configure(**CONFIG).to_dict()
    return spec


def panels(
    layers: Sequence[Any], rows: Sequence[Mapping[str, Any]], field: str, columns: int, size: tuple[int, Any]
) -> Any:
    """Layers over the same rows, a panel for each value of a field, so many side by side where there is room."""
    width, height = size
    chart = alt.layer(*layers, data=data(rows)).properties(width=width, height=height)
    return chart.facet(facet=alt.Facet(f"{field}:N", title=None, sort=None), columns=columns)


def data(rows: Sequence[Mapping[str, Any]]) -> alt.Data:
    """Rows as a chart takes them; what is not finite is left out."""
    return alt.Data(values=[{key: finite(value) for key, value in row.items()} for row in rows])


def finite(value: Any) -> Any:
    """A value, or nothing where it is no number."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def readable(name: str) -> str:
    """A map's name for people."""
    return name.replace("_", " ")


def colour_of(names: Sequence[str], legend: Any = alt.Undefined) -> alt.Color:
    """The colour of each map, by the field `map`: MI-LR's own have theirs, in the order of `names` the others."""
    others = iter(OTHERS * 2)
    colours = [OWN.get(name) or next(others) for name in names]
    return alt.Color(
        "map:N", scale=alt.Scale(domain=[*map(readable, names)], range=colours), title="map", legend=legend
    )


def shape_of(names: Sequence[str]) -> alt.Shape:
    """The shape of each map, so that colour alone says nothing."""
    shapes = [SHAPES[number % len(SHAPES)] for number, _ in enumerate(names)]
    return alt.Shape("map:N", scale=alt.Scale(domain=[*map(readable, names)], range=shapes), title="map")


def tooltip(field: str, title: str = "") -> alt.Tooltip:
    """A number with three digits."""
    return alt.Tooltip(f"{field}:Q", format=".3~g", title=title or field)


def tooltips(*fields: str) -> list[alt.Tooltip]:
    """Several, under the fields' names."""
    return [tooltip(field) for field in fields]
