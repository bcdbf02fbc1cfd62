"""A table and a finding: what a section of the page is made of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NOTHING, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"  # where there is no number, and before one below 0
YES, PART, NO = "yes", "in part", "no"  # verdicts: answers to a finding's question
UNDECIDED, UNMEASURED = "undecided", "not measured"  # the interval allows both; nothing to answer by


@dataclass(frozen=True)
class Table:
    """Rows of text under a head; the first column names the row."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Chart:
    """A Vega-Lite specification, what it shows in words, and its numbers."""

    spec: Mapping[str, Any]
    title: str
    description: str
    table: Table


@dataclass(frozen=True)
class Finding:
    """One question about the maps with its answer."""

    title: str
    sentences: Sequence[str]
    verdict: str = UNMEASURED
    charts: Sequence[Chart] = ()
    tables: Sequence[Table] = ()
    lead: str = ""  # of the commands
    commands: Sequence[str] = ()  # one after the other: what would measure it, or better it, and tell of it
    key: str = ""  # by which other parts of the page find it


def not_measured(title: str, *commands: str, key: str = "") -> Finding:
    """A question that nothing answers yet, with the commands that would."""
    return Finding(title, ["Not measured yet."], lead="These commands measure it:", commands=commands, key=key)


def number(value: float, digits: int = 3) -> str:
    """A number for people: "0.123", a true minus, and a dash where there is none."""
    if math.isnan(value):
        return NOTHING
    size = abs(value)
    text = f"{value:.{digits}g}" if 0 < size < 0.01 else f"{value:.4g}" if size >= 10 else f"{value:.{digits}f}"
    return text.replace("-", MINUS)


def interval(low: float, high: float) -> str:
    """ "[0.1, 0.2]", or nothing where there is none."""
    return f"[{number(low, 2)}, {number(high, 2)}]" if low < high else ""


def between(low: float, high: float) -> str:
    """The same within a sentence, a blank before it."""
    return f" {each}" if (each := interval(low, high)) else ""


def more_or_less(difference: float, word: str) -> str:
    """ "0.04 less accuracy"."""
    return f"{number(abs(difference), 2)} {'less' if difference < 0 else 'more'} {word}"


def percent(share: float) -> str:
    """A share as whole percent."""
    return NOTHING if math.isnan(share) else f"{100 * share:.0f} %".replace("-", MINUS)
