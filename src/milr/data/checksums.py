"""Damage that Pillow does not see in files that are no JPEGs: checksums of PNGs, blocks of zeros in others."""

from __future__ import annotations

import warnings
import zlib
from pathlib import Path

from PIL import ImageFile

from milr.data.jpegs import Damage

WITHOUT_SUMS = ("AVIF", "JPEG2000", "WEBP")  # compressed so that hardly anything of theirs is a row of zeros
BLOCK = bytes(4096)  # as a copy that was broken off, or a disk, leaves it


def look_over(path: Path, kind: str | None) -> None:
    """OSError for a PNG whose pixels have another checksum than it says; the warning Damage for a block of zeros in a
    file of another kind."""
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        return
    if kind == "PNG":
        require_sums(path.read_bytes())
    elif kind in WITHOUT_SUMS and BLOCK in path.read_bytes():
        text = f"{len(BLOCK)} zeros or more stand in it, as where a block of a copy is lost: look at it"
        warnings.warn(text, Damage, stacklevel=2)


def require_sums(data: bytes) -> None:
    """OSError for the first piece of a PNG's pixels whose checksum is not its own."""
    place = 8
    while place + 8 < len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        piece, place = data[place + 4 : place + 8 + length], place + 12 + length
        if piece.startswith(b"IDAT") and zlib.crc32(piece) != int.from_bytes(data[place - 4 : place], "big"):
            raise OSError("the checksum of its pixels is wrong: it is damaged")
