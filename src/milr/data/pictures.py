"""Pictures from files: read whatever their colour mode is, framed, and kept as one tensor."""

from __future__ import annotations

import logging
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError
from torch import Tensor

from milr.bars import bar
from milr.data.augmentation import IMAGENET, Normalisation, input_batches
from milr.data.checksums import look_over
from milr.data.endings import kind_of_file, register_plugins
from milr.data.framing import frame
from milr.data.jpegs import Damage, watched
from milr.data.marks import Faults
from milr.data.modes import as_grey, as_rgb, note_file
from milr.data.records import Record
from milr.errors import MilrError
from milr.files import require_file

log = logging.getLogger("milr")

Array = npt.NDArray[np.uint8]

WARNED: set[str] = set()  # what Pillow warned of in this process
SUSPECT: set[Path] = set()  # pictures that look damaged, in this process
MOST_PIXELS = 89_000_000  # 267 MB as RGB; from a little more on Pillow warns of decompression bombs

OF_SEVERAL = ("AVIF", "GIF", "PNG", "TIFF", "WEBP")  # kinds whose further pictures are as good as the first

ORIENTATION, LYING = 0x0112, (5, 6, 7, 8)  # the EXIF tag; these swap width and height when the picture is turned

# What Pillow's readers raise for damaged files, beside OSError: each has its own way to stumble.
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, LookupError, ArithmeticError, TypeError, RuntimeError)

Value = TypeVar("Value")


@dataclass(frozen=True)
class Pictures:
    """Framed pictures: `images` uint8 [n, 3, S, S], `labels` int64 [n] (class ids), their records, and what the network
    that will see them wants taken out of them.
    """

    images: Tensor
    labels: Tensor
    records: tuple[Record, ...]
    normalisation: Normalisation = IMAGENET

    def chosen(self, indices: Tensor) -> Tensor:
        """Copies of some pictures, uint8 [len(indices), 3, S, S]. `images[indices]` takes 15 times as long."""
        return self.images.index_select(0, indices)

    def batches(self, device: torch.device, batch_size: int = 32) -> Iterator[Tensor]:
        """All as the network takes them: batches float32 [<= batch_size, 3, S, S] on the device, in order."""
        return input_batches(self.images, device, batch_size, self.normalisation)


def read_picture(path: Path) -> Image.Image:
    """A picture in sRGB, turned as its EXIF says, transparent parts on white, 16 bits scaled to 8.

    MilrError naming the file for one that is broken, or larger than MOST_PIXELS, which is seen before it is decoded.
    """
    return read_as(path, as_rgb)


def read_mask(path: Path) -> Image.Image:
    """A mask as one channel of 0 to 255, turned as its EXIF says. MilrError as for `read_picture`."""
    return read_as(path, as_grey)


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of the picture as it is seen, by its header. MilrError as for `read_picture`."""
    return opened(path, seen_size)


def seen_size(picture: Image.Image) -> tuple[int, int]:
    """The same of an open one. Of a TIFF that lies, versions of Pillow differ in whether its size is turned already."""
    if picture.getexif().get(ORIENTATION) not in LYING:
        return picture.size
    return ImageOps.exif_transpose(picture).size if picture.format == "TIFF" else (picture.height, picture.width)


def read_as(path: Path, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """The picture, turned as its EXIF says and converted; every way in which a file may be broken is a MilrError."""

    def use(picture: ImageFile.ImageFile) -> Image.Image:
        """Its pixels, which are not read for its size alone."""
        look_over(path, picture)
        result = convert(ImageOps.exif_transpose(picture))
        tell_several(path, picture)
        return result

    return opened(path, use)


def tell_several(path: Path, picture: Image.Image) -> None:
    """A warning, once, where a file has further pages or frames: they are not looked at."""
    with suppress(*UNREADABLE, struct.error):  # damage behind the first picture is no matter
        if picture.format in OF_SEVERAL and (count := getattr(picture, "n_frames", 1)) > 1:
            warn_once(path, f"it has {count} pictures in it, and the first is taken", "several")


def opened(path: Path, use: Callable[[ImageFile.ImageFile], Value]) -> Value:
    """What `use` makes of the picture, whose header is read; every way in which a file may be broken is a MilrError."""
    register_plugins()
    require_file(path)
    try:
        with warnings_of(path), Image.open(path) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise too_large(path, f"{picture.width:,} x {picture.height:,} pixels")
            note_file(picture)
            with watched(picture):
                return use(picture)
    except FileNotFoundError as error:
        raise MilrError(f"there is no picture {path}") from error
    except PermissionError as error:
        raise MilrError(f"no permission to read the picture {path}: give yourself the right to (chmod u+r)") from error
    except UnidentifiedImageError as error:
        raise MilrError(
            f"{path} cannot be read as a picture ({kind_of_file(path)}): replace it or take it out"
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:  # Pillow looked before we could
        raise too_large(path, str(error)) from error
    except (*UNREADABLE, struct.error, zlib.error) as error:
        raise MilrError(f"{path} cannot be read as a picture ({error}): replace it or take it out") from error


@contextmanager
def warnings_of(path: Path) -> Iterator[None]:
    """What is warned of is logged, with the picture, once of a kind: a damaged EXIF, for one, whose turn is not known
    then. Of damage every picture is named."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    for warning in caught:
        text, of_damage = str(warning.message).strip(), issubclass(warning.category, Damage)
        if of_damage:
            SUSPECT.add(path)
        warn_once(path, text, f"{path}: {text}" if of_damage else text)


def warn_once(path: Path, text: str, kind: str = "") -> None:
    """A warning about a picture, the first of which this is to be said. kind: what counts as this, if not the text."""
    if (kind or text) not in WARNED:
        WARNED.add(kind or text)
        log.warning("%s: %s", path, text)


def too_large(path: Path, size: str) -> MilrError:
    """The error for a picture that would take too much memory."""
    return MilrError(f"{path} is too large ({size}; at most {MOST_PIXELS:,}): make it smaller or take it out")


def load_pictures(records: Sequence[Record], size: int, crop: str, progress: bool = False) -> Pictures:
    """Reads and frames all pictures once, to be kept in memory: n · 3 · size² bytes."""
    images = torch.empty(len(records), 3, size, size, dtype=torch.uint8)
    for number, image in enumerate(framed_pictures(records, size, crop, progress)):
        images[number] = torch.from_numpy(image)
    return Pictures(images, labels_of(records), tuple(records))


def framed_pictures(
    records: Sequence[Record], size: int, crop: str, progress: bool, faults: Faults | None = None
) -> Iterator[Array]:
    """Each picture in turn, read and framed: uint8 [3, S, S]. `faults` learns how large they are, as they are seen."""
    faults = Faults() if faults is None else faults
    for record in bar(records, desc="reading pictures", unit="picture", shown=progress):
        picture = read_picture(record.path)
        faults.check(record, picture.size)
        framing = frame(picture.width, picture.height, record.box, crop, size)
        yield np.array(framing.picture(picture)).transpose(2, 0, 1)
    faults.warn()


def labels_of(records: Sequence[Record]) -> Tensor:
    """The class ids, int64 [n]."""
    return torch.tensor([record.class_id for record in records], dtype=torch.int64)
