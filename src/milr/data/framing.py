"""How a picture becomes a square input, and how everything marked on it goes along."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from milr.data.records import Box
from milr.errors import MilrError


@dataclass(frozen=True)
class Framing:
    """A rectangle of the original picture that becomes a square of `size` pixels."""

    left: float
    top: float
    right: float
    bottom: float
    size: int

    def picture(self, picture: Image.Image) -> Image.Image:
        """The square cut, resized with antialiasing."""
        rectangle = (self.left, self.top, self.right, self.bottom)
        return picture.resize((self.size, self.size), Image.Resampling.BILINEAR, box=rectangle)

    def mask(self, mask: Image.Image) -> Image.Image:
        """The same cut of a mask: 0 to 255, soft along its edge."""
        return self.picture(mask.convert("L"))

    def labels(self, labels: Image.Image) -> Image.Image:
        """The same cut of a picture whose values are names: each pixel's nearest one."""
        rectangle = (self.left, self.top, self.right, self.bottom)
        return labels.resize((self.size, self.size), Image.Resampling.NEAREST, box=rectangle)

    def point(self, x: float, y: float) -> tuple[float, float] | None:
        """Where a point of the original lies in the square; None outside."""
        across = (x - self.left) / (self.right - self.left) * self.size
        down = (y - self.top) / (self.bottom - self.top) * self.size
        inside = 0 <= across < self.size and 0 <= down < self.size
        return (across, down) if inside else None

    def box(self, box: Box) -> Box | None:
        """A box of the original in the square's pixels, clipped to it; None if nothing is left."""
        across, down = self.size / (self.right - self.left), self.size / (self.bottom - self.top)
        left, right = ((edge - self.left) * across for edge in (box.left, box.left + box.width))
        top, bottom = ((edge - self.top) * down for edge in (box.top, box.top + box.height))
        left, right, top, bottom = (min(max(edge, 0.0), float(self.size)) for edge in (left, right, top, bottom))
        return Box(left, top, right - left, bottom - top) if right > left and bottom > top else None


def frame(width: int, height: int, box: Box | None, crop: str, size: int) -> Framing:
    """The framing of a picture of `width` x `height`.

    "none": the centred square of the shorter side. "bbox": the bird's box, clipped to the picture and squashed to a
    square. MilrError for "bbox" without a box, or with one outside the picture.
    """
    if crop == "none":
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        return Framing(left, top, left + side, top + side, size)
    if crop != "bbox":
        raise MilrError(f"dataset.crop must be none or bbox, not '{crop}'")
    if box is None:
        raise MilrError("dataset.crop=bbox needs boxes, and this data set has none: take dataset.crop=none")
    left, top = max(box.left, 0.0), max(box.top, 0.0)
    right, bottom = min(box.left + box.width, float(width)), min(box.top + box.height, float(height))
    if min(right - left, bottom - top) < 1 - 1e-6:  # sums of fractions fall short of a pixel by rounding
        raise MilrError(f"the box {box} lies outside its picture of {width}x{height} pixels: edit bounding_boxes.txt")
    return Framing(left, top, right, bottom, size)
