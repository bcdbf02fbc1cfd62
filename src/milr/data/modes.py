"""A picture of any colour mode as 8-bit RGB: scaled where it holds more bits, on white where it is transparent."""

from __future__ import annotations

import numpy as np
from PIL import Image

SIXTEEN_BITS = 65535


def as_rgb(picture: Image.Image) -> Image.Image:
    """The same picture in RGB. ValueError for pixels without a known range: 32-bit integers beyond 16 bits, floats."""
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        return eight_bits(picture).convert("RGB")
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    return picture.convert("RGB")


def eight_bits(picture: Image.Image) -> Image.Image:
    """A grey picture of 16 bits in 8: 0 to 65535 become 0 to 255. Pillow itself would cut everything off at 255."""
    values = np.asarray(picture)
    if picture.mode == "F" or values.min() < 0 or values.max() > SIXTEEN_BITS:
        raise ValueError("its pixels have 32 bits and no known range: save it with 8 or 16")
    return Image.fromarray((values.astype(np.uint32) * 255 / SIXTEEN_BITS).round().astype(np.uint8))
