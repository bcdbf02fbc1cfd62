from __future__ import annotations

import math
from pathlib import Path

import pytest
import shown_fit as shown

from milr.checks.sanity import SanityRow
from milr.errors import MilrError
from milr.evaluation.tables import Comparison, Result, compare, summarise, write_csv
from milr.report.reading import read_rows


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    rows = shown.measurements()
    for kind, written in (
        (Result, [row for row in summarise(rows, "birds") if not math.isnan(row.chance)]),
        (Comparison, compare(rows, "birds", ["decision"])),
        (SanityRow, shown.sanity_rows()),
    ):
        write_csv(tmp_path / "rows.csv", written)
        assert read_rows(tmp_path / "rows.csv", kind) == written


def test_a_table_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("map,value\ndecision,1\n")
    with pytest.raises(MilrError, match=r"rows.csv is of another version of milr"):
        read_rows(tmp_path / "rows.csv", Result)
    assert read_rows(tmp_path / "none.csv", Result) == []
