"""A lock on an open file that ends with the process, however it ends. Windows has no such lock: none is taken."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import IO, Any

if sys.platform != "win32":
    import fcntl


def lock(file: IO[Any]) -> bool:
    """Lock it for this process until it is closed; False if another holds it already."""
    if sys.platform == "win32":
        return True
    for _ in range(4):  # somebody may just be asking `is_locked`
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(0.05)
    return False


def is_locked(path: Path) -> bool:
    """Whether some process holds the lock of this file; False if there is no such file, or it may not be read."""
    if sys.platform == "win32":
        return False
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two who ask at once do not mislead each other
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
