"""TIFFs: whether the strips or tiles that a file has make up the picture that its header tells of."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from typing import Any

# Tags by their numbers, and some of their values.
WIDTH, HEIGHT, COMPRESSION, BITS, CHANNELS, PLANES, ORDER = 256, 257, 259, 258, 277, 284, 266
COLOURS, SHARED = 262, 6  # colours that several pixels may share, YCbCr, take fewer bytes
STRIPS, ROWS, STRIP_BYTES = 273, 278, 279
TILES, TILE_WIDTH, TILE_HEIGHT, TILE_BYTES = 324, 322, 323, 325
RAW, ZIPPED, APART, TURNED = 1, (8, 32946), 2, 2
AT_ONCE = 1 << 20  # bytes that are unpacked at once: a piece may claim to be of any size


def require_pieces(data: bytes, tags: Mapping[int, Any]) -> None:
    """OSError where pieces of the picture are missing or too short, or a zipped one has another checksum than it says:
    Pillow reads on, and gives black or other colours there."""
    places, sizes = tags.get(TILES) or tags.get(STRIPS), tags.get(TILE_BYTES) or tags.get(STRIP_BYTES)
    if not places or not sizes:  # an old kind, with a JPEG in it
        return
    needed = pieces_of(tags)
    if len(places) < needed:
        raise OSError(f"it has {len(places)} of the {needed} pieces of its pixels: it is damaged")
    if tags.get(COMPRESSION, RAW) == RAW and tags.get(COLOURS) != SHARED:
        bits = tags.get(CHANNELS, 1) * min(tags.get(BITS, (1,)))
        wanted, there = tags[HEIGHT] * math.ceil(tags[WIDTH] * bits / 8), sum(sizes)
        if 0 < there < wanted:  # 0: a program that did not tell, and Pillow does not ask
            raise OSError(f"it has {there} of the {wanted} bytes of its pixels: it is damaged")
    elif tags.get(COMPRESSION) in ZIPPED and tags.get(ORDER) != TURNED:
        for place, size in zip(places, sizes, strict=False):
            unpack(data[place : place + size])


def pieces_of(tags: Mapping[int, Any]) -> int:
    """How many strips or tiles make up the picture."""
    planes = tags.get(CHANNELS, 1) if tags.get(PLANES) == APART else 1
    if tags.get(TILES):
        across, down = math.ceil(tags[WIDTH] / tags[TILE_WIDTH]), math.ceil(tags[HEIGHT] / tags[TILE_HEIGHT])
        return planes * across * down
    return planes * math.ceil(tags[HEIGHT] / (tags.get(ROWS) or tags[HEIGHT]))


def unpack(piece: bytes) -> None:
    """OSError where a zipped piece cannot be unpacked as far as it goes, or its checksum is wrong."""
    reader = zlib.decompressobj()
    try:
        while piece and not reader.eof:
            reader.decompress(piece, AT_ONCE)
            piece = reader.unconsumed_tail
    except zlib.error as error:
        raise OSError("the checksum of its pixels is wrong: it is damaged") from error
