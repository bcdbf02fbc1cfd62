"""Drawn birds: one picture from a species, which fixes some parts, and a random generator, which draws all the rest."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFilter

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


@dataclass(frozen=True)
class Pose:
    """Where a bird's own coordinates (body half-length 1, facing right, y down) lie in the picture."""

    centre: Point
    scale: float
    angle: float
    mirrored: bool

    def __call__(self, x: float, y: float) -> Point:
        turned_x = x * math.cos(self.angle) - y * math.sin(self.angle)
        turned_y = x * math.sin(self.angle) + y * math.cos(self.angle)
        side = -1 if self.mirrored else 1
        return self.centre[0] + side * self.scale * turned_x, self.centre[1] + self.scale * turned_y


class Canvas:
    """The picture and, beside it, what each pixel belongs to; both in fine pixels."""

    def __init__(self, background: Image.Image) -> None:
        self.picture = background
        self.owners = Image.new("L", background.size, 0)
        self._picture, self._owners = ImageDraw.Draw(self.picture), ImageDraw.Draw(self.owners)

    def polygon(self, points: list[Point], colour: Colour, owner: int) -> None:
        """A filled shape that belongs to `owner`, with a slightly darker edge."""
        self._picture.polygon(points, fill=colour, outline=shade(colour, 0.82), width=FINE // 2 + 1)
        self._owners.polygon(points, fill=owner)

    def line(self, points: list[Point], colour: Colour, width: float, owner: int) -> None:
        """A stroke with round joints."""
        self._picture.line(points, fill=colour, width=max(1, round(width)), joint="curve")
        self._owners.line(points, fill=owner, width=max(1, round(width)), joint="curve")


def draw_bird(species: Species, generator: random.Random, size: int) -> Drawing:
    """One bird of the species in a picture of `size` pixels.

    The generator draws pose, light, background and every colour that the species does not fix, in an order that does
    not depend on the species: from the same state, two species' pictures differ in the defining parts only.
    """
    side = size * FINE
    light = generator.uniform(0.78, 1.15), tuple(generator.uniform(0.93, 1.07) for _ in range(3))
    canvas = Canvas(background(generator, side))
    pose = draw_pose(generator, side)
    perch(canvas, pose, generator, side)
    points = bird(canvas, pose, species, generator)
    leaves(canvas, generator, side)
    return finish(canvas, points, pose.mirrored, light, size)


def background(generator: random.Random, side: int) -> Image.Image:
    """A soft gradient between two colours with blurred blobs in it."""
    small = 48
    top, bottom = scenery(generator), scenery(generator)
    rows = [tuple(round(a + (b - a) * y / (small - 1)) for a, b in zip(top, bottom, strict=True)) for y in range(small)]
    image = Image.new("RGB", (1, small))
    image.putdata(rows)
    image = image.resize((small, small))
    draw = ImageDraw.Draw(image)
    for _ in range(generator.randrange(4, 12)):
        x, y, radius = generator.uniform(0, small), generator.uniform(0, small), generator.uniform(2, 11)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=scenery(generator))
    return image.filter(ImageFilter.GaussianBlur(generator.uniform(1.5, 4))).resize(
        (side, side), Image.Resampling.BICUBIC
    )


def scenery(generator: random.Random) -> Colour:
    """A colour of sky, leaves, bark, water, or one of the palette's, paled."""
    base = generator.choice([(150, 190, 220), (120, 150, 90), (150, 128, 96), (90, 120, 130), *PALETTE.values()])
    grey, mix = generator.uniform(90, 190), generator.uniform(0.25, 0.65)
    red, green, blue = (round(grey * mix + value * (1 - mix)) for value in base)
    return red, green, blue


def draw_pose(generator: random.Random, side: int) -> Pose:
    """A pose that leaves the bird inside the picture."""
    scale = side * generator.uniform(0.22, 0.29)
    centre = side * generator.uniform(0.42, 0.58), side * generator.uniform(0.46, 0.58)
    return Pose(centre, scale, math.radians(generator.uniform(-32, 12)), generator.random() < 0.5)


def perch(canvas: Canvas, pose: Pose, generator: random.Random, side: int) -> None:
    """A branch behind the bird, under its feet, with a few twigs."""
    bark = shade((112, 84, 58), generator.uniform(0.7, 1.3))
    _, foot = pose(0.05, 0.98)
    slope = generator.uniform(-0.15, 0.15)
    line = [(x, foot + slope * (x - pose.centre[0])) for x in (-5.0, side / 2, side + 5.0)]
    canvas.line(line, bark, side * generator.uniform(0.02, 0.045), 0)
    for _ in range(generator.randrange(0, 5)):
        x = generator.uniform(0, side)
        y = foot + slope * (x - pose.centre[0])
        end = (x + side * generator.uniform(-0.2, 0.2), y + side * generator.uniform(-0.35, 0.25))
        canvas.line([(x, y), end], shade(bark, 0.9), side * 0.01, 0)


def bird(canvas: Canvas, pose: Pose, species: Species, generator: random.Random) -> dict[str, Point]:
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
        turned = x * math.cos(nod) - y * math.sin(nod), x * math.sin(nod) + y * math.cos(nod)
        return head_x + radius * turned[0], head_y + radius * turned[1]

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


def leaves(canvas: Canvas, generator: random.Random, side: int) -> None:
    """A few leaves in front of everything."""
    for _ in range(generator.randrange(0, 4)):
        x, y = (
            generator.uniform(0, side),
            generator.choice([generator.uniform(0, 0.2), generator.uniform(0.75, 1)]) * side,
        )
        length, angle = side * generator.uniform(0.05, 0.11), generator.uniform(0, math.pi)
        colour = shade((84, 140, 64), generator.uniform(0.6, 1.3))
        canvas.polygon(ellipse(x, y, length, length * 0.38, angle), colour, 0)


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


def ellipse(x: float, y: float, across: float, down: float, angle: float, corners: int = 40) -> list[Point]:
    """An ellipse as a polygon."""
    around = [2 * math.pi * corner / corners for corner in range(corners)]
    points = [(across * math.cos(t), down * math.sin(t)) for t in around]
    return [(x + px, y + py) for px, py in turn(points, angle)]


def turn(points: list[Point], angle: float) -> list[Point]:
    """Turned about the origin."""
    cosine, sine = math.cos(angle), math.sin(angle)
    return [(x * cosine - y * sine, x * sine + y * cosine) for x, y in points]


def smooth(points: list[Point], rounds: int = 3) -> list[Point]:
    """Corners cut off again and again (Chaikin 1974)."""
    for _ in range(rounds):
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
