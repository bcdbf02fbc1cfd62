"""JPEGs that are damaged within: libjpeg reads on over lost bytes, and gives grey or other colours below them.

The decoder asks for more bytes as it needs them, so that it is given those of the pixels in pieces: which it asked for
tells whether they reached to the last pixel, and whether some were left. That is known of pictures in one scan alone;
of others no more than whether all of their scans are there.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from typing import NamedTuple

from PIL import Image, ImageFile, JpegImagePlugin

# Marks: of a picture in lines, of codes, of its pixels' beginning, of its end.
SEQUENTIAL, CODES, SCAN, END = (0xC0, 0xC1), 0xC4, 0xDA, 0xD9
BARE = (0x01, *range(0xD0, 0xD9))  # marks without a content
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
OF_NUMBERS = (*SEQUENTIAL, 0xC2, 0xCA)  # frames whose scans hold numbers of blocks; of the latter two, some of them
MARK = re.compile(rb"\xff+([\x01-\xfe])")
NEXT = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # a mark that ends the pixels: neither a 255 of theirs nor a restart
RESTART = re.compile(rb"\xff([\xd0-\xd7])")
SPARE = 16  # bytes: as many may be left behind the last pixel, as some cameras leave them
AHEAD = bytes(16)  # what a decoder looks at beyond the last pixel
ZEROS = bytes(64)  # more than two blocks of the same number throughout, where a zero is a number's code


class Pixels(NamedTuple):
    """Where the bytes of a JPEG's pixels begin and end, and whether its codes leave no way for ZEROS among them."""

    start: int
    end: int
    without_zeros: bool


class Damage(UserWarning):
    """A picture that can be read, and hardly is what it was."""


@contextmanager
def watched(picture: Image.Image) -> Iterator[None]:
    """The body reads the picture. OSError where a JPEG's bytes end before its last pixel; the warning Damage where they
    go on behind it, or where some between are lost."""
    if not isinstance(picture, JpegImagePlugin.JpegImageFile) or ImageFile.LOAD_TRUNCATED_IMAGES:
        yield
        return
    left: list[str] = []
    pieces = pieces_of(picture, left)
    picture.load_read = lambda read_bytes: next(pieces, b"")  # type: ignore[method-assign]
    yield
    for what in left:
        warnings.warn(f"{what}: it is damaged, or was written strangely; look at it", Damage, stacklevel=2)


def pieces_of(picture: ImageFile.ImageFile, left: list[str]) -> Iterator[bytes]:
    """The file in the pieces that the decoder gets. left: what is wrong so far, should it ask for no more."""
    data = picture.fp.read() if picture.fp else b""
    pixels = pixels_of(data)
    if pixels is None:
        if lacks_scans(data):
            left.append("one or more of its scans are missing, by which it would be sharper, or have its colours")
        yield data
        return
    start, end = pixels.start, pixels.end
    if pixels.without_zeros and data.find(ZEROS, start, end) >= 0:
        raise OSError("zeros stand where some of its pixels were: it is damaged")
    marks = [mark[0] for mark in RESTART.findall(data, start, end)]
    if any(mark != expected for mark, expected in zip(marks, cycle(range(0xD0, 0xD8)))):
        left.append("marks between its pixels are out of order")
    behind = f"{SPARE} bytes or more are left behind its last pixel"
    left.append(behind)
    last = max(start, end - SPARE)
    yield data[:last]
    left.remove(behind)
    yield data[last:end]
    yield AHEAD
    raise OSError("its bytes end before its last pixel, as of a file that was cut off or damaged within")


def pixels_of(data: bytes) -> Pixels | None:
    """The pixels of a JPEG; None for one that has them in several scans, or has no end."""
    place, channels, codes = 2, None, dict[int, int]()
    while mark := MARK.search(data, place):
        kind, place = mark[1][0], mark.end()
        if kind in BARE:
            continue
        if kind == END:
            return None
        content = data[place + 2 : place + int.from_bytes(data[place : place + 2], "big")]
        place += 2 + len(content)
        if kind in FRAMES:
            channels = content[5] if kind in SEQUENTIAL and len(content) > 5 else None
        elif kind == CODES:
            codes.update(first_symbols(content))
        elif kind == SCAN:
            end = NEXT.search(data, place)
            single = end and content and content[0] == channels
            return Pixels(place, end.start(), any(codes.values())) if end and single else None
    return None


def lacks_scans(data: bytes) -> bool:
    """Whether the scans leave a bit of a number open, of the 64 that each channel's blocks have."""
    place, progressive = 2, False
    open_bits: dict[int, dict[int, int]] = {}  # channel -> place in a block -> bits that are not there yet
    while mark := MARK.search(data, place):
        kind, place = mark[1][0], mark.end()
        if kind == END:
            break
        if kind in BARE:
            continue
        content = data[place + 2 : place + int.from_bytes(data[place : place + 2], "big")]
        if kind in OF_NUMBERS:
            progressive = kind not in SEQUENTIAL
            open_bits.update((channel, dict.fromkeys(range(64), 16)) for channel in content[6::3])
        elif kind == SCAN and len(content) >= 3:
            first, last, bits = content[-3:] if progressive else (0, 63, 0)
            for channel in content[1 : 1 + 2 * content[0] : 2]:
                open_bits.get(channel, {}).update(dict.fromkeys(range(first, last + 1), bits & 15))
        place += 2 + len(content)
    return any(any(bits.values()) for bits in open_bits.values())


def first_symbols(content: bytes) -> Iterator[tuple[int, int]]:
    """(number, first symbol) of each table of codes for what is not a block's mean. The code of the first is of zeros
    alone; the symbol 0 ends a block."""
    place = 0
    while place + 17 < len(content):
        number = content[place]
        if number >= 16:  # else a table for means
            yield number, content[place + 17]
        place += 17 + sum(content[place + 1 : place + 17])
