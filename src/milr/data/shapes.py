"""What drawn birds are made of: points and shapes, colours, and a canvas that knows what each pixel belongs to."""

from __future__ import annotations

import math
import random
from collections.abc import Collection
from dataclasses import dataclass

from PIL import Image, ImageDraw

from milr.data.records import FIRST_THING

Point = tuple[float, float]
Colour = tuple[int, int, int]

FINE = 3  # drawn this much larger and averaged down
PALETTE: dict[str, Colour] = {
    "red": (198, 40, 38),
    "orange": (236, 138, 36),
    "yellow": (240, 214, 62),
    "green": (66, 142, 62),
    "blue": (52, 106, 190),
    "violet": (126, 72, 158),
    "white": (240, 238, 230),
    "black": (44, 42, 46),
}


@dataclass(frozen=True)
class Pose:
    """Where a bird's own coordinates (body half-length 1, facing right, y down) lie in the picture."""

    centre: Point
    scale: float
    angle: float
    mirrored: bool

    def __call__(self, x: float, y: float) -> Point:
        ((turned_x, turned_y),) = turn([(x, y)], self.angle)
        side = -1 if self.mirrored else 1
        return self.centre[0] + side * self.scale * turned_x, self.centre[1] + self.scale * turned_y

    def of(self, points: list[Point]) -> list[Point]:
        """Several points, in the picture."""
        return [self(x, y) for x, y in points]


class Canvas:
    """The picture and, beside it, what each pixel belongs to; both in fine pixels.

    Shapes of the owners in `without` are left out, so that what lies behind them is seen.
    """

    def __init__(self, background: Image.Image, without: Collection[int] = ()) -> None:
        self.picture, self.without, self.things = background, without, 0
        self.owners = Image.new("L", background.size, 0)
        self._picture, self._owners = ImageDraw.Draw(self.picture), ImageDraw.Draw(self.owners)

    def new_thing(self) -> int:
        """The owner of the background's next thing."""
        self.things += 1
        return FIRST_THING + self.things - 1

    def polygon(self, points: list[Point], colour: Colour, owner: int) -> None:
        """A filled shape that belongs to `owner`, with a slightly darker edge."""
        if owner in self.without:
            return
        self._picture.polygon(points, fill=colour, outline=shade(colour, 0.82), width=FINE // 2 + 1)
        self._owners.polygon(points, fill=owner)

    def line(self, points: list[Point], colour: Colour, width: float, owner: int) -> None:
        """A stroke with round joints."""
        if owner in self.without:
            return
        self._picture.line(points, fill=colour, width=max(1, round(width)), joint="curve")
        self._owners.line(points, fill=owner, width=max(1, round(width)), joint="curve")


def ellipse(x: float, y: float, across: float, down: float, angle: float, corners: int = 40) -> list[Point]:
    """An ellipse as a polygon."""
    around = [2 * math.pi * corner / corners for corner in range(corners)]
    points = [(across * math.cos(t), down * math.sin(t)) for t in around]
    return [(x + px, y + py) for px, py in turn(points, angle)]


def turn(points: list[Point], angle: float) -> list[Point]:
    """Turned about the origin."""
    cosine, sine = math.cos(angle), math.sin(angle)
    return [(x * cosine - y * sine, x * sine + y * cosine) for x, y in points]


def smooth(points: list[Point]) -> list[Point]:
    """Corners cut off again and again (Chaikin 1974)."""
    for _ in range(3):
        pairs = list(zip(points, points[1:] + points[:1], strict=True))
        points = [
            (a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share) for a, b in pairs for share in (0.25, 0.75)
        ]
    return points


def shade(colour: Colour, factor: float) -> Colour:
    """Darker below 1, lighter above."""
    red, green, blue = (max(0, min(255, round(value * factor))) for value in colour)
    return red, green, blue


def vary(generator: random.Random, colour: Colour) -> Colour:
    """A colour near this one."""
    red, green, blue = (max(0, min(255, round(value + generator.gauss(0, 9)))) for value in colour)
    return red, green, blue
