"""What the system refuses to read, in one line with its name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from milr.errors import MilrError


@contextmanager
def readable(place: Path) -> Iterator[None]:
    """MilrError, naming the file or folder (`place` if the system names none), for every OSError of the body."""
    try:
        yield
    except OSError as error:
        hint = ": give yourself the right to (chmod u+rX)" if isinstance(error, PermissionError) else ""
        raise MilrError(f"{error.filename or place} cannot be read ({error.strerror or error}){hint}") from error
