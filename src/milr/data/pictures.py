"""Pictures from files: read whatever their colour mode is, framed, and kept as one tensor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from tqdm import tqdm

from milr.data.framing import frame
from milr.data.records import Record
from milr.errors import MilrError

Array = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Pictures:
    """Framed pictures: `images` uint8 [n, 3, S, S], `labels` int64 [n] (class ids), and their records."""

    images: Tensor
    labels: Tensor
    records: tuple[Record, ...]


def read_picture(path: Path) -> Image.Image:
    """An RGB picture, turned as its EXIF says, transparent parts on white. MilrError naming a file that is broken."""
    try:
        with Image.open(path) as opened:
            picture = ImageOps.exif_transpose(opened)
            picture.load()
    except FileNotFoundError as error:
        raise MilrError(f"there is no picture {path}") from error
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise MilrError(f"{path} cannot be read as a picture ({error}): replace it or take it out") from error
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    return picture.convert("RGB")


def load_pictures(records: Sequence[Record], size: int, crop: str, progress: bool = False) -> Pictures:
    """Reads and frames all pictures once, to be kept in memory: n · 3 · size² bytes."""
    images = torch.empty(len(records), 3, size, size, dtype=torch.uint8)
    for number, image in enumerate(framed_pictures(records, size, crop, progress)):
        images[number] = torch.from_numpy(image)
    return Pictures(images, labels_of(records), tuple(records))


def framed_pictures(records: Sequence[Record], size: int, crop: str, progress: bool) -> Iterator[Array]:
    """Each picture in turn, read and framed: uint8 [3, S, S]."""
    for record in tqdm(records, desc="reading pictures", unit="picture", disable=not progress):
        picture = read_picture(record.path)
        framing = frame(picture.width, picture.height, record.box, crop, size)
        yield np.array(framing.picture(picture)).transpose(2, 0, 1)


def labels_of(records: Sequence[Record]) -> Tensor:
    """The class ids, int64 [n]."""
    return torch.tensor([record.class_id for record in records], dtype=torch.int64)
