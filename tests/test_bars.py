"""Progress: a bar on a terminal, a line a minute in a file."""

from __future__ import annotations

import io
import sys

import pytest

from milr import bars
from milr.explanation.bars import SHOWN, Bars
from milr.explanation.settings import FitSettings


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def shown(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch, every: float = bars.EVERY) -> str:
    """What a bar of five steps writes."""
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(bars, "EVERY", every)
    for _ in bars.bar(range(5), desc="fit", unit="step", miniters=1):
        pass
    return stream.getvalue()


def test_a_terminal_gets_a_bar_that_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\r" in shown(Terminal(), monkeypatch)


def test_a_file_gets_whole_lines_with_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(io.StringIO(), monkeypatch, every=0.0).splitlines()
    assert "fit: 40 %, 2 of 5, 00:00 since the start, 00:00 to go" in lines
    assert all(line.startswith("fit: ") and line.endswith("to go") for line in lines)


def test_a_file_is_told_once_that_a_bar_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(bars, "EVERY", 0.0)
    with bars.bar(total=1000, desc="pairs", miniters=1) as moved:
        moved.update(996)
        moved.update(4)
        moved.set_postfix({"bits": "1.0"})
        moved.refresh()
    lines = stream.getvalue().splitlines()
    assert [line.partition(", 0")[0] for line in lines if "100 %" in line] == [
        *("pairs: 100 %, 996 of 1000", "pairs: 100 %, 1000 of 1000")
    ]


def test_a_file_gets_nothing_of_what_takes_less_than_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(io.StringIO(), monkeypatch) == ""
    assert bars.EVERY == 60


def test_numbers_beside_a_bar_add_no_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with Bars(FitSettings(), shown=True) as shown_bars:
        for step in range(1, 4):
            shown_bars.on_critic("critic", step, 0.5)
        shown_bars.advance("mask", 1, 10)
        shown_bars.show_metrics("mask", dict.fromkeys(SHOWN, 0.5))
    assert stream.getvalue() == ""


def test_a_bar_that_is_not_shown_counts_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    assert list(bars.bar([1, 2, 3], shown=False)) == [1, 2, 3] and stream.getvalue() == ""
