"""JPEGs that are damaged within: libjpeg reads on over lost bytes, and gives grey or other colours below them.

libjpeg says nothing of it, but it asks for more bytes only when it needs them. Those of the pixels are therefore handed
to it in parts: which it asked for tells whether they reached to the last pixel, and whether some were left over. That
works for pictures in one scan (a run through all pixels); a progressive JPEG has several, each of which makes the
picture sharper, and of it no more is known than whether all scans are there and whether zeros stand in them.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from typing import NamedTuple

from PIL import Image, ImageFile, JpegImagePlugin

from milr.files import BLOCK

# Markers, by their second byte; the first is 255. A frame's tells size and channels, a scan's pixels follow it.
SEQUENTIAL, CODES, SCAN, END = (0xC0, 0xC1), 0xC4, 0xDA, 0xD9
BARE = (0x01, *range(0xD0, 0xD9))  # markers that no segment follows
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
OF_NUMBERS = (*SEQUENTIAL, 0xC2, 0xCA)  # frames whose scans hold numbers of blocks; of the latter two, some of them
MARKER = re.compile(rb"\xff+([\x01-\xfe])")
BEHIND_PIXELS = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # a marker, and neither a 255 of the pixels nor a restart
RESTART = re.compile(rb"\xff([\xd0-\xd7])")  # a marker that may stand between pixels, numbered 0 to 7 again and again
SPARE = 16  # bytes: as many may be left behind the last pixel, as some cameras leave them
AHEAD = bytes(16)  # what a decoder looks at beyond the last pixel
ZEROS = bytes(64)  # more than two blocks of the same number throughout, where a zero is a number's code
LINES = 8  # line feeds that are no chance any more


class Pixels(NamedTuple):
    """Where the bytes of a JPEG's pixels begin and end, and whether its codes leave no way for ZEROS among them."""

    start: int
    end: int
    without_zeros: bool


class Segment(NamedTuple):
    """A marker's kind, the content of its segment, and where the bytes behind it begin."""

    kind: int
    content: bytes
    end: int


class Damage(UserWarning):
    """A picture that can be read, and hardly is what it was."""


@contextmanager
def watched(picture: Image.Image) -> Iterator[None]:
    """The body decodes the picture. OSError where a JPEG's bytes end before its last pixel; the warning Damage where
    they go on behind it, or where some between are lost."""
    if not isinstance(picture, JpegImagePlugin.JpegImageFile) or ImageFile.LOAD_TRUNCATED_IMAGES:
        yield
        return
    doubts: list[str] = []
    parts = parts_of(picture, doubts)
    picture.load_read = lambda read_bytes: next(parts, b"")  # type: ignore[method-assign]
    yield
    for doubt in doubts:
        warnings.warn(f"{doubt}: it is damaged, or was written strangely; look at it", Damage, stacklevel=2)


def parts_of(picture: ImageFile.ImageFile, doubts: list[str]) -> Iterator[bytes]:
    """The file in the parts that the decoder gets. doubts: what is wrong if it asks for no more than it has so far."""
    data = picture.fp.read() if picture.fp else b""
    if sent_as_text(data[first_scan(data) :]):  # what stands before it may hold texts
        raise OSError("a carriage return stands before each of its line feeds: it was sent as a text; send it as it is")
    pixels = pixels_of(data)
    if pixels is None:
        doubts.extend(doubts_of_scans(data))
        yield data
        return
    start, end = pixels.start, pixels.end
    if pixels.without_zeros and data.find(ZEROS, start, end) >= 0:
        raise OSError("zeros stand where some of its pixels were: it is damaged")
    restarts = [marker[0] for marker in RESTART.findall(data, start, end)]
    if any(marker != expected for marker, expected in zip(restarts, cycle(range(0xD0, 0xD8)))):
        doubts.append("markers between its pixels are out of order")
    behind = f"{SPARE} bytes or more are left behind its last pixel"
    doubts.append(behind)
    last = max(start, end - SPARE)
    yield data[:last]
    doubts.remove(behind)  # it asked for the last bytes, too
    yield data[last:end]
    yield AHEAD
    raise OSError("its bytes end before its last pixel, as of a file that was cut off or damaged within")


def sent_as_text(data: bytes) -> bool:
    """Whether each line feed follows a carriage return, as where a file was copied as if it were a text."""
    feeds = data.count(b"\n")
    return feeds >= LINES and feeds == data.count(b"\r\n")


def segments(data: bytes) -> Iterator[Segment]:
    """A JPEG's segments from its beginning to its end."""
    place = 2
    while marker := MARKER.search(data, place):
        kind, place = marker[1][0], marker.end()
        if kind == END:
            return
        if kind not in BARE:
            content = data[place + 2 : place + int.from_bytes(data[place : place + 2], "big")]
            place += 2 + len(content)
            yield Segment(kind, content, place)


def first_scan(data: bytes) -> int:
    """Where the bytes of a JPEG's first scan begin; 0 where there is none."""
    return next((segment.end for segment in segments(data) if segment.kind == SCAN), 0)


def pixels_of(data: bytes) -> Pixels | None:
    """The pixels of a JPEG; None for one that has them in several scans, or has no end."""
    channels, codes = None, dict[int, int]()
    for kind, content, place in segments(data):
        if kind in FRAMES:
            channels = content[5] if kind in SEQUENTIAL and len(content) > 5 else None
        elif kind == CODES:
            codes.update(first_symbols(content))
        elif kind == SCAN:
            end = BEHIND_PIXELS.search(data, place)
            single = end and content and content[0] == channels
            return Pixels(place, end.start(), any(codes.values())) if end and single else None
    return None


def doubts_of_scans(data: bytes) -> Iterator[str]:
    """What is wrong with a JPEG of several scans, in words."""
    if lacks_scans(data):
        yield "one or more of its scans are missing, by which it would be sharper, or have its colours"
    end = data.rfind(bytes([0xFF, END]))
    if data.find(bytes(BLOCK), first_scan(data), end) >= 0 or zeros_in_scans(data):
        yield "zeros stand where some of its pixels were"


def zeros_in_scans(data: bytes) -> bool:
    """Whether ZEROS stand in a scan whose codes leave no way for them.

    It is so of scans that tell of numbers for the first time, if zeros are the code of such a number: rows of blocks
    that have none are written shorter.
    """
    codes: dict[int, int] = {}
    for kind, content, place in segments(data):
        if kind == CODES:
            codes.update(first_symbols(content))
        elif kind == SCAN and len(content) == 6:  # of one channel
            first, table, refines = content[3], 16 + (content[2] & 15), content[5] >> 4
            end = BEHIND_PIXELS.search(data, place)
            possible = not first or refines or not codes.get(table, 0) & 15
            if end and not possible and data.find(ZEROS, place, end.start()) >= 0:
                return True
    return False


def lacks_scans(data: bytes) -> bool:
    """Whether the scans leave a bit of a number open, of the 64 that each channel's blocks have."""
    progressive = False
    open_bits: dict[int, dict[int, int]] = {}  # channel -> place in a block -> bits that are not there yet
    for kind, content, _ in segments(data):
        if kind in OF_NUMBERS:
            progressive = kind not in SEQUENTIAL
            open_bits.update((channel, dict.fromkeys(range(64), 16)) for channel in content[6::3])
        elif kind == SCAN and len(content) >= 3:
            first, last, bits = content[-3:] if progressive else (0, 63, 0)
            for channel in content[1 : 1 + 2 * content[0] : 2]:
                open_bits.get(channel, {}).update(dict.fromkeys(range(first, last + 1), bits & 15))
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
