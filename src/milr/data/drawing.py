"""Drawn birds: one picture from a species, which fixes some parts, and a random generator, which draws all the rest."""

from __future__ import annotations

import math
import random
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from milr.data.bodies import draw_body, random_body
from milr.data.records import BODY, FIRST_THING
from milr.data.scenery import draw_background, draw_branch, draw_leaves
from milr.data.shapes import FINE, Canvas, Point, Pose
from milr.data.species import Species


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
    body = random_body(species, generator)
    draw_body(canvas, pose, body)
    marks = {name: pose(*point) for name, point in body.marks().items()}
    draw_leaves(canvas, generator, side)
    return finish(canvas, marks, pose.mirrored, light, size, species.defining())


def draw_pose(generator: random.Random, side: int) -> Pose:
    """A pose that leaves the bird inside the picture."""
    scale = side * generator.uniform(0.22, 0.29)
    centre = side * generator.uniform(0.42, 0.58), side * generator.uniform(0.46, 0.58)
    return Pose(centre, scale, math.radians(generator.uniform(-32, 12)), generator.random() < 0.5)


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
