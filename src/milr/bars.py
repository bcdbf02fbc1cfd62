"""Progress bars with the time that is left. In a file or a pipe they are a line a minute, and no carriage returns."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, TextIO

from tqdm import tqdm

EVERY = 60.0  # seconds between lines where no terminal shows the bar; what is done in less says nothing
LINE = "{desc}: {percentage:.0f} %, {n_fmt} of {total_fmt}, {elapsed} since the start, {remaining} to go{postfix}"


class Lines:
    """A stream to which tqdm writes as to a terminal, and that gets whole lines."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> None:
        """Writes what is more than a carriage return, the blanks over an earlier text, or an empty line."""
        if text.strip():
            self.stream.write(text.strip() + "\n")

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
