"""The body of a drawn bird: its shape and colours, and how it is drawn from back to front."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from milr.data.records import BODY
from milr.data.shapes import PALETTE, Canvas, Colour, Point, Pose, ellipse, shade, smooth, turn, vary
from milr.data.species import BILLS, EYE, FEET, HEAD, TAIL, WING_BAR, Species

EYE_PLACE = (0.34, -0.16)  # beside the head's centre, in head radii
THIN, THICK = 0.06, 0.11  # legs, in the bird's own units


@dataclass(frozen=True)
class Body:
    """One bird in its own coordinates, facing right: what its species fixes, and what was drawn of the rest."""

    back: Colour
    belly: Colour
    tail: Colour
    wing: Colour
    head: Colour
    bill: Colour
    bar: Colour  # of the wing
    legs: Colour
    iris: Colour | None  # None: an eye too small to have one
    bill_shape: str  # a key of BILLS
    tail_shape: str  # one of TAILS
    leg_width: float
    skull: Point  # the head's centre
    radius: float  # of the head
    nod: float  # angle of the head
    tip: Point  # of the tail
    spread: float  # of the tail
    wing_angle: float

    def beside_head(self, x: float, y: float) -> Point:
        """A point that is given from the head's centre, in head radii."""
        ((turned_x, turned_y),) = turn([(x, y)], self.nod)
        return self.skull[0] + self.radius * turned_x, self.skull[1] + self.radius * turned_y

    def marks(self) -> dict[str, Point]:
        """The places that CUB-200-2011 marks, sides not yet told apart."""
        return {
            "back": (-0.3, -0.46),
            "beak": self.beside_head(1.25, 0.05),
            "belly": (0.02, 0.44),
            "breast": (0.72, 0.06),
            "crown": self.beside_head(0.0, -0.75),
            "forehead": self.beside_head(0.6, -0.5),
            "eye": self.beside_head(*EYE_PLACE),
            "near leg": (0.18, 0.8),
            "wing": turn([(-0.4, 0.0)], self.wing_angle)[0],
            "nape": self.beside_head(-0.75, 0.2),
            "far leg": (0.0, 0.8),
            "tail": (self.tip[0] * 0.75 - 0.18, self.tip[1] * 0.75 + 0.03),
            "throat": self.beside_head(0.45, 0.75),
        }


def random_body(species: Species, generator: random.Random) -> Body:
    """A bird of the species.

    What is drawn, and in which order, depends on which parts the species fixes, not on how: two species that fix the
    same parts differ in these alone, from one state of the generator.
    """
    back, belly, tail, wing = (vary(generator, generator.choice([*PALETTE.values()])) for _ in range(4))
    head, bill, bar = (vary(generator, PALETTE[name]) for name in (species.head, species.bill, species.wing_bar))
    skull = 0.68 + generator.uniform(-0.08, 0.06), -0.62 + generator.uniform(-0.08, 0.1)
    radius, nod = generator.uniform(0.37, 0.43), math.radians(generator.uniform(-16, 16))
    length, spread, droop = generator.uniform(0.75, 1.15), generator.uniform(0.14, 0.26), generator.uniform(0.05, 0.35)
    legs = shade((150, 110, 80), generator.uniform(0.6, 1.2))
    if species.tail:
        tail = vary(generator, PALETTE[species.tail])
    if species.feet:
        legs = vary(generator, PALETTE[species.feet])
    return Body(
        back=back,
        belly=belly,
        tail=tail,
        wing=wing,
        head=head,
        bill=bill,
        bar=bar,
        legs=legs,
        iris=PALETTE[species.eye] if species.eye else None,
        bill_shape=species.bill_shape,
        tail_shape=species.tail_shape,
        leg_width=THICK if species.feet else THIN,
        skull=skull,
        radius=radius,
        nod=nod,
        tip=(-0.75 - length, 0.28 + droop),
        spread=spread,
        wing_angle=math.radians(generator.uniform(2, 20)),
    )


def draw_body(canvas: Canvas, pose: Pose, body: Body) -> None:
    """The bird from back to front."""
    canvas.polygon(pose.of(tail_outline(body.tail_shape, body.tip, body.spread)), body.tail, TAIL)
    for foot in (0.0, 0.18):
        canvas.line(pose.of([(foot - 0.08, 0.4), (foot, 0.98)]), body.legs, body.leg_width * pose.scale, FEET)
    draw_trunk(canvas, pose, body)
    draw_head(canvas, pose, body)
    draw_wing(canvas, pose, body)


def draw_trunk(canvas: Canvas, pose: Pose, body: Body) -> None:
    """Back, neck and belly."""
    x, y = body.skull
    neck = [(0.2, -0.45), (x - 0.3, y), (x + 0.28, y + 0.1), (0.86, 0.05)]
    canvas.polygon(pose.of(ellipse(0, 0, 1.0, 0.56, math.radians(-8))), body.back, BODY)
    canvas.polygon(pose.of(neck), body.back, BODY)
    canvas.polygon(pose.of(ellipse(0.16, 0.16, 0.78, 0.38, math.radians(-14))), body.belly, BODY)


def draw_head(canvas: Canvas, pose: Pose, body: Body) -> None:
    """The skull, the bill behind the head's plumage, and the eye on it."""
    skull = pose.of(ellipse(*body.skull, body.radius, body.radius * 0.94, body.nod))
    canvas.polygon(skull, body.back, BODY)  # under the head's plumage: what is left of a bird without it
    canvas.polygon(pose.of([body.beside_head(x, y) for x, y in BILLS[body.bill_shape]]), body.bill, HEAD)
    canvas.polygon(skull, body.head, HEAD)
    draw_eye(canvas, pose, body.beside_head(*EYE_PLACE), body.iris)


def draw_wing(canvas: Canvas, pose: Pose, body: Body) -> None:
    """The wing and its bar."""
    feathers = [(0.5, -0.14), (0.2, -0.34), (-0.45, -0.26), (-1.12, 0.1), (-0.5, 0.22), (0.12, 0.24), (0.42, 0.1)]
    band = [(0.2, -0.31), (-0.22, -0.31), (-0.38, 0.22), (0.06, 0.24)]
    canvas.polygon(pose.of(turn(smooth(feathers), body.wing_angle)), body.wing, BODY)
    canvas.polygon(pose.of(turn(band, body.wing_angle)), body.bar, WING_BAR)


def tail_outline(shape: str, tip: Point, spread: float) -> list[Point]:
    """A tail from the body to its tip, one of TAILS, in the bird's own coordinates."""
    wide = spread + (0.24 if shape == "fan" else 0)
    upper, lower = (tip[0], tip[1] - wide), (tip[0], tip[1] + wide)
    middle = {"straight": [], "forked": [(tip[0] * 0.55 - 0.3, tip[1] * 0.6 + 0.05)], "fan": [(tip[0] - 0.16, tip[1])]}
    return [(-0.7, -0.08), upper, *middle[shape], lower, (-0.66, 0.28)]


def draw_eye(canvas: Canvas, pose: Pose, eye: Point, iris: Colour | None) -> None:
    """An eye: small, or with an iris of a colour that can be seen from afar."""
    rings = [(0.085, (238, 232, 214)), (0.055, (18, 16, 18))]
    if iris:
        rings = [(0.19, (238, 232, 214)), (0.155, iris), (0.06, (18, 16, 18))]
    for radius, colour in rings:
        canvas.polygon(pose.of(ellipse(*eye, radius, radius, 0)), colour, EYE)
