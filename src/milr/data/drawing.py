"""Drawn birds: one picture from a species, which fixes some parts, and a random generator, which draws all the rest."""

from __future__ import annotations

import math
import random
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from milr.data.records import BODY, FIRST_PART, FIRST_THING, Look
from milr.data.scenery import draw_background, draw_branch, draw_leaves
from milr.data.shapes import FINE, PALETTE, Canvas, Colour, Point, Pose, ellipse, shade, smooth, turn, vary

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


@dataclass(frozen=True)
class Drawing:
    """A drawn picture and the truth about it; masks are 0 or 255, box (left, top, right, bottom), parts in pixels."""

    picture: Image.Image
    segmentation: Image.Image
    defining: Image.Image
    box: tuple[int, int, int, int]
    parts: dict[str, Point]
    owners: npt.NDArray[np.uint8]  # who owns each pixel [size, size], as `milr.data.records` numbers them
    things: int  # of the background, those that are hidden counted


def draw_bird(species: Species, generator: random.Random, size: int, without: Collection[int] = ()) -> Drawing:
    """One bird of the species in a picture of `size` pixels.

    The generator draws pose, light, background and every colour that the species does not fix, in an order that does
    not depend on the species: from the same state, two species' pictures differ in the defining parts only, and a
    picture without some owners (of parts: HEAD to FEET, or things) only where these own pixels, or two pixels beside.
    """
    side = size * FINE
    light = generator.uniform(0.78, 1.15), tuple(generator.uniform(0.93, 1.07) for _ in range(3))
    canvas = Canvas(draw_background(generator, side), without)
    pose = draw_pose(generator, side)
    draw_branch(canvas, pose, generator, side)
    points = draw_body(canvas, pose, species, generator)
    draw_leaves(canvas, generator, side)
    return finish(canvas, points, pose.mirrored, light, size, species.defining())


def draw_pose(generator: random.Random, side: int) -> Pose:
    """A pose that leaves the bird inside the picture."""
    scale = side * generator.uniform(0.22, 0.29)
    centre = side * generator.uniform(0.42, 0.58), side * generator.uniform(0.46, 0.58)
    return Pose(centre, scale, math.radians(generator.uniform(-32, 12)), generator.random() < 0.5)


def draw_body(canvas: Canvas, pose: Pose, species: Species, generator: random.Random) -> dict[str, Point]:
    """The bird from back to front; returns its marked places in fine pixels, sides not yet told apart."""
    back, belly, tail, wing = (vary(generator, generator.choice([*PALETTE.values()])) for _ in range(4))
    head, bill, bar = (vary(generator, PALETTE[name]) for name in (species.head, species.bill, species.wing_bar))
    head_x, head_y = 0.68 + generator.uniform(-0.08, 0.06), -0.62 + generator.uniform(-0.08, 0.1)
    radius, nod = generator.uniform(0.37, 0.43), math.radians(generator.uniform(-16, 16))
    length, spread, droop = generator.uniform(0.75, 1.15), generator.uniform(0.14, 0.26), generator.uniform(0.05, 0.35)
    legs = shade((150, 110, 80), generator.uniform(0.6, 1.2))
    if species.tail:
        tail = vary(generator, PALETTE[species.tail])
    if species.feet:
        legs = vary(generator, PALETTE[species.feet])

    def place(points: list[Point]) -> list[Point]:
        return [pose(x, y) for x, y in points]

    def beside_head(x: float, y: float) -> Point:
        ((turned_x, turned_y),) = turn([(x, y)], nod)
        return head_x + radius * turned_x, head_y + radius * turned_y

    tip = -0.75 - length, 0.28 + droop
    canvas.polygon(place(tail_outline(species.tail_shape, tip, spread)), tail, TAIL)
    for foot in (0.0, 0.18):
        width = (0.11 if species.feet else 0.06) * pose.scale
        canvas.line(place([(foot - 0.08, 0.4), (foot, 0.98)]), legs, width, FEET)
    canvas.polygon(place(ellipse(0, 0, 1.0, 0.56, math.radians(-8))), back, BODY)
    canvas.polygon(
        place([(0.2, -0.45), (head_x - 0.3, head_y), (head_x + 0.28, head_y + 0.1), (0.86, 0.05)]), back, BODY
    )
    canvas.polygon(place(ellipse(0.16, 0.16, 0.78, 0.38, math.radians(-14))), belly, BODY)
    skull = place(ellipse(head_x, head_y, radius, radius * 0.94, nod))
    canvas.polygon(skull, back, BODY)  # under the head's plumage: what is left of a bird without it
    canvas.polygon(place([beside_head(x, y) for x, y in BILLS[species.bill_shape]]), bill, HEAD)
    canvas.polygon(skull, head, HEAD)
    draw_eye(canvas, pose, beside_head(0.34, -0.16), PALETTE[species.eye] if species.eye else None)
    wing_angle = math.radians(generator.uniform(2, 20))
    feathers = [(0.5, -0.14), (0.2, -0.34), (-0.45, -0.26), (-1.12, 0.1), (-0.5, 0.22), (0.12, 0.24), (0.42, 0.1)]
    canvas.polygon(place(turn(smooth(feathers), wing_angle)), wing, BODY)
    band = turn([(0.2, -0.31), (-0.22, -0.31), (-0.38, 0.22), (0.06, 0.24)], wing_angle)
    canvas.polygon(place(band), bar, WING_BAR)
    marks: dict[str, Point] = {
        "back": (-0.3, -0.46),
        "beak": beside_head(1.25, 0.05),
        "belly": (0.02, 0.44),
        "breast": (0.72, 0.06),
        "crown": beside_head(0.0, -0.75),
        "forehead": beside_head(0.6, -0.5),
        "eye": beside_head(0.34, -0.16),
        "near leg": (0.18, 0.8),
        "wing": turn([(-0.4, 0.0)], wing_angle)[0],
        "nape": beside_head(-0.75, 0.2),
        "far leg": (0.0, 0.8),
        "tail": (tip[0] * 0.75 - 0.18, tip[1] * 0.75 + 0.03),
        "throat": beside_head(0.45, 0.75),
    }
    return {name: pose(*mark) for name, mark in marks.items()}


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
        canvas.polygon([pose(*point) for point in ellipse(*eye, radius, radius, 0)], colour, EYE)


def finish(
    canvas: Canvas,
    marks: dict[str, Point],
    mirrored: bool,
    light: tuple[float, tuple[float, ...]],
    size: int,
    defining: Collection[int],
) -> Drawing:
    """The picture in its light and at its size, with masks, box and the visible parts under CUB's names."""
    brightness, tint = light
    picture = canvas.picture.reduce(FINE)
    picture = Image.merge(
        "RGB",
        [
            band.point([min(255, round(v * brightness * t)) for v in range(256)])
            for band, t in zip(picture.split(), tint, strict=True)
        ],
    )
    segmentation, defining_mask = (
        canvas.owners.point([255 * (owner in owned) for owner in range(256)])
        .reduce(FINE)
        .point([0] * 128 + [255] * 128)
        for owned in (range(BODY, FIRST_THING), defining)
    )
    near, far = ("left", "right") if mirrored else ("right", "left")  # facing right, a bird shows its right side
    names = {"eye": f"{near} eye", "wing": f"{near} wing", "near leg": f"{near} leg", "far leg": f"{far} leg"}
    parts = {}
    for name, (x, y) in marks.items():
        spot = (x / FINE, y / FINE)
        inside = 0 <= spot[0] < size and 0 <= spot[1] < size
        if inside and segmentation.getpixel((int(spot[0]), int(spot[1]))):
            parts[names.get(name, name)] = spot
    box = segmentation.getbbox() or (0, 0, size, size)
    return Drawing(picture, segmentation, defining_mask, box, parts, owners_of(canvas, segmentation), canvas.things)


def owners_of(canvas: Canvas, segmentation: Image.Image) -> npt.NDArray[np.uint8]:
    """Who has most of each pixel: of the bird's parts where the segmentation says bird, else of all the rest."""
    size = segmentation.width
    fine = np.asarray(canvas.owners).reshape(size, FINE, size, FINE)
    bird = np.asarray(segmentation) > 0
    result, most = np.zeros((size, size), np.uint8), np.full((size, size), -1)
    for owner in np.unique(fine):
        count = (fine == owner).sum((1, 3))
        better = (count > most) & (bird == (BODY <= owner < FIRST_THING))
        result[better], most[better] = owner, count[better]
    return result
