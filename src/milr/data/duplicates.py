"""Pictures that are in a data set twice: as copies, saved anew, or in another size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from milr.data.records import Record

SIDE = 16  # of the small picture by which two are compared
# The root mean square of what they differ by: in levels of 255, and in their own spread. Of the photographs at hand
# the nearest two are 14 levels apart, of 600 drawn birds 7; saved anew, two thirds as large, a photograph is up to 2.7
# from itself, and a drawn bird up to 4.3, so that some of these are missed.
MOST, SHARE = 3.0, 0.08
AT_ONCE = 1024


def thumbnail(picture: Image.Image) -> npt.NDArray[np.uint8]:
    """A small picture of it: [SIDE * SIDE * 3]."""
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX)).reshape(-1)


def twins(thumbnails: Sequence[npt.NDArray[np.uint8]]) -> list[tuple[int, int]]:
    """(number of a picture, that of the first one before it that shows the same).

    Two that show the same are about as bright: each is compared with those alone that are.
    """
    if not thumbnails:
        return []
    values = torch.from_numpy(np.array(thumbnails, dtype=np.float32)) - 128
    brightness, order = values.mean(1).sort()
    values = values[order]
    squares, allowed = values.square().sum(1), (SHARE * values.std(1)).clamp(max=MOST).square() * values.shape[1]
    first = torch.arange(len(values))  # of each picture, by its own number
    for start in range(0, len(values), AT_ONCE):
        part = slice(start, min(start + AT_ONCE, len(values)))
        near = slice(int(torch.searchsorted(brightness, brightness[start] - MOST)), part.stop)
        apart = squares[part, None] + squares[near] - 2 * values[part] @ values[near].T
        same = apart <= torch.minimum(allowed[part, None], allowed[near]) + 1  # what floats are off by
        rows, columns, none = order[part], order[near], len(values)
        first[rows] = torch.minimum(first[rows], torch.where(same, columns, none).amin(1))
        first[columns] = torch.minimum(first[columns], torch.where(same, rows[:, None], none).amin(0))
    return [(number, earlier) for number, earlier in enumerate(first.tolist()) if earlier < number]


def line_of(pairs: Sequence[tuple[Record, Record]], count: int, splits: Mapping[int, str]) -> str:
    """A line of pictures, each with the first one that shows the same, and of the harm that they do.

    count: of all pictures. splits: class id -> split.
    """
    of_others = [pair for pair in pairs if pair[0].class_id != pair[1].class_id]
    apart = [pair for pair in of_others if len({splits.get(record.class_id) for record in pair}) > 1]
    harm = f" ({len(of_others)} of them as one of another class, {len(apart)} of another split)" if of_others else ""
    later, earlier = (apart or of_others or pairs)[0]
    worst = "one can be support and query at once"
    if of_others:
        worst = "what is measured was trained on" if apart else "one of the classes is wrong"
    return (
        f"{len(pairs)} of {count} pictures show the same as another, or nearly{harm}, {later.path} and {earlier.path} "
        f"first: {worst}"
    )
