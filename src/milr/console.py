"""What milr logs, shown on standard output while a command runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

from milr.streams import lossy_streams

log = logging.getLogger("milr")


class ConsoleHandler(logging.Handler):
    """Shows a message on standard output, above a progress bar where there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message."""
        tqdm.write(self.format(record))


@contextmanager
def console() -> Iterator[None]:
    """Show what milr logs while the body runs; who reads it may leave, in the processes of a sweep too."""
    handler, level = ConsoleHandler(logging.INFO), log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)  # the run's log.txt takes more than the console
    try:
        with lossy_streams():
            yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
