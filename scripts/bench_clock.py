"""What every row of scripts/bench.py shares: a line of the table, the pictures, the device, and the clock."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch

from milr.data.cub import read_cub
from milr.data.pictures import Pictures, load_pictures
from milr.data.split import of_split


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    work: str
    result: str
    bar: str
    met: bool
    context: str

    def line(self) -> str:
        """As Markdown."""
        return f"| {self.work} | {self.result} | {self.bar} | {'yes' if self.met else 'no'} | {self.context} |"


@dataclass(frozen=True)
class Prepared:
    """A work on what `prepare` makes, anew each time and while the clock stands."""

    prepare: Callable[[], Any]
    work: Callable[[Any], Any]


class Bench:
    """What all rows share: the pictures, the device, and the clock."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.data: Path = arguments.data
        self.weights: str = arguments.weights
        self.repeats: int = arguments.repeats
        self.device = torch.device(arguments.device)

    def pictures(self, split: str, size: int, count: int | None = None) -> Pictures:
        """The first `count` pictures of a split; all without it."""
        return load_pictures(of_split(read_cub(self.data), split).records[:count], size, "none")

    def seconds(self, work: Callable[[], Any] | Prepared) -> float:
        """How long it takes, until the device has done it."""
        todo = partial(work.work, work.prepare()) if isinstance(work, Prepared) else work
        self.wait()
        start = time.perf_counter()
        todo()
        self.wait()
        return time.perf_counter() - start

    def wait(self) -> None:
        """Until the device has nothing left to do."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def alternate(self, **works: Callable[[], Any] | Prepared) -> dict[str, float]:
        """Seconds of each work, taking turns: the median over the repeats, after one turn that does not count.

        Every other turn goes backwards, so that none always comes after the same one.
        """
        found: dict[str, list[float]] = {name: [] for name in works}
        for turn in range(self.repeats + 1):
            for name in reversed(works) if turn % 2 else works:
                found[name].append(self.seconds(works[name]))
                say(f"  {turn}/{self.repeats} {name} {found[name][-1]:.3f} s")
        return {name: median(values[1:]) for name, values in found.items()}


def say(line: str) -> None:
    """Progress, apart from the table."""
    print(line, file=sys.stderr, flush=True)
