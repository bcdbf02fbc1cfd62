"""Framed pictures kept on disk, so that no run after the first decodes them again.

A file holds the pictures of one list of records, cut and resized in one way, as a NumPy array (.npy) followed by the
sha256 of all bytes before. Its name is a fingerprint of everything the pixels depend on. It is built under another name
and renamed when it is whole: what is half built is never used, and two processes that build the same file do no harm.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Sequence
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import IO

import numpy as np
import PIL
import torch
from torch import Tensor

from milr.data.access import readable
from milr.data.marks import Faults, warn_of_faults
from milr.data.pictures import SUSPECT, Pictures, framed_pictures, labels_of, load_pictures, read_picture
from milr.data.records import Record
from milr.errors import MilrError
from milr.files import write_atomically

log = logging.getLogger(__name__)

VERSION = 5  # of the way in which pictures are decoded and framed: to be raised with every change of it
FACTS = np.dtype("<u4")  # of a picture, behind the pictures: its width, its height, whether its bytes were warned of
DIGEST = sha256().digest_size
ABANDONED = 3600.0  # seconds without a write after which an unfinished file is nobody's


def cached_pictures(records: Sequence[Record], size: int, crop: str, folder: Path | None) -> Pictures:
    """As `load_pictures`, from a memory-mapped file under `folder`, which is made if it is missing or damaged.

    None: nothing is kept. The images' memory is private: writing into it changes no file. MilrError where the folder
    cannot be written.
    """
    if folder is None:
        return load_pictures(records, size, crop, progress=True)
    path = folder / f"{cache_name(records, size, crop)}.npy"
    shape = (len(records), 3, size, size)
    kept = open_images(path, shape)
    if kept is not None:
        warn_of_faults(records, [(width, height) for width, height, _ in kept[1]])
        for record, (_, _, suspect) in zip(records, kept[1], strict=True):
            if suspect:  # it is looked over again, and warned of in this run too
                read_picture(record.path)
    else:
        try:
            build(path, records, shape, crop)
        except OSError as error:
            reason = error.strerror or error
            raise MilrError(f"cannot keep pictures in {folder}: {reason}; name another place with cache=") from error
        kept = open_images(path, shape)
    if kept is None:
        raise MilrError(f"{path} is damaged as soon as it is written: the disk of {folder} may be broken")
    return Pictures(kept[0], labels_of(records), tuple(records))


def cache_name(records: Sequence[Record], size: int, crop: str) -> str:
    """sha256 over each picture's path, size and times of change, its box, and how it is framed and by what.

    The time of the content may be set by who copies or unpacks another picture into its place; that of the file not.
    """
    digest = sha256(f"{VERSION}\t{PIL.__version__}\t{crop}\t{size}\n".encode())
    for record in records:
        with readable(record.path):
            status = record.path.stat()
        times = f"{status.st_mtime_ns}\t{status.st_ctime_ns}"
        line = f"{record.path.absolute()}\t{status.st_size}\t{times}\t{record.box}\n"
        digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()


def header(shape: tuple[int, ...]) -> bytes:
    """The first bytes of an .npy file of uint8 values."""
    file = BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return file.getvalue()


def open_images(path: Path, shape: tuple[int, int, int, int]) -> tuple[Tensor, list[tuple[int, int, int]]] | None:
    """uint8 [n, 3, S, S] on the file's memory, and each picture's FACTS.

    None if there is no such file, or if it is damaged.
    """
    if not path.is_file():
        return None
    start = header(shape)
    after = len(start) + int(np.prod(shape))
    if path.stat().st_size == after + FACTS.itemsize * 3 * shape[0] + DIGEST:
        # Copy on write: torch wants memory that may be written to, and the file stays as it is.
        content = np.memmap(path, dtype=np.uint8, mode="c")
        whole, stored = content[:-DIGEST], content[-DIGEST:]
        if whole[: len(start)].tobytes() == start and sha256(whole.data).digest() == stored.tobytes():
            facts = [(row[0], row[1], row[2]) for row in whole[after:].view(FACTS).reshape(-1, 3).tolist()]
            return torch.from_numpy(whole[len(start) : after].reshape(shape)), facts
    log.warning("%s is damaged: it is made again", path)
    return None


def build(path: Path, records: Sequence[Record], shape: tuple[int, int, int, int], crop: str) -> None:
    """Decode all pictures into the file, one after the other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    delete_abandoned(path)
    log.info("keeping %d pictures of %d px in %s: %.1f MB", shape[0], shape[-1], path, np.prod(shape) / 1e6)

    def pieces() -> Iterator[bytes]:
        """Header, pictures, and their FACTS."""
        faults = Faults()
        yield header(shape)
        for image in framed_pictures(records, shape[-1], crop, progress=True, faults=faults):
            yield image.tobytes()
        suspect = [record.path in SUSPECT for record in records]
        yield np.column_stack([np.array(faults.sizes, FACTS), np.array(suspect, FACTS)]).tobytes()

    def write(file: IO[bytes]) -> None:
        """All that, and its sha256."""
        digest = sha256()
        for piece in pieces():
            file.write(piece)
            digest.update(piece)
        file.write(digest.digest())

    write_atomically(path, write)


def delete_abandoned(path: Path) -> None:
    """Delete what processes that were killed have left of this file."""
    for part in path.parent.glob(f".{path.name}.*.tmp"):
        with contextlib.suppress(OSError):  # another process may have been quicker
            if time.time() - part.stat().st_mtime > ABANDONED:
                part.unlink()
