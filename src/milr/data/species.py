"""Species of drawn birds: what all of one share, and which parts of a bird tell it."""

from __future__ import annotations

from dataclasses import dataclass

from milr.data.records import FIRST_PART, Look
from milr.data.shapes import Point

BILLS: dict[str, tuple[Point, ...]] = {  # beside the head's centre, in head radii
    "short": ((0.7, -0.5), (1.75, 0.08), (0.72, 0.5)),
    "long": ((0.8, -0.34), (2.7, 0.12), (0.8, 0.38)),
    "hooked": ((0.7, -0.5), (1.6, -0.36), (2.05, 0.12), (1.85, 0.5), (1.5, 0.22), (0.75, 0.46)),
}
TAILS = ("straight", "forked", "fan")
PARTS = ("head", "eye", "wing bar", "tail", "feet")  # what can be left out; the head goes with its bill
HEAD, EYE, WING_BAR, TAIL, FEET = range(FIRST_PART, FIRST_PART + len(PARTS))  # what a pixel belongs to


@dataclass(frozen=True)
class Species:
    """What every bird of a species shares; nothing else about it is fixed. An empty word: nor is this."""

    head: str  # a colour of PALETTE
    bill: str  # a colour of PALETTE
    bill_shape: str  # a key of BILLS
    wing_bar: str  # a colour of PALETTE
    eye: str = ""  # the same, of an eye that is large enough to tell
    tail: str = ""
    tail_shape: str = "straight"  # one of TAILS
    feet: str = ""

    def traits(self) -> tuple[str, str, str, str]:
        """The first four in one row."""
        return self.head, self.bill, self.bill_shape, self.wing_bar

    def look(self) -> Look:
        """What is fixed of each of PARTS, or None."""
        tail = (self.tail, self.tail_shape) if self.tail else None
        return (self.head, self.bill, self.bill_shape), self.eye or None, self.wing_bar, tail, self.feet or None

    def defining(self) -> set[int]:
        """The owners of what tells it. The eye counts with the head on which it lies."""
        return {HEAD, EYE, WING_BAR} | ({TAIL} if self.tail else set()) | ({FEET} if self.feet else set())
