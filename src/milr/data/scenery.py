"""What stands behind and before a drawn bird: a soft background, a branch, leaves. Nothing of it tells the species.

Branch, twigs and leaves are things, each the owner of its pixels; the soft background is nobody's.
"""

from __future__ import annotations

import math
import random

from PIL import Image, ImageDraw, ImageFilter

from milr.data.shapes import PALETTE, Canvas, Colour, Pose, ellipse, shade


def draw_background(generator: random.Random, side: int) -> Image.Image:
    """A soft gradient between two colours with blurred blobs in it."""
    small = 48
    top, bottom = pale_colour(generator), pale_colour(generator)
    rows = [tuple(round(a + (b - a) * y / (small - 1)) for a, b in zip(top, bottom, strict=True)) for y in range(small)]
    image = Image.new("RGB", (1, small))
    image.putdata(rows)
    image = image.resize((small, small))
    draw = ImageDraw.Draw(image)
    for _ in range(generator.randrange(4, 12)):
        x, y, radius = generator.uniform(0, small), generator.uniform(0, small), generator.uniform(2, 11)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=pale_colour(generator))
    return image.filter(ImageFilter.GaussianBlur(generator.uniform(1.5, 4))).resize(
        (side, side), Image.Resampling.BICUBIC
    )


def pale_colour(generator: random.Random) -> Colour:
    """A colour of sky, leaves, bark, water, or one of the palette's, paled."""
    base = generator.choice([(150, 190, 220), (120, 150, 90), (150, 128, 96), (90, 120, 130), *PALETTE.values()])
    grey, mix = generator.uniform(90, 190), generator.uniform(0.25, 0.65)
    red, green, blue = (round(grey * mix + value * (1 - mix)) for value in base)
    return red, green, blue


def draw_branch(canvas: Canvas, pose: Pose, generator: random.Random, side: int) -> None:
    """A branch behind the bird, under its feet, with a few twigs."""
    bark = shade((112, 84, 58), generator.uniform(0.7, 1.3))
    _, foot = pose(0.05, 0.98)
    slope = generator.uniform(-0.15, 0.15)
    line = [(x, foot + slope * (x - pose.centre[0])) for x in (-5.0, side / 2, side + 5.0)]
    canvas.line(line, bark, side * generator.uniform(0.02, 0.045), canvas.new_thing())
    for _ in range(generator.randrange(0, 5)):
        x = generator.uniform(0, side)
        y = foot + slope * (x - pose.centre[0])
        end = (x + side * generator.uniform(-0.2, 0.2), y + side * generator.uniform(-0.35, 0.25))
        canvas.line([(x, y), end], shade(bark, 0.9), side * 0.01, canvas.new_thing())


def draw_leaves(canvas: Canvas, generator: random.Random, side: int) -> None:
    """A few leaves in front of everything."""
    for _ in range(generator.randrange(0, 4)):
        x, y = (
            generator.uniform(0, side),
            generator.choice([generator.uniform(0, 0.2), generator.uniform(0.75, 1)]) * side,
        )
        length, angle = side * generator.uniform(0.05, 0.11), generator.uniform(0, math.pi)
        colour = shade((84, 140, 64), generator.uniform(0.6, 1.3))
        canvas.polygon(ellipse(x, y, length, length * 0.38, angle), colour, canvas.new_thing())
