from __future__ import annotations

from milr.text import aligned


def test_columns_are_aligned() -> None:
    assert aligned([("a", "bcd", "e"), ("fgh", "", "ij")]) == ["a    bcd  e", "fgh       ij"]


def test_numbers_stand_flush_right_and_a_message_runs_on() -> None:
    rows = [("job", "bits", "maps"), ("x=1", "0.5", "12"), ("x=22", "it broke in step 7")]
    assert aligned(rows, right=(1, 2)) == ["job   bits  maps", "x=1    0.5    12", "x=22  it broke in step 7"]
    assert aligned([]) == []
