"""A picture of any colour mode as 8-bit sRGB: scaled where it holds more bits, on white where it is transparent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from milr.data.profiles import in_srgb

SIXTEEN_BITS = 65535
LARGEST, NEGATIVE = "milr largest", "milr negative"  # of a picture's info: its greatest value, whether 0 is white

BITS, PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0  # of TIFF
PLANES, APART = 284, 2  # of TIFF too: whether each colour lies in a plane of its own


def note_file(opened: Image.Image) -> None:
    """Put into `opened.info` what only the file knows and Pillow drops when it decodes. Call it before that.

    ValueError for a TIFF of whole numbers without a known range, or of planes that Pillow reads as if of 8 bits.
    """
    tile = getattr(opened, "tile", None)
    raw, key = tile[0][3] if tile else None, opened.info.get("transparency")
    if opened.format == "PNG" and isinstance(key, int) and raw in ("L;2", "L;4"):  # the values are scaled, the key not
        bits = int(str(raw)[-1])
        opened.info["transparency"] = (key % 2**bits) * 255 // (2**bits - 1)
    elif opened.format == "PNG" and isinstance(key, tuple) and raw == "RGB;16B":  # of the values the high bytes stay
        opened.info["transparency"] = tuple(value >> 8 for value in key)
    elif opened.format == "TIFF":
        note_tiff(opened, getattr(opened, "tag_v2", {}))


def note_tiff(opened: Image.Image, tags: Mapping[int, Any]) -> None:
    """The same of a TIFF. tags: by their numbers."""
    bits = max(tags.get(BITS, (16 if is_deep(opened) else 8,)))
    if bits > 8 and len(opened.getbands()) > 1 and tags.get(PLANES) == APART:
        raise ValueError("its colours have more than 8 bits and lie in planes: save it with 8, or pixel by pixel")
    if is_deep(opened):
        if opened.mode in ("I", "F"):
            raise ValueError("its pixels have 32 bits, or a sign, and no known range: save it with 8 or 16")
        opened.info[LARGEST] = 2**bits - 1
        opened.info[NEGATIVE] = tags.get(PHOTOMETRIC) == WHITE_IS_ZERO


def as_rgb(picture: Image.Image) -> Image.Image:
    """The same picture in sRGB, by its colour profile where it has one. ValueError for pixels without a known range:
    32-bit integers beyond 16 bits, floats; or for a colour that is not in its palette."""
    require_palette(picture)
    if is_deep(picture):
        grey, key = eight_bits(picture), picture.info.get("transparency")
        if isinstance(key, int):  # one value that stands for "nothing here"
            grey.paste(255, mask=Image.fromarray(np.asarray(picture) == key))
        grey.info.update(icc_profile=picture.info.get("icc_profile"))
        return in_srgb(grey)
    if picture.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in picture.info:
        whole = picture.convert("RGBA")
        colours = in_srgb(opaque(picture, whole))
        colours.putalpha(whole.getchannel("A"))
        return Image.alpha_composite(Image.new("RGBA", whole.size, "white"), colours).convert("RGB")
    return in_srgb(picture)


def opaque(picture: Image.Image, whole: Image.Image) -> Image.Image:
    """The colours of a picture whose transparency is left out. whole: the same in RGBA."""
    grey = picture.mode in ("L", "1", "LA", "La")  # whose profile may be one of grey
    colours = whole.getchannel("R") if grey else whole.convert("RGB")
    colours.info.update(icc_profile=picture.info.get("icc_profile"))
    return colours


def as_grey(picture: Image.Image) -> Image.Image:
    """The same picture as one channel of 0 to 255, without regard to its transparency. ValueError as for `as_rgb`."""
    require_palette(picture)
    return (eight_bits(picture) if is_deep(picture) else picture).convert("L")


def require_palette(picture: Image.Image) -> None:
    """ValueError where pixels have numbers of colours that the palette lacks: it is cut, or lost (then they were grey
    or black)."""
    if picture.mode != "P":
        return
    palette, last = picture.palette, int(np.asarray(picture).max(initial=0))
    colours = len(palette.palette) // len(palette.mode) if palette else 0
    if last >= colours:
        raise ValueError(f"its palette has {colours} colours, and a pixel has number {last}, counted from 0")


def is_deep(picture: Image.Image) -> bool:
    """Whether it is grey with more than 8 bits a pixel; Pillow reads colours with 8 bits."""
    return picture.mode in ("I", "F") or picture.mode.startswith("I;16")


def eight_bits(picture: Image.Image) -> Image.Image:
    """A grey picture of 16 bits in 8: 0 to 65535 become 0 to 255. Pillow itself would cut everything off at 255."""
    values, largest = np.asarray(picture), int(picture.info.get(LARGEST, SIXTEEN_BITS))
    if picture.mode == "F" or values.min() < 0 or values.max() > largest:
        raise ValueError("its pixels have 32 bits and no known range: save it with 8 or 16")
    grey = (values.astype(np.uint32) * 255 / largest).round().astype(np.uint8)
    return Image.fromarray(255 - grey if picture.info.get(NEGATIVE) else grey)
