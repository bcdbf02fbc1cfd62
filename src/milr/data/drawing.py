"""Drawn birds: one picture from a species, which fixes some parts, and a random generator, which draws all the rest."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from PIL import Image

from milr.data.scenery import draw_background, draw_branch, draw_leaves
from milr.data.shapes import FINE, PALETTE, Canvas, Point, Pose, ellipse, shade, smooth, turn, vary

BILLS: dict[str, tuple[Point, ...]] = {  # beside the head's centre, in head radii
    "short": ((0.7, -0.5), (1.75, 0.08), (0.72, 0.5)),
    "long": ((0.8, -0.34), (2.7, 0.12), (0.8, 0.38)),
    "hooked": ((0.7, -0.5), (1.6, -0.36), (2.05, 0.12), (1.85, 0.5), (1.5, 0.22), (0.75, 0.46)),
}
BODY, DEFINING = 1, 2  # what a pixel belongs to; 0 is background


@dataclass(frozen=True)
class Species:
    """What every bird of a species shares; nothing else about it is fixed."""

    head: str  # a colour of PALETTE
    bill: str  # a colour of PALETTE
    bill_shape: str  # a key of BILLS
    wing_bar: str  # a colour of PALETTE

    def traits(self) -> tuple[str, str, str, str]:
        """The four in one row."""
        return self.head, self.bill, self.bill_shape, self.wing_bar


@dataclass(frozen=True)
class Drawing:
    """A drawn picture and the truth about it; masks are 0 or 255, box (left, top, right, bottom), parts in pixels."""

    picture: Image.Image
    segmentation: Image.Image
    defining: Image.Image
    box: tuple[int, int, int, int]
    parts: dict[str, Point]


def draw_bird(species: Species, generator: random.Random, size: int) -> Drawing:
    """One bird of the species in a picture of `size` pixels.

    The generator draws pose, light, background and every colour that the species does not fix, in an order that does
    not depend on the species: from the same state, two species' pictures differ in the defining parts only.
    """
    side = size * FINE
    light = generator.uniform(0.78, 1.15), tuple(generator.uniform(0.93, 1.07) for _ in range(3))
    canvas = Canvas(draw_background(generator, side))
    pose = draw_pose(generator, side)
    draw_branch(canvas, pose, generator, side)
    points = draw_body(canvas, pose, species, generator)
    draw_leaves(canvas, generator, side)
    return finish(canvas, points, pose.mirrored, light, size)


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

    def place(points: list[Point]) -> list[Point]:
        return [pose(x, y) for x, y in points]

    def beside_head(x: float, y: float) -> Point:
        ((turned_x, turned_y),) = turn([(x, y)], nod)
        return head_x + radius * turned_x, head_y + radius * turned_y

    tip = -0.75 - length, 0.28 + droop
    canvas.polygon(
        place([(-0.7, -0.08), (tip[0], tip[1] - spread), (tip[0], tip[1] + spread), (-0.66, 0.28)]), tail, BODY
    )
    for foot in (0.0, 0.18):
        canvas.line(place([(foot - 0.08, 0.4), (foot, 0.98)]), legs, 0.06 * pose.scale, BODY)
    canvas.polygon(place(ellipse(0, 0, 1.0, 0.56, math.radians(-8))), back, BODY)
    canvas.polygon(
        place([(0.2, -0.45), (head_x - 0.3, head_y), (head_x + 0.28, head_y + 0.1), (0.86, 0.05)]), back, BODY
    )
    canvas.polygon(place(ellipse(0.16, 0.16, 0.78, 0.38, math.radians(-14))), belly, BODY)
    canvas.polygon(place([beside_head(x, y) for x, y in BILLS[species.bill_shape]]), bill, DEFINING)
    canvas.polygon(place(ellipse(head_x, head_y, radius, radius * 0.94, nod)), head, DEFINING)
    eye = beside_head(0.34, -0.16)
    canvas.polygon(place(ellipse(*eye, 0.085, 0.085, 0)), (238, 232, 214), DEFINING)
    canvas.polygon(place(ellipse(*eye, 0.055, 0.055, 0)), (18, 16, 18), DEFINING)
    wing_angle = math.radians(generator.uniform(2, 20))
    feathers = [(0.5, -0.14), (0.2, -0.34), (-0.45, -0.26), (-1.12, 0.1), (-0.5, 0.22), (0.12, 0.24), (0.42, 0.1)]
    canvas.polygon(place(turn(smooth(feathers), wing_angle)), wing, BODY)
    band = turn([(0.2, -0.31), (-0.22, -0.31), (-0.38, 0.22), (0.06, 0.24)], wing_angle)
    canvas.polygon(place(band), bar, DEFINING)
    marks: dict[str, Point] = {
        "back": (-0.3, -0.46),
        "beak": beside_head(1.25, 0.05),
        "belly": (0.02, 0.44),
        "breast": (0.72, 0.06),
        "crown": beside_head(0.0, -0.75),
        "forehead": beside_head(0.6, -0.5),
        "eye": eye,
        "near leg": (0.18, 0.8),
        "wing": turn([(-0.4, 0.0)], wing_angle)[0],
        "nape": beside_head(-0.75, 0.2),
        "far leg": (0.0, 0.8),
        "tail": (tip[0] * 0.75 - 0.18, tip[1] * 0.75 + 0.03),
        "throat": beside_head(0.45, 0.75),
    }
    return {name: pose(*mark) for name, mark in marks.items()}


def finish(
    canvas: Canvas, marks: dict[str, Point], mirrored: bool, light: tuple[float, tuple[float, ...]], size: int
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
    segmentation = canvas.owners.point([0] + [255] * 255).reduce(FINE).point([0] * 128 + [255] * 128)
    defining = canvas.owners.point([0, 0] + [255] * 254).reduce(FINE).point([0] * 128 + [255] * 128)
    near, far = ("left", "right") if mirrored else ("right", "left")  # facing right, a bird shows its right side
    names = {"eye": f"{near} eye", "wing": f"{near} wing", "near leg": f"{near} leg", "far leg": f"{far} leg"}
    parts = {}
    for name, (x, y) in marks.items():
        spot = (x / FINE, y / FINE)
        inside = 0 <= spot[0] < size and 0 <= spot[1] < size
        if inside and segmentation.getpixel((int(spot[0]), int(spot[1]))):
            parts[names.get(name, name)] = spot
    return Drawing(picture, segmentation, defining, segmentation.getbbox() or (0, 0, size, size), parts)
