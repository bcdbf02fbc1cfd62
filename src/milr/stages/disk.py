"""What a full, broken or read-only disk does to a run: one line that names it, and a log that falls silent."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from milr.errors import MilrError

CAUSES = {  # what the system says -> how to mend it
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room in your quota",
    errno.EFBIG: "raise the limit on the size of files",
    errno.EROFS: "name another place with outputs=",
    errno.EACCES: "give yourself the permission, or name another place with outputs=",
    errno.EPERM: "give yourself the permission, or name another place with outputs=",
    errno.EIO: "look after the disk",
}


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Errors of the disk under a run's `folder` come out as a MilrError, all others as they are.

    torch tells a failed write as a RuntimeError whose context is the disk's own error, so contexts count too.
    """
    try:
        yield
    except MilrError:
        raise
    except Exception as error:
        cause = disk_error(error)
        if cause is None:
            raise
        assert cause.errno is not None
        place = cause.filename or folder
        raise MilrError(f"{place}: {cause.strerror}; {CAUSES[cause.errno]}") from error


def disk_error(error: BaseException | None) -> OSError | None:
    """The error of the disk that is this error, or that it came from."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in CAUSES:
            return error
        error = error.__cause__ or error.__context__
    return None


class LogFile(logging.FileHandler):
    """The run's log. A full disk silences it: it must neither end the run nor hide the error that did."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8")

    def handleError(self, record: logging.LogRecord) -> None:
        pass

    def close(self) -> None:
        with suppress(OSError):
            super().close()
