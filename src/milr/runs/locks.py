"""A lock on an open file that ends with the process, however it ends."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import IO, Any

if sys.platform != "win32":
    import fcntl

    def lock(file: IO[Any]) -> bool:
        """Lock it for this process until it is closed; False if another holds it already."""
        for _ in range(4):  # somebody may just be asking `is_locked`
            try:
                fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                time.sleep(0.05)
        return False

else:

    def lock(file: IO[Any]) -> bool:
        """Always True: Windows has no such lock, so two processes that resume one run are not kept apart there."""
        return True


def is_locked(path: Path) -> bool:
    """Whether some process holds a lock on this file; False if there is no such file."""
    try:
        with path.open("rb") as file:
            return not lock(file)
    except OSError:
        return False
