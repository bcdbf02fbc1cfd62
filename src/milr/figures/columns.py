"""What stands over and under the column of one image in a figure."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from milr.figures.palette import RIGHT_MARK, WRONG_MARK

MOST_DISTANCES = 6  # under a column: the nearest


@dataclass(frozen=True)
class Column:
    """What stands over one image in `save_figures`: its role, its name, and what the network decided. All may be empty.

    Attributes:
        role: what it is there for, as "support" or "query".
        name: the class or the picture, as the data set names it.
        predicted: the class that the network decided for.
        distances: to the prototypes, in the metric's own unit.
        prototypes: the prototypes' names, in the order of the distances; empty: numbers alone.
        right: whether the decision is; None: whether it is the name, where there is a decision.
        masked: the class that it is taken for through the mask. No figure shows it, the table of `export` has it.
        masked_right: whether that is right.
        masked_share: of the draws of the mask's noise that give it.

    Example:
        >>> import milr
        >>> column = milr.Column("query", "012.Yellow_headed_Blackbird", predicted="047.American_Goldfinch")
        >>> column.wrong, column.title().splitlines()
        (True, ['query', 'Yellow headed', 'Blackbird', '✗ taken for', 'American', 'Goldfinch'])
    """

    role: str = ""
    name: str = ""
    predicted: str | None = None
    distances: tuple[float, ...] | None = None
    prototypes: tuple[str, ...] = ()
    right: bool | None = None
    masked: str | None = None
    masked_right: bool | None = None
    masked_share: float | None = None

    @property
    def decided(self) -> bool | None:
        """Whether the decision is right; None where there is none."""
        if self.right is not None or self.predicted is None:
            return self.right
        return self.predicted == self.name

    @property
    def wrong(self) -> bool:
        """Whether there is a decision, and it is wrong."""
        return self.decided is False

    def title(self, width: int = 16) -> str:
        """Lines of at most `width` characters to write over the column."""
        lines = [part for line in self.role.splitlines() for part in textwrap.wrap(line, width)]
        lines += textwrap.wrap(readable(self.name), width)
        if self.decided:
            lines.append(f"{RIGHT_MARK} right")
        elif self.wrong and self.predicted not in (None, self.name):
            lines += [f"{WRONG_MARK} taken for", *textwrap.wrap(readable(str(self.predicted)), width)]
        elif self.wrong:
            lines.append(f"{WRONG_MARK} wrong")
        return literal("\n".join(lines))

    def distance_lines(self, width: int = 30) -> str:
        """The distances, the nearest first, each with its prototype's name beside it as far as `width` goes."""
        names = self.prototypes or ("",) * len(self.distances or ())
        pairs = sorted(zip(self.distances or (), names, strict=True))
        lines = [f"{value:.3g} {shortened(readable(name), width - 5)}".rstrip() for value, name in pairs]
        more = [f"and {len(lines) - MOST_DISTANCES} more"] if len(lines) > MOST_DISTANCES else []
        return literal("\n".join(["distance to", *lines[:MOST_DISTANCES], *more]))


def readable(name: str) -> str:
    """A class name for people: "012.Yellow_headed_Blackbird" -> "Yellow headed Blackbird"."""
    number, _, rest = name.partition(".")
    return (rest if number.isdigit() and rest else name).replace("_", " ")


def shortened(name: str, width: int) -> str:
    """A name of at most so many characters, with dots where it was longer."""
    return name if len(name) <= width else name[: max(1, width - 1)].rstrip() + "…"


def literal(text: str) -> str:
    """The text as matplotlib must be given it: between two dollars it would read mathematics."""
    return text.replace("$", r"\$")
