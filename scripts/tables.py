"""The final tables as Markdown, from the folders of `milr evaluate` and `milr sanity`.

    python scripts/tables.py outputs/results/birds/evaluate/* outputs/results/birds/sanity/*

Of an evaluation: one row a metric, one column a map, the interval under MI-LR's own maps. Of a sanity run: its table.
"""

from __future__ import annotations

import csv
import math
import re
import sys
from pathlib import Path

METRICS = (
    "rank accuracy, defining",
    "pointing, defining",
    "mass, defining",
    "mass, other",
    "rank accuracy, bird",
    "rank accuracy, box",
    "rank accuracy, box up to a third",
    "pointing, box",
    "lift, box",
    "untouched, accuracy",
    r"keep \d+%, accuracy",
    r"remove (20|30|50)%, accuracy",
    r"keep (20|30|50)% pixels, accuracy",
    "area, accuracy",
    "area pixels, accuracy",
    "area, cosine",
    "contrast, .*",
)


def evaluation(file: Path) -> None:
    """The table of one results.csv."""
    with file.open(encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    maps = list(dict.fromkeys(row["map"] for row in rows))
    found = {(row["map"], row["metric"]): row for row in rows}
    print(f"\n{rows[0]['data_set']}\n")
    print("| | " + " | ".join(name.replace("_", " ") for name in maps) + " | chance | n |")
    print("| --- " * (len(maps) + 3) + "|")
    for metric in dict.fromkeys(row["metric"] for row in rows):
        if not any(re.fullmatch(wanted, metric) for wanted in METRICS):
            continue
        cells = [cell(found[name, metric]) for name in maps]
        first = found[maps[0], metric]
        print(f"| {metric} | {' | '.join(cells)} | {number(first['chance'])} | {first['n']} |")


def cell(row: dict[str, str]) -> str:
    """A value, with its interval where it is one of MI-LR's."""
    interval = f" [{number(row['low'])}, {number(row['high'])}]" if row["method"] == "milr" else ""
    return number(row["value"]) + interval


def number(text: str) -> str:
    """Three places, nothing for NaN."""
    return "" if math.isnan(float(text)) else f"{float(text):.3f}"


def sanity(file: Path) -> None:
    """The table of one sanity.csv."""
    print("\n| check | what was changed | map | measure | value | wanted |\n| --- | --- | --- | --- | --- | --- |")
    with file.open(encoding="utf-8") as opened:
        for row in csv.DictReader(opened):
            names = " | ".join(row[key] for key in ("check", "variant", "map", "measure"))
            interval = float(row["low"]) < float(row["high"])
            print(f"| {names} | {cell({**row, 'method': 'milr' if interval else ''})} | {row['wanted']} |")


def main() -> None:
    """Prints the tables of all folders that are named."""
    for folder in map(Path, sys.argv[1:]):
        if (folder / "results.csv").is_file():
            evaluation(folder / "results.csv")
        elif (folder / "sanity.csv").is_file():
            sanity(folder / "sanity.csv")
        else:
            sys.exit(f"{folder} holds neither results.csv nor sanity.csv")


if __name__ == "__main__":
    main()
