"""Damage that Pillow does not see in files that are no JPEGs: checksums of PNGs, what else the bytes of others tell."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageFile

from milr.data.jpegs import Damage, sent_as_text
from milr.data.tiffs import require_pieces
from milr.files import BLOCK, lost_block

WATCHED = ("JPEG", "MPO")  # that are looked over while they are decoded, in jpegs.py
WITHOUT_SUMS = ("AVIF", "JPEG2000", "WEBP")  # compressed so that hardly anything of theirs is a row of zeros
TEXT_WITHIN = b"<x:xmpmeta"  # an editor's notes, whose own lines may end so
SPARE, LATE = 16, 124  # bytes that may follow a BMP's last pixel; the header's length from which on a profile may


def look_over(path: Path, picture: ImageFile.ImageFile) -> None:
    """OSError for a file whose pixels are damaged, the warning Damage for one that looks as if they were.

    picture: the same, opened and not decoded yet.
    """
    if ImageFile.LOAD_TRUNCATED_IMAGES or picture.format in WATCHED:
        return
    data = path.read_bytes()
    if picture.format == "PNG":
        require_sums(data)
        return
    if picture.format == "TIFF":
        require_pieces(data, getattr(picture, "tag_v2", {}))
    for doubt in doubts(data, picture):
        warnings.warn(f"{doubt}: look at it", Damage, stacklevel=2)


def require_sums(data: bytes) -> None:
    """OSError for the first piece of a PNG's pixels whose checksum is not its own."""
    place = 8
    while place + 8 < len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        piece, place = data[place + 4 : place + 8 + length], place + 12 + length
        if piece.startswith(b"IDAT") and zlib.crc32(piece) != int.from_bytes(data[place - 4 : place], "big"):
            raise OSError("the checksum of its pixels is wrong: it is damaged")


def doubts(data: bytes, picture: ImageFile.ImageFile) -> Iterator[str]:
    """What is hardly so in a whole file, in words."""
    lost = bytes(BLOCK) in data if picture.format in WITHOUT_SUMS else lost_block(data) is not None
    if lost:
        yield f"{BLOCK} zeros or more stand in it, as where a block of a copy is lost"
    if not data.isascii() and TEXT_WITHIN not in data and sent_as_text(data):  # a few kinds are texts
        yield "a carriage return stands before each of its line feeds, as where it was sent as a text"
    if picture.format == "BMP" and (left := left_behind(data, picture)) >= SPARE:
        yield f"{left} bytes are left behind its last pixel, as where its header is damaged"


def left_behind(data: bytes, picture: Image.Image) -> int:
    """How many bytes follow the last pixel of a BMP that is not packed; 0 where that is not known."""
    tiles = getattr(picture, "tile", [])
    if len(tiles) != 1 or tiles[0][0] != "raw" or data[14] >= LATE:
        return 0
    _, _, offset, (_, row, *_) = tiles[0]
    return len(data) - int(offset) - int(row) * picture.height
