from __future__ import annotations

from milr.text import aligned, alike, one_line


def test_columns_are_aligned() -> None:
    assert aligned([("a", "bcd", "e"), ("fgh", "", "ij")]) == ["a    bcd  e", "fgh       ij"]


def test_numbers_stand_flush_right_and_a_message_runs_on() -> None:
    rows = [("job", "bits", "maps"), ("x=1", "0.5", "12"), ("x=22", "it broke in step 7")]
    assert aligned(rows, right=(1, 2)) == ["job   bits  maps", "x=1    0.5    12", "x=22  it broke in step 7"]
    assert aligned([]) == []


def test_what_a_message_quotes_stays_in_one_line() -> None:
    assert one_line("a\nb\r\t\x1b[2J\u2028c é\\") == r"a\nb\r\t\x1b[2J\u2028c é" + "\\"
    assert one_line("x" * 30, 10) == "xxxxxxx..."
    assert one_line("x" * 10, 10) == "x" * 10


def test_names_that_are_nearly_one() -> None:
    assert alike("Bu\u0308ste ") == alike("B\u00fcste") == alike("BÜSTE") != alike("Buste")
