"""A lock on an open file that ends with the process, however it ends."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import IO, Any

if sys.platform == "win32":
    import msvcrt

    BEHIND = 2**31 - 2  # a byte behind the end of any log: what is locked there cannot be read

    def take(file: IO[Any], shared: bool) -> None:
        """Lock it at once; BlockingIOError if another holds it. It ends when the file is closed."""
        descriptor = file.fileno()
        position = os.lseek(descriptor, 0, os.SEEK_CUR)
        try:
            os.lseek(descriptor, BEHIND, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError(*error.args) from error
        finally:
            os.lseek(descriptor, position, os.SEEK_SET)
else:
    import fcntl

    def take(file: IO[Any], shared: bool) -> None:
        """Lock it at once; BlockingIOError if another holds it. Two who ask at once, shared, mislead neither."""
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def lock(file: IO[Any]) -> bool:
    """Lock it for this process until it is closed; False if another holds it already."""
    for _ in range(4):  # somebody may just be asking `is_locked`
        try:
            take(file, shared=False)
            return True
        except BlockingIOError:
            time.sleep(0.05)
    return False


def is_locked(path: Path) -> bool:
    """Whether some process holds the lock of this file; False if there is no such file, or it may not be read."""
    try:
        with path.open("rb") as file:
            take(file, shared=True)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
