"""Files that are either whole or not there."""

from __future__ import annotations

import hashlib
import mmap
import os
import stat
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from milr.errors import MilrError

BLOCK = 4096  # bytes, of a disk and of most copies
OTHERS = {stat.S_ISDIR: "a folder", stat.S_ISFIFO: "a pipe", stat.S_ISSOCK: "a socket"}


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file under a temporary name in its own folder, flush it to the disk, and rename it into place.

    MilrError for a pipe or a device, /dev/null say, in whose place there would be a plain file then.
    """
    require_file(path)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with naming(path), os.fdopen(handle, "wb") as file:  # closing it may fail, too
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~current_umask())  # mkstemp makes files that only their owner may read
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """An error of the disk that names no place, as a failed write is, comes to name this one."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise


def checked_path(given: object, call: str) -> Path:
    """What is given as a path to this call; MilrError for anything else."""
    if not isinstance(given, str | Path):
        raise MilrError(f"{call}: the path is text, not a {type(given).__name__}")
    return Path(given)


def current_umask() -> int:
    """The process's mask for new files, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def sha256_of(path: Path) -> str:
    """The file's sha256 in hexadecimal digits."""
    return digest_of(path, "sha256")


def digest_of(path: Path, algorithm: str) -> str:
    """A digest of the file's bytes (sha256; md5 where a publisher gives no other) in hexadecimal digits."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def lost_block(data: bytes | mmap.mmap) -> int | None:
    """Where zeros begin that fill one or more whole blocks and end with them, as a disk or a broken copy leaves them.

    None where there are none: a picture's black parts, or weights of zero, begin and end anywhere.
    """
    begin = None
    for place in range(BLOCK, len(data), BLOCK):
        if (block := data[place : place + BLOCK]).count(0) < len(block):
            if begin is not None and block[0]:
                return begin
            begin = None
        elif begin is None and data[place - 1] and len(block) == BLOCK:
            begin = place
    return begin


def require_whole(path: Path) -> None:
    """MilrError if a byte of the file was changed: torch reads on over that, but the archive has checksums."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (OSError, zipfile.BadZipFile) as error:
        raise MilrError(f"{path} is damaged ({error})") from error
    if damaged:
        raise MilrError(f"{path} is damaged (the checksum of {damaged} differs)")


def require_file(path: Path, where: str = "") -> None:
    """MilrError for what is there and is no file. A pipe is waited for without an end, a device may have none.

    where: what it is called in the error, if not by its path. Nothing for what is not there, or may not be looked at:
    who opens it says so.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return
    if not stat.S_ISREG(mode):
        what = next((name for test, name in OTHERS.items() if test(mode)), "a device")
        raise MilrError(f"{where or path} is {what}: name a file")
