"""What a full, broken or read-only disk does to a run: one line that names it, and a log that falls silent."""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from milr.errors import MilrError

CAUSES = {  # what the system says -> what to do
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room in your quota",
    errno.EFBIG: "raise the limit on the size of files",
    errno.EROFS: "take a place that can be written",
    errno.EACCES: "give yourself the permission",
    errno.EPERM: "give yourself the permission",
    errno.EIO: "look after the disk",
    errno.ESTALE: "look after the disk",
    errno.ENOTDIR: "a file stands where a folder is needed",
    errno.ENAMETOOLONG: "take a shorter name",
    errno.ELOOP: "a link leads back to itself",
}
ELSEWHERE = (errno.EROFS, errno.EACCES, errno.EPERM)  # of a run's own folder another place helps too


@contextmanager
def disk_errors(folder: Path | None = None) -> Iterator[None]:
    """Errors of the disk come out as a MilrError, all others as they are. `folder`: of the run, where there is one.

    torch tells a failed write as a RuntimeError whose context is the disk's own error, so contexts count too.
    """
    try:
        yield
    except MilrError:
        raise
    except UnicodeEncodeError as error:
        if error.encoding == sys.getfilesystemencoding() != "utf-8":
            raise MilrError(unreadable_name(error)) from error
        raise
    except Exception as error:
        cause = disk_error(error)
        if cause is None and isinstance(error, FileNotFoundError) and folder is not None and not folder.exists():
            raise MilrError(f"the folder {folder} was deleted while its run went on: start it again") from error
        if cause is None:
            raise
        raise MilrError(disk_message(cause, folder)) from error


def disk_message(error: OSError, folder: Path | None = None) -> str:
    """The line for an error of the disk (`disk_error`), with what to do; `folder` is the run's."""
    place = Path(os.fsdecode(error.filename)) if isinstance(error.filename, (str, bytes)) else folder
    own = folder is not None and place is not None and (place == folder or folder in place.parents)
    end = ", or name another place with outputs=" if own and error.errno in ELSEWHERE else ""
    return f"{place or 'a file'}: {error.strerror}; {CAUSES[error.errno or 0]}{end}"


def require_listable(folder: Path) -> None:
    """MilrError for a folder that exists and may not be read: a pattern finds nothing there, and says nothing."""
    try:
        os.listdir(folder)
        (folder / "x").exists()  # listing takes one permission, reaching what is inside another
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise MilrError(
            f"the folder {folder} cannot be read: {error.strerror}; give yourself the permission"
        ) from error


def require_readable_runs(folder: Path) -> None:
    """MilrError if `folder`, or a run folder in it, exists and may not be read: the run that is meant may be there."""
    require_listable(folder)
    for run in folder.glob("*/"):
        require_listable(run)


def unreadable_name(error: UnicodeEncodeError) -> str:
    """The line for the name of a file that this locale has no bytes for."""
    return f"{error.object}: the locale's encoding ({error.encoding}) has not all of this: set PYTHONUTF8=1"


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
        super().__init__(path, encoding="utf-8", errors="backslashreplace")

    def handleError(self, record: logging.LogRecord) -> None:
        pass

    def close(self) -> None:
        with suppress(OSError):
            super().close()
