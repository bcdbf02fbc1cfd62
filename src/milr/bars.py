"""Progress bars with the time that is left. In a file or a pipe they are a line a minute, and no carriage returns."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from typing import Any, TextIO

from tqdm import tqdm

EVERY = 60.0  # seconds between lines where no terminal shows the bar; what is done in less says nothing
LINE = "{desc}: {percentage:.0f} %, {n_fmt} of {total_fmt}, {elapsed} since the start, {remaining} to go{postfix}"
FULL = re.compile(r", (\S+) of \1, ")  # a line of a bar that is full


class Lines:
    """A stream to which tqdm writes as to a terminal, and that gets whole lines."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.ended = False

    def write(self, text: str) -> None:
        """Writes what is more than a carriage return, the blanks over an earlier text, or an empty line.

        tqdm tells of a bar that is full at its last step, and again when it is closed: here once.
        """
        line = text.strip()
        full = FULL.search(line) is not None
        if line and not (full and self.ended):
            self.stream.write(line + "\n")
            self.ended = self.ended or full

    def flush(self) -> None:
        """Hands on what was written."""
        self.stream.flush()


def bar(steps: Iterable[Any] | None = None, *, shown: bool = True, **how: Any) -> tqdm[Any]:
    """A bar on standard error, over `steps` or moved by `update`; `how`: tqdm's own desc, total, initial, unit.

    On a terminal and in a notebook it moves; elsewhere it is a line a minute.
    """
    if not shown or moving(sys.stderr):
        return tqdm(steps, disable=not shown, dynamic_ncols=True, **how)
    rate = {"mininterval": EVERY, "maxinterval": EVERY, "delay": EVERY}
    return tqdm(steps, file=Lines(sys.stderr), bar_format=LINE, **rate, **how)


def moving(stream: TextIO) -> bool:
    """Whether a carriage return goes back to the beginning of the line there: on a terminal, and under a cell."""
    return stream.isatty() or type(stream).__module__.startswith("ipykernel")
