"""Standard output and error that may be closed, full, piped to a reader that left, or too narrow for a character.

Nothing of that may end a run: what is shown there stands in the run's folder too.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO


class LossyStream:
    """A text stream that loses what it cannot write, and remembers the first reason in `lost`.

    A character that the encoding has not is written as its escape (`\\u2192`).
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.lost: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write what can be written; the number of characters given."""
        self.attempt(lambda: self.stream.write(encodable(text, self.stream.encoding)))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write each line."""
        self.write("".join(lines))

    def flush(self) -> None:
        """Flush what can be flushed."""
        self.attempt(self.stream.flush)

    def attempt(self, action: Callable[[], object]) -> None:
        """After the first failure the file behind the stream is the null device: what is buffered has to go somewhere,
        or Python complains of it when it ends."""
        try:
            action()
        except OSError as error:
            self.lost = self.lost or error
            with suppress(OSError, ValueError):
                to_null(self.stream.fileno())

    @property
    def complaint(self) -> str | None:
        """Why the user lacks what was written; None if nothing is lost, or the reader left, who has read enough."""
        if self.lost is None or self.lost.errno == errno.EPIPE:
            return None
        return str(self.lost.strerror or self.lost)


def encodable(text: str, encoding: str | None) -> str:
    """`text` with an escape for each character that `encoding` has not."""
    encoding = encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def to_null(descriptor: int) -> None:
    """Make the descriptor one of the null device, for child processes too."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, descriptor)
    if null != descriptor:
        os.close(null)
    os.set_inheritable(descriptor, True)


def open_closed() -> None:
    """Give the null device to whichever of stdin, stdout and stderr is closed: else the next file that is opened, a
    checkpoint perhaps, gets its number and everything that is printed."""
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is not None:
            continue
        try:
            os.fstat(descriptor)
        except OSError:
            to_null(descriptor)
        setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 (open as long as the process)


@contextmanager
def lossy_streams() -> Iterator[tuple[LossyStream, LossyStream]]:
    """(stdout, stderr) as `LossyStream`s, while the body runs; those that are so already stay."""
    open_closed()
    before = sys.stdout, sys.stderr
    out, err = (stream if isinstance(stream, LossyStream) else LossyStream(stream) for stream in before)
    sys.stdout, sys.stderr = out, err
    try:
        yield out, err
    finally:
        out.flush()
        err.flush()
        sys.stdout, sys.stderr = before
