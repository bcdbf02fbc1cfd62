from __future__ import annotations

import math
from pathlib import Path

import pytest
import shown_fit as shown

from milr.checks.calibration import Calibration
from milr.checks.sanity import SanityRow
from milr.errors import MilrError
from milr.evaluation.tables import Comparison, Result, compare, summarise, write_csv
from milr.report.evaluated import read_evaluated
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


def test_a_table_of_before_columns_with_defaults_is_read(tmp_path: Path) -> None:
    table = shown.calibrate(tmp_path) / "calibrate.csv"
    lines = [",".join(line.split(",")[:14]) for line in table.read_text().splitlines()]
    assert lines[0].endswith(",held_out")
    table.write_text("\n".join(lines))
    rows = read_rows(table, Calibration)
    assert len(rows) == 2 and {row.seeds for row in rows} == {1} and rows[0].slope == 0.95
    assert all(math.isnan(row.slope_over_seeds) and math.isnan(row.seconds) for row in rows)
    table.write_text("\n".join(line.partition(",")[2] for line in lines))  # a column that never had a default
    with pytest.raises(MilrError, match="calibrate.csv is of another version"):
        read_rows(table, Calibration)


@pytest.mark.parametrize("content", [None, ""])
def test_results_that_are_gone_are_named(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "results.csv").write_text(content, encoding="utf-8")
    with pytest.raises(MilrError, match=r"results.csv is gone or empty: `milr rerun .*` makes it again"):
        read_evaluated(tmp_path)
